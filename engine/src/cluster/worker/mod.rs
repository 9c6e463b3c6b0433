//! The worker: runs what it is told, tells what it has.
//!
//! In: orders, and what its executor, its spool and the drivers it hosts report. Out: messages to the coordinator;
//! attempts and drivers to start and stop; spools to drop. Never: a decision of its own about what is needed; a word
//! from a coordinator's life that has passed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::cluster::limits::{BEAT, JOBS_MAX, RESEND, SILENCE, TICK};
use crate::cluster::protocol::{
    ActionNumber, ActionOutcome, AttemptEnd, AttemptKey, AttemptProgress, Beat, Blob, DriverEnd, DriverRun,
    DriverStart, FromWorker, HeldJob, Incarnation, Link, LostInput, Order, OrderBody, PROTOCOL_VERSION, Registration,
    RemoteError, Skeleton, ToWorker, WorkerBody, WorkerName,
};
use crate::shuffle::{Epoch, JobId};

mod attempts; // Attempts: waiting for its plan, running, ended, held, gone
mod drivers; // Drivers: plans that are shipped, outcomes that come in pages
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;

use attempts::{Attempts, PlanPart};
use drivers::Drivers;

/// What the worker hears.
#[derive(Clone, Debug)]
pub enum Event {
    /// A connection to the coordinator stands.
    LinkUp {
        /// Which.
        link: Link,
    },
    /// A connection is gone.
    LinkDown {
        /// Which.
        link: Link,
    },
    /// The coordinator said something.
    Message {
        /// Over which connection.
        link: Link,
        /// What.
        message: Box<ToWorker>,
    },
    /// A started attempt goes on.
    Progress {
        /// Which.
        key: AttemptKey,
        /// How far.
        progress: AttemptProgress,
    },
    /// A started attempt has ended; when it finished, its frames are in the spool.
    Ended {
        /// Which.
        key: AttemptKey,
        /// How.
        end: AttemptEnd,
    },
    /// All parts of a plan are stored and its hash agrees.
    PlanStored {
        /// Of which job.
        job: JobId,
        /// Of which action.
        action: ActionNumber,
    },
    /// The parts do not make the plan: a hash that differs, a disk.
    PlanFailed {
        /// Of which job.
        job: JobId,
        /// Of which action.
        action: ActionNumber,
        /// Why.
        error: RemoteError,
    },
    /// A driver that runs here has planned an action.
    DriverShipped {
        /// Which.
        driver: DriverRun,
        /// Which action.
        action: ActionNumber,
        /// What the coordinator may know.
        skeleton: Skeleton,
        /// The plan.
        plan: Blob,
    },
    /// A driver that runs here could not pull rows of an outcome.
    DriverLost {
        /// Which.
        driver: DriverRun,
        /// What it could not pull.
        lost: Vec<LostInput>,
    },
    /// A driver that ran here has ended, or died.
    DriverEnded {
        /// Which.
        driver: DriverRun,
        /// How.
        end: DriverEnd,
    },
    /// The process is asked to end.
    Leave {
        /// Once what it holds is no longer needed; else now.
        when_free: bool,
    },
    /// Time has passed: at least at every [`Worker::next_tick`].
    Tick,
}

/// What is to be done for the worker, in this order.
#[derive(Clone, Debug)]
pub enum Command {
    /// Send a message; when the connection is gone, drop it.
    Send {
        /// Over which connection.
        link: Link,
        /// What.
        message: Box<FromWorker>,
    },
    /// Keep a part of a plan; after the last one check the hash and say `PlanStored` or `PlanFailed`.
    StorePlan {
        /// Of which job.
        job: JobId,
        /// Of which action.
        action: ActionNumber,
        /// Which part: they come in order, from 0.
        part: u32,
        /// How many there are.
        parts: u32,
        /// XXH3-64 of all.
        plan_hash: u64,
        /// Its bytes.
        bytes: Blob,
    },
    /// Run an attempt, with the stored plan; say `Progress` from time to time and `Ended` at the end.
    StartAttempt {
        /// What.
        order: Box<Order>,
    },
    /// Stop an attempt and drop what it wrote; nothing is said about it any more.
    CancelAttempt {
        /// Which.
        key: AttemptKey,
    },
    /// Drop the frames of an ended attempt.
    DropAttempt {
        /// Which.
        key: AttemptKey,
    },
    /// Drop everything of a job: attempts, plans, the files of a driver.
    DropJob {
        /// Which.
        job: JobId,
    },
    /// Run a job's driver.
    StartDriver {
        /// What.
        start: Box<DriverStart>,
    },
    /// The plan of the last action that earlier runs shipped is stored: what the actions before it gave stands in it.
    TeachDriver {
        /// Which.
        driver: DriverRun,
        /// Whose plan.
        action: ActionNumber,
    },
    /// Give a driver the outcome of an action. A higher revision replaces a lower one: its rows lie elsewhere.
    DeliverOutcome {
        /// Which.
        driver: DriverRun,
        /// Which action.
        action: ActionNumber,
        /// Which account of it.
        revision: u64,
        /// How it ended.
        outcome: ActionOutcome,
    },
    /// Stop a driver; nothing is said about it any more.
    StopDriver {
        /// Which.
        driver: DriverRun,
    },
    /// This life is over: stop and drop everything, make a new machine with a new incarnation, on the same connection.
    BeginAgain,
    /// End the process.
    Exit {
        /// Why, when the coordinator refused it.
        error: Option<RemoteError>,
    },
}

/// How a worker is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its name, as in its certificate.
    pub name: WorkerName,
    /// This life: random.
    pub incarnation: Incarnation,
    /// Where others pull from it: bound before the machine is made.
    pub address: String,
    /// Its build, as text for people.
    pub build: String,
    /// Its process.
    pub pid: u32,
    /// Threads that compute.
    pub threads: u32,
    /// Its budget.
    pub memory_bytes: u64,
    /// Attempts that it runs at a time, at most `SLOTS_MAX`.
    pub slots: u32,
    /// Older lives are told apart. Off only where a test shows that it would fail.
    pub fencing: bool,
}

/// Forgotten jobs that are remembered, so that no late order of theirs begins anything: what the coordinator can have had.
const FORGOTTEN_MAX: usize = 16 * JOBS_MAX;

/// The machine.
#[derive(Debug)]
pub struct Worker {
    options: Options,
    now: u64,
    link: Option<Link>,
    /// The highest life of the coordinator that has welcomed us; 0 before the first.
    epoch: Epoch,
    /// It has welcomed us over this connection, and is not silent.
    is_welcome: bool,
    heard_at: u64,
    said_at: u64,
    last_tick: u64,
    number: u64,
    attempts: Attempts,
    drivers: Drivers,
    forgotten: BTreeSet<JobId>,
    forgotten_order: VecDeque<JobId>,
    leaving: Option<Leaving>,
    fenced: u64,
    out: Out,
}

#[derive(Debug)]
struct Leaving {
    when_free: bool,
    said_at: u64,
}

/// What is to be said and done.
#[derive(Debug, Default)]
struct Out {
    said: Vec<WorkerBody>,
    commands: VecDeque<Command>,
}

impl Out {
    fn say(&mut self, body: WorkerBody) {
        self.said.push(body);
    }
    fn command(&mut self, command: Command) {
        self.commands.push_back(command);
    }
}

impl Worker {
    /// A worker that nobody knows yet. Its address is bound already.
    pub fn new(options: Options, now: u64) -> Worker {
        Worker {
            options,
            now,
            link: None,
            epoch: Epoch(0),
            is_welcome: false,
            heard_at: now,
            said_at: now,
            last_tick: now,
            number: 0,
            attempts: Attempts::default(),
            drivers: Drivers::default(),
            forgotten: BTreeSet::new(),
            forgotten_order: VecDeque::new(),
            leaving: None,
            fenced: 0,
            out: Out::default(),
        }
    }

    /// Takes what happened at `now`, in microseconds of a clock that only rises.
    pub fn handle(&mut self, now: u64, event: Event) {
        self.now = self.now.max(now);
        match event {
            Event::LinkUp { link } => {
                self.link = Some(link);
                self.is_welcome = false;
                self.register();
            }
            Event::LinkDown { link } => {
                if self.link == Some(link) {
                    self.link = None;
                    self.is_welcome = false;
                }
            }
            Event::Message { link: _, message } => self.handle_message(*message),
            Event::Progress { key, progress } => self.attempts.set_progress(key, progress),
            Event::Ended { key, end } => self.attempts.end(self.now, key, end, &mut self.out),
            Event::PlanStored { job, action } => {
                self.attempts.plan_stored(job, action, &mut self.out);
                self.teach_drivers();
            }
            Event::PlanFailed { job, action, error } => {
                self.attempts.plan_failed(self.now, job, action, error, &mut self.out);
            }
            Event::DriverShipped { driver, action, skeleton, plan } => {
                self.drivers.ship(self.now, driver, action, skeleton, plan, &mut self.out);
            }
            Event::DriverLost { driver, lost } => {
                if self.drivers.is_running(driver) {
                    self.out.say(WorkerBody::DriverLost { job: driver.job, run: driver.run, lost });
                }
            }
            Event::DriverEnded { driver, end } => self.drivers.end(self.now, driver, end, &mut self.out),
            Event::Leave { when_free } => {
                self.leaving = Some(Leaving { when_free, said_at: self.now });
                self.out.say(WorkerBody::Leave { when_free });
                if !when_free {
                    self.flush();
                    self.out.command(Command::Exit { error: None });
                }
            }
            Event::Tick => {}
        }
        // Also when other things happen so fast that nobody finds the time to say so.
        if self.now >= self.next_tick() {
            self.tick();
        }
        self.flush();
    }

    /// What is to be done next.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.out.commands.pop_front()
    }

    /// When the next `Tick` is due at the latest.
    pub fn next_tick(&self) -> u64 {
        self.last_tick + TICK
    }

    /// Messages that were dropped because another life had sent them, or was meant.
    pub fn fenced(&self) -> u64 {
        self.fenced
    }

    /// The coordinator's life that has welcomed us, while it is not silent.
    pub fn coordinator(&self) -> Option<Epoch> {
        self.is_welcome.then_some(self.epoch)
    }

    /// The attempts whose end was taken and whose frames are kept; for tests and for people.
    pub fn held(&self) -> Vec<AttemptKey> {
        self.attempts.held()
    }

    fn handle_message(&mut self, message: ToWorker) {
        let ToWorker { epoch, incarnation, body } = message;
        if self.options.fencing && incarnation != self.options.incarnation {
            self.fenced += 1;
            return;
        }
        let is_first = matches!(body, OrderBody::Welcome { .. } | OrderBody::Refused { .. } | OrderBody::Fenced);
        if self.options.fencing && (epoch < self.epoch || (epoch > self.epoch && !is_first)) {
            self.fenced += 1;
            return;
        }
        self.heard_at = self.now;
        match body {
            OrderBody::Welcome { number: _ } => {
                if !self.is_welcome || epoch != self.epoch {
                    self.epoch = epoch;
                    self.is_welcome = true;
                    self.say_all();
                }
            }
            OrderBody::Refused { error } => self.out.command(Command::Exit { error: Some(error) }),
            OrderBody::Fenced => self.out.command(Command::BeginAgain),
            OrderBody::BeatTaken { number: _ } => {}
            OrderBody::Run(order) => {
                if !self.forgotten.contains(&order.key.job) {
                    self.attempts.order(self.now, order, &mut self.out);
                }
            }
            OrderBody::Cancel { keys } => {
                for key in keys.into_iter().filter(|key| !self.forgotten.contains(&key.job)) {
                    self.attempts.cancel(key, &mut self.out);
                }
            }
            OrderBody::EndTaken { key, keep } => self.attempts.end_taken(key, keep, &mut self.out),
            OrderBody::Forget { jobs } => jobs.into_iter().for_each(|job| self.forget(job)),
            OrderBody::PlanPart { job, action, part, parts, before, bytes } => {
                let part = PlanPart { part, parts, before, bytes };
                self.attempts.plan_part(self.now, (job, action), part, &mut self.out);
            }
            OrderBody::StartDriver(start) => {
                if !self.forgotten.contains(&start.driver.job) {
                    self.drivers.start(start, &mut self.out);
                    self.teach_drivers();
                }
            }
            OrderBody::StopDriver(driver) => {
                if !self.forgotten.contains(&driver.job) {
                    self.drivers.stop(driver, &mut self.out);
                }
            }
            OrderBody::WantDriverPlan { driver, action, part } => {
                self.drivers.want_part(self.now, driver, action, part, &mut self.out);
            }
            OrderBody::PlanTaken { driver, action } => self.drivers.plan_taken(driver, action),
            OrderBody::Outcome { driver, action, revision, page, pages, outcome } => {
                let page = drivers::Page { revision, page, pages, outcome };
                self.drivers.take_page(driver, action, page, &mut self.out);
            }
            OrderBody::DriverEndTaken(driver) => self.drivers.end_taken(driver),
            OrderBody::Released => {
                if self.leaving.is_some() {
                    self.out.command(Command::Exit { error: None });
                }
            }
        }
    }

    fn forget(&mut self, job: JobId) {
        let was_here = self.attempts.forget(job, &mut self.out);
        let was_driven = self.drivers.forget(job, &mut self.out);
        if was_here || was_driven {
            self.out.command(Command::DropJob { job });
        }
        if self.forgotten.insert(job) {
            self.forgotten_order.push_back(job);
        }
        while self.forgotten_order.len() > FORGOTTEN_MAX {
            if let Some(oldest) = self.forgotten_order.pop_front() {
                self.forgotten.remove(&oldest);
            }
        }
    }

    /// Drivers that were started again get the plans that tell what their earlier actions gave; one that could not be stored is asked
    /// for again.
    fn teach_drivers(&mut self) {
        for (job, shipped) in self.drivers.learning() {
            if self.attempts.has_plan(self.now, job, shipped, &mut self.out) {
                self.drivers.learned(job, &mut self.out);
            }
        }
    }

    fn tick(&mut self) {
        self.last_tick = self.now;
        if self.is_welcome && self.now >= self.heard_at + SILENCE {
            // It may have come back as another life and dropped our words: only a registration is said to any.
            self.is_welcome = false;
            self.register();
        }
        if !self.is_welcome {
            if self.now >= self.said_at + RESEND {
                self.register();
            }
            return;
        }
        if self.now >= self.said_at + BEAT {
            self.beat();
        }
        self.attempts.say_again(self.now, &mut self.out);
        self.drivers.say_again(self.now, &mut self.out);
        self.teach_drivers();
        if let Some(leaving) = &mut self.leaving
            && self.now >= leaving.said_at + RESEND
        {
            leaving.said_at = self.now;
            self.out.say(WorkerBody::Leave { when_free: leaving.when_free });
        }
    }

    fn account(&self) -> Beat {
        let (mut jobs, mut beat) = (BTreeMap::new(), Beat::default());
        self.attempts.tell(&mut beat, &mut jobs);
        self.drivers.tell(&mut beat, &mut jobs);
        beat.jobs = jobs.into_iter().map(|(job, attempts)| HeldJob { job, attempts }).collect();
        beat
    }

    fn beat(&mut self) {
        self.said_at = self.now;
        let beat = self.account();
        self.out.say(WorkerBody::Beat(beat));
    }

    fn register(&mut self) {
        self.said_at = self.now;
        let registration = Registration {
            version: PROTOCOL_VERSION,
            name: self.options.name.clone(),
            address: self.options.address.clone(),
            build: self.options.build.clone(),
            pid: self.options.pid,
            threads: self.options.threads,
            memory_bytes: self.options.memory_bytes,
            slots: self.options.slots,
            beat: self.account(),
            held: self.attempts.held(),
        };
        let Some(link) = self.link else { return };
        self.send(link, Epoch(0), WorkerBody::Register(Box::new(registration)));
    }

    /// Everything that waits for an answer, to a coordinator that has just welcomed us.
    fn say_all(&mut self) {
        self.beat();
        self.attempts.say_again(u64::MAX, &mut self.out);
        self.drivers.say_again(u64::MAX, &mut self.out);
        if let Some(leaving) = &self.leaving {
            self.out.say(WorkerBody::Leave { when_free: leaving.when_free });
        }
    }

    /// Sends what was said, if anybody listens; what must arrive is said again anyway.
    fn flush(&mut self) {
        let said = std::mem::take(&mut self.out.said);
        let Some(link) = self.link.filter(|_| self.is_welcome) else { return };
        for body in said {
            self.send(link, self.epoch, body);
        }
    }

    fn send(&mut self, link: Link, epoch: Epoch, body: WorkerBody) {
        self.number += 1;
        let message = FromWorker { incarnation: self.options.incarnation, epoch, number: self.number, body };
        self.out.command(Command::Send { link, message: Box::new(message) });
    }
}

/// What waits for an answer and is said again.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    at: u64,
}

impl Said {
    fn now(now: u64) -> Said {
        Said { at: now }
    }
    /// It is time to say it again; `u64::MAX` means that it is, whatever the time.
    fn is_due(&mut self, now: u64) -> bool {
        if now == u64::MAX {
            return true;
        }
        let is_due = now >= self.at + RESEND;
        if is_due {
            self.at = now;
        }
        is_due
    }
}
