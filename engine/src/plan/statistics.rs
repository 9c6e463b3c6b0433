//! Estimates: how many rows a node gives, how many distinct values its columns hold.
//!
//! In: logical plans over tables with footer statistics. Out: [`Estimate`]s, which choose join orders and build sides. Never: changes a
//! result; estimates come from files and text only, so that every run plans alike.
//!
//! The model is System R's (Selinger et al. 1979): uniform values, independent conditions, joins by the larger number of distinct keys.

use super::logical::{Join, JoinKind, Logical, Node, Scan};
use crate::{
    batch::datatypes::DataType,
    expression::{BinaryOp, Expression, Literal},
};

/// What is expected of a node's rows.
#[derive(Clone, Debug)]
pub struct Estimate {
    /// How many.
    pub rows: f64,
    /// In order of the schema.
    pub columns: Vec<ColumnEstimate>,
}

/// What is expected of a column's values.
#[derive(Clone, Copy, Debug)]
pub struct ColumnEstimate {
    /// How many different ones.
    pub distinct: f64,
    /// Smallest and largest, as numbers.
    pub range: Option<(f64, f64)>,
}

/// Different strings of a column about which nothing is known: between a flag's few and a name's many.
const STRINGS_DISTINCT: f64 = 30.0;
/// Share of rows that a condition keeps about which nothing is known.
const UNKNOWN_SELECTIVITY: f64 = 0.25;
/// Share of rows that a LIKE keeps.
const LIKE_SELECTIVITY: f64 = 0.08;

/// Share of groups that a condition on aggregates keeps: it is asked for the unusual ones.
const HAVING_SELECTIVITY: f64 = 0.05;

fn is_grouped(node: &Logical) -> bool {
    match &node.node {
        Node::Aggregate { .. } | Node::GroupingSets { .. } => true,
        Node::Project { input, .. } | Node::Shared { input, .. } => is_grouped(input),
        _ => false,
    }
}

/// What is expected of the rows of `node`.
pub fn estimate(node: &Logical) -> Estimate {
    match &node.node {
        Node::Scan(scan) => of_scan(scan),
        Node::Values(batches) => plain(batches.iter().map(|batch| batch.num_rows()).sum::<usize>() as f64, node),
        Node::Cached(rows) => plain(rows.rows() as f64, node),
        Node::Filter { input, predicate } if is_grouped(input) => {
            let input = estimate(input);
            let rows = (input.rows * HAVING_SELECTIVITY).max(1.0);
            input.with_rows(rows)
        }
        Node::Filter { input, predicate } => estimate(input).filtered(predicate),
        Node::Project { input, expressions } => {
            let input = estimate(input);
            let columns = expressions.iter().map(|expression| input.column(expression)).collect();
            Estimate { rows: input.rows, columns }
        }
        Node::Aggregate { input, keys, .. } => {
            let input = estimate(input);
            let keys: Vec<ColumnEstimate> = keys.iter().map(|key| input.column(key)).collect();
            let rows = keys.iter().map(|key| key.distinct).product::<f64>().min(input.rows).max(1.0);
            let mut estimate = plain(rows, node);
            for (column, key) in estimate.columns.iter_mut().zip(keys) {
                *column = ColumnEstimate { distinct: key.distinct.min(rows), ..key };
            }
            estimate
        }
        Node::GroupingSets { input, keys, sets, .. } => {
            let input = estimate(input);
            plain(sets.iter().map(|set| input.groups(set.keys.iter().map(|key| &keys[*key]))).sum(), node)
        }
        Node::Window { input, partition, bound, .. } => {
            let input = estimate(input);
            let rows = bound.map_or(input.rows, |bound| {
                let partitions = partition.iter().map(|key| input.column(key).distinct).product::<f64>();
                input.rows.min(partitions.max(1.0) * bound.most as f64)
            });
            let input = input.with_rows(rows);
            let mut estimate = plain(rows, node);
            estimate.columns.iter_mut().zip(input.columns).for_each(|(column, known)| *column = known);
            estimate
        }
        Node::Join(join) => of_join(join),
        Node::Sort { input, fetch, .. } | Node::Limit { input, fetch, .. } => {
            let input = estimate(input);
            let rows = fetch.map_or(input.rows, |fetch| input.rows.min(fetch as f64));
            input.with_rows(rows)
        }
        Node::Union { inputs } => plain(inputs.iter().map(|input| estimate(input).rows).sum(), node),
        Node::MapBatches { input, .. } | Node::MapGroups { input, .. } => plain(estimate(input).rows, node),
        Node::Write { .. } => plain(1.0, node),
        Node::WithParameter { input, .. } | Node::Shared { input, .. } => estimate(input),
    }
}

fn plain(rows: f64, node: &Logical) -> Estimate {
    Estimate {
        rows,
        columns: vec![ColumnEstimate { distinct: rows.max(1.0), range: None }; node.schema.fields().len()],
    }
}

fn of_scan(scan: &Scan) -> Estimate {
    let statistics = scan.table.statistics();
    let rows = statistics.rows;
    let columns = scan.columns.iter().map(|column| {
        let data_type = scan.table.schema().field(*column).data_type();
        let known = statistics.columns.get(*column).copied().unwrap_or_default();
        let range = known.min.zip(known.max);
        let distinct = match (data_type, range) {
            (DataType::Float32 | DataType::Float64, _) => rows,
            (_, Some((min, max))) => (max - min + 1.0).min(rows),
            (DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8, None) => {
                scan.table.distinct(*column).map_or(STRINGS_DISTINCT, |values| values as f64).min(rows)
            }
            (DataType::Boolean, _) => 2.0,
            _ => rows,
        };
        ColumnEstimate { distinct: distinct.max(1.0), range }
    });
    let mut estimate = Estimate { rows, columns: columns.collect() };
    for filter in &scan.filters {
        estimate = estimate.filtered(filter);
    }
    estimate
}

/// Different values that the columns of a compound key have together, each of which has so many, in sides of which the smaller one has so many
/// rows: no more than rows, as one of the two is nearly always the table whose key it is. Of one column alone the number stays as it is.
pub fn compound_distinct(distinct: &[f64], fewer_rows: f64) -> f64 {
    let (product, largest) =
        distinct.iter().fold((1.0, 1.0_f64), |(product, largest), d| (product * d, largest.max(*d)));
    if distinct.len() < 2 { product } else { product.min(fewer_rows.max(largest)) }
}

fn of_join(join: &Join) -> Estimate {
    let (left, right) = (estimate(&join.left), estimate(&join.right));
    let distinct = join.on.iter().map(|(a, b)| left.column(a).distinct.max(right.column(b).distinct).max(1.0));
    let divisor = compound_distinct(&distinct.collect::<Vec<_>>(), left.rows.min(right.rows));
    let mut matched = left.rows * right.rows / divisor;
    if join.filter.is_some() {
        matched *= UNKNOWN_SELECTIVITY;
    }
    let share = |of: &Estimate, other: &Estimate| {
        let mut share = 1.0_f64;
        for (a, b) in &join.on {
            let (own, others) = if std::ptr::eq(of, &left) { (a, b) } else { (b, a) };
            share *= (other.column(others).distinct / of.column(own).distinct.max(1.0)).min(1.0);
        }
        if join.filter.is_some() { share * 0.5 } else { share }
    };
    let rows = match join.kind {
        JoinKind::Inner => matched,
        JoinKind::Left => matched.max(left.rows),
        JoinKind::Right => matched.max(right.rows),
        JoinKind::Full => matched.max(left.rows + right.rows),
        JoinKind::LeftSemi => left.rows * share(&left, &right),
        JoinKind::RightSemi => right.rows * share(&right, &left),
        JoinKind::LeftAnti => left.rows * (1.0 - share(&left, &right)).max(0.1),
        JoinKind::RightAnti => right.rows * (1.0 - share(&right, &left)).max(0.1),
        JoinKind::LeftMark => left.rows,
        JoinKind::RightMark => right.rows,
    };
    let mark = ColumnEstimate { distinct: 2.0, range: None };
    let columns = match join.kind {
        JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full => [left.columns, right.columns].concat(),
        JoinKind::LeftSemi | JoinKind::LeftAnti => left.columns,
        JoinKind::RightSemi | JoinKind::RightAnti => right.columns,
        JoinKind::LeftMark => [left.columns, vec![mark]].concat(),
        JoinKind::RightMark => [right.columns, vec![mark]].concat(),
    };
    Estimate { rows: f64::INFINITY, columns }.with_rows(rows.max(1.0))
}

impl Estimate {
    /// The estimate with another number of rows; no column has more distinct values than there are rows.
    pub fn with_rows(mut self, rows: f64) -> Estimate {
        self.rows = rows;
        for column in &mut self.columns {
            column.distinct = column.distinct.min(rows).max(1.0);
        }
        self
    }

    /// How many distinct combinations of values these expressions are expected to have.
    pub fn groups<'a>(&self, keys: impl Iterator<Item = &'a Expression>) -> f64 {
        keys.map(|key| self.column(key).distinct).product::<f64>().min(self.rows).max(1.0)
    }

    /// What is expected of an expression's values.
    pub fn column(&self, expression: &Expression) -> ColumnEstimate {
        match expression {
            Expression::Column(column) => self.columns.get(*column).copied(),
            Expression::Cast { input, .. } => Some(self.column(input)),
            Expression::Literal(_) | Expression::Parameter { .. } => {
                Some(ColumnEstimate { distinct: 1.0, range: None })
            }
            // As a date's year.
            Expression::Function { name, .. } if name == "date_part" => {
                Some(ColumnEstimate { distinct: 12.0, range: None })
            }
            _ => None,
        }
        .unwrap_or(ColumnEstimate { distinct: self.rows.max(1.0), range: None })
    }

    /// The rows for which `predicate` is true.
    pub fn filtered(self, predicate: &Expression) -> Estimate {
        let mut rows = self.rows;
        let mut estimate = self;
        for conjunct in predicate.clone().conjuncts() {
            rows = (rows * estimate.selectivity(&conjunct)).max(1.0);
            estimate.narrow(&conjunct);
            if let Expression::Binary { op: BinaryOp::Eq, left, right } = &conjunct
                && let (Expression::Column(column), Expression::Literal(_)) = (&**left, &**right)
                && let Some(column) = estimate.columns.get_mut(*column)
            {
                column.distinct = 1.0;
            }
        }
        estimate.with_rows(rows)
    }

    /// A column that is compared with a value keeps the part of its range that is left: a second bound is judged within it.
    fn narrow(&mut self, conjunct: &Expression) {
        let Expression::Binary { op, left, right } = conjunct else { return };
        let (column, literal, is_upper) = match (op, &**left, &**right) {
            (BinaryOp::Lt | BinaryOp::LtEq, Expression::Column(column), Expression::Literal(literal))
            | (BinaryOp::Gt | BinaryOp::GtEq, Expression::Literal(literal), Expression::Column(column)) => {
                (*column, literal, true)
            }
            (BinaryOp::Gt | BinaryOp::GtEq, Expression::Column(column), Expression::Literal(literal))
            | (BinaryOp::Lt | BinaryOp::LtEq, Expression::Literal(literal), Expression::Column(column)) => {
                (*column, literal, false)
            }
            _ => return,
        };
        let Some(column) = self.columns.get_mut(column) else { return };
        if let (Some((min, max)), Some(value)) = (column.range, literal.as_number()) {
            let (new_min, new_max) = if is_upper { (min, max.min(value)) } else { (min.max(value), max) };
            if new_min <= new_max && max > min {
                column.range = Some((new_min, new_max));
                column.distinct = (column.distinct * (new_max - new_min) / (max - min)).max(1.0);
            }
        }
    }

    /// The share of rows for which `predicate` is true.
    pub fn selectivity(&self, predicate: &Expression) -> f64 {
        match predicate {
            Expression::Binary { op: BinaryOp::And, left, right } => self.selectivity(left) * self.selectivity(right),
            Expression::Binary { op: BinaryOp::Or, left, right } => {
                let (a, b) = (self.selectivity(left), self.selectivity(right));
                a + b - a * b
            }
            Expression::Not(input) => 1.0 - self.selectivity(input),
            Expression::IsNull(_) => 0.05,
            Expression::Like { is_negated, .. } => {
                if *is_negated {
                    1.0 - LIKE_SELECTIVITY
                } else {
                    LIKE_SELECTIVITY
                }
            }
            Expression::InList { input, list, is_negated } => {
                let share = (list.len() as f64 / self.column(input).distinct).min(1.0);
                if *is_negated { 1.0 - share } else { share }
            }
            Expression::Binary { op, left, right } => self.comparison(*op, left, right),
            _ => UNKNOWN_SELECTIVITY,
        }
    }

    fn comparison(&self, op: BinaryOp, left: &Expression, right: &Expression) -> f64 {
        let (a, b) = (self.column(left), self.column(right));
        match op {
            BinaryOp::Eq | BinaryOp::IsNotDistinctFrom => 1.0 / a.distinct.max(b.distinct),
            BinaryOp::NotEq | BinaryOp::IsDistinctFrom => 1.0 - 1.0 / a.distinct.max(b.distinct),
            BinaryOp::Lt | BinaryOp::LtEq => self.below(left, right, 0.33),
            BinaryOp::Gt | BinaryOp::GtEq => self.below(right, left, 0.33),
            _ => UNKNOWN_SELECTIVITY,
        }
    }

    /// The share of rows in which `small < large`, one of them a literal and the other a column whose range is known.
    fn below(&self, small: &Expression, large: &Expression, unknown: f64) -> f64 {
        let share = |column: &Expression, literal: &Literal| {
            let (min, max) = self.column(column).range?;
            let value = literal.as_number()?;
            (max > min).then(|| ((value - min) / (max - min)).clamp(0.0, 1.0))
        };
        match (small, large) {
            (column, Expression::Literal(literal)) => share(column, literal).unwrap_or(unknown),
            (Expression::Literal(literal), column) => share(column, literal).map_or(unknown, |share| 1.0 - share),
            _ => unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(column: usize, op: BinaryOp, days: i32) -> Expression {
        let (left, right) = (Expression::Column(column), Expression::Literal(Literal::date(days)));
        Expression::Binary { op, left: Box::new(left), right: Box::new(right) }
    }

    fn estimate_of(rows: f64, ranges: &[(f64, f64)]) -> Estimate {
        let column = |(min, max): &(f64, f64)| ColumnEstimate { distinct: max - min + 1.0, range: Some((*min, *max)) };
        Estimate { rows, columns: ranges.iter().map(column).collect() }
    }

    #[test]
    fn two_bounds_of_a_column_are_not_independent() {
        let days_of_ten_years = estimate_of(1_000_000.0, &[(0.0, 3_650.0), (0.0, 100.0)]);
        let month = [days(0, BinaryOp::GtEq, 1_825), days(0, BinaryOp::Lt, 1_855)];
        let month = Expression::conjunction(month.to_vec()).map(|month| days_of_ten_years.clone().filtered(&month));
        let rows = month.as_ref().map_or(0.0, |month| month.rows);
        assert!((8_000.0..8_500.0).contains(&rows), "{rows}");
        let distinct = month.map_or(0.0, |month| month.columns[0].distinct);
        assert!((29.0..32.0).contains(&distinct), "{distinct}");
        // Beyond the range, and of a column that nobody has bounded.
        assert_eq!(days_of_ten_years.clone().filtered(&days(0, BinaryOp::Gt, 9_999)).rows, 1.0);
        assert_eq!(days_of_ten_years.filtered(&days(1, BinaryOp::LtEq, 50)).rows, 500_000.0);
    }

    #[test]
    fn columns_of_a_compound_key_are_not_independent() {
        assert_eq!(compound_distinct(&[200_000.0], 10.0), 200_000.0);
        assert_eq!(compound_distinct(&[200_000.0, 10_000.0], 800_000.0), 800_000.0);
        assert_eq!(compound_distinct(&[200_000.0, 10_000.0], 50_000.0), 200_000.0);
        assert_eq!(compound_distinct(&[20.0, 10.0], 1e6), 200.0);
    }
}
