//! Batches to the bytes of a Parquet file.
//!
//! In: batches of one schema. Out: bytes, in order, to be appended to a file by whoever holds it. Never: holds more than a row group.

use std::sync::Arc;

use parquet::{arrow::ArrowWriter, basic::Compression, file::properties::WriterProperties};

use super::ParquetFailure;
use crate::{
    batch::{Batch, datatypes::SchemaRef},
    error::Result,
    format::encode::{Encode, Shared},
};

/// Rows of a row group: what one task reads at a time.
const ROWS_PER_ROW_GROUP: usize = 131_072;

/// Encodes one file.
pub struct ParquetEncoder {
    writer: ArrowWriter<Shared>,
    written: Shared,
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
}

impl Encode for ParquetEncoder {
    fn push(&mut self, batch: &Batch) -> Result<()> {
        Ok(self.writer.write(batch).map_err(|source| ParquetFailure::Write { source })?)
    }

    fn held_bytes(&self) -> usize {
        self.writer.memory_size()
    }

    fn take(&mut self) -> Vec<u8> {
        self.written.take()
    }

    fn relieve(&mut self) -> Result<Vec<u8>> {
        // The row group ends early.
        self.writer.flush().map_err(|source| ParquetFailure::Write { source })?;
        Ok(self.written.take())
    }

    fn finish(self: Box<Self>) -> Result<Vec<u8>> {
        let ParquetEncoder { writer, written } = *self;
        writer.close().map_err(|source| ParquetFailure::Write { source })?;
        Ok(written.take())
    }
}
