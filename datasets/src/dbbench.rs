//! The tables of the db-benchmark of h2o.ai, which DuckDB Labs keeps: one to group, four to join.
//!
//! In: numbers of rows and groups, a seed. Out: `FOLDER/NAME.parquet` for each table, the same bytes whatever the number of threads.
//! Never: the very rows of the public generators (`groupby-datagen.R`, `join-datagen.R`), which R draws; the same columns with the same
//! distributions.
//!
//! ```text
//!   g1      id1 id2 text of K · id3 text of N/K · id4 id5 of K · id6 of N/K · v1 of 5 · v2 of 15 · v3 0 to 100     N rows
//!   x       id1 of N/10⁶ · id2 of N/10³ · id3 of N · id4 id5 id6 the same as texts · v1 0 to 100                   N rows
//!   small   id1 · id4 · v2        medium   id1 id2 · id4 id5 · v2        big   id1 id2 id3 · id4 id5 id6 · v2      N/10⁶, N/10³, N rows
//!
//!   keys of a join of n:   │◄──────── in both: 0.9 n ────────►│◄─ x only: 0.1 n ─►│◄─ the other only: 0.1 n ─►│   in an order of their own
//! ```
//! A table has each of its keys once at least, and where it has more rows than keys, a drawn one in the others; all in random order. A
//! table of so few rows that N/10⁶ says nothing has ten keys, or as many as rows.

use std::{fs::File, ops::Range, path::PathBuf, sync::Arc};

use arrow::{
    array::{ArrayRef, Float64Array, Int32Array, StringArray},
    buffer::{Buffer, OffsetBuffer},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use parquet::errors::ParquetError;

use crate::{
    error::{DatasetError, Made},
    order::Order,
    output::{Output, Written},
    random::{SplitMix64, below},
    row_groups::{Rows, write_rows},
    tpch::THREADS_MAX,
};

/// Most rows of a table: keys, a tenth more than rows, are Int32, as in R.
pub const DBBENCH_ROWS_MAX: u64 = 1_000_000_000;

/// Fewest keys of a join, if there are as many rows.
const KEYS_MIN: u64 = 10;
/// A price is one of so many millionths: from 0 to 100.
const PRICES: u32 = 100_000_001;

/// How many rows and groups, and where.
#[derive(Clone, Debug)]
pub struct DbBenchOptions {
    /// Rows of the table to group, and of the two large ones to join, at most [`DBBENCH_ROWS_MAX`].
    pub rows: u64,
    /// Values of a key with large groups, at least 1; the public benchmark has 100, 10 and 2.
    pub keys: u64,
    /// Chooses the rows.
    pub seed: u64,
    /// Threads that make and encode rows, `1..=`[`THREADS_MAX`]; the calling thread only appends to the file.
    pub threads: usize,
    /// The folder; made if it is missing.
    pub out: PathBuf,
    /// Whether files in that place are replaced instead of refused.
    pub overwrite: bool,
}

/// Writes `OUT/NAME.parquet` for g1, x, small, medium and big: Snappy, row groups of 1,048,576 rows, dictionaries where a column has so
/// few values that they hold them all, no nulls. Whole numbers are Int32, prices Float64 rounded to millionths, texts Utf8. The files take
/// their names one after the other when all are complete.
///
/// # Errors
/// [`DatasetError::Threads`], [`DatasetError::Keys`] and [`DatasetError::Rows`] before anything is touched, [`DatasetError::Exists`] before
/// anything is generated; then those of files and of the Parquet writer. No temporary file is left; a folder that was made stays.
pub fn write_dbbench(options: &DbBenchOptions) -> Result<Vec<Written>, DatasetError> {
    let DbBenchOptions { rows, keys, seed, threads, .. } = *options;
    if !(1..=THREADS_MAX).contains(&threads) {
        return Err(DatasetError::Threads { threads, max: THREADS_MAX });
    }
    if !(1..=DBBENCH_ROWS_MAX).contains(&keys) {
        return Err(DatasetError::Keys { keys, max: DBBENCH_ROWS_MAX });
    }
    if rows > DBBENCH_ROWS_MAX {
        return Err(DatasetError::Rows { rows, max: DBBENCH_ROWS_MAX });
    }
    let mut tables = vec![to_group(rows, keys, seed)];
    tables.extend(to_join(rows, seed));
    let created: Vec<(Table, Output, File)> = tables
        .into_iter()
        .map(|table| {
            let (output, file) =
                Output::create(&options.out.join(format!("{}.parquet", table.name)), options.overwrite)?;
            Ok((table, output, file))
        })
        .collect::<Result<_, DatasetError>>()?;
    let complete: Vec<(u64, Output)> = created
        .into_iter()
        .map(|(table, output, file)| {
            write_rows(&table, threads, output.path(), file)?;
            Ok((table.rows, output))
        })
        .collect::<Result<_, DatasetError>>()?;
    complete.into_iter().map(|(rows, output)| output.publish(rows)).collect()
}

fn to_group(rows: u64, keys: u64, seed: u64) -> Table {
    let (large, small) = (keys as u32, (rows / keys).max(1) as u32);
    let counts = [large, large, small, large, large, small, 5, 15, PRICES];
    let sources = (0..).zip(counts).map(|(number, count)| Source::Drawn { seed: chosen(seed, 0, number), count });
    let text = |name, source, digits| Column { name, source, shape: Shape::Text { digits } };
    let number = |name, source| Column { name, source, shape: Shape::Number };
    let columns = vec![
        text("id1", 0, 3),
        text("id2", 1, 3),
        text("id3", 2, 10),
        number("id4", 3),
        number("id5", 4),
        number("id6", 5),
        number("v1", 6),
        number("v2", 7),
        Column { name: "v3", source: 8, shape: Shape::Price },
    ];
    Table { name: "g1", rows, sources: sources.collect(), columns }
}

/// x, small, medium and big.
fn to_join(rows: u64, seed: u64) -> Vec<Table> {
    let key_count = |per: u64| (rows / per).max(KEYS_MIN).min(rows);
    let key_counts = [key_count(1_000_000), key_count(1_000), rows];
    let table = |name, number: u64, rows: u64, keys: usize, price: &'static str| {
        let side = if number == 1 { Side::Left } else { Side::Right };
        let key = |(key, count): (u64, u64)| Source::Key {
            pool: Order::chosen(count + count / 10, chosen(seed, 5, key)),
            count,
            side,
            order: Order::chosen(rows, chosen(seed, number, key)),
            seed: chosen(seed, number, 3 + key),
        };
        let mut sources: Vec<Source> = (0..).zip(key_counts).take(keys).map(key).collect();
        sources.push(Source::Drawn { seed: chosen(seed, number, 6), count: PRICES });
        let numbers = ["id1", "id2", "id3"].into_iter().take(keys).enumerate();
        let texts = ["id4", "id5", "id6"].into_iter().take(keys).enumerate();
        let mut columns: Vec<Column> =
            numbers.map(|(source, name)| Column { name, source, shape: Shape::Number }).collect();
        columns.extend(texts.map(|(source, name)| Column { name, source, shape: Shape::Text { digits: 1 } }));
        columns.push(Column { name: price, source: keys, shape: Shape::Price });
        Table { name, rows, sources, columns }
    };
    vec![
        table("x", 1, rows, 3, "v1"),
        table("small", 2, key_counts[0], 1, "v2"),
        table("medium", 3, key_counts[1], 2, "v2"),
        table("big", 4, key_counts[2], 3, "v2"),
    ]
}

/// The seed for one thing: far from that for any other.
fn chosen(seed: u64, table: u64, number: u64) -> u64 {
    SplitMix64::after(seed, table << 8 | number).draw()
}

/// A file's rows.
struct Table {
    name: &'static str,
    rows: u64,
    sources: Vec<Source>,
    columns: Vec<Column>,
}

/// What a number of a row is; a key as a number and as a text is one.
enum Source {
    /// One of `1..=count`, drawn.
    Drawn { seed: u64, count: u32 },
    /// A key of a join: each occurs.
    Key {
        /// Which keys the table has, by their places among all of both sides.
        pool: Order,
        /// Keys of one side.
        count: u64,
        side: Side,
        /// Which rows have each key's first occurrence.
        order: Order,
        /// Draws the keys of the other rows.
        seed: u64,
    },
}

#[derive(Clone, Copy)]
enum Side {
    /// x.
    Left,
    /// What x is joined with.
    Right,
}

struct Column {
    name: &'static str,
    /// By number.
    source: usize,
    shape: Shape,
}

enum Shape {
    /// Int32.
    Number,
    /// `id` and so many digits at least, Utf8.
    Text { digits: usize },
    /// Float64: millionths, from 0.
    Price,
}

impl Source {
    /// Different values, at most.
    fn count(&self) -> u64 {
        match self {
            Source::Drawn { count, .. } => u64::from(*count),
            Source::Key { count, .. } => *count,
        }
    }

    fn values(&self, rows: Range<u64>) -> Vec<u32> {
        match self {
            Source::Drawn { seed, count } => {
                let mut random = SplitMix64::after(*seed, rows.start);
                rows.map(|_| 1 + below(random.draw(), *count)).collect()
            }
            Source::Key { pool, count, side, order, seed } => {
                let mut random = SplitMix64::after(*seed, rows.start);
                let key = |row| {
                    let (place, drawn) = (order.place(row), below(random.draw(), *count as u32));
                    let index = if place < *count { place } else { u64::from(drawn) };
                    let common = count - count / 10;
                    // Those of the right side alone stand behind those of the left.
                    let is_right_only = matches!(side, Side::Right) && index >= common;
                    1 + pool.place(if is_right_only { index + count / 10 } else { index }) as u32
                };
                rows.map(key).collect()
            }
        }
    }
}

impl Rows for Table {
    fn made(&self) -> Made {
        Made::DbBench
    }

    fn count(&self) -> u64 {
        self.rows
    }

    fn schema(&self) -> SchemaRef {
        let field = |column: &Column| {
            let data_type = match column.shape {
                Shape::Number => DataType::Int32,
                Shape::Text { .. } => DataType::Utf8,
                Shape::Price => DataType::Float64,
            };
            Field::new(column.name, data_type, false)
        };
        Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }

    fn dictionary_bytes(&self, number: usize) -> Option<u64> {
        let column = &self.columns[number];
        let bytes = match column.shape {
            Shape::Number => 4,
            // Its length stands before it.
            Shape::Text { .. } => 4 + 12,
            Shape::Price => return None,
        };
        Some(self.sources[column.source].count().min(self.rows) * bytes)
    }

    fn batch(&self, rows: Range<u64>) -> Result<Vec<ArrayRef>, ParquetError> {
        let sources: Vec<Vec<u32>> = self.sources.iter().map(|source| source.values(rows.clone())).collect();
        let array = |column: &Column| -> Result<ArrayRef, ParquetError> {
            let values = &sources[column.source];
            Ok(match column.shape {
                // Not over DBBENCH_ROWS_MAX and a tenth.
                Shape::Number => Arc::new(Int32Array::from_iter_values(values.iter().map(|value| *value as i32))),
                Shape::Text { digits } => texts(values, digits)?,
                Shape::Price => {
                    Arc::new(Float64Array::from_iter_values(values.iter().map(|value| f64::from(value - 1) / 1e6)))
                }
            })
        };
        self.columns.iter().map(array).collect()
    }
}

/// `id` and the number in `digits_min` digits or more, each.
fn texts(values: &[u32], digits_min: usize) -> Result<ArrayRef, ParquetError> {
    const DIGITS_MAX: usize = 10;
    let mut bytes = Vec::with_capacity(values.len() * (2 + DIGITS_MAX));
    let mut lengths = Vec::with_capacity(values.len());
    for value in values {
        let (mut digits, mut count, mut rest) = ([b'0'; DIGITS_MAX], 0, *value);
        while rest > 0 || count < digits_min {
            digits[DIGITS_MAX - 1 - count] = b'0' + (rest % 10) as u8;
            (count, rest) = (count + 1, rest / 10);
        }
        bytes.extend_from_slice(b"id");
        bytes.extend_from_slice(&digits[DIGITS_MAX - count..]);
        lengths.push(2 + count);
    }
    Ok(Arc::new(StringArray::try_new(OffsetBuffer::from_lengths(lengths), Buffer::from_vec(bytes), None)?))
}
