//! What is grouped by what, and which closure sees the groups.

use std::sync::Arc;

use super::GroupFunction;
use crate::{
    batch::datatypes::SchemaRef,
    error::{Cause, Kind},
    expression::{Expression, SortKey},
    operator::sort::SortSpec,
};

/// Which rows are a group, in which order they come, who sees them.
#[derive(Clone)]
pub struct GroupsSpec {
    /// A column that says which part a row belongs to; without one the hash of the keys does.
    pub part: Option<PartColumn>,
    /// Rows of one part with equal values of these are a group, NULLs equal to each other; groups come in their order, NULLs last.
    pub keys: Vec<Expression>,
    /// The order of the rows of a group; those that it leaves equal come by their content. If it begins with the keys, groups come in its order.
    pub order: Vec<SortKey>,
    /// The input's columns.
    pub input: SchemaRef,
    /// The columns that the closure gives.
    pub output: SchemaRef,
    /// The closure.
    pub function: Arc<dyn GroupFunction>,
    /// Where it stands in the program.
    pub call_site: &'static str,
}

/// A column of unsigned 32-bit numbers, without NULLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartColumn {
    /// Its place in the input.
    pub column: usize,
    /// How many parts there are: the numbers are less.
    pub count: u32,
}

/// Most parts: group numbers of the shuffle's builder.
pub(super) const PARTS_MAX: u32 = crate::kernel::PARTITIONS_MAX as u32;

impl GroupsSpec {
    /// The order in which the closure sees rows.
    pub(super) fn sort(&self) -> SortSpec {
        let key = |key: &Expression| SortKey { expression: key.clone(), is_descending: false, nulls_first: false };
        let begins_with_keys = self.order.len() >= self.keys.len()
            && self.keys.iter().zip(&self.order).all(|(key, by)| by.expression == *key);
        let keys = self.keys.iter().filter(|_| !begins_with_keys).map(key).chain(self.order.iter().cloned()).collect();
        SortSpec { keys, schema: Arc::clone(&self.input), skip: 0, fetch: None }
    }
}

/// Why groups cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum GroupsError {
    /// The user's partitioner has named a part that is not there.
    #[error(
        "grouping rows for the closure at {call_site}: a row belongs to part {part}, and there are {count}, counted from 0"
    )]
    NoSuchPart {
        /// The closure.
        call_site: &'static str,
        /// The part.
        part: u32,
        /// How many there are.
        count: u32,
    },
    /// More parts than the shuffle can tell apart.
    #[error("grouping rows for the closure at {call_site}: {count} parts are asked for; there can be 1 to {PARTS_MAX}")]
    PartCount {
        /// The closure.
        call_site: &'static str,
        /// How many are asked for.
        count: u32,
    },
    /// The closure's batches are not what was declared.
    #[error("the closure at {call_site} gave columns {found:?}, but its output was declared as {wanted:?}")]
    WrongSchema {
        /// The closure.
        call_site: &'static str,
        /// What it gave.
        found: SchemaRef,
        /// What it was to give.
        wanted: SchemaRef,
    },
}

impl Cause for GroupsError {
    fn kind(&self) -> Kind {
        match self {
            GroupsError::PartCount { .. } => Kind::Request,
            GroupsError::NoSuchPart { .. } | GroupsError::WrongSchema { .. } => Kind::Job,
        }
    }
}
