//! What is done to batches: operators, by the three roles they play in a pipeline.
//!
//! In: morsels. Out: morsels, or a state that another pipeline reads. Never: waits for I/O, starts a thread, or looks at a clock.
//!
//! ```text
//!   Source ──► Transform ──► Transform ──► Sink          one pipeline; each thread drives its own copy of the chain
//!      │                                     │           over the shared states behind it
//!   shared state                        shared state ──► Source of the next pipeline
//! ```
//! An operator is a shared state (`Arc`, used by all threads) that hands each thread its own part ([`SourceThread`] and so on).
//! One state may serve several roles: a hash join is a sink while it is built, a transform while it is probed and a source for
//! the rows that nobody matched. Life of a sink: every thread's `push`…, then its `finish`; after the last thread's finish
//! `finalize` once, and the tasks it returns in parallel; only then do the pipelines that wait for it start.

pub mod aggregate; // Aggregate: grouping with exact, order-free states
pub mod collect; // Collect: the answer, in memory; Scalar: one value for a parameter
pub mod exchange; // ExchangeSink, ExchangeSource: the two ends of a shuffle
pub mod filter; // Filter: keeps the rows for which a predicate holds
pub mod groups; // Groups: the user's closure over the rows of each key, in order
pub mod join; // HashJoin, NestedLoopJoin
pub mod limit; // Limit: the first rows by position in the scan
pub mod map; // MapBatches: the user's closure over batches
pub mod project; // Project: columns from expressions
pub mod share; // Share: rows that several pipelines read; Cached: rows that later jobs read
pub mod sort; // Sort, TopK: total order, ties by row content
pub mod splits; // MapSplits: the user's code over the rows of splits, with a beginning and an end
pub mod tee; // Tee: rows that go into several sinks
pub mod values; // Values: rows that stand in the plan
pub mod window; // Window: functions over the rows around a row

mod cancel; // Cancel: somebody asks a job to stop
#[cfg(test)]
pub mod testing; // fake upstream, fake downstream
mod wake; // Wake: what a blocked role waits for

pub use cancel::{Cancel, Cancelled};
pub use wake::Wake;

use std::sync::Arc;

use crate::{
    batch::{Batch, Morsel},
    error::Result,
    memory::{Governor, Reservation, Revoked},
    observe::{Counters, Holding},
    settings::Settings,
    shuffle::Runs,
};

/// What a role says after it was called.
pub enum Outcome {
    /// Nothing to do until the wake fires. A sink that says so has taken the morsel it was given.
    Blocked(Wake),
    /// Call again.
    More,
    /// No more will be given (a source), or taken (a transform or a sink).
    Enough,
}

/// What every operator of a job can reach.
#[derive(Clone)]
pub struct JobContext {
    /// Threads, memory, morsels.
    pub settings: Arc<Settings>,
    /// Who grants memory.
    pub governor: Arc<Governor>,
    /// Where rows go that memory does not hold.
    pub runs: Arc<Runs>,
    /// Has somebody asked to stop?
    pub cancel: Cancel,
    /// Rows and bytes seen, for the report.
    pub counters: Arc<Counters>,
    /// Of the operator whose context it is, where a profile is asked for.
    pub holding: Option<Arc<Holding>>,
}

impl JobContext {
    /// Memory for `holder`, none yet.
    pub fn reservation(&self, holder: &'static str) -> Reservation {
        self.governor.reservation(holder).seen_by(self.holding.as_ref())
    }

    /// Tells of bytes that were written to disk for want of memory.
    pub fn add_spilled_bytes(&self, bytes: u64) {
        self.counters.add_spilled_bytes(bytes);
        if let Some(holding) = &self.holding {
            holding.add_spilled_bytes(bytes);
        }
    }
}

/// Gives morsels. `thread` is called once for each thread that drives the pipeline, in parallel.
pub trait Source: Send + Sync {
    /// The part that one thread drives.
    fn thread(&self) -> Result<Box<dyn SourceThread>>;
    /// The pipeline has ended: nothing is asked for any more. Called once.
    fn close(&self) {}
    /// Where the rows of a split stand, if the source reads files.
    fn place(&self, _split: u32) -> Option<splits::SplitPlace> {
        None
    }
}

/// One thread's part of a [`Source`].
pub trait SourceThread: Send {
    /// The next morsel, if there is one now. With `Enough` a last morsel may still come.
    fn pull(&mut self) -> Result<(Option<Morsel>, Outcome)>;
    /// The pull that has just failed was refused memory before it did anything: with more memory it may be called again.
    fn can_pull_again(&self) -> bool {
        false
    }
}

/// Where a transform's morsels go: the rest of the pipeline.
pub type Next<'a> = &'a mut dyn FnMut(Morsel) -> Result<Outcome>;

/// Where what a closure gives goes.
pub type Emit<'a> = &'a mut dyn FnMut(Batch) -> Result<()>;

/// Turns morsels into morsels. `thread` may be called in parallel.
pub trait Transform: Send + Sync {
    /// The part that one thread drives.
    fn thread(&self) -> Result<Box<dyn TransformThread>>;
    /// Nothing comes of any morsel, and what it may keep of them is kept for nobody: the source need not be asked. What the pipeline waits for is
    /// complete.
    fn takes_none(&self) -> Result<bool> {
        Ok(false)
    }
    /// The pipeline has ended, all threads' parts are gone: what only they needed can go, too. Called once.
    fn close(&self) {}
}

/// One thread's part of a [`Transform`].
pub trait TransformThread: Send {
    /// Gives what comes of `morsel` to `next`, any number of times, and hands the last outcome of `next` back. When `next` says
    /// `Enough`, stop and say `Enough`. A morsel whose position `is_last` is passed on even when no row is left of it.
    fn push(&mut self, morsel: Morsel, next: Next<'_>) -> Result<Outcome>;
    /// No more comes on this thread: give what was held back.
    fn finish(&mut self, _next: Next<'_>) -> Result<Outcome> {
        Ok(Outcome::More)
    }
}

/// Takes morsels in. `thread` and `revoke` may be called in parallel, `finalize` once.
pub trait Sink: Send + Sync {
    /// The part that one thread drives.
    fn thread(&self) -> Result<Box<dyn SinkThread>>;
    /// Memory with which it finishes, however much it is given.
    fn floor_bytes(&self) -> u64 {
        0
    }
    /// What its threads hold and could spill: those that hold most are asked first.
    fn held_bytes(&self) -> u64 {
        0
    }
    /// Give back about `bytes`, if it can: at once, or its threads at their next morsel
    /// ([`Revocation`](crate::memory::Revocation)). Called on anybody's thread.
    fn revoke(&self, _bytes: u64) -> Result<Revoked> {
        Ok(Revoked::Cannot)
    }
    /// All threads have finished; the tasks that are left, to be run in parallel.
    fn finalize(&self) -> Result<Vec<Task>> {
        Ok(Vec::new())
    }
}

/// One thread's part of a [`Sink`].
pub trait SinkThread: Send {
    /// Takes the morsel in.
    fn push(&mut self, morsel: Morsel) -> Result<Outcome>;
    /// The source was refused memory: what this thread can write to disk goes there now. False when there was nothing.
    fn relieve(&mut self) -> Result<bool> {
        Ok(false)
    }
    /// No more comes on this thread; what it holds goes to the shared state.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Work that `finalize` leaves to the threads.
pub type Task = Box<dyn FnOnce() -> Result<()> + Send>;
