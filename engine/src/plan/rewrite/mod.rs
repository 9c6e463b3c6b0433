//! Laws that make a logical plan cheaper and leave its rows as they are; one law a file.
//!
//! In: a logical plan. Out: a logical plan with the same rows and the same schema. Never: needs the physical operators.

mod bound_ranks; // the first rows of each partition are asked of the window itself
mod codes; // columns of strings stay codes into their files' dictionaries
mod file_types; // columns travel in the types that their files have
mod imply_filters; // conditions on one relation that follow from an OR over several
mod order_joins; // inner joins in the order of least cost
mod prune_columns; // no node gives a column that nobody uses
mod push_semi_joins; // a selective semi join goes to the relation it tests
mod share_groups; // the same grouping in several places is done once
mod split_distinct; // distinct values of several columns are counted apart

use super::logical::Logical;
use crate::{
    error::{Cause, Kind, Result},
    limits,
};

/// All laws, in the order in which each helps the next.
pub fn rewrite(plan: Logical) -> Result<Logical> {
    let (mut deepest, mut waiting) = (0, vec![(&plan, 1)]);
    while let Some((node, depth)) = waiting.pop() {
        deepest = deepest.max(depth);
        waiting.extend(node.inputs().into_iter().map(|input| (input, depth + 1)));
    }
    if deepest > limits::PLAN_DEPTH_MAX {
        return Err(TooDeep { depth: deepest, limit: limits::PLAN_DEPTH_MAX }.into());
    }
    let plan = push_semi_joins::rewrite(bound_ranks::rewrite(plan));
    let plan = split_distinct::rewrite(order_joins::rewrite(plan)?);
    let plan = share_groups::rewrite(prune_columns::rewrite(plan));
    Ok(file_types::rewrite(codes::rewrite(plan)))
}

/// The laws walk the plan by recursion, so its depth is checked before them.
#[derive(Debug, thiserror::Error)]
#[error("planning the flow: its operators are nested {depth} deep, at most {limit} are walked")]
struct TooDeep {
    depth: usize,
    limit: usize,
}

impl Cause for TooDeep {
    fn kind(&self) -> Kind {
        Kind::Limit
    }
    fn hint(&self) -> Option<String> {
        Some("write an intermediate result to files and go on from there".to_owned())
    }
}
