//! The rows in order, for an operator that cuts them where it needs to.
//!
//! In: what a sort has left. Out: stretches of rows that follow each other; who takes one copies its rows, on any thread. Never: copies a
//! row itself.

use std::{
    ops::Range,
    sync::{Arc, PoisonError},
};

use super::{merge::Picked, output::Sorted, shared::Shared};
use crate::{batch::Batch, error::Result};

/// The rows that were not taken yet.
pub struct SortedRows {
    shared: Arc<Shared>,
    /// None when all were taken.
    sorted: Option<Arc<Sorted>>,
    /// The next place, of rows in memory.
    next: usize,
}

/// Rows that follow each other.
pub struct Stretch {
    shared: Arc<Shared>,
    from: From,
    rows: Range<usize>,
}

#[derive(Clone)]
enum From {
    Memory(Arc<Sorted>),
    Merge(Arc<Picked>),
}

impl SortedRows {
    pub(super) fn new(shared: &Arc<Shared>) -> Result<SortedRows> {
        Ok(SortedRows { shared: Arc::clone(shared), sorted: shared.output.sorted()?, next: 0 })
    }

    /// The next rows, at most so many; none when all were taken.
    pub fn next(&mut self, rows_max: usize) -> Result<Option<Stretch>> {
        let Some(sorted) = &self.sorted else { return Ok(None) };
        let stretch = |from, rows| Stretch { shared: Arc::clone(&self.shared), from, rows };
        let next = match &**sorted {
            Sorted::InMemory(ordered) => {
                let rows = self.next..ordered.rows().min(self.next.saturating_add(rows_max));
                self.next = rows.end;
                stretch(From::Memory(Arc::clone(sorted)), rows)
            }
            Sorted::Merged(merging) => {
                let mut merging = merging.lock().unwrap_or_else(PoisonError::into_inner);
                match merging.pick(&self.shared, rows_max)? {
                    Some((_, picked)) => {
                        let rows = 0..picked.rows();
                        stretch(From::Merge(Arc::new(picked)), rows)
                    }
                    None => stretch(From::Memory(Arc::clone(sorted)), 0..0),
                }
            }
        };
        if next.rows.is_empty() {
            self.sorted = None;
            self.shared.output.close();
            return Ok(None);
        }
        Ok(Some(next))
    }
}

impl Stretch {
    /// How many rows.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The rows, copied.
    pub fn batch(&self) -> Result<Batch> {
        self.copied(self.rows.clone())
    }

    /// The last of the rows, copied.
    pub fn last_row(&self) -> Result<Batch> {
        self.copied(self.rows.end.saturating_sub(1).max(self.rows.start)..self.rows.end)
    }

    /// Leaves the first `rows`; gives the others.
    pub fn split_off(&mut self, rows: usize) -> Stretch {
        let border = (self.rows.start + rows).min(self.rows.end);
        let rest = border..self.rows.end;
        self.rows.end = border;
        Stretch { shared: Arc::clone(&self.shared), from: self.from.clone(), rows: rest }
    }

    /// Bytes of a copy of the rows, about.
    pub fn bytes(&self) -> u64 {
        match &self.from {
            From::Memory(sorted) => match &**sorted {
                Sorted::InMemory(ordered) => ordered.bytes_per_row() * self.rows.len() as u64,
                Sorted::Merged(_) => 0,
            },
            From::Merge(picked) => picked.bytes_per_row() * self.rows.len() as u64,
        }
    }

    fn copied(&self, rows: Range<usize>) -> Result<Batch> {
        let schema = &self.shared.spec.schema;
        match &self.from {
            From::Memory(sorted) => match &**sorted {
                Sorted::InMemory(ordered) => ordered.batch(rows),
                Sorted::Merged(_) => Ok(Batch::new_empty(Arc::clone(schema))),
            },
            From::Merge(picked) => picked.part(schema, rows),
        }
    }
}
