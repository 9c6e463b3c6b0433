//! JSON, an object a line: columns' types from a sample, then a decoder that reads what is asked for and walks over the rest.
//!
//! In: bytes of a file. Out: batches. Never: guesses a type again after the table was opened; a value that does not fit is an error with
//! its line.
//!
//! ```text
//!   {"id":1,"price":9.5,"tags":["a","b"]}        id Int64, price Float64, tags Utf8View
//!   {"id":2,"tags":null}                         a key that is not there is NULL, as is null
//! ```
//!
//! What the first rows hold makes the columns: integers Int64, integers and other numbers Float64, `true` and `false` Boolean, all else
//! text. A column of text takes every value: strings without their quotes and escapes, and the others, objects and arrays among them, as
//! the JSON that stands in the file. Of a key that stands twice in an object the last value counts. Keys that the sample did not have are
//! walked over. What is walked over is looked at no closer than to find its end.

mod decode; // decoder: a split's lines as batches
mod encode; // JsonRows: rows as the text of a file
mod keys; // Keys: which column a key names, mostly without a search
mod schema; // Sample: the columns of the first lines
mod values; // Json: numbers, truths, strings and their escapes
mod walk; // object: where the values of one line stand

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;

pub use decode::decoder;
pub use encode::JsonRows;
pub use schema::Sample;

/// How errors call it.
const SHAPE: &str = "JSON lines";
/// What some writers begin a file of UTF-8 with.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
