//! Scan: a source, and the filters that belong to it.

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
        given: (0..scan.columns.len()).collect(),
        filters: Vec::new(),
        tells_ends: false,
    };
    let splits = ScanSpec { filters: scan.filters.clone(), ..spec.clone() }.splits()?;
    let is_one_split = lowering.reads_in_order || splits.len() <= 1;
    let distribution = if is_one_split { Distribution::Single } else { Distribution::Splits };
    let mut flow = lowering.flow(distribution, SourceSpec::Scan(spec, Vec::new()), Arc::clone(schema))?;
    flow.filter(scan.filters.clone());
    Ok(flow)
}
