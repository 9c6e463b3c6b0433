//! The coordinator's records: what stands in the payloads of the journal.
//!
//! In: what the coordinator is about to act upon. Out: a kind and its payload; and the same again after a restart.
//! Never: what can be computed from earlier records.
//!
//! | kind | record | written before |
//! |---|---|---|
//! | 1 | job | `Submitted` |
//! | 2 | plan shipped | `PlanTaken` |
//! | 3 | decision: `plan/decision.rs`'s record, a parameter's value | the first order that has it |
//! | 4 | attempt ended | `EndTaken`, and whatever follows from the end |
//! | 6 | action's result | `Outcome` |
//! | 8 | job ended | the client hears of it |
//! | 9 | driver started | `StartDriver` |
//! | 10 | part of a plan | its kind 2 |
//! | 11 | stage started | the first order of the stage |
//! | 12 | attempt started | its order |
//! | 13 | attempt lost | the order of the next attempt at its task |
//!
//! Kinds 5 and 7 are kept for durable edges and for a commit of the coordinator's own. Payloads but kind 3's are postcard.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    checkpoint::journal::RecordKind,
    cluster::protocol::{
        ActionNumber, AttemptEnd, AttemptKey, Blob, DriverEnd, DriverRun, Incarnation, JobKind, RemoteError, Skeleton,
        Submission, WorkerName,
    },
    error::{Cause, Kind},
    plan::decision::{DecisionError, DecisionRecord},
    shuffle::{GroupId, JobId, StageId},
};

/// What the coordinator writes down of one job.
#[derive(Clone, Debug, PartialEq)]
pub enum JournalRecord {
    /// A job was accepted.
    Job(Box<Submission>),
    /// Its driver was sent to a worker.
    DriverStarted(DriverStarted),
    /// A part of a plan, before its `PlanShipped`.
    PlanPart(PlanPart),
    /// The driver has planned an action; its parts are all there.
    PlanShipped(Box<PlanShipped>),
    /// A parameter's value.
    Decision(Box<DecisionRecord>),
    /// A stage was cut into tasks.
    StageStarted(StageStarted),
    /// An attempt was ordered.
    AttemptStarted(AttemptStarted),
    /// An attempt ended.
    AttemptEnded(Box<AttemptEnded>),
    /// What an attempt made, or was about to make, is gone.
    AttemptLost(AttemptLost),
    /// An action ended.
    ActionEnded(ActionEnded),
    /// The job ended.
    JobEnded(JobEnded),
}

/// A start of the driver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriverStarted {
    /// Which.
    pub driver: DriverRun,
    /// Where.
    pub worker: WorkerName,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// How many workers it plans for: the same in all starts of a job.
    pub nodes: u32,
    /// The start before it failed by itself.
    pub after_failure: bool,
}

/// A part of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanPart {
    /// Of which action.
    pub action: ActionNumber,
    /// Which, from 0.
    pub part: u32,
    /// Its bytes.
    pub bytes: Blob,
}

/// A plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanShipped {
    /// Of which action.
    pub action: ActionNumber,
    /// What the coordinator may know.
    pub skeleton: Skeleton,
    /// XXH3-64 of its bytes.
    pub plan_hash: u64,
    /// How many those are.
    pub plan_bytes: u64,
}

/// A stage, cut into tasks for good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageStarted {
    /// Which.
    pub stage: StageId,
    /// By task number.
    pub tasks: Vec<TaskShape>,
}

/// What a task reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskShape {
    /// Splits, the first and the one behind the last.
    pub splits: (u32, u32),
    /// Groups, rising.
    pub groups: Vec<GroupId>,
    /// Who should take it.
    pub preferred: Option<WorkerName>,
    /// Bytes that it will read, as far as known.
    pub bytes: u64,
}

/// An attempt that was ordered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptStarted {
    /// Which.
    pub key: AttemptKey,
    /// Where.
    pub worker: WorkerName,
    /// Which life of it.
    pub incarnation: Incarnation,
}

/// An attempt that ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptEnded {
    /// Which.
    pub key: AttemptKey,
    /// How.
    pub end: AttemptEnd,
}

/// An attempt that is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptLost {
    /// Which.
    pub key: AttemptKey,
}

/// An action that ended; where its rows or manifests are follows from the attempts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActionEnded {
    /// Which.
    pub action: ActionNumber,
    /// Why, when it failed.
    pub failed: Option<RemoteError>,
}

/// A job that ended. A second record replaces the first when its rows were lost for good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobEnded {
    /// How; none when it was cancelled.
    pub end: Option<DriverEnd>,
}

const JOB: RecordKind = RecordKind(1);
const PLAN_SHIPPED: RecordKind = RecordKind(2);
const DECISION: RecordKind = RecordKind(3);
const ATTEMPT_ENDED: RecordKind = RecordKind(4);
const ACTION_ENDED: RecordKind = RecordKind(6);
const JOB_ENDED: RecordKind = RecordKind(8);
const DRIVER_STARTED: RecordKind = RecordKind(9);
const PLAN_PART: RecordKind = RecordKind(10);
const STAGE_STARTED: RecordKind = RecordKind(11);
const ATTEMPT_STARTED: RecordKind = RecordKind(12);
const ATTEMPT_LOST: RecordKind = RecordKind(13);

impl JournalRecord {
    /// The kind and payload under which the journal keeps it.
    pub fn to_payload(&self) -> Result<(RecordKind, Vec<u8>), RecordError> {
        fn payload(kind: RecordKind, value: &impl Serialize) -> Result<(RecordKind, Vec<u8>), RecordError> {
            let bytes = postcard::to_allocvec(value).map_err(|source| RecordError::Write { kind: kind.0, source })?;
            Ok((kind, bytes))
        }
        match self {
            JournalRecord::Job(record) => payload(JOB, record),
            JournalRecord::DriverStarted(record) => payload(DRIVER_STARTED, record),
            JournalRecord::PlanPart(record) => payload(PLAN_PART, record),
            JournalRecord::PlanShipped(record) => payload(PLAN_SHIPPED, record),
            JournalRecord::Decision(record) => {
                let mut bytes = Vec::new();
                record.encode(&mut bytes).map_err(|source| RecordError::Decision { source })?;
                Ok((DECISION, bytes))
            }
            JournalRecord::StageStarted(record) => payload(STAGE_STARTED, record),
            JournalRecord::AttemptStarted(record) => payload(ATTEMPT_STARTED, record),
            JournalRecord::AttemptEnded(record) => payload(ATTEMPT_ENDED, record),
            JournalRecord::AttemptLost(record) => payload(ATTEMPT_LOST, record),
            JournalRecord::ActionEnded(record) => payload(ACTION_ENDED, record),
            JournalRecord::JobEnded(record) => payload(JOB_ENDED, record),
        }
    }

    /// The record of a payload, all of it.
    pub fn from_payload(kind: RecordKind, bytes: &[u8]) -> Result<JournalRecord, RecordError> {
        fn record<T: DeserializeOwned>(kind: RecordKind, bytes: &[u8]) -> Result<T, RecordError> {
            let (record, rest) =
                postcard::take_from_bytes(bytes).map_err(|source| RecordError::Read { kind: kind.0, source })?;
            if rest.is_empty() { Ok(record) } else { Err(RecordError::Trailing { kind: kind.0, bytes: rest.len() }) }
        }
        Ok(match kind {
            JOB => JournalRecord::Job(record(kind, bytes)?),
            DRIVER_STARTED => JournalRecord::DriverStarted(record(kind, bytes)?),
            PLAN_PART => JournalRecord::PlanPart(record(kind, bytes)?),
            PLAN_SHIPPED => JournalRecord::PlanShipped(record(kind, bytes)?),
            DECISION => {
                let decision = DecisionRecord::decode(bytes).map_err(|source| RecordError::Decision { source })?;
                JournalRecord::Decision(Box::new(decision))
            }
            STAGE_STARTED => JournalRecord::StageStarted(record(kind, bytes)?),
            ATTEMPT_STARTED => JournalRecord::AttemptStarted(record(kind, bytes)?),
            ATTEMPT_ENDED => JournalRecord::AttemptEnded(record(kind, bytes)?),
            ATTEMPT_LOST => JournalRecord::AttemptLost(record(kind, bytes)?),
            ACTION_ENDED => JournalRecord::ActionEnded(record(kind, bytes)?),
            JOB_ENDED => JournalRecord::JobEnded(record(kind, bytes)?),
            RecordKind(kind) => return Err(RecordError::UnknownKind { kind }),
        })
    }
}

/// What an ended job leaves when its journal goes: its number is not taken again, and lists still show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epitaph {
    /// Which job.
    pub job: JobId,
    /// A line for people.
    pub label: String,
    /// Text or program.
    pub kind: JobKind,
    /// Milliseconds since 1970 by the client's clock.
    pub submitted_unix_ms: u64,
    /// Why, when it failed.
    pub failed: Option<RemoteError>,
    /// Somebody ended it.
    pub is_cancelled: bool,
    /// Microseconds from its submission to its end.
    pub micros: u64,
}

/// Why a payload is no record, or a record no payload.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not encodable.
    #[error("write a journal record of kind {kind}")]
    Write {
        /// Its kind.
        kind: u16,
        /// The encoder's own.
        #[source]
        source: postcard::Error,
    },
    /// Not a record of this kind.
    #[error("read a journal record of kind {kind}")]
    Read {
        /// Its kind.
        kind: u16,
        /// The decoder's own.
        #[source]
        source: postcard::Error,
    },
    /// A decision that is none.
    #[error("a journal record of a decision")]
    Decision {
        /// The decision's own.
        #[source]
        source: DecisionError,
    },
    /// More bytes than the record.
    #[error("read a journal record of kind {kind} with {bytes} bytes behind its end")]
    Trailing {
        /// Its kind.
        kind: u16,
        /// So many.
        bytes: usize,
    },
    /// Written by another build.
    #[error("read a journal record of kind {kind}, which this build does not know")]
    UnknownKind {
        /// Its kind.
        kind: u16,
    },
}

impl Cause for RecordError {
    fn kind(&self) -> Kind {
        match self {
            RecordError::Write { .. } => Kind::Internal,
            RecordError::Decision { source } => source.kind(),
            RecordError::Read { .. } | RecordError::Trailing { .. } | RecordError::UnknownKind { .. } => Kind::Corrupt,
        }
    }
}
