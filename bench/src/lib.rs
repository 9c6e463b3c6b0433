//! Workloads and their measure: what runs, how often, and what it cost.
//!
//! In: settings, inputs as files. Out: a [`Measurement`] for each run, with the answer for whoever wants to look at it. Never:
//! parses a command line, prints, or holds what a job needs; the engine does not know that it is measured.

#![forbid(unsafe_code)]

mod error; // BenchError
mod measure; // Clock: seconds, processor seconds, peak memory
mod report; // Measurement, table, best_seconds
mod run; // TpchRun, WordCountRun: each workload as often as asked
mod shuffle; // ShuffleRun: a table to groups, told apart by its parts
mod tpch; // Tpch: 22 queries over eight tables; QUERIES, TABLES
mod word_count; // word_count: the job itself

pub use error::BenchError;
pub use report::{Measurement, Nodes, best_seconds, table};
pub use run::{ClusterWordCountRun, TpchRun, WordCountRun};
pub use shuffle::{ShuffleMeasurement, ShuffleRun, logical_bytes};
pub use tpch::{QUERIES, TABLES, Tpch};
pub use word_count::{Counted, PROGRAM, program, word_count};
