//! SQL's meaning kept where the front end would lose it: some forms are written otherwise, others refused.
//!
//! In: the plan as bound, before its types are coerced. Out: the same plan, in forms that the analyzer and the optimizer take as they are
//! meant; or a refusal that names the form. Never: changes the name of a column.
//!
//! What the front end does with each, found by comparing answers with another engine's:
//! * `a is not distinct from b` becomes a join key for which NULLs are equal, and later keys of the same join become that too.
//! * a double beside a decimal is cast to decimal(30, 15), which loses digits and fails on NaN and on large values.
//! * NOT IN that is not a condition of its own, or is correlated, takes an unknown truth for a false one.
//! * EXISTS over an aggregate without keys, which is always true, is joined by its correlation.
//! * a RIGHT or FULL JOIN with USING gives the left side's key only.

use datafusion_common::{
    DataFusionError, JoinType,
    tree_node::{Transformed, TreeNode, TreeNodeRecursion},
};
use datafusion_expr::{
    Cast, Expr, ExprSchemable, JoinConstraint, LogicalPlan, Operator, and,
    expr::InList,
    expr_rewriter::NamePreserver,
    or,
    utils::{merge_schema, split_conjunction},
};

use super::{SqlError, text::Text};
use crate::{batch::datatypes::DataType, error::Result};

/// The plan in forms that keep their meaning.
pub(super) fn kept(plan: LogicalPlan, text: &Text<'_>) -> Result<LogicalPlan> {
    refuse(&plan, text)?;
    let rewritten = plan.transform_up_with_subqueries(|plan| {
        let schema = merge_schema(&plan.inputs());
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let rewritten = expr.transform_up(|expr| rewrite(expr, &schema))?;
            Ok(rewritten.update_data(|expr| name.restore(expr)))
        })
    });
    let rewritten = rewritten.map_err(|error| SqlError::Plan { place: None, source: Box::new(error) })?;
    let plan = rewritten.data.recompute_schema();
    Ok(plan.map_err(|error| SqlError::Plan { place: None, source: Box::new(error) })?)
}

fn rewrite(
    expr: Expr,
    schema: &datafusion_common::DFSchema,
) -> std::result::Result<Transformed<Expr>, DataFusionError> {
    let data_type = |expr: &Expr| expr.get_type(schema).unwrap_or(DataType::Null);
    let as_double = |expr: &mut Expr| {
        if data_type(expr).is_decimal() {
            let inner = std::mem::take(expr);
            *expr = Expr::Cast(Cast::new(Box::new(inner), DataType::Float64));
        }
    };
    Ok(match expr {
        Expr::BinaryExpr(mut binary) => {
            let (left, right) = (data_type(&binary.left), data_type(&binary.right));
            if (left.is_floating() && right.is_decimal()) || (left.is_decimal() && right.is_floating()) {
                as_double(&mut binary.left);
                as_double(&mut binary.right);
            }
            match binary.op {
                Operator::IsNotDistinctFrom => Transformed::yes(same(*binary.left, *binary.right)),
                Operator::IsDistinctFrom => Transformed::yes(Expr::Not(Box::new(same(*binary.left, *binary.right)))),
                _ => Transformed::yes(Expr::BinaryExpr(binary)),
            }
        }
        Expr::InList(InList { expr, mut list, negated }) => {
            if data_type(&expr).is_floating() {
                list.iter_mut().for_each(as_double);
            }
            Transformed::yes(Expr::InList(InList { expr, list, negated }))
        }
        Expr::Between(mut between) => {
            if data_type(&between.expr).is_floating() {
                as_double(&mut between.low);
                as_double(&mut between.high);
            }
            Transformed::yes(Expr::Between(between))
        }
        other => Transformed::no(other),
    })
}

/// Equal, or both NULL: never unknown, and in no form that becomes a join key.
fn same(left: Expr, right: Expr) -> Expr {
    let equal = Expr::IsTrue(Box::new(left.clone().eq(right.clone())));
    or(equal, and(left.is_null(), right.is_null()))
}

fn refuse(plan: &LogicalPlan, text: &Text<'_>) -> Result<()> {
    let mut found: Option<SqlError> = None;
    let mut report = |what: &str, words: &[&str]| found = Some(text.unsupported(what, words));
    let walked = plan.apply_with_subqueries(|plan| {
        match plan {
            LogicalPlan::Join(join)
                if join.join_constraint == JoinConstraint::Using
                    && matches!(join.join_type, JoinType::Right | JoinType::Full) =>
            {
                report(
                    "USING or NATURAL with a right or full join (write ON, and coalesce the keys)",
                    &["using", "natural"],
                );
                return Ok(TreeNodeRecursion::Stop);
            }
            LogicalPlan::Filter(filter) => {
                for condition in split_conjunction(&filter.predicate) {
                    if let Some(what) = lost(condition, true) {
                        report(what, &["not", "in", "exists"]);
                        return Ok(TreeNodeRecursion::Stop);
                    }
                }
            }
            other => {
                let mut what = None;
                other.apply_expressions(|expr| {
                    what = what.or(lost(expr, false));
                    Ok(TreeNodeRecursion::Continue)
                })?;
                if let Some(what) = what {
                    report(what, &["in", "exists"]);
                    return Ok(TreeNodeRecursion::Stop);
                }
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    match (found, walked) {
        (Some(error), _) => Err(error.into()),
        (None, Err(error)) => Err(SqlError::Plan { place: None, source: Box::new(error) }.into()),
        (None, Ok(_)) => Ok(()),
    }
}

/// What of the condition would lose its meaning. `is_own`: it stands alone in a WHERE, where unknown is as good as false.
fn lost(condition: &Expr, is_own: bool) -> Option<&'static str> {
    const NOT_IN: &str = "NOT IN a subquery inside a larger condition (write NOT EXISTS)";
    match condition {
        Expr::InSubquery(test) if is_own && test.negated => {
            if !test.subquery.outer_ref_columns.is_empty() {
                Some("NOT IN a correlated subquery (write NOT EXISTS)")
            } else if test.expr.column_refs().is_empty() {
                Some("a constant NOT IN a subquery (write NOT EXISTS)")
            } else {
                None
            }
        }
        Expr::Not(inner) if is_own => match &**inner {
            Expr::InSubquery(test) if !test.negated => {
                let mut negated = test.clone();
                negated.negated = true;
                lost(&Expr::InSubquery(negated), true)
            }
            other => anywhere(other, NOT_IN),
        },
        // Without a NOT above it an unknown IN counts as false, as it does in the whole condition.
        Expr::BinaryExpr(binary) if is_own && matches!(binary.op, Operator::And | Operator::Or) => {
            let side = |expr: &Expr| match expr {
                Expr::InSubquery(test) if !test.negated => None,
                Expr::BinaryExpr(_) => lost(expr, true),
                other => anywhere(other, NOT_IN),
            };
            side(&binary.left).or_else(|| side(&binary.right))
        }
        Expr::InSubquery(_) if is_own => None,
        Expr::Exists(test) if is_bare_aggregate(&test.subquery.subquery) => {
            Some("EXISTS over an aggregate without GROUP BY, which is always true")
        }
        other => anywhere(other, "IN a subquery as a value (write it as a condition of its own)"),
    }
}

/// `what`, if an IN with a subquery stands anywhere in the expression.
fn anywhere(expr: &Expr, what: &'static str) -> Option<&'static str> {
    let has_in = expr.exists(|expr| Ok(matches!(expr, Expr::InSubquery(_)))).unwrap_or(true);
    let bare = |expr: &Expr| Ok(matches!(expr, Expr::Exists(test) if is_bare_aggregate(&test.subquery.subquery)));
    if has_in {
        Some(what)
    } else if expr.exists(bare).unwrap_or(true) {
        Some("EXISTS over an aggregate without GROUP BY, which is always true")
    } else {
        None
    }
}

fn is_bare_aggregate(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Projection(projection) => is_bare_aggregate(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_bare_aggregate(&alias.input),
        _ => false,
    }
}
