//! Exact sums of pairs of floats (y, x), for correlation, covariance and the line that fits best.
//!
//! In: two columns of floats. Out: results made of terms that are rounded once each. Never: a running mean; its bits depend on the order
//! of the rows.
//!
//! ```text
//!   Σx Σy Σx² Σy² Σxy, exact ──► Sxx = Σx² − (Σx)²/n, Syy, Sxy = Σxy − Σx·Σy/n, rounded once each ──► what SQL makes of them
//! ```
//! A covariance is the correctly rounded one. What is NULL is so as in DataFusion: with fewer than two pairs nothing but averages, sums
//! of squares and the covariance of the population; without a spread of x no slope; without one of x and y no correlation.

use std::{ops::Range, sync::Arc};

use super::{
    Rows, State,
    floats::{column_of_parts, each_part},
    same,
};
use crate::{
    batch::{
        array::{ArrayRef, Float64Array},
        datatypes::DataType,
    },
    error::{Result, bug},
    expression::AggregateFunction,
    operator::aggregate::{
        exact_sum::{ExactProducts, ExactSums, covariance, variance, whole},
        keys::natives_of,
        spec::Call,
    },
};

pub(super) fn new(data_type: &DataType) -> Option<Box<dyn State>> {
    (*data_type == DataType::Float64).then(|| Box::<Pairs>::default() as Box<dyn State>)
}

#[derive(Default)]
struct Pairs {
    /// Of the first column.
    y: Powers,
    /// Of the second.
    x: Powers,
    products: ExactProducts,
}

/// Sums of one of the two.
#[derive(Default)]
struct Powers {
    sums: ExactSums,
    squares: ExactProducts,
}

impl Powers {
    /// The sum of the squares of how far the values are from their mean.
    fn spread(&self, group: usize, count: u64) -> f64 {
        variance(&self.sums, &self.squares, group, count, 1)
    }

    fn mean(&self, group: usize, count: u64) -> f64 {
        self.sums.quotient(group, count)
    }

    fn is_nan(&self, group: usize) -> bool {
        self.sums.special(group).is_some_and(f64::is_nan)
    }
}

impl Pairs {
    /// `(Σxy − Σx·Σy/count) / divisor`.
    fn together(&self, group: usize, count: u64, divisor: u64) -> f64 {
        covariance((&self.y.sums, &self.x.sums), &self.products, group, count, divisor)
    }

    /// The result of `function` for a group that has seen `count` pairs, not 0.
    fn result(&self, function: AggregateFunction, group: usize, count: u64) -> Option<f64> {
        use AggregateFunction as F;
        match function {
            F::CovarSample => (count > 1).then(|| self.together(group, count, count - 1)),
            F::CovarPopulation => Some(self.together(group, count, count)),
            F::RegrAvgX => Some(self.x.mean(group, count)),
            F::RegrAvgY => Some(self.y.mean(group, count)),
            F::RegrSxx => Some(self.x.spread(group, count)),
            F::RegrSyy => Some(self.y.spread(group, count)),
            F::RegrSxy => Some(self.together(group, count, 1)),
            F::Corr => match (self.y.is_nan(group), self.x.is_nan(group)) {
                (true, true) => Some(f64::NAN),
                (false, false) => self.correlation(group, count),
                _ => None,
            },
            F::RegrR2 => self.correlation(group, count).map(|r| r * r),
            F::RegrSlope => self.slope(group, count),
            F::RegrIntercept => {
                let slope = self.slope(group, count)?;
                Some(self.y.mean(group, count) - slope * self.x.mean(group, count))
            }
            _ => None,
        }
    }

    fn slope(&self, group: usize, count: u64) -> Option<f64> {
        let spread = self.x.spread(group, count);
        (count > 1 && spread != 0.0).then(|| self.together(group, count, 1) / spread)
    }

    fn correlation(&self, group: usize, count: u64) -> Option<f64> {
        let (y, x) = (self.y.spread(group, count), self.x.spread(group, count));
        if count < 2 || y == 0.0 || x == 0.0 {
            return None;
        }
        let product = y * x;
        // The root of a square is exact, so that pairs on a line through powers of two have a correlation of 1.
        let divided = match product.is_normal() {
            true => self.together(group, count, 1) / product.sqrt(),
            false => self.together(group, count, 1) / y.sqrt() / x.sqrt(),
        };
        // Only what was rounded can be further from 0.
        Some(divided.clamp(-1.0, 1.0))
    }
}

impl State for Pairs {
    fn resize(&mut self, groups: usize) {
        for powers in [&mut self.y, &mut self.x] {
            powers.sums.resize(groups);
            powers.squares.resize(groups);
        }
        self.products.resize(groups);
    }

    fn update(&mut self, rows: &Rows<'_>, columns: &[ArrayRef]) {
        let (ys, xs) = (natives_of::<f64>(&columns[0]), natives_of::<f64>(&columns[1]));
        rows.each_row(|group, row| {
            let (y, x) = (ys[row], xs[row]);
            if let (Some(y), Some(x)) = (whole(y), whole(x)) {
                self.y.sums.add_whole(group, y);
                self.y.squares.add_whole(group, y, y);
                self.x.sums.add_whole(group, x);
                self.x.squares.add_whole(group, x, x);
                self.products.add_whole(group, y, x);
                return;
            }
            self.y.sums.add(group, y);
            self.y.squares.add_square(group, y);
            self.x.sums.add(group, x);
            self.x.squares.add_square(group, x);
            self.products.add(group, y, x);
        });
    }

    fn merge(&mut self, other: &dyn State, from: &[u32], into: &[u32]) -> Result<()> {
        let other: &Self = same(other)?;
        for (from, into) in from.iter().zip(into) {
            let (from, into) = (*from as usize, *into as usize);
            for (powers, other) in [(&mut self.y, &other.y), (&mut self.x, &other.x)] {
                powers.sums.merge(into, &other.sums, from);
                powers.squares.merge(into, &other.squares, from);
            }
            self.products.merge(into, &other.products, from);
        }
        Ok(())
    }

    fn finish(&self, groups: Range<usize>, counts: &[u64], call: &Call) -> Result<ArrayRef> {
        if call.returns != DataType::Float64 {
            return Err(bug("aggregate", format!("{} of pairs as {}", call.name, call.returns)));
        }
        let result = |(group, count): (usize, &u64)| (*count > 0).then(|| self.result(call.function, group, *count))?;
        Ok(Arc::new(groups.zip(counts).map(result).collect::<Float64Array>()))
    }

    fn partial(&self, groups: Range<usize>, counts: &[u64], _argument: &DataType) -> Result<ArrayRef> {
        Ok(column_of_parts(groups, counts, |group, out| {
            for powers in [&self.y, &self.x] {
                powers.sums.write(group, out);
                powers.squares.write(group, out);
            }
            self.products.write(group, out);
        }))
    }

    fn absorb(&mut self, rows: &Rows<'_>, partials: &ArrayRef) -> Result<()> {
        let Pairs { y, x, products } = self;
        each_part(rows, partials, |group, part| {
            let mut rest = Some(part);
            for powers in [&mut *y, &mut *x] {
                rest = rest.and_then(|rest| powers.sums.read(group, rest));
                rest = rest.and_then(|rest| powers.squares.read(group, rest));
            }
            rest.and_then(|rest| products.read(group, rest)).is_some_and(<[u8]>::is_empty)
        })
    }

    fn bytes_per_group(&self) -> u64 {
        2 * ExactSums::BYTES_PER_GROUP + 3 * ExactProducts::BYTES_PER_GROUP
    }

    fn far_bytes(&self) -> u64 {
        let of_powers = |powers: &Powers| powers.sums.far_bytes() + powers.squares.far_bytes();
        of_powers(&self.y) + of_powers(&self.x) + self.products.far_bytes()
    }
}
