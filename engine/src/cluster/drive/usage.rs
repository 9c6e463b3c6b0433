//! What this process has taken of its machine.
//!
//! In: nothing. Out: processor time and the largest resident set, from its start until now. Never: of a thread; tasks that run at the same
//! time share the process.

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};

/// What a process has taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time, user and system, in microseconds.
    pub cpu_micros: u64,
    /// Largest resident set in bytes.
    pub peak_bytes: u64,
}

impl Usage {
    /// Until now; nothing where the system does not tell.
    pub fn now() -> Usage {
        let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Usage::default() };
        let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        // Linux counts in KiB, macOS in bytes.
        let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
        let known = |number: i64| u64::try_from(number).unwrap_or(0);
        Usage { cpu_micros: known(micros), peak_bytes: known(usage.max_rss()) * unit }
    }
}

#[cfg(test)]
mod tests {
    use super::Usage;

    #[test]
    fn work_takes_processor_time() {
        let before = Usage::now();
        assert!(before.peak_bytes > 1 << 20, "{before:?}");
        let mut number = 1_u64;
        while Usage::now().cpu_micros < before.cpu_micros + 2_000 {
            number = std::hint::black_box(number.wrapping_mul(3));
        }
    }
}
