//! Conditions on one relation that follow from an OR over several: `(a and x) or (b and y)` implies `a or b`.
//!
//! In: a condition over several relations. Out: for one of them a weaker condition that every row of the result fulfils. Never:
//! replaces the condition itself, which stays.

use std::collections::BTreeSet;

use crate::expression::{BinaryOp, Expression};

/// What `condition` implies for the columns for which `is_own` holds, if it implies anything.
pub(super) fn implied(condition: &Expression, is_own: &dyn Fn(usize) -> bool) -> Option<Expression> {
    let branches = disjuncts(condition);
    if branches.len() < 2 {
        return None;
    }
    let mut parts = Vec::new();
    for branch in branches {
        let own = branch.clone().conjuncts().into_iter().filter(|conjunct| {
            let mut used = BTreeSet::new();
            conjunct.columns_used(&mut used);
            !used.is_empty() && used.iter().all(|column| is_own(*column))
        });
        // A branch that says nothing of this relation lets every row of it through.
        parts.push(Expression::conjunction(own.collect())?);
    }
    parts.into_iter().reduce(|left, right| Expression::Binary {
        op: BinaryOp::Or,
        left: Box::new(left),
        right: Box::new(right),
    })
}

fn disjuncts(condition: &Expression) -> Vec<&Expression> {
    match condition {
        Expression::Binary { op: BinaryOp::Or, left, right } => [disjuncts(left), disjuncts(right)].concat(),
        other => vec![other],
    }
}
