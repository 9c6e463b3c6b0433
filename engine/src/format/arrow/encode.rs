//! Batches to the bytes of an Arrow file.
//!
//! In: batches of one schema. Out: bytes, in order, to be appended to a file by whoever holds it. Never: codes into dictionaries, which a
//! file has one of for all its batches: the values themselves.

use std::sync::Arc;

use arrow::{compute::BatchCoalescer, ipc::writer::FileWriter};

use super::ArrowFailure;
use crate::{
    batch::{
        ArrowError, Batch,
        array::RecordBatchOptions,
        datatypes::{DataType, Field, Schema, SchemaRef},
        looked_up, payload_bytes,
    },
    error::Result,
    format::encode::{Encode, Shared},
};

/// Rows of a batch: what one task reads at a time.
const ROWS_PER_BATCH: usize = 65_536;

/// Encodes one file.
pub struct ArrowEncoder {
    schema: SchemaRef,
    writer: FileWriter<Shared>,
    written: Shared,
    /// Rows that are not yet enough for a batch; strings are copied out of what they were cut from.
    waiting: BatchCoalescer,
    waiting_bytes: usize,
}

impl ArrowEncoder {
    /// A file of these columns.
    pub fn new(schema: &SchemaRef) -> Result<ArrowEncoder> {
        let fields = schema.fields().iter().map(|field| match field.data_type() {
            DataType::Dictionary(_, values) => Field::clone(field).with_data_type(DataType::clone(values)),
            _ => Field::clone(field),
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let written = Shared::default();
        let writer = FileWriter::try_new(written.clone(), &schema).map_err(failed)?;
        let waiting = BatchCoalescer::new(Arc::clone(&schema), ROWS_PER_BATCH);
        Ok(ArrowEncoder { schema, writer, written, waiting, waiting_bytes: 0 })
    }

    fn write_completed(&mut self) -> Result<()> {
        while let Some(batch) = self.waiting.next_completed_batch() {
            self.writer.write(&batch).map_err(failed)?;
        }
        if self.waiting.get_buffered_rows() == 0 {
            self.waiting_bytes = 0;
        }
        Ok(())
    }
}

fn failed(source: ArrowError) -> ArrowFailure {
    ArrowFailure::Write { source }
}

impl Encode for ArrowEncoder {
    fn push(&mut self, batch: &Batch) -> Result<()> {
        let pairs = batch.columns().iter().zip(self.schema.fields());
        let columns = pairs.map(|(column, field)| match column.data_type() {
            DataType::Dictionary(..) => looked_up(column, field.data_type()),
            _ => Ok(Arc::clone(column)),
        });
        let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = Batch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        self.waiting_bytes += payload_bytes(&batch) as usize;
        self.waiting.push_batch(batch).map_err(failed)?;
        self.write_completed()
    }

    fn held_bytes(&self) -> usize {
        self.waiting_bytes
    }

    fn take(&mut self) -> Vec<u8> {
        self.written.take()
    }

    fn relieve(&mut self) -> Result<Vec<u8>> {
        self.waiting.finish_buffered_batch().map_err(failed)?;
        self.write_completed()?;
        Ok(self.written.take())
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<u8>> {
        self.waiting.finish_buffered_batch().map_err(failed)?;
        self.write_completed()?;
        self.writer.finish().map_err(failed)?;
        Ok(self.written.take())
    }
}
