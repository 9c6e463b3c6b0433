//! What a user sets: few and physical.
//!
//! In: the values the program or the command line gives. Out: [`Settings`], checked once. Never: reads the environment; that
//! is the binary's task (`windrow::launch` reads the program's flags).

use std::path::PathBuf;

use crate::{
    error::{Cause, Kind, Result},
    limits,
};

/// Threads, memory, morsels and places of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Threads that compute: one loop each. Results do not depend on it.
    pub threads: usize,
    /// Bytes that operators may hold together; what grows when it grows is what fits before it must spill.
    pub memory_bytes: u64,
    /// Bytes that operators may hold together before those that can spill do so; 5/8 of `memory_bytes` unless set. 0 lets them spill at
    /// each chance. Results do not depend on it.
    pub revocable_bytes: Option<u64>,
    /// Folders in which rows are kept that memory does not hold: the first one that has room is used. Nothing is made there before the
    /// first row has to go, and nothing stays. It should be a disk: where the system keeps temporary files in memory, another folder is
    /// better.
    pub spill_folders: Vec<PathBuf>,
    /// Rows of a morsel, what a thread takes at once. Results do not depend on it.
    pub rows_per_morsel: usize,
}

impl Default for Settings {
    /// As many threads as the machine has, three quarters of its memory, the system's folder for temporary files.
    fn default() -> Settings {
        Settings {
            threads: std::thread::available_parallelism().map_or(1, usize::from).min(limits::THREADS_MAX),
            memory_bytes: (machine_memory_bytes() as f64 * limits::MEMORY_FRACTION) as u64,
            revocable_bytes: None,
            spill_folders: vec![std::env::temp_dir()],
            rows_per_morsel: limits::ROWS_PER_MORSEL,
        }
    }
}

impl Settings {
    /// The settings, if each is within its limits.
    pub fn checked(self) -> Result<Settings> {
        let check = |name, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) { Ok(()) } else { Err(OutOfRange { name, value, min, max }) }
        };
        check("threads", self.threads as u64, 1, limits::THREADS_MAX as u64)?;
        check("memory_bytes", self.memory_bytes, limits::MEMORY_BYTES_MIN, u64::MAX)?;
        check("revocable_bytes", self.revocable_bytes.unwrap_or_default(), 0, self.memory_bytes)?;
        check("spill_folders", self.spill_folders.len() as u64, 1, limits::SPILL_FOLDERS_MAX as u64)?;
        let (min, max) = (limits::ROWS_PER_MORSEL_MIN as u64, limits::ROWS_PER_MORSEL_MAX as u64);
        check("rows_per_morsel", self.rows_per_morsel as u64, min, max)?;
        Ok(self)
    }
}

/// Memory of this machine or of the control group that holds us, whichever is less; 4 GiB where it cannot be read.
fn machine_memory_bytes() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
    });
    let group = read("/sys/fs/cgroup/memory.max").and_then(|text| text.trim().parse::<u64>().ok());
    machine.unwrap_or(4 << 30).min(group.unwrap_or(u64::MAX)).max(limits::MEMORY_BYTES_MIN * 2)
}

#[derive(Debug, thiserror::Error)]
#[error("setting {name} to {value}: must be between {min} and {max}")]
struct OutOfRange {
    name: &'static str,
    value: u64,
    min: u64,
    max: u64,
}

impl Cause for OutOfRange {
    fn kind(&self) -> Kind {
        Kind::Request
    }
}
