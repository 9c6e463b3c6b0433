//! Constants that overflow, found before DataFusion computes them.
//!
//! In: an analyzed plan. Out: nothing, or the error of the first constant that overflows. Never: changes the plan.
//!
//! DataFusion computes what is constant while it optimizes, and its integers wrap: `9223372036854775807 + 1` would silently be
//! negative. Here an overflow is an error everywhere, so the constants are computed once more, by our evaluator, beforehand. Other
//! failures (a division by zero) DataFusion leaves in the plan, where only a row that reaches them makes them fail.

use std::sync::Arc;

use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::{Expr, LogicalPlan, Operator};

use crate::{
    batch::{ArrowError, Batch, array::RecordBatchOptions, datatypes::Schema},
    error::{Error, Result},
    expression::{Evaluator, ExpressionError, Parameters, Scope, Subqueries, from_datafusion},
};

/// Refuses a plan with an integer constant that overflows.
pub(super) fn check_constants(plan: &LogicalPlan) -> Result<()> {
    let mut found = None;
    let walked = plan.apply_with_subqueries(|plan| {
        plan.apply_expressions(|expr| {
            expr.apply(|expr| {
                if matches!(expr, Expr::Literal(..)) || !is_constant(expr) {
                    return Ok(TreeNodeRecursion::Continue);
                }
                match compute(expr) {
                    Err(error) if is_overflow(&error) => {
                        found = Some(error);
                        Ok(TreeNodeRecursion::Stop)
                    }
                    _ => Ok(TreeNodeRecursion::Jump),
                }
            })
        })
    });
    match (found, walked) {
        (Some(error), _) => Err(error),
        // The walk itself cannot fail; were it to, DataFusion's own walks would say why.
        (None, _) => Ok(()),
    }
}

/// Arithmetic over literals.
fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(..) => true,
        Expr::Cast(cast) => is_constant(&cast.expr),
        Expr::Negative(inner) => is_constant(inner),
        Expr::BinaryExpr(binary) => {
            matches!(
                binary.op,
                Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo
            ) && is_constant(&binary.left)
                && is_constant(&binary.right)
        }
        _ => false,
    }
}

fn compute(expr: &Expr) -> Result<()> {
    let nothing = Arc::new(Schema::empty());
    let expression = from_datafusion(expr, &mut Scope::new(&[], &mut Subqueries::default()))?;
    let row = RecordBatchOptions::new().with_row_count(Some(1));
    let row = Batch::try_new_with_options(Arc::clone(&nothing), Vec::new(), &row)?;
    Evaluator::new(&expression, &nothing, &Arc::new(Parameters::default()))?.evaluate(&row)?;
    Ok(())
}

fn is_overflow(error: &Error) -> bool {
    let cause: &(dyn std::error::Error + 'static) = error.cause();
    let arithmetic = match cause.downcast_ref() {
        Some(ExpressionError::Arithmetic { source, .. }) => Some(source),
        _ => cause.downcast_ref(),
    };
    matches!(arithmetic, Some(ArrowError::ArithmeticOverflow(_)))
}
