//! What a run cost: wall seconds, processor seconds, peak memory.
//!
//! In: the moments before and after. Out: [`Cost`]. Never: counts what the engine counts itself (bytes read, rows).
//!
//! Processor seconds are the difference of two `getrusage` of the whole process, so one workload runs at a time. The peak is
//! the largest resident set since the process began: it can only grow from run to run, and says what machine is needed.
//!
//! On a cluster both are the workers': they read the same of themselves, before and after each task.

use std::time::Instant;

use nix::sys::{
    resource::{Usage, UsageWho, getrusage},
    time::TimeValLike,
};
use windrow::{Result, observe::WorkersCost};

use crate::BenchError;

/// What a run cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_bytes: u64,
}

impl Cost {
    /// What the workers took, where there are some, and not who waited for them.
    pub(crate) fn of_workers(self, workers: Option<WorkersCost>) -> Cost {
        let Some(workers) = workers else { return self };
        Cost { cpu_seconds: workers.cpu_micros as f64 / 1e6, peak_bytes: workers.peak_bytes, ..self }
    }
}

/// Runs from [`Clock::start`] to [`Clock::stop`].
pub(crate) struct Clock {
    started: Instant,
    cpu_seconds: f64,
}

impl Clock {
    pub(crate) fn start() -> Result<Clock> {
        Ok(Clock { cpu_seconds: cpu_seconds(&usage()?), started: Instant::now() })
    }

    pub(crate) fn stop(self) -> Result<Cost> {
        let seconds = self.started.elapsed().as_secs_f64();
        let usage = usage()?;
        Ok(Cost { seconds, cpu_seconds: cpu_seconds(&usage) - self.cpu_seconds, peak_bytes: peak_bytes(&usage) })
    }
}

fn usage() -> Result<Usage> {
    Ok(getrusage(UsageWho::RUSAGE_SELF).map_err(|source| BenchError::Usage { source })?)
}

fn cpu_seconds(usage: &Usage) -> f64 {
    (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6
}

/// Linux counts in KiB, macOS in bytes.
fn peak_bytes(usage: &Usage) -> u64 {
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    u64::try_from(usage.max_rss()).unwrap_or(0) * unit
}
