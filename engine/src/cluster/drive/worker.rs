//! The worker's process: its machine between the network, the threads and the spool.
//!
//! In: options, and who plans its drivers. Out: runs until it is told to go. Never: a decision; the machine (`cluster/worker`) makes them,
//! and this carries them out.
//!
//! ```text
//!   net ──events──► ┐                      ┌──► messages ──► net
//!   attempts ─────► ├─► machine's thread ──┼──► attempts: a thread each, pipelines on the node's threads
//!   drivers ──────► │                      ├──► drivers: a thread each
//!   time ─────────► ┘                      └──► plans, spool
//!   another node's pull ──► answered on the network's thread, from the spool
//! ```

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use twox_hash::XxHash3_64;
use windrow_net::{Answer, Event as NetEvent, LinkId, Message as Envelope, MessageKind, NetError, Network, Role};

use super::{
    binary::{Binaries, Uplink},
    child::{Children, PlanEnvelope, ProgramSpec, ToDriver},
    driver::{Driver, Entry},
    hold, identity, network_options,
    node::{Links, Node, NodeCounters, NodeParts, remote},
    pull::{Fetch, NOT_HELD, PULL, PullRequest, TRAFFIC, not_held},
    task::{self, Attempt, Planned},
};
use crate::{
    cluster::{
        limits::SLOTS_MAX,
        protocol::{
            ActionNumber, AttemptEnd, AttemptFailure, AttemptKey, AttemptProgress, Blob, DriverEnd, DriverRun,
            DriverStart, FailureCause, FromWorker, Incarnation, JobKind, Link, Message, Order, RemoteError, ToWorker,
            WorkerName,
        },
        worker::{Command, Event, Options, Worker},
    },
    error::{Cause, Error, Kind, Result, bug},
    kernel::Kernels,
    observe::Counters,
    operator::Cancel,
    plan::{closures::Closures, encode, physical::PhysicalPlan},
    scan::OpenedTables,
    settings::Settings,
    shuffle::{Codec, Epoch, JobId, Runs, RunsOptions, Spool, SpoolOptions},
    store::{Io, remove_all},
};

/// How a worker is started.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// Its name, as in its certificate.
    pub name: String,
    /// Where the coordinator is.
    pub coordinator: SocketAddr,
    /// Where others reach it; port 0 takes one that is free.
    pub bind: SocketAddr,
    /// The folder of its certificate and key.
    pub identity: PathBuf,
    /// The folders of its spool; what stands in them is removed.
    pub spool: Vec<PathBuf>,
    /// The folder of the binaries that it was given to run; what stands in it is used again.
    pub binaries: PathBuf,
    /// Bytes of frames of one job, and of what memory does not hold of all jobs.
    pub spool_bytes: u64,
    /// Threads, memory, morsels, folders for what memory does not hold.
    pub settings: Settings,
}

/// The share of a worker's memory in which frames are kept before they go to files.
const SPOOL_MEMORY_SHARE: u64 = 4;
/// Between two tries to connect.
const CONNECT_AGAIN: Duration = Duration::from_millis(200);
/// A worker that is told to go waits so long for the coordinator's leave.
const LEAVE: Duration = Duration::from_secs(3);
/// How often attempts tell how far they are.
const PROGRESS: Duration = Duration::from_millis(500);

/// What the machine's thread hears.
enum Heard {
    Net(NetEvent),
    Machine(Event),
}

/// How a life of a worker ended.
enum Ended {
    /// It was told to go.
    Over,
    /// It was taken for dead: another life follows, with nothing of this one.
    Fenced,
}

/// Runs a worker until it is told to go, or `stop` says so. `ready` is called with its address once it can be reached.
pub fn run_worker(
    options: WorkerOptions,
    entry: Arc<dyn Entry>,
    stop: Cancel,
    ready: impl FnOnce(SocketAddr),
) -> Result<()> {
    // A worker whose processor computes other hashes than the others would send rows to groups where nobody looks for them.
    Kernels::detect().verify()?;
    // Held while it runs: another worker must not sweep its folders.
    let _locks = options.spool.iter().map(|folder| hold(folder)).collect::<Result<Vec<_>>>()?;
    options.spool.iter().try_for_each(|folder| remove_all(folder))?;
    let mut ready = Some(ready);
    loop {
        let told = |address| {
            if let Some(ready) = ready.take() {
                ready(address);
            }
        };
        match live(&options, Arc::clone(&entry), &stop, told)? {
            Ended::Over => return Ok(()),
            Ended::Fenced => tracing::warn!("the cluster took this worker for dead: it begins again, empty"),
        }
    }
}

/// One life of a worker.
fn live(
    options: &WorkerOptions,
    entry: Arc<dyn Entry>,
    stop: &Cancel,
    ready: impl FnOnce(SocketAddr),
) -> Result<Ended> {
    let (tell, heard) = unbounded();
    let incarnation = Incarnation(random());
    let name = WorkerName::new(options.name.clone())?;
    let settings = options.settings.clone().checked()?;
    let io = Io::start()?;
    // Each life has folders of its own: what an earlier one still writes is not in its way.
    let folders: Vec<PathBuf> = options.spool.iter().map(|folder| folder.join(incarnation.to_string())).collect();
    let spool = SpoolOptions {
        folders: folders.clone(),
        codec: Codec::None,
        memory_bytes: settings.memory_bytes / SPOOL_MEMORY_SHARE,
        job_bytes: options.spool_bytes,
        epoch: Epoch(incarnation.0 as u32),
    };
    let spool = Spool::open(spool, &io)?;
    let runs = Runs::new(RunsOptions { folders: settings.spill_folders.clone(), bytes_max: options.spool_bytes });
    let to_machine = tell.clone();
    let counters = Arc::new(NodeCounters::default());
    let serving = Arc::new(Serving {
        name: name.clone(),
        incarnation,
        spool: Arc::clone(&spool),
        counters: Arc::clone(&counters),
    });
    let links = Arc::new(Links::default());
    let hearing = Arc::clone(&links);
    let network = Network::start(
        network_options(identity(&options.identity, Role::Worker)?, options.bind, &[Role::Worker, Role::Client]),
        move |event| match event {
            NetEvent::Asked { request, answer, .. } => serving.answer(&request, answer),
            event => {
                hearing.hear(&event);
                // The machine's thread ends last: it closes the network.
                let _ = to_machine.send(Heard::Net(event));
            }
        },
    )?;
    let address = network.local_address();
    let options_of_machine = Options {
        name: name.clone(),
        incarnation,
        address: address.to_string(),
        build: format!("windrow {}", env!("CARGO_PKG_VERSION")),
        pid: std::process::id(),
        threads: settings.threads as u32,
        memory_bytes: settings.memory_bytes,
        slots: (SLOTS_MAX as u32).min(2),
        fencing: true,
    };
    let machine = Worker::new(options_of_machine, 0);
    links.begin(&network);
    let fetch = Arc::clone(&links) as Arc<dyn Fetch>;
    let node = Node::start(NodeParts { name, incarnation, settings, io, spool, runs, fetch, counters })?;
    let uplink = Arc::new(Uplink::new(network.clone()));
    let binaries = Binaries::open(options.binaries.clone(), Arc::clone(&uplink))?;
    let programs = folders.first().map(|folder| folder.join("programs")).unwrap_or_default();
    let of_programs = tell.clone();
    let children = Arc::new(Children::new(&node, binaries, programs, move |event| {
        // The machine's thread ends last.
        let _ = of_programs.send(Heard::Machine(event));
    }));
    ready(address);
    let mut process = Process {
        node,
        network,
        links,
        folders,
        link_number: 0,
        entry,
        machine,
        tell,
        started: Instant::now(),
        coordinator: options.coordinator,
        link: None,
        uplink,
        attempts: BTreeMap::new(),
        drivers: BTreeMap::new(),
        children,
        coming_plans: BTreeMap::new(),
        plans: BTreeMap::new(),
        is_over: false,
        is_fenced: false,
        refused: None,
        down_at: None,
        was_up: false,
    };
    process.run(&heard, stop)
}

struct Process {
    node: Arc<Node>,
    network: Network,
    links: Arc<Links>,
    folders: Vec<PathBuf>,
    entry: Arc<dyn Entry>,
    machine: Worker,
    tell: Sender<Heard>,
    started: Instant,
    coordinator: SocketAddr,
    /// The connection to the coordinator: none while it is down, and then tried again.
    link: Option<LinkId>,
    /// The same, once it stands, for who fetches binaries.
    uplink: Arc<Uplink>,
    /// Connections to the coordinator so far: the machine's name of the last one.
    link_number: u64,
    attempts: BTreeMap<AttemptKey, Arc<Attempt>>,
    drivers: BTreeMap<DriverRun, Arc<Driver>>,
    /// The processes of programs, by job.
    children: Arc<Children>,
    /// Plans of which parts have come.
    coming_plans: BTreeMap<(JobId, ActionNumber), Vec<u8>>,
    plans: BTreeMap<(JobId, ActionNumber), Arc<StoredPlan>>,
    is_over: bool,
    /// It is over since it was taken for dead.
    is_fenced: bool,
    refused: Option<RemoteError>,
    /// The last connection ended then: the next one waits a little.
    down_at: Option<Instant>,
    /// A connection stood once: who is then refused for a moment is not refused for good.
    was_up: bool,
}

/// A plan as it came, decoded by the first attempt that needs it.
struct StoredPlan(Mutex<PlanState>);

struct PlanState {
    /// As it came; nothing once it is decoded, if it is a statement's.
    bytes: Blob,
    decoded: Option<Decoded>,
}

/// What a plan turned out to be.
#[derive(Clone)]
enum Decoded {
    /// A statement's: its attempts run here, and tell what their pipelines did if it `is_profiled`.
    Statement { plan: Arc<PhysicalPlan>, is_profiled: bool },
    /// A program's: its attempts run in its process, which decodes the plan.
    Program { spec: Arc<ProgramSpec> },
}

impl Process {
    fn run(&mut self, heard: &Receiver<Heard>, stop: &Cancel) -> Result<Ended> {
        let mut progress_at = Instant::now() + PROGRESS;
        let mut leaving_at: Option<Instant> = None;
        self.connect();
        while !self.is_over {
            let due = Duration::from_micros(self.machine.next_tick()).saturating_sub(self.started.elapsed());
            match heard.recv_timeout(due.min(Duration::from_millis(100))) {
                Ok(Heard::Net(event)) => self.hear(event),
                Ok(Heard::Machine(event)) => self.handle(event),
                Err(RecvTimeoutError::Timeout) => self.handle(Event::Tick),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.link.is_none() && self.down_at.is_none_or(|at| at.elapsed() >= CONNECT_AGAIN) {
                self.connect();
            }
            if Instant::now() >= progress_at {
                progress_at = Instant::now() + PROGRESS;
                self.report_progress();
            }
            match leaving_at {
                None if stop.is_cancelled() => {
                    leaving_at = Some(Instant::now());
                    self.handle(Event::Leave { when_free: false });
                }
                // A coordinator that does not answer sees that nobody beats.
                Some(at) if at.elapsed() > LEAVE => self.is_over = true,
                _ => {}
            }
        }
        for attempt in self.attempts.values() {
            attempt.cancel.cancel();
        }
        self.drivers.values().for_each(|driver| driver.stop());
        self.children.end_all();
        self.links.end();
        self.network.shutdown();
        for folder in &self.folders {
            // What is still written there is swept at the next start.
            let _ = remove_all(folder);
        }
        match self.refused.take() {
            Some(error) => Err(error.into_error()),
            None if self.is_fenced && !stop.is_cancelled() => Ok(Ended::Fenced),
            None => Ok(Ended::Over),
        }
    }

    fn connect(&mut self) {
        self.link = Some(self.network.link(self.coordinator, Role::Coordinator));
        self.link_number += 1;
    }

    fn hear(&mut self, event: NetEvent) {
        match event {
            NetEvent::Up { link, .. } if Some(link) == self.link => {
                self.was_up = true;
                self.uplink.set(Some(link));
                self.handle(Event::LinkUp { link: Link(self.link_number) });
            }
            NetEvent::Down { link, cause } if Some(link) == self.link => {
                self.link = None;
                self.uplink.set(None);
                self.down_at = Some(Instant::now());
                if !self.was_up && (cause.kind() == Kind::Denied || matches!(cause, NetError::Version { .. })) {
                    let error = Error::from(cause);
                    self.refused = Some(RemoteError::from_error(&error, ""));
                    self.is_over = true;
                    return;
                }
                tracing::warn!(%cause, "the connection to the coordinator");
                self.handle(Event::LinkDown { link: Link(self.link_number) });
            }
            NetEvent::Message { link, message } if Some(link) == self.link => {
                match ToWorker::from_bytes(&message.payload) {
                    Ok(message) => {
                        self.handle(Event::Message { link: Link(self.link_number), message: Box::new(message) })
                    }
                    // What cannot be read is sent again, or never meant us.
                    Err(error) => tracing::warn!(%error, "a message of the coordinator"),
                }
            }
            _ => {}
        }
    }

    fn handle(&mut self, event: Event) {
        let now = self.started.elapsed().as_micros() as u64;
        if let Event::Ended { key, .. } = &event {
            self.attempts.remove(key);
        }
        if let Event::DriverEnded { driver, .. } = &event {
            self.drivers.remove(driver);
        }
        self.machine.handle(now, event);
        while let Some(command) = self.machine.poll_command() {
            self.obey(command);
        }
    }

    fn report_progress(&mut self) {
        let progress: Vec<_> = self
            .attempts
            .iter()
            .map(|(key, attempt)| {
                let report = attempt.counters.report();
                (*key, AttemptProgress { rows: report.rows_in, bytes: report.bytes_in })
            })
            // Those in a program's process tell it themselves.
            .filter(|(_, progress)| *progress != AttemptProgress::default())
            .collect();
        for (key, progress) in progress {
            self.handle(Event::Progress { key, progress });
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Send { link, message } => self.send(link, &message),
            Command::StorePlan { job, action, part, parts, plan_hash, bytes } => {
                let coming = self.coming_plans.entry((job, action)).or_default();
                if part == 0 {
                    // It failed, or one that it follows did, and it comes again.
                    coming.clear();
                }
                coming.extend_from_slice(&bytes);
                if part + 1 < parts {
                    return;
                }
                let bytes: Blob = self.coming_plans.remove(&(job, action)).unwrap_or_default().into();
                if XxHash3_64::oneshot(&bytes) == plan_hash {
                    self.plans.insert((job, action), Arc::new(StoredPlan::new(bytes)));
                    self.again(Event::PlanStored { job, action });
                } else {
                    let error = RemoteError::new(Kind::Corrupt, "storing a plan: its parts do not have its checksum");
                    self.again(Event::PlanFailed { job, action, error });
                }
            }
            Command::StartAttempt { order } => self.start_attempt(order),
            Command::CancelAttempt { key } => {
                if let Some(attempt) = self.attempts.remove(&key) {
                    attempt.cancel.cancel();
                }
                if let Some(child) = self.children.of(key.job) {
                    child.cancel(key);
                }
                self.node.spool.drop_attempt(&key);
            }
            Command::DropAttempt { key } => self.node.spool.drop_attempt(&key),
            Command::DropJob { job } => self.drop_job(job),
            Command::StartDriver { start } => self.start_driver(start),
            Command::TeachDriver { driver, action } => self.teach_driver(driver, action),
            Command::DeliverOutcome { driver, action, revision, outcome } => {
                if let Some(driver) = self.drivers.get(&driver) {
                    driver.deliver(action, revision, outcome);
                } else {
                    self.children.tell(driver, ToDriver::Outcome(action, revision, outcome));
                }
            }
            Command::StopDriver { driver } => {
                if let Some(driver) = self.drivers.remove(&driver) {
                    driver.stop();
                }
                self.children.stop(driver);
            }
            Command::BeginAgain => {
                self.is_over = true;
                self.is_fenced = true;
            }
            Command::Exit { error } => {
                self.is_over = true;
                self.refused = error;
            }
        }
    }

    /// An event that follows from a command, after the commands before it.
    fn again(&self, event: Event) {
        // The receiver is ours.
        let _ = self.tell.send(Heard::Machine(event));
    }

    fn send(&mut self, link: Link, message: &FromWorker) {
        let Some(id) = self.link.filter(|_| link.0 == self.link_number) else { return };
        match message.to_bytes() {
            Ok(bytes) => {
                // What does not go out is said again until it is answered.
                if let Err(error) = self.network.send(id, MessageKind(FromWorker::KIND), bytes) {
                    tracing::debug!(%error, "a message to the coordinator");
                }
            }
            Err(error) => tracing::error!(%error, "a message to the coordinator cannot be written"),
        }
    }

    fn start_attempt(&mut self, order: Box<Order>) {
        let (key, tell, node) = (order.key, self.tell.clone(), Arc::clone(&self.node));
        let attempt = Arc::new(Attempt { cancel: Cancel::default(), counters: Arc::new(Counters::default()) });
        self.attempts.insert(key, Arc::clone(&attempt));
        let (action, _) = crate::cluster::protocol::stage_place(key.stage);
        let plan = self.plans.get(&(key.job, action)).cloned();
        let plans = self.plans_until(key.job, action);
        let children = Arc::clone(&self.children);
        let work = move || {
            let span = tracing::info_span!("attempt", job = %key.job, stage = key.stage.0, task = key.task.0, attempt = key.attempt.0);
            let _entered = span.enter();
            let plan = plan.ok_or_else(|| bug("cluster", "an order without its plan")).and_then(|plan| plan.decoded());
            let end = match plan {
                Ok(Decoded::Statement { plan, is_profiled }) => {
                    task::run(&node, Planned { plan: &plan, is_profiled }, &order, &attempt)
                }
                Ok(Decoded::Program { spec }) => match children.get(key.job, &spec, &attempt.cancel) {
                    // Its process tells the end.
                    Ok(child) => return child.run(order, &bytes_of(&plans)),
                    Err(error) => AttemptEnd::Failed(Box::new(task::failure(&node, &error))),
                },
                Err(error) => AttemptEnd::Failed(Box::new(task::failure(&node, &error))),
            };
            match &end {
                AttemptEnd::Finished(report) => {
                    tracing::debug!(rows = report.counters.rows_in, micros = report.counters.micros, "finished")
                }
                AttemptEnd::Failed(failure) => tracing::warn!(error = %failure.error, "failed"),
            }
            let _ = tell.send(Heard::Machine(Event::Ended { key, end }));
        };
        if let Err(source) = std::thread::Builder::new().name("windrow-task".to_owned()).spawn(work) {
            let error = RemoteError::new(Kind::Limit, "starting a thread for an attempt").because(source.to_string());
            let failure = AttemptFailure::new(error, FailureCause::Error, Vec::new());
            self.again(Event::Ended { key, end: AttemptEnd::Failed(Box::new(failure)) });
        }
    }

    fn start_driver(&mut self, start: Box<DriverStart>) {
        if start.kind == JobKind::Program {
            return self.start_program(start);
        }
        let tell = self.tell.clone();
        let driver = Driver::new(&self.node, &start, move |event| {
            let _ = tell.send(Heard::Machine(event));
        });
        let run = start.driver;
        self.drivers.insert(run, Arc::clone(&driver));
        let entry = Arc::clone(&self.entry);
        let work = move || driver.drive(&*entry, &start);
        if let Err(source) = std::thread::Builder::new().name("windrow-driver".to_owned()).spawn(work) {
            let error = RemoteError::new(Kind::Limit, "starting a thread for a driver").because(source.to_string());
            self.again(Event::DriverEnded {
                driver: run,
                end: DriverEnd::Failed { error, cause: FailureCause::Error },
            });
        }
    }

    /// The driver of a program is its process, which waits for its binary.
    fn start_program(&self, start: Box<DriverStart>) {
        let driver = start.driver;
        let failed = |error| {
            self.again(Event::DriverEnded { driver, end: DriverEnd::Failed { error, cause: FailureCause::Error } });
        };
        let spec: ProgramSpec = match postcard::from_bytes(&start.spec).map_err(|source| Unreadable { source }.into()) {
            Ok(spec) => spec,
            Err(error) => return failed(remote(&error, &self.node.name)),
        };
        let (children, cancel) = (Arc::clone(&self.children), self.children.begin(driver));
        let work = move || children.drive(&start, &spec, &cancel);
        if let Err(source) = std::thread::Builder::new().name("windrow-driver".to_owned()).spawn(work) {
            self.children.stop(driver);
            failed(RemoteError::new(Kind::Limit, "starting a thread for a driver").because(source.to_string()));
        }
    }

    /// A program that drives learns from the plans until this one what its earlier actions gave.
    fn teach_driver(&self, driver: DriverRun, action: ActionNumber) {
        self.children.tell(driver, ToDriver::Plans(bytes_of(&self.plans_until(driver.job, action))));
    }

    /// The plans of a job that its process may need for an action: each tells what was given since the one before.
    fn plans_until(&self, job: JobId, action: ActionNumber) -> Vec<(ActionNumber, Arc<StoredPlan>)> {
        let plans = self.plans.range((job, ActionNumber(0))..=(job, action));
        plans.map(|((_, action), plan)| (*action, Arc::clone(plan))).collect()
    }

    fn drop_job(&mut self, job: JobId) {
        for (_, attempt) in self.attempts.iter().filter(|(key, _)| key.job == job) {
            attempt.cancel.cancel();
        }
        // After that no attempt starts another one.
        self.children.end(job);
        self.attempts.retain(|key, _| key.job != job);
        self.coming_plans.retain(|(of, _), _| *of != job);
        self.plans.retain(|(of, _), _| *of != job);
        self.node.spool.drop_job(job);
        self.node.drop_outputs(job);
    }
}

/// A program's plans as they came. Not for a statement's, whose tables may be about to be opened: this would wait for it.
fn bytes_of(plans: &[(ActionNumber, Arc<StoredPlan>)]) -> Vec<(ActionNumber, Blob)> {
    plans.iter().map(|(action, plan)| (*action, plan.state().bytes.clone())).collect()
}

impl StoredPlan {
    fn new(bytes: Blob) -> StoredPlan {
        StoredPlan(Mutex::new(PlanState { bytes, decoded: None }))
    }

    fn state(&self) -> MutexGuard<'_, PlanState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The plan; decoded once, as opening its tables costs. What fails is tried again by the next attempt, which may find the file that
    /// this one missed.
    fn decoded(&self) -> Result<Decoded> {
        let mut state = self.state();
        if let Some(plan) = &state.decoded {
            return Ok(plan.clone());
        }
        let statement = |plan: &[u8], is_profiled| -> Result<Decoded> {
            let plan = encode::decode(plan, &Closures::default(), &OpenedTables::on_this_host())?;
            Ok(Decoded::Statement { plan: Arc::new(plan), is_profiled })
        };
        let plan = match postcard::from_bytes(&state.bytes).map_err(|source| Unreadable { source })? {
            PlanEnvelope::Statement(plan) => statement(&plan, false)?,
            PlanEnvelope::ProfiledStatement(plan) => statement(&plan, true)?,
            PlanEnvelope::Program { spec, .. } => {
                let spec = postcard::from_bytes(&spec).map_err(|source| Unreadable { source })?;
                Decoded::Program { spec: Arc::new(spec) }
            }
        };
        if let Decoded::Statement { .. } = plan {
            state.bytes = Blob::default();
        }
        Ok(state.decoded.insert(plan).clone())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("reading a plan or a program that was sent here")]
struct Unreadable {
    source: postcard::Error,
}

impl Cause for Unreadable {
    fn kind(&self) -> Kind {
        Kind::Corrupt
    }
}

/// Answers pulls, from the spool.
struct Serving {
    name: WorkerName,
    incarnation: Incarnation,
    spool: Arc<Spool>,
    counters: Arc<NodeCounters>,
}

impl Serving {
    fn answer(&self, request: &Envelope, answer: Answer) {
        if request.kind == TRAFFIC {
            let traffic = postcard::to_allocvec(&self.counters.traffic()).unwrap_or_default();
            return answer.give(std::iter::once(Ok(Bytes::from(traffic))));
        }
        let counters = Arc::clone(&self.counters);
        match self.frames(request) {
            Ok(frames) => answer.give(frames.map(move |frame| match frame {
                Ok(frame) => {
                    counters.count_sent(frame.len() as u64);
                    Ok(frame)
                }
                // The peer gets the sentence, this log the chain; who asks next is told that the attempt is not held.
                Err(error) => {
                    tracing::error!(error = ?error, "frames cannot be given");
                    Err(error.to_string())
                }
            })),
            Err(error) => answer.refuse(NOT_HELD, postcard::to_allocvec(&error).unwrap_or_default()),
        }
    }

    fn frames(
        &self,
        request: &Envelope,
    ) -> std::result::Result<impl Iterator<Item = Result<Bytes>> + Send + 'static, RemoteError> {
        let refused = |sentence: &str| RemoteError::new(Kind::Io, sentence).at(self.name.as_str());
        if request.kind != PULL {
            return Err(refused("answering a request: it asks for nothing that a worker has"));
        }
        let request: PullRequest =
            postcard::from_bytes(&request.payload).map_err(|_| refused("answering a request: it cannot be read"))?;
        if request.incarnation != self.incarnation {
            return Err(refused("giving frames: this worker began again and holds none of its earlier life"));
        }
        let mut all = Vec::with_capacity(request.wanted.len());
        for (key, groups) in request.wanted {
            all.push(self.spool.frames(&key, &groups).ok_or_else(|| not_held(&key, self.name.as_str()))?);
        }
        Ok(all.into_iter().flatten())
    }
}

/// A number that no other life has.
pub fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // The standard library's hasher is seeded by the system's randomness for each process and counter.
    let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish().max(1)
}
