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
pub struct Filter(Arc<Vec<Evaluator>>);

impl Filter {
    /// Keeps rows for which all `conjuncts` are true; a conjunct sees only the rows that the ones before it left.
    pub fn new(
        conjuncts: &[Expression],
        input: &SchemaRef,
        _context: &JobContext,
        parameters: &Arc<Parameters>,
    ) -> Result<Arc<Filter>> {
        let prepared = conjuncts.iter().map(|e| Evaluator::new(e, input, parameters)).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(Filter(Arc::new(prepared))))
    }
}

impl Transform for Filter {
    fn thread(&self) -> Result<Box<dyn TransformThread>> {
        Ok(Box::new(FilterThread(Arc::clone(&self.0))))
    }
}

struct FilterThread(Arc<Vec<Evaluator>>);

impl TransformThread for FilterThread {
    fn push(&mut self, morsel: Morsel, next: Next<'_>) -> Result<Outcome> {
        let Morsel { mut batch, position } = morsel;
        for conjunct in self.0.iter() {
            if batch.num_rows() == 0 {
                break;
            }
            let mask = conjunct.evaluate_mask(&batch)?;
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
