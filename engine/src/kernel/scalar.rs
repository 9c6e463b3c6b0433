//! The specification: what every kernel answers, written as plainly as it can be said.
//!
//! In: the same arguments as the kernels. Out: the answer by definition. Never: a trick; this file is read to learn
//! what is right, and the property tests hold every instruction set to it.
//!
//! # The row hash, version 1, fixed for ever
//!
//! A value has one 64-bit *word*. A row's hash folds the words of its columns from left to right:
//!
//! ```text
//! hash = SEED;  for each column:  hash = mix(hash ^ word)
//! ```
//!
//! `mix` is a bijection of 64 bits that mixes all of them (Stafford's variant 13, the finalizer of SplitMix64: Steele,
//! Lea & Flood 2014), so one column of at most eight bytes never collides, and every bit of the hash may be used: 63–56
//! group, 55–48 sub-partition, 47–32 tag and salt, 31–0 table. Longer values fold their parts first, `fold(a, b) =
//! mix(a) ^ b`:
//!
//! | value | word |
//! |---|---|
//! | null | `NULL_WORD` |
//! | boolean | 0 or 1 |
//! | i8 … i64, date, time, timestamp, duration, interval of months | sign-extended to i64 |
//! | u8 … u64 | zero-extended |
//! | f16, f32, f64 | bits of the f64, after −0 became +0 and every NaN became `NAN_BITS` |
//! | decimal of any width | words from the lowest, without those above that only extend the sign; folded |
//! | interval of days and milliseconds | days, low half; milliseconds, high half |
//! | interval of months, days, nanoseconds | the word (months, low half; days, high half), folded with nanoseconds |
//! | string, binary, up to 8 bytes | the bytes, little-endian, zero-padded, ^ length × `LENGTH_FACTOR` |
//! | up to 16 bytes | the first eight as above, folded with the other bytes, little-endian, zero-padded |
//! | longer | XXH3-64 of the bytes, seed 0 |
//! | list (also large, fixed-size, map) | the length, folded with the word of each element |
//! | struct | the number of fields, folded with the word of each |
//! | dictionary | the word of the value it stands for |
//!
//! So equal integers agree, of any width, signed or not, and so do decimals with the unscaled number (equal decimals of
//! another scale do not), and strings and binary however they are stored.
//!
//! Multiplications keep 64 bits, so four or eight lanes do them at once; XXH3 is taken where it is best, on long
//! strings.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use arrow::array::{Array, AsArray, make_view};
use arrow::datatypes::{DataType, IntervalUnit, i256};
use twox_hash::XxHash3_64;

use super::{
    KernelError, Kernels,
    bundle::{Bundle, Sources, words_of_row},
    few::{few_keys_scalar, part_scalar},
    gathered::{Bounds, ByGroup, Places, Texts},
    nearest::LANES,
    partition::GROUPS_MAX,
    scatter::{Heaps, Starts, Stream},
    sorted::Ordered,
    tiles::Tile,
};

/// What a row's hash starts from: the first digits of π.
pub const SEED: u64 = 0x243f_6a88_85a3_08d3;
/// The word of a null: the next digits of π.
pub const NULL_WORD: u64 = 0x1319_8a2e_0370_7344;
/// Tells strings that differ in trailing zero bytes only: 2⁶⁴ over the golden ratio.
pub const LENGTH_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
/// The bits that stand for every NaN.
pub const NAN_BITS: u64 = 0x7ff8_0000_0000_0000;
/// First factor of `mix`.
pub const MIX_FACTOR_1: u64 = 0xbf58_476d_1ce4_e5b9;
/// Second factor of `mix`.
pub const MIX_FACTOR_2: u64 = 0x94d0_49bb_1331_11eb;

/// A bijection of 64 bits in which each bit of the answer depends on each bit given.
#[inline]
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(MIX_FACTOR_1);
    x = (x ^ (x >> 27)).wrapping_mul(MIX_FACTOR_2);
    x ^ (x >> 31)
}

/// The word of two parts of one value.
#[inline]
pub fn fold_parts(first: u64, second: u64) -> u64 {
    mix(first) ^ second
}

/// The word of a float.
#[inline]
pub fn word_of_f64(value: f64) -> u64 {
    if value.is_nan() {
        NAN_BITS
    } else if value == 0.0 {
        0
    } else {
        value.to_bits()
    }
}

/// The word of a number given as two's complement words, lowest first.
pub fn word_of_wide(words: &[u64]) -> u64 {
    let mut kept = words.len();
    while kept > 1 && words[kept - 1] == ((words[kept - 2] as i64) >> 63) as u64 {
        kept -= 1;
    }
    words[1..kept].iter().fold(words[0], |folded, &word| fold_parts(folded, word))
}

/// The word of a decimal of 128 bits.
pub fn word_of_i128(value: i128) -> u64 {
    word_of_wide(&[value as u64, (value >> 64) as u64])
}

/// The word of a decimal of 256 bits.
pub fn word_of_i256(value: i256) -> u64 {
    let (low, high) = value.to_parts();
    word_of_wide(&[low as u64, (low >> 64) as u64, high as u64, (high >> 64) as u64])
}

/// The word of a string or of binary.
pub fn word_of_bytes(bytes: &[u8]) -> u64 {
    if bytes.len() > 16 {
        return XxHash3_64::oneshot(bytes);
    }
    let mut padded = [0; 16];
    padded[..bytes.len()].copy_from_slice(bytes);
    let both = u128::from_le_bytes(padded);
    let first = both as u64 ^ (bytes.len() as u64).wrapping_mul(LENGTH_FACTOR);
    if bytes.len() > 8 { fold_parts(first, (both >> 64) as u64) } else { first }
}

/// The hash of each row of `columns`, by definition.
pub fn hash_rows(columns: &[arrow::array::ArrayRef]) -> Result<Vec<u64>, KernelError> {
    let rows = columns.first().ok_or(KernelError::NoColumns)?.len();
    let mut hashes = Vec::with_capacity(rows);
    for row in 0..rows {
        let mut hash = SEED;
        for column in columns {
            hash = mix(hash ^ word(column.as_ref(), row)?);
        }
        hashes.push(hash);
    }
    Ok(hashes)
}

/// The word of one value.
pub fn word(array: &dyn Array, row: usize) -> Result<u64, KernelError> {
    if array.is_null(row) {
        return Ok(NULL_WORD);
    }
    let data = array.to_data();
    let list = |elements: &dyn Array, range: std::ops::Range<usize>| {
        let length = range.len() as u64;
        range.into_iter().try_fold(length, |folded, element| Ok(fold_parts(folded, word(elements, element)?)))
    };
    Ok(match array.data_type() {
        DataType::Null => NULL_WORD,
        DataType::Boolean => u64::from(array.as_boolean().value(row)),
        DataType::Int8 => data.buffer::<i8>(0)[row] as i64 as u64,
        DataType::Int16 => data.buffer::<i16>(0)[row] as i64 as u64,
        DataType::Int32
        | DataType::Date32
        | DataType::Time32(_)
        | DataType::Decimal32(..)
        | DataType::Interval(IntervalUnit::YearMonth) => data.buffer::<i32>(0)[row] as i64 as u64,
        DataType::Int64
        | DataType::Date64
        | DataType::Time64(_)
        | DataType::Timestamp(..)
        | DataType::Duration(_)
        | DataType::Decimal64(..) => data.buffer::<i64>(0)[row] as u64,
        DataType::UInt8 => u64::from(data.buffer::<u8>(0)[row]),
        DataType::UInt16 => u64::from(data.buffer::<u16>(0)[row]),
        DataType::UInt32 => u64::from(data.buffer::<u32>(0)[row]),
        DataType::UInt64 => data.buffer::<u64>(0)[row],
        DataType::Float16 => word_of_f64(array.as_primitive::<arrow::datatypes::Float16Type>().value(row).to_f64()),
        DataType::Float32 => word_of_f64(f64::from(data.buffer::<f32>(0)[row])),
        DataType::Float64 => word_of_f64(data.buffer::<f64>(0)[row]),
        DataType::Decimal128(..) => word_of_i128(data.buffer::<i128>(0)[row]),
        DataType::Decimal256(..) => word_of_i256(data.buffer::<i256>(0)[row]),
        DataType::Interval(IntervalUnit::DayTime) => {
            let parts = data.buffer::<i32>(0);
            u64::from(parts[2 * row] as u32) | u64::from(parts[2 * row + 1] as u32) << 32
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let value = array.as_primitive::<arrow::datatypes::IntervalMonthDayNanoType>().value(row);
            let calendar = u64::from(value.months as u32) | u64::from(value.days as u32) << 32;
            fold_parts(calendar, value.nanoseconds as u64)
        }
        DataType::Utf8 => word_of_bytes(array.as_string::<i32>().value(row).as_bytes()),
        DataType::LargeUtf8 => word_of_bytes(array.as_string::<i64>().value(row).as_bytes()),
        DataType::Utf8View => word_of_bytes(array.as_string_view().value(row).as_bytes()),
        DataType::Binary => word_of_bytes(array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => word_of_bytes(array.as_binary::<i64>().value(row)),
        DataType::BinaryView => word_of_bytes(array.as_binary_view().value(row)),
        DataType::FixedSizeBinary(_) => word_of_bytes(array.as_fixed_size_binary().value(row)),
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            word(dictionary.values().as_ref(), dictionary.normalized_keys()[row])?
        }
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            list(lists.values(), lists.offsets()[row] as usize..lists.offsets()[row + 1] as usize)?
        }
        DataType::LargeList(_) => {
            let lists = array.as_list::<i64>();
            list(lists.values(), lists.offsets()[row] as usize..lists.offsets()[row + 1] as usize)?
        }
        DataType::FixedSizeList(_, _) => {
            let value = array.as_fixed_size_list().value(row);
            list(&value, 0..value.len())?
        }
        DataType::Map(..) => {
            let maps = array.as_map();
            list(maps.entries(), maps.offsets()[row] as usize..maps.offsets()[row + 1] as usize)?
        }
        DataType::Struct(fields) => array
            .as_struct()
            .columns()
            .iter()
            .try_fold(fields.len() as u64, |folded, field| Ok(fold_parts(folded, word(field, row)?)))?,
        other => return Err(KernelError::Unsupported { data_type: other.clone() }),
    })
}

// ── one plain twin for each entry of `Kernels` ──

/// The row is valid; an empty bitmap says that all are.
fn is_valid(validity: &[u64], row: usize) -> bool {
    validity.is_empty() || validity[row / 64] >> (row % 64) & 1 == 1
}

fn fold_by<T: Copy>(values: &[T], validity: &[u64], hashes: &mut [u64], word: impl Fn(T) -> u64) {
    assert_eq!(values.len(), hashes.len());
    for (row, hash) in hashes.iter_mut().enumerate() {
        *hash = mix(*hash ^ if is_valid(validity, row) { word(values[row]) } else { NULL_WORD });
    }
}

fn fold_u64(values: &[u64], validity: &[u64], hashes: &mut [u64]) {
    fold_by(values, validity, hashes, |value| value);
}

fn fold_u32(values: &[u32], validity: &[u64], hashes: &mut [u64]) {
    fold_by(values, validity, hashes, u64::from);
}

fn fold_i32(values: &[i32], validity: &[u64], hashes: &mut [u64]) {
    fold_by(values, validity, hashes, |value| value as i64 as u64);
}

fn fold_f64(values: &[f64], validity: &[u64], hashes: &mut [u64]) {
    fold_by(values, validity, hashes, word_of_f64);
}

fn fold_f32(values: &[f32], validity: &[u64], hashes: &mut [u64]) {
    fold_by(values, validity, hashes, |value| word_of_f64(f64::from(value)));
}

fn words_of_i128(values: &[i128], words: &mut [u64]) {
    assert_eq!(values.len(), words.len());
    for (word, value) in words.iter_mut().zip(values) {
        *word = word_of_i128(*value);
    }
}

fn words_of_views(views: &[u128], words: &mut [u64]) -> bool {
    assert_eq!(views.len(), words.len());
    let mut some_long = false;
    for (word, view) in words.iter_mut().zip(views) {
        let length = *view as u32 as usize;
        some_long |= length > 12;
        if length <= 12 {
            *word = word_of_bytes(&view.to_le_bytes()[4..4 + length]);
        }
    }
    some_long
}

fn group_numbers(hashes: &[u64], group_bits: u32, groups: &mut [u8]) {
    assert_eq!(hashes.len(), groups.len());
    for (group, hash) in groups.iter_mut().zip(hashes) {
        *group = if group_bits == 0 { 0 } else { (hash >> (64 - group_bits)) as u8 };
    }
}

fn group_products(hashes: &[u64], group_count: u32, groups: &mut [u16]) {
    assert_eq!(hashes.len(), groups.len());
    for (group, hash) in groups.iter_mut().zip(hashes) {
        *group = ((u128::from(hash >> 32) * u128::from(group_count)) >> 32) as u16;
    }
}

fn range_numbers(keys: &[u64], splitters: &[u64], groups: &mut [u16]) {
    assert_eq!(keys.len(), groups.len());
    for (group, key) in groups.iter_mut().zip(keys) {
        *group = splitters.iter().filter(|splitter| *splitter <= key).count() as u16;
    }
}

fn number_bytes(numbers: &[u16], shift: u32, mask: u8, bytes: &mut [u8]) -> u16 {
    assert_eq!(numbers.len(), bytes.len());
    for (byte, number) in bytes.iter_mut().zip(numbers) {
        *byte = (number >> shift) as u8 & mask;
    }
    numbers.iter().copied().max().unwrap_or(0)
}

fn histogram(groups: &[u8], counts: &mut [u32; GROUPS_MAX]) {
    for group in groups {
        counts[usize::from(*group)] += 1;
    }
}

fn row_order(groups: &[u8], cursors: &mut [u32; GROUPS_MAX], order: &mut [u32]) {
    for (row, group) in groups.iter().enumerate() {
        let cursor = &mut cursors[usize::from(*group)];
        order[*cursor as usize] = row as u32;
        *cursor += 1;
    }
}

/// # Safety
/// As [`scatter::scatter`](super::scatter::scatter).
unsafe fn scatter(
    width: usize,
    streams: &[Stream],
    groups: &[u8],
    starts: &Starts,
    rows: &[u32; GROUPS_MAX],
    _group_count: usize,
) {
    for stream in streams {
        let mut rows = *rows;
        for (row, group) in groups.iter().enumerate() {
            let group = usize::from(*group);
            // SAFETY: the caller's promise, word for word.
            unsafe {
                let place = starts[group].add(stream.offset + rows[group] as usize * width);
                std::ptr::copy_nonoverlapping(stream.from.add(row * width), place, width);
            }
            rows[group] += 1;
        }
    }
}

/// # Safety
/// As [`tiles::scatter_tiles`](super::tiles::scatter_tiles).
unsafe fn scatter_tiles(
    bundle: &Bundle,
    sources: &Sources,
    groups: &[u8],
    starts: &Starts,
    rows: &[u32; GROUPS_MAX],
    tiles: *mut Tile,
) {
    let mut rows = *rows;
    for (row, group) in groups.iter().enumerate() {
        let (group, words) = (usize::from(*group), bundle.words());
        let before = rows[group] as usize;
        // SAFETY: the caller's promise.
        unsafe {
            let tile = tiles.add(group).cast::<u64>();
            if before > 0 && before.is_multiple_of(bundle.tile_rows()) {
                let tile = std::slice::from_raw_parts(tile, bundle.tile_rows() * words);
                bundle.write_rows(tile, starts[group], before - bundle.tile_rows()..before);
            }
            let place = tile.add(before % bundle.tile_rows() * words);
            std::ptr::copy_nonoverlapping(words_of_row(sources, row).0.as_ptr(), place, words);
        }
        rows[group] += 1;
    }
}

/// # Safety
/// As [`sorted::scatter_sorted`](super::sorted::scatter_sorted).
unsafe fn scatter_sorted(
    bundle: &Bundle,
    ordered: Ordered<'_>,
    starts: &Starts,
    rows: &[u32; GROUPS_MAX],
    rests: *mut u64,
) {
    let Ordered { from, order, counts, .. } = ordered;
    let (words, leaving) = (bundle.words(), bundle.leaving_rows());
    let groups = counts.iter().enumerate().flat_map(|(group, count)| std::iter::repeat_n(group, *count as usize));
    let mut rows = rows.map(|rows| rows as usize);
    for (group, row) in groups.zip(order) {
        let place = rows[group] % leaving;
        // SAFETY: the caller's promise.
        unsafe {
            let rest = rests.add(group * leaving * words);
            std::ptr::copy_nonoverlapping(from.add(*row as usize * words), rest.add(place * words), words);
            if place + 1 == leaving {
                let rest = std::slice::from_raw_parts(rest, leaving * words);
                bundle.write_rows(rest, starts[group], rows[group] - place..rows[group] + 1);
            }
        }
        rows[group] += 1;
    }
}

/// # Safety
/// As [`packed::scatter_rows`](super::packed::scatter_rows).
unsafe fn scatter_rows(
    bundle: &Bundle,
    sources: &Sources,
    groups: &[u8],
    offset: usize,
    starts: &Starts,
    rows: &[u32; GROUPS_MAX],
    numbers: Option<Stream>,
) {
    let mut rows = rows.map(|rows| rows as usize);
    for (row, group) in groups.iter().enumerate() {
        let group = usize::from(*group);
        // SAFETY: the caller's promise.
        unsafe {
            let place = starts[group].add(offset).cast::<u64>().add(rows[group] * bundle.words());
            for (word, value) in words_of_row(sources, row).0[..bundle.words()].iter().enumerate() {
                place.add(word).write(*value);
            }
            if let Some(numbers) = numbers {
                starts[group].add(numbers.offset + rows[group]).write(numbers.from.add(row).read());
            }
        }
        rows[group] += 1;
    }
}

/// # Safety
/// As [`scatter::scatter_strings`](super::scatter::scatter_strings).
unsafe fn scatter_strings(
    from: *const u8,
    _readable: usize,
    lengths: &[u32],
    groups: &[u8],
    heaps: Heaps<'_>,
    ends: &mut [u32],
) {
    let mut start = 0;
    for ((length, group), end) in lengths.iter().zip(groups).zip(ends) {
        let group = usize::from(*group);
        let (length, heap) = (*length as usize, &mut heaps.ends[group]);
        // SAFETY: the caller's promise.
        unsafe {
            std::ptr::copy_nonoverlapping(from.add(start), *heap, length);
            *heap = heap.add(length);
        }
        *end = (heap.addr() - heaps.starts[group].addr()) as u32;
        start += length;
    }
}

/// # Safety
/// As [`scatter::scatter_views`](super::scatter::scatter_views).
unsafe fn scatter_views(views: &[u128], buffers: &[&[u8]], groups: &[u8], heaps: Heaps<'_>, moved: &mut [u128]) {
    for (row, view) in views.iter().enumerate() {
        let (length, group) = (*view as u32 as usize, usize::from(groups[row]));
        if length <= 12 {
            moved[row] = *view;
            continue;
        }
        let (buffer, start) = ((view >> 64) as u32 as usize, (view >> 96) as usize);
        let string = &buffers[buffer][start..start + length];
        let offset = heaps.ends[group].addr() - heaps.starts[group].addr();
        moved[row] = view & u128::from(u64::MAX) | (offset as u128) << 96;
        // SAFETY: the caller's promise.
        unsafe {
            std::ptr::copy_nonoverlapping(string.as_ptr(), heaps.ends[group], length);
            heaps.ends[group] = heaps.ends[group].add(length);
        }
    }
}

/// Adds bytes to a column that has `filled` bytes; the last of them, fewer than a line, are in the rest.
///
/// # Safety
/// As [`gathered::gather_values`](super::gathered::gather_values), of those bytes.
unsafe fn gather_bytes(to: Places<'_>, group: usize, filled: &mut usize, bytes: &[u8]) {
    for byte in bytes {
        // SAFETY: the caller's promise.
        unsafe {
            let rest = to.rests.add(group).cast::<u8>();
            rest.add(*filled % 64).write(*byte);
            *filled += 1;
            if filled.is_multiple_of(64) {
                std::ptr::copy_nonoverlapping(rest, to.starts[group].add(to.offset + *filled - 64), 64);
            }
        }
    }
}

/// The group of each row and its number, in the order of the groups.
fn rows_by_group<'a>(by_group: ByGroup<'a>) -> impl Iterator<Item = (usize, usize)> + 'a {
    by_group.spans.iter().flat_map(move |span| {
        let numbers = &by_group.order[span.first..span.first + span.rows];
        numbers.iter().map(|number| (span.group, *number as usize))
    })
}

/// # Safety
/// As [`gathered::gather_values`](super::gathered::gather_values).
unsafe fn gather_values(width: usize, from: *const u8, by_group: ByGroup<'_>, to: Places<'_>, rows: &[u32]) {
    let mut filled: Vec<usize> = rows.iter().map(|rows| *rows as usize * width).collect();
    for (group, row) in rows_by_group(by_group) {
        // SAFETY: the caller's promise.
        unsafe {
            let value = std::slice::from_raw_parts(from.add(row * width), width);
            gather_bytes(to, group, &mut filled[group], value);
        }
    }
}

/// # Safety
/// As [`gathered::gather_texts`](super::gathered::gather_texts).
unsafe fn gather_texts(
    texts: Texts<'_>,
    by_group: ByGroup<'_>,
    heaps: Places<'_>,
    used: &mut [u64],
    to: Places<'_>,
    rows: &[u32],
) {
    let mut filled: Vec<usize> = rows.iter().map(|rows| *rows as usize * 4).collect();
    for (group, row) in rows_by_group(by_group) {
        let string = match texts.bounds {
            Bounds::Small(bounds) => &texts.bytes[bounds[row] as usize..bounds[row + 1] as usize],
            Bounds::Large(bounds) => &texts.bytes[bounds[row] as usize..bounds[row + 1] as usize],
        };
        let mut end = used[group] as usize;
        // SAFETY: the caller's promise.
        unsafe {
            gather_bytes(heaps, group, &mut end, string);
            gather_bytes(to, group, &mut filled[group], &(end as u32).to_ne_bytes());
        }
        used[group] = end as u64;
    }
}

/// # Safety
/// As [`gathered::gather_views`](super::gathered::gather_views).
unsafe fn gather_views(
    views: &[u128],
    buffers: &[&[u8]],
    by_group: ByGroup<'_>,
    heaps: Places<'_>,
    used: &mut [u64],
    to: Places<'_>,
    rows: &[u32],
) {
    let mut filled: Vec<usize> = rows.iter().map(|rows| *rows as usize * 16).collect();
    for (group, row) in rows_by_group(by_group) {
        let (mut view, length) = (views[row], views[row] as u32 as usize);
        let mut end = used[group] as usize;
        if length > 12 {
            let (buffer, start) = ((view >> 64) as u32 as usize, (view >> 96) as usize);
            view = view & u128::from(u64::MAX) | (end as u128) << 96;
            // SAFETY: the caller's promise.
            unsafe { gather_bytes(heaps, group, &mut end, &buffers[buffer][start..start + length]) };
        }
        // SAFETY: the caller's promise.
        unsafe { gather_bytes(to, group, &mut filled[group], &view.to_ne_bytes()) };
        used[group] = end as u64;
    }
}

fn word_bounds(text: &[u8], first: u32, is_open: bool, starts: &mut [u32], ends: &mut [u32]) -> (usize, usize) {
    let (mut start_count, mut end_count, mut is_word) = (0, 0, is_open);
    for (place, byte) in (first..).zip(text) {
        if !byte.is_ascii_whitespace() && !is_word {
            starts[start_count] = place;
            start_count += 1;
        } else if byte.is_ascii_whitespace() && is_word {
            ends[end_count] = place;
            end_count += 1;
        }
        is_word = !byte.is_ascii_whitespace();
    }
    if is_word && !text.len().is_multiple_of(64) {
        ends[end_count] = first + text.len() as u32;
        end_count += 1;
    }
    (start_count, end_count)
}

fn word_views(text: &[u8], starts: &[u32], ends: &[u32], buffer: u32, views: &mut [MaybeUninit<u128>]) -> u32 {
    let mut longest = 0;
    for ((start, end), view) in starts.iter().zip(ends).zip(views) {
        longest = longest.max(end - start);
        view.write(make_view(&text[*start as usize..*end as usize], buffer, *start));
    }
    longest
}

fn line_ends(text: &[u8], first: u32, ends: &mut [u32]) -> usize {
    let places = (first..).zip(text).filter(|(_, byte)| **byte == b'\n').map(|(place, _)| place);
    ends.iter_mut().zip(places).map(|(end, place)| *end = place).count()
}

fn nearest(centres: &[[f32; LANES]], point: &[f32]) -> usize {
    let blocks = centres.chunks_exact(point.len());
    let centres = blocks.flat_map(|block| (0..LANES).map(|lane| block.iter().map(move |lanes| lanes[lane])));
    let mut nearest = (f32::INFINITY, 0);
    for (number, centre) in centres.enumerate() {
        let distance =
            point.iter().zip(centre).fold(0.0, |sum: f32, (point, centre)| sum + (point - centre) * (point - centre));
        if distance < nearest.0 {
            nearest = (distance, number);
        }
    }
    nearest.1
}

/// The plain twins as a table, for tests and benches.
pub(super) static KERNELS: Kernels = Kernels {
    name: "scalar",
    fold_u64,
    fold_u32,
    fold_i32,
    fold_f64,
    fold_f32,
    words_of_i128,
    words_of_views,
    word_bounds,
    line_ends,
    nearest,
    few_keys: few_keys_scalar,
    part_found: part_scalar,
    word_views,
    group_numbers,
    group_products,
    range_numbers,
    number_bytes,
    histogram,
    row_order,
    scatter,
    scatter_tiles,
    scatter_sorted,
    scatter_rows,
    scatter_strings,
    scatter_views,
    gather_values,
    gather_texts,
    gather_views,
};
