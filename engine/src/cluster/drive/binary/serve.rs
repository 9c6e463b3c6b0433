//! The coordinator's binaries: taken from clients, given to workers.
//!
//! In: what clients and workers ask. Out: answers, once what they say is so. Never: a disk that the machine's thread waits for: this has a thread
//! of its own, and who asks while too many wait asks again.

use std::{path::PathBuf, thread};

use bytes::Bytes;
use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use windrow_net::{Answer as Reply, MessageKind};

use super::store::BinaryStore;
use crate::{
    cluster::{
        limits::{BINARIES_BYTES_MAX, BINARY_ASKS_MAX},
        protocol::{Answer, BinaryAsk, BinaryWanted, Link, RemoteError},
    },
    error::{Cause, Kind, Result},
};

/// The kind of a worker's request for a piece.
pub const BINARY: MessageKind = MessageKind(0x0203);
/// A refusal; its payload is the error.
pub const REFUSED: u32 = 2;

/// What is asked.
pub enum Asked {
    /// By a client, over this connection, with this number.
    Client { link: Link, request: u64, ask: BinaryAsk },
    /// By a worker; what is there to be read is a [`BinaryWanted`].
    Worker { request: Vec<u8>, reply: Reply },
}

/// Who answers.
pub struct Server(Sender<Asked>);

impl Server {
    /// Starts the thread that answers; `tell` is called with what clients are told.
    pub fn start(folder: PathBuf, tell: impl Fn(Link, u64, Answer) + Send + 'static) -> Result<Server> {
        let store = BinaryStore::open(folder, BINARIES_BYTES_MAX, true)?;
        let (sender, asked) = bounded(BINARY_ASKS_MAX);
        let serve = move || serve(store, &asked, tell);
        let spawned = thread::Builder::new().name("windrow-binary".to_owned()).spawn(serve);
        spawned.map_err(|source| NoThread { source })?;
        Ok(Server(sender))
    }

    /// Asks. Who asks over the network asks again when nothing comes.
    pub fn ask(&self, asked: Asked) {
        if let Err(TrySendError::Full(Asked::Worker { reply, .. })) = self.0.try_send(asked) {
            refuse(reply, &RemoteError::new(Kind::Io, "giving a piece of a binary: too many wait for one"));
        }
    }
}

fn serve(mut store: BinaryStore, asked: &Receiver<Asked>, tell: impl Fn(Link, u64, Answer)) {
    while let Ok(asked) = asked.recv() {
        match asked {
            Asked::Client { link, request, ask } => {
                let answer = match take(&mut store, ask) {
                    Ok(bytes) => Answer::BinaryHeld { bytes },
                    Err(error) => {
                        tracing::warn!(%error, "a binary is not taken");
                        Answer::Failed(RemoteError::from_error(&error, "coordinator"))
                    }
                };
                tell(link, request, answer);
            }
            Asked::Worker { request, reply } => match give(&store, &request) {
                Ok(piece) => reply.give(std::iter::once(Ok(Bytes::from(piece)))),
                Err(error) => refuse(reply, &RemoteError::from_error(&error, "coordinator")),
            },
        }
    }
}

fn take(store: &mut BinaryStore, ask: BinaryAsk) -> Result<u64> {
    match ask {
        BinaryAsk::Held(binary) => store.held(&binary),
        BinaryAsk::Piece { binary, at, bytes } => store.append(&binary, at, &bytes),
    }
}

fn give(store: &BinaryStore, request: &[u8]) -> Result<Vec<u8>> {
    let BinaryWanted { binary, at } = postcard::from_bytes(request).map_err(|source| Unreadable { source })?;
    store.piece(&binary, at)
}

fn refuse(reply: Reply, error: &RemoteError) {
    reply.refuse(REFUSED, postcard::to_allocvec(error).unwrap_or_default());
}

#[derive(Debug, thiserror::Error)]
#[error("starting the thread that keeps programs' binaries")]
struct NoThread {
    source: std::io::Error,
}

impl Cause for NoThread {
    fn kind(&self) -> Kind {
        Kind::Limit
    }
}

#[derive(Debug, thiserror::Error)]
#[error("reading which piece of a binary is wanted")]
struct Unreadable {
    source: postcard::Error,
}

impl Cause for Unreadable {
    fn kind(&self) -> Kind {
        Kind::Corrupt
    }
}
