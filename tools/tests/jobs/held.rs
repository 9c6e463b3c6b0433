//! Processes that workers have started for a job, made to stand still, so that a moment of the job can be waited for without a clock.
//!
//! In: the worker. Out: its processes stand still, until they are told to go on. Never: one that stands still when the test is over.

use std::{collections::BTreeMap, fs};

use rustix::process::{Pid, Signal, kill_process};

use crate::place::Cluster;

/// The processes that stand still, and whose they are.
#[derive(Default)]
pub struct Held {
    processes: BTreeMap<u32, String>,
}

impl Held {
    /// Makes the processes of workers stand still; those that come later are to be asked for again.
    pub fn hold<'a>(&mut self, cluster: &Cluster, workers: impl Iterator<Item = &'a str>) {
        let workers: BTreeMap<u32, &str> =
            workers.map(|worker| (cluster.worker(number_of(worker)).pid, worker)).collect();
        for (process, parent) in programs() {
            if let (Some(worker), false) = (workers.get(&parent), self.processes.contains_key(&process)) {
                signal(process, Signal::STOP);
                self.processes.insert(process, (*worker).to_owned());
            }
        }
    }

    pub fn holds(&self, worker: &str) -> bool {
        self.processes.values().any(|held| held == worker)
    }

    /// A worker's processes go on.
    pub fn release(&mut self, worker: &str) {
        self.processes.retain(|process, held| {
            let stays = held != worker;
            if !stays {
                signal(*process, Signal::CONT);
            }
            stays
        });
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.processes.keys().for_each(|process| signal(*process, Signal::CONT));
    }
}

/// The place of a worker by its name.
pub fn number_of(worker: &str) -> usize {
    worker.strip_prefix('w').unwrap().parse::<usize>().unwrap() - 1
}

/// One that has ended meanwhile needs no signal.
fn signal(process: u32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(i32::try_from(process).unwrap()).unwrap(), signal);
}

/// The workload programs that live, and who has started each.
fn programs() -> Vec<(u32, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        // Between its fork and its exec it is the worker still.
        if line.split(|byte| *byte == 0).nth(1) != Some(windrow_bench::PROGRAM.as_bytes()) {
            continue;
        }
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let mut fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default().split_whitespace();
        // Fields 3 and 4 of proc_pid_stat(5): its state, its parent.
        if let (Some("R" | "S" | "D" | "T"), Some(Ok(parent))) = (fields.next(), fields.next().map(str::parse)) {
            found.push((process, parent));
        }
    }
    found
}
