//! Rows of a first pass to the columns of their groups: taken in the order of the groups, and turned eight at a time.
//!
//! In: rows whose words lie together, their numbers by group, for each group a place for the few that do not fill lines. Out: the columns in the
//! chunks of the groups, but for those few. Never: writes a part of a line past the caches; looks at a type; knows how much room a group has.
//!
//! ```text
//!  rows     abcd  abcd  abcd …           those of group g, by their numbers: eight at once are turned,
//!            │           │
//!  lines    aaaaaaaa   bbbbbbbb …        a line of each column, which goes past the caches to g's chunk
//!
//!  rest of g   abcd abcd …               fewer wait for the next rows of g, and are the first of them
//! ```
//! Tiles (`tiles`) take rows as they come, so each row is written to its tile and read again, and all tiles want to stay in the caches: of 4,096
//! groups they are 2 MiB, as much as the rows of the first pass. Rows that lie in a cache already need no second place there, but for what is
//! left over, half as many bytes. Columns of 4 bytes ask for sixteen rows, so that they too leave in whole lines; their rests are no smaller. Where all
//! columns have 16 bytes four rows are whole lines.

#![allow(unsafe_code)]

use super::bundle::{Bundle, Part, TURNED_ROWS, WIDE_ROWS, WORDS_MAX, Words};
use super::partition::GROUPS_MAX;
use super::scatter::{LINE_BYTES, Starts, ask_for_later_line};
use super::tiles::{end_streams, halves};
use super::vector::Vector;

/// Rows in the order of their groups.
#[derive(Clone, Copy)]
pub(super) struct Ordered<'a> {
    /// The words of the rows, one behind the other.
    pub(super) from: *const u64,
    /// The numbers of the rows of the first group, of the next, and so on.
    pub(super) order: &'a [u32],
    /// How many each group has.
    pub(super) counts: &'a [u32; GROUPS_MAX],
    /// What is read next, as much as these rows are: asked for meanwhile. Writing past the caches waits for memory as reading does, and not for
    /// the same.
    pub(super) ahead: &'a [u8],
}

/// Moves rows, whose words are those of a bundle, to the chunks of their groups, behind the `rows` that these have; what does not fill lines waits
/// in the `rests`.
///
/// # Safety
/// The processor has the instructions of `V`; the bundle is one of [`Bundle::at`]. The counts are together as many as the order has numbers, and for
/// each of these the words of that row are readable at `from`, aligned as words. For each group g with rows: the chunk at `starts[g]`, a multiple
/// of 64, is writable for `rows[g] + counts[g]` values of each column; the g-th of the rests, of [`Bundle::rest_bytes`] each and aligned as words,
/// is readable and writable, and holds the words of the last `rows[g] % leaving_rows` rows; nothing else reaches either.
#[inline(always)]
pub(super) unsafe fn scatter_sorted<V: Vector>(
    bundle: &Bundle,
    ordered: Ordered<'_>,
    starts: &Starts,
    rows: &[u32; GROUPS_MAX],
    rests: *mut u64,
) {
    let Ordered { from, order, counts, ahead } = ordered;
    let mut to = Targets { offsets: &bundle.offsets, starts, rows, rests, ahead };
    // SAFETY: the caller's promise, for rows of so many words that leave in so many.
    unsafe {
        match (bundle.words, bundle.leaving_rows()) {
            (2, WIDE_ROWS) => to.take_all::<V, 2, 4>(from, order, counts),
            (4, WIDE_ROWS) => to.take_all::<V, 4, 4>(from, order, counts),
            (8, WIDE_ROWS) => to.take_all::<V, 8, 4>(from, order, counts),
            (2, TURNED_ROWS) => to.take_all::<V, 2, 8>(from, order, counts),
            (4, TURNED_ROWS) => to.take_all::<V, 4, 8>(from, order, counts),
            (8, TURNED_ROWS) => to.take_all::<V, 8, 8>(from, order, counts),
            (2, _) => to.take_all::<V, 2, 16>(from, order, counts),
            (4, _) => to.take_all::<V, 4, 16>(from, order, counts),
            (words, leaving) => unreachable!("no {leaving} rows of {words} words leave together"),
        }
    }
    end_streams();
}

/// Where rows go.
struct Targets<'a> {
    offsets: &'a [Part<usize>; WORDS_MAX],
    starts: &'a Starts,
    rows: &'a [u32; GROUPS_MAX],
    rests: *mut u64,
    /// What was not asked for yet.
    ahead: &'a [u8],
}

impl Targets<'_> {
    /// # Safety
    /// As [`scatter_sorted`], for rows of `W` words of which `L` leave together.
    #[inline(always)]
    unsafe fn take_all<V: Vector, const W: usize, const L: usize>(
        &mut self,
        from: *const u64,
        mut order: &[u32],
        counts: &[u32; GROUPS_MAX],
    ) {
        for (group, count) in counts.iter().enumerate() {
            if order.is_empty() {
                break;
            }
            let (numbers, others) = order.split_at(*count as usize);
            order = others;
            // SAFETY: the caller's promise, for the rows of this group.
            unsafe { self.take_group::<V, W, L>(from, numbers, group) };
            self.ask_ahead(8 * W * numbers.len());
        }
    }

    /// Takes the rows of a group.
    ///
    /// # Safety
    /// As [`Targets::take_all`]; the numbers are of rows of this group.
    #[inline(always)]
    unsafe fn take_group<V: Vector, const W: usize, const L: usize>(
        &self,
        from: *const u64,
        numbers: &[u32],
        group: usize,
    ) {
        let (start, before) = (self.starts[group], self.rows[group] as usize);
        let (waiting, mut done) = (before % L, before - before % L);
        let rest = self.rests.wrapping_add(group * L * W).cast::<[u64; W]>();
        let from = from.cast::<[u64; W]>();
        let mut numbers = numbers;
        // SAFETY: the caller's promise: each number is of a row, the rest has room for `L` of them, the chunk for all.
        unsafe {
            if waiting > 0 {
                // Written once more, though they could leave from where they lie: rows from two places take longer to find.
                let (now, later) = numbers.split_at(numbers.len().min(L - waiting));
                write_to_rest(from, now, rest.add(waiting));
                if waiting + now.len() < L {
                    return;
                }
                numbers = later;
                let mut leaving = [rest.cast_const().cast(); L];
                for (place, row) in leaving.iter_mut().enumerate() {
                    *row = rest.add(place).cast_const().cast();
                }
                stream_rows::<V, W, L>(&leaving, start, done, self.offsets);
                done += L;
            }
            let (whole, left) = numbers.as_chunks::<L>();
            for numbers in whole {
                let mut leaving = [from.cast(); L];
                for (row, number) in leaving.iter_mut().zip(numbers) {
                    *row = from.add(*number as usize).cast();
                }
                stream_rows::<V, W, L>(&leaving, start, done, self.offsets);
                done += L;
            }
            write_to_rest(from, left, rest);
        }
    }

    /// Asks for so many bytes more of what is read next.
    #[inline(always)]
    fn ask_ahead(&mut self, bytes: usize) {
        let (now, later) = self.ahead.split_at(self.ahead.len().min(bytes.next_multiple_of(LINE_BYTES)));
        self.ahead = later;
        for line in now.chunks(LINE_BYTES) {
            ask_for_later_line(line.as_ptr().cast());
        }
    }
}

/// Lets rows wait.
///
/// # Safety
/// Each number is of a row at `from`, and there is room for all of them at `rest`.
#[inline(always)]
unsafe fn write_to_rest<const W: usize>(from: *const [u64; W], numbers: &[u32], rest: *mut [u64; W]) {
    for (place, number) in numbers.iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { rest.add(place).write(from.add(*number as usize).read()) };
    }
}

/// Writes rows to the chunk, the first of them the chunk's `first`.
///
/// # Safety
/// The processor has the instructions of `V`, `W` words are readable at each of `rows`; each column is writable behind `start`, a multiple of 64,
/// for `first`, a multiple of `L`, and `L` values more.
#[inline(always)]
unsafe fn stream_rows<V: Vector, const W: usize, const L: usize>(
    rows: &[*const u64; L],
    start: *mut u8,
    first: usize,
    offsets: &[Part<usize>; WORDS_MAX],
) {
    if let (WIDE_ROWS, Some(rows)) = (L, rows.first_chunk()) {
        // SAFETY: the caller's promise.
        return unsafe { stream_wide::<V, W>(rows, start, first, offsets) };
    }
    // Of sixteen, the even ones and the odd ones.
    let mut lines = [[Words([0; WORDS_MAX]); WORDS_MAX]; 2];
    for (eight, lines) in lines.iter_mut().enumerate().take(L / TURNED_ROWS) {
        let mut of_eight = [rows[0]; TURNED_ROWS];
        for (place, row) in of_eight.iter_mut().enumerate() {
            *row = rows[place * L / TURNED_ROWS + eight];
        }
        // SAFETY: the caller's promise.
        *lines = unsafe { V::turn_rows::<W>(&of_eight) };
    }
    let [even, odd] = &lines;
    // SAFETY: the processor has the instructions, as the caller promises, and the columns have room.
    unsafe {
        for (word, offset) in offsets[..W].iter().enumerate() {
            match *offset {
                Part::Nothing => {}
                Part::Word(offset) => {
                    let to = start.add(offset).cast::<u64>().add(first);
                    for (line, values) in column::<V, L>(even, odd, word)[..L / TURNED_ROWS].iter().enumerate() {
                        V::stream(values, to.add(8 * line));
                    }
                }
                Part::Wide(offset) => {
                    let to = start.add(offset).cast::<u64>().add(2 * first);
                    let (low, high) = (column::<V, L>(even, odd, word), column::<V, L>(even, odd, word + 1));
                    for line in 0..L / TURNED_ROWS {
                        let [front, back] = V::interleave(&low[line], &high[line]);
                        V::stream(&front, to.add(16 * line));
                        V::stream(&back, to.add(16 * line + 8));
                    }
                }
                Part::Halves(low, high) => {
                    let to = start.add(low).cast::<u32>().add(first);
                    V::stream(&halves::<V>(&even[word], &odd[word], false), to.cast());
                    if let Some(high) = high {
                        let to = start.add(high).cast::<u32>().add(first);
                        V::stream(&halves::<V>(&even[word], &odd[word], true), to.cast());
                    }
                }
            }
        }
    }
}

/// The same where all columns have 16 bytes, whose lines are ready as soon as the rows are turned.
///
/// # Safety
/// As [`stream_rows`], for four rows.
#[inline(always)]
unsafe fn stream_wide<V: Vector, const W: usize>(
    rows: &[*const u64; WIDE_ROWS],
    start: *mut u8,
    first: usize,
    offsets: &[Part<usize>; WORDS_MAX],
) {
    // SAFETY: the caller's promise.
    let lines = unsafe { V::turn_wide::<W>(rows) };
    for (offset, line) in offsets[..W].iter().step_by(2).zip(&lines) {
        if let Part::Wide(offset) = *offset {
            // SAFETY: the column has room for four values of two words, as the caller promises.
            unsafe { V::stream(line, start.add(offset).cast::<u64>().add(2 * first)) };
        }
    }
}

/// A word of `L` rows in their order, `L / 8` lines.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn column<V: Vector, const L: usize>(
    even: &[Words; WORDS_MAX],
    odd: &[Words; WORDS_MAX],
    word: usize,
) -> [Words; 2] {
    if L == TURNED_ROWS {
        return [even[word], odd[word]];
    }
    // SAFETY: the caller's promise.
    unsafe { V::interleave(&even[word], &odd[word]) }
}
