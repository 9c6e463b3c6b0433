//! Word count: how often each word of a text stands in it, by the public API.
//!
//! In: a text file. Out: a folder of Parquet files with a row a word. Never: looks into the engine; it is what a user writes.

use std::path::Path;

use serde::{Deserialize, Serialize};
use windrow::{Result, Session, Sum, sink::Written};

use crate::BenchError;

/// Counts the words of `input`, between white space, into the folder `out`, which must not be there yet.
pub fn word_count(session: &Session, input: &Path, out: &Path) -> Result<Written> {
    session
        .read_text(&input.to_string_lossy())?
        .flat_map::<String>(|line, out| line.split_ascii_whitespace().for_each(|word| out.push(word)))
        .map_view::<(String, i64)>(|word| (word, 1))
        .reduce_by_key(Sum)
        .write_parquet(out)
}

/// The word count as a program that workers of a cluster run.
pub const PROGRAM: &str = "wordcount-program";

/// What the program prints: one line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Words.
    pub rows: u64,
    /// Bytes of Parquet.
    pub bytes: u64,
    /// Of the rows.
    pub digest: String,
}

/// The entry of a program under a worker: `wordcount-program TEXT FOLDER`.
pub fn program(session: &Session, arguments: &[String]) -> Result<()> {
    let [PROGRAM, input, out] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
        return Err(BenchError::NoSuchProgram { arguments: arguments.to_vec() }.into());
    };
    let written = word_count(session, Path::new(input), Path::new(out))?;
    let counted = Counted { rows: written.rows, bytes: written.bytes, digest: written.digest.to_string() };
    let line = serde_json::to_string(&counted).map_err(|source| BenchError::NotCounted { source })?;
    println!("{line}");
    Ok(())
}

/// What the program has printed.
pub fn counted(printed: &[u8]) -> Result<Counted> {
    Ok(serde_json::from_slice(printed).map_err(|source| BenchError::NotCounted { source })?)
}
