//! How a flow is thought: what is asked for, then how it is done.
//!
//! In: a logical plan from `sql/` or `dataset/`. Out: a physical plan, data that can be drawn and sent. Never: runs anything.
//!
//! ```text
//!   logical.rs ──rewrite/──► logical.rs ──lower/──► physical.rs (pipelines, what each waits for) in stage.rs (stages)
//! ```

#![deny(clippy::disallowed_types)]

pub mod closures; // Closure, Closures: the user's code in a plan, by number
pub mod decision; // DecisionRecord: choices made while running, drawn byte by byte
pub mod encode; // encode, decode: the physical plan as bytes
pub mod explain; // explain: the plan drawn
pub mod logical; // Logical: what
pub mod lower; // lower: logical -> physical, one file per operator
pub mod physical; // PhysicalPlan, Pipeline: how
pub mod rewrite; // rewrite: order joins, prune columns; one law per file
pub mod stage; // Stage: what a task runs, cut at the exchanges
pub mod statistics; // Estimate: rows and distinct values
