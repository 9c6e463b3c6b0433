//! Comparison, arithmetic and `||` on arrow's kernels.
//!
//! In: two values of types that the binder has made fit. Out: truths, numbers, dates, texts. Never: an integer that wraps: an
//! overflow and a division by zero are errors of the data.
//!
//! Arrow compares floats by their total order, in which −0 is less than +0 and NaNs differ by their bits. In SQL −0 = +0, and here
//! all NaN are equal and greater than every number; so floats are brought to one form before they are compared.

use std::sync::Arc;

use super::{Step, Value, bits, decimals, evaluator::Context, evaluator::prepare, texts};
use crate::{
    batch::{
        Batch,
        array::{Array, ArrayRef, AsArray, BooleanArray, Datum, StringViewArray},
        compute::{
            cast,
            kernels::{cmp, concat_elements::concat_elements_dyn, numeric},
        },
        datatypes::{DataType, Float32Type, Float64Type},
    },
    error::{Result, bug},
    expression::{BinaryOp, Expression, error::ExpressionError},
};

/// `left op right`, prepared.
pub(super) fn step(
    op: BinaryOp,
    left: &Expression,
    right: &Expression,
    context: &Context<'_>,
) -> Result<Box<dyn Step>> {
    let is_arithmetic = matches!(op, BinaryOp::Plus | BinaryOp::Minus | BinaryOp::Multiply);
    let uncast = |expression| narrow_decimal(expression, context).filter(|_| is_arithmetic);
    let operand = |expression| prepare(uncast(expression).unwrap_or(expression), context);
    let is_narrow = uncast(left).or(uncast(right)).is_some();
    Ok(Box::new(Binary { op, left: operand(left)?, right: operand(right)?, is_narrow }))
}

/// What is cast, where that is a decimal of 64 bits to the same one in 128, which never fails: arithmetic takes it as it is.
fn narrow_decimal<'a>(expression: &'a Expression, context: &Context<'_>) -> Option<&'a Expression> {
    let Expression::Cast { input, to, .. } = expression else { return None };
    let from = input.data_type(context.input).ok()?;
    let is_narrow = matches!(from, DataType::Decimal64(..)) && decimals::in_128_bits(&from).as_ref() == Some(to);
    is_narrow.then_some(&**input)
}

/// `- input`, prepared.
pub(super) fn negate(input: Box<dyn Step>) -> Box<dyn Step> {
    Box::new(Negate(input))
}

struct Binary {
    op: BinaryOp,
    left: Box<dyn Step>,
    right: Box<dyn Step>,
    /// An operand is a decimal of 64 bits that stands for the same one in 128.
    is_narrow: bool,
}

impl Step for Binary {
    fn evaluate(&self, batch: &Batch) -> Result<Value> {
        let (left, right) = (self.left.evaluate(batch)?, self.right.evaluate(batch)?);
        // The kernel of || takes columns only.
        if self.op == BinaryOp::Concat && left.is_scalar() != right.is_scalar() {
            let rows = batch.num_rows();
            let (left, right) = (left.into_array(rows)?, right.into_array(rows)?);
            return Ok(Value::Column(concat_elements_dyn(&left, &right)?));
        }
        if self.is_narrow {
            return Ok(Value::like(combine_narrow(self.op, &left, &right)?, &[&left, &right]));
        }
        Ok(Value::like(combine(self.op, &left, &right)?, &[&left, &right]))
    }
}

/// Puts two columns or values together; AND and OR are not among the operators.
pub(in crate::expression) fn combine(op: BinaryOp, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef> {
    if op.is_comparison() {
        return compare(op, left, right);
    }
    let is_narrow = |value: &dyn Datum| matches!(value.get().0.data_type(), DataType::Decimal64(..));
    if !is_narrow(left)
        && !is_narrow(right)
        && let Some(decimals) = decimals::combine(op, left, right)?
    {
        return Ok(decimals);
    }
    let computed = match op {
        BinaryOp::Plus => numeric::add(left, right),
        BinaryOp::Minus if is_date(left) && is_date(right) => return days_between(left, right),
        BinaryOp::Minus => numeric::sub(left, right),
        BinaryOp::Multiply => numeric::mul(left, right),
        BinaryOp::Divide => numeric::div(left, right),
        BinaryOp::Modulo => numeric::rem(left, right),
        BinaryOp::Concat => concat_elements_dyn(left.get().0, right.get().0),
        BinaryOp::And | BinaryOp::Or => {
            return Err(bug("expression", format!("{} is not put together by a kernel", op.symbol())));
        }
        _ => return bits::combine(op, left, right),
    };
    Ok(computed.map_err(|source| ExpressionError::Arithmetic {
        operator: op.symbol(),
        left: left.get().0.data_type().clone(),
        right: right.get().0.data_type().clone(),
        source,
    })?)
}

/// The same of decimals of 64 bits that stand for those of 128.
fn combine_narrow(op: BinaryOp, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef> {
    match decimals::combine(op, left, right)? {
        Some(decimals) => Ok(decimals),
        None => combine(op, &decimals::Wide::new(left)?, &decimals::Wide::new(right)?),
    }
}

fn compare(op: BinaryOp, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef> {
    if let (BinaryOp::Eq | BinaryOp::NotEq, Some((rows, text))) = (op, text_and_constant(left, right)) {
        let equal = texts::equal(rows, text);
        let found = if op == BinaryOp::Eq { equal } else { !&equal };
        return Ok(Arc::new(BooleanArray::new(found, rows.nulls().cloned())));
    }
    let (left, right) = (Plain::new(left), Plain::new(right));
    let (left, right): (&dyn Datum, &dyn Datum) = (&left, &right);
    Ok(Arc::new(match op {
        BinaryOp::Eq => cmp::eq(left, right)?,
        BinaryOp::NotEq => cmp::neq(left, right)?,
        BinaryOp::Lt => cmp::lt(left, right)?,
        BinaryOp::LtEq => cmp::lt_eq(left, right)?,
        BinaryOp::Gt => cmp::gt(left, right)?,
        BinaryOp::GtEq => cmp::gt_eq(left, right)?,
        BinaryOp::IsDistinctFrom => cmp::distinct(left, right)?,
        BinaryOp::IsNotDistinctFrom => cmp::not_distinct(left, right)?,
        _ => return Err(bug("expression", format!("{} is no comparison", op.symbol()))),
    }))
}

/// A column of string views and a constant, in either order.
fn text_and_constant<'a>(
    left: &'a dyn Datum,
    right: &'a dyn Datum,
) -> Option<(&'a StringViewArray, &'a StringViewArray)> {
    let (column, constant) = match (left.get(), right.get()) {
        ((column, false), (constant, true)) | ((constant, true), (column, false)) => (column, constant),
        _ => return None,
    };
    let (column, constant) = (column.as_string_view_opt()?, constant.as_string_view_opt()?);
    constant.is_valid(0).then_some((column, constant))
}

/// A value whose floats have one form: no −0, one NaN. Other types stay as they are, not copied.
enum Plain<'a> {
    Same(&'a dyn Datum),
    Floats(ArrayRef, bool),
}

impl<'a> Plain<'a> {
    fn new(value: &'a dyn Datum) -> Plain<'a> {
        let (array, is_scalar) = value.get();
        match plain_floats(array) {
            Some(floats) => Plain::Floats(floats, is_scalar),
            None => Plain::Same(value),
        }
    }
}

impl Datum for Plain<'_> {
    fn get(&self) -> (&dyn Array, bool) {
        match self {
            Plain::Same(value) => value.get(),
            Plain::Floats(array, is_scalar) => (array.as_ref(), *is_scalar),
        }
    }
}

/// Floats with +0 for −0 and one NaN for all; `None` for other types.
pub(super) fn plain_floats(array: &dyn Array) -> Option<ArrayRef> {
    match array.data_type() {
        DataType::Float64 => {
            let plain = |value: f64| if value.is_nan() { f64::NAN } else { value + 0.0 };
            Some(Arc::new(array.as_primitive::<Float64Type>().unary::<_, Float64Type>(plain)))
        }
        DataType::Float32 => {
            let plain = |value: f32| if value.is_nan() { f32::NAN } else { value + 0.0 };
            Some(Arc::new(array.as_primitive::<Float32Type>().unary::<_, Float32Type>(plain)))
        }
        _ => None,
    }
}

fn is_date(value: &dyn Datum) -> bool {
    matches!(value.get().0.data_type(), DataType::Date32)
}

/// Date minus date is a number of days, as in PostgreSQL; arrow would give a duration.
fn days_between(left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef> {
    let days = |value: &dyn Datum| -> Result<Value> {
        let (array, is_scalar) = value.get();
        let days = cast(&cast(array, &DataType::Int32)?, &DataType::Int64)?;
        Ok(if is_scalar { Value::Scalar(days) } else { Value::Column(days) })
    };
    Ok(numeric::sub(&days(left)?, &days(right)?)?)
}

struct Negate(Box<dyn Step>);

impl Step for Negate {
    fn evaluate(&self, batch: &Batch) -> Result<Value> {
        let value = self.0.evaluate(batch)?;
        Ok(Value::like(numeric::neg(value.array())?, &[&value]))
    }
}
