//! Rows to their groups: a stable counting sort, and the move of the values to where each group grows.
//!
//! In: the group of each row, a cursor for each group, values. Out: rows in group order; values behind each group's cursor, those of a
//! group in the order of the rows. Never: looks at a type; knows how much room a group has (`chunks` does, and asks for it before).
//!
//! ```text
//! groups  2 0 1 0 2      counts 2 1 2      first rows 0 2 3
//! row     0 1 2 3 4      order  1 3 | 2 | 0 4
//!
//! streams   a │ b │ c │ d      one pass over the rows moves up to four columns of one width:
//!             ▼   ▼   ▼   ▼    place = places[group]; place[a] = …; place[b] = …; places[group] += width
//! ```
//! The values are stored straight into the chunks. The lines that are open (256 groups of four columns: 64 KiB) lie in L2, so the cache is
//! the buffer that combines the writes of a line; `research/performance.md` § 1 expects buffers of our own and streaming stores to be
//! better, and on the machines measured they are not for so few columns: see `README.md`, § Moving rows to their groups; more columns go
//! through `tiles`. What is needed for that is done elsewhere: huge pages, and chunks at addresses that do not meet in a few sets of the
//! cache (`memory::Pool`).
//!
//! Scatter instructions are not used: no processor of today does them faster than stores.

#![allow(unsafe_code)]

use super::partition::GROUPS_MAX;

/// A column of values on its way: where they are, and how far behind a group's place they go.
#[derive(Clone, Copy)]
pub(super) struct Stream {
    /// The value of the first row; no alignment is asked for.
    pub(super) from: *const u8,
    /// Bytes from a group's place to this column's.
    pub(super) offset: usize,
}

pub(super) const LINE_BYTES: usize = 64;
/// Open lines of one pass at most, where there are so few groups: an L1 of 32 KiB.
const OPEN_LINES_MAX: usize = 512;
/// With at most so many open lines, the next line of each is asked for ahead: what that L1 holds.
///
/// The prefetchers of the processor do not see that dozens of writers go upwards, and the stores of one thread wait for each other.
/// 16 groups of 4 × u64 in chunks that are not in the caches: 4.1 ns a row instead of 8.7. With twice as many lines as the L1 holds it
/// costs more than it brings: 256 groups of four columns at once 7.4 instead of 6.6. Between encoding and writing, which empty the caches:
/// the columns of lineitem in 200 groups, two at a time, 46 ns a row instead of 52.
const AHEAD_LINES_MAX: usize = 512;

/// So far ahead the values of each column are asked for: the next page, which the processor does not foresee. The first of two passes of four
/// columns of 8 bytes, in 64 groups: 4.3 ns a row without, 3.6 with.
pub(super) const ASKED_BYTES: usize = 4096;

/// Asks for the line of an address, which will be needed soon; any address.
#[inline(always)]
pub(super) fn ask_for_line(address: *const i8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint that reads nothing, of the instructions that every processor of this architecture has.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Asks for the line of an address, which will be needed later, and not in the nearest cache; any address.
#[inline(always)]
pub(super) fn ask_for_later_line(address: *const i8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint that reads nothing, of the instructions that every processor of this architecture has.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(address);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Where the chunk of each group begins; anything for a group without rows.
pub(super) type Starts = [*mut u8; GROUPS_MAX];

/// Writes each row's number behind its group's cursor and moves the cursor on.
///
/// `cursors`: where each group's next row goes, as of `first_rows`. `order`: at least as long as the last cursor goes.
#[inline(always)]
pub(super) fn row_order(groups: &[u8], cursors: &mut [u32; GROUPS_MAX], order: &mut [u32]) {
    for (row, group) in groups.iter().enumerate() {
        let cursor = &mut cursors[usize::from(*group)];
        order[*cursor as usize] = row as u32;
        *cursor += 1;
    }
}

/// Moves the values of each of `streams`, all `width` (1, 2, 4, 8 or 16) bytes wide, to the chunks of their groups, behind the `rows` that
/// these have.
///
/// # Safety
/// For each row of a group g, the r-th of them in `groups`, and each stream s: `s.from[row · width ..][.. width]` is readable and
/// `starts[g][s.offset + (rows[g] + r) · width ..][.. width]` is writable, and nothing else reaches either.
#[inline(always)]
pub(super) unsafe fn scatter(
    width: usize,
    streams: &[Stream],
    groups: &[u8],
    starts: &Starts,
    rows: &[u32; GROUPS_MAX],
    group_count: usize,
) {
    let streams_max = if group_count * 4 <= OPEN_LINES_MAX { 4 } else { 2 };
    for streams in streams.chunks(streams_max) {
        let is_ahead = group_count * streams.len() <= AHEAD_LINES_MAX;
        // SAFETY: the caller's promise, for the type of this width.
        unsafe {
            match width {
                1 => scatter_values::<u8>(streams, groups, starts, rows, is_ahead),
                2 => scatter_values::<u16>(streams, groups, starts, rows, is_ahead),
                4 => scatter_values::<u32>(streams, groups, starts, rows, is_ahead),
                8 => scatter_values::<u64>(streams, groups, starts, rows, is_ahead),
                16 => scatter_values::<u128>(streams, groups, starts, rows, is_ahead),
                _ => unreachable!("no column has values of {width} bytes"),
            }
        }
    }
}

/// # Safety
/// As [`scatter`], for values of `T`; at most four streams.
#[inline(always)]
unsafe fn scatter_values<T: Copy>(
    streams: &[Stream],
    groups: &[u8],
    starts: &Starts,
    rows: &[u32; GROUPS_MAX],
    is_ahead: bool,
) {
    let mut places: [*mut T; GROUPS_MAX] = [std::ptr::null_mut(); GROUPS_MAX];
    for ((place, start), rows) in places.iter_mut().zip(starts).zip(rows) {
        // Wrapping: the place of a group without rows is never used.
        *place = start.cast::<T>().wrapping_add(*rows as usize);
    }
    // SAFETY: the caller's promise.
    unsafe {
        match (streams, is_ahead) {
            (&[a], false) => scatter_some::<T, 1, false>([a], groups, &mut places),
            (&[a, b], false) => scatter_some::<T, 2, false>([a, b], groups, &mut places),
            (&[a, b, c], false) => scatter_some::<T, 3, false>([a, b, c], groups, &mut places),
            (&[a, b, c, d], false) => scatter_some::<T, 4, false>([a, b, c, d], groups, &mut places),
            (&[a], true) => scatter_some::<T, 1, true>([a], groups, &mut places),
            (&[a, b], true) => scatter_some::<T, 2, true>([a, b], groups, &mut places),
            (&[a, b, c], true) => scatter_some::<T, 3, true>([a, b, c], groups, &mut places),
            (&[a, b, c, d], true) => scatter_some::<T, 4, true>([a, b, c, d], groups, &mut places),
            _ => {}
        }
    }
}

/// # Safety
/// As [`scatter`], where `places` are the starts behind the rows that are there.
#[inline(always)]
unsafe fn scatter_some<T: Copy, const N: usize, const AHEAD: bool>(
    streams: [Stream; N],
    groups: &[u8],
    places: &mut [*mut T; GROUPS_MAX],
) {
    let line_rows = LINE_BYTES / size_of::<T>();
    for (line, groups) in groups.chunks(line_rows).enumerate() {
        for stream in &streams {
            ask_for_later_line(stream.from.wrapping_add(LINE_BYTES * line + ASKED_BYTES).cast());
        }
        for (row, group) in (line * line_rows..).zip(groups) {
            let place = &mut places[usize::from(*group)];
            for stream in &streams {
                // SAFETY: the caller promises that the value can be read and its place be written; neither need be aligned.
                unsafe {
                    let value = stream.from.cast::<T>().add(row).read_unaligned();
                    let to = place.byte_add(stream.offset);
                    to.write_unaligned(value);
                    if AHEAD {
                        ask_for_line(to.wrapping_byte_add(LINE_BYTES).cast());
                    }
                }
            }
            *place = place.wrapping_add(1);
        }
    }
}

/// Bytes that may be written behind a string's last: as many as are copied at once. Most strings are that short, so that the branch on their
/// length is foreseen: 10 to 43 bytes in 200 groups 8.6 ns a row with 32, 6.4 with 64.
pub(super) const OVERSHOOT_BYTES: usize = 64;
type Step = [u64; OVERSHOOT_BYTES / 8];
/// Bytes between a string that is moved and those that are asked for meanwhile: 5.9 ns.
const AHEAD_BYTES: usize = 1024;

/// The heaps of one column.
pub(super) struct Heaps<'a> {
    /// Where each group's begins.
    pub(super) starts: &'a Starts,
    /// Where it ends, moved on.
    pub(super) ends: &'a mut Starts,
}

/// Moves strings that lie one behind the other, the first of them at `from`, to the heaps of their groups, and the heaps' ends on; `ends`
/// says how far behind the heap's start each string ends.
///
/// # Safety
/// `from[.. sum of lengths]` is readable, and `readable_bytes`, which are not fewer, are readable from there. `heaps.ends[g]` is writable
/// for the lengths of g's rows and [`OVERSHOOT_BYTES`] more, is behind `heaps.starts[g]` by less than 4 GiB even then, and nothing else
/// reaches either. `ends` is as long as `lengths` and `groups`.
#[inline(always)]
pub(super) unsafe fn scatter_strings(
    from: *const u8,
    readable_bytes: usize,
    lengths: &[u32],
    groups: &[u8],
    heaps: Heaps<'_>,
    ends: &mut [u32],
) {
    let longest = lengths.iter().fold(0, |longest, length| longest.max(*length));
    let total: usize = lengths.iter().map(|length| *length as usize).sum();
    // SAFETY: the caller's promise; of short strings a whole `Short` is readable from the start of each.
    unsafe {
        if longest as usize <= SHORT_BYTES && readable_bytes >= total + SHORT_BYTES {
            scatter_strings_by(lengths, groups, heaps, ends, |start, _, to| {
                to.cast::<Short>().write_unaligned(from.add(start).cast::<Short>().read_unaligned());
            });
        } else {
            scatter_strings_by(lengths, groups, heaps, ends, |start, length, to| {
                copy_string(from.add(start), readable_bytes - start, length, to);
            });
        }
    }
}

/// Hands each string's start, length and place to `copy`.
///
/// # Safety
/// `copy` may write wherever it is sent.
#[inline(always)]
unsafe fn scatter_strings_by(
    lengths: &[u32],
    groups: &[u8],
    heaps: Heaps<'_>,
    ends: &mut [u32],
    copy: impl Fn(usize, usize, *mut u8),
) {
    let mut start = 0;
    for ((length, group), end) in lengths.iter().zip(groups).zip(ends) {
        let (length, group) = (*length as usize, usize::from(*group));
        let heap = &mut heaps.ends[group];
        copy(start, length, *heap);
        *heap = heap.wrapping_add(length);
        *end = (heap.addr() - heaps.starts[group].addr()) as u32;
        // Strings begin anywhere, so the first that reaches a new line lies across two, and such a store waits for both: 39 ns a row of
        // four short strings in 256 groups, 21 with this.
        ask_for_line(heap.wrapping_add(LINE_BYTES).cast());
        start += length;
    }
}

/// A string of so many bytes or fewer is moved by one load and one store.
pub(super) const SHORT_BYTES: usize = 16;
pub(super) type Short = [u64; 2];

/// Copies `length` bytes, and perhaps up to [`OVERSHOOT_BYTES`] behind them: a copy of a fixed length needs no branch on it.
///
/// # Safety
/// `readable_bytes ≥ length` are readable at `from`; `length + OVERSHOOT_BYTES` are writable at `to`, and do not overlap the others.
#[inline(always)]
pub(super) unsafe fn copy_string(from: *const u8, readable_bytes: usize, length: usize, to: *mut u8) {
    // Values and not `copy_nonoverlapping`, which the compiler puts together with the last branch's: a call for every string.
    // SAFETY: all reads end within `readable_bytes`, as the conditions say, all writes within
    // `length + OVERSHOOT_BYTES`.
    unsafe {
        if length <= SHORT_BYTES && readable_bytes >= SHORT_BYTES {
            to.cast::<Short>().write_unaligned(from.cast::<Short>().read_unaligned());
        } else if readable_bytes >= length.next_multiple_of(OVERSHOOT_BYTES) {
            let mut done = 0;
            while done < length {
                to.add(done).cast::<Step>().write_unaligned(from.add(done).cast::<Step>().read_unaligned());
                done += OVERSHOOT_BYTES;
            }
        } else {
            copy_exactly(from, length, to);
        }
    }
}

/// Copies `length` bytes and reads no other: the last strings of a buffer. A call that is seen as one: else the compiler makes one call of this and the
/// copies of fixed lengths, for every string.
///
/// # Safety
/// `length` bytes are readable at `from`, writable at `to`, and do not overlap.
#[cold]
#[inline(never)]
pub(super) unsafe fn copy_exactly(from: *const u8, length: usize, to: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe { std::ptr::copy_nonoverlapping(from, to, length) }
}

/// A view's length that is kept in the view itself: at most so many bytes.
pub(super) const INLINE_BYTES_MAX: usize = 12;

/// Moves the bytes of long strings to the heaps of their groups, and writes views that point there to `moved`; a heap is buffer 0.
///
/// # Safety
/// A view of more than 12 bytes points into `buffers`, of which there is one at least. `heaps` as of [`scatter_strings`], for the lengths of
/// the long strings. `moved` is as long as `views` and `groups`.
#[inline(always)]
pub(super) unsafe fn scatter_views(
    views: &[u128],
    buffers: &[&[u8]],
    groups: &[u8],
    heaps: Heaps<'_>,
    moved: &mut [u128],
) {
    for ((view, group), moved) in views.iter().zip(groups).zip(moved) {
        let length = *view as u32 as usize;
        let is_long = length > INLINE_BYTES_MAX;
        // No branch on what half of the strings may be: some bytes are copied for a short one, too, to where the next long one goes.
        let (number, start) = if is_long { ((*view >> 64) as u32 as usize, (*view >> 96) as usize) } else { (0, 0) };
        let (buffer, group) = (buffers[number], usize::from(*group));
        let heap = &mut heaps.ends[group];
        // SAFETY: a long view points into the buffer, as the caller promises; so does the heap's room, and for a short one what is behind
        // it, as no more than `OVERSHOOT_BYTES` are copied.
        unsafe {
            let from = buffer.as_ptr().add(start);
            ask_for_line(from.wrapping_add(AHEAD_BYTES).cast());
            if length <= OVERSHOOT_BYTES && buffer.len() - start >= OVERSHOOT_BYTES {
                heap.cast::<Step>().write_unaligned(from.cast::<Step>().read_unaligned());
            } else if is_long {
                copy_string(from, buffer.len() - start, length, *heap);
            }
        }
        let offset = heap.addr() - heaps.starts[group].addr();
        *moved = if is_long { *view & u128::from(u64::MAX) | (offset as u128) << 96 } else { *view };
        *heap = heap.wrapping_add(if is_long { length } else { 0 });
        ask_for_line(heap.wrapping_add(LINE_BYTES).cast());
    }
}

/// Adds each row's amount to its group's sum.
#[inline(always)]
pub(super) fn sum_by_group<G: Copy + Into<usize>>(amounts: &[u32], groups: &[G], sums: &mut [u64]) {
    for (amount, group) in amounts.iter().zip(groups) {
        let group: usize = (*group).into();
        sums[group] += u64::from(*amount);
    }
}
