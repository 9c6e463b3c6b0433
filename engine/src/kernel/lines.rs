//! Lines: what stands between newlines.
//!
//! In: the bytes of a text. Out: a column of its lines, which points into the bytes. Never: a line that is not UTF-8; the bytes are looked at together,
//! and not line by line.

#![allow(unsafe_code)]

use arrow::{
    array::{StringViewArray, make_view},
    buffer::{Buffer, ScalarBuffer},
};

/// Up to `rows_max` lines of `text` from `start` on, without their `\n` or `\r\n`, and where the next one starts. Or the place of the first byte that is
/// not UTF-8. `text` has fewer bytes than 2^32.
pub fn lines(text: &Buffer, start: usize, rows_max: usize) -> Result<(StringViewArray, usize), usize> {
    let bytes = text.as_slice();
    assert!(u32::try_from(bytes.len()).is_ok());
    let mut views = Vec::with_capacity(rows_max.min((bytes.len() - start) / 16 + 1));
    let mut line = start;
    let mut add = |line: usize, end: usize| {
        let has_return = end > line && bytes[end - 1] == b'\r';
        views.push(make_view(&bytes[line..end - usize::from(has_return)], 0, line as u32));
    };
    let mut rows = 0;
    for end in memchr::memchr_iter(b'\n', &bytes[start..]).take(rows_max) {
        add(line, start + end);
        line = start + end + 1;
        rows += 1;
    }
    if rows < rows_max && line < bytes.len() {
        // The last line of a text is ended by nothing, and what stands before its end belongs to it.
        views.push(make_view(&bytes[line..], 0, line as u32));
        line = bytes.len();
    }
    let seen = &bytes[start..line];
    if !seen.is_ascii() {
        std::str::from_utf8(seen).map_err(|error| start + error.valid_up_to())?;
    }
    // SAFETY: arrow has made the views, of lines within the only buffer; all of it from the first to the last line is UTF-8, and lines are cut from it at
    // bytes of ASCII.
    let array = unsafe { StringViewArray::new_unchecked(ScalarBuffer::from(views), vec![text.clone()], None) };
    Ok((array, line))
}
