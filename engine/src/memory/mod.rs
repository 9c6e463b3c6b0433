//! Memory is asked for: one governor a process, a reservation in hand before a buffer grows.
//!
//! In: requests of operators. Out: [`Reservation`]s, or an error that says who held what. Never: allocates; it counts.

mod buffer; // Block, map_file: the calls that map memory and files
mod governor; // Governor: the budget and who holds how much of it
mod pool; // Pool: blocks that are used again
mod reservation; // Reservation: a share of the budget, given back when dropped

pub use buffer::{Block, map_file};
pub use governor::{Governor, OverBudget, Revocable, Revoked};
pub use pool::{Pool, freeze};
pub use reservation::Reservation;
