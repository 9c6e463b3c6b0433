//! Write: the end of the plan. What is written where becomes visible when the job commits.
//!
//! What was sorted stays in order where the format lets threads encode one file: then the sink puts their pieces in the order of the morsels. Of
//! others (Parquet's row groups would be encoded one after the other) the files have the rows, and no order. A partitioned output keeps rows of
//! more folders than it has files open for, and gives them back in the order of their folders.

use std::sync::Arc;

use super::{Flow, Fragment, Lowering, Spread};
use crate::{
    batch::datatypes::SchemaRef,
    error::Result,
    plan::{
        logical::{Logical, Node},
        physical::{Role, SourceSpec, StateSpec},
    },
    sink::Target,
};

pub(super) fn lower(lowering: &mut Lowering, input: &Logical, target: &Target, schema: &SchemaRef) -> Result<Flow> {
    target.check(&input.schema)?;
    let mut flow = lowering.node(input)?;
    flow.named_as(&input.schema);
    let is_one = flow.fragments.len() == 1 && matches!(flow.spread, Spread::Not);
    let is_ordered = is_one && is_sorted(input) && target.format.is_in_pieces() && target.partitioned_by.is_empty();
    for fragment in flow.fragments {
        let spec = StateSpec::Write { target: target.clone(), schema: Arc::clone(&flow.schema), is_ordered };
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

/// Whether morsels have the places of an order: a sort's, which a projection leaves as they are.
fn is_sorted(logical: &Logical) -> bool {
    match &logical.node {
        Node::Sort { .. } => true,
        Node::Project { input, .. } => is_sorted(input),
        _ => false,
    }
}
