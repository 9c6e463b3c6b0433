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
#[path = "jobs/workloads.rs"]
mod workloads; // windrow bench NAME: on some workers, and with one of them killed
