//! MapBatches: a transform; what it gives knows no position. A closure over splits is told where they end.

use std::sync::Arc;

use super::{Flow, Lowering, Spread};
use crate::{
    error::Result,
    plan::{
        closures::{Closure, Function},
        logical::Logical,
        physical::{SourceSpec, TransformSpec},
    },
};

pub(super) fn lower(lowering: &mut Lowering, input: &Logical, closure: &Closure) -> Result<Flow> {
    let mut flow = lowering.node(input)?;
    if matches!(closure.function, Function::Splits(_)) {
        for open in flow.fragments.iter_mut().flat_map(|fragment| &mut fragment.open) {
            if let SourceSpec::Scan(scan, _) = &mut open.source {
                scan.tells_ends = true;
            }
        }
    }
    flow.transform(&TransformSpec::MapBatches(closure.clone()));
    flow.schema = Arc::clone(&closure.output);
    if flow.spread != Spread::Not {
        flow.spread = Spread::Anyhow;
    }
    Ok(flow)
}
