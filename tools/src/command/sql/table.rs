//! A table of boxes: names, types, rows; numbers to the right.
//!
//! In: batches, and what room there is. Out: lines. Never: a byte of a value that would steer the terminal, or a line that is
//! longer than it is wide.
//!
//! ```text
//! ┌────────────┬───────────────┐
//! │ l_shipmode │     sum_price │
//! │ text       │ decimal(15,2) │
//! ├────────────┼───────────────┤
//! │ AIR        │    3774200.00 │
//! │ …          │             … │     rows left out in the middle, on a terminal
//! └────────────┴───────────────┘
//! ```
//! Two passes over the cells, one for the widths, so that no text of the whole answer is held.

use std::{fmt::Write as _, io::Write};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, SchemaRef, TimeUnit},
    error::ArrowError,
    util::display::{ArrayFormatter, FormatOptions},
};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::{error::Failure, size};

/// What room there is.
#[derive(Clone, Copy)]
pub struct Fit {
    width: Option<usize>,
    rows_max: usize,
}

/// Most rows on a terminal; of more, the first and the last are shown.
const ROWS_MAX: usize = 40;
/// Narrowest column that is still worth its place; narrower ones make room by leaving columns out.
const WIDTH_MIN: usize = 8;

const ELLIPSIS: &str = "…";

impl Fit {
    /// A terminal `width` columns wide.
    pub fn terminal(width: usize) -> Fit {
        Fit { width: Some(width), rows_max: ROWS_MAX }
    }

    /// Everything.
    pub fn all() -> Fit {
        Fit { width: None, rows_max: usize::MAX }
    }
}

/// Writes the rows of `batches`.
pub fn write(schema: &SchemaRef, batches: &[RecordBatch], fit: Fit, out: &mut impl Write) -> Result<(), Failure> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let shown = Shown::of(rows, fit.rows_max);
    let names = schema.fields().iter().map(|field| visible(field.name())).collect::<Vec<_>>();
    let types = schema.fields().iter().map(|field| type_name(field.data_type())).collect::<Vec<_>>();
    let mut widths: Vec<usize> =
        names.iter().zip(&types).map(|(name, data_type)| name.width().max(data_type.width())).collect();
    for_each_row(batches, shown, |cells| {
        for (width, cell) in widths.iter_mut().zip(cells.unwrap_or_default()) {
            *width = (*width).max(cell.width());
        }
        Ok(())
    })?;
    let is_right = schema.fields().iter().map(|field| field.data_type().is_numeric()).collect();
    let layout = Layout::of(widths, is_right, fit.width);

    let mut lines = Lines { layout: &layout, line: String::new(), out };
    lines.rule('┌', '┬', '┐')?;
    lines.row(Some(&names))?;
    lines.row(Some(&types))?;
    lines.rule('├', '┼', '┤')?;
    for_each_row(batches, shown, |cells| lines.row(cells))?;
    lines.rule('└', '┴', '┘')?;
    lines.note(rows, shown, schema.fields().len())
}

/// Which rows are shown.
#[derive(Clone, Copy)]
struct Shown {
    head: usize,
    /// From this row on; `head` when none is left out.
    tail_start: usize,
}

impl Shown {
    fn of(rows: usize, rows_max: usize) -> Shown {
        if rows <= rows_max {
            return Shown { head: rows, tail_start: rows };
        }
        Shown { head: rows_max.div_ceil(2), tail_start: rows - rows_max / 2 }
    }

    fn left_out(self) -> usize {
        self.tail_start - self.head
    }
}

/// Calls `each` with the cells of each shown row, and with none where rows are left out.
fn for_each_row(
    batches: &[RecordBatch],
    shown: Shown,
    mut each: impl FnMut(Option<&[String]>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let options = FormatOptions::new()
        .with_null("NULL")
        .with_display_error(true)
        .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"));
    let (mut first, mut is_gap_told) = (0, false);
    for batch in batches {
        let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
        let columns = columns.collect::<Result<Vec<_>, ArrowError>>().map_err(windrow::Error::from)?;
        let mut cells = vec![String::new(); columns.len()];
        for row in 0..batch.num_rows() {
            if (shown.head..shown.tail_start).contains(&(first + row)) {
                if !is_gap_told {
                    each(None)?;
                    is_gap_told = true;
                }
                continue;
            }
            for (cell, column) in cells.iter_mut().zip(&columns) {
                cell.clear();
                // Writing to a string does not fail, and errors of the value are displayed.
                let _ = write!(cell, "{}", column.value(row));
                if cell.contains(|letter: char| letter.is_control()) {
                    *cell = visible(cell);
                }
            }
            each(Some(&cells))?;
        }
        first += batch.num_rows();
    }
    Ok(())
}

/// Which columns are shown, how wide.
struct Layout {
    /// Indices of the shown columns; the gap, if columns are left out, comes after `gap_after` of them.
    columns: Vec<usize>,
    gap_after: Option<usize>,
    /// By column, shown or not.
    widths: Vec<usize>,
    is_right: Vec<bool>,
}

impl Layout {
    fn of(mut widths: Vec<usize>, is_right: Vec<bool>, room: Option<usize>) -> Layout {
        let mut columns: Vec<usize> = (0..widths.len()).collect();
        let mut gap_after = None;
        if let Some(room) = room {
            // A column takes its width, a space on each side and a line; the first line comes on top.
            let least = |columns: &[usize], gap: usize| -> usize {
                1 + gap + columns.iter().map(|column| widths[*column].min(WIDTH_MIN) + 3).sum::<usize>()
            };
            const GAP: usize = 4;
            while columns.len() > 2 && least(&columns, gap_after.map_or(0, |_| GAP)) > room {
                let middle = columns.len() / 2;
                columns.remove(middle);
                gap_after = Some(middle.min(columns.len() - 1));
            }
            let frame = 1 + 3 * columns.len() + gap_after.map_or(0, |_| GAP);
            cap(&mut widths, &columns, room.saturating_sub(frame));
        }
        Layout { columns, gap_after, widths, is_right }
    }
}

/// Narrows the widest of `columns` until all fit into `room`.
fn cap(widths: &mut [usize], columns: &[usize], room: usize) {
    let total = |widths: &[usize], cap: usize| -> usize { columns.iter().map(|column| widths[*column].min(cap)).sum() };
    let widest = columns.iter().map(|column| widths[*column]).max().unwrap_or(0);
    let mut width = widest;
    while width > 1 && total(widths, width) > room {
        width -= 1;
    }
    // What is left over goes to the capped columns, one each, from the left.
    let mut left = room.saturating_sub(total(widths, width));
    for column in columns {
        let natural = widths[*column];
        let extra = usize::from(natural > width && left > 0);
        left -= extra;
        widths[*column] = natural.min(width + extra);
    }
}

/// Writes lines of a layout.
struct Lines<'a, W> {
    layout: &'a Layout,
    line: String,
    out: &'a mut W,
}

impl<W: Write> Lines<'_, W> {
    fn rule(&mut self, left: char, between: char, right: char) -> Result<(), Failure> {
        self.line.clear();
        for (at, column) in self.layout.columns.iter().enumerate() {
            self.line.push(if at == 0 { left } else { between });
            self.line.extend(std::iter::repeat_n('─', self.layout.widths[*column] + 2));
            if self.layout.gap_after == Some(at + 1) {
                self.line.push(between);
                self.line.push_str("───");
            }
        }
        if self.layout.columns.is_empty() {
            self.line.push(left);
        }
        self.line.push(right);
        self.end()
    }

    /// A row; without cells the row that stands for those left out.
    fn row(&mut self, cells: Option<&[String]>) -> Result<(), Failure> {
        self.line.clear();
        for (at, column) in self.layout.columns.iter().enumerate() {
            let cell = cells.map_or(ELLIPSIS, |cells| cells[*column].as_str());
            self.line.push_str("│ ");
            pad(&mut self.line, cell, self.layout.widths[*column], self.layout.is_right[*column]);
            self.line.push(' ');
            if self.layout.gap_after == Some(at + 1) {
                self.line.push_str("│ … ");
            }
        }
        self.line.push('│');
        self.end()
    }

    /// What is not shown, if anything; an empty table says so too.
    fn note(&mut self, rows: usize, shown: Shown, columns: usize) -> Result<(), Failure> {
        let (rows_left_out, columns_left_out) = (shown.left_out(), columns - self.layout.columns.len());
        if rows > 0 && rows_left_out == 0 && columns_left_out == 0 {
            return Ok(());
        }
        self.line.clear();
        self.line.push_str(&size::show_rows(rows as u64));
        if rows_left_out > 0 {
            let _ = write!(self.line, ", {} shown", rows - rows_left_out);
        }
        if columns_left_out > 0 {
            let _ = write!(self.line, "; {columns} columns, {} shown", columns - columns_left_out);
        }
        self.end()
    }

    fn end(&mut self) -> Result<(), Failure> {
        self.line.push('\n');
        self.out.write_all(self.line.as_bytes()).map_err(Failure::of_output)
    }
}

/// Appends `cell`, cut or filled up to `width`.
fn pad(line: &mut String, cell: &str, width: usize, is_right: bool) {
    let cell_width = cell.width();
    let fill = std::iter::repeat_n(' ', width.saturating_sub(cell_width));
    if cell_width > width {
        cut(line, cell, width);
    } else if is_right {
        line.extend(fill);
        line.push_str(cell);
    } else {
        line.push_str(cell);
        line.extend(fill);
    }
}

/// Appends as much of `cell` as fits before an ellipsis.
fn cut(line: &mut String, cell: &str, width: usize) {
    let mut used = 0;
    for letter in cell.chars() {
        let letter_width = letter.width().unwrap_or(0);
        if used + letter_width + 1 > width {
            break;
        }
        line.push(letter);
        used += letter_width;
    }
    line.push_str(ELLIPSIS);
    // A wide letter may leave one column free.
    line.extend(std::iter::repeat_n(' ', width.saturating_sub(used + 1)));
}

/// `text` with control characters as escapes: a cell is one line, whatever is in it.
fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() { shown.extend(letter.escape_default()) } else { shown.push(letter) }
    }
    shown
}

/// A type as SQL names it.
fn type_name(data_type: &DataType) -> String {
    let name = match data_type {
        DataType::Boolean => "boolean",
        DataType::Int8 => "tinyint",
        DataType::Int16 => "smallint",
        DataType::Int32 => "int",
        DataType::Int64 => "bigint",
        DataType::UInt8 => "tinyint unsigned",
        DataType::UInt16 => "smallint unsigned",
        DataType::UInt32 => "int unsigned",
        DataType::UInt64 => "bigint unsigned",
        DataType::Float16 => "half",
        DataType::Float32 => "float",
        DataType::Float64 => "double",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "binary",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time",
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone",
        DataType::Timestamp(TimeUnit::Second, None) => "timestamp(0)",
        DataType::Timestamp(_, None) => "timestamp",
        DataType::Interval(_) => "interval",
        DataType::Null => "null",
        DataType::Dictionary(_, values) => return type_name(values),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => return format!("decimal({precision},{scale})"),
        other => return other.to_string(),
    };
    name.to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};

    use super::*;

    fn text(columns: Vec<(&str, ArrayRef)>, fit: Fit) -> String {
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
                .unwrap();
        let mut out = Vec::new();
        write(&batch.schema(), &[batch], fit, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn names_types_nulls_and_numbers() {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("word", Arc::new(StringArray::from(vec![Some("a\nb"), None, Some("日本")]))),
            ("n", Arc::new(Int64Array::from(vec![Some(1), Some(22), None]))),
            ("share", Arc::new(Float64Array::from(vec![0.5, 1.0, 1e300]))),
        ];
        let expected = "\
┌──────┬────────┬─────────┐
│ word │      n │   share │
│ text │ bigint │  double │
├──────┼────────┼─────────┤
│ a\\nb │      1 │     0.5 │
│ NULL │     22 │     1.0 │
│ 日本 │   NULL │ 1e+300  │
└──────┴────────┴─────────┘
";
        // How long the shortest form of 1e300 is, is the formatter's.
        let (shown, expected) = (text(columns, Fit::all()), expected.lines().collect::<Vec<_>>());
        let shown: Vec<&str> = shown.lines().collect();
        assert_eq!(shown.len(), expected.len());
        assert!(shown[4].starts_with("│ a\\nb │      1 │") && shown[5].starts_with("│ NULL │     22 │"));
        assert!(shown[6].starts_with("│ 日本 │   NULL │"));
        assert!(shown.iter().all(|line| line.width() == shown[0].width()));
    }

    #[test]
    fn many_rows_are_left_out_in_the_middle() {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1_000));
        let shown = text(vec![("n", numbers.clone())], Fit::terminal(80));
        assert_eq!(shown.lines().count(), 4 + 41 + 1 + 1);
        assert!(shown.contains("│     19 │\n│      … │\n│    980 │\n"), "{shown}");
        assert!(shown.ends_with("1,000 rows, 40 shown\n"));
        assert_eq!(text(vec![("n", numbers)], Fit::all()).lines().count(), 1_005);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let long: ArrayRef = Arc::new(StringArray::from(vec!["日本語のとても長い文".repeat(9), "x".repeat(300)]));
        let number: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        for columns in 1..30 {
            for width in [20, 37, 80, 200] {
                let names: Vec<String> = (0..columns).map(|column| format!("column_{column}")).collect();
                let arrays = names.iter().enumerate();
                let arrays =
                    arrays.map(|(i, name)| (name.as_str(), if i % 3 == 1 { number.clone() } else { long.clone() }));
                let shown = text(arrays.collect(), Fit::terminal(width));
                let widths: Vec<usize> =
                    shown.lines().filter(|line| !line.contains("rows")).map(UnicodeWidthStr::width).collect();
                assert!(widths.iter().all(|w| *w == widths[0]), "{columns} columns in {width}:\n{shown}");
                assert!(widths[0] <= width.max(27), "{columns} columns in {width}:\n{shown}");
            }
        }
    }
}
