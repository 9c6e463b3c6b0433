//! Which splits may hold a row that the filters let through.
//!
//! In: conjuncts over the given columns, row groups' smallest and largest values. Out: the splits worth reading, in order. Never:
//! drops a split that may hold such a row; what it cannot judge it keeps.

use super::{Split, Table, table::Shape};
use crate::{
    batch::{
        array::{Array, ArrayRef, BooleanArray, Scalar},
        compute::{self, kernels::cmp},
    },
    error::Result,
    expression::{BinaryOp, Expression},
};

/// The splits of `table` that may hold rows for which all `filters` (over `columns`) are true.
pub fn prune(table: &Table, columns: &[usize], filters: &[Expression]) -> Result<Vec<Split>> {
    let splits = table.splits();
    let Shape::Parquet(files) = table.shape() else { return Ok(splits) };
    let mut keeps: Vec<Vec<bool>> = files.iter().map(|(_, footer)| vec![true; footer.row_group_count()]).collect();
    for filter in filters {
        let Some(bound) = Bound::of(filter) else { continue };
        let Some(column) = columns.get(bound.column) else { continue };
        for ((_, footer), keep) in files.iter().zip(&mut keeps) {
            let (Some(minima), Some(maxima)) = (footer.minima(*column), footer.maxima(*column)) else { continue };
            let Some(may_hold) = bound.may_hold(&minima, &maxima) else { continue };
            for (keep, group) in keep.iter_mut().zip(0..may_hold.len()) {
                // An unknown extreme keeps the row group.
                *keep &= may_hold.is_null(group) || may_hold.value(group);
            }
        }
    }
    let worth = |split: &Split| match split {
        Split::RowGroup { file, row_group } => keeps[*file][*row_group],
        Split::Bytes { .. } => true,
    };
    Ok(splits.into_iter().filter(worth).collect())
}

/// `column op value`.
struct Bound {
    column: usize,
    op: BinaryOp,
    value: ArrayRef,
}

impl Bound {
    fn of(filter: &Expression) -> Option<Bound> {
        let Expression::Binary { op, left, right } = filter else { return None };
        let (column, op, literal) = match (&**left, &**right) {
            (Expression::Column(column), Expression::Literal(literal)) => (*column, *op, literal),
            (Expression::Literal(literal), Expression::Column(column)) => (*column, mirrored(*op)?, literal),
            _ => return None,
        };
        Some(Bound { column, op, value: literal.to_array(1).ok()? })
    }

    /// Per row group: can it hold a value for which the comparison is true?
    fn may_hold(&self, minima: &ArrayRef, maxima: &ArrayRef) -> Option<BooleanArray> {
        // Statistics of floats leave NaN out and may tell −0 from +0, where a comparison does neither.
        if minima.data_type() != self.value.data_type() || minima.data_type().is_floating() {
            return None;
        }
        let value = Scalar::new(&self.value);
        match self.op {
            BinaryOp::Lt => cmp::lt(minima, &value).ok(),
            BinaryOp::LtEq => cmp::lt_eq(minima, &value).ok(),
            BinaryOp::Gt => cmp::gt(maxima, &value).ok(),
            BinaryOp::GtEq => cmp::gt_eq(maxima, &value).ok(),
            BinaryOp::Eq => {
                let above = cmp::lt_eq(minima, &value).ok()?;
                let below = cmp::gt_eq(maxima, &value).ok()?;
                compute::and_kleene(&above, &below).ok()
            }
            _ => None,
        }
    }
}

/// The operator that says the same with its operands exchanged.
fn mirrored(op: BinaryOp) -> Option<BinaryOp> {
    Some(match op {
        BinaryOp::Lt => BinaryOp::Gt,
        BinaryOp::LtEq => BinaryOp::GtEq,
        BinaryOp::Gt => BinaryOp::Lt,
        BinaryOp::GtEq => BinaryOp::LtEq,
        BinaryOp::Eq => BinaryOp::Eq,
        _ => return None,
    })
}
