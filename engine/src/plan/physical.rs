//! The physical plan: how. Pipelines and what each waits for, as data.
//!
//! In: `lower/`. Out: `schedule/` makes its operators real; `explain` draws it. Never: holds a running operator.
//!
//! ```text
//!   pipeline 0: scan orders ─► filter ─► build join 0
//!   pipeline 1: scan lineitem ─► filter ─► probe join 0 ─► aggregate 1      waits for 0
//!   pipeline 2: aggregate 1 ─► sort 2                                        waits for 1
//!   pipeline 3: sort 2 ─► project ─► collect 3                               waits for 2
//! ```
//! A *state* is what pipelines share: a join's table, a grouping's groups. A pipeline ends in one state in one [`Role`]; transforms and
//! sources refer to states by their number in the stage.
//!
//! On several nodes a plan has several stages, and between them *edges*: a pipeline of one stage ends in an exchange, a pipeline of a
//! later one begins with it.

use std::sync::Arc;

use crate::{
    batch::{
        Batch,
        datatypes::{DataType, SchemaRef},
    },
    expression::{Expression, SortKey},
    operator::{
        aggregate::AggregateSpec,
        groups::PartColumn,
        join::{HashJoinSpec, NestedLoopSpec},
        share::Cached,
        sort::SortSpec,
        window::WindowSpec,
    },
    plan::{closures::Closure, stage::Stage},
    scan::ScanSpec,
    sink::Target,
};

/// A job's plan.
#[derive(Clone, Debug)]
pub struct PhysicalPlan {
    /// In an order in which each stands after those it takes from.
    pub stages: Vec<Stage>,
    /// What passes between them; their numbers are their places.
    pub edges: Vec<Edge>,
    /// The types of the parameters that become known while it runs.
    pub parameters: Vec<DataType>,
    /// The columns of the answer.
    pub output: SchemaRef,
}

/// A pipeline's number in its stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PipelineId(pub usize);

/// A state's number in its stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StateId(pub usize);

/// An edge's number in its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EdgeId(pub usize);

/// Rows that pass from stages to stages.
#[derive(Clone, Debug)]
pub struct Edge {
    /// Their columns.
    pub schema: SchemaRef,
    /// Which consumer gets which rows.
    pub kind: EdgeKind,
}

/// Which of an edge's rows go to which task of the consumer.
#[derive(Clone, Debug)]
pub enum EdgeKind {
    /// Rows with equal keys stand in one group; a task takes some of the groups.
    Groups {
        /// What is hashed, over the edge's columns.
        keys: Vec<Expression>,
        /// Into how many groups: a power of two, at most [`GROUPS_MAX`](crate::kernel::GROUPS_MAX).
        count: usize,
    },
    /// Every task gets every row.
    Broadcast,
    /// The consumer has one task, which gets every row.
    Gather,
}

impl EdgeKind {
    /// How many groups its rows stand in.
    pub fn group_count(&self) -> usize {
        match self {
            EdgeKind::Groups { count, .. } => *count,
            EdgeKind::Broadcast | EdgeKind::Gather => 1,
        }
    }
}

/// Operators fused between two breakers.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// Where morsels come from.
    pub source: SourceSpec,
    /// What is done to them, in order.
    pub transforms: Vec<TransformSpec>,
    /// Where they go.
    pub sink: (StateId, Role),
    /// The pipelines that must be complete before it starts.
    pub waits_for: Vec<PipelineId>,
}

/// Where a pipeline's morsels come from.
#[derive(Clone, Debug)]
pub enum SourceSpec {
    /// A table; of its rows those that may matter to each of these states.
    Scan(ScanSpec, Vec<KeyFilter>),
    /// Rows that stand in the plan.
    Values(SchemaRef, Vec<Batch>),
    /// Rows that an earlier job of this process has kept. Such a plan is not sent.
    Cached(Arc<Cached>),
    /// What a state holds once it is sealed: groups, sorted rows, a join's left-over build rows.
    State(StateId),
    /// What the tasks of earlier stages have sent over these edges, whose schemas agree.
    Exchange(SchemaRef, Vec<EdgeId>),
}

/// What a state knows of keys as a test of rows that are on their way to it: the keys of a hash join's build side, for which the pipeline waits;
/// the bound of the top-k in which the pipeline ends.
#[derive(Clone, Debug)]
pub struct KeyFilter {
    /// The hash join, or the top-k.
    pub state: StateId,
    /// Where each of its probe keys, or of its first keys, stands among the columns that the scan looks at.
    pub places: Vec<usize>,
}

/// What is done to morsels on their way.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "fields as the operators' own constructors have them")]
pub enum TransformSpec {
    Filter {
        conjuncts: Vec<Expression>,
        input: SchemaRef,
    },
    Project {
        expressions: Vec<Expression>,
        input: SchemaRef,
        output: SchemaRef,
    },
    /// Looks partners up in a join's sealed table.
    Probe(StateId),
    /// Makes the results of groups of what a partial grouping knows of them, each group once.
    Finish(AggregateSpec),
    MapBatches(Closure),
}

/// In which role a pipeline's end feeds a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The rows themselves go in.
    Fill,
    /// Probe rows mark their partners in a join's sealed table.
    Mark,
    /// The rows that a partitioned output has kept for later go in, in the order of their folders.
    Rest,
}

/// A closure over the rows of each key, as the operator's own spec has it.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "fields as the operator's own spec has them")]
pub struct MapGroupsSpec {
    pub part: Option<PartColumn>,
    pub keys: Vec<Expression>,
    pub order: Vec<SortKey>,
    pub input: SchemaRef,
    pub closure: Closure,
}

/// What pipelines share.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "fields as the operators' own constructors have them")]
pub enum StateSpec {
    Aggregate(AggregateSpec),
    HashJoin(HashJoinSpec),
    NestedLoopJoin(NestedLoopSpec),
    Sort(SortSpec),
    TopK(SortSpec),
    Window(WindowSpec),
    MapGroups(MapGroupsSpec),
    /// The first rows by position.
    Limit {
        skip: usize,
        fetch: usize,
    },
    /// The answer, in memory.
    Collect,
    /// Rows that several pipelines read.
    Share(SchemaRef),
    /// Rows that are kept for later jobs of this process. Such a plan is not sent.
    Cache(SchemaRef),
    /// Rows that go into several states, of which none is fed otherwise.
    Tee(Vec<StateId>),
    /// Rows that leave the stage over an edge.
    Exchange(EdgeId),
    /// A parameter's value.
    Scalar {
        number: usize,
    },
    /// Files.
    Write {
        target: Target,
        schema: SchemaRef,
        /// The rows come in an order, as morsels with places, and stand in one file in it.
        is_ordered: bool,
    },
}
