//! Which group a row belongs to, and how many rows each group has.
//!
//! In: row hashes, or keys and splitters. Out: the number of each row's group, and counts. Never: more than 256 groups in one pass: that
//! keeps the cursors in L1 and the open lines in L2 and in the TLB (Polychroniou & Ross 2014); more groups are two passes, the second
//! over the rows of the first, or are not scattered but gathered (`gathered`).

#![allow(unsafe_code)]

use super::vector::Vector;

/// Most groups of an exchange: a group's number is one byte.
pub const GROUPS_MAX: usize = 256;
/// Most groups that rows can be split into.
pub const PARTITIONS_MAX: usize = 4096;

/// The group of a row: the top bits of its hash. `group_count`: a power of two, at most [`GROUPS_MAX`].
#[inline]
pub fn group_of(hash: u64, group_count: usize) -> u8 {
    debug_assert!(group_count.is_power_of_two() && group_count <= GROUPS_MAX);
    ((hash >> 56) as u32 >> (8 - group_count.trailing_zeros().min(8))) as u8
}

/// Where each group's rows begin when the groups stand one after the other: the sums of the counts before it.
///
/// The counts are of one batch, so their sum fits 32 bits.
pub fn first_rows(counts: &[u32; GROUPS_MAX]) -> [u32; GROUPS_MAX] {
    let mut firsts = [0; GROUPS_MAX];
    let mut rows = 0u32;
    for (first, count) in firsts.iter_mut().zip(counts) {
        *first = rows;
        rows = rows.wrapping_add(*count);
    }
    firsts
}

/// The group of each row. `group_bits`: 0 to 8.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn group_numbers<V: Vector>(hashes: &[u64], group_bits: u32, groups: &mut [u8]) {
    assert!(hashes.len() == groups.len() && group_bits <= 8);
    let whole = hashes.len() - hashes.len() % V::LANES;
    // SAFETY: both slices have as many rows, and the lanes divide each distance; the processor is the caller's promise.
    unsafe {
        group_numbers_rows::<V>(hashes, group_bits, groups, 0, whole);
        group_numbers_rows::<u64>(hashes, group_bits, groups, whole, hashes.len());
    }
}

/// # Safety
/// `from ≤ to ≤ hashes.len() = groups.len()`, and `V::LANES` divides `to − from`; the processor has the instructions of
/// `V`.
#[inline(always)]
unsafe fn group_numbers_rows<V: Vector>(hashes: &[u64], group_bits: u32, groups: &mut [u8], from: usize, to: usize) {
    let mut row = from;
    while row < to {
        // SAFETY: `row + LANES ≤ to`, within both slices. Two shifts, because one by 64 − 0 bits would be none.
        unsafe {
            let top = V::load(hashes.as_ptr().add(row)).shift_right(56);
            top.shift_right(8 - group_bits).store_low_bytes(groups.as_mut_ptr().add(row));
        }
        row += V::LANES;
    }
}

/// The group of each row among any number of groups: the high half of the product of `group_count`, at most [`PARTITIONS_MAX`], and the
/// hash's upper 32 bits (Lemire 2019). For a power of two these are the top bits, as in [`group_numbers`].
#[inline(always)]
pub(super) fn group_products(hashes: &[u64], group_count: u32, groups: &mut [u16]) {
    assert!(hashes.len() == groups.len() && group_count as usize <= PARTITIONS_MAX);
    for (group, hash) in groups.iter_mut().zip(hashes) {
        *group = (((hash >> 32) * u64::from(group_count)) >> 32) as u16;
    }
}

/// The group of each row by range: how many of `splitters`, which never fall, are at most the key.
///
/// A binary search without a branch on what it compares: each step is a conditional move, and the searches of neighbouring rows overlap.
#[inline(always)]
pub(super) fn range_numbers(keys: &[u64], splitters: &[u64], groups: &mut [u16]) {
    assert!(keys.len() == groups.len() && splitters.len() < PARTITIONS_MAX);
    for (group, key) in groups.iter_mut().zip(keys) {
        let (mut first, mut length) = (0, splitters.len());
        while length > 0 {
            let half = length.div_ceil(2);
            first += if splitters[first + half - 1] <= *key { half } else { 0 };
            length -= half;
        }
        *group = first as u16;
    }
}

/// One byte of each number, `(number >> shift) & mask`, and the largest of the numbers; 0 of none.
///
/// Numbers of up to [`PARTITIONS_MAX`] groups become those of a pass over [`GROUPS_MAX`] and of the pass within each of them.
#[inline(always)]
pub(super) fn number_bytes(numbers: &[u16], shift: u32, mask: u8, bytes: &mut [u8]) -> u16 {
    assert!(numbers.len() == bytes.len() && shift < 16);
    let mut largest = 0;
    for (byte, number) in bytes.iter_mut().zip(numbers) {
        *byte = (number >> shift) as u8 & mask;
        largest = largest.max(*number);
    }
    largest
}

/// Adds the rows of each group to `counts`.
///
/// Four tables take turns: with one, a run of equal groups would wait for its own last store at every row.
#[inline(always)]
pub(super) fn histogram(groups: &[u8], counts: &mut [u32; GROUPS_MAX]) {
    let mut tables = [[0u32; GROUPS_MAX]; 4];
    let (quads, rest) = groups.as_chunks::<4>();
    for quad in quads {
        for (table, group) in tables.iter_mut().zip(quad) {
            table[usize::from(*group)] += 1;
        }
    }
    for group in rest {
        counts[usize::from(*group)] += 1;
    }
    for table in &tables {
        for (count, more) in counts.iter_mut().zip(table) {
            *count += more;
        }
    }
}
