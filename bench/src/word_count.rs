//! Word count: how often each word of a text stands in it, by the public API.
//!
//! In: a text file. Out: a folder of Parquet files with a row a word. Never: looks into the engine; it is what a user writes.

use std::path::Path;

use windrow::{Result, Session, Sum, sink::Written};

/// Counts the words of `input`, between white space, into the folder `out`, which must not be there yet.
pub fn word_count(session: &Session, input: &Path, out: &Path) -> Result<Written> {
    session
        .read_text(&input.to_string_lossy())?
        .flat_map::<String>(|line, out| line.split_ascii_whitespace().for_each(|word| out.push(word)))
        .map_view::<(String, i64)>(|word| (word, 1))
        .reduce_by_key(Sum)
        .write_parquet(out)
}
