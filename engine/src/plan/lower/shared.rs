//! Rows that stand in several places of the plan: made once, kept, and read in each of them. On several nodes each place makes its own.

use std::sync::Arc;

use super::{Flow, Fragment, Lowering, Spread, StageNumber};
use crate::{
    batch::datatypes::SchemaRef,
    error::Result,
    plan::{
        logical::Logical,
        physical::{PipelineId, Role, SourceSpec, StateId, StateSpec},
    },
};

/// Shared rows that are made in the plan.
#[derive(Clone)]
pub(super) struct Shared {
    stage: StageNumber,
    state: StateId,
    made_by: Vec<PipelineId>,
    schema: SchemaRef,
}

pub(super) fn lower(lowering: &mut Lowering, input: &Logical, number: usize) -> Result<Flow> {
    if lowering.is_spread {
        return lowering.node(input);
    }
    let shared = match lowering.shared.get(&number) {
        Some(shared) => shared.clone(),
        None => {
            let flow = lowering.in_any_order(input)?;
            let (stage, schema) = (flow.fragments[0].stage, flow.schema);
            let state = lowering.state(stage, StateSpec::Share(Arc::clone(&schema)))?;
            let mut made_by = Vec::new();
            for fragment in flow.fragments {
                made_by.extend(lowering.close(fragment, state, Role::Fill)?);
            }
            let shared = Shared { stage, state, made_by, schema };
            lowering.shared.insert(number, shared.clone());
            shared
        }
    };
    let open = vec![lowering.open(shared.stage, SourceSpec::State(shared.state), shared.made_by)?];
    Ok(Flow { fragments: vec![Fragment { stage: shared.stage, open }], schema: shared.schema, spread: Spread::Not })
}
