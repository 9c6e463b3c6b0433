//! The columns of a CSV file, from its first records.
//!
//! In: the first bytes of a file. Out: a schema: the first line names the columns, arrow's rules tell their types. Never: fails for a value
//! that only a later record holds.

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

/// The columns of the file that starts with `sample`: the first line names them.
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
        DataType::Utf8 | DataType::Null => Field::new(field.name(), DataType::Utf8View, true),
        data_type => Field::new(field.name(), data_type.clone(), true),
    });
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
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
