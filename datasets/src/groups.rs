//! Rows to be grouped: a file with a key that has exactly as many values as asked for, and a small number beside it.
//!
//! In: numbers of rows and keys, the key's type. Out: one Parquet file, the same bytes whatever the number of
//! threads. Never: a key that does not occur while there are rows enough; two keys in an order that a reader could
//! profit from.
//!
//! ```text
//!   row ──(fixed order of 0..rows)──► place ──(modulo keys)──► index of the key ──► k
//!   row ──(number of that row)──────► 0..100 ───────────────────────────────────► v
//! ```
//! The place of a row is a bijection of `0..rows`, so that modulo `keys` every index occurs, each as often as any
//! other or once more, in random order. A number as key is its index sent through a bijection of all 64-bit numbers:
//! dense keys would be a gift to a table. A text as key is `id` and the index in ten digits, 12 bytes, as in the
//! db-benchmark of h2o.ai: as long as the string views of Arrow hold inline.

use std::{ops::Range, path::PathBuf, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, Int64Array, StringArray, UInt64Array},
    buffer::{Buffer, OffsetBuffer, ScalarBuffer},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use parquet::errors::ParquetError;

use crate::{
    error::{DatasetError, Made},
    order::Order,
    output::{Output, Written},
    random::{SplitMix64, below},
    row_groups::{ROWS_MAX, Rows, write_rows},
    tpch::THREADS_MAX,
};

/// Most rows of a file.
pub const GROUPS_ROWS_MAX: u64 = ROWS_MAX;
/// Most keys that are texts: ten digits.
pub const TEXT_KEYS_MAX: u64 = 10_000_000_000;

const TEXT_BYTES: usize = 12;
/// `v` is one of `0..VALUES`.
const VALUES: u32 = 100;
/// Any numbers do; these are kept forever.
const KEY_SEED: u64 = 0x6b65_7973; // "keys"
const VALUE_SEED: u64 = 0x7661_6c75_6573; // "values"

/// What the key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// UInt64, all over its range.
    Number,
    /// Text of 12 bytes, `id0000012345`.
    Text,
}

/// How many rows and keys, and where.
#[derive(Clone, Debug)]
pub struct GroupsOptions {
    /// Rows, at most [`GROUPS_ROWS_MAX`].
    pub rows: u64,
    /// Different keys, at least 1; when there are fewer rows, each row has its own.
    pub keys: u64,
    /// What the key is.
    pub key_type: KeyType,
    /// Threads that make and encode rows, `1..=`[`THREADS_MAX`]; the calling thread only appends to the file.
    pub threads: usize,
    /// The file; its folder is made if it is missing.
    pub out: PathBuf,
    /// Whether a file in that place is replaced instead of refused.
    pub overwrite: bool,
}

/// Writes the columns `k` (UInt64, or Utf8) and `v` (Int64, 0 to 99), without nulls: Snappy, row groups of 1,048,576
/// rows, a dictionary for `k` only where there are so few keys that it holds them all.
///
/// # Errors
/// [`DatasetError::Threads`], [`DatasetError::Keys`] and [`DatasetError::Rows`] before anything is touched; then
/// [`DatasetError::Exists`], those of files and of the Parquet writer. No temporary file is left.
pub fn write_groups(options: &GroupsOptions) -> Result<Written, DatasetError> {
    let GroupsOptions { rows, keys, key_type, threads, .. } = *options;
    if !(1..=THREADS_MAX).contains(&threads) {
        return Err(DatasetError::Threads { threads, max: THREADS_MAX });
    }
    let keys_max = if key_type == KeyType::Text { TEXT_KEYS_MAX } else { u64::MAX };
    if !(1..=keys_max).contains(&keys) {
        return Err(DatasetError::Keys { keys, max: keys_max });
    }
    if rows > GROUPS_ROWS_MAX {
        return Err(DatasetError::Rows { rows, max: GROUPS_ROWS_MAX });
    }
    let (output, file) = Output::create(&options.out, options.overwrite)?;
    let keys = keys.min(rows.max(1));
    let groups = Groups { rows, keys, key_type, order: Order::new(rows) };
    write_rows(&groups, threads, output.path(), file)?;
    output.publish(rows)
}

/// Which rows there are.
struct Groups {
    rows: u64,
    /// Different keys, at least 1.
    keys: u64,
    key_type: KeyType,
    order: Order,
}

impl Rows for Groups {
    fn made(&self) -> Made {
        Made::Groups
    }

    fn count(&self) -> u64 {
        self.rows
    }

    fn schema(&self) -> SchemaRef {
        let key = match self.key_type {
            KeyType::Number => DataType::UInt64,
            KeyType::Text => DataType::Utf8,
        };
        Arc::new(Schema::new(vec![Field::new("k", key, false), Field::new("v", DataType::Int64, false)]))
    }

    fn dictionary_bytes(&self, number: usize) -> Option<u64> {
        // A text stands in a dictionary with its length before it.
        let key_bytes = if self.key_type == KeyType::Text { TEXT_BYTES as u64 + 4 } else { 8 };
        Some(if number == 0 { self.keys.saturating_mul(key_bytes) } else { u64::from(VALUES) * 8 })
    }

    fn batch(&self, rows: Range<u64>) -> Result<Vec<ArrayRef>, ParquetError> {
        let mut values = SplitMix64::after(VALUE_SEED, rows.start);
        let values = Int64Array::from_iter_values(rows.clone().map(|_| i64::from(below(values.draw(), VALUES))));
        let indexes = rows.map(|row| self.order.place(row) % self.keys);
        let keys: ArrayRef = match self.key_type {
            KeyType::Number => {
                Arc::new(UInt64Array::from_iter_values(indexes.map(|index| SplitMix64::after(KEY_SEED, index).draw())))
            }
            KeyType::Text => texts(values.len(), indexes)?,
        };
        debug_assert_eq!(keys.len(), values.len());
        Ok(vec![keys, Arc::new(values)])
    }
}

/// `id` and ten digits each.
fn texts(rows: usize, indexes: impl Iterator<Item = u64>) -> Result<ArrayRef, ParquetError> {
    let mut bytes = vec![b'0'; rows * TEXT_BYTES];
    for (text, mut index) in bytes.as_chunks_mut::<TEXT_BYTES>().0.iter_mut().zip(indexes) {
        [text[0], text[1]] = *b"id";
        for digit in text[2..].iter_mut().rev() {
            *digit = b'0' + (index % 10) as u8;
            index /= 10;
        }
    }
    let offsets: ScalarBuffer<i32> = (0..=rows).map(|row| (row * TEXT_BYTES) as i32).collect();
    // Made of ASCII, at places that rise: checked all the same, which costs little beside the encoding.
    Ok(Arc::new(StringArray::try_new(OffsetBuffer::new(offsets), Buffer::from_vec(bytes), None)?))
}
