//! Scan: a source, and a filter behind it for what pruning leaves.

use std::sync::Arc;

use super::{Flow, Lowering};
use crate::{
    batch::datatypes::SchemaRef,
    error::Result,
    plan::{logical::Scan, physical::SourceSpec},
    scan::ScanSpec,
};

pub(super) fn lower(lowering: &mut Lowering, scan: &Scan, schema: &SchemaRef) -> Result<Flow> {
    let spec = ScanSpec {
        table: Arc::clone(&scan.table),
        columns: scan.columns.clone(),
        filters: scan.filters.clone(),
        tells_ends: false,
    };
    let open = vec![lowering.open(SourceSpec::Scan(spec), Vec::new())];
    let mut flow = Flow { open, schema: Arc::clone(schema) };
    flow.filter(scan.filters.clone());
    Ok(flow)
}
