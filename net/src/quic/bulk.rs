//! Bulk streams over quinn: both ends of an answer.
//!
//! In: a stream and what is asked or answered on it. Out: bytes as fast as the slower side takes them. Never: a wait
//! without a deadline, but for an answer that the engine prepares (the asking side's deadline ends that), and for a reader
//! that has no room (QUIC's keep-alive watches the link meanwhile, and the answering side's `stall` the stream).

use std::sync::{Arc, atomic::Ordering::Relaxed};

use bytes::Bytes;
use quinn::{Connection, ConnectionError, ReadError, RecvStream, SendStream, WriteError};
use tokio::time::timeout;

use super::{Shared, link::Link};
use crate::{
    answer::{Answer, Pieces, Reply},
    error::{NetError, Refusal, Wait},
    message::Message,
    network::Event,
    pull,
    stream::{AnswerReader, RequestReader, StreamError, broken_off, end, given, next_piece, refused},
};

/// Codes with which a stream is reset.
const ABANDONED: u32 = 1;
const PROTOCOL: u32 = 2;
const LATE: u32 = 3;

/// Chunks that are read at once; each is a part of one datagram.
const CHUNKS: usize = 64;

/// Bytes for which one such chunk is counted before it is read.
const CHUNK_BYTES: usize = 64 << 10;

/// Tells the reader of a pull its outcome, also if the task is dropped before it has one.
struct Outcome(Arc<pull::Shared>);

impl Drop for Outcome {
    fn drop(&mut self) {
        self.0.handle_outcome(Err(NetError::ShutDown));
    }
}

/// Asks over a stream of its own, and reads the answer into `sink`.
pub(super) fn pull(
    shared: Arc<Shared>,
    link: Arc<Link>,
    connection: Connection,
    request: [Bytes; 2],
    sink: Arc<pull::Shared>,
) -> impl Future<Output = ()> + Send + 'static {
    // Outside of the future, which may never be polled once the network is shut down.
    let outcome = Outcome(Arc::clone(&sink));
    async move {
        shared.counts.pulls.fetch_add(1, Relaxed);
        let result = tokio::select! {
            result = pull_answer(&shared, &link, &connection, request, &sink) => result,
            () = sink.cancelled().notified() => Err(NetError::ClosedHere),
        };
        shared.counts.pulls.fetch_sub(1, Relaxed);
        outcome.0.handle_outcome(result);
    }
}

async fn pull_answer(
    shared: &Shared,
    link: &Link,
    connection: &Connection,
    mut request: [Bytes; 2],
    sink: &pull::Shared,
) -> Result<(), NetError> {
    let silence = shared.limits.silence;
    let late = |_| NetError::Deadline { address: link.address, wait: Wait::Answer, after: silence };
    let lost = |error| shared.cause_on(link, error);
    let (mut send, mut recv) = timeout(silence, connection.open_bi()).await.map_err(late)?.map_err(lost)?;
    match timeout(silence, send.write_all_chunks(&mut request)).await.map_err(late)? {
        // A peer may refuse before it read all; its refusal is on the way.
        Ok(()) | Err(WriteError::Stopped(_)) => {}
        Err(error) => return Err(shared.cause_of_write(link, error)),
    }
    let _ = send.finish(); // As above.
    let mut reader = AnswerReader::new();
    let mut chunks: [Bytes; CHUNKS] = std::array::from_fn(|_| Bytes::new());
    let mut pieces = Vec::with_capacity(CHUNKS);
    loop {
        let room = sink.room_bytes();
        if room == 0 {
            sink.room().notified().await;
            continue;
        }
        let slots = &mut chunks[..(room / CHUNK_BYTES).clamp(1, CHUNKS)];
        let Some(count) = timeout(silence, recv.read_chunks(slots))
            .await
            .map_err(late)?
            .map_err(|error| shared.cause_of_read(link, error))?
        else {
            return reader.finish().map_err(|error| told(error, link));
        };
        let mut handled = Ok(());
        for chunk in &mut chunks[..count] {
            let chunk = std::mem::take(chunk);
            handled = handled.and_then(|()| reader.handle_chunk(chunk, &mut pieces));
        }
        let bytes: usize = pieces.iter().map(Bytes::len).sum();
        if bytes > 0 {
            shared.counts.bulk_bytes_received.fetch_add(bytes as u64, Relaxed);
            sink.handle_chunks(&mut pieces);
        }
        handled.map_err(|error| told(error, link))?;
    }
}

/// Reads a peer's request, lets the engine answer it, and sends the answer.
pub(super) async fn serve(shared: Arc<Shared>, link: Arc<Link>, mut send: SendStream, recv: RecvStream) {
    let request = match timeout(shared.limits.request, read_request(recv)).await {
        Ok(Some(request)) => request,
        Ok(None) => return reset(&mut send, PROTOCOL),
        Err(_) => return reset(&mut send, LATE),
    };
    let Some(peer) = link.peer() else { return };
    shared.counts.asked.fetch_add(1, Relaxed);
    let (answer, reply) = Answer::new();
    (shared.on_event)(Event::Asked { link: link.id, peer, request, answer });
    let reply = tokio::select! {
        reply = reply => reply,
        _ = send.stopped() => return,
    };
    let sent = match reply {
        Ok(Reply::Pieces(pieces)) => send_pieces(&shared, &mut send, pieces).await,
        Ok(Reply::Refusal { code, payload }) => send_refusal(&shared, &mut send, code, payload).await,
        Err(_) => Err(ABANDONED),
    };
    match sent {
        Ok(()) => {
            let _ = send.finish(); // If the peer stopped it in the meantime, nobody misses the end.
        }
        Err(code) => reset(&mut send, code),
    }
}

async fn read_request(mut recv: RecvStream) -> Option<Message> {
    let mut reader = RequestReader::default();
    while let Some(chunk) = recv.read_chunk(usize::MAX, true).await.ok()? {
        reader.handle_bytes(&chunk.bytes).ok()?;
    }
    reader.finish().ok()
}

/// Sends all pieces and the end; the error is the code to reset the stream with.
async fn send_pieces(shared: &Shared, send: &mut SendStream, pieces: Pieces) -> Result<(), u32> {
    let head = Bytes::from(given().map_err(|_| PROTOCOL)?);
    write(shared, send, &mut [head]).await?;
    for piece in pieces {
        match piece {
            Ok(mut bytes) => {
                while let Some(mut parts) = next_piece(&mut bytes) {
                    let length = parts[1].len() as u64;
                    write(shared, send, &mut parts).await?;
                    shared.counts.bulk_bytes_sent.fetch_add(length, Relaxed);
                }
            }
            Err(reason) => return write(shared, send, &mut [broken_off(&reason)]).await,
        }
    }
    write(shared, send, &mut [end()]).await
}

async fn send_refusal(shared: &Shared, send: &mut SendStream, code: u32, payload: Vec<u8>) -> Result<(), u32> {
    let refusal = refused(code, payload).map_err(|_| PROTOCOL)?;
    write(shared, send, &mut [refusal.into()]).await
}

/// At most one piece, so that the deadline is about progress.
async fn write(shared: &Shared, send: &mut SendStream, parts: &mut [Bytes]) -> Result<(), u32> {
    match timeout(shared.limits.stall, send.write_all_chunks(parts)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(ABANDONED), // The peer cancelled, or the link is down: nobody will read the code.
        Err(_) => Err(LATE),
    }
}

fn reset(send: &mut SendStream, code: u32) {
    let _ = send.reset(code.into()); // It may be closed already: all the better.
}

fn told(error: StreamError, link: &Link) -> NetError {
    let address = link.address;
    match error {
        StreamError::Said(error) => error,
        StreamError::Message(source) => NetError::Message { address, source },
        StreamError::Protocol { detail } => NetError::Protocol { address, detail },
    }
}

impl Shared {
    /// What an error of an up link's connection means. If we closed it, the link knows why.
    fn cause_on(&self, link: &Link, error: ConnectionError) -> NetError {
        match error {
            ConnectionError::LocallyClosed => link.cause().unwrap_or(NetError::ClosedHere),
            error => self.cause_of(error, None, link.address),
        }
    }

    fn cause_of_read(&self, link: &Link, error: ReadError) -> NetError {
        let address = link.address;
        let refused = |refusal| NetError::RefusedByPeer { address, refusal };
        match error {
            ReadError::ConnectionLost(error) => self.cause_on(link, error),
            ReadError::Reset(code) => match u32::try_from(code.into_inner()) {
                Ok(ABANDONED) => NetError::Abandoned,
                Ok(LATE) => refused(Refusal::Deadline),
                Ok(PROTOCOL) => refused(Refusal::Protocol { detail: "it could not read the request".to_owned() }),
                _ => NetError::Reset { code: code.into_inner() },
            },
            other => NetError::Lost { address, detail: other.to_string() },
        }
    }

    fn cause_of_write(&self, link: &Link, error: WriteError) -> NetError {
        match error {
            WriteError::ConnectionLost(error) => self.cause_on(link, error),
            other => NetError::Lost { address: link.address, detail: other.to_string() },
        }
    }
}
