//! Batches to the bytes of a Parquet file.
//!
//! In: batches of one schema. Out: bytes, in order, to be appended to a file by whoever holds it. Never: holds more than a row group.

use std::{
    io::{self, Write},
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use parquet::{arrow::ArrowWriter, basic::Compression, file::properties::WriterProperties};

use super::ParquetFailure;
use crate::{
    batch::{Batch, datatypes::SchemaRef},
    error::Result,
};

/// Rows of a row group: what one task reads at a time.
const ROWS_PER_ROW_GROUP: usize = 131_072;

/// Encodes one file.
pub struct ParquetEncoder {
    writer: ArrowWriter<Shared>,
    written: Shared,
}

/// Where the writer's bytes go until they are taken.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ParquetEncoder {
    /// A file of these columns.
    pub fn new(schema: &SchemaRef) -> Result<ParquetEncoder> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(ROWS_PER_ROW_GROUP))
            .set_created_by(concat!("windrow ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let written = Shared::default();
        let writer = ArrowWriter::try_new(written.clone(), Arc::clone(schema), Some(properties));
        Ok(ParquetEncoder { writer: writer.map_err(|source| ParquetFailure::Write { source })?, written })
    }

    /// Adds rows.
    pub fn push(&mut self, batch: &Batch) -> Result<()> {
        Ok(self.writer.write(batch).map_err(|source| ParquetFailure::Write { source })?)
    }

    /// Bytes of the rows that are not yet among the encoded ones.
    pub fn held_bytes(&self) -> usize {
        self.writer.memory_size()
    }

    /// The bytes encoded since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        mem::take(&mut *self.written.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The footer is written; the rest of the bytes.
    pub fn finish(self) -> Result<Vec<u8>> {
        let ParquetEncoder { writer, written } = self;
        writer.close().map_err(|source| ParquetFailure::Write { source })?;
        Ok(mem::take(&mut *written.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}
