//! The Rust API: flows over typed rows or whole batches, written lazily, run when something is asked of them.
//!
//! In: paths, vectors, closures, expressions, SQL. Out: a logical plan, then answers. Never: knows how a flow is run; that is `plan/`.

mod action; // collect, count, explain: what makes a flow run
mod answer; // Answer: rows in memory, and what it took to get them
mod batches; // Dataset<Batch>: expressions, closures over batches, the way to typed rows
mod cache; // cache, checkpoint, broadcast: rows that later flows, runs and closures look at again
mod closure; // call sites; panics of closures as errors
mod counted; // actions whose closures count
mod error; // DatasetError; failure: any error as a job's
mod flow; // Dataset: a flow that has not run
mod fold; // fold, fold_by_key, reduce_by_key_with: rows put together by closures
mod group; // group_by_key, aggregate_by_key: all values of a key, to a closure
mod iterate; // iterate, iterate_until: rounds over rows
mod join; // join, left_join, full_join, semi_join, anti_join, cogroup
mod launch; // launch: a program's main
mod map; // map, map_view, flat_map, filter over typed rows; Emitter
mod monoid; // Monoid: Sum, Mean, Min, Max, Count and tuples of them
mod named; // clusters of this machine by name, for launch
mod pairs; // key_by, map_values, keys, values
mod parameters; // numbers of subquery values, kept apart when plans are put together
mod partition; // partition_by: rows by part, to a closure; for_each
mod progress; // a line on the terminal about a program on a cluster
#[doc(hidden)]
pub mod record; // Record: Rust types as columns
mod reduce; // reduce_by_key, count_by_value, distinct
mod remote; // statements that run on a cluster: the client's side, and the driver's in a worker
mod sample; // sample, repartition: rows chosen by a hash of what they are
mod session; // Session: threads, memory, tables
mod sort; // sort_by, limit, zip_with_index; asc, desc
mod source; // read_text, read_parquet, read_csv, read_json, read_arrow, from_vec, sql
mod statement; // Dataset::sql: a statement over a flow
mod text; // words, matches: what is in lines
mod tried; // try_map, try_flat_map: records that closures cannot use, kept apart
mod write; // Write: rows of a flow or a job in files

pub(crate) use closure::{caught, guarded, message_of};
pub(crate) use group::Walk;
pub(crate) use record::{Columns, record_text, schema_of};
pub(crate) use sort::bind_keys;

pub use crate::cluster::drive::binary::may_launch;
pub use answer::Answer;
pub use cache::Broadcast;
pub use error::failure;
pub use flow::Dataset;
pub use group::{Grouped, Values};
pub use join::{Cogrouped, Others, Outer};
pub use launch::{launch, submit, submit_as, submit_binary};
pub use map::{Emitter, RowFunction};
pub use monoid::{Count, Max, Mean, Min, Monoid, Sum, Summable};
pub use partition::Partitioned;
pub use record::Record;
pub use remote::{Statements, run_worker};
pub use session::Session;
pub use sort::{SortBy, asc, desc};
pub use source::Line;
pub use tried::{DeadLetter, Tried};
pub use write::{Write, Writes};
