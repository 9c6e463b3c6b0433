//! The first rows of each partition are asked of the window itself.
//!
//! In: a filter over a window that keeps rows by their row_number, rank or dense_rank, up to a constant. Out: the same rows; the window has
//! the bound. Never: gives a bound to a window with a call that looks at rows behind it, or fails at one.
//!
//! A row beyond the bound comes after all rows within it, so what these see before them stays as it is. The window gives no row beyond its
//! bound, so nothing is left to be filtered by it.

use crate::{
    expression::{BinaryOp, Bound, Expression, FrameUnits, RankBound, WindowCall, WindowFunction, can_fail},
    plan::logical::{Logical, Node},
};

pub(super) fn rewrite(mut plan: Logical) -> Logical {
    for input in plan.inputs_mut() {
        let taken = std::mem::replace(input, Logical::nothing(input.schema.clone()));
        *input = rewrite(taken);
    }
    let Logical { node: Node::Filter { mut input, predicate }, schema } = plan else { return plan };
    let mut kept = predicate.conjuncts();
    kept.retain(|conjunct| match bound_of(conjunct) {
        Some(Wanted { column, most, is_exact }) => !(give(&mut input, column, most) && is_exact),
        None => true,
    });
    match Expression::conjunction(kept) {
        Some(predicate) => Logical { node: Node::Filter { input, predicate }, schema },
        None => *input,
    }
}

/// What a conjunct says of a column of whole numbers from 1.
struct Wanted {
    column: usize,
    /// It is not greater than this, which is 1 at least.
    most: u64,
    /// The conjunct says no more.
    is_exact: bool,
}

fn bound_of(conjunct: &Expression) -> Option<Wanted> {
    let Expression::Binary { op, left, right } = conjunct else { return None };
    let (op, column, literal) = match (&**left, &**right) {
        (Expression::Column(column), Expression::Literal(literal)) => (*op, *column, literal),
        (Expression::Literal(literal), Expression::Column(column)) => {
            let mirrored = match op {
                BinaryOp::GtEq => BinaryOp::LtEq,
                BinaryOp::Gt => BinaryOp::Lt,
                other => *other,
            };
            (mirrored, *column, literal)
        }
        _ => return None,
    };
    let number = u64::try_from(literal.as_i64()?).ok()?;
    let (most, is_exact) = match op {
        BinaryOp::LtEq => (number, true),
        BinaryOp::Lt => (number.checked_sub(1)?, true),
        BinaryOp::Eq => (number, number == 1),
        _ => return None,
    };
    (most > 0).then_some(Wanted { column, most, is_exact })
}

/// Gives the bound to the window of whose calls `column` is one; false if there is none that can have it.
fn give(plan: &mut Logical, column: usize, most: u64) -> bool {
    match &mut plan.node {
        Node::Project { input, expressions } => match expressions[column].is_column() {
            Some(column) => give(input, column, most),
            None => false,
        },
        Node::Window { input, calls, bound, .. } => {
            let Some(call) = column.checked_sub(input.schema.fields().len()) else { return false };
            let is_rank = matches!(
                calls[call].function,
                WindowFunction::RowNumber | WindowFunction::Rank | WindowFunction::DenseRank
            );
            let schema = &input.schema;
            let can_be = |call: &WindowCall| {
                looks_back(call) && !call.expressions().into_iter().any(|expression| can_fail(expression, schema))
            };
            match bound {
                Some(bound) if bound.call == call => bound.most = bound.most.min(most),
                None if is_rank && calls.iter().all(can_be) => *bound = Some(RankBound { call, most }),
                _ => return false,
            }
            true
        }
        _ => false,
    }
}

/// Does it look only at rows that come before the row, and at the row?
fn looks_back(call: &WindowCall) -> bool {
    match &call.function {
        WindowFunction::RowNumber | WindowFunction::Rank | WindowFunction::DenseRank => true,
        WindowFunction::Shifted { offset, .. } => *offset <= 0,
        WindowFunction::Nth { .. } => {
            let ends = match &call.frame.end {
                Bound::Current => true,
                Bound::Offset(offset) => *offset <= 0,
                Bound::Unbounded | Bound::Value(_) => false,
            };
            call.frame.units == FrameUnits::Rows && ends
        }
        // Of a sum it depends on all rows whether it fails.
        WindowFunction::Aggregate(_)
        | WindowFunction::PercentRank
        | WindowFunction::CumeDist
        | WindowFunction::Ntile(_) => false,
    }
}
