//! Batches to the bytes of a CSV file.
//!
//! In: batches of one schema. Out: a line that names the columns, and records. Never: a NULL that reads as a text: it is an empty field, and
//! a text without letters is `""`.
//!
//! Fields are quoted as RFC 4180 says: where a comma, a quote or a line's end stands in them, quotes doubled; lines end in `\n`. A record of
//! one column must not be an empty line, which nobody reads: a NULL number is `""` there, as a number in quotes is none; a NULL text is an
//! error.

use std::sync::Arc;

use crate::{
    batch::{
        Batch,
        datatypes::{Field, SchemaRef},
    },
    error::Result,
    format::{
        encode::{EncodeError, PutRows, is_text},
        shown::Shown,
    },
};

/// Records of a file.
pub struct CsvRows {
    /// The only column, if it is a text.
    only_text: Option<String>,
    is_single: bool,
}

impl CsvRows {
    /// Those of these columns.
    pub fn new(schema: &SchemaRef) -> CsvRows {
        let is_single = schema.fields().len() == 1;
        let texts = |field: &&Arc<Field>| is_single && is_text(field.data_type());
        let only_text = schema.fields().first().filter(texts).map(|field| field.name().clone());
        CsvRows { only_text, is_single }
    }

    /// The line that names the columns.
    pub fn header(schema: &SchemaRef) -> String {
        let mut header = String::new();
        for (number, field) in schema.fields().iter().enumerate() {
            if number > 0 {
                header.push(',');
            }
            put_text(field.name(), &mut header);
        }
        header.push('\n');
        header
    }
}

impl PutRows for CsvRows {
    fn put(&self, batch: &Batch, columns: &[Shown<'_>], out: &mut String) -> Result<()> {
        for row in 0..batch.num_rows() {
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
