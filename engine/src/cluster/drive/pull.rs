//! Pulling: the frames of ended attempts, from the spools of other workers and from our own.
//!
//! In: where the attempts are, with the ledger of what must come. Out: frames, whole, counted, each once. Never: a frame of an attempt that
//! was not asked for, an end while rows are missing, a wait on a compute thread: when nothing has come the caller gets a wake.
//!
//! ```text
//!   node a ──stream──► ┐
//!   node b ──stream──► ├─► whole frames ─► is it expected, is it the first of its number? ─► decoded by whoever asked
//!   own spool ───────► ┘
//! ```
//! A stream asks one node for everything that is there: frames come one after the other, of any attempt and group. QUIC's flow control
//! holds the sender when nobody reads; what was read and not taken is bounded by the stream's window.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use windrow_net::{MessageKind, NetError, Refusal};

use super::node::Node;
use crate::{
    batch::buffer::{Buffer, MutableBuffer},
    cluster::protocol::{AttemptSource, Incarnation, LostInput, RemoteError, WorkerName},
    error::{Cause, Error, Kind, Result},
    memory::Reservation,
    operator::{
        Wake,
        exchange::{Arrival, Inlet},
    },
    shuffle::{
        AttemptKey, FrameError, FrameLimits, Frames, GroupId, Ledger,
        frame::{FRAME_PREFIX_BYTES, frame_bytes},
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;

/// The kind of a request for frames.
pub const PULL: MessageKind = MessageKind(0x0201);
/// The kind of a request for what a worker has sent and pulled.
pub const TRAFFIC: MessageKind = MessageKind(0x0202);
/// A refusal: the attempt is not held here, or this life is another one.
pub const NOT_HELD: u32 = 1;
/// Bytes of a stream that are read ahead of who takes them: two frames of the largest usual size.
pub const WINDOW_BYTES: usize = 4 << 20;
/// The same where memory is short: enough that the network is not waited for at each packet.
pub const WINDOW_BYTES_MIN: usize = 256 << 10;

/// Bytes of frames from one node, as they come.
pub trait Feed: Send {
    /// What has come.
    fn try_read(&mut self) -> Fed;
    /// Calls `action` once [`Feed::try_read`] would no longer say that nothing has.
    fn when_ready(&self, action: Box<dyn FnOnce() + Send>);
}

/// What a feed has.
pub enum Fed {
    /// Bytes, cut anywhere.
    Bytes(Bytes),
    /// Nothing yet.
    Pending,
    /// No more, and all came.
    End,
    /// It broke; or the node said that it does not hold what was asked for.
    Failed {
        /// Why.
        error: Error,
        /// The node lives and does not have it.
        is_denied: bool,
    },
}

/// Who asks nodes for frames: the network, or for a program's process its worker.
pub trait Fetch: Send + Sync {
    /// Asks the worker at `address`; at most `window_bytes` are read ahead.
    fn ask(&self, address: &str, request: &PullRequest, window_bytes: usize) -> Result<Box<dyn Feed>>;
}

/// What a worker, or a client, has sent and pulled: bytes of frames that crossed the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Bytes of frames given to others.
    pub sent_bytes: u64,
    /// Bytes of frames taken from others.
    pub pulled_bytes: u64,
}

/// A request for frames, as it stands in the stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PullRequest {
    /// Which life of the worker is asked.
    pub incarnation: Incarnation,
    /// Which groups of which attempts.
    pub wanted: Vec<(AttemptKey, Vec<GroupId>)>,
}

/// Frames on their way to one task, or to one client.
pub struct PullInlet {
    node: Arc<Node>,
    state: Mutex<State>,
}

struct State {
    /// Asked for when somebody pulls for the first time: a join's probe side is not read while the other side is built.
    unasked: Vec<AttemptSource>,
    streams: Vec<Stream>,
    local: VecDeque<Local>,
    ledger: Ledger,
    taken: TakenBytes,
    /// What the streams read ahead.
    windows: Reservation,
}

/// Bytes of frames that were taken.
#[derive(Clone, Debug, Default)]
pub struct TakenBytes {
    /// Of all of them.
    pub all: u64,
    /// Of those that came over the network, by who gave them.
    pub pulled: BTreeMap<WorkerName, u64>,
}

impl TakenBytes {
    /// Counts `other` too.
    pub fn add(&mut self, other: TakenBytes) {
        self.all += other.all;
        for (worker, bytes) in other.pulled {
            *self.pulled.entry(worker).or_default() += bytes;
        }
    }
}

/// What our own spool has of an attempt.
struct Local {
    source: AttemptSource,
    frames: Frames,
    /// Whole frames that were not looked at.
    rest: Bytes,
}

/// What one node sends.
struct Stream {
    feed: Box<dyn Feed>,
    /// What it reads ahead, which is reserved.
    window_bytes: usize,
    /// What is lost when it breaks.
    sources: Vec<AttemptSource>,
    frame: Assembly,
}

impl PullInlet {
    /// Frames of these attempts, to be pulled by `node`.
    pub fn new(node: &Arc<Node>, sources: Vec<AttemptSource>) -> Arc<PullInlet> {
        let mut ledger = Ledger::default();
        for source in &sources {
            source.groups.iter().for_each(|(group, reported)| ledger.expect(source.key, *group, *reported));
        }
        let (streams, local, taken) = (Vec::new(), VecDeque::new(), TakenBytes::default());
        let windows = node.governor.reservation("frames read ahead");
        let state = State { unasked: sources, streams, local, ledger, taken, windows };
        Arc::new(PullInlet { node: Arc::clone(node), state: Mutex::new(state) })
    }

    /// Rows that have come of these attempts.
    pub fn rows_of(&self, attempts: impl Iterator<Item = AttemptKey>) -> u64 {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.map(|key| state.ledger.rows_of(key)).sum()
    }

    /// Bytes of the frames that have come.
    pub fn taken_bytes(&self) -> TakenBytes {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).taken.clone()
    }
}

impl Inlet for PullInlet {
    fn pull(&self) -> Result<Arrival> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        if !state.unasked.is_empty() {
            let sources = std::mem::take(&mut state.unasked);
            self.ask(state, sources)?;
        }
        if let Some(frame) = state.next_local()? {
            state.taken.all += frame.len() as u64;
            return Ok(Arrival::Frame(frame));
        }
        let mut number = 0;
        while number < state.streams.len() {
            let stream = &mut state.streams[number];
            // What is not as its ledger says is of no use: whoever made it makes it again.
            match stream.next().map_err(|error| PullFailed::made_again(&stream.sources, error))? {
                Read::Frame(frame) => {
                    self.node.counters.count_pulled(frame.len() as u64);
                    let taken = state.ledger.take(&frame);
                    taken.map_err(|error| PullFailed::made_again(&stream.sources, error.into()))?;
                    state.taken.all += frame.len() as u64;
                    // A program's process asks its own worker, too, and not over the network.
                    if let Some(source) = stream.sources.first().filter(|source| source.worker != self.node.name) {
                        *state.taken.pulled.entry(source.worker.clone()).or_default() += frame.len() as u64;
                    }
                    return Ok(Arrival::Frame(frame));
                }
                Read::Pending => number += 1,
                Read::End => {
                    let stream = state.streams.remove(number);
                    state.windows.resize(state.windows.bytes().saturating_sub(stream.window_bytes as u64))?;
                    stream.sources.iter().try_for_each(|source| close(&state.ledger, source))?;
                }
            }
        }
        if state.streams.is_empty() {
            state.ledger.close_all()?;
            return Ok(Arrival::End);
        }
        let wake = Wake::default();
        for stream in &state.streams {
            let rung = wake.clone();
            stream.feed.when_ready(Box::new(move || rung.fire()));
        }
        Ok(Arrival::Nothing(wake))
    }
}

impl PullInlet {
    /// Asks each node once for all that it has.
    fn ask(&self, state: &mut State, sources: Vec<AttemptSource>) -> Result<()> {
        let mut nodes: BTreeMap<(WorkerName, Incarnation), Vec<AttemptSource>> = BTreeMap::new();
        for mut source in sources {
            source.groups.retain(|(_, total)| total.frames > 0);
            if !source.groups.is_empty() {
                nodes.entry((source.worker.clone(), source.incarnation)).or_default().push(source);
            }
        }
        for ((_, incarnation), sources) in nodes {
            if self.node.is_self(incarnation) {
                for source in sources {
                    let groups: Vec<GroupId> = source.groups.iter().map(|(group, _)| *group).collect();
                    let Some(frames) = self.node.spool.frames(&source.key, &groups) else {
                        return Err(PullFailed::of(&[source], true, NotHeld.into()).into());
                    };
                    state.local.push_back(Local { source, frames, rest: Bytes::new() });
                }
                continue;
            }
            let groups = |source: &AttemptSource| source.groups.iter().map(|(group, _)| *group).collect();
            let wanted = sources.iter().map(|source| (source.key, groups(source))).collect();
            let window_bytes = self.reserve_window(&mut state.windows)?;
            let feed = self.node.fetch.ask(&sources[0].address, &PullRequest { incarnation, wanted }, window_bytes)?;
            state.streams.push(Stream { feed, window_bytes, sources, frame: Assembly::default() });
        }
        Ok(())
    }

    /// Reading ahead is worth memory that is free, and none that an operator would have to write to disk for it.
    fn reserve_window(&self, windows: &mut Reservation) -> Result<usize> {
        let governor = &self.node.governor;
        let spare_bytes = governor.free_bytes().saturating_sub(governor.headroom_bytes());
        let window_bytes = if spare_bytes > 2 * WINDOW_BYTES as u64 { WINDOW_BYTES } else { WINDOW_BYTES_MIN };
        windows.grow(window_bytes as u64)?;
        Ok(window_bytes)
    }
}

impl State {
    /// The next frame of our own spool. One that is not as it must be is lost, and made again like another node's.
    fn next_local(&mut self) -> Result<Option<Buffer>> {
        while let Some(local) = self.local.front_mut() {
            match local.next(&mut self.ledger) {
                Ok(Some(frame)) => return Ok(Some(frame)),
                Ok(None) => {
                    close(&self.ledger, &local.source)?;
                    self.local.pop_front();
                }
                Err(error) => return Err(PullFailed::made_again(std::slice::from_ref(&local.source), error)),
            }
        }
        Ok(None)
    }
}

impl Local {
    fn next(&mut self, ledger: &mut Ledger) -> Result<Option<Buffer>> {
        if self.rest.is_empty() {
            let Some(frames) = self.frames.next() else { return Ok(None) };
            self.rest = frames?;
        }
        let length = frame_bytes(&self.rest, &FrameLimits::default())?;
        if length > self.rest.len() {
            return Err(FrameError::Length { expected_bytes: length, found_bytes: self.rest.len() }.into());
        }
        let frame = Buffer::from(self.rest.split_to(length));
        ledger.take(&frame)?;
        Ok(Some(frame))
    }
}

/// All of an attempt must have come; what did not is lost.
fn close(ledger: &Ledger, source: &AttemptSource) -> Result<()> {
    let closed = ledger.close(source.key);
    closed.map_err(|error| PullFailed::of(std::slice::from_ref(source), true, error.into()).into())
}

enum Read {
    Frame(Buffer),
    Pending,
    End,
}

impl Stream {
    /// The next whole frame, if its bytes have come.
    fn next(&mut self) -> Result<Read> {
        loop {
            if let Some(frame) = self.frame.next()? {
                return Ok(Read::Frame(frame));
            }
            match self.feed.try_read() {
                Fed::Bytes(bytes) => self.frame.rest = bytes,
                Fed::Pending => return Ok(Read::Pending),
                Fed::End if self.frame.is_empty() => return Ok(Read::End),
                Fed::End => return Err(CutOff { bytes: self.frame.held_bytes() }.into()),
                Fed::Failed { error, is_denied } => {
                    return Err(PullFailed::of(&self.sources, is_denied, error).into());
                }
            }
        }
    }
}

/// A frame whose bytes come in pieces, put together where columns may stand.
#[derive(Default)]
struct Assembly {
    /// Bytes of the stream that were not looked at.
    rest: Bytes,
    head: Vec<u8>,
    frame: Option<(MutableBuffer, usize)>,
}

impl Assembly {
    fn next(&mut self) -> Result<Option<Buffer>> {
        loop {
            if let Some((buffer, length)) = &mut self.frame {
                let missing = *length - buffer.len();
                let piece = self.rest.split_to(missing.min(self.rest.len()));
                buffer.extend_from_slice(&piece);
                if buffer.len() < *length {
                    return Ok(None);
                }
                return Ok(self.frame.take().map(|(buffer, _)| buffer.into()));
            }
            if self.rest.is_empty() {
                return Ok(None);
            }
            let missing = FRAME_PREFIX_BYTES - self.head.len();
            let piece = self.rest.split_to(missing.min(self.rest.len()));
            self.head.extend_from_slice(&piece);
            if self.head.len() < FRAME_PREFIX_BYTES {
                return Ok(None);
            }
            let length = frame_bytes(&self.head, &FrameLimits::default())?;
            let mut buffer = MutableBuffer::with_capacity(length);
            buffer.extend_from_slice(&self.head);
            self.head.clear();
            self.frame = Some((buffer, length));
        }
    }

    fn is_empty(&self) -> bool {
        self.held_bytes() == 0
    }

    fn held_bytes(&self) -> usize {
        self.head.len() + self.frame.as_ref().map_or(0, |(buffer, _)| buffer.len())
    }
}

/// Frames that could not be pulled.
#[derive(Debug, thiserror::Error)]
#[error("pulling {} attempts from worker {worker} at {address}", lost.len())]
pub struct PullFailed {
    /// What is missing.
    pub lost: Vec<LostInput>,
    worker: WorkerName,
    address: String,
    source: Error,
}

impl PullFailed {
    /// An error of what came from `sources`, so that they are made again.
    fn made_again(sources: &[AttemptSource], error: Error) -> Error {
        let cause: &(dyn std::error::Error + 'static) = error.cause();
        if cause.is::<PullFailed>() { error } else { PullFailed::of(sources, true, error).into() }
    }

    fn of(sources: &[AttemptSource], is_denied: bool, source: Error) -> PullFailed {
        let lost = |source: &AttemptSource| LostInput {
            key: source.key,
            worker: source.worker.clone(),
            incarnation: source.incarnation,
            is_denied,
        };
        PullFailed {
            lost: sources.iter().map(lost).collect(),
            worker: sources.first().map(|source| source.worker.clone()).unwrap_or_default(),
            address: sources.first().map(|source| source.address.clone()).unwrap_or_default(),
            source,
        }
    }
}

impl Cause for PullFailed {
    fn kind(&self) -> Kind {
        // What is still damaged after all tries is told as that.
        if self.source.kind() == Kind::Corrupt { Kind::Corrupt } else { Kind::Io }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("pulling frames: the stream ended {bytes} bytes into a frame")]
struct CutOff {
    bytes: usize,
}

impl Cause for CutOff {
    fn kind(&self) -> Kind {
        Kind::Corrupt
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the attempt is not held here")]
struct NotHeld;

impl Cause for NotHeld {
    fn kind(&self) -> Kind {
        Kind::Io
    }
}

#[derive(Debug, thiserror::Error)]
#[error("writing a request for frames")]
pub struct Unwritable {
    /// The encoder's own.
    pub source: postcard::Error,
}

impl Cause for Unwritable {
    fn kind(&self) -> Kind {
        Kind::Internal
    }
}

impl Cause for NetError {
    fn kind(&self) -> Kind {
        match self {
            NetError::Certificate { .. }
            | NetError::Cluster { .. }
            | NetError::Role { .. }
            | NetError::KeyIsOpen { .. } => Kind::Denied,
            NetError::RefusedByPeer {
                refusal: Refusal::Certificate { .. } | Refusal::Role | Refusal::Cluster, ..
            } => Kind::Denied,
            NetError::Version { .. } => Kind::Unsupported,
            NetError::Limits { .. } | NetError::Encode { .. } => Kind::Internal,
            NetError::Name { .. } | NetError::File { .. } | NetError::Start { .. } => Kind::Request,
            _ => Kind::Io,
        }
    }
}

/// The refusal that a node sends for what it does not hold.
pub fn not_held(key: &AttemptKey, worker: &str) -> RemoteError {
    RemoteError::new(Kind::Io, format!("giving the frames of attempt {key}: they are not held here")).at(worker)
}
