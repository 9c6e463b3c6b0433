//! CSV: columns' types from a sample, then a decoder that reads what is asked for.
//!
//! In: bytes of a file. Out: batches. Never: guesses a type again after the table was opened; a value that does not fit is an error with
//! its line. Never: guesses whether a split begins inside quotes.
//!
//! A newline inside quotes cannot be told from a record's end without what stands before it. Splits of a file are therefore begun in their
//! order: each is told with what the one before it ends, and passes over its own bytes, from quote to quote, to tell the next. That is a
//! small part of the work; the records themselves are found and read by all threads at once.
//!
//! What a record is, is csv-core's say: fields between commas, records that end with `\n`, `\r` or both, blank lines left out, quotes only
//! where a field begins with one, doubled inside. An empty field is NULL; in quotes it is so for all but texts, of which there is one without
//! letters.

mod border; // follow: inside what the bytes of a split end
mod decode; // decoder: a split's records as batches
mod encode; // CsvRows: rows as the text of a file
mod schema; // infer_schema: the columns of the first records; merged: of several files
mod values; // Csv: numbers, dates, strings and their quotes
mod walk; // walk: where the fields of some records stand

pub use decode::decoder;
pub use encode::CsvRows;
pub use schema::{infer_schema, known, merged};

/// How errors call it.
const SHAPE: &str = "CSV";
/// What some writers begin a file of UTF-8 with.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
