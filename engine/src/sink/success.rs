//! What `_SUCCESS` says of an output: how much it is, its digest, and what may be added to it.
//!
//! In: what was written. Out: a line of JSON, and what it says. Never: a field that a reader of an earlier version would miss.

use std::{fs, io::ErrorKind, path::Path};

use serde::{Deserialize, Serialize};

use super::Target;
use crate::{
    error::{Cause, Kind, Result},
    format::FileFormat,
    shuffle::digest::Digest,
    store::StoreError,
};

/// The name of the file.
pub(super) const NAME: &str = "_SUCCESS";

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Success {
    version: u32,
    /// Part files, of all jobs that have written to the output.
    files: u64,
    rows: u64,
    bytes: u64,
    /// Sum and xor of the hashes of all rows, 16 hexadecimal digits each.
    digest: String,
    /// The job that wrote last, with its action behind a point if that was not its first.
    #[serde(default)]
    pub(super) job: String,
    #[serde(default)]
    format: String,
    #[serde(default)]
    partitioned_by: Vec<String>,
    /// Names and types; none if an earlier version wrote it.
    #[serde(default)]
    columns: Vec<(String, String)>,
}

impl Success {
    pub(super) fn new(target: &Target, id: &str, files: usize, bytes: u64, digest: &Digest) -> Success {
        Success {
            version: 1,
            files: files as u64,
            rows: digest.rows,
            bytes,
            digest: digest.to_string(),
            job: id.to_owned(),
            format: target.format.ending().to_owned(),
            partitioned_by: target.partitioned_by.clone(),
            columns: target.columns.clone(),
        }
    }

    /// What the file in `folder` says; `None` where there is none, or another program's.
    pub(super) fn read(folder: &Path) -> Result<Option<Success>> {
        let path = folder.join(NAME);
        match fs::read(&path) {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(source) => Err(StoreError::Open { path, source }.into()),
        }
    }

    /// Fails if files of `target` do not belong beside those that are there.
    pub(super) fn check_append(&self, target: &Target) -> Result<()> {
        let there = (FileFormat::of_name(&self.format).unwrap_or(FileFormat::Parquet), &self.partitioned_by);
        if there == (target.format, &target.partitioned_by) {
            return self.check_columns(target);
        }
        let shape = |format: FileFormat, columns: &[String]| match columns {
            [] => format!("{format} files"),
            columns => format!("{format} files partitioned by {}", columns.join(", ")),
        };
        let (there, here) = (shape(there.0, there.1), shape(target.format, &target.partitioned_by));
        Err(OtherShape { path: target.path.display().to_string(), there, here }.into())
    }

    /// Fails if what is there is not what a checkpoint of the target is.
    pub(super) fn check_kept(&self, target: &Target) -> Result<()> {
        let is_same = self.format == target.format.ending() && self.partitioned_by == target.partitioned_by;
        if is_same && self.columns == target.columns {
            return Ok(());
        }
        let there = match FileFormat::of_name(&self.format) {
            Some(format) if !is_same => format!("{format} files of {}", shown(&self.columns)),
            _ => shown(&self.columns),
        };
        Err(OtherKept { path: target.path.display().to_string(), there, here: shown(&target.columns) }.into())
    }

    /// It is of so many files and bytes.
    pub(super) fn is_of(&self, files: u64, bytes: u64) -> bool {
        (self.files, self.bytes) == (files, bytes)
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Fails if the files of both could not be read as one table.
    fn check_columns(&self, target: &Target) -> Result<()> {
        let is_known = !self.columns.is_empty() && !target.columns.is_empty();
        let is_same = match target.format {
            // Lines and records have no names.
            FileFormat::Text | FileFormat::Fixed => true,
            // What types they have is found in all files together.
            FileFormat::Csv | FileFormat::Json => {
                self.columns.iter().map(|(name, _)| name).eq(target.columns.iter().map(|(name, _)| name))
            }
            FileFormat::Parquet | FileFormat::Arrow => self.columns == target.columns,
        };
        if !is_known || is_same {
            return Ok(());
        }
        let (there, here) = (shown(&self.columns), shown(&target.columns));
        Err(OtherColumns { path: target.path.display().to_string(), there, here }.into())
    }

    /// The sum of both; the job is this one's.
    pub(super) fn and(self, before: &Success) -> Success {
        let mut digest = parse(&self.digest, self.rows).unwrap_or_default();
        digest.merge(&parse(&before.digest, before.rows).unwrap_or_default());
        Success {
            files: self.files + before.files,
            rows: digest.rows,
            bytes: self.bytes + before.bytes,
            digest: digest.to_string(),
            ..self
        }
    }

    pub(super) fn to_line(&self) -> Result<String> {
        let line = serde_json::to_string(self).map_err(|source| NotWritten { source })?;
        Ok(format!("{line}\n"))
    }
}

fn shown(columns: &[(String, String)]) -> String {
    columns.iter().map(|(name, data_type)| format!("{name} {data_type}")).collect::<Vec<_>>().join(", ")
}

fn parse(digest: &str, rows: u64) -> Option<Digest> {
    let half = |range: std::ops::Range<usize>| u64::from_str_radix(digest.get(range)?, 16).ok();
    Some(Digest { rows, sum: half(0..16)?, xor: half(16..32)? })
}

#[derive(Debug, thiserror::Error)]
#[error("adding {here} to {path}: there are {there}")]
struct OtherShape {
    path: String,
    there: String,
    here: String,
}

impl Cause for OtherShape {
    fn kind(&self) -> Kind {
        Kind::Request
    }
    fn hint(&self) -> Option<String> {
        Some("write as what is there, or to another folder".to_owned())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("adding rows of the columns {here} to {path}: the rows there have {there}")]
struct OtherColumns {
    path: String,
    there: String,
    here: String,
}

impl Cause for OtherColumns {
    fn kind(&self) -> Kind {
        Kind::Request
    }
    fn hint(&self) -> Option<String> {
        Some(
            "select the same columns in the same sequence, with casts where types differ, or write to another folder"
                .to_owned(),
        )
    }
}

#[derive(Debug, thiserror::Error)]
#[error("reading the checkpoint {path}: it is of {there}, and the flow gives {here}")]
struct OtherKept {
    path: String,
    there: String,
    here: String,
}

impl Cause for OtherKept {
    fn kind(&self) -> Kind {
        Kind::Request
    }
    fn hint(&self) -> Option<String> {
        Some("keep the flow at another path, or remove this one, and it is computed again".to_owned())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("writing what an output holds")]
struct NotWritten {
    source: serde_json::Error,
}

impl Cause for NotWritten {
    fn kind(&self) -> Kind {
        Kind::Internal
    }
}
