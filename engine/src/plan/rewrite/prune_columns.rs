//! No node gives a column that nobody uses.
//!
//! In: a plan. Out: the same plan whose scans, joins, projections and groupings give only the columns that are used above them. Never:
//! changes the columns of the plan's root.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    batch::datatypes::{Schema, SchemaRef},
    expression::{AggregateCall, Expression, WindowCall},
    plan::logical::{Join, JoinKind, Logical, Node, Scan},
};

pub(super) fn rewrite(plan: Logical) -> Logical {
    let all: Vec<usize> = (0..plan.schema.fields().len()).collect();
    let names = Arc::clone(&plan.schema);
    let mut pruned = prune(plan, &all);
    if pruned.schema != names {
        pruned.schema = names;
    }
    pruned
}

/// The plan with just these of its columns, in this order.
fn prune(plan: Logical, wanted: &[usize]) -> Logical {
    let Logical { node, schema } = plan;
    let field = |columns: &[usize]| {
        Arc::new(Schema::new(columns.iter().map(|column| schema.field(*column).clone()).collect::<Vec<_>>()))
    };
    match node {
        Node::Scan(scan) => {
            let needed = with_used(wanted, &scan.filters);
            let columns = needed.iter().map(|column| scan.columns[*column]).collect();
            let filters = renumbered(scan.filters, &needed);
            let scan =
                Logical { node: Node::Scan(Scan { table: scan.table, columns, filters }), schema: field(&needed) };
            choose(scan, &needed, wanted)
        }
        Node::Project { input, expressions } => {
            let expressions: Vec<Expression> = wanted.iter().map(|column| expressions[*column].clone()).collect();
            let needed = with_used(&[], &expressions);
            let input = Box::new(prune(*input, &needed));
            let expressions = renumbered(expressions, &needed);
            Logical { node: Node::Project { input, expressions }, schema: field(wanted) }
        }
        Node::Filter { input, predicate } => {
            let needed = with_used(wanted, std::slice::from_ref(&predicate));
            let input = Box::new(prune(*input, &needed));
            let given = Arc::clone(&input.schema);
            let predicate = renumbered_one(predicate, &needed);
            choose(Logical { node: Node::Filter { input, predicate }, schema: given }, &needed, wanted)
        }
        Node::Aggregate { input, keys, calls } => {
            let (input, keys, calls, kept) = prune_grouping(*input, keys, calls, (0, &schema), wanted);
            choose(Logical { node: Node::Aggregate { input, keys, calls }, schema: field(&kept) }, &kept, wanted)
        }
        Node::GroupingSets { input, keys, sets, calls } => {
            let (input, keys, calls, kept) = prune_grouping(*input, keys, calls, (1, &schema), wanted);
            let node = Node::GroupingSets { input, keys, sets, calls };
            choose(Logical { node, schema: field(&kept) }, &kept, wanted)
        }
        Node::Window { .. } => prune_window(node, &schema, wanted),
        Node::Join(join) => prune_join(join, &schema, wanted),
        Node::Union { inputs } => {
            let inputs = inputs.into_iter().map(|input| prune(input, wanted)).collect();
            Logical { node: Node::Union { inputs }, schema: field(wanted) }
        }
        Node::WithParameter { input, number, subquery } => {
            let input = Box::new(prune(*input, wanted));
            let subquery = Box::new(rewrite(*subquery));
            let schema = Arc::clone(&input.schema);
            Logical { node: Node::WithParameter { input, number, subquery }, schema }
        }
        Node::Shared { input, .. } => prune(*input, wanted),
        // Ties and limits go by all columns of a row, so none may go before them.
        Node::Sort { input, keys, skip, fetch } => {
            let node = Node::Sort { input: Box::new(prune_all(*input)), keys, skip, fetch };
            choose_of(Logical { node, schema }, wanted)
        }
        Node::Limit { input, skip, fetch } => {
            choose_of(Logical { node: Node::Limit { input: Box::new(prune_all(*input)), skip, fetch }, schema }, wanted)
        }
        Node::MapBatches { input, closure } => choose_of(
            Logical { node: Node::MapBatches { input: Box::new(prune_all(*input)), closure }, schema },
            wanted,
        ),
        Node::MapGroups { input, part, keys, order, closure } => {
            let node = Node::MapGroups { input: Box::new(prune_all(*input)), part, keys, order, closure };
            choose_of(Logical { node, schema }, wanted)
        }
        Node::Write { input, target } => {
            choose_of(Logical { node: Node::Write { input: Box::new(prune_all(*input)), target }, schema }, wanted)
        }
        Node::Cached(rows) => choose_of(Logical { node: Node::Cached(rows), schema }, wanted),
        Node::Values(batches) => choose_of(Logical { node: Node::Values(batches), schema }, wanted),
    }
}

/// The input, keys and calls of a grouping of whose columns only some are wanted, and which it gives then: all keys, the `between` columns that
/// stand between keys and calls, and those calls.
fn prune_grouping(
    input: Logical,
    keys: Vec<Expression>,
    mut calls: Vec<AggregateCall>,
    (between, schema): (usize, &SchemaRef),
    wanted: &[usize],
) -> (Box<Logical>, Vec<Expression>, Vec<AggregateCall>, Vec<usize>) {
    let first_call = keys.len() + between;
    let kept_calls = (first_call..schema.fields().len()).filter(|column| wanted.contains(column));
    let kept: Vec<usize> = (0..first_call).chain(kept_calls).collect();
    calls = kept[first_call..].iter().map(|column| calls[column - first_call].clone()).collect();
    let mut used = keys.clone();
    for call in &calls {
        used.extend(call.arguments.iter().chain(&call.filter).cloned());
        used.extend(call.order.iter().map(|key| key.expression.clone()));
    }
    let needed = with_used(&[], &used);
    let input = Box::new(prune(input, &needed));
    let keys = renumbered(keys, &needed);
    for call in &mut calls {
        call.arguments = renumbered(std::mem::take(&mut call.arguments), &needed);
        call.filter = call.filter.take().map(|filter| renumbered_one(filter, &needed));
        for key in &mut call.order {
            key.expression = renumbered_one(key.expression.clone(), &needed);
        }
    }
    (input, keys, calls, kept)
}

/// A window's own columns stand behind those of its input. Where no order is asked for, ties go by the columns that are left.
fn prune_window(node: Node, schema: &SchemaRef, wanted: &[usize]) -> Logical {
    let Node::Window { input, mut partition, mut order, calls, mut bound } = node else {
        return Logical { node, schema: Arc::clone(schema) };
    };
    let input_count = input.schema.fields().len();
    let bounds = |call: usize| bound.is_some_and(|bound| bound.call == call);
    let kept_calls: Vec<usize> =
        (0..calls.len()).filter(|call| bounds(*call) || wanted.contains(&(input_count + call))).collect();
    if let Some(bound) = &mut bound {
        bound.call = kept_calls.partition_point(|call| *call < bound.call);
    }
    let mut calls: Vec<WindowCall> = kept_calls.iter().map(|call| calls[*call].clone()).collect();
    let mut used: Vec<Expression> = partition.clone();
    used.extend(order.iter().map(|key| key.expression.clone()));
    used.extend(calls.iter().flat_map(WindowCall::expressions).cloned());
    let of_input: Vec<usize> = wanted.iter().copied().filter(|column| *column < input_count).collect();
    let needed = with_used(&of_input, &used);
    if calls.is_empty() {
        let input = prune(*input, &needed);
        return choose(input, &needed, wanted);
    }
    let expressions = partition.iter_mut().chain(order.iter_mut().map(|key| &mut key.expression));
    for expression in expressions.chain(calls.iter_mut().flat_map(WindowCall::expressions_mut)) {
        expression.map_columns(&|column| needed.partition_point(|c| *c < column));
    }
    let input = Box::new(prune(*input, &needed));
    let kept: Vec<usize> = needed.iter().copied().chain(kept_calls.iter().map(|call| input_count + call)).collect();
    let given = Arc::new(Schema::new(kept.iter().map(|column| schema.field(*column).clone()).collect::<Vec<_>>()));
    choose(Logical { node: Node::Window { input, partition, order, calls, bound }, schema: given }, &kept, wanted)
}

fn prune_join(join: Join, schema: &Schema, wanted: &[usize]) -> Logical {
    let left_count = join.left.schema.fields().len();
    let right_count = join.right.schema.fields().len();
    // The join's own columns in terms of left then right.
    let origin = |column: usize| match join.kind {
        JoinKind::RightSemi | JoinKind::RightAnti | JoinKind::RightMark => left_count + column,
        JoinKind::LeftMark if column == left_count => usize::MAX,
        _ => column,
    };
    let is_mark = |column: usize| match join.kind {
        JoinKind::LeftMark => column == left_count,
        JoinKind::RightMark => column == right_count,
        _ => false,
    };
    let (mut left, mut right) = (BTreeSet::new(), BTreeSet::new());
    let mut need = |column: usize| {
        if column < left_count {
            left.insert(column)
        } else {
            right.insert(column - left_count)
        };
    };
    wanted.iter().filter(|column| !is_mark(**column)).for_each(|column| need(origin(*column)));
    let mut in_filter = BTreeSet::new();
    join.filter.iter().for_each(|filter| filter.columns_used(&mut in_filter));
    in_filter.into_iter().for_each(need);
    for (a, b) in &join.on {
        a.columns_used(&mut left);
        b.columns_used(&mut right);
    }
    let (left, right): (Vec<usize>, Vec<usize>) = (left.into_iter().collect(), right.into_iter().collect());
    let place = |column: usize| {
        if column < left_count {
            left.partition_point(|c| *c < column)
        } else {
            left.len() + right.partition_point(|c| *c < column - left_count)
        }
    };
    let mut filter = join.filter.clone();
    filter.iter_mut().for_each(|filter| filter.map_columns(&place));
    let on =
        join.on.iter().map(|(a, b)| (renumbered_one(a.clone(), &left), renumbered_one(b.clone(), &right))).collect();
    // The columns that the pruned join gives, by their numbers before.
    let all = 0..schema.fields().len();
    let kept: Vec<usize> = all
        .filter(|column| {
            is_mark(*column) || {
                let origin = origin(*column);
                if origin < left_count { left.contains(&origin) } else { right.contains(&(origin - left_count)) }
            }
        })
        .collect();
    let given = Arc::new(Schema::new(kept.iter().map(|column| schema.field(*column).clone()).collect::<Vec<_>>()));
    let Join { left: left_input, right: right_input, kind, nulls_equal, is_null_aware, .. } = join;
    let node = Node::Join(Join {
        left: Box::new(prune(*left_input, &left)),
        right: Box::new(prune(*right_input, &right)),
        kind,
        on,
        filter,
        nulls_equal,
        is_null_aware,
    });
    choose(Logical { node, schema: given }, &kept, wanted)
}

fn prune_all(plan: Logical) -> Logical {
    let all: Vec<usize> = (0..plan.schema.fields().len()).collect();
    prune(plan, &all)
}

/// `wanted` and the columns that `expressions` use, in ascending order.
fn with_used(wanted: &[usize], expressions: &[Expression]) -> Vec<usize> {
    let mut needed: BTreeSet<usize> = wanted.iter().copied().collect();
    expressions.iter().for_each(|expression| expression.columns_used(&mut needed));
    needed.into_iter().collect()
}

fn renumbered(expressions: Vec<Expression>, needed: &[usize]) -> Vec<Expression> {
    expressions.into_iter().map(|expression| renumbered_one(expression, needed)).collect()
}

fn renumbered_one(mut expression: Expression, needed: &[usize]) -> Expression {
    expression.map_columns(&|column| needed.partition_point(|c| *c < column));
    expression
}

/// `plan`, which gives the columns `given`, reduced to `wanted`.
fn choose(plan: Logical, given: &[usize], wanted: &[usize]) -> Logical {
    if given == wanted {
        return plan;
    }
    let columns: Vec<usize> = wanted.iter().map(|column| given.partition_point(|c| c < column)).collect();
    Logical::select(plan, &columns)
}

fn choose_of(plan: Logical, wanted: &[usize]) -> Logical {
    let all: Vec<usize> = (0..plan.schema.fields().len()).collect();
    choose(plan, &all, wanted)
}
