//! The row hash of arrow columns: from types to slices, once per column, then the kernels.
//!
//! In: columns of one length. Out: one 64-bit hash a row, the same for equal rows on every machine, in every version
//! that says [`HASH_VERSION`] 1. Never: unsafe; a dispatch per row (a nested value costs one per column and block).
//!
//! `scalar` defines the hash. A column of 4 or 8 bytes goes to its kernel as it stands; any other becomes words first,
//! a block of rows at a time so that they stay in L1, and those go to the kernel of 8 bytes:
//!
//! ```text
//! i64, f64, i32 … ───────────────────────────────► fold ─► hashes
//! strings, decimals, small numbers ─► words (L1) ─► fold
//! dictionary ─► words of its values, once ─► words by code ─► fold
//! list, struct ─► words of the children, all rows ─► words ─► fold
//! ```

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, GenericByteViewArray, OffsetSizeTrait};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use arrow::datatypes::{ByteViewType, DataType, Float16Type, IntervalUnit, i256};
use twox_hash::XxHash3_64;

use super::Kernels;
use super::scalar::{LENGTH_FACTOR, NULL_WORD, SEED, fold_parts, word_of_bytes, word_of_f64, word_of_i256};
use super::scatter::INLINE_BYTES_MAX;
use super::tokens::add_views;
use crate::error::{Cause, Kind};

/// Which definition [`hash_columns`] follows. Whatever is written with another one is refused, never read.
pub const HASH_VERSION: u16 = 1;

/// Rows whose words are made at a time: 8 KiB of them, in L1 beside their hashes. A multiple of 64, so that a block
/// begins at a word of the validity.
const BLOCK_ROWS: usize = 1024;
const _: () = assert!(BLOCK_ROWS.is_multiple_of(64));

/// Why rows cannot be hashed.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// There is no row without a column to count it.
    #[error("hash rows of no columns")]
    NoColumns,
    /// The columns do not belong together.
    #[error("hash rows of columns that differ in length: column {column} has {rows} rows, the first has {expected}")]
    Length {
        /// Which column, from 0.
        column: usize,
        /// Its rows.
        rows: usize,
        /// The rows of the first.
        expected: usize,
    },
    /// No word is defined for the type.
    #[error("values of type {data_type} cannot be hashed")]
    Unsupported {
        /// The type.
        data_type: DataType,
    },
    /// The processor does not compute what it should.
    #[error("compute the {kernel} of {of} with the kernels for {kernels}: not what the specification says")]
    Disagrees {
        /// The instruction set.
        kernels: &'static str,
        /// What is computed.
        kernel: &'static str,
        /// Of what.
        of: String,
    },
    /// Arrow could not gather the values of a dictionary.
    #[error("gather the values of a dictionary to hash them")]
    Gather {
        /// Arrow's own.
        #[source]
        source: arrow::error::ArrowError,
    },
}

impl Cause for KernelError {
    fn kind(&self) -> Kind {
        match self {
            KernelError::Unsupported { .. } => Kind::Unsupported,
            KernelError::NoColumns
            | KernelError::Length { .. }
            | KernelError::Disagrees { .. }
            | KernelError::Gather { .. } => Kind::Internal,
        }
    }
}

/// The hash of each row, with the kernels of this processor.
///
/// `columns`: at least one, all of the same length. Clears and fills `hashes` with one hash a row; after an error it is
/// empty.
pub fn hash_columns(columns: &[ArrayRef], hashes: &mut Vec<u64>) -> Result<(), KernelError> {
    hash_columns_with(Kernels::detect(), columns, hashes)
}

/// [`hash_columns`] with kernels of the caller's choice: the answer is the same.
pub fn hash_columns_with(kernels: &Kernels, columns: &[ArrayRef], hashes: &mut Vec<u64>) -> Result<(), KernelError> {
    hashes.clear();
    let expected = columns.first().ok_or(KernelError::NoColumns)?.len();
    for (column, array) in columns.iter().enumerate() {
        if array.len() != expected {
            return Err(KernelError::Length { column, rows: array.len(), expected });
        }
    }
    hashes.resize(expected, SEED);
    let folded = columns.iter().try_for_each(|column| fold_column(kernels, column, hashes));
    if folded.is_err() {
        hashes.clear();
    }
    folded
}

/// Folds one column into the hashes of its rows.
fn fold_column(kernels: &Kernels, column: &ArrayRef, hashes: &mut [u64]) -> Result<(), KernelError> {
    let validity = validity_words(column.nulls());
    let data = column.to_data();
    match column.data_type() {
        DataType::UInt64
        | DataType::Int64
        | DataType::Date64
        | DataType::Time64(_)
        | DataType::Timestamp(..)
        | DataType::Duration(_)
        | DataType::Decimal64(..) => (kernels.fold_u64)(&data.buffer::<u64>(0)[..hashes.len()], &validity, hashes),
        DataType::UInt32 => (kernels.fold_u32)(&data.buffer::<u32>(0)[..hashes.len()], &validity, hashes),
        DataType::Int32
        | DataType::Date32
        | DataType::Time32(_)
        | DataType::Decimal32(..)
        | DataType::Interval(IntervalUnit::YearMonth) => {
            (kernels.fold_i32)(&data.buffer::<i32>(0)[..hashes.len()], &validity, hashes);
        }
        DataType::Float64 => (kernels.fold_f64)(&data.buffer::<f64>(0)[..hashes.len()], &validity, hashes),
        DataType::Float32 => (kernels.fold_f32)(&data.buffer::<f32>(0)[..hashes.len()], &validity, hashes),
        _ => make_words(kernels, column.as_ref(), &mut |rows, words| {
            let validity = if validity.is_empty() { &[] } else { &validity[rows.start / 64..rows.end.div_ceil(64)] };
            (kernels.fold_u64)(words, validity, &mut hashes[rows]);
        })?,
    }
    Ok(())
}

/// The validity as words, lowest bit first, row 0 at bit 0; empty when no row is null.
fn validity_words(nulls: Option<&NullBuffer>) -> Vec<u64> {
    match nulls {
        Some(nulls) if nulls.null_count() > 0 => nulls.inner().bit_chunks().iter_padded().collect(),
        _ => Vec::new(),
    }
}

/// The word of each row of an array, nulls included: what a parent folds.
fn all_words(kernels: &Kernels, array: &dyn Array) -> Result<Vec<u64>, KernelError> {
    let mut all = Vec::with_capacity(array.len());
    make_words(kernels, array, &mut |_, words| all.extend_from_slice(words))?;
    if let Some(nulls) = array.nulls() {
        for (row, word) in all.iter_mut().enumerate() {
            if nulls.is_null(row) {
                *word = NULL_WORD;
            }
        }
    }
    Ok(all)
}

/// Takes words a block at a time: their rows, and one word each. Words of null rows are anything.
type Sink<'a> = dyn FnMut(Range<usize>, &[u64]) + 'a;

/// Makes the words of an array of any type, a block at a time; dispatches on the type once.
fn make_words(kernels: &Kernels, array: &dyn Array, sink: &mut Sink<'_>) -> Result<(), KernelError> {
    let rows = array.len();
    let data = array.to_data();
    match array.data_type() {
        DataType::Null => by_block(rows, sink, |_, words| words.fill(NULL_WORD)),
        DataType::Boolean => {
            let values = array.as_boolean().values();
            by_block(rows, sink, |block, words| {
                let bits = values.slice(block.start, block.len());
                for (words, bits) in words.chunks_mut(64).zip(bits.bit_chunks().iter_padded()) {
                    for (bit, word) in words.iter_mut().enumerate() {
                        *word = bits >> bit & 1;
                    }
                }
            });
        }
        DataType::Int8 => each(data.buffer::<i8>(0), rows, sink, |value| value as i64 as u64),
        DataType::Int16 => each(data.buffer::<i16>(0), rows, sink, |value| value as i64 as u64),
        DataType::UInt8 => each(data.buffer::<u8>(0), rows, sink, u64::from),
        DataType::UInt16 => each(data.buffer::<u16>(0), rows, sink, u64::from),
        DataType::UInt32 => each(data.buffer::<u32>(0), rows, sink, u64::from),
        DataType::Int32
        | DataType::Date32
        | DataType::Time32(_)
        | DataType::Decimal32(..)
        | DataType::Interval(IntervalUnit::YearMonth) => {
            each(data.buffer::<i32>(0), rows, sink, |value| value as i64 as u64);
        }
        DataType::UInt64
        | DataType::Int64
        | DataType::Date64
        | DataType::Time64(_)
        | DataType::Timestamp(..)
        | DataType::Duration(_)
        | DataType::Decimal64(..) => each(data.buffer::<u64>(0), rows, sink, |value| value),
        DataType::Float16 => {
            each(array.as_primitive::<Float16Type>().values(), rows, sink, |value| word_of_f64(value.to_f64()));
        }
        DataType::Float32 => each(data.buffer::<f32>(0), rows, sink, |value| word_of_f64(f64::from(value))),
        DataType::Float64 => each(data.buffer::<f64>(0), rows, sink, word_of_f64),
        DataType::Decimal128(..) => {
            let values = &data.buffer::<i128>(0)[..rows];
            by_block(rows, sink, |block, words| (kernels.words_of_i128)(&values[block], words));
        }
        DataType::Decimal256(..) => each(data.buffer::<i256>(0), rows, sink, word_of_i256),
        DataType::Interval(IntervalUnit::DayTime) => {
            // Days, then milliseconds, as they stand in memory: with the little end first that is the word.
            let (pairs, _) = data.buffer::<u32>(0).as_chunks::<2>();
            each(pairs, rows, sink, |[days, milliseconds]| u64::from(days) | u64::from(milliseconds) << 32);
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            // Months and days, then nanoseconds; not as an i128, to which arrow does not align them.
            let (pairs, _) = data.buffer::<u64>(0).as_chunks::<2>();
            each(pairs, rows, sink, |[calendar, nanoseconds]| fold_parts(calendar, nanoseconds));
        }
        DataType::Utf8 => {
            let bytes = array.as_string::<i32>().value_data();
            words_of_strings(kernels, &data.buffer::<u32>(0)[..=rows], bytes, sink);
        }
        DataType::LargeUtf8 => {
            let array = array.as_string::<i64>();
            words_of_offsets(array.value_offsets(), array.value_data(), rows, sink);
        }
        DataType::Binary => {
            let bytes = array.as_binary::<i32>().value_data();
            words_of_strings(kernels, &data.buffer::<u32>(0)[..=rows], bytes, sink);
        }
        DataType::LargeBinary => {
            let array = array.as_binary::<i64>();
            words_of_offsets(array.value_offsets(), array.value_data(), rows, sink);
        }
        DataType::Utf8View => words_of_views(kernels, array.as_string_view(), sink),
        DataType::BinaryView => words_of_views(kernels, array.as_binary_view(), sink),
        DataType::FixedSizeBinary(_) => {
            let array = array.as_fixed_size_binary();
            by_block(rows, sink, |block, words| {
                for (word, row) in words.iter_mut().zip(block) {
                    *word = word_of_bytes(array.value(row));
                }
            });
        }
        DataType::Dictionary(..) => words_of_dictionary(kernels, array, sink)?,
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            words_of_lists(kernels, lists.values(), lists.value_offsets(), rows, sink)?;
        }
        DataType::LargeList(_) => {
            let lists = array.as_list::<i64>();
            words_of_lists(kernels, lists.values(), lists.value_offsets(), rows, sink)?;
        }
        DataType::Map(..) => {
            let maps = array.as_map();
            words_of_lists(kernels, maps.entries(), maps.value_offsets(), rows, sink)?;
        }
        DataType::FixedSizeList(_, length) => {
            let length = *length as usize;
            let elements = all_words(kernels, array.as_fixed_size_list().values())?;
            by_block(rows, sink, |block, words| {
                for (word, row) in words.iter_mut().zip(block) {
                    *word = fold_all(length as u64, &elements[row * length..][..length]);
                }
            });
        }
        DataType::Struct(fields) => {
            let mut folded = vec![fields.len() as u64; rows];
            for field in array.as_struct().columns() {
                for (folded, word) in folded.iter_mut().zip(all_words(kernels, field)?) {
                    *folded = fold_parts(*folded, word);
                }
            }
            by_block(rows, sink, |block, words| words.copy_from_slice(&folded[block]));
        }
        other => return Err(KernelError::Unsupported { data_type: other.clone() }),
    }
    Ok(())
}

/// Calls `fill` for each block of rows with room for their words, then `sink` with the words.
#[inline(always)]
fn by_block(rows: usize, sink: &mut Sink<'_>, mut fill: impl FnMut(Range<usize>, &mut [u64])) {
    let mut words = [0; BLOCK_ROWS];
    for start in (0..rows).step_by(BLOCK_ROWS) {
        let block = start..rows.min(start + BLOCK_ROWS);
        let words = &mut words[..block.len()];
        fill(block.clone(), words);
        sink(block, words);
    }
}

/// The words of values that need nothing but themselves.
#[inline(always)]
fn each<T: Copy>(values: &[T], rows: usize, sink: &mut Sink<'_>, word_of: impl Fn(T) -> u64) {
    by_block(rows, sink, |block, words| {
        for (word, value) in words.iter_mut().zip(&values[block]) {
            *word = word_of(*value);
        }
    });
}

/// The words of strings that stand one behind the other; where most are short by way of views, whose words are made many at once: 0.7 of the
/// time for 4 to 12 bytes.
fn words_of_strings(kernels: &Kernels, offsets: &[u32], bytes: &[u8], sink: &mut Sink<'_>) {
    let mut views: Vec<u128> = Vec::with_capacity(BLOCK_ROWS);
    by_block(offsets.len() - 1, sink, |block, words| {
        let (starts, ends) = (&offsets[block.clone()], &offsets[block.start + 1..=block.end]);
        let strings = || starts.iter().zip(ends).map(|(start, end)| (*start as usize, (end - start) as usize));
        if ends[ends.len() - 1] - starts[0] > (INLINE_BYTES_MAX * block.len()) as u32 {
            words
                .iter_mut()
                .zip(strings())
                .for_each(|(word, (start, length))| *word = word_within(bytes, start, length));
            return;
        }
        views.clear();
        let longest = add_views(kernels, bytes, starts, ends, 0, &mut views);
        (kernels.words_of_views)(&views, words);
        if longest as usize > INLINE_BYTES_MAX {
            for (word, (start, length)) in
                words.iter_mut().zip(strings()).filter(|(_, (_, length))| *length > INLINE_BYTES_MAX)
            {
                *word = word_within(bytes, start, length);
            }
        }
    });
}

/// The words of strings that stand one behind the other.
fn words_of_offsets<O: OffsetSizeTrait>(offsets: &[O], bytes: &[u8], rows: usize, sink: &mut Sink<'_>) {
    by_block(rows, sink, |block, words| {
        let offsets = &offsets[block.start..=block.end];
        let mut start = offsets[0].as_usize();
        for (word, end) in words.iter_mut().zip(&offsets[1..]) {
            let end = end.as_usize();
            *word = word_within(bytes, start, end - start);
            start = end;
        }
    });
}

/// The words of strings as views: the short ones by the kernel, then the long ones where there are any.
fn words_of_views<T: ByteViewType + ?Sized>(kernels: &Kernels, array: &GenericByteViewArray<T>, sink: &mut Sink<'_>) {
    let views = array.views();
    let buffers = array.data_buffers();
    by_block(views.len(), sink, |block, words| {
        let views = &views[block];
        if (kernels.words_of_views)(views, words) {
            for (word, view) in words.iter_mut().zip(views) {
                let length = *view as u32 as usize;
                if length > 12 {
                    let buffer = (*view >> 64) as u32 as usize;
                    *word = word_within(&buffers[buffer], (*view >> 96) as usize, length);
                }
            }
        }
    });
}

/// `scalar::word_of_bytes` of a piece of `bytes`, without a copy where 16 bytes may be read.
#[inline(always)]
fn word_within(bytes: &[u8], start: usize, length: usize) -> u64 {
    /// All bits of the first k bytes.
    const FIRST_BYTES: [u64; 9] = {
        let mut masks = [u64::MAX; 9];
        let mut length = 0;
        while length < 8 {
            masks[length] = (1 << (8 * length)) - 1;
            length += 1;
        }
        masks
    };
    if length > 16 {
        return XxHash3_64::oneshot(&bytes[start..start + length]);
    }
    let Some((window, _)) = bytes[start..].split_first_chunk::<16>() else {
        return word_of_bytes(&bytes[start..start + length]);
    };
    let both = u128::from_le_bytes(*window);
    let first = both as u64 & FIRST_BYTES[length.min(8)] ^ (length as u64).wrapping_mul(LENGTH_FACTOR);
    let second = (both >> 64) as u64 & FIRST_BYTES[length.max(8) - 8];
    // Chosen by a mask: whether a word has more than eight letters is what a branch predictor guesses worst.
    let is_long = u64::from(length > 8).wrapping_neg();
    first ^ ((first ^ fold_parts(first, second)) & is_long)
}

/// The words of a dictionary's values, looked up by code.
///
/// With more values than rows, most of them unused perhaps, the rows' values are gathered and hashed instead.
fn words_of_dictionary(kernels: &Kernels, array: &dyn Array, sink: &mut Sink<'_>) -> Result<(), KernelError> {
    let dictionary = array.as_any_dictionary();
    let rows = array.len();
    let (values, keys) = (dictionary.values(), dictionary.keys());
    if values.len() > rows {
        let gathered = take(values.as_ref(), keys, None).map_err(|source| KernelError::Gather { source })?;
        let words = all_words(kernels, gathered.as_ref())?;
        by_block(rows, sink, |block, out| out.copy_from_slice(&words[block]));
        return Ok(());
    }
    let words = all_words(kernels, values.as_ref())?;
    // The code under a null may be anything, also beyond the values.
    let word_of = |code: usize| words.get(code).copied().unwrap_or(NULL_WORD);
    let codes = keys.to_data();
    match keys.data_type() {
        DataType::Int8 | DataType::UInt8 => each(codes.buffer::<u8>(0), rows, sink, |code| word_of(code.into())),
        DataType::Int16 | DataType::UInt16 => each(codes.buffer::<u16>(0), rows, sink, |code| word_of(code.into())),
        DataType::Int32 | DataType::UInt32 => each(codes.buffer::<u32>(0), rows, sink, |code| word_of(code as usize)),
        _ => each(codes.buffer::<u64>(0), rows, sink, |code| word_of(code as usize)),
    }
    Ok(())
}

/// The words of lists: those of the elements between the first and the last offset, folded list by list.
fn words_of_lists<O: OffsetSizeTrait>(
    kernels: &Kernels,
    elements: &dyn Array,
    offsets: &[O],
    rows: usize,
    sink: &mut Sink<'_>,
) -> Result<(), KernelError> {
    let first = offsets[0].as_usize();
    let used = elements.slice(first, offsets[rows].as_usize() - first);
    let elements = all_words(kernels, used.as_ref())?;
    by_block(rows, sink, |block, words| {
        for (word, row) in words.iter_mut().zip(block) {
            let elements = &elements[offsets[row].as_usize() - first..offsets[row + 1].as_usize() - first];
            *word = fold_all(elements.len() as u64, elements);
        }
    });
    Ok(())
}

/// The word of a value of several parts.
fn fold_all(first: u64, parts: &[u64]) -> u64 {
    parts.iter().fold(first, |folded, part| fold_parts(folded, *part))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BinaryArray, BooleanArray, Decimal128Array, DictionaryArray, Float64Array, Int32Array, Int64Array,
        LargeStringArray, ListArray, StringArray, StringViewArray, StructArray, UInt64Array,
    };
    use arrow::compute::cast;
    use arrow::datatypes::{Field, Int32Type};
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::scalar;
    use crate::kernel::testing::{Random, cases, random_array, random_type};

    fn hashes_of(columns: &[ArrayRef]) -> Vec<u64> {
        let mut hashes = Vec::new();
        hash_columns(columns, &mut hashes).unwrap();
        hashes
    }

    proptest! {
        #![proptest_config(cases(512))]

        /// Columns of any types, with nulls and slices: each instruction set answers what the specification says.
        #[test]
        fn every_instruction_set_agrees_with_the_specification(seed: u64) {
            let mut random = Random::new(seed);
            let rows = random.below(200);
            let columns: Vec<ArrayRef> = (0..1 + random.below(3))
                .map(|_| {
                    let data_type = random_type(&mut random, 2);
                    random_array(&mut random, &data_type, true, rows)
                })
                .collect();
            let expected = scalar::hash_rows(&columns).unwrap();
            let mut hashes = vec![1, 2, 3];
            for (name, kernels) in Kernels::all_available() {
                hash_columns_with(kernels, &columns, &mut hashes).unwrap();
                let types: Vec<_> = columns.iter().map(|column| column.data_type()).collect();
                prop_assert_eq!(&hashes, &expected, "{} on {:?}", name, types);
            }
        }

        /// More rows than a block, and a bitmap that does not begin at a byte.
        #[test]
        fn blocks_meet_without_a_seam(seed: u64) {
            let mut random = Random::new(seed);
            let rows = 2 * BLOCK_ROWS - 3 + random.below(200);
            use DataType as T;
            for data_type in [T::Utf8, T::Utf8View, T::Boolean, T::Int64, T::Decimal128(38, 2)] {
                let column = random_array(&mut random, &data_type, true, rows);
                let expected = scalar::hash_rows(std::slice::from_ref(&column)).unwrap();
                prop_assert_eq!(hashes_of(&[column]), expected, "{}", data_type);
            }
        }

        /// A string hashes the same however it is stored.
        #[test]
        fn equal_strings_hash_equal_in_every_layout(strings: Vec<Option<String>>) {
            let plain: ArrayRef = Arc::new(StringArray::from(strings));
            let expected = hashes_of(std::slice::from_ref(&plain));
            let dictionary = |key: DataType, value: DataType| DataType::Dictionary(Box::new(key), Box::new(value));
            for other in [
                DataType::LargeUtf8,
                DataType::Utf8View,
                DataType::Binary,
                DataType::LargeBinary,
                DataType::BinaryView,
                dictionary(DataType::Int32, DataType::Utf8),
                dictionary(DataType::UInt16, DataType::LargeUtf8),
                dictionary(DataType::Int64, DataType::Utf8View),
            ] {
                let stored = cast(&plain, &other).unwrap();
                prop_assert_eq!(&hashes_of(&[stored]), &expected, "{}", other);
            }
        }

        /// A number hashes the same in every width that holds it.
        #[test]
        fn equal_numbers_hash_equal_in_every_width(numbers: Vec<Option<i8>>) {
            let narrow: ArrayRef = Arc::new(arrow::array::Int8Array::from(numbers));
            let expected = hashes_of(std::slice::from_ref(&narrow));
            for other in [
                DataType::Int16,
                DataType::Int32,
                DataType::Int64,
                DataType::Decimal32(9, 0),
                DataType::Decimal64(18, 0),
                DataType::Decimal128(38, 0),
                DataType::Decimal256(76, 0),
            ] {
                let wide = cast(&narrow, &other).unwrap();
                prop_assert_eq!(&hashes_of(&[wide]), &expected, "{}", other);
            }
        }
    }

    #[test]
    fn floats_equal_as_keys_hash_equal() {
        let payload = f64::from_bits(0xfff8_0000_dead_beef);
        let doubles = Float64Array::from(vec![0.0, -0.0, f64::NAN, payload, 1.5, f64::INFINITY]);
        let singles = cast(&doubles, &DataType::Float32).unwrap();
        let halves = cast(&doubles, &DataType::Float16).unwrap();
        let hashes = hashes_of(&[Arc::new(doubles)]);
        assert_eq!(hashes[0], hashes[1]);
        assert_eq!(hashes[2], hashes[3]);
        assert_ne!(hashes[2], hashes[5]);
        assert_eq!(hashes_of(&[singles]), hashes);
        assert_eq!(hashes_of(&[halves]), hashes);
    }

    #[test]
    fn columns_that_do_not_belong_together_are_refused() {
        let two: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
        let three: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3]));
        let mut hashes = vec![7];
        assert!(matches!(hash_columns(&[], &mut hashes), Err(KernelError::NoColumns)));
        let error = hash_columns(&[two, three], &mut hashes).unwrap_err();
        assert!(matches!(error, KernelError::Length { column: 1, rows: 3, expected: 2 }));
        assert!(hashes.is_empty());
    }

    /// Hashes that stand in spools, journals and records of other versions: they never change while `HASH_VERSION` is
    /// 1.
    #[test]
    fn the_hash_is_fixed_for_ever() {
        assert_eq!(HASH_VERSION, 1);
        let strings = ["", "a", "12345678", "123456789", "1234567890123456", "12345678901234567", "\u{3c0}\0"];
        assert_eq!(hashes_of(&[Arc::new(Int64Array::from(vec![0, 1, -1, 42, i64::MIN]))]), GOLDEN_NUMBERS);
        assert_eq!(hashes_of(&[Arc::new(StringArray::from(strings.to_vec()))]), GOLDEN_STRINGS);
        let long = "x".repeat(1000);
        assert_eq!(hashes_of(&[Arc::new(LargeStringArray::from(vec![long]))]), [GOLDEN_LONG]);

        let mixed: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from(vec![Some(u64::MAX), None])),
            Arc::new(Float64Array::from(vec![-1.25, f64::NAN])),
            Arc::new(BooleanArray::from(vec![true, false])),
            Arc::new(Decimal128Array::from(vec![-(1i128 << 100), 12_345])),
            Arc::new(StringViewArray::from(vec!["short", "longer than a view holds"])),
            Arc::new(BinaryArray::from_vec(vec![b"\xff\x00", b""])),
            Arc::new(vec!["one", "two"].into_iter().collect::<DictionaryArray<Int32Type>>()),
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), Some(vec![])])),
            Arc::new(StructArray::from(vec![(
                Arc::new(Field::new("a", DataType::Int32, true)),
                Arc::new(Int32Array::from(vec![Some(7), None])) as ArrayRef,
            )])),
        ];
        assert_eq!(hashes_of(&mixed), GOLDEN_MIXED);
    }

    // Computed by another implementation, in Python with the reference XXH3, from the table in `scalar`.
    const GOLDEN_NUMBERS: [u64; 5] = [
        0xe9e0_033e_3bad_af36,
        0x8204_7734_2d9c_40c0,
        0x29ab_bd84_e8a2_a2c0,
        0x60bb_4d53_92b9_7d06,
        0x092e_87d0_1a39_19a9,
    ];
    const GOLDEN_STRINGS: [u64; 7] = [
        0xe9e0_033e_3bad_af36,
        0xf1b3_0e0c_8c45_abd9,
        0x06d9_0184_3e36_6619,
        0xb4bc_fc38_25ec_4baf,
        0x80b8_10f3_0417_e2df,
        0x0a7a_3d5c_bd51_faa6,
        0x874d_e79d_91cd_ac56,
    ];
    const GOLDEN_LONG: u64 = 0xbc81_97be_fe79_a497;
    const GOLDEN_MIXED: [u64; 2] = [0x2c93_a45a_cfd0_3df0, 0xcd81_3203_7c4d_f668];

    /// Every use of the bits (group, sub-partition, tag, table) sees keys spread as if by chance, also counters,
    /// multiples of powers of two and short words.
    #[test]
    fn all_bits_are_mixed() {
        const ROWS: usize = 1 << 16;
        let counters: ArrayRef = Arc::new(Int64Array::from_iter_values(0..ROWS as i64));
        let multiples: ArrayRef = Arc::new(Int64Array::from_iter_values((0..ROWS as i64).map(|row| row << 40)));
        let doubles: ArrayRef = Arc::new(Float64Array::from_iter_values((0..ROWS).map(|row| row as f64)));
        let words: ArrayRef = Arc::new(StringArray::from_iter_values((0..ROWS).map(|row| format!("w{row}"))));
        let long: ArrayRef = Arc::new(StringArray::from_iter_values((0..ROWS).map(|row| format!("customer{row:08}"))));
        let pairs = [counters.clone(), Arc::new(Int64Array::from_iter_values((0..ROWS as i64).map(|row| row % 7)))];
        for columns in [&[counters.clone()][..], &[multiples], &[doubles], &[words], &[long], &pairs] {
            let hashes = hashes_of(columns);
            for shift in [56, 48, 40, 32, 24, 16, 8, 0] {
                let mut counts = [0u32; 256];
                for hash in &hashes {
                    counts[(hash >> shift) as usize & 255] += 1;
                }
                // 256 a bin on average; by chance one bin in a hundred thousand differs by more than 4.5 × √256.
                assert!(counts.iter().all(|count| (256 - 96..256 + 96).contains(count)), "bits {shift}: {counts:?}");
            }
            let mut sorted = hashes;
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), ROWS);
        }
    }
}
