//! Windrow: a columnar dataflow engine for batch jobs.
//!
//! Map and reduce over Arrow batches on work-stealing threads; SQL and a Rust API over one plan; the same bits on one thread or
//! many. Start with [`Session`]:
//!
//! ```no_run
//! # fn main() -> windrow::Result<()> {
//! let session = windrow::Session::new(windrow::Settings::default())?;
//! let answer = session.query("select count(*) from 'data/lineitem.parquet'")?;
//! println!("{:?}", answer.batches);
//! # Ok(())
//! # }
//! ```
//!
//! The folders stand in the order in which data meets them; `ARCHITECTURE.md` walks one query and one word count through them.

#![deny(unsafe_code)]

// ── how a flow is written ──────────────────────────────────────────────────────────────────────────────────────────────
pub mod dataset; // Session, Dataset<T>, Record, launch: the Rust API
pub mod mapreduce; // Mapper, Reducer, Job: MapReduce as its users know it
pub mod sql; // SQL text -> logical plan; with expression/ the only folder that knows DataFusion

// ── how it is thought ──────────────────────────────────────────────────────────────────────────────────────────────────
#[doc(hidden)]
pub mod expression; // Expression, Evaluator: a value for each row
#[doc(hidden)]
pub mod plan; // Logical -> PhysicalPlan: what, then how

// ── where it comes from, where it goes ─────────────────────────────────────────────────────────────────────────────────
#[doc(hidden)]
pub mod format; // shapes: Parquet, CSV, JSON, text, Arrow
#[doc(hidden)]
pub mod scan; // Table, splits, reading ahead, pruning
#[doc(hidden)]
pub mod sink; // Target: files written aside, then committed all at once
#[doc(hidden)]
pub mod store; // places: local files, positioned reads on I/O threads

// ── what flows ─────────────────────────────────────────────────────────────────────────────────────────────────────────
pub mod batch; // Batch, Morsel: the border with arrow
#[doc(hidden)]
pub mod kernel; // hash, partition, scatter: SIMD, chosen once; the only unsafe

// ── what is done to it ─────────────────────────────────────────────────────────────────────────────────────────────────
#[doc(hidden)]
pub mod operator; // Source, Transform, Sink and every operator

// ── on which threads, in which memory ──────────────────────────────────────────────────────────────────────────────────
#[doc(hidden)]
pub mod memory; // Governor, Reservation: memory is asked for
#[doc(hidden)]
pub mod schedule; // Threads, Job: pipelines on work-stealing loops

// ── between the machines ───────────────────────────────────────────────────────────────────────────────────────────────
pub mod shuffle; // frame, digest, spool: rows of a group as bytes, kept by their producer

// ── kept, led ──────────────────────────────────────────────────────────────────────────────────────────────────────────
pub mod checkpoint; // the journal's record: what is synced before it is acted upon
pub mod cluster; // coordinator, worker, driver: values; drive: where they meet the world

// ── watched ────────────────────────────────────────────────────────────────────────────────────────────────────────────
pub mod observe; // Counters, Report; Profile: what each step did

pub mod error; // Error, Kind: one error from where it happened to where it is shown
pub mod limits; // every bound, with its unit and derivation
pub mod settings; // Settings: threads, memory, morsels

pub use dataset::{Answer, Dataset, Emitter, Max, Mean, Min, Record, Session, Sum, launch, run_worker};
pub use error::{Error, Kind, Result};
pub use expression::{col, lit};
pub use settings::Settings;
pub use windrow_derive::Record;
