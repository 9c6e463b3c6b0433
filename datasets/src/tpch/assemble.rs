//! One table into one file: parts are generated and row groups encoded on many threads, and put into order on one.
//!
//! In: a table, a scale, a number of threads, an open file. Out: the file, complete. Never: more than a fixed number of
//! parts and row groups in memory; an order that depends on which thread was faster.
//!
//! ```text
//!   Generate(part 1) ─┐  in the order of the     ┌─ Encode(row group 0) ─┐  in the order of the
//!   Generate(part 2) ─┼─ parts, cut to 131,072 ──┼─ Encode(row group 1) ─┼─ row groups, appended ──► file
//!   Generate(part 3) ─┘  rows                    └─ Encode(row group 2) ─┘  by the calling thread
//! ```
//!
//! Why it never waits for nothing: a part is generated only while fewer than `window` parts wait to be cut, a row group
//! is encoded only while fewer than `window` wait to be appended, so memory is bounded; and of what waits, the first
//! one wanted is either here, and is then used at once, or in a thread, and will come.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use arrow::{array::RecordBatch, datatypes::Schema};
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
};

use crate::{
    error::{DatasetError, Made},
    tpch::table::Table,
};

/// Rows of each row group but a table's last.
pub const ROWS_PER_ROW_GROUP: usize = 128 << 10;

/// Most rows of one file: Parquet numbers row groups by an i16.
pub(super) const ROWS_MAX: u64 = (ROWS_PER_ROW_GROUP as u64) << 15;

/// Writes `table` at `scale` into `file` with the work of `threads` threads, at least 1; returns its number of rows.
/// `path` is the file's name in errors.
pub(super) fn write_table(
    table: Table,
    scale: f64,
    threads: usize,
    path: &Path,
    file: File,
) -> Result<u64, DatasetError> {
    let parquet_error = |source| DatasetError::Parquet { path: path.into(), source };
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_statistics_enabled(EnabledStatistics::Page)
        .build();
    let (file_writer, row_groups) = ArrowWriter::try_new(file, table.schema(), Some(properties))
        .and_then(ArrowWriter::into_serialized_writer)
        .map_err(parquet_error)?;

    let job = Job { table, scale, part_count: table.part_count(scale) };
    let (task_sender, task_receiver) = mpsc::channel();
    let (done_sender, done_receiver) = mpsc::channel();
    let tasks = Mutex::new(task_receiver);
    thread::scope(|scope| {
        // Moved in here, so that the threads see the end of their tasks however this closure is left.
        let (task_sender, done_sender) = (task_sender, done_sender);
        for _ in 0..threads {
            let (job, tasks, done_sender) = (&job, &tasks, done_sender.clone());
            thread::Builder::new()
                .name(format!("tpch-{table}"))
                .spawn_scoped(scope, move || job.work(tasks, &done_sender))
                .map_err(|source| DatasetError::Spawn { what: Made::Table(table), source })?;
        }
        drop(done_sender);
        let assembly = Assembly {
            table,
            part_count: job.part_count,
            part_next: 1,
            part_wanted: 1,
            generated: BTreeMap::new(),
            cutter: Cutter::default(),
            group_next: 0,
            group_wanted: 0,
            encoded: BTreeMap::new(),
            window: threads + 1,
            row_groups,
            file_writer,
        };
        assembly.run(&task_sender, &done_receiver, &parquet_error)
    })
}

/// What a thread can be asked for.
enum Task {
    Generate { part: i32 },
    Encode { group: usize, batches: Vec<RecordBatch>, columns: Vec<ArrowColumnWriter> },
}

/// What a thread answers.
enum Done {
    Generated { part: i32, batches: Vec<RecordBatch> },
    Encoded { group: usize, chunks: Result<Vec<ArrowColumnChunk>, ParquetError> },
}

/// What the threads of one table share.
struct Job {
    table: Table,
    scale: f64,
    part_count: i32,
}

impl Job {
    /// A thread's life: until there are no more tasks, or nobody wants the answer.
    fn work(&self, tasks: &Mutex<Receiver<Task>>, done: &Sender<Result<Done, DatasetError>>) {
        loop {
            // A statement of its own: the lock must not be held while the task runs.
            let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(task) = task else { return };
            // Caught, because the calling thread would wait forever for an answer that never comes. Nothing
            // half-changed is seen afterwards: the task owns all that it changes.
            let answer = catch_unwind(AssertUnwindSafe(|| self.do_task(task)))
                .unwrap_or(Err(DatasetError::Panicked { what: Made::Table(self.table) }));
            if done.send(answer).is_err() {
                return;
            }
        }
    }

    fn do_task(&self, task: Task) -> Result<Done, DatasetError> {
        let Self { table, scale, part_count } = *self;
        match task {
            Task::Generate { part } => match table.generate(scale, part, part_count) {
                Ok(batches) => Ok(Done::Generated { part, batches }),
                Err(source) => Err(DatasetError::Generate { table, part, part_count, source }),
            },
            Task::Encode { group, batches, columns } => {
                Ok(Done::Encoded { group, chunks: encode(&table.schema(), &batches, columns) })
            }
        }
    }
}

/// Encodes the rows of one row group; column by column, so that one column's dictionary at a time is hot.
fn encode(
    schema: &Schema,
    batches: &[RecordBatch],
    columns: Vec<ArrowColumnWriter>,
) -> Result<Vec<ArrowColumnChunk>, ParquetError> {
    // No TPC-H column is nested: one leaf, thus one writer, per field.
    debug_assert_eq!(columns.len(), schema.fields().len());
    columns
        .into_iter()
        .enumerate()
        .map(|(index, mut column)| {
            for batch in batches {
                for leaf in compute_leaves(schema.field(index), batch.column(index))? {
                    column.write(&leaf)?;
                }
            }
            column.close()
        })
        .collect()
}

/// The calling thread's side: hands out tasks, puts the answers into order, appends to the file.
struct Assembly {
    table: Table,
    part_count: i32,
    /// The part to be asked for next; parts are counted from 1.
    part_next: i32,
    /// The part to be cut next; `part_next - part_wanted <= window`.
    part_wanted: i32,
    /// Parts that came before their turn; all `>= part_wanted`.
    generated: BTreeMap<i32, Vec<RecordBatch>>,
    cutter: Cutter,
    /// The row group to be encoded next.
    group_next: usize,
    /// The row group to be appended next; `group_next - group_wanted <= window`.
    group_wanted: usize,
    /// Row groups that came before their turn; all `>= group_wanted`.
    encoded: BTreeMap<usize, Vec<ArrowColumnChunk>>,
    /// How far ahead the threads may run: one task each, and one lying ready.
    window: usize,
    row_groups: ArrowRowGroupWriterFactory,
    file_writer: SerializedFileWriter<File>,
}

impl Assembly {
    /// Runs to the end of the table and returns its number of rows.
    fn run(
        mut self,
        tasks: &Sender<Task>,
        done: &Receiver<Result<Done, DatasetError>>,
        parquet_error: &dyn Fn(ParquetError) -> DatasetError,
    ) -> Result<u64, DatasetError> {
        loop {
            self.append_row_groups().map_err(parquet_error)?;
            let cut = self.cut_row_groups().map_err(parquet_error)?;
            let asked = self.ask_for_parts();
            // Row groups first: only they give memory back.
            for task in cut.into_iter().chain(asked) {
                // Fails only when all threads are gone; then receiving fails as well, and tells it.
                let _ = tasks.send(task);
            }
            if self.part_wanted > self.part_count && self.group_wanted == self.group_next {
                let metadata = self.file_writer.close().map_err(parquet_error)?;
                return Ok(metadata.file_metadata().num_rows().unsigned_abs());
            }
            match done.recv() {
                Ok(answer) => match answer? {
                    Done::Generated { part, batches } => drop(self.generated.insert(part, batches)),
                    Done::Encoded { group, chunks } => {
                        drop(self.encoded.insert(group, chunks.map_err(parquet_error)?));
                    }
                },
                // Not reached: a thread catches its panics, and lives until `tasks` is dropped.
                Err(mpsc::RecvError) => return Err(DatasetError::Panicked { what: Made::Table(self.table) }),
            }
        }
    }

    fn append_row_groups(&mut self) -> Result<(), ParquetError> {
        while let Some(chunks) = self.encoded.remove(&self.group_wanted) {
            let mut row_group = self.file_writer.next_row_group()?;
            for chunk in chunks {
                chunk.append_to_row_group(&mut row_group)?;
            }
            row_group.close()?;
            self.group_wanted += 1;
        }
        Ok(())
    }

    /// Cuts as many row groups as there are rows and room for, taking parts in their order.
    fn cut_row_groups(&mut self) -> Result<Vec<Task>, ParquetError> {
        let mut tasks = Vec::new();
        while self.group_next - self.group_wanted < self.window {
            while self.cutter.rows < ROWS_PER_ROW_GROUP
                && let Some(batches) = self.generated.remove(&self.part_wanted)
            {
                batches.into_iter().for_each(|batch| self.cutter.push(batch));
                self.part_wanted += 1;
            }
            let is_last = self.part_wanted > self.part_count;
            if self.cutter.rows < ROWS_PER_ROW_GROUP && !(is_last && self.cutter.rows > 0) {
                break;
            }
            let group = self.group_next;
            let columns = self.row_groups.create_column_writers(group)?;
            tasks.push(Task::Encode { group, batches: self.cutter.cut(ROWS_PER_ROW_GROUP), columns });
            self.group_next += 1;
        }
        Ok(tasks)
    }

    fn ask_for_parts(&mut self) -> Vec<Task> {
        let end = (self.part_wanted + self.window as i32).min(self.part_count + 1).max(self.part_next);
        let parts = self.part_next..end;
        self.part_next = end;
        parts.map(|part| Task::Generate { part }).collect()
    }
}

/// A queue of batches, pushed as they come and cut by rows.
#[derive(Default)]
struct Cutter {
    batches: VecDeque<RecordBatch>,
    /// Sum over `batches`.
    rows: usize,
}

impl Cutter {
    fn push(&mut self, batch: RecordBatch) {
        self.rows += batch.num_rows();
        self.batches.push_back(batch);
    }

    /// The first `rows_max` rows, or all if there are fewer; batches are sliced, not copied.
    fn cut(&mut self, rows_max: usize) -> Vec<RecordBatch> {
        let (mut cut, mut rows_left) = (Vec::new(), rows_max);
        while rows_left > 0
            && let Some(mut batch) = self.batches.pop_front()
        {
            if batch.num_rows() > rows_left {
                self.batches.push_front(batch.slice(rows_left, batch.num_rows() - rows_left));
                batch = batch.slice(0, rows_left);
            }
            rows_left -= batch.num_rows();
            self.rows -= batch.num_rows();
            cut.push(batch);
        }
        cut
    }
}
