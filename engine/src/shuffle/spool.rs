//! The spool of a node: the frames of its attempts, kept by their producer until their job ends.
//!
//! In: batches, by group, from the threads of an attempt. Out: when the attempt has ended, its ledger; then its
//! frames, to whoever asks, any number of times. Never: a frame of an attempt that has not ended; a file under its
//! name before it is whole; waits for a consumer; more bytes than a job's quota.
//!
//! ```text
//!   begin ──► writing ──(memory full)──► its frames go to a file, on it goes ──► finish ──► held ──► dropped with its job
//!                └──(dropped before)──► gone, with its files
//! ```
//! Frames stay in memory first. When the spool's share of memory is full, the attempt that asks for more writes what
//! it has to a file of its own (`index.rs`), on an I/O thread, and goes on. Files are written once, under a temporary
//! name, take their own when they are whole, are never changed, mapped in windows when they are read, and unlinked by
//! who holds them. What an earlier life of the process left is swept at the start.
//!
//! Nothing is synced to the disk: a spool is of use only while the process lives that knows what stands in it, and the
//! system's page cache outlives a process. What must outlive the machine is a checkpoint's.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;

use super::{
    frame::{Codec, FrameError},
    index::IndexError,
    numbers::{AttemptKey, Epoch, GroupId, GroupTotal, JobId},
};
use crate::{
    error::{Cause, Kind, Result, bug},
    store::{Io, remove_all},
};

mod file; // SpoolFile: a file of an attempt, written whole or not at all
mod read; // Frames: the frames of some groups, checked
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests; // what is put is given; damage, full folders and quotas are told; nothing is left
mod write; // SpoolWriter: the frames of an attempt that has not ended

use file::SpoolFile;
pub use read::Frames;
pub use write::SpoolWriter;

/// Where a spool keeps what, and how much.
#[derive(Clone, Debug)]
pub struct SpoolOptions {
    /// Folders of its own; the first one that has room is used.
    pub folders: Vec<PathBuf>,
    /// What makes frames shorter: nothing, unless disks or links are slow.
    pub codec: Codec,
    /// Bytes of frames that are kept in memory.
    pub memory_bytes: u64,
    /// Bytes of frames of one job, in memory and in files.
    pub job_bytes: u64,
    /// Which life of the worker this is; it stands in every frame.
    pub epoch: Epoch,
}

/// The attempts of a node.
pub struct Spool {
    options: SpoolOptions,
    io: Arc<Io>,
    memory_bytes: AtomicU64,
    held: Mutex<BTreeMap<AttemptKey, Arc<Held>>>,
    jobs: Mutex<BTreeMap<JobId, Arc<AtomicU64>>>,
}

/// An attempt that has ended.
struct Held {
    spool: Arc<Spool>,
    job_bytes: Arc<AtomicU64>,
    /// Frames in memory, by group.
    memory: Vec<Vec<Frame>>,
    files: Vec<SpoolFile>,
    totals: Vec<GroupTotal>,
}

impl Spool {
    /// Makes the folders, and removes what stands in them.
    pub fn open(options: SpoolOptions, io: &Arc<Io>) -> Result<Arc<Spool>> {
        for folder in &options.folders {
            remove_all(folder)?;
            let failed = |source| SpoolError::Folder { folder: folder.clone(), source };
            fs::create_dir_all(folder).map_err(failed)?;
        }
        Ok(Arc::new(Spool {
            options,
            io: Arc::clone(io),
            memory_bytes: AtomicU64::new(0),
            held: Mutex::default(),
            jobs: Mutex::default(),
        }))
    }

    /// A place for the frames of an attempt, in so many groups.
    pub fn begin(self: &Arc<Spool>, key: AttemptKey, group_count: usize) -> Arc<SpoolWriter> {
        let job_bytes = Arc::clone(lock(&self.jobs).entry(key.job).or_default());
        Arc::new(SpoolWriter::new(self, key, group_count, job_bytes))
    }

    /// The frames of these groups of an attempt, in no particular order. `None` if the attempt is not held.
    pub fn frames(self: &Arc<Spool>, key: &AttemptKey, groups: &[GroupId]) -> Option<Frames> {
        let held = Arc::clone(lock(&self.held).get(key)?);
        Some(Frames::new(held, *key, groups))
    }

    /// Gives an ended attempt away: its frames in files, which are the caller's from now on, and what they hold.
    pub fn release(&self, key: &AttemptKey) -> Result<Vec<PathBuf>> {
        let Some(held) = lock(&self.held).remove(key) else { return Ok(Vec::new()) };
        let Some(mut held) = Arc::into_inner(held) else {
            return Err(bug("shuffle", "an attempt given away while it is read"));
        };
        let mut files = std::mem::take(&mut held.files);
        if held.memory.iter().any(|frames| !frames.is_empty()) {
            files.push(self.write_file(key, files.len() as u32, &held.memory)?);
        }
        Ok(files.into_iter().map(SpoolFile::into_path).collect())
    }

    /// Takes an ended attempt that another process of this node has written in these files; what they hold must be
    /// `totals`. The files are the spool's from now on: what it refuses is removed.
    pub fn adopt(self: &Arc<Spool>, key: AttemptKey, paths: Vec<PathBuf>, totals: &[GroupTotal]) -> Result<()> {
        let files: Vec<Result<SpoolFile>> = paths.into_iter().map(SpoolFile::open).collect();
        let files = files.into_iter().collect::<Result<Vec<_>>>()?;
        let mut found = vec![GroupTotal::default(); totals.len()];
        for file in &files {
            if file.key() != key || file.groups().len() != totals.len() {
                return Err(SpoolError::Other { path: file.path().to_owned(), key }.into());
            }
            for (total, group) in found.iter_mut().zip(file.groups()) {
                total.add(&group.total());
            }
        }
        if found != totals {
            return Err(SpoolError::Differ { key }.into());
        }
        let bytes: u64 = totals.iter().map(|total| total.bytes).sum();
        let job_bytes = Arc::clone(lock(&self.jobs).entry(key.job).or_default());
        let used = job_bytes.fetch_add(bytes, Relaxed) + bytes;
        let memory = totals.iter().map(|_| Vec::new()).collect();
        let held = Held { spool: Arc::clone(self), job_bytes, memory, files, totals: totals.to_vec() };
        if used > self.options.job_bytes {
            return Err(SpoolError::Quota { job: key.job, bytes: used, max: self.options.job_bytes }.into());
        }
        let replaced = lock(&self.held).insert(key, Arc::new(held));
        drop(replaced);
        Ok(())
    }

    /// Bytes of frames that are in memory, held or not yet.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Relaxed)
    }

    /// Forgets an attempt.
    pub fn drop_attempt(&self, key: &AttemptKey) {
        let dropped = lock(&self.held).remove(key);
        // Its files are unlinked outside of the lock.
        drop(dropped);
    }

    /// Forgets the attempts of a job.
    pub fn drop_job(&self, job: JobId) {
        let dropped: Vec<_> = {
            let mut held = lock(&self.held);
            let keys: Vec<AttemptKey> = held.keys().filter(|key| key.job == job).copied().collect();
            keys.iter().filter_map(|key| held.remove(key)).collect()
        };
        drop(dropped);
        lock(&self.jobs).remove(&job);
        for folder in &self.options.folders {
            // What writers on their way still have there goes with them; an empty folder is no harm.
            let _ = fs::remove_dir(folder.join(job.to_string()));
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let memory: u64 = self.memory.iter().flatten().map(|frame| frame.bytes.len() as u64).sum();
        self.spool.memory_bytes.fetch_sub(memory, Relaxed);
        self.job_bytes.fetch_sub(self.totals.iter().map(|total| total.bytes).sum(), Relaxed);
    }
}

/// A frame in memory with what the index wants to know of it.
struct Frame {
    bytes: Bytes,
    rows: u64,
    hash_sum: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why frames cannot be kept, or come back.
#[derive(Debug, thiserror::Error)]
enum SpoolError {
    #[error("making the spool's folder {}", folder.display())]
    Folder { folder: PathBuf, source: std::io::Error },
    #[error("writing frames to {}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("reading frames from {} at byte {offset}", path.display())]
    Read { path: PathBuf, offset: u64, source: std::io::Error },
    #[error("reading frames from {} at byte {offset}: the file has been cut", path.display())]
    Cut { path: PathBuf, offset: u64 },
    #[error("reading frames from {} at byte {offset}", path.display())]
    Index { path: PathBuf, offset: u64, source: IndexError },
    #[error("reading frames from {} at byte {offset}", path.display())]
    Damaged { path: PathBuf, offset: u64, source: FrameError },
    #[error("reading frames from {} at byte {offset}: {what}", path.display())]
    Strange { path: PathBuf, offset: u64, what: &'static str },
    #[error("taking the frames of attempt {key}: {} holds those of another", path.display())]
    Other { path: PathBuf, key: AttemptKey },
    #[error("taking the frames of attempt {key}: its files do not hold what it reported")]
    Differ { key: AttemptKey },
    #[error("writing frames: the spool has no folder")]
    NoFolder,
    #[error("spooling rows of job {job}: {bytes} bytes are more than its quota of {max}")]
    Quota { job: JobId, bytes: u64, max: u64 },
}

impl Cause for SpoolError {
    fn kind(&self) -> Kind {
        match self {
            SpoolError::Write { source, .. } | SpoolError::Folder { source, .. } if is_full(source) => Kind::Limit,
            SpoolError::Folder { .. } | SpoolError::Write { .. } | SpoolError::Read { .. } => Kind::Io,
            SpoolError::Index { source, .. } => source.kind(),
            // What a frame's limits refuse was written within them: it has changed.
            SpoolError::Damaged { source, .. } if source.kind() == Kind::Unsupported => Kind::Unsupported,
            SpoolError::Cut { .. } | SpoolError::Damaged { .. } | SpoolError::Strange { .. } => Kind::Corrupt,
            SpoolError::Other { .. } | SpoolError::Differ { .. } => Kind::Corrupt,
            SpoolError::Quota { .. } | SpoolError::NoFolder => Kind::Limit,
        }
    }
    fn hint(&self) -> Option<String> {
        match self.kind() {
            Kind::Limit => Some("give the workers a spool folder with more room, or let the job read less".to_owned()),
            _ => None,
        }
    }
}

fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
