//! What of a row the grouping needs: its keys, and the arguments of the calls.
//!
//! In: batches of the operator's input. Out: batches of [`Plan::row_schema`]. Never: evaluates an expression twice; these rows are what
//! tables take in, and what is carried, or spilled, when they are not taken in at once.
//!
//! ```text
//!   │ key 0 │ key 1 │ … │ arguments of input 0 │ its filter, as a mask │ arguments of input 1 │ …
//! ```
//! Where other tables' knowledge is taken in (`AggregatePhase::takes_parts`) the rows are theirs, as they stand.

use std::{ops::Range, sync::Arc};

use super::spec::{Input, Plan};
use crate::{
    batch::{
        Batch,
        array::{Array, ArrayRef, AsArray, RecordBatchOptions},
        buffer::{BooleanBuffer, NullBuffer},
        canonical_floats,
        datatypes::{DataType, Field, Schema, SchemaRef},
        looked_up,
    },
    error::Result,
    expression::Evaluator,
};

impl Plan {
    /// The columns of the rows that tables take in.
    pub(super) fn row_schema(&self) -> SchemaRef {
        if self.phase.takes_parts() {
            return self.partial_schema();
        }
        let mut fields = Vec::new();
        let mut add = |data_type: &DataType, is_nullable: bool| {
            fields.push(Field::new(format!("column {}", fields.len()), data_type.clone(), is_nullable));
        };
        self.key_types.iter().for_each(|data_type| add(data_type, true));
        for input in &self.inputs {
            input.types.iter().for_each(|data_type| add(data_type, true));
            if input.filter.is_some() {
                add(&DataType::Boolean, false);
            }
        }
        Arc::new(Schema::new(fields))
    }

    /// As [`Plan::row_schema`], with keys that are codes into a dictionary as they are.
    pub(super) fn coded_schema(&self) -> SchemaRef {
        let plain = self.row_schema();
        if self.phase.takes_parts() {
            return plain;
        }
        let with_codes = |(number, field): (usize, &Arc<Field>)| match self.keys.get(number) {
            Some(key) => Field::clone(field).with_data_type(key.data_type().clone()),
            None => Field::clone(field),
        };
        Arc::new(Schema::new(plain.fields().iter().enumerate().map(with_codes).collect::<Vec<_>>()))
    }

    /// Key columns, codes looked up.
    pub(super) fn values_of_keys(&self, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let value = |(column, data_type): (&ArrayRef, &DataType)| -> Result<ArrayRef> {
            if column.data_type() == data_type { Ok(Arc::clone(column)) } else { Ok(looked_up(column, data_type)?) }
        };
        columns.iter().zip(self.key_types.iter()).map(value).collect()
    }

    /// The rows of a batch of the input, in the columns of `schema`: of [`Plan::row_schema`] or [`Plan::coded_schema`].
    pub(super) fn rows_of(&self, schema: &SchemaRef, batch: &Batch) -> Result<Batch> {
        if self.phase.takes_parts() {
            return Ok(batch.clone());
        }
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
        for (key, field) in self.keys.iter().zip(schema.fields()) {
            columns.push(canonical_floats(&column_of(key, field.data_type(), batch)?));
        }
        for input in &self.inputs {
            for (argument, data_type) in input.arguments.iter().zip(&input.types) {
                columns.push(column_of(argument, data_type, batch)?);
            }
            if let Some(filter) = &input.filter {
                columns.push(Arc::new(filter.evaluate_mask(batch)?));
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(Batch::try_new_with_options(Arc::clone(schema), columns, &options)?)
    }

    /// The keys' columns of such rows.
    pub(super) fn keys_of<'a>(&self, rows: &'a Batch) -> &'a [ArrayRef] {
        &rows.columns()[..self.key_types.len()]
    }

    /// Each input's columns of such rows: the arguments, and the rows that count.
    pub(super) fn inputs_of<'a>(
        &self,
        rows: &'a Batch,
    ) -> impl Iterator<Item = (&Input, &'a [ArrayRef], Option<BooleanBuffer>)> {
        let mut next = self.key_types.len();
        self.inputs.iter().map(move |input| {
            let arguments: Range<usize> = next..next + input.types.len();
            next = arguments.end + usize::from(input.filter.is_some());
            let columns = &rows.columns()[arguments.clone()];
            let mask = input.filter.as_ref().map(|_| rows.column(arguments.end).as_boolean().values());
            (input, columns, valid_rows(columns, mask))
        })
    }
}

/// The values of `evaluator` for the rows of `batch`, dictionaries looked up.
fn column_of(evaluator: &Evaluator, data_type: &DataType, batch: &Batch) -> Result<ArrayRef> {
    let column = evaluator.evaluate(batch)?.into_array(batch.num_rows())?;
    if column.data_type() == data_type { Ok(column) } else { Ok(looked_up(&column, data_type)?) }
}

/// The rows that count: no argument is NULL, the filter is true. `None` if all do.
fn valid_rows(columns: &[ArrayRef], mask: Option<&BooleanBuffer>) -> Option<BooleanBuffer> {
    let mut valid: Option<NullBuffer> = None;
    for column in columns {
        valid = NullBuffer::union(valid.as_ref(), column.logical_nulls().as_ref());
    }
    let valid = valid.filter(|nulls| nulls.null_count() > 0).map(|nulls| nulls.inner().clone());
    match (valid, mask) {
        (valid, None) => valid,
        (None, Some(mask)) => (mask.count_set_bits() < mask.len()).then(|| mask.clone()),
        (Some(valid), Some(mask)) => Some(&valid & mask),
    }
}
