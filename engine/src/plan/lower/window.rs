//! Window: a breaker; each task has all rows of its partitions.

use std::sync::Arc;

use super::{Flow, Lowering, Spread};
use crate::{
    batch::datatypes::SchemaRef,
    error::Result,
    expression::{Expression, SortKey, WindowCall},
    operator::window::WindowSpec,
    plan::{logical::Logical, physical::StateSpec},
};

pub(super) fn lower(
    lowering: &mut Lowering,
    input: &Logical,
    partition: &[Expression],
    order: &[SortKey],
    calls: &[WindowCall],
    schema: &SchemaRef,
) -> Result<Flow> {
    let flow = lowering.in_any_order(input)?;
    let stands_right = match &flow.spread {
        Spread::Not => true,
        Spread::Anyhow => false,
        Spread::By(spread_by) => spread_by.iter().all(|key| partition.contains(key)),
    };
    let flow = match (stands_right, partition.is_empty()) {
        (true, _) => flow,
        (false, true) => lowering.gathered(flow)?,
        (false, false) => lowering.shuffled(flow, partition.to_vec())?,
    };
    let spec = WindowSpec {
        partition: partition.to_vec(),
        order: order.to_vec(),
        calls: calls.to_vec(),
        input: Arc::clone(&flow.schema),
        output: Arc::clone(schema),
    };
    // The input's columns keep their places.
    let spread = flow.spread.clone();
    lowering.break_at(flow, &StateSpec::Window(spec), Arc::clone(schema), spread)
}
