//! Aggregates by name, for the binder.
//!
//! In: a name as SQL writes it. Out: DataFusion's description of the aggregate: its argument and result types. Never: its
//! accumulators; `operator/aggregate` computes.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use datafusion_expr::AggregateUDF;

use crate::expression::functions::scalar_names;

/// The aggregate of this name.
pub(super) fn aggregate(name: &str) -> Option<&'static Arc<AggregateUDF>> {
    registry().get(name)
}

/// The names of all aggregates, aliases included, in order.
pub(super) fn aggregate_names() -> impl Iterator<Item = &'static str> {
    registry().keys().map(String::as_str)
}

/// The names of everything that can be called.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    scalar_names().chain(aggregate_names())
}

fn registry() -> &'static BTreeMap<String, Arc<AggregateUDF>> {
    static REGISTRY: OnceLock<BTreeMap<String, Arc<AggregateUDF>>> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let mut registry = BTreeMap::new();
        for function in datafusion_functions_aggregate::all_default_aggregate_functions() {
            for name in std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str)) {
                registry.insert(name.to_lowercase(), Arc::clone(&function));
            }
        }
        registry
    })
}
