//! Exact sums of floats, for sum and avg; of their squares too, for variance and standard deviation.
//!
//! In: floats. Out: results rounded once from the exact sums. Never: a running mean; its bits depend on the order of the rows.
//!
//! The variance is the correctly rounded one; the standard deviation is the correctly rounded root of that.

use std::{marker::PhantomData, ops::Range, sync::Arc};

use super::{Native, Rows, State, nulls_of, same};
use crate::{
    batch::{
        array::{ArrayRef, AsArray, BinaryArray, Float64Array},
        datatypes::{ArrowNativeType, DataType},
    },
    error::{Result, bug},
    expression::AggregateFunction,
    operator::aggregate::{
        exact_sum::{ExactProducts, ExactSums, variance},
        keys::natives_of,
        spec::Call,
    },
};

pub(super) fn new_sum(data_type: &DataType) -> Option<Box<dyn State>> {
    match Native::of(data_type)? {
        Native::F32 => Some(Box::<FloatSum<f32>>::default()),
        Native::F64 => Some(Box::<FloatSum<f64>>::default()),
        _ => None,
    }
}

pub(super) fn new_moments(data_type: &DataType) -> Option<Box<dyn State>> {
    match Native::of(data_type)? {
        Native::F32 => Some(Box::<Moments<f32>>::default()),
        Native::F64 => Some(Box::<Moments<f64>>::default()),
        _ => None,
    }
}

#[derive(Default)]
struct FloatSum<T> {
    sums: ExactSums,
    values: PhantomData<fn(T)>,
}

impl<T: ArrowNativeType + Into<f64>> State for FloatSum<T> {
    fn resize(&mut self, groups: usize) {
        self.sums.resize(groups);
    }

    fn update(&mut self, rows: &Rows<'_>, columns: &[ArrayRef]) {
        rows.each(&natives_of::<T>(&columns[0]), |group, value| self.sums.add(group, value.into()));
    }

    fn merge(&mut self, other: &dyn State, from: &[u32], into: &[u32]) -> Result<()> {
        let other: &Self = same(other)?;
        for (from, into) in from.iter().zip(into) {
            self.sums.merge(*into as usize, &other.sums, *from as usize);
        }
        Ok(())
    }

    fn finish(&self, groups: Range<usize>, counts: &[u64], call: &Call) -> Result<ArrayRef> {
        let is_average = call.function == AggregateFunction::Avg;
        let divisor = |count: u64| if is_average { count.max(1) } else { 1 };
        let results = groups.zip(counts).map(|(group, count)| self.sums.quotient(group, divisor(*count)));
        Ok(Arc::new(Float64Array::new(results.collect::<Vec<_>>().into(), nulls_of(counts, 1))))
    }

    fn partial(&self, groups: Range<usize>, counts: &[u64], _argument: &DataType) -> Result<ArrayRef> {
        Ok(column_of_parts(groups, counts, |group, out| self.sums.write(group, out)))
    }

    fn absorb(&mut self, rows: &Rows<'_>, partials: &ArrayRef) -> Result<()> {
        each_part(rows, partials, |group, part| self.sums.read(group, part).filter(|rest| rest.is_empty()).is_some())
    }

    fn bytes_per_group(&self) -> u64 {
        ExactSums::BYTES_PER_GROUP
    }

    fn far_bytes(&self) -> u64 {
        self.sums.far_bytes()
    }
}

#[derive(Default)]
struct Moments<T> {
    sums: ExactSums,
    squares: ExactProducts,
    values: PhantomData<fn(T)>,
}

impl<T: ArrowNativeType + Into<f64>> State for Moments<T> {
    fn resize(&mut self, groups: usize) {
        self.sums.resize(groups);
        self.squares.resize(groups);
    }

    fn update(&mut self, rows: &Rows<'_>, columns: &[ArrayRef]) {
        rows.each(&natives_of::<T>(&columns[0]), |group, value| {
            self.sums.add(group, value.into());
            self.squares.add_square(group, value.into());
        });
    }

    fn merge(&mut self, other: &dyn State, from: &[u32], into: &[u32]) -> Result<()> {
        let other: &Self = same(other)?;
        for (from, into) in from.iter().zip(into) {
            self.sums.merge(*into as usize, &other.sums, *from as usize);
            self.squares.merge(*into as usize, &other.squares, *from as usize);
        }
        Ok(())
    }

    fn finish(&self, groups: Range<usize>, counts: &[u64], call: &Call) -> Result<ArrayRef> {
        use AggregateFunction::{StddevPopulation, StddevSample, VarSample};
        let is_sample = matches!(call.function, VarSample | StddevSample);
        let is_root = matches!(call.function, StddevSample | StddevPopulation);
        let count_min = if is_sample { 2 } else { 1 };
        let results = groups.zip(counts).map(|(group, count)| {
            if *count < count_min {
                return 0.0;
            }
            let divisor = if is_sample { count - 1 } else { *count };
            let variance = variance(&self.sums, &self.squares, group, *count, divisor);
            if is_root { variance.sqrt() } else { variance }
        });
        Ok(Arc::new(Float64Array::new(results.collect::<Vec<_>>().into(), nulls_of(counts, count_min))))
    }

    fn partial(&self, groups: Range<usize>, counts: &[u64], _argument: &DataType) -> Result<ArrayRef> {
        Ok(column_of_parts(groups, counts, |group, out| {
            self.sums.write(group, out);
            self.squares.write(group, out);
        }))
    }

    fn absorb(&mut self, rows: &Rows<'_>, partials: &ArrayRef) -> Result<()> {
        each_part(rows, partials, |group, part| {
            let rest = self.sums.read(group, part);
            rest.and_then(|rest| self.squares.read(group, rest)).filter(|rest| rest.is_empty()).is_some()
        })
    }

    fn bytes_per_group(&self) -> u64 {
        ExactSums::BYTES_PER_GROUP + ExactProducts::BYTES_PER_GROUP
    }

    fn far_bytes(&self) -> u64 {
        self.sums.far_bytes() + self.squares.far_bytes()
    }
}

/// The bytes that `write` gives for each of the groups; NULL where nothing was seen.
pub(super) fn column_of_parts(groups: Range<usize>, counts: &[u64], write: impl Fn(usize, &mut Vec<u8>)) -> ArrayRef {
    let mut bytes = Vec::new();
    let parts = groups.zip(counts).map(|(group, count)| {
        bytes.clear();
        write(group, &mut bytes);
        (*count > 0).then(|| bytes.clone())
    });
    Arc::new(parts.collect::<BinaryArray>())
}

/// Gives each group and what another state wrote of it to `read`, which says whether it could be read.
pub(super) fn each_part(
    rows: &Rows<'_>,
    partials: &ArrayRef,
    mut read: impl FnMut(usize, &[u8]) -> bool,
) -> Result<()> {
    let partials = partials.as_binary::<i32>();
    let mut is_whole = true;
    rows.each_row(|group, row| is_whole &= read(group, partials.value(row)));
    if is_whole { Ok(()) } else { Err(bug("aggregate", "a part of an exact sum cannot be read")) }
}
