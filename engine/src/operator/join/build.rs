//! The build side's columns, from the pieces that the threads keep to one array each.
//!
//! In: the columns of the build side that are used, batch by batch, each thread for itself. Out: a [`BuildSide`]: one array a
//! column, rows numbered through. Never: keeps a column that is not used, or bytes that were not asked for.
//!
//! A thread numbers its rows from 0; when it finishes it gets the number of its first row, so row numbers depend on who finishes
//! when. Nothing that a join gives depends on row numbers.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{
    directory::Partition,
    outer::Marks,
    spec::{JoinError, ROWS_MAX, Shape},
};
use crate::{
    batch::{
        Batch, array,
        array::{Array, ArrayRef},
        array_bytes, compacted_array, compute,
        datatypes::{DataType, SchemaRef},
    },
    error::Result,
    memory::Reservation,
    operator::JobContext,
};

/// The build side, complete.
pub(super) struct BuildSide {
    pub(super) rows: usize,
    /// One array for each kept column.
    pub(super) columns: Vec<ArrayRef>,
    /// Which rows have a partner, where the kind of join asks.
    pub(super) marks: Option<Marks>,
    /// What all of the build side holds, the directory included.
    _reservation: Reservation,
}

impl BuildSide {
    pub(super) fn new(shape: &Shape, finished: Finished) -> Result<BuildSide> {
        let Finished { columns, rows, mut reservation, .. } = finished;
        let marks = if shape.rows.looks_at_build_rows() {
            reservation.grow(rows.div_ceil(8) as u64)?;
            Some(Marks::new(rows))
        } else {
            None
        };
        Ok(BuildSide { rows, columns, marks, _reservation: reservation })
    }
}

/// The shared part: waiting for the threads → (`start`) → work under way → (`done` of the last piece of work) [`Finished`].
pub(super) struct Gathering {
    types: Vec<DataType>,
    context: JobContext,
    holder: &'static str,
    state: Mutex<State>,
}

struct State {
    /// Of each column, by arrival.
    pieces: Vec<Vec<ArrayRef>>,
    rows: usize,
    /// What the threads that have finished hold together.
    reservation: Reservation,
    columns: Vec<Option<ArrayRef>>,
    partitions: Vec<Option<Partition>>,
    /// Pieces of work that are not done.
    remaining: usize,
}

/// What one piece of work made.
pub(super) enum Done {
    /// A column, put together.
    Column(usize, ArrayRef),
    /// Partitions of the directory, from this number on.
    Partitions(usize, Vec<Partition>),
}

/// What all pieces of work made.
pub(super) struct Finished {
    pub(super) columns: Vec<ArrayRef>,
    pub(super) partitions: Vec<Partition>,
    pub(super) rows: usize,
    pub(super) reservation: Reservation,
}

impl Gathering {
    /// `shape.kept` columns of `schema`, then `more`.
    pub(super) fn new(
        shape: &Shape,
        schema: &SchemaRef,
        more: Option<DataType>,
        context: &JobContext,
        holder: &'static str,
    ) -> Gathering {
        let kept = shape.kept.iter().map(|number| schema.field(*number).data_type().clone());
        let types: Vec<DataType> = kept.chain(more).collect();
        let state = State {
            pieces: types.iter().map(|_| Vec::new()).collect(),
            rows: 0,
            reservation: context.governor.reservation(holder),
            columns: types.iter().map(|_| None).collect(),
            partitions: Vec::new(),
            remaining: 0,
        };
        Gathering { types, context: context.clone(), holder, state: Mutex::new(state) }
    }

    /// One thread's part.
    pub(super) fn part(&self) -> Part {
        Part {
            pieces: self.types.iter().map(|_| Vec::new()).collect(),
            rows: 0,
            reservation: self.context.governor.reservation(self.holder),
        }
    }

    /// Takes a thread's part; returns the number of its first row.
    pub(super) fn take_in(&self, part: Part) -> Result<u32> {
        let Part { pieces, rows, reservation } = part;
        let mut state = self.lock();
        let first_row = state.rows;
        if first_row + rows > ROWS_MAX as usize {
            return Err(JoinError::TooManyRows.into());
        }
        let bytes = reservation.bytes();
        drop(reservation);
        state.reservation.grow(bytes)?;
        state.rows += rows;
        for (all, new) in state.pieces.iter_mut().zip(pieces) {
            all.extend(new);
        }
        Ok(first_row as u32)
    }

    /// All threads have finished: the columns to be put together, each by [`Gathering::put_together`]. `others`: further pieces of
    /// work that will be [`Gathering::done`], making so many partitions.
    pub(super) fn start(&self, others: usize, partitions: usize) -> Vec<(usize, Vec<ArrayRef>)> {
        let mut state = self.lock();
        state.remaining = self.types.len() + others;
        state.partitions = (0..partitions).map(|_| None).collect();
        std::mem::take(&mut state.pieces).into_iter().enumerate().collect()
    }

    /// The pieces of a column as one array.
    pub(super) fn put_together(&self, column: usize, pieces: Vec<ArrayRef>) -> Result<ArrayRef> {
        match pieces.as_slice() {
            [] => Ok(array::new_empty_array(&self.types[column])),
            [one] => Ok(ArrayRef::clone(one)),
            many => {
                let bytes = many.iter().map(array_bytes).sum();
                self.grow(bytes)?;
                let whole = compute::concat(&many.iter().map(|piece| piece as &dyn Array).collect::<Vec<_>>())?;
                drop(pieces);
                self.shrink(bytes)?;
                Ok(whole)
            }
        }
    }

    /// Asks for `bytes` more.
    pub(super) fn grow(&self, bytes: u64) -> Result<()> {
        self.lock().reservation.grow(bytes)
    }

    /// Gives `bytes` back.
    pub(super) fn shrink(&self, bytes: u64) -> Result<()> {
        let mut state = self.lock();
        let left = state.reservation.bytes().saturating_sub(bytes);
        state.reservation.resize(left)
    }

    /// A piece of work is done; after the last one, or when there is `nothing` to do, all is there.
    pub(super) fn done(&self, done: Option<Done>) -> Option<Finished> {
        let mut state = self.lock();
        match done {
            Some(Done::Column(number, column)) => state.columns[number] = Some(column),
            Some(Done::Partitions(first, partitions)) => {
                for (number, partition) in partitions.into_iter().enumerate() {
                    state.partitions[first + number] = Some(partition);
                }
            }
            None => {}
        }
        state.remaining = state.remaining.saturating_sub(1);
        if state.remaining > 0 {
            return None;
        }
        let empty = self.context.governor.reservation(self.holder);
        Some(Finished {
            columns: state.columns.drain(..).flatten().collect(),
            partitions: state.partitions.drain(..).flatten().collect(),
            rows: state.rows,
            reservation: std::mem::replace(&mut state.reservation, empty),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one thread has kept.
pub(super) struct Part {
    pieces: Vec<Vec<ArrayRef>>,
    rows: usize,
    reservation: Reservation,
}

impl Part {
    /// Keeps the used columns of `batch`, and `more`; `beside` are bytes that the caller keeps with them. Returns the number of
    /// the batch's first row in this thread.
    pub(super) fn add(
        &mut self,
        shape: &Shape,
        batch: &Batch,
        more: Option<ArrayRef>,
        beside_bytes: usize,
    ) -> Result<u32> {
        let first_row = self.rows;
        if first_row + batch.num_rows() > ROWS_MAX as usize {
            return Err(JoinError::TooManyRows.into());
        }
        let kept = shape.kept.iter().map(|number| compacted_array(batch.column(*number)));
        let columns: Vec<ArrayRef> = kept.chain(more).collect();
        self.reservation.grow(columns.iter().map(array_bytes).sum::<u64>() + beside_bytes as u64)?;
        self.rows += batch.num_rows();
        for (pieces, column) in self.pieces.iter_mut().zip(columns) {
            pieces.push(column);
        }
        Ok(first_row as u32)
    }
}
