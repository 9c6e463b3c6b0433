//! Write: the end of the plan. What is written where becomes visible when the job commits.

use std::sync::Arc;

use super::{Flow, Lowering};
use crate::{
    batch::datatypes::SchemaRef,
    error::Result,
    plan::{
        logical::Logical,
        physical::{Role, StateSpec},
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
        lowering.close(fragment, state, Role::Fill)?;
    }
    Ok(Flow { fragments: Vec::new(), schema: Arc::clone(schema), spread: flow.spread })
}
