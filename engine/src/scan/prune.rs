//! Which splits, and which of their pages, may hold a row that the filters let through.
//!
//! In: conjuncts over the given columns, tests by a join's keys, smallest and largest values of row groups and pages. Out: the splits worth
//! reading, in order. Never:
//! drops a split that may hold such a row; what it cannot judge it keeps.

use super::{Split, Table, table::Shape};
use crate::{
    batch::{
        array::{Array, ArrayRef, BooleanArray, Scalar},
        compute::{self, kernels::cmp},
    },
    error::Result,
    expression::{BinaryOp, Expression},
    format::RowTest,
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
        Split::RowGroup { file, row_group, .. } => keeps[*file][*row_group],
        Split::Bytes { .. } => true,
    };
    Ok(splits.into_iter().filter(worth).collect())
}

/// A piece of a row group reduced to the rows from the first to the last page that may hold a row for which all `filters` (over `columns`) are
/// true; none if there is no such page.
pub(super) fn narrow(table: &Table, columns: &[usize], filters: &[Expression], split: Split) -> Option<Split> {
    filters.iter().filter_map(Bound::of).try_fold(split, |split, bound| match columns.get(bound.column) {
        Some(column) => reduce(table, *column, split, |minima, maxima| bound.may_hold(minima, maxima)),
        None => Some(split),
    })
}

/// The same by a test that becomes known while the job runs.
pub(super) fn narrow_by(table: &Table, columns: &[usize], test: &dyn RowTest, split: Split) -> Result<Option<Split>> {
    let Some(place) = test.ranged_column() else { return Ok(Some(split)) };
    let mut failed = None;
    let reduced = reduce(table, columns[place], split, |minima, maxima| {
        test.may_keep(minima, maxima).unwrap_or_else(|error| {
            failed = Some(error);
            None
        })
    });
    failed.map_or(Ok(reduced), Err)
}

/// The rows of a piece of a row group from the first to the last page for whose smallest and largest value of `column` a row `may_hold`.
fn reduce(
    table: &Table,
    column: usize,
    split: Split,
    may_hold: impl FnOnce(&ArrayRef, &ArrayRef) -> Option<BooleanArray>,
) -> Option<Split> {
    let (Shape::Parquet(files), Split::RowGroup { file, row_group, rows }) = (table.shape(), &split) else {
        return Some(split);
    };
    let footer = &files[*file].1;
    let of_group =
        || Some((vec![0], footer.minima(column)?.slice(*row_group, 1), footer.maxima(column)?.slice(*row_group, 1)));
    let extremes = footer.page_extremes(*row_group, column).or_else(of_group);
    let Some((firsts, minima, maxima)) = extremes else { return Some(split) };
    let Some(may_hold) = may_hold(&minima, &maxima) else { return Some(split) };
    let end_of = |page: usize| firsts.get(page + 1).copied().unwrap_or(u64::MAX);
    // An unknown extreme keeps the page.
    let kept = (0..firsts.len()).filter(|page| may_hold.is_null(*page) || may_hold.value(*page));
    let kept = kept.filter(|page| firsts[*page] < rows.end && end_of(*page) > rows.start);
    let (first, last) = kept.fold((None, None), |(first, _), page| (first.or(Some(page)), Some(page)));
    let (first, last) = first.zip(last)?;
    let rows = rows.start.max(firsts[first])..rows.end.min(end_of(last));
    Some(Split::RowGroup { file: *file, row_group: *row_group, rows })
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

    /// Per row group or page: can it hold a value for which the comparison is true?
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
