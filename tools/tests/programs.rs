//! A user's program on a cluster: the same bits, whoever is killed; what it does wrong is told, and the cluster takes the next job.
//!
//! In: this binary, which is the program as well as its test; texts made here. Out: passes, or says what differed. Never: a process left
//! behind; a fault that was not seen to happen.
//!
//! It has no harness: a worker starts it as the user's program, and then its `main` must be that program's.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "programs/checks.rs"]
mod checks; // what must hold
#[path = "programs/counted_kept.rs"]
mod counted_kept; // what must hold of counters and checkpoints
#[path = "programs/job.rs"]
mod job;
#[path = "programs/map_reduce.rs"]
mod map_reduce; // a MapReduce job
#[path = "cluster/place.rs"]
#[allow(dead_code)]
mod place; // Cluster, Ran // the program
#[path = "programs/shipped.rs"]
mod shipped; // what must hold of binaries on their way

use std::{env, process::ExitCode};

use windrow::cluster::drive::child::CHILD_VARIABLE;

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    if env::var_os(CHILD_VARIABLE).is_some() || words.first().is_some_and(|word| word == job::NAME) {
        return windrow::launch(job::run);
    }
    // As the harness does it: words choose tests, flags are for others.
    let wanted: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let tests = checks::ALL
        .iter()
        .chain(shipped::ALL)
        .chain(counted_kept::ALL)
        .filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|word| name.contains(*word)));
    for (name, check) in tests {
        eprintln!("test {name} ...");
        check();
    }
    ExitCode::SUCCESS
}
