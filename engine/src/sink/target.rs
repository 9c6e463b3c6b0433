//! Where rows are written to, in which shape, and what if something is there.

use std::{fmt, path::PathBuf};

use crate::{
    batch::datatypes::{Field, Schema},
    error::{Cause, Kind, Result},
    format::{FileFormat, is_bytes, is_nested},
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
        Target { path: path.into(), format, partitioned_by: Vec::new(), if_exists: IfExists::Fail }
    }

    /// The same folder, whatever folder a process runs in.
    pub fn absolute(self) -> Result<Target> {
        let path =
            std::path::absolute(&self.path).map_err(|source| StoreError::Look { path: self.path.clone(), source })?;
        Ok(Target { path, ..self })
    }

    /// Whether rows of these columns can be written so.
    pub fn check(&self, schema: &Schema) -> Result<()> {
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
                let columns =
                    schema.fields().iter().map(|field: &std::sync::Arc<Field>| field.name().clone()).collect();
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

#[derive(Debug, thiserror::Error)]
enum TargetError {
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
            TargetError::NoName { .. } => Kind::Unsupported,
            _ => Kind::Request,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            TargetError::NoColumn { columns, .. } => Some(format!("there are: {}", columns.join(", "))),
            _ => None,
        }
    }
}
