//! Batches to the bytes of a text file.
//!
//! In: batches of one column of strings or bytes. Out: a line a row, each ended by `\n`. Never: a row that would be read as two, or as another.

use crate::{
    batch::{Batch, array::AsArray, datatypes::DataType, looked_up},
    error::Result,
    format::encode::{Encode, EncodeError, piece},
};

/// Encodes one file: a string or bytes a line, each line ended by `\n`.
pub struct TextEncoder(Vec<u8>);

impl TextEncoder {
    /// A file of one column.
    pub fn new() -> TextEncoder {
        TextEncoder(Vec::new())
    }
}

impl Encode for TextEncoder {
    fn push(&mut self, batch: &Batch) -> Result<()> {
        // Strings are bytes, too: the cast only looks at them otherwise.
        let lines = looked_up(batch.column(0), &DataType::BinaryView)?;
        for line in lines.as_binary_view() {
            let line = line.ok_or(EncodeError::NullLine)?;
            // What a reader takes for a line's end.
            if memchr::memchr(b'\n', line).is_some() || line.last() == Some(&b'\r') {
                let line = String::from_utf8_lossy(&line[..line.len().min(LINE_SHOWN_BYTES)]).into_owned();
                return Err(EncodeError::LineInLine { line }.into());
            }
            self.0.extend_from_slice(line);
            self.0.push(b'\n');
        }
        Ok(())
    }

    fn held_bytes(&self) -> usize {
        self.0.len()
    }

    fn take(&mut self) -> Vec<u8> {
        piece(&mut self.0)
    }

    fn relieve(&mut self) -> Result<Vec<u8>> {
        Ok(std::mem::take(&mut self.0))
    }

    fn finish(self: Box<Self>) -> Result<Vec<u8>> {
        Ok(self.0)
    }
}

/// So much of a line is shown in an error.
const LINE_SHOWN_BYTES: usize = 80;
