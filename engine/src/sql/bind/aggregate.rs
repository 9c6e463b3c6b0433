//! GROUP BY, grouping sets, DISTINCT.
//!
//! In: DataFusion's aggregates. Out: ours, each call by the class table. Never: an aggregate whose result would depend on the order
//! of the rows.
//!
//! GROUPING SETS, ROLLUP and CUBE give the rows of one aggregate per set, in which the keys that are not in the set are NULL and the
//! set's number (a bit per missing key) stands behind the keys, as DataFusion's `grouping()` expects it.

use std::{collections::BTreeSet, sync::Arc};

use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::{
    Aggregate, Expr, GroupingSet, LogicalPlan, expr::AggregateFunction as Call, utils::grouping_set_to_exprlist,
};

use super::{
    super::SqlError,
    binder::{Binder, over, schema_of},
    ordered::{self, Place},
};
use crate::{
    batch::datatypes::{DataType, Field, Schema, SchemaRef},
    error::{Result, bug},
    expression::{AggregateCall, AggregateClass, AggregateFunction, Expression, Literal, class_of},
    plan::logical::{self, Logical, Node},
};

impl Binder<'_> {
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Logical> {
        let schema = schema_of(&aggregate.schema);
        let distinct_keys = grouping_set_to_exprlist(&aggregate.group_expr)
            .map_err(|error| SqlError::from_datafusion(error, self.text, None))?;
        let keys = self.expressions(distinct_keys.iter().copied(), aggregate.input.schema())?;
        let first_call = schema.fields().len() - aggregate.aggr_expr.len();
        let mut places = Vec::with_capacity(aggregate.aggr_expr.len());
        for (k, expr) in aggregate.aggr_expr.iter().enumerate() {
            places.push(self.call(expr, &aggregate.input, schema.field(first_call + k))?);
        }
        let input = self.plan(&aggregate.input)?;
        let is_ordered = places.iter().any(|place| matches!(place, Place::Ordered(_)));
        let has_sets = matches!(aggregate.group_expr.first(), Some(Expr::GroupingSet(_)));
        if is_ordered && has_sets {
            let what = "an aggregate over rows in order beside grouping sets";
            return Err(self.text.unsupported(what, &["GROUPING", "ROLLUP", "CUBE"]).into());
        }
        if is_ordered {
            return ordered::group(input, keys, places, schema);
        }
        let of_call = |place| if let Place::Call(call) = place { Some(call) } else { None };
        let calls: Vec<AggregateCall> = places.into_iter().filter_map(of_call).collect();
        match aggregate.group_expr.first() {
            Some(Expr::GroupingSet(sets)) => {
                let sets = sets_of(sets, &distinct_keys);
                let Some(numbers) = numbers_of(&sets, keys.len()) else {
                    let what = format!("{} grouping sets over {} keys", sets.len(), keys.len());
                    return Err(self.text.unsupported(&what, &["GROUPING", "ROLLUP", "CUBE"]).into());
                };
                let is_distinct = calls.iter().any(|call| call.is_distinct);
                if is_distinct || sets.len() < 2 {
                    return union_of_sets(input, keys, &sets, &numbers, calls, schema);
                }
                let number_type = schema.field(keys.len()).data_type();
                let set = |(keys, number): (Vec<usize>, u64)| {
                    Ok(logical::GroupingSet { keys, number: number_as(number, number_type)? })
                };
                let sets = sets.into_iter().zip(numbers).map(set).collect::<Result<Vec<_>>>()?;
                Ok(over(input, schema, |input| Node::GroupingSets { input, keys, sets, calls }))
            }
            _ => Ok(over(input, schema, |input| Node::Aggregate { input, keys, calls })),
        }
    }

    pub(super) fn distinct(&mut self, input: &LogicalPlan) -> Result<Logical> {
        let input = self.plan(input)?;
        let schema = Arc::clone(&input.schema);
        let keys = (0..schema.fields().len()).map(Expression::Column).collect();
        Ok(over(input, schema, |input| Node::Aggregate { input, keys, calls: Vec::new() }))
    }

    fn call(&mut self, expr: &Expr, input: &LogicalPlan, output: &Field) -> Result<Place> {
        let call = match expr {
            Expr::Alias(alias) => return self.call(&alias.expr, input, output),
            Expr::AggregateFunction(call) => call,
            other => return Err(bug("sql", format!("{other} among the aggregates"))),
        };
        if let Some(ordered) = self.ordered(call, input.schema())? {
            return Ok(Place::Ordered(ordered));
        }
        let function = self.function(call)?;
        let (args, filter) = (&call.params.args, call.params.filter.as_deref());
        let bound =
            self.aggregate_call(function, args, filter, call.params.distinct, input.schema(), output.data_type())?;
        bound.map(Place::Call).ok_or_else(|| self.refused_call(call, "of several columns"))
    }

    /// The call of `function`; none if it has more arguments than it can have.
    pub(super) fn aggregate_call(
        &mut self,
        function: AggregateFunction,
        args: &[Expr],
        filter: Option<&Expr>,
        is_distinct: bool,
        input: &DFSchema,
        returns: &DataType,
    ) -> Result<Option<AggregateCall>> {
        // count(*) over a window arrives as it was written.
        let is_all = |expr: &Expr| function == AggregateFunction::Count && is_wildcard(expr);
        let mut arguments = self.expressions(args.iter().filter(|expr| !is_all(expr)), input)?;
        // What is the same however often a value comes needs no DISTINCT.
        let is_distinct = is_distinct && !ignores_repetition(function);
        if function == AggregateFunction::Count && !is_distinct {
            // count(*) arrives as count(1); a column that is never NULL counts rows as well.
            arguments.retain(|argument| argument.is_nullable(input.as_arrow()));
        }
        if function == AggregateFunction::Count && is_distinct && arguments.len() > 1 {
            return Ok(None);
        }
        if matches!(function, AggregateFunction::Sum | AggregateFunction::Avg) {
            let bare = |argument| without_exact_cast(function, argument, input.as_arrow());
            arguments = arguments.into_iter().map(bare).collect::<Result<_>>()?;
        }
        let filter = filter.map(|filter| self.expression(filter, &[input])).transpose()?;
        let order = Vec::new();
        Ok(Some(AggregateCall { function, arguments, filter, is_distinct, order, returns: returns.clone() }))
    }

    fn function(&self, call: &Call) -> Result<AggregateFunction> {
        match class_of(call.func.name()) {
            Some(AggregateClass::Exact(function) | AggregateClass::Ours(function)) => Ok(function),
            Some(AggregateClass::ByOrder) => Err(self.refused_call(call, "(its rows would have to be sorted first)")),
            Some(AggregateClass::Lowered) => Err(self.refused_call(call, "(it would have to keep all values)")),
            Some(AggregateClass::Refused) | None => Err(self.refused_call(call, "")),
        }
    }

    pub(super) fn refused_call(&self, call: &Call, why: &str) -> crate::error::Error {
        let name = call.func.name();
        let mut words = vec![name];
        words.extend(call.func.aliases().iter().map(String::as_str));
        let what = format!("the aggregate {name} {why}");
        self.text.unsupported(what.trim_end(), &words).into()
    }
}

#[allow(deprecated, reason = "the analyzer still leaves it in windows")]
fn is_wildcard(expr: &Expr) -> bool {
    matches!(expr, Expr::Wildcard { .. })
}

/// Of whole numbers that were cast to a type which holds all of them, the numbers: their sum is the same one, and is made without the cast.
/// A sum of whole numbers is none of doubles; an average of them is.
fn without_exact_cast(function: AggregateFunction, argument: Expression, schema: &Schema) -> Result<Expression> {
    use DataType as D;
    let Expression::Cast { input, to, is_try } = argument else { return Ok(argument) };
    let is_exact = match (input.data_type(schema)?, &to) {
        (D::Int8 | D::Int16 | D::Int32, D::Int64) | (D::UInt8 | D::UInt16 | D::UInt32, D::UInt64) => true,
        (D::Int8 | D::Int16 | D::Int32 | D::UInt8 | D::UInt16 | D::UInt32, D::Float64) => {
            function == AggregateFunction::Avg
        }
        _ => false,
    };
    Ok(if is_exact { *input } else { Expression::Cast { input, to, is_try } })
}

fn ignores_repetition(function: AggregateFunction) -> bool {
    use AggregateFunction::{BitAnd, BitOr, BoolAnd, BoolOr, Max, Min};
    matches!(function, Min | Max | BoolAnd | BoolOr | BitAnd | BitOr)
}

/// For each grouping set the numbers of its keys, ascending: (a, b) and (b, a) are one set, and (a, a) is (a).
fn sets_of(sets: &GroupingSet, keys: &[&Expr]) -> Vec<Vec<usize>> {
    let numbers = |set: &[Expr]| -> Vec<usize> {
        let numbers = set.iter().filter_map(|expr| keys.iter().position(|key| *key == expr));
        numbers.collect::<BTreeSet<_>>().into_iter().collect()
    };
    match sets {
        GroupingSet::GroupingSets(sets) => sets.iter().map(|set| numbers(set)).collect(),
        GroupingSet::Rollup(all) => (0..=all.len()).rev().map(|length| numbers(&all[..length])).collect(),
        GroupingSet::Cube(all) => {
            let all = numbers(all);
            let subsets = 0..1_usize << all.len().min(usize::BITS as usize - 1);
            subsets
                .map(|subset| {
                    let is_in = |(place, key): (usize, &usize)| (subset >> place & 1 == 1).then_some(*key);
                    all.iter().enumerate().filter_map(is_in).collect()
                })
                .collect()
        }
    }
}

/// The number of each set: a bit for each key that it has not, and above these how often the same set came before. None if that takes more than
/// 64 bits.
fn numbers_of(sets: &[Vec<usize>], key_count: usize) -> Option<Vec<u64>> {
    if key_count > u64::BITS as usize {
        return None;
    }
    let number = |(k, set): (usize, &Vec<usize>)| {
        let repeated = sets[..k].iter().filter(|before| *before == set).count();
        let missing = (0..key_count).filter(|key| !set.contains(key));
        let mask = missing.fold(0_u128, |mask, key| mask | 1 << (key_count - 1 - key));
        u64::try_from(mask | (repeated as u128) << key_count).ok()
    };
    sets.iter().enumerate().map(number).collect()
}

/// A union of one aggregate per set, where the values that they count once each cannot be told in parts; `schema` is keys, the set's number, calls.
fn union_of_sets(
    input: Logical,
    keys: Vec<Expression>,
    sets: &[Vec<usize>],
    numbers: &[u64],
    calls: Vec<AggregateCall>,
    schema: SchemaRef,
) -> Result<Logical> {
    let mut inputs = Vec::with_capacity(sets.len());
    for (set, number) in sets.iter().zip(numbers) {
        let mut fields: Vec<_> = set.iter().map(|key| Arc::clone(&schema.fields()[*key])).collect();
        fields.extend(schema.fields()[keys.len() + 1..].iter().map(Arc::clone));
        let set_keys = set.iter().map(|key| keys[*key].clone()).collect();
        let calls = calls.clone();
        let grouped = over(input.clone(), Arc::new(Schema::new(fields)), |input| Node::Aggregate {
            input,
            keys: set_keys,
            calls,
        });

        let mut expressions = Vec::with_capacity(schema.fields().len());
        for (key, field) in schema.fields()[..keys.len()].iter().enumerate() {
            expressions.push(match set.iter().position(|member| *member == key) {
                Some(place) => Expression::Column(place),
                None => Expression::Literal(Literal::null(field.data_type())?),
            });
        }
        expressions.push(Expression::Literal(number_as(*number, schema.field(keys.len()).data_type())?));
        expressions
            .extend((0..schema.fields().len() - keys.len() - 1).map(|call| Expression::Column(set.len() + call)));
        inputs.push(over(grouped, Arc::clone(&schema), |input| Node::Project { input, expressions }));
    }
    Ok(Logical { node: Node::Union { inputs }, schema })
}

fn number_as(number: u64, data_type: &DataType) -> Result<Literal> {
    Ok(Literal::from_scalar(ScalarValue::UInt64(Some(number))).cast_to(data_type)?)
}
