//! Each workload as often as asked, one run after the other in one process.
//!
//! In: which workload, how often. Out: each measurement as it comes, through a closure. Never: stops at a query that fails; the
//! others still run, and the first failure is told at the end. Somebody who cancels stops all.

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
};

use windrow::{
    Answer, Error, Result, Session,
    cluster::{drive::ClusterAddress, protocol::JobUpdate},
    observe::WorkersCost,
    operator::Cancel,
};

use crate::{
    BenchError,
    dbbench::{DbBench, QUESTIONS},
    measure::Clock,
    query::run_each,
    report::{Measurement, Nodes, Ran},
    tpch::{QUERIES, Tpch},
    word_count::{PROGRAM, counted, word_count},
};

/// TPC-H queries, each `runs` times in turn.
pub struct TpchRun<'a> {
    /// The open tables.
    pub tpch: &'a Tpch,
    /// The queries, from 1; all when empty.
    pub queries: &'a [usize],
    /// How often each.
    pub runs: u32,
}

impl TpchRun<'_> {
    /// Runs them; `told` gets the query's number and what came of it, each time. A query that failed once is not run again.
    pub fn run<E: From<Error>>(
        &self,
        told: impl FnMut(usize, Result<(Measurement, Answer)>) -> Result<(), E>,
    ) -> Result<Vec<Measurement>, E> {
        let all: Vec<usize> = (1..=QUERIES.len()).collect();
        let queries = if self.queries.is_empty() { &all } else { self.queries };
        run_each(queries, self.runs, |query, run| self.tpch.measure(query, run), told)
    }
}

/// Questions of the db-benchmark, each `runs` times in turn.
pub struct DbBenchRun<'a> {
    /// The open tables.
    pub dbbench: &'a DbBench,
    /// The questions, by name; all when empty.
    pub questions: &'a [&'static str],
    /// How often each.
    pub runs: u32,
}

impl DbBenchRun<'_> {
    /// Asks them; `told` gets the question's name and what came of it, each time. A question that failed once is not asked again.
    pub fn run<E: From<Error>>(
        &self,
        told: impl FnMut(&'static str, Result<(Measurement, Answer)>) -> Result<(), E>,
    ) -> Result<Vec<Measurement>, E> {
        let all = QUESTIONS.map(|(name, _)| name);
        let questions = if self.questions.is_empty() { &all } else { self.questions };
        run_each(questions, self.runs, |name, run| self.dbbench.measure(name, run), told)
    }
}

/// Word counts of one file on a cluster, `runs` times: this program is handed in, and its workers run it.
pub struct ClusterWordCountRun<'a> {
    /// Where it runs.
    pub cluster: &'a ClusterAddress,
    /// Its workers, for the report.
    pub nodes: Nodes,
    /// The text.
    pub input: &'a Path,
    /// A folder that is there; each run's output stands in it until the run is told.
    pub scratch: &'a Path,
    /// How often.
    pub runs: u32,
    /// Ends them.
    pub cancel: &'a Cancel,
    /// Hears how each run goes.
    pub seen: &'a dyn Fn(&JobUpdate),
}

impl ClusterWordCountRun<'_> {
    /// Runs it; `told` gets each measurement and the folder with the counts. Processor seconds are those of the program's processes under the
    /// workers, from the first task to the last.
    pub fn run<E: From<Error>>(
        &self,
        mut told: impl FnMut(&Measurement, &Path) -> Result<(), E>,
    ) -> Result<Vec<Measurement>, E> {
        let bytes_in = fs::metadata(self.input).map_err(file("reading", self.input))?.len();
        let absolute = |path: &Path| std::path::absolute(path).map_err(file("finding", path));
        let input = absolute(self.input)?;
        let mut measurements = Vec::new();
        for run in 1..=self.runs {
            let out = absolute(&self.scratch.join(format!("words-{run}")))?;
            let arguments = [PROGRAM.to_owned(), input.to_string_lossy().into(), out.to_string_lossy().into()];
            let clock = Clock::start()?;
            let last = RefCell::new(None);
            let seen = |update: &JobUpdate| {
                (self.seen)(update);
                last.replace(Some(update.clone()));
            };
            let counted = counted(&windrow::dataset::submit(self.cluster, &arguments, self.cancel, &seen)?)?;
            let last = last.into_inner();
            let cost = last.as_ref().and_then(|last| last.cost).unwrap_or_default();
            let workers = WorkersCost { cpu_micros: cost.cpu_micros, peak_bytes: cost.peak_bytes };
            let measured = clock.stop()?.of_workers(Some(workers));
            let shuffled = last.iter().flat_map(|last| &last.progress).map(|stage| stage.bytes).sum();
            let ran = Ran {
                workload: "wordcount",
                query: None,
                run,
                nodes: self.nodes,
                bytes_in,
                rows: counted.rows,
                spilled_bytes: cost.bytes_spilled,
                shuffled_bytes: shuffled,
                digest: counted.digest,
            };
            let measurement = Measurement::new(ran, measured);
            told(&measurement, &out)?;
            measurements.push(measurement);
            fs::remove_dir_all(&out).map_err(file("removing", &out))?;
        }
        Ok(measurements)
    }
}

fn file(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| BenchError::File { doing, path, source }.into()
}

/// Word counts of one file, `runs` times.
pub struct WordCountRun<'a> {
    /// Where it runs.
    pub session: &'a Session,
    /// The text.
    pub input: &'a Path,
    /// A folder that is there; each run's output stands in it until the run is told.
    pub scratch: &'a Path,
    /// How often.
    pub runs: u32,
}

impl WordCountRun<'_> {
    /// Runs it; `told` gets each measurement and the folder with the counts.
    pub fn run<E: From<Error>>(
        &self,
        mut told: impl FnMut(&Measurement, &Path) -> Result<(), E>,
    ) -> Result<Vec<Measurement>, E> {
        let bytes_in = fs::metadata(self.input).map_err(file("reading", self.input))?.len();
        let mut measurements = Vec::new();
        for run in 1..=self.runs {
            let out: PathBuf = self.scratch.join(format!("words-{run}"));
            let clock = Clock::start()?;
            let written = word_count(self.session, self.input, &out)?;
            let cost = clock.stop()?;
            let ran = Ran {
                workload: "wordcount",
                query: None,
                run,
                nodes: Nodes::here(self.session.settings().threads),
                bytes_in,
                rows: written.rows,
                spilled_bytes: 0,
                shuffled_bytes: 0,
                digest: written.digest.to_string(),
            };
            let measurement = Measurement::new(ran, cost);
            told(&measurement, &out)?;
            measurements.push(measurement);
            fs::remove_dir_all(&out).map_err(file("removing", &out))?;
        }
        Ok(measurements)
    }
}
