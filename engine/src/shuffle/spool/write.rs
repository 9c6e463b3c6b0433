//! The frames of an attempt that has not ended.
//!
//! In: batches, by group, from several threads. Out: the ledger, when it ends. Never: a frame that somebody could ask
//! for before; memory beyond the spool's share, but for what is on its way to a file.

use std::sync::{
    Arc, Condvar, Mutex, PoisonError,
    atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};

use super::{Frame, Held, Spool, SpoolError, SpoolFile, lock};
use crate::{
    batch::Batch,
    error::{Error, Result},
    shuffle::{
        frame::{Codec, FrameHeader, encode_frame_with},
        numbers::{AttemptKey, GroupId, GroupTotal, Round, Sequence},
    },
};

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
    pub(super) fn new(
        spool: &Arc<Spool>,
        key: AttemptKey,
        group_count: usize,
        job_bytes: Arc<AtomicU64>,
    ) -> SpoolWriter {
        SpoolWriter {
            spool: Arc::clone(spool),
            key,
            job_bytes,
            groups: (0..group_count).map(|_| Mutex::default()).collect(),
            all_bytes: AtomicU64::new(0),
            memory_bytes: AtomicU64::new(0),
            next_file: AtomicU32::new(0),
            files: Arc::default(),
        }
    }

    /// How many groups there are.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Appends the rows of `batch` to a group. Called by the compute threads, in parallel; `hash_sum` is the sum of
    /// the rows' partition hashes.
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
            hash_sum,
        };
        let mut bytes = Vec::new();
        let codec = self.spool.options.codec;
        let frame_bytes = encode_frame_with(&header, batch, codec, &mut bytes)? as u64;
        if codec != Codec::None {
            // Room was made for buffers as long as they were.
            bytes.shrink_to_fit();
        }
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
                // Nobody is left to hold it.
                Ok(file) if state.is_dropped => drop(file),
                Ok(file) => state.written.push(file),
                Err(error) => state.failure = Some(error),
            }
            files.bell.notify_all();
        });
        Ok(())
    }

    /// The attempt has ended: from now on its frames can be asked for. Waits for its files; from outside of the
    /// compute threads.
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
        let written = std::mem::take(&mut state.written);
        // Unlinked outside of the lock.
        drop(state);
        drop(written);
    }
}
