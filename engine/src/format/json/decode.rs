//! Decodes the lines of a split.
//!
//! In: the bytes of a range of a file. Out: batches of the columns that are asked for. Never: a row of a line that starts outside the range.
//!
//! Some lines at a time are walked over, and the places of their values kept column by column; then each column is read in one loop.

use std::{ops::Range, path::PathBuf, sync::Arc};

use arrow::array::RecordBatchOptions;
use bytes::Bytes;

use super::{
    BYTE_ORDER_MARK, SHAPE,
    keys::{Grid, Keys},
    values::Json,
    walk::{after_space, object},
};
use crate::{
    batch::{Batch, buffer::Buffer, datatypes::SchemaRef},
    error::Result,
    format::{
        Decode,
        cells::ColumnBuilder,
        split_text::{Fed, SplitText, Wrong, shown},
    },
};

/// Lines whose values are found before they are read: their text and cells stay in the cache.
const ROWS_AT_ONCE: usize = 512;

/// Decodes the lines that start in a range.
pub struct JsonDecoder {
    text: SplitText,
    keys: Keys,
    grid: Grid,
    /// Where in the text the rows of the grid start.
    row_starts: Vec<usize>,
    /// The columns that are asked for, each once, in order of the file's.
    read: SchemaRef,
    /// The columns that are given, and which of those that are read each is.
    schema: SchemaRef,
    order: Vec<usize>,
    rows_per_batch: usize,
    rows_seen: u64,
}

/// The rows of a batch on their way.
struct Rows {
    columns: Vec<ColumnBuilder>,
    count: usize,
    /// Where in the text the first one starts, and the last one ends.
    text: Range<usize>,
}

impl JsonDecoder {
    /// The `columns`, in that order, of the lines of `path` (of `file_bytes`) that start in `range`.
    pub fn new(
        path: PathBuf,
        file_bytes: u64,
        range: Range<u64>,
        schema: &SchemaRef,
        columns: &[usize],
        rows_per_batch: usize,
    ) -> Result<JsonDecoder> {
        let mut read = columns.to_vec();
        read.sort_unstable();
        read.dedup();
        let order = columns.iter().map(|column| read.partition_point(|c| c < column)).collect();
        let rows_at_once = ROWS_AT_ONCE.min(rows_per_batch);
        Ok(JsonDecoder {
            text: SplitText::new(SHAPE, path, file_bytes, range),
            keys: Keys::new(schema.fields().iter().map(|field| field.name().as_str())),
            grid: Grid::new(&read, rows_at_once),
            row_starts: Vec::with_capacity(rows_at_once),
            read: Arc::new(schema.project(&read)?),
            schema: Arc::new(schema.project(columns)?),
            order,
            rows_per_batch,
            rows_seen: 0,
        })
    }

    /// Finds the values of the next lines, `rows_max` at most; where the last of them ends. What is wrong is left for after the rows before
    /// it.
    fn walk(&mut self, rows_max: usize) -> (usize, Option<(usize, Wrong)>) {
        let JsonDecoder { text, keys, grid, row_starts, .. } = self;
        row_starts.clear();
        grid.clear();
        let Some(mut next) = text.next() else { return (0, None) };
        let bytes = text.text().as_slice();
        while next < text.starts_end() && row_starts.len() < rows_max.min(ROWS_AT_ONCE) {
            let end = match memchr::memchr(b'\n', &bytes[next..]) {
                Some(newline) => next + newline,
                None if text.is_last() => bytes.len(),
                None => break,
            };
            let line = &bytes[..end];
            if after_space(line, next) < end {
                let row = row_starts.len();
                if let Err(broken) = object(line, next, keys, |key, cell| grid.put(row, key, cell)) {
                    let found = shown(&line[broken.at..]);
                    return (next, Some((next, Wrong::Unexpected { expected: broken.expected, found })));
                }
                row_starts.push(next);
            }
            next = end + 1;
        }
        (next, None)
    }

    /// Reads the values that were found, column by column. The first row with one that does not fit, if there is one.
    fn read(&self, rows: &mut Rows) -> Option<(usize, Wrong)> {
        let text = self.text.text();
        let mut first: Option<(usize, usize)> = None;
        for (column, builder) in rows.columns.iter_mut().enumerate() {
            let count = first.map_or(self.row_starts.len(), |(row, _)| row);
            let cells = self.grid.column(column, count);
            if let Err(row) = builder.append::<Json>(text, rows.text.start, cells) {
                first = Some((row, column));
            }
        }
        let (row, column) = first?;
        let value = shown(self.grid.column(column, row + 1)[row].bytes(text));
        let field = self.read.field(column);
        let (column, data_type) = (field.name().clone(), field.data_type().clone());
        Some((self.row_starts[row], Wrong::Misfit { column, value, data_type }))
    }

    /// The rows as a batch; what is not UTF-8 fails.
    fn finish(&mut self, rows: Rows) -> Result<Option<Batch>> {
        let text = self.text.text();
        let text = Buffer::slice_with_length(text, rows.text.start, rows.text.len());
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

impl Decode for JsonDecoder {
    fn wants(&mut self) -> Option<Vec<Range<u64>>> {
        self.text.wants()
    }

    fn feed(&mut self, bytes: Vec<Bytes>) -> Result<()> {
        if let Fed::Range { before } = self.text.feed(bytes)? {
            let text = self.text.text();
            let first = match before {
                None if text.starts_with(BYTE_ORDER_MARK) => BYTE_ORDER_MARK.len(),
                None | Some(b'\n') => 0,
                Some(_) => memchr::memchr(b'\n', text).map_or(text.len(), |newline| newline + 1),
            };
            self.text.advance(first);
        }
        Ok(())
    }

    fn batch(&mut self) -> Result<Option<Batch>> {
        while let Some(start) = self.text.next() {
            let mut rows = self.rows(start)?;
            while rows.count < self.rows_per_batch {
                let (end, broken) = self.walk(self.rows_per_batch - rows.count);
                if let Some((at, wrong)) = self.read(&mut rows).or(broken) {
                    self.text.fail(at, wrong);
                    return Ok(None);
                }
                if self.row_starts.is_empty() {
                    // Blank lines may stand there all the same.
                    self.text.advance(end.max(rows.text.end));
                    break;
                }
                rows.count += self.row_starts.len();
                rows.text.end = end.min(self.text.text().len());
                self.text.advance(end);
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
