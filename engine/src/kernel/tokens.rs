//! Words: what stands between white space.
//!
//! In: a column of lines. Out: columns of their words, views that hold words of up to 12 bytes and point into the lines' bytes for longer ones.
//! Never: copies a long word; looks at a byte twice.
//!
//! ```text
//!   text     th e  quick␊       marks    0010110000010000…    a bit for each byte that is white space, 64 at once
//!   bounds   where a mark ends and none follows, and the other way: places of bits, sixteen at a time, whether there are as many or not
//!   view     16 bytes from the word's beginning, those behind its end masked away, its length before them
//! ```
//! There is no loop over the bytes of a word and none over those of a line, whose ends nothing can predict: lines that follow one another in a text
//! are cut together.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use arrow::{
    array::{Array, StringViewArray},
    buffer::{Buffer, ScalarBuffer},
};

use super::{Kernels, scatter::INLINE_BYTES_MAX, vector::Vector};

/// So many places are noted at once; slices of bounds are longer than there can be words by as many.
pub(super) const NOTED: usize = 16;

/// See [`Kernels::word_bounds`].
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn word_bounds<V: Vector>(
    text: &[u8],
    first: u32,
    is_open: bool,
    starts: &mut [u32],
    ends: &mut [u32],
) -> (usize, usize) {
    let blocks = text.chunks_exact(64);
    let mut rest = [b' '; 64];
    rest[..blocks.remainder().len()].copy_from_slice(blocks.remainder());
    let rest = (!blocks.remainder().is_empty()).then_some(&rest[..]);
    let (mut start_count, mut end_count, mut base) = (0, 0, first);
    let mut before = u64::from(is_open);
    for block in blocks.chain(rest) {
        // SAFETY: a block has 64 bytes.
        let word = !unsafe { V::white_space(block.as_ptr()) };
        let moved = word << 1 | before;
        start_count += note::<V>(word & !moved, base, &mut starts[start_count..]);
        end_count += note::<V>(!word & moved, base, &mut ends[end_count..]);
        before = word >> 63;
        base = base.wrapping_add(64);
    }
    (start_count, end_count)
}

/// Adds the views of pieces of a text, by where they start and end; the longest of them. The text is the buffer of that number.
pub(super) fn add_views(
    kernels: &Kernels,
    text: &[u8],
    starts: &[u32],
    ends: &[u32],
    buffer: u32,
    views: &mut Vec<u128>,
) -> u32 {
    views.reserve(starts.len());
    let room = &mut views.spare_capacity_mut()[..starts.len()];
    let longest = (kernels.word_views)(text, starts, ends, buffer, room);
    // SAFETY: the kernel has written a view for each start.
    unsafe { views.set_len(views.len() + starts.len()) };
    longest
}

/// See [`Kernels::word_views`].
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn word_views<V: Vector>(
    text: &[u8],
    starts: &[u32],
    ends: &[u32],
    buffer: u32,
    views: &mut [MaybeUninit<u128>],
) -> u32 {
    assert!(starts.len() == ends.len() && starts.len() == views.len(), "bounds and views of different words");
    let mut longest = 0;
    for ((start, end), to) in starts.iter().zip(ends).zip(views.iter_mut()) {
        let (length, start) = (end - start, *start as usize);
        longest = longest.max(length);
        let kept = &KEPT[(length as usize).min(INLINE_BYTES_MAX)];
        match text[start..].first_chunk::<16>() {
            // SAFETY: the chunk has 16 bytes; the others are references.
            Some(front) => unsafe { V::short_view(front.as_ptr(), kept, length, to.as_mut_ptr()) },
            None => drop(to.write(view(front_at(text, start), length, buffer, start as u32))),
        }
    }
    if longest as usize > INLINE_BYTES_MAX {
        let is_long = |(start, end): (&u32, &u32)| (end - start) as usize > INLINE_BYTES_MAX;
        for ((start, end), to) in starts.iter().zip(ends).zip(views).filter(|(bounds, _)| is_long(*bounds)) {
            to.write(view(front_at(text, *start as usize), end - start, buffer, *start));
        }
    }
    longest
}

/// See [`Kernels::line_ends`].
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn line_ends<V: Vector>(text: &[u8], first: u32, ends: &mut [u32]) -> usize {
    let blocks = text.chunks_exact(64);
    let mut rest = [0; 64];
    rest[..blocks.remainder().len()].copy_from_slice(blocks.remainder());
    let rest = (!blocks.remainder().is_empty()).then_some(&rest[..]);
    let (mut count, mut base) = (0, first);
    for block in blocks.chain(rest) {
        // SAFETY: a block has 64 bytes.
        count += note::<V>(unsafe { V::newlines(block.as_ptr()) }, base, &mut ends[count..]);
        base = base.wrapping_add(64);
    }
    count
}

/// The places of the bits, from `first` on, at the front of `places`; how many.
#[inline(always)]
fn note<V: Vector>(bits: u64, first: u32, places: &mut [u32]) -> usize {
    let places = &mut places[..bits.count_ones() as usize + NOTED];
    // SAFETY: there is room for the places of all bits and `NOTED` more.
    unsafe { V::note(bits, first, places.as_mut_ptr()) }
}

/// The view of `length` bytes that stand in a buffer from `start` on and begin with the first of `front`. It does not branch.
#[inline(always)]
pub(super) fn view(front: u128, length: u32, buffer: u32, start: u32) -> u128 {
    let kept = front & KEPT[(length as usize).min(INLINE_BYTES_MAX)];
    let short = kept << 32 | u128::from(length);
    let place = u128::from(start) << 96 | u128::from(buffer) << 64;
    let long = place | u128::from(front as u32) << 32 | u128::from(length);
    if length as usize <= INLINE_BYTES_MAX { short } else { long }
}

/// Up to 16 bytes of a text from `start` on, and zeros where it ends before.
#[inline(always)]
pub(super) fn front_at(text: &[u8], start: usize) -> u128 {
    match text[start..].first_chunk() {
        Some(front) => u128::from_le_bytes(*front),
        None => front_at_the_end(&text[start..]),
    }
}

#[cold]
fn front_at_the_end(bytes: &[u8]) -> u128 {
    let mut front = [0; 16];
    front[..bytes.len()].copy_from_slice(bytes);
    u128::from_le_bytes(front)
}

/// By length, the bytes of a view's string.
const KEPT: [u128; INLINE_BYTES_MAX + 1] = {
    let mut kept = [0; INLINE_BYTES_MAX + 1];
    let mut length = 1;
    while length <= INLINE_BYTES_MAX {
        kept[length] = u128::MAX >> (128 - 8 * length);
        length += 1;
    }
    kept
};

/// Cuts lines into words.
pub struct Tokens {
    kernels: &'static Kernels,
    /// Words of a column.
    rows_max: usize,
    starts: Vec<u32>,
    ends: Vec<u32>,
    views: Vec<u128>,
    /// A word points into the buffers of its lines.
    has_long: bool,
}

/// A text within a buffer of the lines, by that buffer's number.
#[derive(Clone, Copy)]
struct Text<'a> {
    bytes: &'a [u8],
    buffer: u32,
}

impl Tokens {
    /// Columns of up to `rows_max` words.
    pub fn new(rows_max: usize) -> Tokens {
        let bounds = || vec![0; CUT_BYTES / 2 + 1 + 1 + NOTED];
        let (starts, ends) = (bounds(), bounds());
        let kernels = Kernels::detect();
        Tokens { kernels, rows_max: rows_max.max(1), starts, ends, views: Vec::new(), has_long: false }
    }

    /// Gives the words of all lines to `emit`, until it fails.
    pub fn split<E>(
        &mut self,
        lines: &StringViewArray,
        mut emit: impl FnMut(StringViewArray) -> Result<(), E>,
    ) -> Result<(), E> {
        let views = lines.views();
        let mut row = 0;
        while let Some(view) = views.get(row).copied() {
            row += 1;
            if lines.is_null(row - 1) {
                continue;
            }
            let length = view as u32 as usize;
            if length <= INLINE_BYTES_MAX {
                // In bytes of its own, without the length; all its words are short.
                let bytes = (view >> 32).to_le_bytes();
                self.cut(Text { bytes: &bytes, buffer: 0 }, 0, length, lines, &mut emit)?;
                continue;
            }
            let (buffer, start) = ((view >> 64) as u32, (view >> 96) as usize);
            let text = Text { bytes: &lines.data_buffers()[buffer as usize], buffer };
            let mut end = start + length;
            while let Some(next) = views.get(row) {
                match text.line_behind(end, *next) {
                    _ if lines.is_null(row) => {}
                    Some(line_end) => end = line_end,
                    None => break,
                }
                row += 1;
            }
            self.cut(text, start, end, lines, &mut emit)?;
        }
        self.flush(lines, &mut emit)
    }

    /// The words between `start` and `end`.
    fn cut<E>(
        &mut self,
        text: Text<'_>,
        start: usize,
        end: usize,
        lines: &StringViewArray,
        emit: &mut impl FnMut(StringViewArray) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut at, mut open) = (start, None);
        while at < end {
            let to = end.min(at + CUT_BYTES);
            let begun = usize::from(open.is_some());
            self.starts[0] = open.unwrap_or_default();
            let (starts, ends) = (&mut self.starts[begun..], &mut self.ends[..]);
            let (starts, mut words) =
                (self.kernels.word_bounds)(&text.bytes[at..to], at as u32, begun > 0, starts, ends);
            let starts = starts + begun;
            if to == end && starts > words {
                self.ends[words] = end as u32;
                words += 1;
            }
            open = (starts > words).then(|| self.starts[words]);
            let mut from = 0;
            while from < words {
                let upto = words.min(from + self.rows_max - self.views.len());
                self.add(text, from, upto);
                from = upto;
                if self.views.len() == self.rows_max {
                    self.flush(lines, emit)?;
                }
            }
            at = to;
        }
        Ok(())
    }

    /// The views of words from those bounds on up to those.
    fn add(&mut self, text: Text<'_>, from: usize, upto: usize) {
        let (starts, ends) = (&self.starts[from..upto], &self.ends[from..upto]);
        let longest = add_views(self.kernels, text.bytes, starts, ends, text.buffer, &mut self.views);
        self.has_long |= longest as usize > INLINE_BYTES_MAX;
    }

    fn flush<E>(
        &mut self,
        lines: &StringViewArray,
        emit: &mut impl FnMut(StringViewArray) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.views.is_empty() {
            return Ok(());
        }
        let views = std::mem::replace(&mut self.views, Vec::with_capacity(self.rows_max));
        let buffers: Vec<Buffer> = if self.has_long { lines.data_buffers().to_vec() } else { Vec::new() };
        self.has_long = false;
        // SAFETY: a view holds its word and zeros behind it, or is arrow's own of a word in that buffer; a word is cut from text at bytes of
        // ASCII, so it is UTF-8.
        emit(unsafe { StringViewArray::new_unchecked(ScalarBuffer::from(views), buffers, None) })
    }
}

impl Text<'_> {
    /// Where the line that `view` shows ends, if it stands behind the line that ends at `end`.
    fn line_behind(self, end: usize, view: u128) -> Option<usize> {
        let rest = &self.bytes[end..];
        let start = end
            + match rest.first()? {
                b'\n' => 1,
                b'\r' if rest.get(1) == Some(&b'\n') => 2,
                _ => return None,
            };
        let line_end = start + view as u32 as usize;
        let is_there = if line_end - start <= INLINE_BYTES_MAX {
            // Wherever it was cut from: the same bytes are the same words.
            self.bytes.get(start..line_end)? == &view.to_le_bytes()[4..4 + line_end - start]
        } else {
            ((view >> 64) as u32, (view >> 96) as usize) == (self.buffer, start)
        };
        is_there.then_some(line_end)
    }
}

/// So many bytes are cut at once: the bounds of their words stay in L1.
const CUT_BYTES: usize = 8 << 10;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::testing::cases;

    proptest! {
        #![proptest_config(cases(300))]

        #[test]
        fn words_are_those_of_the_lines(
            lines in prop::collection::vec("[a-zäß \t\r\u{b}\u{c}]{0,30}|[a-c]{0,90} [a-c]{11,14}", 0..60),
            rows_max in 1usize..40,
            skip in 0usize..5,
        ) {
            let array = StringViewArray::from_iter_values(&lines);
            let array = array.slice(skip.min(lines.len()), lines.len() - skip.min(lines.len()));
            let expected: Vec<&str> = lines.iter().skip(skip).flat_map(|line| line.split_ascii_whitespace()).collect();
            for (name, kernels) in Kernels::all_available().into_iter().chain([("scalar", Kernels::scalar())]) {
                let (mut tokens, mut found) = (Tokens { kernels, ..Tokens::new(rows_max) }, Vec::new());
                for _ in 0..2 {
                    found.clear();
                    tokens.split(&array, |words| {
                        words.to_data().validate_full().unwrap();
                        assert!(words.len() <= rows_max);
                        found.extend(words.iter().map(|word| word.unwrap().to_owned()));
                        Ok::<(), ()>(())
                    }).unwrap();
                    prop_assert_eq!(&found, &expected, "{}", name);
                }
            }
        }

        #[test]
        fn bounds_agree_with_scalar(
            text in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..40], 0..300),
            first in 0u32..1000,
            is_open: bool,
        ) {
            let bounds = |kernels: &Kernels| {
                let [mut starts, mut ends] = [(); 2].map(|()| vec![0; text.len() / 2 + 1 + NOTED]);
                let (start_count, end_count) = (kernels.word_bounds)(&text, first, is_open, &mut starts, &mut ends);
                starts.truncate(start_count);
                ends.truncate(end_count);
                let mut lines = vec![0; text.len() + NOTED];
                let line_count = (kernels.line_ends)(&text, first, &mut lines);
                lines.truncate(line_count);
                (starts, ends, lines)
            };
            let expected = bounds(Kernels::scalar());
            for (name, kernels) in Kernels::all_available() {
                prop_assert_eq!(&bounds(kernels), &expected, "{}", name);
            }
        }
    }

    /// Lines of all lengths in one text, so that they are cut together.
    #[test]
    fn lines_of_a_text_are_cut_as_if_each_stood_alone() {
        let mut text = String::new();
        for number in 0..4000 {
            let word = ["a", "word", "a-longer-one", "one-longer-than-a-view"][number % 4];
            text.extend(std::iter::repeat_n(word, number % 7).flat_map(|word| [word, [" ", "  ", "\t"][number % 3]]));
            text.push_str(["\n", "\r\n", "\n\n"][number % 3]);
        }
        text.push_str(&"x".repeat(3 * CUT_BYTES));
        let (lines, _) = crate::kernel::lines(&Buffer::from(text.as_bytes()), 0, usize::MAX).unwrap();
        let expected: Vec<&str> = text.split_ascii_whitespace().collect();
        for take in [1, 2, 3, lines.len()] {
            let mut found = Vec::new();
            let mut emit = |words: StringViewArray| {
                words.to_data().validate_full().unwrap();
                found.extend(words.iter().map(|word| word.unwrap().to_owned()));
                Ok::<(), ()>(())
            };
            let mut tokens = Tokens::new(1000);
            for from in (0..lines.len()).step_by(take) {
                tokens.split(&lines.slice(from, take.min(lines.len() - from)), &mut emit).unwrap();
            }
            assert_eq!(found, expected, "{take} lines together");
        }
    }
}
