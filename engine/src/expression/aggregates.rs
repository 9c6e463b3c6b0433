//! The class table of aggregates: how each is made independent of the order in which rows arrive.
//!
//! In: an aggregate's name as the binder knows it. Out: its [`AggregateFunction`] and [`AggregateClass`], or a refusal. Never:
//! computes; `operator/aggregate` does.
//!
//! A test walks over every aggregate of DataFusion's registry and fails when one is in no class.

use crate::batch::datatypes::DataType;

use super::{Expression, SortKey};

/// One aggregate of an [`crate::plan::logical::Node::Aggregate`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AggregateCall {
    /// Which.
    pub function: AggregateFunction,
    /// Over which values; empty for `count(*)`.
    pub arguments: Vec<Expression>,
    /// Only rows for which this is true count.
    pub filter: Option<Expression>,
    /// Each distinct value counts once.
    pub is_distinct: bool,
    /// In which order the rows are seen, where that matters.
    pub order: Vec<SortKey>,
    /// The type of the result.
    pub returns: DataType,
}

/// The aggregates that can be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are SQL's")]
pub enum AggregateFunction {
    Count,
    Sum,
    Avg,
    Min,
    Max,
    BoolAnd,
    BoolOr,
    BitAnd,
    BitOr,
    BitXor,
    /// Variance and standard deviation, of the sample or the population: from exact sums of x and x².
    VarSample,
    VarPopulation,
    StddevSample,
    StddevPopulation,
    /// Of pairs (y, x), both not NULL: from exact sums of both, of their squares and of their products.
    Corr,
    CovarSample,
    CovarPopulation,
    RegrSlope,
    RegrIntercept,
    RegrR2,
    RegrAvgX,
    RegrAvgY,
    RegrSxx,
    RegrSyy,
    RegrSxy,
}

/// How an aggregate gives the same bits whatever the order of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregateClass {
    /// Its state is exact and its merge commutes: counts, extremes, bits, truths.
    Exact(AggregateFunction),
    /// Made exact by us: integers summed in i128, decimals in 192 bits and checked once at the end, floats in an exact sum.
    Ours(AggregateFunction),
    /// Its rows must be in order: `sql/bind/ordered.rs` has a window number them, for those whose result is one of the values.
    ByOrder,
    /// Is lowered to others: quantiles to a window that numbers the values.
    Lowered,
    /// Cannot give the same bits, or is not known here.
    Refused,
}

/// The class of the aggregate `name`, or `None` when no class was decided for it.
pub fn class_of(name: &str) -> Option<AggregateClass> {
    use AggregateClass::{ByOrder, Exact, Lowered, Ours, Refused};
    use AggregateFunction as F;
    Some(match name {
        // Rows in which no argument is NULL; `regr_count` has two.
        "count" | "regr_count" => Exact(F::Count),
        "min" => Exact(F::Min),
        "max" => Exact(F::Max),
        "bool_and" => Exact(F::BoolAnd),
        "bool_or" => Exact(F::BoolOr),
        "bit_and" => Exact(F::BitAnd),
        "bit_or" => Exact(F::BitOr),
        "bit_xor" => Exact(F::BitXor),
        "sum" => Ours(F::Sum),
        "avg" | "mean" => Ours(F::Avg),
        "var" | "var_samp" | "var_sample" => Ours(F::VarSample),
        "var_pop" | "var_population" => Ours(F::VarPopulation),
        "stddev" | "stddev_samp" => Ours(F::StddevSample),
        "stddev_pop" => Ours(F::StddevPopulation),
        "corr" => Ours(F::Corr),
        "covar" | "covar_samp" => Ours(F::CovarSample),
        "covar_pop" => Ours(F::CovarPopulation),
        "regr_slope" => Ours(F::RegrSlope),
        "regr_intercept" => Ours(F::RegrIntercept),
        "regr_r2" => Ours(F::RegrR2),
        "regr_avgx" => Ours(F::RegrAvgX),
        "regr_avgy" => Ours(F::RegrAvgY),
        "regr_sxx" => Ours(F::RegrSxx),
        "regr_syy" => Ours(F::RegrSyy),
        "regr_sxy" => Ours(F::RegrSxy),
        "any_value" | "array_agg" | "string_agg" | "first_value" | "last_value" | "nth_value" => ByOrder,
        "median"
        | "percentile_cont"
        | "quantile_cont"
        | "approx_distinct"
        | "approx_median"
        | "approx_percentile_cont"
        | "approx_percentile_cont_with_weight" => Lowered,
        "grouping" => Refused,
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn every_aggregate_of_the_registry_has_a_class() {
        let mut without = Vec::new();
        for function in datafusion_functions_aggregate::all_default_aggregate_functions() {
            for name in std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str)) {
                if class_of(name).is_none() {
                    without.push(name.to_owned());
                }
            }
        }
        assert!(without.is_empty(), "decide a class for {without:?}");
    }

    #[test]
    fn an_unknown_name_has_no_class() {
        assert_eq!(class_of("upper"), None);
    }
}
