//! Limit: by position where the rows still know it, else the first rows by content.

use std::sync::Arc;

use super::{Flow, Lowering, Spread, sort};
use crate::{
    error::Result,
    plan::{
        logical::{Logical, Node},
        physical::{SourceSpec, StateSpec},
    },
};

pub(super) fn lower(lowering: &mut Lowering, input: &Logical, skip: usize, fetch: Option<usize>) -> Result<Flow> {
    if !keeps_positions(input) {
        return sort::lower(lowering, input, &[], skip, fetch);
    }
    let outer = std::mem::replace(&mut lowering.reads_in_order, true);
    let flow = lowering.node(input);
    lowering.reads_in_order = outer;
    let mut flow = flow?;
    for open in flow.fragments.iter_mut().flat_map(|fragment| &mut fragment.open) {
        if let SourceSpec::Scan(scan, _) = &mut open.source {
            scan.tells_ends = true;
        }
    }
    let schema = Arc::clone(&flow.schema);
    let state = StateSpec::Limit { skip, fetch: fetch.unwrap_or(usize::MAX) };
    lowering.break_at(flow, &state, schema, Spread::Not)
}

/// Do the rows of this node come with positions that give their order?
fn keeps_positions(node: &Logical) -> bool {
    match &node.node {
        Node::Scan(_) | Node::Values(_) | Node::Sort { .. } | Node::Limit { .. } => true,
        Node::Project { input, .. } | Node::Filter { input, .. } | Node::WithParameter { input, .. } => {
            keeps_positions(input)
        }
        _ => false,
    }
}
