//! Records of a split as batches, whatever their shape.
//!
//! In: the bytes of a range of a file, and who finds records in them. Out: batches of the columns that are asked for. Never: a row of a
//! record that starts outside the range.
//!
//! Some records at a time are walked over, and the places of their values kept column by column; then each column is read in one loop.

use std::{ops::Range, path::PathBuf, sync::Arc};

use arrow::array::RecordBatchOptions;
use bytes::Bytes;

use super::{
    Border, Decode,
    cells::{ColumnBuilder, Dialect, Grid},
    split_text::{Fed, SplitText, Wrong, shown},
};
use crate::{
    batch::{Batch, buffer::Buffer, datatypes::SchemaRef},
    error::Result,
};

/// Records whose values are found before they are read: their text and cells stay in the cache.
const ROWS_AT_ONCE: usize = 512;

/// How records stand in a text.
pub(super) trait Records: Send {
    /// How their values are read.
    type Values: Dialect;
    /// How errors call it.
    const SHAPE: &'static str;
    /// Where the first record starts is told by [`Records::follow`], not here.
    const FOLLOWS: bool = false;

    /// Where the first record of the split starts in its text. `before`: the byte before the text, if the file does not begin there.
    fn first(&self, before: Option<u8>, text: &[u8]) -> usize;

    /// The same, where what stands before the text ends with `border`; and what the text ends with. `is_first`: the file begins there.
    fn follow(&mut self, border: Border, _is_first: bool, _text: &[u8]) -> (usize, Border) {
        (0, border)
    }

    /// Finds the values of the next records.
    fn walk(&mut self, stretch: Stretch<'_>, found: &mut Found) -> Walked;
}

/// Where records are to be found.
pub(super) struct Stretch<'a> {
    pub(super) text: &'a [u8],
    /// The next record starts here.
    pub(super) next: usize,
    /// Records that start here or later are none of the split.
    pub(super) starts_end: usize,
    /// The file ends with the text.
    pub(super) is_last: bool,
    /// So many records at most.
    pub(super) rows_max: usize,
}

/// What was found.
pub(super) struct Found {
    pub(super) grid: Grid,
    /// Where in the text the rows of the grid start.
    pub(super) row_starts: Vec<usize>,
}

/// How far a walk has come.
pub(super) struct Walked {
    /// The next record starts here.
    pub(super) next: usize,
    /// What is wrong, and where; the rows before it are found.
    pub(super) wrong: Option<(usize, Wrong)>,
}

/// Decodes the records that start in a range.
pub(super) struct RecordDecoder<R> {
    records: R,
    text: SplitText,
    found: Found,
    /// The columns that are asked for, each once, in order of the file's.
    read: SchemaRef,
    /// The columns that are given, and which of those that are read each is.
    schema: SchemaRef,
    order: Vec<usize>,
    rows_per_batch: usize,
    rows_seen: u64,
}

/// What is decoded.
pub(super) struct Asked<'a> {
    pub(super) path: PathBuf,
    pub(super) file_bytes: u64,
    pub(super) range: Range<u64>,
    /// All columns of the file.
    pub(super) schema: &'a SchemaRef,
    /// Which of them, in which order.
    pub(super) columns: &'a [usize],
    pub(super) rows_per_batch: usize,
}

/// The rows of a batch on their way.
struct Rows {
    columns: Vec<ColumnBuilder>,
    count: usize,
    /// Where in the text the first one starts, and the last one ends.
    text: Range<usize>,
}

impl<R: Records> RecordDecoder<R> {
    pub(super) fn new(records: R, asked: Asked<'_>) -> Result<RecordDecoder<R>> {
        let Asked { path, file_bytes, range, schema, columns, rows_per_batch } = asked;
        let mut read = columns.to_vec();
        read.sort_unstable();
        read.dedup();
        let order = columns.iter().map(|column| read.partition_point(|c| c < column)).collect();
        let rows_at_once = ROWS_AT_ONCE.min(rows_per_batch);
        Ok(RecordDecoder {
            records,
            text: SplitText::new(R::SHAPE, path, file_bytes, range),
            found: Found { grid: Grid::new(&read, rows_at_once), row_starts: Vec::with_capacity(rows_at_once) },
            read: Arc::new(schema.project(&read)?),
            schema: Arc::new(schema.project(columns)?),
            order,
            rows_per_batch,
            rows_seen: 0,
        })
    }

    /// Finds the values of the next records, `rows_max` at most.
    fn walk(&mut self, rows_max: usize) -> Walked {
        self.found.row_starts.clear();
        self.found.grid.clear();
        let Some(next) = self.text.next() else { return Walked { next: 0, wrong: None } };
        let stretch = Stretch {
            text: self.text.text(),
            next,
            starts_end: self.text.starts_end(),
            is_last: self.text.is_last(),
            rows_max: rows_max.min(ROWS_AT_ONCE),
        };
        self.records.walk(stretch, &mut self.found)
    }

    /// Reads the values that were found, column by column. The first row with one that does not fit, if there is one.
    fn read(&self, rows: &mut Rows) -> Option<(usize, Wrong)> {
        let (text, Found { grid, row_starts }) = (self.text.text(), &self.found);
        let mut first: Option<(usize, usize)> = None;
        for (column, builder) in rows.columns.iter_mut().enumerate() {
            let count = first.map_or(row_starts.len(), |(row, _)| row);
            if let Err(row) = builder.append::<R::Values>(text, rows.text.start, grid.column(column, count)) {
                first = Some((row, column));
            }
        }
        let (row, column) = first?;
        let value = shown(grid.column(column, row + 1)[row].bytes(text));
        let field = self.read.field(column);
        let (column, data_type) = (field.name().clone(), field.data_type().clone());
        Some((row_starts[row], Wrong::Misfit { column, value, data_type }))
    }

    /// The rows as a batch; what is not UTF-8 fails.
    fn finish(&mut self, rows: Rows) -> Result<Option<Batch>> {
        let text = Buffer::slice_with_length(self.text.text(), rows.text.start, rows.text.len());
        let mut arrays = Vec::with_capacity(rows.columns.len());
        for (column, builder) in rows.columns.into_iter().enumerate() {
            match builder.finish(text.clone()) {
                Some(array) => arrays.push(array),
                None => {
                    let good = std::str::from_utf8(&text).err().map_or(0, |error| error.valid_up_to());
                    let column = self.read.field(column).name().clone();
                    self.text.fail(rows.text.start + good, Wrong::NotUtf8 { column });
                    return Ok(None);
                }
            }
        }
        self.rows_seen += rows.count as u64;
        let arrays = self.order.iter().map(|column| Arc::clone(&arrays[*column])).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.count));
        Ok(Some(Batch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?))
    }

    fn rows(&self, start: usize) -> Result<Rows> {
        let columns = self.read.fields().iter();
        let columns = columns.map(|field| ColumnBuilder::new(field.data_type(), self.rows_per_batch));
        Ok(Rows { columns: columns.collect::<Result<_>>()?, count: 0, text: start..start })
    }
}

impl<R: Records> Decode for RecordDecoder<R> {
    fn wants(&mut self) -> Option<Vec<Range<u64>>> {
        self.text.wants()
    }

    fn feed(&mut self, bytes: Vec<Bytes>) -> Result<()> {
        if let Fed::Range { before } = self.text.feed(bytes)?
            && !R::FOLLOWS
        {
            let first = self.records.first(before, self.text.text());
            self.text.advance(first);
        }
        Ok(())
    }

    fn follows(&self) -> bool {
        R::FOLLOWS
    }

    fn follow(&mut self, border: Border) -> Border {
        let (first, border) = self.records.follow(border, self.text.is_first(), self.text.text());
        self.text.advance(first);
        border
    }

    fn batch(&mut self) -> Result<Option<Batch>> {
        while let Some(start) = self.text.next() {
            let mut rows = self.rows(start)?;
            while rows.count < self.rows_per_batch {
                let Walked { next, wrong } = self.walk(self.rows_per_batch - rows.count);
                if let Some((at, wrong)) = self.read(&mut rows).or(wrong) {
                    self.text.fail(at, wrong);
                    return Ok(None);
                }
                let count = self.found.row_starts.len();
                rows.count += count;
                self.text.advance(next);
                if count == 0 {
                    break;
                }
                rows.text.end = next.min(self.text.text().len());
                if self.text.next().is_none() {
                    break;
                }
            }
            if rows.count > 0 {
                return self.finish(rows);
            }
            if self.text.next().is_some() && !self.text.lengthen() {
                return Ok(None);
            }
        }
        Ok(None)
    }

    fn rows_seen(&self) -> u64 {
        self.rows_seen
    }
}
