//! Words: what stands between white space.
//!
//! In: a column of lines. Out: columns of their words, views that hold words of up to 12 bytes and point into the lines' bytes for longer ones.
//! Never: copies a long word; looks at a byte twice.
//!
//! ```text
//!   text    th e  quick␊        marks   0010110000010000…   a bit for each byte, 64 at once
//!   word    from the first 0 to the next 1: two counts of zeros in 64 bits of the marks, wherever they begin
//!   view    16 bytes from the word's beginning, those behind its end masked away, its length before them
//! ```
//! There is no loop over the bytes of a word, whose end nothing can predict.

#![allow(unsafe_code)]

use arrow::{
    array::{Array, StringViewArray, make_view},
    buffer::{Buffer, ScalarBuffer},
};

use super::{Kernels, scatter::INLINE_BYTES_MAX, vector::Vector};

/// See [`Kernels::white_space`].
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn white_space<V: Vector>(text: &[u8], marks: &mut [u8]) {
    let blocks = text.chunks_exact(64);
    let mut rest = [b' '; 64];
    rest[..blocks.remainder().len()].copy_from_slice(blocks.remainder());
    let rest = (!blocks.remainder().is_empty()).then_some(&rest[..]);
    for (block, marks) in blocks.chain(rest).zip(marks.chunks_exact_mut(8)) {
        // SAFETY: a block has 64 bytes.
        marks.copy_from_slice(&unsafe { V::white_space(block.as_ptr()) }.to_le_bytes());
    }
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
    marks: Vec<u8>,
    views: Vec<u128>,
    /// A word points into the buffers of its lines.
    has_long: bool,
}

impl Tokens {
    /// Columns of up to `rows_max` words.
    pub fn new(rows_max: usize) -> Tokens {
        let rows_max = rows_max.max(1);
        Tokens { kernels: Kernels::detect(), rows_max, marks: Vec::new(), views: Vec::new(), has_long: false }
    }

    /// Gives the words of all lines to `emit`, until it fails.
    pub fn split<E>(
        &mut self,
        lines: &StringViewArray,
        mut emit: impl FnMut(StringViewArray) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut marked: Option<(usize, usize)> = None;
        for (row, view) in lines.views().iter().enumerate() {
            if lines.is_null(row) {
                continue;
            }
            let length = *view as u32 as usize;
            if length <= INLINE_BYTES_MAX {
                // In 16 bytes of its own, without the length; all its words are short.
                let text = (view >> 32).to_le_bytes();
                self.kernels.white_space(&text[..length], &mut self.marks);
                marked = None;
                self.line(&text, 0, (0, length), 0, lines, &mut emit)?;
                continue;
            }
            let (buffer, start) = ((view >> 64) as u32 as usize, (view >> 96) as usize);
            let text = &lines.data_buffers()[buffer];
            let from = match marked {
                Some((marked_buffer, from))
                    if marked_buffer == buffer && from <= start && start + length <= from + MARKED_BYTES =>
                {
                    from
                }
                _ => {
                    // Of the lines behind it, too, which mostly follow.
                    let most = text.len().min(start + length.max(MARKED_BYTES));
                    self.kernels.white_space(&text[start..most], &mut self.marks);
                    marked = Some((buffer, start));
                    start
                }
            };
            self.line(text, from, (start, start + length), buffer as u32, lines, &mut emit)?;
        }
        self.flush(lines, &mut emit)
    }

    /// The words between `start` and `end` of `text`, whose marks begin at `from`.
    #[inline]
    fn line<E>(
        &mut self,
        text: &[u8],
        from: usize,
        (start, end): (usize, usize),
        buffer: u32,
        lines: &StringViewArray,
        emit: &mut impl FnMut(StringViewArray) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut at = start;
        loop {
            let begin = from + self.next::<false>(at - from);
            if begin >= end {
                return Ok(());
            }
            at = end.min(from + self.next::<true>(begin - from));
            let length = at - begin;
            let view = match text.get(begin..begin + 16) {
                Some(bytes) if length <= INLINE_BYTES_MAX => {
                    let bytes = u128::from_le_bytes(bytes.try_into().unwrap_or_default());
                    (bytes & KEPT[length]) << 32 | length as u128
                }
                _ => {
                    self.has_long |= length > INLINE_BYTES_MAX;
                    make_view(&text[begin..at], buffer, begin as u32)
                }
            };
            self.views.push(view);
            if self.views.len() == self.rows_max {
                self.flush(lines, emit)?;
            }
        }
    }

    /// The first place from `at` on where a mark is `SET`.
    #[inline]
    fn next<const SET: bool>(&self, mut at: usize) -> usize {
        loop {
            let Some(bytes) = self.marks.get(at / 8..at / 8 + 8) else { return usize::MAX / 2 };
            let marks = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
            let marks = if SET { marks } else { !marks } >> (at % 8);
            if marks != 0 {
                return at + marks.trailing_zeros() as usize;
            }
            at += 64 - at % 8;
        }
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

/// So many bytes are marked at once: their marks stay in L1.
const MARKED_BYTES: usize = 16 << 10;

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
        fn marks_agree_with_scalar(text in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..40], 0..300)) {
            let (mut marks, mut expected) = (Vec::new(), Vec::new());
            Kernels::scalar().white_space(&text, &mut expected);
            for (name, kernels) in Kernels::all_available() {
                kernels.white_space(&text, &mut marks);
                prop_assert_eq!(&marks, &expected, "{}", name);
            }
        }
    }
}
