//! The counts of one job.
//!
//! In: one addition a morsel or a read. Out: a [`Report`]. Never: decides anything; results do not depend on it.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::Counted;
use crate::error::Result;

/// Counts that the threads of a job add to.
#[derive(Default, Debug)]
pub struct Counters {
    bytes_in: AtomicU64,
    rows_in: AtomicU64,
    rows_out: AtomicU64,
    spilled_bytes: AtomicU64,
    skipped: AtomicU64,
    counted: Mutex<Counted>,
}

impl Counters {
    /// Bytes that were read from files.
    pub fn add_bytes_in(&self, bytes: u64) {
        self.bytes_in.fetch_add(bytes, Relaxed);
    }
    /// Rows that scans gave.
    pub fn add_rows_in(&self, rows: usize) {
        self.rows_in.fetch_add(rows as u64, Relaxed);
    }
    /// Rows of the answer.
    pub fn add_rows_out(&self, rows: usize) {
        self.rows_out.fetch_add(rows as u64, Relaxed);
    }
    /// Bytes that an operator wrote to disk for want of memory.
    pub fn add_spilled_bytes(&self, bytes: u64) {
        self.spilled_bytes.fetch_add(bytes, Relaxed);
    }
    /// Another record that the job's code could not use; how many there are by now.
    pub fn add_skipped(&self) -> u64 {
        self.skipped.fetch_add(1, Relaxed) + 1
    }
    /// What the job's own code has counted in one of its lives.
    pub fn add_counted(&self, counted: &Counted) -> Result<()> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).merge(counted)
    }
    /// What the job's own code has counted until now.
    pub fn counted(&self) -> Counted {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// What was counted until now.
    pub fn report(&self) -> Report {
        Report {
            bytes_in: self.bytes_in.load(Relaxed),
            rows_in: self.rows_in.load(Relaxed),
            rows_out: self.rows_out.load(Relaxed),
            spilled_bytes: self.spilled_bytes.load(Relaxed),
            ..Report::default()
        }
    }
}

/// What a job read and gave. On a cluster: its attempts that count, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Bytes read from files.
    pub bytes_in: u64,
    /// Rows that scans gave.
    pub rows_in: u64,
    /// Rows of the answer.
    pub rows_out: u64,
    /// Bytes that operators wrote to disk for want of memory.
    pub spilled_bytes: u64,
    /// Bytes that stages gave to others; none in process.
    pub shuffled_bytes: u64,
    /// Bytes of the answer that came over the network; none in process.
    pub pulled_bytes: u64,
    /// What the workers of a cluster took for it; none in process, where it is the process that took it.
    pub workers: Option<WorkersCost>,
}

/// What the workers of a cluster took for a job, work in vain included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkersCost {
    /// Processor time of their processes, user and system, while tasks of the job ran there; in microseconds.
    pub cpu_micros: u64,
    /// Largest resident set of one of them.
    pub peak_bytes: u64,
}
