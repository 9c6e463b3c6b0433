//! Batches to the bytes of a file of JSON, an object a line.
//!
//! In: batches of one schema. Out: a line a row, every key on it, `null` where there is no value. Never: a number that JSON does not have.
//!
//! Numbers and truths stand bare, decimals with all their digits; all else is a text: dates and times as CSV has them, bytes in hexadecimal
//! digits.

use std::{fmt::Write, sync::Arc};

use crate::{
    batch::{
        Batch,
        datatypes::{DataType, Field, SchemaRef},
    },
    error::Result,
    format::{
        encode::{EncodeError, PutRows},
        shown::Shown,
    },
};

/// Rows of a file; by column: what stands before its value, and whether that is bare.
pub struct JsonRows(Vec<(String, bool)>);

impl JsonRows {
    /// Those of these columns.
    pub fn new(schema: &SchemaRef) -> JsonRows {
        let column = |(number, field): (usize, &Arc<Field>)| {
            let mut before = String::from(if number == 0 { "{" } else { "," });
            put_text(field.name(), &mut before);
            before.push(':');
            (before, is_bare(field.data_type()))
        };
        JsonRows(schema.fields().iter().enumerate().map(column).collect())
    }
}

impl PutRows for JsonRows {
    fn put(&self, batch: &Batch, columns: &[Shown<'_>], out: &mut String) -> Result<()> {
        let mut value = String::new();
        for row in 0..batch.num_rows() {
            for (number, ((before, is_bare), column)) in self.0.iter().zip(columns).enumerate() {
                out.push_str(before);
                if column.is_null(row) {
                    out.push_str("null");
                } else if let Some(text) = column.text(row) {
                    put_text(text, out);
                } else if *is_bare {
                    if let Some(value) = column.float(row).filter(|value| !value.is_finite()) {
                        let column = batch.schema_ref().field(number).name().clone();
                        return Err(EncodeError::NoNumber { column, value }.into());
                    }
                    column.write(row, out)?;
                } else {
                    value.clear();
                    column.write(row, &mut value)?;
                    put_text(&value, out);
                }
            }
            out.push_str("}\n");
        }
        Ok(())
    }
}

/// Whether values of this type stand without quotes.
fn is_bare(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_bare(values),
        DataType::Boolean | DataType::Null => true,
        other => other.is_numeric(),
    }
}

/// A text as RFC 8259 writes it.
fn put_text(text: &str, out: &mut String) {
    out.push('"');
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\') || *byte < 0x20;
    if !text.as_bytes().iter().any(is_special) {
        out.push_str(text);
    } else {
        for letter in text.chars() {
            match letter {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                // A String takes all that is written.
                letter if u32::from(letter) < 0x20 => drop(write!(out, "\\u{:04x}", u32::from(letter))),
                letter => out.push(letter),
            }
        }
    }
    out.push('"');
}
