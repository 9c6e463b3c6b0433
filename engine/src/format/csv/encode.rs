//! Batches to the bytes of a CSV file.
//!
//! In: batches of one schema. Out: a line that names the columns, and records. Never: a NULL that reads as a text: it is an empty field, and
//! a text without letters is `""`.
//!
//! Fields are quoted as RFC 4180 says: where a comma, a quote or a line's end stands in them, quotes doubled; lines end in `\n`. A record of
//! one column must not be an empty line, which nobody reads: a NULL number is `""` there, as a number in quotes is none; a NULL text is an
//! error.

use crate::{
    batch::{
        Batch,
        array::ArrayRef,
        datatypes::{Field, SchemaRef},
    },
    error::Result,
    format::{
        encode::{Encode, EncodeError, is_text, piece},
        shown::Shown,
    },
};

/// Encodes one file.
pub struct CsvEncoder {
    text: String,
    /// The only column, if it is a text.
    only_text: Option<String>,
    is_single: bool,
}

impl CsvEncoder {
    /// A file of these columns.
    pub fn new(schema: &SchemaRef) -> CsvEncoder {
        let mut header = String::new();
        for (number, field) in schema.fields().iter().enumerate() {
            if number > 0 {
                header.push(',');
            }
            put_text(field.name(), &mut header);
        }
        header.push('\n');
        let is_single = schema.fields().len() == 1;
        let texts = |field: &&std::sync::Arc<Field>| is_single && is_text(field.data_type());
        let only_text = schema.fields().first().filter(texts).map(|field| field.name().clone());
        CsvEncoder { text: header, only_text, is_single }
    }

    fn put(&self, columns: &[Shown<'_>], rows: usize, out: &mut String) -> Result<()> {
        for row in 0..rows {
            for (number, column) in columns.iter().enumerate() {
                if number > 0 {
                    out.push(',');
                }
                match column.text(row) {
                    _ if column.is_null(row) => match &self.only_text {
                        Some(column) => return Err(EncodeError::NullRecord { column: column.clone() }.into()),
                        None if self.is_single => out.push_str("\"\""),
                        None => {}
                    },
                    Some(text) => put_text(text, out),
                    // Numbers, dates and times have nothing that is to be quoted.
                    None => column.write(row, out)?,
                }
            }
            out.push('\n');
        }
        Ok(())
    }
}

/// A text as a field.
fn put_text(text: &str, out: &mut String) {
    let is_special = |byte: &u8| matches!(byte, b',' | b'"' | b'\n' | b'\r');
    if !text.is_empty() && !text.as_bytes().iter().any(is_special) {
        return out.push_str(text);
    }
    out.push('"');
    for (number, part) in text.split('"').enumerate() {
        if number > 0 {
            out.push_str("\"\"");
        }
        out.push_str(part);
    }
    out.push('"');
}

impl Encode for CsvEncoder {
    fn push(&mut self, batch: &Batch) -> Result<()> {
        let columns: Vec<&ArrayRef> = batch.columns().iter().collect();
        let columns = columns.into_iter().map(Shown::new).collect::<Result<Vec<_>>>()?;
        let mut text = std::mem::take(&mut self.text);
        self.put(&columns, batch.num_rows(), &mut text)?;
        self.text = text;
        Ok(())
    }

    fn held_bytes(&self) -> usize {
        self.text.len()
    }

    fn take(&mut self) -> Vec<u8> {
        piece(&mut self.text).into_bytes()
    }

    fn relieve(&mut self) -> Result<Vec<u8>> {
        Ok(std::mem::take(&mut self.text).into_bytes())
    }

    fn finish(self: Box<Self>) -> Result<Vec<u8>> {
        Ok(self.text.into_bytes())
    }
}
