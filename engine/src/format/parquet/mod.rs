//! Parquet: footer, row groups, writer.
//!
//! In: bytes of footers and column chunks; batches to be written. Out: metadata, batches, bytes. Never: touches a file itself; the
//! footer is read through a [`crate::store::OpenFile`] given to it.

mod decode; // RowGroupDecoder: one row group's columns
mod encode; // ParquetEncoder: batches to the bytes of a file
mod footer; // Footer: metadata, read with limits and checked
mod pages; // where pages begin: row groups in pieces, rows that their statistics rule out
mod tested; // Testing: what tests leave of a row group's rows

pub use decode::RowGroupDecoder;
pub use encode::ParquetEncoder;
pub use footer::Footer;

use std::path::PathBuf;

use parquet::errors::ParquetError;

use crate::error::{Cause, Kind};

/// What can go wrong with a Parquet file.
#[derive(Debug, thiserror::Error)]
enum ParquetFailure {
    #[error("reading {} as Parquet: it has {bytes} bytes, too few for a Parquet file", path.display())]
    TooShort { path: PathBuf, bytes: u64 },
    #[error("reading {} as Parquet: it does not end in the bytes PAR1, so it is cut off or of another format", path.display())]
    NotParquet { path: PathBuf },
    #[error("reading {} as Parquet: the footer's length of {footer_bytes} bytes exceeds {limit_bytes}", path.display())]
    FooterTooLong { path: PathBuf, footer_bytes: u64, limit_bytes: u64 },
    #[error("reading the footer of {} at byte {offset}", path.display())]
    Footer { path: PathBuf, offset: u64, source: ParquetError },
    #[error("reading row group {row_group} of {} at byte {offset}", path.display())]
    RowGroup { path: PathBuf, row_group: usize, offset: u64, source: ParquetError },
    #[error("reading row group {row_group} of {} at byte {offset}: the decoder panicked: {message}", path.display())]
    Panicked { path: PathBuf, row_group: usize, offset: u64, message: String },
    #[error("reading row group {row_group} of {}: it has {found_rows} rows where its footer says {expected_rows}", path.display())]
    RowCount { path: PathBuf, row_group: usize, found_rows: u64, expected_rows: u64 },
    #[error("writing Parquet")]
    Write { source: ParquetError },
}

impl Cause for ParquetFailure {
    fn kind(&self) -> Kind {
        match self {
            ParquetFailure::Write { .. } => Kind::Internal,
            ParquetFailure::Footer { source: ParquetError::NYI(_), .. }
            | ParquetFailure::RowGroup { source: ParquetError::NYI(_), .. } => Kind::Unsupported,
            _ => Kind::Corrupt,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            ParquetFailure::NotParquet { .. } | ParquetFailure::TooShort { .. } => {
                Some("check that the file was copied whole, and that its name tells its format".to_owned())
            }
            _ => None,
        }
    }
}
