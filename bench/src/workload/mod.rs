//! The workloads that Hadoop's users know, each by the public API: what it reads, what it does, the least it could take, whom it is compared with.
//!
//! In: a file or folder, or how large one is to be made. Out: runs, measured and digested. Never: a rival's answer believed; its rows are read and must
//! have the digest of ours.
//!
//! ```text
//!   WORKLOADS ─ by name ─► Workload { makes its input · job · bound · how its output is read }
//!                             │
//!   input.rs  a file of this size ─► job (text.rs, tera.rs, tables.rs, iterative.rs) ─► Done { rows, bytes, digest }      run.rs, here or on a cluster
//!   bound.rs  bytes, words, threads ─► the least seconds                     rival.rs  the same in another engine, its rows compared; plain.rs without one
//!   record.rs lines of CSV by machine and day, a chart
//! ```
//! Another workload is a function and an entry in [`WORKLOADS`].

mod bound; // Facts: of the input; the least seconds of each workload
mod input; // Input: what is read, and how it is made
mod iterative; // PageRank, k-means, connected components
mod plain; // plain_program: a workload without an engine, between two files
mod record; // Record: measurements by machine and day; chart: bars as SVG
mod rival; // Rival: another engine over the same input
mod run; // WorkloadRun, ClusterWorkloadRun; program: a workload under a worker
mod tables; // join, aggregation
mod tera; // teragen, terasort, teravalidate
mod text; // word count, grep, sort, inverted index, secondary sort

pub use input::Input;
pub use plain::{PLAIN_PROGRAM, plain_program};
pub use record::{Record, chart};
pub use rival::{RIVALS, Rival, Rivaled};
pub use run::{ClusterWorkloadRun, PROGRAM, WorkloadRun, program};
pub use tera::{TeraSum, tera_gen, tera_sort, tera_validate};
pub use text::{grep, inverted_index, secondary_sort, sort, word_count};

use std::path::Path;

use serde::{Deserialize, Serialize};
use windrow::{Result, Session, sink::Written};

use crate::BenchError;
use bound::Facts;

/// A job to be measured.
pub struct Workload {
    /// What it is called.
    pub name: &'static str,
    /// What it reads.
    pub input: Input,
    /// Does it.
    pub job: fn(&Session, &Job<'_>) -> Result<Done>,
    /// The least seconds it could take.
    bound: fn(&Facts) -> f64,
    /// What stands in its output.
    pub output: Output,
}

/// One run of a workload.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// What it reads; of a workload that reads nothing, nothing.
    pub input: &'a Path,
    /// The folder to write, which is not there.
    pub out: &'a Path,
    /// What to look for, where something is looked for.
    pub pattern: &'a str,
    /// How large to make what is made.
    pub bytes: u64,
}

/// What came of it; a program prints it as one line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Rows of the output.
    pub rows: u64,
    /// Bytes of the output.
    pub bytes: u64,
    /// Of the rows.
    pub digest: String,
}

impl From<Written> for Done {
    fn from(written: Written) -> Done {
        Done { rows: written.rows, bytes: written.bytes, digest: written.digest.to_string() }
    }
}

/// What stands in the output of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Parquet files: rows in any order.
    Rows,
    /// The same, of numbers which another engine may round otherwise; the first one tells rows apart.
    Numbers,
    /// A text: lines in order.
    Lines,
    /// Records in order.
    Records,
    /// Nothing is written.
    Nothing,
}

/// Chooses what is made.
pub const SEED: u64 = 1;

/// All of them.
pub static WORKLOADS: &[Workload] = &[
    Workload {
        name: "wordcount",
        input: Input::Text,
        job: |session, job| Ok(word_count(session, job.input, job.out)?.into()),
        bound: bound::word_count,
        output: Output::Rows,
    },
    Workload {
        name: "grep",
        input: Input::Text,
        job: |session, job| Ok(grep(session, job.input, job.out, job.pattern)?.into()),
        bound: bound::read_once,
        output: Output::Rows,
    },
    Workload {
        name: "sort",
        input: Input::Text,
        job: |session, job| Ok(sort(session, job.input, job.out)?.into()),
        bound: bound::sort,
        output: Output::Lines,
    },
    Workload {
        name: "teragen",
        input: Input::Nothing,
        job: |session, job| Ok(tera_gen(session, job.bytes, SEED, job.out)?.into()),
        bound: bound::read_once,
        output: Output::Records,
    },
    Workload {
        name: "terasort",
        input: Input::Records,
        job: |session, job| Ok(tera_sort(session, job.input, job.out)?.into()),
        bound: bound::sort,
        output: Output::Records,
    },
    Workload {
        name: "teravalidate",
        input: Input::SortedRecords,
        job: |session, job| {
            let sum = tera_validate(session, job.input)?;
            Ok(Done { rows: sum.records, bytes: 0, digest: format!("{:016x}", sum.sum) })
        },
        bound: bound::read_once,
        output: Output::Nothing,
    },
    Workload {
        name: "secondarysort",
        input: Input::Readings,
        job: |session, job| Ok(secondary_sort(session, job.input, job.out)?.into()),
        bound: bound::sort,
        output: Output::Rows,
    },
    Workload {
        name: "invertedindex",
        input: Input::Texts,
        job: |session, job| Ok(inverted_index(session, job.input, job.out)?.into()),
        bound: bound::word_count,
        output: Output::Rows,
    },
    Workload {
        name: "join",
        input: Input::FactsAndKeys,
        job: |session, job| Ok(tables::join(session, job.input, job.out)?.into()),
        bound: bound::join,
        output: Output::Rows,
    },
    Workload {
        name: "aggregation",
        input: Input::Facts,
        job: |session, job| Ok(tables::aggregation(session, job.input, job.out)?.into()),
        bound: bound::aggregation,
        output: Output::Rows,
    },
    Workload {
        name: "pagerank",
        input: Input::Graph,
        job: |session, job| Ok(iterative::page_rank(session, job.input, job.out)?.into()),
        bound: bound::page_rank,
        output: Output::Numbers,
    },
    Workload {
        name: "kmeans",
        input: Input::Points,
        job: |session, job| Ok(iterative::k_means(session, job.input, job.out)?.into()),
        bound: bound::k_means,
        output: Output::Numbers,
    },
    Workload {
        name: "connectedcomponents",
        input: Input::Graph,
        job: |session, job| Ok(iterative::connected_components(session, job.input, job.out)?.into()),
        bound: bound::read_once,
        output: Output::Rows,
    },
];

/// The workload of this name.
pub fn workload(name: &str) -> Result<&'static Workload> {
    let names = || WORKLOADS.iter().map(|workload| workload.name).collect::<Vec<_>>().join(", ");
    let found = WORKLOADS.iter().find(|workload| workload.name == name);
    Ok(found.ok_or_else(|| BenchError::NoSuchWorkload { name: name.to_owned(), names: names() })?)
}

impl Workload {
    /// The least seconds that it could take on so many threads over what `input` has; `bytes`: what is made where nothing is read.
    pub fn bound_seconds(&self, session: &Session, input: &Path, bytes: u64, threads: usize) -> Result<f64> {
        Ok((self.bound)(&Facts::of(self.input, session, input, bytes, threads)?))
    }
}
