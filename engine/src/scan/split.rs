//! Splits: what is read and decoded by one thread at a time.
//!
//! In: the files of a table. Out: their splits, in order of (file, offset). Never: depends on threads or settings.

use std::ops::Range;

use super::table::Shape;
use crate::limits;

/// A part of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Split {
    /// A row group of a Parquet file.
    RowGroup {
        /// Which of the table's files.
        file: usize,
        /// Which of its row groups.
        row_group: usize,
    },
    /// The records that start in a range of a file.
    Bytes {
        /// Which of the table's files.
        file: usize,
        /// Where.
        range: Range<u64>,
    },
}

impl Split {
    /// Which of the table's files it is of.
    pub fn file(&self) -> usize {
        match self {
            Split::RowGroup { file, .. } | Split::Bytes { file, .. } => *file,
        }
    }
}

pub(super) fn splits(shape: &Shape) -> Vec<Split> {
    let mut splits = Vec::new();
    match shape {
        Shape::Parquet(files) => {
            for (file, (_, footer)) in files.iter().enumerate() {
                splits.extend((0..footer.row_group_count()).map(|row_group| Split::RowGroup { file, row_group }));
            }
        }
        Shape::Csv(files) => {
            splits.extend(files.iter().enumerate().map(|(file, it)| Split::Bytes { file, range: 0..it.bytes }));
        }
        Shape::Json(files) | Shape::Text(files) => {
            for (file, it) in files.iter().enumerate() {
                let starts = (0..it.bytes).step_by(limits::TEXT_SPLIT_BYTES as usize);
                let end = |start: u64| it.bytes.min(start + limits::TEXT_SPLIT_BYTES);
                splits.extend(starts.map(|start| Split::Bytes { file, range: start..end(start) }));
            }
        }
        Shape::Memory(_) => {}
    }
    splits
}
