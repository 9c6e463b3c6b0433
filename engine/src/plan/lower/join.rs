//! Join: the smaller side is built, the other one probes it; without an equality every pair is looked at.

use std::sync::Arc;

use super::{Flow, Lowering};
use crate::{
    batch::datatypes::SchemaRef,
    error::Result,
    expression::Expression,
    operator::join::{HashJoinSpec, JoinColumn, JoinFilter, JoinRows, NestedLoopSpec},
    plan::{
        logical::{Join, JoinKind, Logical},
        physical::{Role, SourceSpec, StateSpec, TransformSpec},
        statistics::estimate,
    },
};

/// `chosen`: which of the join's columns are given, in order; all of them when absent.
pub(super) fn lower(
    lowering: &mut Lowering,
    join: &Join,
    schema: &SchemaRef,
    chosen: Option<&[usize]>,
) -> Result<Flow> {
    let builds_left = build_cost(&join.left) < build_cost(&join.right);
    let rows = rows_of(join.kind, builds_left);
    let sides = Sides { left_count: join.left.schema.fields().len(), builds_left };
    let all: Vec<JoinColumn> = columns_of(join, &sides);
    let output: Vec<JoinColumn> = match chosen {
        Some(columns) => columns.iter().map(|column| all[*column]).collect(),
        None => all,
    };
    let filter = join.filter.as_ref().map(|expression| compact(expression, &sides));
    let (build, probe) = if builds_left { (&join.left, &join.right) } else { (&join.right, &join.left) };
    let build_flow = lowering.node(build)?;
    let mut probe_flow = lowering.node(probe)?;
    let (left_keys, right_keys): (Vec<Expression>, Vec<Expression>) = join.on.iter().cloned().unzip();
    let (build_keys, probe_keys) = if builds_left { (left_keys, right_keys) } else { (right_keys, left_keys) };
    let (build_schema, probe_schema) = (Arc::clone(&build_flow.schema), Arc::clone(&probe_flow.schema));
    let (is_null_aware, output_schema) = (join.is_null_aware, Arc::clone(schema));
    let spec = if build_keys.is_empty() {
        let (build, probe) = (build_schema, probe_schema);
        StateSpec::NestedLoopJoin(NestedLoopSpec { rows, filter, output, build, probe, output_schema })
    } else {
        StateSpec::HashJoin(HashJoinSpec {
            rows,
            build_keys,
            probe_keys,
            filter,
            output,
            nulls_equal: join.nulls_equal,
            is_null_aware,
            build: build_schema,
            probe: probe_schema,
            output_schema,
        })
    };
    let state = lowering.state(spec);
    let built = lowering.close(build_flow.open, state, Role::Fill)?;
    for open in &mut probe_flow.open {
        open.waits_for.extend(&built);
    }
    let mut open = Vec::new();
    let mut probed: Vec<_> = probe_flow.open.iter().map(|open| open.id).collect();
    if matches!(rows, JoinRows::BuildSemi | JoinRows::BuildAnti | JoinRows::BuildMark) {
        probed = lowering.close(probe_flow.open, state, Role::Mark)?;
    } else {
        probe_flow.transform(&TransformSpec::Probe(state));
        open = probe_flow.open;
    }
    if matches!(
        rows,
        JoinRows::BuildSemi | JoinRows::BuildAnti | JoinRows::BuildMark | JoinRows::BuildOuter | JoinRows::Full
    ) {
        open.push(lowering.open(SourceSpec::State(state), probed));
    }
    Ok(Flow { open, schema: Arc::clone(schema) })
}

/// What is kept when a side is built: each row with its hash and its columns.
fn build_cost(side: &Logical) -> f64 {
    estimate(side).rows * (2 + side.schema.fields().len()) as f64
}

struct Sides {
    left_count: usize,
    builds_left: bool,
}

impl Sides {
    /// A column of left then right, as the operator names it.
    fn column(&self, column: usize) -> JoinColumn {
        let (is_left, number) =
            if column < self.left_count { (true, column) } else { (false, column - self.left_count) };
        if is_left == self.builds_left { JoinColumn::Build(number) } else { JoinColumn::Probe(number) }
    }
}

/// The columns that the join gives, in order.
fn columns_of(join: &Join, sides: &Sides) -> Vec<JoinColumn> {
    let (left, right) = (0..sides.left_count, sides.left_count..sides.left_count + join.right.schema.fields().len());
    let columns = |range: std::ops::Range<usize>| range.map(|column| sides.column(column));
    match join.kind {
        JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full => {
            columns(left).chain(columns(right)).collect()
        }
        JoinKind::LeftSemi | JoinKind::LeftAnti => columns(left).collect(),
        JoinKind::RightSemi | JoinKind::RightAnti => columns(right).collect(),
        JoinKind::LeftMark => columns(left).chain([JoinColumn::Mark]).collect(),
        JoinKind::RightMark => columns(right).chain([JoinColumn::Mark]).collect(),
    }
}

fn rows_of(kind: JoinKind, builds_left: bool) -> JoinRows {
    match (kind, builds_left) {
        (JoinKind::Inner, _) => JoinRows::Inner,
        (JoinKind::Full, _) => JoinRows::Full,
        (JoinKind::Left, false) | (JoinKind::Right, true) => JoinRows::ProbeOuter,
        (JoinKind::Left, true) | (JoinKind::Right, false) => JoinRows::BuildOuter,
        (JoinKind::LeftSemi, false) | (JoinKind::RightSemi, true) => JoinRows::ProbeSemi,
        (JoinKind::LeftSemi, true) | (JoinKind::RightSemi, false) => JoinRows::BuildSemi,
        (JoinKind::LeftAnti, false) | (JoinKind::RightAnti, true) => JoinRows::ProbeAnti,
        (JoinKind::LeftAnti, true) | (JoinKind::RightAnti, false) => JoinRows::BuildAnti,
        (JoinKind::LeftMark, false) | (JoinKind::RightMark, true) => JoinRows::ProbeMark,
        (JoinKind::LeftMark, true) | (JoinKind::RightMark, false) => JoinRows::BuildMark,
    }
}

/// The filter over just the columns it uses.
fn compact(expression: &Expression, sides: &Sides) -> JoinFilter {
    let mut used = std::collections::BTreeSet::new();
    expression.columns_used(&mut used);
    let used: Vec<usize> = used.into_iter().collect();
    let mut expression = expression.clone();
    expression.map_columns(&|column| used.partition_point(|c| *c < column));
    JoinFilter { expression, columns: used.iter().map(|column| sides.column(*column)).collect() }
}
