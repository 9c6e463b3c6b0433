//! Window functions: for each row a value of the rows around it.
//!
//! In: rows in any order. Out: the same rows with a column a call, in no particular order. Never: a value that depends on the order of
//! arrival: rows that the order leaves equal are put in order by their content, wherever a call could tell them apart.
//!
//! ```text
//!   push       rows ──► those that may be within the bound, if there is one           bound.rs, prefix.rs
//!              ──► a sort by partition, then order                                    operator/sort; it spills
//!   pull       the sorted rows ──► cut where a partition ends ──► units               cut.rs, under a lock
//!              a unit, on any thread: rows copied in order ──► partitions, peers      layout.rs
//!                                     ──► frames ──► a column a call                  frames.rs, calls.rs; numbers.rs, places.rs
//! ```
//! A unit is whole partitions, together about a morsel of rows: many small partitions are computed on all threads. A partition longer
//! than that is a unit of its own. One that memory does not hold goes to disk and is given a piece at a time (`stream.rs`, `pieces.rs`), if no call
//! looks further than `reach.rs` allows: else it is an error.

mod bound; // RankFilter: rows that cannot be within a bound are left out before the sort
mod calls; // Calls: the functions, prepared; a column each
mod cut; // Cutter: units of whole partitions from sorted rows
mod frames; // Frames: which rows each row looks at
mod layout; // Layout: where partitions and peers begin
mod numbers; // row_number, rank and their like
mod pieces; // Piece: the columns of a piece of a partition
mod places; // lag, lead, first, last, nth: whose value a row gets
mod prefix; // Prefixes: the beginning of a row's place in the order, as a number
mod reach; // Needs: how far the calls look
mod shared; // Window: the operator; its sink and its source
mod spec; // WindowSpec, WindowError
mod stream; // Stream: a partition that memory does not hold
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests; // against a naive specification

pub(in crate::operator) use layout::{changes, values};
pub use shared::Window;
pub use spec::{WindowError, WindowSpec};
