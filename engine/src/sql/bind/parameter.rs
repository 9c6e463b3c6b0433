//! Scalar subqueries: each is computed once, before the rows that use it.
//!
//! In: the bound statement and the subqueries that its expressions asked for. Out: the statement under one
//! [`Node::WithParameter`] per subquery, those that others need outermost. Never: two parameters for one subquery.
//!
//! ```text
//!   with parameter 1 = (select max(x) from t)                      evaluated first
//!     with parameter 0 = (select avg(y) from u where y < $1)       may read $1
//!       the statement, reading $0 and $1
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::binder::{Binder, over};
use crate::{
    error::{Result, bug},
    expression::WindowCall,
    plan::logical::{Logical, Node},
};

impl Binder<'_> {
    /// `root` under the subqueries it needs.
    pub(super) fn with_parameters(&mut self, root: Logical) -> Result<Logical> {
        // Binding a subquery may find further ones, which get the next numbers.
        let mut bound = BTreeMap::new();
        while let Some(plan) = self.subqueries.plan(bound.len()).map(Arc::clone) {
            let number = bound.len();
            bound.insert(number, self.plan(&plan)?);
        }
        let mut order = Vec::with_capacity(bound.len());
        let mut placed = BTreeSet::new();
        for number in bound.keys() {
            place(*number, &bound, &mut placed, &mut order);
        }
        let mut plan = root;
        for number in order.into_iter().rev() {
            let Some(subquery) = bound.remove(&number) else {
                return Err(bug("sql", format!("the subquery of parameter ${number} is not bound")));
            };
            let schema = Arc::clone(&plan.schema);
            plan = over(plan, schema, |input| Node::WithParameter { input, number, subquery: Box::new(subquery) });
        }
        Ok(plan)
    }
}

/// Puts `number` into `order`, after the parameters its subquery reads. There is no circle: a subquery stands inside its user.
fn place(number: usize, bound: &BTreeMap<usize, Logical>, placed: &mut BTreeSet<usize>, order: &mut Vec<usize>) {
    if !placed.insert(number) {
        return;
    }
    let mut read = BTreeSet::new();
    if let Some(subquery) = bound.get(&number) {
        parameters_of(subquery, &mut read);
    }
    for needed in read {
        place(needed, bound, placed, order);
    }
    order.push(number);
}

/// The parameters that the expressions of a plan read.
fn parameters_of(plan: &Logical, read: &mut BTreeSet<usize>) {
    match &plan.node {
        Node::Scan(scan) => scan.filters.iter().for_each(|filter| filter.parameters_used(read)),
        Node::Filter { predicate, .. } => predicate.parameters_used(read),
        Node::Project { expressions, .. } => expressions.iter().for_each(|expression| expression.parameters_used(read)),
        Node::Aggregate { keys, calls, .. } | Node::GroupingSets { keys, calls, .. } => {
            keys.iter().for_each(|key| key.parameters_used(read));
            for call in calls {
                call.arguments.iter().chain(&call.filter).for_each(|argument| argument.parameters_used(read));
            }
        }
        Node::Join(join) => {
            join.on.iter().flat_map(|(left, right)| [left, right]).for_each(|side| side.parameters_used(read));
            join.filter.iter().for_each(|filter| filter.parameters_used(read));
        }
        Node::Sort { keys, .. } => keys.iter().for_each(|key| key.expression.parameters_used(read)),
        Node::Window { partition, order, calls, .. } => {
            let order = order.iter().map(|key| &key.expression);
            let of_calls = calls.iter().flat_map(WindowCall::expressions);
            partition.iter().chain(order).chain(of_calls).for_each(|expression| expression.parameters_used(read));
        }
        Node::MapGroups { keys, order, .. } => {
            let order = order.iter().map(|key| &key.expression);
            keys.iter().chain(order).for_each(|expression| expression.parameters_used(read));
        }
        Node::Values(_)
        | Node::Cached(_)
        | Node::Limit { .. }
        | Node::Union { .. }
        | Node::MapBatches { .. }
        | Node::Write { .. }
        | Node::WithParameter { .. }
        | Node::Shared { .. } => {}
    }
    for input in plan.inputs() {
        parameters_of(input, read);
    }
}
