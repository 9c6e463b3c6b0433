//! Text: one column of strings, or of bytes, a row a line.
//!
//! In: the bytes of a range of a file. Out: batches of one column `line`, without its `\n` or `\r\n`. Never: copies a line; the column's
//! views point into the bytes as they were read.
//!
//! A line belongs to the split in which it starts. A split therefore begins one byte early, to see whether the byte before is a
//! line's end, and reads past its end until its last line is whole.

use std::{ops::Range, path::PathBuf, sync::Arc};

use bytes::Bytes;

use super::Decode;
use crate::{
    batch::{
        Batch,
        array::{Array, ArrayRef, BinaryViewArray, make_view},
        buffer::Buffer,
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    error::{Cause, Kind, Result},
    kernel, limits,
};

/// How much is read past the end of a split, to complete its last line: most lines end there.
const TAIL_BYTES_FIRST: u64 = 4 << 10;
/// How much at a time where the line is longer.
const TAIL_BYTES: u64 = 64 << 10;

/// The schema of text tables whose lines may be any bytes.
pub fn bytes_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("line", DataType::BinaryView, false)]))
}

/// The schema of the other text tables.
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("line", DataType::Utf8View, false)]))
}

/// Decodes the lines that start in a range.
pub struct TextDecoder {
    path: PathBuf,
    file_bytes: u64,
    range: Range<u64>,
    rows_per_batch: usize,
    schema: SchemaRef,
    /// Lines are bytes, whatever they are.
    is_bytes: bool,
    asked: Option<u64>,
    text: Vec<Bytes>,
    block: Option<Block>,
    /// The split's last line, if it goes on behind the split.
    last: Option<Block>,
    rows_seen: u64,
}

/// What is being cut into lines.
struct Block {
    bytes: Buffer,
    /// Where it starts in the file.
    offset: u64,
    next: usize,
}

impl TextDecoder {
    /// The lines of `path` (of `file_bytes`) that start in `range`, as the one column of `schema` has them.
    pub fn new(
        path: PathBuf,
        file_bytes: u64,
        range: Range<u64>,
        schema: &SchemaRef,
        rows_per_batch: usize,
    ) -> TextDecoder {
        let (asked, text, block, last, rows_seen) = (None, Vec::new(), None, None, 0);
        let (schema, is_bytes) = (Arc::clone(schema), schema.field(0).data_type() == &DataType::BinaryView);
        TextDecoder { path, file_bytes, range, rows_per_batch, schema, is_bytes, asked, text, block, last, rows_seen }
    }

    /// What is cut into lines first: of a split that does not begin with the file not before the first newline.
    fn begin(&mut self, block: Block) {
        let next = if self.range.start == 0 {
            0
        } else {
            memchr::memchr(b'\n', &block.bytes).map_or(block.bytes.len(), |newline| newline + 1)
        };
        // The line that was cut to look at the byte before may start beyond this split.
        let split_bytes = (self.range.end - self.range.start.saturating_sub(1)) as usize;
        let next = if next >= split_bytes { block.bytes.len() } else { next };
        self.block = Some(Block { next, ..block });
    }

    fn error(&self, offset: u64, wrong: TextWrong) -> TextError {
        TextError { path: self.path.clone(), offset, wrong }
    }
}

impl Decode for TextDecoder {
    fn wants(&mut self) -> Option<Vec<Range<u64>>> {
        let range = match self.asked {
            None => self.range.start.saturating_sub(1)..self.range.end,
            Some(_) if self.block.is_some() => return None,
            Some(end) if end >= self.file_bytes => return None,
            Some(end) => {
                let more = if end == self.range.end { TAIL_BYTES_FIRST } else { TAIL_BYTES };
                end..self.file_bytes.min(end + more)
            }
        };
        self.asked = Some(range.end);
        Some(vec![range])
    }

    fn feed(&mut self, bytes: Vec<Bytes>) -> Result<()> {
        self.text.extend(bytes);
        let end = self.asked.unwrap_or_default();
        let is_tail = self.text.len() > 1;
        let last = self.text.last().map(|bytes| &bytes[..]).unwrap_or_default();
        // The first newline of the tail ends the split's last line; in the split itself only its last byte can.
        let cut = if is_tail {
            last.iter().position(|byte| *byte == b'\n')
        } else {
            last.last().filter(|b| **b == b'\n').map(|_| last.len() - 1)
        };
        if cut.is_none() && end < self.file_bytes {
            let length: usize = self.text.iter().map(Bytes::len).sum();
            if length as u64 > self.range.end - self.range.start + limits::LINE_BYTES_MAX as u64 {
                return Err(self
                    .error(self.range.end, TextWrong::LongLine { limit_bytes: limits::LINE_BYTES_MAX })
                    .into());
            }
            return Ok(());
        }
        let kept = cut.map_or(last.len(), |cut| cut + 1);
        let first = &self.text[0];
        // Only the last line is put together; those before it stay where they were read.
        let lines_end =
            if is_tail { memchr::memrchr(b'\n', first).map_or(0, |newline| newline + 1) } else { first.len() };
        let offset = self.range.start.saturating_sub(1);
        let mut line = first[lines_end..].to_vec();
        for piece in &self.text[1..] {
            line.extend_from_slice(piece);
        }
        if is_tail {
            line.truncate(line.len() - last.len() + kept);
        }
        let (bytes, line) = (Buffer::from(first.slice(..lines_end)), Buffer::from_vec(line));
        self.text.clear();
        let line = Block { bytes: line, offset: offset + lines_end as u64, next: 0 };
        if lines_end == 0 {
            self.begin(line);
            return Ok(());
        }
        self.last = (!line.bytes.is_empty()).then_some(line);
        self.begin(Block { bytes, offset, next: 0 });
        Ok(())
    }

    fn batch(&mut self) -> Result<Option<Batch>> {
        loop {
            let Some(block) = &mut self.block else { return Ok(None) };
            if block.next < block.bytes.len() {
                break;
            }
            match self.last.take() {
                Some(last) => self.block = Some(last),
                None => return Ok(None),
            }
        }
        let Some(block) = &mut self.block else { return Ok(None) };
        let (column, next): (ArrayRef, usize) = match kernel::lines(&block.bytes, block.next, self.rows_per_batch) {
            Ok((lines, next)) if self.is_bytes => (Arc::new(lines.to_binary_view()), next),
            Ok((lines, next)) => (Arc::new(lines), next),
            Err(_) if self.is_bytes => {
                let (lines, next) = byte_lines(&block.bytes, block.next, self.rows_per_batch)?;
                (Arc::new(lines), next)
            }
            Err(place) => {
                let (path, offset) = (self.path.clone(), block.offset + place as u64);
                return Err(TextError { path, offset, wrong: TextWrong::NotUtf8 }.into());
            }
        };
        block.next = next;
        self.rows_seen += column.len() as u64;
        Ok(Some(Batch::try_new(Arc::clone(&self.schema), vec![column])?))
    }

    fn rows_seen(&self) -> u64 {
        self.rows_seen
    }
}

/// As [`kernel::lines`], of bytes that are no UTF-8: rare enough to be looked at line by line.
fn byte_lines(text: &Buffer, start: usize, rows_max: usize) -> Result<(BinaryViewArray, usize)> {
    let (bytes, mut views, mut next) = (text.as_slice(), Vec::new(), start);
    while next < bytes.len() && views.len() < rows_max {
        let newline = memchr::memchr(b'\n', &bytes[next..]).map(|at| next + at);
        let line = match newline {
            Some(end) => bytes[next..end].strip_suffix(b"\r").unwrap_or(&bytes[next..end]),
            // The last line of a text is ended by nothing, and what stands before its end belongs to it.
            None => &bytes[next..],
        };
        views.push(make_view(line, 0, next as u32));
        next = newline.map_or(bytes.len(), |end| end + 1);
    }
    Ok((BinaryViewArray::try_new(views.into(), vec![text.clone()], None)?, next))
}

#[derive(Debug, thiserror::Error)]
#[error("reading {} as text at byte {offset}: {wrong}", path.display())]
struct TextError {
    path: PathBuf,
    offset: u64,
    wrong: TextWrong,
}

#[derive(Debug, thiserror::Error)]
enum TextWrong {
    #[error("a line is longer than {limit_bytes} bytes")]
    LongLine { limit_bytes: usize },
    #[error("the bytes are not valid UTF-8")]
    NotUtf8,
}

impl Cause for TextError {
    fn kind(&self) -> Kind {
        Kind::Corrupt
    }
    fn hint(&self) -> Option<String> {
        match self.wrong {
            TextWrong::LongLine { .. } => None,
            TextWrong::NotUtf8 => Some("a program may read its lines as bytes: Session::read_text_bytes".to_owned()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::batch::array::AsArray;

    fn lines(text: &[u8], split_bytes: u64, rows_per_batch: usize) -> Result<Vec<String>> {
        let lines = decoded(text, &schema(), split_bytes, rows_per_batch)?;
        let text = |column: &ArrayRef| column.as_string_view().iter().map(|line| line.unwrap().to_owned()).collect();
        Ok(lines.iter().flat_map(|column| -> Vec<String> { text(column) }).collect())
    }

    fn bytes(text: &[u8], split_bytes: u64, rows_per_batch: usize) -> Vec<Vec<u8>> {
        let lines = decoded(text, &bytes_schema(), split_bytes, rows_per_batch).unwrap();
        let bytes = |column: &ArrayRef| column.as_binary_view().iter().map(|line| line.unwrap().to_vec()).collect();
        lines.iter().flat_map(|column| -> Vec<Vec<u8>> { bytes(column) }).collect()
    }

    /// Decodes all splits of `split_bytes` of the text, as a scan would.
    fn decoded(text: &[u8], schema: &SchemaRef, split_bytes: u64, rows_per_batch: usize) -> Result<Vec<ArrayRef>> {
        let bytes = Bytes::copy_from_slice(text);
        let mut found = Vec::new();
        for start in (0..text.len() as u64).step_by(split_bytes as usize) {
            let range = start..(start + split_bytes).min(text.len() as u64);
            let mut decoder = TextDecoder::new("text".into(), text.len() as u64, range, schema, rows_per_batch);
            while let Some(wanted) = decoder.wants() {
                let pieces = wanted.iter().map(|range| bytes.slice(range.start as usize..range.end as usize)).collect();
                decoder.feed(pieces)?;
                while let Some(batch) = decoder.batch()? {
                    assert!(batch.num_rows() <= rows_per_batch);
                    assert_eq!(&batch.schema(), schema);
                    found.push(Arc::clone(batch.column(0)));
                }
            }
        }
        Ok(found)
    }

    proptest! {
        #[test]
        fn lines_are_those_of_the_whole_text(text in "[ab\n\r]{0,200}", split_bytes in 1u64..50, rows in 1usize..10) {
            let expected: Vec<String> = text.lines().map(str::to_owned).collect();
            prop_assert_eq!(lines(text.as_bytes(), split_bytes, rows).unwrap(), expected);
        }

        #[test]
        fn bytes_are_those_of_the_whole_text(
            text in prop::collection::vec(prop::sample::select(vec![b'a', b'\n', b'\r', 0xff, 0xc3]), 0..200),
            split_bytes in 1u64..50,
            rows in 1usize..10,
        ) {
            let mut expected: Vec<Vec<u8>> = Vec::new();
            for line in text.split_inclusive(|byte| *byte == b'\n') {
                let ended = line.strip_suffix(b"\n");
                expected.push(ended.map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line)).to_vec());
            }
            prop_assert_eq!(bytes(&text, split_bytes, rows), expected);
        }
    }

    #[test]
    fn a_line_over_many_tails_is_whole() {
        let long = "x".repeat(3 * TAIL_BYTES as usize + 17);
        let text = format!("a\n{long}\nb\n{long}");
        for split_bytes in [2, 5, TAIL_BYTES + 1, 1 << 20] {
            assert_eq!(lines(text.as_bytes(), split_bytes, 100).unwrap(), ["a", &long, "b", &long]);
        }
    }

    #[test]
    fn what_is_not_utf8_is_told_with_its_offset() {
        let error = lines(b"good\nbad \xff\n", 100, 10).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.to_string().contains("byte 9"), "{error}");
    }
}
