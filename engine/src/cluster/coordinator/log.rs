//! What a job's event log says: one line an event, for people and for tools.
//!
//! In: what the coordinator has decided. Out: a value that the process writes as a line of JSON with the time. Never:
//! read back.

use serde::Serialize;

use crate::cluster::protocol::{
    ActionNumber, AttemptCounters, AttemptKey, Incarnation, JobKind, ParameterNumber, RemoteError, WorkerName,
};
use crate::shuffle::{StageId, TaskId};

/// Something that happened to a job.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum JobEvent {
    /// It is durable.
    Submitted {
        /// Text or program.
        kind: JobKind,
        /// A line for people.
        label: String,
    },
    /// The coordinator came back and goes on with it.
    Recovered,
    /// Its driver was sent to a worker.
    DriverStarted {
        /// Which start.
        run: u32,
        /// Where.
        worker: WorkerName,
        /// For how many workers it plans.
        nodes: u32,
    },
    /// Its driver, or its worker, died or failed with what a retry may mend.
    DriverLost {
        /// Which start.
        run: u32,
        /// Where.
        worker: WorkerName,
        /// Why, if it said so.
        cause: Option<RemoteError>,
    },
    /// A plan is durable.
    PlanShipped {
        /// Of which action.
        action: ActionNumber,
        /// How many stages.
        stages: usize,
        /// How many bytes.
        plan_bytes: u64,
    },
    /// A stage was cut into tasks.
    StageStarted {
        /// Which.
        stage: StageId,
        /// Into how many.
        tasks: usize,
    },
    /// An attempt was ordered.
    AttemptStarted {
        /// Which.
        #[serde(serialize_with = "as_text")]
        attempt: AttemptKey,
        /// Where.
        worker: WorkerName,
    },
    /// An attempt counts.
    AttemptFinished {
        /// Which.
        #[serde(serialize_with = "as_text")]
        attempt: AttemptKey,
        /// Rows that it gave.
        rows: u64,
        /// Bytes that it gave.
        bytes: u64,
        /// What it cost.
        counters: AttemptCounters,
    },
    /// An attempt failed.
    AttemptFailed {
        /// Which.
        #[serde(serialize_with = "as_text")]
        attempt: AttemptKey,
        /// Why.
        cause: RemoteError,
        /// It is tried again after so many microseconds; none when it is not.
        again_after: Option<u64>,
    },
    /// What an attempt made, or was about to make, is gone.
    AttemptLost {
        /// Which.
        #[serde(serialize_with = "as_text")]
        attempt: AttemptKey,
        /// With whom.
        worker: WorkerName,
    },
    /// A worker that worked for the job is given up.
    WorkerLost {
        /// Who.
        worker: WorkerName,
        /// Which life.
        incarnation: Incarnation,
        /// Why.
        why: &'static str,
    },
    /// A parameter is known and never changes.
    ParameterKnown {
        /// Of which stage.
        stage: StageId,
        /// Which.
        parameter: ParameterNumber,
    },
    /// An action ended.
    ActionEnded {
        /// Which.
        action: ActionNumber,
        /// Why, when it failed.
        failed: Option<RemoteError>,
    },
    /// All tries at a task were used up.
    TaskGivenUp {
        /// Of which stage.
        stage: StageId,
        /// Which.
        task: TaskId,
    },
    /// It ended.
    Ended {
        /// `done`, `failed`, `cancelled`.
        state: &'static str,
        /// Why, when it failed.
        cause: Option<RemoteError>,
    },
    /// Its rows were taken, or nobody came for them.
    Forgotten,
}

fn as_text<S: serde::Serializer>(key: &AttemptKey, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&format!("{}.{}.{}", key.stage, key.task, key.attempt))
}
