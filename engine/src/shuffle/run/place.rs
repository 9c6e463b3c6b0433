//! A folder of our own for runs, the lock that says so, and the sweep of those whose owners are gone.
//!
//! In: a folder that the user gave. Out: `windrow-runs-<process>-<number>/` in it, which others leave alone while we live. Never: a
//! folder that other users can read; the removal of one whose owner lives.
//!
//! ```text
//!   windrow-runs-4711-0.lock    made first, locked while the process lives (the system lets go of it when the process ends)
//!   windrow-runs-4711-0/        made second, removed first
//! ```
//! A folder whose lock nobody holds is a dead process's. The lock file is made anew or not at all, and once it is locked it is looked up
//! again: who sweeps may have taken it for a dead one's between the two steps, and then it is no longer the file of that name.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

const NAME: &str = "windrow-runs-";
const LOCK: &str = "lock";
/// So many folders of one process number may stand in one folder: of processes in other containers, or whose user is another.
const NUMBERS_MAX: usize = 1_000;

/// See above.
#[derive(Debug)]
pub(super) struct Place {
    folder: PathBuf,
    /// Held, never read.
    _lock: File,
}

impl Place {
    /// Sweeps what dead processes left in `parent`, then makes ours there.
    pub(super) fn make(parent: &Path) -> io::Result<Place> {
        fs::create_dir_all(parent)?;
        sweep(parent);
        for number in 0..NUMBERS_MAX {
            let folder = parent.join(format!("{NAME}{}-{number}", std::process::id()));
            let Some(lock) = take(&folder.with_extension(LOCK))? else { continue };
            match DirBuilder::new().mode(0o700).create(&folder) {
                Ok(()) => return Ok(Place { folder, _lock: lock }),
                Err(error) => {
                    let _ = fs::remove_file(folder.with_extension(LOCK));
                    if error.kind() != io::ErrorKind::AlreadyExists {
                        return Err(error);
                    }
                }
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Where a file of this name stands.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Place {
    /// Removes it, whatever stands in it.
    pub(super) fn remove(&self) {
        // Nobody is left to be told; what stays is swept by the next process.
        let _ = fs::remove_dir_all(&self.folder);
        let _ = fs::remove_file(self.folder.with_extension(LOCK));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Makes the lock file and takes the lock; none when the name is taken.
fn take(path: &Path) -> io::Result<Option<File>> {
    let file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        Err(error) => return Err(error),
    };
    let ours = file.metadata()?;
    let is_held = file.try_lock().is_ok();
    let is_there = fs::symlink_metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino()));
    Ok((is_held && is_there).then_some(file))
}

/// Removes the folders in `parent` whose processes are dead. What cannot be removed stays: it is another user's, or somebody is faster.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_ours = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(NAME));
        if !is_ours || path.extension().is_none_or(|extension| extension != LOCK) {
            continue;
        }
        // A plain file: opening anything else could wait for somebody.
        if !fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
            continue;
        }
        let Ok(lock) = File::open(&path) else { continue };
        if lock.try_lock().is_ok() {
            let _ = fs::remove_dir_all(path.with_extension(""));
            let _ = fs::remove_file(&path);
        }
    }
}
