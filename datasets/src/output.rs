//! A file that appears under its name whole, or not at all.
//!
//! In: a path. Out: an open file under a temporary name beside it; later the same file under its own name. Never: a
//! half-written file under the final name, a temporary file left after an error.
//!
//! `created → written → published`, by one rename in the same folder; dropped before that, the temporary file is
//! removed. Deficits, accepted because a dataset can be made again: nothing is fsynced, so this holds when the process
//! dies, not when the machine does; a killed process leaves its temporary file; and between the last look for an
//! existing output and the rename another process may put one there, which is then replaced.

use std::{
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::error::DatasetError;

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Where it stands.
    pub path: PathBuf,
    /// Rows of a table, lines of a text.
    pub rows: u64,
    /// Size of the file in bytes.
    pub bytes: u64,
}

/// A file on its way to its name.
#[derive(Debug)]
pub(crate) struct Output {
    path: PathBuf,
    temporary: PathBuf,
    overwrite: bool,
    is_published: bool,
}

impl Output {
    /// Opens a temporary file beside `path`, whose folder is made if it is missing.
    pub(crate) fn create(path: &Path, overwrite: bool) -> Result<(Self, File), DatasetError> {
        let Some(name) = path.file_name() else { return Err(DatasetError::NoFileName { path: path.into() }) };
        refuse_existing(path, overwrite)?;
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(folder).map_err(|source| DatasetError::CreateFolder { path: folder.into(), source })?;
        loop {
            // The number tells apart threads of this process, and skips what a killed process of the same number left.
            static NEXT: AtomicU64 = AtomicU64::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let mut temporary_name = std::ffi::OsString::from(".");
            temporary_name.push(name);
            temporary_name.push(format!(".{}-{number}.tmp", process::id()));
            let temporary = folder.join(temporary_name);
            match File::create_new(&temporary) {
                Ok(file) => return Ok((Self { path: path.into(), temporary, overwrite, is_published: false }, file)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(source) => return Err(DatasetError::Create { path: temporary, source }),
            }
        }
    }

    /// The final path, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its name. All bytes must have been handed to the system.
    pub(crate) fn publish(mut self, rows: u64) -> Result<Written, DatasetError> {
        refuse_existing(&self.path, self.overwrite)?;
        let bytes = fs::metadata(&self.temporary)
            .map_err(|source| DatasetError::Look { path: self.temporary.clone(), source })?
            .len();
        fs::rename(&self.temporary, &self.path).map_err(|source| DatasetError::Rename {
            from: self.temporary.clone(),
            path: self.path.clone(),
            source,
        })?;
        self.is_published = true;
        Ok(Written { path: self.path.clone(), rows, bytes })
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.is_published {
            // Nothing to tell a failure to: the error that brought us here matters more.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// A symbolic link counts as existing, wherever it points: the rename would replace it.
fn refuse_existing(path: &Path, overwrite: bool) -> Result<(), DatasetError> {
    match fs::symlink_metadata(path) {
        Ok(_) if overwrite => Ok(()),
        Ok(_) => Err(DatasetError::Exists { path: path.into() }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(DatasetError::Look { path: path.into(), source }),
    }
}
