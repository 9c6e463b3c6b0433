//! What the coordinator tells a worker.
//!
//! In: what is to be run, to be stopped, to be forgotten. Out: [`ToWorker`]. Never: how a stage is run; its plan is passed on unopened.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{
    ActionNumber, AttemptKey, Blob, DriverRun, EdgeId, GroupTotal, Incarnation, JobKind, JobOptions, Message,
    ParameterNumber, ProtocolError, RemoteError, WorkerName, at_most, check_error, check_sources, cost::check_counted,
};
use crate::{
    cluster::limits::*,
    observe::Counted,
    shuffle::{Epoch, GroupId, JobId},
};

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
        /// The action shipped before it, if what that and those before it gave is needed too.
        before: Option<ShippedAction>,
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

/// An action whose plan is durable.
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
    /// Its rows, by (stage, task); and what the job's own code has counted.
    Rows(Vec<AttemptSource>, Counted),
    /// Part files were written, by (stage, task): commit them. What was counted comes with the first page.
    Written(Vec<TaskManifest>, Counted),
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
            OrderBody::Outcome { outcome: ActionOutcome::Rows(sources, counted), .. } => {
                check_sources(sources)?;
                check_counted(counted)
            }
            OrderBody::Outcome { outcome: ActionOutcome::Written(_, counted), .. } => check_counted(counted),
            OrderBody::Outcome { outcome: ActionOutcome::Failed(error), .. } => check_error(error),
            _ => Ok(()),
        }
    }
}
