//! A table as data, and the same table opened again by another process.
//!
//! In: a table of this process; or its description from the one that planned. Out: the description; or a table whose files are what they were
//! when the plan was made. Never: rows of a file that is no longer the one planned with: its length, its time and its columns must be the
//! same.
//!
//! ```text
//!   driver   Table ──describe──► TableDescription: paths, lengths, times, columns ──in the plan──►
//!   worker   ──► OpenedTables::open: looks at each file, reads the footers it has not read yet ──► Table
//! ```

use std::{
    collections::BTreeMap,
    fs, io,
    path::{self, Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    Table,
    cut::{are_starts, check_fixed},
    table::{Shape, check_same, decode_alike},
};
use crate::{
    batch::{
        Batch,
        datatypes::{Schema, SchemaRef},
    },
    error::{Cause, Error, Kind, Result, bug},
    format::{arrow::ArrowFooter, fixed, parquet::Footer, text},
    limits,
    store::LocalFile,
};

/// What another process needs to know to open a table.
#[derive(Clone, Debug)]
pub struct TableDescription {
    /// As plans show it.
    pub name: String,
    /// Its columns.
    pub schema: SchemaRef,
    /// Columns that are decoded as codes into a dictionary, ascending.
    pub codes: Vec<usize>,
    /// Bytes of a split, where the user has said it.
    pub bytes_per_split: Option<u64>,
    /// Small files of text are put together to splits.
    pub combines_files: bool,
    /// Where its rows are.
    pub rows: TableRows,
}

/// Where a table's rows are, and in which shape.
#[derive(Clone, Debug)]
pub enum TableRows {
    /// Parquet files.
    Parquet(Vec<FileDescription>),
    /// Arrow files.
    Arrow(Vec<FileDescription>),
    /// CSV files.
    Csv(Vec<FileDescription>),
    /// Files of JSON lines.
    Json(Vec<FileDescription>),
    /// Files of lines.
    Text(Vec<FileDescription>),
    /// Files of lines, and where the splits of each start.
    Lines(Vec<FileDescription>, Vec<Vec<u64>>),
    /// Files of records of so many bytes.
    Fixed(Vec<FileDescription>, u32),
    /// Here.
    Memory(Vec<Batch>),
}

/// A file as the process that planned has seen it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDescription {
    /// Where, from the root.
    pub path: PathBuf,
    /// How long.
    pub bytes: u64,
    /// When it was last written to, in whole seconds since 1970.
    pub modified_seconds: Option<i64>,
}

impl Table {
    /// The table as data; paths become absolute.
    pub fn describe(&self) -> Result<TableDescription> {
        let describe = |file: &LocalFile| -> Result<FileDescription> {
            let path = path::absolute(&file.path);
            let path = path.map_err(|source| OpenedError::Absolute { path: file.path.clone(), source })?;
            Ok(FileDescription { path, bytes: file.bytes, modified_seconds: file.modified_seconds() })
        };
        let all = |files: &[LocalFile]| files.iter().map(describe).collect::<Result<Vec<_>>>();
        let rows = match self.shape() {
            Shape::Parquet(files) => {
                TableRows::Parquet(files.iter().map(|(file, _)| describe(file)).collect::<Result<_>>()?)
            }
            Shape::Arrow(files) => {
                TableRows::Arrow(files.iter().map(|(file, _)| describe(file)).collect::<Result<_>>()?)
            }
            Shape::Csv(files) => TableRows::Csv(all(files)?),
            Shape::Json(files) => TableRows::Json(all(files)?),
            Shape::Text(files) => TableRows::Text(all(files)?),
            Shape::Lines(files, starts) => TableRows::Lines(all(files)?, starts.clone()),
            Shape::Fixed(files, record_bytes) => TableRows::Fixed(all(files)?, *record_bytes),
            Shape::Memory(batches) => TableRows::Memory(batches.clone()),
        };
        let (name, schema, codes) = (self.name().to_owned(), Arc::clone(self.schema()), self.codes().to_vec());
        let (bytes_per_split, combines_files) = (self.bytes_per_split(), self.combines_files());
        Ok(TableDescription { name, schema, codes, bytes_per_split, combines_files, rows })
    }
}

/// Opens described tables, and keeps the footers that it has read: those of one file, as long as it stays the same, are read once. Lives as
/// long as a job.
#[derive(Debug)]
pub struct OpenedTables {
    /// This machine, as errors call it.
    host: String,
    footers: Mutex<BTreeMap<LocalFile, Footer>>,
}

impl OpenedTables {
    /// Nothing is open yet; errors name the machine `host`.
    pub fn new(host: impl Into<String>) -> OpenedTables {
        OpenedTables { host: host.into(), footers: Mutex::default() }
    }

    /// As `new`, with the name that the machine has for itself.
    pub fn on_this_host() -> OpenedTables {
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        OpenedTables::new(if name.trim().is_empty() { "this machine" } else { name.trim() })
    }

    /// How many files' footers are kept.
    pub fn footer_count(&self) -> usize {
        self.footers.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The described table, if its files are here what they were there.
    pub fn open(&self, description: &TableDescription) -> Result<Arc<Table>> {
        let TableDescription { name, schema, codes, bytes_per_split, combines_files, rows } = description;
        let shape = match rows {
            TableRows::Parquet(files) => Shape::Parquet(self.parquet(files, schema)?),
            TableRows::Arrow(files) => Shape::Arrow(self.arrow(files, schema)?),
            TableRows::Csv(files) => Shape::Csv(self.look_at_all(files)?),
            TableRows::Json(files) => Shape::Json(self.look_at_all(files)?),
            TableRows::Text(files) => {
                let files = self.look_at_all(files)?;
                self.check_lines(&files, schema)?;
                Shape::Text(files)
            }
            TableRows::Lines(files, starts) => {
                let files = self.look_at_all(files)?;
                self.check_lines(&files, schema)?;
                let fit = files.len() == starts.len() && files.iter().zip(starts).all(|(file, s)| are_starts(s, file));
                if !fit {
                    return Err(bug("scan", format!("splits of {name} that are not in its files")));
                }
                Shape::Lines(files, starts.clone())
            }
            TableRows::Fixed(files, record_bytes) => {
                let files = self.look_at_all(files)?;
                self.check_columns(&files[0].path, schema, &fixed::schema())?;
                check_fixed(&files, *record_bytes)?;
                Shape::Fixed(files, *record_bytes)
            }
            TableRows::Memory(batches) => Shape::Memory(batches.clone()),
        };
        let table = Table::of_shape(name.clone(), Arc::clone(schema), shape);
        let table = table.combined(*combines_files).in_splits_of(*bytes_per_split)?;
        match codes.iter().find(|column| !table.has_codes(**column)) {
            None if codes.is_empty() => Ok(table),
            None => table.with_codes(codes),
            Some(column) => Err(bug("scan", format!("codes of column {column} of {name}, which has none"))),
        }
    }

    fn parquet(&self, files: &[FileDescription], schema: &SchemaRef) -> Result<Vec<(LocalFile, Footer)>> {
        let mut opened: Vec<(LocalFile, Footer)> = Vec::new();
        for file in self.look_at_all(files)? {
            let footer = self.footer(&file)?;
            match opened.first() {
                None => self.check_columns(&file.path, schema, footer.schema())?,
                Some((first, _)) => check_same(&first.path, schema, &file.path, footer.schema())?,
            }
            opened.push((file, footer));
        }
        decode_alike(&mut opened)?;
        Ok(opened)
    }

    fn arrow(&self, files: &[FileDescription], schema: &SchemaRef) -> Result<Vec<(LocalFile, ArrowFooter)>> {
        let mut opened = Vec::new();
        for file in self.look_at_all(files)? {
            let footer = file.open().and_then(|opened| ArrowFooter::read(&opened, &file.path, file.bytes));
            let footer = footer.map_err(|source| self.failed(&file.path, source))?;
            match opened.first() {
                None => self.check_columns(&file.path, schema, footer.schema())?,
                Some((first, _)) => check_same(&LocalFile::clone(first).path, schema, &file.path, footer.schema())?,
            }
            opened.push((file, footer));
        }
        Ok(opened)
    }

    fn footer(&self, file: &LocalFile) -> Result<Footer> {
        let known = || self.footers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(footer) = known().get(file) {
            return Ok(footer.clone());
        }
        let footer = file.open().and_then(|opened| Footer::read(&opened, &file.path, file.bytes));
        let footer = footer.map_err(|source| self.failed(&file.path, source))?;
        known().insert(file.clone(), footer.clone());
        Ok(footer)
    }

    fn look_at_all(&self, files: &[FileDescription]) -> Result<Vec<LocalFile>> {
        if files.is_empty() || files.len() > limits::FILES_PER_TABLE_MAX {
            return Err(bug("scan", format!("a table of {} files was described", files.len())));
        }
        files.iter().map(|file| self.look_at(file)).collect()
    }

    /// The file, if it is the one described.
    fn look_at(&self, described: &FileDescription) -> Result<LocalFile> {
        let file = LocalFile::stat(&described.path).map_err(|source| self.failed(&described.path, source))?;
        let changed = |what, there: String, here: String| OpenedError::Changed {
            path: file.path.clone(),
            host: self.host.clone(),
            what,
            there,
            here,
        };
        if file.bytes != described.bytes {
            return Err(changed("length in bytes", described.bytes.to_string(), file.bytes.to_string()).into());
        }
        if file.modified_seconds() != described.modified_seconds {
            let show = |seconds: Option<i64>| seconds.map_or_else(|| "unknown".to_owned(), |s| s.to_string());
            let (there, here) = (show(described.modified_seconds), show(file.modified_seconds()));
            return Err(changed("time in seconds since 1970", there, here).into());
        }
        Ok(file)
    }

    /// The file's columns are the plan's, by name, type, NULLs and metadata.
    fn check_columns(&self, path: &Path, there: &Schema, here: &Schema) -> Result<()> {
        if there == here {
            return Ok(());
        }
        let columns = there.fields().len().max(here.fields().len());
        let at = (0..columns).find(|at| there.fields().get(*at) != here.fields().get(*at));
        let show = |schema: &Schema| match at {
            None => format!("{:?}", schema.metadata().iter().collect::<BTreeMap<_, _>>()),
            Some(at) => schema.fields().get(at).map_or_else(|| "no column".to_owned(), |field| field.to_string()),
        };
        let what = if at.is_none() { "metadata" } else { "schema" };
        let (there, here) = (show(there), show(here));
        Err(OpenedError::Changed { path: path.to_owned(), host: self.host.clone(), what, there, here }.into())
    }

    /// The columns are those of lines, as text or as bytes.
    fn check_lines(&self, files: &[LocalFile], there: &SchemaRef) -> Result<()> {
        let bytes = text::bytes_schema();
        if *there == bytes { Ok(()) } else { self.check_columns(&files[0].path, there, &text::schema()) }
    }

    fn failed(&self, path: &Path, source: Error) -> OpenedError {
        OpenedError::Open { path: path.to_owned(), host: self.host.clone(), source }
    }
}

/// A file cannot be opened as the plan says.
#[derive(Debug, thiserror::Error)]
enum OpenedError {
    #[error("opening {} on {host}, as the plan says", path.display())]
    Open { path: PathBuf, host: String, source: Error },
    #[error("opening {} on {host}: its {what} is {here} here and {there} in the plan", path.display())]
    Changed { path: PathBuf, host: String, what: &'static str, there: String, here: String },
    #[error("making the path {} absolute", path.display())]
    Absolute { path: PathBuf, source: io::Error },
}

impl Cause for OpenedError {
    fn kind(&self) -> Kind {
        match self {
            OpenedError::Open { source, .. } => source.kind(),
            OpenedError::Changed { .. } | OpenedError::Absolute { .. } => Kind::Request,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            OpenedError::Open { source, .. } if source.kind() == Kind::Request => {
                Some("every worker must see the path: put the files into a folder that all of them share".to_owned())
            }
            OpenedError::Open { source, .. } => source.hint(),
            OpenedError::Changed { .. } => Some(
                "every worker must see the same file, at rest: share the folder, or copy the files with their times"
                    .to_owned(),
            ),
            OpenedError::Absolute { .. } => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::{
        fs::File,
        time::{Duration, SystemTime},
    };

    use parquet::{file::writer::SerializedFileWriter, schema::parser::parse_message_type};

    use super::*;
    use crate::{
        batch::{
            array::{ArrayRef, Decimal128Array, Int32Array, Int64Array, StringArray},
            datatypes::{DataType, Field},
        },
        format::{Encode, parquet::ParquetEncoder},
    };

    fn write_parquet(path: &Path, column: ArrayRef) {
        let batch = Batch::try_from_iter([("n", column)]).unwrap();
        let mut encoder = Box::new(ParquetEncoder::new(&batch.schema()).unwrap());
        encoder.push(&batch).unwrap();
        fs::write(path, encoder.finish().unwrap()).unwrap();
    }

    fn opened() -> OpenedTables {
        OpenedTables::new("worker-3")
    }

    #[test]
    fn files_with_other_decimals_are_decoded_alike_wherever_they_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let short = Decimal128Array::from(vec![5]).with_precision_and_scale(12, 2).unwrap();
        write_parquet(&path("a.parquet"), Arc::new(short));
        let long = parse_message_type("message m { required fixed_len_byte_array(13) n (DECIMAL(12,2)); }").unwrap();
        let file = File::create(path("b.parquet")).unwrap();
        SerializedFileWriter::new(file, Arc::new(long), Arc::default()).unwrap().close().unwrap();
        for (files, decoded) in [("a.parquet", DataType::Decimal64(12, 2)), ("*.parquet", DataType::Decimal128(12, 2))]
        {
            let table = Table::open(path(files).to_str().unwrap()).unwrap();
            let again = opened().open(&table.describe().unwrap()).unwrap();
            for table in [table, again] {
                assert_eq!(table.schema().field(0).data_type(), &DataType::Decimal128(12, 2));
                assert_eq!(table.decoded_schema().field(0).data_type(), &decoded, "{files}");
            }
        }
    }

    #[test]
    fn codes_are_codes_wherever_they_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        write_parquet(&path, Arc::new(StringArray::from(vec!["x", "y", "x"])));
        let table = Table::open(path.to_str().unwrap()).unwrap();
        assert!(table.has_codes(0) && !table.has_codes(1));
        let again = opened().open(&table.with_codes(&[0]).unwrap().describe().unwrap()).unwrap();
        let codes = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        assert_eq!((again.codes(), again.decoded_schema().field(0).data_type()), (&[0][..], &codes));
        assert_eq!(again.schema(), table.schema());
        let beyond = TableDescription { codes: vec![1], ..table.describe().unwrap() };
        let error = opened().open(&beyond).unwrap_err().to_string();
        assert!(error.contains("codes of column 1 of a"), "{error}");
    }

    #[test]
    fn tables_are_opened_as_described() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        write_parquet(&path("a.parquet"), Arc::new(Int64Array::from(vec![1, 2])));
        write_parquet(&path("b.parquet"), Arc::new(Int64Array::from(vec![3])));
        fs::write(path("c.csv"), "x,y\n1,a\n").unwrap();
        fs::write(path("d.txt"), "one\n").unwrap();
        fs::write(path("e.jsonl"), "{\"x\":1}\n").unwrap();
        let pattern = path("*.parquet");
        let opened = opened();
        for table in [
            Table::open(pattern.to_str().unwrap()).unwrap(),
            Table::open(path("c.csv").to_str().unwrap()).unwrap(),
            Table::open(path("e.jsonl").to_str().unwrap()).unwrap(),
            Table::open_text(path("d.txt").to_str().unwrap()).unwrap(),
            Table::open_lines(path("d.txt").to_str().unwrap(), 1).unwrap(),
            Table::open_fixed(path("d.txt").to_str().unwrap(), 1).unwrap(),
            Table::open_text(path("d.txt").to_str().unwrap()).unwrap().of_bytes().combined(true),
            Table::open_text(path("*").to_str().unwrap()).unwrap().combined(true),
            Table::open_lines(path("d.txt").to_str().unwrap(), 1).unwrap().of_bytes(),
            Table::open_fixed(path("d.txt").to_str().unwrap(), 2).unwrap().in_splits_of(Some(3)).unwrap(),
            Table::open(path("e.jsonl").to_str().unwrap()).unwrap().in_splits_of(Some(3)).unwrap(),
        ] {
            let again = opened.open(&table.describe().unwrap()).unwrap();
            assert_eq!((again.name(), again.schema(), again.bytes()), (table.name(), table.schema(), table.bytes()));
            assert_eq!((again.splits(), again.combines_files()), (table.splits(), table.combines_files()));
            assert_eq!(format!("{:?}", again.describe().unwrap()), format!("{:?}", table.describe().unwrap()));
        }
    }

    #[test]
    fn a_footer_is_read_once_until_its_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        write_parquet(&path, Arc::new(Int64Array::from(vec![1, 2])));
        let opened = opened();
        let describe = || Table::open(path.to_str().unwrap()).unwrap().describe().unwrap();
        for _ in 0..3 {
            opened.open(&describe()).unwrap();
            assert_eq!(opened.footer_count(), 1);
        }
        write_parquet(&path, Arc::new(Int64Array::from((0..1_000).collect::<Vec<_>>())));
        assert_eq!(opened.open(&describe()).unwrap().statistics().rows, 1_000.0);
        assert_eq!(opened.footer_count(), 2);
    }

    #[test]
    fn a_missing_file_names_the_path_the_host_and_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        fs::write(&path, "one\n").unwrap();
        let description = Table::open_text(path.to_str().unwrap()).unwrap().describe().unwrap();
        fs::remove_file(&path).unwrap();
        let error = opened().open(&description).unwrap_err();
        assert_eq!(error.kind(), Kind::Request);
        assert!(
            error.to_string().contains(path.to_str().unwrap()) && error.to_string().contains("worker-3"),
            "{error}"
        );
        assert!(error.hint().unwrap().contains("every worker must see the path"));
    }

    #[test]
    fn a_file_that_changed_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        write_parquet(&path, Arc::new(Int64Array::from(vec![1, 2])));
        let table = Table::open(path.to_str().unwrap()).unwrap();
        let description = table.describe().unwrap();
        let says = |description: &TableDescription, words: &str| {
            let error = opened().open(description).unwrap_err();
            assert_eq!(error.kind(), Kind::Request);
            let text = error.to_string();
            assert!(text.contains(words) && text.contains("a.parquet on worker-3"), "{text}");
            assert!(error.hint().unwrap().contains("the same file"));
        };
        let field = |data_type| Arc::new(Schema::new(vec![Field::new("n", data_type, false)]));
        says(&TableDescription { schema: field(DataType::Int32), ..description.clone() }, "its schema is");
        let metadata = [("k".to_owned(), "v".to_owned())].into_iter().collect();
        let schema = Arc::new(Schema::clone(&description.schema).with_metadata(metadata));
        says(
            &TableDescription { schema, ..description.clone() },
            "its metadata is {} here and {\"k\": \"v\"} in the plan",
        );

        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_millis(5_500)).unwrap();
        says(&description, "its time in seconds since 1970 is 5 here");
        file.set_modified(SystemTime::UNIX_EPOCH - Duration::from_millis(5_500)).unwrap();
        says(&description, "its time in seconds since 1970 is -6 here");
        write_parquet(&path, Arc::new(Int32Array::from(vec![1; 100])));
        says(&description, "its length in bytes is");
    }

    #[test]
    fn what_is_no_table_any_more_names_the_host() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        fs::write(&path, "no footer stands at the end of this").unwrap();
        let file = LocalFile::stat(&path).unwrap();
        let file = FileDescription { path, bytes: file.bytes, modified_seconds: file.modified_seconds() };
        let rows = TableRows::Parquet(vec![file]);
        let (name, schema, codes) = ("a".to_owned(), text::schema(), Vec::new());
        let description = TableDescription { name, schema, codes, bytes_per_split: None, combines_files: false, rows };
        let error = opened().open(&description).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.to_string().contains("worker-3"), "{error}");
        let nothing = TableDescription { rows: TableRows::Csv(Vec::new()), ..description };
        assert!(opened().open(&nothing).is_err());
    }
}
