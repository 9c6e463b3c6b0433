//! Splits: what is read and decoded by one thread at a time.
//!
//! In: the files of a table, and how long a split shall be. Out: their splits, in order of (file, offset). Never: depends on threads or settings.
//!
//! A file of CSV is one split for a task, since where a record starts in it is known only from its beginning on; the node that reads it cuts
//! it for its threads ([`Split::cut`]). A deficit, accepted for now: several nodes do not share the work on one such file.
//!
//! A row group is one split for a task, too, and is cut at its pages, where the file tells where they are
//! ([`Footer::pieces`](crate::format::parquet::Footer::pieces)).

use std::{fmt, ops::Range};

use super::{Table, table::Shape};
use crate::{limits, store::LocalFile};

/// A part of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Split {
    /// Rows of a row group of a Parquet file, or a batch of an Arrow file.
    RowGroup {
        /// Which of the table's files.
        file: usize,
        /// Which of its row groups.
        row_group: usize,
        /// Which of its rows.
        rows: Range<u64>,
    },
    /// The records that start in a range of a file.
    Bytes {
        /// Which of the table's files.
        file: usize,
        /// Where.
        range: Range<u64>,
    },
    /// The records of several files, one file after the other.
    Files {
        /// Which of the table's files.
        files: Range<usize>,
    },
}

impl Split {
    /// Which of the table's files it is of, or begins with.
    pub fn file(&self) -> usize {
        match self {
            Split::RowGroup { file, .. } | Split::Bytes { file, .. } => *file,
            Split::Files { files } => files.start,
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Split::RowGroup { row_group, rows, .. } => {
                write!(f, "row group {row_group}, rows {} to {}", rows.start, rows.end)
            }
            Split::Bytes { range, .. } => write!(f, "bytes {} to {}", range.start, range.end),
            Split::Files { files } => write!(f, "the first of {} files", files.len()),
        }
    }
}

impl Split {
    /// How many rows of a row group it has; of other files that is not known, and 0.
    pub(super) fn rows(&self) -> u64 {
        match self {
            Split::RowGroup { rows, .. } => rows.end - rows.start,
            Split::Bytes { .. } | Split::Files { .. } => 0,
        }
    }

    /// What the threads of one node make of it for a scan of `columns`, in order; `rows_per_piece`: about so many rows of a row group.
    pub(super) fn cut(&self, table: &Table, columns: &[usize], rows_per_piece: u64) -> Vec<Split> {
        match (table.shape(), self) {
            (shape @ Shape::Csv(_), Split::Bytes { file, range }) => {
                cut(*file, range, bytes_per_split(shape, table.bytes_per_split())).collect()
            }
            (Shape::Parquet(files), Split::RowGroup { file, row_group, .. }) => {
                let pieces = files[*file].1.pieces(*row_group, columns, rows_per_piece);
                let piece = |rows| Split::RowGroup { file: *file, row_group: *row_group, rows };
                pieces.into_iter().map(piece).collect()
            }
            _ => vec![self.clone()],
        }
    }
}

/// The ranges of a file of lines.
fn cut(file: usize, whole: &Range<u64>, bytes: u64) -> impl Iterator<Item = Split> + use<> {
    let Range { start, end } = *whole;
    let starts = (start..end).step_by(bytes as usize);
    starts.map(move |start| Split::Bytes { file, range: start..end.min(start + bytes) })
}

/// As many files together as a split has bytes, in their order; one that is longer is cut for itself.
fn combined(files: &[LocalFile], bytes: u64) -> Vec<Split> {
    let (mut splits, mut first, mut held) = (Vec::new(), 0, 0);
    // A file of no bytes begins no split.
    let end = |splits: &mut Vec<Split>, files: Range<usize>, held: u64| match files.len() {
        _ if held == 0 => {}
        1 => splits.push(Split::Bytes { file: files.start, range: 0..held }),
        _ => splits.push(Split::Files { files }),
    };
    for (file, it) in files.iter().enumerate() {
        if held + it.bytes > bytes {
            end(&mut splits, first..file, held);
            held = 0;
        }
        if it.bytes > bytes {
            splits.extend(cut(file, &(0..it.bytes), bytes));
            continue;
        }
        if held == 0 {
            first = file;
        }
        held += it.bytes;
    }
    end(&mut splits, first..files.len(), held);
    splits
}

/// Bytes of a split of these files, or of the pieces into which a node cuts one; `asked`: what the user has said.
pub(super) fn bytes_per_split(shape: &Shape, asked: Option<u64>) -> u64 {
    let bytes = asked.unwrap_or(limits::TEXT_SPLIT_BYTES);
    match shape {
        Shape::Csv(_) => asked.unwrap_or(limits::CSV_PIECE_BYTES).min(limits::RECORDS_SPLIT_BYTES_MAX),
        Shape::Json(_) => bytes.min(limits::RECORDS_SPLIT_BYTES_MAX),
        Shape::Fixed(_, record_bytes) => {
            let record_bytes = u64::from(*record_bytes);
            (bytes / record_bytes).max(1) * record_bytes
        }
        _ => bytes,
    }
}

pub(super) fn splits(table: &Table) -> Vec<Split> {
    let mut splits = Vec::new();
    match table.shape() {
        shape @ Shape::Text(files) if table.combines_files() => {
            return combined(files, bytes_per_split(shape, table.bytes_per_split()));
        }
        Shape::Parquet(files) => {
            for (file, (_, footer)) in files.iter().enumerate() {
                let whole = |row_group| Split::RowGroup { file, row_group, rows: 0..footer.rows(row_group) };
                splits.extend((0..footer.row_group_count()).map(whole));
            }
        }
        Shape::Arrow(files) => {
            for (file, (_, footer)) in files.iter().enumerate() {
                let whole = |row_group| Split::RowGroup { file, row_group, rows: 0..footer.rows(row_group) };
                splits.extend((0..footer.batch_count()).map(whole));
            }
        }
        Shape::Csv(files) => {
            splits.extend(files.iter().enumerate().map(|(file, it)| Split::Bytes { file, range: 0..it.bytes }));
        }
        shape @ (Shape::Json(files) | Shape::Text(files) | Shape::Fixed(files, _)) => {
            let bytes = bytes_per_split(shape, table.bytes_per_split());
            for (file, it) in files.iter().enumerate() {
                splits.extend(cut(file, &(0..it.bytes), bytes));
            }
        }
        Shape::Lines(files, starts) => {
            for (file, (it, starts)) in files.iter().zip(starts).enumerate() {
                let ends = starts.iter().skip(1).chain([&it.bytes]);
                splits.extend(starts.iter().zip(ends).map(|(start, end)| Split::Bytes { file, range: *start..*end }));
            }
        }
        Shape::Memory(_) => {}
    }
    splits
}
