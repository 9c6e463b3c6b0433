//! The counts of one job.
//!
//! In: one addition a morsel or a read. Out: a [`Report`]. Never: decides anything; results do not depend on it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts that the threads of a job add to.
#[derive(Default, Debug)]
pub struct Counters {
    bytes_in: AtomicU64,
    rows_in: AtomicU64,
    rows_out: AtomicU64,
    spilled_bytes: AtomicU64,
    shuffled_bytes: AtomicU64,
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
    /// What was counted until now.
    pub fn report(&self) -> Report {
        Report {
            bytes_in: self.bytes_in.load(Relaxed),
            rows_in: self.rows_in.load(Relaxed),
            rows_out: self.rows_out.load(Relaxed),
            spilled_bytes: self.spilled_bytes.load(Relaxed),
            shuffled_bytes: self.shuffled_bytes.load(Relaxed),
        }
    }
}

/// What a job read and gave.
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
    /// Bytes that went between nodes.
    pub shuffled_bytes: u64,
}
