//! An action's stages, their tasks, and each try at them.
//!
//! In: a skeleton, what ended, what was lost. Out: what is done, what is still needed, what can start. Never: two attempts
//! of a task that both count; a task that changes once it was cut.
//!
//! ```text
//!   attempt:  running ─► finished (counts) ─► lost         task: done while an attempt counts
//!                 └────► failed │ cancelled │ lost         stage: started once cut, done when its tasks are
//! ```

use std::collections::BTreeMap;

use twox_hash::XxHash3_64;

use crate::{
    cluster::{
        coordinator::TaskShape,
        limits::{CUTS_PER_TASK_MAX, FAILURES_PER_TASK_MAX, RETRY_DELAY, RETRY_DELAY_MAX},
        protocol::{
            ActionNumber, AttemptCounters, AttemptFailure, AttemptProgress, AttemptReport, AttemptState, Blob, EdgeEnd,
            EdgeId, EdgeKind, FailureCause, Incarnation, ParameterNumber, RemoteError, Retry, ShippedAction, Skeleton,
            WorkerName,
        },
    },
    error::Kind,
    observe::Counted,
    shuffle::{AttemptId, GroupTotal},
};

/// A worker's life: who runs or holds an attempt.
pub(super) type Life = (WorkerName, Incarnation);

/// A plan that is durable, and how far it is.
#[derive(Debug)]
pub(super) struct Action {
    pub(super) skeleton: Skeleton,
    pub(super) plan: Blob,
    pub(super) plan_hash: u64,
    pub(super) stages: Vec<Stage>,
    pub(super) parameters: BTreeMap<ParameterNumber, Blob>,
    /// It has ended; with why, when it failed.
    pub(super) ended: Option<Option<RemoteError>>,
    /// It has ended well, and all rows of its result can be pulled: nothing is left to be done for it.
    pub(super) is_complete: bool,
    /// The account of its end that the driver is told.
    pub(super) revision: u64,
    /// The next page of it that the driver's worker has not acked; none when all are.
    pub(super) page: Option<u32>,
    pub(super) page_said_at: u64,
}

#[derive(Debug)]
pub(super) struct Stage {
    /// Empty until it starts.
    pub(super) tasks: Vec<Task>,
    /// Invariant: how many of the tasks are done.
    pub(super) done: usize,
    /// Attempts that failed or were lost.
    pub(super) retried: u32,
}

#[derive(Debug)]
pub(super) struct Task {
    pub(super) shape: TaskShape,
    /// By attempt number.
    pub(super) attempts: Vec<Attempt>,
    /// The one that counts.
    pub(super) accepted: Option<AttemptId>,
    pub(super) failures: u32,
    /// Of those, the ones that are forgiven only once: panics, broken bytes, bugs.
    pub(super) grave: u32,
    pub(super) cuts: u32,
    pub(super) waiting_since: u64,
    /// It is not tried again before.
    pub(super) not_before: u64,
    /// Not again here, while there are others.
    pub(super) avoid: Option<WorkerName>,
    /// Only here while that worker lives, whatever the shape prefers: others do not reach its inputs.
    pub(super) prefer: Option<WorkerName>,
    /// What the first attempt that counted made. When it is lost every later one must make the same: some of its rows may
    /// have been pulled already.
    pub(super) made: Option<Made>,
    /// What the job's own code has counted in the attempt that counts; or did, if its rows are lost but were taken before.
    pub(super) counted: Counted,
}

/// The rows that an attempt wrote to its edge, whatever their order and frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) rows: u64,
    /// XXH3-64 of the rows and the hash sum of each group.
    checksum: u64,
}

impl Made {
    pub(super) fn of(groups: &[GroupTotal]) -> Made {
        let numbers = groups.iter().flat_map(|group| [group.rows, group.hash_sum]);
        let bytes: Vec<u8> = numbers.flat_map(u64::to_le_bytes).collect();
        Made { rows: groups.iter().map(|group| group.rows).sum(), checksum: XxHash3_64::oneshot(&bytes) }
    }
}

#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) life: Life,
    pub(super) state: AttemptState,
    pub(super) progress: AttemptProgress,
    pub(super) ordered_at: u64,
    /// Rows of each input as the order named them; empty when the order was of an earlier life of ours.
    pub(super) expected: Vec<(EdgeId, u64)>,
    pub(super) report: Option<Box<AttemptReport>>,
    /// What it cost, once it has ended; known also of what is lost afterwards.
    pub(super) counters: Option<AttemptCounters>,
    pub(super) cause: Option<RemoteError>,
    /// Reports that it could not be pulled though its worker lives.
    pub(super) cuts: u32,
}

/// What becomes of a task whose attempt failed.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// It is tried again after so long.
    Again(u64),
    /// Its action fails.
    GiveUp,
}

impl Action {
    /// Its plan, as workers know it.
    pub(super) fn shipped(&self, action: ActionNumber) -> ShippedAction {
        ShippedAction { action, plan_hash: self.plan_hash, plan_bytes: self.plan.len() as u64 }
    }

    pub(super) fn new(skeleton: Skeleton, plan: Blob, plan_hash: u64) -> Action {
        let stages = skeleton.stages.iter().map(|_| Stage { tasks: Vec::new(), done: 0, retried: 0 }).collect();
        Action {
            skeleton,
            plan,
            plan_hash,
            stages,
            parameters: BTreeMap::new(),
            ended: None,
            is_complete: false,
            revision: 0,
            page: None,
            page_said_at: 0,
        }
    }

    /// All tasks of a stage are done.
    pub(super) fn is_done(&self, stage: usize) -> bool {
        self.stages.get(stage).is_some_and(|stage| !stage.tasks.is_empty() && stage.done == stage.tasks.len())
    }

    /// The stages that write to an edge.
    pub(super) fn producers(&self, edge: EdgeId) -> impl Iterator<Item = usize> {
        let edge = self.skeleton.edge(edge);
        edge.into_iter().flat_map(|edge| edge.from.iter().map(|from| *from as usize))
    }

    /// The edge that a stage writes to: its end and how many groups a ledger of it has.
    pub(super) fn output(&self, stage: usize) -> Option<(EdgeEnd, EdgeKind)> {
        let edge = self.skeleton.edge(self.skeleton.stages.get(stage)?.output?)?;
        Some((edge.to, edge.kind))
    }

    /// For each stage whether what its tasks make is still needed; `takes_result` when somebody may still pull the rows.
    pub(super) fn wanted(&self, takes_result: bool) -> Vec<bool> {
        let mut wanted = vec![false; self.stages.len()];
        if matches!(self.ended, Some(Some(_))) {
            return wanted;
        }
        for (index, shape) in self.skeleton.stages.iter().enumerate().rev() {
            let gives = shape.gives.is_some_and(|parameter| {
                let mut users =
                    self.skeleton.stages.iter().enumerate().filter(|(_, stage)| stage.needs.contains(&parameter));
                !self.parameters.contains_key(&parameter) && users.any(|(user, _)| wanted[user] && !self.is_done(user))
            });
            let writes = shape.writes && !self.is_done(index);
            let is_pulled = match self.output(index) {
                Some((EdgeEnd::Result, _)) => takes_result,
                Some((EdgeEnd::Stage(to), _)) => {
                    let to = to as usize;
                    wanted.get(to) == Some(&true) && !self.is_done(to)
                }
                None => false,
            };
            wanted[index] = gives || writes || is_pulled;
        }
        wanted
    }

    /// Every input is done and every parameter known: its tasks can be cut, and tried.
    pub(super) fn is_ready(&self, stage: usize) -> bool {
        let Some(shape) = self.skeleton.stages.get(stage) else { return false };
        let inputs_done = shape.inputs.iter().all(|edge| self.producers(*edge).all(|from| self.is_done(from)));
        inputs_done && shape.needs.iter().all(|need| self.parameters.contains_key(need))
    }

    /// What the job's own code has counted, in all tasks.
    pub(super) fn counted(&self) -> Counted {
        let mut counted = Counted::default();
        for task in self.stages.iter().flat_map(|stage| &stage.tasks) {
            // Names too many are left out: each attempt alone has kept the bound, and the job has ended.
            let _ = counted.merge(&task.counted);
        }
        counted
    }

    /// Everything that it was planned for is made: rows can be pulled, files are written.
    pub(super) fn is_all_made(&self) -> bool {
        let mut terminal = self
            .skeleton
            .stages
            .iter()
            .enumerate()
            .filter(|(index, shape)| shape.writes || matches!(self.output(*index), Some((EdgeEnd::Result, _))));
        terminal.all(|(index, _)| self.is_done(index))
    }

    /// Bytes of each group of a stage's inputs; of inputs without groups in one number.
    pub(super) fn group_bytes(&self, stage: usize) -> Vec<u64> {
        let Some(shape) = self.skeleton.stages.get(stage) else { return Vec::new() };
        let mut bytes = vec![0; self.skeleton.group_count(shape)];
        let is_grouped = bytes.len() > 1;
        for edge in &shape.inputs {
            for task in self.producers(*edge).flat_map(|from| &self.stages[from].tasks) {
                let groups = task.report().map(|report| report.groups.as_slice()).unwrap_or_default();
                // A broadcast is read by every task: it belongs to no group.
                if is_grouped && groups.len() != bytes.len() {
                    continue;
                }
                for (sum, total) in bytes.iter_mut().zip(groups) {
                    *sum += total.bytes;
                }
            }
        }
        bytes
    }

    pub(super) fn attempt_mut(&mut self, stage: usize, task: u32, attempt: AttemptId) -> Option<&mut Attempt> {
        self.stages.get_mut(stage)?.tasks.get_mut(task as usize)?.attempts.get_mut(attempt.0 as usize)
    }
}

impl Stage {
    /// It is cut, for good.
    pub(super) fn start(&mut self, tasks: &[TaskShape], now: u64) {
        self.tasks = tasks.iter().map(|shape| Task::new(shape.clone(), now)).collect();
    }

    /// The attempt counts; false when another one does already.
    pub(super) fn accept(&mut self, task: u32, attempt: AttemptId) -> bool {
        match self.tasks.get_mut(task as usize) {
            Some(task) if task.accepted.is_none() => {
                task.accepted = Some(attempt);
                let made = task.report().map(|report| Made::of(&report.groups));
                task.made = task.made.or(made);
                task.counted = task.report().map(|report| report.counted.clone()).unwrap_or_default();
                self.done += 1;
                true
            }
            _ => false,
        }
    }

    /// What the attempt made, or was about to make, is gone.
    pub(super) fn lose(&mut self, task: u32, attempt: AttemptId, now: u64) {
        let Some(task) = self.tasks.get_mut(task as usize) else { return };
        let Some(lost) = task.attempts.get_mut(attempt.0 as usize) else { return };
        lost.state = AttemptState::Lost;
        lost.report = None;
        self.retried += 1;
        if task.accepted == Some(attempt) {
            task.accepted = None;
            self.done -= 1;
        }
        task.waiting_since = now;
    }
}

impl Task {
    pub(super) fn new(shape: TaskShape, now: u64) -> Task {
        Task {
            shape,
            attempts: Vec::new(),
            accepted: None,
            failures: 0,
            grave: 0,
            cuts: 0,
            waiting_since: now,
            not_before: 0,
            avoid: None,
            prefer: None,
            made: None,
            counted: Counted::default(),
        }
    }

    /// The attempt that counts.
    pub(super) fn counts(&self) -> Option<&Attempt> {
        self.attempts.get(self.accepted?.0 as usize)
    }

    /// What the attempt that counts has made.
    pub(super) fn report(&self) -> Option<&AttemptReport> {
        self.counts()?.report.as_deref()
    }

    pub(super) fn is_running(&self) -> bool {
        self.attempts.iter().any(|attempt| attempt.state == AttemptState::Running)
    }

    /// Who should take it.
    pub(super) fn preferred(&self) -> Option<&WorkerName> {
        self.prefer.as_ref().or(self.shape.preferred.as_ref())
    }

    /// Counts a failure, and says what follows from it.
    pub(super) fn judge(&mut self, failure: &AttemptFailure) -> Verdict {
        let delay = |tries: u32| (RETRY_DELAY << tries.saturating_sub(1).min(20)).min(RETRY_DELAY_MAX);
        if failure.cause == FailureCause::Inputs && !failure.lost.is_empty() {
            self.cuts += 1;
            return if self.cuts >= CUTS_PER_TASK_MAX { Verdict::GiveUp } else { Verdict::Again(delay(self.cuts)) };
        }
        if failure.error.kind() == Kind::Cancelled {
            // We had cancelled it ourselves and forgot, or its worker is going: that is no failure.
            return Verdict::Again(RETRY_DELAY);
        }
        self.failures += 1;
        let is_final = match (failure.cause, failure.error.retry()) {
            (FailureCause::Panic, _) | (FailureCause::Error | FailureCause::Inputs, Retry::Once) => {
                self.grave += 1;
                self.grave >= 2
            }
            (FailureCause::Process, _) | (_, Retry::Elsewhere) => false,
            (_, Retry::Never) => true,
        };
        if is_final || self.failures >= FAILURES_PER_TASK_MAX {
            Verdict::GiveUp
        } else {
            Verdict::Again(delay(self.failures))
        }
    }
}

impl Attempt {
    pub(super) fn new(life: Life, now: u64) -> Attempt {
        Attempt {
            life,
            state: AttemptState::Running,
            progress: AttemptProgress::default(),
            ordered_at: now,
            expected: Vec::new(),
            report: None,
            counters: None,
            cause: None,
            cuts: 0,
        }
    }
}
