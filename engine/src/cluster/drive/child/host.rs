//! The worker's side of a program's process: starts it, tells it what to do, takes what it made, buries it.
//!
//! In: a program; orders and outcomes from the worker's machine. Out: the machine's events. Never: trusts what the process says of frames:
//! their files are checked before they count.

use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    CHILD_VARIABLE,
    wire::{self, FromChild, PullAsk, PullPiece, Reader, ToChild, parse, write},
};
use crate::{
    cluster::{
        drive::{
            driver::wait_for,
            node::{Node, host, origin, remote},
            pull::{Fed, PullFailed, not_held},
        },
        limits::{PART_BYTES, VALUE_BYTES_MAX},
        protocol::{
            ActionNumber, ActionOutcome, AttemptEnd, AttemptFailure, AttemptKey, DriverEnd, DriverRun, DriverStart,
            FailureCause, Order, PROTOCOL_VERSION, RemoteError, Skeleton, part_count, part_of,
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

/// A process that has closed its output and goes on is looked after so often.
const WAIT_AGAIN: Duration = Duration::from_millis(2);

/// A program as it is handed in: opaque to the coordinator.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProgramSpec {
    /// The binary, absolute.
    pub path: String,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// Its arguments, without its own name and without flags of ours.
    pub arguments: Vec<String>,
    /// The folder that it runs in.
    pub folder: String,
}

/// SHA-256 of a file.
pub fn sha256_of(path: &Path) -> Result<[u8; 32]> {
    let failed = |source| ChildError::Unreadable { path: path.to_owned(), host: host(), source };
    let mut file = fs::File::open(path).map_err(failed)?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(hasher.finalize().into()),
            count => hasher.update(&buffer[..count]),
        }
    }
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
    tell: Box<dyn Fn(Event) + Send + Sync>,
}

#[derive(Default)]
struct Control {
    stream: Option<UnixStream>,
    /// What is to be told once it can be.
    waiting: Vec<ToChild>,
    is_over: bool,
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
    output: Vec<u8>,
}

impl Child {
    /// Starts the program of a job in `folder`, which becomes its own.
    pub fn start(
        node: &Arc<Node>,
        job: JobId,
        spec: &ProgramSpec,
        folder: PathBuf,
        tell: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Arc<Child>> {
        let path = PathBuf::from(&spec.path);
        if sha256_of(&path)? != spec.sha256 {
            return Err(ChildError::OtherBinary { path, host: host() }.into());
        }
        remove_all(&folder)?;
        let spool = folder.join("spool");
        let failed = |source| ChildError::Start { path: path.clone(), source };
        fs::create_dir_all(&spool).map_err(failed)?;
        let socket = folder.join("socket");
        let listener = wire::listen(&socket).map_err(failed)?;
        let mut process = Command::new(&path)
            .args(&spec.arguments)
            .current_dir(&spec.folder)
            .env(CHILD_VARIABLE, &socket)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let output = process.stdout.take();
        let settings = &node.settings;
        let welcome = ToChild::Welcome {
            job,
            worker: node.name.as_str().to_owned(),
            threads: settings.threads as u32,
            memory_bytes: settings.memory_bytes,
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
            tell: Box::new(tell),
        });
        let (accepting, waiting) = (Arc::clone(&child), Arc::clone(&child));
        let accept = move || accepting.accept(&listener);
        thread::Builder::new().name("windrow-child".to_owned()).spawn(accept).map_err(failed)?;
        // It ends when the process does, whatever becomes of its connections.
        let bury = move || waiting.bury(output);
        thread::Builder::new().name("windrow-child".to_owned()).spawn(bury).map_err(failed)?;
        Ok(child)
    }

    /// The process drives the job from now on.
    pub fn drive(&self, start: &DriverStart) {
        lock(&self.state).driver = Some(start.driver);
        let shipped = start.shipped.iter().map(|shipped| shipped.action).collect();
        self.send(ToChild::Drive { driver: start.driver, nodes: start.nodes, shipped });
    }

    /// The driver is no longer wanted here.
    pub fn undrive(&self) {
        lock(&self.state).driver = None;
    }

    /// Is this the driver's process?
    pub fn drives(&self, run: DriverRun) -> bool {
        lock(&self.state).driver == Some(run)
    }

    /// Runs an attempt, by this plan.
    pub fn run(&self, order: Box<Order>, action: ActionNumber, plan: &[u8]) {
        lock(&self.state).attempts.insert(order.key);
        self.learn(action, plan);
        self.send(ToChild::Run(order));
    }

    /// Gives the process a plan, once.
    pub fn learn(&self, action: ActionNumber, plan: &[u8]) {
        let mut state = lock(&self.state);
        if !state.plans.insert(action) {
            return;
        }
        let parts = part_count(plan.len() as u64);
        for part in 0..parts {
            let bytes = part_of(plan, part).unwrap_or_default();
            self.send(ToChild::Plan { action, part, parts, bytes: bytes.into() });
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

    /// Ends the process, whatever it does.
    pub fn kill(&self) {
        lock(&self.control).is_over = true;
        // A process that is gone already needs nothing.
        let _ = lock(&self.process).kill();
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
            // Another build, or nobody of ours.
            _ => return self.kill(),
        }
        {
            let mut control = lock(&self.control);
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
                    for piece in frame.chunks(1 << 20) {
                        write(stream, &PullPiece::Bytes(piece.to_vec())).map_err(lost)?;
                    }
                }
            }
            return Ok(());
        }
        let mut feed = self.node.fetch.ask(&ask.address, &ask.request).map_err(lost)?;
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

    /// Reads what the process prints until it ends, and tells what ended with it.
    fn bury(&self, output: Option<std::process::ChildStdout>) {
        let mut cut = 0;
        if let Some(mut output) = output {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                let kept = &mut lock(&self.state).output;
                let room = OUTPUT_BYTES_MAX.saturating_sub(kept.len()).min(count);
                kept.extend_from_slice(&buffer[..room]);
                cut += count - room;
            }
        }
        if cut > 0 {
            let note =
                format!("\n… {cut} more bytes were printed; of a program on a cluster {OUTPUT_BYTES_MAX} are kept\n");
            lock(&self.state).output.extend_from_slice(note.as_bytes());
        }
        let status = self.wait();
        let was_killed = std::mem::replace(&mut lock(&self.control).is_over, true);
        // Wakes the thread that takes connections, so that it sees the end.
        let _ = wire::connect(&self.folder.join("socket"));
        let mut state = lock(&self.state);
        let attempts = std::mem::take(&mut state.attempts);
        let driver = state.driver.take();
        let (finished, output) = (state.finished.take(), std::mem::take(&mut state.output));
        drop(state);
        if was_killed {
            return;
        }
        let died: Error = ChildError::Died {
            job: self.job,
            status: status.map_or_else(|| "unknown".to_owned(), |status| status.to_string()),
        }
        .into();
        for key in attempts {
            (self.tell)(Event::Ended { key, end: failed(&self.node, &died, FailureCause::Process) });
        }
        if let Some(driver) = driver {
            let end = match finished {
                Some(None) => DriverEnd::Done { value: output.into(), result: None },
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

    fn wait(&self) -> Option<ExitStatus> {
        loop {
            match lock(&self.process).try_wait() {
                Ok(Some(status)) => return Some(status),
                // Its output is closed, so mostly it ends now; the lock is given up between, for `kill`.
                Ok(None) => thread::park_timeout(WAIT_AGAIN),
                Err(_) => return None,
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = lock(&self.process).kill();
        let _ = remove_all(&self.folder);
    }
}

fn failed(node: &Node, error: &Error, cause: FailureCause) -> AttemptEnd {
    let cause_of: &(dyn std::error::Error + 'static) = error.cause();
    let lost = cause_of.downcast_ref::<PullFailed>().map(|failed| failed.lost.clone()).unwrap_or_default();
    let error = remote(error, &node.name);
    AttemptEnd::Failed(Box::new(AttemptFailure { error, cause, lost }))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, thiserror::Error)]
enum ChildError {
    #[error("reading the program {} on {host}", path.display())]
    Unreadable { path: PathBuf, host: String, source: std::io::Error },
    #[error("starting the program {} on {host}: it is another binary there than the one that was handed in", path.display())]
    OtherBinary { path: PathBuf, host: String },
    #[error("starting the program {}", path.display())]
    Start { path: PathBuf, source: std::io::Error },
    #[error("running the program of job {job}: its process ended ({status})")]
    Died { job: JobId, status: String },
    #[error("taking frames of a program: {} is not in its folder", path.display())]
    Elsewhere { path: PathBuf },
}

impl Cause for ChildError {
    fn kind(&self) -> Kind {
        match self {
            ChildError::Unreadable { .. } | ChildError::OtherBinary { .. } | ChildError::Start { .. } => Kind::Request,
            // What a process dies of is mostly the user's code; whether a retry helps is said beside the error.
            ChildError::Died { .. } => Kind::Job,
            ChildError::Elsewhere { .. } => Kind::Corrupt,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            ChildError::Unreadable { .. } | ChildError::OtherBinary { .. } => {
                Some("every worker must see the same binary at the same path".to_owned())
            }
            ChildError::Died { .. } => Some("the worker's log has what the program wrote to stderr".to_owned()),
            _ => None,
        }
    }
}
