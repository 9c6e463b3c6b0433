//! AND, OR, NOT, IS NULL, IS TRUE.
//!
//! In: truths with NULL for unknown. Out: truths by SQL's three-valued logic. Never: runs a later term on rows that an earlier
//! one has decided, where the later one could fail or where few rows are left.
//!
//! A chain of AND is one step over its terms in order. After each term a row is *decided* when it is false (true, for OR); the next
//! term runs on the undecided rows and its truths are scattered back between the decided ones.

use std::sync::Arc;

use super::{Step, Value, evaluator::Context, narrow::Narrow};
use crate::{
    batch::{
        Batch,
        array::{Array, BooleanArray, BooleanBufferBuilder},
        buffer::{BooleanBuffer, NullBuffer},
        compute::{self, and_kleene, filter, or_kleene},
    },
    error::Result,
    expression::{BinaryOp, Expression},
};

/// Undecided rows below one in so many are gathered before the next term runs on them.
const SELECTIVE: usize = 5;

/// A chain of AND or of OR, prepared.
pub(super) fn junction(expression: &Expression, context: &Context<'_>) -> Result<Box<dyn Step>> {
    let op = match expression {
        Expression::Binary { op, .. } => *op,
        _ => BinaryOp::And,
    };
    let terms = expression.clone().flatten(op);
    let terms = terms.iter().map(|term| Narrow::new(term, context)).collect::<Result<Vec<_>>>()?;
    Ok(Box::new(Junction { decisive: op == BinaryOp::Or, terms }))
}

struct Junction {
    /// The truth that decides a row: false for AND, true for OR.
    decisive: bool,
    terms: Vec<Narrow>,
}

impl Step for Junction {
    fn evaluate(&self, batch: &Batch) -> Result<Value> {
        let rows = batch.num_rows();
        // As if a term before the first had said "not decisive" for every row.
        let mut so_far = Value::Scalar(Arc::new(BooleanArray::from(vec![!self.decisive])));
        for term in &self.terms {
            let truths = so_far.booleans()?;
            let open = undecided(&truths, self.decisive);
            let open_count = open.count_set_bits();
            if open_count == 0 && (so_far.is_scalar() || rows > 0) {
                break;
            }
            let is_partial = !so_far.is_scalar() && open_count < rows;
            if is_partial && (term.can_fail || open_count * SELECTIVE < rows) {
                let mask = BooleanArray::new(open, None);
                let right = term.on(batch, &mask, open_count)?.into_array(open_count)?;
                let left = Value::Column(filter(&truths, &mask)?).booleans()?;
                let right = Value::Column(right).booleans()?;
                let decided = self.join(&left, &right)?;
                so_far = Value::Column(Arc::new(scatter(&decided, mask.values(), self.decisive)));
            } else {
                let right = term.on_all(batch)?;
                so_far = match (&so_far, &right) {
                    // A scalar that is still undecided and not NULL says nothing.
                    (Value::Scalar(left), _) if left.is_valid(0) => right,
                    (left, right) => {
                        let is_scalar = left.is_scalar() && right.is_scalar();
                        let rows = if is_scalar { 1 } else { rows };
                        let left = Value::Column(left.clone().into_array(rows)?).booleans()?;
                        let right = Value::Column(right.clone().into_array(rows)?).booleans()?;
                        let joined = Arc::new(self.join(&left, &right)?);
                        if is_scalar { Value::Scalar(joined) } else { Value::Column(joined) }
                    }
                };
            }
        }
        Ok(so_far)
    }
}

impl Junction {
    fn join(&self, left: &BooleanArray, right: &BooleanArray) -> Result<BooleanArray> {
        Ok(if self.decisive { or_kleene(left, right)? } else { and_kleene(left, right)? })
    }
}

/// The rows that are not `decisive`: of the other truth, or NULL.
fn undecided(truths: &BooleanArray, decisive: bool) -> BooleanBuffer {
    let others = if decisive { !truths.values() } else { truths.values().clone() };
    match truths.nulls() {
        Some(nulls) => &others | &!nulls.inner(),
        None => others,
    }
}

/// `some[k]` at the k-th row set in `at`, `decisive` at the others.
fn scatter(some: &BooleanArray, at: &BooleanBuffer, decisive: bool) -> BooleanArray {
    let mut values = BooleanBufferBuilder::new(at.len());
    values.append_n(at.len(), decisive);
    let differ = at.set_indices().zip(some.values()).filter(|(_, value)| *value != decisive);
    differ.for_each(|(row, value)| values.set_bit(row, value));
    let valid = some.nulls().filter(|nulls| nulls.null_count() > 0).map(|nulls| {
        let mut valid = BooleanBufferBuilder::new(at.len());
        valid.append_n(at.len(), true);
        let unknown = at.set_indices().zip(nulls.inner()).filter(|(_, is_valid)| !is_valid);
        unknown.for_each(|(row, _)| valid.set_bit(row, false));
        valid
    });
    BooleanArray::new(values.finish(), valid.map(|mut valid| NullBuffer::new(valid.finish())))
}

/// NOT, prepared.
pub(super) fn not(input: Box<dyn Step>) -> Box<dyn Step> {
    Box::new(Mapped { input, map: |value| Ok(compute::not(&value.booleans()?)?) })
}

/// IS NULL, prepared.
pub(super) fn is_null(input: Box<dyn Step>) -> Box<dyn Step> {
    Box::new(Mapped { input, map: |value| Ok(compute::is_null(value.array())?) })
}

/// IS TRUE or IS FALSE, prepared.
pub(super) fn is_truth(input: Box<dyn Step>, truth: bool) -> Box<dyn Step> {
    let map: fn(&Value) -> Result<BooleanArray> =
        if truth { |value| Ok(is(&value.booleans()?, true)) } else { |value| Ok(is(&value.booleans()?, false)) };
    Box::new(Mapped { input, map })
}

fn is(truths: &BooleanArray, truth: bool) -> BooleanArray {
    let values = if truth { truths.values().clone() } else { !truths.values() };
    match truths.nulls() {
        Some(nulls) => BooleanArray::new(&values & nulls.inner(), None),
        None => BooleanArray::new(values, None),
    }
}

/// A truth from each value.
struct Mapped {
    input: Box<dyn Step>,
    map: fn(&Value) -> Result<BooleanArray>,
}

impl Step for Mapped {
    fn evaluate(&self, batch: &Batch) -> Result<Value> {
        let value = self.input.evaluate(batch)?;
        Ok(Value::like(Arc::new((self.map)(&value)?), &[&value]))
    }
}
