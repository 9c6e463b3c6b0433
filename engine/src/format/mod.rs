//! Shapes: how rows stand in files.
//!
//! In: bytes of a split. Out: batches. Never: opens a file or waits for one; it says which ranges it needs and is fed.

use std::ops::Range;

use bytes::Bytes;

use crate::{batch::Batch, error::Result};

pub mod csv; // CSV: columns' types from a sample, then arrow's decoder
pub mod parquet; // Parquet: footer, row groups, writer
pub mod text; // text: one string column, a row a line

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
}
