//! Row groups of one Parquet file, made on several threads.
//!
//! In: [`Rows`], which can be made at any place. Out: the file's bytes, the same whatever the number of threads. Never: more row groups in
//! memory than threads, and one that lies ready.
//!
//! Each row depends on its number alone, so row groups are made and encoded on all threads and appended in their order.

use std::{
    collections::BTreeMap,
    fs::File,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use arrow::{array::ArrayRef, datatypes::SchemaRef};
use parquet::{
    arrow::arrow_writer::{
        ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, ArrowWriter, compute_leaves,
    },
    basic::Compression,
    errors::ParquetError,
    file::{
        properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder},
        writer::SerializedFileWriter,
    },
    schema::types::ColumnPath,
};

use crate::error::{DatasetError, Made};

/// Rows of each row group but the last.
const GROUP_ROWS: u64 = 1 << 20;
/// Most rows of a file: Parquet numbers row groups by an i16.
pub(crate) const ROWS_MAX: u64 = GROUP_ROWS << 15;

/// Rows that are made at once: a batch of them stays in the second-level cache.
const BATCH_ROWS: u64 = 16 << 10;
/// Bytes of a chunk's dictionary up to which Parquet's writer keeps it: with more it begins one and falls back.
const DICTIONARY_BYTES: u64 = 1 << 20;

/// The rows of a file, each depending on its number alone.
pub(crate) trait Rows: Sync {
    /// What they are, for errors.
    fn made(&self) -> Made;
    /// How many there are.
    fn count(&self) -> u64;
    /// Their columns, none of them nested.
    fn schema(&self) -> SchemaRef;
    /// Bytes that all different values of column `number` have together, if they are known to be few.
    fn dictionary_bytes(&self, number: usize) -> Option<u64>;
    /// The columns of some rows.
    fn batch(&self, rows: Range<u64>) -> Result<Vec<ArrayRef>, ParquetError>;
}

/// Makes all row groups on `threads` threads; the calling one puts them into order. `path`: the file, for errors.
pub(crate) fn write_rows(rows: &dyn Rows, threads: usize, path: &Path, file: File) -> Result<(), DatasetError> {
    let maker = &Maker { rows, path };
    let parquet_error = |source| maker.parquet_error(source);
    let (mut writer, groups) = ArrowWriter::try_new(file, rows.schema(), Some(maker.properties()))
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
                .name("rows".to_owned())
                .spawn_scoped(scope, move || maker.work(tasks, &done_sender))
                .map_err(|source| DatasetError::Spawn { what: rows.made(), source })?;
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
    maker: &Maker<'_>,
    groups: &ArrowRowGroupWriterFactory,
    window: usize,
    writer: &mut SerializedFileWriter<File>,
    tasks: &Sender<Task>,
    done: &Receiver<Result<Done, DatasetError>>,
) -> Result<(), DatasetError> {
    let group_count = maker.rows.count().div_ceil(GROUP_ROWS) as usize;
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
            Err(mpsc::RecvError) => return Err(DatasetError::Panicked { what: maker.rows.made() }),
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

struct Maker<'a> {
    rows: &'a dyn Rows,
    path: &'a Path,
}

impl Maker<'_> {
    fn parquet_error(&self, source: ParquetError) -> DatasetError {
        DatasetError::Parquet { path: self.path.into(), source }
    }

    /// Snappy, and a dictionary only where it holds all values.
    fn properties(&self) -> WriterProperties {
        let builder = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_max_row_group_row_count(Some(GROUP_ROWS as usize));
        let schema = self.rows.schema();
        let column = |builder: WriterPropertiesBuilder, number: usize| {
            let fits = self.rows.dictionary_bytes(number).is_some_and(|bytes| bytes <= DICTIONARY_BYTES);
            builder.set_column_dictionary_enabled(ColumnPath::from(schema.field(number).name().as_str()), fits)
        };
        (0..schema.fields().len()).fold(builder, column).build()
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
                .unwrap_or(Err(DatasetError::Panicked { what: self.rows.made() }));
            if done.send(answer).is_err() {
                return;
            }
        }
    }

    fn encode(&self, task: Task) -> Result<Done, ParquetError> {
        let Task { group, mut columns } = task;
        let schema = self.rows.schema();
        let first = group as u64 * GROUP_ROWS;
        let end = (first + GROUP_ROWS).min(self.rows.count());
        for start in (first..end).step_by(BATCH_ROWS as usize) {
            let arrays = self.rows.batch(start..(start + BATCH_ROWS).min(end))?;
            // No column is nested: one leaf, thus one writer, for each.
            for ((array, field), column) in arrays.iter().zip(schema.fields()).zip(&mut columns) {
                for leaf in compute_leaves(field, array)? {
                    column.write(&leaf)?;
                }
            }
        }
        let chunks = columns.into_iter().map(ArrowColumnWriter::close).collect::<Result<_, _>>()?;
        Ok(Done { group, chunks })
    }
}
