//! Rows: the columns of one batch in the forms in which a scatter moves them.
//!
//! In: arrays of any type, or what a first pass has made of them. Out: for each the [`Form`] that its chunks have, its values, its NULLs, none of
//! them copied unless something stands under a NULL. Never: knows a group.

use std::{ops::Range, sync::Arc};

use arrow::array::{Array, ArrayRef, AsArray, GenericByteViewArray, OffsetSizeTrait, RecordBatch};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, ByteViewType, DataType};

use super::gathered::Bounds;
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
    /// Of rows that a first pass has moved, the words of each bundle, row by row; nothing of others.
    pub(super) bundles: Vec<Buffer>,
    /// Of rows that are moved in two passes, a number each, which the first takes along for the second; nothing of others.
    pub(super) numbers: Buffer,
    /// Of rows that a first pass has moved, what it reads next: asked for while these are moved.
    pub(super) ahead: Buffer,
}

impl Rows {
    /// The rows of a batch.
    pub fn of(batch: &RecordBatch) -> Rows {
        let columns = batch.columns().iter().map(|array| Column::new(Form::of(array.data_type()), array)).collect();
        Rows {
            rows: batch.num_rows(),
            columns,
            bundles: Vec::new(),
            numbers: Buffer::default(),
            ahead: Buffer::default(),
        }
    }

    /// The same with a number for each row, for a first pass.
    ///
    /// # Panics
    /// If these are not as many as rows.
    pub fn with_numbers(self, numbers: Vec<u8>) -> Rows {
        assert_eq!(numbers.len(), self.rows, "a number for each row");
        Rows { numbers: numbers.into(), ..self }
    }

    /// How many there are.
    pub fn row_count(&self) -> usize {
        self.rows
    }

    /// The number of each row, where they were given.
    pub fn numbers(&self) -> &[u8] {
        &self.numbers
    }

    /// For each column, bytes of its strings that stand outside of its rows, in this range.
    pub fn heap_bytes(&self, range: Range<usize>) -> impl Iterator<Item = u64> {
        self.columns.iter().map(move |column| match &column.values {
            Values::Strings(ends, _) => (ends.start(range.end) - ends.start(range.start)) as u64,
            Values::Views(views, Some(_)) => {
                let long =
                    |view: &u128| if *view as u32 as usize > INLINE_BYTES_MAX { u64::from(*view as u32) } else { 0 };
                views[range.clone()].iter().map(long).sum()
            }
            _ => 0,
        })
    }

    /// Bytes of the rows of a range, about.
    pub fn bytes(&self, range: Range<usize>) -> u64 {
        let of = |column: &Column| match &column.values {
            Values::Taken(array) => {
                let data = array.to_data();
                let bytes = data.get_slice_memory_size().unwrap_or_else(|_| data.get_buffer_memory_size());
                (bytes as f64 * range.len() as f64 / self.rows.max(1) as f64) as usize
            }
            _ => column.form.width() * range.len(),
        };
        self.columns.iter().map(of).sum::<usize>() as u64 + self.heap_bytes(range.clone()).sum::<u64>()
    }
}

pub(super) struct Column {
    pub(super) form: Form,
    pub(super) values: Values,
    pub(super) nulls: Option<NullBuffer>,
    /// What codes mean.
    pub(super) dictionary: Option<ArrayRef>,
}

pub(super) enum Values {
    /// Among the words of a bundle.
    Bundled,
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

    /// Where the strings of a range start and end.
    pub(super) fn bounds(&self, range: Range<usize>) -> Bounds<'_> {
        match self {
            Ends::Small(ends) => Bounds::Small(&ends[range.start..=range.end]),
            Ends::Large(ends) => Bounds::Large(&ends[range.start..=range.end]),
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
    fn new(form: Form, array: &ArrayRef) -> Column {
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
        let dictionary = array.as_any_dictionary_opt().map(|dictionary| Arc::clone(dictionary.values()));
        Column { form, values, nulls, dictionary }
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
