//! The prepared expression.
//!
//! In: an expression and the schema it is over; then batches of that schema. Out: values, arrays, or the mask of a filter. Never:
//! keeps anything between batches, so that one evaluator serves all threads.

use std::{fmt, sync::Arc};

use super::{Parameters, Step, Value, binary, case, cast, codes, function, in_list, logic, text};
use crate::{
    batch::{
        Batch,
        array::{Array, ArrayRef, BooleanArray, RecordBatchOptions},
        compute,
        datatypes::{DataType, Schema, SchemaRef},
    },
    error::{Result, bug},
    expression::{BinaryOp, Expression},
};

/// An expression prepared for batches of one schema.
pub struct Evaluator {
    step: Box<dyn Step>,
    data_type: DataType,
}

impl Evaluator {
    /// Prepares `expression` for batches of the schema `input`.
    pub fn new(expression: &Expression, input: &SchemaRef, parameters: &Arc<Parameters>) -> Result<Evaluator> {
        let step = prepare(expression, &Context { input, parameters })?;
        Ok(Evaluator { step, data_type: expression.data_type(input)? })
    }

    /// Prepares a filter by `conjuncts`, at least one: each sees only the rows for which the ones before it are true.
    pub fn all(conjuncts: &[Expression], input: &SchemaRef, parameters: &Arc<Parameters>) -> Result<Evaluator> {
        // Where one is NULL the row is decided, as where it is false.
        let is_true = |conjunct: &Expression| Expression::IsTruth { input: Box::new(conjunct.clone()), truth: true };
        let all = match conjuncts {
            [one] => Some(one.clone()),
            several => Expression::conjunction(several.iter().map(is_true).collect()),
        };
        let all = all.ok_or_else(|| bug("expression", "a filter by nothing"))?;
        Evaluator::new(&all, input, parameters)
    }

    /// The type of its values.
    pub fn data_type(&self) -> &DataType {
        &self.data_type
    }

    /// A value for each row.
    pub fn evaluate(&self, batch: &Batch) -> Result<Value> {
        self.step.evaluate(batch)
    }

    /// An array with a value for each row.
    pub fn evaluate_to_array(&self, batch: &Batch) -> Result<ArrayRef> {
        self.step.evaluate(batch)?.into_array(batch.num_rows())
    }

    /// Which rows fulfil it: the expression is a boolean, NULL is false, the mask has no NULLs.
    pub fn evaluate_mask(&self, batch: &Batch) -> Result<BooleanArray> {
        let value = self.step.evaluate(batch)?;
        let mask = without_nulls(value.booleans()?);
        Ok(if value.is_scalar() { BooleanArray::new(repeat(mask.value(0), batch.num_rows()), None) } else { mask })
    }
}

impl fmt::Debug for Evaluator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Evaluator -> {}", self.data_type)
    }
}

/// NULL becomes false.
pub(super) fn without_nulls(mask: BooleanArray) -> BooleanArray {
    if mask.null_count() == 0 {
        BooleanArray::new(mask.values().clone(), None)
    } else {
        compute::prep_null_mask_filter(&mask)
    }
}

/// `rows` bits of one truth.
fn repeat(truth: bool, rows: usize) -> crate::batch::buffer::BooleanBuffer {
    use crate::batch::buffer::BooleanBuffer;
    if truth { BooleanBuffer::new_set(rows) } else { BooleanBuffer::new_unset(rows) }
}

/// What an expression is prepared for.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) input: &'a Schema,
    pub(super) parameters: &'a Arc<Parameters>,
}

/// Prepares one node and what is inside it; what does not depend on the row is run at once.
pub(super) fn prepare(expression: &Expression, context: &Context<'_>) -> Result<Box<dyn Step>> {
    if let Some(step) = codes::step(expression, context)? {
        return Ok(step);
    }
    let step = match expression {
        Expression::Column(column) => return column_step(*column, context),
        Expression::Literal(literal) => return Ok(Box::new(Constant(Value::Scalar(literal.to_scalar_array()?)))),
        Expression::Parameter { number, .. } => {
            return Ok(Box::new(ParameterStep { number: *number, parameters: Arc::clone(context.parameters) }));
        }
        Expression::Binary { op: BinaryOp::And | BinaryOp::Or, .. } => logic::junction(expression, context)?,
        Expression::Binary { op, left, right } => binary::step(*op, left, right, context)?,
        Expression::Not(input) => logic::not(prepare(input, context)?),
        Expression::Negate(input) => binary::negate(prepare(input, context)?),
        Expression::IsNull(input) => logic::is_null(prepare(input, context)?),
        Expression::IsTruth { input, truth } => logic::is_truth(prepare(input, context)?, *truth),
        Expression::Cast { input, to, is_try } => cast::step(prepare(input, context)?, to, *is_try),
        Expression::Case { branches, otherwise } => {
            let data_type = expression.data_type(context.input)?;
            case::step(branches, otherwise.as_deref(), data_type, context)?
        }
        Expression::InList { input, list, is_negated } => in_list::step(input, list, *is_negated, context)?,
        Expression::Like { input, pattern, is_negated, ignores_case } => {
            text::like(input, pattern, *is_negated, *ignores_case, context)?
        }
        Expression::Function { name, arguments, returns } => function::step(name, arguments, returns, context)?,
    };
    if !expression.is_constant() {
        return Ok(step);
    }
    let row = Batch::try_new_with_options(
        Arc::new(Schema::empty()),
        Vec::new(),
        &RecordBatchOptions::new().with_row_count(Some(1)),
    )?;
    // What fails is left as it is: no row may ever reach it, as 1/0 behind a CASE.
    match step.evaluate(&row) {
        Ok(value) => Ok(Box::new(Constant(Value::Scalar(Arc::clone(value.array()))))),
        Err(_) => Ok(step),
    }
}

fn column_step(column: usize, context: &Context<'_>) -> Result<Box<dyn Step>> {
    if column < context.input.fields().len() {
        Ok(Box::new(Column(column)))
    } else {
        Err(bug("expression", format!("column #{column} of {} columns", context.input.fields().len())))
    }
}

struct Column(usize);

impl Step for Column {
    fn evaluate(&self, batch: &Batch) -> Result<Value> {
        Ok(Value::Column(Arc::clone(batch.column(self.0))))
    }
}

struct Constant(Value);

impl Step for Constant {
    fn evaluate(&self, _batch: &Batch) -> Result<Value> {
        Ok(self.0.clone())
    }
    fn constant(&self) -> Option<&Value> {
        Some(&self.0)
    }
}

struct ParameterStep {
    number: usize,
    parameters: Arc<Parameters>,
}

impl Step for ParameterStep {
    fn evaluate(&self, _batch: &Batch) -> Result<Value> {
        Ok(Value::Scalar(self.parameters.value(self.number)?.to_scalar_array()?))
    }
}
