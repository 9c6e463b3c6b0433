//! Rows in order, given a morsel at a time.
//!
//! In: what the threads of a sort have left, as [`Sorted`]. Out: morsels numbered by their position; any thread takes the next number, so
//! that who needs the sequence puts morsels in order of position. Never: fewer than one morsel: of no rows one is given, the last; memory
//! held when all rows were given.
//!
//! From memory each thread copies the rows of its morsel. From a merge it picks them under a lock, which is one comparison a level of the
//! tree and row, and copies them outside of it: what costs most happens on all threads.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use super::{
    gather::Gather,
    merge::{Merge, Picked},
    order::Place,
    shared::Shared,
};
use crate::{
    batch::{Batch, Morsel, Position},
    error::{Result, bug},
    memory::Reservation,
    operator::{Outcome, Source, SourceThread},
};

/// What a sort gives: `waiting → sorted → given`.
#[derive(Default)]
pub(super) struct Output(Mutex<State>);

#[derive(Default)]
enum State {
    #[default]
    Waiting,
    Sorted(Arc<Sorted>),
    Given,
}

impl Output {
    /// It is sorted. Of several that say so the first one counts.
    pub(super) fn set(&self, sorted: Sorted) {
        let mut state = self.lock();
        if let State::Waiting = &*state {
            *state = State::Sorted(Arc::new(sorted));
        }
    }

    /// What there is to give; nothing when all was given.
    pub(super) fn sorted(&self) -> Result<Option<Arc<Sorted>>> {
        match &*self.lock() {
            State::Waiting => Err(bug("sort", "it is read before it is sorted")),
            State::Sorted(sorted) => Ok(Some(Arc::clone(sorted))),
            State::Given => Ok(None),
        }
    }

    /// All was given.
    pub(super) fn close(&self) {
        *self.lock() = State::Given;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rows in order, or on their way there.
pub(super) enum Sorted {
    InMemory(Ordered),
    Merged(Mutex<Merging>),
}

impl Sorted {
    /// What is left is merged as it is asked for.
    pub(super) fn to_be_merged() -> Sorted {
        Sorted::Merged(Mutex::new(Merging { merge: None, next: 0, is_over: false }))
    }

    fn pull(&self, shared: &Shared) -> Result<Option<Morsel>> {
        let pulled = match self {
            Sorted::InMemory(ordered) => ordered.pull()?,
            Sorted::Merged(merging) => {
                let mut merging = merging.lock().unwrap_or_else(PoisonError::into_inner);
                let Some((number, picked)) = merging.pick(shared, shared.rows_per_morsel())? else { return Ok(None) };
                drop(merging);
                Some((number, picked.batch(&shared.spec.schema)?))
            }
        };
        Ok(pulled.map(|(number, batch)| {
            let position = Position { split: number as u32, morsel: 0, is_last: true };
            Morsel { batch, position: Some(position) }
        }))
    }
}

/// Rows in memory, in order.
pub(super) struct Ordered {
    rows: Gather,
    /// Of the rows that are given, and no others.
    places: Vec<Place>,
    rows_per_morsel: usize,
    /// The next morsel.
    next: AtomicUsize,
    /// What batches and places hold.
    reservation: Reservation,
}

impl Ordered {
    pub(super) fn new(rows: Gather, places: Vec<Place>, rows_per_morsel: usize, reservation: Reservation) -> Ordered {
        Ordered { rows, places, rows_per_morsel, next: AtomicUsize::new(0), reservation }
    }

    pub(super) fn rows(&self) -> usize {
        self.places.len()
    }

    /// Bytes of a row and of its place, about.
    pub(super) fn bytes_per_row(&self) -> u64 {
        self.reservation.bytes() / self.places.len().max(1) as u64
    }

    /// The rows at these places of the order.
    pub(super) fn batch(&self, places: Range<usize>) -> Result<Batch> {
        self.rows.rows(&self.places[places])
    }

    fn pull(&self) -> Result<Option<(usize, Batch)>> {
        let Ordered { places, rows_per_morsel, .. } = self;
        let number = self.next.fetch_add(1, Relaxed);
        if number >= places.len().div_ceil(*rows_per_morsel).max(1) {
            return Ok(None);
        }
        let first = number * rows_per_morsel;
        Ok(Some((number, self.batch(first..(first + rows_per_morsel).min(places.len()))?)))
    }
}

/// The last merge, begun when the first morsel is asked for.
pub(super) struct Merging {
    merge: Option<Merge>,
    /// The next morsel.
    next: usize,
    is_over: bool,
}

impl Merging {
    pub(super) fn pick(&mut self, shared: &Shared, rows: usize) -> Result<Option<(usize, Picked)>> {
        if self.is_over {
            return Ok(None);
        }
        let merge = match &mut self.merge {
            Some(merge) => merge,
            none => none.insert(shared.last_merge()?),
        };
        let picked = merge.pick(rows)?;
        if picked.rows() < rows {
            (self.is_over, self.merge) = (true, None);
        }
        let number = self.next;
        self.next += 1;
        Ok((picked.rows() > 0 || number == 0).then_some((number, picked)))
    }
}

/// The role that gives.
pub(super) struct SortedSource(pub(super) Arc<Shared>);

impl Source for SortedSource {
    fn thread(&self) -> Result<Box<dyn SourceThread>> {
        Ok(Box::new(SortedThread { shared: Arc::clone(&self.0), sorted: self.0.output.sorted()? }))
    }

    fn close(&self) {
        self.0.output.close();
    }
}

struct SortedThread {
    shared: Arc<Shared>,
    /// None when all was given.
    sorted: Option<Arc<Sorted>>,
}

impl SourceThread for SortedThread {
    fn pull(&mut self) -> Result<(Option<Morsel>, Outcome)> {
        let Some(sorted) = &self.sorted else { return Ok((None, Outcome::Enough)) };
        if let Some(morsel) = sorted.pull(&self.shared)? {
            return Ok((Some(morsel), Outcome::More));
        }
        // Threads that still copy their last rows hold what they need.
        self.sorted = None;
        self.shared.output.close();
        Ok((None, Outcome::Enough))
    }
}
