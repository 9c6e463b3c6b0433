//! Decodes one batch of an Arrow file.
//!
//! In: the bytes of the batch, and of the dictionaries if there are any. Out: the columns asked for, in pieces of a batch's rows. Never:
//! copies what lies in the file as it lies in memory.

use std::{ops::Range, path::PathBuf, sync::Arc};

use arrow::{buffer::Buffer, ipc::reader::FileDecoder};
use bytes::Bytes;

use super::{ArrowFailure, ArrowFooter, footer::range_of, guarded};
use crate::{
    batch::{
        ArrowError, Batch,
        array::{ArrayRef, RecordBatchOptions},
        datatypes::SchemaRef,
        looked_up,
    },
    error::Result,
    format::Decode,
};

/// The rows of one batch.
pub struct BatchDecoder {
    path: PathBuf,
    footer: ArrowFooter,
    batch: usize,
    columns: Vec<usize>,
    schema: SchemaRef,
    rows_per_batch: usize,
    is_asked: bool,
    /// What is not given yet.
    rest: Option<Batch>,
    rows_seen: u64,
}

impl BatchDecoder {
    /// The `columns`, in that order, of batch number `batch` of the file at `path`.
    pub fn new(
        path: PathBuf,
        footer: &ArrowFooter,
        batch: usize,
        columns: &[usize],
        rows_per_batch: usize,
    ) -> Result<BatchDecoder> {
        let schema = Arc::new(footer.schema().project(columns)?);
        let (footer, columns) = (footer.clone(), columns.to_vec());
        let (is_asked, rest, rows_seen) = (false, None, 0);
        Ok(BatchDecoder { path, footer, batch, columns, schema, rows_per_batch, is_asked, rest, rows_seen })
    }

    fn offset(&self) -> u64 {
        self.footer.batches[self.batch].offset() as u64
    }

    fn decode(&self, blocks: Vec<Bytes>) -> Result<Batch, ArrowError> {
        let ArrowFooter { of_file, version, dictionaries, batches, .. } = &self.footer;
        // In the file's order, each once.
        let mut wanted = self.columns.clone();
        wanted.sort_unstable();
        wanted.dedup();
        let mut decoder = FileDecoder::new(Arc::clone(of_file), *version).with_projection(wanted.clone());
        let mut blocks = blocks.into_iter().map(Buffer::from);
        for block in dictionaries.iter() {
            decoder.read_dictionary(block, &blocks.next().unwrap_or_default())?;
        }
        let found = decoder.read_record_batch(&batches[self.batch], &blocks.next().unwrap_or_default())?;
        let found = found.ok_or_else(|| ArrowError::ParseError("a batch without rows or columns".to_owned()))?;
        let columns = self.columns.iter().zip(self.schema.fields()).map(|(column, field)| {
            let place = wanted.binary_search(column).unwrap_or_default();
            let array: &ArrayRef = found.column(place);
            if array.data_type() == field.data_type() {
                Ok(Arc::clone(array))
            } else {
                looked_up(array, field.data_type())
            }
        });
        let options = RecordBatchOptions::new().with_row_count(Some(found.num_rows()));
        Batch::try_new_with_options(Arc::clone(&self.schema), columns.collect::<Result<_, _>>()?, &options)
    }
}

impl Decode for BatchDecoder {
    fn wants(&mut self) -> Option<Vec<Range<u64>>> {
        if std::mem::replace(&mut self.is_asked, true) {
            return None;
        }
        Some(self.footer.dictionaries.iter().chain([&self.footer.batches[self.batch]]).filter_map(range_of).collect())
    }

    fn feed(&mut self, bytes: Vec<Bytes>) -> Result<()> {
        let found = guarded(&self.path, self.offset(), || self.decode(bytes))?;
        let (found_rows, expected_rows) = (found.num_rows() as u64, self.footer.rows(self.batch));
        if found_rows != expected_rows {
            let (path, offset) = (self.path.clone(), self.offset());
            return Err(ArrowFailure::RowCount { path, offset, found_rows, expected_rows }.into());
        }
        self.rest = Some(found);
        Ok(())
    }

    fn batch(&mut self) -> Result<Option<Batch>> {
        let Some(rest) = self.rest.take().filter(|rest| rest.num_rows() > 0) else { return Ok(None) };
        let rows = rest.num_rows().min(self.rows_per_batch);
        self.rows_seen += rows as u64;
        self.rest = Some(rest.slice(rows, rest.num_rows() - rows));
        Ok(Some(rest.slice(0, rows)))
    }

    fn rows_seen(&self) -> u64 {
        self.rows_seen
    }
}
