//! Rows in files: those of a flow, or of a job.
//!
//! In: what gives the rows, a folder, a format. Out: the folder, all at once, and what was written. Never: an output that is there already replaced or added
//! to unless that was asked for.

use std::{path::PathBuf, time::Instant};

use super::{flow::Dataset, session::Ran};
use crate::{
    error::{Result, bug},
    format::FileFormat,
    sink::{IfExists, Target, Written},
};

// What a sorted flow writes as text, JSON or records of one length is one file, in the order; as another format the rows of each file are in order
// only by chance.
impl<T> Dataset<T> {
    /// Writes Parquet files into the folder `path`, which must not exist. They appear all at once, when all are whole.
    pub fn write_parquet(&self, path: impl Into<PathBuf>) -> Result<Written> {
        self.write(path).parquet()
    }

    /// As [`Dataset::write_parquet`], CSV with a header line: NULL is an empty field, a text without letters is `""`.
    pub fn write_csv(&self, path: impl Into<PathBuf>) -> Result<Written> {
        self.write(path).csv()
    }

    /// As [`Dataset::write_parquet`], JSON, an object a line.
    pub fn write_json(&self, path: impl Into<PathBuf>) -> Result<Written> {
        self.write(path).json()
    }

    /// As [`Dataset::write_parquet`], text, a row a line: of one column of strings or bytes, without newlines and NULLs.
    pub fn write_text(&self, path: impl Into<PathBuf>) -> Result<Written> {
        self.write(path).text()
    }

    /// As [`Dataset::write_parquet`], Arrow's IPC files.
    pub fn write_arrow(&self, path: impl Into<PathBuf>) -> Result<Written> {
        self.write(path).arrow()
    }

    /// As [`Dataset::write_parquet`], bytes of one length one behind the other: of one column of bytes. [`Session::read_fixed`] reads them.
    ///
    /// [`Session::read_fixed`]: super::Session::read_fixed
    pub fn write_fixed(&self, path: impl Into<PathBuf>) -> Result<Written> {
        self.write(path).fixed()
    }

    /// Writes files into the folder `path`, in ways that are said before the format is:
    /// `.write("sales").partitioned_by(["year"]).overwrite().csv()?`.
    pub fn write(&self, path: impl Into<PathBuf>) -> Write<&Self> {
        Write::new(self, path)
    }
}

/// What gives rows that can be written: a flow; a job of [`mapreduce`](crate::mapreduce).
pub trait Writes {
    /// What is told of it.
    type Told;

    /// Runs it, and writes its rows.
    fn write_to(&self, target: Target) -> Result<Self::Told>;
}

impl<T> Writes for &Dataset<T> {
    type Told = Written;

    fn write_to(&self, target: Target) -> Result<Written> {
        match self.session().run(self.logical().clone().written(target), Instant::now())? {
            Ran::Written(written, _) => Ok(written),
            _ => Err(bug("dataset", "a written flow gave rows")),
        }
    }
}

/// An output that is being described; the format writes it.
#[must_use = "the format writes it: .parquet(), .csv(), .json(), .text(), .arrow() or .fixed()"]
pub struct Write<W> {
    rows: W,
    target: Target,
}

impl<W: Writes> Write<W> {
    pub(crate) fn new(rows: W, path: impl Into<PathBuf>) -> Write<W> {
        Write { rows, target: Target::new(path, FileFormat::Parquet) }
    }

    /// Rows stand in folders by the values of these columns, `year=2024/month=5`, and the columns in no file.
    pub fn partitioned_by<N: Into<String>>(mut self, columns: impl IntoIterator<Item = N>) -> Self {
        self.target.partitioned_by = columns.into_iter().map(Into::into).collect();
        self
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
    pub fn parquet(self) -> Result<W::Told> {
        self.run(FileFormat::Parquet)
    }

    /// Writes CSV with a header line.
    pub fn csv(self) -> Result<W::Told> {
        self.run(FileFormat::Csv)
    }

    /// Writes JSON, an object a line.
    pub fn json(self) -> Result<W::Told> {
        self.run(FileFormat::Json)
    }

    /// Writes text, a row a line: of one column of strings or bytes.
    pub fn text(self) -> Result<W::Told> {
        self.run(FileFormat::Text)
    }

    /// Writes Arrow's IPC files.
    pub fn arrow(self) -> Result<W::Told> {
        self.run(FileFormat::Arrow)
    }

    /// Writes bytes of one length one behind the other: of one column of bytes.
    pub fn fixed(self) -> Result<W::Told> {
        self.run(FileFormat::Fixed)
    }

    fn run(self, format: FileFormat) -> Result<W::Told> {
        self.rows.write_to(Target { format, ..self.target })
    }
}
