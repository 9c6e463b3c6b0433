//! The physical plan's operators, made real.
//!
//! In: a stage, and which part of its work is to be done. Out: a [`JobGraph`] over operators, and the handles by which its answer is taken.
//! Never: starts anything.
//!
//! # The rounds of joins
//!
//! A hash join whose build side does not fit gives its rows after all probing, partition by partition (`operator/join/rounds.rs`). Where the
//! plan has a pipeline for what is left after the probing (outer joins, marks), that pipeline gives them. For other joins one is added here:
//!
//! ```text
//!   P        scan ─► probe 1 ─► filter ─► probe 2 ─► project ─► sink
//!   A1       rounds of 1 ────► filter ─► probe 2 ─► project ─► sink        after P is fed
//!   A2       rounds of 2 ──────────────────────────► project ─► sink        after P and A1 are fed: both probe 2
//! ```
//! Whether a join goes to disk is known only when its build side is complete; so every join has its pipeline, and one that was not needed
//! ends at once. It is no part of the plan: plans do not depend on memory.

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use super::job::{JobGraph, Runnable};
use crate::{
    batch::datatypes::SchemaRef,
    error::{Result, bug},
    expression::{Literal, Parameters},
    format::RowTest,
    observe::{Holding, Profile, Tested},
    operator::{
        JobContext, Sink, Source, Transform,
        aggregate::{Aggregate, Finish},
        collect::{Collect, CollectSink, Scalar},
        exchange::{ExchangeSink, ExchangeSource, Inlet, Outlet},
        filter::Filter,
        groups::{Groups, GroupsSpec},
        join::{HashJoin, NestedLoopJoin},
        limit::{Limit, LimitSink, LimitSource},
        map::MapBatches,
        project::Project,
        share::{Cached, Share},
        sort::{Sort, TopK},
        splits::MapSplits,
        tee::Tee,
        values::Values,
        window::Window,
    },
    plan::{
        closures::Function,
        physical::{
            Edge, EdgeId, EdgeKind, KeyFilter, MapGroupsSpec, PhysicalPlan, Pipeline, Role, SourceSpec, StateId,
            StateSpec, TransformSpec,
        },
        stage::{Distribution, Stage},
    },
    scan::{ScanSource, ScanSpec, WatchedTest},
    shuffle::AttemptKey,
    sink::{Order, Writing},
    store::Io,
};

/// A stage whose operators are made.
pub struct Running {
    /// What to run.
    pub graph: JobGraph,
    /// Where the answer is collected, if the plan collects one.
    pub collect: Option<Arc<Collect>>,
    /// The rows that are kept for later jobs, if the plan keeps them: complete when it has run.
    pub cache: Option<Arc<Share>>,
    /// The output that must be committed, if the plan writes one.
    pub writing: Option<Arc<Writing>>,
    /// The parameters, those that the stage itself has found among them.
    pub parameters: Arc<Parameters>,
    /// What its pipelines do, if that is recorded.
    pub profile: Option<Arc<Profile>>,
}

/// Which part of a stage's work is done.
#[derive(Default)]
pub struct Work<'a> {
    /// Of a stage whose tasks read splits: which of them, by their places in [`ScanSpec::splits`](crate::scan::ScanSpec::splits).
    pub splits: Option<Range<usize>>,
    /// On a cluster: which try at which task it is.
    pub attempt: Option<AttemptKey>,
    /// The values of parameters that other stages gave.
    pub parameters: Vec<(usize, Literal)>,
    /// The ends of its edges; on one node there are none.
    pub ends: Option<&'a dyn Ends>,
    /// What its pipelines do is recorded.
    pub is_profiled: bool,
}

/// The ends of a stage's edges.
pub trait Ends {
    /// What a pipeline that begins with these edges reads.
    fn inlet(&self, edges: &[EdgeId], schema: &SchemaRef) -> Result<Arc<dyn Inlet>>;
    /// Where a pipeline that ends in this edge writes.
    fn outlet(&self, number: EdgeId, edge: &Edge) -> Result<Arc<dyn Outlet>>;
}

/// Makes the operators of a plan for one node. `is_profiled`: what its pipelines do is recorded.
pub fn build(plan: &PhysicalPlan, is_profiled: bool, io: &Arc<Io>, context: &JobContext) -> Result<Running> {
    if plan.stages.len() != 1 {
        return Err(bug("schedule", "a plan of several stages on one node"));
    }
    build_stage(plan, 0, Work { is_profiled, ..Work::default() }, io, context)
}

/// Makes the operators of a stage for one of its tasks.
pub fn build_stage(
    plan: &PhysicalPlan,
    stage: usize,
    work: Work<'_>,
    io: &Arc<Io>,
    context: &JobContext,
) -> Result<Running> {
    let stage = plan.stages.get(stage).ok_or_else(|| bug("schedule", "a stage that the plan does not have"))?;
    let parameters = Arc::new(Parameters::new(plan.parameters.clone()));
    for (number, value) in &work.parameters {
        parameters.set(*number, value.clone())?;
    }
    let builder = Builder { plan, stage, work, io, context, parameters };
    let holdings: Vec<Arc<Holding>> = stage.states.iter().map(|_| Arc::default()).collect();
    let holding = |number: usize| builder.work.is_profiled.then(|| Arc::clone(&holdings[number]));
    let mut states = Vec::with_capacity(stage.states.len());
    for (number, spec) in stage.states.iter().enumerate() {
        let context = JobContext { holding: holding(number), ..context.clone() };
        states.push(builder.state(spec, &context, &states)?);
    }
    let mut graph = JobGraph { pipelines: Vec::new(), sinks: Vec::new(), profile: None };
    let mut sinks: Vec<(StateId, Role)> = Vec::new();
    let planned = with_rounds(stage)?;
    let steps: Vec<(usize, usize)> =
        planned.iter().map(|planned| (planned.transforms.len() + 2, planned.sink.0.0)).collect();
    let mut profile =
        builder.work.is_profiled.then(|| Profile::new(context.settings.threads, &steps, holdings.clone()));
    for (number, Planned { source, transforms, sink, waits_for }) in planned.into_iter().enumerate() {
        let sink = match sinks.iter().position(|known| *known == sink) {
            Some(number) => number,
            None => {
                sinks.push(sink);
                graph.sinks.push(states[sink.0.0].sink(sink.1)?);
                sinks.len() - 1
            }
        };
        let source = match source {
            From::Plan(source) => {
                let (source, tests) = builder.source(source, &states)?;
                if let Some(profile) = &mut profile {
                    profile.watch_tests(number, tests);
                }
                source
            }
            From::Rounds(state) => states[state.0].source()?,
        };
        let transforms = transforms.iter().map(|spec| builder.transform(spec, &source, &states));
        graph.pipelines.push(Runnable {
            transforms: transforms.collect::<Result<_>>()?,
            source,
            sink,
            waits_for: waits_for.into_iter().collect(),
        });
    }
    let collect =
        states.iter().find_map(|state| if let State::Collect(it) = state { Some(Arc::clone(it)) } else { None });
    let cache = states.iter().find_map(|state| if let State::Cache(it) = state { Some(Arc::clone(it)) } else { None });
    let writing =
        states.iter().find_map(|state| if let State::Write(it) = state { Some(Arc::clone(it)) } else { None });
    graph.profile = profile.map(Arc::new);
    let profile = graph.profile.clone();
    Ok(Running { graph, collect, cache, writing, parameters: builder.parameters, profile })
}

/// A pipeline of the plan, or one that was added.
struct Planned<'a> {
    source: From<'a>,
    transforms: &'a [TransformSpec],
    sink: (StateId, Role),
    waits_for: BTreeSet<usize>,
}

/// Where a pipeline's morsels come from.
enum From<'a> {
    Plan(&'a SourceSpec),
    /// The rounds of the join in this state.
    Rounds(StateId),
}

impl<'a> Planned<'a> {
    fn of(pipeline: &'a Pipeline) -> Planned<'a> {
        Planned {
            source: From::Plan(&pipeline.source),
            transforms: &pipeline.transforms,
            sink: pipeline.sink,
            waits_for: pipeline.waits_for.iter().map(|id| id.0).collect(),
        }
    }

    /// The state whose rows it gives, if the plan says so.
    fn gives(&self) -> Option<StateId> {
        if let From::Plan(SourceSpec::State(state)) = self.source { Some(*state) } else { None }
    }

    /// Where it probes the state, if it does.
    fn probes(&self, state: StateId) -> Option<usize> {
        self.transforms.iter().position(|spec| matches!(spec, TransformSpec::Probe(probed) if *probed == state))
    }
}

/// The pipelines of the stage, and those for the rounds of its joins.
fn with_rounds(stage: &Stage) -> Result<Vec<Planned<'_>>> {
    let mut pipelines: Vec<Planned<'_>> = stage.pipelines.iter().map(Planned::of).collect();
    // A join stands behind those that a pipeline probes before it, so what its own pipeline waits for is there.
    for (number, _) in stage.states.iter().enumerate().filter(|(_, spec)| matches!(spec, StateSpec::HashJoin(_))) {
        let state = StateId(number);
        let has_rest = pipelines.iter().any(|pipeline| pipeline.gives() == Some(state));
        let probing: Vec<(usize, usize)> = pipelines
            .iter()
            .enumerate()
            .filter_map(|(number, pipeline)| Some((number, pipeline.probes(state)?)))
            .collect();
        let Some((first, at)) = probing.first().copied().filter(|_| !has_rest) else { continue };
        let (transforms, sink) = (&pipelines[first].transforms[at + 1..], pipelines[first].sink);
        let goes_on_alike = |(number, at): &(usize, usize)| {
            pipelines[*number].sink == sink && pipelines[*number].transforms.len() - at - 1 == transforms.len()
        };
        if !probing.iter().all(goes_on_alike) {
            return Err(bug("schedule", format!("pipelines that probe state {number} go on in different ways")));
        }
        let waits_for = probing.into_iter().map(|(number, _)| number).collect();
        let added = Planned { source: From::Rounds(state), transforms, sink, waits_for };
        // Whoever gives what is left of a join behind this one waits until the rounds have probed that, too.
        let number = pipelines.len();
        for pipeline in &mut pipelines {
            if pipeline.gives().is_some_and(|behind| added.probes(behind).is_some()) {
                pipeline.waits_for.insert(number);
            }
        }
        pipelines.push(added);
    }
    Ok(pipelines)
}

struct Builder<'a> {
    plan: &'a PhysicalPlan,
    stage: &'a Stage,
    work: Work<'a>,
    io: &'a Arc<Io>,
    context: &'a JobContext,
    parameters: Arc<Parameters>,
}

/// A source, and what is recorded of its tests.
type Sourced = (Arc<dyn Source>, Vec<Arc<Tested>>);

/// A state made real: what its pipelines share.
enum State {
    Aggregate(Arc<Aggregate>),
    HashJoin(Arc<HashJoin>),
    NestedLoopJoin(Arc<NestedLoopJoin>),
    Sort(Arc<Sort>),
    TopK(Arc<TopK>),
    Window(Arc<Window>),
    Groups(Arc<Groups>),
    Limit(Arc<Limit>),
    Collect(Arc<Collect>),
    Scalar(Arc<Scalar>),
    Write(Arc<Writing>),
    Share(Arc<Share>),
    Cache(Arc<Share>),
    Tee(Arc<dyn Sink>),
    Exchange(Arc<dyn Sink>),
}

impl Builder<'_> {
    /// `before`: the states before it.
    fn state(&self, spec: &StateSpec, context: &JobContext, before: &[State]) -> Result<State> {
        let parameters = &self.parameters;
        Ok(match spec {
            StateSpec::Aggregate(spec) => State::Aggregate(Aggregate::new(spec, context, parameters)?),
            StateSpec::HashJoin(spec) => State::HashJoin(HashJoin::new(spec, context, parameters)?),
            StateSpec::NestedLoopJoin(spec) => State::NestedLoopJoin(NestedLoopJoin::new(spec, context, parameters)?),
            StateSpec::Sort(spec) => State::Sort(Sort::new(spec, context, parameters)?),
            StateSpec::TopK(spec) => State::TopK(TopK::new(spec, context, parameters)?),
            StateSpec::Window(spec) => State::Window(Window::new(spec, context, parameters)?),
            StateSpec::MapGroups(spec) => State::Groups(Groups::new(&groups_spec(spec)?, context, parameters)?),
            StateSpec::Limit { skip, fetch } => State::Limit(Limit::new(*skip, *fetch, context)),
            StateSpec::Share(schema) => State::Share(Share::new(schema, context)),
            StateSpec::Cache(schema) => State::Cache(Share::to_cache(schema, context)),
            StateSpec::Tee(each) => {
                let sink = |state: &StateId| match before.get(state.0) {
                    Some(state) => state.sink(Role::Fill),
                    None => Err(bug("schedule", "rows go into a state that is not there yet")),
                };
                State::Tee(Tee::new(each.iter().map(sink).collect::<Result<_>>()?))
            }
            StateSpec::Exchange(edge) => State::Exchange(self.exchange(*edge)?),
            StateSpec::Collect => State::Collect(Collect::new(context)),
            StateSpec::Scalar { number } => State::Scalar(Scalar::new(*number, parameters, context)),
            StateSpec::Write { target, schema, is_ordered } => {
                let rows = if *is_ordered { Order::Kept } else { Order::Any };
                State::Write(Writing::begin(target, self.work.attempt, (schema, rows), self.io, context)?)
            }
        })
    }

    fn exchange(&self, number: EdgeId) -> Result<Arc<dyn Sink>> {
        let edge =
            self.plan.edges.get(number.0).ok_or_else(|| bug("schedule", "an edge that the plan does not have"))?;
        let outlet = self.ends()?.outlet(number, edge)?;
        let keys = match &edge.kind {
            EdgeKind::Groups { keys, .. } => &keys[..],
            EdgeKind::Broadcast | EdgeKind::Gather => &[],
        };
        ExchangeSink::shared(keys, edge.kind.group_count(), &edge.schema, outlet, self.context, &self.parameters)
    }

    fn ends(&self) -> Result<&dyn Ends> {
        self.work.ends.ok_or_else(|| bug("schedule", "an edge on one node"))
    }

    fn source(&self, spec: &SourceSpec, states: &[State]) -> Result<Sourced> {
        let source = match spec {
            SourceSpec::Scan(scan, key_filters) => return self.scan(scan, key_filters, states),
            SourceSpec::Exchange(schema, edges) => {
                ExchangeSource::shared(self.ends()?.inlet(edges, schema)?, schema, self.context)
            }
            SourceSpec::Values(_, batches) => Values::new(batches, self.context),
            SourceSpec::Cached(rows) => Cached::source(rows),
            SourceSpec::State(state) => states[state.0].source()?,
        };
        Ok((source, Vec::new()))
    }

    fn scan(&self, scan: &ScanSpec, key_filters: &[KeyFilter], states: &[State]) -> Result<Sourced> {
        let splits = self.work.splits.clone().filter(|_| self.stage.distribution == Distribution::Splits);
        let schema = Arc::new(scan.table.decoded_schema().project(&scan.columns)?);
        let mut tests: Vec<Arc<dyn RowTest>> = scan.conditions(&self.parameters)?.into_iter().collect();
        for KeyFilter { state, places } in key_filters {
            match states.get(state.0) {
                Some(State::HashJoin(join)) => tests.push(join.key_filter(places, &schema)?),
                Some(State::TopK(top)) => tests.push(top.bound_test(places, &schema)?),
                _ => return Err(bug("schedule", format!("state {} has no keys to filter by", state.0))),
            }
        }
        let watched: Vec<Arc<Tested>> = tests.iter().map(|_| Arc::default()).collect();
        if self.work.is_profiled {
            let tested = tests.into_iter().zip(&watched);
            tests =
                tested.map(|(test, watched)| Arc::new(WatchedTest::new(test, watched)) as Arc<dyn RowTest>).collect();
        }
        Ok((ScanSource::open(scan, splits, tests, self.io, self.context)?, watched))
    }

    fn transform(
        &self,
        spec: &TransformSpec,
        source: &Arc<dyn Source>,
        states: &[State],
    ) -> Result<Arc<dyn Transform>> {
        let (context, parameters) = (self.context, &self.parameters);
        Ok(match spec {
            TransformSpec::Filter { conjuncts, input } => Filter::new(conjuncts, input, context, parameters)?,
            TransformSpec::Project { expressions, input, output } => {
                Project::new(expressions, input, output, context, parameters)?
            }
            TransformSpec::Probe(state) => match states.get(state.0) {
                Some(State::HashJoin(join)) => join.probe(),
                Some(State::NestedLoopJoin(join)) => join.probe(),
                _ => return Err(bug("schedule", format!("state {} of {:?} cannot be probed", state.0, self.stage))),
            },
            TransformSpec::Finish(spec) => Finish::new(spec, parameters)?,
            TransformSpec::MapBatches(closure) => match &closure.function {
                Function::Batches(function) => {
                    MapBatches::new(Arc::clone(function), Arc::clone(&closure.output), closure.call_site)
                }
                Function::Splits(function) => {
                    MapSplits::new(Arc::clone(function), Arc::clone(&closure.output), &context.counters, source)
                }
                Function::Groups(_) => return Err(bug("schedule", format!("{closure:?} is called for batches"))),
            },
        })
    }
}

/// The operator's own spec.
fn groups_spec(spec: &MapGroupsSpec) -> Result<GroupsSpec> {
    let MapGroupsSpec { part, keys, order, input, closure } = spec;
    let Function::Groups(function) = &closure.function else {
        return Err(bug("schedule", format!("{closure:?} is called for groups")));
    };
    Ok(GroupsSpec {
        part: *part,
        keys: keys.clone(),
        order: order.clone(),
        input: Arc::clone(input),
        output: Arc::clone(&closure.output),
        function: Arc::clone(function),
        call_site: closure.call_site,
    })
}

impl State {
    fn sink(&self, role: Role) -> Result<Arc<dyn Sink>> {
        Ok(match (self, role) {
            (State::HashJoin(join), Role::Fill) => join.build(),
            (State::HashJoin(join), Role::Mark) => join.mark(),
            (State::NestedLoopJoin(join), Role::Fill) => join.build(),
            (State::NestedLoopJoin(join), Role::Mark) => join.mark(),
            (State::Aggregate(aggregate), Role::Fill) => aggregate.sink(),
            (State::Sort(sort), Role::Fill) => sort.sink(),
            (State::TopK(top_k), Role::Fill) => top_k.sink(),
            (State::Window(window), Role::Fill) => window.sink(),
            (State::Groups(groups), Role::Fill) => groups.sink(),
            (State::Limit(limit), Role::Fill) => Arc::new(LimitSink(Arc::clone(limit))),
            (State::Collect(collect), Role::Fill) => Arc::new(CollectSink(Arc::clone(collect))),
            (State::Scalar(scalar), Role::Fill) => Arc::clone(scalar) as Arc<dyn Sink>,
            (State::Write(writing), Role::Fill) => Arc::clone(writing).sink(),
            (State::Write(writing), Role::Rest) => Arc::clone(writing).rest_sink(),
            (State::Share(share) | State::Cache(share), Role::Fill) => share.sink(),
            (State::Exchange(sink) | State::Tee(sink), Role::Fill) => Arc::clone(sink),
            (_, Role::Mark) => return Err(bug("schedule", "only a join can be marked")),
            (_, Role::Rest) => return Err(bug("schedule", "only an output keeps rows for later")),
        })
    }

    fn source(&self) -> Result<Arc<dyn Source>> {
        Ok(match self {
            State::Aggregate(aggregate) => aggregate.source(),
            State::HashJoin(join) => join.rest(),
            State::NestedLoopJoin(join) => join.rest(),
            State::Sort(sort) => sort.source(),
            State::TopK(top_k) => top_k.source(),
            State::Window(window) => window.source(),
            State::Groups(groups) => groups.source(),
            State::Limit(limit) => Arc::new(LimitSource(Arc::clone(limit))),
            State::Share(share) => share.source(),
            State::Write(writing) => writing.source()?,
            State::Collect(_) | State::Cache(_) | State::Scalar(_) | State::Exchange(_) | State::Tee(_) => {
                return Err(bug("schedule", "an answer is no source"));
            }
        })
    }
}
