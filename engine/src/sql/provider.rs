//! What DataFusion asks while it resolves the names of a statement.
//!
//! In: names of tables, functions and aggregates. Out: the catalog's tables, the registries' functions; a path is opened as a table.
//! Never: a table twice: the same path in one statement is the same table.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use datafusion_common::{DataFusionError, TableReference, config::ConfigOptions};
use datafusion_expr::{
    AggregateUDF, Expr, HigherOrderUDF, ScalarUDF, TableProviderFilterPushDown, TableSource, WindowUDF,
    planner::{ContextProvider, ExprPlanner},
};

use super::{Catalog, SqlError, functions, suggest};
use crate::{
    batch::datatypes::{DataType, SchemaRef},
    expression::functions as scalars,
    scan::Table,
};

/// More names than these are not listed in a hint.
const NAMES_LISTED_MAX: usize = 12;

/// Answers DataFusion's questions for one statement.
pub(super) struct Provider<'a> {
    catalog: &'a Catalog,
    planners: Vec<Arc<dyn ExprPlanner>>,
    /// Paths that were opened on the fly.
    opened: Mutex<BTreeMap<String, Arc<Table>>>,
    /// The last name of a function that was not found.
    unknown_function: Mutex<Option<String>>,
}

impl<'a> Provider<'a> {
    pub(super) fn new(catalog: &'a Catalog) -> Provider<'a> {
        let planners: Vec<Arc<dyn ExprPlanner>> = vec![
            Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner {}),
            Arc::new(datafusion_functions::datetime::planner::DatetimeFunctionPlanner),
            Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner),
            Arc::new(datafusion_functions_aggregate::planner::AggregateFunctionPlanner),
        ];
        Provider { catalog, planners, opened: Mutex::default(), unknown_function: Mutex::default() }
    }

    /// The last name of a function that was not found.
    pub(super) fn unknown_function(&self) -> Option<String> {
        self.unknown_function.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The table `name`, which `is_bare` when it is one word or one quoted text: then a dot in it is not a schema's but a file's.
    fn table(&self, name: &str, is_bare: bool) -> Result<Arc<Table>, Box<SqlError>> {
        if let Some(table) = self.catalog.table(name) {
            return Ok(Arc::clone(table));
        }
        let path = self.catalog.path(name);
        let is_path = name.contains(['/', '*']) || is_bare && name.contains('.') || path.exists();
        if !is_path {
            let known: Vec<String> = self.catalog.names().map(str::to_owned).collect();
            let candidates = suggest::near(name, self.catalog.names());
            let known = if known.len() <= NAMES_LISTED_MAX { known } else { Vec::new() };
            return Err(Box::new(SqlError::UnknownTable { name: name.to_owned(), candidates, known, place: None }));
        }
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = opened.get(name) {
            return Ok(Arc::clone(table));
        }
        // A path in a folder of UTF-8 is UTF-8; of another one the process's own folder is tried.
        let table = Table::open(path.to_str().unwrap_or(name))
            .and_then(|table| table.in_splits_of(self.catalog.bytes_per_split()))
            .map_err(|source| Box::new(SqlError::CannotOpen { path: name.to_owned(), place: None, source }))?;
        opened.insert(name.to_owned(), Arc::clone(&table));
        Ok(table)
    }
}

/// A table as DataFusion sees it. Every filter may be pushed into it; none is left above.
pub(super) struct Source(pub(super) Arc<Table>);

impl TableSource for Source {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.0.schema())
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        Ok(vec![TableProviderFilterPushDown::Exact; filters.len()])
    }
}

impl ContextProvider for Provider<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>, DataFusionError> {
        let full = match &name {
            TableReference::Bare { table } => table.to_string(),
            TableReference::Partial { schema, table } => format!("{schema}.{table}"),
            TableReference::Full { catalog, schema, table } => format!("{catalog}.{schema}.{table}"),
        };
        match self.table(&full, matches!(name, TableReference::Bare { .. })) {
            Ok(table) => Ok(Arc::new(Source(table))),
            Err(error) => Err(DataFusionError::External(error)),
        }
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        scalars::scalar(&name.to_lowercase()).cloned()
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        let found = functions::aggregate(&name.to_lowercase()).cloned();
        if found.is_none() {
            // Aggregates are asked for last.
            *self.unknown_function.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.to_owned());
        }
        found
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        // It was asked for as an aggregate before.
        let found = functions::window(&name.to_lowercase()).cloned();
        *self.unknown_function.lock().unwrap_or_else(PoisonError::into_inner) =
            if found.is_some() { None } else { Some(name.to_owned()) };
        found
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        scalars::options()
    }

    fn udf_names(&self) -> Vec<String> {
        scalars::scalar_names().map(str::to_owned).collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        functions::aggregate_names().map(str::to_owned).collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        functions::window_names().map(str::to_owned).collect()
    }
}
