//! Where rows are written to, in which shape, and what if something is there.

use std::{fmt, path::PathBuf, sync::Arc};

use crate::{
    batch::datatypes::{DataType, Field, Schema},
    error::{Cause, Kind, Result},
    format::{FileFormat, is_bytes, is_nested, is_text},
    store::StoreError,
};

/// An output folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The folder that will hold the part files.
    pub path: PathBuf,
    /// The shape of the files.
    pub format: FileFormat,
    /// Columns whose values are the names of folders, `column=value`, one within the other, and stand in no file.
    pub partitioned_by: Vec<String>,
    /// What if an output is there.
    pub if_exists: IfExists,
    /// The columns of the rows and their types, as `_SUCCESS` tells them; none while they are not known.
    pub columns: Vec<(String, String)>,
}

/// What becomes of an output that is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IfExists {
    /// It stays, and the job fails.
    #[default]
    Fail,
    /// The new one takes its place, at once.
    Overwrite,
    /// The new files come to it, at once.
    Append,
}

impl Target {
    /// An output that must not be there yet.
    pub fn new(path: impl Into<PathBuf>, format: FileFormat) -> Target {
        Target { path: path.into(), format, partitioned_by: Vec::new(), if_exists: IfExists::Fail, columns: Vec::new() }
    }

    /// The same folder, whatever folder a process runs in.
    pub fn absolute(self) -> Result<Target> {
        let path =
            std::path::absolute(&self.path).map_err(|source| StoreError::Look { path: self.path.clone(), source })?;
        Ok(Target { path, ..self })
    }

    /// The same, for rows of these columns.
    pub fn of_columns(self, schema: &Schema) -> Target {
        let column = |field: &Arc<Field>| (field.name().clone(), type_name(field.data_type()));
        Target { columns: schema.fields().iter().map(column).collect(), ..self }
    }

    /// Whether rows of these columns can be written so.
    pub fn check(&self, schema: &Schema) -> Result<()> {
        // Behind the folder that paths are relative to, if there is one.
        let scheme = self.path.to_str().and_then(|path| path.split_once("://")).map(|(before, _)| before);
        let scheme = scheme.map(|before| before.rsplit('/').next().unwrap_or(before));
        if scheme.is_some_and(|scheme| !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
            return Err(TargetError::NoFolder { path: self.path.clone() }.into());
        }
        let columns = self.folder_columns(schema)?;
        let in_files = (0..schema.fields().len()).filter(|column| !columns.contains(column)).collect::<Vec<_>>();
        self.format.check(&schema.project(&in_files)?)
    }

    /// The numbers of the columns that the output is partitioned by.
    pub(super) fn folder_columns(&self, schema: &Schema) -> Result<Vec<usize>> {
        let mut columns = Vec::with_capacity(self.partitioned_by.len());
        for name in &self.partitioned_by {
            let named = schema.fields().iter().enumerate().filter(|(_, field)| field.name() == name);
            let [(column, field)] = named.collect::<Vec<_>>()[..] else {
                let columns = schema.fields().iter().map(|field: &Arc<Field>| field.name().clone()).collect();
                return Err(TargetError::NoColumn { name: name.clone(), columns }.into());
            };
            if is_nested(field.data_type()) || is_bytes(field.data_type()) {
                return Err(TargetError::NoName { name: name.clone(), data_type: field.data_type().to_string() }.into());
            }
            if columns.contains(&column) {
                return Err(TargetError::Twice { name: name.clone() }.into());
            }
            columns.push(column);
        }
        Ok(columns)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files in {}", self.format, self.path.display())?;
        if !self.partitioned_by.is_empty() {
            write!(f, ", partitioned by {}", self.partitioned_by.join(", "))?;
        }
        match self.if_exists {
            IfExists::Fail => Ok(()),
            IfExists::Overwrite => f.write_str(", in the place of what is there"),
            IfExists::Append => f.write_str(", beside what is there"),
        }
    }
}

/// A type, the same for all layouts of its values.
fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Dictionary(_, values) => type_name(values),
        text if is_text(text) => "Utf8".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "Binary".to_owned(),
        other => other.to_string(),
    }
}

#[derive(Debug, thiserror::Error)]
enum TargetError {
    #[error("writing to {}: outputs are folders of a file system", path.display())]
    NoFolder { path: PathBuf },
    #[error("partitioning an output by {name:?}: there is no one column of this name")]
    NoColumn { name: String, columns: Vec<String> },
    #[error("partitioning an output by {name:?}: it is {data_type}, whose values name no folders")]
    NoName { name: String, data_type: String },
    #[error("partitioning an output by {name:?} twice")]
    Twice { name: String },
}

impl Cause for TargetError {
    fn kind(&self) -> Kind {
        match self {
            TargetError::NoName { .. } | TargetError::NoFolder { .. } => Kind::Unsupported,
            _ => Kind::Request,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            TargetError::NoColumn { columns, .. } => Some(format!("there are: {}", columns.join(", "))),
            TargetError::NoFolder { .. } => Some("name a path without ://, on a disk that is mounted here".to_owned()),
            _ => None,
        }
    }
}
