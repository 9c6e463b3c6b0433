//! Kernels: the loops that touch every row, chosen once for the processor they run on.
//!
//! In: slices of numbers, bitmaps, cursors; only `columns` knows arrow. Out: the same bits on every processor. Never:
//! an allocation in a loop, a branch on a type per row, a result that depends on the instruction set.
//!
//! Four floors, drawn in `README.md`: operations (`vector`), algorithms (`hash`, `partition`, `scatter`), instruction
//! sets (`arch`), the choice (`arch::Kernels`). `scalar` is the plain specification that all of them are held to.

// ── the specification ──
/// What every kernel must answer, written plainly; the oracle of the tests.
pub mod scalar;

// ── the four floors ──
mod arch;
pub use arch::Kernels;
mod hash;
mod partition;
pub use partition::{GROUPS_MAX, PARTITIONS_MAX, first_rows, group_of};
mod bundle;
mod gather;
mod gathered;
mod packed;
mod scatter;
mod sorted;
mod tiles;
pub use gather::{Strings, gather_strings};
mod lines;
pub use lines::lines;
mod tokens;
pub use tokens::Tokens;
mod few;
pub use few::{ABSENT, FewKeys, part_found};
mod nearest;
pub use nearest::Centres;
mod vector;

// ── the border with arrow ──
mod columns;
pub use columns::{HASH_VERSION, KernelError, hash_columns, hash_columns_with};
mod rows;
pub(crate) use rows::Rows;
mod chunks;
mod dictionary;
pub(crate) use chunks::{Appended, Chunks, Exchanger, Groups, Way};
mod views;
pub use views::{build_views, concat_arrays};

mod verify; // Kernels::verify: the chosen kernels against the specification

/// Batches of every type, with nulls and slices, for the property tests of the whole crate.
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
pub(crate) mod testing;
