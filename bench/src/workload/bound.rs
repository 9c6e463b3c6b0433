//! The least seconds that a workload could take, from what the processor can move and count.
//!
//! In: facts of the input. Out: seconds, of which a run is a multiple. Never: what an engine does; a bound that no engine reaches says how much there
//! is to gain.
//!
//! The constants are those of one machine (2.5 GHz, AVX-512, two cores) and stay, so that fractions of different days can be compared: bytes are
//! copied once from the page cache by each thread, a word costs 8 ns, a key that is sorted 1/60 µs, a row that finds its group in the cache 5 ns and
//! one that finds its key in memory 15.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use windrow::{Error, Result, Session};

use super::{
    Input,
    input::DIMENSIONS,
    iterative::{CLUSTERS, ROUNDS},
    tera,
};
use crate::BenchError;

/// Bytes that a thread copies in a second.
const COPIED: f64 = 5.07e9;
/// Bytes that a thread reads in a second.
const READ: f64 = 10e9;
const WORD_SECONDS: f64 = 8e-9;
/// Keys that a thread sorts in a second.
const KEYS: f64 = 60e6;
const GROUP_SECONDS: f64 = 5e-9;
const PROBE_SECONDS: f64 = 15e-9;
/// Multiplications and additions of floats of a thread in a second.
const FLOPS: f64 = 100e9;

/// Of the input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// Of its files.
    bytes: f64,
    words: f64,
    /// Lines of a text, records, rows of the larger table.
    rows: f64,
    threads: f64,
}

impl Facts {
    pub(super) fn of(kind: Input, session: &Session, input: &Path, made_bytes: u64, threads: usize) -> Result<Facts> {
        let (mut words, mut rows) = (0, 0);
        let bytes = if kind == Input::Nothing { made_bytes } else { bytes_of(input)? };
        match kind {
            Input::Text | Input::Texts | Input::Readings => {
                for file in files(input)? {
                    let counted = count(&file).map_err(|source| failed("reading", &file, source))?;
                    (words, rows) = (words + counted.0, rows + counted.1);
                }
            }
            Input::Nothing | Input::Records | Input::SortedRecords => rows = bytes / tera::RECORD_BYTES,
            Input::Facts | Input::Graph | Input::Points => rows = rows_of(session, input)?,
            Input::FactsAndKeys => rows = rows_of(session, &input.join("facts.parquet"))?,
        }
        Ok(Facts { bytes: bytes as f64, words: words as f64, rows: rows as f64, threads: threads as f64 })
    }
}

/// Once through the bytes.
pub(super) fn read_once(facts: &Facts) -> f64 {
    facts.bytes / (facts.threads * COPIED)
}

pub(super) fn word_count(facts: &Facts) -> f64 {
    read_once(facts).max(facts.words * WORD_SECONDS / facts.threads)
}

/// Split, gathered, written: three times through the bytes; and the keys.
pub(super) fn sort(facts: &Facts) -> f64 {
    3.0 * read_once(facts) + facts.rows / (facts.threads * KEYS)
}

pub(super) fn aggregation(facts: &Facts) -> f64 {
    (3.0 * 16.0 * facts.rows / COPIED + facts.rows * GROUP_SECONDS) / facts.threads
}

pub(super) fn join(facts: &Facts) -> f64 {
    (facts.bytes / READ + facts.rows * PROBE_SECONDS + 24.0 * facts.rows / COPIED) / facts.threads
}

/// Every round reads the edges and writes what goes along each: sixteen bytes of an edge, in order of their targets.
pub(super) fn page_rank(facts: &Facts) -> f64 {
    ROUNDS as f64 * 16.0 * facts.rows / (facts.threads * COPIED)
}

/// Every round takes a multiplication and an addition of each coordinate and each centre.
pub(super) fn k_means(facts: &Facts) -> f64 {
    let compared = facts.rows * f64::from(DIMENSIONS) * CLUSTERS as f64;
    ROUNDS as f64 * 2.0 * compared / (facts.threads * FLOPS)
}

fn rows_of(session: &Session, file: &Path) -> Result<u64> {
    session.read_parquet(&file.to_string_lossy())?.count()
}

/// Words and lines.
fn count(file: &Path) -> io::Result<(u64, u64)> {
    let (mut file, mut buffer) = (File::open(file)?, vec![0; 1 << 20]);
    let (mut words, mut lines, mut was_space) = (0, 0, true);
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            return Ok((words, lines));
        }
        for byte in &buffer[..length] {
            let is_space = byte.is_ascii_whitespace();
            words += u64::from(was_space && !is_space);
            lines += u64::from(*byte == b'\n');
            was_space = is_space;
        }
    }
}

/// Bytes of a file, or of the files of a folder.
pub(super) fn bytes_of(input: &Path) -> Result<u64> {
    files(input)?
        .iter()
        .map(|file| Ok(fs::metadata(file).map_err(|source| failed("reading", file, source))?.len()))
        .sum()
}

fn files(input: &Path) -> Result<Vec<std::path::PathBuf>> {
    let metadata = fs::metadata(input).map_err(|source| failed("reading", input, source))?;
    if metadata.is_file() {
        return Ok(vec![input.to_owned()]);
    }
    let entries = fs::read_dir(input).map_err(|source| failed("reading", input, source))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>();
    let mut paths = paths.map_err(|source| failed("reading", input, source))?;
    paths.retain(|path| {
        path.is_file() && !path.file_name().unwrap_or_default().to_string_lossy().starts_with(['_', '.'])
    });
    paths.sort();
    Ok(paths)
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> Error {
    BenchError::File { doing, path: path.to_owned(), source }.into()
}
