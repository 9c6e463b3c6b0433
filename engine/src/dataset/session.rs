//! Where flows run: a session holds the threads, the memory, the tables.
//!
//! In: settings, then statements and datasets. Out: answers. Never: keeps a result; each query plans and runs afresh.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Instant, SystemTime},
};

use super::{answer::Answer, error::DatasetError, remote::Remote, source::scan};
use crate::{
    batch::datatypes::SchemaRef,
    cluster::{
        drive::{
            ClusterAddress,
            child::{ActionResult, Program, Want, batches_of},
        },
        protocol::JobUpdate,
    },
    error::{Result, bug},
    format::FileFormat,
    memory::Governor,
    observe::{Counted, Counter, Counters, ProfileReport, Report},
    operator::{Cancel, JobContext, share::Cached},
    plan::{
        closures::{Closure, Closures},
        encode,
        explain::{self, explain},
        logical::{Logical, Node, Scan},
        lower::{lower, lower_to_cache},
        physical::PhysicalPlan,
        rewrite::rewrite,
    },
    scan::{Table, check_split_bytes},
    schedule::{self, Threads},
    settings::Settings,
    shuffle::{Digest, Runs},
    sink::{self, IfExists, Target, Written},
    sql::{Catalog, Planned, plan},
    store::Io,
};

/// Threads, memory and tables. Cheap to clone; all clones are the same session.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    settings: Arc<Settings>,
    // Before the I/O threads: a job's last reads are asked for by these.
    threads: Threads,
    io: Arc<Io>,
    governor: Arc<Governor>,
    runs: Arc<Runs>,
    catalog: Mutex<Catalog>,
    cancel: Cancel,
    verifies: AtomicBool,
    /// Bytes of a split; 0 where nobody has said it.
    bytes_per_split: AtomicU64,
    closures: AtomicU32,
    /// How often the program has cached rows.
    caches: AtomicU32,
    /// The folders in which a program on a cluster has cached rows.
    cache_folders: Mutex<Vec<PathBuf>>,
    /// Where it runs, when not here.
    away: Option<Away>,
    /// The closures that the program has named so far.
    named: Mutex<Closures>,
    /// What the closures of its actions have counted so far, by name.
    counted: Mutex<BTreeMap<String, i64>>,
    /// Bytes that its actions have spilled so far.
    spilled_bytes: AtomicU64,
}

/// Where a session's work is done, when not by its own threads.
enum Away {
    /// Statements are handed in to a cluster.
    Cluster(Box<Remote>),
    /// The program runs under a worker: its actions are the cluster's.
    Program(Arc<Program>),
}

/// A job that has ended in this process.
struct Ended {
    ran: Ran,
    profile: Option<ProfileReport>,
    counted: Counted,
}

/// What a job's run gives.
pub(crate) enum Ran {
    Collected(Answer),
    Written(Written, Report),
    Cached(Arc<Cached>, Report),
}

impl Ran {
    /// The rows, or what was written, as a row.
    fn shown(self, started: Instant) -> Result<Answer> {
        match self {
            Ran::Collected(answer) => Ok(answer),
            Ran::Written(written, report) => Ok(Answer { report, ..Answer::of_written(&written, started)? }),
            Ran::Cached(rows, _) => Err(bug("dataset", format!("a statement left {rows:?}"))),
        }
    }

    pub(crate) fn collected(self) -> Result<Answer> {
        match self {
            Ran::Collected(answer) => Ok(answer),
            Ran::Written(written, _) => Err(bug("dataset", format!("a query wrote {written:?}"))),
            Ran::Cached(rows, _) => Err(bug("dataset", format!("a query left {rows:?}"))),
        }
    }
}

impl Session {
    /// Starts the session's threads.
    pub fn new(settings: Settings) -> Result<Session> {
        Session::start(settings, None)
    }

    /// A session whose statements run on a cluster, on the files that its workers see. Its own threads only put answers together.
    pub fn connect(cluster: &ClusterAddress, settings: Settings) -> Result<Session> {
        let remote = Remote::new(cluster)?;
        Session::start(settings, Some(Away::Cluster(Box::new(remote))))
    }

    /// The session of a program that runs under a worker of a cluster.
    pub(super) fn under_worker(program: Arc<Program>, settings: Settings) -> Result<Session> {
        Session::start(settings, Some(Away::Program(program)))
    }

    fn start(settings: Settings, away: Option<Away>) -> Result<Session> {
        let settings = settings.checked()?;
        Ok(Session(Arc::new(Inner {
            threads: Threads::start(settings.threads)?,
            io: Io::start()?,
            governor: Governor::of(&settings),
            runs: Runs::of(&settings),
            catalog: Mutex::default(),
            cancel: Cancel::default(),
            verifies: AtomicBool::new(false),
            bytes_per_split: AtomicU64::new(0),
            closures: AtomicU32::new(0),
            caches: AtomicU32::new(0),
            cache_folders: Mutex::default(),
            away,
            named: Mutex::default(),
            counted: Mutex::default(),
            spilled_bytes: AtomicU64::default(),
            settings: Arc::new(settings),
        })))
    }

    /// Gives the name `name` to the file, the folder or the pattern `path`. A name that is known gets the new meaning.
    pub fn register(&self, name: &str, path: &str) -> Result<()> {
        if let Some(Away::Cluster(remote)) = &self.0.away {
            return remote.register(name, path);
        }
        let table = Table::open(path)?.in_splits_of(self.split_bytes())?;
        self.register_table(name, table);
        Ok(())
    }

    /// Gives the name `name` to a table.
    pub(crate) fn register_table(&self, name: &str, table: Arc<Table>) {
        self.0.catalog.lock().unwrap_or_else(PoisonError::into_inner).insert(name, table);
    }

    /// Runs one SQL statement and collects its answer.
    pub fn query(&self, text: &str) -> Result<Answer> {
        let started = Instant::now();
        if let Some(Away::Cluster(remote)) = &self.0.away {
            return remote.query(text, &self.0.cancel, started);
        }
        match self.plan_sql(text)? {
            Planned::Query(logical) => self.collect(logical, started),
            Planned::Write(logical) => self.run(logical, started)?.shown(started),
            Planned::Explain(logical) => Answer::of_lines("plan", &self.explain(logical)?, started),
            Planned::ExplainAnalyze(logical) => {
                let (plan, ran) = if self.0.away.is_some() {
                    (self.explain(logical.clone())?, self.run(logical, started)?)
                } else {
                    let (ran, profile) = self.run_profiled(logical, started, true)?;
                    (profile.unwrap_or_default().text(), ran)
                };
                let (report, rows, seconds) = match ran {
                    Ran::Collected(answer) => (answer.report, answer.rows(), answer.seconds),
                    Ran::Written(written, report) => (report, written.rows as usize, started.elapsed().as_secs_f64()),
                    Ran::Cached(rows, report) => (report, rows.rows() as usize, started.elapsed().as_secs_f64()),
                };
                let ran = format!(
                    "{plan}ran in {seconds:.3} s: {rows} rows out, {} rows and {} bytes in, at most {} bytes held",
                    report.rows_in,
                    report.bytes_in,
                    self.peak_bytes()
                );
                Answer::of_lines("plan", &ran, started)
            }
        }
    }

    /// Runs one SQL statement and collects its answer and what each step did for it; on a cluster summed over the tasks of each stage.
    pub fn query_profiled(&self, text: &str) -> Result<(Answer, ProfileReport)> {
        let started = Instant::now();
        match &self.0.away {
            Some(Away::Cluster(remote)) => return remote.query_profiled(text, &self.0.cancel, started),
            Some(Away::Program(_)) => return Err(DatasetError::ProfileAway.into()),
            None => {}
        }
        match self.plan_sql(text)? {
            Planned::Query(logical) | Planned::Write(logical) => {
                let (ran, profile) = self.run_profiled(logical, started, true)?;
                Ok((ran.shown(started)?, profile.unwrap_or_default()))
            }
            _ => Ok((self.query(text)?, ProfileReport::default())),
        }
    }

    /// Runs a plan that writes nothing.
    pub(super) fn collect(&self, logical: Logical, started: Instant) -> Result<Answer> {
        self.run(logical, started)?.collected()
    }

    /// Plans one SQL statement over the session's tables.
    pub(crate) fn plan_sql(&self, text: &str) -> Result<Planned> {
        let mut catalog = self.0.catalog.lock().unwrap_or_else(PoisonError::into_inner).clone();
        catalog.set_bytes_per_split(self.split_bytes());
        plan(text, &catalog, SystemTime::now())
    }

    /// Runs a plan.
    pub(super) fn run(&self, logical: Logical, started: Instant) -> Result<Ran> {
        Ok(self.run_counted(logical, started, &|_| Ok(()))?.0)
    }

    /// Runs a plan and says what its closures have counted; what is written becomes visible if `accepts` takes that.
    pub(crate) fn run_counted(
        &self,
        logical: Logical,
        started: Instant,
        accepts: &dyn Fn(&Counted) -> Result<()>,
    ) -> Result<(Ran, Counted)> {
        match &self.0.away {
            Some(Away::Cluster(_)) => Err(DatasetError::FlowOnCluster.into()),
            Some(Away::Program(program)) => self.run_under_worker(program, logical, started, accepts),
            None => {
                let Ended { ran, counted, .. } = self.run_here(logical, started, false, accepts)?;
                Ok((ran, counted))
            }
        }
    }

    /// Runs a plan in this process, and records what its steps do if `is_profiled`.
    fn run_profiled(
        &self,
        logical: Logical,
        started: Instant,
        is_profiled: bool,
    ) -> Result<(Ran, Option<ProfileReport>)> {
        let Ended { ran, profile, .. } = self.run_here(logical, started, is_profiled, &|_| Ok(()))?;
        Ok((ran, profile))
    }

    /// Runs a plan in this process; what its steps did.
    pub(super) fn profile(&self, logical: Logical) -> Result<ProfileReport> {
        if !self.is_here() {
            return Err(DatasetError::ProfileAway.into());
        }
        Ok(self.run_profiled(logical, Instant::now(), true)?.1.unwrap_or_default())
    }

    fn run_here(
        &self,
        logical: Logical,
        started: Instant,
        is_profiled: bool,
        accepts: &dyn Fn(&Counted) -> Result<()>,
    ) -> Result<Ended> {
        self.run_lowered(&lower(&rewrite(logical)?, 1)?, started, is_profiled, accepts)
    }

    /// The rows of the table at `path`, every column in the form in which it is decoded with the least work: what a shuffle of it moves. Decimals
    /// of few digits in 64 bits, text as codes into the dictionaries of its files where these are short.
    pub fn read_decoded(&self, path: &str) -> Result<Answer> {
        if self.0.away.is_some() {
            return Err(DatasetError::FlowOnCluster.into());
        }
        let table = Table::open(path)?;
        let columns: Vec<usize> = (0..table.schema().fields().len()).collect();
        let codes: Vec<usize> = columns.iter().copied().filter(|column| table.has_codes(*column)).collect();
        let table = if codes.is_empty() { table } else { table.with_codes(&codes)? };
        let schema = SchemaRef::clone(table.decoded_schema());
        let node = Node::Scan(Scan { table, columns, filters: Vec::new() });
        self.run_lowered(&lower(&Logical { node, schema }, 1)?, Instant::now(), false, &|_| Ok(()))?.ran.collected()
    }

    /// Runs a physical plan in this process.
    fn run_lowered(
        &self,
        physical: &PhysicalPlan,
        started: Instant,
        is_profiled: bool,
        accepts: &dyn Fn(&Counted) -> Result<()>,
    ) -> Result<Ended> {
        let inner = &*self.0;
        let counters = Arc::new(Counters::default());
        let context = JobContext {
            settings: Arc::clone(&inner.settings),
            governor: Arc::clone(&inner.governor),
            runs: Arc::clone(&inner.runs),
            cancel: inner.cancel.clone(),
            counters: Arc::clone(&counters),
            holding: None,
        };
        let running = schedule::build(physical, is_profiled, &inner.io, &context)?;
        schedule::run(&inner.threads, &context, running.graph)?;
        inner.spilled_bytes.fetch_add(counters.report().spilled_bytes, Relaxed);
        let profile = running.profile.map(|profile| {
            let mut report = profile.report();
            if let Some(names) = explain::names(physical).first() {
                explain::name(names, &mut report.pipelines);
            }
            report
        });
        let counted = counters.counted();
        accepts(&counted)?;
        let written = running.writing.map(|writing| writing.commit()).transpose()?;
        self.add_counted(&counted);
        if let Some(written) = written {
            return Ok(Ended { ran: Ran::Written(written, counters.report()), profile, counted });
        }
        if let Some(cache) = running.cache {
            return Ok(Ended { ran: Ran::Cached(cache.taken(), counters.report()), profile, counted });
        }
        let batches = running.collect.map(|collect| collect.take()).unwrap_or_default();
        let seconds = started.elapsed().as_secs_f64();
        let schema = SchemaRef::clone(&physical.output);
        let ran = Ran::Collected(Answer { schema, batches, report: counters.report(), seconds });
        Ok(Ended { ran, profile, counted })
    }

    /// Runs a plan now; what gives its rows from then on without running it.
    pub(super) fn cache(&self, logical: Logical) -> Result<Logical> {
        let schema = SchemaRef::clone(&logical.schema);
        match &self.0.away {
            Some(Away::Cluster(_)) => Err(DatasetError::FlowOnCluster.into()),
            Some(Away::Program(program)) => {
                let number = self.0.caches.fetch_add(1, Relaxed);
                let folder = PathBuf::from(format!(".windrow-cache-{}-{number}", program.job()));
                let target = Target::new(folder, FileFormat::Arrow);
                let (ran, _) = self.run_under_worker(program, logical.written(target), Instant::now(), &|_| Ok(()))?;
                let Ran::Written(written, _) = ran else { return Err(bug("dataset", "a written flow gave rows")) };
                let path = written.path.to_string_lossy().into_owned();
                self.0.cache_folders.lock().unwrap_or_else(PoisonError::into_inner).push(written.path);
                match written.rows {
                    0 => Ok(Logical::nothing(schema)),
                    _ => Ok(scan(Table::open(&path)?).with_types(schema)),
                }
            }
            None => {
                let physical = lower_to_cache(&rewrite(logical)?)?;
                match self.run_lowered(&physical, Instant::now(), false, &|_| Ok(()))?.ran {
                    Ran::Cached(rows, _) => Ok(Logical { node: Node::Cached(rows), schema }),
                    _ => Err(bug("dataset", "rows that were to be kept were not")),
                }
            }
        }
    }

    /// The rows that are kept at `path`; made and kept there now if they are not.
    pub(super) fn checkpoint(&self, logical: Logical, path: PathBuf) -> Result<Logical> {
        let schema = SchemaRef::clone(&logical.schema);
        let target = Target { if_exists: IfExists::Overwrite, ..Target::new(path, FileFormat::Arrow) };
        let target = target.absolute()?.of_columns(&schema);
        let path = target.path.to_string_lossy().into_owned();
        let rows = match self.kept(&target)? {
            Some(rows) => rows,
            None => match self.run(logical.written(target), Instant::now())? {
                Ran::Written(written, _) => written.rows,
                _ => return Err(bug("dataset", "a written flow gave rows")),
            },
        };
        match rows {
            0 => Ok(Logical::nothing(schema)),
            _ => Ok(scan(Table::open(&path)?).with_types(schema)),
        }
    }

    /// How many rows are kept there; none if it is to be written. On a cluster the driver looks, and tells it as an action's answer: what each
    /// process of the program does next must not hang on when it looked.
    fn kept(&self, target: &Target) -> Result<Option<u64>> {
        let looked = || sink::kept(self.0.io.disk(), target);
        let program = match &self.0.away {
            Some(Away::Cluster(_)) => return Err(DatasetError::FlowOnCluster.into()),
            Some(Away::Program(program)) => program,
            None => return looked(),
        };
        // As a row, which is negative where nothing is kept.
        let told = |rows: Option<u64>| -> Result<Logical> {
            let rows = rows.and_then(|rows| i64::try_from(rows).ok()).unwrap_or(-1);
            Ok(self.from_vec(vec![rows])?.logical().clone())
        };
        let schema = SchemaRef::clone(&told(None)?.schema);
        let plan = |nodes: usize| lower(&rewrite(told(looked()?)?)?, nodes);
        let (ran, _) = self.act_under_worker(program, &schema, None, &plan, Instant::now(), &|_| Ok(()))?;
        Ok(ran.collected()?.records::<i64>()?.first().and_then(|rows| u64::try_from(*rows).ok()))
    }

    /// Removes what a program on a cluster has cached; called by its driver when all actions are done.
    pub(super) fn remove_cached(&self) {
        for folder in self.0.cache_folders.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // What stays is told by its name; the job has its results.
            let _ = std::fs::remove_dir_all(folder);
        }
    }

    /// Runs a plan as an action of the program under its worker.
    fn run_under_worker(
        &self,
        program: &Arc<Program>,
        logical: Logical,
        started: Instant,
        accepts: &dyn Fn(&Counted) -> Result<()>,
    ) -> Result<(Ran, Counted)> {
        let target = match &logical.node {
            Node::Write { target, .. } => Some(target.clone().absolute()?),
            _ => None,
        };
        let plan = |nodes: usize| lower(&rewrite(logical.clone())?, nodes);
        self.act_under_worker(program, &logical.schema, target, &plan, started, accepts)
    }

    /// Runs what `plan` gives as an action of the program under its worker: rows of this schema, or files.
    fn act_under_worker(
        &self,
        program: &Arc<Program>,
        schema: &SchemaRef,
        target: Option<Target>,
        plan: &dyn Fn(usize) -> Result<PhysicalPlan>,
        started: Instant,
        accepts: &dyn Fn(&Counted) -> Result<()>,
    ) -> Result<(Ran, Counted)> {
        let closures = self.0.named.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let want = target.as_ref().map_or(Want::Rows(schema), Want::Files);
        match program.act(&want, closures, plan, accepts)? {
            ActionResult::Failed(error) => Err(error.into_error()),
            ActionResult::Written { path, files, rows, bytes, digest: (digest_rows, sum, xor), counted } => {
                self.add_counted(&counted);
                let digest = Digest { rows: digest_rows, sum, xor };
                let written = Written { path: path.into(), files: files as usize, rows, bytes, digest };
                Ok((Ran::Written(written, Report { rows_out: rows, ..Report::default() }), counted))
            }
            ActionResult::Rows { schema, frames, counted } => {
                self.add_counted(&counted);
                let schema = encode::schema_from_bytes(&schema)?;
                let batches = batches_of(&schema, &frames)?;
                let rows_out = batches.iter().map(|batch| batch.num_rows() as u64).sum();
                let report = Report { rows_out, ..Report::default() };
                let seconds = started.elapsed().as_secs_f64();
                Ok((Ran::Collected(Answer { schema, batches, report, seconds }), counted))
            }
        }
    }

    /// How a plan would run, as text.
    pub(super) fn explain(&self, logical: Logical) -> Result<String> {
        Ok(explain(&lower(&rewrite(logical)?, 1)?))
    }

    /// Tells `seen` how each statement goes on the cluster, whenever that changes.
    pub fn watch(&self, seen: impl Fn(&JobUpdate) + Send + Sync + 'static) {
        if let Some(Away::Cluster(remote)) = &self.0.away {
            remote.watch(Box::new(seen));
        }
    }

    /// What a task of a statement on the cluster should read, in bytes.
    pub fn set_task_bytes(&self, bytes: u64) {
        if let Some(Away::Cluster(remote)) = &self.0.away {
            remote.set_task_bytes(bytes);
        }
    }

    /// Files of text, CSV, JSON and records of one length that are named from now on are read in splits of about so many bytes: what a thread reads at
    /// once, what a mapper of [`mapreduce`](crate::mapreduce) sees in one life. A record belongs to the split in which it starts; what a query gives
    /// does not depend on it. Row groups of Parquet stay what they are.
    pub fn set_split_bytes(&self, bytes: u64) -> Result<()> {
        check_split_bytes(bytes)?;
        self.0.bytes_per_split.store(bytes, Relaxed);
        if let Some(Away::Cluster(remote)) = &self.0.away {
            remote.set_bytes_per_split(bytes);
        }
        Ok(())
    }

    /// Bytes of a split, where somebody has said it.
    pub fn split_bytes(&self) -> Option<u64> {
        Some(self.0.bytes_per_split.load(Relaxed)).filter(|bytes| *bytes > 0)
    }

    /// Stops what runs, at the next morsel; what is asked of this session later fails too.
    pub fn cancel(&self) -> Cancel {
        self.0.cancel.clone()
    }

    /// Removes what its jobs keep on disk for want of memory, from under them: only for a process that ends without waiting for them.
    pub fn abandon_spilled(&self) {
        self.0.runs.abandon();
    }

    /// Flows that are written from now on ask closures that put rows together for what they promise: that it does not matter which come together.
    /// That takes twice the time, and the error says what differed.
    pub fn set_verifies(&self, verifies: bool) {
        self.0.verifies.store(verifies, Relaxed);
    }

    pub(super) fn verifies(&self) -> bool {
        self.0.verifies.load(Relaxed)
    }

    /// A counter, which the session's closures add to, wherever they run:
    ///
    /// ```no_run
    /// # fn main() -> windrow::Result<()> {
    /// # let session = windrow::Session::new(windrow::Settings::default())?;
    /// # let lines = session.from_vec(vec!["7".to_owned(), "seven".to_owned()])?;
    /// let bad = session.counter("bad lines");
    /// let numbers = lines.map(move |line| {
    ///     line.parse::<i64>().unwrap_or_else(|_| {
    ///         bad.add(1);
    ///         0
    ///     })
    /// });
    /// assert_eq!(numbers.collect()?.len(), 2);
    /// assert_eq!(session.counters()["bad lines"], 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A try at a task that fails, is lost or is one of two counts nothing: on a cluster the counts are those of the tries whose rows count. A flow
    /// that runs twice counts twice, and where a `limit` ends a flow early, how many more rows a closure has seen is not said.
    pub fn counter(&self, name: &str) -> Counter {
        Counter::new(name)
    }

    /// What the counters have come to in all actions that have ended well.
    pub fn counters(&self) -> BTreeMap<String, i64> {
        self.0.counted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Bytes that the operators of all its actions have written to disk for want of memory; on a cluster the workers tell it of each job.
    pub fn spilled_bytes(&self) -> u64 {
        self.0.spilled_bytes.load(Relaxed)
    }

    fn add_counted(&self, counted: &Counted) {
        let mut all = self.0.counted.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, by) in &counted.counters {
            let sum = all.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*by);
        }
    }

    /// Most bytes that operators held at once.
    pub fn peak_bytes(&self) -> u64 {
        self.0.governor.peak_bytes()
    }

    /// What it runs, it runs in this process.
    pub(crate) fn is_here(&self) -> bool {
        self.0.away.is_none()
    }

    /// What it was started with.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The number of the next closure that the program names.
    pub(super) fn next_closure(&self) -> u32 {
        self.0.closures.fetch_add(1, Relaxed)
    }

    /// Keeps a closure that the program has named: under a worker, plans refer to it by its number.
    pub(super) fn name_closure(&self, closure: &Closure) {
        if self.0.away.is_some() {
            self.0.named.lock().unwrap_or_else(PoisonError::into_inner).insert(closure.clone());
        }
    }
}
