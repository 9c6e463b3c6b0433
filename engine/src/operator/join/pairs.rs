//! What becomes of the pairs of one probe batch: the filter, the marks, the columns that are given.
//!
//! In: chunks of pairs (probe row, build row), then the end of the batch. Out: morsels, by the kind of join. Never: takes a column
//! that neither the filter nor the output uses, or one of the probe side when every row goes on once and in order.

use std::sync::Arc;

use super::{
    build::BuildSide,
    spec::{JoinColumn, JoinRows, Shape},
};
use crate::{
    batch::{
        Batch, Morsel, Position,
        array::{ArrayRef, BooleanArray, RecordBatchOptions, UInt32Array, new_null_array},
        buffer::{BooleanBuffer, NullBuffer},
        compute,
        datatypes::SchemaRef,
    },
    error::{Result, bug},
    expression::Evaluator,
    operator::{Next, Outcome},
};

/// Pairs of a probe row and a build row.
#[derive(Default)]
pub(super) struct Pairs {
    pub(super) probe: Vec<u32>,
    pub(super) build: Vec<u32>,
    /// So many pairs at the end have no build row.
    lonely: usize,
}

impl Pairs {
    pub(super) fn len(&self) -> usize {
        self.probe.len()
    }
    #[inline(always)]
    pub(super) fn push(&mut self, probe: u32, build: u32) {
        self.probe.push(probe);
        self.build.push(build);
    }
    pub(super) fn clear(&mut self) {
        self.probe.clear();
        self.build.clear();
        self.lonely = 0;
    }

    /// Adds a probe row beside NULLs; only such may follow.
    fn push_lonely(&mut self, probe: u32) {
        self.push(probe, 0);
        self.lonely += 1;
    }

    /// Keeps the pairs for which `is_kept(probe row, build row)`.
    #[inline(always)]
    pub(super) fn retain(&mut self, is_kept: impl Fn(u32, u32) -> bool) {
        let mut kept = 0;
        for pair in 0..self.len() {
            let (probe, build) = (self.probe[pair], self.build[pair]);
            (self.probe[kept], self.build[kept]) = (probe, build);
            kept += usize::from(is_kept(probe, build));
        }
        self.probe.truncate(kept);
        self.build.truncate(kept);
    }

    fn retain_masked(&mut self, mask: &BooleanArray) {
        // `evaluate_mask` gives false for NULL, so the values alone say it.
        let mut kept = 0;
        for pair in mask.values().set_indices() {
            (self.probe[kept], self.build[kept]) = (self.probe[pair], self.build[pair]);
            kept += 1;
        }
        self.probe.truncate(kept);
        self.build.truncate(kept);
    }

    /// The rows to take of each side.
    fn picked(&self, probe_rows: usize) -> Picked {
        let is_all = self.len() == probe_rows && self.probe.iter().enumerate().all(|(row, probe)| *probe == row as u32);
        let build = if self.lonely == 0 {
            Some(UInt32Array::from(self.build.clone()))
        } else if self.lonely == self.len() {
            None
        } else {
            let partners = self.len() - self.lonely;
            let valid = BooleanBuffer::collect_bool(self.len(), |pair| pair < partners);
            Some(UInt32Array::new(self.build.clone().into(), Some(NullBuffer::new(valid))))
        };
        Picked { rows: self.len(), probe: (!is_all).then(|| UInt32Array::from(self.probe.clone())), build }
    }
}

/// Rows to take of each side.
struct Picked {
    rows: usize,
    /// Absent: every row, in order.
    probe: Option<UInt32Array>,
    /// Absent: no row; NULLs.
    build: Option<UInt32Array>,
}

/// One thread's view of what becomes of pairs.
pub(super) struct Partners {
    shape: Arc<Shape>,
    side: Arc<BuildSide>,
    filter: Option<Evaluator>,
    /// Of each row of the probe batch: has it a partner? Only kept where the kind of join asks.
    matched: Vec<bool>,
}

impl Partners {
    pub(super) fn new(shape: &Arc<Shape>, side: &Arc<BuildSide>) -> Result<Partners> {
        let filter = shape.filter_evaluator()?;
        Ok(Partners { shape: Arc::clone(shape), side: Arc::clone(side), filter, matched: Vec::new() })
    }

    /// A batch of so many rows begins.
    pub(super) fn begin(&mut self, probe_rows: usize) {
        if self.shape.rows.looks_at_probe_rows() {
            self.matched.clear();
            self.matched.resize(probe_rows, false);
        }
    }

    /// As [`Partners::begin`], of rows of which is known whether they found a partner in other pieces of the build side.
    pub(super) fn begin_again(&mut self, matched: impl Iterator<Item = bool>) {
        if self.shape.rows.looks_at_probe_rows() {
            self.matched.clear();
            self.matched.extend(matched);
        }
    }

    /// The rows of the batch that have a partner, as far as the kind of join asks.
    pub(super) fn matched(&self) -> &[bool] {
        &self.matched
    }

    /// The rows of the batch that have a partner, to be set where no pair is needed for it.
    pub(super) fn matched_mut(&mut self) -> &mut [bool] {
        &mut self.matched
    }

    /// The rows that need no further partner, if the kind of join looks for one partner only.
    pub(super) fn settled(&self) -> Option<&[bool]> {
        let one_is_enough = matches!(self.shape.rows, JoinRows::ProbeSemi | JoinRows::ProbeAnti | JoinRows::ProbeMark);
        one_is_enough.then_some(self.matched.as_slice())
    }

    /// Drops the pairs that are no partners, and remembers those that are.
    pub(super) fn settle(&mut self, probe: &Batch, pairs: &mut Pairs) -> Result<()> {
        if pairs.len() == 0 {
            return Ok(());
        }
        if let (Some(evaluator), Some(filter)) = (&self.filter, &self.shape.filter) {
            let picked = pairs.picked(probe.num_rows());
            let columns = gather(&filter.columns, probe, &self.side.columns, &picked, None)?;
            let batch = batch_of(&self.shape.filter_schema, columns, pairs.len())?;
            pairs.retain_masked(&evaluator.evaluate_mask(&batch)?);
        }
        if let Some(marks) = &self.side.marks {
            pairs.build.iter().for_each(|row| marks.set(*row));
        }
        if self.shape.rows.looks_at_probe_rows() {
            pairs.probe.iter().for_each(|row| self.matched[*row as usize] = true);
        }
        Ok(())
    }

    /// Gives settled pairs, if the kind of join gives pairs at all.
    pub(super) fn give(&self, probe: &Batch, pairs: &mut Pairs, next: Next<'_>) -> Result<Outcome> {
        if pairs.len() == 0 || !self.shape.rows.gives_pairs() {
            pairs.clear();
            return Ok(Outcome::More);
        }
        let picked = pairs.picked(probe.num_rows());
        let columns = gather(&self.shape.output, probe, &self.side.columns, &picked, None)?;
        let batch = batch_of(&self.shape.output_schema, columns, pairs.len())?;
        pairs.clear();
        next(batch.into())
    }

    /// The batch ends with these settled pairs.
    pub(super) fn finish(
        &mut self,
        probe: &Batch,
        position: Option<Position>,
        pairs: &mut Pairs,
        next: Next<'_>,
    ) -> Result<Outcome> {
        match self.shape.rows {
            JoinRows::ProbeOuter | JoinRows::Full => {
                let lonely = self.matched.iter().filter(|matched| !**matched).count();
                if pairs.len() > 0 && pairs.len() + lonely > self.shape.rows_per_morsel {
                    let outcome = self.give(probe, pairs, next)?;
                    if matches!(outcome, Outcome::Enough) || lonely == 0 {
                        return Ok(outcome);
                    }
                }
                for (row, matched) in self.matched.iter().enumerate() {
                    if !matched {
                        pairs.push_lonely(row as u32);
                    }
                }
                self.give(probe, pairs, next)
            }
            JoinRows::ProbeSemi => self.give_probe_rows(probe, position, true, next),
            JoinRows::ProbeAnti => self.give_probe_rows(probe, position, false, next),
            JoinRows::ProbeMark => {
                let mark: ArrayRef = Arc::new(BooleanArray::from(self.matched.clone()));
                let picked = Picked { rows: probe.num_rows(), probe: None, build: None };
                let columns = gather(&self.shape.output, probe, &self.side.columns, &picked, Some(&mark))?;
                let batch = batch_of(&self.shape.output_schema, columns, probe.num_rows())?;
                next(Morsel { batch, position })
            }
            _ => self.give(probe, pairs, next),
        }
    }

    fn give_probe_rows(
        &self,
        probe: &Batch,
        position: Option<Position>,
        wanted: bool,
        next: Next<'_>,
    ) -> Result<Outcome> {
        let given = self.matched.iter().enumerate().filter(|(_, matched)| **matched == wanted);
        let rows: Vec<u32> = given.map(|(row, _)| row as u32).collect();
        if rows.is_empty() && !position.is_some_and(|position| position.is_last) {
            return Ok(Outcome::More);
        }
        let is_all = rows.len() == probe.num_rows();
        let picked = Picked { rows: rows.len(), probe: (!is_all).then(|| UInt32Array::from(rows)), build: None };
        let columns = gather(&self.shape.output, probe, &self.side.columns, &picked, None)?;
        let batch = batch_of(&self.shape.output_schema, columns, picked.rows)?;
        next(Morsel { batch, position })
    }
}

/// The columns of the picked rows.
fn gather(
    columns: &[JoinColumn],
    probe: &Batch,
    build: &[ArrayRef],
    picked: &Picked,
    mark: Option<&ArrayRef>,
) -> Result<Vec<ArrayRef>> {
    let column = |column: &JoinColumn| -> Result<ArrayRef> {
        match *column {
            JoinColumn::Probe(number) => match &picked.probe {
                None => Ok(Arc::clone(probe.column(number))),
                Some(rows) => Ok(compute::take(probe.column(number), rows, None)?),
            },
            JoinColumn::Build(number) => match &picked.build {
                None => Ok(new_null_array(build[number].data_type(), picked.rows)),
                Some(rows) => Ok(compute::take(&build[number], rows, None)?),
            },
            JoinColumn::Mark => mark.map(Arc::clone).ok_or_else(|| bug("join", "pairs have no mark")),
        }
    };
    columns.iter().map(column).collect()
}

/// A batch that knows its number of rows even without columns.
pub(super) fn batch_of(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<Batch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(Batch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
