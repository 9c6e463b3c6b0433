//! CAST and TRY_CAST.
//!
//! In: a value. Out: the same value in another type. Never: NULL for a value that does not fit, unless TRY_CAST asked for it.

use std::sync::Arc;

use datafusion_common::format::{DEFAULT_CAST_OPTIONS, DEFAULT_FORMAT_OPTIONS};

use super::{Step, Value};
use crate::{
    batch::{
        Batch,
        compute::{CastOptions, cast_with_options},
        datatypes::DataType,
    },
    error::Result,
};

/// CAST or TRY_CAST of `input` to `to`, prepared.
pub(super) fn step(input: Box<dyn Step>, to: &DataType, is_try: bool) -> Box<dyn Step> {
    let options = CastOptions { safe: is_try, format_options: DEFAULT_FORMAT_OPTIONS };
    Box::new(Cast { input, to: to.clone(), options })
}

/// `value` in the type `to`; an error where it does not fit.
pub(super) fn to_type(value: Value, to: &DataType) -> Result<Value> {
    if value.data_type() == to {
        return Ok(value);
    }
    let array = cast_with_options(value.array(), to, &DEFAULT_CAST_OPTIONS)?;
    Ok(Value::like(array, &[&value]))
}

struct Cast {
    input: Box<dyn Step>,
    to: DataType,
    options: CastOptions<'static>,
}

impl Step for Cast {
    fn evaluate(&self, batch: &Batch) -> Result<Value> {
        let value = self.input.evaluate(batch)?;
        if value.data_type() == &self.to {
            return Ok(value);
        }
        let array = cast_with_options(value.array(), &self.to, &self.options)?;
        Ok(Value::like(Arc::clone(&array), &[&value]))
    }
}
