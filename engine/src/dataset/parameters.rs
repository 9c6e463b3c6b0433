//! The numbers of scalar subqueries' values, kept apart when two plans become one: each plan numbers its own from zero.
//!
//! In: a plan. Out: how many numbers it takes; the same plan with higher ones. Never: changes anything else.

use crate::{
    expression::{Expression, WindowCall},
    plan::logical::{Logical, Node},
};

/// The least number that the plan does not use, nor any above it.
pub(super) fn count(plan: &Logical) -> usize {
    let own = match &plan.node {
        Node::WithParameter { number, .. } => number + 1,
        _ => 0,
    };
    plan.inputs().into_iter().map(count).fold(own, usize::max)
}

/// Raises all numbers by `by`.
pub(super) fn shift(plan: &mut Logical, by: usize) {
    if by == 0 {
        return;
    }
    if let Node::WithParameter { number, .. } = &mut plan.node {
        *number += by;
    }
    expressions_mut(&mut plan.node).into_iter().for_each(|expression| shift_in(expression, by));
    plan.inputs_mut().into_iter().for_each(|input| shift(input, by));
}

fn shift_in(expression: &mut Expression, by: usize) {
    match expression {
        Expression::Parameter { number, .. } => *number += by,
        _ => expression.children_mut().into_iter().for_each(|child| shift_in(child, by)),
    }
}

fn expressions_mut(node: &mut Node) -> Vec<&mut Expression> {
    match node {
        Node::Scan(scan) => scan.filters.iter_mut().collect(),
        Node::Filter { predicate, .. } => vec![predicate],
        Node::Project { expressions, .. } => expressions.iter_mut().collect(),
        Node::Aggregate { keys, calls, .. } | Node::GroupingSets { keys, calls, .. } => {
            let of_calls = calls.iter_mut().flat_map(|call| {
                let order = call.order.iter_mut().map(|key| &mut key.expression);
                call.arguments.iter_mut().chain(&mut call.filter).chain(order)
            });
            keys.iter_mut().chain(of_calls).collect()
        }
        Node::Join(join) => {
            let on = join.on.iter_mut().flat_map(|(left, right)| [left, right]);
            on.chain(&mut join.filter).collect()
        }
        Node::Sort { keys, .. } => keys.iter_mut().map(|key| &mut key.expression).collect(),
        Node::Window { partition, order, calls, .. } => {
            let order = order.iter_mut().map(|key| &mut key.expression);
            partition.iter_mut().chain(order).chain(calls.iter_mut().flat_map(WindowCall::expressions_mut)).collect()
        }
        Node::MapGroups { keys, order, .. } => {
            keys.iter_mut().chain(order.iter_mut().map(|key| &mut key.expression)).collect()
        }
        Node::Values(_)
        | Node::Cached(_)
        | Node::Limit { .. }
        | Node::Union { .. }
        | Node::MapBatches { .. }
        | Node::Write { .. }
        | Node::WithParameter { .. }
        | Node::Shared { .. } => Vec::new(),
    }
}
