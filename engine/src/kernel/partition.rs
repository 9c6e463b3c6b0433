//! Which group a row belongs to, and how many rows each group has.
//!
//! In: row hashes. Out: one byte a row, and counts. Never: more than 256 groups; the next hash bits split further at
//! the receiver, which keeps the cursors of one pass in L1 and its open lines in the TLB (Polychroniou & Ross 2014).

#![allow(unsafe_code)]

use super::vector::Vector;

/// Most groups of an exchange: a group's number is one byte.
pub const GROUPS_MAX: usize = 256;

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
