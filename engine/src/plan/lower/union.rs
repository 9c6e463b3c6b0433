//! Union: the pipelines of all inputs, given the same names.

use std::sync::Arc;

use super::{Flow, Fragment, Lowering, Spread};
use crate::{batch::datatypes::SchemaRef, error::Result, plan::logical::Logical};

pub(super) fn lower(lowering: &mut Lowering, inputs: &[Logical], schema: &SchemaRef) -> Result<Flow> {
    let mut fragments: Vec<Fragment> = Vec::new();
    for input in inputs {
        let mut flow = lowering.node(input)?;
        flow.named_as(schema);
        for fragment in flow.fragments {
            match fragments.iter_mut().find(|known| known.stage == fragment.stage) {
                Some(known) => known.open.extend(fragment.open),
                None => fragments.push(fragment),
            }
        }
    }
    let spread = if lowering.is_spread { Spread::Anyhow } else { Spread::Not };
    Ok(Flow { fragments, schema: Arc::clone(schema), spread })
}
