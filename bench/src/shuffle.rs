//! The shuffle's way of a table to groups, told apart by its parts, beside a copy of the same bytes.
//!
//! In: a file, how many groups, the columns whose hash decides. Out: for each run the seconds of reading, splitting, encoding, writing, and
//! the speed of `memcpy` measured right beside it. Never: a run in which a row was lost.
//!
//! The table is read into memory whole; then one thread takes it batch by batch: the hash of the columns, group numbers, the builders
//! (*splitting*), and for each batch that a builder gives its frame (*encoding*), which goes to a file (*writing*, into the page cache).
//! Bytes are logical: widths of values, for strings their length and 4, also where a dictionary has them, a bit of validity for each value.
//! Columns are as they are decoded with the least work, as a shuffle gets them: text in short dictionaries as codes, decimals of up to 18
//! digits in 8 bytes. What they count is what the table's columns are: text and decimals of 16 bytes; `moved_bytes` is what was moved of them.

use std::{
    fs::File,
    io::Write,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use windrow::{
    Result, Session,
    batch::{
        Batch,
        array::{Array, ArrayRef, AsArray},
        datatypes::DataType,
    },
    kernel::{Kernels, hash_columns},
    memory::Governor,
    shuffle::{
        Builder, BuilderOptions,
        frame::{Codec, FrameHeader, encode_frame_with},
    },
};

use crate::BenchError;

/// What is split, and how.
pub struct ShuffleRun<'a> {
    /// Reads the file, and says how much memory there is.
    pub session: &'a Session,
    /// A file of Parquet or CSV.
    pub input: &'a Path,
    /// Groups.
    pub partitions: usize,
    /// Whose hash decides, from 0.
    pub hash_columns: &'a [usize],
    /// How frames are compressed.
    pub codec: Codec,
    /// Where frames are written.
    pub scratch: &'a Path,
    /// How often.
    pub runs: u32,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShuffleMeasurement {
    /// "shuffle".
    pub workload: &'static str,
    /// Which run, from 1.
    pub run: u32,
    /// Groups.
    pub partitions: usize,
    /// Rows.
    pub rows: u64,
    /// Logical bytes.
    pub bytes: u64,
    /// Bytes of the columns in the form in which they are split: codes of 4 bytes for text, 8 for decimals.
    pub moved_bytes: u64,
    /// Bytes of all frames.
    pub frame_bytes: u64,
    /// From the file to batches, on all threads; once for all runs.
    pub read_seconds: f64,
    /// Hash, numbers, builders; one thread.
    pub split_seconds: f64,
    /// Batches to frames; one thread.
    pub encode_seconds: f64,
    /// Frames to a file; one thread.
    pub write_seconds: f64,
    /// `bytes` / `split_seconds`.
    pub split_bytes_per_second: f64,
    /// Of as many bytes, at most 1 GiB, into memory that was touched before; one thread.
    pub memcpy_bytes_per_second: f64,
    /// The one over the other.
    pub split_over_memcpy: f64,
}

/// Most bytes that are copied to be compared with.
const COPY_BYTES_MAX: usize = 1 << 30;

impl ShuffleRun<'_> {
    /// Runs it; `told` gets each measurement as it comes.
    pub fn run<E: From<windrow::Error>>(
        &self,
        mut told: impl FnMut(&ShuffleMeasurement) -> Result<(), E>,
    ) -> Result<(), E> {
        let started = Instant::now();
        let read = self.session.read_decoded(&self.input.to_string_lossy())?;
        let read_seconds = started.elapsed().as_secs_f64();
        let (columns, batches) = (read.schema.fields().len(), read.batches);
        if let Some(column) = self.hash_columns.iter().find(|column| **column >= columns) {
            return Err(E::from(BenchError::NoSuchColumn { column: *column, columns }.into()));
        }
        let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        if rows == 0 {
            return Err(E::from(BenchError::NoRows { path: self.input.to_owned() }.into()));
        }
        let bytes: u64 = batches.iter().flat_map(|batch| batch.columns()).map(logical_bytes).sum();
        let moved_bytes: u64 = batches.iter().flat_map(|batch| batch.columns()).map(moved_bytes).sum();
        // One pool for all runs, as a node has.
        let governor = Governor::of(self.session.settings());
        let mut copy = Copy::new((bytes as usize).clamp(1, COPY_BYTES_MAX));
        for run in 1..=self.runs {
            let before = copy.bytes_per_second();
            let split = self.split(&batches, &governor)?;
            let after = copy.bytes_per_second();
            if split.rows != rows {
                return Err(E::from(BenchError::RowsLost { before: rows, after: split.rows }.into()));
            }
            let split_bytes_per_second = bytes as f64 / split.splitting.as_secs_f64();
            let memcpy_bytes_per_second = f64::max(before, after);
            told(&ShuffleMeasurement {
                workload: "shuffle",
                run,
                partitions: self.partitions,
                rows,
                bytes,
                moved_bytes,
                frame_bytes: split.frame_bytes,
                read_seconds,
                split_seconds: split.splitting.as_secs_f64(),
                encode_seconds: split.encoding.as_secs_f64(),
                write_seconds: split.writing.as_secs_f64(),
                split_bytes_per_second,
                memcpy_bytes_per_second,
                split_over_memcpy: split_bytes_per_second / memcpy_bytes_per_second,
            })?;
        }
        Ok(())
    }

    fn split(&self, batches: &[Batch], governor: &Arc<Governor>) -> Result<Split> {
        let mut split = Split::default();
        let Some(first) = batches.first() else { return Ok(split) };
        let settings = self.session.settings();
        let options = BuilderOptions { group_count: self.partitions, bytes: BuilderOptions::bytes_within(settings) };
        let mut builder =
            Builder::new(&first.schema(), options, governor.pool(), governor.reservation("bench shuffle"));
        let path = self.scratch.join("frames");
        let failed = |source| BenchError::File { doing: "writing", path: path.clone(), source };
        let mut file = File::create(&path).map_err(failed)?;
        let (mut hashes, mut numbers, mut given, mut frames) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for batch in batches.iter().map(Some).chain([None]) {
            let started = Instant::now();
            let give = &mut |_: usize, batch: Batch, _: u64| {
                given.push(batch);
                Ok(())
            };
            match batch {
                Some(batch) => {
                    let keys: Vec<ArrayRef> =
                        self.hash_columns.iter().map(|column| ArrayRef::clone(batch.column(*column))).collect();
                    hash_columns(&keys, &mut hashes)?;
                    Kernels::detect().group_products(&hashes, self.partitions as u32, &mut numbers);
                    builder.push(batch, &numbers, give)?;
                }
                None => builder.finish(give)?,
            }
            split.splitting += started.elapsed();
            for batch in given.drain(..) {
                let started = Instant::now();
                frames.clear();
                encode_frame_with(&FrameHeader::default(), &batch, self.codec, &mut frames)?;
                split.encoding += started.elapsed();
                let started = Instant::now();
                file.write_all(&frames).map_err(failed)?;
                split.writing += started.elapsed();
                split.frame_bytes += frames.len() as u64;
                split.rows += batch.num_rows() as u64;
            }
        }
        Ok(split)
    }
}

#[derive(Default)]
struct Split {
    splitting: Duration,
    encoding: Duration,
    writing: Duration,
    rows: u64,
    frame_bytes: u64,
}

/// A copy to be compared with.
struct Copy {
    from: Vec<u8>,
    to: Vec<u8>,
}

impl Copy {
    fn new(bytes: usize) -> Copy {
        Copy { from: vec![1; bytes], to: vec![2; bytes] }
    }

    fn bytes_per_second(&mut self) -> f64 {
        let started = Instant::now();
        self.to.copy_from_slice(std::hint::black_box(&self.from));
        std::hint::black_box(&self.to);
        self.from.len() as f64 / started.elapsed().as_secs_f64()
    }
}

/// Logical bytes of a column: widths of values, for strings their length and 4 (a dictionary's as if plain), for decimals 16, a bit of validity
/// for each value.
pub fn logical_bytes(column: &ArrayRef) -> u64 {
    let data = column.to_data();
    let rows = data.len();
    let values = match data.data_type() {
        DataType::Boolean => rows / 8,
        DataType::Utf8 | DataType::Binary => {
            let offsets = data.buffer::<i32>(0);
            (offsets[rows] - offsets[0]) as usize + 4 * rows
        }
        DataType::LargeUtf8 | DataType::LargeBinary => {
            let offsets = data.buffer::<i64>(0);
            (offsets[rows] - offsets[0]) as usize + 4 * rows
        }
        DataType::Utf8View | DataType::BinaryView => {
            data.buffer::<u128>(0)[..rows].iter().map(|view| *view as u32 as usize + 4).sum()
        }
        DataType::Dictionary(..) if column.as_any_dictionary().values().is_empty() => 0,
        DataType::Dictionary(..) => {
            let dictionary = column.as_any_dictionary();
            let values = logical_bytes_of_each(dictionary.values());
            dictionary.normalized_keys().iter().map(|code| values.get(*code).copied().unwrap_or(0)).sum()
        }
        // Of a Parquet file, where SQL knows 128 bits.
        DataType::Decimal64(..) => 16 * rows,
        other => other.primitive_width().unwrap_or(0) * rows,
    };
    (values + rows / 8) as u64
}

/// Bytes of a column as it is: of codes and narrow decimals fewer than the logical ones.
fn moved_bytes(column: &ArrayRef) -> u64 {
    let rows = column.len() as u64;
    match column.data_type() {
        DataType::Dictionary(code, _) => code.primitive_width().unwrap_or(0) as u64 * rows + rows / 8,
        DataType::Decimal64(..) => 8 * rows + rows / 8,
        _ => logical_bytes(column),
    }
}

/// Logical bytes of each value of a dictionary.
fn logical_bytes_of_each(values: &ArrayRef) -> Vec<usize> {
    (0..values.len()).map(|row| logical_bytes(&values.slice(row, 1)) as usize).collect()
}
