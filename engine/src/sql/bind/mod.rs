//! DataFusion's optimized plan becomes ours, once.
//!
//! In: its plan and the statement's text. Out: a [`crate::plan::logical::Logical`] over column numbers. Never: chooses an algorithm or
//! an order of joins; never drops what it does not understand, it refuses it.

mod aggregate; // GROUP BY, grouping sets, DISTINCT
mod binder; // Binder: which function binds which operator
mod join; // joins
mod order; // ORDER BY, LIMIT
mod ordered; // median, first_value: aggregates over rows in order, by windows
mod parameter; // scalar subqueries, computed before the rows that use them
mod relation; // tables, VALUES, UNION; projection and filter
mod window; // OVER

pub(super) use binder::bind;
