//! Rows that a scan leaves out: its conditions as a [`RowTest`], and tests after decoding for shapes that decode whole rows.
//!
//! In: conditions; batches of all columns that are looked at. Out: which rows are kept; batches of the given columns. Never: gives a batch
//! without rows.

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use bytes::Bytes;

use crate::{
    batch::{
        Batch,
        array::{ArrayRef, BooleanArray},
        compute,
        datatypes::SchemaRef,
    },
    error::Result,
    expression::{Evaluator, Expression, Parameters},
    format::{Border, Decode, RowTest, Selected},
    observe,
};

/// Conditions on the columns of a scan, as a test.
pub(super) struct Conditions {
    columns: Vec<usize>,
    evaluator: Evaluator,
}

impl Conditions {
    /// All of `conjuncts`, over columns of `schema`; together they use at least one.
    pub(super) fn new(
        conjuncts: &[Expression],
        schema: &SchemaRef,
        parameters: &Arc<Parameters>,
    ) -> Result<Conditions> {
        let mut columns = BTreeSet::new();
        conjuncts.iter().for_each(|conjunct| conjunct.columns_used(&mut columns));
        let columns: Vec<usize> = columns.into_iter().collect();
        let mut conjuncts = conjuncts.to_vec();
        let place = |column| columns.binary_search(&column).unwrap_or(usize::MAX);
        conjuncts.iter_mut().for_each(|conjunct| conjunct.map_columns(&place));
        let schema = Arc::new(schema.project(&columns)?);
        Ok(Conditions { evaluator: Evaluator::all(&conjuncts, &schema, parameters)?, columns })
    }
}

impl RowTest for Conditions {
    fn columns(&self) -> &[usize] {
        &self.columns
    }

    fn keeps(&self, batch: &Batch) -> Result<BooleanArray> {
        self.evaluator.evaluate_mask(batch)
    }
}

/// A test whose effect is recorded.
pub struct WatchedTest {
    test: Arc<dyn RowTest>,
    watched: Arc<observe::Tested>,
}

impl WatchedTest {
    /// `test`, as `watched` sees it.
    pub fn new(test: Arc<dyn RowTest>, watched: &Arc<observe::Tested>) -> WatchedTest {
        WatchedTest { test, watched: Arc::clone(watched) }
    }
}

impl RowTest for WatchedTest {
    fn columns(&self) -> &[usize] {
        self.test.columns()
    }

    fn keeps(&self, batch: &Batch) -> Result<BooleanArray> {
        let kept = self.test.keeps(batch)?;
        self.watched.add(batch.num_rows(), kept.true_count());
        Ok(kept)
    }

    fn keeps_none(&self) -> bool {
        self.test.keeps_none()
    }

    fn ranged_column(&self) -> Option<usize> {
        self.test.ranged_column()
    }

    fn may_keep(&self, minima: &ArrayRef, maxima: &ArrayRef) -> Result<Option<BooleanArray>> {
        self.test.may_keep(minima, maxima)
    }

    fn tell_left_out(&self, rows: u64) {
        self.watched.add(rows as usize, 0);
    }

    fn close(&self) {
        self.test.close();
    }
}

/// A decoder of all columns that are looked at, and the tests after it.
pub(super) struct Tested<D> {
    decoder: D,
    selected: Selected,
}

impl<D: Decode> Tested<D> {
    /// `decoder` gives the columns of `selected`, in order.
    pub(super) fn new(decoder: D, selected: &Selected) -> Tested<D> {
        Tested { decoder, selected: selected.clone() }
    }

    fn kept(&self, mut batch: Batch) -> Result<Batch> {
        for test in self.selected.tests.iter() {
            if batch.num_rows() == 0 {
                break;
            }
            let mask = test.keeps(&batch.project(test.columns())?)?;
            if mask.true_count() < batch.num_rows() {
                batch = compute::filter_record_batch(&batch, &mask)?;
            }
        }
        Ok(batch.project(&self.selected.given)?)
    }
}

impl<D: Decode> Decode for Tested<D> {
    fn wants(&mut self) -> Option<Vec<Range<u64>>> {
        self.decoder.wants()
    }

    fn feed(&mut self, bytes: Vec<Bytes>) -> Result<()> {
        self.decoder.feed(bytes)
    }

    fn batch(&mut self) -> Result<Option<Batch>> {
        while let Some(batch) = self.decoder.batch()? {
            let kept = self.kept(batch)?;
            if kept.num_rows() > 0 {
                return Ok(Some(kept));
            }
        }
        Ok(None)
    }

    fn rows_seen(&self) -> u64 {
        self.decoder.rows_seen()
    }

    fn follows(&self) -> bool {
        self.decoder.follows()
    }

    fn follow(&mut self, border: Border) -> Border {
        self.decoder.follow(border)
    }
}
