//! A world in which the machines live: one clock, one queue of what happens, a network and a disk that fail.
//!
//! In: a seed. Out: what came of it: every job's end compared with the oracle, the faults that fired, a hash of all that
//! happened. Never: anything from outside; the same seed is the same world.

#[path = "world/asking.rs"]
mod asking; // what clients ask, hear and check
#[path = "world/coordinating.rs"]
mod coordinating; // what the coordinator hears and does
#[path = "world/driving.rs"]
mod driving; // what drivers do
#[path = "world/faults.rs"]
mod faults; // what fails, at random, and how all of it is healed
#[path = "world/pulling.rs"]
mod pulling; // what tasks and clients ask workers for
#[path = "world/working.rs"]
mod working; // what workers hear and do

use std::collections::{BTreeMap, BTreeSet};

use twox_hash::XxHash3_64;
use windrow::{
    Kind,
    cluster::{
        coordinator::{self, Coordinator, Outgoing, Peer},
        driver::{Begin, Driver},
        limits::{SECOND, WATCH_AGAIN},
        protocol::{
            ActionNumber, ActionOutcome, Answer, AttemptEnd, AttemptKey, AttemptProgress, DriverEnd, DriverRun,
            FailureCause, FromClient, FromWorker, Incarnation, JobKind, JobOptions, JobState, JobUpdate, Link, Message,
            Order, OrderBody, RemoteError, Request, Submission, ToClient, ToWorker, WorkerName, stage_place,
        },
        worker::{self, Worker},
    },
    shuffle::{Epoch, JobId},
};

use super::{
    disk::{Disk, Fact},
    model::{ActionModel, JobModel, Random, mix, next_digest},
    node::{Ask, Execution, Hosted, Node, Process, Pull, Reply, Taken, failed, written_rows},
};

/// What may be switched off, to see that a test would fail.
#[derive(Clone, Copy)]
pub struct Switches {
    pub fencing: bool,
    pub waits_for_journal: bool,
}

/// What came of a seed.
#[derive(Debug, Default)]
pub struct Outcome {
    pub trace: u64,
    pub fired: BTreeMap<&'static str, u64>,
    pub events: u64,
    /// Microseconds of imagined time.
    pub time: u64,
}

const COORDINATOR: usize = 0;
const FIRST_CLIENT: usize = 100;
/// After all faults are off, everything has ended within this time.
const HEALED_WITHIN: u64 = 150 * SECOND;

#[derive(Clone, Debug)]
enum Packet {
    Control { link: Link, bytes: Vec<u8> },
    Ask { ask: Ask, puller: Puller },
    Reply { reply: Reply, puller: Puller },
}

/// Who pulls at a node.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Puller {
    Attempt(AttemptKey),
    Driver(DriverRun),
    Client,
}

#[derive(Clone, Debug)]
enum Happening {
    Tick { node: usize, life: u64 },
    Deliver { from: usize, to: usize, packet: Packet },
    Synced { life: u64, number: u64 },
    Connect { node: usize },
    LinkDown { node: usize, link: Link },
    PullTimeout { node: usize, life: u64, puller: Puller, request: u64 },
    Computed { node: usize, life: u64, key: AttemptKey },
    PlanStored { node: usize, life: u64, job: JobId, action: ActionNumber },
    DriverStep { node: usize, life: u64, driver: DriverRun },
    ClientStep { client: usize },
    Start { node: usize },
    Fault,
    Heal { from: usize, to: usize },
    HealAll,
}

struct Client {
    model: JobModel,
    submission: Submission,
    link: Option<Link>,
    request: u64,
    state: ClientState,
    watched_at: u64,
    pull: Option<Pull>,
    revision: u64,
    cancels_at: Option<u64>,
    has_cancelled: bool,
    vanishes_at: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum ClientState {
    Submitting,
    Watching,
    Taking,
    Done,
    Gone,
}

pub struct World {
    switches: Switches,
    random: Random,
    now: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
    nodes: Vec<Node>,
    /// By node: which life of its process; a happening of an earlier one is dropped.
    lives: BTreeMap<usize, u64>,
    coordinator: Option<Coordinator>,
    disk: Disk,
    is_syncing: bool,
    clients: Vec<Client>,
    links: BTreeMap<Link, usize>,
    next_link: u64,
    next_request: u64,
    cuts: BTreeMap<(usize, usize), u32>,
    paused: BTreeMap<usize, u64>,
    is_healed: bool,
    loss: u64,
    slow_disk: bool,
    /// Attempts that really finished, and in which life.
    finished: BTreeSet<(AttemptKey, Incarnation)>,
    tries_failed: BTreeMap<(JobId, u32, u32), u32>,
    submitted: BTreeSet<JobId>,
    outcome: Outcome,
}

/// Runs a seed to its end.
pub fn run(seed: u64, switches: Switches) -> Result<Outcome, String> {
    let mut world = World::new(seed, switches);
    world.begin();
    match world.run() {
        Ok(()) => {
            world.outcome.time = world.now;
            Ok(world.outcome)
        }
        Err(broken) => Err(format!("at {:.3} s: {broken}", world.now as f64 / SECOND as f64)),
    }
}

impl World {
    fn new(seed: u64, switches: Switches) -> World {
        World {
            switches,
            random: Random::new(mix(seed ^ 0xabcd)),
            now: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            nodes: Vec::new(),
            lives: BTreeMap::new(),
            coordinator: None,
            disk: Disk::default(),
            is_syncing: false,
            clients: Vec::new(),
            links: BTreeMap::new(),
            next_link: 0,
            next_request: 0,
            cuts: BTreeMap::new(),
            paused: BTreeMap::new(),
            is_healed: false,
            loss: 0,
            slow_disk: false,
            finished: BTreeSet::new(),
            tries_failed: BTreeMap::new(),
            submitted: BTreeSet::new(),
            outcome: Outcome::default(),
        }
    }

    fn begin(&mut self) {
        let workers = self.random.between(2, 5) as usize;
        for place in 0..workers {
            let name = WorkerName::new(format!("w{}", place + 1)).unwrap();
            self.nodes.push(Node { name, process: None, slowness: 1, incarnation: Incarnation(0), is_leaving: false });
            self.at(place as u64 * 10_000, Happening::Start { node: place + 1 });
        }
        self.at(0, Happening::Start { node: COORDINATOR });
        for client in 0..self.random.between(1, 4) as usize {
            let is_sql = self.random.chance(500);
            let actions = if is_sql { 1 } else { self.random.between(1, 4) as u32 };
            let model = JobModel { seed: self.random.next(), actions, is_sql, fails: self.random.chance(120) };
            let vanishes = self.random.chance(80);
            let options = JobOptions {
                task_bytes: self.random.between(100, 2000),
                retention: 20 * SECOND,
                cancel_on_disconnect: vanishes,
            };
            let submission = Submission {
                job: JobId(self.random.next()),
                kind: if is_sql { JobKind::Sql } else { JobKind::Program },
                spec: model.to_bytes().into(),
                label: format!("job of client {client}"),
                submitted_unix_ms: client as u64,
                options,
            };
            let at = self.random.below(8 * SECOND);
            self.clients.push(Client {
                model,
                submission,
                link: None,
                request: 0,
                state: ClientState::Submitting,
                watched_at: 0,
                pull: None,
                revision: 0,
                cancels_at: self.random.chance(80).then_some(at + self.random.below(6 * SECOND)),
                has_cancelled: false,
                vanishes_at: vanishes.then_some(at + self.random.below(6 * SECOND)),
            });
            self.at(at, Happening::Connect { node: FIRST_CLIENT + client });
            self.at(at, Happening::ClientStep { client });
        }
        self.loss = [0, 5, 30, 120][self.random.below(4) as usize];
        self.slow_disk = self.random.chance(250);
        let first = self.random.below(4 * SECOND);
        self.at(first, Happening::Fault);
        let heal = self.random.between(12, 30) * SECOND;
        self.at(heal, Happening::HealAll);
    }

    fn run(&mut self) -> Result<(), String> {
        let mut healed_at = None;
        while let Some(((at, _), happening)) = self.queue.pop_first() {
            self.now = at;
            self.outcome.events += 1;
            self.outcome.trace = mix(self.outcome.trace ^ at ^ trace(&happening));
            self.happen(happening)?;
            if self.is_healed {
                let healed = *healed_at.get_or_insert(self.now);
                if self.is_over() {
                    return Ok(());
                }
                if self.now > healed + HEALED_WITHIN {
                    return Err(self.describe_stuck());
                }
            }
        }
        Err("nothing happens any more".to_owned())
    }

    fn is_over(&self) -> bool {
        let is_ended = |job: &JobId| {
            self.disk.facts.contains(&Fact::JobEnded(*job)) || self.disk.facts.contains(&Fact::Epitaph(*job))
        };
        self.clients.iter().all(|client| matches!(client.state, ClientState::Done | ClientState::Gone))
            && self.submitted.iter().all(is_ended)
    }

    fn describe_stuck(&self) -> String {
        let clients: Vec<String> = self
            .clients
            .iter()
            .map(|client| format!("job {} {:?} {:?}", client.submission.job, client.state, client.model))
            .collect();
        let workers = self.nodes.iter().map(|node| match &node.process {
            Some(process) => format!(
                "{}: link {:?}, welcomed by {:?}, {} executing, {} drivers",
                node.name,
                process.link,
                process.machine.coordinator(),
                process.executing.len(),
                process.drivers.len()
            ),
            None => format!("{} is down", node.name),
        });
        let workers: Vec<String> = workers.collect();
        format!("not all jobs ended after the faults: {clients:?}, {workers:?}, coordinator {:?}", self.coordinator)
    }

    // ── time and network ───────────────────────────────────────────────────────────────────────────────────────────────

    fn at(&mut self, at: u64, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((at.max(self.now), self.sequence), happening);
    }

    fn after(&mut self, delay: u64, happening: Happening) {
        self.at(self.now + delay, happening);
    }

    fn fire(&mut self, fault: &'static str) {
        *self.outcome.fired.entry(fault).or_default() += 1;
    }

    fn life(&self, node: usize) -> u64 {
        self.lives.get(&node).copied().unwrap_or_default()
    }

    fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cuts.get(&(from, to)).is_some_and(|count| *count > 0)
    }

    fn send(&mut self, from: usize, to: usize, packet: Packet) {
        if self.is_cut(from, to) {
            return self.fire("cut");
        }
        if self.random.chance(if self.is_healed { 0 } else { self.loss }) {
            return self.fire("loss");
        }
        let copies = if !self.is_healed && self.random.chance(30) { 2 } else { 1 };
        if copies == 2 {
            self.fire("duplicate");
        }
        for _ in 0..copies {
            let mut delay = self.random.between(200, 3000);
            if !self.is_healed && self.random.chance(15) {
                delay = self.random.below(9 * SECOND);
                self.fire("late message");
            }
            self.after(delay, Happening::Deliver { from, to, packet: packet.clone() });
        }
    }

    // ── what happens ───────────────────────────────────────────────────────────────────────────────────────────────────

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        if let Some(node) = node_of(&happening)
            && let Some(until) = self.paused.get(&node).copied()
        {
            if self.now < until {
                self.at(until, happening);
                return Ok(());
            }
            self.paused.remove(&node);
        }
        match happening {
            Happening::Tick { node, life } if life == self.life(node) => self.tick(node),
            Happening::Deliver { from, to, packet } => self.deliver(from, to, packet),
            Happening::Synced { life, number } if life == self.life(COORDINATOR) => {
                self.is_syncing = false;
                self.disk.sync(number);
                self.coordinator_hears(coordinator::Event::Synced { number })
            }
            Happening::Connect { node } => self.connect(node),
            Happening::LinkDown { node, link } => self.link_down(node, link),
            Happening::PullTimeout { node, life, puller, request } if life == self.life(node) => {
                self.pull_timed_out(node, puller, request)
            }
            Happening::Computed { node, life, key } if life == self.life(node) => self.computed(node, key),
            Happening::PlanStored { node, life, job, action } if life == self.life(node) => {
                let event = if !self.is_healed && self.random.chance(20) {
                    self.fire("plan not stored");
                    let error = RemoteError::new(Kind::Io, "store a plan: the disk said no");
                    worker::Event::PlanFailed { job, action, error }
                } else {
                    worker::Event::PlanStored { job, action }
                };
                if matches!(event, worker::Event::PlanFailed { .. })
                    && let Some(process) = &mut self.nodes[node - 1].process
                {
                    process.plans.remove(&(job, action));
                }
                self.worker_hears(node, event)
            }
            Happening::DriverStep { node, life, driver } if life == self.life(node) => self.driver_step(node, driver),
            Happening::ClientStep { client } => self.client_step(client),
            Happening::Start { node } => self.start(node),
            Happening::Fault => self.fault(),
            Happening::Heal { from, to } => {
                if let Some(count) = self.cuts.get_mut(&(from, to)) {
                    *count = count.saturating_sub(1);
                }
                Ok(())
            }
            Happening::HealAll => self.heal_all(),
            _ => Ok(()),
        }
    }

    fn start(&mut self, node: usize) -> Result<(), String> {
        let is_up = match node {
            COORDINATOR => self.coordinator.is_some(),
            _ => self.nodes[node - 1].process.is_some(),
        };
        if is_up {
            return Ok(());
        }
        *self.lives.entry(node).or_default() += 1;
        if node == COORDINATOR {
            let (journal, epitaphs) = self.disk.recover()?;
            if let Some(lost) = self.submitted.iter().find(|job| !self.disk.knows(**job)) {
                return Err(format!("job {lost} was submitted and is lost after a restart"));
            }
            let mut options = coordinator::Options::new(Epoch(self.disk.epoch));
            options.fencing = self.switches.fencing;
            options.waits_for_journal = self.switches.waits_for_journal;
            self.coordinator = Some(Coordinator::new(options, journal, epitaphs, self.now));
            self.is_syncing = false;
            return self.coordinator_hears(coordinator::Event::Tick);
        }
        self.begin_life(node);
        self.after(0, Happening::Connect { node });
        let life = self.life(node);
        self.after(1000, Happening::Tick { node, life });
        Ok(())
    }

    fn begin_life(&mut self, node: usize) {
        let incarnation = Incarnation(self.random.next());
        let fencing = self.switches.fencing;
        let now = self.now;
        let worker = &mut self.nodes[node - 1];
        worker.incarnation = incarnation;
        worker.is_leaving = false;
        let options = worker::Options {
            name: worker.name.clone(),
            incarnation,
            address: format!("node{node}"),
            build: "test".to_owned(),
            pid: 1,
            threads: node as u32,
            memory_bytes: 1 << 30,
            slots: 2,
            fencing,
        };
        worker.process = Some(Process::new(Worker::new(options, now)));
    }

    fn connect(&mut self, node: usize) -> Result<(), String> {
        self.after(300_000, Happening::Connect { node });
        let is_cut = self.is_cut(node, COORDINATOR) || self.is_cut(COORDINATOR, node);
        let has_link = match node {
            FIRST_CLIENT.. => {
                let client = &self.clients[node - FIRST_CLIENT];
                client.link.is_some() || client.state == ClientState::Gone
            }
            _ => self.nodes[node - 1].process.as_ref().is_none_or(|process| process.link.is_some()),
        };
        if is_cut || has_link || self.coordinator.is_none() || self.paused.contains_key(&COORDINATOR) {
            return Ok(());
        }
        self.next_link += 1;
        let link = Link(self.next_link);
        self.links.insert(link, node);
        let peer = match node {
            FIRST_CLIENT.. => Peer::Client,
            _ => Peer::Worker(self.nodes[node - 1].name.clone()),
        };
        self.coordinator_hears(coordinator::Event::LinkUp { link, peer })?;
        if node >= FIRST_CLIENT {
            self.clients[node - FIRST_CLIENT].link = Some(link);
            return Ok(());
        }
        if let Some(process) = &mut self.nodes[node - 1].process {
            process.link = Some(link);
        }
        self.worker_hears(node, worker::Event::LinkUp { link })
    }

    fn link_down(&mut self, node: usize, link: Link) -> Result<(), String> {
        match node {
            COORDINATOR => self.coordinator_hears(coordinator::Event::LinkDown { link }),
            FIRST_CLIENT.. => {
                let client = &mut self.clients[node - FIRST_CLIENT];
                client.link = client.link.filter(|known| *known != link);
                Ok(())
            }
            _ => {
                let Some(process) = &mut self.nodes[node - 1].process else { return Ok(()) };
                if process.link == Some(link) {
                    process.link = None;
                    return self.worker_hears(node, worker::Event::LinkDown { link });
                }
                Ok(())
            }
        }
    }

    fn tick(&mut self, node: usize) -> Result<(), String> {
        if node == COORDINATOR {
            self.coordinator_hears(coordinator::Event::Tick)
        } else {
            self.worker_hears(node, worker::Event::Tick)?;
            if let Some(process) = &self.nodes[node - 1].process {
                let (at, life) = (process.machine.next_tick(), self.life(node));
                self.at(at, Happening::Tick { node, life });
            }
            Ok(())
        }
    }

    fn deliver(&mut self, from: usize, to: usize, packet: Packet) -> Result<(), String> {
        match packet {
            Packet::Control { link, bytes } => match to {
                COORDINATOR => {
                    let Some(link) = self.current_link(from, link) else { return Ok(()) };
                    if from >= FIRST_CLIENT {
                        let message = Box::new(FromClient::from_bytes(&bytes).map_err(|error| error.to_string())?);
                        return self.coordinator_hears(coordinator::Event::FromClient { link, message });
                    }
                    let message = Box::new(FromWorker::from_bytes(&bytes).map_err(|error| error.to_string())?);
                    self.coordinator_hears(coordinator::Event::FromWorker { link, message })
                }
                FIRST_CLIENT.. => {
                    let message = ToClient::from_bytes(&bytes).map_err(|error| error.to_string())?;
                    self.client_hears(to - FIRST_CLIENT, message)
                }
                _ => {
                    let message = Box::new(ToWorker::from_bytes(&bytes).map_err(|error| error.to_string())?);
                    self.worker_hears(to, worker::Event::Message { link, message })
                }
            },
            Packet::Ask { ask, puller } => {
                let fencing = self.switches.fencing;
                let node = &self.nodes[to - 1];
                let Some(process) = &node.process else { return Ok(()) };
                let rows = process.serve(&ask, node.incarnation, fencing);
                let reply = Reply { request: ask.request, key: ask.key, rows };
                self.send(to, from, Packet::Reply { reply, puller });
                Ok(())
            }
            Packet::Reply { reply, puller } => self.pulled(to, puller, reply),
        }
    }

    /// What was sent over a connection that is gone may still come, as if over the next one: harsher than any network.
    fn current_link(&mut self, from: usize, link: Link) -> Option<Link> {
        let current = match from {
            FIRST_CLIENT.. => self.clients[from - FIRST_CLIENT].link,
            _ => self.nodes[from - 1].process.as_ref().and_then(|process| process.link),
        };
        if current.is_some() && current != Some(link) {
            self.fire("message of an old connection");
        }
        current
    }
}

fn node_of(happening: &Happening) -> Option<usize> {
    match happening {
        Happening::Tick { node, .. }
        | Happening::LinkDown { node, .. }
        | Happening::PullTimeout { node, .. }
        | Happening::Computed { node, .. }
        | Happening::PlanStored { node, .. }
        | Happening::DriverStep { node, .. } => Some(*node),
        Happening::Deliver { to, .. } => Some(*to),
        Happening::Synced { .. } => Some(COORDINATOR),
        _ => None,
    }
}

fn trace(happening: &Happening) -> u64 {
    match happening {
        Happening::Deliver { packet: Packet::Control { link, bytes }, .. } => XxHash3_64::oneshot(bytes) ^ link.0,
        other => XxHash3_64::oneshot(format!("{other:?}").as_bytes()),
    }
}
