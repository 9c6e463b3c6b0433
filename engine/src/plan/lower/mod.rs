//! Logical to physical: one file per operator.
//!
//! In: a rewritten logical plan. Out: pipelines and states. Never: reorders what the logical plan says; only *how* is decided here:
//! which side of a join is built, whether a sort is a top-k, what a limit goes by.
//!
//! Lowering a node gives a `Flow`: open pipelines that together carry its rows. A transform is appended to each of them. A breaker
//! closes them into its state and opens a new one with the state as its source. A union is just more open pipelines.

mod aggregate;
mod filter;
mod join;
mod limit;
mod map_batches;
mod parameter;
mod project;
mod scan;
mod sort;
mod union;
mod values;
mod write;

use super::{
    logical::{Logical, Node},
    physical::{PhysicalPlan, Pipeline, PipelineId, Role, SourceSpec, StateId, StateSpec, TransformSpec},
    stage,
};
use crate::{
    batch::datatypes::{DataType, SchemaRef},
    error::{Result, bug},
    expression::Expression,
};

/// The physical plan whose answer is `logical`'s rows, collected in memory.
pub fn lower(logical: &Logical) -> Result<PhysicalPlan> {
    let mut lowering = Lowering::default();
    let mut flow = lowering.node(logical)?;
    flow.named_as(&logical.schema);
    if !matches!(logical.node, Node::Write { .. }) {
        let collect = lowering.state(StateSpec::Collect);
        lowering.close(flow.open, collect, Role::Fill)?;
    }
    let pipelines = lowering.pipelines.into_iter().collect::<Option<Vec<_>>>();
    let pipelines = pipelines.ok_or_else(|| bug("plan", "a pipeline was left open"))?;
    let stages = stage::cut(pipelines, lowering.states);
    Ok(PhysicalPlan { stages, parameters: lowering.parameters, output: flow.schema })
}

/// The rows of a node: open pipelines that together carry them.
struct Flow {
    open: Vec<Open>,
    schema: SchemaRef,
}

/// A pipeline without an end yet.
struct Open {
    id: PipelineId,
    source: SourceSpec,
    transforms: Vec<TransformSpec>,
    waits_for: Vec<PipelineId>,
}

#[derive(Default)]
struct Lowering {
    /// By number; `None` while it is open.
    pipelines: Vec<Option<Pipeline>>,
    states: Vec<StateSpec>,
    parameters: Vec<DataType>,
    /// The pipelines that every pipeline opened from now on waits for: those of the parameters around it.
    before: Vec<PipelineId>,
}

impl Lowering {
    fn node(&mut self, logical: &Logical) -> Result<Flow> {
        let schema = &logical.schema;
        match &logical.node {
            Node::Scan(scan) => scan::lower(self, scan, schema),
            Node::Values(batches) => values::lower(self, batches, schema),
            Node::Filter { input, predicate } => filter::lower(self, input, predicate),
            Node::Project { input, expressions } => project::lower(self, input, expressions, schema),
            Node::Aggregate { input, keys, calls } => aggregate::lower(self, input, keys, calls, schema),
            Node::Join(join) => join::lower(self, join, schema, None),
            Node::Sort { input, keys, skip, fetch } => sort::lower(self, input, keys, *skip, *fetch),
            Node::Limit { input, skip, fetch } => limit::lower(self, input, *skip, *fetch),
            Node::Union { inputs } => union::lower(self, inputs, schema),
            Node::MapBatches { input, closure } => map_batches::lower(self, input, closure),
            Node::Write { input, target } => write::lower(self, input, target, schema),
            Node::WithParameter { input, number, subquery } => parameter::lower(self, input, *number, subquery),
        }
    }

    /// A new pipeline that starts with `source`, after the pipelines in `waits_for`.
    fn open(&mut self, source: SourceSpec, mut waits_for: Vec<PipelineId>) -> Open {
        let id = PipelineId(self.pipelines.len());
        self.pipelines.push(None);
        waits_for.extend(&self.before);
        Open { id, source, transforms: Vec::new(), waits_for }
    }

    fn state(&mut self, spec: StateSpec) -> StateId {
        self.states.push(spec);
        StateId(self.states.len() - 1)
    }

    /// Ends the pipelines in the state; their numbers.
    fn close(&mut self, open: Vec<Open>, state: StateId, role: Role) -> Result<Vec<PipelineId>> {
        let mut closed = Vec::with_capacity(open.len());
        for Open { id, source, transforms, mut waits_for } in open {
            waits_for.sort_unstable();
            waits_for.dedup();
            let slot = self.pipelines.get_mut(id.0).ok_or_else(|| bug("plan", "a pipeline without a place"))?;
            *slot = Some(Pipeline { source, transforms, sink: (state, role), waits_for });
            closed.push(id);
        }
        Ok(closed)
    }

    /// A breaker: the flow ends in a new state, and a new one starts from it.
    fn break_at(&mut self, flow: Flow, spec: StateSpec, schema: SchemaRef) -> Result<Flow> {
        let state = self.state(spec);
        let closed = self.close(flow.open, state, Role::Fill)?;
        let open = vec![self.open(SourceSpec::State(state), closed)];
        Ok(Flow { open, schema })
    }
}

impl Flow {
    /// Appends a transform to every pipeline.
    fn transform(&mut self, transform: &TransformSpec) {
        for open in &mut self.open {
            open.transforms.push(transform.clone());
        }
    }

    /// Gives the columns the names of `schema`, which has as many, where they have others.
    fn named_as(&mut self, schema: &SchemaRef) {
        if self.schema != *schema {
            self.transform(&TransformSpec::Project {
                expressions: (0..schema.fields().len()).map(Expression::Column).collect(),
                input: SchemaRef::clone(&self.schema),
                output: SchemaRef::clone(schema),
            });
            self.schema = SchemaRef::clone(schema);
        }
    }

    /// Appends a filter, unless there is nothing to filter by.
    fn filter(&mut self, conjuncts: Vec<Expression>) {
        if !conjuncts.is_empty() {
            let input = SchemaRef::clone(&self.schema);
            self.transform(&TransformSpec::Filter { conjuncts, input });
        }
    }
}
