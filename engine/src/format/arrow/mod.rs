//! Arrow's IPC files: the columns as they lie in memory, batch after batch, with a footer that tells where each is.
//!
//! In: bytes of footers and batches; batches to be written. Out: columns, batches, bytes. Never: believes a length before it was compared
//! with the file's; takes a panic of the decoder for anything but a broken file.
//!
//! ```text
//!   ARROW1 ─ schema ─ dictionaries ─ batch 0 ─ batch 1 … ─ footer: schema, where dictionaries and batches are ─ its length ─ ARROW1
//! ```
//! A batch is what one task reads at a time. Strings become views, codes into dictionaries the values: what the other shapes give.

mod decode; // BatchDecoder: one batch's columns
mod encode; // ArrowEncoder: batches to the bytes of a file
mod footer; // ArrowFooter: where the batches are, read with limits and checked

pub use decode::BatchDecoder;
pub use encode::ArrowEncoder;
pub use footer::ArrowFooter;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use crate::{
    batch::ArrowError,
    error::{Cause, Kind, Result},
};

/// What a file begins and ends with.
const MAGIC: &[u8; 6] = b"ARROW1";

/// Runs a decoder over bytes of others.
fn guarded<T>(path: &Path, offset: u64, decode: impl FnOnce() -> Result<T, ArrowError>) -> Result<T> {
    let path = path.to_owned();
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(Ok(decoded)) => Ok(decoded),
        Ok(Err(source)) => Err(ArrowFailure::Decode { path, offset, source }.into()),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let message = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            Err(ArrowFailure::Panicked { path, offset, message }.into())
        }
    }
}

/// What can go wrong with an Arrow file.
#[derive(Debug, thiserror::Error)]
enum ArrowFailure {
    #[error("reading {} as Arrow: it does not end in the bytes ARROW1, so it is cut off, a stream, or of another format", path.display())]
    NotArrow { path: PathBuf },
    #[error("reading {} as Arrow: the footer's length of {footer_bytes} bytes exceeds {limit_bytes}", path.display())]
    FooterTooLong { path: PathBuf, footer_bytes: i64, limit_bytes: u64 },
    #[error("reading {} as Arrow: its footer tells of {what} at byte {offset}, which is not within the file", path.display())]
    Beyond { path: PathBuf, what: &'static str, offset: i64 },
    #[error("reading {} as Arrow at byte {offset}", path.display())]
    Decode { path: PathBuf, offset: u64, source: ArrowError },
    #[error("reading {} as Arrow at byte {offset}: the decoder panicked: {message}", path.display())]
    Panicked { path: PathBuf, offset: u64, message: String },
    #[error("reading {} as Arrow at byte {offset}: the batch has {found_rows} rows where its head says {expected_rows}", path.display())]
    RowCount { path: PathBuf, offset: u64, found_rows: u64, expected_rows: u64 },
    #[error("writing Arrow")]
    Write { source: ArrowError },
}

impl Cause for ArrowFailure {
    fn kind(&self) -> Kind {
        match self {
            ArrowFailure::Write { .. } => Kind::Internal,
            ArrowFailure::Decode {
                source: ArrowError::NotYetImplemented(_) | ArrowError::InvalidArgumentError(_),
                ..
            } => Kind::Unsupported,
            _ => Kind::Corrupt,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            ArrowFailure::NotArrow { .. } => {
                Some("check that the file was copied whole, and that its name tells its format".to_owned())
            }
            ArrowFailure::Decode { .. } => {
                Some("if its batches are compressed, write them without compression, or as Parquet".to_owned())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
