//! The user's code in a plan: closures by number.
//!
//! In: closures from the Rust API, in the order in which the job's entry names them. Out: [`Closure`]s that a plan can hold. Never: sent;
//! what travels is (number, call site), and a process that runs the same entry fills the same table.

use std::{collections::BTreeMap, fmt, sync::Arc};

use twox_hash::XxHash3_64;

use super::encode;
use crate::{
    batch::datatypes::{Schema, SchemaRef},
    error::{Cause, Kind, Result},
    operator::{groups::GroupFunction, map::BatchFunction, splits::SplitFunction},
};

/// A closure over batches.
#[derive(Clone)]
pub struct Closure {
    /// The k-th closure-taking call of the job's entry.
    pub number: u32,
    /// Where the call stands: `file:line:column`.
    pub call_site: &'static str,
    /// What is called.
    pub function: Function,
    /// What its batches look like.
    pub output: SchemaRef,
}

/// What is called: for each batch, for the batches of a split, or for the groups of rows.
#[derive(Clone)]
#[allow(missing_docs, reason = "the operators' own words")]
pub enum Function {
    Batches(Arc<dyn BatchFunction>),
    Splits(Arc<dyn SplitFunction>),
    Groups(Arc<dyn GroupFunction>),
}

impl fmt::Debug for Closure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "closure {} at {}", self.number, self.call_site)
    }
}

/// The closures that a job's entry has named, by number.
#[derive(Clone, Debug, Default)]
pub struct Closures(BTreeMap<u32, Closure>);

impl Closures {
    /// Adds one; it takes the place of an earlier one of its number.
    pub fn insert(&mut self, closure: Closure) {
        self.0.insert(closure.number, closure);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// A number that is the same in two processes exactly if their tables are: XXH3-64 of how many closures there are, and of each its
    /// number, its call site and its columns, as a plan says them.
    pub fn fingerprint(&self) -> Result<u64> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&(self.0.len() as u64).to_le_bytes());
        for closure in self.0.values() {
            bytes.extend_from_slice(&encode::closure_bytes(closure)?);
        }
        Ok(XxHash3_64::oneshot(&bytes))
    }

    /// The closure that a plan calls by this number, if it stands here where it stood when the plan was made.
    pub(super) fn find(&self, number: u32, call_site: &str, output: &Schema) -> Result<Closure> {
        let there = call_site.to_owned();
        let Some(closure) = self.0.get(&number) else {
            return Err(ClosureError::Unknown { number, there, count: self.0.len() }.into());
        };
        let here = closure.call_site;
        if here != call_site {
            return Err(ClosureError::Elsewhere { number, here, there }.into());
        }
        if *closure.output != *output {
            let (here_output, there_output) = (columns(&closure.output), columns(output));
            return Err(ClosureError::OtherColumns { number, here, here_output, there_output }.into());
        }
        Ok(closure.clone())
    }
}

impl FromIterator<Closure> for Closures {
    fn from_iter<I: IntoIterator<Item = Closure>>(closures: I) -> Closures {
        Closures(closures.into_iter().map(|closure| (closure.number, closure)).collect())
    }
}

fn columns(schema: &Schema) -> String {
    let columns: Vec<_> = schema.fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect();
    format!("({})", columns.join(", "))
}

/// The process that planned and this one have not named the same closures.
#[derive(Debug, thiserror::Error)]
enum ClosureError {
    #[error("taking closure {number} at {there} from the plan: here are {count} closures, and none has this number")]
    Unknown { number: u32, there: String, count: usize },
    #[error("closure {number} is at {here} here and at {there} in the plan")]
    Elsewhere { number: u32, here: &'static str, there: String },
    #[error("closure {number} at {here} gives {here_output} here and {there_output} in the plan")]
    OtherColumns { number: u32, here: &'static str, here_output: String, there_output: String },
}

impl Cause for ClosureError {
    fn kind(&self) -> Kind {
        Kind::Request
    }
    fn hint(&self) -> Option<String> {
        Some("run the same binary everywhere, and let the job's entry name its closures in the same order".to_owned())
    }
}
