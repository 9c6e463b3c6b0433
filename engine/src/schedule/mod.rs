//! On which threads pipelines run: one loop a thread over work-stealing deques.
//!
//! In: a physical plan. Out: its answer, or the first error. Never: knows what an operator does, or waits for I/O on a compute
//! thread. `README.md` beside this file tells the states of a thread and of a pipeline, and the races they close.

mod build; // build: the physical plan's operators, made real
mod job; // JobGraph, run: pipelines, each after those it waits for
mod pipeline; // Drive: one thread's way through a chain of operators
mod queue; // Queue: injector, deques, sleep
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
mod thread; // Threads, spread: the node's loops on one rayon pool

pub use build::{Ends, Running, Work, build, build_stage};
pub use job::{JobGraph, Panicked, Runnable, run};
pub use thread::{Threads, spread};
