//! Records of one length: one column of bytes, a row a record.
//!
//! In: the bytes of whole records of a file. Out: batches of one column `record`. Never: copies a record; the column's views point into the bytes as
//! they were read.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;

use super::Decode;
use crate::{
    batch::{
        Batch,
        array::{ArrayRef, BinaryViewArray, make_view},
        buffer::{Buffer, ScalarBuffer},
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    error::Result,
};

/// The schema of every table of such records.
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("record", DataType::BinaryView, false)]))
}

/// Decodes the records of a range, which are whole.
pub struct FixedDecoder {
    /// Asked for once.
    range: Option<Range<u64>>,
    record_bytes: usize,
    rows_per_batch: usize,
    schema: SchemaRef,
    bytes: Buffer,
    next: usize,
    rows_seen: u64,
}

impl FixedDecoder {
    /// The records of `range`, of `record_bytes` each.
    pub fn new(range: Range<u64>, record_bytes: u32, rows_per_batch: usize) -> FixedDecoder {
        let (range, record_bytes, bytes) = (Some(range), record_bytes as usize, Buffer::from_vec(Vec::<u8>::new()));
        FixedDecoder { range, record_bytes, rows_per_batch, schema: schema(), bytes, next: 0, rows_seen: 0 }
    }
}

impl Decode for FixedDecoder {
    fn wants(&mut self) -> Option<Vec<Range<u64>>> {
        self.range.take().map(|range| vec![range])
    }

    fn feed(&mut self, bytes: Vec<Bytes>) -> Result<()> {
        if let Some(bytes) = bytes.into_iter().next() {
            (self.bytes, self.next) = (Buffer::from(bytes), 0);
        }
        Ok(())
    }

    fn batch(&mut self) -> Result<Option<Batch>> {
        let rows = ((self.bytes.len() - self.next) / self.record_bytes).min(self.rows_per_batch);
        if rows == 0 {
            return Ok(None);
        }
        let starts = (self.next..).step_by(self.record_bytes).take(rows);
        let views = starts.map(|start| make_view(&self.bytes[start..start + self.record_bytes], 0, start as u32));
        let views: ScalarBuffer<u128> = views.collect::<Vec<_>>().into();
        let column: ArrayRef = Arc::new(BinaryViewArray::try_new(views, vec![self.bytes.clone()], None)?);
        self.next += rows * self.record_bytes;
        self.rows_seen += rows as u64;
        Ok(Some(Batch::try_new(Arc::clone(&self.schema), vec![column])?))
    }

    fn rows_seen(&self) -> u64 {
        self.rows_seen
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::batch::array::AsArray;

    #[test]
    fn records_are_cut_where_their_length_says() {
        for (length, count, rows) in [(1, 7, 3), (3, 5, 2), (12, 4, 100), (13, 9, 4), (100, 3, 1)] {
            let bytes: Vec<u8> = (0..length * count).map(|byte| byte as u8).collect();
            let mut decoder = FixedDecoder::new(0..bytes.len() as u64, length as u32, rows);
            let wanted = decoder.wants().unwrap();
            assert!(wanted.len() == 1 && wanted[0] == (0..bytes.len() as u64));
            decoder.feed(vec![Bytes::copy_from_slice(&bytes)]).unwrap();
            let mut found: Vec<Vec<u8>> = Vec::new();
            while let Some(batch) = decoder.batch().unwrap() {
                assert!(batch.num_rows() <= rows);
                found.extend(batch.column(0).as_binary_view().iter().map(|record| record.unwrap().to_vec()));
            }
            assert_eq!(decoder.wants(), None);
            assert_eq!(found, bytes.chunks(length).map(<[u8]>::to_vec).collect::<Vec<_>>());
        }
    }
}
