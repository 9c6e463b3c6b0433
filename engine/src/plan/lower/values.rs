//! Values: a source.

use std::sync::Arc;

use super::{Flow, Lowering};
use crate::{
    batch::{Batch, datatypes::SchemaRef},
    error::Result,
    plan::physical::SourceSpec,
};

pub(super) fn lower(lowering: &mut Lowering, batches: &[Batch], schema: &SchemaRef) -> Result<Flow> {
    let open = vec![lowering.open(SourceSpec::Values(Arc::clone(schema), batches.to_vec()), Vec::new())];
    Ok(Flow { open, schema: Arc::clone(schema) })
}
