//! Lines: what stands between newlines.
//!
//! In: the bytes of a text. Out: a column of its lines, which points into the bytes. Never: a line that is not UTF-8; the bytes are looked at together,
//! and not line by line.

#![allow(unsafe_code)]

use arrow::{
    array::StringViewArray,
    buffer::{Buffer, ScalarBuffer},
};

use super::{
    Kernels,
    tokens::{NOTED, front_at, view},
};

/// So many bytes are searched at once: the places of their lines' ends stay in L1.
const SEARCHED_BYTES: usize = 4 << 10;

/// Up to `rows_max` lines of `text` from `start` on, without their `\n` or `\r\n`, and where the next one starts. Or the place of the first byte that is
/// not UTF-8. `text` has fewer bytes than 2^32.
pub fn lines(text: &Buffer, start: usize, rows_max: usize) -> Result<(StringViewArray, usize), usize> {
    let bytes = text.as_slice();
    assert!(u32::try_from(bytes.len()).is_ok());
    let mut views = Vec::with_capacity(rows_max.min((bytes.len() - start) / 16 + 1));
    let mut ends = [0; SEARCHED_BYTES + NOTED];
    let (mut line, mut at) = (start, start);
    while at < bytes.len() && views.len() < rows_max {
        let to = bytes.len().min(at + SEARCHED_BYTES);
        let count = (Kernels::detect().line_ends)(&bytes[at..to], at as u32, &mut ends);
        let wanted = count.min(rows_max - views.len());
        views.extend(ends[..wanted].iter().map(|end| {
            let (start, end) = (line, *end as usize);
            line = end + 1;
            let has_return = end > start && bytes[end - 1] == b'\r';
            view(front_at(bytes, start), (end - start) as u32 - u32::from(has_return), 0, start as u32)
        }));
        at = to;
    }
    if views.len() < rows_max && line < bytes.len() {
        // The last line of a text is ended by nothing, and what stands before its end belongs to it.
        views.push(view(front_at(bytes, line), (bytes.len() - line) as u32, 0, line as u32));
        line = bytes.len();
    }
    let seen = &bytes[start..line];
    if !seen.is_ascii() {
        std::str::from_utf8(seen).map_err(|error| start + error.valid_up_to())?;
    }
    // SAFETY: the views are of lines within the only buffer, or hold them and zeros behind; all of it from the first to the last line is UTF-8, and lines are cut from it at
    // bytes of ASCII.
    let array = unsafe { StringViewArray::new_unchecked(ScalarBuffer::from(views), vec![text.clone()], None) };
    Ok((array, line))
}
