//! A program's process: its entry waits at each action, and meanwhile its tasks run.
//!
//! In: the worker's messages; the entry's actions. Out: attempts, plans, results. Never: plans an action unless it is the driver; opens a
//! network socket.
//!
//! ```text
//!   the entry's thread      action k: named its closures ─► waits for the result of k ─► goes on to action k+1
//!   an order for action k   waits until the entry has reached k; brings the results of the actions before k along
//!   as driver               action k, not shipped: plan, ship; its outcome comes: pull the rows or commit the files: the result
//! ```

use std::{
    collections::{BTreeMap, VecDeque},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::wire::{self, ActionResult, FromChild, PlanEnvelope, PullAsk, PullPiece, Reader, ToChild, write};
use crate::{
    batch::{Batch, datatypes::SchemaRef},
    cluster::{
        drive::{
            driver::{PULL_AGAIN, lost_of, pull_rows},
            node::{Node, NodeParts},
            pull::{Fed, Feed, Fetch, PullRequest},
            skeleton::skeleton,
            task::{self, Attempt, Planned},
        },
        driver::{Begin, Driver},
        protocol::{
            ActionNumber, ActionOutcome, AttemptEnd, AttemptKey, AttemptProgress, Blob, Incarnation, Order,
            PROTOCOL_VERSION, RemoteError, TaskManifest, WorkerName, part_count, part_of, stage_place,
        },
    },
    error::{Cause, Error, Kind, Result, bug},
    observe::{Counted, Counters},
    operator::Cancel,
    plan::{closures::Closures, encode, physical::PhysicalPlan},
    scan::OpenedTables,
    settings::Settings,
    shuffle::{
        Codec, Epoch, FrameHeader, FrameLimits, JobId, Runs, Sequence, Spool, SpoolOptions, decode_frame, encode_frame,
    },
    sink::{Target, Written, commit_manifests, discard, prepare},
    store::Io,
};

/// What an action wants.
pub enum Want<'a> {
    /// Its rows.
    Rows(&'a SchemaRef),
    /// Its rows in files.
    Files(&'a Target),
}

/// The process of a program on a worker.
pub struct Program {
    node: Arc<Node>,
    job: JobId,
    /// One message at a time.
    control: Mutex<UnixStream>,
    state: Mutex<State>,
    bell: Condvar,
}

#[derive(Default)]
struct State {
    /// If this process is the driver.
    driver: Option<Driver>,
    results: BTreeMap<ActionNumber, ActionResult>,
    /// The plan of which parts have come.
    coming: Vec<u8>,
    /// One that cannot be read fails the attempts that it is for.
    plans: BTreeMap<ActionNumber, std::result::Result<Blob, postcard::Error>>,
    /// The action that the entry waits at, and the closures that it has named until there.
    reached: Option<(ActionNumber, Closures)>,
    next_action: u32,
    /// The entry has ended: no further closure comes.
    is_ended: bool,
    /// What starts processes of this program: it stands in the plans.
    spec: Blob,
    attempts: BTreeMap<AttemptKey, Arc<Attempt>>,
    /// The worker is gone.
    is_orphan: bool,
}

/// What the driver does next for an action.
enum Step {
    /// Plan it for so many nodes and ship it, with what was given since the last one that was shipped.
    Ship { nodes: usize, results: Vec<(ActionNumber, ActionResult)> },
    /// Take what it gave.
    Take { revision: u64, outcome: ActionOutcome },
    /// Nothing, until something is heard.
    Wait,
}

impl State {
    /// The next step for an action whose result is not known. `tried`: the revision whose rows could not be pulled, and when.
    fn step(&mut self, action: ActionNumber, tried: Option<(u64, Instant)>) -> Step {
        let Some(driver) = &mut self.driver else { return Step::Wait };
        match driver.begin(action) {
            Begin::Plan => {
                let since = driver.shipped_before(action).unwrap_or(ActionNumber(0));
                driver.shipped(action);
                let results = self.results.range(since..action).map(|(number, result)| (*number, result.clone()));
                let results = results.collect();
                Step::Ship { nodes: driver.nodes().max(1) as usize, results }
            }
            // It comes with the next action's plan.
            Begin::Replay => Step::Wait,
            Begin::Wait => match driver.outcome(action) {
                Some((revision, outcome))
                    if tried.is_none_or(|(known, at)| revision > known || at.elapsed() >= PULL_AGAIN) =>
                {
                    Step::Take { revision, outcome: outcome.clone() }
                }
                _ => Step::Wait,
            },
        }
    }

    /// Takes a plan, and what was given before it.
    fn learn(&mut self, action: ActionNumber, bytes: &[u8]) {
        let plan = postcard::from_bytes(bytes).map(|envelope| match envelope {
            PlanEnvelope::Program { results, plan, spec: _ } => {
                for (number, result) in results {
                    self.results.entry(number).or_insert(result);
                }
                plan
            }
            PlanEnvelope::Statement(plan) | PlanEnvelope::ProfiledStatement(plan) => plan,
        });
        self.plans.insert(action, plan);
    }

    /// Keeps an error as what the action gave: whoever replays this driver must see the same, and every action must have a result.
    fn fail(&mut self, action: ActionNumber, error: Error) -> Error {
        self.results.insert(action, ActionResult::Failed(RemoteError::from_error(&error, "")));
        error
    }
}

/// How often the process tells how far its attempts are.
const PROGRESS: Duration = Duration::from_millis(500);

impl Program {
    /// Says hello to the worker that listens at `socket`; the process's settings come with its answer.
    pub fn connect(socket: &Path) -> Result<(Arc<Program>, Settings)> {
        let failed = |source| ProgramError::Connect { socket: socket.to_owned(), source };
        let control = wire::connect(socket).map_err(failed)?;
        write(&control, &FromChild::Hello { version: PROTOCOL_VERSION })?;
        let mut reader = Reader::new(control.try_clone().map_err(failed)?);
        let Some(ToChild::Welcome {
            job,
            worker,
            threads,
            memory_bytes,
            revocable_bytes,
            spill_folders,
            rows_per_morsel,
            spool,
            spec,
        }) = reader.message()?
        else {
            return Err(ProgramError::NoWelcome.into());
        };
        let settings = Settings {
            threads: threads as usize,
            memory_bytes,
            revocable_bytes,
            spill_folders: spill_folders.into_iter().map(PathBuf::from).collect(),
            rows_per_morsel: rows_per_morsel as usize,
        };
        let io = Io::start()?;
        let options = SpoolOptions {
            folders: vec![PathBuf::from(spool)],
            codec: Codec::None,
            memory_bytes: memory_bytes / 4,
            job_bytes: u64::MAX,
            epoch: Epoch(std::process::id()),
        };
        let spool = Spool::open(options, &io)?;
        let fetch = Arc::new(ByWorker { socket: socket.to_owned() });
        let name = WorkerName::new(worker)?;
        let (settings_of_node, runs, counters) = (settings.clone(), Runs::of(&settings), Arc::default());
        let incarnation = Incarnation(0);
        let parts = NodeParts { name, incarnation, settings: settings_of_node, io, spool, runs, fetch, counters };
        let node = Node::start(parts)?;
        let state = Mutex::new(State { spec, ..State::default() });
        let program = Arc::new(Program { node, job, control: Mutex::new(control), state, bell: Condvar::new() });
        let (listening, reporting) = (Arc::clone(&program), Arc::clone(&program));
        let named = || thread::Builder::new().name("windrow-child".to_owned());
        named().spawn(move || listening.listen(reader)).map_err(failed)?;
        named().spawn(move || reporting.report_progress()).map_err(failed)?;
        Ok((program, settings))
    }

    /// Runs the next action: plans and ships it if this is the driver, waits for its result otherwise.
    pub fn act(
        self: &Arc<Program>,
        want: &Want<'_>,
        closures: Closures,
        lower: &dyn Fn(usize) -> Result<PhysicalPlan>,
        accepts: &dyn Fn(&Counted) -> Result<()>,
    ) -> Result<ActionResult> {
        let mut state = self.lock();
        let action = ActionNumber(state.next_action);
        state.next_action += 1;
        state.reached = Some((action, closures));
        self.bell.notify_all();
        let mut tried = None;
        loop {
            if let Some(result) = state.results.get(&action) {
                return Ok(result.clone());
            }
            if state.is_orphan {
                return Err(ProgramError::Orphan.into());
            }
            match state.step(action, tried) {
                Step::Ship { nodes, results } => {
                    let spec = state.spec.clone();
                    drop(state);
                    let shipped = self.ship(action, want, || lower(nodes), spec, results);
                    state = self.lock();
                    shipped.map_err(|error| state.fail(action, error))?;
                }
                Step::Take { revision, outcome } => {
                    drop(state);
                    let taken = self.result_of(action, want, outcome, accepts);
                    state = self.lock();
                    match taken.map_err(|error| state.fail(action, error))? {
                        Some(result) => drop(state.results.insert(action, result)),
                        // Its rows are made again, and are then news; or the way to them was broken for a moment.
                        None => tried = Some((revision, Instant::now())),
                    }
                }
                Step::Wait => {
                    state = match tried {
                        Some(_) => self.bell.wait_timeout(state, PULL_AGAIN).unwrap_or_else(PoisonError::into_inner).0,
                        None => self.bell.wait(state).unwrap_or_else(PoisonError::into_inner),
                    };
                }
            }
        }
    }

    /// The job that it is.
    pub fn job(&self) -> JobId {
        self.job
    }

    /// This process plans, and nobody else does.
    pub fn is_driver(&self) -> bool {
        self.lock().driver.is_some()
    }

    /// The entry has ended; as driver it says so, and the process may end too. Otherwise it waits until the worker ends it. Whether that was told.
    pub fn ended(&self, error: Option<&Error>) -> bool {
        let mut state = self.lock();
        state.is_ended = true;
        self.bell.notify_all();
        while state.driver.is_none() && !state.is_orphan {
            state = self.bell.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        let error = error.map(|error| RemoteError::from_error(error, ""));
        // Without a worker there is nobody to tell.
        self.tell(&FromChild::Finished { error }).is_ok()
    }

    fn ship(
        &self,
        action: ActionNumber,
        want: &Want<'_>,
        lower: impl FnOnce() -> Result<PhysicalPlan>,
        spec: Blob,
        results: Vec<(ActionNumber, ActionResult)>,
    ) -> Result<()> {
        if let Want::Files(target) = want {
            prepare(self.node.io.disk(), target)?;
        }
        let plan = lower()?;
        let mut skeleton = Some(skeleton(&plan)?);
        let bytes = PlanEnvelope::Program { spec, results, plan: encode::encode(&plan)?.into() }.to_bytes()?;
        let parts = part_count(bytes.len() as u64);
        for part in 0..parts {
            let bytes = part_of(&bytes, part).unwrap_or_default().into();
            self.tell(&FromChild::Shipped { action, skeleton: skeleton.take(), part, parts, bytes })?;
        }
        Ok(())
    }

    /// What an action gave; `None` when its rows were lost on the way and are made again.
    fn result_of(
        &self,
        action: ActionNumber,
        want: &Want<'_>,
        outcome: ActionOutcome,
        accepts: &dyn Fn(&Counted) -> Result<()>,
    ) -> Result<Option<ActionResult>> {
        match (outcome, want) {
            (ActionOutcome::Failed(error), Want::Files(target)) => {
                discard(self.node.io.disk(), target, self.job);
                Ok(Some(ActionResult::Failed(error)))
            }
            (ActionOutcome::Failed(error), _) => Ok(Some(ActionResult::Failed(error))),
            (ActionOutcome::Rows(sources, counted), Want::Rows(schema)) => match pull_rows(&self.node, sources, schema)
            {
                Ok(batches) => {
                    accepts(&counted)?;
                    rows_result(schema, &batches, counted).map(Some)
                }
                Err(error) => {
                    let Some(lost) = lost_of(&error) else { return Err(error) };
                    self.tell(&FromChild::Lost(lost))?;
                    Ok(None)
                }
            },
            (ActionOutcome::Written(tasks, counted), Want::Files(target)) => {
                accepts(&counted)?;
                let manifests: Vec<Vec<u8>> = tasks.iter().map(|task: &TaskManifest| task.manifest.to_vec()).collect();
                let Written { path, files, rows, bytes, digest } =
                    commit_manifests(self.node.io.disk(), target, (self.job, action.0), &manifests)?;
                let path = path.to_string_lossy().into_owned();
                let digest = (digest.rows, digest.sum, digest.xor);
                Ok(Some(ActionResult::Written { path, files: files as u64, rows, bytes, digest, counted }))
            }
            _ => Err(bug("cluster", "an action that ended otherwise than it was planned")),
        }
    }

    fn listen(self: Arc<Program>, mut reader: Reader) {
        while let Ok(Some(message)) = reader.message::<ToChild>() {
            self.hear(message);
        }
        self.lock().is_orphan = true;
        self.bell.notify_all();
        // Without its worker a task has nobody to work for, and a closure that never ends would stay for ever.
        std::process::exit(0);
    }

    fn hear(self: &Arc<Program>, message: ToChild) {
        let mut state = self.lock();
        match message {
            ToChild::Welcome { .. } => {}
            ToChild::Drive { driver, nodes, shipped } => {
                // Another start in the same process knows what this one has shipped: it is durable or shipped again.
                state.driver = Some(Driver::begun(driver, nodes, shipped));
            }
            ToChild::Plan { action, part, parts, bytes } => {
                state.coming.extend_from_slice(&bytes);
                if part + 1 == parts {
                    let bytes = std::mem::take(&mut state.coming);
                    state.learn(action, &bytes);
                }
            }
            ToChild::Run(order) => {
                let attempt = Arc::new(Attempt { cancel: Cancel::default(), counters: Arc::new(Counters::default()) });
                state.attempts.insert(order.key, Arc::clone(&attempt));
                let program = Arc::clone(self);
                let spawned =
                    thread::Builder::new().name("windrow-task".to_owned()).spawn(move || program.run(&order, &attempt));
                if spawned.is_err() {
                    // The worker buries the process and tries elsewhere.
                    std::process::exit(1);
                }
            }
            ToChild::Cancel(key) => {
                if let Some(attempt) = state.attempts.remove(&key) {
                    attempt.cancel.cancel();
                }
            }
            ToChild::Outcome { action, revision, outcome } => {
                if let Some(driver) = &mut state.driver {
                    driver.handle_outcome(action, revision, outcome);
                }
            }
        }
        self.bell.notify_all();
    }

    /// Runs an attempt and tells its end.
    fn run(&self, order: &Order, attempt: &Attempt) {
        let end = match self.plan_of(order) {
            Ok(plan) => {
                let planned = Planned { plan: &plan, is_profiled: false };
                task::run(&self.node, planned, order, attempt)
            }
            Err(error) => AttemptEnd::Failed(Box::new(task::failure(&self.node, &error))),
        };
        if self.lock().attempts.remove(&order.key).is_none() {
            self.node.spool.drop_attempt(&order.key);
            return;
        }
        let (end, files) = match self.node.spool.release(&order.key) {
            Ok(files) => (end, files.iter().map(|path| path.to_string_lossy().into_owned()).collect()),
            Err(error) => (AttemptEnd::Failed(Box::new(task::failure(&self.node, &error))), Vec::new()),
        };
        let _ = self.tell(&FromChild::Ended { key: order.key, end, files });
    }

    /// The plan of an order's action, with the closures of this process: once the entry has named them.
    fn plan_of(&self, order: &Order) -> Result<PhysicalPlan> {
        let (action, _) = stage_place(order.key.stage);
        let mut state = self.lock();
        let plan = state.plans.get(&action).ok_or_else(|| bug("cluster", "an order without its plan"))?;
        let plan = plan.clone().map_err(|source| ProgramError::Decode { source })?;
        let closures = loop {
            match &state.reached {
                Some((reached, closures)) if *reached >= action => break closures.clone(),
                _ if state.is_ended => return Err(ProgramError::Ended { action: action.0 }.into()),
                _ => state = self.bell.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        };
        drop(state);
        encode::decode(&plan, &closures, &OpenedTables::on_this_host())
    }

    fn report_progress(self: Arc<Program>) {
        let mut state = self.lock();
        while !state.is_orphan {
            let progress: Vec<_> = state
                .attempts
                .iter()
                .map(|(key, attempt)| {
                    let counted = attempt.counters.report();
                    (*key, AttemptProgress { rows: counted.rows_in, bytes: counted.bytes_in })
                })
                .collect();
            // Not under the lock: who reads what the worker says needs it, and the worker may wait for that before it hears us.
            drop(state);
            for (key, progress) in progress {
                let _ = self.tell(&FromChild::Progress { key, progress });
            }
            state = self.lock();
            state = self.bell.wait_timeout(state, PROGRESS).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Tells the worker.
    fn tell(&self, message: &FromChild) -> Result<()> {
        write(&self.control.lock().unwrap_or_else(PoisonError::into_inner), message)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rows as a result that travels: a frame a batch.
fn rows_result(schema: &SchemaRef, batches: &[Batch], counted: Counted) -> Result<ActionResult> {
    let mut frames = Vec::with_capacity(batches.len());
    for (number, batch) in batches.iter().enumerate() {
        let header = FrameHeader { sequence: Sequence(number as u64), ..FrameHeader::default() };
        let mut bytes = Vec::new();
        encode_frame(&header, batch, &mut bytes)?;
        frames.push(bytes.into());
    }
    Ok(ActionResult::Rows { schema: encode::schema_to_bytes(schema)?.into(), frames, counted })
}

/// The batches of a result.
pub fn batches_of(schema: &SchemaRef, frames: &[Blob]) -> Result<Vec<Batch>> {
    let batch = |frame: &Blob| Ok(decode_frame(frame.to_vec().into(), schema, &FrameLimits::default())?.1);
    frames.iter().map(batch).collect()
}

/// Asks the worker, which asks the nodes.
struct ByWorker {
    socket: PathBuf,
}

impl Fetch for ByWorker {
    fn ask(&self, address: &str, request: &PullRequest, window_bytes: usize) -> Result<Box<dyn Feed>> {
        let failed = |source| ProgramError::Connect { socket: self.socket.clone(), source };
        let stream = wire::connect(&self.socket).map_err(failed)?;
        let window_bytes = window_bytes as u64;
        write(&stream, &PullAsk { address: address.to_owned(), request: request.clone(), window_bytes })?;
        let shared = Arc::new(FeedShared::default());
        let reading = Arc::clone(&shared);
        let work = move || reading.read_all(Reader::new(stream));
        thread::Builder::new().name("windrow-pull".to_owned()).spawn(work).map_err(failed)?;
        Ok(Box::new(ChildFeed(shared)))
    }
}

/// Pieces that may wait to be taken: a thread reads them ahead.
const PIECES_AHEAD: usize = 8;

struct ChildFeed(Arc<FeedShared>);

#[derive(Default)]
struct FeedShared {
    state: Mutex<FeedState>,
    /// There is room again, or nobody takes any more.
    room: Condvar,
}

#[derive(Default)]
struct FeedState {
    pieces: VecDeque<Fed>,
    actions: Vec<Box<dyn FnOnce() + Send>>,
    is_dropped: bool,
    is_over: bool,
}

impl FeedShared {
    fn read_all(&self, mut reader: Reader) {
        loop {
            let (piece, is_last) = match reader.message::<PullPiece>() {
                Ok(Some(PullPiece::Bytes(bytes))) => (Fed::Bytes(Bytes::from(bytes)), false),
                Ok(Some(PullPiece::End)) => (Fed::End, true),
                Ok(Some(PullPiece::Failed { error, is_denied })) => {
                    (Fed::Failed { error: error.into_error(), is_denied }, true)
                }
                Ok(None) => (Fed::Failed { error: ProgramError::Orphan.into(), is_denied: false }, true),
                Err(error) => (Fed::Failed { error, is_denied: false }, true),
            };
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            while state.pieces.len() >= PIECES_AHEAD && !state.is_dropped {
                state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.pieces.push_back(piece);
            state.is_over = is_last;
            let actions = std::mem::take(&mut state.actions);
            let is_dropped = state.is_dropped;
            drop(state);
            actions.into_iter().for_each(|action| action());
            if is_last || is_dropped {
                return;
            }
        }
    }
}

impl Feed for ChildFeed {
    fn try_read(&mut self) -> Fed {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let piece = state.pieces.pop_front();
        self.0.room.notify_all();
        piece.unwrap_or(if state.is_over { Fed::End } else { Fed::Pending })
    }

    fn when_ready(&self, action: Box<dyn FnOnce() + Send>) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.pieces.is_empty() && !state.is_over {
            state.actions.push(action);
        } else {
            drop(state);
            action();
        }
    }
}

impl Drop for ChildFeed {
    fn drop(&mut self) {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).is_dropped = true;
        self.0.room.notify_all();
    }
}

#[derive(Debug, thiserror::Error)]
enum ProgramError {
    #[error("reaching the worker that started this program at {}", socket.display())]
    Connect { socket: PathBuf, source: std::io::Error },
    #[error("starting under a worker: it did not answer")]
    NoWelcome,
    #[error("running under a worker: it is gone")]
    Orphan,
    #[error("running action {action} of the program: its entry ended here before it")]
    Ended { action: u32 },
    #[error("reading a plan of the cluster")]
    Decode { source: postcard::Error },
}

impl Cause for ProgramError {
    fn kind(&self) -> Kind {
        match self {
            ProgramError::Connect { .. } | ProgramError::NoWelcome | ProgramError::Orphan => Kind::Io,
            ProgramError::Ended { .. } => Kind::Job,
            ProgramError::Decode { .. } => Kind::Corrupt,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            ProgramError::Ended { .. } => Some("a program's entry must do the same each time it runs".to_owned()),
            _ => None,
        }
    }
}
