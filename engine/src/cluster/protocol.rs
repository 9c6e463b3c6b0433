//! The messages of the control plane: who tells whom what, and how it becomes bytes.
//!
//! In: what the machines and the command line have to say; or the payload of an envelope. Out: a payload; or a message
//! whose every length has been checked. Never: rows (they have frames and streams of their own), a clock time of one
//! machine that another reckons with, a message that must arrive: each is sent again until what it asks for shows.
//!
//! `README.md` tells in which order they are sent, and the race that each closes.
//!
//! | kind | from | to | message | stamp |
//! |---|---|---|---|---|
//! | 0x0101 | worker | coordinator | [`FromWorker`] | the worker's incarnation, the epoch it knows, a number that rises |
//! | 0x0102 | coordinator | worker | [`ToWorker`] | the coordinator's epoch, the incarnation that is meant |
//! | 0x0103 | client | coordinator | [`FromClient`] | the client's own request number |
//! | 0x0104 | coordinator | client | [`ToClient`] | the epoch, the request that is answered |
//!
//! A payload is the postcard encoding of the message, all of it. Fields are never added to a variant: a new meaning is a
//! new variant at the end of its enum, and [`PROTOCOL_VERSION`] rises when an old one changes.

use std::fmt;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    cluster::limits::*,
    error::{Cause, Kind},
};

mod binary; // BinaryAsk, BinaryWanted: binaries of programs on their way
mod blob; // Blob: bytes that are passed on unopened
mod client; // FromClient, ToClient
mod cost; // AttemptCounters, StageCounters, JobProfile: what attempts and jobs cost
mod order; // ToWorker: what the coordinator tells a worker
mod remote; // RemoteError, Retry: an error that keeps its kind
mod report; // FromWorker: what a worker tells the coordinator
mod skeleton; // Skeleton: stages and edges, checked
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
mod view; // JobUpdate, JobSummary, JobView, ClusterView: what a client sees

pub use crate::shuffle::numbers::{AttemptKey, GroupTotal};
pub use binary::{BinaryAsk, BinaryId, BinaryWanted};
pub use blob::Blob;
pub use client::{Answer, FromClient, JobKind, JobOptions, Request, Submission, ToClient};
pub use cost::{
    AttemptCounters, JobCost, JobProfile, PipelineCounters, PulledFrom, StageCounters, StageProfile, StepCounters,
    Wasted, WorkerProfile, cpu_micros,
};
pub use order::{
    ActionOutcome, AttemptSource, DriverStart, Order, OrderBody, OrderInput, ShippedAction, TaskManifest, ToWorker,
};
pub use remote::{RemoteCause, RemoteError, Retry, with_text};
pub use report::{
    AttemptEnd, AttemptFailure, AttemptProgress, AttemptReport, Beat, DriverEnd, DriverPlan, DriverRun, EdgeTaken,
    FailureCause, FromWorker, HeldJob, LostInput, Registration, RunningAttempt, WorkerBody,
};
pub use skeleton::{
    ActionNumber, EdgeEnd, EdgeId, EdgeKind, EdgeShape, ParameterNumber, Skeleton, StageKind, StageShape, stage_id,
    stage_place,
};
pub use view::{
    AttemptState, AttemptView, ClusterView, JobState, JobSummary, JobUpdate, JobView, StageProgress, StageView,
    WorkerState, WorkerView,
};

/// Raised when the meaning of a message changes; a worker of another version is refused by name.
pub const PROTOCOL_VERSION: u16 = 5;

/// A message that travels in an envelope of its own kind.
pub trait Message: Serialize + DeserializeOwned {
    /// The number of the kind in the envelope.
    const KIND: u16;
    /// Refuses texts and lists that are longer than they may be.
    fn check(&self) -> Result<(), ProtocolError>;

    /// The payload of the envelope.
    fn to_bytes(&self) -> Result<Vec<u8>, ProtocolError> {
        self.check()?;
        let bytes = postcard::to_allocvec(self).map_err(|source| ProtocolError::Write { kind: Self::KIND, source })?;
        at_most("bytes of a message", bytes.len(), MESSAGE_BYTES_MAX)?;
        Ok(bytes)
    }

    /// The message of a payload, all of it and nothing else.
    fn from_bytes(bytes: &[u8]) -> Result<Self, ProtocolError> {
        at_most("bytes of a message", bytes.len(), MESSAGE_BYTES_MAX)?;
        let (message, rest): (Self, &[u8]) =
            postcard::take_from_bytes(bytes).map_err(|source| ProtocolError::Read { kind: Self::KIND, source })?;
        if !rest.is_empty() {
            return Err(ProtocolError::Trailing { kind: Self::KIND, bytes: rest.len() });
        }
        message.check()?;
        Ok(message)
    }
}

/// The name of a worker, as its certificate says it: letters, digits, `.`, `-`, `_`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkerName(String);

impl WorkerName {
    /// A name, if it is one.
    pub fn new(name: impl Into<String>) -> Result<WorkerName, ProtocolError> {
        let name = WorkerName(name.into());
        name.check()?;
        Ok(name)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn check(&self) -> Result<(), ProtocolError> {
        at_most("bytes of a name", self.0.len(), NAME_BYTES_MAX)?;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if self.0.is_empty() || !self.0.bytes().all(is_name) {
            return Err(ProtocolError::Name { name: self.0.clone() });
        }
        Ok(())
    }
}

impl fmt::Display for WorkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which life of a worker: random at its start. Two lives have no order; one that was left is never taken up again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One connection, as the process numbers them; never used twice in a process's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link(pub u64);

// ── checks ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/// How many parts a plan of so many bytes has; an empty one has one.
pub fn part_count(plan_bytes: u64) -> u32 {
    (plan_bytes.div_ceil(PART_BYTES as u64).max(1)) as u32
}

/// A part of a plan; none beyond its end.
pub fn part_of(plan: &[u8], part: u32) -> Option<&[u8]> {
    let start = part as usize * PART_BYTES;
    if part > 0 && start >= plan.len() {
        return None;
    }
    plan.get(start..plan.len().min(start + PART_BYTES))
}

fn at_most(what: &'static str, found: usize, max: usize) -> Result<(), ProtocolError> {
    if found > max { Err(ProtocolError::TooMany { what, found, max }) } else { Ok(()) }
}

fn check_error(error: &RemoteError) -> Result<(), ProtocolError> {
    if error.is_bounded() { Ok(()) } else { at_most("bytes of an error", usize::MAX, SENTENCE_BYTES_MAX) }
}

fn check_lost(lost: &[LostInput]) -> Result<(), ProtocolError> {
    at_most("lost inputs", lost.len(), ATTEMPTS_PER_WORKER_MAX)?;
    lost.iter().try_for_each(|lost| lost.worker.check())
}

fn check_sources(sources: &[AttemptSource]) -> Result<(), ProtocolError> {
    at_most("attempts of an edge", sources.len(), STAGES_PER_ACTION_MAX * TASKS_PER_STAGE_MAX)?;
    for source in sources {
        source.worker.check()?;
        at_most("bytes of an address", source.address.len(), NAME_BYTES_MAX)?;
        at_most("groups of an attempt", source.groups.len(), GROUPS_MAX)?;
    }
    Ok(())
}

/// Why bytes are no message, or a message is none.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// A bound was reached.
    #[error("a message with {found} {what}, more than {max}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        found: usize,
        /// How much may be.
        max: usize,
    },
    /// Not a name of a worker.
    #[error("{name:?} is no name of a worker: letters, digits, `.`, `-` and `_`")]
    Name {
        /// The text.
        name: String,
    },
    /// Stages and edges that do not fit.
    #[error("the skeleton's {what} {index} {why}")]
    Skeleton {
        /// Stage, edge or action.
        what: &'static str,
        /// Its index.
        index: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Not encodable.
    #[error("write a message of kind {kind:#06x}")]
    Write {
        /// Its kind.
        kind: u16,
        /// The encoder's own.
        #[source]
        source: postcard::Error,
    },
    /// Not a message of this kind.
    #[error("read a message of kind {kind:#06x}")]
    Read {
        /// Its kind.
        kind: u16,
        /// The decoder's own.
        #[source]
        source: postcard::Error,
    },
    /// More bytes than the message.
    #[error("read a message of kind {kind:#06x} with {bytes} bytes behind its end")]
    Trailing {
        /// Its kind.
        kind: u16,
        /// So many.
        bytes: usize,
    },
}

impl Cause for ProtocolError {
    fn kind(&self) -> Kind {
        match self {
            ProtocolError::TooMany { .. } => Kind::Limit,
            ProtocolError::Name { .. } => Kind::Request,
            ProtocolError::Skeleton { .. } | ProtocolError::Write { .. } => Kind::Internal,
            ProtocolError::Read { .. } | ProtocolError::Trailing { .. } => Kind::Corrupt,
        }
    }
}
