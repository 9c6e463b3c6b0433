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
    #[error("running {arguments:?} as a program under a worker: only the word count is one")]
    NoSuchProgram {
        /// What was asked for.
        arguments: Vec<String>,
    },
    /// What the word count printed on the cluster is not what it prints.
    #[error("reading what the word count printed on the cluster")]
    NotCounted {
        /// Why not.
        source: serde_json::Error,
    },
    /// A column that the file does not have.
    #[error("splitting rows by the hash of column {column}: the file has {columns} columns, counted from 0")]
    NoSuchColumn {
        /// What was asked for.
        column: usize,
        /// How many there are.
        columns: usize,
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
            | BenchError::NoSuchColumn { .. } => Kind::Request,
            BenchError::NotCounted { .. } | BenchError::RowsLost { .. } => Kind::Internal,
            BenchError::File { source, .. } if source.kind() == io::ErrorKind::NotFound => Kind::Request,
            BenchError::Usage { .. } | BenchError::File { .. } => Kind::Io,
        }
    }
}
