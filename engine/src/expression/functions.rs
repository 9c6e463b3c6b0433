//! The registry of scalar functions: DataFusion's, by name, under fixed options.
//!
//! In: a name as SQL writes it. Out: the function, or `None`. Never: a function whose answer depends on when, where or how often
//! it is called; those are refused when they are bound.
//!
//! The options are the same for every job and on every machine: no thread count of the machine, time zone UTC.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use datafusion_common::config::ConfigOptions;
use datafusion_expr::{ScalarUDF, Volatility};

use super::error::ExpressionError;

/// The options under which statements are planned and functions run.
pub(crate) fn options() -> &'static Arc<ConfigOptions> {
    static OPTIONS: OnceLock<Arc<ConfigOptions>> = OnceLock::new();
    OPTIONS.get_or_init(|| {
        let mut options = ConfigOptions::default();
        options.execution.target_partitions = 1;
        options.execution.time_zone = Some("+00:00".to_owned());
        options.optimizer.enable_physical_uncorrelated_scalar_subquery = true;
        // 0.06 + 0.01 is 0.07, as in every database; as floats it is not, and TPC-H query 6 loses rows.
        options.sql_parser.parse_float_as_decimal = true;
        options.sql_parser.collect_spans = true;
        Arc::new(options)
    })
}

/// The scalar function of this name.
pub(crate) fn scalar(name: &str) -> Option<&'static Arc<ScalarUDF>> {
    registry().get(name)
}

/// The names of all scalar functions, aliases included, in order.
pub(crate) fn scalar_names() -> impl Iterator<Item = &'static str> {
    registry().keys().map(String::as_str)
}

/// Refuses a function that does not give the same value each time it is asked.
pub(super) fn check_deterministic(function: &ScalarUDF) -> Result<(), ExpressionError> {
    match function.signature().volatility {
        Volatility::Immutable => Ok(()),
        Volatility::Stable | Volatility::Volatile => Err(ExpressionError::unsupported_at(
            format!("{}() is not yet deterministic: it", function.name()),
            function.name(),
        )),
    }
}

fn registry() -> &'static BTreeMap<String, Arc<ScalarUDF>> {
    static REGISTRY: OnceLock<BTreeMap<String, Arc<ScalarUDF>>> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let mut registry = BTreeMap::new();
        for function in datafusion_functions::all_default_functions() {
            let function = function.inner().with_updated_config(options()).map_or(function, Arc::new);
            for name in std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str)) {
                registry.insert(name.to_lowercase(), Arc::clone(&function));
            }
        }
        registry
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn finds_functions_by_name_and_alias() {
        for name in ["upper", "substr", "substring", "date_part", "datepart", "round", "regexp_like", "coalesce"] {
            assert!(scalar(name).is_some(), "{name}");
        }
        assert!(scalar("no_such_function").is_none());
    }

    #[test]
    fn refuses_what_is_not_deterministic() {
        for name in ["random", "uuid", "now"] {
            assert!(check_deterministic(scalar(name).unwrap()).is_err(), "{name}");
        }
        assert!(check_deterministic(scalar("upper").unwrap()).is_ok());
    }

    #[test]
    fn options_do_not_come_from_the_machine() {
        assert_eq!(options().execution.target_partitions, 1);
    }
}
