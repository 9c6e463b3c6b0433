//! The eight TPC-H tables as Parquet files, the same rows as dbgen's.
//!
//! In: a scale and a folder. Out: `FOLDER/NAME.parquet` per table, one file each, the same bytes whatever the number of
//! threads. Never: rows of our own; they come from the crates tpchgen and tpchgen-arrow, which can start at any part of
//! a table.

mod assemble; // write_table, ROWS_PER_ROW_GROUP: parts and row groups on many threads, in order into one file
mod table; // Table, SCALE_MIN, SCALE_MAX: the tables, and the parts they are generated in
mod write; // write_tpch, TpchOptions, THREADS_MAX

pub use assemble::ROWS_PER_ROW_GROUP;
pub use table::{SCALE_MAX, SCALE_MIN, Table};
pub use write::{THREADS_MAX, TpchOptions, write_tpch};
