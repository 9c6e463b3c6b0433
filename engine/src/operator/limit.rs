//! Limit: the first rows by position in the scan.
//!
//! In: morsels of a scan, filtered and projected, that still know their position. Out: the rows `skip..skip + fetch` in order of
//! (split, morsel). Never: depends on which thread was faster; a morsel that came early waits for those before it.
//!
//! It has enough when the splits that were read without a gap from the first one on hold `skip + fetch` rows. A split is read
//! by one thread from its start to its end, and its last morsel comes even when it is empty, so a split's rows are known to be
//! complete up to the latest morsel.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use super::{JobContext, Outcome, Sink, SinkThread, Source, SourceThread, Task};
use crate::{
    batch::{Batch, Morsel, Position, compacted, payload_bytes},
    error::{Result, bug},
    memory::Reservation,
};

/// The shared part: the morsels that may count.
pub struct Limit {
    skip: usize,
    fetch: usize,
    state: Mutex<State>,
    next: AtomicUsize,
}

struct State {
    splits: BTreeMap<u32, Split>,
    /// All splits before this one are complete.
    first_open: u32,
    /// Rows of the splits before `first_open`.
    rows_before: usize,
    is_enough: bool,
    reservation: Reservation,
    output: Vec<Batch>,
}

#[derive(Default)]
struct Split {
    morsels: Vec<Batch>,
    rows: usize,
    is_complete: bool,
}

impl Limit {
    /// The rows `skip..skip + fetch`.
    pub fn new(skip: usize, fetch: usize, context: &JobContext) -> Arc<Limit> {
        let reservation = context.reservation("limit");
        let state = State {
            splits: BTreeMap::new(),
            first_open: 0,
            rows_before: 0,
            is_enough: false,
            reservation,
            output: Vec::new(),
        };
        Arc::new(Limit { skip, fetch, state: Mutex::new(state), next: AtomicUsize::new(0) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wanted_rows(&self) -> usize {
        self.skip.saturating_add(self.fetch)
    }
}

/// [`Limit`] as a sink.
pub struct LimitSink(pub Arc<Limit>);

impl Sink for LimitSink {
    fn thread(&self) -> Result<Box<dyn SinkThread>> {
        Ok(Box::new(LimitThread(Arc::clone(&self.0))))
    }

    fn finalize(&self) -> Result<Vec<Task>> {
        let mut state = self.0.lock();
        let (mut skip, mut fetch) = (self.0.skip, self.0.fetch);
        let splits = std::mem::take(&mut state.splits);
        for batch in splits.into_values().flat_map(|split| split.morsels) {
            let skipped = skip.min(batch.num_rows());
            let kept = fetch.min(batch.num_rows() - skipped);
            if kept > 0 {
                state.output.push(batch.slice(skipped, kept));
            }
            skip -= skipped;
            fetch -= kept;
        }
        Ok(Vec::new())
    }
}

struct LimitThread(Arc<Limit>);

impl SinkThread for LimitThread {
    fn push(&mut self, morsel: Morsel) -> Result<Outcome> {
        let position = morsel.position.ok_or_else(|| bug("limit", "a morsel without a position"))?;
        let limit = &*self.0;
        let mut guard = limit.lock();
        let state = &mut *guard;
        if state.is_enough || limit.fetch == 0 {
            return Ok(Outcome::Enough);
        }
        let split = state.splits.entry(position.split).or_default();
        if split.rows < limit.wanted_rows() && morsel.batch.num_rows() > 0 {
            state.reservation.grow(payload_bytes(&morsel.batch))?;
            split.rows += morsel.batch.num_rows();
            split.morsels.push(compacted(&morsel.batch)?);
        }
        split.is_complete |= position.is_last;
        while let Some(split) = state.splits.get(&state.first_open).filter(|split| split.is_complete) {
            state.rows_before += split.rows;
            state.first_open += 1;
        }
        let open_rows = state.splits.get(&state.first_open).map_or(0, |split| split.rows);
        if state.rows_before + open_rows >= limit.wanted_rows() {
            state.is_enough = true;
            return Ok(Outcome::Enough);
        }
        Ok(Outcome::More)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// [`Limit`] as a source: its rows, in order, with positions of their own.
pub struct LimitSource(pub Arc<Limit>);

impl Source for LimitSource {
    fn thread(&self) -> Result<Box<dyn SourceThread>> {
        Ok(Box::new(LimitSourceThread(Arc::clone(&self.0))))
    }
}

struct LimitSourceThread(Arc<Limit>);

impl SourceThread for LimitSourceThread {
    fn pull(&mut self) -> Result<(Option<Morsel>, Outcome)> {
        let number = self.0.next.fetch_add(1, Relaxed);
        let state = self.0.lock();
        let Some(batch) = state.output.get(number) else { return Ok((None, Outcome::Enough)) };
        let position = Position { split: number as u32, morsel: 0, is_last: true };
        Ok((Some(Morsel { batch: batch.clone(), position: Some(position) }), Outcome::More))
    }
}
