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
//!
//! Each row depends on its number alone, so row groups are made and encoded on all threads and appended in their order.

use std::{
    collections::BTreeMap,
    fs::File,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use arrow::{
    array::{Array, ArrayRef, Int64Array, StringArray, UInt64Array},
    buffer::{Buffer, OffsetBuffer, ScalarBuffer},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use parquet::{
    arrow::arrow_writer::{
        ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, ArrowWriter, compute_leaves,
    },
    basic::Compression,
    errors::ParquetError,
    file::{
        properties::{EnabledStatistics, WriterProperties},
        writer::SerializedFileWriter,
    },
    schema::types::ColumnPath,
};

use crate::{
    error::{DatasetError, Made},
    output::{Output, Written},
    random::{SplitMix64, below},
    tpch::THREADS_MAX,
};

/// Rows of each row group but the last.
const GROUP_ROWS: u64 = 1 << 20;
/// Most rows of a file: Parquet numbers row groups by an i16.
pub const GROUPS_ROWS_MAX: u64 = GROUP_ROWS << 15;
/// Most keys that are texts: ten digits.
pub const TEXT_KEYS_MAX: u64 = 10_000_000_000;

/// Rows that are made at once: a batch of them stays in the second-level cache.
const BATCH_ROWS: u64 = 16 << 10;
const TEXT_BYTES: usize = 12;
/// `v` is one of `0..VALUES`.
const VALUES: u32 = 100;
/// Any numbers do; these are kept forever.
const KEY_SEED: u64 = 0x6b65_7973; // "keys"
const VALUE_SEED: u64 = 0x7661_6c75_6573; // "values"

/// Bytes of a chunk's dictionary up to which Parquet's writer keeps it: with more it begins one and falls back.
const DICTIONARY_BYTES: u64 = 1 << 20;

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
    let maker = Maker { rows, keys, key_type, order: Order::new(rows), path: output.path().into() };
    write_rows(&maker, threads, file)?;
    output.publish(rows)
}

/// Makes all row groups on `threads` threads; the calling one puts them into order.
fn write_rows(maker: &Maker, threads: usize, file: File) -> Result<(), DatasetError> {
    let parquet_error = |source| maker.parquet_error(source);
    let (mut writer, groups) = ArrowWriter::try_new(file, maker.schema(), Some(maker.properties()))
        .and_then(ArrowWriter::into_serialized_writer)
        .map_err(parquet_error)?;
    let (task_sender, task_receiver) = mpsc::channel();
    let (done_sender, done_receiver) = mpsc::channel();
    let tasks = Mutex::new(task_receiver);
    thread::scope(|scope| {
        // Moved in here, so that the threads see the end of their tasks however this closure is left.
        let (task_sender, done_sender) = (task_sender, done_sender);
        for _ in 0..threads {
            let (tasks, done_sender) = (&tasks, done_sender.clone());
            thread::Builder::new()
                .name("groups".to_owned())
                .spawn_scoped(scope, move || maker.work(tasks, &done_sender))
                .map_err(|source| DatasetError::Spawn { what: Made::Groups, source })?;
        }
        drop(done_sender);
        // One row group a thread, and one lying ready: so much is in memory.
        append(maker, &groups, threads + 1, &mut writer, &task_sender, &done_receiver)
    })?;
    writer.close().map_err(parquet_error)?;
    Ok(())
}

/// Asks for row groups, `window` of them ahead, and appends them in their order.
fn append(
    maker: &Maker,
    groups: &ArrowRowGroupWriterFactory,
    window: usize,
    writer: &mut SerializedFileWriter<File>,
    tasks: &Sender<Task>,
    done: &Receiver<Result<Done, DatasetError>>,
) -> Result<(), DatasetError> {
    let group_count = maker.rows.div_ceil(GROUP_ROWS) as usize;
    let parquet_error = |source| maker.parquet_error(source);
    let (mut asked, mut appended, mut early) = (0, 0, BTreeMap::new());
    while appended < group_count {
        while asked < group_count && asked - appended < window {
            let columns = groups.create_column_writers(asked).map_err(parquet_error)?;
            // Fails only when all threads are gone; then receiving fails as well, and tells it.
            let _ = tasks.send(Task { group: asked, columns });
            asked += 1;
        }
        match done.recv() {
            Ok(answer) => {
                let answer = answer?;
                early.insert(answer.group, answer.chunks);
            }
            // Not reached: a thread catches its panics, and lives until `tasks` is dropped.
            Err(mpsc::RecvError) => return Err(DatasetError::Panicked { what: Made::Groups }),
        }
        while let Some(chunks) = early.remove(&appended) {
            let mut group = writer.next_row_group().map_err(parquet_error)?;
            for chunk in chunks {
                chunk.append_to_row_group(&mut group).map_err(parquet_error)?;
            }
            group.close().map_err(parquet_error)?;
            appended += 1;
        }
    }
    Ok(())
}

/// A row group to be made, with the writers of its columns.
struct Task {
    group: usize,
    columns: Vec<ArrowColumnWriter>,
}

/// A row group, encoded.
struct Done {
    group: usize,
    chunks: Vec<ArrowColumnChunk>,
}

/// Which rows there are.
struct Maker {
    rows: u64,
    /// Different keys, at least 1.
    keys: u64,
    key_type: KeyType,
    order: Order,
    /// The file, for errors.
    path: PathBuf,
}

impl Maker {
    fn parquet_error(&self, source: ParquetError) -> DatasetError {
        DatasetError::Parquet { path: self.path.clone(), source }
    }

    fn schema(&self) -> SchemaRef {
        let key = match self.key_type {
            KeyType::Number => DataType::UInt64,
            KeyType::Text => DataType::Utf8,
        };
        Arc::new(Schema::new(vec![Field::new("k", key, false), Field::new("v", DataType::Int64, false)]))
    }

    fn properties(&self) -> WriterProperties {
        // A text stands in a dictionary with its length before it.
        let key_bytes = if self.key_type == KeyType::Text { TEXT_BYTES as u64 + 4 } else { 8 };
        WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_max_row_group_row_count(Some(GROUP_ROWS as usize))
            .set_column_dictionary_enabled(
                ColumnPath::from("k"),
                self.keys.saturating_mul(key_bytes) <= DICTIONARY_BYTES,
            )
            .build()
    }

    /// A thread's life: until there are no more tasks, or nobody wants the answer.
    fn work(&self, tasks: &Mutex<Receiver<Task>>, done: &Sender<Result<Done, DatasetError>>) {
        loop {
            // A statement of its own: the lock must not be held while the task runs.
            let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(task) = task else { return };
            // Caught, because the calling thread would wait forever for an answer that never comes.
            let answer = catch_unwind(AssertUnwindSafe(|| self.encode(task)))
                .map(|encoded| encoded.map_err(|source| self.parquet_error(source)))
                .unwrap_or(Err(DatasetError::Panicked { what: Made::Groups }));
            if done.send(answer).is_err() {
                return;
            }
        }
    }

    fn encode(&self, task: Task) -> Result<Done, ParquetError> {
        let Task { group, mut columns } = task;
        let schema = self.schema();
        let first = group as u64 * GROUP_ROWS;
        let end = (first + GROUP_ROWS).min(self.rows);
        for start in (first..end).step_by(BATCH_ROWS as usize) {
            let arrays = self.batch(start..(start + BATCH_ROWS).min(end))?;
            // Neither column is nested: one leaf, thus one writer, for each.
            for ((array, field), column) in arrays.iter().zip(schema.fields()).zip(&mut columns) {
                for leaf in compute_leaves(field, array)? {
                    column.write(&leaf)?;
                }
            }
        }
        let chunks = columns.into_iter().map(ArrowColumnWriter::close).collect::<Result<_, _>>()?;
        Ok(Done { group, chunks })
    }

    /// The columns of some rows.
    fn batch(&self, rows: Range<u64>) -> Result<[ArrayRef; 2], ParquetError> {
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
        Ok([keys, Arc::new(values)])
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

/// A fixed order of `0..count`: which place a row has.
///
/// A bijection of the numbers of so many bits as `count` needs (multiply by an odd number, fold the upper half into
/// the lower, three times) is applied until it gives a number below `count`: at most twice on average, and what it
/// gives is a bijection again ("cycle walking", Black & Rogaway 2002).
struct Order {
    count: u64,
    mask: u64,
    half_bits: u32,
}

impl Order {
    fn new(count: u64) -> Self {
        let mask = count.max(1).next_power_of_two() - 1;
        Self { count, mask, half_bits: (mask.count_ones() / 2).max(1) }
    }

    /// The place of `row`, which is below `count`.
    fn place(&self, row: u64) -> u64 {
        let mut place = row;
        loop {
            place = place.wrapping_add(0x9e37_79b9_7f4a_7c15) & self.mask;
            for factor in [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb, 0xd6e8_feb8_6659_fd93] {
                place ^= place >> self.half_bits;
                place = place.wrapping_mul(factor) & self.mask;
            }
            place ^= place >> self.half_bits;
            if place < self.count {
                return place;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_taken_once() {
        for count in [1, 2, 3, 4, 5, 7, 8, 9, 100, 1_000, 4_096, 65_537] {
            let order = Order::new(count);
            let mut places: Vec<u64> = (0..count).map(|row| order.place(row)).collect();
            let in_order = places.windows(2).filter(|pair| pair[0] < pair[1]).count();
            places.sort_unstable();
            assert!(places.iter().copied().eq(0..count), "{count}");
            if count >= 1_000 {
                // As many rise as fall.
                assert!((0.45..0.55).contains(&(in_order as f64 / count as f64)), "{count}: {in_order} rise");
            }
        }
    }

    #[test]
    fn a_part_of_the_rows_has_as_many_keys_as_chance_gives() {
        // Of n drawn from k keys about k (1 - e^(-n/k)) are different.
        let (rows, keys) = (1 << 20, 100_000_u64);
        let order = Order::new(rows);
        for part in [0..100_000, 500_000..600_000, 900_000..1_000_000] {
            let mut found: Vec<u64> = part.map(|row| order.place(row) % keys).collect();
            found.sort_unstable();
            found.dedup();
            let share = found.len() as f64 / keys as f64;
            assert!((0.62..0.66).contains(&share), "{share}");
        }
    }
}
