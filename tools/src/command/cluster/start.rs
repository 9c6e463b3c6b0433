//! `windrow cluster start`: a coordinator and workers as processes of their own on this machine.
//!
//! In: how many workers, how large. Out: when all are ready, a line for each process. Never: something started left behind by a start
//! that failed; a process that runs and is not written down.
//!
//! ```text
//!   certificates ─► coordinator ─"coordinator ADDRESS"─► workers ─"worker NAME ADDRESS"─► the coordinator sees them all ready
//! ```
//! Each child says a line on its standard output once it can be reached, and keeps that open while it runs: its end is seen there.
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
    after_help = "It returns when all are ready. Threads and memory of the machine are shared among the workers unless they are given.\n\nExamples:\n  windrow cluster start --local 2\n  windrow cluster start --local 4 --threads 1 --memory 2GiB --name field"
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
    /// The folder in which one is made for the spools; else they lie in the cluster's own.
    pub spool: Option<PathBuf>,
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
    replace_stale(folder)?;
    let spool = options.spool.as_deref().map(|spool| spool_folder(folder, spool)).transpose()?;

    let started = Started::new(folder, spool.clone());
    let undo = {
        let started = started.clone();
        signals.on_exit(move || started.undo())
    };
    let mut starting = Starting::new(folder, spool, started.clone());
    let workers: Vec<String> = (1..=options.workers).map(worker_name).collect();
    if let Err(error) = starting.all(&workers, &options.settings) {
        started.undo();
        return Err(error.into());
    }
    drop(undo);
    Ok(starting.lines())
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

/// Removes what an earlier cluster of the name left; one that runs is an error.
fn replace_stale(folder: &ClusterFolder) -> Result<(), ClusterError> {
    let Some(record) = folder.read()? else { return folder.remove() };
    if let Some((who, process)) = record.processes().find(|(_, process)| process.is_running()) {
        return Err(ClusterError::Runs { name: folder.name().clone(), who: who_is(who), pid: process.pid });
    }
    clear(folder, &record)
}

/// What was started, for whoever has to undo it.
#[derive(Clone)]
struct Started {
    folder: ClusterFolder,
    spool: Option<PathBuf>,
    children: Arc<Mutex<Children>>,
}

#[derive(Default)]
struct Children {
    running: Vec<(String, Child)>,
    /// It was undone: nothing more is to be started.
    is_over: bool,
}

impl Started {
    fn new(folder: &ClusterFolder, spool: Option<PathBuf>) -> Started {
        Started { folder: folder.clone(), spool, children: Arc::default() }
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
        // What is left after an error here is replaced by the next start.
        let _ = clear(&self.folder, &Record::new(self.folder.name(), self.spool.clone()));
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
    fn new(folder: &ClusterFolder, spool: Option<PathBuf>, started: Started) -> Starting {
        let (tell, heard) = mpsc::channel();
        let record = Record::new(folder.name(), spool);
        let deadline = Instant::now() + READY_WITHIN;
        Starting { folder: folder.clone(), record, started, deadline, tell, heard, addresses: Vec::new() }
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

        let coordinator = coordinator.to_string();
        let (threads, memory) = (settings.threads.to_string(), settings.memory_bytes.to_string());
        for who in workers {
            let home = self.folder.worker_home(&self.record, who);
            let join = ["worker", "--join", &coordinator, "--name", who, "--bind", "127.0.0.1:0"];
            let size = ["--threads", &threads, "--memory", &memory];
            let process = self.spawn(who, &[&join[..], &size].concat(), home)?;
            self.record.workers.push(WorkerRecord { id: who.clone(), process });
            self.folder.write(&self.record)?;
        }
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
            let is_ready = |who: &String| {
                view.workers.iter().any(|worker| worker.name.as_str() == who && worker.state == WorkerState::Ready)
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
        let of = |who: &str| self.addresses.iter().find(|(name, _)| name == who).map(|(_, address)| *address);
        let mut processes: Vec<_> = self.record.processes().collect();
        processes.rotate_right(1);
        let line = |(who, process): (&str, &Process)| {
            let is = if who == COORDINATOR { who.to_owned() } else { format!("worker {who}") };
            let address = of(who).map(|address| format!(" at {address}")).unwrap_or_default();
            format!("{is}{address}, process {}\n", process.pid)
        };
        processes.into_iter().map(line).collect()
    }
}
