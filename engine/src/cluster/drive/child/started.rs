//! What a process has started: a streaming job's programs, and theirs.
//!
//! In: a process. Out: signals to those that descend from it. Never: one that has left the family, as a daemon does.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// Ends what the process `of` has started, and what that has, as far as it lives; the process itself does not.
pub(super) fn kill_started(of: u32) {
    for process in started(of) {
        // It may have ended meanwhile.
        if let Some(process) = i32::try_from(process).ok().and_then(Pid::from_raw) {
            let _ = kill_process(process, Signal::KILL);
        }
    }
}

/// The processes that descend from `of`.
fn started(of: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let parents: Vec<(u32, u32)> = entries
        .filter_map(|entry| {
            let process = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // Behind the name, which may hold anything: the state, the parent (proc_pid_stat(5)).
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            Some((process, parent))
        })
        .collect();
    let mut found = vec![of];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(process, _)| *process));
        next += 1;
    }
    found.split_off(1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        process::{Command, Stdio},
        time::{Duration, Instant},
    };

    use super::*;

    #[test]
    fn what_was_started_ends_and_the_process_does_not() {
        let script = "sh -c 'sleep 1000 & echo $!; wait' & wait; echo over";
        let mut process = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut printed = BufReader::new(process.stdout.take().unwrap()).lines();
        let sleeper: u32 = printed.next().unwrap().unwrap().parse().unwrap();
        assert!(started(process.id()).contains(&sleeper));
        kill_started(process.id());
        assert_eq!(printed.next().unwrap().unwrap(), "over");
        assert!(process.wait().unwrap().success());
        let lives = || fs::read_to_string(format!("/proc/{sleeper}/stat")).is_ok_and(|stat| !stat.contains(") Z"));
        let deadline = Instant::now() + Duration::from_secs(60);
        while lives() {
            assert!(Instant::now() < deadline, "it lives on");
            std::thread::yield_now();
        }
    }
}
