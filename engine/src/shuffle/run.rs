//! Runs: rows that an operator keeps on disk because memory does not hold them.
//!
//! In: batches, each for a part of the run. Out: a [`Run`], whose parts are read one by one, in the order of writing, any number of times.
//! Never: a byte on disk before the first run has to be written; a file that outlives its run, or a folder that outlives the process but
//! for a kill; bytes that are believed before they are checked.
//!
//! ```text
//!   begin ──► writer: append(part, batch) … ──► finish ──► run: read(part) … ──► dropped, with its files
//!               │ frames ≤ 1 MiB, into a buffer                  │ a window of the file is mapped, the next one asked for,
//!               │ which goes to the file at 1 MiB                │ its frames are checked and viewed where they lie
//! ```
//! A run is one file of frames (`frame.rs`) one behind the other, several files when a disk filled up meanwhile. What stands where is
//! kept in memory, 32 bytes a frame: each frame's header says run, part and number, and the reader compares them with that list.
//!
//! # Who writes
//!
//! The compute thread, into the system's page cache. That bends "compute never waits for I/O" on purpose: an operator that must give
//! memory back has nothing else to do before it has, and a queue before the disk would hold the very bytes that are to go. While the disk
//! keeps up, writing is a copy; when it does not, the thread waits, and that is the back-pressure.
//!
//! # Where
//!
//! In a folder of our own in each of the folders that the user gave (`place.rs`); the first one that has room is used. A run that meets a
//! full disk goes on in the next folder.

use std::{
    fs, io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::frame::FrameError;
use crate::{
    batch::datatypes::SchemaRef,
    error::{Cause, Kind},
    settings::Settings,
};

mod place; // Place: a folder of our own, its lock, and the sweep of those whose owners are gone
mod read; // RunReader: the batches of a part
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests; // what is written is read; damage and full disks are told
mod write; // RunWriter: batches to frames to files

use place::Place;
pub use read::RunReader;
pub use write::RunWriter;

/// Where runs are kept, and how much.
#[derive(Clone, Debug)]
pub struct RunsOptions {
    /// Folders in which one is made for the runs; the first one that has room is used.
    pub folders: Vec<PathBuf>,
    /// Bytes of all runs together.
    pub bytes_max: u64,
}

/// The runs of a process.
pub struct Runs {
    options: RunsOptions,
    /// Of each folder ours, once it is made.
    places: Vec<Mutex<Option<Arc<Place>>>>,
    used_bytes: AtomicU64,
    next_number: AtomicU64,
    /// Buffers that writers have done with.
    buffers: Mutex<Vec<Vec<u8>>>,
}

/// Most buffers that are kept for the next writer.
const BUFFERS_MAX: usize = 16;
/// A buffer that has grown beyond this, for a row of great values, is not kept.
const BUFFER_BYTES_MAX: usize = 4 << 20;

impl Runs {
    /// No runs yet, and nothing on disk.
    pub fn new(options: RunsOptions) -> Arc<Runs> {
        Arc::new(Runs {
            places: options.folders.iter().map(|_| Mutex::default()).collect(),
            options,
            used_bytes: AtomicU64::new(0),
            next_number: AtomicU64::new(0),
            buffers: Mutex::default(),
        })
    }

    /// The runs of a process with these settings, as many as its disks hold.
    pub fn of(settings: &Settings) -> Arc<Runs> {
        Runs::new(RunsOptions { folders: settings.spill_folders.clone(), bytes_max: u64::MAX })
    }

    /// A run of rows of `schema`, of one thread of `holder`.
    pub fn begin(self: &Arc<Runs>, holder: &'static str, schema: &SchemaRef) -> RunWriter {
        let buffer = lock(&self.buffers).pop().unwrap_or_default();
        RunWriter::new(self, self.next_number.fetch_add(1, Relaxed), holder, schema, buffer)
    }

    /// Bytes of all runs that there are.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Relaxed)
    }

    /// Removes all files from under those who use them: for a process that ends without waiting for its jobs.
    pub fn abandon(&self) {
        // Whoever makes a folder at this moment holds its lock; it is not waited for.
        let made = self.places.iter().filter_map(|place| place.try_lock().ok()?.clone());
        made.for_each(|place| place.remove());
    }

    /// Our folder in the folder of this number, made when it is first asked for.
    fn place(&self, number: usize) -> io::Result<Arc<Place>> {
        let mut place = lock(&self.places[number]);
        match &*place {
            Some(place) => Ok(Arc::clone(place)),
            None => Ok(Arc::clone(place.insert(Arc::new(Place::make(&self.options.folders[number])?)))),
        }
    }

    fn keep_buffer(&self, mut buffer: Vec<u8>) {
        let mut buffers = lock(&self.buffers);
        if buffers.len() < BUFFERS_MAX && (1..=BUFFER_BYTES_MAX).contains(&buffer.capacity()) {
            buffer.clear();
            buffers.push(buffer);
        }
    }
}

impl std::fmt::Debug for Runs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Runs({} bytes in {:?})", self.used_bytes(), self.options.folders)
    }
}

/// Rows on disk, by parts. Shared by those who read it; the last one to drop it removes its files.
pub struct Run {
    runs: Arc<Runs>,
    number: u64,
    schema: SchemaRef,
    files: Vec<RunFile>,
    parts: Vec<Part>,
}

/// A file of a run.
#[derive(Debug)]
struct RunFile {
    path: PathBuf,
    bytes: u64,
    /// Where it stands: it must not go before its files.
    _place: Arc<Place>,
}

/// The frames of a part, in the order of writing.
#[derive(Debug, Default)]
struct Part {
    frames: Vec<Frame>,
    rows: u64,
    bytes: u64,
}

/// A frame of a run.
#[derive(Clone, Copy, Debug)]
struct Frame {
    /// Which frame of the run it is.
    sequence: u64,
    offset: u64,
    bytes: u32,
    rows: u32,
    file: u32,
}

impl Run {
    /// How many parts it has: one more than the greatest that something was appended to.
    pub fn part_count(&self) -> usize {
        self.parts.len()
    }

    /// Rows of a part.
    pub fn rows(&self, part: usize) -> u64 {
        self.parts.get(part).map_or(0, |part| part.rows)
    }

    /// Bytes of a part's frames.
    pub fn bytes(&self, part: usize) -> u64 {
        self.parts.get(part).map_or(0, |part| part.bytes)
    }

    /// Bytes of all its files.
    pub fn all_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Rows of all its parts.
    pub fn all_rows(&self) -> u64 {
        self.parts.iter().map(|part| part.rows).sum()
    }

    /// The batches of a part, as they were cut, in the order of writing.
    pub fn read(self: &Arc<Run>, part: usize) -> RunReader {
        RunReader::new(self, part)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        remove(&self.runs, &mut self.files);
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Run({}, {} parts, {:?})", self.number, self.parts.len(), self.files)
    }
}

/// Removes the files of a run.
fn remove(runs: &Runs, files: &mut Vec<RunFile>) {
    for file in files.drain(..) {
        // Nobody is left to be told; what stays goes with the folder.
        let _ = fs::remove_file(&file.path);
        runs.used_bytes.fetch_sub(file.bytes, Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why rows cannot be kept on disk, or come back from there.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// None of the folders took them; this one was the last, or the first one that is full.
    #[error("writing rows of the {holder} that memory does not hold to {}", folder.display())]
    Write {
        /// Whose rows.
        holder: &'static str,
        /// The folder that was given.
        folder: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is no folder.
    #[error("writing rows of the {holder} that memory does not hold: there is no folder for them")]
    NoFolder {
        /// Whose rows.
        holder: &'static str,
    },
    /// All runs together may not be larger.
    #[error("writing rows of the {holder} that memory does not hold: {bytes} bytes are more than the quota of {max}")]
    Quota {
        /// Whose rows.
        holder: &'static str,
        /// Bytes of all runs.
        bytes: u64,
        /// How many may be.
        max: u64,
    },
    /// A file could not be opened or mapped.
    #[error("reading rows back from {} at byte {offset}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// Why not.
        source: io::Error,
    },
    /// The file is shorter than what was written.
    #[error("reading rows back from {} at byte {offset}: the file has been cut", path.display())]
    Cut {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
    },
    /// The bytes are not those that were written.
    #[error("reading rows back from {} at byte {offset}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong with them.
        source: FrameError,
    },
    /// The frame is whole, but another one.
    #[error("reading rows back from {} at byte {offset}: the frame there is another one", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
    },
}

impl Cause for RunError {
    fn kind(&self) -> Kind {
        match self {
            RunError::Write { source, .. } if is_full(source) => Kind::Limit,
            RunError::Quota { .. } | RunError::NoFolder { .. } => Kind::Limit,
            RunError::Write { .. } | RunError::Read { .. } => Kind::Io,
            RunError::Cut { .. } | RunError::Damaged { .. } | RunError::Other { .. } => Kind::Corrupt,
        }
    }
    fn hint(&self) -> Option<String> {
        let text = match self {
            RunError::Write { source, .. } if is_full(source) => {
                "make room there, name a folder with more room (--spill), or give the job more memory (--memory)"
            }
            RunError::Write { .. } | RunError::NoFolder { .. } => {
                "name a folder that can be written (--spill), or give the job more memory (--memory)"
            }
            RunError::Quota { .. } => "give the job more memory (--memory), or raise the quota",
            RunError::Read { .. } => return None,
            RunError::Cut { .. } | RunError::Damaged { .. } | RunError::Other { .. } => {
                "somebody has changed the file, or the disk is failing: run the job again, with another folder (--spill)"
            }
        };
        Some(text.to_owned())
    }
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
