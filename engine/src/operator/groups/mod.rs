//! Groups through a closure: the rows of each key together, in order, at the user's pace.
//!
//! In: rows in any order. Out: what the closure makes of each group. Never: a group in two calls; the rows of a group in memory at once, unless
//! the closure keeps them; an order that depends on threads or arrival: rows that the keys and the order leave equal come by their content.
//!
//! ```text
//!   push     rows ──► part by the hash of the keys, or by a number of their own ──► a sort of the part          operator/sort; it spills
//!   pull     a part, claimed by a thread ──► units of rows in order, cut where groups begin                     units.rs
//!              ──► the closure: one group after the other, its rows as it asks for them
//!              ──► what it gives, in memory or, where memory is refused, on disk                                outbox.rs
//! ```
//! A group longer than a unit is handed on unit by unit; only one thread can be at it.

mod function; // GroupFunction, GroupCalls: the closure; Piece: rows of one group
mod outbox; // Outbox: what a closure gave and nobody took yet
mod shared; // Groups: the operator; its sink and its source
mod spec; // GroupsSpec, GroupsError
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests; // against a map of vectors
mod units; // Units: rows in order, cut where groups begin

pub use function::{Emit, GroupCalls, GroupFunction, Piece, Pieces};
pub use shared::Groups;
pub use spec::{GroupsError, GroupsSpec, PartColumn};
