//! What a client sees of jobs and workers.
//!
//! In: the coordinator's state. Out: values to be printed. Never: what a machine decides by.

use serde::{Deserialize, Serialize};

use super::{AttemptProgress, AttemptSource, Blob, Incarnation, JobCost, JobKind, RemoteError, StageKind, WorkerName};
use crate::shuffle::{AttemptId, Epoch, JobId, StageId, TaskId};

/// Where a job stands: `queued → running → done | failed | cancelled`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobState {
    /// Waits for others.
    Queued,
    /// Its driver runs, or is about to.
    Running,
    /// Its driver ended well; its rows, if it has any, wait to be taken.
    Done,
    /// It failed.
    Failed(RemoteError),
    /// Somebody ended it.
    Cancelled,
}

impl JobState {
    /// It will not change any more.
    pub fn is_ended(&self) -> bool {
        !matches!(self, JobState::Queued | JobState::Running)
    }
}

/// How a job goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobUpdate {
    /// Which.
    pub job: JobId,
    /// Rises with each change, also across the coordinator's lives.
    pub revision: u64,
    /// Where it stands.
    pub state: JobState,
    /// Its stages so far.
    pub progress: Vec<StageProgress>,
    /// Workers that live.
    pub workers: u32,
    /// What the driver gave back, when done.
    pub value: Option<Blob>,
    /// The rows to pull, when done: by (stage, task). None while there is nothing to pull, or it is made again.
    pub result: Option<Vec<AttemptSource>>,
    /// What it cost, once it has ended.
    pub cost: Option<JobCost>,
}

/// How a stage goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageProgress {
    /// Which.
    pub stage: StageId,
    /// How many tasks it has; 0 until it can start.
    pub tasks: u32,
    /// How many have ended.
    pub done: u32,
    /// How many are being tried.
    pub running: u32,
    /// Rows read or pulled so far.
    pub rows: u64,
    /// Bytes given to others.
    pub bytes: u64,
}

/// A job in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSummary {
    /// Which.
    pub job: JobId,
    /// A line for people.
    pub label: String,
    /// Text or program.
    pub kind: JobKind,
    /// Milliseconds since 1970 by the client's clock.
    pub submitted_unix_ms: u64,
    /// Where it stands.
    pub state: JobState,
    /// Microseconds from its submission to its end, or until now, by the coordinator's clock; 0 for those of an earlier
    /// life that had ended.
    pub micros: u64,
}

/// A job in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobView {
    /// As in the list.
    pub summary: JobSummary,
    /// Where its driver runs.
    pub driver: Option<WorkerName>,
    /// Starts of its driver.
    pub driver_runs: u32,
    /// Its stages.
    pub stages: Vec<StageView>,
    /// Its attempts, by (stage, task, attempt).
    pub attempts: Vec<AttemptView>,
    /// There are more attempts than are shown.
    pub is_cut: bool,
}

/// A stage of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageView {
    /// How it goes.
    pub progress: StageProgress,
    /// How it is cut.
    pub kind: StageKind,
    /// Attempts that were lost with their worker or failed.
    pub retried: u32,
}

/// A try at a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptView {
    /// Of which stage.
    pub stage: StageId,
    /// Of which task.
    pub task: TaskId,
    /// Which.
    pub attempt: AttemptId,
    /// Where.
    pub worker: WorkerName,
    /// Where it stands.
    pub state: AttemptState,
    /// Why it failed.
    pub cause: Option<RemoteError>,
    /// How far it is, or was.
    pub progress: AttemptProgress,
}

/// Where an attempt stands: `running → finished → lost`, `running → failed | cancelled | lost`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AttemptState {
    /// Ordered.
    Running,
    /// What it made counts.
    Finished,
    /// It said so.
    Failed,
    /// Another one was first, or the job ended.
    Cancelled,
    /// Its worker died, or no longer has it.
    Lost,
}

/// The workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterView {
    /// The coordinator's life.
    pub epoch: Epoch,
    /// The coordinator's process.
    pub pid: u32,
    /// By name.
    pub workers: Vec<WorkerView>,
    /// Jobs that run.
    pub running: u32,
    /// Jobs that wait in line.
    pub queued: u32,
    /// Messages that were dropped because an older life had sent them.
    pub fenced: u64,
}

/// A worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerView {
    /// Its name.
    pub name: WorkerName,
    /// Its life.
    pub incarnation: Incarnation,
    /// Where it stands.
    pub state: WorkerState,
    /// Where others pull from it.
    pub address: String,
    /// Its build.
    pub build: String,
    /// Its process.
    pub pid: u32,
    /// Threads that compute.
    pub threads: u32,
    /// Its budget.
    pub memory_bytes: u64,
    /// Attempts that it runs.
    pub running: u32,
    /// Ended attempts that it holds.
    pub held: u32,
    /// Microseconds since it was heard.
    pub silent: u64,
}

/// Where a worker stands: `absent → ready → leaving → dead`, any → `dead`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum WorkerState {
    /// The journal names it; it has not come back yet.
    Absent,
    /// It takes orders.
    Ready,
    /// It takes no more orders.
    Leaving,
    /// It is given up; another life of it may come.
    Dead,
}
