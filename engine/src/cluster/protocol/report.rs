//! What a worker tells the coordinator.
//!
//! In: what runs on the worker and what has ended there. Out: [`FromWorker`]. Never: rows.

use serde::{Deserialize, Serialize};

use super::{
    ActionNumber, AttemptCounters, AttemptKey, Blob, EdgeId, GroupTotal, Incarnation, Message, ProtocolError,
    PulledFrom, RemoteError, Skeleton, StageCounters, WorkerName, at_most, check_error, check_lost,
    cost::{check_counted, check_pulled},
};
use crate::{
    cluster::limits::*,
    observe::Counted,
    shuffle::{Epoch, JobId},
};

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
    /// [`PROTOCOL_VERSION`](super::PROTOCOL_VERSION) of its build.
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
    /// The ledger of what it wrote to its edge: by group, as many as [`EdgeKind::group_count`](super::EdgeKind::group_count); empty without an edge.
    pub groups: Vec<GroupTotal>,
    /// What it took of each edge that it pulled: held against the producers' ledgers.
    pub taken: Vec<EdgeTaken>,
    /// The parameter that it gives, if its stage gives one.
    pub value: Option<Blob>,
    /// The part files that it wrote, if its stage writes.
    pub manifest: Option<Blob>,
    /// What it cost.
    pub counters: AttemptCounters,
    /// Where what it pulled over the network came from; each worker once.
    pub pulled: Vec<PulledFrom>,
    /// What its pipelines did, if its plan asks for that.
    pub profile: Option<Box<StageCounters>>,
    /// What the job's own code has counted.
    pub counted: Counted,
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

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptFailure {
    /// What failed.
    pub error: RemoteError,
    /// Which kind of end it was.
    pub cause: FailureCause,
    /// The attempts whose frames it could not pull.
    pub lost: Vec<LostInput>,
    /// What it cost until then.
    pub counters: AttemptCounters,
}

impl AttemptFailure {
    /// One of which nothing more is known.
    pub fn new(error: RemoteError, cause: FailureCause, lost: Vec<LostInput>) -> AttemptFailure {
        AttemptFailure { error, cause, lost, counters: AttemptCounters::default() }
    }
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

fn check_beat(beat: &Beat) -> Result<(), ProtocolError> {
    at_most("attempts of a beat", beat.running.len() + beat.ended.len(), ATTEMPTS_PER_WORKER_MAX)?;
    at_most("jobs of a beat", beat.jobs.len().max(beat.drivers.len()), 16 * JOBS_MAX)
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
                )?;
                check_pulled(&report.pulled)?;
                check_counted(&report.counted)?;
                report.profile.as_ref().map_or(Ok(()), |profile| profile.check())
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
