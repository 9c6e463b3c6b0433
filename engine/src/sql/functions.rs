//! Aggregates and window functions by name, for the binder.
//!
//! In: a name as SQL writes it. Out: DataFusion's description of the function: its argument and result types. Never: its
//! accumulators; `operator/aggregate` and `operator/window` compute.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use datafusion_expr::{AggregateUDF, WindowUDF};

use crate::expression::functions::scalar_names;

/// The aggregate of this name.
pub(super) fn aggregate(name: &str) -> Option<&'static Arc<AggregateUDF>> {
    registry().get(name)
}

/// The names of all aggregates, aliases included, in order.
pub(super) fn aggregate_names() -> impl Iterator<Item = &'static str> {
    registry().keys().map(String::as_str)
}

/// The window function of this name.
pub(super) fn window(name: &str) -> Option<&'static Arc<WindowUDF>> {
    windows().get(name)
}

/// The names of all window functions, in order.
pub(super) fn window_names() -> impl Iterator<Item = &'static str> {
    windows().keys().map(String::as_str)
}

/// The names of everything that can be called.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    scalar_names().chain(aggregate_names()).chain(window_names())
}

fn windows() -> &'static BTreeMap<String, Arc<WindowUDF>> {
    static WINDOWS: OnceLock<BTreeMap<String, Arc<WindowUDF>>> = OnceLock::new();
    WINDOWS.get_or_init(|| {
        let functions = datafusion_functions_window::all_default_window_functions();
        functions.into_iter().map(|function| (function.name().to_lowercase(), function)).collect()
    })
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
