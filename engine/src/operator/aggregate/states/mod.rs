//! What is kept of the rows of each group: one state an aggregate and column, a structure of arrays by group.
//!
//! In: the group of each row and a column of values. Out: one value a group. Never: an order of rows that can be seen in the result;
//! counts rows (the groups do, once for all states), or looks at a type while it runs over rows.

mod bits; // BitState: and, or, xor of whole numbers
mod extreme; // Extreme, BooleanExtreme, BytesExtreme: least and greatest
mod floats; // FloatSum, Moments: exact sums of floats and of their squares
mod pairs; // Pairs: exact sums of two columns, of their squares and products
mod sums; // WholeSum: sums of integers, decimals, durations

pub(super) use sums::{average_digits, can_be as sum_can_be};

use std::{any::Any, ops::Range};

use super::spec::{AggregateError, Call};
use crate::{
    batch::{
        array::ArrayRef,
        buffer::{BooleanBuffer, NullBuffer},
        datatypes::{DataType, IntervalUnit, i256},
    },
    error::{Result, bug},
};

/// What a state keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StateKind {
    /// The sum; averages are made of it too.
    Sum,
    /// The sum of the values and of their squares.
    Moments,
    /// Of pairs: the sums of both, of their squares and of their products.
    Pairs,
    /// The least value.
    Least,
    /// The greatest value.
    Greatest,
    /// All bits that all values have.
    BitAnd,
    /// All bits that some value has.
    BitOr,
    /// The bits that an odd number of values has.
    BitXor,
}

/// One array, or few, by group.
pub(super) trait State: Any + Send + Sync {
    /// Makes room for groups `0..groups`; new ones have seen nothing.
    fn resize(&mut self, groups: usize);
    /// Takes the arguments of a batch in: one column, or the two of pairs.
    fn update(&mut self, rows: &Rows<'_>, columns: &[ArrayRef]);
    /// Takes in what `other`, a state of the same type, keeps of the groups `from[i]`, for the groups `into[i]`.
    fn merge(&mut self, other: &dyn State, from: &[u32], into: &[u32]) -> Result<()>;
    /// The results of these groups, which have seen `counts` values, as `call` wants them; NULL where that is too few.
    fn finish(&self, groups: Range<usize>, counts: &[u64], call: &Call) -> Result<ArrayRef>;
    /// What is known of these groups, which have seen `counts` values of type `argument`: a column of [`partial_type`], NULL where nothing
    /// was seen.
    fn partial(&self, groups: Range<usize>, counts: &[u64], argument: &DataType) -> Result<ArrayRef>;
    /// Takes in what `partial` gave elsewhere.
    fn absorb(&mut self, rows: &Rows<'_>, partials: &ArrayRef) -> Result<()>;
    /// Bytes of one group.
    fn bytes_per_group(&self) -> u64;
    /// Bytes held beside those.
    fn far_bytes(&self) -> u64 {
        0
    }
}

/// The rows of a batch, as a state sees them.
pub(super) struct Rows<'a> {
    /// The group of each row.
    pub(super) groups: &'a [u32],
    /// The rows that count; all if there is none.
    pub(super) valid: Option<&'a BooleanBuffer>,
    /// How many groups there are; with one, all rows are its.
    pub(super) group_count: usize,
}

impl Rows<'_> {
    /// Each group and value, of the rows that count.
    #[inline(always)]
    fn each<T: Copy>(&self, values: &[T], mut visit: impl FnMut(usize, T)) {
        match self.valid {
            None => self.groups.iter().zip(values).for_each(|(group, value)| visit(*group as usize, *value)),
            Some(valid) => valid.set_indices().for_each(|row| visit(self.groups[row] as usize, values[row])),
        }
    }

    /// Each group and row number, of the rows that count.
    #[inline(always)]
    fn each_row(&self, mut visit: impl FnMut(usize, usize)) {
        match self.valid {
            None => self.groups.iter().enumerate().for_each(|(row, group)| visit(*group as usize, row)),
            Some(valid) => valid.set_indices().for_each(|row| visit(self.groups[row] as usize, row)),
        }
    }
}

/// The state of `kind` for values of `data_type`, both of pairs, if there is one.
pub(super) fn new_state(kind: StateKind, data_type: &DataType) -> Option<Box<dyn State>> {
    match kind {
        StateKind::Sum => sums::new(data_type).or_else(|| floats::new_sum(data_type)),
        StateKind::Moments => floats::new_moments(data_type),
        StateKind::Pairs => pairs::new(data_type),
        StateKind::Least => extreme::new::<false>(data_type),
        StateKind::Greatest => extreme::new::<true>(data_type),
        StateKind::BitAnd | StateKind::BitOr | StateKind::BitXor => bits::new(kind, data_type),
    }
}

/// The type of the column in which a state tells what it knows of its groups.
pub(super) fn partial_type(kind: StateKind, data_type: &DataType) -> DataType {
    match kind {
        StateKind::Sum => sums::partial_type(data_type).unwrap_or(DataType::Binary),
        StateKind::Moments | StateKind::Pairs => DataType::Binary,
        _ => data_type.clone(),
    }
}

/// `other` as the type of the state that it is merged into.
fn same<S: State>(other: &dyn State) -> Result<&S> {
    let other: &dyn Any = other;
    other.downcast_ref().ok_or_else(|| bug("aggregate", "states of two types cannot be merged"))
}

/// The rows with a result.
fn nulls_of(counts: &[u64], count_min: u64) -> Option<NullBuffer> {
    let nulls: NullBuffer = counts.iter().map(|count| *count >= count_min).collect();
    Some(nulls).filter(|nulls| nulls.null_count() > 0)
}

/// The result does not fit into its type.
fn overflow(call: &Call) -> AggregateError {
    AggregateError::Overflow { call: call.name.clone(), data_type: call.returns.clone() }
}

/// The number type behind `data_type`, as a marker for the macro below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Native {
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    I128,
    I256,
    F32,
    F64,
}

impl Native {
    fn of(data_type: &DataType) -> Option<Native> {
        use DataType as D;
        Some(match data_type {
            D::Int8 => Native::I8,
            D::Int16 => Native::I16,
            D::Int32 | D::Date32 | D::Time32(_) | D::Decimal32(..) | D::Interval(IntervalUnit::YearMonth) => {
                Native::I32
            }
            D::Int64 | D::Date64 | D::Time64(_) | D::Timestamp(..) | D::Duration(_) | D::Decimal64(..) => Native::I64,
            D::UInt8 => Native::U8,
            D::UInt16 => Native::U16,
            D::UInt32 => Native::U32,
            D::UInt64 => Native::U64,
            D::Decimal128(..) => Native::I128,
            D::Decimal256(..) => Native::I256,
            D::Float32 => Native::F32,
            D::Float64 => Native::F64,
            _ => return None,
        })
    }
}

/// `10^digits`, as far as it fits.
fn power_of_ten(digits: u32) -> Option<i128> {
    10_i128.checked_pow(digits)
}

/// `10^digits`, as far as it fits.
fn wide_power_of_ten(digits: u32) -> Option<i256> {
    i256::from_i128(10).checked_pow(digits)
}
