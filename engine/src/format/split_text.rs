//! The text of a split: its bytes as they come, the record that goes on beyond them, and the line of what is wrong.
//!
//! In: ranges of a file. Out: a text in which records are found one after the other. Never: copies more than the record that is cut by the
//! split's end.
//!
//! ```text
//!        the byte before    the split's range                   the tail, read with it
//!   ─────────────────┬─┬──────────────────────────────────────┬───────────┬───
//!                    │ │   first record … records …  the last ┊ goes on   │
//!   ─────────────────┴─┴──────────────────────────────────────┴───────────┴───
//! ```
//!
//! A record belongs to the split in which it starts. What is left of the range when its last record is cut, and the tail, become the next
//! text, once; a record longer than the tail has more and more read.
//!
//! The line of an error is not known in the middle of a file. It is counted then, by reading what stands before it.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use super::cells;
use crate::{
    batch::{buffer::Buffer, datatypes::DataType},
    error::{Cause, Error, Kind, Result},
    limits,
};

/// How much is read past the end of a split, to complete its last record; twice as much each time that it is not enough.
const TAIL_BYTES: u64 = 64 << 10;
/// How much is read at a time to count lines.
const COUNTED_BYTES: u64 = 4 << 20;

/// What a split's decoder reads from.
pub(super) struct SplitText {
    shape: &'static str,
    path: PathBuf,
    file_bytes: u64,
    range: Range<u64>,
    /// Up to where was asked for; nothing yet: `None`.
    asked: Option<u64>,
    is_fed: bool,
    is_lacking: bool,
    text: Buffer,
    /// Where the text starts in the file.
    offset: u64,
    /// Where the next record starts in the text.
    next: usize,
    /// Records that start here or later are the next split's.
    starts_end: usize,
    /// What follows the text and was read with it.
    tail: Option<Bytes>,
    failure: Option<Failure>,
}

/// What is wrong, while the lines before it are counted.
struct Failure {
    wrong: Wrong,
    offset: u64,
    counted: u64,
    lines: u64,
}

/// What [`SplitText::feed`] has been given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fed {
    /// The split's range, and the byte before it, if the file has one.
    Range { before: Option<u8> },
    /// More of the record that was cut; or lines to count.
    More,
}

impl SplitText {
    /// Of the split `range` of a file; errors call it `shape`.
    pub(super) fn new(shape: &'static str, path: PathBuf, file_bytes: u64, range: Range<u64>) -> SplitText {
        SplitText {
            shape,
            path,
            file_bytes,
            range,
            asked: None,
            is_fed: false,
            is_lacking: false,
            text: Buffer::from_vec(Vec::<u8>::new()),
            offset: 0,
            next: 0,
            starts_end: 0,
            tail: None,
            failure: None,
        }
    }

    /// As of [`Decode`](super::Decode).
    pub(super) fn wants(&mut self) -> Option<Vec<Range<u64>>> {
        if let Some(failure) = &mut self.failure {
            let range = failure.counted..failure.offset.min(failure.counted + COUNTED_BYTES);
            failure.counted = range.end;
            return Some(vec![range]);
        }
        let Some(asked) = self.asked else {
            let Range { start, end } = self.range;
            let tail_end = self.file_bytes.min(end + TAIL_BYTES);
            self.asked = Some(tail_end);
            // The byte before is a range of its own: buffers are powers of two, and so are splits.
            let ranges = [start.saturating_sub(1)..start, start..end, end..tail_end];
            return Some(ranges.into_iter().filter(|range| !range.is_empty()).collect());
        };
        if !self.is_lacking {
            return None;
        }
        let more = TAIL_BYTES.max((self.text.len() - self.next) as u64);
        let range = asked..self.file_bytes.min(asked + more);
        self.asked = Some(range.end);
        Some(vec![range])
    }

    /// As of [`Decode`](super::Decode).
    pub(super) fn feed(&mut self, bytes: Vec<Bytes>) -> Result<Fed> {
        let mut bytes = bytes.into_iter();
        if let Some(mut failure) = self.failure.take() {
            failure.lines += bytes.map(|bytes| lines_of(&bytes)).sum::<u64>();
            return if failure.counted < failure.offset {
                self.failure = Some(failure);
                Ok(Fed::More)
            } else {
                Err(self.error(failure))
            };
        }
        if self.is_fed {
            let more = bytes.next().unwrap_or_default();
            self.is_lacking = false;
            self.go_on(&more);
            return Ok(Fed::More);
        }
        self.is_fed = true;
        let before = if self.range.start > 0 { bytes.next() } else { None };
        self.text = Buffer::from(bytes.next().unwrap_or_default());
        self.offset = self.range.start;
        self.starts_end = self.text.len();
        self.tail = bytes.next();
        Ok(Fed::Range { before: before.and_then(|bytes| bytes.first().copied()) })
    }

    pub(super) fn text(&self) -> &Buffer {
        &self.text
    }

    /// The file begins with the text.
    pub(super) fn is_first(&self) -> bool {
        self.offset == 0
    }

    /// The file ends with the text.
    pub(super) fn is_last(&self) -> bool {
        self.tail.is_none() && self.offset + self.text.len() as u64 >= self.file_bytes
    }

    /// Where the next record starts, if it is one of the split and has been fed.
    pub(super) fn next(&self) -> Option<usize> {
        (self.is_fed && !self.is_lacking && self.failure.is_none() && self.next < self.starts_end).then_some(self.next)
    }

    /// Records that start here or later are none of the split.
    pub(super) fn starts_end(&self) -> usize {
        self.starts_end
    }

    /// The next record starts there.
    pub(super) fn advance(&mut self, next: usize) {
        self.next = next;
    }

    /// The next record goes on beyond the text: makes the text longer, or wants more for it. False if that record is too long.
    pub(super) fn lengthen(&mut self) -> bool {
        if self.text.len() - self.next > limits::LINE_BYTES_MAX {
            self.fail(self.next, Wrong::LongRecord { limit_bytes: limits::LINE_BYTES_MAX });
            return false;
        }
        match self.tail.take() {
            Some(tail) => self.go_on(&tail),
            None => self.is_lacking = true,
        }
        true
    }

    fn go_on(&mut self, more: &[u8]) {
        let text = [&self.text[self.next..], more].concat();
        self.offset += self.next as u64;
        self.starts_end -= self.next;
        self.next = 0;
        self.text = Buffer::from_vec(text);
    }

    /// What stands at `at` in the text is wrong: [`SplitText::feed`] will say so, with its line.
    pub(super) fn fail(&mut self, at: usize, wrong: Wrong) {
        let offset = self.offset + at as u64;
        self.failure = Some(Failure { wrong, offset, counted: 0, lines: 0 });
        self.text = Buffer::from_vec(Vec::<u8>::new());
        self.tail = None;
    }

    fn error(&self, failure: Failure) -> Error {
        let Failure { wrong, lines, .. } = failure;
        TextError { path: self.path.clone(), shape: self.shape, line: lines + 1, wrong }.into()
    }
}

fn lines_of(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

/// What is wrong at `at` in the first bytes of a file.
pub(super) fn wrong_in_sample(shape: &'static str, path: &Path, sample: &[u8], at: usize, wrong: Wrong) -> Error {
    let line = lines_of(&sample[..at.min(sample.len())]) + 1;
    TextError { path: path.to_owned(), shape, line, wrong }.into()
}

/// The first characters of a value, for an error.
pub(super) fn shown(value: &[u8]) -> String {
    const SHOWN_MAX: usize = 60;
    let text = String::from_utf8_lossy(&value[..value.len().min(4 * SHOWN_MAX)]);
    let mut shown: String = text.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    shown
}

#[derive(Debug, thiserror::Error)]
#[error("reading {} as {shape} at line {line}: {wrong}", path.display())]
struct TextError {
    path: PathBuf,
    shape: &'static str,
    line: u64,
    wrong: Wrong,
}

/// What can be wrong in a text.
#[derive(Debug, thiserror::Error)]
pub(super) enum Wrong {
    #[error("a record is longer than {limit_bytes} bytes")]
    LongRecord { limit_bytes: usize },
    #[error("there must be {expected} instead of `{found}`")]
    Unexpected { expected: &'static str, found: String },
    #[error("`{value}` in column {column} is no {data_type}, which its first rows are")]
    Misfit { column: String, value: String, data_type: DataType },
    #[error("there must be {expected} fields, as in the first line, in `{found}`")]
    FieldCount { expected: usize, found: String },
    #[error("column {column} is not valid UTF-8")]
    NotUtf8 { column: String },
}

impl Cause for TextError {
    fn kind(&self) -> Kind {
        Kind::Corrupt
    }
}

const _: () = assert!(limits::RECORDS_SPLIT_BYTES_MAX as usize + 3 * limits::LINE_BYTES_MAX < cells::TEXT_BYTES_MAX);
