//! SQL in the middle of a flow.
//!
//! In: a statement over the table `input`. Out: the flow with the statement's plan on top. Never: runs the flow to find out what it gives.
//!
//! The statement is planned over a table without rows that has the flow's columns; in the plan that comes of it, the flow takes the
//! place of every scan of that table.

use std::{sync::Arc, time::SystemTime};

use super::{
    error::DatasetError,
    flow::{Dataset, keep},
    parameters,
};
use crate::{
    batch::Batch,
    error::Result,
    expression::Expression,
    plan::logical::{Logical, Node},
    scan::Table,
    sql::{Catalog, Planned, plan},
};

/// The name of the flow in the statement.
const INPUT: &str = "input";

impl<T> Dataset<T> {
    /// The rows of the statement, in which the table `input` is this flow:
    /// `.sql("select city, sum(price) from input group by city")`.
    pub fn sql(self, statement: &str) -> Result<Dataset<Batch>> {
        let placeholder = Table::empty(INPUT, Arc::clone(self.schema()));
        let mut catalog = Catalog::default();
        catalog.insert(INPUT, Arc::clone(&placeholder));
        match plan(statement, &catalog, SystemTime::now())? {
            Planned::Query(mut query) => {
                let mut next_parameter = parameters::count(&query);
                let parameter_count = parameters::count(self.logical());
                put(&mut query, &placeholder, &mut || {
                    let mut flow = self.logical().clone();
                    parameters::shift(&mut flow, next_parameter);
                    next_parameter += parameter_count;
                    flow
                });
                Ok(self.then(|_| query))
            }
            Planned::Write(_) => Err(DatasetError::CopyInFlow.into()),
            Planned::Explain(_) | Planned::ExplainAnalyze(_) => Err(DatasetError::ExplainInFlow.into()),
        }
    }
}

/// Puts a flow in the place of every scan of `placeholder`.
fn put(plan: &mut Logical, placeholder: &Arc<Table>, flow: &mut dyn FnMut() -> Logical) {
    let scan = match &mut plan.node {
        Node::Scan(scan) if Arc::ptr_eq(&scan.table, placeholder) => scan,
        _ => return plan.inputs_mut().into_iter().for_each(|input| put(input, placeholder, flow)),
    };
    let (columns, filters) = (std::mem::take(&mut scan.columns), std::mem::take(&mut scan.filters));
    let input = flow();
    let is_all = columns.iter().copied().eq(0..input.schema.fields().len());
    let chosen = if is_all { input } else { choose(input, &columns) };
    *plan = match Expression::conjunction(filters) {
        Some(predicate) => keep(chosen, predicate),
        None => chosen,
    };
}

/// `input` reduced to `columns`; a scan simply gives fewer.
fn choose(mut input: Logical, columns: &[usize]) -> Logical {
    match &mut input.node {
        Node::Scan(scan) if scan.filters.is_empty() => {
            scan.columns = columns.iter().map(|column| scan.columns[*column]).collect();
            let fields = columns.iter().map(|column| input.schema.field(*column).clone()).collect::<Vec<_>>();
            input.schema = Arc::new(crate::batch::datatypes::Schema::new(fields));
            input
        }
        _ => Logical::select(input, columns),
    }
}
