//! Scalar functions, found by name in the registry and run by DataFusion's code.
//!
//! In: a name, argument expressions, the type that was bound. Out: what the function gives. Never: a function that gives another
//! type than was bound without a cast back to it.

use std::sync::Arc;

use datafusion_common::ScalarValue;
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

use super::{
    Step, Value,
    cast::to_type,
    evaluator::{Context, prepare},
    text,
};
use crate::{
    batch::{
        Batch,
        datatypes::{DataType, Field, FieldRef},
    },
    error::Result,
    expression::{Expression, error::ExpressionError, functions},
};

/// A call of the function `name`, prepared.
pub(super) fn step(
    name: &str,
    arguments: &[Expression],
    returns: &DataType,
    context: &Context<'_>,
) -> Result<Box<dyn Step>> {
    if let Some(step) = text::substr(name, arguments, returns, context)? {
        return Ok(step);
    }
    let Some(function) = functions::scalar(name) else {
        return Err(ExpressionError::unsupported_at(format!("the function {name}"), name).into());
    };
    functions::check_deterministic(function)?;
    let mut fields = Vec::with_capacity(arguments.len());
    let mut steps = Vec::with_capacity(arguments.len());
    for (k, argument) in arguments.iter().enumerate() {
        let step = prepare(argument, context)?;
        let constant = step.constant().map(|value| scalar(value.array())).transpose()?;
        let is_nullable = argument.is_nullable(context.input);
        fields.push(Arc::new(Field::new(format!("argument {k}"), argument.data_type(context.input)?, is_nullable)));
        steps.push((step, constant));
    }
    Ok(Box::new(Call {
        function: Arc::clone(function),
        arguments: steps,
        fields,
        returns: Arc::new(Field::new(name, returns.clone(), true)),
    }))
}

struct Call {
    function: Arc<ScalarUDF>,
    /// The arguments; those that are constant also as the scalar that the function wants to see.
    arguments: Vec<(Box<dyn Step>, Option<ScalarValue>)>,
    fields: Vec<FieldRef>,
    returns: FieldRef,
}

impl Step for Call {
    fn evaluate(&self, batch: &Batch) -> Result<Value> {
        let mut arguments = Vec::with_capacity(self.arguments.len());
        for (step, constant) in &self.arguments {
            arguments.push(match constant {
                Some(constant) => ColumnarValue::Scalar(constant.clone()),
                None => match step.evaluate(batch)? {
                    Value::Column(array) => ColumnarValue::Array(array),
                    Value::Scalar(array) => ColumnarValue::Scalar(scalar(&array)?),
                },
            });
        }
        let failed = || ExpressionError::library(format!("evaluate {}", self.function.name()));
        let result = self
            .function
            .invoke_with_args(ScalarFunctionArgs {
                args: arguments,
                arg_fields: self.fields.clone(),
                number_rows: batch.num_rows(),
                return_field: Arc::clone(&self.returns),
                config_options: Arc::clone(functions::options()),
            })
            .map_err(failed())?;
        let value = match result {
            ColumnarValue::Array(array) => Value::Column(array),
            ColumnarValue::Scalar(scalar) => Value::Scalar(scalar.to_array().map_err(failed())?),
        };
        to_type(value, self.returns.data_type())
    }
}

fn scalar(array: &dyn crate::batch::array::Array) -> Result<ScalarValue, ExpressionError> {
    ScalarValue::try_from_array(array, 0).map_err(ExpressionError::library("read a constant argument"))
}
