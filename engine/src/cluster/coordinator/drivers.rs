//! The drivers of jobs: where each runs, what it ships, how it ends; and how a job ends.
//!
//! In: jobs without a driver, plans in parts, ends. Out: starts, records, acknowledgements. Never: two runs that both
//! count; a plan that replaces one which is durable.

use twox_hash::XxHash3_64;

use super::{Coordinator, JobEvent, JournalRecord, Life, job::Staging, stage::Action};
use crate::{
    cluster::{
        coordinator::{DriverStarted, JobEnded, PlanPart, PlanShipped},
        limits::{
            ACTIONS_PER_JOB_MAX, DRIVER_FAILURES_MAX, DRIVER_RUNS_MAX, JOBS_RUNNING_MAX, PLANS_BYTES_MAX, RETRY_DELAY,
        },
        protocol::{
            ActionNumber, Blob, DriverEnd, DriverPlan, DriverRun, DriverStart, FailureCause, JobKind, JobState,
            OrderBody, RemoteError, Retry, WorkerName, WorkerState, part_count, part_of,
        },
    },
    error::Kind,
    shuffle::JobId,
};

impl Coordinator {
    /// Jobs that wait begin, as many as may run.
    pub(super) fn promote(&mut self) {
        let mut running = self.jobs.values().filter(|job| job.state == JobState::Running).count();
        for id in &self.line {
            let Some(job) = self.jobs.get_mut(id) else { continue };
            if running < JOBS_RUNNING_MAX && job.state == JobState::Queued {
                job.state = JobState::Running;
                job.touch();
                running += 1;
            }
        }
    }

    /// A running job without a driver gets one, where there are fewest.
    pub(super) fn start_driver(&mut self, id: JobId) {
        let now = self.now;
        let Some(job) = self.jobs.get(&id).filter(|job| job.state == JobState::Running) else { return };
        let driver = &job.driver;
        if driver.life.is_some() || driver.has_ended || now < driver.not_before {
            return;
        }
        if driver.runs >= DRIVER_RUNS_MAX {
            let sentence =
                format!("the driver of job {id} was started {} times and never came to its end", driver.runs);
            return self.fail_job(id, RemoteError::unreachable(sentence));
        }
        let ready = || self.workers.iter().filter(|(_, worker)| worker.state == WorkerState::Ready);
        let load = |name: &WorkerName| {
            self.jobs.values().filter(|job| job.run().is_some_and(|(_, life)| life.0 == *name)).count()
        };
        // Jobs begin at different workers.
        let turn = |name: &WorkerName| XxHash3_64::oneshot(name.as_str().as_bytes()) ^ id.0;
        let Some((name, worker)) = ready().min_by_key(|(name, worker)| (load(name), worker.running.len(), turn(name)))
        else {
            return;
        };
        let nodes = job.nodes.unwrap_or(ready().count() as u32);
        let life = worker.life(name);
        let record = DriverStarted {
            driver: DriverRun { job: id, run: driver.runs },
            worker: life.0.clone(),
            incarnation: life.1,
            nodes,
            after_failure: driver.is_after_failure,
        };
        self.out.log(id, JobEvent::DriverStarted { run: record.driver.run, worker: life.0, nodes });
        self.apply_driver_started(&record);
        let run = record.driver;
        self.out.append(id, JournalRecord::DriverStarted(record));
        self.say_start_driver(run);
    }

    /// The latest run is this one; it has heard nothing yet.
    pub(super) fn apply_driver_started(&mut self, record: &DriverStarted) {
        let now = self.now;
        let Some(job) = self.jobs.get_mut(&record.driver.job) else { return };
        job.state = JobState::Running;
        job.nodes = Some(record.nodes);
        job.driver.runs = record.driver.run + 1;
        job.driver.failures += u32::from(record.after_failure);
        job.driver.life = Some((record.worker.clone(), record.incarnation));
        job.driver.said_at = now;
        job.driver.is_after_failure = false;
        job.staging.clear();
        job.touch();
        let is_told = |action: &Action| matches!(action.ended, Some(Some(_))) || action.is_complete;
        let told: Vec<ActionNumber> =
            job.actions.iter().filter(|(_, action)| is_told(action)).map(|(number, _)| *number).collect();
        for number in told {
            self.tell_outcome(record.driver.job, number);
        }
    }

    pub(super) fn say_start_driver(&mut self, driver: DriverRun) {
        let now = self.now;
        let Some(job) = self.jobs.get_mut(&driver.job) else { return };
        let Some((_, life)) = job.run().filter(|(run, _)| *run == driver) else { return };
        let host = life.0.clone();
        job.driver.said_at = now;
        let shipped = job.actions.iter().map(|(number, action)| action.shipped(*number));
        let start = DriverStart {
            driver,
            kind: job.submission.kind,
            spec: job.submission.spec.clone(),
            options: job.submission.options,
            nodes: job.nodes.unwrap_or(1),
            shipped: shipped.collect(),
        };
        self.tell(&host, OrderBody::StartDriver(Box::new(start)));
    }

    /// The driver, or its worker, is gone: another follows after so long.
    pub(super) fn driver_lost(&mut self, id: JobId, cause: Option<RemoteError>, delay: u64) {
        let now = self.now;
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Some((driver, life)) = job.run().map(|(driver, life)| (driver, life.clone())) else { return };
        job.driver.life = None;
        job.driver.not_before = now + delay;
        job.driver.is_after_failure = cause.is_some();
        job.touch();
        self.out.log(id, JobEvent::DriverLost { run: driver.run, worker: life.0, cause });
        self.is_dirty = true;
    }

    pub(super) fn driver_plan(&mut self, life: &Life, plan: DriverPlan) {
        let driver = DriverRun { job: plan.job, run: plan.run };
        let held: u64 = self.jobs.values().map(|job| job.plan_bytes()).sum();
        let Some(job) = self.jobs.get_mut(&plan.job) else { return };
        if job.run().is_none_or(|(run, at)| run != driver || at != life) {
            return;
        }
        if job.actions.contains_key(&plan.action) {
            return self.tell(&life.0, OrderBody::PlanTaken { driver, action: plan.action });
        }
        if plan.action.0 as usize >= ACTIONS_PER_JOB_MAX {
            let sentence = format!("job {} has more than {ACTIONS_PER_JOB_MAX} actions", plan.job);
            return self.fail_job(plan.job, RemoteError::new(Kind::Limit, sentence));
        }
        if held + plan.plan_bytes > PLANS_BYTES_MAX as u64 && !job.staging.contains_key(&plan.action) {
            let sentence =
                format!("all plans together have {} bytes, more than {PLANS_BYTES_MAX}", held + plan.plan_bytes);
            return self.fail_job(plan.job, RemoteError::new(Kind::Limit, sentence).hinted("run fewer jobs at a time"));
        }
        let DriverPlan { run, skeleton, plan_hash, plan_bytes, first, action, job: id } = plan;
        let known = job.staging.get(&action).is_some_and(|known| known.run == run && known.plan_hash == plan_hash);
        if !known {
            job.staging.insert(action, Staging { run, skeleton, plan_hash, plan_bytes, parts: vec![first] });
        }
        self.stage_plan(id, action, &life.0);
    }

    pub(super) fn driver_plan_part(
        &mut self,
        life: &Life,
        driver: DriverRun,
        action: ActionNumber,
        part: u32,
        bytes: Blob,
    ) {
        let Some(job) = self.jobs.get_mut(&driver.job) else { return };
        let Some(staging) = job.staging.get_mut(&action) else { return };
        if staging.run == driver.run && part as usize == staging.parts.len() {
            staging.parts.push(bytes);
            self.stage_plan(driver.job, action, &life.0);
        }
    }

    /// Asks for the next part; or, when all are here and are the plan, writes them down.
    fn stage_plan(&mut self, id: JobId, number: ActionNumber, host: &WorkerName) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Some(staging) = job.staging.get(&number) else { return };
        let driver = DriverRun { job: id, run: staging.run };
        let part = staging.parts.len() as u32;
        if part < part_count(staging.plan_bytes) {
            return self.tell(host, OrderBody::WantDriverPlan { driver, action: number, part });
        }
        let Some(staging) = job.staging.remove(&number) else { return };
        let plan: Blob = join(&staging.parts).into();
        if XxHash3_64::oneshot(&plan) != staging.plan_hash || plan.len() as u64 != staging.plan_bytes {
            // It comes again by itself: it was not acknowledged.
            return;
        }
        let Staging { skeleton, plan_hash, plan_bytes, parts, run: _ } = staging;
        for (part, bytes) in parts.into_iter().enumerate() {
            let record = PlanPart { action: number, part: part as u32, bytes };
            self.out.append(id, JournalRecord::PlanPart(record));
        }
        self.out.log(id, JobEvent::PlanShipped { action: number, stages: skeleton.stages.len(), plan_bytes });
        job.actions.insert(number, Action::new(skeleton.clone(), plan, plan_hash));
        job.touch();
        let record = PlanShipped { action: number, skeleton, plan_hash, plan_bytes };
        self.out.append(id, JournalRecord::PlanShipped(Box::new(record)));
        self.tell(host, OrderBody::PlanTaken { driver, action: number });
        self.is_dirty = true;
    }

    pub(super) fn send_plan_part(&mut self, host: &WorkerName, job: JobId, action: ActionNumber, part: u32) {
        let Some(known) = self.jobs.get(&job) else { return };
        let Some(plan) = known.actions.get(&action).map(|action| action.plan.clone()) else { return };
        // A plan of a program tells what was given since the one before it.
        let before = known.actions.range(..action).next_back().filter(|_| known.submission.kind == JobKind::Program);
        let before = before.map(|(number, action)| action.shipped(*number));
        if let Some(bytes) = part_of(&plan, part) {
            let parts = part_count(plan.len() as u64);
            self.tell(host, OrderBody::PlanPart { job, action, part, parts, before, bytes: bytes.into() });
        }
    }

    pub(super) fn driver_ended(&mut self, life: &Life, driver: DriverRun, end: DriverEnd) {
        let Some(job) = self.jobs.get(&driver.job) else {
            return self.tell(&life.0, OrderBody::DriverEndTaken(driver));
        };
        if job.run().is_none_or(|(run, at)| run != driver || at != life) {
            return self.tell(&life.0, OrderBody::DriverEndTaken(driver));
        }
        let has_failed_action = job.actions.values().any(|action| matches!(action.ended, Some(Some(_))));
        match end {
            // We had stopped it ourselves and forgot; that is no failure.
            DriverEnd::Failed { error, .. } if error.kind() == Kind::Cancelled => {
                self.driver_lost(driver.job, None, RETRY_DELAY);
            }
            DriverEnd::Failed { error, cause } => {
                let most = match (cause, error.retry()) {
                    (FailureCause::Error, _) if has_failed_action => 1,
                    (FailureCause::Panic, _) | (FailureCause::Error, Retry::Once) => 2,
                    (FailureCause::Process, _) | (_, Retry::Elsewhere) => DRIVER_FAILURES_MAX,
                    (_, Retry::Once | Retry::Never) => 1,
                };
                let failures = job.driver.failures + 1;
                if failures < most {
                    self.driver_lost(driver.job, Some(error), RETRY_DELAY << failures);
                } else {
                    self.end_job(driver.job, Some(DriverEnd::Failed { error, cause }));
                }
            }
            DriverEnd::Done { value, result } => {
                let is_there = |number| job.actions.get(&number).is_some_and(|action| action.ended == Some(None));
                if result.is_none_or(is_there) {
                    self.end_job(driver.job, Some(DriverEnd::Done { value, result }));
                } else {
                    let sentence = format!("the driver of job {} names a result that is not there", driver.job);
                    self.fail_job(driver.job, RemoteError::new(Kind::Internal, sentence));
                }
            }
        }
        self.tell(&life.0, OrderBody::DriverEndTaken(driver));
    }

    pub(super) fn fail_job(&mut self, id: JobId, error: RemoteError) {
        self.end_job(id, Some(DriverEnd::Failed { error, cause: FailureCause::Error }));
    }

    /// The job ends: durably, before anybody hears of it. `None` when somebody ended it.
    pub(super) fn end_job(&mut self, id: JobId, end: Option<DriverEnd>) {
        let record = JobEnded { end };
        let Some(job) = self.jobs.get(&id) else { return };
        let host = job.run().map(|(driver, life)| (driver, life.0.clone()));
        self.apply_job_ended(id, &record);
        self.out.append(id, JournalRecord::JobEnded(record));
        if let Some((driver, host)) = host {
            self.tell(&host, OrderBody::StopDriver(driver));
        }
        self.cancel_attempts(id, |_| true);
        let Some(job) = self.jobs.get(&id) else { return };
        let (state, cause) = match &job.state {
            JobState::Failed(error) => ("failed", Some(error.clone())),
            JobState::Cancelled => ("cancelled", None),
            _ => ("done", None),
        };
        self.out.log(id, JobEvent::Ended { state, cause });
        if !job.is_working() {
            self.drop_job(id);
        }
        self.is_dirty = true;
    }

    pub(super) fn apply_job_ended(&mut self, id: JobId, record: &JobEnded) {
        let now = self.now;
        let Some(job) = self.jobs.get_mut(&id) else { return };
        (job.value, job.result) = (None, None);
        job.state = match &record.end {
            None => JobState::Cancelled,
            Some(DriverEnd::Failed { error, .. }) => JobState::Failed(error.clone()),
            Some(DriverEnd::Done { value, result }) => {
                (job.value, job.result) = (Some(value.clone()), *result);
                JobState::Done
            }
        };
        job.ended_at = now;
        job.driver.has_ended = true;
        job.driver.life = None;
        job.staging.clear();
        if !job.is_working() {
            job.forget_plans();
        }
        job.touch();
    }

    /// Nothing of the job on any worker is needed any more.
    pub(super) fn drop_job(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.is_dropped = true;
        job.forget_plans();
        job.touch();
        let here: Vec<WorkerName> =
            self.workers.iter().filter(|(_, worker)| worker.is_here()).map(|(name, _)| name.clone()).collect();
        for name in here {
            self.tell(&name, OrderBody::Forget { jobs: vec![id] });
        }
    }
}

/// Parts, one behind the other.
fn join(parts: &[Blob]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}
