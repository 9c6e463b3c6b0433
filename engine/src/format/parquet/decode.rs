//! One row group's columns, by parquet's push decoder.
//!
//! In: the bytes of the column chunks it asks for. Out: batches. Never: lets a panic of the decoder on broken bytes out; a broken
//! file is an error that names the file.

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
};

use bytes::Bytes;
use parquet::{
    DecodeResult,
    arrow::{
        ProjectionMask,
        push_decoder::{ParquetPushDecoder, ParquetPushDecoderBuilder},
    },
    errors::ParquetError,
};

use super::{Footer, ParquetFailure};
use crate::{
    batch::{
        Batch,
        array::RecordBatchOptions,
        datatypes::{Schema, SchemaRef},
    },
    error::Result,
    format::Decode,
};

/// Decodes some columns of one row group.
pub struct RowGroupDecoder {
    place: Place,
    expected_rows: u64,
    found_rows: u64,
    rows_per_batch: usize,
    /// The given columns' places among the decoded ones, which stand in the file's order.
    order: Vec<usize>,
    schema: SchemaRef,
    decoder: Option<ParquetPushDecoder>,
    asked: Vec<Range<u64>>,
    ready: Option<Result<Batch>>,
}

struct Place {
    path: PathBuf,
    row_group: usize,
    offset: u64,
}

impl RowGroupDecoder {
    /// The `columns` of `row_group`, in that order.
    pub fn new(
        path: PathBuf,
        footer: &Footer,
        row_group: usize,
        columns: &[usize],
        rows_per_batch: usize,
    ) -> Result<RowGroupDecoder> {
        let group = footer.metadata.metadata().row_group(row_group);
        let offset = group.columns().first().map_or(0, |column| column.byte_range().0);
        let place = Place { path, row_group, offset };
        let mut in_file = columns.to_vec();
        in_file.sort_unstable();
        in_file.dedup();
        let order = columns.iter().map(|column| in_file.partition_point(|c| c < column)).collect();
        let fields = columns.iter().map(|column| footer.schema().field(*column).clone());
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let decoder = if columns.is_empty() {
            None
        } else {
            let mask = ProjectionMask::roots(footer.metadata.parquet_schema(), in_file);
            let builder = ParquetPushDecoderBuilder::new_with_metadata(footer.metadata.clone())
                .with_row_groups(vec![row_group])
                .with_projection(mask)
                .with_batch_size(rows_per_batch);
            Some(builder.build().map_err(|source| place.failure(source))?)
        };
        let expected_rows = footer.rows(row_group);
        Ok(RowGroupDecoder {
            place,
            expected_rows,
            found_rows: 0,
            rows_per_batch,
            order,
            schema,
            decoder,
            asked: Vec::new(),
            ready: None,
        })
    }

    /// Calls the decoder; `None` when it is at its end or needs bytes, which are then in `asked`.
    fn step(&mut self) -> Result<Option<Batch>> {
        let Some(decoder) = &mut self.decoder else { return Ok(None) };
        let place = &self.place;
        let result = catch_unwind(AssertUnwindSafe(|| decoder.try_decode()));
        let result = result.map_err(|panic| place.panicked(&*panic))?.map_err(|source| place.failure(source))?;
        match result {
            DecodeResult::NeedsData(ranges) => {
                self.asked = ranges;
                Ok(None)
            }
            DecodeResult::Data(batch) => {
                self.found_rows += batch.num_rows() as u64;
                let columns = self.order.iter().map(|column| Arc::clone(batch.column(*column))).collect();
                Ok(Some(Batch::try_new(Arc::clone(&self.schema), columns)?))
            }
            DecodeResult::Finished => {
                self.decoder = None;
                if self.found_rows != self.expected_rows {
                    let (path, row_group) = (place.path.clone(), place.row_group);
                    let (found_rows, expected_rows) = (self.found_rows, self.expected_rows);
                    return Err(ParquetFailure::RowCount { path, row_group, found_rows, expected_rows }.into());
                }
                Ok(None)
            }
        }
    }
}

impl Decode for RowGroupDecoder {
    fn wants(&mut self) -> Option<Vec<Range<u64>>> {
        if self.ready.is_none() && self.asked.is_empty() {
            self.ready = self.step().transpose();
        }
        if self.asked.is_empty() { None } else { Some(self.asked.clone()) }
    }

    fn feed(&mut self, bytes: Vec<Bytes>) -> Result<()> {
        let ranges = std::mem::take(&mut self.asked);
        match &mut self.decoder {
            Some(decoder) => Ok(decoder.push_ranges(ranges, bytes).map_err(|source| self.place.failure(source))?),
            None => Ok(()),
        }
    }

    fn batch(&mut self) -> Result<Option<Batch>> {
        if let Some(ready) = self.ready.take() {
            return ready.map(Some);
        }
        if self.order.is_empty() {
            // No column is asked for: only the number of rows matters, and the footer tells it.
            let rows = (self.expected_rows - self.found_rows).min(self.rows_per_batch as u64);
            self.found_rows += rows;
            let options = RecordBatchOptions::new().with_row_count(Some(rows as usize));
            let batch = Batch::try_new_with_options(Arc::clone(&self.schema), Vec::new(), &options)?;
            return Ok((rows > 0).then_some(batch));
        }
        if !self.asked.is_empty() {
            return Ok(None);
        }
        self.step()
    }
}

impl Place {
    fn failure(&self, source: ParquetError) -> ParquetFailure {
        ParquetFailure::RowGroup { path: self.path.clone(), row_group: self.row_group, offset: self.offset, source }
    }

    fn panicked(&self, panic: &(dyn std::any::Any + Send)) -> ParquetFailure {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        ParquetFailure::Panicked { path: self.path.clone(), row_group: self.row_group, offset: self.offset, message }
    }
}
