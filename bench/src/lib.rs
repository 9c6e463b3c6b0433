//! Workloads and their measure: what runs, how often, and what it cost.
//!
//! In: settings, inputs as files. Out: a [`Measurement`] for each run, with the answer for whoever wants to look at it. Never:
//! parses a command line, prints, or holds what a job needs; the engine does not know that it is measured.

#![forbid(unsafe_code)]

mod dbbench; // DbBench: fifteen questions over five tables; QUESTIONS, DBBENCH_TABLES
mod error; // BenchError
mod measure; // Clock: seconds, processor seconds, peak memory
pub mod plain; // page_rank, k_means, connected_components: the same workloads as plain Rust programs
mod query; // measure, run_each: a query, measured; several, each as often as asked
mod report; // Measurement, table, best_seconds
mod run; // TpchRun, DbBenchRun: each query as often as asked
mod shuffle; // ShuffleRun: a table to groups, told apart by its parts
mod tpch; // Tpch: 22 queries over eight tables; QUERIES, TABLES
mod workload; // WORKLOADS: what Hadoop's users know, by the public API

pub use dbbench::{DBBENCH_TABLES, DbBench, QUESTIONS};
pub use error::BenchError;
pub use report::{Measurement, Nodes, best_seconds, table};
pub use run::{DbBenchRun, TpchRun};
pub use shuffle::{ShuffleMeasurement, ShuffleRun, logical_bytes};
pub use tpch::{QUERIES, TABLES, Tpch};
pub use workload::{
    ClusterWorkloadRun, Done, Input, Job, Output, PLAIN_PROGRAM, PROGRAM, RIVALS, Record, Rival, Rivaled, SEED,
    TeraSum, WORKLOADS, Workload, WorkloadRun, chart, grep, inverted_index, plain_program, program, secondary_sort,
    sort, tera_gen, tera_sort, tera_validate, word_count, workload,
};
