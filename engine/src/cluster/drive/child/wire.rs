//! What a worker and the process of a program tell each other.
//!
//! In: messages. Out: envelopes of `windrow-net` over a Unix connection, their payloads postcard. Never: rows; frames go through files, and
//! over connections of their own.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::AsRawFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use windrow_net::{Decoder, MessageError, MessageKind, encode};

use crate::{
    cluster::{
        drive::pull::PullRequest,
        limits::PLAN_BYTES_MAX,
        protocol::{
            ActionNumber, ActionOutcome, AttemptEnd, AttemptKey, AttemptProgress, Blob, DriverRun, LostInput, Order,
            RemoteError, Skeleton,
        },
    },
    error::{Cause, Kind, Result},
    observe::Counted,
    shuffle::JobId,
};

/// Longest path of a socket that the system takes, with a byte to spare: `sun_path` has 108 bytes on Linux, 104 elsewhere.
const SOCKET_PATH_MAX: usize = 102;

/// Listens at a path, however long it is.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    by_short_path(path, |path| UnixListener::bind(path))
}

/// Connects to who listens at a path, however long it is.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    by_short_path(path, |path| UnixStream::connect(path))
}

/// A folder deep in somebody's home has a path that no socket may have: then it is reached by its open folder.
fn by_short_path<T>(path: &Path, work: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) if path.as_os_str().len() > SOCKET_PATH_MAX => {
            let folder = File::open(folder)?;
            work(&Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name))
        }
        _ => work(path),
    }
}

/// What the worker tells the process.
#[derive(Serialize, Deserialize)]
pub enum ToChild {
    /// The job, the worker's name, what the process may use.
    Welcome {
        job: JobId,
        worker: String,
        threads: u32,
        memory_bytes: u64,
        revocable_bytes: Option<u64>,
        spill_folders: Vec<String>,
        rows_per_morsel: u32,
        spool: String,
        spec: Blob,
    },
    /// From now on this process is the driver, for so many nodes; these actions were shipped before.
    Drive { driver: DriverRun, nodes: u32, shipped: Vec<ActionNumber> },
    /// A part of an action's plan, before the first order that needs it.
    Plan { action: ActionNumber, part: u32, parts: u32, bytes: Blob },
    /// Try a task.
    Run(Box<Order>),
    /// Stop an attempt.
    Cancel(AttemptKey),
    /// An action has ended.
    Outcome { action: ActionNumber, revision: u64, outcome: ActionOutcome },
}

/// What the process tells the worker.
#[derive(Serialize, Deserialize)]
pub enum FromChild {
    /// It runs; the first message.
    Hello { version: u16 },
    /// An attempt has ended; its frames are in these files.
    Ended { key: AttemptKey, end: AttemptEnd, files: Vec<String> },
    /// How far an attempt is.
    Progress { key: AttemptKey, progress: AttemptProgress },
    /// A part of the plan of an action; the skeleton comes with the first.
    Shipped { action: ActionNumber, skeleton: Option<Skeleton>, part: u32, parts: u32, bytes: Blob },
    /// Rows of an outcome that could not be pulled.
    Lost(Vec<LostInput>),
    /// The entry has ended, and with it the process does.
    Finished { error: Option<RemoteError> },
}

/// The first message of a connection that is no control connection.
#[derive(Serialize, Deserialize)]
pub struct PullAsk {
    /// Where the frames are.
    pub address: String,
    /// Which.
    pub request: PullRequest,
    /// What is read ahead, of which the process has reserved as much.
    pub window_bytes: u64,
}

/// A piece of what was pulled.
#[derive(Serialize, Deserialize)]
pub enum PullPiece {
    /// Bytes of frames.
    Bytes(#[serde(with = "blob")] Vec<u8>),
    /// All came.
    End,
    /// It broke.
    Failed { error: RemoteError, is_denied: bool },
}

/// The plan of an action as it is shipped: opaque to the coordinator.
#[derive(Serialize, Deserialize)]
pub enum PlanEnvelope {
    /// A statement's.
    Statement(Blob),
    /// A program's: what starts its processes, and what was given since the plan before.
    Program {
        /// The program.
        spec: Blob,
        /// The results of the actions from the last one that was shipped before this.
        results: Vec<(ActionNumber, ActionResult)>,
        /// The plan itself.
        plan: Blob,
    },
    /// A statement's whose attempts tell what their pipelines did.
    ProfiledStatement(Blob),
}

impl PlanEnvelope {
    /// As it is shipped, if it is not too long to be.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let bytes = postcard::to_allocvec(self).map_err(|source| WireError::Encode { source })?;
        if bytes.len() > PLAN_BYTES_MAX {
            return Err(WireError::LongPlan { bytes: bytes.len() }.into());
        }
        Ok(bytes)
    }
}

/// What an action gave.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ActionResult {
    /// Rows: their schema, and a frame a batch.
    Rows {
        /// Their columns.
        schema: Blob,
        /// By batch.
        frames: Vec<Blob>,
        /// What the job's own code has counted.
        counted: Counted,
    },
    /// Files.
    Written {
        /// The output folder.
        path: String,
        /// Part files.
        files: u64,
        /// Rows of all.
        rows: u64,
        /// Bytes of all.
        bytes: u64,
        /// Rows, sum and xor of the digest.
        digest: (u64, u64, u64),
        /// What the job's own code has counted.
        counted: Counted,
    },
    /// It failed.
    Failed(RemoteError),
}

/// Bytes as bytes, not as a list of numbers.
mod blob {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::cluster::protocol::Blob;

    pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        Blob::from(bytes).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        Blob::deserialize(from).map(|blob| blob.to_vec())
    }
}

/// A message with a kind of its own.
pub trait Wire: Serialize + DeserializeOwned {
    /// The number in the envelope.
    const KIND: MessageKind;
}

impl Wire for ToChild {
    const KIND: MessageKind = MessageKind(0x0301);
}
impl Wire for FromChild {
    const KIND: MessageKind = MessageKind(0x0302);
}
impl Wire for PullAsk {
    const KIND: MessageKind = MessageKind(0x0303);
}
impl Wire for PullPiece {
    const KIND: MessageKind = MessageKind(0x0304);
}

/// Writes one message.
pub fn write<M: Wire>(mut stream: &UnixStream, message: &M) -> Result<()> {
    let payload = postcard::to_allocvec(message).map_err(|source| WireError::Encode { source })?;
    let mut bytes = Vec::with_capacity(payload.len() + windrow_net::HEADER_BYTES);
    encode(M::KIND, &payload, &mut bytes).map_err(|source| WireError::Envelope { source })?;
    Ok(stream.write_all(&bytes).map_err(|source| WireError::Connection { source })?)
}

/// Reads messages from one connection.
pub struct Reader {
    stream: UnixStream,
    decoder: Decoder,
    buffer: Vec<u8>,
    held: std::ops::Range<usize>,
}

impl Reader {
    /// A reader of a connection.
    pub fn new(stream: UnixStream) -> Reader {
        Reader { stream, decoder: Decoder::new(), buffer: vec![0; 64 << 10], held: 0..0 }
    }

    /// The next envelope; `None` at the end of the connection. Waits for it.
    pub fn envelope(&mut self) -> Result<Option<windrow_net::Message>> {
        loop {
            while !self.held.is_empty() {
                let taken = self.decoder.handle_bytes(&self.buffer[self.held.clone()]);
                self.held.start += taken;
                let message = self.decoder.poll_message().map_err(|source| WireError::Envelope { source })?;
                if message.is_some() {
                    return Ok(message);
                }
            }
            let count = self.stream.read(&mut self.buffer).map_err(|source| WireError::Connection { source })?;
            if count == 0 {
                let decoder = std::mem::take(&mut self.decoder);
                decoder.finish().map_err(|source| WireError::Envelope { source })?;
                return Ok(None);
            }
            self.held = 0..count;
        }
    }

    /// The next message, which must be of this kind.
    pub fn message<M: Wire>(&mut self) -> Result<Option<M>> {
        self.envelope()?.map(|envelope| parse(&envelope)).transpose()
    }
}

/// The message of an envelope.
pub fn parse<M: Wire>(envelope: &windrow_net::Message) -> Result<M> {
    if envelope.kind != M::KIND {
        return Err(WireError::Kind { found: envelope.kind, expected: M::KIND }.into());
    }
    Ok(postcard::from_bytes(&envelope.payload).map_err(|source| WireError::Decode { source })?)
}

#[derive(Debug, thiserror::Error)]
enum WireError {
    #[error(
        "shipping a plan: with what the action before gave it has {bytes} bytes, at most {PLAN_BYTES_MAX} are taken"
    )]
    LongPlan { bytes: usize },
    #[error("writing a message between a worker and a program")]
    Encode { source: postcard::Error },
    #[error("reading a message between a worker and a program")]
    Decode { source: postcard::Error },
    #[error("reading or writing a message between a worker and a program")]
    Envelope { source: MessageError },
    #[error("reading a message between a worker and a program: kind {found} instead of {expected}")]
    Kind { found: MessageKind, expected: MessageKind },
    #[error("the connection between a worker and a program")]
    Connection { source: io::Error },
}

impl Cause for WireError {
    fn kind(&self) -> Kind {
        match self {
            WireError::LongPlan { .. } => Kind::Limit,
            WireError::Encode { .. } => Kind::Internal,
            WireError::Connection { .. } => Kind::Io,
            _ => Kind::Corrupt,
        }
    }
}
