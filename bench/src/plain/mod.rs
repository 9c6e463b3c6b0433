//! Workloads as plain Rust programs without an engine would have them: what the engine's examples are measured beside.
//!
//! In: vectors. Out: vectors. Never: the engine.

mod connected_components; // connected_components: one thread
mod k_means; // k_means: two threads, or any number
mod page_rank; // page_rank: one thread

pub use connected_components::connected_components;
pub use k_means::k_means;
pub use page_rank::page_rank;
