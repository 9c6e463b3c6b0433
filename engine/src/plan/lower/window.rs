//! Window: a breaker; each task has all rows of its partitions. Where only the first rows of each partition are wanted, a task sends no others.

use std::sync::Arc;

use super::{Flow, Lowering, Spread};
use crate::{
    batch::datatypes::Schema,
    error::{Result, bug},
    expression::{Expression, RankBound},
    operator::window::WindowSpec,
    plan::{
        logical::{Logical, Node},
        physical::StateSpec,
    },
};

pub(super) fn lower(lowering: &mut Lowering, window: &Logical) -> Result<Flow> {
    let Logical { node: Node::Window { input, partition, order, calls, bound }, schema } = window else {
        return Err(bug("plan", "a window that is none"));
    };
    let flow = lowering.in_any_order(input)?;
    let spec = WindowSpec {
        partition: partition.clone(),
        order: order.clone(),
        calls: calls.clone(),
        bound: *bound,
        input: Arc::clone(&flow.schema),
        output: Arc::clone(schema),
    };
    let stands_right = match &flow.spread {
        Spread::Not => true,
        Spread::Anyhow => false,
        Spread::By(spread_by) => spread_by.iter().all(|key| partition.contains(key)),
    };
    let flow = if stands_right {
        flow
    } else {
        let flow = match bound {
            Some(bound) => first_of_tasks(lowering, flow, &spec, *bound)?,
            None => flow,
        };
        if partition.is_empty() { lowering.gathered(flow)? } else { lowering.shuffled(flow, partition.clone())? }
    };
    // The input's columns keep their places.
    let spread = flow.spread.clone();
    lowering.break_at(flow, &StateSpec::Window(spec), Arc::clone(schema), spread)
}

/// Of each task's rows those that come first among its own: the others have as many before them in all.
fn first_of_tasks(lowering: &mut Lowering, flow: Flow, window: &WindowSpec, bound: RankBound) -> Result<Flow> {
    let (input, spread) = (Arc::clone(&flow.schema), flow.spread.clone());
    let count = input.fields().len();
    let rank = window.output.fields().get(count + bound.call).ok_or_else(|| bug("plan", "a bound without its call"))?;
    let fields: Vec<_> = input.fields().iter().chain([rank]).cloned().collect();
    let output = Arc::new(Schema::new(fields));
    let spec = WindowSpec {
        calls: vec![window.calls[bound.call].clone()],
        bound: Some(RankBound { call: 0, ..bound }),
        output: Arc::clone(&output),
        ..window.clone()
    };
    let mut flow = lowering.break_at(flow, &StateSpec::Window(spec), output, spread)?;
    flow.project((0..count).map(Expression::Column).collect(), &input);
    Ok(flow)
}
