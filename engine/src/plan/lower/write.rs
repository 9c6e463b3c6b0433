//! Write: the end of the plan. What is written where becomes visible when the job commits.
//!
//! A partitioned output keeps rows of more folders than it has files open for, and gives them back in the order of their folders.

use std::sync::Arc;

use super::{Flow, Fragment, Lowering};
use crate::{
    batch::datatypes::SchemaRef,
    error::Result,
    plan::{
        logical::Logical,
        physical::{Role, SourceSpec, StateSpec},
    },
    sink::Target,
};

pub(super) fn lower(lowering: &mut Lowering, input: &Logical, target: &Target, schema: &SchemaRef) -> Result<Flow> {
    target.check(&input.schema)?;
    let mut flow = lowering.node(input)?;
    flow.named_as(&input.schema);
    for fragment in flow.fragments {
        let spec = StateSpec::Write { target: target.clone(), schema: Arc::clone(&flow.schema) };
        let state = lowering.state(fragment.stage, spec)?;
        let stage = fragment.stage;
        let closed = lowering.close(fragment, state, Role::Fill)?;
        if !target.partitioned_by.is_empty() {
            let open = vec![lowering.open(stage, SourceSpec::State(state), closed)?];
            lowering.close(Fragment { stage, open }, state, Role::Rest)?;
        }
    }
    Ok(Flow { fragments: Vec::new(), schema: Arc::clone(schema), spread: flow.spread })
}
