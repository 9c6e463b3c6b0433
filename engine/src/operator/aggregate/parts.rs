//! Rows of many groups, by part of the hash: waiting in memory, taken in by a table, or spilled.
//!
//! In: rows, and what tables know of their groups, from all threads. Out: part by part a table with all groups of the part. Never: a group
//! in two parts; a row of a part in memory when memory is refused and it can be written.
//!
//! ```text
//!   thread ─► builder (16 to 256 parts) ─► pending rows of the part ──(many, or memory is refused)──┬─► the part's table   while rows repeat
//!                                           │                                                       └─► runs               else
//!                                           ▼ no more comes
//!   source: pending rows, table, runs of one part ─► one table ─► its groups; a part that does not fit: parts of it
//! ```
//! While they are few, rows only wait: a part's table is filled at once, when it is its turn, and stays in the cache. When they are many,
//! or memory is refused, the parts that hold most give way. If the rows of a group come often, taking them in makes them small, and a job
//! with few groups never writes; once tables are refused memory, too, they are written as what they know (`Plan::partial_schema`), and rows
//! as they are.
//!
//! Tables that are merged come before rows that wait: where memory is short then, parts whose turn has not come are written.
//!
//! The parts of the first level are the top bits of the hash, as the groups of an exchange are; each level below takes the next bits.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use super::{
    groups::{Groups, Scratch},
    merge::Bucketed,
    spec::Plan,
};
use crate::{
    batch::{Batch, copied, datatypes::SchemaRef, payload_bytes},
    error::Result,
    kernel::{Kernels, hash_columns},
    memory::{Reservation, Revocation},
    operator::JobContext,
    shuffle::{Builder, BuilderOptions, Run, RunReader, RunWriter},
};

/// Parts of a level: so many, that a part's table stays in the cache with some ten million groups; fewer where memory is so short that a
/// builder of as many would take too much of it.
const PARTS_MAX: usize = 256;
const PARTS_MIN: usize = 16;
/// Bytes of a builder for each part, below which there are fewer parts.
const PART_BYTES_MIN: usize = 32 << 10;
/// Bits of the hash that number parts, of all levels together: the table needs the low half.
const PART_BITS_MAX: u32 = 32;
/// Rows whose groups never need a further level.
const DEEPER_ROWS_MIN: u64 = 4_096;
/// Groups whose knowledge is written at a time.
const GROUPS_AT_ONCE: usize = 16_384;
/// Bytes of rows that wait, beyond which tables take them in where that makes them fewer: fresh memory costs more than a second look at a
/// table.
const WAITING_BYTES_MAX: u64 = 256 << 20;
/// Rows must come so many times a group for a table to be worth its memory, in percent.
const REPEATED_PERCENT: u64 = 150;

/// What a batch of a part holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Rows of [`Plan::row_schema`].
    Rows,
    /// What a table knows of its groups.
    Partials,
}

/// The parts of one level, shared by all threads.
pub(super) struct Parts {
    plan: Arc<Plan>,
    context: JobContext,
    schemas: [SchemaRef; 2],
    /// Bits of the hash that the levels above have used.
    used_bits: u32,
    /// Those of which these are a part.
    above: Option<Arc<Parts>>,
    parts: Vec<Mutex<Part>>,
    /// Of each part, bytes that wait. Kept beside them so that the largest is found without their locks.
    pending_bytes: Vec<AtomicU64>,
    /// What waits, of all parts.
    reservation: Mutex<Reservation>,
    runs: Mutex<Vec<(Kind, Arc<Run>)>>,
    revocation: Revocation,
    /// Tables were refused memory: from now on what gives way is written.
    is_spilling: AtomicBool,
    /// Rows that tables of parts took in, and the groups that these made.
    taken_rows: AtomicU64,
    taken_groups: AtomicU64,
}

#[derive(Default)]
struct Part {
    pending: Vec<Pending>,
    table: Option<Groups>,
}

impl Part {
    fn pending_rows(&self) -> u64 {
        self.pending.iter().map(|pending| pending.batch.num_rows() as u64).sum()
    }

    fn pending_bytes(&self) -> u64 {
        self.pending.iter().map(|pending| pending.bytes).sum()
    }

    /// What could be on disk instead.
    fn bytes(&self) -> u64 {
        self.pending_bytes() + self.table.as_ref().map_or(0, Groups::bytes)
    }

    /// Writes the table, then what waits.
    fn write(&mut self, number: usize, hand: &mut Hand) -> Result<()> {
        if let Some(table) = self.table.take() {
            hand.write_table(number, &table)?;
        }
        let mut pending = std::mem::take(&mut self.pending).into_iter();
        pending.try_for_each(|pending| hand.write(pending.kind, number, &pending.batch))
    }
}

struct Pending {
    kind: Kind,
    batch: Batch,
    /// What is held for it.
    bytes: u64,
}

/// All that is known of a part.
pub(super) enum Merged {
    /// Its groups, sealed.
    Groups(Box<Groups>),
    /// It is too much for one table: parts of it.
    Deeper(Arc<Parts>),
}

impl Parts {
    pub(super) fn new(plan: &Arc<Plan>, context: &JobContext) -> Arc<Parts> {
        Parts::below(None, plan, context)
    }

    fn below(above: Option<Arc<Parts>>, plan: &Arc<Plan>, context: &JobContext) -> Arc<Parts> {
        let part_count = (BuilderOptions::bytes_within(&context.settings) / PART_BYTES_MIN).clamp(PARTS_MIN, PARTS_MAX);
        let part_count = 1 << part_count.ilog2();
        Arc::new(Parts {
            plan: Arc::clone(plan),
            context: context.clone(),
            schemas: [plan.row_schema(), plan.partial_schema()],
            used_bits: above.as_ref().map_or(0, |above| above.used_bits_below()),
            above,
            parts: (0..part_count).map(|_| Mutex::default()).collect(),
            pending_bytes: (0..part_count).map(|_| AtomicU64::new(0)).collect(),
            reservation: Mutex::new(context.reservation("aggregate")),
            runs: Mutex::default(),
            revocation: Revocation::default(),
            is_spilling: AtomicBool::new(false),
            taken_rows: AtomicU64::new(0),
            taken_groups: AtomicU64::new(0),
        })
    }

    /// How many parts there are: a power of two.
    pub(super) fn part_count(&self) -> usize {
        self.parts.len()
    }

    /// Bits of the hash that are used when the parts are told apart.
    fn used_bits_below(&self) -> u32 {
        self.used_bits + self.part_count().ilog2()
    }

    /// What could be given back.
    pub(super) fn revocation(&self) -> &Revocation {
        &self.revocation
    }

    /// Takes a batch of a part in, which holds `bytes`.
    fn take_in(&self, number: usize, pending: Pending, hand: &mut Hand) -> Result<()> {
        let bytes = pending.bytes;
        let is_granted = lock(&self.reservation).try_grow(bytes);
        let waits_long = self.revocation.held_bytes() > WAITING_BYTES_MAX && self.is_worth_a_table();
        if is_granted && waits_long {
            self.give_way(0, hand)?;
        }
        if !is_granted {
            self.revocation.answered();
            self.give_way(bytes, hand)?;
            if let Some(above) = self.above.as_ref().filter(|_| self.context.governor.free_bytes() < bytes) {
                above.write_waiting(bytes)?;
            }
            self.grow_or_write(bytes)?;
        }
        self.revocation.hold(0, bytes);
        let mut part = lock(&self.parts[number]);
        part.pending.push(pending);
        // Under the part's lock, as where they are taken away: else the sum could fall below nothing for a moment, and look like the largest.
        self.pending_bytes[number].fetch_add(bytes, Relaxed);
        Ok(())
    }

    /// Asks for `bytes`, once room was made. That may be another thread's by now, and what is kept for those who cannot do with less is not
    /// for rows that can be written: only when none is left.
    fn grow_or_write(&self, bytes: u64) -> Result<()> {
        while !lock(&self.reservation).try_grow(bytes) {
            if self.write_waiting(bytes)? == 0 {
                return lock(&self.reservation).grow(bytes);
            }
        }
        Ok(())
    }

    /// Makes about `bytes` free, if so much waits: the largest parts give way.
    fn give_way(&self, bytes: u64, hand: &mut Hand) -> Result<()> {
        // At least an eighth of all: one after the other in small pieces would write small frames.
        let wanted = bytes.max(self.revocation.held_bytes() / 8);
        let mut freed = 0;
        while freed < wanted {
            let sizes = self.pending_bytes.iter().map(|bytes| bytes.load(Relaxed));
            let Some((bytes, number)) = sizes.zip(0..).max().filter(|(bytes, _)| *bytes > 0) else { break };
            self.give_way_of(number, hand)?;
            freed += bytes;
        }
        Ok(())
    }

    /// What waits of a part goes to its table, or to a run.
    fn give_way_of(&self, number: usize, hand: &mut Hand) -> Result<()> {
        let mut part = lock(&self.parts[number]);
        let bytes = part.pending_bytes();
        self.pending_bytes[number].fetch_sub(bytes, Relaxed);
        // Given back before it is dropped: the table grows by what this frees.
        self.let_go(bytes)?;
        if self.is_worth_a_table() && self.fill_table(&mut part, hand)? { Ok(()) } else { part.write(number, hand) }
    }

    fn let_go(&self, bytes: u64) -> Result<()> {
        self.revocation.hold(bytes, 0);
        let mut reservation = lock(&self.reservation);
        let left = reservation.bytes().saturating_sub(bytes);
        reservation.resize(left)
    }

    fn is_worth_a_table(&self) -> bool {
        let (rows, groups) = (self.taken_rows.load(Relaxed), self.taken_groups.load(Relaxed));
        !self.is_spilling.load(Relaxed) && !self.plan.has_distinct() && rows * 100 >= groups * REPEATED_PERCENT
    }

    /// The part's table takes in what waits; false if it may not grow as much.
    fn fill_table(&self, part: &mut Part, hand: &mut Hand) -> Result<bool> {
        let (rows, bytes) = (part.pending_rows(), part.pending_bytes());
        let mut table = match part.table.take() {
            Some(table) => table,
            None => self.empty_table()?,
        };
        let before = table.len() as u64;
        let has_room = table.promise(self.expected_groups(rows), self.expected_far_bytes(rows, bytes));
        if has_room {
            for pending in std::mem::take(&mut part.pending) {
                take_rows_in(&mut table, pending.kind, &pending.batch, &mut hand.scratch)?;
            }
            self.taken_rows.fetch_add(rows, Relaxed);
            self.taken_groups.fetch_add(table.len() as u64 - before, Relaxed);
            table.keep_no_more()?;
        } else {
            self.is_spilling.store(true, Relaxed);
        }
        part.table = Some(table);
        Ok(has_room)
    }

    /// Groups that so many rows will make, as far as others have shown.
    fn expected_groups(&self, rows: u64) -> usize {
        let (taken, groups) = (self.taken_rows.load(Relaxed), self.taken_groups.load(Relaxed));
        if taken == 0 { rows as usize } else { (rows as f64 * groups as f64 / taken as f64 * 1.1) as usize + 1 }
    }

    /// Bytes of the strings of the groups that so many rows of `bytes` will make: what holds them doubles as it grows.
    fn expected_far_bytes(&self, rows: u64, bytes: u64) -> u64 {
        let has_strings =
            self.schemas[Kind::Partials as usize].fields().iter().any(|field| !field.data_type().is_primitive());
        let share = self.expected_groups(rows) as f64 / rows.max(1) as f64;
        if has_strings { (2.0 * bytes as f64 * share.min(1.0)) as u64 } else { 0 }
    }

    fn empty_table(&self) -> Result<Groups> {
        Groups::new(&self.plan, &|| self.context.reservation("aggregate"))
    }

    /// All that came of a part; `tables` are of threads, with an order by these parts. Nothing is pushed any more.
    pub(super) fn merge(self: &Arc<Self>, number: usize, tables: &[Bucketed], scratch: &mut Scratch) -> Result<Merged> {
        let part = {
            // Whoever writes what waits of a part has listed the run before this lock is free.
            let mut part = lock(&self.parts[number]);
            self.pending_bytes[number].fetch_sub(part.pending_bytes(), Relaxed);
            std::mem::take(&mut *part)
        };
        let runs: Vec<(Kind, Arc<Run>)> = lock(&self.runs).iter().map(|(kind, run)| (*kind, Arc::clone(run))).collect();
        let spilled: u64 = runs.iter().map(|(_, run)| run.rows(number)).sum();
        let rows = spilled + part.pending_rows();
        let bytes = runs.iter().map(|(_, run)| run.bytes(number)).sum::<u64>() + part.pending_bytes();
        let mut table = match (part.table, tables.first()) {
            (Some(table), _) => table,
            (None, Some(first)) => first.empty_like(&|| self.context.reservation("aggregate"))?,
            (None, None) => self.empty_table()?,
        };
        let before = table.len() as u64;
        let (groups, far_bytes) = (self.expected_groups(rows), self.expected_far_bytes(rows, bytes));
        let table_bytes = table.bytes_of(groups) + far_bytes;
        let is_small = table_bytes <= self.context.governor.least_spill_bytes();
        let mut has_room = table.promise(groups, far_bytes);
        while !has_room && !is_small && self.write_waiting(table_bytes)? > 0 {
            has_room = table.promise(groups, far_bytes);
        }
        let has_bits = self.used_bits_below() + PARTS_MAX.ilog2() <= PART_BITS_MAX;
        let can_go_deeper = has_bits && rows > DEEPER_ROWS_MIN && tables.is_empty();
        if !has_room && !is_small && can_go_deeper {
            return self.deeper(number, table, part.pending, &runs);
        }
        for bucketed in tables {
            bucketed.merge_part_into(&mut table, number, scratch)?;
        }
        for pending in part.pending {
            self.make_room(&table, pending.batch.num_rows(), pending.bytes)?;
            take_rows_in(&mut table, pending.kind, &pending.batch, scratch)?;
            let bytes = pending.bytes;
            drop(pending);
            self.let_go(bytes)?;
        }
        for (kind, run) in &runs {
            let mut reader = run.read(number);
            while let Some(batch) = reader.next()? {
                self.make_room(&table, batch.num_rows(), payload_bytes(&batch))?;
                take_rows_in(&mut table, *kind, &batch, scratch)?;
            }
        }
        if tables.is_empty() {
            self.taken_rows.fetch_add(rows, Relaxed);
            self.taken_groups.fetch_add(table.len() as u64 - before, Relaxed);
        }
        table.seal()?;
        Ok(Merged::Groups(Box::new(table)))
    }

    /// Before a table takes so many rows in: where what it may ask for is not there, other parts go to disk.
    fn make_room(&self, table: &Groups, rows: usize, row_bytes: u64) -> Result<()> {
        let wanted = table.growth_bytes(rows, row_bytes);
        if self.context.governor.free_bytes() < wanted {
            self.write_waiting(wanted)?;
        }
        Ok(())
    }

    /// Writes what waits for its turn, the part with most of it first, until about `wanted` bytes are free; how many are. What waits above
    /// goes when nothing is left here.
    fn write_waiting(&self, wanted: u64) -> Result<u64> {
        let mut freed = 0;
        while freed < wanted {
            let sizes = self.parts.iter().map(|part| lock(part).bytes());
            let Some((_, number)) = sizes.zip(0..).max().filter(|(bytes, _)| *bytes > 0) else { break };
            freed += self.write_part(number)?;
        }
        match &self.above {
            Some(above) if freed < wanted => Ok(freed + above.write_waiting(wanted - freed)?),
            _ => Ok(freed),
        }
    }

    /// Writes what waits of a part, and says how much that was; its lock is held until others can read it.
    fn write_part(&self, number: usize) -> Result<u64> {
        let mut part = lock(&self.parts[number]);
        let (all, waiting) = (part.bytes(), part.pending_bytes());
        self.pending_bytes[number].fetch_sub(waiting, Relaxed);
        let mut hand = Hand::new(self);
        part.write(number, &mut hand)?;
        self.let_go(waiting)?;
        hand.list_runs(self)?;
        Ok(all)
    }

    /// Cuts a part into parts of its own, by the next bits of the hash.
    fn deeper(
        self: &Arc<Self>,
        number: usize,
        table: Groups,
        pending: Vec<Pending>,
        runs: &[(Kind, Arc<Run>)],
    ) -> Result<Merged> {
        let deeper = Parts::below(Some(Arc::clone(self)), &self.plan, &self.context);
        // It starts with what is known here of how often rows repeat.
        deeper.taken_rows.store(self.taken_rows.load(Relaxed), Relaxed);
        deeper.taken_groups.store(self.taken_groups.load(Relaxed), Relaxed);
        let mut thread = PartsThread::new(&deeper);
        thread.push_table(&table)?;
        drop(table);
        for pending in pending {
            thread.push(pending.kind, &pending.batch)?;
            let bytes = pending.bytes;
            drop(pending);
            self.let_go(bytes)?;
        }
        for (kind, run) in runs {
            let mut reader: RunReader = run.read(number);
            while let Some(batch) = reader.next()? {
                thread.push(*kind, &batch)?;
            }
        }
        thread.finish()?;
        Ok(Merged::Deeper(deeper))
    }
}

fn take_rows_in(table: &mut Groups, kind: Kind, batch: &Batch, scratch: &mut Scratch) -> Result<()> {
    match kind {
        Kind::Rows => table.push(batch, scratch),
        Kind::Partials => table.push_partial(batch, scratch),
    }
}

/// One thread's way into the parts.
pub(super) struct PartsThread {
    parts: Arc<Parts>,
    builders: [Option<Builder>; 2],
    hashes: Vec<u64>,
    numbers: Vec<u16>,
    hand: Hand,
}

/// What a thread spills with.
struct Hand {
    parts_of: JobContext,
    schemas: [SchemaRef; 2],
    runs: [Option<RunWriter>; 2],
    scratch: Scratch,
}

impl PartsThread {
    pub(super) fn new(parts: &Arc<Parts>) -> PartsThread {
        PartsThread {
            parts: Arc::clone(parts),
            builders: [None, None],
            hashes: Vec::new(),
            numbers: Vec::new(),
            hand: Hand::new(parts),
        }
    }

    /// Sends rows, or what a table knows, to their parts.
    pub(super) fn push(&mut self, kind: Kind, batch: &Batch) -> Result<()> {
        let PartsThread { parts, builders, hashes, numbers, hand } = self;
        if parts.revocation.take(parts.revocation.held_bytes(), parts.context.governor.least_spill_bytes()) {
            parts.give_way(0, hand)?;
        }
        hash_columns(parts.plan.keys_of(batch), hashes)?;
        if parts.used_bits > 0 {
            hashes.iter_mut().for_each(|hash| *hash <<= parts.used_bits);
        }
        Kernels::detect().group_products(hashes, parts.part_count() as u32, numbers);
        let builder = builders[kind as usize].get_or_insert_with(|| {
            let options = BuilderOptions {
                group_count: parts.part_count(),
                bytes: BuilderOptions::bytes_within(&parts.context.settings),
            };
            let reservation = parts.context.reservation("aggregate");
            Builder::new(&parts.schemas[kind as usize], options, parts.context.governor.pool(), reservation)
        });
        builder.push(batch, numbers, &mut |number, batch, bytes| {
            parts.take_in(number, Pending { kind, batch, bytes }, hand)
        })
    }

    /// Sends what a table knows of its groups.
    pub(super) fn push_table(&mut self, table: &Groups) -> Result<()> {
        for first in (0..table.len()).step_by(GROUPS_AT_ONCE) {
            let last = table.len().min(first + GROUPS_AT_ONCE);
            self.push(Kind::Partials, &table.partial_columns(first..last)?)?;
        }
        Ok(())
    }

    /// All that waits goes to disk; false if nothing does.
    pub(super) fn relieve(&mut self) -> Result<bool> {
        self.parts.revocation.answered();
        Ok(self.parts.write_waiting(u64::MAX)? > 0)
    }

    /// No more comes on this thread.
    pub(super) fn finish(mut self) -> Result<()> {
        let PartsThread { parts, builders, hand, .. } = &mut self;
        for (kind, builder) in [Kind::Rows, Kind::Partials].into_iter().zip(builders) {
            let Some(builder) = builder else { continue };
            builder.finish(&mut |number, batch, bytes| {
                // The last chunks are seldom full: what of a block is not used need not be held.
                let payload = payload_bytes(&batch);
                let pending = if payload < bytes / 4 * 3 {
                    Pending { kind, batch: copied(&batch)?, bytes: payload }
                } else {
                    Pending { kind, batch, bytes }
                };
                parts.take_in(number, pending, hand)
            })?;
        }
        self.hand.list_runs(&self.parts)
    }
}

impl Hand {
    fn new(parts: &Parts) -> Hand {
        Hand {
            parts_of: parts.context.clone(),
            schemas: parts.schemas.clone(),
            runs: [None, None],
            scratch: Scratch::default(),
        }
    }

    /// What was written can be read from now on.
    fn list_runs(&mut self, parts: &Parts) -> Result<()> {
        for (kind, writer) in [Kind::Rows, Kind::Partials].into_iter().zip(&mut self.runs) {
            if let Some(writer) = writer.take() {
                let run = Arc::new(writer.finish()?);
                self.parts_of.add_spilled_bytes(run.all_bytes());
                lock(&parts.runs).push((kind, run));
            }
        }
        Ok(())
    }

    fn write(&mut self, kind: Kind, number: usize, batch: &Batch) -> Result<()> {
        let schema = &self.schemas[kind as usize];
        let runs = &self.parts_of.runs;
        self.runs[kind as usize].get_or_insert_with(|| runs.begin("aggregate", schema)).append(number, batch)
    }

    fn write_table(&mut self, number: usize, table: &Groups) -> Result<()> {
        for first in (0..table.len()).step_by(GROUPS_AT_ONCE) {
            let last = table.len().min(first + GROUPS_AT_ONCE);
            self.write(Kind::Partials, number, &table.partial_columns(first..last)?)?;
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
