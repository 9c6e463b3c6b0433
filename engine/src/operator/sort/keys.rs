//! Sort keys in row form: bytes that compare as the keys do.
//!
//! In: a batch. Out: arrow-row's rows of its keys. Never: a tie broken; that is for `order`.

use std::sync::Arc;

use crate::{
    batch::{
        Batch, CanonicalOrder, NoOrder,
        array::ArrayRef,
        canonical_floats,
        compute::{self, SortOptions},
        datatypes::{DataType, SchemaRef},
        row::{RowConverter, Rows, SortField},
    },
    error::Result,
    expression::{Evaluator, Expression, Parameters, SortKey},
};

/// What is sorted, and which part of the order is given.
#[derive(Clone, Debug)]
pub struct SortSpec {
    /// The first decides; none: the order is that of the rows' content.
    pub keys: Vec<SortKey>,
    /// The columns.
    pub schema: SchemaRef,
    /// Rows left out at the beginning.
    pub skip: usize,
    /// Most rows that are given after those.
    pub fetch: Option<usize>,
}

impl SortSpec {
    /// Two rows of equal keys are the same row: every column is a key, and its bits are its value.
    pub(super) fn keys_are_content(&self) -> bool {
        let is_key = |column| {
            let is_float = self.schema.field(column).data_type().is_floating()
                || self.schema.field(column).data_type().is_nested();
            !is_float && self.keys.iter().any(|key| key.expression == Expression::Column(column))
        };
        self.keys.is_empty() || (0..self.schema.fields().len()).all(is_key)
    }
}

/// Makes the keys, for one thread.
pub(super) enum SortKeys {
    /// By the rows' content.
    Content(CanonicalOrder),
    /// By the values of expressions.
    Values(Vec<Evaluator>, RowConverter),
}

impl SortKeys {
    pub(super) fn new(spec: &SortSpec, parameters: &Arc<Parameters>) -> Result<SortKeys> {
        if spec.keys.is_empty() {
            return Ok(SortKeys::Content(CanonicalOrder::new(&spec.schema)?));
        }
        let mut fields = Vec::with_capacity(spec.keys.len());
        let mut evaluators = Vec::with_capacity(spec.keys.len());
        for key in &spec.keys {
            let data_type = comparable(key.expression.data_type(&spec.schema)?);
            let options = SortOptions { descending: key.is_descending, nulls_first: key.nulls_first };
            let field = SortField::new_with_options(data_type.clone(), options);
            if !RowConverter::supports_fields(std::slice::from_ref(&field)) {
                return Err(NoOrder { column: key.expression.to_string(), data_type }.into());
            }
            fields.push(field);
            evaluators.push(Evaluator::new(&key.expression, &spec.schema, parameters)?);
        }
        Ok(SortKeys::Values(evaluators, RowConverter::new(fields)?))
    }

    /// The keys of the rows of `batch`. Rows of every thread compare with each other by their bytes.
    pub(super) fn encode(&self, batch: &Batch) -> Result<Rows> {
        match self {
            SortKeys::Content(order) => order.encode(batch),
            SortKeys::Values(evaluators, converter) => {
                let column = |evaluator: &Evaluator| -> Result<ArrayRef> {
                    let mut array = evaluator.evaluate(batch)?.into_array(batch.num_rows())?;
                    if array.data_type() == &DataType::Float16 {
                        array = compute::cast(&array, &DataType::Float32)?;
                    }
                    Ok(canonical_floats(&array))
                };
                let columns = evaluators.iter().map(column).collect::<Result<Vec<_>>>()?;
                Ok(converter.convert_columns(&columns)?)
            }
        }
    }
}

/// Every half float is a single float; so there are two float types to make canonical, not three.
fn comparable(data_type: DataType) -> DataType {
    if data_type == DataType::Float16 { DataType::Float32 } else { data_type }
}
