//! The same grouping in several places of a plan is done once.
//!
//! In: a plan. Out: the same plan in which equal groupings carry the same number. Never: takes two groupings for equal whose rows could differ:
//! user code runs once for each place in which it stands.

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

use crate::plan::logical::{Logical, Node};

pub(super) fn rewrite(mut plan: Logical) -> Logical {
    let mut seen = BTreeMap::new();
    count(&plan, &mut seen);
    seen.retain(|_, times| *times > 1);
    let numbers: BTreeMap<String, usize> = seen.into_keys().zip(0..).collect();
    if !numbers.is_empty() {
        share(&mut plan, &numbers);
    }
    plan
}

/// How often each grouping stands in the plan; what is inside of one that stands there several times is counted once.
fn count(plan: &Logical, seen: &mut BTreeMap<String, usize>) {
    if let Some(text) = text_of(plan) {
        let times = seen.entry(text).or_default();
        *times += 1;
        if *times > 1 {
            return;
        }
    }
    plan.inputs().into_iter().for_each(|input| count(input, seen));
}

fn share(plan: &mut Logical, numbers: &BTreeMap<String, usize>) {
    let number = text_of(plan).and_then(|text| numbers.get(&text).copied());
    plan.inputs_mut().into_iter().for_each(|input| share(input, numbers));
    if let Some(number) = number {
        let schema = Arc::clone(&plan.schema);
        let input = Box::new(std::mem::replace(plan, Logical::nothing(Arc::clone(&schema))));
        *plan = Logical { node: Node::Shared { input, number }, schema };
    }
}

/// A grouping as text that two have in common if and only if they are the same, over the same tables.
fn text_of(plan: &Logical) -> Option<String> {
    if !matches!(plan.node, Node::Aggregate { .. } | Node::GroupingSets { .. }) {
        return None;
    }
    let mut text = format!("{plan:?}");
    let mut waiting = vec![plan];
    while let Some(node) = waiting.pop() {
        match &node.node {
            // Of many values the text shows only some.
            Node::MapBatches { .. } | Node::MapGroups { .. } | Node::Write { .. } | Node::Values(_) => return None,
            // Tables of one name may be of different files.
            Node::Scan(scan) => write!(text, " {:?}", Arc::as_ptr(&scan.table)).ok()?,
            Node::Cached(rows) => write!(text, " {:?}", Arc::as_ptr(rows)).ok()?,
            _ => {}
        }
        waiting.extend(node.inputs());
    }
    Some(text)
}
