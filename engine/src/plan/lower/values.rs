//! Values: a source.

use std::sync::Arc;

use super::{Flow, Lowering};
use crate::{
    batch::{Batch, datatypes::SchemaRef},
    error::Result,
    plan::{physical::SourceSpec, stage::Distribution},
};

pub(super) fn lower(lowering: &mut Lowering, batches: &[Batch], schema: &SchemaRef) -> Result<Flow> {
    let source = SourceSpec::Values(Arc::clone(schema), batches.to_vec());
    lowering.flow(Distribution::Single, source, Arc::clone(schema))
}
