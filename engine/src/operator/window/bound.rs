//! Rows that cannot be within a bound of ranks are left out before they are sorted.
//!
//! In: rows on their way to the sort. Out: those of which nobody knows that so many come before them. Never: leaves out one that may be within the
//! bound; asks for memory that others need more: where there is none, or where few rows are left out, all go by.
//!
//! ```text
//!   rows ──► partition, prefix of the order ──► shards by hash ──► number of the partition ──► its least prefixes
//!                                                                  more than the last one of them? then it is left out
//! ```
//! The order of arrival decides what is left out here; what is given is decided after the sort, by the rank itself.

use std::sync::{Arc, Mutex, PoisonError};

use super::{prefix::Prefixes, spec::WindowSpec};
use crate::{
    batch::{
        Batch, Morsel,
        array::{ArrayRef, BooleanArray, UInt32Array, new_empty_array},
        buffer::BooleanBuffer,
        canonical_floats, compacted, compute, concat,
        datatypes::DataType,
    },
    error::Result,
    expression::{Evaluator, Parameters, WindowFunction},
    kernel,
    memory::{Reservation, Revoked},
    operator::{JobContext, Outcome, Sink, SinkThread, Task, aggregate::KeyNumbers},
};

/// Who asks for memory.
const HOLDER: &str = "window: first rows";
/// A greater bound leaves too little out for what it takes.
const RANKS_MAX: u64 = 256;
/// Shards for each thread, so that two seldom want the same one; and most of all.
const SHARDS_PER_THREAD: usize = 4;
const SHARDS_MAX: usize = 256;
/// All shards together, the rows after which they have seen enough to judge themselves by, and the rows by which they do from then on.
const ROWS_JUDGED: u64 = 1 << 20;
const ROWS_PER_PERIOD: u64 = 1 << 18;
/// A shard that leaves out less than one row of so many gives up.
const ROWS_PER_LEFT_OUT: u64 = 16;

/// The shared part.
pub(super) struct RankFilter {
    spec: WindowSpec,
    parameters: Arc<Parameters>,
    /// None where it was given up.
    shards: Vec<Mutex<Option<Shard>>>,
    rows_per_morsel: usize,
}

/// What is known of the partitions whose hashes fall here.
struct Shard {
    partitions: KeyNumbers,
    /// Prefixes of each partition's first rows, ascending, as many as the bound; the greatest number where fewer rows were seen.
    least: Vec<u128>,
    ranks: usize,
    /// Equal prefixes may be peers, which count once.
    counts_peers_once: bool,
    numbers: Vec<u32>,
    reservation: Reservation,
    most_bytes: u64,
    seen: Seen,
}

/// Rows that came, and what became of them.
struct Seen {
    shards: u64,
    rows: u64,
    rows_of_period: u64,
    left_out_of_period: u64,
}

impl RankFilter {
    /// For the rows of `spec`; none if it has no bound, or one of which nothing can be known early.
    pub(super) fn new(
        spec: &WindowSpec,
        context: &JobContext,
        parameters: &Arc<Parameters>,
    ) -> Result<Option<Arc<RankFilter>>> {
        let Some(bound) = spec.bound.filter(|bound| bound.most <= RANKS_MAX) else { return Ok(None) };
        if Prefixes::new(spec, parameters)?.is_none() {
            return Ok(None);
        }
        let types = spec.partition.iter().map(|key| key.data_type(&spec.input)).collect::<Result<Vec<_>>>()?;
        let columns: Vec<ArrayRef> = types.iter().map(new_empty_array).collect();
        let types: Arc<[DataType]> = types.into();
        let is_hashed = columns.is_empty() || kernel::hash_columns(&columns, &mut Vec::new()).is_ok();
        if !is_hashed || KeyNumbers::new(&types).is_err() {
            return Ok(None);
        }
        let threads = context.settings.threads;
        let count = if threads == 1 || types.is_empty() { 1 } else { SHARDS_PER_THREAD * threads };
        let count = count.next_power_of_two().min(SHARDS_MAX);
        let call = spec.calls.get(bound.call).map(|call| &call.function);
        let shard = |_| -> Result<Mutex<Option<Shard>>> {
            Ok(Mutex::new(Some(Shard {
                partitions: KeyNumbers::new(&types)?,
                least: Vec::new(),
                ranks: bound.most as usize,
                counts_peers_once: call == Some(&WindowFunction::DenseRank),
                numbers: Vec::new(),
                reservation: context.reservation(HOLDER),
                most_bytes: context.governor.headroom_bytes() / 2 / count as u64,
                seen: Seen { shards: count as u64, rows: 0, rows_of_period: 0, left_out_of_period: 0 },
            })))
        };
        Ok(Some(Arc::new(RankFilter {
            spec: spec.clone(),
            parameters: Arc::clone(parameters),
            shards: (0..count).map(shard).collect::<Result<_>>()?,
            rows_per_morsel: context.settings.rows_per_morsel.max(1),
        })))
    }

    /// The filter, then `sink`.
    pub(super) fn before(self: &Arc<Self>, sink: Arc<dyn Sink>) -> Arc<dyn Sink> {
        Arc::new(Filtered { filter: Arc::clone(self), sink })
    }

    /// What `work` says of a shard; nothing where it was given up, and it gives up when `work` says nothing.
    fn in_shard<T>(&self, shard: usize, work: impl FnOnce(&mut Shard) -> Result<Option<T>>) -> Result<Option<T>> {
        let mut slot = self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner);
        let Some(shard) = &mut *slot else { return Ok(None) };
        let said = work(shard)?;
        if said.is_none() {
            *slot = None;
        }
        Ok(said)
    }

    /// Nobody asks any more. True if there was something to give up.
    fn give_up(&self) -> bool {
        let take = |shard: &Mutex<Option<Shard>>| shard.lock().unwrap_or_else(PoisonError::into_inner).take().is_some();
        self.shards.iter().filter(|shard| take(shard)).count() > 0
    }
}

impl Shard {
    /// Which of these rows may be within the bound; none to give up. `left_out`: rows that were left out before.
    fn keeps(
        &mut self,
        columns: &[ArrayRef],
        hashes: &[u64],
        prefixes: &[u128],
        left_out: usize,
    ) -> Result<Option<BooleanBuffer>> {
        let Shard { partitions, least, ranks, numbers, .. } = self;
        let rows = prefixes.len();
        if columns.is_empty() {
            numbers.clear();
            numbers.resize(rows, 0);
        } else {
            let bytes = partitions.bytes_of(partitions.count() + rows) + 16 * least.capacity() as u64;
            if bytes > self.most_bytes || !self.reservation.try_resize(bytes) {
                return Ok(None);
            }
            partitions.assign(columns, hashes, numbers)?;
        }
        let wanted = partitions.count() * *ranks;
        let capacity = if wanted > least.capacity() { wanted.next_power_of_two() } else { least.capacity() };
        let bytes = partitions.bytes_of(partitions.count()) + 16 * capacity as u64;
        if bytes > self.most_bytes || !self.reservation.try_resize(bytes) {
            return Ok(None);
        }
        least.reserve_exact(capacity - least.len());
        least.resize(wanted, u128::MAX);
        let kept = BooleanBuffer::collect_bool(rows, |row| {
            let prefix = prefixes[row];
            let first = numbers[row] as usize * *ranks;
            let least = &mut least[first..first + *ranks];
            let may_be = prefix <= least[*ranks - 1];
            if may_be {
                insert(least, prefix, self.counts_peers_once);
            }
            may_be
        });
        let is_worth_it = self.seen.add(rows + left_out, rows - kept.count_set_bits() + left_out);
        Ok(is_worth_it.then_some(kept))
    }
}

/// Puts a prefix among the least ones, for the last of which there is no room any more.
#[inline]
fn insert(least: &mut [u128], prefix: u128, counts_once: bool) {
    let place = least.partition_point(|known| *known <= prefix);
    if counts_once && place > 0 && least[place - 1] == prefix {
        return;
    }
    if place < least.len() {
        least.copy_within(place..least.len() - 1, place + 1);
        least[place] = prefix;
    }
}

impl Seen {
    /// False when too few rows were left out.
    fn add(&mut self, rows: usize, left_out: usize) -> bool {
        self.rows += rows as u64;
        self.rows_of_period += rows as u64;
        self.left_out_of_period += left_out as u64;
        if self.rows_of_period < ROWS_PER_PERIOD / self.shards {
            return true;
        }
        let leaves_enough_out = self.left_out_of_period * ROWS_PER_LEFT_OUT >= self.rows_of_period;
        (self.rows_of_period, self.left_out_of_period) = (0, 0);
        leaves_enough_out || self.rows < ROWS_JUDGED / self.shards
    }
}

/// A sink that gets only the rows that the filter keeps.
struct Filtered {
    filter: Arc<RankFilter>,
    sink: Arc<dyn Sink>,
}

impl Sink for Filtered {
    fn thread(&self) -> Result<Box<dyn SinkThread>> {
        let RankFilter { spec, parameters, .. } = &*self.filter;
        let partition = spec.partition.iter().map(|key| Evaluator::new(key, &spec.input, parameters));
        Ok(Box::new(FilteredThread {
            partition: partition.collect::<Result<_>>()?,
            prefixes: Prefixes::new(spec, parameters)?,
            filter: Arc::clone(&self.filter),
            sink: self.sink.thread()?,
            hashes: Vec::new(),
            kept: Vec::new(),
            kept_rows: 0,
        }))
    }

    fn floor_bytes(&self) -> u64 {
        self.sink.floor_bytes()
    }

    fn held_bytes(&self) -> u64 {
        self.sink.held_bytes()
    }

    fn revoke(&self, bytes: u64) -> Result<Revoked> {
        self.sink.revoke(bytes)
    }

    fn finalize(&self) -> Result<Vec<Task>> {
        self.filter.give_up();
        self.sink.finalize()
    }
}

struct FilteredThread {
    filter: Arc<RankFilter>,
    sink: Box<dyn SinkThread>,
    partition: Vec<Evaluator>,
    prefixes: Option<Prefixes>,
    hashes: Vec<u64>,
    /// Few rows of each of many morsels, not handed on yet: less than a morsel together.
    kept: Vec<Batch>,
    kept_rows: usize,
}

impl FilteredThread {
    /// Which rows may be within the bound; none if all of them.
    fn keeps(&mut self, batch: &Batch) -> Result<Option<BooleanBuffer>> {
        let rows = batch.num_rows();
        let Some(prefixes) = &self.prefixes else { return Ok(None) };
        let column = |key: &Evaluator| Ok(canonical_floats(&key.evaluate(batch)?.into_array(rows)?));
        let columns = self.partition.iter().map(column).collect::<Result<Vec<ArrayRef>>>()?;
        let prefixes = prefixes.of(batch)?;
        let filter = &*self.filter;
        if columns.is_empty() {
            // What cannot be within the bound as it was a moment ago needs no lock.
            let Some(bound) = filter.in_shard(0, |shard| Ok(Some(shard.least.last().copied())))? else {
                return Ok(None);
            };
            let within: Vec<u32> =
                (0..rows as u32).filter(|row| bound.is_none_or(|bound| prefixes[*row as usize] <= bound)).collect();
            return self.in_shards(&columns, &prefixes, vec![within]);
        }
        kernel::hash_columns(&columns, &mut self.hashes)?;
        if let [_] = &filter.shards[..] {
            return filter.in_shard(0, |shard| shard.keeps(&columns, &self.hashes, &prefixes, 0));
        }
        let shift = u64::BITS - filter.shards.len().trailing_zeros();
        let mut rows_of: Vec<Vec<u32>> = vec![Vec::with_capacity(2 * rows / filter.shards.len()); filter.shards.len()];
        for (row, hash) in (0..).zip(&self.hashes) {
            rows_of[(hash >> shift) as usize].push(row);
        }
        self.in_shards(&columns, &prefixes, rows_of)
    }

    /// The same, where the rows of each shard are known, and all others are left out.
    fn in_shards(
        &self,
        columns: &[ArrayRef],
        prefixes: &[u128],
        rows_of: Vec<Vec<u32>>,
    ) -> Result<Option<BooleanBuffer>> {
        let mut kept = vec![false; prefixes.len()];
        let left_out = prefixes.len() - rows_of.iter().map(Vec::len).sum::<usize>();
        for (shard, rows) in rows_of.into_iter().enumerate() {
            let prefixes: Vec<u128> = rows.iter().map(|row| prefixes[*row as usize]).collect();
            let hashes: Vec<u64> = rows.iter().filter_map(|row| self.hashes.get(*row as usize)).copied().collect();
            let rows = UInt32Array::from(rows);
            let columns = compute::take_arrays(columns, &rows, None)?;
            let within = self.filter.in_shard(shard, |shard| shard.keeps(&columns, &hashes, &prefixes, left_out))?;
            for (number, row) in rows.values().iter().enumerate() {
                kept[*row as usize] = within.as_ref().is_none_or(|within| within.value(number));
            }
        }
        Ok(Some(BooleanBuffer::from(kept)))
    }

    /// What was kept goes on.
    fn hand_on(&mut self) -> Result<Outcome> {
        self.kept_rows = 0;
        if self.kept.is_empty() {
            return Ok(Outcome::More);
        }
        let batch = concat(&self.filter.spec.input, &std::mem::take(&mut self.kept))?;
        self.sink.push(Morsel::from(batch))
    }
}

impl SinkThread for FilteredThread {
    fn push(&mut self, morsel: Morsel) -> Result<Outcome> {
        let batch = morsel.batch;
        let batch = match self.keeps(&batch)? {
            Some(kept) if kept.count_set_bits() < batch.num_rows() => {
                compacted(&compute::filter_record_batch(&batch, &BooleanArray::new(kept, None))?)?
            }
            _ => batch,
        };
        if batch.num_rows() == 0 {
            return Ok(Outcome::More);
        }
        self.kept_rows += batch.num_rows();
        self.kept.push(batch);
        if self.kept_rows < self.filter.rows_per_morsel / 2 { Ok(Outcome::More) } else { self.hand_on() }
    }

    fn relieve(&mut self) -> Result<bool> {
        Ok(self.sink.relieve()? || self.filter.give_up())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.hand_on()?;
        self.sink.finish()
    }
}
