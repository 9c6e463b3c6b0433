//! Where rows are written to, and in which shape.

use std::{fmt, path::PathBuf};

/// An output folder. It must not exist yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The folder that will hold the part files.
    pub path: PathBuf,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parquet files in {}", self.path.display())
    }
}
