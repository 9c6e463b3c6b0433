//! A cluster of a test's own: its state folder, its processes, and how they are asked, killed and started again.
//!
//! In: how many workers. Out: a running cluster; what commands print. Never: a process that outlives its test; a signal to a process
//! that is not the test's own.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use windrow::{
    Session, Settings,
    cluster::{
        drive::{Client, ClusterAddress},
        protocol::{Answer, ClusterView, JobView, Request, WorkerState, WorkerView},
    },
};
use windrow_bench::TABLES;
use windrow_datasets::{TpchOptions, write_tpch};

/// Longer than anything takes that is waited for; what takes longer hangs.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The machine is one test's at a time.
pub fn machine() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::new(());
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells a number that a person wants to see, also of a test that passes.
pub fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "  {text}");
}

/// TPC-H at scale 0.1: `lineitem` has 5 row groups, `orders` 2, the others 1. Made once for the tests that wait for each other.
pub fn tables() -> Arc<TempDir> {
    static TABLES: Mutex<Weak<TempDir>> = Mutex::new(Weak::new());
    let mut known = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(tables) = known.upgrade() {
        return tables;
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let threads = Settings::default().threads;
    write_tpch(&TpchOptions { threads, ..TpchOptions::new(0.1, folder.path()) }).unwrap();
    let tables = Arc::new(folder);
    *known = Arc::downgrade(&tables);
    tables
}

/// What `ask` gives as soon as it gives something. Each question goes to another process, which is what is waited for.
pub fn eventually<T>(what: &str, within: Duration, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + within;
    loop {
        match ask() {
            Ok(found) => return found,
            Err(found) => assert!(Instant::now() < deadline, "not within {within:?}: {what}; {found}"),
        }
    }
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// It failed with this exit code and these words.
    pub fn fails(&self, code: i32, says: &[&str]) {
        let missing: Vec<_> = says.iter().filter(|text| !self.stderr.contains(**text)).collect();
        assert!(
            self.code == Some(code) && missing.is_empty(),
            "exit code {code} expected, {missing:?} not said: {self:#?}"
        );
    }

    /// It went well, and printed this.
    pub fn printed(&self) -> &str {
        assert_eq!(self.code, Some(0), "{self:#?}");
        &self.stdout
    }
}

/// A command that runs; it is killed if nobody waits for it.
pub struct Started(Option<Child>);

impl Started {
    pub fn signal(&self, signal: Signal) {
        kill(self.0.as_ref().unwrap().id(), signal);
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ran {
        let child = self.0.take().unwrap();
        let pid = child.id();
        let (say, ended) = mpsc::channel();
        let waiter = thread::spawn(move || say.send(child.wait_with_output()));
        let Ok(output) = ended.recv_timeout(PATIENCE) else {
            kill(pid, Signal::KILL);
            waiter.join().unwrap().unwrap();
            panic!("it does not end: {:#?}", ended.recv().unwrap());
        };
        let output = output.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let ran = Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) };
        for sign in [" panicked at ", "RUST_BACKTRACE", "stack backtrace"] {
            assert!(!ran.stdout.contains(sign) && !ran.stderr.contains(sign), "{ran:#?}");
        }
        ran
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn kill(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// It has ended, though its parent may not have asked for its status yet.
fn is_gone(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_none_or(|(_, fields)| fields.trim_start().starts_with(['Z', 'X']))
}

/// A process of a cluster: its number and how it was started.
#[derive(Clone, Debug)]
pub struct Process {
    pub pid: u32,
    line: Vec<String>,
}

impl Process {
    fn of(pid: u32) -> Process {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        let words = line.split(|byte| *byte == 0).map(|word| String::from_utf8(word.to_vec()).unwrap());
        Process { pid, line: words.filter(|word| !word.is_empty()).collect() }
    }

    /// `kill -9`; returns when it is gone.
    pub fn kill(&self) {
        assert!(self.is_running(), "{self:?} should run");
        kill(self.pid, Signal::KILL);
        let deadline = Instant::now() + PATIENCE;
        while !is_gone(self.pid) {
            assert!(Instant::now() < deadline, "{self:?} survives kill -9");
            thread::yield_now();
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid, signal);
    }

    /// Time of processors that it took, in ticks.
    fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
        // Fields 14 and 15 of proc_pid_stat(5); the state is field 3.
        fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
    }

    fn is_running(&self) -> bool {
        let line = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        line == self.line.iter().flat_map(|word| [word.as_bytes(), &[0][..]].concat()).collect::<Vec<u8>>()
    }
}

/// A cluster on this machine. It ends with the test, its state with it.
pub struct Cluster {
    here: TempDir,
    /// Started by the test itself, in place of those that it killed.
    revived: Mutex<Vec<Child>>,
    /// All that were ever seen.
    seen: Mutex<Vec<Process>>,
    /// Goes before the command that starts it.
    before: Vec<String>,
}

impl Cluster {
    /// So many workers of one thread each.
    pub fn start(workers: usize) -> Cluster {
        Cluster::start_with(workers, "512MiB", &[], &[])
    }

    /// As [`Cluster::start`], with more flags and with a program before the command.
    pub fn start_with(workers: usize, memory: &str, flags: &[&str], before: &[&str]) -> Cluster {
        let here = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let before = before.iter().map(|word| (*word).to_owned()).collect();
        let cluster = Cluster { here, revived: Mutex::default(), seen: Mutex::default(), before };
        cluster.start_again(workers, memory, flags);
        cluster
    }

    /// Starts one where there is none any more.
    pub fn start_again(&self, workers: usize, memory: &str, flags: &[&str]) {
        let count = workers.to_string();
        let words = ["cluster", "start", "--local", &count, "--threads", "1", "--memory", memory];
        let mut command = match &self.before[..] {
            [program, more @ ..] => {
                let mut command = Command::new(program);
                command.args(more).arg(env!("CARGO_BIN_EXE_windrow"));
                self.prepare(&mut command);
                command
            }
            [] => self.command(&[]),
        };
        command.args(words).args(flags);
        let ran = spawn(command).end();
        assert_eq!(ran.printed().lines().count(), workers + 1, "{ran:#?}");
        self.processes();
    }

    pub fn folder(&self) -> PathBuf {
        self.here.path().join("state/clusters/local")
    }

    pub fn here(&self) -> &Path {
        self.here.path()
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_windrow"));
        command.args(words);
        self.prepare(&mut command);
        command
    }

    /// What it prints is heard; it finds this cluster.
    pub fn prepare(&self, command: &mut Command) {
        Cluster::prepare_pipes(command);
        command.env("WINDROW_STATE_DIR", self.here.path().join("state")).env_remove("WINDROW_LOG");
    }

    pub fn prepare_pipes(command: &mut Command) {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env("NO_COLOR", "1");
    }

    pub fn run(&self, words: &[&str]) -> Ran {
        self.spawn(words).end()
    }

    pub fn spawn(&self, words: &[&str]) -> Started {
        spawn(self.command(words))
    }

    /// `windrow sql` on this cluster with the eight tables.
    pub fn spawn_sql(&self, tables: &Path, text: &str) -> Started {
        let mut command =
            self.command(&["sql", "--cluster", "local", "--task-size", "1MiB", "--format", "csv", "-c", text]);
        for name in TABLES {
            command.arg("--table").arg(format!("{name}={}", tables.join(format!("{name}.parquet")).display()));
        }
        spawn(command)
    }

    /// The address and processes as they are written down: workers by their names, then the coordinator.
    fn record(&self) -> (SocketAddr, Vec<u32>, u32) {
        let text = fs::read_to_string(self.folder().join("cluster.json")).unwrap();
        let record: Value = serde_json::from_str(&text).unwrap();
        let pid = |process: &Value| u32::try_from(process["pid"].as_u64().unwrap()).unwrap();
        let workers = record["workers"].as_array().unwrap().iter().map(pid).collect();
        (record["coordinator"]["address"].as_str().unwrap().parse().unwrap(), workers, pid(&record["coordinator"]))
    }

    /// The workers and the coordinator as they were started first.
    pub fn processes(&self) -> (Vec<Process>, Process) {
        let (_, workers, coordinator) = self.record();
        let mut seen = self.seen.lock().unwrap();
        let mut known = |pid: u32| match seen.iter().find(|process| process.pid == pid) {
            Some(process) => process.clone(),
            None => {
                seen.push(Process::of(pid));
                seen[seen.len() - 1].clone()
            }
        };
        (workers.into_iter().map(&mut known).collect(), known(coordinator))
    }

    /// A worker as it runs now, or ran last; from 0.
    pub fn worker(&self, place: usize) -> Process {
        let name = format!("w{}", place + 1);
        let (workers, _) = self.processes();
        let seen = self.seen.lock().unwrap();
        let lives = |process: &&Process| process.line.contains(&name) && process.line[1] == "worker";
        seen.iter().rev().find(lives).unwrap_or(&workers[place]).clone()
    }

    /// Starts a worker again that was killed.
    pub fn revive_worker(&self, place: usize) -> Process {
        self.revive(&self.worker(place))
    }

    pub fn address(&self) -> ClusterAddress {
        ClusterAddress { coordinator: self.record().0, identity: self.identity("client") }
    }

    pub fn identity(&self, who: &str) -> PathBuf {
        self.folder().join("identity").join(who)
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.address()).unwrap()
    }

    /// A session that runs here, over the eight tables, with small tasks.
    pub fn session(&self, tables: &Path) -> Session {
        let session = Session::connect(&self.address(), Settings { threads: 1, ..Settings::default() }).unwrap();
        for name in TABLES {
            session.register(name, &tables.join(format!("{name}.parquet")).to_string_lossy()).unwrap();
        }
        session.set_task_bytes(1 << 20);
        session
    }

    /// Starts a process again that was killed, as it was started before; the coordinator at its old address. Returns when it says
    /// that it can be reached.
    pub fn revive(&self, killed: &Process) -> Process {
        let mut line = killed.line.clone();
        if line[1] == "coordinator" {
            let bind = line.iter().position(|word| word == "--bind").unwrap();
            line[bind + 1] = self.record().0.to_string();
        }
        let log = OpenOptions::new().create(true).append(true).open(self.folder().join("revived.log")).unwrap();
        let mut command = Command::new(&line[0]);
        self.prepare(&mut command);
        let mut child = command.args(&line[1..]).stderr(log).spawn().unwrap();
        let process = Process { pid: child.id(), line };
        let stdout = child.stdout.take().unwrap();
        self.revived.lock().unwrap().push(child);
        let (say, said) = mpsc::channel();
        thread::spawn(move || say.send(BufReader::new(stdout).lines().next()));
        let said = said.recv_timeout(PATIENCE).unwrap();
        assert!(said.is_some(), "{process:?} ended");
        self.seen.lock().unwrap().push(process.clone());
        process
    }

    /// Waits until a worker stands as `state`; how long that took.
    pub fn until_worker(&self, name: &str, state: WorkerState, within: Duration) -> Duration {
        let (started, client) = (Instant::now(), self.client());
        eventually(&format!("worker {name} is {state:?}"), within, || {
            let view = cluster_view(&client);
            let is_it = |worker: &WorkerView| worker.name.as_str() == name && worker.state == state;
            if view.workers.iter().any(is_it) { Ok(()) } else { Err(format!("{view:#?}")) }
        });
        started.elapsed()
    }

    /// Waits until the workers compute nothing: what they were told to stop has stopped. How long that took.
    pub fn until_quiet(&self, within: Duration) -> Duration {
        const WINDOW: Duration = Duration::from_millis(500);
        let (started, client) = (Instant::now(), self.client());
        let ticks = || self.processes().0.iter().map(Process::ticks).sum::<u64>();
        eventually("the workers are quiet", within, || {
            let (begun, before) = (Instant::now(), ticks());
            // Beats and answers are all they have to do meanwhile.
            while begun.elapsed() < WINDOW {
                cluster_view(&client);
            }
            // A hundred ticks are a second; beats take one or two.
            let spent = ticks() - before;
            if spent <= 10 { Ok(()) } else { Err(format!("{spent} ticks in {:?}", begun.elapsed())) }
        });
        started.elapsed() - WINDOW
    }

    /// The cluster still does its work.
    pub fn works(&self, tables: &Path) {
        let ran = self.spawn_sql(tables, "select l_returnflag, count(*) from lineitem group by 1 order by 1").end();
        assert_eq!(ran.printed(), "l_returnflag,count(*)\nA,147790\nN,304481\nR,148301\n", "{ran:#?}");
    }

    /// The event logs of all jobs.
    pub fn events(&self) -> Vec<Value> {
        let home = self.folder().join("coordinator");
        let ended = fs::read_dir(home.join("ended")).into_iter().flatten().flatten().map(|entry| entry.path());
        let jobs = fs::read_dir(home.join("jobs")).into_iter().flatten().flatten();
        let jobs = jobs.map(|entry| entry.path().join("events.jsonl"));
        let logs = ended.filter(|path| path.extension().is_some_and(|ending| ending == "jsonl")).chain(jobs);
        let lines = logs.flat_map(|path| {
            let text = fs::read_to_string(path).unwrap_or_default();
            // Its last line may be on its way.
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect::<Vec<Value>>()
        });
        lines.collect()
    }

    fn tell_logs(&self) {
        const LINES: usize = 25;
        for entry in fs::read_dir(self.folder()).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|ending| ending == "log") {
                let text = fs::read(entry.path()).unwrap_or_default();
                let text = String::from_utf8_lossy(&text);
                let lines: Vec<&str> = text.lines().collect();
                tell(&format!("── {}", entry.file_name().to_string_lossy()));
                lines[lines.len().saturating_sub(LINES)..].iter().for_each(|line| tell(line));
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            self.tell_logs();
        }
        for process in self.seen.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if process.is_running() {
                let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw).unwrap();
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        for child in self.revived.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
        // What a start that failed may have left, and what was made elsewhere.
        if let Ok(mut child) = self.command(&["cluster", "stop"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            let _ = child.wait();
        }
    }
}

pub fn spawn(mut command: Command) -> Started {
    Started(Some(command.spawn().unwrap()))
}

/// The coordinator's account of the workers.
pub fn cluster_view(client: &Client) -> ClusterView {
    match client.ask(&Request::Cluster).unwrap() {
        Answer::Cluster(view) => view,
        other => panic!("{other:?}"),
    }
}

/// The job that was handed in last.
pub fn newest(client: &Client) -> Option<JobView> {
    let Answer::Jobs(jobs) = client.ask(&Request::Jobs).unwrap() else { panic!("no list of jobs") };
    let job = jobs.first()?.job;
    match client.ask(&Request::Job { job }).unwrap() {
        Answer::Job(view) => Some(*view),
        other => panic!("{other:?}"),
    }
}
