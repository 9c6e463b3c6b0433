//! From the journal to the state: a coordinator's next life begins where the last one was durable.
//!
//! In: each job's records in their order. Out: the same jobs, plans, tasks, attempts, parameters, ends. Never: a record
//! acted upon again; a worker believed before it has registered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Coordinator, JobEvent, JournalRecord, NO_WORKERS, Options, Out, RETURN_GRACE, record::*, stage::Action};
use crate::{
    cluster::protocol::{ActionNumber, AttemptEnd, AttemptKey, AttemptState, Blob, ParameterNumber, stage_place},
    plan::decision::Decision,
    shuffle::JobId,
};

impl Coordinator {
    /// A life that goes on from the journal: the records of each job in their order, the epitaphs in theirs.
    pub fn new(
        options: Options,
        journal: Vec<(JobId, Vec<JournalRecord>)>,
        epitaphs: Vec<Epitaph>,
        now: u64,
    ) -> Coordinator {
        let mut coordinator = Coordinator {
            options,
            now,
            last_tick: now,
            links: BTreeMap::new(),
            workers: BTreeMap::new(),
            absent: BTreeMap::new(),
            dead: BTreeSet::new(),
            dead_order: VecDeque::new(),
            no_workers_since: Some(now),
            jobs: BTreeMap::new(),
            line: Vec::new(),
            epitaphs: BTreeMap::new(),
            epitaph_order: VecDeque::new(),
            remembered: VecDeque::new(),
            fenced: 0,
            out: Out { ready: VecDeque::new(), held: VecDeque::new(), appended: 0, synced: 0 },
            is_dirty: true,
            is_stopped: false,
        };
        for epitaph in epitaphs {
            coordinator.bury(epitaph);
        }
        for (id, records) in journal {
            if let Some(epitaph) = coordinator.epitaphs.get(&id).cloned() {
                // The journal was to be removed, and the last life ended before.
                coordinator.out.retire(epitaph);
                continue;
            }
            let mut plans = BTreeMap::new();
            for record in records {
                coordinator.replay(id, record, &mut plans);
            }
            coordinator.after_replay(id);
        }
        let jobs = &coordinator.jobs;
        coordinator.line.sort_by_key(|id| jobs.get(id).map(|job| (job.submission.submitted_unix_ms, *id)));
        coordinator
    }

    fn replay(&mut self, id: JobId, record: JournalRecord, plans: &mut BTreeMap<ActionNumber, Vec<Blob>>) {
        let now = self.now;
        if let JournalRecord::Job(submission) = record {
            if !self.jobs.contains_key(&id) {
                self.insert_job(submission);
            }
            return;
        }
        let Some(job) = self.jobs.get_mut(&id) else { return };
        match record {
            JournalRecord::Job(_) => {}
            JournalRecord::DriverStarted(record) => self.apply_driver_started(&record),
            JournalRecord::PlanPart(record) => {
                let parts = plans.entry(record.action).or_default();
                // A life that ended between the parts and the plan has left parts that count for nothing.
                parts.truncate(record.part as usize);
                parts.push(record.bytes);
            }
            JournalRecord::PlanShipped(record) => {
                let parts = plans.remove(&record.action).unwrap_or_default();
                let plan: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
                job.actions.insert(record.action, Action::new(record.skeleton, plan.into(), record.plan_hash));
            }
            JournalRecord::Decision(record) => {
                job.decisions = job.decisions.max(record.number.0 + 1);
                let action = job.actions.get_mut(&stage_place(record.stage).0);
                if let (Some(action), Decision::ScalarValue { subquery, value: Some(value) }) =
                    (action, record.decision)
                {
                    action.parameters.entry(ParameterNumber(subquery)).or_insert(value.into());
                }
            }
            JournalRecord::StageStarted(record) => {
                let (number, index) = stage_place(record.stage);
                let stage = job.actions.get_mut(&number).and_then(|action| action.stages.get_mut(index));
                if let Some(stage) = stage.filter(|stage| stage.tasks.is_empty()) {
                    stage.start(&record.tasks, now);
                }
            }
            JournalRecord::AttemptStarted(record) => {
                let (number, index) = stage_place(record.key.stage);
                let stage = job.actions.get_mut(&number).and_then(|action| action.stages.get_mut(index));
                if let Some(task) = stage.and_then(|stage| stage.tasks.get_mut(record.key.task.0 as usize)) {
                    task.attempts.push(super::stage::Attempt::new((record.worker, record.incarnation), now));
                }
            }
            JournalRecord::AttemptEnded(record) => match record.end {
                AttemptEnd::Finished(report) => {
                    self.accept(record.key, report);
                    self.quit(id, |key| key.stage == record.key.stage && key.task == record.key.task);
                }
                AttemptEnd::Failed(failure) => {
                    self.count_failure(record.key, &failure);
                }
            },
            JournalRecord::AttemptLost(record) => {
                let (number, index) = stage_place(record.key.stage);
                let stage = job.actions.get_mut(&number).and_then(|action| action.stages.get_mut(index));
                if let Some(stage) = stage {
                    stage.lose(record.key.task.0, record.key.attempt, now);
                }
            }
            JournalRecord::ActionEnded(record) => {
                let has_failed = record.failed.is_some();
                if let Some(action) = job.actions.get_mut(&record.action) {
                    action.ended = Some(record.failed);
                }
                if has_failed {
                    self.quit(id, |key| stage_place(key.stage).0 == record.action);
                    self.tell_outcome(id, record.action);
                }
            }
            JournalRecord::JobEnded(record) => {
                self.apply_job_ended(id, &record);
                self.quit(id, |_| true);
            }
        }
    }

    /// Attempts that the last life cancelled when it wrote the record: their workers know them as gone.
    fn quit(&mut self, id: JobId, chosen: impl Fn(&AttemptKey) -> bool) {
        let Some(job) = self.jobs.get(&id) else { return };
        let keys = job.keys_where(|attempt| attempt.state == AttemptState::Running);
        keys.into_iter().filter(chosen).for_each(|key| self.set_state(key, AttemptState::Cancelled));
    }

    /// The workers of what runs and what counts may come back.
    fn after_replay(&mut self, id: JobId) {
        let until = self.now + RETURN_GRACE;
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let is_working = job.is_working();
        job.is_dropped = job.state.is_ended() && !is_working;
        let lives = job.actions.values().flat_map(|action| &action.stages).flat_map(|stage| &stage.tasks);
        let lives = lives.flat_map(|task| &task.attempts);
        let lives = lives.filter(|attempt| matches!(attempt.state, AttemptState::Running | AttemptState::Finished));
        let lives = lives.map(|attempt| attempt.life.clone()).chain(job.run().map(|(_, life)| life.clone()));
        if is_working {
            self.absent.extend(lives.map(|life| (life, until)));
        }
        if !job.state.is_ended() {
            self.out.log(id, JobEvent::Recovered);
        }
    }
}

// Workers have time to come back before the jobs that wait for them fail.
const _: () = assert!(RETURN_GRACE < NO_WORKERS);
