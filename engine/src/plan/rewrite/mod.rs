//! Laws that make a logical plan cheaper and leave its rows as they are; one law a file.
//!
//! In: a logical plan. Out: a logical plan with the same rows and the same schema. Never: needs the physical operators.

mod imply_filters; // conditions on one relation that follow from an OR over several
mod order_joins; // inner joins in the order of least cost
mod prune_columns; // no node gives a column that nobody uses
mod push_semi_joins; // a selective semi join goes to the relation it tests

use super::logical::Logical;
use crate::error::Result;

/// All laws, in the order in which each helps the next.
pub fn rewrite(plan: Logical) -> Result<Logical> {
    let plan = push_semi_joins::rewrite(plan);
    let plan = order_joins::rewrite(plan)?;
    Ok(prune_columns::rewrite(plan))
}
