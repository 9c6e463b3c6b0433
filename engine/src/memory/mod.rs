//! Memory is asked for: one governor a process, a reservation in hand before a buffer grows.
//!
//! In: requests of operators. Out: [`Reservation`]s, or an error that says who held what. Never: allocates; it counts.

mod buffer; // Block, map_file, map_window: the calls that map memory and files
mod governor; // Governor: the budget and who holds how much of it
mod pool; // Pool: blocks that are used again
mod reservation; // Reservation: a share of the budget, given back when dropped
mod revocation; // Revocation: what an operator is asked to give back, and which thread does

pub use buffer::{Block, map_file, map_window};
pub use governor::{Governor, OverBudget, Revocable, Revoked};
pub use pool::{Pool, freeze};
pub use reservation::Reservation;
pub use revocation::Revocation;
