//! A table: files of one shape and one schema, or rows in memory.
//!
//! In: a path: a file, a folder, a pattern. Out: the schema, the splits, the statistics. Never: reads rows.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use super::{Split, TableStatistics, filter::Tested, split, statistics};
use crate::{
    batch::{
        Batch,
        datatypes::{DataType, SchemaRef},
    },
    error::{Cause, Kind, Result, bug},
    format::{
        Decode, Selected,
        arrow::{ArrowFooter, BatchDecoder},
        csv,
        fixed::FixedDecoder,
        json,
        parquet::{Footer, RowGroupDecoder},
        text::{self, TextDecoder},
    },
    limits,
    store::{LocalFile, expand},
};

/// Files of one shape, or rows in memory.
#[derive(Clone)]
pub struct Table {
    name: String,
    schema: SchemaRef,
    shape: Shape,
    statistics: OnceLock<TableStatistics>,
    /// Of each column, once somebody has asked, the values of a dictionary of it.
    distinct: Arc<[OnceLock<Option<usize>>]>,
    /// Columns that are decoded as codes into a dictionary, ascending.
    codes: Vec<usize>,
    /// Bytes of a split, where the user has said it.
    pub(super) bytes_per_split: Option<u64>,
    /// Small files of text are put together to splits.
    combines_files: bool,
}

/// How the rows stand there.
#[derive(Clone)]
pub(super) enum Shape {
    Parquet(Vec<(LocalFile, Footer)>),
    Arrow(Vec<(LocalFile, ArrowFooter)>),
    Csv(Vec<LocalFile>),
    Json(Vec<LocalFile>),
    Text(Vec<LocalFile>),
    /// Text, and where the splits of each file start.
    Lines(Vec<LocalFile>, Vec<Vec<u64>>),
    /// Records of so many bytes.
    Fixed(Vec<LocalFile>, u32),
    Memory(Vec<Batch>),
}

impl Table {
    /// The table at `path`: a file, all files of a folder, or those that match a pattern with `*`. The ending tells the shape
    /// (`.parquet`, `.csv`, `.jsonl`, `.txt`, `.arrow`); without one that is known the first bytes must be Parquet's.
    pub fn open(path: &str) -> Result<Arc<Table>> {
        let files = expand(path)?;
        let files = files.iter().map(|file| LocalFile::stat(file)).collect::<Result<Vec<_>>>()?;
        let ending = |file: &LocalFile| {
            file.path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase).unwrap_or_default()
        };
        let first = &files[0];
        let (schema, shape) = match ending(first).as_str() {
            "csv" => Table::open_csv(files)?,
            "json" | "jsonl" | "ndjson" => Table::open_json(files)?,
            "txt" | "text" => (text::schema(), Shape::Text(files)),
            "arrow" | "ipc" | "feather" => Table::open_arrow(files)?,
            "parquet" | "pq" => Table::open_parquet(files)?,
            _ if starts_as_parquet(first)? => Table::open_parquet(files)?,
            _ => return Err(TableError::UnknownShape { path: first.path.clone() }.into()),
        };
        let name = Path::new(path).file_stem().and_then(|stem| stem.to_str()).unwrap_or(path).to_owned();
        Ok(Table::of_shape(name, schema, shape))
    }

    /// The lines of the text file or files at `path`, whatever their endings.
    pub fn open_text(path: &str) -> Result<Arc<Table>> {
        let files = expand(path)?.iter().map(|file| LocalFile::stat(file)).collect::<Result<Vec<_>>>()?;
        Ok(Table::of_shape(path.to_owned(), text::schema(), Shape::Text(files)))
    }

    /// The same lines as bytes, whatever they are: of text that is no UTF-8. Of tables of text.
    pub fn of_bytes(self: Arc<Table>) -> Arc<Table> {
        let mut table = Arc::unwrap_or_clone(self);
        table.schema = text::bytes_schema();
        Arc::new(table)
    }

    /// The same lines, in splits of as many small files as have the bytes of one split together; if it is said.
    pub fn combined(self: Arc<Table>, combines_files: bool) -> Arc<Table> {
        let mut table = Arc::unwrap_or_clone(self);
        table.combines_files = combines_files;
        Arc::new(table)
    }

    /// A table of rows in memory.
    pub fn of_batches(name: &str, schema: SchemaRef, batches: Vec<Batch>) -> Arc<Table> {
        Table::of_shape(name.to_owned(), schema, Shape::Memory(batches))
    }

    pub(super) fn of_shape(name: String, schema: SchemaRef, shape: Shape) -> Arc<Table> {
        let distinct = schema.fields().iter().map(|_| OnceLock::new()).collect();
        Arc::new(Table {
            name,
            schema,
            shape,
            statistics: OnceLock::new(),
            distinct,
            codes: Vec::new(),
            bytes_per_split: None,
            combines_files: false,
        })
    }

    /// Whether its files have this column as codes into short dictionaries.
    pub fn has_codes(&self, column: usize) -> bool {
        match &self.shape {
            Shape::Parquet(files) => files.iter().all(|(_, footer)| footer.has_codes(column)),
            _ => false,
        }
    }

    /// The same rows, in which these columns, of those that [`Table::has_codes`], are codes into a dictionary; ascending.
    pub fn with_codes(&self, codes: &[usize]) -> Result<Arc<Table>> {
        let Shape::Parquet(files) = &self.shape else { return Err(bug("scan", "codes of files that have none")) };
        let with_codes = |(file, footer): &(LocalFile, Footer)| -> Result<_> {
            Ok((file.clone(), footer.with_codes(codes, &file.path)?))
        };
        let files = files.iter().map(with_codes).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(Table {
            name: self.name.clone(),
            schema: Arc::clone(&self.schema),
            shape: Shape::Parquet(files),
            statistics: self.statistics.clone(),
            distinct: Arc::clone(&self.distinct),
            codes: codes.to_vec(),
            bytes_per_split: self.bytes_per_split,
            combines_files: self.combines_files,
        }))
    }

    /// Columns that are decoded as codes into a dictionary, ascending.
    pub fn codes(&self) -> &[usize] {
        &self.codes
    }

    /// A table without rows.
    pub fn empty(name: &str, schema: SchemaRef) -> Arc<Table> {
        Table::of_batches(name, schema, Vec::new())
    }

    /// Its name, as plans show it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Its columns as they are decoded: decimals of Parquet of at most 18 digits in 64 bits, codes where they were asked for.
    pub fn decoded_schema(&self) -> &SchemaRef {
        match &self.shape {
            Shape::Parquet(files) => files.first().map_or(&self.schema, |(_, footer)| footer.decoded_schema()),
            _ => &self.schema,
        }
    }

    /// What is known of its rows without reading them.
    pub fn statistics(&self) -> &TableStatistics {
        self.statistics.get_or_init(|| statistics::of(&self.schema, &self.shape))
    }

    /// How many different values a column of short dictionaries has, as the first dictionary of it tells; nothing of other columns.
    pub fn distinct(&self, column: usize) -> Option<usize> {
        let Shape::Parquet(files) = &self.shape else { return None };
        let (file, footer) = files.first()?;
        let told = || self.has_codes(column).then(|| footer.dictionary_values(column, &file.open().ok()?)).flatten();
        *self.distinct.get(column)?.get_or_init(told)
    }

    /// The splits, in order of (file, offset).
    pub fn splits(&self) -> Vec<Split> {
        split::splits(self)
    }

    /// Bytes of a split, where the user has said it.
    pub fn bytes_per_split(&self) -> Option<u64> {
        self.bytes_per_split
    }

    /// Whether small files of text are put together to splits.
    pub fn combines_files(&self) -> bool {
        self.combines_files
    }

    /// The rows, if they are in memory.
    pub fn batches(&self) -> Option<&[Batch]> {
        match &self.shape {
            Shape::Memory(batches) => Some(batches),
            _ => None,
        }
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        match &self.shape {
            Shape::Parquet(files) => files.iter().map(|(file, _)| file.bytes).sum(),
            Shape::Arrow(files) => files.iter().map(|(file, _)| file.bytes).sum(),
            Shape::Csv(files)
            | Shape::Json(files)
            | Shape::Text(files)
            | Shape::Lines(files, _)
            | Shape::Fixed(files, _) => files.iter().map(|file| file.bytes).sum(),
            Shape::Memory(_) => 0,
        }
    }

    /// The file that a split reads, or reads first.
    pub(super) fn file(&self, split: &Split) -> Option<&LocalFile> {
        match &self.shape {
            Shape::Parquet(files) => files.get(split.file()).map(|(file, _)| file),
            Shape::Arrow(files) => files.get(split.file()).map(|(file, _)| file),
            Shape::Csv(files)
            | Shape::Json(files)
            | Shape::Text(files)
            | Shape::Lines(files, _)
            | Shape::Fixed(files, _) => files.get(split.file()),
            Shape::Memory(_) => None,
        }
    }

    /// Bytes of these columns in a split.
    pub(super) fn split_bytes(&self, split: &Split, columns: &[usize]) -> u64 {
        match (&self.shape, split) {
            (Shape::Parquet(files), Split::RowGroup { file, row_group, .. }) => {
                files.get(*file).map_or(0, |(_, footer)| footer.bytes(*row_group, columns))
            }
            (Shape::Arrow(files), Split::RowGroup { file, row_group, .. }) => {
                files.get(*file).map_or(0, |(_, footer)| footer.bytes(*row_group))
            }
            (_, Split::Bytes { range, .. }) => range.end - range.start,
            (Shape::Text(all), Split::Files { files }) => {
                all.get(files.clone()).unwrap_or_default().iter().map(|file| file.bytes).sum()
            }
            _ => 0,
        }
    }

    /// A decoder for what is `selected` of `split`, of several files for the first one. `None` for rows in memory.
    pub(super) fn decoder(&self, split: &Split, selected: &Selected) -> Result<Option<Box<dyn Decode>>> {
        let rows = selected.rows_per_batch;
        Ok(match (&self.shape, split) {
            (Shape::Parquet(files), Split::RowGroup { file, row_group, rows }) => {
                let (file, footer) = &files[*file];
                Some(Box::new(RowGroupDecoder::new(file.path.clone(), footer, *row_group, rows, selected)?))
            }
            (Shape::Arrow(files), Split::RowGroup { file, row_group, .. }) => {
                let (file, footer) = &files[*file];
                let decoder = BatchDecoder::new(file.path.clone(), footer, *row_group, &selected.columns, rows)?;
                Some(Box::new(Tested::new(decoder, selected)))
            }
            (Shape::Csv(files), Split::Bytes { file, range }) => {
                let file = &files[*file];
                let (path, range, columns) = (file.path.clone(), range.clone(), &selected.columns);
                let decoder = csv::decoder(path, file.bytes, range, &self.schema, columns, rows)?;
                Some(Box::new(Tested::new(decoder, selected)))
            }
            (Shape::Json(files), Split::Bytes { file, range }) => {
                let file = &files[*file];
                let (path, range, columns) = (file.path.clone(), range.clone(), &selected.columns);
                let decoder = json::decoder(path, file.bytes, range, &self.schema, columns, rows)?;
                Some(Box::new(Tested::new(decoder, selected)))
            }
            (Shape::Fixed(_, record_bytes), Split::Bytes { range, .. }) => {
                Some(Box::new(Tested::new(FixedDecoder::new(range.clone(), *record_bytes, rows), selected)))
            }
            (Shape::Text(files) | Shape::Lines(files, _), Split::Bytes { file, range }) => {
                let file = &files[*file];
                let decoder = TextDecoder::new(file.path.clone(), file.bytes, range.clone(), &self.schema, rows);
                Some(Box::new(Tested::new(decoder, selected)))
            }
            (Shape::Text(all), Split::Files { files }) => {
                let (file, range) = (files.start, 0..all[files.start].bytes);
                self.decoder(&Split::Bytes { file, range }, selected)?
            }
            _ => None,
        })
    }

    fn open_parquet(files: Vec<LocalFile>) -> Result<(SchemaRef, Shape)> {
        let mut opened: Vec<(LocalFile, Footer)> = Vec::with_capacity(files.len());
        for file in files {
            let footer = Footer::read(&file.open()?, &file.path, file.bytes)?;
            if let Some((first, first_footer)) = opened.first() {
                check_same(&first.path, first_footer.schema(), &file.path, footer.schema())?;
            }
            opened.push((file, footer));
        }
        decode_alike(&mut opened)?;
        Ok((Arc::clone(opened[0].1.schema()), Shape::Parquet(opened)))
    }

    fn open_arrow(files: Vec<LocalFile>) -> Result<(SchemaRef, Shape)> {
        let mut opened: Vec<(LocalFile, ArrowFooter)> = Vec::with_capacity(files.len());
        for file in files {
            let footer = ArrowFooter::read(&file.open()?, &file.path, file.bytes)?;
            if let Some((first, first_footer)) = opened.first() {
                check_same(&first.path, first_footer.schema(), &file.path, footer.schema())?;
            }
            opened.push((file, footer));
        }
        Ok((Arc::clone(opened[0].1.schema()), Shape::Arrow(opened)))
    }

    fn open_csv(files: Vec<LocalFile>) -> Result<(SchemaRef, Shape)> {
        let mut schema: Option<SchemaRef> = None;
        for file in &files {
            if file.bytes == 0 {
                return Err(TableError::Empty { path: file.path.clone() }.into());
            }
            let sample = file.open()?.read(0..file.bytes.min(limits::SAMPLE_BYTES))?;
            let found = csv::infer_schema(&file.path, &sample, sample.len() as u64 == file.bytes)?;
            schema = Some(match &schema {
                None => found,
                Some(first) => match csv::merged(first, &found) {
                    Some(both) => both,
                    None => return Err(differ(&files[0].path, first, &file.path, &found).into()),
                },
            });
        }
        let schema = schema.ok_or_else(|| bug("scan", "a table without files"))?;
        Ok((csv::known(&schema), Shape::Csv(files)))
    }

    /// Files of JSON may have other keys than the first: the columns are those of all.
    fn open_json(files: Vec<LocalFile>) -> Result<(SchemaRef, Shape)> {
        let mut sample = json::Sample::default();
        for file in &files {
            let bytes = file.open()?.read(0..file.bytes.min(limits::SAMPLE_BYTES))?;
            sample.add(&file.path, &bytes, bytes.len() as u64 == file.bytes)?;
        }
        Ok((sample.schema(&files[0].path)?, Shape::Json(files)))
    }
}

fn starts_as_parquet(file: &LocalFile) -> Result<bool> {
    Ok(file.bytes >= 4 && &file.open()?.read(0..4)?[..] == b"PAR1")
}

/// Makes all files of a table give the same types: what one has in 64 bits another one may have in more.
pub(super) fn decode_alike(files: &mut [(LocalFile, Footer)]) -> Result<()> {
    let types = |footer: &Footer| -> Vec<DataType> {
        footer.decoded_schema().fields().iter().map(|field| field.data_type().clone()).collect()
    };
    let first = files.first().map(|(_, footer)| types(footer));
    if files.iter().any(|(_, footer)| Some(types(footer)) != first) {
        for (file, footer) in files {
            *footer = footer.as_known(&file.path)?;
        }
    }
    Ok(())
}

/// The files' columns have the same names and types.
pub(super) fn check_same(first: &Path, first_schema: &SchemaRef, other: &Path, other_schema: &SchemaRef) -> Result<()> {
    if columns_of(first_schema) == columns_of(other_schema) {
        return Ok(());
    }
    Err(differ(first, first_schema, other, other_schema).into())
}

fn columns_of(schema: &SchemaRef) -> Vec<(String, DataType)> {
    schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
}

/// The first column that two files do not have in common.
fn differ(first: &Path, first_schema: &SchemaRef, other: &Path, other_schema: &SchemaRef) -> TableError {
    let (a, b) = (columns_of(first_schema), columns_of(other_schema));
    let at = a.iter().zip(&b).position(|(a, b)| a != b).unwrap_or(a.len().min(b.len()));
    let column = |side: &[(String, DataType)]| {
        side.get(at).map_or_else(|| "no column".to_owned(), |(name, data_type)| format!("{name} {data_type}"))
    };
    TableError::Differ { first: first.to_owned(), other: other.to_owned(), at, expected: column(&a), found: column(&b) }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({})", self.name)
    }
}

#[derive(Debug, thiserror::Error)]
enum TableError {
    #[error("reading {}: its ending tells no format, and it does not start as a Parquet file", path.display())]
    UnknownShape { path: PathBuf },
    #[error("reading {} as CSV: the file is empty, so nothing names its columns", path.display())]
    Empty { path: PathBuf },
    #[error("reading {} and {} as one table: column {at} is {expected} in the first and {found} in the second", first.display(), other.display())]
    Differ { first: PathBuf, other: PathBuf, at: usize, expected: String, found: String },
}

impl Cause for TableError {
    fn kind(&self) -> Kind {
        match self {
            TableError::UnknownShape { .. } | TableError::Differ { .. } => Kind::Request,
            TableError::Empty { .. } => Kind::Corrupt,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            TableError::UnknownShape { .. } => Some("name files .parquet, .csv, .jsonl, .txt or .arrow".to_owned()),
            TableError::Differ { .. } => {
                Some("name the files that belong together, or give each its own table".to_owned())
            }
            TableError::Empty { .. } => None,
        }
    }
}
