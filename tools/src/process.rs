//! A process of ours, told from another one that got its number later.
//!
//! In: a process number, or what was written down of a process. Out: whether it still runs; a signal to it; its end. Never: a signal
//! to a process that is not the one that was started.
//!
//! A number is given again once its process is gone. A process is the one that was meant if it began at the same moment of the same
//! boot and runs the same program. A descriptor of the process is taken before that is looked at, and signals go to the descriptor:
//! whoever gets the number in between is not hit.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Instant,
};

use serde::{Deserialize, Serialize};

/// Which process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it began: `BOOT/TICKS`, as the kernel names the boot and counts its ticks.
    birth: String,
    /// What it runs.
    program: PathBuf,
}

/// What a process is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// To end by itself.
    Terminate,
    /// Nothing: it ends.
    Kill,
}

impl Process {
    /// The process that has this number now.
    pub fn of(pid: u32) -> io::Result<Process> {
        let program = fs::read_link(format!("/proc/{pid}/exe"))?;
        let birth = birth(pid)?;
        Ok(Process { pid, birth, program: without_deleted(program) })
    }

    /// A handle of it, if it still runs.
    pub fn hold(&self) -> Option<Held> {
        let held = Held::open(self.pid).ok()?;
        (Process::of(self.pid).ok().as_ref() == Some(self)).then_some(held)
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.hold().is_some()
    }
}

/// The boot and the tick at which a process began; an error if it has ended.
fn birth(pid: u32) -> io::Result<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = ticks_of(&stat).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    Ok(format!("{}/{ticks}", boot.trim()))
}

/// The tick of the start in a line of `/proc/PID/stat`; none if the process has ended and is only not yet forgotten.
fn ticks_of(stat: &str) -> Option<u64> {
    // The name stands in brackets and may hold brackets and spaces itself: fields are counted from behind it.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    // Field 22 of proc_pid_stat(5); the state is field 3.
    fields.nth(22 - 4)?.parse().ok()
}

/// A program's path as it was before its file was replaced.
fn without_deleted(program: PathBuf) -> PathBuf {
    let text = program.to_str().and_then(|text| text.strip_suffix(" (deleted)"));
    text.map(|text| Path::new(text).to_owned()).unwrap_or(program)
}

#[cfg(target_os = "linux")]
pub use held::Held;

#[cfg(target_os = "linux")]
mod held {
    //! Process descriptors of Linux.
    use super::{Ask, Instant, io};
    use std::{os::fd::OwnedFd, time::Duration};

    use rustix::{
        event::{PollFd, PollFlags, Timespec, poll},
        process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
    };

    /// A running process.
    #[derive(Debug)]
    pub struct Held(OwnedFd);

    impl Held {
        pub(super) fn open(pid: u32) -> io::Result<Held> {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            let pid = pid.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            Ok(Held(pidfd_open(pid, PidfdFlags::empty())?))
        }

        /// Sends it a signal; one that has ended takes it too.
        pub fn ask(&self, ask: Ask) {
            let signal = match ask {
                Ask::Terminate => Signal::TERM,
                Ask::Kill => Signal::KILL,
            };
            let _ = pidfd_send_signal(&self.0, signal);
        }

        /// Waits for its end, until `deadline`; whether it has ended.
        pub fn wait(&self, deadline: Instant) -> bool {
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                // A descriptor of a process is readable once that has ended.
                let mut waited = [PollFd::new(&self.0, PollFlags::IN)];
                match poll(&mut waited, Timespec::try_from(left).ok().as_ref()) {
                    Ok(ended) if ended > 0 => return true,
                    Err(error) if error != rustix::io::Errno::INTR => return false,
                    _ if left == Duration::ZERO => return false,
                    _ => {}
                }
            }
        }
    }
}

/// Elsewhere there is no `/proc` to tell processes by, so none is held.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub struct Held(std::convert::Infallible);

#[cfg(not(target_os = "linux"))]
impl Held {
    fn open(_: u32) -> io::Result<Held> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    /// Never called.
    pub fn ask(&self, _: Ask) {}

    /// Never called.
    pub fn wait(&self, _: Instant) -> bool {
        false
    }
}

/// Leaves the terminal and the shell that started us: their signals are not for us.
pub fn detach() {
    // It fails for who leads a session already: then there is nothing to leave.
    let _ = rustix::process::setsid();
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::{
        process::{Command, Stdio},
        time::Duration,
    };

    use super::*;

    #[test]
    fn a_line_of_stat_is_read_behind_the_name() {
        let line = |state| format!("7 (a) b (c)) {state} 1 7 7 0 -1 4194304 90 0 0 0 1 2 0 0 20 0 1 0 4242 1000 9");
        assert_eq!(ticks_of(&line("S")), Some(4242));
        assert_eq!(ticks_of(&line("Z")), None);
        assert_eq!(ticks_of("7 (a"), None);
        assert_eq!(without_deleted("/a/windrow (deleted)".into()), Path::new("/a/windrow"));
    }

    #[test]
    fn a_process_is_held_while_it_is_the_same() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let process = Process::of(child.id()).unwrap();
        assert!(process.is_running());
        let other_birth = Process { birth: format!("{}1", process.birth), ..process.clone() };
        let other_program = Process { program: "/bin/none".into(), ..process.clone() };
        assert!(!other_birth.is_running() && !other_program.is_running());

        let held = process.hold().unwrap();
        assert!(!held.wait(Instant::now()));
        held.ask(Ask::Terminate);
        assert!(held.wait(Instant::now() + Duration::from_secs(60)));
        // Ended, though its parent has not asked for its status yet.
        assert!(!process.is_running());
        child.wait().unwrap();
        held.ask(Ask::Kill);
    }

    #[test]
    fn we_are_ourselves() {
        let ours = Process::of(std::process::id()).unwrap();
        assert!(ours.is_running());
        let text = serde_json::to_string(&ours).unwrap();
        assert_eq!(serde_json::from_str::<Process>(&text).unwrap(), ours);
    }
}
