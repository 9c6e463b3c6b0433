//! Sorting: a total order of rows, by keys and then by content.
//!
//! In: rows in any order, from any number of threads. Out: the rows in one sequence, which is a function of the multiset of rows
//! alone. Never: depends on the order of arrival, or on what memory held and what went to disk.
//!
//! The order is: the keys, each by its direction, NULLs where the key says; floats with -0 = +0 and all NaN equal and greater than
//! every number; then, among equal keys, the rows' content in canonical column order ([`CanonicalOrder`](crate::batch::CanonicalOrder)).
//! Rows that are equal in that, too, are the same row. Without keys the order is that of the content.
//!
//! ```text
//!   push      batch ──► keys in row form (bytes that compare as the keys do)          payload stays where it is
//!   finalize  (u64 prefix of the bytes, batch, row) ──► sorted ──► ties by content    16 bytes move, not rows
//!   pull      so many places at a time ──► rows                                       each row moves once
//!
//!   where memory ends:   pile ──► sorted pieces ──► runs of frames ──► merged (a loser tree over keys and content) as they are pulled
//! ```

mod bound; // BoundTest: a top-k's bound as a test of rows that are going to come
mod gather; // Gather: rows of many batches by their places
mod keys; // SortSpec, SortKeys: the keys of a batch in row form
mod loser_tree; // LoserTree: which of many inputs has the least row
mod merge; // Merge: of runs and sorted piles
mod order; // Pile, Place: rows in memory and their order
mod output; // Sorted: the source that gives rows in order
mod rows; // SortedRows: the rows in order, for an operator that cuts them itself
mod shared; // Shared: what the threads of both share; Part: a thread's pile and runs
mod sort_all; // Sort: the whole input
mod top_k; // TopK: the first rows of it, in bounded memory

pub use keys::SortSpec;
pub use rows::{SortedRows, Stretch};
pub use shared::Ties;
pub use sort_all::Sort;
pub use top_k::TopK;

#[cfg(test)]
mod tests; // both against a sort of rows by a plain comparison
