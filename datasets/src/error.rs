//! Why a dataset was not written.
//!
//! In: the facts at the place where it failed. Out: [`DatasetError`], whose sentence says what was tried and on what;
//! the cause is its `source()`, not part of the sentence. Never: a cause flattened into text.

use std::{fmt, io, path::PathBuf};

use arrow::error::ArrowError;
use parquet::errors::ParquetError;

use crate::tpch::Table;

/// Why a dataset was not written. Whatever it is, no file of the failed call is left under a temporary name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// The TPC-H scale factor is not a number that the generator has an answer for.
    #[error("cannot generate TPC-H at scale {scale}: the scale must be a number from {min} to {max}")]
    Scale {
        /// The scale asked for; may be infinite or NaN.
        scale: f64,
        /// Smallest scale, [`crate::SCALE_MIN`].
        min: f64,
        /// Largest scale, [`crate::SCALE_MAX`].
        max: f64,
    },
    /// The table is too large for one Parquet file: lineitem from about scale 700, partsupp and orders from higher
    /// ones.
    #[error("cannot write about {rows_about} rows of the TPC-H table {table}: a file can have {rows_max}")]
    TooManyRows {
        /// The first table that is too large.
        table: Table,
        /// Its rows, on average.
        rows_about: u64,
        /// Rows that row groups of [`crate::ROWS_PER_ROW_GROUP`] can hold, being counted by a 16-bit number.
        rows_max: u64,
    },
    /// The number of keys is 0, or over what the key's type can tell apart.
    #[error("cannot generate rows of {keys} different keys: it must be 1 to {max}")]
    Keys {
        /// The number asked for.
        keys: u64,
        /// Largest number.
        max: u64,
    },
    /// A graph of no or too many vertices.
    #[error("cannot generate a graph of 2^{scale} vertices: the scale must be {min} to {max}")]
    GraphScale {
        /// The scale asked for.
        scale: u32,
        /// Smallest scale, [`crate::GRAPH_SCALE_MIN`].
        min: u32,
        /// Largest scale, [`crate::GRAPH_SCALE_MAX`].
        max: u32,
    },
    /// Points in a space of no or too many dimensions.
    #[error("cannot generate points of {dimensions} dimensions: it must be 1 to {max}")]
    Dimensions {
        /// The number asked for.
        dimensions: u32,
        /// Largest number, [`crate::DIMENSIONS_MAX`].
        max: u32,
    },
    /// Points around no centres.
    #[error("cannot generate points around {clusters} centres: it must be 1 to {max}")]
    Clusters {
        /// The number asked for.
        clusters: u32,
        /// Largest number, [`crate::CLUSTERS_MAX`].
        max: u32,
    },
    /// More rows than a Parquet file holds.
    #[error("cannot write {rows} rows: a file can have {max}")]
    Rows {
        /// The number asked for.
        rows: u64,
        /// Largest number.
        max: u64,
    },
    /// The number of threads is 0 or over the limit.
    #[error("cannot generate with {threads} threads: it must be 1 to {max}")]
    Threads {
        /// The number asked for.
        threads: usize,
        /// Largest number, [`crate::THREADS_MAX`].
        max: usize,
    },
    /// The output is there already and may not be replaced.
    #[error("will not write {path:?}: it exists already; remove it, or ask to overwrite it")]
    Exists {
        /// The output.
        path: PathBuf,
    },
    /// The output's path ends in no file name, as `/` and `..` do.
    #[error("cannot write a file at {path:?}: the path ends in no file name")]
    NoFileName {
        /// The output.
        path: PathBuf,
    },
    /// It could not be found out whether the output exists.
    #[error("could not look for {path:?}")]
    Look {
        /// The output.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder of the output was not there and could not be made.
    #[error("could not create the folder {path:?}")]
    CreateFolder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The temporary file could not be made.
    #[error("could not create the temporary file {path:?}")]
    Create {
        /// The temporary file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Bytes could not be written.
    #[error("could not write {path:?}")]
    Write {
        /// The output, not its temporary name.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The finished temporary file could not take its final name.
    #[error("could not rename {from:?} to {path:?}")]
    Rename {
        /// The temporary file; removed after this error.
        from: PathBuf,
        /// The output.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The Parquet writer failed: mostly a full disk, which is then the source's source.
    #[error("could not write the Parquet file {path:?}")]
    Parquet {
        /// The output.
        path: PathBuf,
        /// What the writer said.
        source: ParquetError,
    },
    /// The TPC-H generator did not give a batch.
    #[error("could not generate part {part} of {part_count} of the TPC-H table {table}")]
    Generate {
        /// The table.
        table: Table,
        /// Which part, `1..=part_count`.
        part: i32,
        /// Parts the table is generated in.
        part_count: i32,
        /// What the generator said.
        source: ArrowError,
    },
    /// A thread could not be started.
    #[error("could not start a thread to generate {what}")]
    Spawn {
        /// What it was for.
        what: Made,
        /// What the system said.
        source: io::Error,
    },
    /// A generating thread panicked, which is a bug of the generator or ours; the panic's own message went to standard
    /// error.
    #[error("a thread generating {what} panicked")]
    Panicked {
        /// What it was for.
        what: Made,
    },
}

/// What a thread generates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// A TPC-H table.
    Table(Table),
    /// Rows to be grouped.
    Groups,
    /// The tables of the db-benchmark.
    DbBench,
    /// The edges of a graph.
    Graph,
    /// Points around centres.
    Points,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Made::Table(table) => write!(f, "the TPC-H table {table}"),
            Made::Groups => f.write_str("rows to be grouped"),
            Made::Graph => f.write_str("the edges of a graph"),
            Made::Points => f.write_str("points around centres"),
            Made::DbBench => f.write_str("the tables of the db-benchmark"),
        }
    }
}
