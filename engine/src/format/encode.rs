//! Shapes to write: what each can hold, and batches as its bytes.
//!
//! In: a shape, a schema, batches. Out: bytes, in order, to be appended to a file by whoever holds it. Never: a value that the shape would
//! change or lose: that is an error which names the column.

use std::{
    fmt,
    io::{self, Write},
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    arrow::ArrowEncoder, csv::CsvRows, fixed_records::FixedEncoder, json::JsonRows, parquet::ParquetEncoder,
    shown::Shown, text_lines::TextEncoder,
};
use crate::{
    batch::{
        Batch,
        datatypes::{DataType, Schema, SchemaRef},
    },
    error::{Cause, Kind, Result},
};

/// How rows stand in the files of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// Parquet.
    Parquet,
    /// CSV, with a header line.
    Csv,
    /// JSON, an object a line.
    Json,
    /// A string or bytes a line.
    Text,
    /// Arrow's IPC files.
    Arrow,
    /// Bytes, all of one length, one behind the other.
    Fixed,
}

/// A shape's names: its own, what files end in, and the other endings that are known of it.
const NAMES: [(FileFormat, &str, &str, &[&str]); 6] = [
    (FileFormat::Parquet, "Parquet", "parquet", &["pq"]),
    (FileFormat::Csv, "CSV", "csv", &[]),
    (FileFormat::Json, "JSON", "jsonl", &["json", "ndjson"]),
    (FileFormat::Text, "text", "txt", &["text"]),
    (FileFormat::Arrow, "Arrow", "arrow", &["ipc", "feather"]),
    (FileFormat::Fixed, "fixed", "bin", &[]),
];

impl FileFormat {
    /// The shape of this name or ending, in letters of any size.
    pub fn of_name(name: &str) -> Option<FileFormat> {
        let is = |other: &&str| other.eq_ignore_ascii_case(name);
        let found = NAMES.iter().find(|(_, own, ending, others)| is(own) || is(ending) || others.iter().any(is));
        found.map(|(format, ..)| *format)
    }

    /// What its files end in.
    pub fn ending(self) -> &'static str {
        NAMES.iter().find(|(format, ..)| *format == self).map_or("", |(_, _, ending, _)| ending)
    }

    /// Whether what is encoded of rows, one piece behind the other, is what is encoded of all of them: then threads can encode one file.
    pub fn is_in_pieces(self) -> bool {
        matches!(self, FileFormat::Text | FileFormat::Json | FileFormat::Fixed)
    }

    /// Whether files of it can hold these columns.
    pub fn check(self, schema: &Schema) -> Result<()> {
        let shape = self;
        let mut names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|two| two[0] == two[1]) {
            return Err(EncodeError::NameTwice { shape, name: twice[0].to_owned() }.into());
        }
        if names.is_empty() {
            return Err(EncodeError::NoColumns { shape }.into());
        }
        if self == FileFormat::Text {
            let is_line =
                matches!(schema.fields()[..], [ref one] if is_text(one.data_type()) || is_bytes(one.data_type()));
            let columns = schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type()));
            return if is_line { Ok(()) } else { Err(EncodeError::NotLines { columns: columns.collect() }.into()) };
        }
        if self == FileFormat::Fixed {
            let is_record = matches!(schema.fields()[..], [ref one] if is_bytes(one.data_type()));
            let columns = schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type()));
            return if is_record { Ok(()) } else { Err(EncodeError::NotRecords { columns: columns.collect() }.into()) };
        }
        if matches!(self, FileFormat::Csv | FileFormat::Json)
            && let Some(field) = schema.fields().iter().find(|field| is_nested(field.data_type()))
        {
            let (column, data_type) = (field.name().clone(), field.data_type().clone());
            return Err(EncodeError::Nested { shape, column, data_type }.into());
        }
        Ok(())
    }

    /// What encodes a file of these columns.
    pub fn encoder(self, schema: &SchemaRef) -> Result<Box<dyn Encode>> {
        self.check(schema)?;
        Ok(match self {
            FileFormat::Parquet => Box::new(ParquetEncoder::new(schema)?),
            FileFormat::Csv => Box::new(ShownEncoder::new(CsvRows::new(schema), CsvRows::header(schema))),
            FileFormat::Json => Box::new(ShownEncoder::new(JsonRows::new(schema), String::new())),
            FileFormat::Text => Box::new(TextEncoder::new()),
            FileFormat::Arrow => Box::new(ArrowEncoder::new(schema)?),
            FileFormat::Fixed => Box::new(FixedEncoder::default()),
        })
    }
}

impl fmt::Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = NAMES.iter().find(|(format, ..)| format == self);
        f.write_str(found.map_or("", |(_, name, ..)| name))
    }
}

/// Encodes one file.
pub trait Encode: Send {
    /// Adds rows.
    fn push(&mut self, batch: &Batch) -> Result<()>;
    /// Bytes of what was added and has not been taken.
    fn held_bytes(&self) -> usize;
    /// The bytes encoded since the last call; none while they are too few to be worth a write.
    fn take(&mut self) -> Vec<u8>;
    /// As `take`, of all rows added until now, whatever that costs the file: memory is short.
    fn relieve(&mut self) -> Result<Vec<u8>>;
    /// The file's end; the rest of the bytes.
    fn finish(self: Box<Self>) -> Result<Vec<u8>>;
}

/// Writes the rows of a text file whose values are shown ([`Shown`]).
pub trait PutRows: Send {
    /// Appends the rows of `batch`, whose columns are these.
    fn put(&self, batch: &Batch, columns: &[Shown<'_>], out: &mut String) -> Result<()>;
}

/// Encodes one file of such rows.
pub(super) struct ShownEncoder<P> {
    rows: P,
    text: String,
}

impl<P: PutRows> ShownEncoder<P> {
    /// A file that begins with `header`.
    pub(super) fn new(rows: P, header: String) -> ShownEncoder<P> {
        ShownEncoder { rows, text: header }
    }
}

impl<P: PutRows> Encode for ShownEncoder<P> {
    fn push(&mut self, batch: &Batch) -> Result<()> {
        let columns = batch.columns().iter().map(Shown::new).collect::<Result<Vec<_>>>()?;
        self.rows.put(batch, &columns, &mut self.text)
    }

    fn held_bytes(&self) -> usize {
        self.text.len()
    }

    fn take(&mut self) -> Vec<u8> {
        piece(&mut self.text).into_bytes()
    }

    fn relieve(&mut self) -> Result<Vec<u8>> {
        Ok(mem::take(&mut self.text).into_bytes())
    }

    fn finish(self: Box<Self>) -> Result<Vec<u8>> {
        Ok(self.text.into_bytes())
    }
}

/// Fewer bytes of a text are not worth a write.
const PIECE_BYTES: usize = 256 << 10;

/// What is taken of a text on its way.
pub(super) fn piece<T: AsRef<[u8]> + Default>(text: &mut T) -> T {
    if text.as_ref().len() < PIECE_BYTES { T::default() } else { mem::take(text) }
}

/// Where a writer's bytes go until they are taken.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    pub(super) fn take(&self) -> Vec<u8> {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Strings, whatever their layout.
pub fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// Bytes, whatever their layout.
pub fn is_bytes(data_type: &DataType) -> bool {
    match data_type {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => true,
        DataType::Dictionary(_, values) => is_bytes(values),
        _ => false,
    }
}

/// Values made of values.
pub fn is_nested(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_nested(values),
        other => other.is_nested(),
    }
}

/// What a shape cannot hold.
#[derive(Debug, thiserror::Error)]
pub(super) enum EncodeError {
    #[error("writing {shape}: two columns are called {name:?}")]
    NameTwice { shape: FileFormat, name: String },
    #[error("writing {shape}: there are no columns for the files")]
    NoColumns { shape: FileFormat },
    #[error("writing text: lines are one column of strings or bytes, here are {}", columns.join(", "))]
    NotLines { columns: Vec<String> },
    #[error("writing {shape}: column {column:?} is {data_type}, for which {shape} has no form")]
    Nested { shape: FileFormat, column: String, data_type: DataType },
    #[error("writing text: a line has a newline in it: {line:?}")]
    LineInLine { line: String },
    #[error("writing records of one length: they are one column of bytes, here are {}", columns.join(", "))]
    NotRecords { columns: Vec<String> },
    #[error("writing records of one length: one has {found} bytes, and those before it in its file have {expected}")]
    OtherLength { found: usize, expected: usize },
    #[error("writing records of one length: one is NULL, which bytes cannot say")]
    NullRecordBytes,
    #[error("writing text: a line is NULL, which a line cannot say")]
    NullLine,
    #[error("writing CSV: the only column, {column:?}, is NULL in a row, which would be an empty line")]
    NullRecord { column: String },
    #[error("writing JSON: column {column:?} has the value {value}, which is no number of JSON")]
    NoNumber { column: String, value: f64 },
}

impl Cause for EncodeError {
    fn kind(&self) -> Kind {
        match self {
            EncodeError::Nested { .. } => Kind::Unsupported,
            _ => Kind::Request,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            EncodeError::NameTwice { .. } => "give one of them another name: select a as b".to_owned(),
            EncodeError::NoColumns { .. } => "files need a column that the output is not partitioned by".to_owned(),
            EncodeError::NotLines { .. } => "select one column, or write CSV".to_owned(),
            EncodeError::Nested { .. } => "write Parquet or Arrow".to_owned(),
            EncodeError::NotRecords { .. } => "select one column of bytes, or write Parquet".to_owned(),
            EncodeError::OtherLength { .. } => "bring all records to one length, or write Parquet".to_owned(),
            EncodeError::NullRecordBytes => "filter it out, or write Parquet".to_owned(),
            EncodeError::LineInLine { .. } => "write CSV, which quotes it, or replace it".to_owned(),
            EncodeError::NullLine => "filter it out, or coalesce it to a text".to_owned(),
            EncodeError::NullRecord { .. } => "write another column beside it, or JSON or Parquet".to_owned(),
            EncodeError::NoNumber { .. } => {
                "filter it out, cast the column to text, or write CSV or Parquet".to_owned()
            }
        })
    }
}
