//! One row group's columns, or some rows of it, by parquet's push decoder.
//!
//! In: the bytes of the column chunks it asks for. Out: batches. Never: lets a panic of the decoder on broken bytes out; a broken
//! file is an error that names the file.
//!
//! Where rows are tested, the columns of the tests are decoded first, for the whole row group, and of those that are given only the rows that
//! are left are kept. Then it is known what to decode of the other columns:
//!
//! ```text
//!   few rows, far apart      just those rows: the others are skipped, run by run
//!   more                     the batches that have one; what is left out is filtered
//! ```
//! What is kept of a very long row group would be much: there both are decoded batch by batch, side by side.

use std::{
    collections::VecDeque,
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
        arrow_reader::{RowSelection, RowSelectionPolicy, RowSelector},
        push_decoder::{ParquetPushDecoder, ParquetPushDecoderBuilder},
    },
    errors::ParquetError,
};

use super::{
    Footer, ParquetFailure,
    tested::{Chunk, Chunks, Given, Testing, in_order, runs},
};
use crate::{
    batch::{
        Batch,
        array::{BooleanBufferBuilder, RecordBatchOptions},
        datatypes::{Schema, SchemaRef},
    },
    error::{Error, Result},
    format::{Decode, RowTest, Selected},
    limits,
};

/// Decodes some columns of rows of one row group.
pub struct RowGroupDecoder {
    place: Place,
    footer: Footer,
    rows: Range<u64>,
    rows_seen: u64,
    rows_per_batch: usize,
    schema: SchemaRef,
    /// Where each given column comes from.
    given: Vec<From>,
    /// Columns of the file that are given and not tested, in its order.
    others: Vec<usize>,
    asked: Vec<Range<u64>>,
    /// How many of those, the last ones, are of the other columns beside tested ones.
    others_asked: usize,
    stage: Stage,
    ready: Option<Result<Batch>>,
}

struct Place {
    path: PathBuf,
    row_group: usize,
    offset: u64,
}

#[derive(Clone, Copy)]
enum From {
    /// The kept tested column of this number.
    Kept(usize),
    /// The other column of this number.
    Other(usize),
}

enum Stage {
    /// No column is asked for: only the number of rows matters, and the footer tells it.
    Counting,
    Testing(Box<InTesting>),
    /// Tested and given batch by batch.
    Abreast(Box<InTesting>, Giving),
    Giving(Giving),
    Ended,
}

/// Rows are being tested.
struct InTesting {
    decoder: ParquetPushDecoder,
    testing: Testing,
    chunks: VecDeque<Chunk>,
    /// What was fed of the other columns.
    others: Option<(Vec<Range<u64>>, Vec<Bytes>)>,
}

/// Rows are given.
struct Giving {
    /// Of the other columns; none if there are none, or no row is left.
    decoder: Option<ParquetPushDecoder>,
    chunks: Chunks,
}

impl RowGroupDecoder {
    /// What is `selected` of these rows of `row_group`.
    pub fn new(
        path: PathBuf,
        footer: &Footer,
        row_group: usize,
        rows: &Range<u64>,
        selected: &Selected,
    ) -> Result<RowGroupDecoder> {
        let group = footer.metadata.metadata().row_group(row_group);
        let offset = group.columns().first().map_or(0, |column| column.byte_range().0);
        let place = Place { path, row_group, offset };
        let columns = selected.given_columns();
        let in_table = |test: &Arc<dyn RowTest>| -> Vec<usize> {
            test.columns().iter().map(|place| selected.columns[*place]).collect()
        };
        let tested = in_order(selected.tests.iter().flat_map(in_table));
        let others = in_order(columns.iter().copied().filter(|column| tested.binary_search(column).is_err()));
        let kept = in_order(columns.iter().filter_map(|column| tested.binary_search(column).ok()));
        let from = |column: &usize| match tested.binary_search(column) {
            Ok(place) => From::Kept(kept.partition_point(|kept| *kept < place)),
            Err(_) => From::Other(others.partition_point(|other| other < column)),
        };
        let given = columns.iter().map(from).collect();
        let fields = columns.iter().map(|column| footer.decoded_schema().field(*column).clone());
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let mut asked = footer.ranges(row_group, &tested, rows);
        let of_others = footer.ranges(row_group, &others, rows);
        let others_asked = if tested.is_empty() { 0 } else { of_others.len() };
        asked.extend(of_others);
        let is_whole = *rows == (0..footer.rows(row_group));
        let selection =
            || (!is_whole).then(|| RowSelection::from(vec![skip(rows.start), select(rows.end - rows.start)]));
        let open = |columns: &[usize]| place.open(footer, columns, selected.rows_per_batch, selection());
        let stage = if !tested.is_empty() {
            let decoder = open(&tested)?;
            let testing = Testing::new(&selected.tests, &tested, kept, |place| selected.columns[place]);
            let testing = Box::new(InTesting { decoder, testing, chunks: VecDeque::new(), others: None });
            if rows.end - rows.start > limits::ROWS_TESTED_AHEAD {
                let decoder = if others.is_empty() { None } else { Some(open(&others)?) };
                Stage::Abreast(testing, Giving { decoder, chunks: Chunks::Each(VecDeque::new()) })
            } else {
                Stage::Testing(testing)
            }
        } else if others.is_empty() {
            Stage::Counting
        } else {
            Stage::Giving(Giving { decoder: Some(open(&others)?), chunks: Chunks::Untested })
        };
        Ok(RowGroupDecoder {
            place,
            footer: footer.clone(),
            rows: rows.clone(),
            rows_seen: 0,
            rows_per_batch: selected.rows_per_batch,
            schema,
            given,
            others,
            asked,
            others_asked,
            stage,
            ready: None,
        })
    }

    /// Goes on; `None` at the end, or when bytes are needed, which are then in `asked`.
    fn step(&mut self) -> Result<Option<Batch>> {
        let expected_rows = self.expected_rows();
        loop {
            match &mut self.stage {
                Stage::Counting => {
                    let rows = (expected_rows - self.rows_seen).min(self.rows_per_batch as u64);
                    self.rows_seen += rows;
                    let rows = rows as usize;
                    let given = Given { kept: Vec::new(), others: Vec::new(), rows };
                    return if rows == 0 { Ok(None) } else { self.batch_of(&given).map(Some) };
                }
                Stage::Testing(stage) => match self.place.decode(&mut stage.decoder)? {
                    DecodeResult::NeedsData(ranges) => {
                        self.asked = ranges;
                        return Ok(None);
                    }
                    DecodeResult::Data(batch) => {
                        self.rows_seen += batch.num_rows() as u64;
                        stage.chunks.push_back(stage.testing.test(&batch)?);
                    }
                    DecodeResult::Finished => {
                        self.place.check_rows(self.rows_seen, expected_rows)?;
                        let (chunks, others) = (std::mem::take(&mut stage.chunks), stage.others.take());
                        self.stage = Stage::Giving(self.giving(chunks, others.unwrap_or_default())?);
                    }
                },
                Stage::Abreast(stage, giving) => {
                    let chunk = match self.place.decode(&mut stage.decoder)? {
                        DecodeResult::NeedsData(ranges) => {
                            self.asked = ranges;
                            return Ok(None);
                        }
                        DecodeResult::Data(batch) => {
                            self.rows_seen += batch.num_rows() as u64;
                            stage.testing.test(&batch)?
                        }
                        DecodeResult::Finished => {
                            self.stage = Stage::Ended;
                            self.place.check_rows(self.rows_seen, expected_rows)?;
                            return Ok(None);
                        }
                    };
                    let (rows, kept_rows) = (chunk.rows as u64, chunk.kept_rows);
                    giving.chunks = Chunks::Each(VecDeque::from([chunk]));
                    let given = match &mut giving.decoder {
                        None => giving.chunks.next(self.rows_per_batch),
                        Some(decoder) => match self.place.decode(decoder)? {
                            DecodeResult::Data(batch) => giving.chunks.beside(&batch)?,
                            _ => None,
                        },
                    };
                    match given {
                        Some(given) if kept_rows > 0 => return self.batch_of(&given).map(Some),
                        None if giving.decoder.is_some() => return Err(self.place.row_count(0, rows)),
                        _ => {}
                    }
                }
                Stage::Giving(giving) => match &mut giving.decoder {
                    None => {
                        let Some(given) = giving.chunks.next(self.rows_per_batch) else {
                            self.stage = Stage::Ended;
                            return Ok(None);
                        };
                        return self.batch_of(&given).map(Some);
                    }
                    Some(decoder) => match self.place.decode(decoder)? {
                        DecodeResult::NeedsData(ranges) => {
                            self.asked = ranges;
                            return Ok(None);
                        }
                        DecodeResult::Data(batch) => {
                            if matches!(giving.chunks, Chunks::Untested) {
                                self.rows_seen += batch.num_rows() as u64;
                            }
                            let missing = giving.chunks.missing();
                            let Some(given) = giving.chunks.beside(&batch)? else {
                                return Err(self.place.row_count(batch.num_rows() as u64, missing as u64));
                            };
                            return self.batch_of(&given).map(Some);
                        }
                        DecodeResult::Finished => {
                            let missing = giving.chunks.missing() as u64;
                            self.stage = Stage::Ended;
                            self.place.check_rows(self.rows_seen, expected_rows + missing)?;
                            return Ok(None);
                        }
                    },
                },
                Stage::Ended => return Ok(None),
            }
        }
    }

    /// All rows are tested: what is decoded of the other columns.
    fn giving(&self, chunks: VecDeque<Chunk>, (ranges, bytes): (Vec<Range<u64>>, Vec<Bytes>)) -> Result<Giving> {
        let left: usize = chunks.iter().map(|chunk| chunk.kept_rows).sum();
        if left == 0 || self.others.is_empty() {
            return Ok(Giving { decoder: None, chunks: Chunks::Each(chunks) });
        }
        let rows = self.expected_rows() as usize;
        let (selectors, chunks): (Vec<RowSelector>, Chunks) = if runs(&chunks) * limits::ROWS_PER_SKIP < rows {
            let mut mask = BooleanBufferBuilder::new(rows);
            chunks.iter().for_each(|chunk| mask.append_buffer(&chunk.mask));
            let mask = mask.finish();
            let ranges = mask.set_slices().map(|(start, end)| start..end);
            (RowSelection::from_consecutive_ranges(ranges, rows).into(), Chunks::together(chunks, left)?)
        } else {
            let selector = |chunk: &Chunk| RowSelector { row_count: chunk.rows, skip: chunk.kept_rows == 0 };
            let selectors = chunks.iter().map(selector).collect();
            let chunks = chunks.into_iter().filter(|chunk| chunk.kept_rows > 0);
            (selectors, Chunks::Each(chunks.collect()))
        };
        // It begins at the row group's first row.
        let before = Some(skip(self.rows.start)).filter(|before| before.row_count > 0);
        let selection = RowSelection::from(before.into_iter().chain(selectors).collect::<Vec<_>>());
        let selection = Some(selection).filter(|selection| selection.row_count() < self.row_group_rows() as usize);
        let mut decoder = self.place.open(&self.footer, &self.others, self.rows_per_batch, selection)?;
        decoder.push_ranges(ranges, bytes).map_err(|source| self.place.failure(source))?;
        Ok(Giving { decoder: Some(decoder), chunks })
    }

    fn expected_rows(&self) -> u64 {
        self.rows.end - self.rows.start
    }

    fn row_group_rows(&self) -> u64 {
        self.footer.rows(self.place.row_group)
    }

    fn batch_of(&self, given: &Given) -> Result<Batch> {
        let column = |from: &From| match from {
            From::Kept(number) => Arc::clone(&given.kept[*number]),
            From::Other(number) => Arc::clone(&given.others[*number]),
        };
        let options = RecordBatchOptions::new().with_row_count(Some(given.rows));
        let columns = self.given.iter().map(column).collect();
        Ok(Batch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

impl Decode for RowGroupDecoder {
    fn wants(&mut self) -> Option<Vec<Range<u64>>> {
        if self.ready.is_none() && self.asked.is_empty() {
            self.ready = self.step().transpose();
        }
        if self.asked.is_empty() { None } else { Some(self.asked.clone()) }
    }

    fn feed(&mut self, mut bytes: Vec<Bytes>) -> Result<()> {
        let mut ranges = std::mem::take(&mut self.asked);
        // What is asked for first is of the tested columns, then of the others.
        let others_asked = std::mem::take(&mut self.others_asked);
        let others = (others_asked > 0).then(|| {
            let own = ranges.len() - others_asked;
            (ranges.split_off(own), bytes.split_off(own))
        });
        let decoder = match &mut self.stage {
            Stage::Testing(stage) => {
                // They wait until it is known what is decoded of them.
                stage.others = others.or(stage.others.take());
                &mut stage.decoder
            }
            Stage::Abreast(stage, giving) => {
                if let (Some(decoder), Some((ranges, bytes))) = (&mut giving.decoder, others) {
                    decoder.push_ranges(ranges, bytes).map_err(|source| self.place.failure(source))?;
                }
                &mut stage.decoder
            }
            Stage::Giving(Giving { decoder: Some(decoder), .. }) => decoder,
            _ => return Ok(()),
        };
        Ok(decoder.push_ranges(ranges, bytes).map_err(|source| self.place.failure(source))?)
    }

    fn batch(&mut self) -> Result<Option<Batch>> {
        match self.ready.take() {
            Some(ready) => ready.map(Some),
            None if !self.asked.is_empty() => Ok(None),
            None => self.step(),
        }
    }

    fn rows_seen(&self) -> u64 {
        self.rows_seen
    }
}

impl Place {
    /// A decoder of these columns of the file, in its order.
    fn open(
        &self,
        footer: &Footer,
        columns: &[usize],
        rows_per_batch: usize,
        selection: Option<RowSelection>,
    ) -> Result<ParquetPushDecoder> {
        let mask = ProjectionMask::roots(footer.metadata.parquet_schema(), columns.iter().copied());
        let mut builder = ParquetPushDecoderBuilder::new_with_metadata(footer.metadata.clone())
            .with_row_groups(vec![self.row_group])
            .with_projection(mask)
            .with_batch_size(rows_per_batch);
        if let Some(selection) = selection {
            builder = builder.with_row_selection(selection).with_row_selection_policy(RowSelectionPolicy::Selectors);
        }
        Ok(builder.build().map_err(|source| self.failure(source))?)
    }

    fn decode(&self, decoder: &mut ParquetPushDecoder) -> Result<DecodeResult<Batch>> {
        let result = catch_unwind(AssertUnwindSafe(|| decoder.try_decode()));
        Ok(result.map_err(|panic| self.panicked(&*panic))?.map_err(|source| self.failure(source))?)
    }

    fn check_rows(&self, found_rows: u64, expected_rows: u64) -> Result<()> {
        if found_rows == expected_rows { Ok(()) } else { Err(self.row_count(found_rows, expected_rows)) }
    }

    fn row_count(&self, found_rows: u64, expected_rows: u64) -> Error {
        let (path, row_group) = (self.path.clone(), self.row_group);
        ParquetFailure::RowCount { path, row_group, found_rows, expected_rows }.into()
    }

    fn failure(&self, source: ParquetError) -> ParquetFailure {
        ParquetFailure::RowGroup { path: self.path.clone(), row_group: self.row_group, offset: self.offset, source }
    }

    fn panicked(&self, panic: &(dyn std::any::Any + Send)) -> ParquetFailure {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        ParquetFailure::Panicked { path: self.path.clone(), row_group: self.row_group, offset: self.offset, message }
    }
}

fn skip(rows: u64) -> RowSelector {
    RowSelector::skip(rows as usize)
}

fn select(rows: u64) -> RowSelector {
    RowSelector::select(rows as usize)
}
