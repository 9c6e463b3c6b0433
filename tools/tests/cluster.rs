//! A cluster as processes: the same bits on any number of workers, the right answer whoever is killed, typed errors for what is wrong.
//!
//! In: the binary, the library beside it, tables made here, a state folder of each test's own. Out: passes, or says what differed, with
//! the logs of the processes; timings on standard error. Never: a process left behind by a test; a wait without an end; a fault that was
//! not seen to happen.
//!
//! One test runs at a time (`place::machine`): several clusters on two cores would say nothing about time.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "cluster/bad_input.rs"]
mod bad_input; // wrong certificates, paths, statements; large plans; full disks
#[path = "cluster/cancel.rs"]
mod cancel; // a job that is cancelled, a client that is interrupted
#[path = "cluster/equality.rs"]
mod equality; // TPC-H here and on 1 to 4 workers
#[path = "cluster/faults.rs"]
mod faults; // killed workers, a killed coordinator
#[path = "cluster/outputs.rs"]
mod outputs; // COPY: formats, outputs that are there, full disks
#[path = "cluster/place.rs"]
mod place; // Cluster, Ran, machine, tables
#[path = "cluster/profile.rs"]
mod profile; // EXPLAIN ANALYZE, --profile: every number adds up
#[path = "cluster/watched.rs"]
mod watched; // Watched, Running: statements that are looked at while they run
