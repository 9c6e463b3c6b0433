//! An expression over one column of codes, evaluated once a value of the dictionary.
//!
//! In: codes into a dictionary. Out: what the expression gives for the value of each row. Never: an error that no row would give: what can
//! fail is evaluated row by row.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Step, Value, can_fail,
    evaluator::{Context, prepare},
};
use crate::{
    batch::{
        Batch,
        array::{Array, ArrayRef, AsArray, BooleanArray, DictionaryArray, Int32Array, new_null_array},
        buffer::BooleanBuffer,
        compute,
        datatypes::{DataType, Field, Int32Type, Schema, SchemaRef},
    },
    error::Result,
    expression::Expression,
};

/// The step, if the expression reads one column, which is of codes, and its values only through casts.
pub(super) fn step(expression: &Expression, context: &Context<'_>) -> Result<Option<Box<dyn Step>>> {
    let Some((column, values)) = only_codes(expression, context.input) else { return Ok(None) };
    let schema = Arc::new(Schema::new(vec![Field::new("value", values, true)]));
    let mut by_value = expression.clone();
    by_value.map_columns(&|_| 0);
    let by_value = prepare(&by_value, &Context { input: &schema, ..*context })?;
    Ok(Some(Box::new(ByCode { column, schema, by_value })))
}

/// The column, and the type of its values.
fn only_codes(expression: &Expression, input: &Schema) -> Option<(usize, DataType)> {
    if expression.is_column().is_some() {
        return None;
    }
    let mut columns = BTreeSet::new();
    expression.columns_used(&mut columns);
    let (Some(column), None) = (columns.pop_first(), columns.pop_first()) else { return None };
    let DataType::Dictionary(codes, values) = input.fields().get(column)?.data_type() else { return None };
    let is_known = **codes == DataType::Int32 && reads_through_casts(expression) && !can_fail(expression, input);
    is_known.then(|| (column, DataType::clone(values)))
}

/// Its columns stand in casts, and where it is asked whether they are NULL: their own types do not matter.
fn reads_through_casts(expression: &Expression) -> bool {
    let passes = matches!(expression, Expression::Cast { .. } | Expression::IsNull(_));
    expression.children().into_iter().all(|child| match child.is_column() {
        Some(_) => passes,
        None => reads_through_casts(child),
    })
}

struct ByCode {
    column: usize,
    schema: SchemaRef,
    by_value: Box<dyn Step>,
}

impl Step for ByCode {
    fn evaluate(&self, batch: &Batch) -> Result<Value> {
        let column: &DictionaryArray<Int32Type> = batch.column(self.column).as_dictionary();
        let (codes, values) = (column.keys(), column.values());
        if values.len() > codes.len() {
            return self.of(compute::take(values, codes, None)?);
        }
        if codes.null_count() == 0 {
            return of_codes(self.of(Arc::clone(values))?, codes);
        }
        // What it is of NULL stands behind the values.
        let null = new_null_array(values.data_type(), 1);
        let null_code = values.len() as i32;
        let known: Int32Array = codes.iter().map(|code| code.unwrap_or(null_code)).map(Some).collect();
        of_codes(self.of(compute::concat(&[values, &null])?)?, &known)
    }
}

impl ByCode {
    fn of(&self, values: ArrayRef) -> Result<Value> {
        self.by_value.evaluate(&Batch::try_new(Arc::clone(&self.schema), vec![values])?)
    }
}

/// The value of each code, of which none is NULL.
fn of_codes(values: Value, codes: &Int32Array) -> Result<Value> {
    let values = match values {
        Value::Column(values) => values,
        same => return Ok(same),
    };
    let Some(truths) = values.as_boolean_opt().filter(|truths| truths.null_count() == 0) else {
        return Ok(Value::Column(compute::take(&values, codes, None)?));
    };
    let truths: Vec<bool> = truths.values().iter().collect();
    let codes = codes.values();
    let truth = BooleanBuffer::collect_bool(codes.len(), |row| truths[codes[row] as usize]);
    Ok(Value::Column(Arc::new(BooleanArray::new(truth, None))))
}
