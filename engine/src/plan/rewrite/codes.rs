//! Columns of strings stay codes into their files' dictionaries, as long as all who use them are content with codes.
//!
//! In: a plan. Out: the same plan, whose scans give some columns as codes ([`Table::with_codes`](crate::scan::Table::with_codes)). Never: where
//! somebody would have to look the values up row by row: what is decoded in the scan costs less than what is looked up behind it.
//!
//! ```text
//!   content    a condition or an expression over this column alone: evaluated once a value
//!              a key of a grouping: groups are found by code
//!   passes on  filter, projection, limit, the probe side of a join
//!   not        everything else
//! ```

use std::collections::BTreeSet;

use crate::{
    batch::datatypes::Schema,
    expression::{AggregateCall, Expression, can_fail},
    plan::{
        logical::{Join, JoinKind, Logical, Node},
        lower::builds_left,
    },
};

pub(super) fn rewrite(mut plan: Logical) -> Logical {
    choose(&mut plan, Vec::new());
    plan
}

/// `wanted`: by column that the plan gives, whether whoever takes it is content with codes; none where it is missing.
fn choose(plan: &mut Logical, mut wanted: Vec<bool>) {
    wanted.resize(plan.schema.fields().len(), false);
    match &mut plan.node {
        Node::Scan(scan) => {
            scan.filters.iter().for_each(|filter| read_by(filter, &plan.schema, &mut wanted));
            let columns = scan.columns.iter().zip(&wanted).filter(|(_, wanted)| **wanted).map(|(column, _)| *column);
            let codes: BTreeSet<usize> = columns.filter(|column| scan.table.has_codes(*column)).collect();
            let codes: Vec<usize> = codes.into_iter().collect();
            if !codes.is_empty()
                && let Ok(table) = scan.table.with_codes(&codes)
            {
                scan.table = table;
            }
        }
        Node::Filter { input, predicate } => {
            read_by(predicate, &input.schema, &mut wanted);
            choose(input, wanted);
        }
        Node::Project { input, expressions } => {
            let mut of_input = vec![true; input.schema.fields().len()];
            for (expression, wanted) in expressions.iter().zip(wanted) {
                match expression.is_column() {
                    Some(column) => of_input[column] &= wanted,
                    None => read_by(expression, &input.schema, &mut of_input),
                }
            }
            choose(input, of_input);
        }
        Node::Aggregate { input, keys, calls } => {
            let mut of_input = vec![true; input.schema.fields().len()];
            let keys = keys.iter().filter(|key| key.is_column().is_none());
            keys.for_each(|key| read_by(key, &input.schema, &mut of_input));
            for AggregateCall { arguments, filter, order, .. } in calls {
                let order = order.iter().map(|key| &key.expression);
                let read = arguments.iter().chain(filter.as_ref()).chain(order);
                read.for_each(|expression| read_by(expression, &input.schema, &mut of_input));
            }
            choose(input, of_input);
        }
        Node::Limit { input, .. } => choose(input, wanted),
        Node::WithParameter { input, subquery, .. } => {
            choose(input, wanted);
            choose(subquery, Vec::new());
        }
        Node::Join(join) => choose_of_join(join, &wanted),
        Node::Window { input, .. }
        | Node::GroupingSets { input, .. }
        | Node::Sort { input, .. }
        | Node::MapBatches { input, .. }
        | Node::MapGroups { input, .. }
        | Node::Write { input, .. }
        | Node::Shared { input, .. } => choose(input, Vec::new()),
        Node::Union { inputs } => inputs.iter_mut().for_each(|input| choose(input, Vec::new())),
        Node::Values(_) | Node::Cached(_) => {}
    }
}

/// The side that is built is put together from many batches, each with a dictionary of its own.
fn choose_of_join(join: &mut Join, wanted: &[bool]) {
    use JoinKind as K;
    let builds_left = builds_left(join);
    let left_count = join.left.schema.fields().len();
    // Rows without a partner, too, have columns of the probe side; a join by no keys repeats each row.
    let passes = !matches!(join.kind, K::Left | K::Right | K::Full) && !join.on.is_empty() && !join.is_null_aware;
    let probe = if builds_left { &join.right } else { &join.left };
    let mut of_probe = vec![passes; probe.schema.fields().len()];
    let given = match (join.kind, builds_left) {
        (K::Inner, true) => &wanted[left_count..],
        (K::Inner, false) | (K::LeftSemi | K::LeftAnti | K::LeftMark, false) => wanted,
        (K::RightSemi | K::RightAnti | K::RightMark, true) => wanted,
        _ => &[],
    };
    of_probe.iter_mut().zip(given).for_each(|(of_probe, wanted)| *of_probe &= wanted);
    let mut used = BTreeSet::new();
    join.filter.iter().for_each(|filter| filter.columns_used(&mut used));
    let in_probe = |column: usize| if builds_left { column.checked_sub(left_count) } else { Some(column) };
    let mut used: BTreeSet<usize> = used.into_iter().filter_map(in_probe).collect();
    let keys = join.on.iter().map(|(left, right)| if builds_left { right } else { left });
    keys.for_each(|key| key.columns_used(&mut used));
    for column in used {
        if let Some(of_probe) = of_probe.get_mut(column) {
            *of_probe = false;
        }
    }
    let (build, probe) = match builds_left {
        true => (&mut join.left, &mut join.right),
        false => (&mut join.right, &mut join.left),
    };
    choose(probe, of_probe);
    choose(build, Vec::new());
}

/// Takes back that codes are wanted of columns that the expression reads otherwise than once a value.
fn read_by(expression: &Expression, schema: &Schema, wanted: &mut [bool]) {
    if let Some(column) = expression.is_column() {
        wanted[column] = false;
        return;
    }
    let mut used = BTreeSet::new();
    expression.columns_used(&mut used);
    if used.len() > 1 || can_fail(expression, schema) {
        expression.children().into_iter().for_each(|child| read_by(child, schema, wanted));
    }
}
