//! CASE: the first true condition says which value a row gets.
//!
//! In: conditions and values. Out: one value per row. Never: runs a condition on a row that an earlier branch took, or a value that
//! can fail on a row that does not take it: `CASE WHEN x <> 0 THEN 1 / x END` is how SQL guards a division.
//!
//! ```text
//!   rows left ──condition 1──► taken by 1 ──value 1──┐
//!       └─ the others ──condition 2──► taken by 2 … ─┴─► zip (one branch) or interleave (several)
//! ```

use std::sync::Arc;

use super::{
    Step, Value,
    cast::to_type,
    evaluator::{Context, without_nulls},
    narrow::Narrow,
};
use crate::{
    batch::{
        Batch,
        array::{Array, ArrayRef, BooleanArray, BooleanBufferBuilder, new_null_array},
        buffer::BooleanBuffer,
        compute::{interleave, kernels::zip::zip},
        datatypes::DataType,
    },
    error::Result,
    expression::Expression,
};

/// CASE, prepared; every value is brought to `data_type`.
pub(super) fn step(
    branches: &[(Expression, Expression)],
    otherwise: Option<&Expression>,
    data_type: DataType,
    context: &Context<'_>,
) -> Result<Box<dyn Step>> {
    let branches = branches
        .iter()
        .map(|(when, then)| Ok((Narrow::new(when, context)?, Narrow::new(then, context)?)))
        .collect::<Result<Vec<_>>>()?;
    let otherwise = otherwise.map(|otherwise| Narrow::new(otherwise, context)).transpose()?;
    Ok(Box::new(Case { branches, otherwise, data_type }))
}

struct Case {
    branches: Vec<(Narrow, Narrow)>,
    otherwise: Option<Narrow>,
    data_type: DataType,
}

/// The value of one branch for the rows that take it.
struct Taken {
    rows: BooleanBuffer,
    value: Value,
    /// `value`, if it is a column, has only the rows taken; else all rows of the batch.
    is_gathered: bool,
}

impl Step for Case {
    fn evaluate(&self, batch: &Batch) -> Result<Value> {
        let rows = batch.num_rows();
        let mut left = BooleanBuffer::new_set(rows);
        let mut left_count = rows;
        let mut taken: Vec<Taken> = Vec::new();
        for (when, then) in &self.branches {
            if left_count == 0 {
                break;
            }
            let hits = rows_where(when, batch, &left, left_count)?;
            let hit_count = hits.count_set_bits();
            if hit_count > 0 {
                taken.push(self.value_of(then, batch, hits.clone(), hit_count)?);
                left = &left & &!&hits;
                left_count -= hit_count;
            }
        }
        if left_count > 0 || taken.is_empty() {
            taken.push(match &self.otherwise {
                Some(otherwise) => self.value_of(otherwise, batch, left, left_count)?,
                None => {
                    Taken { rows: left, value: Value::Scalar(new_null_array(&self.data_type, 1)), is_gathered: false }
                }
            });
        }
        merge(taken, rows)
    }
}

impl Case {
    /// The value of `part` on the rows that take it: on all rows when that is most of them and none can make it fail.
    fn value_of(&self, part: &Narrow, batch: &Batch, rows: BooleanBuffer, count: usize) -> Result<Taken> {
        let is_gathered = count < batch.num_rows() && (part.can_fail || count * 2 < batch.num_rows());
        let value = if is_gathered {
            part.on(batch, &BooleanArray::new(rows.clone(), None), count)?
        } else {
            part.on_all(batch)?
        };
        Ok(Taken { rows, value: to_type(value, &self.data_type)?, is_gathered })
    }
}

/// The rows among `left` for which the condition is true.
fn rows_where(when: &Narrow, batch: &Batch, left: &BooleanBuffer, left_count: usize) -> Result<BooleanBuffer> {
    let rows = batch.num_rows();
    let is_gathered = left_count < rows && (when.can_fail || left_count * 2 < rows);
    if !is_gathered {
        let value = when.on_all(batch)?;
        let truths = without_nulls(value.booleans()?);
        return Ok(match value {
            Value::Scalar(_) if truths.value(0) => left.clone(),
            Value::Scalar(_) => BooleanBuffer::new_unset(rows),
            Value::Column(_) => truths.values() & left,
        });
    }
    let mask = BooleanArray::new(left.clone(), None);
    let value = when.on(batch, &mask, left_count)?;
    let truths = without_nulls(value.booleans()?);
    let mut hits = BooleanBufferBuilder::new(rows);
    hits.append_n(rows, false);
    for (k, row) in left.set_indices().enumerate() {
        hits.set_bit(row, truths.value(if value.is_scalar() { 0 } else { k }));
    }
    Ok(hits.finish())
}

/// One value per row from the branches that took rows; every row was taken by one.
fn merge(mut taken: Vec<Taken>, rows: usize) -> Result<Value> {
    if taken.len() == 1
        && let Some(only) = taken.pop()
    {
        return Ok(only.value);
    }
    if let [first, second] = &taken[..]
        && !first.is_gathered
        && !second.is_gathered
    {
        let mask = BooleanArray::new(first.rows.clone(), None);
        return Ok(Value::Column(zip(&mask, &first.value, &second.value)?));
    }
    let mut sources = vec![(0, 0); rows];
    for (branch, part) in taken.iter().enumerate() {
        let is_scalar = part.value.is_scalar();
        for (k, row) in part.rows.set_indices().enumerate() {
            sources[row] = (
                branch,
                if is_scalar {
                    0
                } else if part.is_gathered {
                    k
                } else {
                    row
                },
            );
        }
    }
    let values: Vec<ArrayRef> = taken.iter().map(|part| Arc::clone(part.value.array())).collect();
    let values: Vec<&dyn Array> = values.iter().map(|value| value.as_ref()).collect();
    Ok(Value::Column(interleave(&values, &sources)?))
}
