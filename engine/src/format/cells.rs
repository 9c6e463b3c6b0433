//! Values that have been found in a text, column by column as arrays.
//!
//! In: a text, and the places of a column's values in it. Out: an array. Never: a value that does not fit its column's type.
//!
//! A shape of text first finds where the values of some rows stand ([`Cell`]s, column by column), then each column is read in one loop for its
//! type. Strings are not copied: their views point into the text, unless something in them was escaped.

use arrow::{
    array::{
        ArrayData, ArrayRef, BooleanArray, BooleanBufferBuilder, Date32Array, Float64Array, Int64Array,
        NullBufferBuilder, StringViewArray, TimestampMicrosecondArray, TimestampMillisecondArray,
        TimestampNanosecondArray, TimestampSecondArray,
    },
    buffer::{Buffer, NullBuffer, ScalarBuffer},
};
use std::sync::Arc;

use crate::{
    batch::datatypes::{DataType, TimeUnit},
    error::{Result, bug},
    kernel::build_views,
};

/// Where a value stands in a text, and how it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    start: u32,
    /// The look in the highest bits.
    length: u32,
}

/// How a value looks, before anybody asks for its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// There is none, or `null`.
    Missing,
    /// Text without escapes, and without its quotes.
    Text,
    /// Text with escapes in it.
    Escaped,
    /// A number, or what begins like one.
    Number,
    /// `true`.
    True,
    /// `false`.
    False,
    /// An object or an array, with its brackets.
    Nested,
}

const LOOKS: [Look; 7] =
    [Look::Missing, Look::Text, Look::Escaped, Look::Number, Look::True, Look::False, Look::Nested];
const LOOK_SHIFT: u32 = 28;
/// Longest text in which cells are found: what its places and lengths have bits for.
pub(super) const TEXT_BYTES_MAX: usize = 1 << LOOK_SHIFT;

impl Cell {
    /// There is no value.
    pub(super) const MISSING: Cell = Cell { start: 0, length: 0 };

    /// The value in `start..end`, both at most [`TEXT_BYTES_MAX`].
    #[inline]
    pub(super) fn new(look: Look, start: usize, end: usize) -> Cell {
        Cell { start: start as u32, length: (end - start) as u32 | (look as u32) << LOOK_SHIFT }
    }

    #[inline]
    pub(super) fn look(self) -> Look {
        LOOKS[(self.length >> LOOK_SHIFT) as usize % LOOKS.len()]
    }

    #[inline]
    pub(super) fn start(self) -> usize {
        self.start as usize
    }

    #[inline]
    pub(super) fn end(self) -> usize {
        (self.start + (self.length & (TEXT_BYTES_MAX as u32 - 1))) as usize
    }

    pub(super) fn bytes(self, text: &[u8]) -> &[u8] {
        text.get(self.start()..self.end()).unwrap_or_default()
    }
}

/// Cells of some rows, column by column; a column that nobody asked for has none.
pub(super) struct Grid {
    cells: Vec<Cell>,
    /// By number in the file: which column of the grid; those that nobody asked for share the last.
    columns: Vec<u32>,
    column_count: usize,
    rows_max: usize,
}

impl Grid {
    /// For `rows_max` rows of the columns `asked`.
    pub(super) fn new(asked: &[usize], rows_max: usize) -> Grid {
        let column_count = asked.len();
        let mut columns = vec![column_count as u32; asked.iter().max().map_or(0, |last| last + 1)];
        asked.iter().enumerate().for_each(|(column, number)| columns[*number] = column as u32);
        Grid { cells: vec![Cell::MISSING; (column_count + 1) * rows_max], columns, column_count, rows_max }
    }

    /// All cells are missing.
    pub(super) fn clear(&mut self) {
        self.cells.fill(Cell::MISSING);
    }

    /// Keeps the value of the file's column `number` in `row`, which is below the most rows.
    #[inline]
    pub(super) fn put(&mut self, row: usize, number: u32, cell: Cell) {
        let column = self.columns.get(number as usize).map_or(self.column_count, |column| *column as usize);
        self.cells[column * self.rows_max + row] = cell;
    }

    /// The first `rows` cells of one of the columns that are asked for.
    pub(super) fn column(&self, column: usize, rows: usize) -> &[Cell] {
        &self.cells[column * self.rows_max..][..rows]
    }
}

/// A value that is none of its column's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Misfit;

/// A string: as it stands in the text, or as it was made from what stands there.
pub(super) enum Said {
    /// From where to where.
    There(usize, usize),
    /// What was put at the end of the given bytes.
    Made,
}

/// How a shape reads the values that it has found; `None` is NULL.
pub(super) trait Dialect {
    fn int64(text: &[u8], cell: Cell) -> Result<Option<i64>, Misfit>;
    fn float64(text: &[u8], cell: Cell) -> Result<Option<f64>, Misfit>;
    fn boolean(text: &[u8], cell: Cell) -> Result<Option<bool>, Misfit>;
    /// Days since 1970.
    fn date32(_text: &[u8], _cell: Cell) -> Result<Option<i32>, Misfit> {
        Err(Misfit)
    }
    /// Units since 1970.
    fn timestamp(_text: &[u8], _cell: Cell, _unit: TimeUnit) -> Result<Option<i64>, Misfit> {
        Err(Misfit)
    }
    fn string(text: &[u8], cell: Cell, made: &mut Vec<u8>) -> Result<Option<Said>, Misfit>;
}

/// A column on its way.
pub(super) struct ColumnBuilder {
    values: Values,
    nulls: NullBufferBuilder,
}

enum Values {
    Int64(Vec<i64>),
    Float64(Vec<f64>),
    Boolean(BooleanBufferBuilder),
    Date32(Vec<i32>),
    Timestamp(TimeUnit, Vec<i64>),
    Text(Views),
}

/// Views of strings: of the text, which is buffer 0, and of what was made, buffer 1.
#[derive(Default)]
struct Views {
    views: Vec<u128>,
    made: Vec<u8>,
    /// Some view points into the text.
    is_text_used: bool,
}

impl ColumnBuilder {
    /// For about `rows` values.
    pub(super) fn new(data_type: &DataType, rows: usize) -> Result<ColumnBuilder> {
        let values = match data_type {
            DataType::Int64 => Values::Int64(Vec::with_capacity(rows)),
            DataType::Float64 => Values::Float64(Vec::with_capacity(rows)),
            DataType::Date32 => Values::Date32(Vec::with_capacity(rows)),
            DataType::Timestamp(unit, None) => Values::Timestamp(*unit, Vec::with_capacity(rows)),
            DataType::Boolean => Values::Boolean(BooleanBufferBuilder::new(rows)),
            DataType::Utf8View => Values::Text(Views { views: Vec::with_capacity(rows), ..Views::default() }),
            other => return Err(bug("format", format!("a column of {other} in a file of text"))),
        };
        Ok(ColumnBuilder { values, nulls: NullBufferBuilder::new(rows) })
    }

    /// Reads the `cells` of `text`; views of strings count from `text_start`. On the first that does not fit, its number; what is built
    /// then is of no use.
    pub(super) fn append<D: Dialect>(&mut self, text: &[u8], text_start: usize, cells: &[Cell]) -> Result<(), usize> {
        let nulls = &mut self.nulls;
        match &mut self.values {
            Values::Int64(values) => fill(cells, values, nulls, |cell| D::int64(text, cell)),
            Values::Float64(values) => fill(cells, values, nulls, |cell| D::float64(text, cell)),
            Values::Date32(values) => fill(cells, values, nulls, |cell| D::date32(text, cell)),
            Values::Timestamp(unit, values) => fill(cells, values, nulls, |cell| D::timestamp(text, cell, *unit)),
            Values::Boolean(values) => {
                for (row, cell) in cells.iter().enumerate() {
                    let value = D::boolean(text, *cell).map_err(|_| row)?;
                    values.append(value.unwrap_or_default());
                    nulls.append(value.is_some());
                }
                Ok(())
            }
            Values::Text(Views { views, made, is_text_used }) => {
                let view = |cell| {
                    let before = made.len();
                    Ok(match D::string(text, cell, made)? {
                        Some(Said::There(start, end)) => {
                            *is_text_used |= end - start > INLINE_BYTES_MAX;
                            Some(view(text, start, end, 0, text_start))
                        }
                        Some(Said::Made) => Some(view(made, before, made.len(), 1, 0)),
                        None => None,
                    })
                };
                fill(cells, views, nulls, view)
            }
        }
    }

    /// The column, whose text is `text`; `None` if not all of its strings are UTF-8.
    pub(super) fn finish(self, text: Buffer) -> Option<ArrayRef> {
        let ColumnBuilder { values, mut nulls } = self;
        let nulls = nulls.finish();
        Some(match values {
            Values::Int64(values) => Arc::new(Int64Array::new(values.into(), nulls)),
            Values::Float64(values) => Arc::new(Float64Array::new(values.into(), nulls)),
            Values::Date32(values) => Arc::new(Date32Array::new(values.into(), nulls)),
            Values::Timestamp(unit, values) => match unit {
                TimeUnit::Second => Arc::new(TimestampSecondArray::new(values.into(), nulls)),
                TimeUnit::Millisecond => Arc::new(TimestampMillisecondArray::new(values.into(), nulls)),
                TimeUnit::Microsecond => Arc::new(TimestampMicrosecondArray::new(values.into(), nulls)),
                TimeUnit::Nanosecond => Arc::new(TimestampNanosecondArray::new(values.into(), nulls)),
            },
            Values::Boolean(mut values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Text(views) => Arc::new(views.finish(text, nulls)?),
        })
    }
}

#[inline(always)]
fn fill<T: Default>(
    cells: &[Cell],
    values: &mut Vec<T>,
    nulls: &mut NullBufferBuilder,
    mut read: impl FnMut(Cell) -> Result<Option<T>, Misfit>,
) -> Result<(), usize> {
    values.reserve(cells.len());
    // What the validity knows of.
    let mut known = 0;
    for (row, cell) in cells.iter().enumerate() {
        let value = read(*cell).map_err(|_| row)?;
        if value.is_none() {
            nulls.append_n_non_nulls(row - known);
            nulls.append_null();
            known = row + 1;
        }
        values.push(value.unwrap_or_default());
    }
    nulls.append_n_non_nulls(cells.len() - known);
    Ok(())
}

impl Views {
    fn finish(self, text: Buffer, nulls: Option<NullBuffer>) -> Option<StringViewArray> {
        let Views { views, made, is_text_used } = self;
        let length = views.len();
        // Who holds the array holds the text: not for strings that stand in their views.
        let text = if is_text_used { text } else { Buffer::from_vec(Vec::<u8>::new()) };
        let mut buffers = vec![ScalarBuffer::from(views).into_inner(), text];
        buffers.extend((!made.is_empty()).then(|| Buffer::from_vec(made)));
        let data = ArrayData::builder(DataType::Utf8View).len(length).buffers(buffers).nulls(nulls);
        build_views(data).ok().map(StringViewArray::from)
    }
}

/// Longest string that stands in its view.
const INLINE_BYTES_MAX: usize = 12;
/// By length, the bytes of a string that stands in its view.
const INLINE: [u128; INLINE_BYTES_MAX + 1] = {
    let mut masks = [0; INLINE_BYTES_MAX + 1];
    let mut length = 1;
    while length <= INLINE_BYTES_MAX {
        masks[length] = u128::MAX >> (128 - 8 * length);
        length += 1;
    }
    masks
};

/// The view of `text[start..end]`, the text being a buffer from `text_start` on.
#[inline]
fn view(text: &[u8], start: usize, end: usize, buffer: u32, text_start: usize) -> u128 {
    let length = end - start;
    if length <= INLINE_BYTES_MAX
        && let Some(window) = text.get(start..start + 16)
        && let Ok(window) = <[u8; 16]>::try_from(window)
    {
        return (u128::from_le_bytes(window) & INLINE[length]) << 32 | length as u128;
    }
    arrow::array::make_view(&text[start..end], buffer, (start - text_start) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_keeps_its_place_and_look() {
        for look in LOOKS {
            let cell = Cell::new(look, TEXT_BYTES_MAX - 5, TEXT_BYTES_MAX - 1);
            assert_eq!((cell.look(), cell.start(), cell.end()), (look, TEXT_BYTES_MAX - 5, TEXT_BYTES_MAX - 1));
        }
        assert_eq!(Cell::MISSING.look(), Look::Missing);
    }
}
