//! Filter: keeps the rows for which a predicate is true.
//!
//! In: morsels. Out: morsels with the same columns and no more rows, positions kept. Never: passes on an empty morsel, unless it is
//! the last of its split.

use std::sync::Arc;

use super::{JobContext, Next, Outcome, Transform, TransformThread};
use crate::{
    batch::{Morsel, compute, datatypes::SchemaRef},
    error::Result,
    expression::{Evaluator, Expression, Parameters},
};

/// The shared part: the predicate, prepared.
pub struct Filter(Arc<Evaluator>);

impl Filter {
    /// Keeps rows for which all `conjuncts` are true; a conjunct sees only the rows that the ones before it left.
    pub fn new(
        conjuncts: &[Expression],
        input: &SchemaRef,
        _context: &JobContext,
        parameters: &Arc<Parameters>,
    ) -> Result<Arc<Filter>> {
        Ok(Arc::new(Filter(Arc::new(Evaluator::all(conjuncts, input, parameters)?))))
    }
}

impl Transform for Filter {
    fn thread(&self) -> Result<Box<dyn TransformThread>> {
        Ok(Box::new(FilterThread(Arc::clone(&self.0))))
    }
}

struct FilterThread(Arc<Evaluator>);

impl TransformThread for FilterThread {
    fn push(&mut self, morsel: Morsel, next: Next<'_>) -> Result<Outcome> {
        let Morsel { mut batch, position } = morsel;
        if batch.num_rows() > 0 {
            let mask = self.0.evaluate_mask(&batch)?;
            if mask.true_count() < batch.num_rows() {
                batch = compute::filter_record_batch(&batch, &mask)?;
            }
        }
        if batch.num_rows() > 0 || position.is_some_and(|position| position.is_last) {
            next(Morsel { batch, position })
        } else {
            Ok(Outcome::More)
        }
    }
}
