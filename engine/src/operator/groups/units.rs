//! Rows in order, cut where groups begin.
//!
//! In: the sorted rows of a part. Out: batches of a morsel's rows, and where in them groups begin. Never: holds more than two of them.

use super::{Piece, Pieces, shared::HOLDER};
use crate::{
    batch::{Batch, concat},
    error::Result,
    expression::Evaluator,
    memory::Reservation,
    operator::{
        JobContext,
        sort::SortedRows,
        window::{changes, values},
    },
};

/// The rows of one part.
pub(super) struct Units {
    rows: SortedRows,
    keys: Vec<Evaluator>,
    context: JobContext,
    /// What is given now, and what comes next if that is known.
    current: Option<Unit>,
    next: Option<Unit>,
    count: u64,
}

/// Some rows.
struct Unit {
    batch: Batch,
    number: u64,
    /// First rows of groups; of a unit that goes on with the last group of the one before the first one is not 0.
    starts: Vec<u32>,
    /// The first row that was not given, and of the starts the first one behind it.
    row: usize,
    start: usize,
    _held: Reservation,
}

impl Units {
    pub(super) fn new(rows: SortedRows, keys: Vec<Evaluator>, context: &JobContext) -> Units {
        Units { rows, keys, context: context.clone(), current: None, next: None, count: 0 }
    }

    /// Goes on to the next groups; false if there are none.
    pub(super) fn advance(&mut self) -> Result<bool> {
        self.context.cancel.check()?;
        self.current = match self.next.take() {
            Some(next) => Some(next),
            None => self.read(None)?,
        };
        Ok(self.current.is_some())
    }

    /// Passes over what is left of the groups of the call.
    pub(super) fn pass_over(&mut self) -> Result<()> {
        while self.next()?.is_some() {}
        Ok(())
    }

    /// The next unit, where `last` is the last row of the one before.
    fn read(&mut self, last: Option<&Batch>) -> Result<Option<Unit>> {
        let Some(stretch) = self.rows.next(self.context.settings.rows_per_morsel.max(1))? else { return Ok(None) };
        let mut held = self.context.reservation(HOLDER);
        held.grow(stretch.bytes())?;
        let batch = stretch.batch()?;
        let keys = values(&self.keys, &batch)?;
        let inner = changes(batch.num_rows(), &keys)?;
        let goes_on = match last {
            None => false,
            Some(last) => {
                let border = concat(&batch.schema(), &[last.clone(), batch.slice(0, 1)])?;
                !changes(2, &values(&self.keys, &border)?)?.value(0)
            }
        };
        let first = if goes_on { None } else { Some(0) };
        let starts = first.into_iter().chain(inner.set_indices().map(|row| row as u32 + 1)).collect();
        self.count += 1;
        Ok(Some(Unit { batch, number: self.count, starts, row: 0, start: 0, _held: held }))
    }
}

impl Pieces for Units {
    fn next(&mut self) -> Result<Option<Piece>> {
        let Some(unit) = &mut self.current else { return Ok(None) };
        if let Some(piece) = unit.take() {
            return Ok(Some(piece));
        }
        // The last group may go on in the next unit.
        self.context.cancel.check()?;
        let last = unit.batch.slice(unit.batch.num_rows() - 1, 1);
        let next = match self.next.take() {
            Some(next) => Some(next),
            None => self.read(Some(&last))?,
        };
        match next {
            Some(mut next) if next.starts.first() != Some(&0) => {
                let piece = next.take();
                self.current = Some(next);
                Ok(piece)
            }
            next => {
                self.next = next;
                self.current = None;
                Ok(None)
            }
        }
    }
}

impl Unit {
    fn take(&mut self) -> Option<Piece> {
        let rows = self.batch.num_rows();
        if self.row == rows {
            return None;
        }
        let is_first = self.starts.get(self.start).is_some_and(|start| *start as usize == self.row);
        self.start += usize::from(is_first);
        let end = self.starts.get(self.start).map_or(rows, |start| *start as usize);
        let piece = Piece { batch: self.batch.clone(), number: self.number, rows: self.row..end, is_first };
        self.row = end;
        Some(piece)
    }
}
