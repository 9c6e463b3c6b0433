//! Distinct values of several columns, without keys, are counted apart: each by a grouping of its own.
//!
//! In: `count(distinct a), count(distinct b), sum(c)` of one group. Out: three flows of one row each, side by side; that of a distinct one is a
//! grouping by its values, whose groups are spilled where memory is short, under an aggregate of those. Never: where what is read twice then is
//! more than a scan, filters and projections.
//!
//! ```text
//!   aggregate []: count(distinct a), sum(c)   ─►   aggregate []: count(a) ─ aggregate [a] ─┐
//!     scan                                         aggregate []: sum(c) ─ scan             └ scan
//! ```

use std::sync::Arc;

use crate::{
    batch::datatypes::{Field, Schema, SchemaRef},
    expression::{AggregateCall, Expression},
    plan::logical::{Join, JoinKind, Logical, Node},
};

pub(super) fn rewrite(mut plan: Logical) -> Logical {
    for input in plan.inputs_mut() {
        let taken = std::mem::replace(input, Logical::nothing(Arc::clone(&input.schema)));
        *input = rewrite(taken);
    }
    match plan.node {
        Node::Aggregate { input, keys, calls } if keys.is_empty() && is_known(&calls) && is_cheap(&input) => {
            split(*input, calls, plan.schema)
        }
        node => Logical { node, schema: plan.schema },
    }
}

/// Some call is of distinct values, and all are such as can be split.
fn is_known(calls: &[AggregateCall]) -> bool {
    let is_known = |call: &AggregateCall| call.order.is_empty() && (!call.is_distinct || call.arguments.len() == 1);
    calls.iter().any(|call| call.is_distinct) && calls.iter().all(is_known)
}

/// Rows that can be read again for little.
fn is_cheap(input: &Logical) -> bool {
    match &input.node {
        Node::Scan(_) | Node::Values(_) => true,
        Node::Filter { input, .. } | Node::Project { input, .. } => is_cheap(input),
        _ => false,
    }
}

/// Calls that are computed together, and the places of their results.
struct Part {
    calls: Vec<AggregateCall>,
    places: Vec<usize>,
}

fn split(input: Logical, calls: Vec<AggregateCall>, schema: SchemaRef) -> Logical {
    let (mut parts, mut order): (Vec<Part>, _) = (Vec::new(), vec![0; calls.len()]);
    for (place, call) in calls.into_iter().enumerate() {
        let is_alike = |part: &&mut Part| {
            let first = &part.calls[0];
            let same_values = first.arguments == call.arguments && first.filter == call.filter;
            first.is_distinct == call.is_distinct && (!call.is_distinct || same_values)
        };
        match parts.iter_mut().find(is_alike) {
            Some(part) => {
                part.calls.push(call);
                part.places.push(place);
            }
            None => parts.push(Part { calls: vec![call], places: vec![place] }),
        }
    }
    let places = parts.iter().flat_map(|part| part.places.iter());
    places.enumerate().for_each(|(found, place)| order[*place] = found);
    let flows = parts.into_iter().map(|part| {
        let fields = part.places.iter().map(|place| Arc::clone(&schema.fields()[*place])).collect::<Vec<_>>();
        part_of(input.clone(), part.calls, Schema::new(fields))
    });
    let Some(flow) = flows.reduce(beside) else { return Logical::nothing(schema) };
    let expressions = order.into_iter().map(Expression::Column).collect();
    Logical { node: Node::Project { input: Box::new(flow), expressions }, schema }
}

/// The one row of calls that are computed together.
fn part_of(input: Logical, mut calls: Vec<AggregateCall>, schema: Schema) -> Logical {
    let (mut input, first) = (input, &calls[0]);
    if first.is_distinct {
        if let Some(predicate) = first.filter.clone() {
            let schema = Arc::clone(&input.schema);
            input = Logical { node: Node::Filter { input: Box::new(input), predicate }, schema };
        }
        let keys = first.arguments.clone();
        // The type of its values is known where it was bound.
        let data_type = keys.first().and_then(|key| key.data_type(&input.schema).ok());
        let fields = data_type.into_iter().map(|data_type| Field::new("value", data_type, true));
        let values = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        input = Logical { node: Node::Aggregate { input: Box::new(input), keys, calls: Vec::new() }, schema: values };
        for call in &mut calls {
            call.arguments = vec![Expression::Column(0)];
            call.filter = None;
            call.is_distinct = false;
        }
    }
    Logical { node: Node::Aggregate { input: Box::new(input), keys: Vec::new(), calls }, schema: Arc::new(schema) }
}

/// Two flows of one row as one.
fn beside(left: Logical, right: Logical) -> Logical {
    let fields = left.schema.fields().iter().chain(right.schema.fields()).cloned().collect::<Vec<_>>();
    let schema = Arc::new(Schema::new(fields));
    let (left, right, kind) = (Box::new(left), Box::new(right), JoinKind::Inner);
    let join = Join { left, right, kind, on: Vec::new(), filter: None, nulls_equal: false, is_null_aware: false };
    Logical { node: Node::Join(join), schema }
}
