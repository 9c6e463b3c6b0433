//! The logical plan: what is asked for.
//!
//! In: `sql/` turns DataFusion's optimized plan into it once; `dataset/` builds it directly. Out: `rewrite/` then `lower/` read
//! it. Never: says how; no algorithm, no thread, no file handle.
//!
//! Expressions refer to the columns of their node's input by number; a join's filter and output refer to the left columns
//! followed by the right ones.

use std::sync::Arc;

use crate::{
    batch::{
        Batch,
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    expression::{AggregateCall, Expression, Literal, RankBound, SortKey, WindowCall},
    operator::{groups::PartColumn, share::Cached},
    plan::closures::Closure,
    scan::Table,
    sink::Target,
};

/// A node of the logical plan with the schema of what it gives.
#[derive(Clone, Debug)]
pub struct Logical {
    /// What it does.
    pub node: Node,
    /// The columns it gives.
    pub schema: SchemaRef,
}

/// The logical operators.
#[derive(Clone, Debug)]
pub enum Node {
    /// The rows of a table.
    Scan(Scan),
    /// Rows that stand in the plan.
    Values(Vec<Batch>),
    /// Rows that an earlier job of this process has kept.
    Cached(Arc<Cached>),
    /// The rows for which the predicate is true.
    Filter { input: Box<Logical>, predicate: Expression },
    /// One column per expression.
    Project { input: Box<Logical>, expressions: Vec<Expression> },
    /// One row per distinct key: the keys' columns, then one column per call. Without keys exactly one row.
    Aggregate { input: Box<Logical>, keys: Vec<Expression>, calls: Vec<AggregateCall> },
    /// One row per distinct key of each set: the keys' columns, NULL where they are not of the set, the set's number, then one column per
    /// call. The empty set gives exactly one row. No call counts each value once.
    GroupingSets { input: Box<Logical>, keys: Vec<Expression>, sets: Vec<GroupingSet>, calls: Vec<AggregateCall> },
    /// The input's columns, then one column per call: of the rows around each row. A partition is the rows with equal values of
    /// `partition`, NULLs equal to each other, in `order`, then by content. With `bound` only its first rows are given.
    Window {
        input: Box<Logical>,
        partition: Vec<Expression>,
        order: Vec<SortKey>,
        calls: Vec<WindowCall>,
        bound: Option<RankBound>,
    },
    /// Two inputs put together.
    Join(Join),
    /// A total order: by the keys, then by row content. With `fetch` only the first rows of it, after `skip`.
    Sort { input: Box<Logical>, keys: Vec<SortKey>, skip: usize, fetch: Option<usize> },
    /// The first rows by position over a scan, else by content.
    Limit { input: Box<Logical>, skip: usize, fetch: Option<usize> },
    /// All rows of all inputs, whose schemas agree in number and types.
    Union { inputs: Vec<Logical> },
    /// The user's closure over whole batches.
    MapBatches { input: Box<Logical>, closure: Closure },
    /// The user's closure over the rows of each key, which come in order. With a part the rows of one part are seen by one call, one group
    /// after the other.
    MapGroups {
        input: Box<Logical>,
        part: Option<PartColumn>,
        keys: Vec<Expression>,
        order: Vec<SortKey>,
        closure: Closure,
    },
    /// Writes its input to files.
    Write { input: Box<Logical>, target: Target },
    /// A scalar subquery's value becomes the parameter of this number before `input` uses it. The schema is `input`'s.
    WithParameter { input: Box<Logical>, number: usize, subquery: Box<Logical> },
    /// The rows of `input`, which is the same wherever this number stands. The schema is `input`'s.
    Shared { input: Box<Logical>, number: usize },
}

/// Some of the keys of [`Node::GroupingSets`].
#[derive(Clone, Debug)]
pub struct GroupingSet {
    /// Their places among the keys, ascending.
    pub keys: Vec<usize>,
    /// What tells its rows from those of other sets.
    pub number: Literal,
}

/// The rows of a table.
#[derive(Clone, Debug)]
pub struct Scan {
    /// Where the rows are.
    pub table: Arc<Table>,
    /// Which of the table's columns are given, in this order.
    pub columns: Vec<usize>,
    /// Conjuncts that every given row fulfils, over the *given* columns.
    pub filters: Vec<Expression>,
}

/// Two inputs put together.
#[derive(Clone, Debug)]
pub struct Join {
    /// Left input.
    pub left: Box<Logical>,
    /// Right input.
    pub right: Box<Logical>,
    /// What becomes of rows with and without a partner.
    pub kind: JoinKind,
    /// Pairs of expressions that must be equal: the first over the left columns, the second over the right ones (from 0).
    pub on: Vec<(Expression, Expression)>,
    /// A further condition for a pair to be partners, over left then right columns.
    pub filter: Option<Expression>,
    /// NULL keys are equal to each other.
    pub nulls_equal: bool,
    /// NOT IN: a NULL key on the right leaves nothing; a left row with a NULL key is dropped unless the right is empty.
    pub is_null_aware: bool,
}

/// The join types. Semi and anti joins give the columns of one side only; a mark join adds a boolean to the left ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the field's")]
pub enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
    LeftSemi,
    RightSemi,
    LeftAnti,
    RightAnti,
    LeftMark,
    RightMark,
}

impl Logical {
    /// The inputs of this node, in order.
    pub fn inputs(&self) -> Vec<&Logical> {
        match &self.node {
            Node::Scan(_) | Node::Values(_) | Node::Cached(_) => Vec::new(),
            Node::Filter { input, .. }
            | Node::Project { input, .. }
            | Node::Aggregate { input, .. }
            | Node::GroupingSets { input, .. }
            | Node::Window { input, .. }
            | Node::Sort { input, .. }
            | Node::Limit { input, .. }
            | Node::MapBatches { input, .. }
            | Node::MapGroups { input, .. }
            | Node::Shared { input, .. }
            | Node::Write { input, .. } => vec![input],
            Node::Join(join) => vec![&join.left, &join.right],
            Node::Union { inputs } => inputs.iter().collect(),
            Node::WithParameter { input, subquery, .. } => vec![input, subquery],
        }
    }

    /// The inputs of this node, in order, to be changed in place.
    pub fn inputs_mut(&mut self) -> Vec<&mut Logical> {
        match &mut self.node {
            Node::Scan(_) | Node::Values(_) | Node::Cached(_) => Vec::new(),
            Node::Filter { input, .. }
            | Node::Project { input, .. }
            | Node::Aggregate { input, .. }
            | Node::GroupingSets { input, .. }
            | Node::Window { input, .. }
            | Node::Sort { input, .. }
            | Node::Limit { input, .. }
            | Node::MapBatches { input, .. }
            | Node::MapGroups { input, .. }
            | Node::Shared { input, .. }
            | Node::Write { input, .. } => vec![input],
            Node::Join(join) => vec![&mut join.left, &mut join.right],
            Node::Union { inputs } => inputs.iter_mut().collect(),
            Node::WithParameter { input, subquery, .. } => vec![input, subquery],
        }
    }

    /// Its rows, written to files.
    pub fn written(self, target: Target) -> Logical {
        let schema = Arc::new(Schema::new(vec![Field::new("rows", DataType::Int64, false)]));
        let target = target.of_columns(&self.schema);
        Logical { node: Node::Write { input: Box::new(self), target }, schema }
    }

    /// The rows of no table: what a branch becomes when it is known to be empty.
    pub fn nothing(schema: SchemaRef) -> Logical {
        Logical { node: Node::Values(Vec::new()), schema }
    }

    /// Its rows, its columns named as in `schema` and cast to its types where they have others.
    pub fn with_types(self, schema: SchemaRef) -> Logical {
        let cast = |(place, (from, to)): (usize, (&Arc<Field>, &Arc<Field>))| {
            let column = Expression::Column(place);
            match from.data_type() == to.data_type() {
                true => column,
                false => Expression::Cast { input: Box::new(column), to: to.data_type().clone(), is_try: false },
            }
        };
        let expressions = self.schema.fields().iter().zip(schema.fields()).enumerate().map(cast).collect();
        Logical { node: Node::Project { input: Box::new(self), expressions }, schema }
    }

    /// `input` reduced to the columns of these numbers, names kept.
    pub fn select(input: Logical, columns: &[usize]) -> Logical {
        let schema = Arc::new(Schema::new(columns.iter().map(|c| input.schema.field(*c).clone()).collect::<Vec<_>>()));
        let expressions = columns.iter().map(|c| Expression::Column(*c)).collect();
        Logical { node: Node::Project { input: Box::new(input), expressions }, schema }
    }
}
