//! The worker's side of a program's process: starts it, tells it what to do, takes what it made, buries it.
//!
//! In: a program; orders and outcomes from the worker's machine. Out: the machine's events. Never: trusts what the process says of frames:
//! their files are checked before they count.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, ErrorKind, Read},
    os::unix::{
        net::{UnixListener, UnixStream},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    CHILD_VARIABLE,
    started::kill_started,
    wire::{self, FromChild, PullAsk, PullPiece, Reader, ToChild, parse, write},
};
use crate::{
    cluster::{
        drive::{
            driver::wait_for,
            node::{Node, host, origin, remote},
            pull::{Fed, PullFailed, WINDOW_BYTES, WINDOW_BYTES_MIN, not_held},
        },
        limits::{PART_BYTES, VALUE_BYTES_MAX},
        protocol::{
            ActionNumber, ActionOutcome, AttemptEnd, AttemptFailure, AttemptKey, BinaryId, Blob, DriverEnd, DriverRun,
            DriverStart, FailureCause, Order, PROTOCOL_VERSION, RemoteError, Skeleton, part_count, part_of,
        },
        worker::Event,
    },
    error::{Cause, Error, Kind, Result},
    operator::Wake,
    shuffle::{GroupId, JobId},
    store::remove_all,
};

/// Of what a program prints: the job's value, less a line that tells what was cut.
const OUTPUT_BYTES_MAX: usize = VALUE_BYTES_MAX - 256;

/// A process that has closed its output ends soon: it is looked after so often.
const WAIT_AGAIN: Duration = Duration::from_millis(2);
/// One that has not is looked after so often.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// A binary that is busy is tried again so often, after so long.
const BUSY_TRIES_MAX: u32 = 100;
const BUSY_AGAIN: Duration = Duration::from_millis(10);
/// What an ended process has said and printed comes within this.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A program as it is handed in: opaque to the coordinator.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProgramSpec {
    /// Where it was handed in, absolute: what it is called.
    pub path: String,
    /// Its binary, as it was shipped.
    pub binary: BinaryId,
    /// Its arguments, without its own name and without flags of ours.
    pub arguments: Vec<String>,
    /// The folder that it runs in.
    pub folder: String,
}

/// A program's process, as its worker holds it.
pub struct Child {
    node: Arc<Node>,
    job: JobId,
    process: Mutex<std::process::Child>,
    folder: PathBuf,
    /// None until the process has said hello.
    control: Mutex<Control>,
    state: Mutex<State>,
    printed: Mutex<Printed>,
    /// The process closed its connection.
    all_heard: Condvar,
    /// It closed its output.
    all_printed: Condvar,
    tell: Box<dyn Fn(Event) + Send + Sync>,
}

#[derive(Default)]
struct Control {
    stream: Option<UnixStream>,
    /// What is to be told once it can be.
    waiting: Vec<ToChild>,
    /// All that the process said was heard.
    is_heard: bool,
    is_over: bool,
}

/// What the process prints.
#[derive(Default)]
struct Printed {
    kept: Vec<u8>,
    /// Bytes that were not kept.
    cut: usize,
    is_all: bool,
}

#[derive(Default)]
struct State {
    attempts: BTreeSet<AttemptKey>,
    /// The plans that the process has.
    plans: BTreeSet<ActionNumber>,
    driver: Option<DriverRun>,
    /// The plan that the process is shipping.
    shipping: Vec<u8>,
    skeleton: Option<Skeleton>,
    finished: Option<Option<RemoteError>>,
}

impl Child {
    /// Starts the program of a job, which is the file `binary` here, in `folder`, which becomes its own.
    pub fn start(
        node: &Arc<Node>,
        job: JobId,
        spec: &ProgramSpec,
        binary: &Path,
        folder: PathBuf,
        tell: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Arc<Child>> {
        remove_all(&folder)?;
        let spool = folder.join("spool");
        let failed = |source| ChildError::Start { path: spec.path.clone(), host: host(), source };
        fs::create_dir_all(&spool).map_err(failed)?;
        let socket = folder.join("socket");
        let listener = wire::listen(&socket).map_err(failed)?;
        let mut command = Command::new(binary);
        command.arg0(&spec.path).args(&spec.arguments).current_dir(&spec.folder).env(CHILD_VARIABLE, &socket);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = spawn(&mut command).map_err(failed)?;
        let output = process.stdout.take();
        let settings = &node.settings;
        let welcome = ToChild::Welcome {
            job,
            worker: node.name.as_str().to_owned(),
            threads: settings.threads as u32,
            memory_bytes: settings.memory_bytes,
            revocable_bytes: settings.revocable_bytes,
            spill_folders: settings.spill_folders.iter().map(|folder| folder.to_string_lossy().into_owned()).collect(),
            rows_per_morsel: settings.rows_per_morsel as u32,
            spool: spool.to_string_lossy().into_owned(),
            spec: postcard::to_allocvec(spec).unwrap_or_default().into(),
        };
        let child = Arc::new(Child {
            node: Arc::clone(node),
            job,
            process: Mutex::new(process),
            folder,
            control: Mutex::new(Control { waiting: vec![welcome], ..Control::default() }),
            state: Mutex::default(),
            printed: Mutex::default(),
            all_heard: Condvar::new(),
            all_printed: Condvar::new(),
            tell: Box::new(tell),
        });
        let (accepting, waiting, reading) = (Arc::clone(&child), Arc::clone(&child), Arc::clone(&child));
        let accept = move || accepting.accept(&listener);
        thread::Builder::new().name("windrow-child".to_owned()).spawn(accept).map_err(failed)?;
        let read = move || reading.read_output(output);
        thread::Builder::new().name("windrow-child".to_owned()).spawn(read).map_err(failed)?;
        // It ends when the process does, whatever becomes of its connections and of what it has started itself.
        let bury = move || waiting.bury();
        thread::Builder::new().name("windrow-child".to_owned()).spawn(bury).map_err(failed)?;
        Ok(child)
    }

    /// The process drives the job from now on.
    pub fn drive(&self, start: &DriverStart) {
        lock(&self.state).driver = Some(start.driver);
        let shipped = start.shipped.iter().map(|shipped| shipped.action).collect();
        self.send(ToChild::Drive { driver: start.driver, nodes: start.nodes, shipped });
        if self.is_over()
            && let Some(driver) = lock(&self.state).driver.take()
        {
            // It ended in between, and was buried without this.
            let error = remote(&self.died(None), &self.node.name);
            let end = DriverEnd::Failed { error, cause: FailureCause::Process };
            (self.tell)(Event::DriverEnded { driver, end });
        }
    }

    /// The driver is no longer wanted here.
    pub fn undrive(&self) {
        lock(&self.state).driver = None;
    }

    /// Is this the driver's process?
    pub fn drives(&self, run: DriverRun) -> bool {
        lock(&self.state).driver == Some(run)
    }

    /// Runs an attempt, by the last of these plans.
    pub fn run(&self, order: Box<Order>, plans: &[(ActionNumber, Blob)]) {
        let key = order.key;
        lock(&self.state).attempts.insert(key);
        self.learn(plans);
        self.send(ToChild::Run(order));
        if self.is_over() && lock(&self.state).attempts.remove(&key) {
            // It ended in between, and was buried without this one.
            (self.tell)(Event::Ended { key, end: failed(&self.node, &self.died(None), FailureCause::Process) });
        }
    }

    /// Gives the process plans, each once.
    pub fn learn(&self, plans: &[(ActionNumber, Blob)]) {
        let mut state = lock(&self.state);
        for (action, plan) in plans {
            if !state.plans.insert(*action) {
                continue;
            }
            let parts = part_count(plan.len() as u64);
            for part in 0..parts {
                let bytes = part_of(plan, part).unwrap_or_default();
                self.send(ToChild::Plan { action: *action, part, parts, bytes: bytes.into() });
            }
        }
    }

    /// Stops an attempt.
    pub fn cancel(&self, key: AttemptKey) {
        lock(&self.state).attempts.remove(&key);
        self.send(ToChild::Cancel(key));
    }

    /// An action of the job has ended.
    pub fn deliver(&self, action: ActionNumber, revision: u64, outcome: ActionOutcome) {
        self.send(ToChild::Outcome { action, revision, outcome });
    }

    /// The process has ended, or is about to.
    pub fn is_over(&self) -> bool {
        lock(&self.control).is_over
    }

    /// Ends the process, whatever it does, and what it has started.
    pub fn kill(&self) {
        lock(&self.control).is_over = true;
        let mut process = lock(&self.process);
        // Its number is its own until it was asked for its end, which needs the lock.
        if matches!(process.try_wait(), Ok(None)) {
            kill_started(process.id());
        }
        // A process that is gone already needs nothing.
        let _ = process.kill();
    }

    fn send(&self, message: ToChild) {
        let mut control = lock(&self.control);
        let failed = match &control.stream {
            Some(stream) => write(stream, &message).is_err(),
            None => {
                control.waiting.push(message);
                false
            }
        };
        if failed {
            // The process is gone or cannot be talked to: it is buried, and what it ran is tried elsewhere.
            drop(control);
            let _ = lock(&self.process).kill();
        }
    }

    /// Takes connections: one that says hello, and those that pull.
    fn accept(self: Arc<Child>, listener: &UnixListener) {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            if lock(&self.control).is_over {
                return;
            }
            let child = Arc::clone(&self);
            // A thread for each: they wait for the process, or for a node that it pulls from.
            let _ = thread::Builder::new().name("windrow-child".to_owned()).spawn(move || child.serve(stream));
        }
    }

    fn serve(&self, stream: UnixStream) {
        let Ok(own) = stream.try_clone() else { return };
        let mut reader = Reader::new(own);
        let Ok(Some(first)) = reader.envelope() else { return };
        if let Ok(ask) = parse::<PullAsk>(&first) {
            self.pass_on(&stream, &ask);
            return;
        }
        match parse::<FromChild>(&first) {
            Ok(FromChild::Hello { version }) if version == PROTOCOL_VERSION => {}
            // Another build, or nobody of ours: it is buried as one that died.
            _ => return drop(lock(&self.process).kill()),
        }
        {
            let mut control = lock(&self.control);
            if control.stream.is_some() {
                // A program that our program has started.
                return;
            }
            for message in std::mem::take(&mut control.waiting) {
                if write(&stream, &message).is_err() {
                    return;
                }
            }
            control.stream = Some(stream);
        }
        while let Ok(Some(message)) = reader.message::<FromChild>() {
            self.hear(message);
        }
        lock(&self.control).is_heard = true;
        self.all_heard.notify_all();
    }

    fn hear(&self, message: FromChild) {
        match message {
            FromChild::Hello { .. } => {}
            FromChild::Ended { key, end, files } => {
                if !lock(&self.state).attempts.remove(&key) {
                    return;
                }
                let end = self.taken(key, end, files);
                (self.tell)(Event::Ended { key, end });
            }
            FromChild::Progress { key, progress } => (self.tell)(Event::Progress { key, progress }),
            FromChild::Shipped { action, skeleton, part, parts, bytes } => {
                let shipped = {
                    let mut state = lock(&self.state);
                    if part == 0 {
                        state.shipping.clear();
                        state.skeleton = skeleton;
                    }
                    state.shipping.extend_from_slice(&bytes);
                    let is_whole = part + 1 == parts && state.shipping.len() <= parts as usize * PART_BYTES;
                    let driver = state.driver.filter(|_| is_whole);
                    driver
                        .and_then(|driver| Some((driver, state.skeleton.take()?, std::mem::take(&mut state.shipping))))
                };
                if let Some((driver, skeleton, plan)) = shipped {
                    (self.tell)(Event::DriverShipped { driver, action, skeleton, plan: plan.into() });
                }
            }
            FromChild::Lost(lost) => {
                let driver = lock(&self.state).driver;
                if let Some(driver) = driver {
                    (self.tell)(Event::DriverLost { driver, lost });
                }
            }
            FromChild::Finished { error } => lock(&self.state).finished = Some(error),
        }
    }

    /// The end of an attempt, its frames taken into the worker's spool.
    fn taken(&self, key: AttemptKey, end: AttemptEnd, files: Vec<String>) -> AttemptEnd {
        let AttemptEnd::Finished(report) = end else { return end };
        if report.groups.is_empty() {
            return AttemptEnd::Finished(report);
        }
        let paths: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
        if let Some(path) = paths.iter().find(|path| !path.starts_with(&self.folder)) {
            let error = ChildError::Elsewhere { path: path.clone() }.into();
            return failed(&self.node, &error, FailureCause::Error);
        }
        match self.node.spool.adopt(key, paths, &report.groups) {
            Ok(()) => AttemptEnd::Finished(report),
            Err(error) => failed(&self.node, &error, FailureCause::Error),
        }
    }

    /// Asks a node for frames and passes them on.
    fn pass_on(&self, stream: &UnixStream, ask: &PullAsk) {
        let passed = self.pass_frames(stream, ask);
        let last = match passed {
            Ok(()) => PullPiece::End,
            Err((error, is_denied)) => PullPiece::Failed { error: RemoteError::from_error(&error, ""), is_denied },
        };
        // A process that does not listen any more needs no end.
        let _ = write(stream, &last);
    }

    fn pass_frames(&self, stream: &UnixStream, ask: &PullAsk) -> std::result::Result<(), (Error, bool)> {
        let lost = |error: Error| (error, false);
        if self.node.is_self(ask.request.incarnation) {
            for (key, groups) in &ask.request.wanted {
                let groups: &[GroupId] = groups;
                let Some(frames) = self.node.spool.frames(key, groups) else {
                    return Err((not_held(key, self.node.name.as_str()).into_error(), true));
                };
                for frame in frames {
                    // Damaged: it is held no longer, and is made again.
                    for piece in frame.map_err(|error| (error, true))?.chunks(1 << 20) {
                        write(stream, &PullPiece::Bytes(piece.to_vec())).map_err(lost)?;
                    }
                }
            }
            return Ok(());
        }
        let window_bytes = ask.window_bytes.clamp(WINDOW_BYTES_MIN as u64, WINDOW_BYTES as u64) as usize;
        let mut feed = self.node.fetch.ask(&ask.address, &ask.request, window_bytes).map_err(lost)?;
        loop {
            match feed.try_read() {
                Fed::Bytes(bytes) => {
                    self.node.counters.count_pulled(bytes.len() as u64);
                    write(stream, &PullPiece::Bytes(bytes.to_vec())).map_err(lost)?;
                }
                Fed::Pending => {
                    let wake = Wake::default();
                    let rung = wake.clone();
                    feed.when_ready(Box::new(move || rung.fire()));
                    wait_for(&wake);
                }
                Fed::End => return Ok(()),
                Fed::Failed { error, is_denied } => return Err((error, is_denied)),
            }
        }
    }

    /// Keeps what the process prints.
    fn read_output(&self, output: Option<ChildStdout>) {
        if let Some(mut output) = output {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                let mut printed = lock(&self.printed);
                let room = OUTPUT_BYTES_MAX.saturating_sub(printed.kept.len()).min(count);
                printed.kept.extend_from_slice(&buffer[..room]);
                printed.cut += count - room;
            }
        }
        lock(&self.printed).is_all = true;
        self.all_printed.notify_all();
    }

    /// Waits for the process and tells what ended with it.
    fn bury(&self) {
        let status = self.wait();
        // What it said last may still be on its way to us.
        let control = lock(&self.control);
        let is_silent = |control: &mut Control| control.stream.is_some() && !control.is_heard;
        let (mut control, _) =
            self.all_heard.wait_timeout_while(control, LAST_WORDS, is_silent).unwrap_or_else(PoisonError::into_inner);
        let was_killed = std::mem::replace(&mut control.is_over, true);
        drop(control);
        // Wakes the thread that takes connections, so that it sees the end.
        let _ = wire::connect(&self.folder.join("socket"));
        let mut state = lock(&self.state);
        let attempts = std::mem::take(&mut state.attempts);
        let (driver, finished) = (state.driver.take(), state.finished.take());
        drop(state);
        if was_killed {
            return;
        }
        let died = self.died(status);
        for key in attempts {
            (self.tell)(Event::Ended { key, end: failed(&self.node, &died, FailureCause::Process) });
        }
        if let Some(driver) = driver {
            let end = match finished {
                Some(None) => DriverEnd::Done { value: self.output().into(), result: None },
                Some(Some(error)) => {
                    // What happened in the entry itself happened here.
                    let error = if error.origin.is_empty() { error.at(origin(&self.node.name)) } else { error };
                    DriverEnd::Failed { error, cause: FailureCause::Error }
                }
                None => DriverEnd::Failed { error: remote(&died, &self.node.name), cause: FailureCause::Process },
            };
            (self.tell)(Event::DriverEnded { driver, end });
        }
    }

    /// All that the process printed, or nearly.
    fn output(&self) -> Vec<u8> {
        let printed = lock(&self.printed);
        // Something that it has started may hold its output open for ever.
        let waited = self.all_printed.wait_timeout_while(printed, LAST_WORDS, |printed| !printed.is_all);
        let (mut printed, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let mut kept = std::mem::take(&mut printed.kept);
        if printed.cut > 0 {
            let cut = printed.cut;
            let note =
                format!("\n… {cut} more bytes were printed; of a program on a cluster {OUTPUT_BYTES_MAX} are kept\n");
            kept.extend_from_slice(note.as_bytes());
        }
        kept
    }

    fn died(&self, status: Option<ExitStatus>) -> Error {
        let status = status.map_or_else(|| "how is not known".to_owned(), |status| status.to_string());
        ChildError::Died { job: self.job, status }.into()
    }

    fn wait(&self) -> Option<ExitStatus> {
        loop {
            // The lock is given up between, for `kill`.
            match lock(&self.process).try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) => {}
                Err(_) => return None,
            }
            let printed = lock(&self.printed);
            // Its output is closed when it ends; what it has started may hold it open.
            let patience = if printed.is_all { WAIT_AGAIN } else { LOOK_AGAIN };
            let is_all = printed.is_all;
            drop(self.all_printed.wait_timeout_while(printed, patience, |printed| printed.is_all == is_all));
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = lock(&self.process).kill();
        let _ = remove_all(&self.folder);
    }
}

/// Starts a process. A file that has just come may still be open for writing in a process that another thread is starting: it lets go as
/// soon as it runs.
fn spawn(command: &mut Command) -> io::Result<std::process::Child> {
    for _ in 0..BUSY_TRIES_MAX {
        match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => thread::park_timeout(BUSY_AGAIN),
            started => return started,
        }
    }
    command.spawn()
}

fn failed(node: &Node, error: &Error, cause: FailureCause) -> AttemptEnd {
    let cause_of: &(dyn std::error::Error + 'static) = error.cause();
    let lost = cause_of.downcast_ref::<PullFailed>().map(|failed| failed.lost.clone()).unwrap_or_default();
    let error = remote(error, &node.name);
    AttemptEnd::Failed(Box::new(AttemptFailure::new(error, cause, lost)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, thiserror::Error)]
enum ChildError {
    #[error("starting the program {path} on {host}")]
    Start { path: String, host: String, source: io::Error },
    #[error("running the program of job {job}: its process ended ({status})")]
    Died { job: JobId, status: String },
    #[error("taking frames of a program: {} is not in its folder", path.display())]
    Elsewhere { path: PathBuf },
}

impl Cause for ChildError {
    fn kind(&self) -> Kind {
        match self {
            ChildError::Start { .. } => Kind::Request,
            // What a process dies of is mostly the user's code; whether a retry helps is said beside the error.
            ChildError::Died { .. } => Kind::Job,
            ChildError::Elsewhere { .. } => Kind::Corrupt,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            ChildError::Start { .. } => Some(
                "every worker must see the folder that the program was handed in from, and may run files of its own"
                    .to_owned(),
            ),
            ChildError::Died { .. } => Some("the worker's log has what the program wrote to stderr".to_owned()),
            _ => None,
        }
    }
}
