//! The least and the greatest value.
//!
//! In: values of any type with an order. Out: one of them a group. Never: prefers the first of two equal ones; equal values have
//! equal bits here.
//!
//! Floats are ordered as arrow sorts them, with all NaN as one: -∞ … -0, +0 … +∞, NaN. Strings and binary by their bytes, booleans
//! false before true (so bool_and is the least, bool_or the greatest).

use std::{ops::Range, sync::Arc};

use super::{Native, Rows, State, nulls_of, same};
use crate::{
    batch::{
        array::{Array, ArrayRef, AsArray, BooleanArray, GenericByteViewArray},
        buffer::Buffer,
        canonical_bits_32, canonical_bits_64,
        datatypes::{ArrowNativeType, ByteViewType, DataType, i256},
    },
    error::Result,
    operator::aggregate::{
        keys::{ByteStore, column_of_natives, is_bytes, natives_of},
        spec::Call,
    },
};

/// Longest value that stands in its view.
const INLINE_BYTES_MAX: u32 = 12;

pub(super) fn new<const GREATEST: bool>(data_type: &DataType) -> Option<Box<dyn State>> {
    fn state<T: Ordered, const GREATEST: bool>() -> Option<Box<dyn State>> {
        Some(Box::new(Extreme::<T, GREATEST> { keys: Vec::new() }))
    }
    if *data_type == DataType::Boolean {
        return Some(Box::new(BooleanExtreme::<GREATEST> { values: Vec::new() }));
    }
    if is_bytes(data_type) {
        return Some(Box::new(BytesExtreme::<GREATEST>::default()));
    }
    match Native::of(data_type)? {
        Native::I8 => state::<i8, GREATEST>(),
        Native::I16 => state::<i16, GREATEST>(),
        Native::I32 => state::<i32, GREATEST>(),
        Native::I64 => state::<i64, GREATEST>(),
        Native::U8 => state::<u8, GREATEST>(),
        Native::U16 => state::<u16, GREATEST>(),
        Native::U32 => state::<u32, GREATEST>(),
        Native::U64 => state::<u64, GREATEST>(),
        Native::I128 => state::<i128, GREATEST>(),
        Native::I256 => state::<i256, GREATEST>(),
        Native::F32 => state::<f32, GREATEST>(),
        Native::F64 => state::<f64, GREATEST>(),
    }
}

/// A number that is ordered by a key.
trait Ordered: ArrowNativeType {
    type Key: Copy + Ord + Send + Sync + 'static;
    const FIRST: Self::Key;
    const LAST: Self::Key;
    fn key(self) -> Self::Key;
    fn of_key(key: Self::Key) -> Self;
}

macro_rules! ordered_by_itself {
    ($($native:ty),*) => {$(
        impl Ordered for $native {
            type Key = $native;
            const FIRST: $native = <$native>::MIN;
            const LAST: $native = <$native>::MAX;
            #[inline(always)]
            fn key(self) -> $native {
                self
            }
            fn of_key(key: $native) -> $native {
                key
            }
        }
    )*};
}
ordered_by_itself!(i8, i16, i32, i64, u8, u16, u32, u64, i128, i256);

impl Ordered for f64 {
    type Key = i64;
    const FIRST: i64 = i64::MIN;
    const LAST: i64 = i64::MAX;
    #[inline(always)]
    fn key(self) -> i64 {
        // Of a negative number all bits but the sign are turned, so that integers are ordered as the floats are.
        let bits = if self.is_nan() { canonical_bits_64(self) } else { self.to_bits() } as i64;
        bits ^ ((bits >> 63) as u64 >> 1) as i64
    }
    fn of_key(key: i64) -> f64 {
        f64::from_bits((key ^ ((key >> 63) as u64 >> 1) as i64) as u64)
    }
}

impl Ordered for f32 {
    type Key = i32;
    const FIRST: i32 = i32::MIN;
    const LAST: i32 = i32::MAX;
    #[inline(always)]
    fn key(self) -> i32 {
        let bits = if self.is_nan() { canonical_bits_32(self) } else { self.to_bits() } as i32;
        bits ^ ((bits >> 31) as u32 >> 1) as i32
    }
    fn of_key(key: i32) -> f32 {
        f32::from_bits((key ^ ((key >> 31) as u32 >> 1) as i32) as u32)
    }
}

struct Extreme<T: Ordered, const GREATEST: bool> {
    keys: Vec<T::Key>,
}

impl<T: Ordered, const GREATEST: bool> Extreme<T, GREATEST> {
    #[inline(always)]
    fn take(&mut self, group: usize, key: T::Key) {
        let held = &mut self.keys[group];
        *held = if GREATEST { key.max(*held) } else { key.min(*held) };
    }
}

impl<T: Ordered, const GREATEST: bool> State for Extreme<T, GREATEST> {
    fn resize(&mut self, groups: usize) {
        self.keys.resize(groups, if GREATEST { T::FIRST } else { T::LAST });
    }

    fn update(&mut self, rows: &Rows<'_>, columns: &[ArrayRef]) {
        rows.each(&natives_of::<T>(&columns[0]), |group, value| self.take(group, value.key()));
    }

    fn merge(&mut self, other: &dyn State, from: &[u32], into: &[u32]) -> Result<()> {
        let other: &Self = same(other)?;
        for (from, into) in from.iter().zip(into) {
            self.take(*into as usize, other.keys[*from as usize]);
        }
        Ok(())
    }

    fn finish(&self, groups: Range<usize>, counts: &[u64], call: &Call) -> Result<ArrayRef> {
        self.partial(groups, counts, &call.argument)
    }

    fn partial(&self, groups: Range<usize>, counts: &[u64], argument: &DataType) -> Result<ArrayRef> {
        let values: Vec<T> = self.keys[groups].iter().map(|key| T::of_key(*key)).collect();
        Ok(column_of_natives(argument, counts.len(), Buffer::from_vec(values), nulls_of(counts, 1))?)
    }

    fn absorb(&mut self, rows: &Rows<'_>, partials: &ArrayRef) -> Result<()> {
        self.update(rows, std::slice::from_ref(partials));
        Ok(())
    }

    fn bytes_per_group(&self) -> u64 {
        size_of::<T::Key>() as u64
    }
}

struct BooleanExtreme<const GREATEST: bool> {
    values: Vec<bool>,
}

impl<const GREATEST: bool> BooleanExtreme<GREATEST> {
    #[inline(always)]
    fn take(&mut self, group: usize, value: bool) {
        if GREATEST {
            self.values[group] |= value;
        } else {
            self.values[group] &= value;
        }
    }
}

impl<const GREATEST: bool> State for BooleanExtreme<GREATEST> {
    fn resize(&mut self, groups: usize) {
        self.values.resize(groups, !GREATEST);
    }

    fn update(&mut self, rows: &Rows<'_>, columns: &[ArrayRef]) {
        let values = columns[0].as_boolean().values();
        rows.each_row(|group, row| self.take(group, values.value(row)));
    }

    fn merge(&mut self, other: &dyn State, from: &[u32], into: &[u32]) -> Result<()> {
        let other: &Self = same(other)?;
        for (from, into) in from.iter().zip(into) {
            self.take(*into as usize, other.values[*from as usize]);
        }
        Ok(())
    }

    fn finish(&self, groups: Range<usize>, counts: &[u64], call: &Call) -> Result<ArrayRef> {
        self.partial(groups, counts, &call.argument)
    }

    fn partial(&self, groups: Range<usize>, counts: &[u64], _argument: &DataType) -> Result<ArrayRef> {
        let values = self.values[groups].iter().copied().collect();
        Ok(Arc::new(BooleanArray::new(values, nulls_of(counts, 1))))
    }

    fn absorb(&mut self, rows: &Rows<'_>, partials: &ArrayRef) -> Result<()> {
        self.update(rows, std::slice::from_ref(partials));
        Ok(())
    }

    fn bytes_per_group(&self) -> u64 {
        1
    }
}

#[derive(Default)]
struct BytesExtreme<const GREATEST: bool> {
    values: Vec<Option<Vec<u8>>>,
    /// Of each value the first 8 bytes as a number, those beyond its end 0; of none the number that no value is behind.
    heads: Vec<u64>,
    /// Of all values together.
    byte_count: u64,
}

impl<const GREATEST: bool> BytesExtreme<GREATEST> {
    fn take(&mut self, group: usize, value: &[u8]) {
        let held = &mut self.values[group];
        let is_better = match held {
            None => true,
            Some(held) => {
                if GREATEST {
                    value > &held[..]
                } else {
                    value < &held[..]
                }
            }
        };
        if is_better {
            let held = held.get_or_insert_default();
            let before = held.capacity();
            held.clear();
            held.extend_from_slice(value);
            self.byte_count += (held.capacity() - before) as u64;
            self.heads[group] = head_of(value);
        }
    }

    /// Values whose heads are between these numbers are behind the one that is held.
    #[inline(always)]
    fn is_behind(&self, group: usize, least: u64, greatest: u64) -> bool {
        let held = self.heads[group];
        if GREATEST { greatest < held } else { least > held }
    }

    #[inline(always)]
    fn take_rows<'a>(&mut self, rows: &Rows<'_>, value: impl Fn(usize) -> &'a [u8]) {
        rows.each_row(|group, row| {
            let value = value(row);
            let head = head_of(value);
            if !self.is_behind(group, head, head) {
                self.take(group, value);
            }
        });
    }

    /// Most views tell by themselves that their value is behind.
    fn take_views<V: ByteViewType>(&mut self, rows: &Rows<'_>, array: &GenericByteViewArray<V>) {
        let views = array.views();
        rows.each_row(|group, row| {
            let view = views[row];
            let (least, greatest) = if view as u32 <= INLINE_BYTES_MAX {
                let head = ((view >> 32) as u64).swap_bytes();
                (head, head)
            } else {
                let head = u64::from(((view >> 32) as u32).swap_bytes()) << 32;
                (head, head | u64::from(u32::MAX))
            };
            if !self.is_behind(group, least, greatest) {
                self.take(group, array.value(row).as_ref());
            }
        });
    }
}

/// The first 8 bytes, those beyond the end 0, as a number that is ordered as they are.
#[inline(always)]
fn head_of(value: &[u8]) -> u64 {
    match value.first_chunk::<8>() {
        Some(head) => u64::from_be_bytes(*head),
        None => {
            let mut head = [0; 8];
            head[..value.len()].copy_from_slice(value);
            u64::from_be_bytes(head)
        }
    }
}

impl<const GREATEST: bool> State for BytesExtreme<GREATEST> {
    fn resize(&mut self, groups: usize) {
        self.values.resize(groups, None);
        self.heads.resize(groups, if GREATEST { 0 } else { u64::MAX });
    }

    fn update(&mut self, rows: &Rows<'_>, columns: &[ArrayRef]) {
        let values = &columns[0];
        match values.data_type() {
            DataType::Utf8 => {
                let values = values.as_string::<i32>();
                self.take_rows(rows, |row| values.value(row).as_bytes());
            }
            DataType::LargeUtf8 => {
                let values = values.as_string::<i64>();
                self.take_rows(rows, |row| values.value(row).as_bytes());
            }
            DataType::Utf8View => self.take_views(rows, values.as_string_view()),
            DataType::LargeBinary => {
                let values = values.as_binary::<i64>();
                self.take_rows(rows, |row| values.value(row));
            }
            DataType::BinaryView => self.take_views(rows, values.as_binary_view()),
            _ => {
                let values = values.as_binary::<i32>();
                self.take_rows(rows, |row| values.value(row));
            }
        }
    }

    fn merge(&mut self, other: &dyn State, from: &[u32], into: &[u32]) -> Result<()> {
        let other: &Self = same(other)?;
        for (from, into) in from.iter().zip(into) {
            if let Some(value) = &other.values[*from as usize] {
                self.take(*into as usize, value);
            }
        }
        Ok(())
    }

    fn finish(&self, groups: Range<usize>, counts: &[u64], call: &Call) -> Result<ArrayRef> {
        self.partial(groups, counts, &call.argument)
    }

    fn partial(&self, groups: Range<usize>, _counts: &[u64], argument: &DataType) -> Result<ArrayRef> {
        let mut store = ByteStore::default();
        self.values[groups].iter().for_each(|value| store.push_bytes(value.as_deref()));
        Ok(store.into_column(argument)?)
    }

    fn absorb(&mut self, rows: &Rows<'_>, partials: &ArrayRef) -> Result<()> {
        self.update(rows, std::slice::from_ref(partials));
        Ok(())
    }

    fn bytes_per_group(&self) -> u64 {
        size_of::<(Option<Vec<u8>>, u64)>() as u64
    }

    fn far_bytes(&self) -> u64 {
        self.byte_count
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::batch::array::{BinaryArray, BinaryViewArray};

    fn found<const GREATEST: bool>(column: ArrayRef, groups: &[u32]) -> Vec<Option<Vec<u8>>> {
        let mut state = BytesExtreme::<GREATEST>::default();
        state.resize(3);
        let valid = column.nulls().map(|nulls| nulls.inner().clone());
        // In two batches: what is held stands against what comes.
        let half = groups.len() / 2;
        for range in [0..half, half..groups.len()] {
            let valid = valid.as_ref().map(|valid| valid.slice(range.start, range.len()));
            let rows = Rows { groups: &groups[range.clone()], valid: valid.as_ref(), group_count: 3 };
            state.update(&rows, &[column.slice(range.start, range.len())]);
        }
        state.values
    }

    /// Values that share much, around the lengths at which views and heads end.
    fn value() -> impl Strategy<Value = Option<Vec<u8>>> {
        let tail = prop::collection::vec(prop::sample::select(vec![0_u8, 1, b'a', 0x7f, 0x80, 0xff]), 0..3);
        let long = (0..20_usize, tail).prop_map(|(shared, tail)| Some([vec![b'a'; shared], tail].concat()));
        prop_oneof![9 => long, 1 => Just(None)]
    }

    proptest! {
        #[test]
        fn extremes_of_bytes_are_those_of_all_values(rows in prop::collection::vec((0..3_u32, value()), 0..40)) {
            let (groups, values): (Vec<u32>, Vec<Option<Vec<u8>>>) = rows.iter().cloned().unzip();
            let of_group = |group: u32| rows.iter().filter(move |row| row.0 == group).filter_map(|row| row.1.clone());
            let least: Vec<_> = (0..3).map(|group| of_group(group).min()).collect();
            let greatest: Vec<_> = (0..3).map(|group| of_group(group).max()).collect();
            let views: ArrayRef = Arc::new(BinaryViewArray::from_iter(values.iter()));
            let bytes: ArrayRef = Arc::new(BinaryArray::from_iter(values.iter()));
            for column in [views, bytes] {
                prop_assert_eq!(&found::<false>(Arc::clone(&column), &groups), &least);
                prop_assert_eq!(&found::<true>(column, &groups), &greatest);
            }
        }
    }
}
