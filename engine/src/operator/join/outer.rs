//! The rest of the build side: rows by whether they found a partner.
//!
//! In: marks, set by all probing threads. Out: after all probing, the build rows that the kind of join gives, beside NULLs or with
//! their mark. Never: before all probing is over.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use super::{
    build::BuildSide,
    pairs::batch_of,
    spec::{JoinColumn, JoinRows, Shape},
};
use crate::{
    batch::{
        Batch, Morsel,
        array::{ArrayRef, BooleanArray, UInt32Array, new_null_array},
        compute,
    },
    error::{Result, bug},
    operator::{Outcome, SourceThread},
};

/// A bit for each build row: has it a partner? Set in any order by any thread, read after all of them.
pub(super) struct Marks(Vec<AtomicU64>);

impl Marks {
    pub(super) fn new(rows: usize) -> Marks {
        Marks((0..rows.div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    #[inline(always)]
    pub(super) fn set(&self, row: u32) {
        let (word, bit) = (&self.0[row as usize / 64], 1 << (row % 64));
        // Looked at first: rows with many partners would otherwise send their line from core to core.
        if word.load(Relaxed) & bit == 0 {
            word.fetch_or(bit, Relaxed);
        }
    }

    pub(super) fn set_all(&self) {
        self.0.iter().for_each(|word| word.store(u64::MAX, Relaxed));
    }

    pub(super) fn is_set(&self, row: u32) -> bool {
        self.0[row as usize / 64].load(Relaxed) & (1 << (row % 64)) != 0
    }
}

/// Gives the build rows that the kind of join gives by their marks, as one thread.
pub(super) struct RestThread {
    pub(super) shape: Arc<Shape>,
    /// None if nothing is to be given.
    pub(super) side: Option<Arc<BuildSide>>,
    /// Chunks of `rows_per_morsel` rows that were handed out.
    pub(super) chunk: Arc<AtomicUsize>,
}

impl SourceThread for RestThread {
    fn pull(&mut self) -> Result<(Option<Morsel>, Outcome)> {
        let Some(side) = &self.side else { return Ok((None, Outcome::Enough)) };
        loop {
            let first = self.chunk.fetch_add(1, Relaxed).saturating_mul(self.shape.rows_per_morsel);
            if first >= side.rows {
                self.side = None;
                return Ok((None, Outcome::Enough));
            }
            if let Some(batch) = rest(&self.shape, side, first)? {
                return Ok((Some(batch.into()), Outcome::More));
            }
        }
    }
}

/// Of the rows of a morsel from `first` on those that the kind of join gives, if there are any.
pub(super) fn rest(shape: &Shape, side: &BuildSide, first: usize) -> Result<Option<Batch>> {
    let Some(marks) = &side.marks else { return Ok(None) };
    let chunk = first as u32..(first + shape.rows_per_morsel).min(side.rows) as u32;
    let rows: Vec<u32> = match shape.rows {
        JoinRows::BuildMark => chunk.collect(),
        JoinRows::BuildSemi => chunk.filter(|row| marks.is_set(*row)).collect(),
        _ => chunk.filter(|row| !marks.is_set(*row)).collect(),
    };
    if rows.is_empty() { Ok(None) } else { give(shape, side, marks, rows).map(Some) }
}

fn give(shape: &Shape, side: &BuildSide, marks: &Marks, rows: Vec<u32>) -> Result<Batch> {
    let count = rows.len();
    let rows = UInt32Array::from(rows);
    let values = rows.values();
    // Rows side by side are a slice, which costs nothing.
    let is_run = values.last().zip(values.first()).is_some_and(|(last, first)| (last - first) as usize + 1 == count);
    let column = |(number, column): (usize, &JoinColumn)| -> Result<ArrayRef> {
        match *column {
            JoinColumn::Build(number) if is_run => Ok(side.columns[number].slice(values[0] as usize, count)),
            JoinColumn::Build(number) => Ok(compute::take(&side.columns[number], &rows, None)?),
            JoinColumn::Probe(_) if shape.rows.only_marks() => Err(bug("join", "a build row has no probe columns")),
            JoinColumn::Probe(_) => Ok(new_null_array(shape.output_schema.field(number).data_type(), count)),
            JoinColumn::Mark => {
                Ok(Arc::new(values.iter().map(|row| Some(marks.is_set(*row))).collect::<BooleanArray>()))
            }
        }
    };
    let columns = shape.output.iter().enumerate().map(column).collect::<Result<_>>()?;
    batch_of(&shape.output_schema, columns, count)
}
