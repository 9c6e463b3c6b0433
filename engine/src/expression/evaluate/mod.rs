//! An expression prepared for a schema, run on batches.
//!
//! In: an expression, its input's schema, the job's parameters; then batches. Out: one value for each row. Never: a decision per
//! row: types, functions, patterns and lists are looked at once, when the evaluator is made.
//!
//! Preparing turns each node into a [`Step`], the closure-like thing that arrow's kernels need: CASE knows which branches can fail,
//! LIKE has its pattern as the input's type, IN has its list as a sorted set. What does not depend on the row is run at once.

mod binary; // comparison, arithmetic, ||
mod bits; // & | ^ << >>
mod case; // CASE: a branch runs on the rows that reach it
mod cast; // CAST, TRY_CAST
mod codes; // over one column of codes: once a value of its dictionary
mod decimals; // + - * of decimals with few digits
mod evaluator; // Evaluator: the prepared expression; constants folded
mod function; // scalar functions of the registry
mod in_list; // IN: constant lists as sorted sets
mod logic; // AND, OR on undecided rows; NOT, IS NULL, IS TRUE
mod narrow; // a part of an expression, run on some of the rows
mod parameters; // Parameters: scalar subqueries' values
mod text; // LIKE, substr
mod texts; // strings compared with a few constants, by their views
mod value; // Value: a column or the same value for all rows

#[cfg(test)]
mod tests;

pub use evaluator::Evaluator;
pub use parameters::Parameters;
pub use value::Value;

pub(super) use binary::combine;
pub(crate) use narrow::can_fail;

use crate::{batch::Batch, error::Result};

/// One node of an expression, prepared.
trait Step: Send + Sync {
    /// A value for each row of `batch`, whose schema is the one the step was prepared for.
    fn evaluate(&self, batch: &Batch) -> Result<Value>;

    /// The value, if it is the same for every row of every batch.
    fn constant(&self) -> Option<&Value> {
        None
    }
}
