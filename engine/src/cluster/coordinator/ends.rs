//! Attempts that end: which one counts, what is tried again, what fails.
//!
//! In: reports of workers, pulls that found nobody. Out: records, and then their acknowledgement. Never: two attempts of a
//! task that both count; a report believed that does not fit its stage.

use super::{
    Coordinator, JobEvent, JournalRecord, Life,
    stage::{Attempt, Made, Verdict},
};
use crate::{
    cluster::{
        coordinator::{ActionEnded, AttemptEnded},
        limits::{ATTEMPTS_PER_TASK_MAX, CUTS_PER_ATTEMPT_MAX},
        protocol::{
            ActionNumber, AttemptCounters, AttemptEnd, AttemptFailure, AttemptKey, AttemptReport, AttemptState,
            FailureCause, JobKind, LostInput, OrderBody, RemoteError, WorkerName, stage_place,
        },
    },
    error::Kind,
    shuffle::JobId,
};

impl Coordinator {
    pub(super) fn attempt_ended(&mut self, life: &Life, key: AttemptKey, end: AttemptEnd) {
        let Some((job, attempt, counts)) = self.attempt(key) else {
            return self.tell(&life.0, OrderBody::EndTaken { key, keep: false });
        };
        let is_its = attempt.life == *life || !self.options.fencing;
        let is_open = attempt.state == AttemptState::Running
            || (!self.options.fencing && matches!(attempt.state, AttemptState::Lost | AttemptState::Cancelled));
        if !(is_its && is_open && job.is_working()) {
            let keep = counts && attempt.life == *life && !job.is_dropped && self.is_held_somewhere(key);
            return self.tell(&life.0, OrderBody::EndTaken { key, keep });
        }
        let end = match end {
            AttemptEnd::Finished(report) => match self.check_report(key, attempt, &report) {
                Ok(()) => AttemptEnd::Finished(report),
                Err(error) => {
                    let error = error.at(format!("worker {}, task {}.{}", life.0, key.stage, key.task));
                    let failure = AttemptFailure::new(error, FailureCause::Error, Vec::new());
                    AttemptEnd::Failed(Box::new(AttemptFailure { counters: report.counters, ..failure }))
                }
            },
            failed => failed,
        };
        let is_beaten = matches!(end, AttemptEnd::Finished(_)) && self.is_task_done(key) && self.options.fencing;
        if let Some(worker) = self.workers.get_mut(&life.0) {
            worker.running.remove(&key);
        }
        if is_beaten {
            self.set_state(key, AttemptState::Cancelled);
            if let AttemptEnd::Finished(report) = &end {
                self.set_counters(key, report.counters);
            }
            return self.tell(&life.0, OrderBody::EndTaken { key, keep: false });
        }
        let record = AttemptEnded { key, end: end.clone() };
        self.out.append(key.job, JournalRecord::AttemptEnded(Box::new(record)));
        self.is_dirty = true;
        match end {
            AttemptEnd::Finished(report) => self.attempt_finished(life, key, report),
            AttemptEnd::Failed(failure) => self.attempt_failed(life, key, *failure),
        }
    }

    fn attempt_finished(&mut self, life: &Life, key: AttemptKey, report: Box<AttemptReport>) {
        let rows = report.groups.iter().map(|group| group.rows).sum();
        let bytes = report.groups.iter().map(|group| group.bytes).sum();
        let counters = report.counters;
        self.out.log(key.job, JobEvent::AttemptFinished { attempt: key, rows, bytes, counters });
        self.accept(key, report);
        let keep = self.is_held_somewhere(key);
        self.tell(&life.0, OrderBody::EndTaken { key, keep });
        self.cancel_attempts(key.job, |other| other.stage == key.stage && other.task == key.task);
    }

    /// From here on the attempt is the one of its task that counts.
    pub(super) fn accept(&mut self, key: AttemptKey, report: Box<AttemptReport>) {
        let (number, index) = stage_place(key.stage);
        let Some(job) = self.jobs.get_mut(&key.job) else { return };
        let Some(action) = job.actions.get_mut(&number) else { return };
        let Some(attempt) = action.attempt_mut(index, key.task.0, key.attempt) else { return };
        attempt.state = AttemptState::Finished;
        attempt.progress.rows = report.counters.rows_in;
        attempt.progress.bytes = report.counters.bytes_in;
        attempt.counters = Some(report.counters);
        attempt.report = Some(report);
        if let Some(stage) = action.stages.get_mut(index) {
            stage.accept(key.task.0, key.attempt);
        }
        job.touch();
    }

    fn attempt_failed(&mut self, life: &Life, key: AttemptKey, failure: AttemptFailure) {
        self.tell(&life.0, OrderBody::EndTaken { key, keep: false });
        let cut = self.inputs_lost(key.job, &failure.lost, Some(&life.0));
        let Some(verdict) = self.count_failure(key, &failure) else { return };
        let again_after = match verdict {
            Verdict::Again(delay) => Some(delay),
            Verdict::GiveUp => None,
        };
        let event = JobEvent::AttemptFailed { attempt: key, cause: failure.error.clone(), again_after };
        self.out.log(key.job, event);
        let now = self.now;
        let (number, index) = stage_place(key.stage);
        match verdict {
            Verdict::Again(delay) => {
                let job = self.jobs.get_mut(&key.job);
                let stage = job.and_then(|job| job.actions.get_mut(&number)?.stages.get_mut(index));
                let Some(task) = stage.and_then(|stage| stage.tasks.get_mut(key.task.0 as usize)) else { return };
                task.not_before = now + delay;
                task.waiting_since = now;
                match (failure.cause, cut) {
                    (FailureCause::Inputs, Cut::MoveTo(side)) => (task.prefer, task.avoid) = (Some(side), None),
                    (FailureCause::Inputs, Cut::No) => {}
                    _ => task.avoid = Some(life.0.clone()),
                }
            }
            Verdict::GiveUp => {
                let error = match failure.error.origin.is_empty() {
                    true => failure.error.at(format!("worker {}, task {}.{}", life.0, key.stage, key.task)),
                    false => failure.error,
                };
                self.out.log(key.job, JobEvent::TaskGivenUp { stage: key.stage, task: key.task });
                self.fail_action(key.job, number, error);
            }
        }
    }

    /// The attempt has failed; what becomes of its task.
    pub(super) fn count_failure(&mut self, key: AttemptKey, failure: &AttemptFailure) -> Option<Verdict> {
        let (number, index) = stage_place(key.stage);
        let job = self.jobs.get_mut(&key.job)?;
        job.touch();
        let stage = job.actions.get_mut(&number)?.stages.get_mut(index)?;
        stage.retried += 1;
        let task = stage.tasks.get_mut(key.task.0 as usize)?;
        let attempt = task.attempts.get_mut(key.attempt.0 as usize)?;
        attempt.state = AttemptState::Failed;
        attempt.cause = Some(failure.error.clone());
        attempt.counters = Some(failure.counters);
        let verdict = task.judge(failure);
        if task.attempts.len() >= ATTEMPTS_PER_TASK_MAX { Some(Verdict::GiveUp) } else { Some(verdict) }
    }

    /// Pulls found nobody. What a living worker denies is lost. Where two workers that both live do not reach each other, one
    /// of them is the side to which the work moves, the same whoever reports: else both sides would make again what the
    /// other has, for ever.
    pub(super) fn inputs_lost(&mut self, job: JobId, lost: &[LostInput], reporter: Option<&WorkerName>) -> Cut {
        let mut cut = Cut::No;
        for input in lost.iter().filter(|input| input.key.job == job) {
            let Some((_, attempt, true)) = self.attempt(input.key) else { continue };
            if attempt.life != (input.worker.clone(), input.incarnation) || !self.is_held_somewhere(input.key) {
                continue;
            }
            if input.is_denied {
                self.lose_attempt(input.key);
                continue;
            }
            let (number, index) = stage_place(input.key.stage);
            let action = self.jobs.get_mut(&job).and_then(|job| job.actions.get_mut(&number));
            let Some(attempt) =
                action.and_then(|action| action.attempt_mut(index, input.key.task.0, input.key.attempt))
            else {
                continue;
            };
            attempt.cuts += 1;
            if attempt.cuts < CUTS_PER_ATTEMPT_MAX {
                if cut == Cut::No {
                    cut = Cut::Waits;
                }
                continue;
            }
            let side = reporter.map(|reporter| reporter.min(&input.worker).clone());
            if side.as_ref() != Some(&input.worker) {
                self.lose_attempt(input.key);
                let action = self.jobs.get_mut(&job).and_then(|job| job.actions.get_mut(&number));
                let stage = action.and_then(|action| action.stages.get_mut(index));
                if let Some(task) = stage.and_then(|stage| stage.tasks.get_mut(input.key.task.0 as usize)) {
                    (task.prefer, task.avoid) = (side.clone(), None);
                }
            }
            if let Some(side) = side {
                cut = Cut::MoveTo(side);
            }
        }
        cut
    }

    /// The action fails; of an SQL job so does the job, a program's driver is told.
    pub(super) fn fail_action(&mut self, id: JobId, number: ActionNumber, error: RemoteError) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let is_driven = job.submission.kind == JobKind::Program && !job.state.is_ended();
        let Some(action) = job.actions.get_mut(&number) else { return };
        if is_driven && action.ended.is_none() {
            action.ended = Some(Some(error.clone()));
            self.out
                .append(id, JournalRecord::ActionEnded(ActionEnded { action: number, failed: Some(error.clone()) }));
            self.out.log(id, JobEvent::ActionEnded { action: number, failed: Some(error) });
            self.cancel_attempts(id, |key| stage_place(key.stage).0 == number);
            self.tell_outcome(id, number);
        } else {
            // Its rows were there once and cannot be made again: nothing but the end is left.
            self.fail_job(id, error);
        }
    }

    /// Stops those attempts of a job that run.
    pub(super) fn cancel_attempts(&mut self, job: JobId, chosen: impl Fn(&AttemptKey) -> bool) {
        let Some(job) = self.jobs.get(&job) else { return };
        let keys = job.keys_where(|attempt| attempt.state == AttemptState::Running);
        for key in keys.into_iter().filter(chosen) {
            let Some((_, attempt, _)) = self.attempt(key) else { continue };
            let life = attempt.life.clone();
            self.set_state(key, AttemptState::Cancelled);
            if let Some(worker) = self.workers.get_mut(&life.0).filter(|worker| worker.incarnation == life.1) {
                worker.running.remove(&key);
                self.tell(&life.0, OrderBody::Cancel { keys: vec![key] });
            }
        }
    }

    pub(super) fn set_state(&mut self, key: AttemptKey, state: AttemptState) {
        let (number, index) = stage_place(key.stage);
        let action = self.jobs.get_mut(&key.job).and_then(|job| job.actions.get_mut(&number));
        if let Some(attempt) = action.and_then(|action| action.attempt_mut(index, key.task.0, key.attempt)) {
            attempt.state = state;
        }
    }

    fn set_counters(&mut self, key: AttemptKey, counters: AttemptCounters) {
        let (number, index) = stage_place(key.stage);
        let action = self.jobs.get_mut(&key.job).and_then(|job| job.actions.get_mut(&number));
        if let Some(attempt) = action.and_then(|action| action.attempt_mut(index, key.task.0, key.attempt)) {
            attempt.counters = Some(counters);
        }
    }

    fn is_task_done(&self, key: AttemptKey) -> bool {
        let (number, index) = stage_place(key.stage);
        let stage = self.jobs.get(&key.job).and_then(|job| job.actions.get(&number)?.stages.get(index));
        stage.and_then(|stage| stage.tasks.get(key.task.0 as usize)).is_some_and(|task| task.accepted.is_some())
    }

    /// What an attempt says of itself fits its stage, and it took what its inputs' ledgers say.
    fn check_report(&self, key: AttemptKey, attempt: &Attempt, report: &AttemptReport) -> Result<(), RemoteError> {
        let (number, index) = stage_place(key.stage);
        let wrong = |sentence: String| Err(RemoteError::new(Kind::Internal, sentence));
        let Some(action) = self.jobs.get(&key.job).and_then(|job| job.actions.get(&number)) else { return Ok(()) };
        let Some(shape) = action.skeleton.stages.get(index) else { return Ok(()) };
        let groups = action.output(index).map_or(0, |(_, kind)| kind.group_count());
        if report.groups.len() != groups {
            return wrong(format!("an attempt reports {} groups, its edge has {groups}", report.groups.len()));
        }
        if shape.writes != report.manifest.is_some() {
            return wrong(
                "an attempt of a stage that writes reports no manifest, or one of another stage does".to_owned(),
            );
        }
        if shape.gives.is_some() != report.value.is_some() {
            return wrong(
                "an attempt of a stage that gives a parameter reports none, or one of another stage does".to_owned(),
            );
        }
        let task = action.stages.get(index).and_then(|stage| stage.tasks.get(key.task.0 as usize));
        if let Some(before) = task.and_then(|task| task.made) {
            let made = Made::of(&report.groups);
            if made != before {
                let sentence = format!(
                    "task {}.{} was run again and made other rows than before: {} rows, before {}",
                    key.stage, key.task, made.rows, before.rows
                );
                let hint =
                    "what it computes must be the same each time: no clock, no random numbers, no order of a map";
                return Err(RemoteError::new(Kind::Job, sentence).hinted(hint));
            }
        }
        for (edge, expected) in &attempt.expected {
            let taken = report.taken.iter().find(|taken| taken.edge == *edge);
            let rows = taken.map_or(0, |taken| taken.rows);
            let is_enough = taken.is_some_and(|taken| taken.is_enough);
            if rows > *expected || (rows < *expected && !is_enough) {
                return wrong(format!("{rows} rows were taken from edge {}, its ledger says {expected}", edge.0));
            }
        }
        Ok(())
    }
}

/// Whether inputs of living workers could not be pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// None, or they are gone for good.
    No,
    /// Some; another worker may reach them.
    Waits,
    /// Some, more than once: the work moves to this worker.
    MoveTo(WorkerName),
}
