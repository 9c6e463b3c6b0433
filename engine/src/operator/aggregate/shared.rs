//! The operator: a sink that groups, then a source of the groups.
//!
//! In: morsels, on all threads. Out: batches of the result, to any thread. Never: a group in two batches.
//!
//! A thread's table is its own until it finishes; then `merge` makes of all of them tables without a common group. The source cuts
//! those into ranges of a morsel's rows and lets go of a table when its last range was given out.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    groups::{Groups, Scratch},
    merge::{self, Bucketed, Work},
    spec::{AggregateSpec, Plan},
};
use crate::{
    batch::Morsel,
    error::Result,
    expression::Parameters,
    memory::Reservation,
    operator::{JobContext, Outcome, Sink, SinkThread, Source, SourceThread, Task},
};

/// Memory of one thread's table while it is small.
const THREAD_BYTES: u64 = 1 << 20;

/// Grouping, shared by all threads.
pub struct Aggregate {
    plan: Arc<Plan>,
    context: JobContext,
    /// What the threads have handed over, until `finalize`.
    tables: Mutex<Vec<Bucketed>>,
    result: Mutex<Merged>,
}

/// Merged groups that were not given out yet.
#[derive(Default)]
struct Merged {
    groups: VecDeque<Arc<Groups>>,
    /// The first group of the first table that was not given out.
    next: usize,
}

impl Aggregate {
    /// Checks types and prepares expressions. Fails for aggregates of types that have none, and keys that cannot be.
    pub fn new(spec: &AggregateSpec, context: &JobContext, parameters: &Arc<Parameters>) -> Result<Arc<Aggregate>> {
        let plan = Arc::new(Plan::new(spec, parameters)?);
        let aggregate =
            Aggregate { plan, context: context.clone(), tables: Mutex::default(), result: Mutex::default() };
        // Fails now and not on the threads if there is no form for the keys.
        aggregate.empty()?;
        Ok(Arc::new(aggregate))
    }

    /// The side that takes rows in.
    pub fn sink(self: &Arc<Self>) -> Arc<dyn Sink> {
        Arc::new(AggregateSink(Arc::clone(self)))
    }

    /// The side that gives the groups, once, after the sink was finalized and its tasks have run.
    pub fn source(self: &Arc<Self>) -> Arc<dyn Source> {
        Arc::new(AggregateSource(Arc::clone(self)))
    }

    fn empty(&self) -> Result<Groups> {
        Groups::new(&self.plan, &|| self.reservation())
    }

    fn reservation(&self) -> Reservation {
        self.context.governor.reservation("aggregate")
    }

    fn tables(&self) -> MutexGuard<'_, Vec<Bucketed>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn result(&self) -> MutexGuard<'_, Merged> {
        self.result.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add_result(&self, groups: Groups) {
        if groups.len() > 0 {
            self.result().groups.push_back(Arc::new(groups));
        }
    }

    /// The next range of groups that nobody has.
    fn next_range(&self) -> Option<(Arc<Groups>, Range<usize>)> {
        let mut result = self.result();
        let groups = Arc::clone(result.groups.front()?);
        let start = result.next;
        let end = groups.len().min(start + self.context.settings.rows_per_morsel);
        result.next = end;
        if end == groups.len() {
            result.groups.pop_front();
            result.next = 0;
        }
        Some((groups, start..end))
    }
}

struct AggregateSink(Arc<Aggregate>);

impl Sink for AggregateSink {
    fn thread(&self) -> Result<Box<dyn SinkThread>> {
        let groups = self.0.empty()?;
        Ok(Box::new(AggregateThread { shared: Arc::clone(&self.0), groups, scratch: Scratch::default() }))
    }

    fn floor_bytes(&self) -> u64 {
        THREAD_BYTES * self.0.context.settings.threads as u64
    }

    fn finalize(&self) -> Result<Vec<Task>> {
        let tables = std::mem::take(&mut *self.0.tables());
        match merge::prepare(tables, || self.0.empty())? {
            Work::Done(groups) => {
                self.0.add_result(*groups);
                Ok(Vec::new())
            }
            Work::Merge(tables, part_count) => {
                let task = |part: usize| -> Task {
                    let (shared, tables) = (Arc::clone(&self.0), Arc::clone(&tables));
                    Box::new(move || {
                        let merged = merge::merge_part(&tables, part, &|| shared.reservation())?;
                        shared.add_result(merged);
                        Ok(())
                    })
                };
                Ok((0..part_count).map(task).collect())
            }
        }
    }
}

struct AggregateThread {
    shared: Arc<Aggregate>,
    groups: Groups,
    scratch: Scratch,
}

impl SinkThread for AggregateThread {
    fn push(&mut self, morsel: Morsel) -> Result<Outcome> {
        if morsel.batch.num_rows() > 0 {
            self.groups.push(&morsel.batch, &mut self.scratch)?;
        }
        Ok(Outcome::More)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let table = Bucketed::new(self.groups)?;
        self.shared.tables().push(table);
        Ok(())
    }
}

struct AggregateSource(Arc<Aggregate>);

impl Source for AggregateSource {
    fn thread(&self) -> Result<Box<dyn SourceThread>> {
        Ok(Box::new(AggregateSourceThread(Arc::clone(&self.0))))
    }
}

struct AggregateSourceThread(Arc<Aggregate>);

impl SourceThread for AggregateSourceThread {
    fn pull(&mut self) -> Result<(Option<Morsel>, Outcome)> {
        match self.0.next_range() {
            Some((groups, range)) => Ok((Some(groups.output(range)?.into()), Outcome::More)),
            None => Ok((None, Outcome::Enough)),
        }
    }
}
