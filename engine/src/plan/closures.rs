//! The user's code in a plan: closures by number.
//!
//! In: closures from the Rust API, in the order in which the job's entry names them. Out: [`Closure`]s that a plan can hold. Never: sent;
//! what travels is (number, call site), and a process that runs the same entry fills the same table.

use std::{fmt, sync::Arc};

use crate::{batch::datatypes::SchemaRef, operator::map::BatchFunction};

/// A closure over batches.
#[derive(Clone)]
pub struct Closure {
    /// The k-th closure-taking call of the job's entry.
    pub number: u32,
    /// Where the call stands: `file:line:column`.
    pub call_site: &'static str,
    /// What is called.
    pub function: Arc<dyn BatchFunction>,
    /// What its batches look like.
    pub output: SchemaRef,
}

impl fmt::Debug for Closure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "closure {} at {}", self.number, self.call_site)
    }
}
