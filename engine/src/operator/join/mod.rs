//! Joins: two inputs put together, one of them held in memory.
//!
//! In: the build side, whole, then the probe side, morsel by morsel. Out: pairs of rows, or rows of one side that have or lack a
//! partner. Never: depends on the order in which rows arrive, on the number of threads or on the size of morsels.
//!
//! ```text
//!   build pipeline ──► build()      keys as words ──► hashes ──► 64 partitions a thread ──► finalize: one directory
//!                                   columns that are used ────────────────────────────────► finalize: one array each
//!   probe pipeline ──► probe()      keys as words ──► hashes ──► candidates ──► pairs ──► filter ──► columns ──► next
//!                  ──► mark()       the same, when only the build side's rows are wanted: pairs only set marks
//!   then           ◄── rest()       build rows by their marks
//!
//!   where memory ends:   build rows ──► partitions on disk;  probe rows ──► partitions on disk;  then ◄── rounds(), rest(): one by one
//! ```
//! A pair is (probe row in its batch, build row); columns are touched only for pairs that are given, or by the filter.
//!
//! Nothing may go by the position of rows behind a join (a limit there is a top-k, `plan/lower/limit.rs`): semi joins keep it while the build
//! side is in memory, and lose it when both sides went to disk.

mod build; // Gathering: the build side's columns, from the threads' pieces to one array each
mod directory; // Directory: from a hash to the build rows that may be meant
mod filter; // KeyFilter: the build side's keys as a test of rows that are going to probe it
mod hash; // HashJoin: the shared state and its roles
mod keys; // KeyShape, KeyEncoder: keys as words, as bytes where words are too narrow
mod nested_loop; // NestedLoopJoin: every pair of rows, for joins without an equality
mod outer; // Marks: which build rows found a partner; Rest: the source that gives rows by them
mod pairs; // Pairs, Partners: what becomes of the pairs of a probe batch
mod probe; // the probe and mark roles of the hash join
mod rounds; // RoundsThread: partitions that come back from disk, one after the other
mod spec; // JoinColumn, JoinRows, JoinFilter, HashJoinSpec, NestedLoopSpec
mod spill; // SideWriter, Spilled: both sides on disk, in partitions by hash
mod table; // TableBuilder: the table of a partition that comes back

pub use hash::HashJoin;
pub use nested_loop::NestedLoopJoin;
pub use spec::{HashJoinSpec, JoinColumn, JoinError, JoinFilter, JoinRows, NestedLoopSpec};

#[cfg(test)]
mod tests; // every kind of join against a loop over all pairs
