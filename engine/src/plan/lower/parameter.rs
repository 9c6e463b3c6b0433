//! A scalar subquery: its pipelines first, then everything that may use its value.

use super::{Flow, Lowering};
use crate::{
    error::Result,
    plan::{
        logical::Logical,
        physical::{Role, StateSpec},
    },
};

pub(super) fn lower(lowering: &mut Lowering, input: &Logical, number: usize, subquery: &Logical) -> Result<Flow> {
    let flow = lowering.node(subquery)?;
    let data_type = flow.schema.field(0).data_type().clone();
    if lowering.parameters.len() <= number {
        lowering.parameters.resize(number + 1, crate::batch::datatypes::DataType::Null);
    }
    lowering.parameters[number] = data_type;
    let state = lowering.state(StateSpec::Scalar { number });
    let closed = lowering.close(flow.open, state, Role::Fill)?;
    let outer = lowering.before.clone();
    lowering.before.extend(closed);
    let flow = lowering.node(input)?;
    lowering.before = outer;
    Ok(flow)
}
