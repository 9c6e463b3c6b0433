//! MapReduce as its users know it: mappers, combiners, partitioners and reducers with a beginning and an end, on the engine's own stages.
//!
//! In: flows ([`Dataset`](crate::Dataset)) and the job's own code, as values that implement a trait. Out: one flow, which goes on as any other, or is
//! written, with what was counted. Never: a stage of its own: what follows is a few closures around one grouping, so a job runs in process and
//! on a cluster alike, spills where it must, and gives the same rows whatever the threads, the memory and the retries.
//!
//! ```text
//!   a record of a split ──► Mapper::map ──emit──► a key and a value                       map_side.rs, a life a split
//!     ──► up to some thousand of them in order, each key through the Combiner              combine.rs
//!     ──► the number of a part by the key: Partitioner, or a hash, or a range              partition.rs
//!     ──► rows by part, on disk where memory ends, in order of their keys                  operator/groups
//!     ──► Reducer::reduce ──emit──► a record                                               reduce_side.rs, a life a part
//!     ──► files, rows, or another job                                                      write.rs, job.rs
//! ```
//! A life is `set_up`, then its records, then `clean_up`, by one clone of the job's value on one thread. A mapper lives for one split of its
//! input: which records of a file are one is told by the file alone, so what a life emits at its end is the same each time. (Of rows that are
//! not read from files, and of Parquet files, a life is some of the rows; which ones, nobody should ask.) A reducer lives for one part; there are
//! [`PARTS`] unless [`Job::parts`] says otherwise, and each has its life, with rows or without.
//!
//! # Comparators
//!
//! Hadoop sorts by a comparator and groups by another one. Here both are said in columns: a key's first columns are the group
//! ([`Job::group_by`]), the others, or any of key and value, the order in it ([`Job::in_order_of`]); an order of one's own is a function from a
//! key to what it is sorted as ([`Job::sort_as`]). So runs are compared as bytes, on disk too; and no order can contradict itself, as a comparator
//! can, which only shows when rows are lost.
//!
//! # Values
//!
//! [`Values`] come as they are asked for, from memory or from disk, in order of their content where nothing else is said. A reducer may stop in the middle, or ask
//! on behind the end. Each value comes once: who needs them twice keeps them.

mod combine; // the Combiner over what a split has emitted
mod context; // Context: emit, count, status, side files
mod error; // MapReduceError: whose code failed, on which record
mod job; // Job, Reduced, Finished
mod map_side; // mappers as a closure over splits
mod mapper; // Mapper, IdentityMapper, Chain
mod outputs; // Output: records of several kinds, in folders of their own
mod partition; // Partitioner; rows with the number of their part
mod reduce_side; // reducers as a closure over groups
mod reducer; // Reducer, Combiner, IdentityReducer
mod streaming; // Streaming: mappers and reducers that are programs
mod write; // what a job gives, in files

pub use context::Context;
pub use job::{Finished, Job, PARTS, Reduced};
pub use mapper::{Chain, IdentityMapper, Mapper};
pub use outputs::Output;
pub use partition::Partitioner;
pub use reducer::{Combiner, IdentityReducer, Reducer};
pub use streaming::{KeyOrder, Streaming};

pub use crate::{
    dataset::{Values, failure},
    observe::Skipped,
};
