//! MapBatches: a transform; what it gives knows no position.

use std::sync::Arc;

use super::{Flow, Lowering, Spread};
use crate::{
    error::Result,
    plan::{closures::Closure, logical::Logical, physical::TransformSpec},
};

pub(super) fn lower(lowering: &mut Lowering, input: &Logical, closure: &Closure) -> Result<Flow> {
    let mut flow = lowering.node(input)?;
    flow.transform(&TransformSpec::MapBatches(closure.clone()));
    flow.schema = Arc::clone(&closure.output);
    if flow.spread != Spread::Not {
        flow.spread = Spread::Anyhow;
    }
    Ok(flow)
}
