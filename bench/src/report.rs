//! The lines of a bench: one a run, for a person as a table, for a program as an object.
//!
//! In: what was measured. Out: text, or what serde makes of a [`Measurement`]. Never: another name for a field that had one;
//! records of other days are compared with it.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
};

use serde::Serialize;

use crate::measure::Cost;

/// One run of one workload.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measurement {
    /// "tpch", "dbbench" or a workload's name.
    pub workload: &'static str,
    /// "q1" to "q22", "g1" to "j5"; none where the workload is one job.
    pub query: Option<String>,
    /// "windrow", or a rival's name.
    pub engine: String,
    /// Which run, from 1.
    pub run: u32,
    /// Threads that computed, of all nodes.
    pub threads: usize,
    /// Workers of a cluster that computed; 1 in process.
    pub workers: usize,
    /// Queries: from the SQL text to all rows in memory. Workloads: from the job's start to the output in its place.
    pub seconds: f64,
    /// Processor seconds of this process meanwhile, user and system; on a cluster those of the workers' processes while tasks of the job ran
    /// there.
    pub cpu_seconds: f64,
    /// Bytes of the input: read from files (queries), the length of what is read or made (workloads).
    pub bytes_in: u64,
    /// Rows of the result.
    pub rows: u64,
    /// `bytes_in` / 10⁹ / `seconds` / `threads`.
    pub gb_per_second_core: f64,
    /// Largest resident set of the process until then; on a cluster of a worker's.
    pub peak_bytes: u64,
    /// Bytes written to disk for want of memory.
    pub spilled_bytes: u64,
    /// Bytes that went between nodes.
    pub shuffled_bytes: u64,
    /// Sum and exclusive or of the hashes of the result's rows.
    pub digest: String,
    /// Of the engine.
    pub version: String,
    /// The least seconds that it could have taken; of workloads.
    pub bound_seconds: Option<f64>,
    /// `bound_seconds` / `seconds`.
    pub bound_fraction: Option<f64>,
    /// Of a rival: its rows were read and are those of ours. What it wrote has the same digest then, or the same bytes in order.
    pub rows_equal: Option<bool>,
}

/// Who computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nodes {
    /// Processes that computed: workers of a cluster, or this one.
    pub workers: usize,
    /// Threads of all of them.
    pub threads: usize,
}

impl Nodes {
    /// This process, with so many threads.
    pub fn here(threads: usize) -> Nodes {
        Nodes { workers: 1, threads }
    }
}

/// What was run, how, and what came of it; [`Measurement::new`] adds what it cost.
pub(crate) struct Ran {
    pub(crate) workload: &'static str,
    pub(crate) query: Option<String>,
    pub(crate) run: u32,
    pub(crate) nodes: Nodes,
    pub(crate) bytes_in: u64,
    pub(crate) rows: u64,
    pub(crate) spilled_bytes: u64,
    pub(crate) shuffled_bytes: u64,
    pub(crate) digest: String,
}

impl Measurement {
    pub(crate) fn new(ran: Ran, cost: Cost) -> Measurement {
        let Ran { workload, query, run, nodes, bytes_in, rows, spilled_bytes, shuffled_bytes, digest } = ran;
        let Cost { seconds, cpu_seconds, peak_bytes } = cost;
        let Nodes { workers, threads } = nodes;
        let gb_per_second_core = bytes_in as f64 / 1e9 / seconds / threads as f64;
        let (engine, version) = ("windrow".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        Measurement {
            workload,
            query,
            engine,
            run,
            threads,
            workers,
            seconds,
            cpu_seconds,
            bytes_in,
            rows,
            gb_per_second_core,
            peak_bytes,
            spilled_bytes,
            shuffled_bytes,
            digest,
            version,
            bound_seconds: None,
            bound_fraction: None,
            rows_equal: None,
        }
    }

    /// The same beside the least seconds that it could have taken.
    pub(crate) fn bounded_by(self, seconds: f64) -> Measurement {
        Measurement { bound_seconds: Some(seconds), bound_fraction: Some(seconds / self.seconds), ..self }
    }

    /// The same as another engine's.
    pub(crate) fn of_rival(self, engine: &str, version: &str) -> Measurement {
        Measurement { engine: engine.to_owned(), version: version.to_owned(), ..self }
    }

    /// The same with the rows of `ours`, which were found to be its own.
    pub(crate) fn with_rows_of(self, ours: &Measurement) -> Measurement {
        Measurement { rows: ours.rows, digest: ours.digest.clone(), rows_equal: Some(true), ..self }
    }

    /// "tpch q1", or only the workload.
    pub fn name(&self) -> String {
        match &self.query {
            Some(query) => format!("{} {query}", self.workload),
            None => self.workload.to_owned(),
        }
    }
}

/// The heading of the lines that a [`Measurement`] displays as.
pub fn table() -> String {
    let mut heading = String::new();
    let (name, engine, run, seconds, cpu, mb, rows) =
        ("workload", "engine", "run", "seconds", "cpu s", "MB in", "rows");
    let (speed, bound, peak, spilled) = ("GB/s/core", "of bound", "peak MB", "spilled MB");
    // Writing to a string does not fail.
    let _ = write!(
        heading,
        "{name:<13} {engine:<7} {run:>3} {seconds:>9} {cpu:>9} {mb:>10} {rows:>9} {speed:>9} {bound:>8} {peak:>8} \
         {spilled:>10}  digest"
    );
    heading
}

impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        write!(
            f,
            "{:<13} {:<7} {:>3} {:>9.4} {:>9.4} {:>10.2} {:>9} {:>9.3} {:>8} {:>8.0} {:>10.2}  {}",
            self.name(),
            self.engine,
            self.run,
            self.seconds,
            self.cpu_seconds,
            mb(self.bytes_in),
            self.rows,
            self.gb_per_second_core,
            self.bound_fraction.map_or("-".to_owned(), |fraction| format!("{fraction:.3}")),
            mb(self.peak_bytes),
            mb(self.spilled_bytes),
            if self.rows_equal == Some(true) { "rows equal" } else { &self.digest }
        )
    }
}

/// The sum over the queries of each one's fastest run.
pub fn best_seconds(measurements: &[Measurement]) -> f64 {
    let mut best: BTreeMap<String, f64> = BTreeMap::new();
    for measurement in measurements {
        let seconds = best.entry(measurement.name()).or_insert(f64::INFINITY);
        *seconds = seconds.min(measurement.seconds);
    }
    best.values().sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn measurement(query: &str, run: u32, seconds: f64) -> Measurement {
        let ran = Ran {
            workload: "tpch",
            query: Some(query.to_owned()),
            run,
            nodes: Nodes::here(2),
            bytes_in: 3_000_000_000,
            rows: 4,
            spilled_bytes: 0,
            shuffled_bytes: 0,
            digest: "00".to_owned(),
        };
        Measurement::new(ran, Cost { seconds, cpu_seconds: 1.0, peak_bytes: 5 })
    }

    #[test]
    fn the_best_of_each_query_counts() {
        let all = [measurement("q1", 1, 2.0), measurement("q1", 2, 1.5), measurement("q2", 1, 0.25)];
        assert_eq!(best_seconds(&all), 1.75);
        assert_eq!(all[1].gb_per_second_core, 1.0);
    }

    #[test]
    fn a_line_has_exactly_the_named_fields() {
        let line = serde_json::to_string(&measurement("q1", 1, 2.0)).unwrap();
        let names: Vec<String> = line
            .trim_matches(['{', '}'])
            .split(',')
            .map(|field| field.split(':').next().unwrap().trim_matches('"').to_owned())
            .collect();
        let expected = "workload query engine run threads workers seconds cpu_seconds bytes_in rows gb_per_second_core peak_bytes \
                        spilled_bytes shuffled_bytes digest version bound_seconds bound_fraction rows_equal";
        assert_eq!(names, expected.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn lines_stand_under_their_heading() {
        let (heading, line) = (table(), measurement("q22", 1, 12.5).to_string());
        assert_eq!(heading.find("digest"), line.rfind("00"));
        let ours = measurement("q22", 1, 12.5);
        let rival =
            Measurement { rows: 0, digest: String::new(), ..ours.clone() }.of_rival("other", "2").with_rows_of(&ours);
        assert_eq!((rival.rows, rival.digest.as_str(), rival.engine.as_str()), (4, "00", "other"));
        assert_eq!(heading.find("digest"), rival.to_string().rfind("rows equal"));
    }
}
