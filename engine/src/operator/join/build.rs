//! The build side's columns, from the pieces that the threads keep to one array each.
//!
//! In: the columns of the build side that are used, batch by batch, each thread for itself. Out: a [`BuildSide`]: one array a
//! column, rows numbered through. Never: keeps a column that is not used, or bytes that were not asked for.
//!
//! While it gathers it also keeps the columns that only keys are made of: rows that must go to disk after all need them. They go when the
//! build side is put together.
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
        Batch,
        array::ArrayRef,
        array_bytes, compacted_array,
        datatypes::{DataType, SchemaRef},
    },
    error::Result,
    kernel::concat_arrays,
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
    /// Of the columns that are put together.
    types: Vec<DataType>,
    /// Columns that are kept besides, behind them.
    beside: usize,
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
    /// What putting the columns together takes meanwhile.
    meanwhile_bytes: u64,
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
    /// `shape.kept` columns of `schema`, then `more`; `beside` further columns are kept but not put together.
    pub(super) fn new(
        shape: &Shape,
        schema: &SchemaRef,
        more: Option<DataType>,
        beside: usize,
        context: &JobContext,
        holder: &'static str,
    ) -> Gathering {
        let kept = shape.kept.iter().map(|number| schema.field(*number).data_type().clone());
        let types: Vec<DataType> = kept.chain(more).collect();
        let state = State {
            pieces: vec![Vec::new(); types.len() + beside],
            rows: 0,
            reservation: context.reservation(holder),
            meanwhile_bytes: 0,
            columns: types.iter().map(|_| None).collect(),
            partitions: Vec::new(),
            remaining: 0,
        };
        Gathering { types, beside, context: context.clone(), holder, state: Mutex::new(state) }
    }

    /// One thread's part.
    pub(super) fn part(&self) -> Part {
        Part {
            pieces: vec![Vec::new(); self.types.len() + self.beside],
            rows: 0,
            reservation: self.context.reservation(self.holder),
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
        state.reservation.absorb(reservation);
        state.rows += rows;
        for (all, new) in state.pieces.iter_mut().zip(pieces) {
            all.extend(new);
        }
        Ok(first_row as u32)
    }

    /// All threads have finished: asks for `more_bytes` that are going to be kept and for what putting the columns together takes meanwhile,
    /// which is what a column takes, or all of them when all are put together at once.
    pub(super) fn room(&self, more_bytes: u64) -> Room {
        let mut state = self.lock();
        let bytes = |pieces: &Vec<ArrayRef>| if pieces.len() < 2 { 0 } else { pieces.iter().map(array_bytes).sum() };
        let of_columns: Vec<u64> = state.pieces[..self.types.len()].iter().map(bytes).collect();
        let (all, largest) = (of_columns.iter().sum(), of_columns.iter().max().copied().unwrap_or_default());
        for (meanwhile_bytes, room) in [(all, Room::ForAllColumns), (largest, Room::ForOneColumn)] {
            if state.reservation.try_grow(more_bytes + meanwhile_bytes) {
                state.meanwhile_bytes = meanwhile_bytes;
                return room;
            }
        }
        Room::Refused { bytes: more_bytes + largest, meanwhile_bytes: largest }
    }

    /// Takes what was refused out of the headroom.
    pub(super) fn insist(&self, bytes: u64, meanwhile_bytes: u64) -> Result<Room> {
        let mut state = self.lock();
        state.reservation.grow(bytes)?;
        state.meanwhile_bytes = meanwhile_bytes;
        Ok(Room::ForOneColumn)
    }

    /// There is room: the columns to be put together, each by [`Gathering::put_together`]. `others`: further pieces of work that will be
    /// [`Gathering::done`], making so many partitions.
    pub(super) fn start(&self, others: usize, partitions: usize) -> Vec<(usize, Vec<ArrayRef>)> {
        let mut state = self.lock();
        state.remaining = self.types.len() + others;
        state.partitions = (0..partitions).map(|_| None).collect();
        let mut pieces = std::mem::take(&mut state.pieces);
        let beside: u64 = pieces.drain(self.types.len()..).flatten().map(|piece| array_bytes(&piece)).sum();
        state.meanwhile_bytes += beside;
        pieces.into_iter().enumerate().collect()
    }

    /// The pieces of a column as one array.
    pub(super) fn put_together(&self, column: usize, pieces: &[ArrayRef]) -> Result<ArrayRef> {
        Ok(concat_arrays(&self.types[column], pieces)?)
    }

    /// There is no room: what was gathered, as batches of the kept columns and those beside. What they hold is held until
    /// [`Gathering::give_back`].
    pub(super) fn take_back(&self, shape: &Shape, schema: &SchemaRef) -> Result<Vec<Batch>> {
        let mut state = self.lock();
        state.rows = 0;
        let pieces = std::mem::replace(&mut state.pieces, vec![Vec::new(); self.types.len() + self.beside]);
        batches(pieces, shape, schema)
    }

    /// What was gathered is gone.
    pub(super) fn give_back(&self) -> Result<()> {
        self.lock().reservation.resize(0)
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
        let empty = self.context.reservation(self.holder);
        let mut reservation = std::mem::replace(&mut state.reservation, empty);
        drop(reservation.split_off(state.meanwhile_bytes));
        Some(Finished {
            columns: state.columns.drain(..).flatten().collect(),
            partitions: state.partitions.drain(..).flatten().collect(),
            rows: state.rows,
            reservation,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Is there room to put the columns together?
pub(super) enum Room {
    /// For all of them at the same time.
    ForAllColumns,
    /// For one after the other.
    ForOneColumn,
    /// Not even for that: so much was asked for, so much of it for the time of the work only.
    Refused { bytes: u64, meanwhile_bytes: u64 },
}

impl Room {
    /// The columns that each task puts together, one after the other.
    pub(super) fn shares<T>(&self, columns: Vec<T>) -> Vec<Vec<T>> {
        match self {
            Room::ForAllColumns => columns.into_iter().map(|column| vec![column]).collect(),
            _ if columns.is_empty() => Vec::new(),
            _ => vec![columns],
        }
    }
}

/// What one thread has kept.
pub(super) struct Part {
    pieces: Vec<Vec<ArrayRef>>,
    rows: usize,
    pub(super) reservation: Reservation,
}

/// Columns of a batch that are about to be kept.
pub(super) struct Kept {
    columns: Vec<ArrayRef>,
    rows: usize,
    /// What they hold.
    pub(super) bytes: u64,
}

impl Kept {
    /// The used columns of `batch`, then `more`, then those of the numbers `beside`.
    pub(super) fn of(shape: &Shape, batch: &Batch, more: Option<ArrayRef>, beside: &[usize]) -> Kept {
        let column = |number: &usize| compacted_array(batch.column(*number));
        let columns: Vec<ArrayRef> =
            shape.kept.iter().map(column).chain(more).chain(beside.iter().map(column)).collect();
        let bytes = columns.iter().map(array_bytes).sum();
        Kept { columns, rows: batch.num_rows(), bytes }
    }
}

impl Part {
    /// Keeps columns, for which it was asked. Returns the number of their first row in this thread.
    pub(super) fn add(&mut self, kept: Kept) -> Result<u32> {
        let first_row = self.rows;
        if first_row + kept.rows > ROWS_MAX as usize {
            return Err(JoinError::TooManyRows.into());
        }
        self.rows += kept.rows;
        for (pieces, column) in self.pieces.iter_mut().zip(kept.columns) {
            pieces.push(column);
        }
        Ok(first_row as u32)
    }

    /// What was kept, as batches of `schema`: the kept columns and those beside. What they hold is held until the part is dropped.
    pub(super) fn take_back(&mut self, shape: &Shape, schema: &SchemaRef) -> Result<Vec<Batch>> {
        self.rows = 0;
        let empty = vec![Vec::new(); self.pieces.len()];
        batches(std::mem::replace(&mut self.pieces, empty), shape, schema)
    }
}

/// Pieces of columns as batches of `schema`: the kept columns and those beside. What is compared stands between them; it is made again.
fn batches(mut pieces: Vec<Vec<ArrayRef>>, shape: &Shape, schema: &SchemaRef) -> Result<Vec<Batch>> {
    if pieces.len() > schema.fields().len() {
        pieces.remove(shape.kept.len());
    }
    let Some(count) = pieces.first().map(Vec::len) else { return Ok(Vec::new()) };
    let mut columns: Vec<_> = pieces.into_iter().map(Vec::into_iter).collect();
    let batch = |_| {
        let columns = columns.iter_mut().filter_map(Iterator::next).collect();
        Ok(Batch::try_new(SchemaRef::clone(schema), columns)?)
    };
    (0..count).map(batch).collect()
}
