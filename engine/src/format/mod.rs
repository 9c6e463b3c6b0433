//! Shapes: how rows stand in files.
//!
//! In: bytes of a split. Out: batches. Never: opens a file or waits for one; it says which ranges it needs and is fed.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;

use crate::{
    batch::{
        Batch,
        array::{ArrayRef, BooleanArray},
    },
    error::Result,
};

pub mod arrow; // Arrow's IPC files: footer, batches, writer
mod cells; // Cell, ColumnBuilder: values that were found in a text, column by column as arrays
pub mod csv; // CSV: columns' types from a sample, records and fields between quotes and commas
mod dates; // dates and times from their digits
mod encode; // FileFormat, Encode: shapes to write
pub mod fixed; // records of one length: one column of bytes, a row a record
mod fixed_records; // FixedEncoder: records of one length, one behind the other
pub mod json; // JSON, an object a line
mod numbers; // integers and decimals from their digits
pub mod parquet; // Parquet: footer, row groups, writer
mod records; // RecordDecoder: a split's records as batches, whatever their shape
mod shown; // Shown: values as texts
mod split_text; // SplitText: a split's bytes as they come, the record that goes on beyond them, the line of an error
pub mod text; // text: one string column, a row a line
mod text_lines; // TextEncoder: a row a line

pub use encode::{Encode, FileFormat, is_bytes, is_nested, is_text};
pub use shown::Shown;

/// Decodes one split: asks for ranges of its file, is fed them in that order, and gives batches.
///
/// ```text
///   wants() → Some(ranges) ──read──► feed(bytes) → batch() → Some … None → wants() → … None: the split is at its end
/// ```
pub trait Decode: Send {
    /// The ranges needed next, read ahead of their use; `None` when no more are needed. Called once before each `feed`.
    fn wants(&mut self) -> Option<Vec<Range<u64>>>;
    /// The bytes of the ranges asked for first and not fed yet.
    fn feed(&mut self, bytes: Vec<Bytes>) -> Result<()>;
    /// The next batch that what was fed allows.
    fn batch(&mut self) -> Result<Option<Batch>>;
    /// Rows of the split that were looked at until now.
    fn rows_seen(&self) -> u64;

    /// Must be told by [`Decode::follow`] what stands before the split.
    fn follows(&self) -> bool {
        false
    }
    /// What stands before the split ends with `border`; says what the split itself ends with. Called once, after the first `feed`, before
    /// anything else, on the splits of a file in their order.
    fn follow(&mut self, border: Border) -> Border {
        border
    }
}

/// Inside what the bytes before some place in a file of CSV end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Border {
    /// Nothing, as no record was there yet: the first one starts here.
    #[default]
    Start,
    /// Nothing: a record starts here.
    Record,
    /// A record, and a field starts here.
    Field,
    /// A field without quotes, or behind them.
    Inside,
    /// Quotes.
    Quoted,
    /// Quotes, with a quote that closes them unless another follows.
    Quote,
}

/// A condition on rows, applied as early as a shape allows.
pub trait RowTest: Send + Sync {
    /// Which of a [`Selected`]'s columns it looks at: ascending, at least one.
    fn columns(&self) -> &[usize];
    /// Which rows of `batch`, which has just those columns, are kept: a truth each, no NULL.
    fn keeps(&self, batch: &Batch) -> Result<BooleanArray>;
    /// It keeps no row at all.
    fn keeps_none(&self) -> bool {
        false
    }
    /// The column whose ranges tell something, if there is one.
    fn ranged_column(&self) -> Option<usize> {
        None
    }
    /// In which ranges of that column, from a smallest to a largest value, one a row, a row may be kept, as far as it can say.
    fn may_keep(&self, _minima: &ArrayRef, _maxima: &ArrayRef) -> Result<Option<BooleanArray>> {
        Ok(None)
    }
    /// Tells it that so many rows were left out unseen, since none of them may be kept.
    fn tell_left_out(&self, _rows: u64) {}
    /// Nobody asks any more: what it holds can go.
    fn close(&self) {}
}

/// What is given of a split.
#[derive(Clone)]
pub struct Selected {
    /// Columns of the table that are looked at.
    pub columns: Arc<[usize]>,
    /// Which of them are given, by their places there.
    pub given: Arc<[usize]>,
    /// What a row must fulfil; a test sees only rows that the ones before it keep.
    pub tests: Arc<[Arc<dyn RowTest>]>,
    /// Rows of a batch, at most.
    pub rows_per_batch: usize,
}

impl Selected {
    /// The given columns, by their numbers in the table.
    pub fn given_columns(&self) -> Vec<usize> {
        self.given.iter().map(|place| self.columns[*place]).collect()
    }
}
