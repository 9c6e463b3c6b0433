//! Sums of integers, decimals and durations, and the averages made of them.
//!
//! In: numbers. Out: their exact sum, checked against the type of the result once, at the end. Never: fails on the way; a sum that
//! leaves its type and comes back is right, so the order of the rows cannot decide.
//!
//! A sum is a number of the width of its values (8 bytes at least) and, only once some sum of the table has left it, a second word
//! that counts the turns: `sum = low + turns · 2^width`.

use std::{marker::PhantomData, ops::Range};

use super::{Native, Rows, State, nulls_of, overflow, power_of_ten, same, wide_power_of_ten};
use crate::{
    batch::{
        array::{ArrayRef, Float64Array},
        buffer::Buffer,
        datatypes::{ArrowNativeType, DataType, i256},
    },
    error::{Result, bug},
    expression::AggregateFunction,
    operator::aggregate::{
        big::quotient_i128,
        keys::{column_of_natives, natives_of},
        spec::{AggregateError, Call},
    },
};

/// Up to so many groups a batch is summed in several lanes, so that rows of one group do not wait for each other.
const LANE_GROUPS_MAX: usize = 64;
const LANES: usize = 4;

pub(super) fn new(data_type: &DataType) -> Option<Box<dyn State>> {
    // Times and dates have no sum.
    use DataType as D;
    if !data_type.is_integer() && !data_type.is_decimal() && !matches!(data_type, D::Duration(_)) {
        return None;
    }
    Some(match Native::of(data_type)? {
        Native::I8 => Box::<WholeSum<i8, i64>>::default(),
        Native::I16 => Box::<WholeSum<i16, i64>>::default(),
        Native::I32 => Box::<WholeSum<i32, i64>>::default(),
        Native::I64 => Box::<WholeSum<i64, i64>>::default(),
        Native::U8 => Box::<WholeSum<u8, u64>>::default(),
        Native::U16 => Box::<WholeSum<u16, u64>>::default(),
        Native::U32 => Box::<WholeSum<u32, u64>>::default(),
        Native::U64 => Box::<WholeSum<u64, u64>>::default(),
        Native::I128 => Box::<WholeSum<i128, i128>>::default(),
        Native::I256 => Box::<WholeSum<i256, i256>>::default(),
        Native::F32 | Native::F64 => return None,
    })
}

/// The part of a sum that nearly always is all of it.
pub(super) trait Low: Copy + Default + Send + Sync + 'static {
    /// The sum, wrapped, and by how many turns.
    fn add(self, other: Self) -> (Self, i64);
    /// `self + turns · 2^width`, if 128 bits hold it.
    fn whole(self, turns: i64) -> Option<i128>;
    /// `self + turns · 2^width`, if 256 bits hold it.
    fn wide(self, turns: i64) -> Option<i256>;
    /// A number that holds a sum with its turns.
    type Packed: ArrowNativeType;
    /// `self + turns · 2^width`; only the widest sum can be too large for it.
    fn packed(self, turns: i64) -> Option<Self::Packed>;
    /// The sum and the turns that `packed` was made of.
    fn of_packed(packed: Self::Packed) -> (Self, i64);
}

/// The type of the column that holds the packed sums of `data_type`, if they are whole numbers.
pub(super) fn partial_type(data_type: &DataType) -> Option<DataType> {
    new(data_type)?;
    // Only the widths matter: no number is read as a decimal.
    Some(match Native::of(data_type)? {
        Native::I128 | Native::I256 => DataType::Decimal256(76, 0),
        _ => DataType::Decimal128(38, 0),
    })
}

impl Low for i64 {
    #[inline(always)]
    fn add(self, other: i64) -> (i64, i64) {
        let (sum, wrapped) = self.overflowing_add(other);
        (sum, if wrapped { 1 | other >> 63 } else { 0 })
    }
    fn whole(self, turns: i64) -> Option<i128> {
        Some((i128::from(turns) << 64) + i128::from(self))
    }
    fn wide(self, turns: i64) -> Option<i256> {
        self.whole(turns).map(i256::from_i128)
    }
    type Packed = i128;
    fn packed(self, turns: i64) -> Option<i128> {
        self.whole(turns)
    }
    fn of_packed(packed: i128) -> (i64, i64) {
        let low = packed as i64;
        (low, ((packed - i128::from(low)) >> 64) as i64)
    }
}

impl Low for u64 {
    #[inline(always)]
    fn add(self, other: u64) -> (u64, i64) {
        let (sum, wrapped) = self.overflowing_add(other);
        (sum, i64::from(wrapped))
    }
    fn whole(self, turns: i64) -> Option<i128> {
        Some((i128::from(turns) << 64) + i128::from(self))
    }
    fn wide(self, turns: i64) -> Option<i256> {
        self.whole(turns).map(i256::from_i128)
    }
    type Packed = i128;
    fn packed(self, turns: i64) -> Option<i128> {
        self.whole(turns)
    }
    fn of_packed(packed: i128) -> (u64, i64) {
        (packed as u64, (packed >> 64) as i64)
    }
}

impl Low for i128 {
    #[inline(always)]
    fn add(self, other: i128) -> (i128, i64) {
        let (sum, wrapped) = self.overflowing_add(other);
        (sum, if wrapped { 1 | (other >> 127) as i64 } else { 0 })
    }
    fn whole(self, turns: i64) -> Option<i128> {
        (turns == 0).then_some(self)
    }
    fn wide(self, turns: i64) -> Option<i256> {
        i256::from_i128(self).checked_add(i256::from_parts(0, i128::from(turns)))
    }
    type Packed = i256;
    fn packed(self, turns: i64) -> Option<i256> {
        self.wide(turns)
    }
    fn of_packed(packed: i256) -> (i128, i64) {
        let (low, high) = packed.to_parts();
        let low = low as i128;
        (low, (high + i128::from(low < 0)) as i64)
    }
}

impl Low for i256 {
    #[inline(always)]
    fn add(self, other: i256) -> (i256, i64) {
        let (sum, wrapped) = self.overflowing_add(other);
        (sum, if wrapped { if other.is_negative() { -1 } else { 1 } } else { 0 })
    }
    fn whole(self, turns: i64) -> Option<i128> {
        self.wide(turns)?.to_i128()
    }
    fn wide(self, turns: i64) -> Option<i256> {
        (turns == 0).then_some(self)
    }
    type Packed = i256;
    fn packed(self, turns: i64) -> Option<i256> {
        self.wide(turns)
    }
    fn of_packed(packed: i256) -> (i256, i64) {
        (packed, 0)
    }
}

/// A value as the sum's number.
pub(super) trait Widen<L>: ArrowNativeType {
    fn widen(self) -> L;
}

macro_rules! widen {
    ($($from:ty => $to:ty),*) => {$(
        impl Widen<$to> for $from {
            #[inline(always)]
            fn widen(self) -> $to {
                self.into()
            }
        }
    )*};
}
widen!(i8 => i64, i16 => i64, i32 => i64, i64 => i64, u8 => u64, u16 => u64, u32 => u64, u64 => u64, i128 => i128, i256 => i256);

struct WholeSum<T, L> {
    sums: Vec<L>,
    /// Empty until a sum has wrapped.
    turns: Vec<i64>,
    /// Of a batch, while there are few groups: lane i of group g is at `g · LANES + i`.
    lanes: Vec<L>,
    values: PhantomData<fn(T)>,
}

impl<T, L> Default for WholeSum<T, L> {
    fn default() -> Self {
        WholeSum { sums: Vec::new(), turns: Vec::new(), lanes: Vec::new(), values: PhantomData }
    }
}

impl<T, L: Low> WholeSum<T, L> {
    #[inline(always)]
    fn add(&mut self, group: usize, value: L) {
        let (sum, turns) = self.sums[group].add(value);
        self.sums[group] = sum;
        if turns != 0 {
            self.turn(group, turns);
        }
    }

    #[cold]
    fn turn(&mut self, group: usize, turns: i64) {
        self.turns.resize(self.sums.len(), 0);
        self.turns[group] += turns;
    }

    fn turns(&self, group: usize) -> i64 {
        self.turns.get(group).copied().unwrap_or(0)
    }

    /// The sum, if 128 bits hold it.
    fn whole(&self, group: usize) -> Option<i128> {
        self.sums[group].whole(self.turns(group))
    }

    /// The sum, if 256 bits hold it.
    fn wide(&self, group: usize) -> Option<i256> {
        self.sums[group].wide(self.turns(group))
    }
}

impl<T: Widen<L>, L: Low> WholeSum<T, L> {
    /// Sums rows of few groups in lanes, then adds the lanes up.
    fn update_in_lanes(&mut self, rows: &Rows<'_>, values: &[T]) {
        let mut lanes = std::mem::take(&mut self.lanes);
        lanes.clear();
        lanes.resize(rows.group_count * LANES, L::default());
        let (groups, groups_rest) = rows.groups.as_chunks::<LANES>();
        let (values, values_rest) = values.as_chunks::<LANES>();
        for (groups, values) in groups.iter().zip(values) {
            for lane in 0..LANES {
                let place = &mut lanes[groups[lane] as usize * LANES + lane];
                let (sum, turns) = place.add(values[lane].widen());
                if turns == 0 {
                    *place = sum;
                } else {
                    // The lane is full: its sum goes to the group, the value begins the next one.
                    let full = std::mem::replace(place, values[lane].widen());
                    self.add(groups[lane] as usize, full);
                }
            }
        }
        for (group, value) in groups_rest.iter().zip(values_rest) {
            self.add(*group as usize, value.widen());
        }
        for (group, lanes) in lanes.as_chunks::<LANES>().0.iter().enumerate() {
            lanes.iter().for_each(|sum| self.add(group, *sum));
        }
        self.lanes = lanes;
    }
}

impl<T: Widen<L>, L: Low> State for WholeSum<T, L> {
    fn resize(&mut self, groups: usize) {
        self.sums.resize(groups, L::default());
        if !self.turns.is_empty() {
            self.turns.resize(groups, 0);
        }
    }

    fn update(&mut self, rows: &Rows<'_>, columns: &[ArrayRef]) {
        let values = natives_of::<T>(&columns[0]);
        if rows.valid.is_none() && rows.group_count <= LANE_GROUPS_MAX && values.len() > 4 * rows.group_count {
            self.update_in_lanes(rows, &values);
        } else {
            rows.each(&values, |group, value| self.add(group, value.widen()));
        }
    }

    fn merge(&mut self, other: &dyn State, from: &[u32], into: &[u32]) -> Result<()> {
        let other: &Self = same(other)?;
        for (from, into) in from.iter().zip(into) {
            self.add(*into as usize, other.sums[*from as usize]);
            let turns = other.turns(*from as usize);
            if turns != 0 {
                self.turn(*into as usize, turns);
            }
        }
        Ok(())
    }

    fn finish(&self, groups: Range<usize>, counts: &[u64], call: &Call) -> Result<ArrayRef> {
        let Results { values, is_exact } = match call.function {
            AggregateFunction::Sum => self.results(groups, &call.returns, |_, sum| Some(sum), |_, sum| Some(sum)),
            AggregateFunction::Avg if call.returns == DataType::Float64 => {
                return Ok(std::sync::Arc::new(self.float_averages(groups, counts, call)?));
            }
            AggregateFunction::Avg => {
                let first = groups.start;
                // What DataFusion does: more digits behind the point, then the quotient cut off.
                let factor = power_of_ten(call.more_digits);
                let wide_factor = wide_power_of_ten(call.more_digits);
                self.results(
                    groups,
                    &call.returns,
                    |group, sum| Some(sum.checked_mul(factor?)? / i128::from(counts[group - first].max(1))),
                    |group, sum| {
                        let count = i256::from_i128(i128::from(counts[group - first].max(1)));
                        sum.checked_mul(wide_factor?)?.checked_div(count)
                    },
                )
            }
            other => return Err(bug("aggregate", format!("{} of a sum", other.name()))),
        };
        if !is_exact {
            return Err(overflow(call).into());
        }
        Ok(column_of_natives(&call.returns, counts.len(), values, nulls_of(counts, 1))?)
    }

    fn partial(&self, groups: Range<usize>, counts: &[u64], argument: &DataType) -> Result<ArrayRef> {
        let packed = |group: usize| self.sums[group].packed(self.turns(group));
        let packed = groups.map(packed).collect::<Option<Vec<L::Packed>>>();
        let packed = packed.ok_or_else(|| too_wide(argument))?;
        let data_type = partial_type(argument).ok_or_else(|| bug("aggregate", "a sum of what has none"))?;
        Ok(column_of_natives(&data_type, counts.len(), Buffer::from_vec(packed), nulls_of(counts, 1))?)
    }

    fn absorb(&mut self, rows: &Rows<'_>, partials: &ArrayRef) -> Result<()> {
        rows.each(&natives_of::<L::Packed>(partials), |group, packed| {
            let (sum, turns) = L::of_packed(packed);
            self.add(group, sum);
            if turns != 0 {
                self.turn(group, turns);
            }
        });
        Ok(())
    }

    fn bytes_per_group(&self) -> u64 {
        size_of::<L>() as u64
    }

    fn far_bytes(&self) -> u64 {
        self.turns.capacity() as u64 * 8
    }
}

/// A sum in 256 bits has left them.
fn too_wide(argument: &DataType) -> AggregateError {
    AggregateError::Overflow { call: format!("the sum of values of type {argument}"), data_type: argument.clone() }
}

/// Numbers of the width of a type, and whether all of them are values of it.
struct Results {
    values: Buffer,
    is_exact: bool,
}

impl<T, L: Low> WholeSum<T, L> {
    /// What `whole` makes of each sum, or `wide` where 128 bits are too few.
    fn results(
        &self,
        groups: Range<usize>,
        returns: &DataType,
        whole: impl Fn(usize, i128) -> Option<i128>,
        wide: impl Fn(usize, i256) -> Option<i256>,
    ) -> Results {
        let wide = |group: usize| self.wide(group).and_then(|sum| wide(group, sum));
        let whole = |group: usize| match self.whole(group).and_then(|sum| whole(group, sum)) {
            Some(result) => Some(result),
            None => wide(group)?.to_i128(),
        };
        let below = |precision: &u8| power_of_ten(u32::from(*precision));
        match returns {
            DataType::UInt64 => fitted(groups, |group| whole(group)?.try_into().ok(), 0_u64),
            DataType::Decimal32(precision, _) => {
                let bound = below(precision);
                fitted(
                    groups,
                    |group| whole(group).filter(|v| bound.is_none_or(|b| v.abs() < b))?.try_into().ok(),
                    0_i32,
                )
            }
            DataType::Decimal64(precision, _) => {
                let bound = below(precision);
                fitted(
                    groups,
                    |group| whole(group).filter(|v| bound.is_none_or(|b| v.abs() < b))?.try_into().ok(),
                    0_i64,
                )
            }
            DataType::Decimal128(precision, _) => {
                let bound = below(precision);
                fitted(groups, |group| whole(group).filter(|v| bound.is_none_or(|b| (1 - b..b).contains(v))), 0_i128)
            }
            DataType::Decimal256(precision, _) => {
                let bound = wide_power_of_ten(u32::from(*precision));
                let fits = |v: &i256| bound.is_none_or(|b| *v < b && v.wrapping_neg() < b);
                fitted(groups, |group| wide(group).filter(fits), i256::ZERO)
            }
            // Int64 and durations.
            _ => fitted(groups, |group| whole(group)?.try_into().ok(), 0_i64),
        }
    }

    fn float_averages(
        &self,
        groups: Range<usize>,
        counts: &[u64],
        call: &Call,
    ) -> Result<Float64Array, AggregateError> {
        let mut averages = Vec::with_capacity(counts.len());
        for (group, count) in groups.zip(counts) {
            let sum = self.whole(group).ok_or_else(|| overflow(call))?;
            averages.push(quotient_i128(sum, 0, (*count).max(1)));
        }
        Ok(Float64Array::new(averages.into(), nulls_of(counts, 1)))
    }
}

fn fitted<N: ArrowNativeType>(groups: Range<usize>, result: impl Fn(usize) -> Option<N>, none: N) -> Results {
    let mut is_exact = true;
    let values: Vec<N> = groups
        .map(|group| {
            result(group).unwrap_or_else(|| {
                is_exact = false;
                none
            })
        })
        .collect();
    Results { values: Buffer::from_vec(values), is_exact }
}

/// Can the sum of `data_type` be a `returns`?
pub(in super::super) fn can_be(data_type: &DataType, returns: &DataType) -> bool {
    use DataType as D;
    match (data_type, returns) {
        (d, D::Int64 | D::UInt64) => d.is_integer(),
        (D::Decimal32(_, a), D::Decimal32(_, b))
        | (D::Decimal64(_, a), D::Decimal64(_, b) | D::Decimal128(_, b))
        | (D::Decimal128(_, a), D::Decimal128(_, b))
        | (D::Decimal256(_, a), D::Decimal256(_, b)) => a == b,
        (D::Duration(a), D::Duration(b)) => a == b,
        (D::Float32 | D::Float64, D::Float64) => true,
        _ => false,
    }
}

/// Can the average of `data_type` be a `returns`, and with how many more digits behind the point?
pub(in super::super) fn average_digits(data_type: &DataType, returns: &DataType) -> Option<u32> {
    use DataType as D;
    match (data_type, returns) {
        (d, D::Float64) => (d.is_integer() || matches!(d, D::Float32 | D::Float64)).then_some(0),
        (D::Duration(a), D::Duration(b)) => (a == b).then_some(0),
        (D::Decimal32(_, a), D::Decimal32(_, b))
        | (D::Decimal64(_, a), D::Decimal64(_, b) | D::Decimal128(_, b))
        | (D::Decimal128(_, a), D::Decimal128(_, b))
        | (D::Decimal256(_, a), D::Decimal256(_, b)) => u32::try_from(i32::from(*b) - i32::from(*a)).ok(),
        _ => None,
    }
}
