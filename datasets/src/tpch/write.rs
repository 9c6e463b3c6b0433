//! Which TPC-H files to write, and the promise that none of them appears before all are complete.
//!
//! In: [`TpchOptions`]. Out: the files, complete. Never: a file under its name before every
//! file is complete; only a failing rename, after all the work, can leave the files renamed before it.

use std::{fs::File, path::PathBuf};

use crate::{
    error::DatasetError,
    output::{Output, Written},
    tpch::{
        assemble::{ROWS_MAX, write_table},
        table::{SCALE_MAX, SCALE_MIN, Table},
    },
};

/// Most threads that may generate; each adds about two parts and two row groups (some 100 MB of lineitem) to the memory
/// used.
pub const THREADS_MAX: usize = 256;

/// Which tables to write, how large, and where.
#[derive(Clone, Debug)]
pub struct TpchOptions {
    /// The scale factor, [`SCALE_MIN`]`..=`[`SCALE_MAX`]: 1 is about 1 GB as text and 0.35 GB as these files.
    pub scale: f64,
    /// The folder; made if it is missing.
    pub out: PathBuf,
    /// Threads that generate and encode, `1..=`[`THREADS_MAX`]; the calling thread only appends to the file.
    pub threads: usize,
    /// The tables; written in the order of [`Table::ALL`], each once.
    pub tables: Vec<Table>,
    /// Whether files in that place are replaced instead of refused.
    pub overwrite: bool,
}

impl TpchOptions {
    /// All tables at `scale` into the folder `out`, on one thread, replacing nothing.
    pub fn new(scale: f64, out: impl Into<PathBuf>) -> Self {
        Self { scale, out: out.into(), threads: 1, tables: Table::ALL.to_vec(), overwrite: false }
    }
}

/// Writes `OUT/NAME.parquet` for each table: Snappy, dictionaries, statistics of chunks and pages, row groups of
/// [`crate::ROWS_PER_ROW_GROUP`] rows. Keys are Int64, money Decimal128(15, 2), dates Date32, texts Utf8View (a plain
/// string to other readers); nothing is null. Takes about 300 MB for dbgen's pool of texts, and per thread what
/// [`THREADS_MAX`] says.
///
/// The files take their names one after the other when all are complete; returns what was written, in the order of
/// [`Table::ALL`].
///
/// # Errors
/// [`DatasetError::Scale`], [`DatasetError::Threads`] and [`DatasetError::TooManyRows`] before anything is touched,
/// [`DatasetError::Exists`] before anything is generated; then those of files, of the Parquet writer and of the
/// generator. No temporary file is left; a folder that was made stays.
pub fn write_tpch(options: &TpchOptions) -> Result<Vec<Written>, DatasetError> {
    // A NaN is in no range.
    if !(SCALE_MIN..=SCALE_MAX).contains(&options.scale) {
        return Err(DatasetError::Scale { scale: options.scale, min: SCALE_MIN, max: SCALE_MAX });
    }
    if !(1..=THREADS_MAX).contains(&options.threads) {
        return Err(DatasetError::Threads { threads: options.threads, max: THREADS_MAX });
    }
    let tables: Vec<Table> = Table::ALL.into_iter().filter(|table| options.tables.contains(table)).collect();
    for &table in &tables {
        let rows_about = table.rows_about(options.scale);
        // An order has four lines on average, at these sizes to much better than 1 %.
        if rows_about + rows_about / 100 > ROWS_MAX {
            return Err(DatasetError::TooManyRows { table, rows_about, rows_max: ROWS_MAX });
        }
    }
    let created: Vec<(Table, Output, File)> = tables
        .into_iter()
        .map(|table| {
            let path = options.out.join(format!("{table}.parquet"));
            let (output, file) = Output::create(&path, options.overwrite)?;
            Ok((table, output, file))
        })
        .collect::<Result<_, DatasetError>>()?;
    let complete: Vec<(Output, u64)> = created
        .into_iter()
        .map(|(table, output, file)| {
            let rows = write_table(table, options.scale, options.threads, output.path(), file)?;
            Ok((output, rows))
        })
        .collect::<Result<_, DatasetError>>()?;
    complete.into_iter().map(|(output, rows)| output.publish(rows)).collect()
}
