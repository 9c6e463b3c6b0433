//! Which function binds which operator.
//!
//! In: a plan of DataFusion's. Out: ours. Never: logic of an operator; that stands in the file named for it.

use std::sync::Arc;

use datafusion_common::DFSchema;
use datafusion_expr::{Distinct, Expr, LogicalPlan, SortExpr};

use super::super::{SqlError, text::Text};
use crate::{
    batch::datatypes::SchemaRef,
    error::Result,
    expression::{Expression, Scope, SortKey, Subqueries, from_datafusion, sort_key_from_datafusion},
    limits::PLAN_DEPTH_MAX,
    plan::logical::{Logical, Node},
};

/// What is kept while one statement is bound.
pub(super) struct Binder<'a> {
    pub(super) text: &'a Text<'a>,
    pub(super) subqueries: Subqueries,
    depth: usize,
}

/// `plan` as a logical plan of ours, its scalar subqueries above the rows that use them.
pub(in super::super) fn bind(plan: &LogicalPlan, text: &Text<'_>) -> Result<Logical> {
    let mut binder = Binder { text, subqueries: Subqueries::default(), depth: 0 };
    let root = binder.plan(plan)?;
    binder.with_parameters(root)
}

impl Binder<'_> {
    pub(super) fn plan(&mut self, plan: &LogicalPlan) -> Result<Logical> {
        if self.depth == PLAN_DEPTH_MAX {
            return Err(
                SqlError::TooDeep { what: "operators of the plan", depth_max: PLAN_DEPTH_MAX, place: None }.into()
            );
        }
        self.depth += 1;
        let bound = self.operator(plan);
        self.depth -= 1;
        bound
    }

    fn operator(&mut self, plan: &LogicalPlan) -> Result<Logical> {
        match plan {
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Distinct(Distinct::All(input)) => self.distinct(input),
            LogicalPlan::Sort(sort) => self.sort(sort),
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::Values(values) => self.values(values),
            LogicalPlan::EmptyRelation(empty) => self.empty(empty),
            // Names are resolved: an alias does nothing to the rows.
            LogicalPlan::SubqueryAlias(alias) => self.plan(&alias.input),
            LogicalPlan::Subquery(subquery) => self.plan(&subquery.subquery),
            other => Err(self.refused(other)),
        }
    }

    fn refused(&self, plan: &LogicalPlan) -> crate::error::Error {
        let (what, words): (&str, &[&str]) = match plan {
            LogicalPlan::Distinct(_) => ("DISTINCT ON", &["ON"]),
            LogicalPlan::Unnest(_) => ("UNNEST", &["UNNEST"]),
            LogicalPlan::RecursiveQuery(_) => ("WITH RECURSIVE", &["RECURSIVE"]),
            LogicalPlan::Copy(_) => ("COPY", &["COPY"]),
            LogicalPlan::Dml(_) => ("a statement that changes a table", &["INSERT", "UPDATE", "DELETE"]),
            LogicalPlan::Ddl(_) => ("a statement that changes the catalog", &["CREATE", "DROP"]),
            LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) => ("EXPLAIN in this place", &["EXPLAIN"]),
            LogicalPlan::DescribeTable(_) => ("DESCRIBE", &["DESCRIBE"]),
            other => return self.text.unsupported(format!("the operator {}", other.display()), &[]).into(),
        };
        self.text.unsupported(what, words).into()
    }

    /// `expr` over the columns of `inputs`, numbered through.
    pub(super) fn expression(&mut self, expr: &Expr, inputs: &[&DFSchema]) -> Result<Expression> {
        from_datafusion(expr, &mut Scope::new(inputs, &mut self.subqueries))
            .map_err(|error| SqlError::from_expression(error, self.text))
    }

    pub(super) fn expressions<'e>(
        &mut self,
        exprs: impl IntoIterator<Item = &'e Expr>,
        input: &DFSchema,
    ) -> Result<Vec<Expression>> {
        exprs.into_iter().map(|expr| self.expression(expr, &[input])).collect()
    }

    pub(super) fn sort_keys(&mut self, keys: &[SortExpr], input: &DFSchema) -> Result<Vec<SortKey>> {
        let mut bound = Vec::with_capacity(keys.len());
        for key in keys {
            let key = sort_key_from_datafusion(key, &mut Scope::new(&[input], &mut self.subqueries));
            bound.push(key.map_err(|error| SqlError::from_expression(error, self.text))?);
        }
        Ok(bound)
    }
}

/// The columns that an operator of DataFusion's gives: names as the user sees them, without their tables.
pub(super) fn schema_of(schema: &DFSchema) -> SchemaRef {
    Arc::clone(schema.inner())
}

/// A node over one input.
pub(super) fn over(input: Logical, schema: SchemaRef, node: impl FnOnce(Box<Logical>) -> Node) -> Logical {
    Logical { node: node(Box::new(input)), schema }
}
