//! Batches to the bytes of a file of records of one length.
//!
//! In: batches of one column of bytes. Out: the records, one behind the other. Never: a record of another length than those before it in its file,
//! from which on all would be read wrong.

use crate::{
    batch::{Batch, array::AsArray, datatypes::DataType, looked_up},
    error::Result,
    format::encode::{Encode, EncodeError, piece},
};

/// Encodes one file.
#[derive(Default)]
pub struct FixedEncoder {
    bytes: Vec<u8>,
    /// Of the first record, once there is one.
    record_bytes: Option<usize>,
}

impl Encode for FixedEncoder {
    fn push(&mut self, batch: &Batch) -> Result<()> {
        let records = looked_up(batch.column(0), &DataType::BinaryView)?;
        for record in records.as_binary_view() {
            let record = record.ok_or(EncodeError::NullRecordBytes)?;
            let (found, expected) = (record.len(), *self.record_bytes.get_or_insert(record.len()));
            if found != expected {
                return Err(EncodeError::OtherLength { found, expected }.into());
            }
            self.bytes.extend_from_slice(record);
        }
        Ok(())
    }

    fn held_bytes(&self) -> usize {
        self.bytes.len()
    }

    fn take(&mut self) -> Vec<u8> {
        piece(&mut self.bytes)
    }

    fn relieve(&mut self) -> Result<Vec<u8>> {
        Ok(std::mem::take(&mut self.bytes))
    }

    fn finish(self: Box<Self>) -> Result<Vec<u8>> {
        Ok(self.bytes)
    }
}
