//! Rows to the chunks of many groups in one pass: column by column, in the order of the groups.
//!
//! In: a column, the numbers of its rows by group, for each group a line where what fills none waits. Out: whole lines of the column in the chunks
//! of the groups. Never: writes a part of a line past the caches; knows how much room a group has (`chunks` does).
//!
//! ```text
//!  column    v v v v v v v v …             those of group g, by their numbers, behind the few that waited
//!              │   │     │
//!  outbox    [waited, v, v, v, …]          whole lines go past the caches to g's chunk
//!                              │
//!  rest of g   v v                         what is left over waits
//! ```
//! A store to one of 4,096 chunks waits for its page, its line and the store before it, once for each row and column. In the order of the groups the
//! rows of one follow each other, so what is looked up is looked up once for all of them, and the column that is read lies in the caches: one column
//! of 65,536 rows after the other. Strings go where they stay at once, however long; in two passes (`packed`, `sorted`) they would be copied twice,
//! by way of more memory than the caches hold. `README.md`, § Many groups, has what was measured.

#![allow(unsafe_code)]

use std::ops::Range;

use arrow::datatypes::ToByteSlice;

use super::bundle::{Words, ZEROS};
use super::scatter::{
    INLINE_BYTES_MAX, LINE_BYTES, OVERSHOOT_BYTES, SHORT_BYTES, Short, ask_for_line, copy_exactly, copy_string,
};
use super::tiles::end_streams;
use super::vector::Vector;

/// Rows of one group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) group: usize,
    /// Where the first of their numbers is in the order, and how many there are.
    pub(super) first: usize,
    pub(super) rows: usize,
}

impl Span {
    /// Those of all groups with rows, of which so many have each.
    pub(super) fn of_counts(counts: &[u32]) -> impl Iterator<Item = Span> {
        let mut end = 0;
        let span = move |(group, count): (usize, &u32)| {
            let (first, rows) = (end, *count as usize);
            end += rows;
            Span { group, first, rows }
        };
        counts.iter().enumerate().map(span).filter(|span| span.rows > 0)
    }
}

/// Rows by their group.
#[derive(Clone, Copy)]
pub(super) struct ByGroup<'a> {
    /// The numbers of the rows of the first group, of the next, and so on.
    pub(super) order: &'a [u32],
    /// Which of them are meant.
    pub(super) spans: &'a [Span],
}

impl<'a> ByGroup<'a> {
    /// The groups, the numbers of their rows, and those of all rows from the group's first on.
    fn groups(self) -> impl Iterator<Item = (usize, &'a [u32], &'a [u32])> {
        self.spans.iter().map(move |span| {
            let from_here = &self.order[span.first..];
            (span.group, &from_here[..span.rows], from_here)
        })
    }
}

/// Where a column, or a heap, of each group is written.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    /// Where the group's chunk begins, a multiple of 64.
    pub(super) starts: &'a [*mut u8],
    /// Bytes from there to the column, a multiple of 64.
    pub(super) offset: usize,
    /// A line for each group: the first bytes of it are the last of the column, as many as do not fill a line.
    pub(super) rests: *mut Words,
}

/// Strings one behind the other, by where they end.
#[derive(Clone, Copy)]
pub(super) struct Texts<'a> {
    /// Where the first string begins, and where each ends.
    pub(super) bounds: Bounds<'a>,
    /// All bytes that these are within.
    pub(super) bytes: &'a [u8],
    /// Bytes of the longest of them.
    pub(super) longest: usize,
    /// They are more than the caches keep: each is asked for before it is read.
    pub(super) is_ahead: bool,
    /// What is read after them: it is asked for meanwhile, a piece as long as each string that is moved.
    pub(super) next: &'a [u8],
}

/// Offsets of either width.
#[derive(Clone, Copy)]
pub(super) enum Bounds<'a> {
    Small(&'a [i32]),
    Large(&'a [i64]),
}

impl<'a> Bounds<'a> {
    pub(super) fn as_bytes(self) -> &'a [u8] {
        match self {
            Bounds::Small(bounds) => bounds.to_byte_slice(),
            Bounds::Large(bounds) => bounds.to_byte_slice(),
        }
    }
}

/// Bytes that are put together before they leave.
const OUTBOX_BYTES: usize = 4096;
const OUTBOX_LINES: usize = OUTBOX_BYTES / LINE_BYTES;
/// Short strings, views, or ends of strings that are added before whole lines of them leave.
const ROWS_AT_ONCE: usize = (OUTBOX_BYTES - LINE_BYTES) / SHORT_BYTES;
const _: () = assert!(SHORT_BYTES == size_of::<u128>());
/// A string is asked for when it is so many rows away: four of its lines.
const AHEAD_ROWS: usize = 8;
/// The same of a short string, which lies in some cache, but not in the nearest: four short strings in 4,096 groups 1.30 to 1.46 GiB/s, without 1.14
/// to 1.31.
const AHEAD_SHORT_ROWS: usize = 16;
const AHEAD_LINES: usize = 4;

/// Room for an outbox, and for a string's last copy behind it.
type Lines = [Words; OUTBOX_LINES + OVERSHOOT_BYTES / LINE_BYTES];

/// What is on its way to one chunk. Its lines are not in it, so that the rest of it stays in registers.
struct Outbox<'a> {
    lines: &'a mut Lines,
    /// Where its first line goes.
    to: *mut u8,
    /// Bytes in it.
    filled: usize,
}

impl<'a> Outbox<'a> {
    /// Begins behind the `bytes` that a group has.
    ///
    /// # Safety
    /// The group is one of the places, and its rest is readable.
    #[inline(always)]
    unsafe fn begin(lines: &'a mut Lines, places: Places<'_>, group: usize, bytes: usize) -> Outbox<'a> {
        let filled = bytes % LINE_BYTES;
        // SAFETY: the caller's promise.
        lines[0] = unsafe { *places.rests.add(group) };
        Outbox { lines, to: places.starts[group].wrapping_add(places.offset + bytes - filled), filled }
    }

    /// Where the next byte goes.
    #[inline(always)]
    fn next(&mut self) -> *mut u8 {
        self.lines.as_mut_ptr().cast::<u8>().wrapping_add(self.filled)
    }

    /// Adds a value.
    ///
    /// # Safety
    /// There is room for it.
    #[inline(always)]
    unsafe fn add<T>(&mut self, value: T) {
        // SAFETY: the caller's promise.
        unsafe { self.next().cast::<T>().write_unaligned(value) };
        self.filled += size_of::<T>();
    }

    /// Adds a string, of which `readable` bytes are readable.
    ///
    /// # Safety
    /// As [`copy_string`] of the string; the lines that it fills are writable.
    #[inline(always)]
    unsafe fn add_string<V: Vector>(&mut self, from: *const u8, readable: usize, length: usize) {
        // SAFETY: the caller's promise; there is room for the string and what is copied behind it.
        unsafe {
            if self.filled + length > OUTBOX_BYTES {
                self.leave::<V>();
                if self.filled + length > OUTBOX_BYTES {
                    return self.add_long_string::<V>(from, length);
                }
            }
            copy_string(from, readable, length, self.next());
        }
        self.filled += length;
    }

    /// The same of no more than [`SHORT_BYTES`], without looking whether there is room.
    ///
    /// # Safety
    /// As [`Outbox::add_string`], and there is room.
    #[inline(always)]
    unsafe fn add_short_string(&mut self, from: *const u8, readable: usize, length: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            if readable >= SHORT_BYTES {
                self.next().cast::<Short>().write_unaligned(from.cast::<Short>().read_unaligned());
            } else {
                copy_exactly(from, length, self.next());
            }
        }
        self.filled += length;
    }

    /// The same piece by piece.
    ///
    /// # Safety
    /// As [`Outbox::add_string`].
    #[inline(always)]
    unsafe fn add_long_string<V: Vector>(&mut self, from: *const u8, length: usize) {
        let mut done = 0;
        while done < length {
            let piece = (length - done).min(OUTBOX_BYTES - LINE_BYTES);
            // SAFETY: less than a line is left in the box whenever a piece is added.
            unsafe {
                std::ptr::copy_nonoverlapping(from.add(done), self.next(), piece);
                self.filled += piece;
                self.leave::<V>();
            }
            done += piece;
        }
    }

    /// Lets whole lines leave.
    ///
    /// # Safety
    /// The processor has the instructions of `V`, and the lines are writable where they go.
    #[inline(always)]
    unsafe fn leave<V: Vector>(&mut self) {
        let whole = self.filled / LINE_BYTES;
        for line in &self.lines[..whole] {
            // SAFETY: the caller's promise.
            unsafe { V::stream(line, self.to.cast()) };
            self.to = self.to.wrapping_add(LINE_BYTES);
        }
        self.lines[0] = self.lines[whole];
        self.filled %= LINE_BYTES;
    }

    /// Lets whole lines leave, and what is left over wait.
    ///
    /// # Safety
    /// As [`Outbox::leave`]; the group's rest is writable.
    #[inline(always)]
    unsafe fn end<V: Vector>(mut self, places: Places<'_>, group: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            self.leave::<V>();
            places.rests.add(group).write(self.lines[0]);
        }
    }
}

/// Moves values of `width` (1, 2, 4, 8 or 16) bytes to the chunks of their groups, behind the `rows` that these have.
///
/// # Safety
/// The processor has the instructions of `V`. For each number in the order the value of that row is readable at `from`. For each group of a span: its column is writable for the values that it has and those that come, its rest is readable and
/// writable and holds the last of what it has; nothing else reaches either.
#[inline(always)]
pub(super) unsafe fn gather_values<V: Vector>(
    width: usize,
    from: *const u8,
    by_group: ByGroup<'_>,
    to: Places<'_>,
    rows: &[u32],
) {
    // SAFETY: the caller's promise, for the type of this width.
    unsafe {
        match width {
            1 => gather::<V, u8>(from.cast(), by_group, to, rows),
            2 => gather::<V, u16>(from.cast(), by_group, to, rows),
            4 => gather::<V, u32>(from.cast(), by_group, to, rows),
            8 => gather::<V, u64>(from.cast(), by_group, to, rows),
            16 => gather::<V, u128>(from.cast(), by_group, to, rows),
            _ => unreachable!("no column has values of {width} bytes"),
        }
    }
    end_streams();
}

/// # Safety
/// As [`gather_values`], for values of `T`.
#[inline(always)]
unsafe fn gather<V: Vector, T: Copy>(from: *const T, by_group: ByGroup<'_>, to: Places<'_>, rows: &[u32]) {
    let at_once = (OUTBOX_BYTES - LINE_BYTES) / size_of::<T>();
    let mut lines = [ZEROS; _];
    for (group, numbers, _) in by_group.groups() {
        // SAFETY: the caller's promise; less than a line is in the box whenever the next values are added.
        unsafe {
            let mut values = Outbox::begin(&mut lines, to, group, rows[group] as usize * size_of::<T>());
            for numbers in numbers.chunks(at_once) {
                values.leave::<V>();
                for number in numbers {
                    values.add(from.add(*number as usize).read_unaligned());
                }
            }
            values.end::<V>(to, group);
        }
    }
}

/// Moves strings to the heaps of their groups, behind the bytes that these have, `used`, which grows; and where they end there to the columns of 4
/// bytes.
///
/// # Safety
/// As [`gather_values`], of the heap's bytes and of the column's values, which are `rows`. The numbers are those of strings, which are within the
/// bytes.
#[inline(always)]
pub(super) unsafe fn gather_texts<V: Vector>(
    texts: Texts<'_>,
    by_group: ByGroup<'_>,
    heaps: Places<'_>,
    used: &mut [u64],
    to: Places<'_>,
    rows: &[u32],
) {
    let is_short = texts.longest <= SHORT_BYTES;
    // SAFETY: the caller's promise; no string is longer than the longest.
    unsafe {
        match (texts.bounds, is_short) {
            (Bounds::Small(bounds), true) => {
                gather_strings::<V, _, true>(bounds, texts, by_group, heaps, used, to, rows);
            }
            (Bounds::Small(bounds), false) => {
                gather_strings::<V, _, false>(bounds, texts, by_group, heaps, used, to, rows);
            }
            (Bounds::Large(bounds), true) => {
                gather_strings::<V, _, true>(bounds, texts, by_group, heaps, used, to, rows);
            }
            (Bounds::Large(bounds), false) => {
                gather_strings::<V, _, false>(bounds, texts, by_group, heaps, used, to, rows);
            }
        }
    }
    end_streams();
}

/// An offset. A trait, as a closure is not compiled for the instructions of who calls it.
trait Offset: Copy {
    fn place(self) -> usize;
}

impl Offset for i32 {
    #[inline(always)]
    fn place(self) -> usize {
        self as usize
    }
}

impl Offset for i64 {
    #[inline(always)]
    fn place(self) -> usize {
        self as usize
    }
}

/// # Safety
/// As [`gather_texts`]; `bounds` are those of the texts, and if they are `SHORT`, none has more than [`SHORT_BYTES`].
#[inline(always)]
unsafe fn gather_strings<V: Vector, O: Offset, const SHORT: bool>(
    bounds: &[O],
    texts: Texts<'_>,
    by_group: ByGroup<'_>,
    heaps: Places<'_>,
    used: &mut [u64],
    to: Places<'_>,
    rows: &[u32],
) {
    let Texts { bytes, is_ahead, next, .. } = texts;
    let Range { start: mut next, end: next_end } = next.as_ptr_range();
    let [mut string_lines, mut end_lines] = [[ZEROS; _]; 2];
    for (group, numbers, from_here) in by_group.groups() {
        // SAFETY: the caller's promise; less than a line is in the box of ends whenever the next are added.
        unsafe {
            let mut end_of_all = used[group];
            let mut strings = Outbox::begin(&mut string_lines, heaps, group, end_of_all as usize);
            let mut ends = Outbox::begin(&mut end_lines, to, group, rows[group] as usize * size_of::<u32>());
            for (done, numbers) in numbers.chunks(ROWS_AT_ONCE).enumerate() {
                ends.leave::<V>();
                if SHORT {
                    // Room for as many as are added before it is looked at again.
                    strings.leave::<V>();
                }
                for (row, number) in (done * ROWS_AT_ONCE..).zip(numbers) {
                    let number = *number as usize;
                    let (start, end) = (bounds.get_unchecked(number).place(), bounds.get_unchecked(number + 1).place());
                    let (string, readable) = (bytes.as_ptr().add(start), bytes.len() - start);
                    if SHORT {
                        if let Some(later) = from_here.get(row + AHEAD_SHORT_ROWS) {
                            ask_for_line(bytes.as_ptr().add(bounds.get_unchecked(*later as usize).place()).cast());
                        }
                        strings.add_short_string(string, readable, end - start);
                    } else {
                        if let (true, Some(later)) = (is_ahead, from_here.get(row + AHEAD_ROWS)) {
                            ask_for_lines(bytes.as_ptr().wrapping_add(bounds[*later as usize].place()));
                        }
                        strings.add_string::<V>(string, readable, end - start);
                        let asked = next.wrapping_add(end - start).min(next_end);
                        while next < asked {
                            ask_for_line(next.cast());
                            next = next.wrapping_add(LINE_BYTES);
                        }
                    }
                    end_of_all += (end - start) as u64;
                    ends.add(end_of_all as u32);
                }
            }
            used[group] = end_of_all;
            strings.end::<V>(heaps, group);
            ends.end::<V>(to, group);
        }
    }
}

/// Asks for the first lines of a string.
#[inline(always)]
fn ask_for_lines(string: *const u8) {
    for line in 0..AHEAD_LINES {
        ask_for_line(string.wrapping_add(line * LINE_BYTES).cast());
    }
}

/// Moves the bytes of long strings to the heaps of their groups, behind those that these have, `used`, which grows; and views that point there, to
/// buffer 0, or hold their strings, to the columns.
///
/// # Safety
/// As [`gather_values`], of the heap's bytes and of the column's views, which are `rows`. The numbers are those of views; one of more than 12 bytes
/// points into `buffers`.
#[inline(always)]
pub(super) unsafe fn gather_views<V: Vector>(
    views: &[u128],
    buffers: &[&[u8]],
    by_group: ByGroup<'_>,
    heaps: Places<'_>,
    used: &mut [u64],
    to: Places<'_>,
    rows: &[u32],
) {
    let [mut string_lines, mut view_lines] = [[ZEROS; _]; 2];
    for (group, numbers, from_here) in by_group.groups() {
        // SAFETY: the caller's promise; less than a line is in the box of views whenever the next are added.
        unsafe {
            let mut end_of_all = used[group];
            let mut strings = Outbox::begin(&mut string_lines, heaps, group, end_of_all as usize);
            let mut moved = Outbox::begin(&mut view_lines, to, group, rows[group] as usize * size_of::<u128>());
            for (done, numbers) in numbers.chunks(ROWS_AT_ONCE).enumerate() {
                moved.leave::<V>();
                for (row, number) in (done * ROWS_AT_ONCE..).zip(numbers) {
                    if let Some(later) = from_here.get(row + AHEAD_ROWS)
                        && let Some(string) = long(views[*later as usize], buffers)
                    {
                        ask_for_lines(string.as_ptr());
                    }
                    let view = views[*number as usize];
                    match long(view, buffers) {
                        None => moved.add(view),
                        Some(string) => {
                            let length = view as u32 as usize;
                            strings.add_string::<V>(string.as_ptr(), string.len(), length);
                            moved.add(view & u128::from(u64::MAX) | u128::from(end_of_all) << 96);
                            end_of_all += length as u64;
                        }
                    }
                }
            }
            used[group] = end_of_all;
            strings.end::<V>(heaps, group);
            moved.end::<V>(to, group);
        }
    }
    end_streams();
}

/// A buffer from a long string on; nothing of a view that holds its string.
#[inline(always)]
fn long<'a>(view: u128, buffers: &[&'a [u8]]) -> Option<&'a [u8]> {
    let is_long = view as u32 as usize > INLINE_BYTES_MAX;
    is_long.then(|| &buffers[(view >> 64) as u32 as usize][(view >> 96) as usize..])
}

/// Adds the rows of each group to `counts`.
pub(super) fn count_rows(groups: &[u16], counts: &mut [u32]) {
    for group in groups {
        counts[usize::from(*group)] += 1;
    }
}

/// Writes the number of each row, of which the first is given, behind those of the groups before its own, and of the rows of its group before it.
pub(super) fn order_rows(groups: &[u16], first: u32, counts: &[u32], order: &mut [u32]) {
    let mut end = 0;
    let start = |count: &u32| {
        end += count;
        end - count
    };
    let mut cursors: Vec<u32> = counts.iter().map(start).collect();
    for (row, group) in (first..).zip(groups) {
        let cursor = &mut cursors[usize::from(*group)];
        order[*cursor as usize] = row;
        *cursor += 1;
    }
}

/// Reads a byte of each line, so that the caches have all of them when they are read in another order.
pub(super) fn touch(bytes: &[u8]) {
    std::hint::black_box(bytes.iter().step_by(LINE_BYTES).fold(0, |all, byte| all ^ byte));
}
