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

use std::{fmt, ops::Range};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    cluster::limits::*,
    error::{Cause, Kind},
    shuffle::{Epoch, GroupId, JobId},
};

mod blob; // Blob: bytes that are passed on unopened
mod remote; // RemoteError, Retry: an error that keeps its kind
mod skeleton; // Skeleton: stages and edges, checked
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
mod view; // JobUpdate, JobSummary, JobView, ClusterView: what a client sees

pub use crate::shuffle::numbers::{AttemptKey, GroupTotal};
pub use blob::Blob;
pub use remote::{RemoteCause, RemoteError, Retry, with_text};
pub use skeleton::{
    ActionNumber, EdgeEnd, EdgeId, EdgeKind, EdgeShape, ParameterNumber, Skeleton, StageKind, StageShape, stage_id,
    stage_place,
};
pub use view::{
    AttemptState, AttemptView, ClusterView, JobState, JobSummary, JobUpdate, JobView, StageProgress, StageView,
    WorkerState, WorkerView,
};

/// Raised when the meaning of a message changes; a worker of another version is refused by name.
pub const PROTOCOL_VERSION: u16 = 1;

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

// ── worker → coordinator ───────────────────────────────────────────────────────────────────────────────────────────────

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FromWorker {
    /// Which life says it.
    pub incarnation: Incarnation,
    /// The coordinator's life that it is said to; 0 in `Register`, which is said to any.
    pub epoch: Epoch,
    /// Rises with each message of this life: an older account of a worker never replaces a newer one.
    pub number: u64,
    /// What.
    pub body: WorkerBody,
}

/// What a worker says, without its stamp.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum WorkerBody {
    /// Here I am, and this is what I have. Until `Welcome`.
    Register(Box<Registration>),
    /// I live, and this is what I do.
    Beat(Beat),
    /// An attempt has ended. Until `EndTaken`.
    Ended {
        /// Which.
        key: AttemptKey,
        /// How.
        end: AttemptEnd,
    },
    /// A part of a plan that an order needs. Until the part comes.
    WantPlan {
        /// Of which job.
        job: JobId,
        /// Of which action.
        action: ActionNumber,
        /// Which part, from 0.
        part: u32,
    },
    /// The driver that runs here has planned an action. Until `PlanTaken`.
    DriverPlan(Box<DriverPlan>),
    /// What `WantDriverPlan` asked for.
    DriverPlanPart {
        /// Of which job.
        job: JobId,
        /// Which start of the driver.
        run: u32,
        /// Of which action.
        action: ActionNumber,
        /// Which part, from 0.
        part: u32,
        /// Its bytes, [`PART_BYTES`] but for the last.
        bytes: Blob,
    },
    /// A page of an action's outcome has arrived.
    OutcomeTaken {
        /// Of which job.
        job: JobId,
        /// Which start of the driver.
        run: u32,
        /// Of which action.
        action: ActionNumber,
        /// Which account of it.
        revision: u64,
        /// Which page.
        page: u32,
    },
    /// The driver could not pull rows of an action's outcome.
    DriverLost {
        /// Of which job.
        job: JobId,
        /// Which start of the driver.
        run: u32,
        /// What it could not pull.
        lost: Vec<LostInput>,
    },
    /// The driver has ended. Until `DriverEndTaken`.
    DriverEnded {
        /// Of which job.
        job: JobId,
        /// Which start of the driver.
        run: u32,
        /// How.
        end: DriverEnd,
    },
    /// I am going: no more orders. Until `Released`.
    Leave {
        /// Once what I hold is no longer needed; else now.
        when_free: bool,
    },
}

/// A worker's account of itself when it comes, or comes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Registration {
    /// [`PROTOCOL_VERSION`] of its build.
    pub version: u16,
    /// Its name, the same as in its certificate.
    pub name: WorkerName,
    /// Where others pull from it.
    pub address: String,
    /// Its build, as text for people.
    pub build: String,
    /// Its process.
    pub pid: u32,
    /// Threads that compute.
    pub threads: u32,
    /// Its budget.
    pub memory_bytes: u64,
    /// Attempts that it runs at a time, at most [`SLOTS_MAX`].
    pub slots: u32,
    /// What it does.
    pub beat: Beat,
    /// Every attempt whose end was taken and whose frames it holds.
    pub held: Vec<AttemptKey>,
}

/// What a worker does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Beat {
    /// Attempts ordered and not ended.
    pub running: Vec<RunningAttempt>,
    /// Attempts ended whose end was not yet taken.
    pub ended: Vec<AttemptKey>,
    /// Jobs of which it holds anything: attempts, plans.
    pub jobs: Vec<HeldJob>,
    /// Drivers that run here, or whose end was not yet taken.
    pub drivers: Vec<DriverRun>,
}

/// An attempt that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunningAttempt {
    /// Which.
    pub key: AttemptKey,
    /// How far.
    pub progress: AttemptProgress,
}

/// How far an attempt is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptProgress {
    /// Rows read or pulled.
    pub rows: u64,
    /// Bytes read or pulled.
    pub bytes: u64,
}

/// How many attempts of a job a worker holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldJob {
    /// Which job.
    pub job: JobId,
    /// Attempts with frames.
    pub attempts: u32,
}

/// A start of a job's driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DriverRun {
    /// Of which job.
    pub job: JobId,
    /// Which start, from 0.
    pub run: u32,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AttemptEnd {
    /// It has made what it had to.
    Finished(Box<AttemptReport>),
    /// It has not.
    Failed(Box<AttemptFailure>),
}

/// What an attempt has made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AttemptReport {
    /// The ledger of what it wrote to its edge: by group, as many as [`EdgeKind::group_count`]; empty without an edge.
    pub groups: Vec<GroupTotal>,
    /// What it took of each edge that it pulled: held against the producers' ledgers.
    pub taken: Vec<EdgeTaken>,
    /// The parameter that it gives, if its stage gives one.
    pub value: Option<Blob>,
    /// The part files that it wrote, if its stage writes.
    pub manifest: Option<Blob>,
    /// What it cost.
    pub counters: AttemptCounters,
}

/// What an attempt took of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeTaken {
    /// Which edge.
    pub edge: EdgeId,
    /// Rows pulled.
    pub rows: u64,
    /// It said "enough" before the end: fewer rows than produced are right.
    pub is_enough: bool,
}

/// What an attempt cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptCounters {
    /// Rows read and pulled.
    pub rows_in: u64,
    /// Bytes read and pulled.
    pub bytes_in: u64,
    /// Bytes pulled from other workers.
    pub bytes_pulled: u64,
    /// Bytes spilled.
    pub bytes_spilled: u64,
    /// Microseconds from its start to its end.
    pub micros: u64,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptFailure {
    /// What failed.
    pub error: RemoteError,
    /// Which kind of end it was.
    pub cause: FailureCause,
    /// The attempts whose frames it could not pull.
    pub lost: Vec<LostInput>,
}

/// Which kind of end a failed attempt or driver had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureCause {
    /// It said so itself: the error's kind tells whether a retry may help.
    Error,
    /// The user's code panicked: tried once more elsewhere.
    Panic,
    /// The process that ran it died.
    Process,
    /// Inputs could not be pulled.
    Inputs,
}

/// An attempt whose frames could not be pulled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostInput {
    /// Which.
    pub key: AttemptKey,
    /// From whom.
    pub worker: WorkerName,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// It answered that it does not have them; else it did not answer.
    pub is_denied: bool,
}

/// What a driver has planned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriverPlan {
    /// Of which job.
    pub job: JobId,
    /// Which start of the driver.
    pub run: u32,
    /// Which action.
    pub action: ActionNumber,
    /// What the coordinator may know.
    pub skeleton: Skeleton,
    /// XXH3-64 of the plan's bytes.
    pub plan_hash: u64,
    /// How many those are.
    pub plan_bytes: u64,
    /// Part 0 of them.
    pub first: Blob,
}

/// How a driver ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum DriverEnd {
    /// The job is done.
    Done {
        /// What the driver gives back: a line for people, a schema; the command line knows.
        value: Blob,
        /// The action whose rows the client takes.
        result: Option<ActionNumber>,
    },
    /// The job failed.
    Failed {
        /// What failed.
        error: RemoteError,
        /// Which kind of end it was.
        cause: FailureCause,
    },
}

// ── coordinator → worker ───────────────────────────────────────────────────────────────────────────────────────────────

/// What the coordinator tells a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToWorker {
    /// Which life of the coordinator tells it.
    pub epoch: Epoch,
    /// Which life of the worker is meant.
    pub incarnation: Incarnation,
    /// What.
    pub body: OrderBody,
}

/// What the coordinator tells a worker, without its stamp.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum OrderBody {
    /// Your registration counts; from now on this epoch does.
    Welcome {
        /// Of the registration.
        number: u64,
    },
    /// You cannot belong to this cluster: another version, a name that is not yours.
    Refused {
        /// Why.
        error: RemoteError,
    },
    /// This life of yours was declared dead: drop everything and begin another.
    Fenced,
    /// Your beat has arrived.
    BeatTaken {
        /// Of the beat.
        number: u64,
    },
    /// Try a task. Until a beat shows the attempt.
    Run(Box<Order>),
    /// These attempts are no longer wanted: stop them, drop what they made. Until beats no longer show them.
    Cancel {
        /// Which.
        keys: Vec<AttemptKey>,
    },
    /// The end of an attempt is durable.
    EndTaken {
        /// Which.
        key: AttemptKey,
        /// Its frames are wanted; else drop them.
        keep: bool,
    },
    /// These jobs are over: drop all they left. Until beats no longer show them.
    Forget {
        /// Which.
        jobs: Vec<JobId>,
    },
    /// What `WantPlan` asked for.
    PlanPart {
        /// Of which job.
        job: JobId,
        /// Of which action.
        action: ActionNumber,
        /// Which part, from 0.
        part: u32,
        /// How many there are.
        parts: u32,
        /// Its bytes.
        bytes: Blob,
    },
    /// Run a job's driver. Until a beat shows it.
    StartDriver(Box<DriverStart>),
    /// That driver is no longer wanted. Until beats no longer show it.
    StopDriver(DriverRun),
    /// A part of the plan that the driver shipped. Until it comes, or the plan again.
    WantDriverPlan {
        /// Whose.
        driver: DriverRun,
        /// Of which action.
        action: ActionNumber,
        /// Which part, from 1.
        part: u32,
    },
    /// The plan is durable.
    PlanTaken {
        /// Whose.
        driver: DriverRun,
        /// Of which action.
        action: ActionNumber,
    },
    /// An action has ended. Until `OutcomeTaken`, page after page.
    Outcome {
        /// Whose.
        driver: DriverRun,
        /// Which action.
        action: ActionNumber,
        /// Rises when its rows had to be made again and lie elsewhere.
        revision: u64,
        /// Which page of it, from 0.
        page: u32,
        /// How many there are.
        pages: u32,
        /// The page.
        outcome: ActionOutcome,
    },
    /// The driver's end is durable.
    DriverEndTaken(DriverRun),
    /// Nobody needs you any more: go.
    Released,
}

/// An order to try a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// The try. An order of a key that was seen before is the same order.
    pub key: AttemptKey,
    /// Splits of the stage that it reads; empty when the stage reads none.
    pub splits: Range<u32>,
    /// Groups that it pulls of edges by groups, rising; empty when there are none.
    pub groups: Vec<GroupId>,
    /// What it pulls, in the order of the stage's inputs.
    pub inputs: Vec<OrderInput>,
    /// The parameters that its stage needs, rising by number.
    pub parameters: Vec<(ParameterNumber, Blob)>,
    /// XXH3-64 of the plan's bytes.
    pub plan_hash: u64,
    /// How many those are.
    pub plan_bytes: u64,
    /// How many workers there were when the job was planned.
    pub nodes: u32,
}

/// One edge that a task pulls: exactly one attempt of each task that wrote to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderInput {
    /// Which edge.
    pub edge: EdgeId,
    /// By (stage, task).
    pub attempts: Vec<AttemptSource>,
}

/// Where the frames of an ended attempt are, and how many must come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptSource {
    /// Which attempt.
    pub key: AttemptKey,
    /// Who holds it.
    pub worker: WorkerName,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// Where it is pulled.
    pub address: String,
    /// The ledger of the groups that are to be pulled, rising.
    pub groups: Vec<(GroupId, GroupTotal)>,
}

impl AttemptSource {
    /// Rows that must come.
    pub fn rows(&self) -> u64 {
        self.groups.iter().map(|(_, total)| total.rows).sum()
    }
}

/// An order to run a job's driver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriverStart {
    /// Of which job, which start.
    pub driver: DriverRun,
    /// Whether it is a text or a program.
    pub kind: JobKind,
    /// The text or program, with settings: opaque.
    pub spec: Blob,
    /// As the client gave them.
    pub options: JobOptions,
    /// How many workers there were at the job's first start: every start plans for so many.
    pub nodes: u32,
    /// Actions whose plans are durable: the driver does not plan them again, their outcomes come by themselves.
    pub shipped: Vec<ShippedAction>,
}

/// An action that was shipped by an earlier start of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShippedAction {
    /// Which.
    pub action: ActionNumber,
    /// XXH3-64 of its plan.
    pub plan_hash: u64,
    /// Length of its plan.
    pub plan_bytes: u64,
}

/// How an action ended; a page of it when it is long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ActionOutcome {
    /// Its rows, by (stage, task).
    Rows(Vec<AttemptSource>),
    /// Part files were written, by (stage, task): commit them.
    Written(Vec<TaskManifest>),
    /// It failed.
    Failed(RemoteError),
}

/// The one attempt of a writing task that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskManifest {
    /// Which attempt.
    pub key: AttemptKey,
    /// What it wrote: opaque.
    pub manifest: Blob,
}

// ── client ↔ coordinator ───────────────────────────────────────────────────────────────────────────────────────────────

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FromClient {
    /// The client's number of the request, which the answer repeats.
    pub request: u64,
    /// What.
    pub body: Request,
}

/// What a client asks, without its number. Asking again is always the same as asking once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Run a job. Until `Submitted`.
    Submit(Box<Submission>),
    /// Tell me how it goes, now and whenever it changes; to be said again every [`WATCH_AGAIN`], as a sign of life.
    Watch {
        /// Which job.
        job: JobId,
    },
    /// I have the rows: they may go. Until `TakenDone`.
    Taken {
        /// Which job.
        job: JobId,
    },
    /// I cannot pull these rows.
    Lost {
        /// Which job.
        job: JobId,
        /// What it could not pull.
        lost: Vec<LostInput>,
    },
    /// End a job. Until `CancelDone`.
    Cancel {
        /// Which job.
        job: JobId,
    },
    /// All jobs.
    Jobs,
    /// One job in full.
    Job {
        /// Which.
        job: JobId,
    },
    /// The workers.
    Cluster,
}

/// A job as it is handed in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    /// Its number: random, chosen by the client, so that handing it in again is the same job.
    pub job: JobId,
    /// Whether it is a text or a program.
    pub kind: JobKind,
    /// The text or program, with settings: opaque to the coordinator.
    pub spec: Blob,
    /// A line for people.
    pub label: String,
    /// Milliseconds since 1970 by the client's clock: shown, never reckoned with.
    pub submitted_unix_ms: u64,
    /// How it is to be run.
    pub options: JobOptions,
}

/// Text or program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobKind {
    /// Planned in a worker; the client pulls the rows of its result.
    Sql,
    /// A program with a driver in a process of its own.
    Program,
}

/// How a job is to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobOptions {
    /// What a task should read.
    pub task_bytes: u64,
    /// Microseconds that rows wait for a client that is silent.
    pub retention: u64,
    /// It ends with its client, after a grace.
    pub cancel_on_disconnect: bool,
}

impl Default for JobOptions {
    fn default() -> JobOptions {
        JobOptions { task_bytes: TASK_BYTES, retention: RETENTION, cancel_on_disconnect: false }
    }
}

/// What the coordinator tells a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToClient {
    /// Which life of the coordinator tells it.
    pub epoch: Epoch,
    /// The request that is answered; of an update, the last `Watch`.
    pub request: u64,
    /// What.
    pub body: Answer,
}

/// What the coordinator tells a client, without its stamp.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// The job is durable.
    Submitted {
        /// Which.
        job: JobId,
    },
    /// How a job goes; one with a lower revision is old.
    Update(Box<JobUpdate>),
    /// The rows are given up.
    TakenDone {
        /// Of which job.
        job: JobId,
    },
    /// The job is over, by this or before.
    CancelDone {
        /// Which.
        job: JobId,
    },
    /// The jobs, newest first.
    Jobs(Vec<JobSummary>),
    /// One job in full.
    Job(Box<JobView>),
    /// The workers, by name.
    Cluster(ClusterView),
    /// It cannot be done.
    Failed(RemoteError),
}

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

fn check_beat(beat: &Beat) -> Result<(), ProtocolError> {
    at_most("attempts of a beat", beat.running.len() + beat.ended.len(), ATTEMPTS_PER_WORKER_MAX)?;
    at_most("jobs of a beat", beat.jobs.len().max(beat.drivers.len()), 16 * JOBS_MAX)
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

impl Message for FromWorker {
    const KIND: u16 = 0x0101;
    fn check(&self) -> Result<(), ProtocolError> {
        match &self.body {
            WorkerBody::Register(registration) => {
                registration.name.check()?;
                at_most("bytes of an address", registration.address.len(), NAME_BYTES_MAX)?;
                at_most("bytes of a build", registration.build.len(), NAME_BYTES_MAX)?;
                at_most("held attempts", registration.held.len(), ATTEMPTS_PER_WORKER_MAX)?;
                check_beat(&registration.beat)
            }
            WorkerBody::Beat(beat) => check_beat(beat),
            WorkerBody::Ended { end: AttemptEnd::Finished(report), .. } => {
                at_most("groups of an attempt", report.groups.len(), GROUPS_MAX)?;
                at_most("edges of an attempt", report.taken.len(), EDGES_PER_ACTION_MAX)?;
                at_most(
                    "bytes of a parameter",
                    report.value.as_ref().map_or(0, |value| value.len()),
                    PARAMETER_BYTES_MAX,
                )?;
                at_most(
                    "bytes of a manifest",
                    report.manifest.as_ref().map_or(0, |bytes| bytes.len()),
                    MANIFEST_BYTES_MAX,
                )
            }
            WorkerBody::Ended { end: AttemptEnd::Failed(failure), .. } => {
                check_error(&failure.error)?;
                check_lost(&failure.lost)
            }
            WorkerBody::DriverPlan(plan) => {
                at_most("bytes of a plan", usize::try_from(plan.plan_bytes).unwrap_or(usize::MAX), PLAN_BYTES_MAX)?;
                at_most("bytes of a part", plan.first.len(), PART_BYTES)?;
                at_most("actions of a job", plan.action.0 as usize + 1, ACTIONS_PER_JOB_MAX)?;
                plan.skeleton.check()
            }
            WorkerBody::DriverPlanPart { bytes, .. } => at_most("bytes of a part", bytes.len(), PART_BYTES),
            WorkerBody::DriverLost { lost, .. } => check_lost(lost),
            WorkerBody::DriverEnded { end: DriverEnd::Done { value, .. }, .. } => {
                at_most("bytes of an answer", value.len(), VALUE_BYTES_MAX)
            }
            WorkerBody::DriverEnded { end: DriverEnd::Failed { error, .. }, .. } => check_error(error),
            WorkerBody::WantPlan { .. } | WorkerBody::OutcomeTaken { .. } | WorkerBody::Leave { .. } => Ok(()),
        }
    }
}

impl Message for ToWorker {
    const KIND: u16 = 0x0102;
    fn check(&self) -> Result<(), ProtocolError> {
        match &self.body {
            OrderBody::Refused { error } => check_error(error),
            OrderBody::Run(order) => {
                at_most("groups of a task", order.groups.len(), GROUPS_MAX)?;
                at_most("edges of a task", order.inputs.len(), EDGES_PER_ACTION_MAX)?;
                at_most("parameters of a task", order.parameters.len(), PARAMETERS_PER_ACTION_MAX)?;
                order.inputs.iter().try_for_each(|input| check_sources(&input.attempts))
            }
            OrderBody::Cancel { keys } => at_most("attempts", keys.len(), ATTEMPTS_PER_WORKER_MAX),
            OrderBody::Forget { jobs } => at_most("jobs", jobs.len(), 16 * JOBS_MAX),
            OrderBody::PlanPart { bytes, .. } => at_most("bytes of a part", bytes.len(), PART_BYTES),
            OrderBody::StartDriver(start) => {
                at_most("bytes of a job", start.spec.len(), SPEC_BYTES_MAX)?;
                at_most("actions", start.shipped.len(), ACTIONS_PER_JOB_MAX)
            }
            OrderBody::Outcome { outcome: ActionOutcome::Rows(sources), .. } => check_sources(sources),
            OrderBody::Outcome { outcome: ActionOutcome::Failed(error), .. } => check_error(error),
            _ => Ok(()),
        }
    }
}

impl Message for FromClient {
    const KIND: u16 = 0x0103;
    fn check(&self) -> Result<(), ProtocolError> {
        match &self.body {
            Request::Submit(submission) => {
                at_most("bytes of a job", submission.spec.len(), SPEC_BYTES_MAX)?;
                at_most("bytes of a label", submission.label.len(), LABEL_BYTES_MAX)
            }
            Request::Lost { lost, .. } => check_lost(lost),
            _ => Ok(()),
        }
    }
}

impl Message for ToClient {
    const KIND: u16 = 0x0104;
    fn check(&self) -> Result<(), ProtocolError> {
        match &self.body {
            Answer::Update(update) => {
                at_most("stages", update.progress.len(), ATTEMPTS_SHOWN_MAX)?;
                check_sources(update.result.as_deref().unwrap_or_default())
            }
            Answer::Jobs(jobs) => at_most("jobs", jobs.len(), JOBS_MAX + SUMMARIES_MAX),
            Answer::Job(job) => at_most("attempts", job.attempts.len(), ATTEMPTS_SHOWN_MAX),
            Answer::Cluster(cluster) => at_most("workers", cluster.workers.len(), 2 * WORKERS_MAX),
            Answer::Failed(error) => check_error(error),
            _ => Ok(()),
        }
    }
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
