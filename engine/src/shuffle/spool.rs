//! The spool of a node: the frames of its attempts, kept by their producer until their job ends.
//!
//! In: batches, by group, from the threads of an attempt. Out: when the attempt has ended, its ledger; then its frames, to whoever asks, any
//! number of times. Never: a frame of an attempt that has not ended; waits for a consumer; more bytes than its quota.
//!
//! ```text
//!   begin ──► writing ──(memory full)──► its frames go to a file, and on it goes ──► finish ──► held ──► dropped with its job
//!                └──(dropped before)──► gone, with its files
//! ```
//! Frames stay in memory first. When the spool's share of memory is full, the attempt that asks for more writes what it has to a file of
//! its own (`index.rs`), on an I/O thread, and goes on. Files are written once, never changed, mapped when they are read, and only
//! unlinked. What an earlier life of the process left is swept at the start.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;

use super::{
    frame::{FrameHeader, encode_frame},
    index::{GroupIndex, IndexError, SpoolIndex},
    numbers::{AttemptKey, Epoch, GroupId, GroupTotal, JobId, Round, Sequence},
};
use crate::{
    batch::Batch,
    error::{Cause, Error, Kind, Result, bug},
    memory::map_file,
    store::{Io, remove_all},
};

/// Where a spool keeps what, and how much.
#[derive(Clone, Debug)]
pub struct SpoolOptions {
    /// Folders of its own; the first one that has room is used.
    pub folders: Vec<PathBuf>,
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

/// A file of an attempt, mapped.
struct SpoolFile {
    path: PathBuf,
    bytes: Bytes,
    index: SpoolIndex,
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
        Arc::new(SpoolWriter {
            spool: Arc::clone(self),
            key,
            job_bytes,
            groups: (0..group_count).map(|_| Mutex::default()).collect(),
            all_bytes: AtomicU64::new(0),
            memory_bytes: AtomicU64::new(0),
            next_file: AtomicU32::new(0),
            files: Arc::default(),
        })
    }

    /// The frames of these groups of an attempt, each whole, in no particular order. `None` if the attempt is not held.
    pub fn frames(&self, key: &AttemptKey, groups: &[GroupId]) -> Option<impl Iterator<Item = Bytes> + Send + use<>> {
        let held = Arc::clone(lock(&self.held).get(key)?);
        let groups: Vec<usize> = groups.iter().map(|group| usize::from(group.0)).collect();
        Some(groups.into_iter().flat_map(move |group| {
            let memory = held.memory.get(group).into_iter().flatten().map(|frame| frame.bytes.clone());
            let memory: Vec<Bytes> = memory.collect();
            let of_file = |file: &SpoolFile| {
                let place = file.index.groups.get(group)?;
                Some(file.bytes.slice(place.offset as usize..(place.offset + place.bytes) as usize))
            };
            let files: Vec<Bytes> = held.files.iter().filter_map(of_file).filter(|bytes| !bytes.is_empty()).collect();
            memory.into_iter().chain(files)
        }))
    }

    /// Gives an ended attempt away: its frames in files, which are the caller's from now on, and what they hold.
    pub fn release(&self, key: &AttemptKey) -> Result<Vec<PathBuf>> {
        let Some(held) = lock(&self.held).remove(key) else { return Ok(Vec::new()) };
        let Some(mut held) = Arc::into_inner(held) else {
            return Err(bug("shuffle", "an attempt given away while it is read"));
        };
        let mut paths: Vec<PathBuf> = std::mem::take(&mut held.files).into_iter().map(|file| file.path).collect();
        if held.memory.iter().any(|frames| !frames.is_empty()) {
            paths.push(self.write_file(key, paths.len() as u32, &held.memory)?.path);
        }
        Ok(paths)
    }

    /// Takes an ended attempt that another process of this node has written in these files; what they hold must be `totals`.
    pub fn adopt(self: &Arc<Spool>, key: AttemptKey, paths: Vec<PathBuf>, totals: &[GroupTotal]) -> Result<()> {
        let files = paths.into_iter().map(SpoolFile::open).collect::<Result<Vec<_>>>()?;
        let mut found = vec![GroupTotal::default(); totals.len()];
        for file in &files {
            let index = &file.index;
            let is_its =
                (index.job, index.stage, index.task, index.attempt) == (key.job, key.stage, key.task, key.attempt);
            if !is_its || index.groups.len() != totals.len() {
                return Err(SpoolError::Other { path: file.path.clone(), key }.into());
            }
            for (total, group) in found.iter_mut().zip(&index.groups) {
                let GroupIndex { rows, bytes, frames, hash_sum, .. } = *group;
                total.add(&GroupTotal { rows, bytes, frames, hash_sum });
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

/// The frames of an attempt that has not ended. Dropped before it is finished it leaves nothing.
pub struct SpoolWriter {
    spool: Arc<Spool>,
    key: AttemptKey,
    job_bytes: Arc<AtomicU64>,
    groups: Vec<Mutex<GroupFrames>>,
    /// Bytes of all its frames; none once they are a held attempt's.
    all_bytes: AtomicU64,
    /// Of those in memory.
    memory_bytes: AtomicU64,
    next_file: AtomicU32,
    files: Arc<Files>,
}

#[derive(Default)]
struct GroupFrames {
    next_sequence: u64,
    frames: Vec<Frame>,
    total: GroupTotal,
}

/// A frame in memory with what the index wants to know of it.
struct Frame {
    bytes: Bytes,
    rows: u64,
    hash_sum: u64,
}

/// The files of a writer: those that are written, and how many are on their way.
#[derive(Default)]
struct Files {
    state: Mutex<FilesState>,
    bell: Condvar,
}

#[derive(Default)]
struct FilesState {
    pending: usize,
    written: Vec<SpoolFile>,
    failure: Option<Error>,
    /// The writer is gone: what is still written is removed.
    is_dropped: bool,
}

impl SpoolWriter {
    /// How many groups there are.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Appends the rows of `batch` to a group. Called by the compute threads, in parallel; `hash_sum` is the sum of the rows' partition
    /// hashes.
    pub fn put(&self, group: GroupId, batch: &Batch, hash_sum: u64) -> Result<()> {
        let slot = &self.groups[usize::from(group.0)];
        let sequence = {
            let mut frames = lock(slot);
            frames.next_sequence += 1;
            Sequence(frames.next_sequence - 1)
        };
        let header = FrameHeader {
            job: self.key.job,
            epoch: self.spool.options.epoch,
            stage: self.key.stage,
            round: Round(0),
            task: self.key.task,
            attempt: self.key.attempt,
            group,
            sequence,
        };
        let mut bytes = Vec::new();
        let frame_bytes = encode_frame(&header, batch, &mut bytes)? as u64;
        let job_bytes = self.job_bytes.fetch_add(frame_bytes, Relaxed) + frame_bytes;
        self.all_bytes.fetch_add(frame_bytes, Relaxed);
        self.memory_bytes.fetch_add(frame_bytes, Relaxed);
        let spool_bytes = self.spool.memory_bytes.fetch_add(frame_bytes, Relaxed) + frame_bytes;
        let rows = batch.num_rows() as u64;
        {
            let mut frames = lock(slot);
            frames.frames.push(Frame { bytes: bytes.into(), rows, hash_sum });
            frames.total.add(&GroupTotal { rows, bytes: frame_bytes, frames: 1, hash_sum });
        }
        if job_bytes > self.spool.options.job_bytes {
            return Err(
                SpoolError::Quota { job: self.key.job, bytes: job_bytes, max: self.spool.options.job_bytes }.into()
            );
        }
        if spool_bytes > self.spool.options.memory_bytes {
            self.flush()?;
        }
        Ok(())
    }

    /// Sends what is in memory to a file; fails if an earlier file could not be written.
    fn flush(&self) -> Result<()> {
        if let Some(failure) = lock(&self.files.state).failure.take() {
            return Err(failure);
        }
        let groups: Vec<Vec<Frame>> = self.groups.iter().map(|group| std::mem::take(&mut lock(group).frames)).collect();
        let bytes: u64 = groups.iter().flatten().map(|frame| frame.bytes.len() as u64).sum();
        if bytes == 0 {
            return Ok(());
        }
        self.memory_bytes.fetch_sub(bytes, Relaxed);
        lock(&self.files.state).pending += 1;
        let number = self.next_file.fetch_add(1, Relaxed);
        let (spool, files, key) = (Arc::clone(&self.spool), Arc::clone(&self.files), self.key);
        self.spool.io.submit(move || {
            let written = spool.write_file(&key, number, &groups);
            // Held until the file is there: a frame is in memory or in a file.
            drop(groups);
            spool.memory_bytes.fetch_sub(bytes, Relaxed);
            let mut state = lock(&files.state);
            state.pending -= 1;
            match written {
                // Nobody is left to drop it.
                Ok(file) if state.is_dropped => file.remove(),
                Ok(file) => state.written.push(file),
                Err(error) => state.failure = Some(error),
            }
            files.bell.notify_all();
        });
        Ok(())
    }

    /// The attempt has ended: from now on its frames can be asked for. Waits for its files; from outside of the compute threads.
    pub fn finish(self: Arc<Self>) -> Result<Vec<GroupTotal>> {
        let mut state = lock(&self.files.state);
        while state.pending > 0 {
            state = self.files.bell.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(failure) = state.failure.take() {
            return Err(failure);
        }
        let files = std::mem::take(&mut state.written);
        drop(state);
        let (mut memory, mut totals) = (Vec::new(), Vec::new());
        for group in &self.groups {
            let mut group = lock(group);
            memory.push(std::mem::take(&mut group.frames));
            totals.push(group.total);
        }
        // What is in memory is the held attempt's now.
        self.memory_bytes.store(0, Relaxed);
        self.all_bytes.store(0, Relaxed);
        let (spool, job_bytes) = (Arc::clone(&self.spool), Arc::clone(&self.job_bytes));
        let held = Held { spool, job_bytes, memory, files, totals: totals.clone() };
        let replaced = lock(&self.spool.held).insert(self.key, Arc::new(held));
        drop(replaced);
        Ok(totals)
    }
}

impl Drop for SpoolWriter {
    fn drop(&mut self) {
        self.spool.memory_bytes.fetch_sub(self.memory_bytes.load(Relaxed), Relaxed);
        self.job_bytes.fetch_sub(self.all_bytes.load(Relaxed), Relaxed);
        let mut state = lock(&self.files.state);
        state.is_dropped = true;
        for file in &state.written {
            file.remove();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let memory: u64 = self.memory.iter().flatten().map(|frame| frame.bytes.len() as u64).sum();
        self.spool.memory_bytes.fetch_sub(memory, Relaxed);
        self.job_bytes.fetch_sub(self.totals.iter().map(|total| total.bytes).sum(), Relaxed);
        for file in &self.files {
            file.remove();
        }
    }
}

impl Spool {
    /// Writes the frames of an attempt to a file in the first folder that takes it.
    fn write_file(&self, key: &AttemptKey, number: u32, groups: &[Vec<Frame>]) -> Result<SpoolFile> {
        let mut failure = None;
        for folder in &self.options.folders {
            let folder = folder.join(key.job.to_string());
            let name = format!("{}.0.{}.{}.{number}.spool", key.stage, key.task, key.attempt);
            let path = folder.join(name);
            let written =
                fs::create_dir_all(&folder).and_then(|()| write_frames(&path, &self.index(key, groups), groups));
            match written {
                Ok(()) => return SpoolFile::open(path),
                Err(source) => {
                    // A half-written file is none.
                    let _ = fs::remove_file(&path);
                    failure = Some(SpoolError::Write { path, source });
                }
            }
        }
        Err(failure.unwrap_or(SpoolError::NoFolder).into())
    }

    fn index(&self, key: &AttemptKey, groups: &[Vec<Frame>]) -> SpoolIndex {
        let mut offset = 0;
        let groups = groups.iter().map(|frames| {
            let mut group = GroupIndex { offset, frames: frames.len() as u64, ..GroupIndex::default() };
            for frame in frames {
                group.bytes += frame.bytes.len() as u64;
                group.rows += frame.rows;
                group.hash_sum = group.hash_sum.wrapping_add(frame.hash_sum);
            }
            offset += group.bytes;
            group
        });
        SpoolIndex {
            job: key.job,
            epoch: self.options.epoch,
            stage: key.stage,
            round: Round(0),
            task: key.task,
            attempt: key.attempt,
            groups: groups.collect(),
        }
    }
}

fn write_frames(path: &Path, index: &SpoolIndex, groups: &[Vec<Frame>]) -> std::io::Result<()> {
    let mut file = File::create_new(path)?;
    for frame in groups.iter().flatten() {
        file.write_all(&frame.bytes)?;
    }
    let mut tail = Vec::new();
    index.encode(&mut tail);
    file.write_all(&tail)
}

impl SpoolFile {
    /// Maps the file and reads its index.
    fn open(path: PathBuf) -> Result<SpoolFile> {
        let mapped = File::open(&path).and_then(|file| map_file(&file));
        let bytes = mapped.map_err(|source| SpoolError::Read { path: path.clone(), source })?;
        let index = SpoolIndex::decode(&bytes).map_err(|source| SpoolError::Index { path: path.clone(), source })?;
        Ok(SpoolFile { path, bytes, index })
    }

    fn remove(&self) {
        // Nobody is left to be told; what stays is swept at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, thiserror::Error)]
enum SpoolError {
    #[error("making the spool's folder {}", folder.display())]
    Folder { folder: PathBuf, source: std::io::Error },
    #[error("writing frames to {}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("reading frames from {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("reading frames from {}", path.display())]
    Index { path: PathBuf, source: IndexError },
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
