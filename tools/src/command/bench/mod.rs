//! `windrow bench`: workloads, measured.
//!
//! In: which workload, over which input. Out: a line a run, and with `--results` each query's answer as CSV. Never: data made for the run
//! left behind.

mod dbbench; // bench dbbench
mod net; // bench net
mod shuffle; // bench shuffle
mod workload; // bench wordcount, bench terasort and the others

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process,
};

use windrow::{Answer, Session};
use windrow_bench::{Measurement, Nodes, Tpch, TpchRun, best_seconds, table};

use super::{
    cluster::{ClusterName, Contact},
    generate,
    sql::{Format, render},
};
use crate::{
    error::{CommandError, Failure},
    progress::Progress,
    scratch::Scratch,
    settings::{EngineFlags, SplitFlag},
    signal::Signals,
    size, terminal,
};

/// Measure TPC-H, the db-benchmark, the workloads of Hadoop's users, the network or the shuffle
#[derive(clap::Args)]
pub struct Bench {
    #[command(subcommand)]
    workload: Workload,
}

#[derive(clap::Subcommand)]
enum Workload {
    Tpch(TpchBench),
    Dbbench(dbbench::DbBenchCommand),
    /// How often each word of a text stands in it, by the Rust API, written as Parquet
    #[command(after_help = WORKLOAD_EXAMPLES)]
    Wordcount(workload::WorkloadBench),
    /// How often each match of a regular expression stands in a text
    Grep(workload::WorkloadBench),
    /// The lines of a text in order
    Sort(workload::WorkloadBench),
    /// Records of 100 bytes, made
    Teragen(workload::WorkloadBench),
    /// Records of 100 bytes in the order of their first ten
    Terasort(workload::WorkloadBench),
    /// Whether such records are in order, how many they are, the sum of their CRC32
    Teravalidate(workload::WorkloadBench),
    /// Readings of each station in the order of their seconds, as differences
    Secondarysort(workload::WorkloadBench),
    /// The files that have each word of a folder of texts
    Invertedindex(workload::WorkloadBench),
    /// Rows with the row of their key
    Join(workload::WorkloadBench),
    /// Counts and sums by key
    Aggregation(workload::WorkloadBench),
    /// The rank of each vertex of a graph, in ten rounds
    Pagerank(workload::WorkloadBench),
    /// Points in 64 clusters, in ten rounds
    Kmeans(workload::WorkloadBench),
    /// The component of each vertex of a graph
    Connectedcomponents(workload::WorkloadBench),
    Net(net::NetBench),
    Shuffle(shuffle::ShuffleBench),
}

/// The 22 TPC-H queries over Parquet files
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  windrow bench tpch --scale 1\n  windrow bench tpch --input tpch --results answers --query 1 --query 6 --json\n  windrow bench tpch --input tpch --cluster local"
)]
#[group(id = "tables", required = true, multiple = false, args = ["input", "scale"])]
struct TpchBench {
    /// Folder with NAME.parquet for the eight tables
    #[arg(long, value_name = "DIR")]
    input: Option<PathBuf>,
    /// Make the tables at this scale first, in a temporary place
    #[arg(long, value_name = "S")]
    scale: Option<f64>,
    /// Folder for the answers, qN.csv each; they are replaced
    #[arg(long, value_name = "OUT")]
    results: Option<PathBuf>,
    /// Only this query; may be repeated
    #[arg(long = "query", value_name = "N", value_parser = query_number)]
    queries: Vec<usize>,
    #[command(flatten)]
    how: How,
}

const WORKLOAD_EXAMPLES: &str = "Examples:
  windrow bench wordcount --size 1GiB
  windrow bench wordcount --input words.txt --runs 5 --json
  windrow bench grep --input words.txt --pattern 'ab[a-z]*z' --rivals duckdb,polars
  windrow bench terasort --size 10GiB --memory 2GiB";

#[derive(clap::Args)]
struct How {
    /// How often
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// A JSON object a line instead of a table
    #[arg(long)]
    json: bool,
    /// Run on this cluster, whose workers must see the same files
    #[arg(long, value_name = "NAME")]
    cluster: Option<ClusterName>,
    /// What a task on the cluster should read, as 128MiB; results do not depend on it
    #[arg(long, value_name = "SIZE", value_parser = size::parse, hide = true, requires = "cluster")]
    task_size: Option<u64>,
    #[command(flatten)]
    splits: SplitFlag,
    #[command(flatten)]
    engine: EngineFlags,
}

fn query_number(text: &str) -> Result<usize, &'static str> {
    match text.parse() {
        Ok(number @ 1..=22) => Ok(number),
        _ => Err("the queries are 1 to 22"),
    }
}

impl Bench {
    pub fn run(&self, signals: &Signals) -> Result<(), Failure> {
        match &self.workload {
            Workload::Tpch(bench) => bench.run(signals),
            Workload::Dbbench(bench) => bench.run(signals),
            Workload::Wordcount(bench) => bench.run("wordcount", signals),
            Workload::Grep(bench) => bench.run("grep", signals),
            Workload::Sort(bench) => bench.run("sort", signals),
            Workload::Teragen(bench) => bench.run("teragen", signals),
            Workload::Terasort(bench) => bench.run("terasort", signals),
            Workload::Teravalidate(bench) => bench.run("teravalidate", signals),
            Workload::Secondarysort(bench) => bench.run("secondarysort", signals),
            Workload::Invertedindex(bench) => bench.run("invertedindex", signals),
            Workload::Join(bench) => bench.run("join", signals),
            Workload::Aggregation(bench) => bench.run("aggregation", signals),
            Workload::Pagerank(bench) => bench.run("pagerank", signals),
            Workload::Kmeans(bench) => bench.run("kmeans", signals),
            Workload::Connectedcomponents(bench) => bench.run("connectedcomponents", signals),
            Workload::Net(bench) => bench.run(signals),
            Workload::Shuffle(bench) => bench.run(signals),
        }
    }
}

impl TpchBench {
    fn run(&self, signals: &Signals) -> Result<(), Failure> {
        let threads = self.how.engine.settings()?.threads;
        let progress = Progress::default();
        let (session, nodes) = self.how.session(&progress)?;
        if let Some(results) = &self.results {
            make_folder(results)?;
        }
        let scratch = Scratch::new(signals)?;
        let input = match (&self.input, self.scale) {
            (Some(input), _) => input.as_path(),
            (None, scale) => {
                say("making the tables");
                generate::tpch(scale.unwrap_or(1.0), scratch.path(), Some(threads), false)?;
                scratch.path()
            }
        };
        let tpch = Tpch::over(session, nodes, input)?;
        let _job = signals.job(tpch.session().cancel());
        let own = tpch.session().clone();
        let _on_exit = signals.on_exit(move || own.abandon_spilled());
        let _shown = progress.begin();
        let mut answers = Answers::begin(&self.how, self.results.as_deref())?;
        let run = TpchRun { tpch: &tpch, queries: &self.queries, runs: self.how.runs };
        let measurements = run.run(|query, ran| answers.add(&format!("query {query}"), &format!("q{query}"), ran))?;
        answers.end(&measurements)
    }
}

impl How {
    /// Where statements run, and who computes there.
    fn session(&self, progress: &Progress) -> Result<(Session, Nodes), Failure> {
        let settings = self.engine.settings()?;
        let here = Nodes::here(settings.threads);
        let Some(name) = &self.cluster else {
            let session = Session::new(settings)?;
            self.splits.set(&session)?;
            return Ok((session, here));
        };
        self.engine.none_on_cluster()?;
        let contact = Contact::of(name)?;
        let session = contact.session(settings, progress)?;
        self.splits.set(&session)?;
        if let Some(bytes) = self.task_size {
            session.set_task_bytes(bytes);
        }
        Ok((session, contact.nodes()?))
    }
}

/// The lines of queries, and their answers as files where they are wanted.
struct Answers<'a> {
    lines: Lines,
    runs: u32,
    /// The folder for `NAME.csv` of each; it is there.
    results: Option<&'a Path>,
    first_failure: Option<Failure>,
}

impl<'a> Answers<'a> {
    fn begin(how: &How, results: Option<&'a Path>) -> Result<Answers<'a>, Failure> {
        Ok(Answers { lines: Lines::begin(how.json)?, runs: how.runs, results, first_failure: None })
    }

    /// What came of a run of the query that is called `name`: a line, and of the first run `FILE.csv`. A failure is told, and kept.
    fn add(&mut self, name: &str, file: &str, ran: windrow::Result<(Measurement, Answer)>) -> Result<(), Failure> {
        let path = self.results.map(|results| results.join(format!("{file}.csv")));
        match ran {
            Ok((measurement, answer)) => {
                if let (Some(path), 1) = (path, measurement.run) {
                    replace(&path, &answer)?;
                }
                self.lines.add(&measurement)
            }
            Err(error) => {
                // An answer of another day would pass for this one's.
                if let Some(path) = path {
                    let _ = fs::remove_file(path);
                }
                let _ = writeln!(io::stderr(), "{name} failed");
                let failure = Failure::from(error);
                failure.tell();
                self.first_failure.get_or_insert(Failure::Told(failure.code()));
                Ok(())
            }
        }
    }

    fn end(self, measurements: &[Measurement]) -> Result<(), Failure> {
        self.lines.end(measurements, self.runs)?;
        self.first_failure.map_or(Ok(()), Err)
    }
}

/// The lines of a bench on standard output, each as soon as it is known.
struct Lines {
    is_json: bool,
}

impl Lines {
    fn begin(is_json: bool) -> Result<Lines, Failure> {
        let lines = Lines { is_json };
        if is_json { Ok(lines) } else { lines.write(&table()).map(|()| lines) }
    }

    fn add(&mut self, measurement: &Measurement) -> Result<(), Failure> {
        if !self.is_json {
            return self.write(&measurement.to_string());
        }
        let line = serde_json::to_string(measurement).map_err(|source| Failure::of_output(source.into()))?;
        self.write(&line)
    }

    fn end(&self, measurements: &[Measurement], runs: u32) -> Result<(), Failure> {
        if self.is_json || measurements.is_empty() {
            return Ok(());
        }
        let names: std::collections::BTreeSet<String> = measurements.iter().map(Measurement::name).collect();
        let what = if names.len() == 1 { "job".to_owned() } else { format!("sum of {} queries", names.len()) };
        self.write(&format!("\n{what}, best of {runs}: {:.3} s", best_seconds(measurements)))
    }

    fn write(&self, line: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush()).map_err(Failure::of_output)
    }
}

fn say(what: &str) {
    if terminal::is_watched() {
        let _ = writeln!(io::stderr(), "{what} ...");
    }
}

fn make_folder(path: &Path) -> Result<(), Failure> {
    let failed = |source| CommandError::File { doing: "making the folder", path: path.to_owned(), source };
    Ok(fs::create_dir_all(path).map_err(failed)?)
}

/// Puts `answer` at `path` as CSV, whole or not at all.
fn replace(path: &Path, answer: &Answer) -> Result<(), Failure> {
    let mut text = Vec::new();
    render(answer, Format::Csv, &mut text)?;
    let temporary = path.with_extension(format!("{}.tmp", process::id()));
    let written = fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, path));
    written.map_err(|source| {
        let _ = fs::remove_file(&temporary);
        CommandError::File { doing: "writing", path: path.to_owned(), source }.into()
    })
}
