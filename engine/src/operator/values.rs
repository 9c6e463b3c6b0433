//! Values: rows that stand in the plan, or that another part of the program holds in memory.
//!
//! In: batches. Out: the same rows as morsels, in order, cut to the morsel size, with positions. Never: copies.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use super::{JobContext, Outcome, Source, SourceThread};
use crate::{
    batch::{Batch, Morsel, Position},
    error::Result,
};

/// The shared part: morsels, already cut, and which is next.
pub struct Values(Arc<Cut>);

struct Cut {
    morsels: Vec<Morsel>,
    next: AtomicUsize,
}

impl Values {
    /// The rows of `batches`, in order.
    pub fn new(batches: &[Batch], context: &JobContext) -> Arc<Values> {
        let rows_per_morsel = context.settings.rows_per_morsel;
        let mut morsels: Vec<Morsel> = Vec::new();
        for batch in batches {
            let mut start = 0;
            while start < batch.num_rows() {
                let rows = rows_per_morsel.min(batch.num_rows() - start);
                let position = Position { split: morsels.len() as u32, morsel: 0, is_last: true };
                morsels.push(Morsel { batch: batch.slice(start, rows), position: Some(position) });
                start += rows;
            }
        }
        Arc::new(Values(Arc::new(Cut { morsels, next: AtomicUsize::new(0) })))
    }
}

impl Source for Values {
    fn thread(&self) -> Result<Box<dyn SourceThread>> {
        Ok(Box::new(ValuesThread(Arc::clone(&self.0))))
    }
}

struct ValuesThread(Arc<Cut>);

impl SourceThread for ValuesThread {
    fn pull(&mut self) -> Result<(Option<Morsel>, Outcome)> {
        let number = self.0.next.fetch_add(1, Relaxed);
        Ok(match self.0.morsels.get(number) {
            Some(morsel) => (Some(morsel.clone()), Outcome::More),
            None => (None, Outcome::Enough),
        })
    }
}
