//! Batches to the bytes of a file of JSON, an object a line.
//!
//! In: batches of one schema. Out: a line a row, every key on it, `null` where there is no value. Never: a number that JSON does not have.
//!
//! Numbers and truths stand bare, decimals with all their digits; all else is a text: dates and times as CSV has them, bytes in hexadecimal
//! digits.

use std::fmt::Write;

use crate::{
    batch::{
        Batch,
        array::ArrayRef,
        datatypes::{DataType, SchemaRef},
    },
    error::Result,
    format::{
        encode::{Encode, EncodeError, piece},
        shown::Shown,
    },
};

/// Encodes one file.
pub struct JsonEncoder {
    /// By column: what stands before its value; whether that is bare.
    columns: Vec<(String, bool)>,
    text: String,
}

impl JsonEncoder {
    /// A file of these columns.
    pub fn new(schema: &SchemaRef) -> JsonEncoder {
        let column = |(number, field): (usize, &std::sync::Arc<crate::batch::datatypes::Field>)| {
            let mut before = String::from(if number == 0 { "{" } else { "," });
            put_text(field.name(), &mut before);
            before.push(':');
            (before, is_bare(field.data_type()))
        };
        JsonEncoder { columns: schema.fields().iter().enumerate().map(column).collect(), text: String::new() }
    }

    fn put(&self, columns: &[Shown<'_>], batch: &Batch, out: &mut String) -> Result<()> {
        let mut value = String::new();
        for row in 0..batch.num_rows() {
            for (number, ((before, is_bare), column)) in self.columns.iter().zip(columns).enumerate() {
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

impl Encode for JsonEncoder {
    fn push(&mut self, batch: &Batch) -> Result<()> {
        let columns: Vec<&ArrayRef> = batch.columns().iter().collect();
        let columns = columns.into_iter().map(Shown::new).collect::<Result<Vec<_>>>()?;
        let mut text = std::mem::take(&mut self.text);
        self.put(&columns, batch, &mut text)?;
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
