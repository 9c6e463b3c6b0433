//! Answers as text: a table for people, CSV and JSON for programs.
//!
//! In: an answer. Out: its rows on a writer. Never: all rows as one text; a batch at a time.
//!
//! CSV has a header, commas, `\n`, quotes as RFC 4180 has them, nothing for NULL, ISO dates, and floats as short as they can be
//! read back. JSON has an object a line, NULL as `null`, decimals as numbers with all their digits.

use std::io::{BufWriter, Write};

use arrow::{
    array::{Array, RecordBatch, StringArray},
    csv,
    error::ArrowError,
    json::{self, writer::LineDelimited},
};
use windrow::Answer;

use super::table::{self, Fit};
use crate::{error::Failure, terminal};

/// How answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    // No doc comments: clap would show them, and with them the help is longer than a screen.
    Table,
    Csv,
    Json,
}

/// What is collected before it is written: enough that the system call does not count.
const BUFFER_BYTES: usize = 256 << 10;

/// Writes `answer` to `out`; a table is fitted to the terminal, if standard output is one.
pub fn render(answer: &Answer, format: Format, out: &mut impl Write) -> Result<(), Failure> {
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
    match format {
        Format::Table => {
            let fit = terminal::width().map_or(Fit::all(), Fit::terminal);
            table::write(&answer.schema, &answer.batches, fit, &mut out)?;
        }
        Format::Csv => {
            // The header also of an answer without a batch.
            let header = RecordBatch::new_empty(answer.schema.clone());
            write_batches(&[header], true, csv_of, &mut out)?;
            write_batches(&answer.batches, false, csv_of, &mut out)?;
        }
        Format::Json => write_batches(&answer.batches, false, json_of, &mut out)?,
    }
    out.flush().map_err(Failure::of_output)
}

/// Writes what EXPLAIN gave as plain lines; false if `answer` is no plan.
pub fn render_plan(answer: &Answer, out: &mut impl Write) -> Result<bool, Failure> {
    let [field] = answer.schema.fields().as_ref() else { return Ok(false) };
    if field.name() != "plan" {
        return Ok(false);
    }
    for batch in &answer.batches {
        let Some(lines) = batch.column(0).as_any().downcast_ref::<StringArray>() else { return Ok(false) };
        for line in lines.iter().flatten() {
            writeln!(out, "{line}").map_err(Failure::of_output)?;
        }
    }
    Ok(true)
}

/// Writes each batch as `encode` has it. Through a buffer of our own: arrow's writers turn what the system says into text.
fn write_batches(
    batches: &[RecordBatch],
    is_header: bool,
    encode: fn(&RecordBatch, bool, &mut Vec<u8>) -> Result<(), ArrowError>,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut buffer = Vec::new();
    for batch in batches {
        buffer.clear();
        encode(batch, is_header, &mut buffer).map_err(windrow::Error::from)?;
        out.write_all(&buffer).map_err(Failure::of_output)?;
    }
    Ok(())
}

fn csv_of(batch: &RecordBatch, is_header: bool, buffer: &mut Vec<u8>) -> Result<(), ArrowError> {
    csv::WriterBuilder::new().with_header(is_header).build(buffer).write(batch)
}

fn json_of(batch: &RecordBatch, _is_header: bool, buffer: &mut Vec<u8>) -> Result<(), ArrowError> {
    let mut writer = json::WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(buffer);
    writer.write(batch)?;
    writer.finish()
}
