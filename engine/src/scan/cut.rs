//! Files whose splits the user has said: so many lines each, records of one length, so many bytes.
//!
//! In: a path, or a table, and how it is cut. Out: a table. Never: splits that depend on threads or settings.
//!
//! Where the lines of a file start is known only when all of it was read: so opening a table of so many lines a split reads its files once. The starts
//! then travel with the plan.

use std::{path::PathBuf, sync::Arc};

use super::{Table, split::bytes_per_split, table::Shape};
use crate::{
    error::{Cause, Kind, Result},
    format::{fixed, text},
    limits,
    store::{LocalFile, expand},
};

impl Table {
    /// The lines of the text file or files at `path`, `lines` of them a split.
    pub fn open_lines(path: &str, lines: u64) -> Result<Arc<Table>> {
        if lines == 0 {
            return Err(CutError::NoLines { path: path.to_owned() }.into());
        }
        let files = expand(path)?.iter().map(|file| LocalFile::stat(file)).collect::<Result<Vec<_>>>()?;
        let mut left = limits::SPLITS_PER_TABLE_MAX;
        let mut starts = Vec::with_capacity(files.len());
        for file in &files {
            let of_file = split_starts(file, lines, left)?;
            left -= of_file.len();
            starts.push(of_file);
        }
        Ok(Table::of_shape(path.to_owned(), text::schema(), Shape::Lines(files, starts)))
    }

    /// The records of `record_bytes` each of the file or files at `path`.
    pub fn open_fixed(path: &str, record_bytes: u32) -> Result<Arc<Table>> {
        let files = expand(path)?.iter().map(|file| LocalFile::stat(file)).collect::<Result<Vec<_>>>()?;
        check_fixed(&files, record_bytes)?;
        Ok(Table::of_shape(path.to_owned(), fixed::schema(), Shape::Fixed(files, record_bytes)))
    }
}

impl Table {
    /// The same rows, whose splits have about so many bytes each, if it is said how many: a record belongs to the split in which it starts, records of
    /// one length are never cut, and a split of CSV or JSON has at most [`RECORDS_SPLIT_BYTES_MAX`](limits::RECORDS_SPLIT_BYTES_MAX). Row groups,
    /// batches and splits of so many lines stay what they are.
    pub fn in_splits_of(self: Arc<Table>, bytes: Option<u64>) -> Result<Arc<Table>> {
        let Some(bytes) = bytes else { return Ok(self) };
        check_split_bytes(bytes)?;
        let files = match self.shape() {
            Shape::Csv(files) | Shape::Json(files) | Shape::Text(files) | Shape::Fixed(files, _) => files,
            Shape::Parquet(_) | Shape::Arrow(_) | Shape::Lines(..) | Shape::Memory(_) => return Ok(self),
        };
        let each = bytes_per_split(self.shape(), Some(bytes));
        let (count, max) =
            (files.iter().map(|file| file.bytes.div_ceil(each)).sum::<u64>(), limits::SPLITS_PER_TABLE_MAX);
        if count > max as u64 {
            return Err(CutError::ShortSplits { table: self.name().to_owned(), bytes, count, max }.into());
        }
        let mut table = Arc::unwrap_or_clone(self);
        table.bytes_per_split = Some(bytes);
        Ok(Arc::new(table))
    }
}

/// A split can have so many bytes.
pub fn check_split_bytes(bytes: u64) -> Result<()> {
    let max = limits::SPLIT_BYTES_MAX;
    if (1..=max).contains(&bytes) { Ok(()) } else { Err(CutError::SplitBytes { bytes, max }.into()) }
}

/// The files are whole records.
pub(super) fn check_fixed(files: &[LocalFile], record_bytes: u32) -> Result<()> {
    let max = limits::LINE_BYTES_MAX;
    if record_bytes == 0 || record_bytes as usize > max {
        return Err(CutError::RecordBytes { record_bytes, max }.into());
    }
    match files.iter().find(|file| !file.bytes.is_multiple_of(u64::from(record_bytes))) {
        None => Ok(()),
        Some(file) => {
            let (path, bytes, rest) = (file.path.clone(), file.bytes, file.bytes % u64::from(record_bytes));
            Err(CutError::CutShort { path, bytes, record_bytes, rest }.into())
        }
    }
}

/// The starts of splits of a file are what they can be: rising, from its beginning on.
pub(super) fn are_starts(starts: &[u64], file: &LocalFile) -> bool {
    let is_rising = starts.windows(2).all(|two| two[0] < two[1]);
    is_rising && starts.first().is_none_or(|first| *first == 0) && starts.last().is_none_or(|last| *last < file.bytes)
}

/// Where the splits of a file start, of which there may be `splits_max`.
fn split_starts(file: &LocalFile, lines: u64, splits_max: usize) -> Result<Vec<u64>> {
    let opened = file.open()?;
    let (mut seen, mut offset) = (0, 0);
    let mut starts = if file.bytes > 0 { vec![0] } else { Vec::new() };
    while offset < file.bytes {
        let bytes = opened.read(offset..file.bytes.min(offset + limits::TEXT_SPLIT_BYTES))?;
        let newlines = memchr::memchr_iter(b'\n', &bytes).map(|place| offset + place as u64 + 1);
        for next in newlines {
            seen += 1;
            if u64::is_multiple_of(seen, lines) && next < file.bytes {
                starts.push(next);
                if starts.len() > splits_max {
                    let (path, max) = (file.path.clone(), limits::SPLITS_PER_TABLE_MAX);
                    return Err(CutError::ManySplits { path, lines, max }.into());
                }
            }
        }
        offset += bytes.len() as u64;
    }
    Ok(starts)
}

#[derive(Debug, thiserror::Error)]
enum CutError {
    #[error("reading {path} with 0 lines a split")]
    NoLines { path: String },
    #[error("reading {} with {lines} lines a split: a table has at most {max} splits", path.display())]
    ManySplits { path: PathBuf, lines: u64, max: usize },
    #[error("reading files in splits of {bytes} bytes: they can have 1 to {max}")]
    SplitBytes { bytes: u64, max: u64 },
    #[error("reading {table} in splits of {bytes} bytes: there would be {count}, and a table has at most {max}")]
    ShortSplits { table: String, bytes: u64, count: u64, max: usize },
    #[error("reading records of {record_bytes} bytes: they can have 1 to {max}")]
    RecordBytes { record_bytes: u32, max: usize },
    #[error("reading {} as records of {record_bytes} bytes: it has {bytes} bytes, of which {rest} are cut short", path.display())]
    CutShort { path: PathBuf, bytes: u64, record_bytes: u32, rest: u64 },
}

impl Cause for CutError {
    fn kind(&self) -> Kind {
        match self {
            CutError::NoLines { .. } | CutError::RecordBytes { .. } | CutError::SplitBytes { .. } => Kind::Request,
            CutError::ManySplits { .. } | CutError::ShortSplits { .. } => Kind::Limit,
            CutError::CutShort { .. } => Kind::Corrupt,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            CutError::ManySplits { .. } => Some("put more lines into a split".to_owned()),
            CutError::ShortSplits { .. } => Some("put more bytes into a split".to_owned()),
            CutError::SplitBytes { .. } => {
                Some("as many as a thread reads at once: 2 MiB are good for most files".to_owned())
            }
            CutError::CutShort { .. } => {
                Some("look whether the file was copied whole, and is made of records of this length".to_owned())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_split_has_so_many_lines(text in "[ab\n\r]{0,300}", lines in 1u64..6) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("text");
            std::fs::write(&path, &text).unwrap();
            let file = LocalFile::stat(&path).unwrap();
            let starts = split_starts(&file, lines, 1_000).unwrap();
            prop_assert!(are_starts(&starts, &file));
            let all: Vec<&str> = text.split_inclusive('\n').collect();
            let mut expected = Vec::new();
            for (number, _) in all.iter().enumerate().filter(|(number, _)| (*number as u64).is_multiple_of(lines)) {
                expected.push(all[..number].iter().map(|line| line.len() as u64).sum::<u64>());
            }
            prop_assert_eq!(starts, expected);
        }
    }
}
