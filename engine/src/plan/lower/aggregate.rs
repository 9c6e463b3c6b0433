//! Aggregate: a breaker.

use std::sync::Arc;

use super::{Flow, Lowering};
use crate::{
    batch::datatypes::SchemaRef,
    error::Result,
    expression::{AggregateCall, Expression},
    operator::aggregate::AggregateSpec,
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
    };
    lowering.break_at(flow, StateSpec::Aggregate(spec), Arc::clone(schema))
}
