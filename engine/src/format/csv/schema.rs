//! The columns of a CSV file, from its first records.
//!
//! In: the first bytes of a file. Out: a schema: the first line names the columns, arrow's rules tell their types, as if the records of all
//! files stood in one. Never: fails for a value that only a later record holds.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::csv::reader::Format;
use bytes::{Buf, Bytes};

use crate::{
    batch::{
        ArrowError,
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    error::{Cause, Kind, Result},
    limits,
};

/// The columns of the file that starts with `sample`: the first line names them. Those of which there is no value yet are of type Null.
pub fn infer_schema(path: &Path, sample: &Bytes, is_whole: bool) -> Result<SchemaRef> {
    let failed = |source| CsvError { path: path.to_owned(), source };
    // The sample's last line may be cut.
    let end = if is_whole {
        sample.len()
    } else {
        memchr::memrchr(b'\n', sample).map_or(sample.len(), |newline| newline + 1)
    };
    let format = Format::default().with_header(true);
    let (schema, _) = format.infer_schema(sample.slice(..end).reader(), Some(limits::SAMPLE_ROWS)).map_err(failed)?;
    if schema.fields().is_empty() {
        return Err(
            failed(ArrowError::CsvError("the first line, which must name the columns, is empty".to_owned())).into()
        );
    }
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Utf8 => Field::new(field.name(), DataType::Utf8View, true),
        data_type => Field::new(field.name(), data_type.clone(), true),
    });
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

/// The columns of two files as one table; `None` if they have other names.
pub fn merged(one: &Schema, other: &Schema) -> Option<SchemaRef> {
    let names = |schema: &Schema| schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    let field = |(one, other): (&Arc<Field>, &Arc<Field>)| {
        let data_type = match (one.data_type(), other.data_type()) {
            (one, other) if one == other => one.clone(),
            (DataType::Null, known) | (known, DataType::Null) => known.clone(),
            (DataType::Int64, DataType::Float64) | (DataType::Float64, DataType::Int64) => DataType::Float64,
            _ => DataType::Utf8View,
        };
        Field::new(one.name(), data_type, true)
    };
    let fields = one.fields().iter().zip(other.fields()).map(field).collect::<Vec<_>>();
    (names(one) == names(other)).then(|| Arc::new(Schema::new(fields)))
}

/// The columns, of which those without a value are texts.
pub fn known(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Null => Field::new(field.name(), DataType::Utf8View, true),
        _ => Field::clone(field),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

#[derive(Debug, thiserror::Error)]
#[error("reading {} as CSV", path.display())]
struct CsvError {
    path: PathBuf,
    source: ArrowError,
}

impl Cause for CsvError {
    fn kind(&self) -> Kind {
        match self.source {
            ArrowError::InvalidArgumentError(_) | ArrowError::NotYetImplemented(_) => Kind::Unsupported,
            _ => Kind::Corrupt,
        }
    }
}
