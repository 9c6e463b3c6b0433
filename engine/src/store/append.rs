//! A file that grows in order, written on the I/O threads.
//!
//! In: pieces of bytes. Out: a file that holds them in the order given, synced at the end. Never: more than a few pieces in flight:
//! who appends is told to wait.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use super::{Io, StoreError};
use crate::error::Result;

/// Bytes that may wait for the disk before the one who appends is told to wait.
const WAITING_BYTES_MAX: usize = 32 << 20;

/// Appends to one file. Used by one thread at a time.
pub struct Appender {
    io: Arc<Io>,
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    file: File,
    state: Mutex<State>,
    idle: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
    is_writing: bool,
    failure: Option<StoreError>,
    written_bytes: u64,
    on_room: Vec<Box<dyn FnOnce() + Send>>,
}

impl Appender {
    /// Creates the file, which must not be there.
    pub fn create(path: &Path, io: &Arc<Io>) -> Result<Appender> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(|source| StoreError::Create { path: path.to_owned(), source })?;
        let shared = Shared { path: path.to_owned(), file, state: Mutex::default(), idle: Condvar::new() };
        Ok(Appender { io: Arc::clone(io), shared: Arc::new(shared) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Appends a piece. `false` when the caller should wait for [`Appender::when_room`] before the next one.
    pub fn append(&self, piece: Vec<u8>) -> Result<bool> {
        let mut state = self.shared.lock();
        if let Some(failure) = state.failure.take() {
            return Err(failure.into());
        }
        state.waiting_bytes += piece.len();
        state.waiting.push_back(piece);
        let has_room = state.waiting_bytes < WAITING_BYTES_MAX;
        if !state.is_writing {
            state.is_writing = true;
            drop(state);
            let shared = Arc::clone(&self.shared);
            self.io.submit(move || shared.write_waiting());
        }
        Ok(has_room)
    }

    /// Calls `action` once there is room again: now, if there is.
    pub fn when_room(&self, action: impl FnOnce() + Send + 'static) {
        let mut state = self.shared.lock();
        if state.waiting_bytes < WAITING_BYTES_MAX || !state.is_writing {
            drop(state);
            action();
        } else {
            state.on_room.push(Box::new(action));
        }
    }

    /// Waits until all is on disk; the bytes written. Not for compute threads.
    pub fn close(self) -> Result<u64> {
        let mut state = self.shared.lock();
        while state.is_writing {
            state = self.shared.idle.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(failure) = state.failure.take() {
            return Err(failure.into());
        }
        let synced = self.shared.file.sync_all();
        synced.map_err(|source| StoreError::Write { path: self.shared.path.clone(), source })?;
        Ok(state.written_bytes)
    }
}

impl Shared {
    fn write_waiting(&self) {
        loop {
            let piece = {
                let mut state = self.lock();
                match state.waiting.pop_front() {
                    Some(piece) => piece,
                    None => {
                        state.is_writing = false;
                        self.idle.notify_all();
                        return;
                    }
                }
            };
            let written = (&self.file).write_all(&piece);
            let mut state = self.lock();
            state.waiting_bytes -= piece.len();
            match written {
                Ok(()) => state.written_bytes += piece.len() as u64,
                Err(source) => {
                    state.failure = Some(StoreError::Write { path: self.path.clone(), source });
                    state.waiting.clear();
                    state.waiting_bytes = 0;
                }
            }
            if state.waiting_bytes < WAITING_BYTES_MAX {
                for action in std::mem::take(&mut state.on_room) {
                    action();
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
