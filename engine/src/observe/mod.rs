//! What is watched while a job runs, and what is told after it.
//!
//! In: counts from operators and scans. Out: [`Counters`], read by the report. Never: on a hot path per row; once a morsel.

mod counters; // Counters: rows, bytes, memory of one job
pub use counters::{Counters, Report};
