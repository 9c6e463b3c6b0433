//! What a job gives, in files.
//!
//! In: a job, a folder, a format. Out: the folder, all at once, and what was counted. Never: an output that is there already replaced or added to
//! unless that was asked for.

use std::path::PathBuf;

use super::{
    error::MapReduceError,
    job::{Finished, Reduced},
    map_side::check_skipped,
    outputs::write_outputs,
};
use crate::{
    dataset::Record,
    error::Result,
    format::FileFormat,
    observe::Counted,
    sink::{IfExists, Target},
};

/// An output of a job that is being described; the format runs the job.
#[must_use = "the format runs the job: .parquet(), .csv(), .json(), .text() or .arrow()"]
pub struct Write<U: Record> {
    reduced: Reduced<U>,
    target: Target,
}

impl<U: Record> Write<U> {
    pub(super) fn new(reduced: Reduced<U>, path: PathBuf) -> Write<U> {
        Write { reduced, target: Target::new(path, FileFormat::Parquet) }
    }

    /// An output that is there is replaced, all at once. What is no output, since it has no `_SUCCESS`, never is.
    pub fn overwrite(mut self) -> Self {
        self.target.if_exists = IfExists::Overwrite;
        self
    }

    /// The files come to an output that is there, all at once; `_SUCCESS` then tells of all of them.
    pub fn append(mut self) -> Self {
        self.target.if_exists = IfExists::Append;
        self
    }

    /// Writes Parquet.
    pub fn parquet(self) -> Result<Finished> {
        self.run(FileFormat::Parquet)
    }

    /// Writes CSV with a header line.
    pub fn csv(self) -> Result<Finished> {
        self.run(FileFormat::Csv)
    }

    /// Writes JSON, an object a line.
    pub fn json(self) -> Result<Finished> {
        self.run(FileFormat::Json)
    }

    /// Writes text, a record a line: of one column of strings or bytes.
    pub fn text(self) -> Result<Finished> {
        self.run(FileFormat::Text)
    }

    /// Writes Arrow's IPC files.
    pub fn arrow(self) -> Result<Finished> {
        self.run(FileFormat::Arrow)
    }

    fn run(self, format: FileFormat) -> Result<Finished> {
        let Reduced { rows, setup, tags, is_lazy, .. } = &self.reduced;
        let target = Target { format, ..self.target };
        match tags {
            Some(_) if target.if_exists != IfExists::Fail => Err(MapReduceError::OutputsOverOutput.into()),
            Some(tags) => write_outputs(rows, tags, (setup, *is_lazy), target),
            None => {
                let accepts = |counted: &Counted| check_skipped(setup, counted.skipped);
                let (written, counted) = rows.write_counted(target, &accepts)?;
                Ok(Finished::new(Some(written), counted))
            }
        }
    }
}
