//! Why a workload could not be measured, beyond what the engine says.
//!
//! In: the facts where it failed. Out: [`BenchError`], which the engine's `Error` carries like its own. Never: a cause as text.

use std::{io, path::PathBuf};

use windrow::{Kind, error::Cause};

/// Why a workload could not be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// There are 22 queries.
    #[error("running TPC-H query {query}: the queries are 1 to {max}")]
    NoSuchQuery {
        /// The number asked for.
        query: usize,
        /// The last one.
        max: usize,
    },
    /// There is no question of this name.
    #[error("asking the db-benchmark's question {question:?}: the questions are g1 to g10 and j1 to j5")]
    NoSuchQuestion {
        /// The name asked for.
        question: String,
    },
    /// A program of another name was asked for.
    #[error("running {arguments:?} as a program under a worker: only workloads are")]
    NoSuchProgram {
        /// What was asked for.
        arguments: Vec<String>,
    },
    /// What a workload printed on the cluster, or a rival, is not what it prints.
    #[error("reading what a workload printed when it was done")]
    NotDone {
        /// Why not.
        source: serde_json::Error,
    },
    /// There is no workload of this name.
    #[error("looking for the workload {name:?}: there are {names}")]
    NoSuchWorkload {
        /// The name asked for.
        name: String,
        /// Those that there are.
        names: String,
    },
    /// The input of a workload was not made.
    #[error("making the input")]
    NotMade {
        /// Why not.
        source: Box<windrow_datasets::DatasetError>,
    },
    /// Records that should be in the order of their keys are not.
    #[error("validating the records of {}: the key of record {record} is less than the one before", path.display())]
    NotInOrder {
        /// The output.
        path: PathBuf,
        /// The record, counted from 0 over all files.
        record: u64,
    },
    /// Two runs of one workload over one input gave different rows.
    #[error("running {workload}: two runs gave different rows, of digest {digest} and {other}")]
    RunsDiffer {
        /// Which.
        workload: &'static str,
        /// Of the first run.
        digest: String,
        /// Of a later one.
        other: String,
    },
    /// A rival gave other rows.
    #[error("comparing the rows of {workload}: here {here}, of {engine} {there}")]
    RowsDiffer {
        /// Which.
        workload: &'static str,
        /// The rival.
        engine: String,
        /// Of this engine.
        here: String,
        /// Of the rival.
        there: String,
    },
    /// A rival that is installed did not come to its end.
    #[error(
        "running {engine} beside: it ended with {status}{}",
        if said.is_empty() { String::new() } else { format!("; at the end it said: {said}") }
    )]
    RivalFailed {
        /// The rival.
        engine: String,
        /// How it ended.
        status: String,
        /// The last that it wrote to standard error.
        said: String,
    },
    /// A column that the file does not have.
    #[error("splitting rows by the hash of column {column}: the file has {columns} columns, counted from 0")]
    NoSuchColumn {
        /// What was asked for.
        column: usize,
        /// How many there are.
        columns: usize,
    },
    /// A file without a row.
    #[error("splitting the rows of {}: it has none", path.display())]
    NoRows {
        /// The file.
        path: PathBuf,
    },
    /// What came out is not what went in.
    #[error("splitting {before} rows gave {after}")]
    RowsLost {
        /// Rows that went in.
        before: u64,
        /// Rows that came out.
        after: u64,
    },
    /// The system would not say what the process has used.
    #[error("asking the system for the processor seconds and the memory of this process")]
    Usage {
        /// What it said.
        source: nix::Error,
    },
    /// An input or an output could not be looked at or removed.
    #[error("{doing} {}", path.display())]
    File {
        /// What was tried: "reading", "removing".
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Cause for BenchError {
    fn kind(&self) -> Kind {
        match self {
            BenchError::NoSuchQuery { .. }
            | BenchError::NoSuchQuestion { .. }
            | BenchError::NoSuchProgram { .. }
            | BenchError::NoSuchWorkload { .. }
            | BenchError::NoSuchColumn { .. }
            | BenchError::NoRows { .. } => Kind::Request,
            BenchError::NotDone { .. } | BenchError::RowsLost { .. } | BenchError::RunsDiffer { .. } => Kind::Internal,
            // It may be the rival that is wrong, or that takes something else for a word.
            BenchError::RowsDiffer { .. } => Kind::Job,
            BenchError::NotInOrder { .. } => Kind::Corrupt,
            BenchError::File { source, .. } if source.kind() == io::ErrorKind::NotFound => Kind::Request,
            BenchError::Usage { .. }
            | BenchError::File { .. }
            | BenchError::NotMade { .. }
            | BenchError::RivalFailed { .. } => Kind::Io,
        }
    }
}
