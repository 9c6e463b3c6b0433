//! Grouping: one row per distinct key, with exact states that do not show the order of the rows.
//!
//! In: morsels. Out: the keys' columns, then one column a call; the groups in no particular order. Never: a result whose bits depend
//! on the number of threads, the size of morsels, or what arrived first.
//!
//! ```text
//!   each thread    morsel ─► keys, arguments ─► hashes ─► table ─► group of each row ─► states     rows.rs, groups.rs
//!   few groups     the tables of all threads are merged                                            merge.rs
//!   many groups    a thread whose table outgrows the cache sends its groups, and then its rows,
//!                  through the shuffle's builder into parts; under pressure parts are spilled      parts.rs
//!   source         the merged groups; or part by part, each into a table of its own                shared.rs
//! ```
//! Over several nodes the first part gives what it knows of its groups as columns, and the last part takes those in (`AggregatePhase`).
//!
//! A batch goes through in columns: the group of every row is found before the first state sees a row, and each state then runs in a
//! loop of its own type. Sums are exact (integers and decimals beyond their width, floats as real numbers), so merging is associative
//! to the bit.

mod big; // Big: whole numbers of any length, quotients rounded once
mod direct; // Direct: groups by place where the keys have few values
mod distinct; // Distinct: the values of a group that were seen
mod exact_sum; // ExactSums, ExactProducts: sums of floats without an error
mod finish; // Finish: results from what is known of groups
mod groups; // Groups: one table with its states; takes batches in, gives columns out
mod index; // Index: keys and hash table together: from columns to the numbers of groups
mod keys; // Keys: the keys of groups in the form that is compared fastest
mod merge; // Bucketed: the groups of a table by part; merging one part of all tables
mod numbers; // KeyNumbers: numbers for keys, for other operators
mod parts; // Parts: rows of many groups, by part: pending, taken in, spilled
mod ranges; // RangeAggregates: over ranges of rows in order
mod rows; // Plan::rows_of: what of a row the grouping needs
mod shared; // Aggregate: the operator; its sink and its source
mod spec; // AggregateSpec, AggregateError; Plan: the spec, checked and prepared
mod states; // State: what is kept of the rows of each group
mod table; // Table: from row hashes to the numbers of groups
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;

pub use finish::Finish;
pub use numbers::KeyNumbers;
pub use ranges::{Carried, RangeAggregates};
pub use shared::Aggregate;
pub use spec::{AggregateError, AggregatePhase, AggregateSpec};
