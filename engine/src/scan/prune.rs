//! Which splits, and which of their pages, may hold a row that the filters let through.
//!
//! In: conjuncts over the given columns, tests by keys that are known when they are asked, smallest and largest values of row groups and pages. Out: the splits worth
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
    format::{RowTest, parquet::Footer},
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
        Split::Bytes { .. } | Split::Files { .. } => true,
    };
    Ok(splits.into_iter().filter(worth).collect())
}

/// A piece of a row group reduced to the rows from the first to the last page that may hold a row for which all `filters` (over `columns`) are
/// true; none if there is no such page.
pub(super) fn narrow(
    table: &Table,
    extremes: &mut Extremes,
    columns: &[usize],
    filters: &[Expression],
    split: Split,
) -> Option<Split> {
    filters.iter().filter_map(Bound::of).try_fold(split, |split, bound| match columns.get(bound.column) {
        Some(column) => reduce(table, extremes, *column, split, |minima, maxima| bound.may_hold(minima, maxima)),
        None => Some(split),
    })
}

/// A piece of a row group reduced to the rows from the first to the last page of which a test, by what it knows now, may keep a row.
pub(super) fn narrow_by(
    table: &Table,
    extremes: &mut Extremes,
    columns: &[usize],
    test: &dyn RowTest,
    split: Split,
) -> Result<Option<Split>> {
    let Some(place) = test.ranged_column() else { return Ok(Some(split)) };
    let mut failed = None;
    let reduced = reduce(table, extremes, columns[place], split, |minima, maxima| {
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
    extremes: &mut Extremes,
    column: usize,
    split: Split,
    may_hold: impl FnOnce(&ArrayRef, &ArrayRef) -> Option<BooleanArray>,
) -> Option<Split> {
    let (Shape::Parquet(files), Split::RowGroup { file, row_group, rows }) = (table.shape(), &split) else {
        return Some(split);
    };
    let Some(known) = extremes.of(&files[*file].1, (*file, *row_group), column) else { return Some(split) };
    // Only of the pages that the piece has.
    let firsts = &known.firsts;
    let begin = firsts.partition_point(|first| *first <= rows.start).saturating_sub(1);
    let count = firsts.partition_point(|first| *first < rows.end).saturating_sub(begin);
    let (minima, maxima) = (known.minima.slice(begin, count), known.maxima.slice(begin, count));
    let Some(may_hold) = may_hold(&minima, &maxima) else { return Some(split) };
    // An unknown extreme keeps the page.
    let mut kept = (0..count).filter(|page| may_hold.is_null(*page) || may_hold.value(*page));
    let first = kept.next()?;
    let last = kept.next_back().unwrap_or(first);
    let end = firsts.get(begin + last + 1).map_or(rows.end, |end| rows.end.min(*end));
    let rows = rows.start.max(firsts[begin + first])..end;
    Some(Split::RowGroup { file: *file, row_group: *row_group, rows })
}

/// Smallest and largest values of the pages of the latest row group that was looked at: its pieces come one behind the other.
#[derive(Default)]
pub(super) struct Extremes {
    row_group: (usize, usize),
    by_column: Vec<(usize, Option<Known>)>,
}

/// Of a column's pages, or of all rows as if they were one.
struct Known {
    /// The first row of each.
    firsts: Vec<u64>,
    minima: ArrayRef,
    maxima: ArrayRef,
}

impl Extremes {
    /// Those of `column`, if anything is known; `row_group`: the numbers of the file and of the row group.
    fn of(&mut self, footer: &Footer, row_group: (usize, usize), column: usize) -> Option<&Known> {
        if self.row_group != row_group {
            *self = Extremes { row_group, by_column: Vec::new() };
        }
        let number = self.by_column.iter().position(|(known, _)| *known == column).unwrap_or_else(|| {
            let of_pages = footer.page_extremes(row_group.1, column);
            let of_group = || {
                let (minima, maxima) = (footer.minima(column)?, footer.maxima(column)?);
                Some((vec![0], minima.slice(row_group.1, 1), maxima.slice(row_group.1, 1)))
            };
            let known = of_pages.or_else(of_group);
            let known = known.map(|(firsts, minima, maxima)| Known { firsts, minima, maxima });
            self.by_column.push((column, known));
            self.by_column.len() - 1
        });
        self.by_column[number].1.as_ref()
    }
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
        let (column, op, literal) = match (bare(left), bare(right)) {
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

/// Of a column that is cast, codes into a dictionary, the extremes have the type of the values: where that is the literal's, too, the cast
/// changes nothing.
fn bare(side: &Expression) -> &Expression {
    match side {
        Expression::Cast { input, is_try: false, .. } if input.is_column().is_some() => input,
        side => side,
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
