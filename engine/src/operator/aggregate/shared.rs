//! The operator: a sink that groups, then a source of the groups.
//!
//! In: morsels, on all threads. Out: batches of the result, to any thread. Never: a group in two batches.
//!
//! A thread's table is its own until it finishes; then `merge` makes of all of them tables without a common group. The source cuts
//! those into ranges of a morsel's rows and lets go of a table when its last range was given out.
//!
//! A thread whose table outgrows the cache, or is refused memory, gives it up: what it knew, and all rows from then on, go to `parts`. The
//! source then makes a table of each part when its turn comes.
//!
//! Where few keys have most of the rows (words do) a table of these stays, as a *sieve*: rows of its groups are taken in, and the others go to the
//! parts. Which groups those are is seen from some rows, for which the whole table is the sieve: it is too large for the cache, so they are found more
//! slowly. A sieve is given up when it holds too few of the rows back, or memory becomes scarce.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use super::{
    groups::{Groups, Scratch},
    merge::{self, Bucketed, Work},
    parts::{Kind, Merged, Parts, PartsThread},
    spec::{AggregateSpec, Plan},
};
use crate::{
    batch::{Batch, Morsel, datatypes::SchemaRef},
    error::Result,
    expression::Parameters,
    memory::{Reservation, Revoked},
    operator::{JobContext, Outcome, Sink, SinkThread, Source, SourceThread, Task},
    shuffle::BuilderOptions,
};

/// Memory of one thread's table of the one group of no keys.
const GROUP_BYTES: u64 = 64 << 10;
/// Memory of one thread's table while it is small.
const THREAD_BYTES: u64 = 1 << 20;
/// With less that is free it is looked at what the strings of a table's keys may take, before it takes them.
const SCARCE_BYTES: u64 = 64 << 20;
/// Of a thread's part of the budget the share that places of groups may hold.
const PLACES_SHARE: u64 = 64;
/// A thread's table of more groups does not stay in its caches: parts of it do.
const TABLE_GROUPS_MAX: usize = 1 << 17;

/// Rows that a thread's table must have taken in a group for it to become a sieve.
const SIEVE_ROWS_PER_GROUP: u64 = 8;
/// A table of so many groups is asked once whether few of them have most rows, if the rows of groups are counted anyway.
const JUDGED_GROUPS: usize = 1 << 15;
/// So many rows are looked at for whether a sieve is worth it: half of them must be of its groups.
const SIEVE_ROWS: u64 = 1 << 18;
/// So many rows show which groups have most of them: some of each that has a place in the sieve.
const SEEN_ROWS: u64 = 1 << 20;
/// Groups of a sieve: with keys, slots and a state they stay in the cache beside what goes through it.
const SIEVE_GROUPS: usize = 1 << 14;
/// Lines in which they are looked for where they are short strings, as bits: a place in two is taken, and few keys find their line full.
const SIEVE_LINE_BITS: u32 = 13;

/// Grouping, shared by all threads.
pub struct Aggregate {
    plan: Arc<Plan>,
    context: JobContext,
    /// What the threads have handed over, until `finalize`.
    tables: Mutex<Vec<Bucketed>>,
    result: Mutex<Ready>,
    /// Once a thread has given its table up.
    parts: OnceLock<Arc<Parts>>,
    /// Then, of an aggregate that counts values once: the tables that threads had until then, aligned with the parts.
    aligned: OnceLock<Vec<Bucketed>>,
    next_part: AtomicUsize,
    row_schema: SchemaRef,
    /// Of the rows that a thread's own table takes in.
    coded_schema: SchemaRef,
}

/// Merged groups that were not given out yet.
#[derive(Default)]
struct Ready {
    groups: VecDeque<Arc<Groups>>,
    /// The first group of the first table that was not given out.
    next: usize,
}

impl Aggregate {
    /// Checks types and prepares expressions. Fails for aggregates of types that have none, and keys that cannot be.
    pub fn new(spec: &AggregateSpec, context: &JobContext, parameters: &Arc<Parameters>) -> Result<Arc<Aggregate>> {
        let plan = Arc::new(Plan::new(spec, parameters)?);
        let aggregate = Aggregate {
            row_schema: plan.row_schema(),
            coded_schema: plan.coded_schema(),
            plan,
            context: context.clone(),
            tables: Mutex::default(),
            result: Mutex::default(),
            parts: OnceLock::new(),
            aligned: OnceLock::new(),
            next_part: AtomicUsize::new(0),
        };
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
        self.context.reservation("aggregate")
    }

    fn tables(&self) -> MutexGuard<'_, Vec<Bucketed>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn result(&self) -> MutexGuard<'_, Ready> {
        self.result.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn parts(&self) -> &Arc<Parts> {
        self.parts.get_or_init(|| Parts::new(&self.plan, &self.context))
    }

    /// Gives a table up: what it knows goes to the parts, or waits for them if it cannot be told in columns.
    fn give_up(&self, groups: Groups, thread: &mut PartsThread) -> Result<()> {
        if self.plan.has_distinct() {
            self.tables().push(Bucketed::new(groups)?);
            return Ok(());
        }
        thread.push_table(&groups)
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
        let settings = &self.0.context.settings;
        // Some part of what a thread may hold, where memory is little.
        let places_max = settings.memory_bytes / settings.threads as u64 / PLACES_SHARE / 4;
        let intake = Intake::Table(Box::new(self.0.empty()?.with_places(places_max as usize)));
        Ok(Box::new(AggregateThread {
            shared: Arc::clone(&self.0),
            intake,
            rows: 0,
            is_judged: false,
            scratch: Scratch::default(),
        }))
    }

    fn floor_bytes(&self) -> u64 {
        if self.0.plan.key_types.is_empty() && !self.0.plan.has_distinct() {
            return GROUP_BYTES * self.0.context.settings.threads as u64;
        }
        (THREAD_BYTES + BuilderOptions::bytes_within(&self.0.context.settings) as u64)
            * self.0.context.settings.threads as u64
    }

    fn held_bytes(&self) -> u64 {
        self.0.parts.get().map_or(0, |parts| parts.revocation().held_bytes())
    }

    fn revoke(&self, bytes: u64) -> Result<Revoked> {
        Ok(self.0.parts.get().map_or(Revoked::Cannot, |parts| parts.revocation().ask(bytes)))
    }

    fn finalize(&self) -> Result<Vec<Task>> {
        let mut tables = std::mem::take(&mut *self.0.tables());
        let has_keys = !self.0.plan.key_types.is_empty();
        if tables.len() > 1 && has_keys && !self.0.plan.has_distinct() && self.0.parts.get().is_none() {
            // Merged tables stand beside those of the threads; where there is no room for both, parts come one by one.
            let bytes: u64 = tables.iter().map(Bucketed::bytes).sum();
            if bytes > self.0.context.governor.free_bytes() {
                let _ = self.0.parts();
            }
        }
        if let Some(parts) = self.0.parts.get() {
            if self.0.plan.has_distinct() {
                Bucketed::align(&mut tables, parts.part_count())?;
                let _ = self.0.aligned.set(tables);
            } else {
                let mut thread = PartsThread::new(parts);
                tables.into_iter().try_for_each(|table| thread.push_table(&table.into_groups()))?;
                thread.finish()?;
            }
            return Ok(Vec::new());
        }
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
    intake: Intake,
    /// That its table has taken in.
    rows: u64,
    /// It was asked whether few groups have most rows.
    is_judged: bool,
    scratch: Scratch,
}

/// Where a thread's rows go: table ──(too large, or refused memory)──► sieve and parts ──► parts.
enum Intake {
    Table(Box<Groups>),
    Sieve(Box<Sieve>),
    Parts(Box<PartsThread>),
}

/// A table that has no new groups any more.
struct Sieve {
    groups: Groups,
    /// Until the groups are those of most rows: the rows of each, since it is a sieve.
    seen: Option<Vec<u64>>,
    /// Rows that came since it was last asked whether it is worth it, and those of them that went through.
    rows: u64,
    rows_through: u64,
    parts: Box<PartsThread>,
}

impl SinkThread for AggregateThread {
    fn push(&mut self, morsel: Morsel) -> Result<Outcome> {
        if morsel.batch.num_rows() == 0 {
            return Ok(Outcome::More);
        }
        let shared = Arc::clone(&self.shared);
        if let Intake::Table(groups) = &mut self.intake {
            let rows = shared.plan.rows_of(&shared.coded_schema, &morsel.batch)?;
            if groups.is_single() {
                groups.push(&rows, &mut self.scratch)?;
                return Ok(Outcome::More);
            }
            let is_worth_it = groups.bytes() >= shared.context.governor.least_spill_bytes();
            let is_scarce = shared.context.governor.free_bytes() < SCARCE_BYTES;
            let far_bytes = if is_scarce { groups.key_growth_bytes(shared.plan.keys_of(&rows)) } else { 0 };
            let has_room = groups.len() < TABLE_GROUPS_MAX && groups.try_reserve(rows.num_rows(), far_bytes);
            let keeps = has_room || groups.len() < TABLE_GROUPS_MAX && !is_worth_it;
            if keeps {
                groups.push(&rows, &mut self.scratch)?;
                self.rows += rows.num_rows() as u64;
                let has_repeated = self.rows >= groups.len() as u64 * SIEVE_ROWS_PER_GROUP;
                if !self.is_judged && groups.len() >= JUDGED_GROUPS && has_repeated {
                    self.is_judged = true;
                    if !is_scarce && groups.row_counts().and_then(least_of_most).is_some() {
                        self.keep_table()?;
                    }
                }
                return Ok(Outcome::More);
            }
            let is_full = groups.len() >= TABLE_GROUPS_MAX;
            if is_full && !is_scarce && self.rows >= groups.len() as u64 * SIEVE_ROWS_PER_GROUP {
                self.keep_table()?;
            } else {
                self.leave_table()?;
            }
        }
        if let Intake::Sieve(sieve) = &mut self.intake {
            let rows = shared.plan.rows_of(&shared.row_schema, &morsel.batch)?;
            if sieve.push(rows, &shared, &mut self.scratch)? && shared.context.governor.free_bytes() >= SCARCE_BYTES {
                return Ok(Outcome::More);
            }
            self.leave_table()?;
            return Ok(Outcome::More);
        }
        if let Intake::Parts(thread) = &mut self.intake {
            let rows = self.shared.plan.rows_of(&self.shared.row_schema, &morsel.batch)?;
            thread.push(Kind::Rows, &rows)?;
        }
        Ok(Outcome::More)
    }

    fn relieve(&mut self) -> Result<bool> {
        if let Intake::Table(groups) = &self.intake {
            if groups.is_single() || groups.len() == 0 || self.shared.plan.has_distinct() {
                return Ok(false);
            }
            // The table is gone; what it knew has become rows.
            self.leave_table()?;
            return Ok(true);
        }
        self.leave_table()?;
        let Intake::Parts(thread) = &mut self.intake else { return Ok(false) };
        thread.relieve()
    }

    fn finish(self: Box<Self>) -> Result<()> {
        match self.intake {
            Intake::Table(groups) => {
                let table = Bucketed::new(*groups)?;
                self.shared.tables().push(table);
                Ok(())
            }
            Intake::Sieve(mut sieve) => {
                sieve.parts.push_table(&sieve.groups)?;
                sieve.parts.finish()
            }
            Intake::Parts(thread) => thread.finish(),
        }
    }
}

impl AggregateThread {
    /// From now on rows go to the parts, after what the table knows.
    fn leave_table(&mut self) -> Result<()> {
        if let Intake::Table(groups) = &mut self.intake {
            let mut thread = PartsThread::new(self.shared.parts());
            let groups = std::mem::replace(&mut **groups, self.shared.empty()?);
            self.shared.give_up(groups, &mut thread)?;
            self.intake = Intake::Parts(Box::new(thread));
        }
        if let Intake::Sieve(_) = &self.intake {
            // Whatever fails on the way ends the job; until then the table is an empty one.
            let empty = Intake::Table(Box::new(self.shared.empty()?));
            if let Intake::Sieve(mut sieve) = std::mem::replace(&mut self.intake, empty) {
                sieve.parts.push_table(&sieve.groups)?;
                self.intake = Intake::Parts(sieve.parts);
            }
        }
        Ok(())
    }

    /// From now on the table takes in the rows of its groups, and the parts the others.
    fn keep_table(&mut self) -> Result<()> {
        let plan = &self.shared.plan;
        if plan.has_distinct() || plan.phase.takes_parts() {
            return self.leave_table();
        }
        if let Intake::Table(groups) = &mut self.intake {
            let groups = std::mem::replace(&mut **groups, self.shared.empty()?);
            let parts = Box::new(PartsThread::new(self.shared.parts()));
            let counted = groups.row_counts().map(<[u64]>::to_vec);
            let seen = Some(vec![0; groups.len()]);
            let mut sieve = Box::new(Sieve { seen, groups, rows: 0, rows_through: 0, parts });
            if let Some(counted) = counted.filter(|counted| least_of_most(counted).is_some()) {
                sieve.seen = None;
                sieve.keep_most(&counted, &self.shared, &mut self.scratch)?;
            }
            self.intake = Intake::Sieve(sieve);
        }
        Ok(())
    }
}

impl Sieve {
    /// Takes rows of [`Plan::row_schema`] in; false when it is not worth it any more.
    fn push(&mut self, rows: Batch, shared: &Aggregate, scratch: &mut Scratch) -> Result<bool> {
        let Some(others) = self.groups.push_known(&rows, scratch)? else {
            self.parts.push(Kind::Rows, &rows)?;
            return Ok(false);
        };
        self.rows += rows.num_rows() as u64;
        self.rows_through += others.num_rows() as u64;
        if others.num_rows() > 0 {
            self.parts.push(Kind::Rows, &others)?;
        }
        if let Some(seen) = &mut self.seen {
            scratch.groups().iter().for_each(|group| seen[*group as usize] += 1);
        }
        if self.rows < if self.seen.is_some() { SEEN_ROWS } else { SIEVE_ROWS } {
            return Ok(true);
        }
        let is_worth_it = self.rows_through * 2 <= self.rows;
        (self.rows, self.rows_through) = (0, 0);
        match self.seen.take() {
            Some(seen) if is_worth_it => self.keep_most(&seen, shared, scratch),
            _ => Ok(is_worth_it),
        }
    }

    /// Keeps the groups of most rows, and gives the others to the parts; false, and nothing is done, if those have too few.
    fn keep_most(&mut self, seen: &[u64], shared: &Aggregate, scratch: &mut Scratch) -> Result<bool> {
        let Some(least) = least_of_most(seen) else { return Ok(false) };
        let is_kept = |group: usize| seen[group] > least;
        let (groups, others) = self.groups.parted(is_kept, &|| shared.reservation(), scratch)?;
        self.groups = groups;
        self.groups.look_for_few(SIEVE_LINE_BITS)?;
        self.parts.push_table(&others)?;
        Ok(true)
    }
}

/// Groups with more rows than this are few, and have at least half of all rows; none if there are no such groups. `rows`: of each group.
fn least_of_most(rows: &[u64]) -> Option<u64> {
    let place = rows.len().checked_sub(SIEVE_GROUPS)?;
    let least = (*rows.to_vec().select_nth_unstable(place.min(rows.len() - 1)).1).max(1);
    let kept: u64 = rows.iter().filter(|rows| **rows > least).sum();
    (kept * 2 >= rows.iter().sum()).then_some(least)
}

struct AggregateSource(Arc<Aggregate>);

impl Source for AggregateSource {
    fn thread(&self) -> Result<Box<dyn SourceThread>> {
        let shared = Arc::clone(&self.0);
        Ok(Box::new(AggregateSourceThread { shared, current: None, deeper: Vec::new(), scratch: Scratch::default() }))
    }
}

struct AggregateSourceThread {
    shared: Arc<Aggregate>,
    /// A part's groups, and how many of them were given out.
    current: Option<(Box<Groups>, usize)>,
    /// Parts of parts that were too large, each with its next one.
    deeper: Vec<(Arc<Parts>, usize)>,
    scratch: Scratch,
}

impl SourceThread for AggregateSourceThread {
    fn pull(&mut self) -> Result<(Option<Morsel>, Outcome)> {
        let Some(parts) = self.shared.parts.get().map(Arc::clone) else {
            return match self.shared.next_range() {
                Some((groups, range)) => Ok((Some(groups.output(range)?.into()), Outcome::More)),
                None => Ok((None, Outcome::Enough)),
            };
        };
        loop {
            if let Some(batch) = self.next_of_current()? {
                return Ok((Some(batch.into()), Outcome::More));
            }
            let merged = match self.deeper.last_mut() {
                Some((parts, next)) if *next == parts.part_count() => {
                    self.deeper.pop();
                    continue;
                }
                Some((parts, next)) => {
                    *next += 1;
                    parts.merge(*next - 1, &[], &mut self.scratch)?
                }
                None => {
                    let number = self.shared.next_part.fetch_add(1, Relaxed);
                    if number >= parts.part_count() {
                        return Ok((None, Outcome::Enough));
                    }
                    let aligned = self.shared.aligned.get().map_or(&[][..], Vec::as_slice);
                    parts.merge(number, aligned, &mut self.scratch)?
                }
            };
            match merged {
                Merged::Groups(groups) => self.current = Some((groups, 0)),
                Merged::Deeper(parts) => self.deeper.push((parts, 0)),
            }
        }
    }
}

impl AggregateSourceThread {
    /// The next groups of the part that is given out; it is dropped with its last ones.
    fn next_of_current(&mut self) -> Result<Option<Batch>> {
        let Some((groups, next)) = &mut self.current else { return Ok(None) };
        let first = *next;
        let last = groups.len().min(first + self.shared.context.settings.rows_per_morsel);
        if first == last {
            self.current = None;
            return Ok(None);
        }
        *next = last;
        groups.output(first..last).map(Some)
    }
}
