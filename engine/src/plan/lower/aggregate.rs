//! Aggregate: a breaker. On several nodes each task groups its own rows, and what it has of a group goes to the task that merges the
//! group's parts.

use std::sync::Arc;

use super::{Flow, Lowering, Spread};
use crate::{
    batch::datatypes::{Field, Schema, SchemaRef},
    error::Result,
    expression::{AggregateCall, Expression},
    operator::aggregate::{AggregatePhase, AggregateSpec},
    plan::{logical::Logical, physical::StateSpec},
};

pub(super) fn lower(
    lowering: &mut Lowering,
    input: &Logical,
    keys: &[Expression],
    calls: &[AggregateCall],
    schema: &SchemaRef,
) -> Result<Flow> {
    let flow = lowering.node(input)?;
    let spec = AggregateSpec {
        keys: keys.to_vec(),
        calls: calls.to_vec(),
        input: Arc::clone(&flow.schema),
        output: Arc::clone(schema),
        phase: AggregatePhase::Whole,
    };
    let stands_right = match &flow.spread {
        Spread::Not => true,
        Spread::Anyhow => false,
        // Each task has all rows of its groups.
        Spread::By(spread_by) => spread_by.iter().all(|key| keys.contains(key)),
    };
    if stands_right {
        return whole(lowering, flow, spec);
    }
    if let Some(arguments) = distinct_arguments(calls) {
        return distinct(lowering, flow, spec, &arguments);
    }
    if calls.iter().any(|call| call.is_distinct) {
        // What a task has seen of a group's values cannot be merged as a number: the rows themselves travel.
        let flow = together(lowering, flow, keys.to_vec())?;
        return whole(lowering, flow, spec);
    }
    let partial = AggregateSpec { phase: AggregatePhase::Partial, ..spec.clone() };
    let partial_schema = partial.partial_schema()?;
    let flow = lowering.break_at(flow, &StateSpec::Aggregate(partial), partial_schema, Spread::Anyhow)?;
    let flow = together(lowering, flow, columns(keys.len()))?;
    let spread = after(&flow.spread, &columns(keys.len()));
    let merging = AggregateSpec { phase: AggregatePhase::Final, ..spec };
    lowering.break_at(flow, &StateSpec::Aggregate(merging), Arc::clone(schema), spread)
}

/// Groups rows that stand together already.
fn whole(lowering: &mut Lowering, flow: Flow, spec: AggregateSpec) -> Result<Flow> {
    let spread = after(&flow.spread, &spec.keys);
    let schema = Arc::clone(&spec.output);
    lowering.break_at(flow, &StateSpec::Aggregate(spec), schema, spread)
}

/// Every call counts each value of the same arguments once: each task gives each pair of key and values once, and the pairs travel.
fn distinct(lowering: &mut Lowering, flow: Flow, spec: AggregateSpec, arguments: &[Expression]) -> Result<Flow> {
    let pairs: Vec<Expression> = spec.keys.iter().chain(arguments).cloned().collect();
    let field = |(number, expression): (usize, &Expression)| {
        Ok(Field::new(format!("pair {number}"), expression.data_type(&spec.input)?, true))
    };
    let fields = pairs.iter().enumerate().map(field).collect::<Result<Vec<_>>>()?;
    let pair_schema = Arc::new(Schema::new(fields));
    let pairing = AggregateSpec {
        keys: pairs,
        calls: Vec::new(),
        input: Arc::clone(&spec.input),
        output: Arc::clone(&pair_schema),
        phase: AggregatePhase::Whole,
    };
    let key_count = spec.keys.len();
    let flow = lowering.break_at(flow, &StateSpec::Aggregate(pairing), Arc::clone(&pair_schema), Spread::Anyhow)?;
    let flow = together(lowering, flow, columns(key_count))?;
    let places = (key_count..pair_schema.fields().len()).map(Expression::Column).collect::<Vec<_>>();
    let calls = spec.calls.into_iter().map(|call| AggregateCall { arguments: places.clone(), ..call }).collect();
    let spec = AggregateSpec { keys: columns(key_count), calls, input: pair_schema, ..spec };
    whole(lowering, flow, spec)
}

/// The arguments, if all calls are over the distinct values of the same ones.
fn distinct_arguments(calls: &[AggregateCall]) -> Option<Vec<Expression>> {
    let first = &calls.first()?.arguments;
    let is_alike = |call: &AggregateCall| call.is_distinct && call.filter.is_none() && call.arguments == *first;
    (!first.is_empty() && calls.iter().all(is_alike)).then(|| first.clone())
}

/// The rows with equal keys in one task; without keys, all rows.
fn together(lowering: &mut Lowering, flow: Flow, keys: Vec<Expression>) -> Result<Flow> {
    if keys.is_empty() { lowering.gathered(flow) } else { lowering.shuffled(flow, keys) }
}

/// The first `count` columns.
fn columns(count: usize) -> Vec<Expression> {
    (0..count).map(Expression::Column).collect()
}

/// How the groups are spread when rows that are spread so have been grouped by `keys`, which become the first columns.
fn after(spread: &Spread, keys: &[Expression]) -> Spread {
    match spread {
        Spread::By(_) => spread.clone().projected(keys),
        other => other.clone(),
    }
}
