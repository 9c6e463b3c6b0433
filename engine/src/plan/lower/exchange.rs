//! Exchanges: a flow leaves its stages over edges and goes on in the stage that reads them.
//!
//! In: a flow that is spread as an operator cannot use it. Out: one that is spread as it needs. Never: an edge where the rows stand right
//! already; on one node they always do.

use std::sync::Arc;

use super::{Flow, Fragment, Lowering, Open, Spread, StageNumber};
use crate::{
    batch::datatypes::{DataType, Schema},
    error::Result,
    expression::Expression,
    kernel::GROUPS_MAX,
    plan::{
        logical::{Logical, Node},
        physical::{Edge, EdgeId, EdgeKind, Role, SourceSpec, StateSpec},
        stage::Distribution,
    },
};

/// Fewest groups of an edge: four nodes get four each, so that none has twice what another has.
const GROUPS_MIN: usize = 16;
/// Bytes of tables for each group: a group of that size is a quarter of a task at least.
const TABLE_BYTES_PER_GROUP: u64 = 64 << 20;

/// Into how many groups the edges of a plan are cut: by the bytes that it reads, never by the number of nodes.
pub(super) fn group_count(logical: &Logical) -> usize {
    let groups = (table_bytes(logical) / TABLE_BYTES_PER_GROUP) as usize;
    groups.next_power_of_two().clamp(GROUPS_MIN, GROUPS_MAX)
}

fn table_bytes(logical: &Logical) -> u64 {
    let own = if let Node::Scan(scan) = &logical.node { scan.table.bytes() } else { 0 };
    own + logical.inputs().into_iter().map(table_bytes).sum::<u64>()
}

impl Lowering {
    /// All rows in one task.
    pub(super) fn gathered(&mut self, flow: Flow) -> Result<Flow> {
        if flow.spread == Spread::Not {
            return Ok(flow);
        }
        let stage = self.stage(Distribution::Single);
        let schema = Arc::clone(&flow.schema);
        let open = vec![self.sent(flow, &EdgeKind::Gather, stage)?];
        Ok(Flow { fragments: vec![Fragment { stage, open }], schema, spread: Spread::Not })
    }

    /// Rows with equal keys in one task.
    pub(super) fn shuffled(&mut self, flow: Flow, keys: Vec<Expression>) -> Result<Flow> {
        if flow.spread == Spread::Not || flow.spread == Spread::By(keys.clone()) {
            return Ok(flow);
        }
        let stage = self.grouped_stage();
        let schema = Arc::clone(&flow.schema);
        let open = vec![self.sent(flow, &self.by(keys.clone()), stage)?];
        Ok(Flow { fragments: vec![Fragment { stage, open }], schema, spread: Spread::By(keys) })
    }

    /// A flow of several stages in one, its rows spread by all their columns.
    pub(super) fn spread_again(&mut self, flow: Flow) -> Result<Flow> {
        let keys = (0..flow.schema.fields().len()).map(Expression::Column).collect();
        self.shuffled(flow, keys)
    }

    /// A stage whose tasks read groups.
    pub(super) fn grouped_stage(&mut self) -> StageNumber {
        self.stage(Distribution::Groups(self.group_count))
    }

    /// The edge by these keys.
    pub(super) fn by(&self, keys: Vec<Expression>) -> EdgeKind {
        EdgeKind::Groups { keys, count: self.group_count }
    }

    /// The flow leaves over edges of this kind; the pipeline in `stage` that begins with them.
    pub(super) fn sent(&mut self, flow: Flow, kind: &EdgeKind, stage: StageNumber) -> Result<Open> {
        let mut edges = Vec::with_capacity(flow.fragments.len());
        for fragment in flow.fragments {
            let edge = EdgeId(self.edges.len());
            self.edges.push(Edge { schema: Arc::clone(&flow.schema), kind: kind.clone() });
            edges.push(edge);
            let state = self.state(fragment.stage, StateSpec::Exchange(edge))?;
            self.close(fragment, state, Role::Fill)?;
        }
        self.open(stage, SourceSpec::Exchange(flow.schema, edges), Vec::new())
    }
}

/// Bytes of a row of these columns, about: what an edge carries.
pub(super) fn row_bytes(schema: &Schema) -> f64 {
    /// Of a string whose length nobody knows.
    const STRING_BYTES: usize = 24;
    let width = |data_type: &DataType| data_type.primitive_width().unwrap_or(STRING_BYTES);
    schema.fields().iter().map(|field| width(field.data_type())).sum::<usize>().max(1) as f64
}
