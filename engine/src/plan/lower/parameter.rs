//! A scalar subquery: its pipelines first, then everything that may use its value.

use super::{Flow, Fragment, Lowering, Parameter};
use crate::{
    error::{Result, bug},
    plan::{
        logical::Logical,
        physical::{Role, StateSpec},
    },
};

pub(super) fn lower(lowering: &mut Lowering, input: &Logical, number: usize, subquery: &Logical) -> Result<Flow> {
    let flow = lowering.in_any_order(subquery)?;
    let flow = lowering.gathered(flow)?;
    let data_type = flow.schema.field(0).data_type().clone();
    if lowering.parameters.len() <= number {
        lowering.parameters.resize(number + 1, crate::batch::datatypes::DataType::Null);
    }
    lowering.parameters[number] = data_type;
    let Ok([fragment]) = <[Fragment; 1]>::try_from(flow.fragments) else {
        return Err(bug("plan", "a gathered flow in several stages"));
    };
    let stage = fragment.stage;
    let state = lowering.state(stage, StateSpec::Scalar { number })?;
    let pipelines = lowering.close(fragment, state, Role::Fill)?;
    lowering.around.push(Parameter { number, stage, pipelines });
    let flow = lowering.node(input);
    lowering.around.pop();
    flow
}
