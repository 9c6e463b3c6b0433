//! The places beside an output, and what ended runs have left there.
//!
//! In: a target, a job. Out: where its attempts write, where its output is put together. Never: touches what a run that is alive has there:
//! a run in this process holds a lock on its place, which ends with it; a cluster's places are its jobs' own.
//!
//! The names are hidden ones, which no table reads.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{SystemTime, UNIX_EPOCH},
};

use twox_hash::XxHash3_64;

use super::Target;
use crate::{
    error::{Cause, Kind, Result},
    shuffle::JobId,
    store::{Disk, StoreError},
};

/// The places of one job beside its output.
#[derive(Clone, Debug)]
pub(super) struct Beside {
    /// The folder that holds the output.
    pub(super) parent: PathBuf,
    /// Where attempts write.
    pub(super) work: PathBuf,
    /// Where the output is put together; after an exchange of names, what was there.
    pub(super) new: PathBuf,
    /// What was there, where names cannot be exchanged at once.
    pub(super) old: PathBuf,
}

/// What tells a process's own places from a cluster's, before the job's number.
const HERE: char = 'p';
/// In the place where attempts write: locked as long as the run is alive.
const LOCK: &str = "lock";

impl Beside {
    /// The places of a cluster's job.
    pub(super) fn of_job(target: &Target, job: JobId) -> Result<Beside> {
        let name = target.path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| NoName { path: target.path.clone() })?;
        Ok(Beside::named(target, &format!(".{name}.windrow-{}", name_of(job))))
    }

    /// The places of a run in this process.
    fn of_run(target: &Target, job: JobId) -> Result<Beside> {
        let Beside { work, .. } = Beside::of_job(target, job)?;
        let name = work.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let (before, job) = name.split_at(name.len().saturating_sub(16));
        Ok(Beside::named(target, &format!("{before}{HERE}{job}")))
    }

    fn named(target: &Target, name: &str) -> Beside {
        let parent = target.path.parent().unwrap_or(Path::new("")).to_owned();
        let place = |ending: &str| parent.join(format!("{name}{ending}"));
        Beside { work: place(""), new: place(".new"), old: place(".old"), parent }
    }

    /// What was moved away for a new output that did not come is put back.
    pub(super) fn put_back(&self, disk: &Disk, output: &Path) -> Result<()> {
        if !exists(output) && exists(&self.old) {
            disk.rename(&self.old, output)?;
            disk.sync_dir(&self.parent)?;
        }
        Ok(())
    }

    /// Removes all of them, the place of the attempts last: as long as it is there, the next run knows that there is something to remove.
    pub(super) fn remove(&self, disk: &Disk, output: &Path) -> Result<()> {
        self.put_back(disk, output)?;
        disk.remove_all(&self.new)?;
        disk.remove_all(&self.old)?;
        for path in inside(&self.work)? {
            if !path.ends_with(LOCK) {
                disk.remove_file(&path)?;
            }
        }
        disk.remove_file(&self.work.join(LOCK))?;
        disk.remove_dir(&self.work)
    }
}

/// A run in this process: its places, and the lock that says that it is alive.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) job: JobId,
    pub(super) beside: Beside,
    _lock: File,
}

impl Run {
    /// Makes the place where attempts write.
    pub(super) fn begin(disk: &Disk, target: &Target) -> Result<Run> {
        loop {
            let job = fresh();
            let beside = Beside::of_run(target, job)?;
            disk.create_dir(&beside.work)?;
            match lock(disk, &beside) {
                Ok(lock) => return Ok(Run { job, beside, _lock: lock }),
                // Somebody who looked for what ended runs have left took it for that before it was locked.
                Err(_) if !exists(&beside.work) => {}
                Err(error) => {
                    // The first error is the one to tell; what is left is nobody's, and removed by the next run.
                    let _ = beside.remove(disk, &target.path);
                    return Err(error);
                }
            }
        }
    }
}

/// Locks the place where attempts write; it is still there then.
fn lock(disk: &Disk, beside: &Beside) -> Result<File> {
    let path = beside.work.join(LOCK);
    let lock = disk.create(&path)?;
    disk.lock(&lock, &path)?;
    fs::metadata(&path).map_err(|source| StoreError::Create { path: path.clone(), source })?;
    Ok(lock)
}

/// Removes what runs in processes that have ended without leave have left beside the output; what they had moved away is put back.
pub(super) fn remove_ended(disk: &Disk, target: &Target) -> Result<()> {
    let any = Beside::of_job(target, JobId(0))?;
    let name = any.work.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let prefix = format!("{}{HERE}", &name[..name.len().saturating_sub(16)]);
    for path in inside(&any.parent)? {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_work = name.strip_prefix(&prefix).is_some_and(|job| job.len() == 16 && path.is_dir());
        if !is_work {
            continue;
        }
        match File::open(path.join(LOCK)) {
            // Held while its places are removed: of two that look, one does.
            Ok(lock) if lock.try_lock().is_ok() => Beside::named(target, name).remove(disk, &target.path)?,
            // It is alive, or nobody can tell.
            Ok(_) => {}
            // It has just begun, and begins again if its folder goes; or somebody else has removed all but the folder. If a lock has come since, the
            // folder stays.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let _ = disk.remove_dir(&path);
            }
            Err(_) => {}
        }
    }
    Ok(())
}

/// A number that no other run has: of the process, the moment, and how many were asked for.
fn fresh() -> JobId {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let moment = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let host = fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let words = [moment, u128::from(std::process::id()), u128::from(COUNT.fetch_add(1, Relaxed))];
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).chain(host).collect();
    JobId(XxHash3_64::oneshot(&bytes))
}

/// A job as files name it.
pub(super) fn name_of(job: JobId) -> String {
    format!("{:016x}", job.0)
}

/// Whether a name is there, whatever it names.
pub(super) fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// What is in a folder; nothing if it is not there.
pub(super) fn inside(folder: &Path) -> Result<Vec<PathBuf>> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let failed = |source| StoreError::Look { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    Ok(entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>().map_err(failed)?)
}

#[derive(Debug, thiserror::Error)]
#[error("writing to {}: the path has no name for a folder", path.display())]
struct NoName {
    path: PathBuf,
}

impl Cause for NoName {
    fn kind(&self) -> Kind {
        Kind::Request
    }
}
