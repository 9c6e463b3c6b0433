//! Workloads over text: word count, grep, sort, inverted index, secondary sort.
//!
//! In: a text file, or a folder of them. Out: folders of Parquet files, of a sort one text. Never: looks into the engine; it is what a user writes.

use std::path::Path;

use windrow::{Result, Session, dataset::asc, sink::Written};

#[path = "../../../engine/examples/inverted_index.rs"]
#[allow(dead_code, reason = "its main")]
mod inverted_index;
#[path = "../../../engine/examples/secondary_sort.rs"]
#[allow(dead_code, reason = "its main")]
mod secondary_sort;

/// Counts the words of `input`, between white space, into the folder `out`, which must not be there yet.
pub fn word_count(session: &Session, input: &Path, out: &Path) -> Result<Written> {
    session.read_text(&input.to_string_lossy())?.words().count_by_value().named(["word", "count"])?.write_parquet(out)
}

/// Counts the matches of a regular expression in the lines of `input`, each by itself.
pub fn grep(session: &Session, input: &Path, out: &Path, pattern: &str) -> Result<Written> {
    let lines = session.read_text(&input.to_string_lossy())?;
    lines.matches(pattern)?.count_by_value().named(["match", "count"])?.write_parquet(out)
}

/// The lines of `input` in the order of their bytes, as one text.
pub fn sort(session: &Session, input: &Path, out: &Path) -> Result<Written> {
    session.read_text(&input.to_string_lossy())?.named(["line"])?.sort_by([asc("line")])?.write_text(out)
}

/// For each word of the texts in the folder `input` the files that have it, and how often: `a.txt:3 b.txt:1`.
pub fn inverted_index(session: &Session, input: &Path, out: &Path) -> Result<Written> {
    let index = inverted_index::inverted_index(session.read_text(&input.to_string_lossy())?)?;
    index.dataset()?.named(["word", "files"])?.write_parquet(out)
}

/// The readings of each station, `station,second,value` a line, in order of their seconds, as changes since the one before.
pub fn secondary_sort(session: &Session, input: &Path, out: &Path) -> Result<Written> {
    let lines = session.read_text(&input.to_string_lossy())?;
    secondary_sort::secondary_sort(lines, 0)?.dataset()?.write_parquet(out)
}
