//! The plan itself: its edges and stages, and their pipelines and states.
//!
//! In: a plan. Out: its content as bytes, and the plan again. Never: a number that points to nothing (`references` checks them).

use super::{EncodeError, reader::Reader, tagged, writer::Writer};
use crate::{
    error::{Result, bug},
    operator::groups::PartColumn,
    plan::{
        closures::Closure,
        physical::{
            Edge, EdgeId, EdgeKind, KeyFilter, MapGroupsSpec, PhysicalPlan, Pipeline, PipelineId, Role, SourceSpec,
            StateId, StateSpec, TransformSpec,
        },
        stage::{Distribution, Stage},
    },
};

tagged!(Role, "role", { Fill = 0, Mark = 1, Rest = 2 });

const GROUPS: u8 = 0;
const BROADCAST: u8 = 1;
const GATHER: u8 = 2;

const DISTRIBUTION_SINGLE: u8 = 0;
const DISTRIBUTION_SPLITS: u8 = 1;
const DISTRIBUTION_GROUPS: u8 = 2;

const FROM_SCAN: u8 = 0;
const FROM_VALUES: u8 = 1;
const FROM_STATE: u8 = 2;
const FROM_EXCHANGE: u8 = 3;

const FILTER: u8 = 0;
const PROJECT: u8 = 1;
const PROBE: u8 = 2;
const MAP_BATCHES: u8 = 3;
const FINISH: u8 = 4;

const AGGREGATE: u8 = 0;
const HASH_JOIN: u8 = 1;
const NESTED_LOOP_JOIN: u8 = 2;
const SORT: u8 = 3;
const TOP_K: u8 = 4;
const LIMIT: u8 = 5;
const COLLECT: u8 = 6;
const SCALAR: u8 = 7;
const WRITE: u8 = 8;
const EXCHANGE: u8 = 9;
const SHARE: u8 = 10;
const WINDOW: u8 = 11;
const MAP_GROUPS: u8 = 12;
const TEE: u8 = 13;

impl Writer {
    pub(super) fn plan(&mut self, plan: &PhysicalPlan) -> Result<()> {
        let PhysicalPlan { stages, edges, parameters, output } = plan;
        let sources = stages.iter().flat_map(|stage| &stage.pipelines).map(|pipeline| &pipeline.source);
        self.tables(sources.filter_map(|source| match source {
            SourceSpec::Scan(scan, _) => Some(&scan.table),
            _ => None,
        }))?;
        self.schema(output)?;
        self.list("parameters", parameters, Writer::data_type)?;
        self.list("edges", edges, Writer::edge)?;
        self.list("stages", stages, Writer::stage)
    }

    fn edge(&mut self, edge: &Edge) -> Result<()> {
        let Edge { schema, kind } = edge;
        self.schema(schema)?;
        match kind {
            EdgeKind::Groups { keys, count } => {
                self.u8(GROUPS);
                self.expressions("keys", keys)?;
                self.number("groups", *count)?;
            }
            EdgeKind::Broadcast => self.u8(BROADCAST),
            EdgeKind::Gather => self.u8(GATHER),
        }
        Ok(())
    }

    fn stage(&mut self, stage: &Stage) -> Result<()> {
        let Stage { pipelines, states, distribution, needs } = stage;
        match distribution {
            Distribution::Single => self.u8(DISTRIBUTION_SINGLE),
            Distribution::Splits => self.u8(DISTRIBUTION_SPLITS),
            Distribution::Groups(count) => {
                self.u8(DISTRIBUTION_GROUPS);
                self.number("groups", *count)?;
            }
        }
        self.list("parameters", needs, |writer, number| writer.number("parameters", *number))?;
        self.list("states", states, Writer::state)?;
        self.list("pipelines", pipelines, Writer::pipeline)
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> Result<()> {
        let Pipeline { source, transforms, sink: (state, role), waits_for } = pipeline;
        self.source(source)?;
        self.list("transforms", transforms, Writer::transform)?;
        self.number("states", state.0)?;
        self.tag(role);
        self.list("pipelines", waits_for, |writer, pipeline| writer.number("pipelines", pipeline.0))
    }

    fn source(&mut self, source: &SourceSpec) -> Result<()> {
        match source {
            SourceSpec::Scan(scan, key_filters) => {
                self.u8(FROM_SCAN);
                self.scan(scan)?;
                self.list("key filters", key_filters, |writer, KeyFilter { state, places }| {
                    writer.number("states", state.0)?;
                    writer.list("places", places, |writer, place| writer.number("places", *place))
                })
            }
            SourceSpec::Cached(_) => Err(bug("plan", "rows that a process has kept, in a plan that is sent")),
            SourceSpec::Values(schema, batches) => {
                self.u8(FROM_VALUES);
                self.schema(schema)?;
                self.batches(schema, batches)
            }
            SourceSpec::State(state) => {
                self.u8(FROM_STATE);
                self.number("states", state.0)
            }
            SourceSpec::Exchange(schema, edges) => {
                self.u8(FROM_EXCHANGE);
                self.schema(schema)?;
                self.list("edges", edges, |writer, edge| writer.number("edges", edge.0))
            }
        }
    }

    fn transform(&mut self, transform: &TransformSpec) -> Result<()> {
        match transform {
            TransformSpec::Filter { conjuncts, input } => {
                self.u8(FILTER);
                self.expressions("conjuncts", conjuncts)?;
                self.schema(input)
            }
            TransformSpec::Project { expressions, input, output } => {
                self.u8(PROJECT);
                self.expressions("expressions", expressions)?;
                self.schema(input)?;
                self.schema(output)
            }
            TransformSpec::Probe(state) => {
                self.u8(PROBE);
                self.number("states", state.0)
            }
            TransformSpec::Finish(spec) => {
                self.u8(FINISH);
                self.aggregate(spec)
            }
            TransformSpec::MapBatches(closure) => {
                self.u8(MAP_BATCHES);
                self.closure(closure)
            }
        }
    }

    pub(super) fn closure(&mut self, closure: &Closure) -> Result<()> {
        // The function itself stays where it is.
        let Closure { number, call_site, function: _, output } = closure;
        self.number("closures", *number as usize)?;
        self.text("call site", call_site)?;
        self.schema(output)
    }

    fn map_groups(&mut self, spec: &MapGroupsSpec) -> Result<()> {
        let MapGroupsSpec { part, keys, order, input, closure } = spec;
        self.option(*part, |writer, PartColumn { column, count }| {
            writer.number("column of parts", column)?;
            writer.number("number of parts", count as usize)
        })?;
        self.expressions("keys", keys)?;
        self.list("sort keys", order, Writer::sort_key)?;
        self.schema(input)?;
        self.closure(closure)
    }

    fn state(&mut self, state: &StateSpec) -> Result<()> {
        match state {
            StateSpec::Aggregate(spec) => {
                self.u8(AGGREGATE);
                self.aggregate(spec)
            }
            StateSpec::HashJoin(spec) => {
                self.u8(HASH_JOIN);
                self.hash_join(spec)
            }
            StateSpec::NestedLoopJoin(spec) => {
                self.u8(NESTED_LOOP_JOIN);
                self.nested_loop(spec)
            }
            StateSpec::Sort(spec) => {
                self.u8(SORT);
                self.sort(spec)
            }
            StateSpec::TopK(spec) => {
                self.u8(TOP_K);
                self.sort(spec)
            }
            StateSpec::Window(spec) => {
                self.u8(WINDOW);
                self.window(spec)
            }
            StateSpec::MapGroups(spec) => {
                self.u8(MAP_GROUPS);
                self.map_groups(spec)
            }
            StateSpec::Limit { skip, fetch } => {
                self.u8(LIMIT);
                self.size(*skip);
                self.size(*fetch);
                Ok(())
            }
            StateSpec::Collect => {
                self.u8(COLLECT);
                Ok(())
            }
            StateSpec::Scalar { number } => {
                self.u8(SCALAR);
                self.number("parameters", *number)
            }
            StateSpec::Write { target, schema, is_ordered } => {
                self.u8(WRITE);
                self.target(target)?;
                self.schema(schema)?;
                self.flag(*is_ordered);
                Ok(())
            }
            StateSpec::Share(schema) => {
                self.u8(SHARE);
                self.schema(schema)
            }
            StateSpec::Cache(_) => Err(bug("plan", "rows that are kept in a process, in a plan that is sent")),
            StateSpec::Tee(each) => {
                self.u8(TEE);
                self.list("states", each, |writer, state| writer.number("states", state.0))
            }
            StateSpec::Exchange(edge) => {
                self.u8(EXCHANGE);
                self.number("edges", edge.0)
            }
        }
    }
}

impl Reader<'_> {
    pub(super) fn plan(&mut self) -> Result<PhysicalPlan> {
        self.tables(self.opened)?;
        let output = self.schema()?;
        let parameters = self.list("parameters", |reader| reader.data_type())?;
        let edges = self.list("edges", |reader| reader.edge())?;
        let stages = self.list("stages", |reader| reader.stage())?;
        if self.tables_used != self.tables.len() {
            return Err(EncodeError::Malformed { what: "table that nobody reads" }.into());
        }
        Ok(PhysicalPlan { stages, edges, parameters, output })
    }

    fn edge(&mut self) -> Result<Edge> {
        let schema = self.schema()?;
        let kind = match self.u8("kind of an edge")? {
            GROUPS => EdgeKind::Groups { keys: self.expressions("keys")?, count: self.number("groups")? },
            BROADCAST => EdgeKind::Broadcast,
            GATHER => EdgeKind::Gather,
            found => return Err(EncodeError::UnknownTag { what: "kind of an edge", found }.into()),
        };
        Ok(Edge { schema, kind })
    }

    fn stage(&mut self) -> Result<Stage> {
        let distribution = match self.u8("distribution of a stage")? {
            DISTRIBUTION_SINGLE => Distribution::Single,
            DISTRIBUTION_SPLITS => Distribution::Splits,
            DISTRIBUTION_GROUPS => Distribution::Groups(self.number("groups")?),
            found => return Err(EncodeError::UnknownTag { what: "distribution of a stage", found }.into()),
        };
        let needs = self.list("parameters", |reader| reader.number("number of a parameter"))?;
        let states = self.list("states", |reader| reader.state())?;
        let pipelines = self.list("pipelines", |reader| reader.pipeline())?;
        Ok(Stage { pipelines, states, distribution, needs })
    }

    fn pipeline(&mut self) -> Result<Pipeline> {
        Ok(Pipeline {
            source: self.source()?,
            transforms: self.list("transforms", |reader| reader.transform())?,
            sink: (StateId(self.number("number of a state")?), self.tag()?),
            waits_for: self.list("pipelines", |reader| reader.number("number of a pipeline").map(PipelineId))?,
        })
    }

    fn source(&mut self) -> Result<SourceSpec> {
        Ok(match self.u8("source")? {
            FROM_SCAN => {
                let scan = self.scan()?;
                let key_filters = self.list("key filters", |reader| {
                    let state = StateId(reader.number("number of a state")?);
                    Ok(KeyFilter { state, places: reader.list("places", |reader| reader.number("place of a key"))? })
                })?;
                SourceSpec::Scan(scan, key_filters)
            }
            FROM_VALUES => {
                let schema = self.schema()?;
                let batches = self.batches(&schema)?;
                SourceSpec::Values(schema, batches)
            }
            FROM_STATE => SourceSpec::State(StateId(self.number("number of a state")?)),
            FROM_EXCHANGE => SourceSpec::Exchange(
                self.schema()?,
                self.list("edges", |reader| reader.number("number of an edge").map(EdgeId))?,
            ),
            found => return Err(EncodeError::UnknownTag { what: "source", found }.into()),
        })
    }

    fn transform(&mut self) -> Result<TransformSpec> {
        Ok(match self.u8("transform")? {
            FILTER => TransformSpec::Filter { conjuncts: self.expressions("conjuncts")?, input: self.schema()? },
            PROJECT => TransformSpec::Project {
                expressions: self.expressions("expressions")?,
                input: self.schema()?,
                output: self.schema()?,
            },
            PROBE => TransformSpec::Probe(StateId(self.number("number of a state")?)),
            FINISH => TransformSpec::Finish(self.aggregate()?),
            MAP_BATCHES => TransformSpec::MapBatches(self.closure()?),
            found => return Err(EncodeError::UnknownTag { what: "transform", found }.into()),
        })
    }

    fn closure(&mut self) -> Result<Closure> {
        let number = self.u32("number of a closure")?;
        let call_site = self.text("call site")?;
        let output = self.schema()?;
        self.closures.find(number, call_site, &output)
    }

    fn map_groups(&mut self) -> Result<MapGroupsSpec> {
        let part = self.option("part", |reader| {
            Ok(PartColumn { column: reader.number("column of parts")?, count: reader.u32("number of parts")? })
        })?;
        Ok(MapGroupsSpec {
            part,
            keys: self.expressions("keys")?,
            order: self.list("sort keys", |reader| reader.sort_key())?,
            input: self.schema()?,
            closure: self.closure()?,
        })
    }

    fn state(&mut self) -> Result<StateSpec> {
        Ok(match self.u8("state")? {
            AGGREGATE => StateSpec::Aggregate(self.aggregate()?),
            HASH_JOIN => StateSpec::HashJoin(self.hash_join()?),
            NESTED_LOOP_JOIN => StateSpec::NestedLoopJoin(self.nested_loop()?),
            SORT => StateSpec::Sort(self.sort()?),
            TOP_K => StateSpec::TopK(self.sort()?),
            WINDOW => StateSpec::Window(self.window()?),
            MAP_GROUPS => StateSpec::MapGroups(self.map_groups()?),
            LIMIT => StateSpec::Limit { skip: self.size("rows left out")?, fetch: self.size("rows given")? },
            COLLECT => StateSpec::Collect,
            SCALAR => StateSpec::Scalar { number: self.number("number of a parameter")? },
            WRITE => StateSpec::Write {
                target: self.target()?,
                schema: self.schema()?,
                is_ordered: self.flag("order of an output")?,
            },
            SHARE => StateSpec::Share(self.schema()?),
            TEE => StateSpec::Tee(self.list("states", |reader| Ok(StateId(reader.number("number of a state")?)))?),
            EXCHANGE => StateSpec::Exchange(EdgeId(self.number("number of an edge")?)),
            found => return Err(EncodeError::UnknownTag { what: "state", found }.into()),
        })
    }
}
