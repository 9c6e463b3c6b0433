//! A part of an expression that runs on some of the rows.
//!
//! In: the part, prepared over only the columns it reads; a batch and the rows wanted. Out: values of those rows. Never: filters a
//! column that the part does not read.
//!
//! AND, OR and CASE run a part only on the rows for which its value matters. For a part that can fail on a row (a division, a cast)
//! this is what SQL promises, so it depends on the rows alone and not on how they are cut into batches; for any other part it is
//! done when it saves work.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Step, Value,
    evaluator::{Context, prepare},
};
use crate::{
    batch::{
        Batch,
        array::{ArrayRef, BooleanArray, RecordBatchOptions},
        compute::FilterBuilder,
        datatypes::{DECIMAL128_MAX_PRECISION, DataType, Schema, SchemaRef},
    },
    error::Result,
    expression::{BinaryOp, Expression},
};

/// A part of an expression over only the columns it reads.
pub(super) struct Narrow {
    columns: Vec<usize>,
    schema: SchemaRef,
    step: Box<dyn Step>,
    /// There are values for which it is an error.
    pub(super) can_fail: bool,
}

impl Narrow {
    pub(super) fn new(expression: &Expression, context: &Context<'_>) -> Result<Narrow> {
        let mut columns = BTreeSet::new();
        expression.columns_used(&mut columns);
        let columns: Vec<usize> = columns.into_iter().collect();
        let schema = Arc::new(context.input.project(&columns)?);
        let mut renumbered = expression.clone();
        renumbered.map_columns(&|column| columns.binary_search(&column).unwrap_or(usize::MAX));
        let step = prepare(&renumbered, &Context { input: &schema, ..*context })?;
        Ok(Narrow { columns, schema, step, can_fail: can_fail(expression, context.input) })
    }

    /// Its values for all rows.
    pub(super) fn on_all(&self, batch: &Batch) -> Result<Value> {
        if let Some(value) = self.step.constant() {
            return Ok(value.clone());
        }
        let columns = self.columns.iter().map(|column| Arc::clone(batch.column(*column))).collect();
        self.run(columns, batch.num_rows())
    }

    /// Its values for the rows of `mask`, which has no NULLs and `count` rows set; a column has length `count`.
    pub(super) fn on(&self, batch: &Batch, mask: &BooleanArray, count: usize) -> Result<Value> {
        if let Some(value) = self.step.constant() {
            return Ok(value.clone());
        }
        let mut filter = FilterBuilder::new(mask);
        if self.columns.len() > 1 {
            filter = filter.optimize();
        }
        let filter = filter.build();
        let columns =
            self.columns.iter().map(|column| filter.filter(batch.column(*column))).collect::<Result<_, _>>()?;
        self.run(columns, count)
    }

    fn run(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<Value> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        self.step.evaluate(&Batch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

/// Are there values of the input for which it is an error?
pub(crate) fn can_fail(expression: &Expression, input: &Schema) -> bool {
    let fails_itself = match expression {
        Expression::Binary { op, left, right } if op.is_arithmetic() => {
            match (left.data_type(input), right.data_type(input)) {
                (Ok(left), Ok(right)) => !never_overflows(*op, &left, &right),
                _ => true,
            }
        }
        Expression::Negate(inner) => !inner.data_type(input).is_ok_and(|inner| inner.is_floating()),
        Expression::Cast { input: inner, to, is_try } => {
            !is_try && !inner.data_type(input).is_ok_and(|from| always_fits(&from, to))
        }
        Expression::Function { .. } => true,
        _ => false,
    };
    fails_itself || expression.children().into_iter().any(|child| can_fail(child, input))
}

/// Floats have infinities; decimals have headroom when the result's digits are counted in full.
fn never_overflows(op: BinaryOp, left: &DataType, right: &DataType) -> bool {
    match (left, right) {
        (left, right) if left.is_floating() && right.is_floating() => true,
        (DataType::Decimal128(p1, s1), DataType::Decimal128(p2, s2)) => {
            let (p1, s1, p2, s2) = (i16::from(*p1), i16::from(*s1), i16::from(*p2), i16::from(*s2));
            let digits = match op {
                BinaryOp::Plus | BinaryOp::Minus => (p1 - s1).max(p2 - s2) + s1.max(s2) + 1,
                BinaryOp::Multiply => p1 + p2,
                _ => return false,
            };
            digits <= i16::from(DECIMAL128_MAX_PRECISION)
        }
        _ => false,
    }
}

/// Every value of `from` is a value of `to`.
fn always_fits(from: &DataType, to: &DataType) -> bool {
    use DataType::{
        Float32, Float64, Int8, Int16, Int32, Int64, LargeUtf8, UInt8, UInt16, UInt32, UInt64, Utf8, Utf8View,
    };
    let is_text = |data_type: &DataType| matches!(data_type, Utf8 | Utf8View | LargeUtf8);
    if let DataType::Dictionary(_, values) = from {
        return always_fits(values, to);
    }
    from == to
        || is_text(from) && is_text(to)
        || matches!(
            (from, to),
            (Int8 | UInt8, Int16)
                | (Int8 | Int16 | UInt8 | UInt16, Int32)
                | (Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32, Int64)
                | (UInt8, UInt16)
                | (UInt8 | UInt16, UInt32)
                | (UInt8 | UInt16 | UInt32, UInt64)
                | (Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 | Float32, Float64)
        )
}
