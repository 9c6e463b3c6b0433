//! `windrow cluster start`: a coordinator and workers as processes of their own on this machine.
//!
//! In: how many workers, how large. Out: when all are ready, a line for each process. Never: something started left behind by a start
//! that failed; a process that runs and is not written down.
//!
//! ```text
//!   certificates ─► coordinator ─"coordinator ADDRESS"─► workers ─"worker NAME ADDRESS"─► the coordinator sees them all ready
//! ```
//! Each child says a line on its standard output once it can be reached, and keeps that open while it runs: its end is seen there.
//! Of a cluster that runs, with dead workers among its own, those and no others are started again, under their names and with their
//! certificates; for the coordinator they are other lives of them.
//!
//! The record is written after each step. Should this command be killed between a child's start and its record, then nobody reads the
//! child's line, and the child ends by itself.

use std::{
    env,
    fs::OpenOptions,
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use windrow::{Settings, cluster::protocol::WorkerState};

use super::{
    Contact, NameFlag, engine,
    error::{ClusterError, LogTail, Status},
    folder::{self, COORDINATOR, ClusterFolder, CoordinatorRecord, Record, WorkerRecord, worker_name},
    stop::{clear, who_is},
};
use crate::{
    error::{Failure, printable},
    output,
    process::Process,
    signal::Signals,
    size,
};

/// Start a coordinator and workers on this machine
#[derive(clap::Args)]
#[command(
    after_help = "It returns when all are ready. Of a cluster that runs it starts those workers again that are dead.\nThreads and memory of the machine are shared among the workers unless they are given.\n\nExamples:\n  windrow cluster start --local 2\n  windrow cluster start --local 4 --threads 1 --memory 2GiB --name field"
)]
pub struct Start {
    /// How many workers
    #[arg(long, value_name = "N", required = true, value_parser = clap::value_parser!(u32).range(1..=i64::from(WORKERS_MAX)))]
    local: u32,
    #[command(flatten)]
    name: NameFlag,
    /// Threads of each worker that compute
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Memory of each worker, as 4GiB
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    memory: Option<u64>,
    /// Folder in which workers keep rows for each other [default: below the user's state folder]
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
}

/// Most workers on one machine: beyond its threads they only divide its memory.
const WORKERS_MAX: u32 = 64;
/// What all processes together have to become ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Between two questions to the coordinator whether all workers are ready.
const ASK_AGAIN: Duration = Duration::from_millis(50);

impl Start {
    pub fn run(&self, signals: &Signals) -> Result<(), Failure> {
        let settings = share(self.local, self.threads, self.memory)?;
        let options = StartOptions {
            folder: ClusterFolder::of(&self.name.name)?,
            workers: self.local,
            settings,
            given: Given { threads: self.threads, memory_bytes: self.memory },
            spool: self.spool.clone(),
        };
        output::text(&start(&options, signals)?)
    }
}

/// A cluster to be started.
pub struct StartOptions {
    /// Where it is written down.
    pub folder: ClusterFolder,
    /// How many workers.
    pub workers: u32,
    /// Of each worker.
    pub settings: Settings,
    /// What of that somebody has asked for.
    pub given: Given,
    /// The folder in which one is made for the spools; else they lie in the cluster's own.
    pub spool: Option<PathBuf>,
}

/// What somebody has asked for each worker; a dead one is otherwise started as it was.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given {
    /// Threads that compute.
    pub threads: Option<usize>,
    /// Memory.
    pub memory_bytes: Option<u64>,
}

/// What each of so many workers gets of the machine, but for what was said.
pub fn share(workers: u32, threads: Option<usize>, memory_bytes: Option<u64>) -> Result<Settings, Failure> {
    let machine = Settings::default();
    let workers = workers.max(1);
    Settings {
        threads: threads.unwrap_or((machine.threads / workers as usize).max(1)),
        memory_bytes: memory_bytes.unwrap_or(machine.memory_bytes / u64::from(workers)),
        ..machine
    }
    .checked()
    .map_err(Failure::Usage)
}

/// Starts a cluster; gives a line for each process when all are ready.
pub fn start(options: &StartOptions, signals: &Signals) -> Result<String, Failure> {
    let folder = &options.folder;
    let _lock = folder.lock()?;
    if let Some(record) = replace_stale(folder)? {
        let dead = dead_workers(options, &record)?;
        let started = Started::new(folder, record.spool.clone(), false);
        let starting = Starting::new(folder, record, started);
        let starting = starting.done(signals, |starting| starting.again(&dead, options))?;
        return Ok(dead.iter().map(|who| format!("started again: {}", starting.line(who))).collect());
    }
    let spool = options.spool.as_deref().map(|spool| spool_folder(folder, spool)).transpose()?;
    let started = Started::new(folder, spool.clone(), true);
    let starting = Starting::new(folder, Record::new(folder.name(), spool), started);
    let workers: Vec<String> = (1..=options.workers).map(worker_name).collect();
    let starting = starting.done(signals, |starting| starting.all(&workers, &options.settings))?;
    Ok(starting.lines())
}

/// The workers of a cluster that runs which are to be started again; else why it is left as it is.
fn dead_workers(options: &StartOptions, record: &Record) -> Result<Vec<String>, ClusterError> {
    let (folder, name) = (&options.folder, options.folder.name().clone());
    let running = |who: &str| folder.running(record, who);
    if running(COORDINATOR).is_some() && options.spool.is_none() {
        let contact = Contact::at(folder.clone())?;
        let view = contact.view()?;
        let dead = record.workers.iter().filter(|worker| contact.is_dead(worker, &view));
        let (dead, workers): (Vec<String>, _) = (dead.map(|worker| worker.id.clone()).collect(), record.workers.len());
        match dead.is_empty() {
            false if options.workers as usize == workers => return Ok(dead),
            false => return Err(ClusterError::OtherSize { name, workers, dead }),
            true => {}
        }
    }
    let mut processes = record.processes();
    let (who, pid) = processes.find_map(|(who, _)| Some((who_is(who), running(who)?.pid))).unwrap_or_default();
    Err(ClusterError::Runs { name, who, pid })
}

/// A fresh folder of our own in `spool`.
fn spool_folder(folder: &ClusterFolder, spool: &Path) -> Result<PathBuf, ClusterError> {
    let failed = |source| ClusterError::File { doing: "making the folder", path: spool.to_owned(), source };
    let path = std::path::absolute(spool).map_err(failed)?.join(format!("windrow-{}", folder.name()));
    if path.exists() {
        return Err(ClusterError::SpoolExists { path });
    }
    folder::make_private(&path)?;
    Ok(path)
}

/// Removes what an earlier cluster of the name left; the record of one that runs.
fn replace_stale(folder: &ClusterFolder) -> Result<Option<Record>, ClusterError> {
    let Some(record) = folder.read()? else { return folder.remove().map(|()| None) };
    if record.processes().any(|(who, _)| folder.running(&record, who).is_some()) {
        return Ok(Some(record));
    }
    clear(folder, &record).map(|()| None)
}

/// What was started, for whoever has to undo it.
#[derive(Clone)]
struct Started {
    folder: ClusterFolder,
    spool: Option<PathBuf>,
    /// The cluster is this start's: with it goes all that was made.
    is_new: bool,
    children: Arc<Mutex<Children>>,
}

#[derive(Default)]
struct Children {
    running: Vec<(String, Child)>,
    /// It was undone: nothing more is to be started.
    is_over: bool,
}

impl Started {
    fn new(folder: &ClusterFolder, spool: Option<PathBuf>, is_new: bool) -> Started {
        Started { folder: folder.clone(), spool, is_new, children: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Children> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a child, unless all was undone.
    fn spawn(&self, who: &str, command: &mut Command) -> Result<(Process, impl io::Read + use<>), ClusterError> {
        let name = self.folder.name();
        let mut children = self.lock();
        if children.is_over {
            return Err(ClusterError::Interrupted { name: name.clone() });
        }
        let failed = |source| ClusterError::Spawn { name: name.clone(), who: who_is(who), source };
        let mut child = command.spawn().map_err(failed)?;
        let stdout = child.stdout.take().ok_or_else(|| failed(io::Error::from(io::ErrorKind::BrokenPipe)));
        let pid = child.id();
        children.running.push((who.to_owned(), child));
        Ok((Process::of(pid).map_err(failed)?, stdout?))
    }

    /// How a child ended that has ended.
    fn status(&self, who: &str) -> Status {
        let mut children = self.lock();
        let child = children.running.iter_mut().find(|(name, _)| name == who);
        Status(child.and_then(|(_, child)| child.wait().ok()))
    }

    /// Ends what was started and removes what was made.
    fn undo(&self) {
        let mut children = self.lock();
        children.is_over = true;
        for (_, child) in &mut children.running {
            // It fails for one that has ended, and there is nothing more to do then.
            let _ = child.kill();
            let _ = child.wait();
        }
        children.running.clear();
        if self.is_new {
            // What is left after an error here is replaced by the next start.
            let _ = clear(&self.folder, &Record::new(self.folder.name(), self.spool.clone()));
        }
    }
}

/// What a child's standard output tells.
enum Heard {
    Line { who: String, line: String },
    Ended { who: String },
}

/// A cluster on its way.
struct Starting {
    folder: ClusterFolder,
    record: Record,
    started: Started,
    deadline: Instant,
    tell: Sender<Heard>,
    heard: Receiver<Heard>,
    addresses: Vec<(String, SocketAddr)>,
}

impl Starting {
    fn new(folder: &ClusterFolder, record: Record, started: Started) -> Starting {
        let (tell, heard) = mpsc::channel();
        let deadline = Instant::now() + READY_WITHIN;
        Starting { folder: folder.clone(), record, started, deadline, tell, heard, addresses: Vec::new() }
    }

    /// Does the work; undoes it when it fails, or when somebody ends this command meanwhile.
    fn done(
        mut self,
        signals: &Signals,
        work: impl FnOnce(&mut Starting) -> Result<(), ClusterError>,
    ) -> Result<Starting, Failure> {
        let started = self.started.clone();
        let undo = signals.on_exit(move || started.undo());
        work(&mut self).inspect_err(|_| self.started.undo())?;
        drop(undo);
        Ok(self)
    }

    fn all(&mut self, workers: &[String], settings: &Settings) -> Result<(), ClusterError> {
        engine::certify(&self.folder, workers)?;
        let process =
            self.spawn(COORDINATOR, &["coordinator", "--bind", "127.0.0.1:0"], self.folder.home(COORDINATOR))?;
        self.record.coordinator = Some(CoordinatorRecord { process: process.clone(), address: None });
        self.folder.write(&self.record)?;
        let coordinator = self.address_of(COORDINATOR)?;
        self.record.coordinator = Some(CoordinatorRecord { process, address: Some(coordinator) });
        self.folder.write(&self.record)?;

        for who in workers {
            let process = self.worker(who, coordinator, settings.threads, settings.memory_bytes)?;
            let (threads, memory_bytes) = (Some(settings.threads), Some(settings.memory_bytes));
            self.record.workers.push(WorkerRecord { id: who.clone(), process, threads, memory_bytes });
            self.folder.write(&self.record)?;
        }
        self.until_ready(workers)
    }

    /// Starts workers of a cluster that runs again.
    fn again(&mut self, dead: &[String], options: &StartOptions) -> Result<(), ClusterError> {
        let unfinished = || ClusterError::Unfinished { name: self.folder.name().clone() };
        let coordinator = self.record.coordinator.as_ref().and_then(|it| it.address).ok_or_else(unfinished)?;
        for place in 0..self.record.workers.len() {
            let WorkerRecord { id, threads, memory_bytes, .. } = self.record.workers[place].clone();
            if !dead.contains(&id) {
                continue;
            }
            let threads = options.given.threads.or(threads).unwrap_or(options.settings.threads);
            let memory_bytes = options.given.memory_bytes.or(memory_bytes).unwrap_or(options.settings.memory_bytes);
            let process = self.worker(&id, coordinator, threads, memory_bytes)?;
            let (threads, memory_bytes) = (Some(threads), Some(memory_bytes));
            self.record.workers[place] = WorkerRecord { id, process, threads, memory_bytes };
            self.folder.write(&self.record)?;
        }
        self.until_ready(dead)
    }

    /// Starts a worker.
    fn worker(
        &self,
        who: &str,
        coordinator: SocketAddr,
        threads: usize,
        memory_bytes: u64,
    ) -> Result<Process, ClusterError> {
        let home = self.folder.worker_home(&self.record, who);
        let (coordinator, threads, memory) = (coordinator.to_string(), threads.to_string(), memory_bytes.to_string());
        let join = ["worker", "--join", &coordinator, "--name", who, "--bind", "127.0.0.1:0"];
        let size = ["--threads", &threads, "--memory", &memory];
        self.spawn(who, &[&join[..], &size].concat(), home)
    }

    fn until_ready(&mut self, workers: &[String]) -> Result<(), ClusterError> {
        for who in workers {
            self.address_of(who)?;
        }
        self.all_ready(workers)
    }

    /// Starts a process of this binary, in a session of its own.
    fn spawn(&self, who: &str, arguments: &[&str], home: PathBuf) -> Result<Process, ClusterError> {
        folder::make_private(&home)?;
        let path = self.folder.log(who);
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        let log = log.map_err(|source| ClusterError::File { doing: "opening", path, source })?;
        let failed = |source| ClusterError::Spawn { name: self.folder.name().clone(), who: who_is(who), source };
        let mut command = Command::new(env::current_exe().map_err(failed)?);
        command.args(arguments).arg("--identity").arg(self.folder.identity(who)).arg("--folder").arg(home);
        // Not where the user is: that folder may be unmounted or removed while the cluster runs.
        command.arg("--detached").current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let (process, stdout) = self.started.spawn(who, &mut command)?;

        let (who, tell) = (who.to_owned(), self.tell.clone());
        let listen = move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = tell.send(Heard::Line { who: who.clone(), line });
            }
            let _ = tell.send(Heard::Ended { who });
        };
        // It ends with this command; the child outlives it.
        thread::Builder::new().name("child".to_owned()).spawn(listen).map_err(failed)?;
        Ok(process)
    }

    /// The address that a process says, once it does.
    fn address_of(&mut self, who: &str) -> Result<SocketAddr, ClusterError> {
        loop {
            if let Some((_, address)) = self.addresses.iter().find(|(name, _)| name == who) {
                return Ok(*address);
            }
            let left = self.deadline.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left) {
                Ok(heard) => self.hear(heard)?,
                Err(_) => return Err(self.late(who)),
            }
        }
    }

    /// Waits until the coordinator sees all workers ready.
    fn all_ready(&mut self, workers: &[String]) -> Result<(), ClusterError> {
        let contact = Contact::at(self.folder.clone())?;
        loop {
            let view = contact.view()?;
            // This life of it: the coordinator may not have noticed yet that an earlier one is dead.
            let pid_of = |who: &str| self.record.processes().find(|(name, _)| *name == who).map(|(_, is)| is.pid);
            let is_ready = |who: &String| {
                let mut workers = view.workers.iter().filter(|worker| worker.name.as_str() == who);
                workers.any(|worker| worker.state == WorkerState::Ready && Some(worker.pid) == pid_of(who))
            };
            let Some(missing) = workers.iter().find(|who| !is_ready(who)) else { return Ok(()) };
            if Instant::now() >= self.deadline {
                return Err(self.late(missing));
            }
            // Nothing more is said but by a process that ends.
            if let Ok(heard) = self.heard.recv_timeout(ASK_AGAIN) {
                self.hear(heard)?;
            }
        }
    }

    fn hear(&mut self, heard: Heard) -> Result<(), ClusterError> {
        let name = || self.folder.name().clone();
        match heard {
            Heard::Line { who, line } => match line.rsplit(' ').next().and_then(|word| word.parse().ok()) {
                Some(address) => self.addresses.push((who, address)),
                None => return Err(ClusterError::Line { name: name(), who: who_is(&who), line: printable(&line) }),
            },
            Heard::Ended { who } => {
                let (status, source) = (self.started.status(&who), LogTail::read(self.folder.log(&who)));
                return Err(ClusterError::Ended { name: name(), who: who_is(&who), status, source });
            }
        }
        Ok(())
    }

    fn late(&self, who: &str) -> ClusterError {
        let source = LogTail::read(self.folder.log(who));
        ClusterError::Late { name: self.folder.name().clone(), who: who_is(who), after: READY_WITHIN, source }
    }

    /// A line for each process, the coordinator's first.
    fn lines(&self) -> String {
        let mut processes: Vec<_> = self.record.processes().map(|(who, _)| who).collect();
        processes.rotate_right(1);
        processes.into_iter().map(|who| self.line(who)).collect()
    }

    fn line(&self, who: &str) -> String {
        let address = self.addresses.iter().find(|(name, _)| name == who);
        let address = address.map(|(_, address)| format!(" at {address}")).unwrap_or_default();
        let pid = self.record.processes().find(|(name, _)| *name == who).map_or(0, |(_, process)| process.pid);
        let is = if who == COORDINATOR { who.to_owned() } else { format!("worker {who}") };
        format!("{is}{address}, process {pid}\n")
    }
}
