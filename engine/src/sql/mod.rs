//! SQL text becomes a logical plan.
//!
//! In: a script, a catalog of tables, the job's start time. Out: statements, each as a [`crate::plan::logical::Logical`], or an error
//! with its place in the text. Never: runs anything, asks the machine for a number of threads, or keeps a context between statements.
//!
//! ```text
//!   script ──statements──► text ──parse──► tokens, tree ──SqlToRel──► DataFusion's plan ──analyze, optimize──► ──bind──► Logical
//! ```
//! DataFusion is the front end only: parser, names, types, rewriting. Which join comes first, and everything below, is Windrow's.

mod bind; // DataFusion's plan -> Logical, one function per operator
mod catalog; // Catalog: tables by name
mod copy; // COPY: the rows of a query into files
mod error; // SqlError: what is wrong with a statement, and where
mod functions; // aggregates by name
mod meaning; // kept: forms that the front end would take for others
mod names; // names of an answer's columns, for people
mod overflow; // check_constants: before DataFusion computes them with integers that wrap
mod parse; // statements, parse: text -> tokens -> tree, within limits
mod plan; // plan: a statement's text -> Planned
mod provider; // what DataFusion asks while it resolves names
mod suggest; // did you mean …?
mod text; // Text: tokens and their places

#[cfg(test)]
mod tests;

pub use catalog::Catalog;
pub use error::SqlError;
pub use parse::{Statement, statements};
pub use plan::{Planned, plan};
