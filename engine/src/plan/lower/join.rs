//! Join: the smaller side is built, the other one probes it; without an equality every pair is looked at. On several nodes the sides
//! first meet in one stage.

use std::sync::Arc;

use super::{
    Flow, Fragment, Lowering, Open, Spread, StageNumber,
    exchange::row_bytes,
    key_filters::{Tracing, is_selective},
};
use crate::{
    batch::datatypes::SchemaRef,
    error::{Result, bug},
    expression::Expression,
    operator::join::{HashJoinSpec, JoinColumn, JoinFilter, JoinRows, NestedLoopSpec},
    plan::{
        logical::{Join, JoinKind, Logical},
        physical::{EdgeKind, Role, SourceSpec, StateSpec, TransformSpec},
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
    // NOT IN looks at all of its right side for each left row: spread over nodes, each has all of the right side.
    let builds_left = builds_left(join) && !(join.is_null_aware && lowering.is_spread);
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
    let probe_flow = lowering.node(probe)?;
    let (left_keys, right_keys): (Vec<Expression>, Vec<Expression>) = join.on.iter().cloned().unzip();
    let (build_keys, probe_keys) = if builds_left { (left_keys, right_keys) } else { (right_keys, left_keys) };
    let (build_schema, probe_schema) = (Arc::clone(&build_flow.schema), Arc::clone(&probe_flow.schema));
    let keys = Keys { build: &build_keys, probe: &probe_keys, rows, is_null_aware: join.is_null_aware };
    let drops_probes = rows.needs_partners() && !join.is_null_aware;
    let is_filter = drops_probes && is_selective(build, &build_keys, probe, &probe_keys);
    let is_small = bytes(build) * lowering.node_count as f64 * BROADCAST_COST < bytes(probe) + bytes(build);
    let met = meet(lowering, build_flow, probe_flow, &keys, is_small)?;
    let spread = spread_after(&met, &keys, &output);
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
    let open = put_together(lowering, met.stage, met.build, met.probe, spec, is_filter)?;
    Ok(Flow { fragments: vec![Fragment { stage: met.stage, open }], schema: Arc::clone(schema), spread })
}

/// The join's pipelines, once both sides are open in `stage`; those that carry its rows. `is_filter`: scans of the probe side leave out rows
/// that can have no partner.
fn put_together(
    lowering: &mut Lowering,
    stage: StageNumber,
    build: Vec<Open>,
    mut probe: Vec<Open>,
    spec: StateSpec,
    is_filter: bool,
) -> Result<Vec<Open>> {
    let (rows, probe_keys) = match &spec {
        StateSpec::HashJoin(spec) => (spec.rows, spec.probe_keys.clone()),
        StateSpec::NestedLoopJoin(spec) => (spec.rows, Vec::new()),
        _ => return Err(bug("plan", "a join that is none")),
    };
    let state = lowering.state(stage, spec)?;
    let built = lowering.close(Fragment { stage, open: build }, state, Role::Fill)?;
    for open in &mut probe {
        open.waits_for.extend(&built);
        if is_filter && !probe_keys.is_empty() {
            let draft = lowering.draft(stage)?;
            Tracing { draft, state, built: &built }.filter_open(open, &probe_keys);
        }
    }
    let mut open = Vec::new();
    let mut probed: Vec<_> = probe.iter().map(|open| open.id).collect();
    if rows.only_marks() {
        probed = lowering.close(Fragment { stage, open: probe }, state, Role::Mark)?;
    } else {
        probe.iter_mut().for_each(|open| open.transforms.push(TransformSpec::Probe(state)));
        open = probe;
    }
    if rows.looks_at_build_rows() {
        open.push(lowering.open(stage, SourceSpec::State(state), probed)?);
    }
    Ok(open)
}

/// A broadcast is chosen when it carries this much less than the edges by key would: every task builds its table anew.
const BROADCAST_COST: f64 = 2.0;

/// By what two sides are joined.
struct Keys<'a> {
    build: &'a [Expression],
    probe: &'a [Expression],
    rows: JoinRows,
    is_null_aware: bool,
}

/// Both sides of a join, open in one stage.
struct Met {
    stage: StageNumber,
    build: Vec<Open>,
    probe: Vec<Open>,
    /// How the probe rows are spread over the stage's tasks.
    spread: Spread,
    /// Rows with equal keys of both sides stand in one task, because both came by their keys.
    is_by_key: bool,
}

/// Brings both sides into one stage in which each task can join what it has.
///
/// ```text
///   both in one task already                              one node; nothing to do
///   probe in one task, or build rows count alone          the build side goes where the probe side is, all of it
///   one side stands by its keys                           the other one goes there, by its keys
///   else                                                  both go to a new stage, by their keys
/// ```
fn meet(lowering: &mut Lowering, build: Flow, probe: Flow, keys: &Keys<'_>, is_small: bool) -> Result<Met> {
    if !lowering.is_spread {
        let spread = probe.spread.clone();
        let [build, probe] = [alone(build)?, alone(probe)?];
        return Ok(Met { stage: probe.stage, build: build.open, probe: probe.open, spread, is_by_key: false });
    }
    // Whether a build row has a partner is known only where all probe rows are.
    let sees_all_probes = keys.rows.looks_at_build_rows();
    let must_be_whole = keys.build.is_empty() || keys.is_null_aware;
    if probe.spread == Spread::Not || (must_be_whole && sees_all_probes) {
        let probe = lowering.gathered(probe)?;
        return joined_at_probe(lowering, build, probe, &EdgeKind::Gather, false);
    }
    if must_be_whole || (is_small && !sees_all_probes && probe.fragments.len() == 1) {
        let probe = if probe.fragments.len() == 1 { probe } else { lowering.spread_again(probe)? };
        return joined_at_probe(lowering, build, probe, &EdgeKind::Broadcast, false);
    }
    if probe.spread == Spread::By(keys.probe.to_vec()) {
        let kind = lowering.by(keys.build.to_vec());
        return joined_at_probe(lowering, build, probe, &kind, true);
    }
    let probe_edge = lowering.by(keys.probe.to_vec());
    let spread = Spread::By(keys.probe.to_vec());
    if build.spread == Spread::By(keys.build.to_vec()) {
        let Fragment { stage, open: build } = alone(build)?;
        let probe = vec![lowering.sent(probe, &probe_edge, stage)?];
        return Ok(Met { stage, build, probe, spread, is_by_key: true });
    }
    let stage = lowering.grouped_stage();
    let build_edge = lowering.by(keys.build.to_vec());
    let build = vec![lowering.sent(build, &build_edge, stage)?];
    let probe = vec![lowering.sent(probe, &probe_edge, stage)?];
    Ok(Met { stage, build, probe, spread, is_by_key: true })
}

/// The build side goes to the stage of the probe side over an edge of this kind.
fn joined_at_probe(lowering: &mut Lowering, build: Flow, probe: Flow, kind: &EdgeKind, is_by_key: bool) -> Result<Met> {
    let spread = probe.spread.clone();
    let Fragment { stage, open: probe } = alone(probe)?;
    let build = vec![lowering.sent(build, kind, stage)?];
    Ok(Met { stage, build, probe, spread, is_by_key })
}

/// The one fragment of a flow.
fn alone(flow: Flow) -> Result<Fragment> {
    let [fragment] =
        <[Fragment; 1]>::try_from(flow.fragments).map_err(|_| bug("plan", "a flow in one stage has several"))?;
    Ok(fragment)
}

/// How the rows that a join gives are spread: by the keys of a side, as far as its key columns are given and are never NULL for want
/// of a partner.
fn spread_after(met: &Met, keys: &Keys<'_>, output: &[JoinColumn]) -> Spread {
    use JoinRows as R;
    if met.spread == Spread::Not {
        return Spread::Not;
    }
    let probe_stays = matches!(keys.rows, R::Inner | R::ProbeOuter | R::ProbeSemi | R::ProbeAnti | R::ProbeMark);
    let build_stays = matches!(keys.rows, R::Inner | R::BuildOuter | R::BuildSemi | R::BuildAnti | R::BuildMark);
    let given = |expressions: &[Expression], side: fn(usize) -> JoinColumn| {
        let place = |expression: &Expression| {
            let column = side(expression.is_column()?);
            output.iter().position(|given| *given == column).map(Expression::Column)
        };
        expressions.iter().map(place).collect::<Option<Vec<_>>>()
    };
    let by_probe = match &met.spread {
        Spread::By(spread_by) if probe_stays => given(spread_by, JoinColumn::Probe),
        _ => None,
    };
    let by_build = if build_stays && met.is_by_key { given(keys.build, JoinColumn::Build) } else { None };
    by_probe.or(by_build).map_or(Spread::Anyhow, Spread::By)
}

/// Bytes of a side's rows, about.
fn bytes(side: &Logical) -> f64 {
    estimate(side).rows * row_bytes(&side.schema)
}

/// Whether the left side is built.
pub(in crate::plan) fn builds_left(join: &Join) -> bool {
    build_cost(&join.left) < build_cost(&join.right)
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
