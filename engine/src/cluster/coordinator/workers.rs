//! The workers: who is here, what each says it does, who is given up.
//!
//! In: registrations, beats, silence. Out: welcomes, orders said again, what was lost. Never: a verdict in a moment in
//! which we stood still ourselves; a life that comes back from the dead.

use std::collections::BTreeSet;

use super::{Command, Coordinator, DEAD_MAX, JobEvent, JournalRecord, Life, Peer};
use crate::{
    cluster::{
        coordinator::AttemptLost,
        limits::{BEAT, DEAD_AFTER, LINK_GRACE, RESEND, SLOTS_MAX, WORKERS_MAX},
        protocol::{
            AttemptKey, AttemptState, Beat, DriverRun, EdgeEnd, FromWorker, Incarnation, Link, OrderBody,
            PROTOCOL_VERSION, Registration, RemoteError, WorkerBody, WorkerName, WorkerState, stage_place,
        },
    },
    error::Kind,
    shuffle::JobId,
};

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) incarnation: Incarnation,
    pub(super) address: String,
    pub(super) build: String,
    pub(super) pid: u32,
    pub(super) threads: u32,
    pub(super) memory_bytes: u64,
    pub(super) slots: usize,
    pub(super) state: WorkerState,
    pub(super) link: Option<Link>,
    link_lost_at: u64,
    pub(super) heard_at: u64,
    /// Of its latest account of itself.
    number: u64,
    /// Attempts that it runs by our books.
    pub(super) running: BTreeSet<AttemptKey>,
}

impl Worker {
    pub(super) fn life(&self, name: &WorkerName) -> Life {
        (name.clone(), self.incarnation)
    }
    /// It lives, so what it holds can be pulled.
    pub(super) fn is_here(&self) -> bool {
        matches!(self.state, WorkerState::Ready | WorkerState::Leaving)
    }
    /// It takes another attempt.
    pub(super) fn is_free(&self) -> bool {
        self.state == WorkerState::Ready && self.running.len() < self.slots
    }
}

/// A worker that registers so often beside a living one of its name is refused: three seconds.
const NAMESAKE_PATIENCE: u64 = 4;

impl Coordinator {
    pub(super) fn link_down(&mut self, link: Link) {
        self.links.remove(&link);
        for worker in self.workers.values_mut().filter(|worker| worker.link == Some(link)) {
            worker.link = None;
            worker.link_lost_at = self.now;
        }
        for job in self.jobs.values_mut() {
            job.watchers.remove(&link);
        }
    }

    pub(super) fn handle_worker(&mut self, link: Link, message: FromWorker) {
        let Some(Peer::Worker(name)) = self.links.get(&link).cloned() else { return };
        let FromWorker { incarnation, epoch, number, body } = message;
        let life = (name, incarnation);
        if let WorkerBody::Register(registration) = body {
            return self.register(link, life, number, *registration);
        }
        if self.options.fencing && (epoch != self.options.epoch || self.holder(&life).is_none()) {
            self.fenced += 1;
            if self.dead.contains(&life) {
                self.tell_life(link, life, OrderBody::Fenced);
            }
            return;
        }
        if let Some(worker) = self.workers.get_mut(&life.0) {
            worker.heard_at = self.now;
        }
        match body {
            WorkerBody::Register(_) => {}
            WorkerBody::Beat(beat) => {
                let Some(worker) = self.workers.get_mut(&life.0) else { return };
                if number > worker.number {
                    worker.number = number;
                    self.tell(&life.0, OrderBody::BeatTaken { number });
                    self.compare(&life, &beat);
                }
            }
            WorkerBody::Ended { key, end } => self.attempt_ended(&life, key, end),
            WorkerBody::WantPlan { job, action, part } => self.send_plan_part(&life.0, job, action, part),
            WorkerBody::DriverPlan(plan) => self.driver_plan(&life, *plan),
            WorkerBody::DriverPlanPart { job, run, action, part, bytes } => {
                self.driver_plan_part(&life, DriverRun { job, run }, action, part, bytes);
            }
            WorkerBody::OutcomeTaken { job, run, action, revision, page } => {
                self.outcome_taken(DriverRun { job, run }, action, revision, page);
            }
            WorkerBody::DriverLost { job, run, lost } => {
                let is_current =
                    self.jobs.get(&job).and_then(|job| job.run()).is_some_and(|(driver, _)| driver.run == run);
                if is_current {
                    self.inputs_lost(job, &lost, None);
                    self.is_dirty = true;
                }
            }
            WorkerBody::DriverEnded { job, run, end } => self.driver_ended(&life, DriverRun { job, run }, end),
            WorkerBody::Leave { when_free } => self.leave(&life, when_free),
        }
    }

    fn register(&mut self, link: Link, life: Life, number: u64, registration: Registration) {
        let name = &life.0;
        if registration.version != PROTOCOL_VERSION {
            let sentence = format!(
                "worker {name} ({}) speaks version {}, the coordinator {PROTOCOL_VERSION}",
                registration.build, registration.version
            );
            return self.refuse(
                link,
                life,
                RemoteError::new(Kind::Unsupported, sentence).hinted("use one build everywhere"),
            );
        }
        if registration.name != *name {
            let sentence = format!("a worker calls itself {}, but its certificate names {name}", registration.name);
            return self.refuse(link, life, RemoteError::denied(sentence));
        }
        if self.dead.contains(&life) && self.options.fencing {
            self.fenced += 1;
            return self.tell_life(link, life, OrderBody::Fenced);
        }
        match self.workers.get(name).map(|known| (known.incarnation, known.number, known.is_here())) {
            Some((known, seen, true)) if known == life.1 && number <= seen => return,
            Some((known, _, true)) if known != life.1 => {
                if let Some(other) = self.lively_namesake(name, &registration) {
                    // It may have died just now, and this one follows: its silence tells soon.
                    if number >= NAMESAKE_PATIENCE {
                        self.refuse(link, life, other);
                    }
                    return;
                }
                self.lose_life((name.clone(), known), "another life of it came")
            }
            _ => {}
        }
        let earlier = self.absent.keys().find(|absent| absent.0 == *name && absent.1 != life.1).cloned();
        if let Some(earlier) = earlier {
            self.lose_life(earlier, "another life of it came");
        }
        if self.workers.len() >= WORKERS_MAX {
            self.workers.retain(|known, worker| worker.is_here() || known == name);
        }
        if self.workers.len() >= WORKERS_MAX && !self.workers.contains_key(name) {
            let sentence = format!("{} workers are there, worker {name} is one too many", self.workers.len());
            return self.refuse(link, life, RemoteError::new(Kind::Limit, sentence));
        }
        self.admit(link, &life, number, &registration);
        self.tell(&life.0, OrderBody::Welcome { number });
        self.compare_held(&life, &registration);
        self.compare(&life, &registration.beat);
        self.is_dirty = true;
    }

    /// Another process of this name that was heard just now, as an error.
    fn lively_namesake(&self, name: &WorkerName, registration: &Registration) -> Option<RemoteError> {
        let worker = self.workers.get(name)?;
        let is_lively = worker.pid != registration.pid && self.now < worker.heard_at + 3 * BEAT;
        let sentence = format!("a worker {name} is here already: process {} at {}", worker.pid, worker.address);
        is_lively.then(|| RemoteError::denied(sentence).hinted("give each worker a name and a certificate of its own"))
    }

    fn admit(&mut self, link: Link, life: &Life, number: u64, registration: &Registration) {
        let was_absent = self.absent.remove(life).is_some();
        let known = self.workers.get(&life.0).filter(|known| known.incarnation == life.1 && known.is_here());
        let (state, mut running) =
            known.map_or((WorkerState::Ready, BTreeSet::new()), |known| (known.state, known.running.clone()));
        if was_absent {
            for job in self.jobs.values() {
                running
                    .extend(job.keys_where(|attempt| attempt.state == AttemptState::Running && attempt.life == *life));
            }
        }
        let worker = Worker {
            incarnation: life.1,
            address: registration.address.clone(),
            build: registration.build.clone(),
            pid: registration.pid,
            threads: registration.threads,
            memory_bytes: registration.memory_bytes,
            slots: (registration.slots as usize).clamp(1, SLOTS_MAX),
            state,
            link: Some(link),
            link_lost_at: self.now,
            heard_at: self.now,
            number,
            running,
        };
        self.workers.insert(life.0.clone(), worker);
        if state == WorkerState::Ready {
            self.no_workers_since = None;
        }
    }

    fn refuse(&mut self, link: Link, life: Life, error: RemoteError) {
        self.tell_life(link, life, OrderBody::Refused { error: error.clone() });
        self.out.hold(Command::CloseLink { link, error });
    }

    /// What counts there and is not there is lost; what is there and does not count is dropped.
    fn compare_held(&mut self, life: &Life, registration: &Registration) {
        let there: BTreeSet<AttemptKey> = registration.held.iter().chain(&registration.beat.ended).copied().collect();
        let mut lost = Vec::new();
        for job in self.jobs.values().filter(|job| !job.is_dropped) {
            let held = job.keys_where(|attempt| attempt.state == AttemptState::Finished && attempt.life == *life);
            lost.extend(held.into_iter().filter(|key| !there.contains(key) && self.is_held_somewhere(*key)));
        }
        for key in lost {
            self.lose_attempt(key);
        }
        let counts =
            |key: &AttemptKey| self.attempt(*key).is_some_and(|(_, attempt, counts)| counts && attempt.life == *life);
        let keys: Vec<AttemptKey> = registration.held.iter().filter(|key| !counts(key)).copied().collect();
        if !keys.is_empty() {
            self.tell(&life.0, OrderBody::Cancel { keys });
        }
    }

    /// What an attempt makes is frames in a spool, not a manifest or a value in the journal.
    pub(super) fn is_held_somewhere(&self, key: AttemptKey) -> bool {
        let (action, stage) = stage_place(key.stage);
        let action = self.jobs.get(&key.job).and_then(|job| job.actions.get(&action));
        action.is_some_and(|action| action.output(stage).is_some())
    }

    /// Says again what a worker's account does not show, and stops what it shows and nobody wants.
    fn compare(&mut self, life: &Life, beat: &Beat) {
        let mut unwanted = Vec::new();
        for shown in &beat.running {
            let (action, stage) = stage_place(shown.key.stage);
            let job = self.jobs.get_mut(&shown.key.job);
            let attempt = job.and_then(|job| {
                job.revision += 1;
                job.actions.get_mut(&action)?.attempt_mut(stage, shown.key.task.0, shown.key.attempt)
            });
            match attempt {
                Some(attempt) if attempt.life == *life && attempt.state == AttemptState::Running => {
                    attempt.progress = shown.progress;
                }
                // Its end has overtaken the beat.
                Some(attempt) if attempt.life == *life && attempt.state == AttemptState::Finished => {}
                _ => unwanted.push(shown.key),
            }
        }
        if !unwanted.is_empty() {
            self.tell(&life.0, OrderBody::Cancel { keys: unwanted });
        }

        let shown: BTreeSet<AttemptKey> =
            beat.running.iter().map(|shown| shown.key).chain(beat.ended.iter().copied()).collect();
        let running = self.workers.get(&life.0).map(|worker| worker.running.clone()).unwrap_or_default();
        for key in running.into_iter().filter(|key| !shown.contains(key)) {
            self.order_again(key);
        }

        let is_over = |job: &JobId| self.jobs.get(job).is_none_or(|job| job.is_dropped);
        let over: Vec<JobId> = beat.jobs.iter().map(|held| held.job).filter(is_over).collect();
        if !over.is_empty() {
            self.tell(&life.0, OrderBody::Forget { jobs: over });
        }
        self.compare_drivers(life, &beat.drivers);
    }

    fn compare_drivers(&mut self, life: &Life, shown: &[DriverRun]) {
        for driver in shown {
            let job = self.jobs.get(&driver.job).filter(|job| !job.is_dropped);
            // One that has ended shows until it knows that we know.
            let is_wanted =
                job.is_some_and(|job| job.run().is_some_and(|(wanted, at)| wanted == *driver && at == life));
            if !is_wanted {
                self.tell(&life.0, OrderBody::StopDriver(*driver));
            }
        }
        let mut missing = Vec::new();
        for job in self.jobs.values() {
            if let Some((driver, at)) = job.run()
                && at == life
                && !shown.contains(&driver)
                && self.now >= job.driver.said_at + RESEND
            {
                missing.push(driver);
            }
        }
        for driver in missing {
            self.say_start_driver(driver);
        }
    }

    fn leave(&mut self, life: &Life, when_free: bool) {
        if !when_free {
            return self.lose_life(life.clone(), "it left");
        }
        if let Some(worker) = self.workers.get_mut(&life.0) {
            worker.state = WorkerState::Leaving;
            self.is_dirty = true;
        }
    }

    /// A leaving worker whose attempts and frames nobody needs may go.
    pub(super) fn release_leaving(&mut self) {
        let leaving = self.workers.iter().filter(|(_, worker)| worker.state == WorkerState::Leaving);
        let leaving: Vec<Life> =
            leaving.filter(|(_, worker)| worker.running.is_empty()).map(|(name, w)| w.life(name)).collect();
        for life in leaving {
            let drives = self.jobs.values().any(|job| job.run().is_some_and(|(_, at)| *at == life));
            let is_needed = self.jobs.values().filter(|job| job.is_working()).any(|job| {
                job.actions.iter().any(|(number, action)| {
                    let wanted = action.wanted(job.takes_result(*number));
                    let stages = action.stages.iter().zip(wanted).filter(|(_, wanted)| *wanted);
                    stages
                        .flat_map(|(stage, _)| &stage.tasks)
                        .any(|task| task.counts().is_some_and(|held| held.life == life))
                })
            });
            if !drives && !is_needed {
                self.tell(&life.0, OrderBody::Released);
            }
        }
    }

    /// Everybody's time begins again.
    pub(super) fn forgive_silence(&mut self) {
        for worker in self.workers.values_mut() {
            worker.heard_at = self.now;
            worker.link_lost_at = self.now;
        }
        let grace = self.now + DEAD_AFTER;
        for until in self.absent.values_mut() {
            *until = (*until).max(grace);
        }
    }

    pub(super) fn judge_workers(&mut self) {
        let mut lost = Vec::new();
        for (name, worker) in self.workers.iter().filter(|(_, worker)| worker.is_here()) {
            if self.now >= worker.heard_at + DEAD_AFTER {
                lost.push((worker.life(name), "it was silent"));
            } else if worker.link.is_none() && self.now >= worker.link_lost_at + LINK_GRACE {
                lost.push((worker.life(name), "its connection was lost"));
            }
        }
        let gone = self.absent.iter().filter(|(_, until)| self.now >= **until);
        lost.extend(gone.map(|(life, _)| (life.clone(), "it did not come back")));
        for (life, why) in lost {
            self.lose_life(life, why);
        }
    }

    /// The one place where a life ends: all that it ran and held is gone.
    pub(super) fn lose_life(&mut self, life: Life, why: &'static str) {
        self.absent.remove(&life);
        if self.dead.insert(life.clone()) {
            self.dead_order.push_back(life.clone());
        }
        if self.dead_order.len() > DEAD_MAX
            && let Some(oldest) = self.dead_order.pop_front()
        {
            self.dead.remove(&oldest);
        }
        if let Some(worker) = self.workers.get_mut(&life.0).filter(|worker| worker.incarnation == life.1) {
            worker.state = WorkerState::Dead;
            worker.running.clear();
            if let Some(link) = worker.link {
                self.tell_life(link, life.clone(), OrderBody::Fenced);
            }
        }
        for id in self.line.clone() {
            let Some(job) = self.jobs.get(&id).filter(|job| !job.is_dropped) else { continue };
            let keys = job.keys_where(|attempt| {
                attempt.life == life && matches!(attempt.state, AttemptState::Running | AttemptState::Finished)
            });
            let drives = job.run().is_some_and(|(_, at)| *at == life);
            if drives || !keys.is_empty() {
                let event = JobEvent::WorkerLost { worker: life.0.clone(), incarnation: life.1, why };
                self.out.log(id, event);
            }
            for key in keys {
                let is_running =
                    self.attempt(key).is_some_and(|(_, attempt, _)| attempt.state == AttemptState::Running);
                if is_running || self.is_held_somewhere(key) {
                    self.lose_attempt(key);
                }
            }
            if drives {
                self.driver_lost(id, None, 0);
            }
        }
        self.is_dirty = true;
    }

    /// What an attempt made, or was about to make, is gone.
    pub(super) fn lose_attempt(&mut self, key: AttemptKey) {
        let now = self.now;
        let (number, stage) = stage_place(key.stage);
        let Some(job) = self.jobs.get_mut(&key.job) else { return };
        let Some(action) = job.actions.get_mut(&number) else { return };
        let Some(attempt) = action.attempt_mut(stage, key.task.0, key.attempt) else { return };
        let life = attempt.life.clone();
        if let Some(stage) = action.stages.get_mut(stage) {
            stage.lose(key.task.0, key.attempt, now);
        }
        if matches!(action.output(stage), Some((EdgeEnd::Result, _))) {
            action.is_complete = false;
            action.page = None;
        }
        job.touch();
        self.out.append(key.job, JournalRecord::AttemptLost(AttemptLost { key }));
        self.out.log(key.job, JobEvent::AttemptLost { attempt: key, worker: life.0.clone() });
        if let Some(worker) = self.workers.get_mut(&life.0).filter(|worker| worker.incarnation == life.1) {
            worker.running.remove(&key);
        }
        self.is_dirty = true;
    }
}
