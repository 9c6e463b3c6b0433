//! Aggregates whose rows must be in order: median, percentile_cont, first_value, last_value, nth_value, any_value.
//!
//! In: such a call. Out: numbers that a window gives the rows of each group, and an aggregate over the rows of the right numbers. Never: a
//! group's values in memory at once: the window sorts, and its sort spills.
//!
//! ```text
//!   median(v) by k          window by k in order of v: n = row_number(), c = count(v)
//!                           aggregate by k: avg(v) of the rows with c <= 2 n <= c + 2
//!   first_value(v order by o) by k
//!                           window by k in order of o: n = row_number()
//!                           aggregate by k: max(v) of the row with n = 1
//! ```
//! NULLs stand behind the values, so that the values have the numbers from 1 to c.

use std::sync::Arc;

use datafusion_common::DFSchema;
use datafusion_expr::expr::{AggregateFunction as Call, NullTreatment};

use super::binder::{Binder, over};
use crate::{
    batch::datatypes::{DataType, Field, Schema},
    error::Result,
    expression::{
        AggregateCall, AggregateFunction, BinaryOp, Expression, Frame, Literal, SortKey, WindowCall, WindowFunction,
    },
    plan::logical::{Logical, Node},
};

/// An aggregate over rows in order, over the columns of the input.
pub(super) struct Ordered {
    /// NULL for rows that do not count.
    value: Expression,
    order: Vec<SortKey>,
    pick: Pick,
}

/// Which of the rows decide.
enum Pick {
    /// The one in the middle, or the mean of two.
    Middle,
    /// At this share of the way from the first to the last, between two rows in proportion.
    Share(f64),
    /// The one of this number, from 1.
    Number(i64),
}

impl Binder<'_> {
    /// The call as an aggregate over rows in order; none if it is not one.
    pub(super) fn ordered(&mut self, call: &Call, input: &DFSchema) -> Result<Option<Ordered>> {
        let params = &call.params;
        let name = call.func.name();
        let is_known =
            matches!(name, "median" | "percentile_cont" | "first_value" | "last_value" | "nth_value" | "any_value");
        if !is_known || params.distinct {
            return Ok(None);
        }
        let mut arguments = self.expressions(&params.args, input)?.into_iter();
        let Some(mut value) = arguments.next() else { return Ok(None) };
        let mut order = self.sort_keys(&params.order_by, input)?;
        let pick = match name {
            "median" => Pick::Middle,
            "percentile_cont" => {
                let share = arguments.next().and_then(|share| number(&share));
                let share = share.filter(|share| (0.0..=1.0).contains(share));
                let Some(share) = share else {
                    return Err(self.refused_call(call, "at a share that is not a constant from 0 to 1"));
                };
                let is_descending = order.first().is_some_and(|key| key.is_descending);
                Pick::Share(if is_descending { 1.0 - share } else { share })
            }
            "nth_value" => {
                let wanted = arguments.next().and_then(|wanted| number(&wanted)).filter(|wanted| wanted.fract() == 0.0);
                let Some(wanted) = wanted.filter(|wanted| *wanted >= 1.0) else {
                    return Err(self.refused_call(call, "of a row whose number is not a positive constant"));
                };
                Pick::Number(wanted as i64)
            }
            _ => Pick::Number(1),
        };
        if name == "last_value" {
            for key in &mut order {
                (key.is_descending, key.nulls_first) = (!key.is_descending, !key.nulls_first);
            }
        }
        let mut counts = params.filter.as_ref().map(|filter| self.expression(filter, &[input])).transpose()?;
        match pick {
            Pick::Middle | Pick::Share(_) => {
                if let Some(filter) = counts.take() {
                    value = Expression::Case { branches: vec![(filter, value)], otherwise: None };
                }
                order = vec![SortKey { expression: value.clone(), is_descending: false, nulls_first: false }];
            }
            Pick::Number(_) => {
                // Rows that do not count stand behind those that do.
                if params.null_treatment == Some(NullTreatment::IgnoreNulls) {
                    let is_known = Expression::Not(Box::new(Expression::IsNull(Box::new(value.clone()))));
                    counts = Some(match counts {
                        Some(filter) => binary(BinaryOp::And, filter, is_known),
                        None => is_known,
                    });
                }
                if let Some(filter) = counts {
                    let is_true = Expression::IsTruth { input: Box::new(filter.clone()), truth: true };
                    order.insert(0, SortKey { expression: is_true, is_descending: true, nulls_first: false });
                    value = Expression::Case { branches: vec![(filter, value)], otherwise: None };
                }
            }
        }
        Ok(Some(Ordered { value, order, pick }))
    }
}

/// `input` with the numbers that the ordered ones of `places` need, grouped. `schema` is the keys, then the calls.
pub(super) fn group(input: Logical, keys: Vec<Expression>, places: Vec<Place>, schema: Arc<Schema>) -> Result<Logical> {
    let mut plan = input;
    let mut numbered: Vec<(Vec<SortKey>, Expression, Numbers)> = Vec::new();
    let mut calls = Vec::with_capacity(places.len());
    for place in places {
        let ordered = match place {
            Place::Call(call) => {
                calls.push(call);
                continue;
            }
            Place::Ordered(ordered) => ordered,
        };
        let known = numbered.iter().find(|(order, value, _)| *order == ordered.order && *value == ordered.value);
        let numbers = match known {
            Some((_, _, numbers)) => numbers.clone(),
            None => {
                let (over_it, numbers) = with_numbers(plan, &keys, &ordered)?;
                plan = over_it;
                numbered.push((ordered.order.clone(), ordered.value.clone(), numbers.clone()));
                numbers
            }
        };
        calls.push(ordered.call(&numbers, &plan.schema)?);
    }
    // An average of decimals has more digits than the values; else a call gives what it was bound to.
    let mut fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    let own = fields.len() - calls.len();
    for (field, call) in fields[own..].iter_mut().zip(&calls) {
        *field = field.clone().with_data_type(call.returns.clone());
    }
    let grouped = Arc::new(Schema::new(fields));
    let plan = over(plan, Arc::clone(&grouped), |input| Node::Aggregate { input, keys, calls });
    if grouped == schema {
        return Ok(plan);
    }
    let column = |(number, field): (usize, &Arc<Field>)| {
        let column = Expression::Column(number);
        if grouped.field(number).data_type() == field.data_type() {
            return column;
        }
        Expression::Cast { input: Box::new(column), to: field.data_type().clone(), is_try: false }
    };
    let expressions = schema.fields().iter().enumerate().map(column).collect();
    Ok(over(plan, schema, |input| Node::Project { input, expressions }))
}

/// What stands in the place of a call.
pub(super) enum Place {
    Call(AggregateCall),
    Ordered(Ordered),
}

/// The columns of a row's number in its group, and of the values of the group.
#[derive(Clone)]
struct Numbers {
    row: Expression,
    count: Expression,
}

fn with_numbers(plan: Logical, keys: &[Expression], ordered: &Ordered) -> Result<(Logical, Numbers)> {
    let count = AggregateCall {
        function: AggregateFunction::Count,
        arguments: vec![ordered.value.clone()],
        filter: None,
        is_distinct: false,
        order: Vec::new(),
        returns: DataType::Int64,
    };
    let call = |function| WindowCall { function, frame: Frame::whole(), returns: DataType::Int64 };
    let mut calls = vec![call(WindowFunction::RowNumber)];
    if !matches!(ordered.pick, Pick::Number(_)) {
        calls.push(call(WindowFunction::Aggregate(count)));
    }
    let mut fields: Vec<Field> = plan.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    let first = fields.len();
    fields.extend(calls.iter().zip(["number", "count"]).map(|(_, name)| Field::new(name, DataType::Int64, true)));
    let (partition, order) = (keys.to_vec(), ordered.order.clone());
    let schema = Arc::new(Schema::new(fields));
    let plan = over(plan, schema, |input| Node::Window { input, partition, order, calls, bound: None });
    Ok((plan, Numbers { row: Expression::Column(first), count: Expression::Column(first + 1) }))
}

impl Ordered {
    /// The aggregate over the rows with their numbers.
    fn call(&self, numbers: &Numbers, input: &Schema) -> Result<AggregateCall> {
        let Numbers { row, count } = numbers;
        let whole = |number: i64| Expression::Literal(Literal::from(number));
        let (function, argument, filter, returns) = match self.pick {
            Pick::Number(number) => {
                let filter = binary(BinaryOp::Eq, row.clone(), whole(number));
                (AggregateFunction::Max, self.value.clone(), filter, self.value.data_type(input)?)
            }
            Pick::Middle => {
                let twice = binary(BinaryOp::Multiply, row.clone(), whole(2));
                let upper = binary(BinaryOp::Plus, count.clone(), whole(2));
                let from = binary(BinaryOp::GtEq, twice.clone(), count.clone());
                let filter = binary(BinaryOp::And, from, binary(BinaryOp::LtEq, twice, upper));
                let returns = match self.value.data_type(input)? {
                    // Half of a sum of two has one digit more.
                    DataType::Decimal128(precision, scale) => {
                        DataType::Decimal128((precision + 4).min(38), (scale + 4).min(38))
                    }
                    DataType::Decimal256(precision, scale) => {
                        DataType::Decimal256((precision + 4).min(76), (scale + 4).min(76))
                    }
                    _ => DataType::Float64,
                };
                (AggregateFunction::Avg, self.value.clone(), filter, returns)
            }
            Pick::Share(share) => {
                let double = |expression: &Expression| Expression::Cast {
                    input: Box::new(expression.clone()),
                    to: DataType::Float64,
                    is_try: false,
                };
                let number = |number: f64| Expression::Literal(Literal::from(number));
                // Where the value is asked for, in rows from the first, and how far this row is from there.
                let others = binary(BinaryOp::Minus, double(count), number(1.0));
                let wanted = binary(BinaryOp::Multiply, others, number(share));
                let place = binary(BinaryOp::Minus, double(row), number(1.0));
                let ahead = binary(BinaryOp::Minus, place.clone(), wanted.clone());
                let behind = binary(BinaryOp::Minus, wanted, place);
                let is_ahead = binary(BinaryOp::Gt, ahead.clone(), number(0.0));
                let distance =
                    Expression::Case { branches: vec![(is_ahead, ahead)], otherwise: Some(Box::new(behind)) };
                let weight = binary(BinaryOp::Minus, number(1.0), distance.clone());
                let filter = binary(BinaryOp::Lt, distance, number(1.0));
                let weighted = binary(BinaryOp::Multiply, double(&self.value), weight);
                (AggregateFunction::Sum, weighted, filter, DataType::Float64)
            }
        };
        let (arguments, is_distinct, order) = (vec![argument], false, Vec::new());
        Ok(AggregateCall { function, arguments, filter: Some(filter), is_distinct, order, returns })
    }
}

/// A number that stands in the statement.
fn number(expression: &Expression) -> Option<f64> {
    match expression {
        Expression::Literal(literal) => literal.as_number(),
        Expression::Cast { input, .. } => number(input),
        Expression::Negate(input) => Some(-number(input)?),
        _ => None,
    }
}

fn binary(op: BinaryOp, left: Expression, right: Expression) -> Expression {
    Expression::Binary { op, left: Box::new(left), right: Box::new(right) }
}
