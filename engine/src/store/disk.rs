//! Changes to the file system, a call each: what outputs are made of.
//!
//! In: paths, bytes. Out: folders, files, names; synced where it says so. Never: a change that a test could not stop: every call
//! is a place where a process may end, or a disk be full.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    path::Path,
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};

use super::{StoreError, lines};
use crate::error::Result;

#[cfg(test)]
pub mod faults; // Fault: the call at which a test ends a run

/// The file system, as outputs change it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    #[cfg(test)]
    fault: Option<std::sync::Arc<faults::Fault>>,
}

impl Disk {
    /// Makes a folder that must not be there yet; its parents may.
    pub fn create_dir(&self, path: &Path) -> Result<()> {
        let failed = |source| StoreError::Create { path: path.to_owned(), source };
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            self.create_dirs(parent)?;
        }
        self.step().and_then(|()| fs::create_dir(path)).map_err(failed)?;
        Ok(())
    }

    /// Makes a folder and its parents; what is there already is fine.
    pub fn create_dirs(&self, path: &Path) -> Result<()> {
        let failed = |source| StoreError::Create { path: path.to_owned(), source };
        if !path.is_dir() {
            self.step().and_then(|()| fs::create_dir_all(path)).map_err(failed)?;
        }
        Ok(())
    }

    /// Makes a file that must not be there yet.
    pub fn create(&self, path: &Path) -> Result<File> {
        let failed = |source| StoreError::Create { path: path.to_owned(), source };
        let created = self.step().and_then(|()| OpenOptions::new().write(true).create_new(true).open(path));
        Ok(created.map_err(failed)?)
    }

    /// Appends to a file, which has `offset` bytes.
    pub fn write(&self, file: &File, path: &Path, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        #[cfg(test)]
        if self.is_torn() {
            // Half of it is there when the process ends.
            let _ = lines::write_laid(file, offset, &bytes[..bytes.len() / 2]);
        }
        let written = self.step().and_then(|()| lines::write_laid(file, offset, bytes));
        written.map_err(|source| StoreError::Write { path: path.to_owned(), source })
    }

    /// Waits until a file is durable. What fails here is lost: the kernel may have dropped the pages, and a second try would not know.
    pub fn sync(&self, file: &File, path: &Path) -> Result<(), StoreError> {
        let synced = self.step().and_then(|()| file.sync_all());
        synced.map_err(|source| StoreError::Write { path: path.to_owned(), source })
    }

    /// Waits until the names in a folder are durable.
    pub fn sync_dir(&self, path: &Path) -> Result<()> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let folder = File::open(path).map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
        Ok(self.sync(&folder, path)?)
    }

    /// Gives a file or folder another name.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let failed = |source| StoreError::Publish { from: from.to_owned(), to: to.to_owned(), source };
        Ok(self.step().and_then(|()| fs::rename(from, to)).map_err(failed)?)
    }

    /// Two names change places at once. False, and nothing changed, where the file system cannot do that.
    pub fn exchange(&self, one: &Path, other: &Path) -> Result<bool> {
        let failed = |source| StoreError::Publish { from: one.to_owned(), to: other.to_owned(), source };
        self.step().map_err(failed)?;
        #[cfg(test)]
        if self.has_no_exchange() {
            return Ok(false);
        }
        match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(true),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::XDEV) => Ok(false),
            Err(errno) => Err(failed(errno.into()).into()),
        }
    }

    /// A second name for a file; a copy of it where the file system has no such names.
    pub fn link(&self, from: &Path, to: &Path) -> Result<()> {
        let failed = |source| StoreError::Create { path: to.to_owned(), source };
        self.step().map_err(failed)?;
        match fs::hard_link(from, to) {
            Ok(()) => Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
                fs::copy(from, to).map_err(failed)?;
                let copied = File::open(to).map_err(failed)?;
                Ok(self.sync(&copied, to)?)
            }
            Err(source) => Err(failed(source).into()),
        }
    }

    /// Waits for a lock on a file, which ends with its holder. A file system that has none leaves all who ask alone with each other.
    pub fn lock(&self, file: &File, path: &Path) -> Result<()> {
        match file.lock() {
            Err(source) if source.kind() != ErrorKind::Unsupported => {
                Err(StoreError::Open { path: path.to_owned(), source }.into())
            }
            _ => Ok(()),
        }
    }

    /// Removes a file; one that is gone already is fine.
    pub fn remove_file(&self, path: &Path) -> Result<()> {
        gone(path, self.step().and_then(|()| fs::remove_file(path)))
    }

    /// Removes a folder in which nothing is; one that is gone already is fine.
    pub fn remove_dir(&self, path: &Path) -> Result<()> {
        gone(path, self.step().and_then(|()| fs::remove_dir(path)))
    }

    /// Removes a folder and what is in it; one that is gone already is fine.
    pub fn remove_all(&self, path: &Path) -> Result<()> {
        gone(path, self.step().and_then(|()| fs::remove_dir_all(path)))
    }

    #[cfg(not(test))]
    #[inline(always)]
    fn step(&self) -> io::Result<()> {
        Ok(())
    }
}

fn gone(path: &Path, removed: io::Result<()>) -> Result<()> {
    match removed {
        Ok(()) => Ok(()),
        Err(source) if source.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(StoreError::Remove { path: path.to_owned(), source }.into()),
    }
}
