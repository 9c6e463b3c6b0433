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
//! better, and on the machines measured they are not: see `README.md`, § Measured. What is needed for that is done elsewhere: huge pages,
//! and chunks at addresses that do not meet in a few sets of the cache (`memory::Pool`).
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
) {
    for streams in streams.chunks(4) {
        // SAFETY: the caller's promise, for the type of this width.
        unsafe {
            match width {
                1 => scatter_values::<u8>(streams, groups, starts, rows),
                2 => scatter_values::<u16>(streams, groups, starts, rows),
                4 => scatter_values::<u32>(streams, groups, starts, rows),
                8 => scatter_values::<u64>(streams, groups, starts, rows),
                16 => scatter_values::<u128>(streams, groups, starts, rows),
                _ => unreachable!("no column has values of {width} bytes"),
            }
        }
    }
}

/// # Safety
/// As [`scatter`], for values of `T`; at most four streams.
#[inline(always)]
unsafe fn scatter_values<T: Copy>(streams: &[Stream], groups: &[u8], starts: &Starts, rows: &[u32; GROUPS_MAX]) {
    let mut places: [*mut T; GROUPS_MAX] = [std::ptr::null_mut(); GROUPS_MAX];
    for ((place, start), rows) in places.iter_mut().zip(starts).zip(rows) {
        // Wrapping: the place of a group without rows is never used.
        *place = start.cast::<T>().wrapping_add(*rows as usize);
    }
    // SAFETY: the caller's promise.
    unsafe {
        match *streams {
            [a] => scatter_some([a], groups, &mut places),
            [a, b] => scatter_some([a, b], groups, &mut places),
            [a, b, c] => scatter_some([a, b, c], groups, &mut places),
            [a, b, c, d] => scatter_some([a, b, c, d], groups, &mut places),
            _ => {}
        }
    }
}

/// # Safety
/// As [`scatter`], where `places` are the starts behind the rows that are there.
#[inline(always)]
unsafe fn scatter_some<T: Copy, const N: usize>(
    streams: [Stream; N],
    groups: &[u8],
    places: &mut [*mut T; GROUPS_MAX],
) {
    for (row, group) in groups.iter().enumerate() {
        let place = &mut places[usize::from(*group)];
        for stream in &streams {
            // SAFETY: the caller promises that the value can be read and its place be written; neither need be aligned.
            unsafe {
                let value = stream.from.cast::<T>().add(row).read_unaligned();
                place.byte_add(stream.offset).write_unaligned(value);
            }
        }
        *place = place.wrapping_add(1);
    }
}

/// Bytes that may be written behind a string's last.
pub(super) const OVERSHOOT_BYTES: usize = 32;

/// Moves strings that lie one behind the other, the first of them at `from`, to the heaps of their groups, and the heaps' ends on.
///
/// # Safety
/// `from[.. sum of lengths]` is readable, and `readable_bytes`, which are not fewer, are readable from there. `heaps[g]` is writable for
/// the lengths of g's rows and [`OVERSHOOT_BYTES`] more. Nothing else reaches either.
#[inline(always)]
pub(super) unsafe fn scatter_strings(
    from: *const u8,
    readable_bytes: usize,
    lengths: &[u32],
    groups: &[u8],
    heaps: &mut Starts,
) {
    let mut start = 0;
    for (length, group) in lengths.iter().zip(groups) {
        let length = *length as usize;
        let heap = &mut heaps[usize::from(*group)];
        // SAFETY: `start + length` is at most the sum of lengths; the rest is the caller's promise.
        unsafe { copy_string(from.add(start), readable_bytes - start, length, *heap) };
        *heap = heap.wrapping_add(length);
        start += length;
    }
}

/// Copies `length` bytes, and perhaps up to [`OVERSHOOT_BYTES`] behind them: a copy of a fixed length needs no branch on it.
///
/// # Safety
/// `readable_bytes ≥ length` are readable at `from`; `length + OVERSHOOT_BYTES` are writable at `to`, and do not overlap the others.
#[inline(always)]
unsafe fn copy_string(from: *const u8, readable_bytes: usize, length: usize, to: *mut u8) {
    const STEP: usize = OVERSHOOT_BYTES;
    // SAFETY: all reads end within `readable_bytes`, as the conditions say, all writes within `length + STEP`.
    unsafe {
        if length <= STEP / 2 && readable_bytes >= STEP / 2 {
            std::ptr::copy_nonoverlapping(from, to, STEP / 2);
        } else if readable_bytes >= length.next_multiple_of(STEP) {
            let mut done = 0;
            while done < length {
                std::ptr::copy_nonoverlapping(from.add(done), to.add(done), STEP);
                done += STEP;
            }
        } else {
            std::ptr::copy_nonoverlapping(from, to, length);
        }
    }
}

/// A view's length that is kept in the view itself: at most so many bytes.
pub(super) const INLINE_BYTES_MAX: usize = 12;

/// Where the long strings of a column of views are, and where they go.
pub(super) struct LongStrings<'a> {
    /// The column's buffers.
    pub(super) buffers: &'a [&'a [u8]],
    /// Where each group's heap begins.
    pub(super) starts: &'a Starts,
    /// Where it ends, moved on.
    pub(super) heaps: &'a mut Starts,
}

/// Moves the bytes of long strings to the heaps of their groups, and writes views that point there to `moved`; a heap is buffer 0.
///
/// # Safety
/// A view of more than 12 bytes points into `buffers`. `heaps[g]` is writable for the lengths of g's long rows and [`OVERSHOOT_BYTES`]
/// more, is behind `starts[g]` by less than 4 GiB, and nothing else reaches it. `moved` is as long as `views` and `groups`.
#[inline(always)]
pub(super) unsafe fn scatter_views(views: &[u128], groups: &[u8], strings: LongStrings<'_>, moved: &mut [u128]) {
    let LongStrings { buffers, starts, heaps } = strings;
    for ((view, group), moved) in views.iter().zip(groups).zip(moved) {
        let length = *view as u32 as usize;
        *moved = *view;
        if length > INLINE_BYTES_MAX {
            let (buffer, start) = (buffers[(*view >> 64) as u32 as usize], (*view >> 96) as usize);
            let group = usize::from(*group);
            let heap = &mut heaps[group];
            let offset = heap.addr() - starts[group].addr();
            // SAFETY: the view points into the buffer, as the caller promises; so does the heap's room.
            unsafe { copy_string(buffer.as_ptr().add(start), buffer.len() - start, length, *heap) };
            *moved = *view & u128::from(u64::MAX) | (offset as u128) << 96;
            *heap = heap.wrapping_add(length);
        }
    }
}

/// Adds each row's amount to its group's sum.
#[inline(always)]
pub(super) fn sum_by_group(amounts: &[u32], groups: &[u8], sums: &mut [u64; GROUPS_MAX]) {
    for (amount, group) in amounts.iter().zip(groups) {
        sums[usize::from(*group)] += u64::from(*amount);
    }
}
