//! Scan: a source, and a filter behind it for what pruning leaves.

use std::sync::Arc;

use super::{Flow, Lowering};
use crate::{
    batch::datatypes::SchemaRef,
    error::Result,
    plan::{logical::Scan, physical::SourceSpec, stage::Distribution},
    scan::ScanSpec,
};

pub(super) fn lower(lowering: &mut Lowering, scan: &Scan, schema: &SchemaRef) -> Result<Flow> {
    let spec = ScanSpec {
        table: Arc::clone(&scan.table),
        columns: scan.columns.clone(),
        filters: scan.filters.clone(),
        tells_ends: false,
    };
    let is_one_split = lowering.reads_in_order || spec.splits()?.len() <= 1;
    let distribution = if is_one_split { Distribution::Single } else { Distribution::Splits };
    let mut flow = lowering.flow(distribution, SourceSpec::Scan(spec), Arc::clone(schema))?;
    flow.filter(scan.filters.clone());
    Ok(flow)
}
