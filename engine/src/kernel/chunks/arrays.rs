//! Arrays of a full chunk: what was written for a column becomes its array, where it lies.
//!
//! In: the bytes of a column in a frozen chunk. Out: the array of its type. Never: a copy of values, but of what takes a byte in a chunk and a bit in
//! an array, and of offsets that are longer there.

#![allow(unsafe_code)]

use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, GenericByteViewArray, PrimitiveArray, downcast_integer, downcast_primitive,
};
use arrow::buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowPrimitiveType, BinaryViewType, ByteViewType, DataType, StringViewType};

use crate::kernel::dictionary::Dictionary;

/// An array of a primitive type, for which `ArrayData` would be a detour; nothing for other types.
pub(super) fn primitive(
    data_type: &DataType,
    values: &Buffer,
    rows: usize,
    nulls: &Option<NullBuffer>,
) -> Option<ArrayRef> {
    fn array<T: ArrowPrimitiveType>(
        data_type: &DataType,
        values: &Buffer,
        rows: usize,
        nulls: &Option<NullBuffer>,
    ) -> ArrayRef {
        let values = ScalarBuffer::new(values.clone(), 0, rows);
        Arc::new(PrimitiveArray::<T>::new(values, nulls.clone()).with_data_type(data_type.clone()))
    }
    macro_rules! of {
        ($primitive:ty, $data_type:expr) => {
            Some(array::<$primitive>($data_type, values, rows, nulls))
        };
    }
    downcast_primitive! { data_type => (of, data_type), _ => None }
}

/// Codes and the dictionary that they are of; nothing for other types.
pub(super) fn coded(
    data_type: &DataType,
    codes: &Buffer,
    rows: usize,
    nulls: &Option<NullBuffer>,
    dictionary: Option<&Dictionary>,
) -> Option<ArrayRef> {
    let (DataType::Dictionary(code, _), Some(dictionary)) = (data_type, dictionary) else { return None };
    macro_rules! of {
        ($code:ty) => {{
            let codes = ScalarBuffer::new(codes.clone(), 0, rows);
            let codes = PrimitiveArray::<$code>::new(codes, nulls.clone());
            // SAFETY: the codes are those of valid arrays, put in the numbers of the one dictionary.
            Some(Arc::new(unsafe { DictionaryArray::new_unchecked(codes, Arc::clone(dictionary.values())) }))
        }};
    }
    downcast_integer! { code.as_ref() => (of), _ => None }
}

/// Views and the heap of the long ones; nothing for other types.
pub(super) fn viewed(
    data_type: &DataType,
    views: &Buffer,
    rows: usize,
    nulls: &Option<NullBuffer>,
    heap: &Buffer,
) -> Option<ArrayRef> {
    fn array<T: ByteViewType + ?Sized>(
        views: &Buffer,
        rows: usize,
        nulls: &Option<NullBuffer>,
        heap: &Buffer,
    ) -> ArrayRef {
        let heaps: Vec<Buffer> = if heap.is_empty() { Vec::new() } else { vec![heap.clone()] };
        let views = ScalarBuffer::new(views.clone(), 0, rows);
        // SAFETY: the views are those of valid arrays of this type, and the long ones among them point to their bytes in the one heap.
        Arc::new(unsafe { GenericByteViewArray::<T>::new_unchecked(views, heaps, nulls.clone()) })
    }
    match data_type {
        DataType::Utf8View => Some(array::<StringViewType>(views, rows, nulls, heap)),
        DataType::BinaryView => Some(array::<BinaryViewType>(views, rows, nulls, heap)),
        _ => None,
    }
}

/// A bit for each byte, which is 0 or 1.
pub(super) fn bits_of_bytes(bytes: &[u8]) -> BooleanBuffer {
    let mut bits = MutableBuffer::with_capacity(bytes.len().div_ceil(64) * 8);
    for bytes in bytes.chunks(64) {
        let word = bytes.iter().enumerate().fold(0_u64, |word, (bit, byte)| word | u64::from(*byte) << bit);
        bits.push(word);
    }
    BooleanBuffer::new(bits.into(), 0, bytes.len())
}

/// Offsets of 8 bytes.
pub(super) fn wide_offsets(offsets: &Buffer) -> Buffer {
    Buffer::from_vec(offsets.typed_data::<i32>().iter().map(|offset| i64::from(*offset)).collect())
}
