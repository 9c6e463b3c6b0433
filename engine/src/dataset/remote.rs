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
        drive::{self, Acted, Client, ClusterAddress, Done, Driver, Entry, WorkerOptions, child::ProgramSpec},
        limits::LABEL_BYTES_MAX,
        protocol::{DriverStart, JobKind, JobOptions, JobUpdate, Request, Submission, with_text},
    },
    error::{Cause, Kind, Result},
    observe::Report,
    operator::Cancel,
    plan::{encode, explain::explain, lower::lower, rewrite::rewrite},
    scan::Table,
    shuffle::JobId,
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
}

/// What the driver gives back.
#[derive(Serialize, Deserialize)]
enum Given {
    /// Rows of these columns are to be pulled.
    Rows { schema: Vec<u8> },
    /// Lines of a text.
    Lines { column: String, text: String },
}

/// What is told how a job goes.
type Seen = Box<dyn Fn(&JobUpdate) + Send + Sync>;

/// A session's cluster.
pub(super) struct Remote {
    client: Mutex<Client>,
    tables: Mutex<Vec<(String, String)>>,
    options: Mutex<JobOptions>,
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

    /// Runs a statement on the cluster.
    pub(super) fn query(&self, text: &str, cancel: &Cancel, started: Instant) -> Result<Answer> {
        cancel.check()?;
        let folder = std::env::current_dir().map_err(|source| NoFolder { source })?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let spec = Spec {
            text: text.to_owned(),
            folder: folder.to_string_lossy().into_owned(),
            tables: lock(&self.tables).clone(),
            start_unix_ns: since.as_nanos() as u64,
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
        match given {
            Given::Lines { column, text } => {
                client.taken(job)?;
                Answer::of_lines(&column, &text, started)
            }
            Given::Rows { schema } => {
                let schema = encode::schema_from_bytes(&schema)?;
                let shuffled_bytes = done.progress.iter().map(|stage| stage.bytes).sum::<u64>();
                let rows_in = done.progress.iter().map(|stage| stage.rows).sum();
                let batches = client.rows(done, &schema, cancel, &*seen)?;
                let rows_out = batches.iter().map(|batch| batch.num_rows() as u64).sum();
                let bytes_in = client.pulled_bytes() - bytes_before;
                let report = Report { bytes_in, rows_in, rows_out, spilled_bytes: 0, shuffled_bytes };
                Ok(Answer { schema, batches, report, seconds: started.elapsed().as_secs_f64() })
            }
        }
    }
}

/// Hands a program in, waits for its end; what it has printed.
pub(super) fn submit_program(
    address: &ClusterAddress,
    spec: &ProgramSpec,
    label: &str,
    cancel: &Cancel,
    seen: &dyn Fn(&JobUpdate),
) -> Result<Vec<u8>> {
    let client = Client::connect(address)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let spec = postcard::to_allocvec(spec).map_err(|source| NotASpec { what: "a program", source })?;
    let job = JobId(drive::random());
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
        for (name, path) in &spec.tables {
            catalog.insert(name, Table::open(path)?);
        }
        let begin = UNIX_EPOCH + Duration::from_nanos(spec.start_unix_ns);
        let (given, result) = match plan(&spec.text, &catalog, begin)? {
            Planned::Query(logical) => {
                let logical = rewrite(logical)?;
                let physical = lower(&logical, driver.nodes())?;
                let schema = encode::schema_to_bytes(&physical.output)?;
                let (action, acted) = driver.act(|| Ok(physical))?;
                match acted {
                    Acted::Rows(_) => (Given::Rows { schema }, Some(action)),
                    Acted::Written(_) => return Err(crate::error::bug("dataset", "a statement wrote files")),
                }
            }
            Planned::Explain(logical) => {
                let text = explain(&lower(&rewrite(logical)?, driver.nodes())?);
                (Given::Lines { column: "plan".to_owned(), text }, None)
            }
            Planned::ExplainAnalyze(logical) => {
                let physical = lower(&rewrite(logical)?, driver.nodes())?;
                let (text, begun) = (explain(&physical), Instant::now());
                let (action, _) = driver.act(|| Ok(physical.clone()))?;
                let rows: usize = driver.rows(action, &physical.output)?.iter().map(|batch| batch.num_rows()).sum();
                let seconds = begun.elapsed().as_secs_f64();
                let text = format!("{text}ran in {seconds:.3} s on {} workers: {rows} rows out", driver.nodes());
                (Given::Lines { column: "plan".to_owned(), text }, None)
            }
        };
        let value = postcard::to_allocvec(&given).map_err(|source| NotASpec { what: "an answer", source })?;
        Ok(Done { value, result })
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
