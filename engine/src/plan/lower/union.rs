//! Union: the pipelines of all inputs, given the same names.

use std::sync::Arc;

use super::{Flow, Lowering};
use crate::{batch::datatypes::SchemaRef, error::Result, plan::logical::Logical};

pub(super) fn lower(lowering: &mut Lowering, inputs: &[Logical], schema: &SchemaRef) -> Result<Flow> {
    let mut open = Vec::new();
    for input in inputs {
        let mut flow = lowering.node(input)?;
        flow.named_as(schema);
        open.append(&mut flow.open);
    }
    Ok(Flow { open, schema: Arc::clone(schema) })
}
