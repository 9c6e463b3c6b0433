//! Rows: the columns of one batch in the forms in which a scatter moves them.
//!
//! In: arrays of any type. Out: for each the [`Form`] that its chunks have, its values, its NULLs, none of them copied unless something
//! stands under a NULL. Never: knows a group.

use std::{ops::Range, sync::Arc};

use arrow::array::{Array, ArrayRef, AsArray, GenericByteViewArray, OffsetSizeTrait};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, ByteViewType, DataType};

use super::scatter::INLINE_BYTES_MAX;

/// How a column's values are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Values of so many bytes.
    Fixed { width: usize },
    /// Booleans, a byte each.
    Bits,
    /// Offsets of 4 bytes, one more than rows; the strings in the heap.
    Strings { large: bool },
    /// Views of 16 bytes; the long strings in the heap.
    Views,
    /// By arrow's `take`.
    Taken,
}

impl Form {
    pub(super) fn of(data_type: &DataType) -> Form {
        let width = match data_type {
            DataType::Boolean => return Form::Bits,
            DataType::Utf8 | DataType::Binary => return Form::Strings { large: false },
            DataType::LargeUtf8 | DataType::LargeBinary => return Form::Strings { large: true },
            DataType::Utf8View | DataType::BinaryView => return Form::Views,
            DataType::Dictionary(code, _) => code.primitive_width(),
            DataType::FixedSizeBinary(width) => usize::try_from(*width).ok(),
            other => other.primitive_width(),
        };
        match width {
            Some(width @ (1 | 2 | 4 | 8 | 16)) => Form::Fixed { width },
            _ => Form::Taken,
        }
    }

    /// Bytes of a row in the chunk's columns.
    pub(super) fn width(self) -> usize {
        match self {
            Form::Fixed { width } => width,
            Form::Bits => 1,
            Form::Strings { .. } => 4,
            Form::Views => 16,
            Form::Taken => 0,
        }
    }

    pub(super) fn has_heap(self) -> bool {
        matches!(self, Form::Strings { .. } | Form::Views)
    }
}

/// Columns of one batch, ready to be moved.
pub struct Rows {
    pub(super) rows: usize,
    pub(super) columns: Vec<Column>,
}

pub(super) struct Column {
    pub(super) form: Form,
    pub(super) values: Values,
    pub(super) nulls: Option<NullBuffer>,
}

pub(super) enum Values {
    Fixed(Buffer),
    Bits(BooleanBuffer),
    /// Where each string ends, the first one's start before; all bytes.
    Strings(Ends, Buffer),
    /// Views, their buffers if some are long.
    Views(ScalarBuffer<u128>, Option<Vec<Buffer>>),
    Taken(ArrayRef),
}

/// Offsets of a column of strings.
pub(super) enum Ends {
    Small(ScalarBuffer<i32>),
    Large(ScalarBuffer<i64>),
}

impl Ends {
    /// Where a row's string starts.
    pub(super) fn start(&self, row: usize) -> usize {
        match self {
            Ends::Small(ends) => ends[row].as_usize(),
            Ends::Large(ends) => ends[row].as_usize(),
        }
    }

    /// Lengths of the strings of a range; what is longer than 4 GiB says so.
    pub(super) fn lengths(&self, range: Range<usize>, lengths: &mut Vec<u32>) {
        lengths.clear();
        match self {
            Ends::Small(ends) => {
                let ends = &ends[range.start..=range.end];
                lengths.extend(ends[1..].iter().zip(ends).map(|(end, start)| (end - start) as u32));
            }
            Ends::Large(ends) => {
                let ends = &ends[range.start..=range.end];
                let length = |(end, start): (&i64, &i64)| u32::try_from(end - start).unwrap_or(u32::MAX);
                lengths.extend(ends[1..].iter().zip(ends).map(length));
            }
        }
    }
}

impl Column {
    pub(super) fn new(form: Form, array: &ArrayRef) -> Column {
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0).cloned();
        let values = match form {
            Form::Fixed { width } => {
                let data = array.to_data();
                Values::Fixed(data.buffers()[0].slice_with_length(data.offset() * width, data.len() * width))
            }
            Form::Bits => Values::Bits(array.as_boolean().values().clone()),
            Form::Strings { large: false } => strings(array, Ends::Small),
            Form::Strings { large: true } => strings(array, Ends::Large),
            Form::Views => match array.data_type() {
                DataType::Utf8View => views(array.as_string_view(), nulls.as_ref()),
                _ => views(array.as_binary_view(), nulls.as_ref()),
            },
            Form::Taken => Values::Taken(Arc::clone(array)),
        };
        Column { form, values, nulls }
    }
}

fn strings<O: OffsetSizeTrait>(array: &ArrayRef, ends: fn(ScalarBuffer<O>) -> Ends) -> Values {
    let data = array.to_data();
    let offsets = ScalarBuffer::new(data.buffers()[0].clone(), data.offset(), data.len() + 1);
    Values::Strings(ends(offsets), data.buffers()[1].clone())
}

fn views<T: ByteViewType + ?Sized>(array: &GenericByteViewArray<T>, nulls: Option<&NullBuffer>) -> Values {
    let mut views = array.views().clone();
    if let Some(nulls) = nulls {
        // What stands under a NULL may point anywhere.
        let mut cleared = views.to_vec();
        (!nulls.inner()).set_indices().for_each(|row| cleared[row] = 0);
        views = cleared.into();
    }
    let longest = || views.iter().fold(0, |longest, view| longest.max(*view as u32)) as usize;
    let is_long = !array.data_buffers().is_empty() && longest() > INLINE_BYTES_MAX;
    Values::Views(views, is_long.then(|| array.data_buffers().to_vec()))
}

/// A byte, 0 or 1, for each bit.
pub(super) fn bytes_of_bits(bits: &BooleanBuffer, bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.resize(bits.len(), 0);
    for (bytes, bits) in bytes.chunks_mut(64).zip(bits.bit_chunks().iter_padded()) {
        for (bit, byte) in bytes.iter_mut().enumerate() {
            *byte = (bits >> bit & 1) as u8;
        }
    }
}
