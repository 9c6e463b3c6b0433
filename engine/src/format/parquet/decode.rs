//! One row group's columns, by parquet's push decoder.
//!
//! In: the bytes of the column chunks it asks for. Out: batches. Never: lets a panic of the decoder on broken bytes out; a broken
//! file is an error that names the file.
//!
//! Rows are tested while they are decoded: the columns of the first test of all rows, those of the next of the rows that are left, and what is
//! given of what is left at the end. Columns that were decoded for a test are kept for what is given.

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use parquet::{
    DecodeResult,
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowPredicate, ArrowPredicateFn, RowFilter, RowSelection, RowSelectionPolicy},
        push_decoder::{ParquetPushDecoder, ParquetPushDecoderBuilder},
    },
    errors::ParquetError,
};

use super::{Footer, ParquetFailure};
use crate::{
    batch::{
        ArrowError, Batch,
        array::RecordBatchOptions,
        buffer::BooleanBuffer,
        datatypes::{Schema, SchemaRef},
    },
    error::{Error, Result},
    format::{Decode, RowTest, Selected},
    limits,
};

/// Decodes some columns of one row group.
pub struct RowGroupDecoder {
    place: Place,
    expected_rows: u64,
    seen: Arc<Seen>,
    rows_per_batch: usize,
    /// The given columns' places among the decoded ones, which stand in the file's order.
    order: Vec<usize>,
    schema: SchemaRef,
    decoder: Option<ParquetPushDecoder>,
    /// The first test counts the rows.
    is_tested: bool,
    /// No column is asked for: only the number of rows matters, and the footer tells it.
    counts_only: bool,
    asked: Vec<Range<u64>>,
    ready: Option<Result<Batch>>,
}

struct Place {
    path: PathBuf,
    row_group: usize,
    offset: u64,
}

/// What the decoder and the first test share.
#[derive(Default)]
struct Seen(Mutex<(u64, Option<Error>)>);

impl Seen {
    fn add_rows(&self, rows: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 += rows as u64;
    }

    fn rows(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// The decoder would make a text of the error: it waits here.
    fn failed(&self, error: Error) -> ArrowError {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = Some(error);
        ArrowError::ComputeError("testing rows".to_owned())
    }

    fn error(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.take()
    }
}

impl RowGroupDecoder {
    /// What is `selected` of `row_group`.
    pub fn new(path: PathBuf, footer: &Footer, row_group: usize, selected: &Selected) -> Result<RowGroupDecoder> {
        let group = footer.metadata.metadata().row_group(row_group);
        let offset = group.columns().first().map_or(0, |column| column.byte_range().0);
        let place = Place { path, row_group, offset };
        let given = selected.given_columns();
        // A batch without columns is not read: where only tests need some, one of theirs goes with it.
        let carrier =
            selected.tests.first().filter(|_| given.is_empty()).map(|test| selected.columns[test.columns()[0]]);
        let in_file = in_order(given.iter().copied().chain(carrier));
        let order = given.iter().map(|column| in_file.partition_point(|c| c < column)).collect();
        let fields = given.iter().map(|column| footer.schema().field(*column).clone());
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let seen = Arc::new(Seen::default());
        let mut asked = Vec::new();
        let decoder = if in_file.is_empty() {
            None
        } else {
            let tested = selected.tests.iter().flat_map(|test| test.columns()).map(|place| selected.columns[*place]);
            asked = footer.ranges(row_group, &in_order(tested.chain(in_file.iter().copied())));
            let mask = ProjectionMask::roots(footer.metadata.parquet_schema(), in_file);
            let mut builder = ParquetPushDecoderBuilder::new_with_metadata(footer.metadata.clone())
                .with_row_groups(vec![row_group])
                .with_projection(mask)
                .with_batch_size(selected.rows_per_batch);
            if !selected.tests.is_empty() {
                let tests = selected.tests.iter().enumerate();
                let predicates =
                    tests.map(|(number, test)| predicate(test, number == 0, &seen, footer, &selected.columns));
                // The decoder goes on with what it is given: a map, which is cheaper than a list of ranges where rows are kept here and there.
                let all = RowSelection::from_boolean_buffer(BooleanBuffer::new_set(footer.rows(row_group) as usize));
                builder = builder
                    .with_row_selection(all)
                    .with_row_filter(RowFilter::new(predicates.collect()))
                    .with_row_selection_policy(RowSelectionPolicy::Auto { threshold: limits::ROWS_PER_SKIP })
                    .with_max_predicate_cache_size(limits::TESTED_COLUMNS_BYTES);
            }
            Some(builder.build().map_err(|source| place.failure(source))?)
        };
        Ok(RowGroupDecoder {
            place,
            expected_rows: footer.rows(row_group),
            seen,
            rows_per_batch: selected.rows_per_batch,
            order,
            schema,
            is_tested: !selected.tests.is_empty(),
            counts_only: decoder.is_none(),
            decoder,
            asked,
            ready: None,
        })
    }

    /// Calls the decoder; `None` when it is at its end or needs bytes, which are then in `asked`.
    fn step(&mut self) -> Result<Option<Batch>> {
        let Some(decoder) = &mut self.decoder else { return Ok(None) };
        let place = &self.place;
        let result = catch_unwind(AssertUnwindSafe(|| decoder.try_decode()));
        let result = result.map_err(|panic| place.panicked(&*panic))?;
        let result = match (result, self.seen.error()) {
            (_, Some(error)) => return Err(error),
            (result, None) => result.map_err(|source| place.failure(source))?,
        };
        match result {
            DecodeResult::NeedsData(ranges) => {
                self.asked = ranges;
                Ok(None)
            }
            DecodeResult::Data(batch) => {
                if !self.is_tested {
                    self.seen.add_rows(batch.num_rows());
                }
                let columns = self.order.iter().map(|column| Arc::clone(batch.column(*column))).collect();
                let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
                Ok(Some(Batch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?))
            }
            DecodeResult::Finished => {
                self.decoder = None;
                let found_rows = self.seen.rows();
                if found_rows != self.expected_rows {
                    let (path, row_group) = (place.path.clone(), place.row_group);
                    let expected_rows = self.expected_rows;
                    return Err(ParquetFailure::RowCount { path, row_group, found_rows, expected_rows }.into());
                }
                Ok(None)
            }
        }
    }
}

/// The test as the decoder calls it.
fn predicate(
    test: &Arc<dyn RowTest>,
    is_first: bool,
    seen: &Arc<Seen>,
    footer: &Footer,
    columns: &[usize],
) -> Box<dyn ArrowPredicate> {
    let tested: Vec<usize> = test.columns().iter().map(|place| columns[*place]).collect();
    let in_file = in_order(tested.iter().copied());
    let order: Vec<usize> = tested.iter().map(|column| in_file.partition_point(|c| c < column)).collect();
    let mask = ProjectionMask::roots(footer.metadata.parquet_schema(), in_file);
    let (test, seen) = (Arc::clone(test), Arc::clone(seen));
    Box::new(ArrowPredicateFn::new(mask, move |batch: Batch| {
        if is_first {
            seen.add_rows(batch.num_rows());
        }
        test.keeps(&batch.project(&order)?).map_err(|error| seen.failed(error))
    }))
}

fn in_order(columns: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut columns: Vec<usize> = columns.collect();
    columns.sort_unstable();
    columns.dedup();
    columns
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
        if self.counts_only {
            let rows = (self.expected_rows - self.seen.rows()).min(self.rows_per_batch as u64);
            self.seen.add_rows(rows as usize);
            let options = RecordBatchOptions::new().with_row_count(Some(rows as usize));
            let batch = Batch::try_new_with_options(Arc::clone(&self.schema), Vec::new(), &options)?;
            return Ok((rows > 0).then_some(batch));
        }
        if !self.asked.is_empty() {
            return Ok(None);
        }
        self.step()
    }

    fn rows_seen(&self) -> u64 {
        self.seen.rows()
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
