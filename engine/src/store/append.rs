//! A file that grows in order, written on the I/O threads.
//!
//! In: pieces of bytes. Out: a file that holds them in the order given, synced and closed at the end. Never: more than a few pieces in
//! flight: who appends is told to wait.

use std::{
    collections::VecDeque,
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use super::{Disk, Io, StoreError};
use crate::error::Result;

/// Appends to one file. Used by one thread at a time.
pub struct Appender {
    io: Arc<Io>,
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    disk: Disk,
    /// Bytes that may wait for the disk before the one who appends is told to wait.
    waiting_bytes_max: usize,
    state: Mutex<State>,
    idle: Condvar,
}

/// open → ending → closed: nothing is appended any more; synced, and no longer held open.
struct State {
    file: Option<Arc<File>>,
    is_ending: bool,
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
    is_writing: bool,
    failure: Option<StoreError>,
    written_bytes: u64,
    on_room: Vec<Box<dyn FnOnce() + Send>>,
}

impl Appender {
    /// Creates the file, which must not be there. `waiting_bytes_max`: so many may wait for the disk.
    pub fn create(path: &Path, waiting_bytes_max: usize, io: &Arc<Io>) -> Result<Appender> {
        let file = io.disk().create(path)?;
        let state = State {
            file: Some(Arc::new(file)),
            is_ending: false,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            is_writing: false,
            failure: None,
            written_bytes: 0,
            on_room: Vec::new(),
        };
        let (path, disk, state) = (path.to_owned(), io.disk().clone(), Mutex::new(state));
        let shared = Shared { path, disk, waiting_bytes_max, state, idle: Condvar::new() };
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
        let has_room = state.waiting_bytes < self.shared.waiting_bytes_max;
        self.work(state);
        Ok(has_room)
    }

    /// Calls `action` once there is room again: now, if there is.
    pub fn when_room(&self, action: impl FnOnce() + Send + 'static) {
        let mut state = self.shared.lock();
        if state.waiting_bytes < self.shared.waiting_bytes_max || !state.is_writing {
            drop(state);
            action();
        } else {
            state.on_room.push(Box::new(action));
        }
    }

    /// Nothing more comes: once all is written the file is synced and closed, which nobody waits for yet.
    pub fn end(&self) {
        let mut state = self.shared.lock();
        state.is_ending = true;
        self.work(state);
    }

    /// Waits until all is on disk; the bytes written. Not for compute threads.
    pub fn close(self) -> Result<u64> {
        self.end();
        let mut state = self.shared.lock();
        while state.is_writing {
            state = self.shared.idle.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        match state.failure.take() {
            Some(failure) => Err(failure.into()),
            None => Ok(state.written_bytes),
        }
    }

    /// Has an I/O thread do what waits, unless one does.
    fn work(&self, mut state: MutexGuard<'_, State>) {
        if !state.is_writing {
            state.is_writing = true;
            drop(state);
            let shared = Arc::clone(&self.shared);
            self.io.submit(move || shared.write_waiting());
        }
    }
}

impl Shared {
    fn write_waiting(&self) {
        loop {
            let mut state = self.lock();
            let (piece, file, offset) = (state.waiting.pop_front(), state.file.clone(), state.written_bytes);
            let (Some(piece), Some(file)) = (piece, file) else {
                let ended = if state.is_ending { state.file.take() } else { None };
                let Some(file) = ended else {
                    state.is_writing = false;
                    self.idle.notify_all();
                    return;
                };
                let has_failed = state.failure.is_some();
                drop(state);
                let synced = if has_failed { Ok(()) } else { self.disk.sync(&file, &self.path) };
                if let Err(failure) = synced {
                    self.lock().failure = Some(failure);
                }
                continue;
            };
            drop(state);
            let written = self.disk.write(&file, &self.path, offset, &piece);
            drop(file);
            let mut state = self.lock();
            state.waiting_bytes -= piece.len();
            match written {
                Ok(()) => state.written_bytes += piece.len() as u64,
                Err(failure) => {
                    state.failure = Some(failure);
                    state.waiting.clear();
                    state.waiting_bytes = 0;
                }
            }
            if state.waiting_bytes < self.waiting_bytes_max {
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
