//! Where rows are written to, and in which shape.

use std::{fmt, path::PathBuf};

use crate::{error::Result, store::StoreError};

/// An output folder. It must not exist yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The folder that will hold the part files.
    pub path: PathBuf,
}

impl Target {
    /// The same folder, whatever folder a process runs in.
    pub fn absolute(self) -> Result<Target> {
        let path = std::path::absolute(&self.path).map_err(|source| StoreError::Look { path: self.path, source })?;
        Ok(Target { path })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parquet files in {}", self.path.display())
    }
}
