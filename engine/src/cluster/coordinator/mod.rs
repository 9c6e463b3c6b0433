//! The coordinator: which jobs there are, what each worker should do, what counts.
//!
//! In: what workers and clients say, what the journal has made durable, the time. Out: messages, journal records, lines of
//! the event log. Never: a row, a plan's meaning, a socket, a clock; a message that leaves before every record that it
//! may rest upon is durable.
//!
//! The process that drives it does this, in one thread:
//!
//! ```text
//!   loop { event = whichever comes first (message | link | synced | next_tick)
//!          coordinator.handle(now, event)
//!          while let Some(command) = coordinator.poll_command() { carry it out } }
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    cluster::{
        limits::{COMMANDS_HELD_MAX, NO_WORKERS, RETURN_GRACE, TICK, TICK_LATE},
        protocol::{
            Answer, AttemptKey, FromClient, FromWorker, JobView, Link, OrderBody, RemoteError, ToClient, ToWorker,
            WorkerName, WorkerState, stage_place,
        },
    },
    error::Kind,
    shuffle::{Epoch, JobId},
};

mod actions; // parameters, stages that start, outcomes: what follows from what has ended
mod assign; // which waiting task goes to which worker
mod clients; // what clients ask, and what they see
mod cost; // what a job has cost, added up over its attempts
mod drivers; // runs of drivers, plans that they ship, their ends
mod ends; // attempts that end, fail, are lost
mod job; // Job, Driver
mod log; // JobEvent: a line of a job's event log
mod place; // how a stage is cut into tasks, and who should take each
mod record; // JournalRecord, Epitaph: what is written down
mod recover; // from the journal to the state
mod stage; // Action, Stage, Task, Attempt
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
mod workers; // registrations, beats, deaths

pub use log::JobEvent;
pub use record::{
    ActionEnded, AttemptEnded, AttemptLost, AttemptStarted, DriverStarted, Epitaph, JobEnded, JournalRecord, PlanPart,
    PlanShipped, RecordError, StageStarted, TaskShape,
};

use job::Job;
use stage::Life;
use workers::Worker;

/// What the coordinator hears.
#[derive(Clone, Debug)]
pub enum Event {
    /// A connection stands; its peer has shown who it is.
    LinkUp {
        /// Which.
        link: Link,
        /// Who.
        peer: Peer,
    },
    /// A connection is gone.
    LinkDown {
        /// Which.
        link: Link,
    },
    /// A worker said something.
    FromWorker {
        /// Over which connection.
        link: Link,
        /// What.
        message: Box<FromWorker>,
    },
    /// A client asked something.
    FromClient {
        /// Over which connection.
        link: Link,
        /// What.
        message: Box<FromClient>,
    },
    /// Every record up to this `Append` is durable.
    Synced {
        /// The command's number.
        number: u64,
    },
    /// The journal cannot be written: nothing can be promised any more.
    JournalFailed {
        /// Why.
        error: RemoteError,
    },
    /// Time has passed: at least at every [`Coordinator::next_tick`].
    Tick,
}

/// Who stands at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A worker, by the name in its certificate.
    Worker(WorkerName),
    /// A client.
    Client,
}

/// What is to be done for the coordinator, in this order.
#[derive(Clone, Debug)]
pub enum Command {
    /// Send a message; when the connection is gone, drop it.
    Send {
        /// Over which connection.
        link: Link,
        /// What.
        message: Outgoing,
    },
    /// Append a record to the job's journal and sync it; then say `Synced`. Several may be synced at once.
    Append {
        /// Rises by one with each `Append` and `Retire`, from 1.
        number: u64,
        /// Whose journal.
        job: JobId,
        /// What.
        record: JournalRecord,
    },
    /// Write a line in the job's event log. It may be lost.
    Log {
        /// Whose.
        job: JobId,
        /// What.
        event: JobEvent,
    },
    /// Close a connection: its peer speaks another language, or is replaced.
    CloseLink {
        /// Which.
        link: Link,
        /// Why.
        error: RemoteError,
    },
    /// Keep the epitaph, durably; then say `Synced`, and remove the job's journal.
    Retire {
        /// In the same order as those of `Append`.
        number: u64,
        /// What stays of the job.
        epitaph: Box<Epitaph>,
    },
    /// End the process: it can promise nothing any more. The next start goes on from the journal.
    Stop {
        /// Why.
        error: RemoteError,
    },
}

/// A message to a worker or to a client.
#[derive(Clone, Debug, PartialEq)]
pub enum Outgoing {
    /// To a worker.
    Worker(Box<ToWorker>),
    /// To a client.
    Client(Box<ToClient>),
}

/// How a coordinator is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// This life: one more than the last, kept in the journal's folder and synced before the machine is made.
    pub epoch: Epoch,
    /// Older lives are told apart. Off only where a test shows that it would fail.
    pub fencing: bool,
    /// The process, for people.
    pub pid: u32,
    /// Messages wait for the journal. Off only where a test shows that it would fail.
    pub waits_for_journal: bool,
}

impl Options {
    /// The options of a life.
    pub fn new(epoch: Epoch) -> Options {
        Options { epoch, fencing: true, pid: std::process::id(), waits_for_journal: true }
    }
}

/// The machine.
#[derive(Debug)]
pub struct Coordinator {
    options: Options,
    now: u64,
    last_tick: u64,
    links: BTreeMap<Link, Peer>,
    workers: BTreeMap<WorkerName, Worker>,
    /// Lives that the journal names and that have not come back, with the time until which they may.
    absent: BTreeMap<Life, u64>,
    /// Lives that were declared dead: they never count again.
    dead: BTreeSet<Life>,
    dead_order: VecDeque<Life>,
    /// Since when no worker takes orders; none while one does.
    no_workers_since: Option<u64>,
    jobs: BTreeMap<JobId, Job>,
    /// The jobs in the order in which they came.
    line: Vec<JobId>,
    epitaphs: BTreeMap<JobId, Epitaph>,
    epitaph_order: VecDeque<JobId>,
    /// What the last retired jobs did, the oldest first: for who asks why. It is not written down.
    remembered: VecDeque<JobView>,
    fenced: u64,
    out: Out,
    /// Something may follow from what was heard.
    is_dirty: bool,
    is_stopped: bool,
}

/// Lives that are remembered as dead: each restart of a worker adds one.
const DEAD_MAX: usize = 4096;

/// What is to be done: at once, and what waits for the journal.
#[derive(Debug)]
struct Out {
    ready: VecDeque<Command>,
    /// Each with the append that must be durable before; never falling.
    held: VecDeque<(u64, Command)>,
    appended: u64,
    synced: u64,
}

impl Out {
    fn append(&mut self, job: JobId, record: JournalRecord) {
        self.appended += 1;
        self.ready.push_back(Command::Append { number: self.appended, job, record });
    }
    fn retire(&mut self, epitaph: Epitaph) {
        self.appended += 1;
        self.ready.push_back(Command::Retire { number: self.appended, epitaph: Box::new(epitaph) });
    }
    fn log(&mut self, job: JobId, event: JobEvent) {
        self.ready.push_back(Command::Log { job, event });
    }
    /// What the outside sees waits for all that was appended.
    fn hold(&mut self, command: Command) {
        self.held.push_back((self.appended, command));
    }
}

impl Coordinator {
    /// Takes what happened at `now`, in microseconds of a clock that only rises.
    pub fn handle(&mut self, now: u64, event: Event) {
        self.now = self.now.max(now);
        if self.is_stopped {
            return;
        }
        match event {
            Event::LinkUp { link, peer } => {
                self.links.insert(link, peer);
            }
            Event::LinkDown { link } => self.link_down(link),
            Event::FromWorker { link, message } => self.handle_worker(link, *message),
            Event::FromClient { link, message } => self.handle_client(link, *message),
            Event::Synced { number } => self.out.synced = self.out.synced.max(number.min(self.out.appended)),
            Event::JournalFailed { error } => self.stop(error),
            Event::Tick => {}
        }
        // Also when messages come so fast that nobody finds the time to say so.
        if self.now >= self.next_tick() && !self.is_stopped {
            self.tick();
        }
        if self.is_dirty && !self.is_stopped {
            self.is_dirty = false;
            self.advance();
        }
        if self.out.held.len() > COMMANDS_HELD_MAX {
            let sentence =
                format!("{} messages wait for the journal, more than {COMMANDS_HELD_MAX}", self.out.held.len());
            self.stop(RemoteError::new(Kind::Limit, sentence).hinted("look at the disk that holds the journal"));
        }
    }

    /// What is to be done next.
    pub fn poll_command(&mut self) -> Option<Command> {
        let is_free = |(after, _): &(u64, Command)| *after <= self.out.synced || !self.options.waits_for_journal;
        if self.out.held.front().is_some_and(is_free) {
            return self.out.held.pop_front().map(|(_, command)| command);
        }
        self.out.ready.pop_front()
    }

    /// When the next `Tick` is due at the latest.
    pub fn next_tick(&self) -> u64 {
        self.last_tick + TICK
    }

    /// Messages that were dropped because an older life had sent them.
    pub fn fenced(&self) -> u64 {
        self.fenced
    }

    /// The attempts that count, by task; for tests and for people.
    pub fn accepted(&self) -> Vec<AttemptKey> {
        let mut accepted = Vec::new();
        for job in self.jobs.values() {
            let keys = job.keys_where(|attempt| attempt.report.is_some());
            accepted.extend(keys.into_iter().filter(|key| self.attempt(*key).is_some_and(|(_, _, counts)| counts)));
        }
        accepted
    }

    fn stop(&mut self, error: RemoteError) {
        self.is_stopped = true;
        self.out.ready.clear();
        self.out.held.clear();
        self.out.ready.push_back(Command::Stop { error });
    }

    fn tick(&mut self) {
        if self.now > self.last_tick + TICK + TICK_LATE {
            // It was us who stood still: nobody is judged by what we did not hear meanwhile.
            self.forgive_silence();
        }
        self.last_tick = self.now;
        self.judge_workers();
        self.fail_without_workers();
        self.judge_clients();
        self.release_leaving();
        self.is_dirty = true;
    }

    /// Does whatever can be done now.
    fn advance(&mut self) {
        self.promote();
        for job in self.line.clone() {
            self.start_driver(job);
            self.settle(job);
            self.deliver(job);
        }
        self.assign();
        self.tell_watchers();
    }

    /// Running jobs do not wait for ever for a cluster that is not there.
    fn fail_without_workers(&mut self) {
        let is_one_ready = self.workers.values().any(|worker| worker.state == WorkerState::Ready);
        if is_one_ready {
            self.no_workers_since = None;
            return;
        }
        let since = *self.no_workers_since.get_or_insert(self.now);
        for id in self.line.clone() {
            let Some(job) = self.jobs.get(&id) else { continue };
            let waits = !job.state.is_ended() || (job.is_working() && !self.has_result(job));
            if waits && self.now >= since.max(job.submitted_at) + NO_WORKERS {
                let sentence = format!("job {id} waited {} s for a worker", NO_WORKERS / 1_000_000);
                let error = RemoteError::unreachable(sentence).hinted("start workers, then submit the job again");
                self.fail_job(id, error);
            }
        }
    }

    /// Tells a worker; when it has no connection, its beats will ask again for what it missed.
    fn tell(&mut self, name: &WorkerName, body: OrderBody) {
        let Some(worker) = self.workers.get(name) else { return };
        let Some(link) = worker.link else { return };
        self.tell_life(link, worker.life(name), body);
    }

    fn tell_life(&mut self, link: Link, life: Life, body: OrderBody) {
        let message = ToWorker { epoch: self.options.epoch, incarnation: life.1, body };
        self.out.hold(Command::Send { link, message: Outgoing::Worker(Box::new(message)) });
    }

    fn answer(&mut self, link: Link, request: u64, body: Answer) {
        let message = ToClient { epoch: self.options.epoch, request, body };
        self.out.hold(Command::Send { link, message: Outgoing::Client(Box::new(message)) });
    }

    /// The job and the attempt of a key, and whether the attempt counts.
    fn attempt(&self, key: AttemptKey) -> Option<(&Job, &stage::Attempt, bool)> {
        let job = self.jobs.get(&key.job)?;
        let (action, stage) = stage_place(key.stage);
        let task = job.actions.get(&action)?.stages.get(stage)?.tasks.get(key.task.0 as usize)?;
        Some((job, task.attempts.get(key.attempt.0 as usize)?, task.accepted == Some(key.attempt)))
    }

    /// A worker that holds what a life made: it is here, and it is that life.
    fn holder(&self, life: &Life) -> Option<&Worker> {
        self.workers.get(&life.0).filter(|worker| worker.incarnation == life.1 && worker.is_here())
    }
}
