//! MapGroups: a breaker; each task has all rows of its parts, or of its keys.

use std::sync::Arc;

use super::{Flow, Lowering, Spread};
use crate::{
    error::Result,
    expression::Expression,
    operator::groups::PartColumn,
    plan::{
        logical::Logical,
        physical::{MapGroupsSpec, StateSpec},
    },
};

pub(super) fn lower(lowering: &mut Lowering, input: &Logical, mut spec: MapGroupsSpec) -> Result<Flow> {
    let flow = lowering.in_any_order(input)?;
    let together = match spec.part {
        Some(PartColumn { column, .. }) => vec![Expression::Column(column)],
        None => spec.keys.clone(),
    };
    let stands_right = match &flow.spread {
        Spread::Not => true,
        Spread::Anyhow => false,
        Spread::By(spread_by) => spread_by.iter().all(|key| together.contains(key)),
    };
    let flow = match (stands_right, together.is_empty()) {
        (true, _) => flow,
        (false, true) => lowering.gathered(flow)?,
        (false, false) => lowering.shuffled(flow, together)?,
    };
    spec.input = Arc::clone(&flow.schema);
    let output = Arc::clone(&spec.closure.output);
    let spread = if flow.spread == Spread::Not { Spread::Not } else { Spread::Anyhow };
    lowering.break_at(flow, &StateSpec::MapGroups(spec), output, spread)
}
