//! `windrow cluster stop`: ends a cluster's processes and removes its folder.
//!
//! In: a name. Out: a line for each process that was stopped. Never: a signal to a process that is not the one that was started; the
//! folder removed while one of them runs.

use std::time::{Duration, Instant};

use super::{
    NameFlag,
    error::ClusterError,
    folder::{self, COORDINATOR, ClusterFolder, Record},
};
use crate::{
    error::Failure,
    output,
    process::{Ask, Held, Process},
};

/// Stop a cluster of this machine: its workers, then its coordinator
#[derive(clap::Args)]
#[command(after_help = "Jobs that run are lost.\n\nExample:\n  windrow cluster stop")]
pub struct Stop {
    #[command(flatten)]
    name: NameFlag,
}

/// What a process has to end by itself.
const GRACE: Duration = Duration::from_secs(10);
/// What the system has to end one that is killed.
const KILL_GRACE: Duration = Duration::from_secs(10);

impl Stop {
    pub fn run(&self) -> Result<(), Failure> {
        let stopped = stop(&ClusterFolder::of(&self.name.name)?)?;
        let told: String = stopped.iter().map(|(who, pid)| format!("stopped {who} (process {pid})\n")).collect();
        output::text(if told.is_empty() { "nothing ran any more\n" } else { &told })
    }
}

/// Ends a cluster and removes its folder; gives the processes that ran, with their numbers.
pub fn stop(folder: &ClusterFolder) -> Result<Vec<(String, u32)>, ClusterError> {
    let name = folder.name();
    let unknown = || ClusterError::Unknown { name: name.clone(), others: folder::names() };
    // A lock is not made for a name that never was; one that is there may be a start's that has made no folder yet.
    if !folder.path().exists() && !folder.lock_path().exists() {
        return Err(unknown());
    }
    let _lock = folder.lock()?;
    if !folder.path().exists() {
        return Err(unknown());
    }
    // Without a record it was left by a start that was killed before it had started anything.
    let record = folder.read()?.unwrap_or_else(|| Record::new(name, None));
    let stopped = end_all(folder, &record)?;
    clear(folder, &record)?;
    Ok(stopped)
}

/// Ends all processes of a cluster: workers first, while there is somebody to whom they can say that they go.
fn end_all(folder: &ClusterFolder, record: &Record) -> Result<Vec<(String, u32)>, ClusterError> {
    let name = folder.name();
    let (coordinator, workers): (Vec<_>, Vec<_>) = record.processes().partition(|(who, _)| *who == COORDINATOR);
    let mut stopped = Vec::new();
    for processes in [workers, coordinator] {
        let held: Vec<(&str, Process, Held)> = processes
            .into_iter()
            .filter_map(|(who, _)| {
                let process = folder.running(record, who)?;
                let held = process.hold()?;
                Some((who, process, held))
            })
            .collect();
        held.iter().for_each(|(_, _, held)| held.ask(Ask::Terminate));
        let deadline = Instant::now() + GRACE;
        for (who, process, held) in &held {
            if !held.wait(deadline) {
                held.ask(Ask::Kill);
                if !held.wait(Instant::now() + KILL_GRACE) {
                    return Err(ClusterError::Undead { name: name.clone(), who: who_is(who), pid: process.pid });
                }
            }
            stopped.push((who_is(who), process.pid));
        }
    }
    Ok(stopped)
}

/// Removes what is left of a cluster without processes.
pub fn clear(folder: &ClusterFolder, record: &Record) -> Result<(), ClusterError> {
    record.spool.iter().try_for_each(|spool| folder::remove(spool))?;
    folder.remove()
}

/// A process as it is told.
pub fn who_is(who: &str) -> String {
    if who == COORDINATOR { "the coordinator".to_owned() } else { format!("worker {who}") }
}
