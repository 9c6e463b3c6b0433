//! Where rows come from: tables, the splits they are read by, reading ahead of use, and what need not be read.
//!
//! In: paths; a projection and filters. Out: morsels with their positions. Never: waits for a file on a compute thread.

mod cut; // so many lines or bytes a split, records of one length
mod filter; // Conditions, Tested: rows that are left out while they are decoded
mod opened; // TableDescription, OpenedTables: a table as data, and opened again elsewhere
mod prune; // which row groups may hold a row that the filters let through
mod read; // ScanSource: splits read ahead by the I/O threads, decoded by the compute threads
mod split; // Split: what is read and decoded by one thread at a time
mod statistics; // TableStatistics: rows, smallest and largest values, from footers
mod table; // Table: files of one shape

pub use cut::check_split_bytes;
pub use filter::WatchedTest;
pub use opened::{FileDescription, OpenedTables, TableDescription, TableRows};
pub use prune::prune;
pub use read::{ScanSource, ScanSpec};
pub use split::Split;
pub use statistics::{ColumnStatistics, TableStatistics};
pub use table::Table;
