//! A world in which the machines live: one clock, one queue of what happens, a network and a disk that fail.
//!
//! In: a seed. Out: what came of it: every job's end compared with the oracle, the faults that fired, a hash of all that
//! happened. Never: anything from outside; the same seed is the same world.

use std::collections::{BTreeMap, BTreeSet};

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
use xxhash_rust::xxh3::xxh3_64;

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

    // ── the coordinator ────────────────────────────────────────────────────────────────────────────────────────────────

    fn coordinator_hears(&mut self, event: coordinator::Event) -> Result<(), String> {
        let now = self.now;
        let is_tick = matches!(event, coordinator::Event::Tick);
        let Some(machine) = &mut self.coordinator else { return Ok(()) };
        machine.handle(now, event);
        let mut commands = Vec::new();
        while let Some(command) = machine.poll_command() {
            commands.push(command);
        }
        if is_tick {
            let (at, life) = (machine.next_tick(), self.life(COORDINATOR));
            self.at(at.max(now + 1), Happening::Tick { node: COORDINATOR, life });
        }
        for command in commands {
            self.coordinator_does(command)?;
        }
        self.start_sync();
        Ok(())
    }

    fn start_sync(&mut self) {
        if let Some(number) = self.disk.handed_in().filter(|_| !self.is_syncing) {
            self.is_syncing = true;
            let mut delay = self.random.between(100, 4000);
            if self.slow_disk && !self.is_healed && self.random.chance(50) {
                delay = self.random.below(2 * SECOND);
                self.fire("slow sync");
            }
            let life = self.life(COORDINATOR);
            self.after(delay, Happening::Synced { life, number });
        }
    }

    fn coordinator_does(&mut self, command: coordinator::Command) -> Result<(), String> {
        match command {
            coordinator::Command::Send { link, message } => {
                let Some(node) = self.links.get(&link).copied() else { return Ok(()) };
                let bytes = match &message {
                    Outgoing::Worker(message) => {
                        self.check_told(&message.body)?;
                        message.to_bytes()
                    }
                    Outgoing::Client(message) => {
                        self.check_answered(&message.body)?;
                        message.to_bytes()
                    }
                };
                let bytes = bytes.map_err(|error| error.to_string())?;
                self.send(COORDINATOR, node, Packet::Control { link, bytes });
                Ok(())
            }
            coordinator::Command::Append { number, job, record } => self.disk.append(number, job, &record),
            coordinator::Command::Retire { number, epitaph } => {
                self.disk.retire(number, *epitaph);
                Ok(())
            }
            coordinator::Command::Log { .. } => Ok(()),
            coordinator::Command::CloseLink { error, .. } => Err(format!("a connection was closed: {error}")),
            coordinator::Command::Stop { error } => Err(format!("the coordinator stopped: {error}")),
        }
    }

    fn must(&self, fact: Fact) -> Result<(), String> {
        let job = match &fact {
            Fact::Job(job) | Fact::Plan(job, _) | Fact::Parameter(job, ..) | Fact::Stage(job, _) => *job,
            Fact::Action(job, _) | Fact::JobEnded(job) | Fact::Epitaph(job) => *job,
            Fact::Started(key) | Fact::Ended(key) => key.job,
            Fact::Driver(driver) => driver.job,
        };
        if self.disk.facts.contains(&fact) || self.disk.facts.contains(&Fact::Epitaph(job)) {
            Ok(())
        } else {
            Err(format!("the coordinator spoke before {fact:?} was durable"))
        }
    }

    /// Nothing is told that is not durable, and each order is whole.
    fn check_told(&self, body: &OrderBody) -> Result<(), String> {
        match body {
            OrderBody::Run(order) => {
                self.must(Fact::Started(order.key))?;
                self.must(Fact::Stage(order.key.job, order.key.stage))?;
                self.must(Fact::Plan(order.key.job, stage_place(order.key.stage).0))?;
                for (parameter, value) in &order.parameters {
                    let action = stage_place(order.key.stage).0;
                    self.must(Fact::Parameter(order.key.job, action, *parameter, value.to_vec()))?;
                }
                self.check_order(order)
            }
            OrderBody::EndTaken { key, keep: true } => self.must(Fact::Ended(*key)),
            OrderBody::PlanPart { job, action, .. } => self.must(Fact::Plan(*job, *action)),
            OrderBody::PlanTaken { driver, action } => self.must(Fact::Plan(driver.job, *action)),
            OrderBody::StartDriver(start) => self.must(Fact::Driver(start.driver)),
            OrderBody::Outcome { driver, action, .. } => self.must(Fact::Action(driver.job, *action)),
            _ => Ok(()),
        }
    }

    fn check_order(&self, order: &Order) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for input in &order.inputs {
            let mut stages: BTreeMap<_, usize> = BTreeMap::new();
            for source in &input.attempts {
                let key = source.key;
                if !seen.insert((input.edge, key.stage, key.task)) {
                    return Err(format!("order {} names task {}.{} twice", order.key, key.stage, key.task));
                }
                if !self.finished.contains(&(key, source.incarnation)) {
                    return Err(format!("order {} names attempt {key}, which did not finish there", order.key));
                }
                self.must(Fact::Ended(key))?;
                *stages.entry(key.stage).or_default() += 1;
            }
            for (stage, count) in stages {
                let tasks = self.disk.stages.get(&(order.key.job, stage)).copied().unwrap_or_default();
                if count != tasks {
                    return Err(format!("order {} names {count} of {tasks} tasks of stage {stage}", order.key));
                }
            }
        }
        Ok(())
    }

    fn check_answered(&mut self, answer: &Answer) -> Result<(), String> {
        match answer {
            Answer::Submitted { job } => self.must(Fact::Job(*job)),
            Answer::CancelDone { job } => self.must(Fact::JobEnded(*job)),
            Answer::TakenDone { job } => self.must(Fact::Epitaph(*job)),
            Answer::Update(update) if update.state.is_ended() => self.must(Fact::JobEnded(update.job)),
            _ => Ok(()),
        }
    }

    // ── workers ────────────────────────────────────────────────────────────────────────────────────────────────────────

    fn worker_hears(&mut self, node: usize, event: worker::Event) -> Result<(), String> {
        let now = self.now;
        let Some(process) = &mut self.nodes[node - 1].process else { return Ok(()) };
        process.machine.handle(now, event);
        let mut commands = Vec::new();
        while let Some(command) = process.machine.poll_command() {
            commands.push(command);
        }
        for command in commands {
            self.worker_does(node, command)?;
        }
        Ok(())
    }

    fn worker_does(&mut self, node: usize, command: worker::Command) -> Result<(), String> {
        let life = self.life(node);
        let Some(process) = &mut self.nodes[node - 1].process else { return Ok(()) };
        match command {
            worker::Command::Send { link, message } => {
                let bytes = message.to_bytes().map_err(|error| error.to_string())?;
                self.send(node, COORDINATOR, Packet::Control { link, bytes });
            }
            worker::Command::StorePlan { job, action, part, parts, plan_hash, bytes } => {
                let stored = process.plans.entry((job, action)).or_default();
                if part as usize != stored.len() {
                    return Err(format!("part {part} of a plan came after {}", stored.len()));
                }
                stored.push(bytes);
                if stored.len() == parts as usize {
                    let all: Vec<u8> = stored.iter().flat_map(|part| part.iter().copied()).collect();
                    if xxh3_64(&all) != plan_hash {
                        return Err("a stored plan has another hash".to_owned());
                    }
                    let delay = self.random.below(5000);
                    self.after(delay, Happening::PlanStored { node, life, job, action });
                }
            }
            worker::Command::StartAttempt { order } => {
                let sources = order.inputs.iter().flat_map(|input| input.attempts.clone()).collect();
                let key = order.key;
                let execution = Execution { order: *order, pull: Pull::new(sources), is_computing: false };
                if process.executing.insert(key, execution).is_some() || process.spool.contains_key(&key) {
                    return Err(format!("attempt {key} was started twice"));
                }
                return self.begin_pull(node, Puller::Attempt(key));
            }
            worker::Command::CancelAttempt { key } => {
                process.executing.remove(&key);
            }
            worker::Command::DropAttempt { key } => {
                process.spool.remove(&key);
            }
            worker::Command::DropJob { job } => {
                process.spool.retain(|key, _| key.job != job);
                process.plans.retain(|(of, _), _| *of != job);
            }
            worker::Command::StartDriver { start } => {
                let model = JobModel::from_bytes(&start.spec);
                let driver = start.driver;
                let hosted = Hosted {
                    driver: Driver::new(&start),
                    model,
                    next_action: 0,
                    digest: 0,
                    waits: None,
                    revision: 0,
                    pull: None,
                };
                process.drivers.insert(driver.job, hosted);
                let delay = self.random.between(1000, 200_000);
                self.after(delay, Happening::DriverStep { node, life, driver });
            }
            worker::Command::TeachDriver { driver, action } => {
                let plan =
                    process.plans.get(&(driver.job, action)).ok_or("a driver learns from a plan that is not here")?;
                let plan: Vec<u8> = plan.iter().flat_map(|part| part.iter().copied()).collect();
                let hosted = process.drivers.get_mut(&driver.job).filter(|hosted| hosted.driver.run() == driver);
                if let Some(hosted) = hosted {
                    hosted.next_action = action.0;
                    hosted.digest = ActionModel::of_plan(&plan).before;
                    self.fire("action replayed");
                    self.after(0, Happening::DriverStep { node, life, driver });
                }
            }
            worker::Command::DeliverOutcome { driver, action, revision, outcome } => {
                let Some(hosted) = process.drivers.get_mut(&driver.job) else { return Ok(()) };
                if hosted.driver.run() != driver {
                    return Err(format!("an outcome for run {} came to run {}", driver.run, hosted.driver.run().run));
                }
                if hosted.driver.handle_outcome(action, revision, outcome) {
                    self.after(0, Happening::DriverStep { node, life, driver });
                }
            }
            worker::Command::StopDriver { driver } => {
                if process.drivers.get(&driver.job).is_some_and(|hosted| hosted.driver.run() == driver) {
                    process.drivers.remove(&driver.job);
                }
            }
            worker::Command::BeginAgain => {
                let link = process.link;
                self.fire("worker fenced");
                self.begin_life(node);
                if let (Some(link), Some(process)) = (link, &mut self.nodes[node - 1].process) {
                    process.link = Some(link);
                    return self.worker_hears(node, worker::Event::LinkUp { link });
                }
            }
            worker::Command::Exit { error } => {
                if let Some(error) = error {
                    return Err(format!("a worker was refused: {error}"));
                }
                self.fire("worker left");
                self.kill(node);
                self.after(SECOND, Happening::Start { node });
            }
        }
        Ok(())
    }

    fn kill(&mut self, node: usize) {
        *self.lives.entry(node).or_default() += 1;
        let gone: Vec<Link> = self.links.iter().filter(|(_, of)| **of == node).map(|(link, _)| *link).collect();
        for link in gone {
            self.links.remove(&link);
            let delay = self.random.below(6 * SECOND);
            self.after(delay, Happening::LinkDown { node: COORDINATOR, link });
        }
        self.nodes[node - 1].process = None;
    }

    fn computed(&mut self, node: usize, key: AttemptKey) -> Result<(), String> {
        let incarnation = self.nodes[node - 1].incarnation;
        let fails = !self.is_healed && self.random.chance(60);
        let Some(process) = &mut self.nodes[node - 1].process else { return Ok(()) };
        let Some(execution) = process.executing.remove(&key) else { return Ok(()) };
        let tried = self.tries_failed.entry((key.job, key.stage.0, key.task.0)).or_default();
        if fails && *tried < 1 {
            *tried += 1;
            let (name, cause, kind) = match self.random.below(3) {
                0 => ("attempt panicked", FailureCause::Panic, Kind::Job),
                1 => ("child died", FailureCause::Process, Kind::Io),
                _ => ("attempt failed", FailureCause::Error, Kind::Io),
            };
            self.fire(name);
            let error = RemoteError::new(kind, "an attempt fails, because the test wants it to");
            return self.worker_hears(node, worker::Event::Ended { key, end: failed(error, cause, Vec::new()) });
        }
        let (end, rows) = process.compute(&execution);
        if matches!(end, AttemptEnd::Finished(_)) {
            process.spool.insert(key, rows);
            self.finished.insert((key, incarnation));
        }
        self.worker_hears(node, worker::Event::Ended { key, end })
    }

    // ── pulls ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    fn pull_mut(&mut self, node: usize, puller: Puller) -> Option<&mut Pull> {
        match puller {
            Puller::Client => self.clients[node - FIRST_CLIENT].pull.as_mut(),
            Puller::Attempt(key) => {
                self.nodes[node - 1].process.as_mut()?.executing.get_mut(&key).map(|execution| &mut execution.pull)
            }
            Puller::Driver(driver) => {
                let hosted = self.nodes[node - 1].process.as_mut()?.drivers.get_mut(&driver.job)?;
                if hosted.driver.run() == driver { hosted.pull.as_mut() } else { None }
            }
        }
    }

    fn begin_pull(&mut self, node: usize, puller: Puller) -> Result<(), String> {
        let Some(pull) = self.pull_mut(node, puller) else { return Ok(()) };
        let count = pull.sources.len();
        if count == 0 {
            return self.pull_done(node, puller);
        }
        (0..count).for_each(|place| self.ask(node, puller, place));
        Ok(())
    }

    fn ask(&mut self, node: usize, puller: Puller, place: usize) {
        self.next_request += 1;
        let (request, life) = (self.next_request, self.life(node));
        let Some(pull) = self.pull_mut(node, puller) else { return };
        pull.asked[place] = (request, pull.asked[place].1 + 1);
        let ask = pull.ask(place);
        let to: usize = pull.sources[place].address.trim_start_matches("node").parse().unwrap();
        self.send(node, to, Packet::Ask { ask, puller });
        self.after(SECOND, Happening::PullTimeout { node, life, puller, request });
    }

    fn pull_timed_out(&mut self, node: usize, puller: Puller, request: u64) -> Result<(), String> {
        let Some(pull) = self.pull_mut(node, puller) else { return Ok(()) };
        let Some(place) = pull.asked.iter().position(|(asked, _)| *asked == request) else { return Ok(()) };
        if pull.arrived[place].is_some() {
            return Ok(());
        }
        if pull.asked[place].1 >= 3 {
            return self.pull_failed(node, puller, place, false);
        }
        self.ask(node, puller, place);
        Ok(())
    }

    fn pulled(&mut self, node: usize, puller: Puller, reply: Reply) -> Result<(), String> {
        let fencing = self.switches.fencing;
        let Some(pull) = self.pull_mut(node, puller) else {
            self.fire("reply to nobody");
            return Ok(());
        };
        match pull.take(&reply, fencing) {
            Taken::Stale => self.fire("stale reply"),
            Taken::Some => {}
            Taken::Denied(place) => {
                self.fire("denied");
                return self.pull_failed(node, puller, place, true);
            }
            Taken::All => {
                pull.check()?;
                return self.pull_done(node, puller);
            }
        }
        Ok(())
    }

    fn pull_failed(&mut self, node: usize, puller: Puller, place: usize, is_denied: bool) -> Result<(), String> {
        if !is_denied {
            self.fire("unreachable");
        }
        let Some(lost) = self.pull_mut(node, puller).map(|pull| pull.lost(place, is_denied)) else { return Ok(()) };
        let again = 700_000;
        match puller {
            Puller::Attempt(key) => {
                if let Some(process) = &mut self.nodes[node - 1].process {
                    process.executing.remove(&key);
                }
                let error = RemoteError::unreachable(format!("pull attempt {} from {}", lost.key, lost.worker));
                let end = failed(error, FailureCause::Inputs, vec![lost]);
                self.worker_hears(node, worker::Event::Ended { key, end })
            }
            Puller::Driver(driver) => {
                let life = self.life(node);
                if let Some(process) = &mut self.nodes[node - 1].process
                    && let Some(hosted) = process.drivers.get_mut(&driver.job)
                {
                    // It tries again as long as it hears nothing else.
                    hosted.pull = None;
                    hosted.revision = 0;
                    self.after(again, Happening::DriverStep { node, life, driver });
                }
                self.worker_hears(node, worker::Event::DriverLost { driver, lost: vec![lost] })
            }
            Puller::Client => {
                let job = lost.key.job;
                let client = node - FIRST_CLIENT;
                self.clients[client].pull = None;
                self.clients[client].revision = 0;
                self.client_asks(client, Request::Lost { job, lost: vec![lost] });
                Ok(())
            }
        }
    }

    fn pull_done(&mut self, node: usize, puller: Puller) -> Result<(), String> {
        let life = self.life(node);
        match puller {
            Puller::Attempt(key) => {
                let slowness = self.nodes[node - 1].slowness;
                let delay = self.random.between(1000, 400_000) * slowness;
                let Some(process) = &mut self.nodes[node - 1].process else { return Ok(()) };
                if let Some(execution) = process.executing.get_mut(&key) {
                    if std::mem::replace(&mut execution.is_computing, true) {
                        return Ok(());
                    }
                    let rows = execution.pull.sources.iter().map(|source| source.rows()).sum();
                    self.after(delay, Happening::Computed { node, life, key });
                    let progress = AttemptProgress { rows, bytes: rows * 8 };
                    return self.worker_hears(node, worker::Event::Progress { key, progress });
                }
                Ok(())
            }
            Puller::Driver(driver) => {
                let Some(process) = &mut self.nodes[node - 1].process else { return Ok(()) };
                let Some(hosted) = process.drivers.get_mut(&driver.job) else { return Ok(()) };
                let Some(pull) = hosted.pull.take() else { return Ok(()) };
                let rows: Vec<u64> = pull.arrived.into_iter().flatten().flatten().flatten().collect();
                self.action_done(node, driver, rows)
            }
            Puller::Client => self.client_pulled(node - FIRST_CLIENT),
        }
    }

    // ── drivers ────────────────────────────────────────────────────────────────────────────────────────────────────────

    fn driver_step(&mut self, node: usize, driver: DriverRun) -> Result<(), String> {
        let delay = self.random.between(1000, 30_000);
        let Some(process) = &mut self.nodes[node - 1].process else { return Ok(()) };
        let Some(hosted) = process.drivers.get_mut(&driver.job) else { return Ok(()) };
        if hosted.driver.run() != driver || hosted.pull.is_some() {
            return Ok(());
        }
        let life = self.lives.get(&node).copied().unwrap_or_default();
        let Some(action) = hosted.waits else {
            let action = ActionNumber(hosted.next_action);
            let event = match hosted.driver.begin(action) {
                // The plan that tells what it gave is on its way.
                Begin::Replay => return Ok(()),
                Begin::Wait => None,
                Begin::Plan => {
                    let model = hosted.model.action(action.0, hosted.digest);
                    hosted.driver.shipped(action);
                    let plan = model.plan().into();
                    Some(worker::Event::DriverShipped { driver, action, skeleton: model.skeleton, plan })
                }
            };
            hosted.next_action += 1;
            hosted.waits = Some(action);
            if let Some(event) = event {
                self.worker_hears(node, event)?;
            }
            self.after(delay, Happening::DriverStep { node, life, driver });
            return Ok(());
        };
        let is_sql = hosted.model.is_sql;
        let Some((revision, outcome)) = hosted.driver.outcome(action) else { return Ok(()) };
        if revision == hosted.revision {
            return Ok(());
        }
        hosted.revision = revision;
        match outcome {
            ActionOutcome::Failed(error) => {
                let end = DriverEnd::Failed { error: error.clone(), cause: FailureCause::Error };
                process.drivers.remove(&driver.job);
                self.worker_hears(node, worker::Event::DriverEnded { driver, end })
            }
            ActionOutcome::Written(_) => {
                let rows = written_rows(outcome);
                self.action_done(node, driver, rows)
            }
            // The client pulls them.
            ActionOutcome::Rows(_) if is_sql => {
                let end = DriverEnd::Done { value: Vec::new().into(), result: Some(action) };
                process.drivers.remove(&driver.job);
                self.worker_hears(node, worker::Event::DriverEnded { driver, end })
            }
            ActionOutcome::Rows(sources) => {
                hosted.pull = Some(Pull::new(sources.clone()));
                self.begin_pull(node, Puller::Driver(driver))
            }
        }
    }

    fn action_done(&mut self, node: usize, driver: DriverRun, rows: Vec<u64>) -> Result<(), String> {
        let life = self.life(node);
        let Some(process) = &mut self.nodes[node - 1].process else { return Ok(()) };
        let Some(hosted) = process.drivers.get_mut(&driver.job) else { return Ok(()) };
        let Some(action) = hosted.waits.take() else { return Ok(()) };
        hosted.digest = next_digest(hosted.digest, &rows);
        hosted.revision = 0;
        if action.0 + 1 < hosted.model.actions {
            self.after(1000, Happening::DriverStep { node, life, driver });
            return Ok(());
        }
        let value = hosted.digest.to_le_bytes().to_vec().into();
        process.drivers.remove(&driver.job);
        let end = DriverEnd::Done { value, result: None };
        self.worker_hears(node, worker::Event::DriverEnded { driver, end })
    }

    // ── clients ────────────────────────────────────────────────────────────────────────────────────────────────────────

    fn client_asks(&mut self, client: usize, body: Request) {
        let asking = &mut self.clients[client];
        let Some(link) = asking.link else { return };
        asking.request += 1;
        let message = FromClient { request: asking.request, body };
        let bytes = message.to_bytes().unwrap();
        self.send(FIRST_CLIENT + client, COORDINATOR, Packet::Control { link, bytes });
    }

    fn client_step(&mut self, client: usize) -> Result<(), String> {
        let now = self.now;
        let asking = &mut self.clients[client];
        if matches!(asking.state, ClientState::Done | ClientState::Gone) {
            return Ok(());
        }
        if asking.vanishes_at.is_some_and(|at| now >= at) {
            asking.state = ClientState::Gone;
            self.fire("client vanished");
            return Ok(());
        }
        let job = asking.submission.job;
        let body = match asking.state {
            ClientState::Submitting => Some(Request::Submit(Box::new(asking.submission.clone()))),
            ClientState::Watching if asking.cancels_at.is_some_and(|at| now >= at) => {
                asking.has_cancelled = true;
                Some(Request::Cancel { job })
            }
            ClientState::Watching if now >= asking.watched_at + WATCH_AGAIN => {
                asking.watched_at = now;
                Some(Request::Watch { job })
            }
            ClientState::Taking => Some(Request::Taken { job }),
            _ => None,
        };
        if let Some(body) = body {
            self.client_asks(client, body);
        }
        self.after(500_000, Happening::ClientStep { client });
        Ok(())
    }

    fn client_hears(&mut self, client: usize, message: ToClient) -> Result<(), String> {
        let asking = &mut self.clients[client];
        let job = asking.submission.job;
        match message.body {
            Answer::Submitted { job } => {
                self.submitted.insert(job);
                if asking.state == ClientState::Submitting {
                    asking.state = ClientState::Watching;
                }
            }
            Answer::Update(update) => return self.client_sees(client, *update),
            Answer::TakenDone { .. } if asking.state == ClientState::Taking => asking.state = ClientState::Done,
            // The next watch shows the end.
            Answer::CancelDone { .. } if asking.cancels_at.take().is_some() => self.fire("client cancelled"),
            Answer::Failed(error) if asking.state == ClientState::Taking || asking.state == ClientState::Watching => {
                return Err(format!("job {job}: the coordinator answers: {error}"));
            }
            _ => {}
        }
        Ok(())
    }

    fn client_sees(&mut self, client: usize, update: JobUpdate) -> Result<(), String> {
        let asking = &mut self.clients[client];
        if asking.state != ClientState::Watching || asking.pull.is_some() || update.revision <= asking.revision {
            return Ok(());
        }
        let oracle = asking.model.oracle();
        let job = asking.submission.job;
        match update.state {
            JobState::Queued | JobState::Running => {}
            JobState::Cancelled => {
                if asking.vanishes_at.is_none() && !asking.has_cancelled {
                    return Err(format!("job {job} was cancelled by nobody"));
                }
                asking.state = ClientState::Taking;
            }
            JobState::Failed(error) => {
                if oracle.is_some() || error.kind() != Kind::Job {
                    return Err(format!("job {job} failed and should not, or otherwise: {error}: {error:?}"));
                }
                asking.state = ClientState::Taking;
                self.fire("job failed");
            }
            JobState::Done => {
                let Some((digest, _)) = oracle else {
                    return Err(format!("job {job} is done, but the user's code fails in it"));
                };
                if !asking.model.is_sql {
                    // Of a job whose epitaph is all that stays there is no value.
                    if update.value.is_some_and(|value| value[..] != digest.to_le_bytes()) {
                        return Err(format!("the driver of job {job} gave back another digest"));
                    }
                    asking.state = ClientState::Taking;
                } else if let Some(sources) = update.result {
                    asking.revision = update.revision;
                    asking.pull = Some(Pull::new(sources));
                    return self.begin_pull(FIRST_CLIENT + client, Puller::Client);
                } else if update.revision == u64::MAX {
                    // Nobody heard of the client for so long that its rows went.
                    asking.state = ClientState::Taking;
                    self.fire("rows given up");
                }
            }
        }
        Ok(())
    }

    fn client_pulled(&mut self, client: usize) -> Result<(), String> {
        let asking = &mut self.clients[client];
        let Some(pull) = asking.pull.take().filter(|_| asking.state == ClientState::Watching) else { return Ok(()) };
        let mut rows: Vec<u64> = pull.arrived.into_iter().flatten().flatten().flatten().collect();
        rows.sort();
        let job = asking.submission.job;
        let Some((_, expected)) = asking.model.oracle() else {
            return Err(format!("job {job} gave rows and should fail"));
        };
        if rows != expected {
            return Err(format!("job {job} gave {} rows, {} expected, or others", rows.len(), expected.len()));
        }
        asking.state = ClientState::Taking;
        self.fire("rows compared");
        Ok(())
    }

    // ── faults ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    fn fault(&mut self) -> Result<(), String> {
        if self.is_healed {
            return Ok(());
        }
        let next = self.random.between(200_000, 4 * SECOND);
        self.after(next, Happening::Fault);
        let workers = self.nodes.len() as u64;
        let node = self.random.between(1, workers) as usize;
        match self.random.below(14) {
            0 | 1 => {
                if self.nodes[node - 1].process.is_some() {
                    self.fire("worker crash");
                    self.kill(node);
                    let delay = self.random.between(100_000, 8 * SECOND);
                    self.after(delay, Happening::Start { node });
                }
            }
            2 | 3 => self.crash_coordinator(),
            4 => {
                let other = self.random.below(workers + 1) as usize;
                if other != node {
                    self.fire("one-way cut");
                    self.cut(node, other, false);
                }
            }
            5 => {
                let other = self.random.below(workers + 1) as usize;
                if other != node {
                    self.fire("two-way cut");
                    self.cut(node, other, true);
                }
            }
            6 => {
                self.fire("isolated worker");
                for other in 0..=workers as usize {
                    if other != node {
                        self.cut(node, other, true);
                    }
                }
            }
            7 => {
                self.fire("slow worker");
                self.nodes[node - 1].slowness = self.random.between(2, 12);
            }
            8 => {
                self.fire("coordinator paused");
                let until = self.now + self.random.between(500_000, 7 * SECOND);
                self.paused.insert(COORDINATOR, until);
            }
            9 => {
                self.fire("worker paused");
                let until = self.now + self.random.between(500_000, 9 * SECOND);
                self.paused.insert(node, until);
            }
            10 => return self.crash_driver(node),
            11 => {
                // Not the last one: then jobs would rightly fail.
                let stays = |other: &Node| other.process.is_some() && !other.is_leaving;
                if self.nodes.iter().enumerate().filter(|(place, other)| place + 1 != node && stays(other)).count() == 0
                {
                    return Ok(());
                }
                self.fire("worker asked to leave");
                self.nodes[node - 1].is_leaving = true;
                let when_free = self.random.chance(600);
                return self.worker_hears(node, worker::Event::Leave { when_free });
            }
            12 => {
                let client = FIRST_CLIENT + self.random.below(self.clients.len() as u64) as usize;
                self.fire("client cut");
                self.cut(client, COORDINATOR, true);
            }
            _ => {
                self.fire("broken connection");
                let links: Vec<(Link, usize)> = self.links.iter().map(|(link, node)| (*link, *node)).collect();
                if let Some((link, node)) = links.last().copied() {
                    self.break_link(link, node);
                }
            }
        }
        Ok(())
    }

    fn break_link(&mut self, link: Link, node: usize) {
        let delays = [self.random.below(5 * SECOND), self.random.below(5 * SECOND)];
        self.after(delays[0], Happening::LinkDown { node, link });
        self.after(delays[1], Happening::LinkDown { node: COORDINATOR, link });
    }

    fn cut(&mut self, from: usize, to: usize, is_symmetric: bool) {
        let until = self.now + self.random.between(200_000, 8 * SECOND);
        let ways = if is_symmetric {
            vec![(from, to), (to, from)]
        } else if self.random.chance(500) {
            vec![(from, to)]
        } else {
            vec![(to, from)]
        };
        for (from, to) in ways {
            *self.cuts.entry((from, to)).or_default() += 1;
            self.at(until, Happening::Heal { from, to });
        }
        if to == COORDINATOR && self.random.chance(500) {
            let link = match from {
                FIRST_CLIENT.. => self.clients[from - FIRST_CLIENT].link,
                _ => self.nodes[from - 1].process.as_ref().and_then(|process| process.link),
            };
            if let Some(link) = link {
                self.break_link(link, from);
            }
        }
    }

    fn crash_coordinator(&mut self) {
        if self.coordinator.take().is_none() {
            return;
        }
        self.fire("coordinator crash");
        *self.lives.entry(COORDINATOR).or_default() += 1;
        self.paused.remove(&COORDINATOR);
        let mut random = self.random.clone();
        if self.disk.crash(&mut random) {
            self.fire("torn tail");
        }
        self.random = random;
        for (link, node) in std::mem::take(&mut self.links) {
            let delay = self.random.below(6 * SECOND);
            self.after(delay, Happening::LinkDown { node, link });
        }
        let delay = self.random.between(50_000, 6 * SECOND);
        self.after(delay, Happening::Start { node: COORDINATOR });
    }

    fn crash_driver(&mut self, node: usize) -> Result<(), String> {
        let Some(process) = &mut self.nodes[node - 1].process else { return Ok(()) };
        let Some((_, hosted)) = process.drivers.pop_first() else { return Ok(()) };
        let driver = hosted.driver.run();
        let tried = self.tries_failed.entry((driver.job, u32::MAX, 0)).or_default();
        if *tried >= 2 {
            process.drivers.insert(driver.job, hosted);
            return Ok(());
        }
        *tried += 1;
        self.fire("driver crash");
        let error = RemoteError::new(Kind::Io, "the driver's process died");
        let end = DriverEnd::Failed { error, cause: FailureCause::Process };
        self.worker_hears(node, worker::Event::DriverEnded { driver, end })
    }

    /// All faults end, everything that is down comes up again.
    fn heal_all(&mut self) -> Result<(), String> {
        self.is_healed = true;
        self.cuts.clear();
        self.paused.clear();
        self.slow_disk = false;
        for node in &mut self.nodes {
            node.slowness = 1;
        }
        for node in 0..=self.nodes.len() {
            self.start(node)?;
        }
        Ok(())
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
        Happening::Deliver { packet: Packet::Control { link, bytes }, .. } => xxh3_64(bytes) ^ link.0,
        other => xxh3_64(format!("{other:?}").as_bytes()),
    }
}
