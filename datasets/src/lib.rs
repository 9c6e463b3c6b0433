//! Deterministic inputs for tests, benches and demos: the same options give the same bytes, on every machine, forever.
//!
//! In: a scale or a size, a seed, a place. Out: files under that place, each whole or not there. Never: it knows
//! nothing of the engine or any other crate of ours; the clock, the machine and the number of threads never reach a
//! byte.

#![forbid(unsafe_code)]

mod dbbench; // write_dbbench, DbBenchOptions, its limit
mod error; // DatasetError, Made
mod graph; // write_graph, GraphOptions, its limits
mod groups; // write_groups, GroupsOptions, KeyType, its limits
mod order; // Order: the numbers of rows, in another order
mod output; // Written; Output, a file that appears whole or not at all
mod points; // write_points, PointsOptions, its limits
mod random; // SplitMix64, the numbers that our own datasets are made from
mod readings; // write_readings, ReadingsOptions
mod row_groups; // write_rows, Rows: row groups of one file, made on several threads
mod tera; // write_tera, TeraOptions, tera_record
mod tpch; // write_tpch, TpchOptions, Table, its limits
mod words; // write_text, TextOptions
mod zipf; // Zipf, ranks drawn by Zipf's law

pub use dbbench::{DBBENCH_ROWS_MAX, DbBenchOptions, write_dbbench};
pub use error::{DatasetError, Made};
pub use graph::{GRAPH_SCALE_MAX, GRAPH_SCALE_MIN, GraphOptions, write_graph};
pub use groups::{GROUPS_ROWS_MAX, GroupsOptions, KeyType, TEXT_KEYS_MAX, write_groups};
pub use output::Written;
pub use points::{CLUSTERS_MAX, DIMENSIONS_MAX, PointsOptions, write_points};
pub use readings::{ReadingsOptions, write_readings};
pub use tera::{TERA_BYTES, TeraOptions, tera_record, write_tera};
pub use tpch::{ROWS_PER_ROW_GROUP, SCALE_MAX, SCALE_MIN, THREADS_MAX, Table, TpchOptions, write_tpch};
pub use words::{TextOptions, write_text};
