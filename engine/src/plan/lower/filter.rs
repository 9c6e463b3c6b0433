//! Filter: a transform, one conjunct after the other.

use super::{Flow, Lowering};
use crate::{error::Result, expression::Expression, plan::logical::Logical};

pub(super) fn lower(lowering: &mut Lowering, input: &Logical, predicate: &Expression) -> Result<Flow> {
    let mut flow = lowering.node(input)?;
    flow.filter(predicate.clone().conjuncts());
    Ok(flow)
}
