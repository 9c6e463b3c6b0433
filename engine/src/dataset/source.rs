//! Where flows begin: files, vectors, statements.

use std::sync::Arc;

use super::{
    error::DatasetError,
    flow::Dataset,
    record::{Record, build_batch, schema_of},
    session::Session,
};
use crate::{
    batch::Batch,
    error::Result,
    plan::logical::{Logical, Node, Scan},
    scan::Table,
    sql::Planned,
};

/// What a line can be: a `String`, or a `Vec<u8>` where lines may be no UTF-8.
pub trait Line: Record {
    #[doc(hidden)]
    fn of(table: Arc<Table>) -> Arc<Table>;
}

impl Line for String {
    fn of(table: Arc<Table>) -> Arc<Table> {
        table
    }
}

impl Line for Vec<u8> {
    fn of(table: Arc<Table>) -> Arc<Table> {
        table.of_bytes()
    }
}

impl Session {
    /// The lines of the text file, the folder's files or those that match the pattern.
    pub fn read_text(&self, path: &str) -> Result<Dataset<String>> {
        self.read(Table::open_text(path)?)
    }

    /// As [`Session::read_text`], the lines as bytes: what is no UTF-8 is no error.
    pub fn read_text_bytes(&self, path: &str) -> Result<Dataset<Vec<u8>>> {
        self.read(Table::open_text(path)?.of_bytes())
    }

    /// The lines of text files, `lines` of them a split: what a mapper of [`mapreduce`](crate::mapreduce) sees in one life. The files are read once
    /// to find where splits begin.
    pub fn read_text_by_lines(&self, path: &str, lines: u64) -> Result<Dataset<String>> {
        self.read(Table::open_lines(path, lines)?)
    }

    /// The lines of many small text files, as many files a split as have its bytes together ([`Session::set_split_bytes`]): a mapper of
    /// [`mapreduce`](crate::mapreduce) sees all their lines in one life, and is told the first one of the files. A line never crosses files. A file that is
    /// longer than a split is cut as ever.
    pub fn read_text_combined<T: Line>(&self, path: &str) -> Result<Dataset<T>> {
        self.read(T::of(Table::open_text(path)?.combined(true)))
    }

    /// The records of `record_bytes` each of files of bytes: of the file, the folder or the pattern.
    pub fn read_fixed(&self, path: &str, record_bytes: u32) -> Result<Dataset<Vec<u8>>> {
        self.read(Table::open_fixed(path, record_bytes)?)
    }

    /// The rows of Parquet files: of the file, the folder or the pattern.
    pub fn read_parquet(&self, path: &str) -> Result<Dataset<Batch>> {
        self.read(Table::open(path)?)
    }

    /// The rows of CSV files with a header line: of the file, the folder or the pattern.
    pub fn read_csv(&self, path: &str) -> Result<Dataset<Batch>> {
        self.read(Table::open(path)?)
    }

    /// The rows of files of JSON, an object a line: of the file, the folder or the pattern.
    pub fn read_json(&self, path: &str) -> Result<Dataset<Batch>> {
        self.read(Table::open(path)?)
    }

    /// The rows of Arrow's IPC files: of the file, the folder or the pattern.
    pub fn read_arrow(&self, path: &str) -> Result<Dataset<Batch>> {
        self.read(Table::open(path)?)
    }

    /// The rows of a statement over this session's tables and files, to go on with.
    pub fn sql(&self, statement: &str) -> Result<Dataset<Batch>> {
        match self.plan_sql(statement)? {
            Planned::Query(logical) => Ok(Dataset::new(self.clone(), logical)),
            Planned::Write(_) => Err(DatasetError::CopyInFlow.into()),
            Planned::Explain(_) | Planned::ExplainAnalyze(_) => Err(DatasetError::ExplainInFlow.into()),
        }
    }

    /// Rows that the program holds.
    pub fn from_vec<T: Record>(&self, rows: Vec<T>) -> Result<Dataset<T>> {
        let schema = schema_of::<T>();
        let mut batches = Vec::new();
        for chunk in rows.chunks(self.settings().rows_per_morsel) {
            let mut builder = T::builder(chunk.len());
            chunk.iter().for_each(|row| T::append(&mut builder, row.as_view()));
            batches.push(build_batch::<T>(builder, &schema)?);
        }
        Ok(Dataset::new(self.clone(), Logical { node: Node::Values(batches), schema }))
    }
}

impl Session {
    /// All rows and columns of a table of files, in the session's splits.
    fn read<T>(&self, table: Arc<Table>) -> Result<Dataset<T>> {
        Ok(Dataset::new(self.clone(), scan(table.in_splits_of(self.split_bytes())?)))
    }
}

/// All rows and columns of a table.
pub(super) fn scan(table: Arc<Table>) -> Logical {
    let schema = Arc::clone(table.schema());
    let columns = (0..schema.fields().len()).collect();
    Logical { node: Node::Scan(Scan { table, columns, filters: Vec::new() }), schema }
}
