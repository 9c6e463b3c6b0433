//! Several columns in one number: a key that is compared at once.
//!
//! In: columns whose widths together fit 64 or 128 bits. Out: one number a row; equal rows give equal numbers. Never: takes a batch
//! that does not fit its layout (a NULL where there is no bit for it, a string that is too long); it says so, and the store changes.
//!
//! ```text
//!   u128:   │ quantity i32 │ flag bool │ NULL? │ NULL? │ ship mode, 1 + 7 bytes      │ 0…
//!                                                       └ length, or 255 for NULL, stands above the bytes
//! ```

use std::ops::{BitAnd, BitOr, Not, Shl, Shr};

use super::bytes::{self, NULL_VIEW};
use crate::batch::{
    ArrowError,
    array::{Array, ArrayData, ArrayRef, AsArray, BooleanArray, make_array},
    buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer},
    datatypes::{ArrowNativeType, DataType},
};

/// Bytes of a string's slot, length included: at most, and at least for it to be of use.
const TEXT_BYTES_MAX: u32 = 8;
const TEXT_BYTES_MIN: u32 = 3;
/// Length that stands for NULL.
const NULL_LENGTH: u64 = 0xff;

/// A number that holds a key.
pub(super) trait Word:
    Copy
    + Eq
    + Default
    + From<u64>
    + BitOr<Output = Self>
    + BitAnd<Output = Self>
    + Not<Output = Self>
    + Shl<u32, Output = Self>
    + Shr<u32, Output = Self>
{
    /// Its low bits.
    fn low(self) -> u64;
    /// A number of 128 bits, cut where it does not fit.
    fn of_wide(value: u128) -> Self;
    /// As 128 bits.
    fn wide(self) -> u128;
}

impl Word for u64 {
    fn low(self) -> u64 {
        self
    }
    fn of_wide(value: u128) -> u64 {
        value as u64
    }
    fn wide(self) -> u128 {
        u128::from(self)
    }
}

impl Word for u128 {
    fn low(self) -> u64 {
        self as u64
    }
    fn of_wide(value: u128) -> u128 {
        value
    }
    fn wide(self) -> u128 {
        self
    }
}

/// Where each column stands in the number.
#[derive(Debug)]
pub(super) struct Layout {
    columns: Vec<Slot>,
    bit_count: u32,
}

#[derive(Debug)]
struct Slot {
    data_type: DataType,
    shape: Shape,
    offset: u32,
    null_bit: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    Boolean,
    /// A number of so many bytes.
    Number(u32),
    /// A string of less than so many bytes.
    Text(u32),
}

impl Layout {
    /// The layout of columns of these types, if they fit into 128 bits; with a bit for NULL each, or without.
    pub(super) fn new(types: &[DataType], has_null_bits: bool) -> Option<Layout> {
        let text_count = types.iter().filter(|data_type| bytes::is_bytes(data_type)).count() as u32;
        let fixed_bits = |data_type: &DataType| match data_type {
            DataType::Boolean => Some(1),
            other => number_bytes(other).map(|bytes| 8 * bytes),
        };
        let mut fixed = 0;
        for data_type in types.iter().filter(|data_type| !bytes::is_bytes(data_type)) {
            fixed += fixed_bits(data_type)? + u32::from(has_null_bits);
        }
        let text_bytes = 128_u32.checked_sub(fixed)? / 8 / text_count.max(1);
        if text_count > 0 && text_bytes < TEXT_BYTES_MIN {
            return None;
        }
        let mut offset = 0;
        let mut columns = Vec::with_capacity(types.len());
        for data_type in types {
            let shape = match data_type {
                DataType::Boolean => Shape::Boolean,
                other => match number_bytes(other) {
                    Some(bytes) => Shape::Number(bytes),
                    None => Shape::Text(text_bytes.min(TEXT_BYTES_MAX)),
                },
            };
            columns.push(Slot { data_type: data_type.clone(), shape, offset, null_bit: None });
            offset += match shape {
                Shape::Boolean => 1,
                Shape::Number(bytes) | Shape::Text(bytes) => 8 * bytes,
            };
        }
        if has_null_bits {
            for column in columns.iter_mut().filter(|column| !matches!(column.shape, Shape::Text(_))) {
                column.null_bit = Some(offset);
                offset += 1;
            }
        }
        Some(Layout { columns, bit_count: offset })
    }

    /// Bits of a key.
    pub(super) fn bit_count(&self) -> u32 {
        self.bit_count
    }

    /// The key of each row, in `keys`; `false` if a row does not fit.
    pub(super) fn pack<K: Word>(&self, columns: &[ArrayRef], keys: &mut Vec<K>) -> bool {
        keys.clear();
        keys.resize(columns.first().map_or(0, Array::len), K::default());
        self.columns.iter().zip(columns).all(|(slot, column)| slot.pack(column, keys))
    }

    /// The columns of these keys.
    pub(super) fn unpack<K: Word>(&self, keys: &[K]) -> Result<Vec<ArrayRef>, ArrowError> {
        self.columns.iter().map(|slot| slot.unpack(keys)).collect()
    }
}

/// Bytes of the values of a type that is kept as a number.
fn number_bytes(data_type: &DataType) -> Option<u32> {
    match data_type {
        DataType::Interval(_) | DataType::Float16 | DataType::Decimal256(..) => None,
        other => other.primitive_width().map(|bytes| bytes as u32),
    }
}

impl Slot {
    fn pack<K: Word>(&self, column: &ArrayRef, keys: &mut [K]) -> bool {
        let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0);
        let values = || column.to_data();
        match self.shape {
            Shape::Boolean => {
                let values = column.as_boolean().values();
                for (row, key) in keys.iter_mut().enumerate() {
                    *key = *key | K::from(u64::from(values.value(row))) << self.offset;
                }
            }
            Shape::Number(1) => put(values().buffer::<u8>(0), self.offset, keys, |value| K::from(u64::from(value))),
            Shape::Number(2) => put(values().buffer::<u16>(0), self.offset, keys, |value| K::from(u64::from(value))),
            Shape::Number(4) => put(values().buffer::<u32>(0), self.offset, keys, |value| K::from(u64::from(value))),
            Shape::Number(8) => put(values().buffer::<u64>(0), self.offset, keys, K::from),
            Shape::Number(_) => put(values().buffer::<u128>(0), self.offset, keys, K::of_wide),
            Shape::Text(bytes) => return self.pack_text(column, bytes, keys),
        }
        match (nulls, self.null_bit) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(nulls), Some(null_bit)) => {
                // What stands at a NULL is anything; it must not tell two NULLs apart.
                let kept = !(self.mask::<K>() << self.offset);
                for row in (!nulls.inner()).set_indices() {
                    keys[row] = keys[row] & kept | K::from(1) << null_bit;
                }
                true
            }
        }
    }

    fn pack_text<K: Word>(&self, column: &ArrayRef, slot_bytes: u32, keys: &mut [K]) -> bool {
        let (views, _) = bytes::views_of(column);
        let length_max = slot_bytes - 1;
        let mask = (1_u64 << (8 * length_max)) - 1;
        let mut longest = 0;
        for (key, view) in keys.iter_mut().zip(views.iter()) {
            let length = *view as u32;
            // NULL is the longest that wraps around to nothing.
            longest = longest.max(length.wrapping_add(1));
            let slot = (view >> 32) as u64 & mask | (u64::from(length) & NULL_LENGTH) << (8 * length_max);
            *key = *key | K::from(slot) << self.offset;
        }
        longest <= slot_bytes
    }

    fn mask<K: Word>(&self) -> K {
        match self.shape {
            Shape::Boolean => K::from(1),
            Shape::Number(bytes) | Shape::Text(bytes) => K::of_wide(u128::MAX >> (128 - 8 * bytes)),
        }
    }

    fn unpack<K: Word>(&self, keys: &[K]) -> Result<ArrayRef, ArrowError> {
        let at = |key: &K| *key >> self.offset;
        let buffer = match self.shape {
            Shape::Boolean => {
                let values: BooleanBuffer = keys.iter().map(|key| at(key).low() & 1 == 1).collect();
                return Ok(std::sync::Arc::new(BooleanArray::new(values, self.nulls(keys))));
            }
            Shape::Number(1) => Buffer::from_vec(keys.iter().map(|key| at(key).low() as u8).collect()),
            Shape::Number(2) => Buffer::from_vec(keys.iter().map(|key| at(key).low() as u16).collect()),
            Shape::Number(4) => Buffer::from_vec(keys.iter().map(|key| at(key).low() as u32).collect()),
            Shape::Number(8) => Buffer::from_vec(keys.iter().map(|key| at(key).low()).collect()),
            Shape::Number(_) => Buffer::from_vec(keys.iter().map(|key| at(key).wide()).collect()),
            Shape::Text(slot_bytes) => {
                let length_max = slot_bytes - 1;
                let views = keys.iter().map(|key| {
                    let slot = at(key).low();
                    match slot >> (8 * length_max) & NULL_LENGTH {
                        NULL_LENGTH => NULL_VIEW,
                        length => u128::from(slot & ((1 << (8 * length_max)) - 1)) << 32 | u128::from(length),
                    }
                });
                return bytes::column_of(&self.data_type, views, &[]);
            }
        };
        column_of_natives(&self.data_type, keys.len(), buffer, self.nulls(keys))
    }

    fn nulls<K: Word>(&self, keys: &[K]) -> Option<NullBuffer> {
        let null_bit = self.null_bit?;
        let nulls: NullBuffer = keys.iter().map(|key| (*key >> null_bit).low() & 1 == 0).collect();
        Some(nulls).filter(|nulls| nulls.null_count() > 0)
    }
}

fn put<K: Word, T: Copy>(values: &[T], offset: u32, keys: &mut [K], word: impl Fn(T) -> K) {
    for (key, value) in keys.iter_mut().zip(values) {
        *key = *key | word(*value) << offset;
    }
}

/// A column of numbers of any type from the bytes of its values.
pub(in super::super) fn column_of_natives(
    data_type: &DataType,
    rows: usize,
    values: Buffer,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, ArrowError> {
    let data = ArrayData::builder(data_type.clone()).len(rows).add_buffer(values).nulls(nulls).build()?;
    Ok(make_array(data))
}

/// The values of a column of numbers, as numbers of the same width.
pub(in super::super) fn natives_of<T: ArrowNativeType>(array: &ArrayRef) -> ScalarBuffer<T> {
    let data = array.to_data();
    ScalarBuffer::new(data.buffers()[0].clone(), data.offset(), data.len())
}
