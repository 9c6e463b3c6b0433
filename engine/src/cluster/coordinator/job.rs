//! A job: what was handed in, its driver, its actions, who watches it.
//!
//! In: what happened to it. Out: where it stands. Never: forgotten before the client has its end, or nobody came for it.
//!
//! ```text
//!   queued ─► running ─► done (rows wait) ─► taken ─┐
//!                └─────► failed │ cancelled ────────┴─► an epitaph
//! ```

use std::collections::BTreeMap;

use super::stage::{Action, Life};
use crate::{
    cluster::{
        coordinator::Epitaph,
        protocol::{
            ActionNumber, AttemptKey, Blob, DriverRun, JobKind, JobState, JobSummary, Link, Skeleton, Submission,
            stage_id,
        },
    },
    shuffle::{AttemptId, JobId, TaskId},
};

#[derive(Debug)]
pub(super) struct Job {
    pub(super) submission: Box<Submission>,
    pub(super) submitted_at: u64,
    pub(super) ended_at: u64,
    pub(super) state: JobState,
    /// What the driver gave back.
    pub(super) value: Option<Blob>,
    /// The action whose rows the client takes.
    pub(super) result: Option<ActionNumber>,
    /// How many workers every start of the driver plans for.
    pub(super) nodes: Option<u32>,
    pub(super) driver: Driver,
    pub(super) actions: BTreeMap<ActionNumber, Action>,
    /// Plans that are not all here yet.
    pub(super) staging: BTreeMap<ActionNumber, Staging>,
    pub(super) decisions: u32,
    pub(super) client_seen: u64,
    /// Workers were told to drop all they have of it.
    pub(super) is_dropped: bool,
    pub(super) revision: u64,
    pub(super) watchers: BTreeMap<Link, Watcher>,
}

/// The runs of a driver.
#[derive(Debug, Default)]
pub(super) struct Driver {
    /// How many there were; the latest is one less.
    pub(super) runs: u32,
    /// Those that failed by themselves.
    pub(super) failures: u32,
    /// Where the latest runs; none while none does.
    pub(super) life: Option<Life>,
    pub(super) said_at: u64,
    /// Another is not started before.
    pub(super) not_before: u64,
    /// Why the latest ended, when another follows because of it.
    pub(super) is_after_failure: bool,
    pub(super) has_ended: bool,
}

/// A plan whose parts come one after the other.
#[derive(Debug)]
pub(super) struct Staging {
    pub(super) run: u32,
    pub(super) skeleton: Skeleton,
    pub(super) plan_hash: u64,
    pub(super) plan_bytes: u64,
    /// Those that have come.
    pub(super) parts: Vec<Blob>,
}

/// Somebody who wants to know.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) request: u64,
    pub(super) revision: u64,
    pub(super) said_at: u64,
}

impl Job {
    pub(super) fn new(submission: Box<Submission>, now: u64, revision: u64) -> Job {
        Job {
            submission,
            submitted_at: now,
            ended_at: 0,
            state: JobState::Queued,
            value: None,
            result: None,
            nodes: None,
            driver: Driver::default(),
            actions: BTreeMap::new(),
            staging: BTreeMap::new(),
            decisions: 0,
            client_seen: now,
            is_dropped: false,
            revision,
            watchers: BTreeMap::new(),
        }
    }

    pub(super) fn id(&self) -> JobId {
        self.submission.job
    }

    /// The latest run, while it runs.
    pub(super) fn run(&self) -> Option<(DriverRun, &Life)> {
        let life = self.driver.life.as_ref()?;
        Some((DriverRun { job: self.id(), run: self.driver.runs.checked_sub(1)? }, life))
    }

    /// Somebody may still pull the rows of an action.
    pub(super) fn takes_result(&self, action: ActionNumber) -> bool {
        match self.state {
            // A program's later plan holds what its earlier actions gave.
            JobState::Queued | JobState::Running => {
                self.submission.kind == JobKind::Sql || self.actions.range(action..).nth(1).is_none()
            }
            JobState::Done => self.result == Some(action) && !self.is_dropped,
            JobState::Failed(_) | JobState::Cancelled => false,
        }
    }

    /// Its tasks may still have to be tried: it runs, or its rows wait to be taken.
    pub(super) fn is_working(&self) -> bool {
        match self.state {
            JobState::Running => true,
            JobState::Done => self.result.is_some() && !self.is_dropped,
            _ => false,
        }
    }

    /// Something that a watcher sees has changed.
    pub(super) fn touch(&mut self) {
        self.revision += 1;
    }

    /// Keys of the attempts for which `chosen` says so.
    pub(super) fn keys_where(&self, chosen: impl Fn(&super::stage::Attempt) -> bool) -> Vec<AttemptKey> {
        let mut keys = Vec::new();
        for (number, action) in &self.actions {
            for (index, stage) in action.stages.iter().enumerate() {
                for (task, tried) in stage.tasks.iter().enumerate() {
                    for (attempt, _) in tried.attempts.iter().enumerate().filter(|(_, attempt)| chosen(attempt)) {
                        keys.push(AttemptKey {
                            job: self.id(),
                            stage: stage_id(*number, index),
                            task: TaskId(task as u32),
                            attempt: AttemptId(attempt as u32),
                        });
                    }
                }
            }
        }
        keys
    }

    /// Nobody runs any of its tasks again.
    pub(super) fn forget_plans(&mut self) {
        self.staging.clear();
        self.actions.values_mut().for_each(|action| action.plan = Blob::default());
    }

    pub(super) fn plan_bytes(&self) -> u64 {
        let durable: u64 = self.actions.values().map(|action| action.plan.len() as u64).sum();
        durable + self.staging.values().map(|staging| staging.plan_bytes).sum::<u64>()
    }

    pub(super) fn summary(&self, now: u64) -> JobSummary {
        let end = if self.state.is_ended() { self.ended_at } else { now };
        JobSummary {
            job: self.id(),
            label: self.submission.label.clone(),
            kind: self.submission.kind,
            submitted_unix_ms: self.submission.submitted_unix_ms,
            state: self.state.clone(),
            micros: end.saturating_sub(self.submitted_at),
        }
    }

    pub(super) fn epitaph(&self) -> Epitaph {
        let JobSummary { job, label, kind, submitted_unix_ms, state, micros } = self.summary(self.ended_at);
        let (failed, is_cancelled) = match state {
            JobState::Failed(error) => (Some(error), false),
            state => (None, state == JobState::Cancelled),
        };
        Epitaph { job, label, kind, submitted_unix_ms, failed, is_cancelled, micros }
    }
}

impl Epitaph {
    /// Where the job stood at its end.
    pub fn state(&self) -> JobState {
        match &self.failed {
            Some(error) => JobState::Failed(error.clone()),
            None if self.is_cancelled => JobState::Cancelled,
            None => JobState::Done,
        }
    }

    /// The job as lists show it.
    pub fn summary(&self) -> JobSummary {
        JobSummary {
            job: self.job,
            label: self.label.clone(),
            kind: self.kind,
            submitted_unix_ms: self.submitted_unix_ms,
            state: self.state(),
            micros: self.micros,
        }
    }
}
