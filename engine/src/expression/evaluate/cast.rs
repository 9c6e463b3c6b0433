//! CAST and TRY_CAST.
//!
//! In: a value. Out: the same value in another type. Never: NULL for a value that does not fit, unless TRY_CAST asked for it.

use datafusion_common::format::{DEFAULT_CAST_OPTIONS, DEFAULT_FORMAT_OPTIONS};

use super::{Step, Value};
use crate::{
    batch::{
        Batch,
        compute::{CastOptions, cast_with_options},
        datatypes::DataType,
        looked_up,
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

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
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
        // Of strings no value is one that cannot be cast.
        let is_codes = matches!(value.data_type(), DataType::Dictionary(_, values) if is_text(values));
        let array = if is_codes && is_text(&self.to) {
            looked_up(value.array(), &self.to)?
        } else {
            cast_with_options(value.array(), &self.to, &self.options)?
        };
        Ok(Value::like(array, &[&value]))
    }
}
