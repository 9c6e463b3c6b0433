//! Statements that run on a cluster: handed in by a client, planned by a driver in a worker.
//!
//! In: a text, with the folder and the tables of who wrote it. Out: the answer, its rows pulled from the workers. Never: a file opened by
//! the client; the workers see the data.
//!
//! ```text
//!   client: Remote::query ──spec──► coordinator ──► worker: Statements::run ──plan──► coordinator ──► tasks
//!      ▲                                                                                               │
//!      └────────────────────── rows of the last stage, pulled from whoever holds them ◄───────────────┘
//! ```

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::answer::Answer;
use crate::{
    cluster::{
        drive::{
            self, Acted, Client, ClusterAddress, Done, Driver, Entry, WorkerOptions, binary::Shipped,
            child::ProgramSpec,
        },
        limits::LABEL_BYTES_MAX,
        protocol::{
            DriverStart, JobKind, JobOptions, JobProfile, JobUpdate, Request, StageCounters, StageProfile, Submission,
            WorkerProfile, stage_place, with_text,
        },
    },
    error::{Cause, Kind, Result, bug},
    observe::{ProfileReport, Report, StageReport, WastedReport, WorkerReport, WorkersCost},
    operator::Cancel,
    plan::{
        encode,
        explain::{self, StageNames, explain},
        logical::{Logical, Node},
        lower::lower,
        rewrite::rewrite,
    },
    scan::Table,
    shuffle::{JobId, digest::Digest},
    sink::Written,
    sql::{Catalog, Planned, plan},
};

/// A statement as it travels: opaque to the coordinator.
#[derive(Serialize, Deserialize)]
struct Spec {
    text: String,
    /// What relative paths are relative to.
    folder: String,
    /// Names given to paths.
    tables: Vec<(String, String)>,
    /// What now() says, in nanoseconds since 1970.
    start_unix_ns: u64,
    /// Attempts tell what their pipelines did. They do for an EXPLAIN ANALYZE, whatever is said here.
    is_profiled: bool,
    /// Bytes of a split, where the user has said it.
    bytes_per_split: Option<u64>,
}

/// What the driver gives back.
#[derive(Serialize, Deserialize)]
enum Given {
    /// Rows of these columns are to be pulled; the names of the plan's parts, if it was profiled.
    Rows { schema: Vec<u8>, names: Vec<StageNames> },
    /// Files: rows, bytes, how many, where.
    Files { rows: u64, bytes: u64, files: u64, path: String },
    /// Lines of a text.
    Lines { column: String, text: String },
    /// A statement was run to be looked at: the names of its plan's parts, and a last line.
    Analyzed { names: Vec<StageNames>, line: String },
}

/// What is told how a job goes.
type Seen = Box<dyn Fn(&JobUpdate) + Send + Sync>;

/// A session's cluster.
pub(super) struct Remote {
    client: Mutex<Client>,
    tables: Mutex<Vec<(String, String)>>,
    options: Mutex<JobOptions>,
    bytes_per_split: Mutex<Option<u64>>,
    seen: Mutex<Seen>,
}

impl Remote {
    pub(super) fn new(cluster: &ClusterAddress) -> Result<Remote> {
        let client = Client::connect(cluster)?;
        // Who starts a session wants to know now that nobody is there.
        client.ask(&Request::Cluster)?;
        Ok(Remote {
            client: Mutex::new(client),
            tables: Mutex::default(),
            options: Mutex::new(JobOptions { cancel_on_disconnect: true, ..JobOptions::default() }),
            bytes_per_split: Mutex::default(),
            seen: Mutex::new(Box::new(|_| {})),
        })
    }

    pub(super) fn register(&self, name: &str, path: &str) -> Result<()> {
        let path = std::path::absolute(path).map_err(|source| NoFolder { source })?;
        let mut tables = lock(&self.tables);
        tables.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        tables.push((name.to_owned(), path.to_string_lossy().into_owned()));
        Ok(())
    }

    pub(super) fn watch(&self, seen: Box<dyn Fn(&JobUpdate) + Send + Sync>) {
        *lock(&self.seen) = seen;
    }

    pub(super) fn set_task_bytes(&self, bytes: u64) {
        lock(&self.options).task_bytes = bytes.max(1);
    }

    pub(super) fn set_bytes_per_split(&self, bytes: u64) {
        *lock(&self.bytes_per_split) = Some(bytes);
    }

    /// Runs a statement on the cluster.
    pub(super) fn query(&self, text: &str, cancel: &Cancel, started: Instant) -> Result<Answer> {
        Ok(self.run(text, false, cancel, started)?.0)
    }

    /// Runs a statement on the cluster; its answer, and what its stages and the workers did.
    pub(super) fn query_profiled(
        &self,
        text: &str,
        cancel: &Cancel,
        started: Instant,
    ) -> Result<(Answer, ProfileReport)> {
        self.run(text, true, cancel, started)
    }

    fn run(&self, text: &str, is_profiled: bool, cancel: &Cancel, started: Instant) -> Result<(Answer, ProfileReport)> {
        cancel.check()?;
        let folder = std::env::current_dir().map_err(|source| NoFolder { source })?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let spec = Spec {
            text: text.to_owned(),
            folder: folder.to_string_lossy().into_owned(),
            tables: lock(&self.tables).clone(),
            start_unix_ns: since.as_nanos() as u64,
            is_profiled,
            bytes_per_split: *lock(&self.bytes_per_split),
        };
        let spec = postcard::to_allocvec(&spec).map_err(|source| NotASpec { what: "a statement", source })?;
        let job = JobId(drive::random());
        let client = lock(&self.client);
        client.submit(Submission {
            job,
            kind: JobKind::Sql,
            spec: spec.into(),
            label: label(text),
            submitted_unix_ms: since.as_millis() as u64,
            options: *lock(&self.options),
        })?;
        let seen = lock(&self.seen);
        let bytes_before = client.pulled_bytes();
        let done = client.watch(job, cancel, &*seen).map_err(|error| with_text(error, text))?;
        let value = done.value.as_deref().unwrap_or_default();
        let given: Given = postcard::from_bytes(value).map_err(|source| NotASpec { what: "an answer", source })?;
        let report = report(&done);
        match given {
            Given::Files { rows, bytes, files, path } => {
                let profile = if is_profiled { client.profile(job)? } else { JobProfile::default() };
                client.taken(job)?;
                let (files, digest) = (files as usize, Digest::default());
                let answer = Answer::of_written(&Written { path: path.into(), files, rows, bytes, digest }, started)?;
                Ok((Answer { report, ..answer }, shown(&[], &profile, started.elapsed())))
            }
            Given::Lines { column, text } => {
                client.taken(job)?;
                Ok((Answer::of_lines(&column, &text, started)?, ProfileReport::default()))
            }
            Given::Analyzed { names, line } => {
                let profile = shown(&names, &client.profile(job)?, started.elapsed());
                client.taken(job)?;
                let answer = Answer::of_lines("plan", &format!("{}{line}", profile.text()), started)?;
                Ok((Answer { report, ..answer }, profile))
            }
            Given::Rows { schema, names } => {
                let schema = encode::schema_from_bytes(&schema)?;
                // Before the rows are taken: then the job is forgotten.
                let profile = if is_profiled { Some(client.profile(job)?) } else { None };
                let batches = client.rows(done, &schema, cancel, &*seen)?;
                let rows_out = batches.iter().map(|batch| batch.num_rows() as u64).sum();
                let pulled_bytes = client.pulled_bytes() - bytes_before;
                let report = Report { rows_out, pulled_bytes, ..report };
                let profile = profile.map(|profile| shown(&names, &profile, started.elapsed()));
                let seconds = started.elapsed().as_secs_f64();
                Ok((Answer { schema, batches, report, seconds }, profile.unwrap_or_default()))
            }
        }
    }
}

/// What a job that is done has read and cost.
fn report(done: &JobUpdate) -> Report {
    let shuffled_bytes = done.progress.iter().map(|stage| stage.bytes).sum();
    let Some(cost) = done.cost else { return Report { shuffled_bytes, ..Report::default() } };
    Report {
        bytes_in: cost.bytes_in,
        rows_in: cost.rows_in,
        spilled_bytes: cost.bytes_spilled,
        shuffled_bytes,
        workers: Some(WorkersCost { cpu_micros: cost.cpu_micros, peak_bytes: cost.peak_bytes }),
        ..Report::default()
    }
}

/// A profile with the names of the plan's parts.
fn shown(names: &[StageNames], profile: &JobProfile, elapsed: Duration) -> ProfileReport {
    let seconds = |micros: u64| micros as f64 / 1e6;
    let stage = |stage: &StageProfile| {
        let (_, number) = stage_place(stage.stage);
        let unnamed = || StageNames { stage: format!("stage {number}"), steps: Vec::new() };
        let names = names.get(number).cloned().unwrap_or_else(unnamed);
        let mut pipelines = stage.counters.as_ref().map(StageCounters::reports).unwrap_or_default();
        explain::name(&names, &mut pipelines);
        pipelines.retain(|pipeline| !pipeline.name.is_empty());
        StageReport {
            name: names.stage,
            tasks: stage.tasks,
            attempts: stage.attempts,
            failed: stage.failed,
            lost: stage.lost,
            cancelled: stage.cancelled,
            rows_in: stage.rows_in,
            bytes_in: stage.bytes_in,
            rows_taken: stage.rows_taken,
            bytes_taken: stage.bytes_taken,
            pulled_bytes: stage.bytes_pulled,
            rows_out: stage.rows_out,
            bytes_out: stage.bytes_out,
            spilled_bytes: stage.bytes_spilled,
            task_seconds: stage.task_micros.map(seconds),
            wasted: WastedReport {
                rows: stage.wasted.rows_in,
                bytes: stage.wasted.bytes_in,
                seconds: seconds(stage.wasted.micros),
            },
            pipelines,
        }
    };
    let worker = |worker: &WorkerProfile| WorkerReport {
        name: worker.name.to_string(),
        tasks: worker.tasks,
        wasted: worker.wasted,
        cpu_seconds: seconds(worker.cpu_micros),
        sent_bytes: worker.bytes_sent,
        pulled_bytes: worker.bytes_pulled,
        spilled_bytes: worker.bytes_spilled,
        peak_bytes: worker.peak_bytes,
    };
    let threads = profile.stages.iter().filter_map(|stage| Some(stage.counters.as_ref()?.threads)).max();
    ProfileReport {
        seconds: elapsed.as_secs_f64(),
        threads: threads.unwrap_or_default() as usize * profile.workers.len(),
        pipelines: Vec::new(),
        stages: profile.stages.iter().map(stage).collect(),
        workers: profile.workers.iter().map(worker).collect(),
    }
}

/// Ships a program, hands it in, waits for its end; what it has printed.
pub(super) fn submit_program(
    address: &ClusterAddress,
    binary: &Shipped,
    spec: &ProgramSpec,
    label: &str,
    cancel: &Cancel,
    seen: &dyn Fn(&JobUpdate),
) -> Result<Vec<u8>> {
    let client = Client::connect(address)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let spec = postcard::to_allocvec(spec).map_err(|source| NotASpec { what: "a program", source })?;
    let job = JobId(drive::random());
    client.ship(binary)?;
    client.submit(Submission {
        job,
        kind: JobKind::Program,
        spec: spec.into(),
        label: self::label(label),
        submitted_unix_ms: since.as_millis() as u64,
        options: JobOptions { cancel_on_disconnect: true, ..JobOptions::default() },
    })?;
    let done = client.watch(job, cancel, seen)?;
    client.taken(job)?;
    Ok(done.value.as_deref().unwrap_or_default().to_vec())
}

/// The first words of a statement, for lists.
fn label(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut label = words.join(" ");
    if label.len() > LABEL_BYTES_MAX {
        let cut = (0..=LABEL_BYTES_MAX - 4).rev().find(|at| label.is_char_boundary(*at)).unwrap_or(0);
        label.truncate(cut);
        label.push('…');
    }
    label
}

/// The drivers of statements, as a worker runs them.
pub struct Statements;

impl Entry for Statements {
    fn run(&self, start: &DriverStart, driver: &Driver) -> Result<Done> {
        let spec: Spec =
            postcard::from_bytes(&start.spec).map_err(|source| NotASpec { what: "a statement", source })?;
        let mut catalog = Catalog::new();
        catalog.set_folder(&spec.folder);
        catalog.set_bytes_per_split(spec.bytes_per_split);
        for (name, path) in &spec.tables {
            catalog.insert(name, Table::open(path)?.in_splits_of(spec.bytes_per_split)?);
        }
        let begin = UNIX_EPOCH + Duration::from_nanos(spec.start_unix_ns);
        let (given, result) = match plan(&spec.text, &catalog, begin)? {
            Planned::Write(logical) => {
                let (_, written) = write(driver, logical, spec.is_profiled)?;
                let Written { path, files, rows, bytes, .. } = written;
                let (path, files) = (path.to_string_lossy().into_owned(), files as u64);
                (Given::Files { rows, bytes, files, path }, None)
            }
            Planned::Query(logical) => {
                let logical = rewrite(logical)?;
                let physical = lower(&logical, driver.nodes())?;
                let schema = encode::schema_to_bytes(&physical.output)?;
                let names = if spec.is_profiled { explain::names(&physical) } else { Vec::new() };
                let (action, acted) = driver.act(spec.is_profiled, || Ok(physical))?;
                match acted {
                    Acted::Rows(_) => (Given::Rows { schema, names }, Some(action)),
                    Acted::Written(_) => return Err(bug("dataset", "a query wrote files")),
                }
            }
            Planned::Explain(logical) => {
                let text = explain(&lower(&rewrite(logical)?, driver.nodes())?);
                (Given::Lines { column: "plan".to_owned(), text }, None)
            }
            Planned::ExplainAnalyze(logical) if matches!(logical.node, Node::Write { .. }) => {
                let begun = Instant::now();
                let (names, Written { rows, .. }) = write(driver, logical, true)?;
                let seconds = begun.elapsed().as_secs_f64();
                let line = format!("ran in {seconds:.3} s on {} workers: {rows} rows written", driver.nodes());
                (Given::Analyzed { names, line }, None)
            }
            Planned::ExplainAnalyze(logical) => {
                let physical = lower(&rewrite(logical)?, driver.nodes())?;
                let (names, begun) = (explain::names(&physical), Instant::now());
                let (action, _) = driver.act(true, || Ok(physical.clone()))?;
                let rows: usize = driver.rows(action, &physical.output)?.iter().map(|batch| batch.num_rows()).sum();
                let seconds = begun.elapsed().as_secs_f64();
                let line = format!("ran in {seconds:.3} s on {} workers: {rows} rows out", driver.nodes());
                (Given::Analyzed { names, line }, None)
            }
        };
        let value = postcard::to_allocvec(&given).map_err(|source| NotASpec { what: "an answer", source })?;
        Ok(Done { value, result })
    }
}

/// Runs a plan that writes files, and makes them visible; with the names of the plan's parts.
fn write(driver: &Driver, logical: Logical, is_profiled: bool) -> Result<(Vec<StageNames>, Written)> {
    let target = match &logical.node {
        Node::Write { target, .. } => target.clone(),
        _ => return Err(bug("dataset", "an output of a plan that writes none")),
    };
    let physical = lower(&rewrite(logical)?, driver.nodes())?;
    let names = explain::names(&physical);
    let (action, acted) = driver.act(is_profiled, || {
        driver.prepare(&target)?;
        Ok(physical)
    })?;
    match acted {
        Acted::Written(manifests) => Ok((names, driver.commit(action, &target, &manifests)?)),
        Acted::Rows(_) => Err(bug("dataset", "a plan that writes files gave rows")),
    }
}

/// Runs a worker of a cluster until it is told to go, or `stop` says so; `ready` is called once it can be reached.
pub fn run_worker(options: WorkerOptions, stop: Cancel, ready: impl FnOnce(SocketAddr)) -> Result<()> {
    drive::run_worker(options, Arc::new(Statements), stop, ready)
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, thiserror::Error)]
#[error("reading or writing {what} for the cluster")]
struct NotASpec {
    what: &'static str,
    source: postcard::Error,
}

impl Cause for NotASpec {
    fn kind(&self) -> Kind {
        Kind::Internal
    }
}

#[derive(Debug, thiserror::Error)]
#[error("finding out the folder that this program runs in")]
struct NoFolder {
    source: std::io::Error,
}

impl Cause for NoFolder {
    fn kind(&self) -> Kind {
        Kind::Request
    }
}
