//! Rows in order, given a morsel at a time.
//!
//! In: batches and the places of their rows in order. Out: morsels numbered by their position; any thread takes the next number, so
//! that who needs the sequence puts morsels in order of position. Never: fewer than one morsel: of no rows one is given, the last.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use super::order::{Place, rows_at};
use crate::{
    batch::{Batch, Morsel, Position, datatypes::SchemaRef},
    error::{Result, bug},
    memory::Reservation,
    operator::{Outcome, Source, SourceThread},
};

/// Rows in memory, in order.
pub(super) struct Ordered {
    pub(super) schema: SchemaRef,
    pub(super) batches: Vec<Batch>,
    /// Of the rows that are given, and no others.
    pub(super) places: Vec<Place>,
    pub(super) rows_per_morsel: usize,
    /// What batches and places hold.
    pub(super) _reservation: Reservation,
}

/// The source of what a sort leaves in its cell.
pub(super) struct OrderedSource {
    ordered: Arc<OnceLock<Arc<Ordered>>>,
    morsel: Arc<AtomicUsize>,
}

impl OrderedSource {
    pub(super) fn new(ordered: &Arc<OnceLock<Arc<Ordered>>>) -> OrderedSource {
        OrderedSource { ordered: Arc::clone(ordered), morsel: Arc::default() }
    }
}

impl Source for OrderedSource {
    fn thread(&self) -> Result<Box<dyn SourceThread>> {
        let ordered = self.ordered.get().ok_or_else(|| bug("sort", "it is read before it is sorted"))?;
        Ok(Box::new(OrderedThread { ordered: Arc::clone(ordered), morsel: Arc::clone(&self.morsel) }))
    }
}

struct OrderedThread {
    ordered: Arc<Ordered>,
    morsel: Arc<AtomicUsize>,
}

impl SourceThread for OrderedThread {
    fn pull(&mut self) -> Result<(Option<Morsel>, Outcome)> {
        let Ordered { schema, batches, places, rows_per_morsel, .. } = &*self.ordered;
        let count = places.len().div_ceil(*rows_per_morsel).max(1);
        let morsel = self.morsel.fetch_add(1, Relaxed);
        if morsel >= count {
            return Ok((None, Outcome::Enough));
        }
        let first = morsel * rows_per_morsel;
        let batch = rows_at(schema, batches, &places[first..(first + rows_per_morsel).min(places.len())])?;
        let position = Position { split: morsel as u32, morsel: 0, is_last: true };
        Ok((Some(Morsel { batch, position: Some(position) }), Outcome::More))
    }
}
