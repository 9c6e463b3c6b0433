//! Jobs that programs are, as their users start them: workloads and streaming jobs, here and on clusters, whoever is killed; what is wrong with
//! them is told.
//!
//! In: the binary, inputs made here, a cluster of each test's own. Out: passes, or what was printed. Never: a process left behind by a test; a kill
//! that hit nobody who worked.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "jobs/held.rs"]
mod held; // Held: processes of a job that stand still
#[path = "cluster/place.rs"]
#[allow(dead_code)]
mod place; // Cluster, Ran, newest
#[path = "jobs/streaming.rs"]
mod streaming; // windrow submit streaming
#[path = "jobs/usage.rs"]
mod usage; // what is wrong with a job, an input, a flag
#[path = "jobs/workloads.rs"]
mod workloads; // windrow bench NAME: on some workers, and with one of them killed

use std::{path::Path, process::Command};

use serde_json::Value;

use place::{Cluster, Ran};

/// Runs a command; `HERE` in its words stands for the folder.
fn run(here: &Path, words: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_windrow"));
    command.args(words.iter().map(|word| word.replace("HERE", here.to_str().unwrap())));
    Cluster::prepare_pipes(&mut command);
    command.env("WINDROW_STATE_DIR", here.join("state")).env_remove("WINDROW_LOG");
    place::spawn(command).end()
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(ran.printed()).unwrap_or_else(|error| panic!("{error}: {ran:#?}"))
}
