//! Rows to coarse groups as rows: the words of a row stay together, for a second pass (`sorted`).
//!
//! In: up to eight words of each row, the group of each row. Out: in the chunk of each group its rows, one behind the other. Never: looks at a
//! type; knows how much room a group has.
//!
//! What is moved twice need not be columns in between. A row is one store to one of 64 open lines, where its columns would be as many stores to
//! as many lines each, and the second pass reads it as it lies, where it would turn columns to rows once more. Rows go on when there are a
//! thousand of a coarse group, so they are in the caches still, which 15,000 are not: `README.md`, § Two passes.

#![allow(unsafe_code)]

use super::bundle::{Bundle, Sources, TakeRow};
use super::partition::GROUPS_MAX;
use super::scatter::{LINE_BYTES, Starts, Stream, ask_for_line};
use super::vector::Vector;

/// Moves the words of a bundle to the chunks of their groups, `offset` bytes behind where these begin, and behind the `rows` that they have; so
/// `numbers`, a byte a row.
///
/// # Safety
/// The processor has the instructions of `V`. For each row of a group g, the r-th of them in `groups`: its value is readable at every source, and
/// the chunk at `starts[g]` is writable behind `offset` for the words of `rows[g] + r + 1` rows, aligned as words are, and nothing else
/// reaches it; the same of `numbers`, for a byte.
#[inline(always)]
pub(super) unsafe fn scatter_rows<V: Vector>(
    bundle: &Bundle,
    sources: &Sources,
    groups: &[u8],
    offset: usize,
    starts: &Starts,
    rows: &[u32; GROUPS_MAX],
    numbers: Option<Stream>,
) {
    let mut places: Starts = [std::ptr::null_mut(); GROUPS_MAX];
    for ((place, start), rows) in places.iter_mut().zip(starts).zip(rows) {
        // Wrapping: the place of a group without rows is never used.
        *place = start.wrapping_add(offset).wrapping_add(*rows as usize * bundle.row_bytes());
    }
    // SAFETY: the caller's promise.
    unsafe {
        match numbers {
            None => bundle.each_row::<V, _>(sources, groups, &mut Places(places)),
            Some(numbers) => {
                let mut places_of_numbers: Starts = [std::ptr::null_mut(); GROUPS_MAX];
                for ((place, start), rows) in places_of_numbers.iter_mut().zip(starts).zip(rows) {
                    *place = start.wrapping_add(numbers.offset).wrapping_add(*rows as usize);
                }
                let mut to = Numbered { rows: Places(places), from: numbers.from, places: places_of_numbers };
                bundle.each_row::<V, _>(sources, groups, &mut to);
            }
        }
    }
}

/// Where the next row of each group goes.
struct Places(Starts);

impl TakeRow for Places {
    #[inline(always)]
    unsafe fn take<V: Vector, const W: usize>(&mut self, words: *const u64, group: u8) {
        let place = &mut self.0[usize::from(group)];
        // SAFETY: the caller's promise.
        unsafe { place.cast::<[u64; W]>().write(words.cast::<[u64; W]>().read()) };
        ask_for_line(place.wrapping_byte_add(2 * LINE_BYTES).cast());
        *place = place.wrapping_add(8 * W);
    }
}

/// The same with a number for each row.
struct Numbered {
    rows: Places,
    /// The next row's.
    from: *const u8,
    /// Where the number of the next row of each group goes.
    places: Starts,
}

impl TakeRow for Numbered {
    #[inline(always)]
    unsafe fn take<V: Vector, const W: usize>(&mut self, words: *const u64, group: u8) {
        let place = &mut self.places[usize::from(group)];
        // SAFETY: the caller's promise.
        unsafe {
            place.write(self.from.read());
            self.rows.take::<V, W>(words, group);
        }
        *place = place.wrapping_add(1);
        self.from = self.from.wrapping_add(1);
    }
}
