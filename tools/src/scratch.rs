//! A folder that is gone when the command is, however that ends.
//!
//! In: nothing. Out: a fresh folder in the system's temporary place. Never: left behind by an error, a panic or a first signal; only
//! a kill leaves it.

use std::{fs, path::Path};

use tempfile::TempDir;

use crate::{
    error::{CommandError, Failure},
    signal::{OnExit, Signals},
};

/// A temporary folder.
pub struct Scratch {
    folder: TempDir,
    _on_exit: OnExit,
}

impl Scratch {
    /// Makes it.
    pub fn new(signals: &Signals) -> Result<Scratch, Failure> {
        let folder = tempfile::Builder::new().prefix("windrow-").tempdir().map_err(|source| CommandError::File {
            doing: "making a folder in",
            path: std::env::temp_dir(),
            source,
        })?;
        let path = folder.path().to_owned();
        let on_exit = signals.on_exit(move || {
            // The command still runs and may put a file there just now: once more, then.
            for _ in 0..3 {
                if fs::remove_dir_all(&path).is_ok() {
                    break;
                }
            }
        });
        Ok(Scratch { folder, _on_exit: on_exit })
    }

    /// Where.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}
