//! Every bound of the engine: its unit, where the number comes from, and what must hold between them.
//!
//! A queue, a retry, a window or a length read from outside without a line here is a mistake. Lengths of formats stand in
//! the module that draws the format, beside the drawing.

/// Fewest rows of a morsel. Below it the cost of handing out a morsel is more than its work; tests go down to here.
pub const ROWS_PER_MORSEL_MIN: usize = 1;
/// Most rows of a morsel: row numbers inside a batch are `u32`, and a batch must fit in cache several times over.
pub const ROWS_PER_MORSEL_MAX: usize = 1 << 20;
/// Rows of a morsel unless set: 16 columns of 8 bytes are 2 MiB, what one core's L2 holds twice.
pub const ROWS_PER_MORSEL: usize = 16_384;

/// Most threads of one node.
pub const THREADS_MAX: usize = 1_024;
/// Threads that do file I/O: blocked in the kernel most of the time, so few are enough to keep one disk busy.
pub const IO_THREADS: usize = 2;
/// Requests that may wait for an I/O thread; a scan asks for far fewer (see [`SPLITS_AHEAD`]).
pub const IO_QUEUE: usize = 4_096;
/// Splits a scan reads ahead of each thread that works on it: with two, threads waited for bytes in half of a scan's time.
pub const SPLITS_AHEAD: usize = 4;
/// Of the budget the share that splits hold which are read ahead and not claimed yet; the first of them may hold more.
pub const READ_AHEAD_SHARE: u64 = 8;
/// Most bytes of buffers that are kept to be read into again: the columns of a few row groups on their way.
pub const READ_BUFFERS_BYTES: usize = 32 << 20;
/// Largest piece of one positioned read.
pub const READ_BYTES_MAX: usize = 16 << 20;

/// Rows of a split of a file of text, JSON lines or CSV, in bytes of the file: enough that opening it does not count, and few enough that what is read
/// ahead is still in the cache when it is decoded.
pub const TEXT_SPLIT_BYTES: u64 = 2 << 20;
/// Most bytes of a split that the user has said: it is read at once, and views point into it with 32 bits.
pub const SPLIT_BYTES_MAX: u64 = 1 << 30;
/// Most bytes of a split of CSV or JSON, whatever the user has said: a place in it must fit a cell, with the longest records at its ends.
pub const RECORDS_SPLIT_BYTES_MAX: u64 = 32 << 20;
/// Bytes of a CSV file that a thread takes at once. Every thread holds one while it decodes: with little memory they must fit beside what
/// operators hold.
pub const CSV_PIECE_BYTES: u64 = 1 << 20;
/// Morsels of a piece of a row group, about: small row groups keep all threads busy, and what a piece costs by itself does not count.
pub const MORSELS_PER_PIECE: u64 = 8;
/// Longest line of a text file, longest record of JSON; a file with a longer one is not what its name says.
pub const LINE_BYTES_MAX: usize = 64 << 20;
/// Largest footer of a Parquet file that is read at all: the length comes from outside.
pub const PARQUET_FOOTER_BYTES_MAX: u64 = 256 << 20;
/// Largest footer of an Arrow file that is read at all: the length comes from outside.
pub const ARROW_FOOTER_BYTES_MAX: u64 = 64 << 20;
/// Longest page index of a Parquet file that is read: its length comes from outside, and all of it is held while the table is open. That of a file
/// of 100 GB with pages of 20 000 rows; row groups of a file with a longer one are not cut, of which it has many.
pub const PAGE_INDEX_BYTES_MAX: u64 = 128 << 20;
/// Longest dictionary page, without compression, of a column that is kept as codes: with more values than a batch has rows, what is done once a
/// value is no less work than once a row.
pub const DICTIONARY_BYTES_MAX: u32 = 32 << 10;
/// Rows of a Parquet row group for each run of rows that is left by its tests, for skipping the others to be worth it: with fewer, all are
/// decoded and then filtered.
pub const ROWS_PER_SKIP: usize = 64;
/// Rows of the longest row group that is tested whole before anything of it is given: what is kept of its tested columns until then is held
/// beside the budget, 16 MiB for a column of views.
pub const ROWS_TESTED_AHEAD: u64 = 1 << 20;
/// Bytes of a CSV or JSON file that are read to find its columns' types.
pub const SAMPLE_BYTES: u64 = 4 << 20;
/// Rows of a CSV or JSON file that are looked at to find its columns' types.
pub const SAMPLE_ROWS: usize = 20_000;
/// Most keys that the objects of a JSON file may have, all different ones together: each is a column.
pub const JSON_KEYS_MAX: usize = 10_000;
/// Bytes of the files beside its input that a MapReduce job reads into the memory of each process, beside the budget.
pub const SIDE_FILES_BYTES_MAX: u64 = 256 << 20;
/// Most splits of a table whose splits the user has said: of each the plan says where it starts, or the coordinator how long it is.
pub const SPLITS_PER_TABLE_MAX: usize = 1 << 20;
/// Most files of one table.
pub const FILES_PER_TABLE_MAX: usize = 100_000;

/// Bytes that may wait for the disk before the one who writes files is told to wait.
pub const APPEND_BYTES_MAX: usize = 32 << 20;
/// Files that a task writes at once to the folders of a partitioned output; the one that was used longest ago is ended for another. Their
/// bytes on the way to the disk share [`APPEND_BYTES_MAX`].
pub const OPEN_PARTS_MAX: usize = 64;
/// Most files that a task writes.
pub const PARTS_PER_TASK_MAX: u32 = 100_000;
/// Largest manifest of what a task of a cluster has written: the folders of some ten thousand files. The coordinator keeps it with the job.
pub const MANIFEST_BYTES_MAX: usize = 1 << 20;
/// Of the budget the share that a task's files hold before the largest is relieved.
pub const ENCODERS_SHARE: u64 = 4;

/// Longest line that a program of a streaming job may print.
pub const STREAMED_LINE_BYTES_MAX: usize = 128 << 20;

/// Most relations whose join order is searched exhaustively (3^n steps); above it the order is greedy.
pub const JOIN_ORDER_EXHAUSTIVE_MAX: usize = 10;
/// Deepest nesting of a query's plan and expressions that is walked by recursion.
pub const PLAN_DEPTH_MAX: usize = 512;
/// Longest SQL text.
pub const SQL_BYTES_MAX: usize = 4 << 20;

/// Memory of a job unless set: what nearly every laptop has free, and less than the machines of the tests.
pub const MEMORY_FRACTION: f64 = 0.75;
/// Least memory a session accepts.
pub const MEMORY_BYTES_MIN: u64 = 1 << 20;
/// Most folders for what memory does not hold: more than disks in a machine.
pub const SPILL_FOLDERS_MAX: usize = 64;

const _: () = assert!(ROWS_PER_MORSEL_MIN <= ROWS_PER_MORSEL && ROWS_PER_MORSEL <= ROWS_PER_MORSEL_MAX);
const _: () = assert!(ROWS_PER_MORSEL_MAX <= u32::MAX as usize);
const _: () = assert!(TEXT_SPLIT_BYTES <= RECORDS_SPLIT_BYTES_MAX && RECORDS_SPLIT_BYTES_MAX <= SPLIT_BYTES_MAX);
const _: () = assert!(SPLIT_BYTES_MAX + LINE_BYTES_MAX as u64 <= i32::MAX as u64);
const _: () = assert!(THREADS_MAX * SPLITS_AHEAD <= IO_QUEUE);
