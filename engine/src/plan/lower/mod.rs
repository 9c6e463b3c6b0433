//! Logical to physical: one file per operator.
//!
//! In: a rewritten logical plan. Out: pipelines and states. Never: reorders what the logical plan says; only *how* is decided here:
//! which side of a join is built, whether a sort is a top-k, what a limit goes by.
//!
//! Lowering a node gives a `Flow`: open pipelines that together carry its rows. A transform is appended to each of them. A breaker
//! closes them into its state and opens a new one with the state as its source. A union is just more open pipelines.
//!
//! # On several nodes
//!
//! A flow's pipelines stand in *fragments*, one a stage. How its rows are spread over the tasks of those stages is known (`Spread`); where
//! an operator needs them otherwise, an exchange closes the fragments into edges and opens one pipeline in the stage that reads them:
//!
//! ```text
//!   grouping    each task groups what it has ─► edge by key ─► the groups' parts are merged            aggregate.rs
//!   join        both sides ─► edges by key ─► join; or the small side ─► broadcast edge ─► join        join.rs
//!   order       each task keeps its first rows ─► gather edge ─► order                                 sort.rs
//! ```
//! On one node everything is in one stage with one task, no flow is spread, and no exchange is needed: the same code plans both.

mod aggregate;
mod exchange; // gather, shuffle, broadcast: the edges between stages
mod filter;
mod grouping_sets; // several groupings in one pass
mod join;
mod key_filters; // scans leave out rows that can have no partner, or cannot be among the first
mod limit;
mod map_batches;
mod map_groups;
mod parameter;
mod project;
mod scan;
mod shared; // rows that stand in several places
mod sort;
mod union;
mod values;
mod window;
mod write;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use key_filters::Tracing;

pub(in crate::plan) use join::builds_left;

use super::{
    logical::{Logical, Node},
    physical::{
        Edge, MapGroupsSpec, PhysicalPlan, Pipeline, PipelineId, Role, SourceSpec, StateId, StateSpec, TransformSpec,
    },
    stage::{self, Distribution, Stage},
};
use crate::{
    batch::datatypes::{DataType, SchemaRef},
    error::{Result, bug},
    expression::Expression,
    scan::ScanSpec,
};

/// The physical plan whose answer is `logical`'s rows, collected in memory, for so many nodes. Stages differ with them, results never.
pub fn lower(logical: &Logical, node_count: usize) -> Result<PhysicalPlan> {
    lower_into(logical, node_count, &StateSpec::Collect)
}

/// The physical plan for one node that keeps `logical`'s rows for later jobs.
pub fn lower_to_cache(logical: &Logical) -> Result<PhysicalPlan> {
    lower_into(logical, 1, &StateSpec::Cache(SchemaRef::clone(&logical.schema)))
}

fn lower_into(logical: &Logical, node_count: usize, end: &StateSpec) -> Result<PhysicalPlan> {
    let mut lowering = Lowering {
        is_spread: node_count > 1,
        group_count: exchange::group_count(logical),
        node_count,
        stages: Vec::new(),
        edges: Vec::new(),
        parameters: Vec::new(),
        around: Vec::new(),
        reads_in_order: false,
        shared: BTreeMap::new(),
    };
    let mut flow = lowering.node(logical)?;
    flow.named_as(&logical.schema);
    if !matches!(logical.node, Node::Write { .. }) {
        for fragment in flow.fragments {
            let state = lowering.state(fragment.stage, end.clone())?;
            lowering.close(fragment, state, Role::Fill)?;
        }
    }
    let stages = lowering.stages.into_iter().map(Draft::finish).collect::<Result<_>>()?;
    let stages = stage::in_order(stages, lowering.edges.len())?;
    Ok(PhysicalPlan { stages, edges: lowering.edges, parameters: lowering.parameters, output: flow.schema })
}

/// The rows of a node: open pipelines that together carry them.
struct Flow {
    /// One a stage; a flow that is not spread has one.
    fragments: Vec<Fragment>,
    schema: SchemaRef,
    spread: Spread,
}

/// The pipelines of a flow that stand in one stage.
struct Fragment {
    stage: StageNumber,
    open: Vec<Open>,
}

/// Over which tasks a flow's rows are spread.
#[derive(Clone, Debug, PartialEq)]
enum Spread {
    /// One task has all of them.
    Not,
    /// Nothing is known.
    Anyhow,
    /// Rows for which these expressions, over the flow's columns, are equal are in one task: they came over an edge by these keys.
    By(Vec<Expression>),
}

/// A pipeline without an end yet.
struct Open {
    id: PipelineId,
    source: SourceSpec,
    transforms: Vec<TransformSpec>,
    waits_for: Vec<PipelineId>,
}

/// A stage's place in the plan.
type StageNumber = usize;

/// A stage on its way.
struct Draft {
    /// By number; `None` while it is open.
    pipelines: Vec<Option<Pipeline>>,
    states: Vec<StateSpec>,
    distribution: Distribution,
    needs: BTreeSet<usize>,
}

struct Lowering {
    /// There are several nodes.
    is_spread: bool,
    /// Groups of every edge that has groups: equal, so that what one edge has brought together stays together.
    group_count: usize,
    node_count: usize,
    stages: Vec<Draft>,
    edges: Vec<Edge>,
    parameters: Vec<DataType>,
    /// The parameters around what is lowered: every pipeline opened from now on comes after them.
    around: Vec<Parameter>,
    /// A limit goes by the order of what is read: one task reads it.
    reads_in_order: bool,
    /// What is shared, and has been lowered.
    shared: BTreeMap<usize, shared::Shared>,
}

/// A parameter, and what gives it.
#[derive(Clone)]
struct Parameter {
    number: usize,
    stage: StageNumber,
    pipelines: Vec<PipelineId>,
}

impl Lowering {
    fn node(&mut self, logical: &Logical) -> Result<Flow> {
        let schema = &logical.schema;
        match &logical.node {
            Node::Scan(scan) => scan::lower(self, scan, schema),
            Node::Values(batches) => values::lower(self, batches, schema),
            Node::Cached(rows) => {
                self.flow(Distribution::Single, SourceSpec::Cached(Arc::clone(rows)), SchemaRef::clone(schema))
            }
            Node::Filter { input, predicate } => filter::lower(self, input, predicate),
            Node::Project { input, expressions } => project::lower(self, input, expressions, schema),
            Node::Aggregate { input, keys, calls } => aggregate::lower(self, input, keys, calls, schema),
            Node::GroupingSets { .. } => grouping_sets::lower(self, logical),
            Node::Window { .. } => window::lower(self, logical),
            Node::Join(join) => join::lower(self, join, schema, None),
            Node::Sort { input, keys, skip, fetch } => sort::lower(self, input, keys, *skip, *fetch),
            Node::Limit { input, skip, fetch } => limit::lower(self, input, *skip, *fetch),
            Node::Union { inputs } => union::lower(self, inputs, schema),
            Node::MapBatches { input, closure } => map_batches::lower(self, input, closure),
            Node::MapGroups { input, part, keys, order, closure } => {
                let spec = MapGroupsSpec {
                    part: *part,
                    keys: keys.clone(),
                    order: order.clone(),
                    input: Arc::clone(&input.schema),
                    closure: closure.clone(),
                };
                map_groups::lower(self, input, spec)
            }
            Node::Write { input, target } => write::lower(self, input, target, schema),
            Node::WithParameter { input, number, subquery } => parameter::lower(self, input, *number, subquery),
            Node::Shared { input, number } => shared::lower(self, input, *number),
        }
    }

    /// A node whose rows are put in order afterwards, or need none.
    fn in_any_order(&mut self, logical: &Logical) -> Result<Flow> {
        let outer = std::mem::replace(&mut self.reads_in_order, false);
        let flow = self.node(logical);
        self.reads_in_order = outer;
        flow
    }

    /// A stage for new pipelines: on one node always the same.
    fn stage(&mut self, distribution: Distribution) -> StageNumber {
        if self.is_spread || self.stages.is_empty() {
            let distribution = if self.is_spread { distribution } else { Distribution::Single };
            let draft = Draft { pipelines: Vec::new(), states: Vec::new(), distribution, needs: BTreeSet::new() };
            self.stages.push(draft);
        }
        self.stages.len() - 1
    }

    fn draft(&mut self, stage: StageNumber) -> Result<&mut Draft> {
        self.stages.get_mut(stage).ok_or_else(|| bug("plan", "a stage without a place"))
    }

    /// A new pipeline in `stage` that starts with `source`, after the pipelines in `waits_for`.
    fn open(&mut self, stage: StageNumber, source: SourceSpec, mut waits_for: Vec<PipelineId>) -> Result<Open> {
        let around = self.around.clone();
        let draft = self.draft(stage)?;
        for parameter in around {
            if parameter.stage == stage {
                waits_for.extend(parameter.pipelines);
            } else {
                draft.needs.insert(parameter.number);
            }
        }
        let id = PipelineId(draft.pipelines.len());
        draft.pipelines.push(None);
        Ok(Open { id, source, transforms: Vec::new(), waits_for })
    }

    /// The flow of one new pipeline that starts with `source`.
    fn flow(&mut self, distribution: Distribution, source: SourceSpec, schema: SchemaRef) -> Result<Flow> {
        let stage = self.stage(distribution);
        let open = vec![self.open(stage, source, Vec::new())?];
        let is_spread = self.is_spread && distribution != Distribution::Single;
        let spread = if is_spread { Spread::Anyhow } else { Spread::Not };
        Ok(Flow { fragments: vec![Fragment { stage, open }], schema, spread })
    }

    fn state(&mut self, stage: StageNumber, spec: StateSpec) -> Result<StateId> {
        let states = &mut self.draft(stage)?.states;
        states.push(spec);
        Ok(StateId(states.len() - 1))
    }

    /// Ends the pipelines in the state; their numbers.
    fn close(&mut self, fragment: Fragment, state: StateId, role: Role) -> Result<Vec<PipelineId>> {
        let draft = self.draft(fragment.stage)?;
        let mut closed = Vec::with_capacity(fragment.open.len());
        for Open { id, source, transforms, mut waits_for } in fragment.open {
            waits_for.sort_unstable();
            waits_for.dedup();
            let slot = draft.pipelines.get_mut(id.0).ok_or_else(|| bug("plan", "a pipeline without a place"))?;
            *slot = Some(Pipeline { source, transforms, sink: (state, role), waits_for });
            closed.push(id);
        }
        Ok(closed)
    }

    /// A breaker: each fragment ends in a new state, and a new pipeline starts from it.
    fn break_at(&mut self, flow: Flow, spec: &StateSpec, schema: SchemaRef, spread: Spread) -> Result<Flow> {
        let mut fragments = Vec::with_capacity(flow.fragments.len());
        for mut fragment in flow.fragments {
            let stage = fragment.stage;
            let state = self.state(stage, spec.clone())?;
            if let StateSpec::TopK(spec) = spec {
                let draft = self.draft(stage)?;
                for open in &mut fragment.open {
                    Tracing { draft, state, built: &[] }.bound_open(open, spec);
                }
            }
            let closed = self.close(fragment, state, Role::Fill)?;
            let open = vec![self.open(stage, SourceSpec::State(state), closed)?];
            fragments.push(Fragment { stage, open });
        }
        Ok(Flow { fragments, schema, spread })
    }
}

impl Draft {
    fn finish(self) -> Result<Stage> {
        let pipelines = self.pipelines.into_iter().collect::<Option<Vec<_>>>();
        Ok(Stage {
            pipelines: pipelines.ok_or_else(|| bug("plan", "a pipeline was left open"))?,
            states: self.states,
            distribution: self.distribution,
            needs: self.needs.into_iter().collect(),
        })
    }
}

impl Flow {
    /// Appends a transform to every pipeline.
    fn transform(&mut self, transform: &TransformSpec) {
        self.open().for_each(|open| open.transforms.push(transform.clone()));
    }

    fn open(&mut self) -> impl Iterator<Item = &mut Open> {
        self.fragments.iter_mut().flat_map(|fragment| &mut fragment.open)
    }

    /// Appends a projection; a choice of columns right behind a scan becomes the scan's own.
    fn project(&mut self, expressions: Vec<Expression>, output: &SchemaRef) {
        self.spread = std::mem::replace(&mut self.spread, Spread::Anyhow).projected(&expressions);
        let (input, output) = (SchemaRef::clone(&self.schema), SchemaRef::clone(output));
        self.schema = SchemaRef::clone(&output);
        let chosen: Option<Vec<usize>> = expressions.iter().map(Expression::is_column).collect();
        // A scan's columns have the names of the table; only who looks at the answer looks at names.
        let is_same = |(column, place): (&usize, usize)| input.field(*column) == output.field(place);
        let chosen = chosen.filter(|chosen| chosen.iter().zip(0..).all(is_same));
        let transform = TransformSpec::Project { expressions, input, output };
        for open in self.open() {
            match (open.scan(), &chosen) {
                (Some(scan), Some(chosen)) => scan.given = chosen.iter().map(|column| scan.given[*column]).collect(),
                _ => open.transforms.push(transform.clone()),
            }
        }
    }

    /// Gives the columns the names of `schema`, which has as many, where they have others.
    fn named_as(&mut self, schema: &SchemaRef) {
        if self.schema != *schema {
            self.project((0..schema.fields().len()).map(Expression::Column).collect(), schema);
        }
    }

    /// Appends a filter, unless there is nothing to filter by; right behind a scan it becomes the scan's own.
    fn filter(&mut self, conjuncts: Vec<Expression>) {
        let input = SchemaRef::clone(&self.schema);
        for open in self.open() {
            let mut left = conjuncts.clone();
            if let Some(scan) = open.scan() {
                // Each sees only the rows that those before it let through: one without columns stays where it stands.
                let first = left.iter().position(Expression::uses_columns).unwrap_or(left.len());
                let own = if first == 0 { std::mem::take(&mut left) } else { Vec::new() };
                scan.filters.extend(own.into_iter().map(|mut conjunct| {
                    conjunct.map_columns(&|column| scan.given[column]);
                    conjunct
                }));
            }
            if !left.is_empty() {
                open.transforms.push(TransformSpec::Filter { conjuncts: left, input: SchemaRef::clone(&input) });
            }
        }
    }
}

impl Open {
    /// The scan of files that gives the rows as they are here.
    fn scan(&mut self) -> Option<&mut ScanSpec> {
        match &mut self.source {
            SourceSpec::Scan(scan, _) if self.transforms.is_empty() && scan.table.batches().is_none() => Some(scan),
            _ => None,
        }
    }
}

impl Spread {
    /// What is known of the rows when `expressions` have become the columns.
    fn projected(self, expressions: &[Expression]) -> Spread {
        let place = |key: &Expression| expressions.iter().position(|e| e == key).map(Expression::Column);
        match self {
            Spread::By(keys) => keys.iter().map(place).collect::<Option<_>>().map_or(Spread::Anyhow, Spread::By),
            other => other,
        }
    }
}
