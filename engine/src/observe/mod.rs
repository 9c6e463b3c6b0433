//! What is watched while a job runs, and what is told after it.
//!
//! In: counts from operators and scans; clock readings of threads, where a profile is asked for. Out: [`Counters`], [`Profile`], read by the
//! report. Never: on a hot path per row; once a morsel.

mod counted; // Counted: what the job's own code counts, and what it could not use
mod counters; // Counters: rows, bytes, memory of one job
mod counting; // Counter: counts from within closures
mod flame; // a profile as a flame graph
mod profile; // Profile: what each step did, and when its threads were busy
mod stages; // StageReport, WorkerReport: what a job on a cluster cost

pub use counted::{COUNTERS_MAX, Counted, Skipped};
pub use counters::{Counters, Report, WorkersCost};
pub(crate) use counting::tallied;

pub use counting::Counter;
pub use flame::flame_graph;
pub use profile::{Clock, Holding, PipelineReport, Profile, ProfileReport, StepReport, Tested};
pub use stages::{StageReport, WastedReport, WorkerReport};
