//! A selective semi join goes to the relation whose rows it tests, before that relation is joined.
//!
//! In: a left semi join over a tree of inner joins. Out: the same rows; the semi join stands below the joins that it does not need. Never:
//! moves one whose right side is not clearly smaller than the relation it would reduce: tested later, fewer rows are tested.
//!
//! A semi join keeps or drops a left row by that row's own columns alone, so it commutes with filters, column choices and inner joins.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    expression::Expression,
    plan::{
        logical::{Join, JoinKind, Logical, Node},
        statistics::estimate,
    },
};

/// The right side must be expected to have less than this share of the relation's rows.
const SHARE_MAX: f64 = 0.5;

pub(super) fn rewrite(mut plan: Logical) -> Logical {
    for input in plan.inputs_mut() {
        let taken = std::mem::replace(input, Logical::nothing(Arc::clone(&input.schema)));
        *input = rewrite(taken);
    }
    match plan.node {
        Node::Join(join) if join.kind == JoinKind::LeftSemi && reduces(&join) => {
            let Join { left, right, on, filter, nulls_equal, .. } = join;
            push(*left, Test { right: *right, on, filter, nulls_equal })
        }
        node => Logical { node, schema: plan.schema },
    }
}

/// What a semi join tests of a left row; `on` and `filter` as in [`Join`].
struct Test {
    right: Logical,
    on: Vec<(Expression, Expression)>,
    filter: Option<Expression>,
    nulls_equal: bool,
}

/// Would it go below a join, to a relation that it makes clearly smaller?
fn reduces(join: &Join) -> bool {
    let left_count = join.left.schema.fields().len();
    let used = left_columns(&join.on, &join.filter, left_count);
    match target(&join.left, used) {
        Some(relation) => estimate(&join.right).rows < estimate(relation).rows * SHARE_MAX,
        None => false,
    }
}

/// The relation below at least one inner join that gives all of `columns`.
fn target(plan: &Logical, columns: BTreeSet<usize>) -> Option<&Logical> {
    match &plan.node {
        Node::Filter { input, .. } => target(input, columns),
        Node::Project { input, expressions } => {
            let below = columns.iter().map(|column| expressions[*column].is_column()).collect::<Option<_>>()?;
            target(input, below)
        }
        Node::Join(join) if join.kind == JoinKind::Inner => {
            let left_count = join.left.schema.fields().len();
            let (side, columns) = if columns.iter().all(|column| *column < left_count) {
                (&join.left, columns)
            } else if columns.iter().all(|column| *column >= left_count) {
                (&join.right, columns.iter().map(|column| column - left_count).collect())
            } else {
                return None;
            };
            Some(target(side, columns).unwrap_or(side))
        }
        _ => None,
    }
}

/// `plan` with the test as deep in it as it goes.
fn push(plan: Logical, mut test: Test) -> Logical {
    let Logical { node, schema } = plan;
    let count = schema.fields().len();
    let used = left_columns(&test.on, &test.filter, count);
    let node = match node {
        Node::Filter { input, predicate } => Node::Filter { input: Box::new(push(*input, test)), predicate },
        Node::Project { input, expressions }
            if used.iter().all(|column| expressions[*column].is_column().is_some()) =>
        {
            let below = |column: usize| expressions[column].is_column().unwrap_or(column);
            test.renumber(count, input.schema.fields().len(), &below);
            Node::Project { input: Box::new(push(*input, test)), expressions }
        }
        Node::Join(mut join) if join.kind == JoinKind::Inner => {
            let (left_count, right_count) = (join.left.schema.fields().len(), join.right.schema.fields().len());
            if used.iter().all(|column| *column < left_count) {
                test.renumber(count, left_count, &|column| column);
                join.left = Box::new(push(*join.left, test));
            } else if used.iter().all(|column| *column >= left_count) {
                test.renumber(count, right_count, &|column| column - left_count);
                join.right = Box::new(push(*join.right, test));
            } else {
                return test.over(Logical { node: Node::Join(join), schema });
            }
            Node::Join(join)
        }
        node => return test.over(Logical { node, schema }),
    };
    Logical { node, schema }
}

impl Test {
    /// The semi join of `left` by this test.
    fn over(self, left: Logical) -> Logical {
        let schema = Arc::clone(&left.schema);
        let Test { right, on, filter, nulls_equal } = self;
        let (left, right) = (Box::new(left), Box::new(right));
        let kind = JoinKind::LeftSemi;
        let node = Node::Join(Join { left, right, kind, on, filter, nulls_equal, is_null_aware: false });
        Logical { node, schema }
    }

    /// Left columns get the numbers `below`; the right ones stand after `after` left columns instead of `before`.
    fn renumber(&mut self, before: usize, after: usize, below: &dyn Fn(usize) -> usize) {
        for (left, _) in &mut self.on {
            left.map_columns(below);
        }
        if let Some(filter) = &mut self.filter {
            filter.map_columns(&|column| if column < before { below(column) } else { column - before + after });
        }
    }
}

/// The left columns that the test looks at.
fn left_columns(on: &[(Expression, Expression)], filter: &Option<Expression>, left_count: usize) -> BTreeSet<usize> {
    let mut used = BTreeSet::new();
    filter.iter().for_each(|filter| filter.columns_used(&mut used));
    used.retain(|column| *column < left_count);
    on.iter().for_each(|(left, _)| left.columns_used(&mut used));
    used
}
