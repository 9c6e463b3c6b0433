//! OVER: window functions.
//!
//! In: DataFusion's windows, whose functions may have several partitions and orders. Out: a window a partition and order, one over the other.
//! Never: a frame that DataFusion would have read otherwise; what it leaves to its execution (offsets, buckets) is checked here.

use std::sync::Arc;

use datafusion_common::DFSchema;
use datafusion_expr::{
    Expr, Window, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
    expr::{NullTreatment, WindowFunction as Function},
};

use super::binder::{Binder, over, schema_of};
use crate::{
    batch::datatypes::{DataType, Field, Schema},
    error::{Result, bug},
    expression::{
        AggregateClass, BinaryOp, Bound, Expression, Frame, FrameUnits, Literal, SortKey, WindowCall, WindowFunction,
        class_of,
    },
    plan::logical::{Logical, Node},
};

/// Functions of one partition and order, with their places among all.
struct Group {
    partition: Vec<Expression>,
    order: Vec<SortKey>,
    calls: Vec<(usize, WindowCall)>,
}

impl Binder<'_> {
    pub(super) fn window(&mut self, window: &Window) -> Result<Logical> {
        let input = self.plan(&window.input)?;
        let schema = schema_of(&window.schema);
        let input_count = input.schema.fields().len();
        let mut groups: Vec<Group> = Vec::new();
        for (place, expr) in window.window_expr.iter().enumerate() {
            let function = function_of(expr)?;
            let params = &function.params;
            let partition = self.expressions(&params.partition_by, window.input.schema())?;
            let order = self.sort_keys(&params.order_by, window.input.schema())?;
            let returns = schema.field(input_count + place).data_type();
            let call = self.window_call(function, window.input.schema(), &order, returns)?;
            match groups.iter_mut().find(|group| group.partition == partition && group.order == order) {
                Some(group) => group.calls.push((place, call)),
                None => groups.push(Group { partition, order, calls: vec![(place, call)] }),
            }
        }
        // Where each function's column stands once all groups are done.
        let mut places = vec![0; window.window_expr.len()];
        let mut plan = input;
        for Group { partition, order, calls } in groups {
            let mut fields: Vec<Field> = plan.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
            for (place, _) in &calls {
                places[*place] = fields.len();
                fields.push(schema.field(input_count + place).clone());
            }
            let calls = calls.into_iter().map(|(_, call)| call).collect();
            plan = over(plan, Arc::new(Schema::new(fields)), |input| Node::Window {
                input,
                partition,
                order,
                calls,
                bound: None,
            });
        }
        let columns: Vec<usize> = (0..input_count).chain(places).collect();
        if columns.iter().zip(0..).all(|(column, place)| *column == place) {
            plan.schema = schema;
            return Ok(plan);
        }
        let expressions = columns.into_iter().map(Expression::Column).collect();
        Ok(over(plan, schema, |input| Node::Project { input, expressions }))
    }

    fn window_call(
        &mut self,
        call: &Function,
        input: &DFSchema,
        order: &[SortKey],
        returns: &DataType,
    ) -> Result<WindowCall> {
        let name = call.fun.name().to_owned();
        let params = &call.params;
        if params.distinct {
            return Err(self.refused_window(&name, "of distinct values over a window"));
        }
        let ignores_nulls = params.null_treatment == Some(NullTreatment::IgnoreNulls);
        if let WindowFunctionDefinition::AggregateUDF(function) = &call.fun {
            let function = match class_of(function.name()) {
                Some(AggregateClass::Exact(function) | AggregateClass::Ours(function)) => function,
                _ => return Err(self.refused_window(&name, "over a window")),
            };
            let filter = params.filter.as_deref();
            let aggregate = self.aggregate_call(function, &params.args, filter, false, input, returns)?;
            let Some(aggregate) = aggregate else {
                return Err(self.refused_window(&name, "of several columns"));
            };
            let frame = self.frame(&params.window_frame, order, input)?;
            return Ok(WindowCall { function: WindowFunction::Aggregate(aggregate), frame, returns: returns.clone() });
        }
        if params.filter.is_some() {
            return Err(self.refused_window(&name, "with FILTER"));
        }
        let mut arguments = self.expressions(&params.args, input)?.into_iter();
        let mut first = || match arguments.next() {
            Some(argument) => Ok(argument),
            None => Err(bug("sql", format!("{name} without an argument"))),
        };
        let mut frame = Frame::whole();
        let function = match name.as_str() {
            "row_number" => WindowFunction::RowNumber,
            "rank" => WindowFunction::Rank,
            "dense_rank" => WindowFunction::DenseRank,
            "percent_rank" => WindowFunction::PercentRank,
            "cume_dist" => WindowFunction::CumeDist,
            "ntile" => {
                let buckets = whole_number(&first()?).filter(|buckets| *buckets > 0);
                let buckets = buckets.ok_or_else(|| {
                    self.refused_window(&name, "of a number of buckets that is not a positive constant")
                })?;
                WindowFunction::Ntile(buckets as u64)
            }
            "lag" | "lead" => {
                let value = first()?;
                let offset = match arguments.next() {
                    Some(offset) => whole_number(&offset)
                        .ok_or_else(|| self.refused_window(&name, "by an offset that is not a constant"))?,
                    None => 1,
                };
                let value_type = value.data_type(input.as_arrow())?;
                let default = arguments.next().map(|default| as_type(default, input, &value_type)).transpose()?;
                let offset = if name == "lag" { offset.saturating_neg() } else { offset };
                WindowFunction::Shifted { value, offset, default: default.filter(|d| !is_null(d)), ignores_nulls }
            }
            "first_value" | "last_value" | "nth_value" => {
                let value = first()?;
                let number = match name.as_str() {
                    "first_value" => Some(1),
                    "last_value" => Some(-1),
                    _ => arguments.next().and_then(|number| whole_number(&number)).filter(|number| *number != 0),
                };
                let number = number.ok_or_else(|| {
                    self.refused_window(&name, "of a row whose number is not a constant other than 0")
                })?;
                frame = self.frame(&params.window_frame, order, input)?;
                WindowFunction::Nth { value, number, ignores_nulls }
            }
            _ => return Err(self.refused_window(&name, "over a window")),
        };
        Ok(WindowCall { function, frame, returns: returns.clone() })
    }

    fn frame(&self, frame: &WindowFrame, order: &[SortKey], input: &DFSchema) -> Result<Frame> {
        let units = match frame.units {
            WindowFrameUnits::Rows => FrameUnits::Rows,
            WindowFrameUnits::Groups => FrameUnits::Groups,
            WindowFrameUnits::Range => FrameUnits::Range,
        };
        let bound = |bound: &WindowFrameBound| -> Result<Bound> {
            let (is_before, offset) = match bound {
                WindowFrameBound::CurrentRow => return Ok(Bound::Current),
                _ if bound.is_unbounded() => return Ok(Bound::Unbounded),
                WindowFrameBound::Preceding(offset) => (true, offset),
                WindowFrameBound::Following(offset) => (false, offset),
            };
            let offset = Literal::from_scalar(offset.clone());
            let refused = |why: &str| self.text.unsupported(why, &["ROWS", "GROUPS", "RANGE"]).into();
            if units == FrameUnits::Range {
                let [key] = order else {
                    return Err(refused("RANGE with an offset and not exactly one ORDER BY expression"));
                };
                return Ok(Bound::Value(value_at(key, offset, is_before, input)?));
            }
            let offset = offset.cast_exactly(&DataType::Int64).and_then(|offset| offset.as_i64());
            let offset = offset.filter(|offset| *offset >= 0);
            let offset = offset.ok_or_else(|| refused("a frame's offset that is not a whole number"))?;
            Ok(Bound::Offset(if is_before { -offset } else { offset }))
        };
        Ok(Frame { units, start: bound(&frame.start_bound)?, end: bound(&frame.end_bound)? })
    }

    fn refused_window(&self, name: &str, why: &str) -> crate::error::Error {
        self.text.unsupported(format!("the function {name} {why}"), &[name]).into()
    }
}

fn function_of(expr: &Expr) -> Result<&Function> {
    match expr {
        Expr::Alias(alias) => function_of(&alias.expr),
        Expr::WindowFunction(function) => Ok(function),
        other => Err(bug("sql", format!("{other} among the window functions"))),
    }
}

/// A whole number that stands in the statement.
fn whole_number(expression: &Expression) -> Option<i64> {
    match expression {
        Expression::Literal(literal) => literal.cast_exactly(&DataType::Int64)?.as_i64(),
        Expression::Cast { input, .. } => whole_number(input),
        Expression::Negate(input) => whole_number(input)?.checked_neg(),
        _ => None,
    }
}

fn is_null(expression: &Expression) -> bool {
    matches!(expression, Expression::Literal(literal) if literal.is_null())
}

fn as_type(expression: Expression, input: &DFSchema, to: &DataType) -> Result<Expression> {
    if expression.data_type(input.as_arrow())? == *to {
        return Ok(expression);
    }
    Ok(Expression::Cast { input: Box::new(expression), to: to.clone(), is_try: false })
}

/// The order's value at this distance from a row's.
fn value_at(key: &SortKey, offset: Literal, is_before: bool, input: &DFSchema) -> Result<Expression> {
    /// Holds every 64-bit integer, and sums of two.
    const WIDE: DataType = DataType::Decimal128(20, 0);
    let mut value = key.expression.clone();
    let mut distance = Expression::Literal(offset);
    if value.data_type(input.as_arrow())?.is_integer() {
        // So that the least integer has others before it.
        value = as_type(value, input, &WIDE)?;
        distance = as_type(distance, input, &WIDE)?;
    }
    let op = if is_before == key.is_descending { BinaryOp::Plus } else { BinaryOp::Minus };
    Ok(Expression::Binary { op, left: Box::new(value), right: Box::new(distance) })
}
