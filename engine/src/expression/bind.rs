//! DataFusion's expressions become ours, once.
//!
//! In: an analyzed and optimized `Expr`, with types coerced and names resolved. Out: an [`Expression`] over column numbers. Never: a
//! guess: what has no counterpart here is refused with the word at which it stands in the text.
//!
//! Many forms of SQL are one form here: BETWEEN is two comparisons, IS NOT NULL a negation, CASE with an operand a CASE of
//! equalities, `~` the function regexp_like. A scalar subquery becomes a parameter; its plan is kept for `sql/` to bind.

use std::sync::Arc;

use datafusion_common::{Column, DFSchema, DataFusionError, ScalarValue, field_not_found};
use datafusion_expr::{
    Between, BinaryExpr, Case, Expr, ExprSchemable, Like, LogicalPlan, Operator, SortExpr,
    expr::{InList, ScalarFunction},
};

use super::{BinaryOp, Expression, Literal, SortKey, error::ExpressionError, functions};
use crate::{
    batch::datatypes::{DataType, FieldRef},
    limits::PLAN_DEPTH_MAX,
};

type Result<T> = std::result::Result<T, ExpressionError>;

/// The scalar subqueries of one statement; the k-th becomes parameter k.
#[derive(Debug, Default)]
pub struct Subqueries {
    plans: Vec<Arc<LogicalPlan>>,
}

impl Subqueries {
    /// The plan of the subquery whose value is parameter `number`.
    pub(crate) fn plan(&self, number: usize) -> Option<&Arc<LogicalPlan>> {
        self.plans.get(number)
    }

    /// The number of this subquery's parameter: equal subqueries are computed once.
    fn number(&mut self, plan: &Arc<LogicalPlan>) -> usize {
        match self.plans.iter().position(|known| known == plan) {
            Some(number) => number,
            None => {
                self.plans.push(Arc::clone(plan));
                self.plans.len() - 1
            }
        }
    }
}

/// The columns an expression may name: those of one input, or of a join's left input followed by its right one's.
#[derive(Debug)]
pub struct Scope<'a> {
    inputs: Vec<&'a DFSchema>,
    subqueries: &'a mut Subqueries,
}

impl<'a> Scope<'a> {
    /// The columns of `inputs`, numbered through in order.
    pub(crate) fn new(inputs: &[&'a DFSchema], subqueries: &'a mut Subqueries) -> Scope<'a> {
        Scope { inputs: inputs.to_vec(), subqueries }
    }

    fn number(&self, column: &Column) -> Option<usize> {
        let mut before = 0;
        for input in &self.inputs {
            if let Some(number) = input.maybe_index_of_column(column) {
                return Some(before + number);
            }
            before += input.fields().len();
        }
        None
    }
}

/// For the types of functions, which DataFusion finds over a schema of its own.
#[derive(Debug)]
struct Types<'a>(&'a [&'a DFSchema]);

impl datafusion_common::ExprSchema for Types<'_> {
    fn field_from_column(&self, column: &Column) -> std::result::Result<&FieldRef, DataFusionError> {
        self.0
            .iter()
            .find_map(|input| input.maybe_index_of_column(column).map(|number| &input.fields()[number]))
            .ok_or_else(|| field_not_found(column.relation.clone(), column.name(), &DFSchema::empty()))
    }
}

/// `expr` over the columns of `scope`.
pub(crate) fn from_datafusion(expr: &Expr, scope: &mut Scope<'_>) -> Result<Expression> {
    let expression = bind(expr, scope)?;
    let depth = expression.depth();
    if depth > PLAN_DEPTH_MAX {
        return Err(ExpressionError::TooDeep { depth, depth_max: PLAN_DEPTH_MAX });
    }
    Ok(expression)
}

/// One key of an ORDER BY over the columns of `scope`.
pub(crate) fn sort_key_from_datafusion(key: &SortExpr, scope: &mut Scope<'_>) -> Result<SortKey> {
    Ok(SortKey {
        expression: from_datafusion(&key.expr, scope)?,
        is_descending: !key.asc,
        nulls_first: key.nulls_first,
    })
}

fn bind(expr: &Expr, scope: &mut Scope<'_>) -> Result<Expression> {
    let boxed = |inner: &Expr, scope: &mut Scope<'_>| bind(inner, scope).map(Box::new);
    let is = |inner: &Expr, truth: bool, scope: &mut Scope<'_>| {
        bind(inner, scope).map(|inner| Expression::IsTruth { input: Box::new(inner), truth })
    };
    Ok(match expr {
        Expr::Alias(alias) => bind(&alias.expr, scope)?,
        Expr::Column(column) => match scope.number(column) {
            Some(number) => Expression::Column(number),
            None => return Err(unbound(column, scope)),
        },
        Expr::Literal(value, _) => Expression::Literal(Literal::from_scalar(value.clone())),
        Expr::BinaryExpr(binary) => self::binary(binary, scope)?,
        Expr::Like(like) => self::like(like, scope)?,
        Expr::Not(inner) => Expression::Not(boxed(inner, scope)?),
        Expr::Negative(inner) => Expression::Negate(boxed(inner, scope)?),
        Expr::IsNull(inner) | Expr::IsUnknown(inner) => Expression::IsNull(boxed(inner, scope)?),
        Expr::IsNotNull(inner) | Expr::IsNotUnknown(inner) => not(Expression::IsNull(boxed(inner, scope)?)),
        Expr::IsTrue(inner) => is(inner, true, scope)?,
        Expr::IsFalse(inner) => is(inner, false, scope)?,
        Expr::IsNotTrue(inner) => not(is(inner, true, scope)?),
        Expr::IsNotFalse(inner) => not(is(inner, false, scope)?),
        Expr::Between(between) => self::between(between, scope)?,
        Expr::Case(case) => self::case(case, scope)?,
        Expr::Cast(cast) => {
            Expression::Cast { input: boxed(&cast.expr, scope)?, to: cast.field.data_type().clone(), is_try: false }
        }
        Expr::TryCast(cast) => {
            Expression::Cast { input: boxed(&cast.expr, scope)?, to: cast.field.data_type().clone(), is_try: true }
        }
        Expr::InList(InList { expr, list, negated }) => Expression::InList {
            input: boxed(expr, scope)?,
            list: list.iter().map(|element| bind(element, scope)).collect::<Result<_>>()?,
            is_negated: *negated,
        },
        Expr::ScalarFunction(call) => function(call, expr, scope)?,
        Expr::ScalarSubquery(subquery) => {
            if !subquery.outer_ref_columns.is_empty() {
                return Err(ExpressionError::unsupported("this correlated subquery"));
            }
            let data_type = match &subquery.subquery.schema().fields()[..] {
                [field] => field.data_type().clone(),
                _ => return Err(ExpressionError::unsupported("a scalar subquery of several columns")),
            };
            Expression::Parameter { number: scope.subqueries.number(&subquery.subquery), data_type }
        }
        other => return Err(refused(other)),
    })
}

fn not(expression: Expression) -> Expression {
    Expression::Not(Box::new(expression))
}

fn together(op: BinaryOp, left: Expression, right: Expression) -> Expression {
    Expression::Binary { op, left: Box::new(left), right: Box::new(right) }
}

fn binary(binary: &BinaryExpr, scope: &mut Scope<'_>) -> Result<Expression> {
    let op = match binary.op {
        Operator::Eq => BinaryOp::Eq,
        Operator::NotEq => BinaryOp::NotEq,
        Operator::Lt => BinaryOp::Lt,
        Operator::LtEq => BinaryOp::LtEq,
        Operator::Gt => BinaryOp::Gt,
        Operator::GtEq => BinaryOp::GtEq,
        Operator::IsDistinctFrom => BinaryOp::IsDistinctFrom,
        Operator::IsNotDistinctFrom => BinaryOp::IsNotDistinctFrom,
        Operator::Plus => BinaryOp::Plus,
        Operator::Minus => BinaryOp::Minus,
        Operator::Multiply => BinaryOp::Multiply,
        Operator::Divide => BinaryOp::Divide,
        Operator::Modulo => BinaryOp::Modulo,
        Operator::StringConcat => BinaryOp::Concat,
        Operator::BitwiseAnd => BinaryOp::BitAnd,
        Operator::BitwiseOr => BinaryOp::BitOr,
        Operator::BitwiseXor => BinaryOp::BitXor,
        Operator::BitwiseShiftLeft => BinaryOp::ShiftLeft,
        Operator::BitwiseShiftRight => BinaryOp::ShiftRight,
        Operator::And => return chain(binary, BinaryOp::And, scope),
        Operator::Or => return chain(binary, BinaryOp::Or, scope),
        Operator::RegexMatch => return regex(binary, false, false, scope),
        Operator::RegexIMatch => return regex(binary, false, true, scope),
        Operator::RegexNotMatch => return regex(binary, true, false, scope),
        Operator::RegexNotIMatch => return regex(binary, true, true, scope),
        Operator::LikeMatch => return like_operator(binary, false, false, scope),
        Operator::ILikeMatch => return like_operator(binary, false, true, scope),
        Operator::NotLikeMatch => return like_operator(binary, true, false, scope),
        Operator::NotILikeMatch => return like_operator(binary, true, true, scope),
        other => {
            let symbol = other.to_string();
            return Err(ExpressionError::unsupported_at(format!("the operator {symbol}"), symbol));
        }
    };
    Ok(together(op, bind(&binary.left, scope)?, bind(&binary.right, scope)?))
}

/// A chain of AND or OR, taken apart without recursion and put together with little depth.
fn chain(binary: &BinaryExpr, op: BinaryOp, scope: &mut Scope<'_>) -> Result<Expression> {
    let (mut waiting, mut terms) = (vec![&*binary.right, &*binary.left], Vec::new());
    while let Some(next) = waiting.pop() {
        match next {
            Expr::BinaryExpr(inner) if inner.op == binary.op => waiting.extend([&*inner.right, &*inner.left]),
            term => terms.push(bind(term, scope)?),
        }
    }
    Expression::balanced(op, terms).ok_or_else(|| ExpressionError::unsupported("a chain without terms"))
}

/// `left ~ right`: the registry's regexp_like.
fn regex(binary: &BinaryExpr, is_negated: bool, ignores_case: bool, scope: &mut Scope<'_>) -> Result<Expression> {
    let mut arguments = vec![bind(&binary.left, scope)?, bind(&binary.right, scope)?];
    if ignores_case {
        let types = Types(&scope.inputs);
        let flags = match binary.right.get_type(&types).map_err(ExpressionError::library("type a pattern"))? {
            DataType::Utf8 => ScalarValue::Utf8(Some("i".to_owned())),
            DataType::LargeUtf8 => ScalarValue::LargeUtf8(Some("i".to_owned())),
            _ => ScalarValue::Utf8View(Some("i".to_owned())),
        };
        arguments.push(Expression::Literal(Literal::from_scalar(flags)));
    }
    let matches = Expression::Function { name: "regexp_like".to_owned(), arguments, returns: DataType::Boolean };
    Ok(if is_negated { not(matches) } else { matches })
}

fn like_operator(
    binary: &BinaryExpr,
    is_negated: bool,
    ignores_case: bool,
    scope: &mut Scope<'_>,
) -> Result<Expression> {
    let (input, pattern) = (bind(&binary.left, scope)?, bind(&binary.right, scope)?);
    Ok(Expression::Like { input: Box::new(input), pattern: Box::new(pattern), is_negated, ignores_case })
}

fn like(like: &Like, scope: &mut Scope<'_>) -> Result<Expression> {
    let mut pattern = bind(&like.pattern, scope)?;
    if let Some(escape) = like.escape_char.filter(|escape| *escape != '\\') {
        let text = match &pattern {
            Expression::Literal(literal) => literal.as_str(),
            _ => return Err(ExpressionError::unsupported_at("ESCAPE with a pattern that is not constant", "ESCAPE")),
        };
        if let Some(text) = text {
            pattern = Expression::Literal(Literal::from(with_backslashes(text, escape)));
        }
    }
    Ok(Expression::Like {
        input: Box::new(bind(&like.expr, scope)?),
        pattern: Box::new(pattern),
        is_negated: like.negated,
        ignores_case: like.case_insensitive,
    })
}

/// The pattern with `\` in the place of its own escape character.
fn with_backslashes(pattern: &str, escape: char) -> String {
    let mut text = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.push_str("\\\\"),
            escaping if escaping == escape => {
                // What follows stands for itself; a backslash needs its own.
                let next = characters.next().unwrap_or(escape);
                text.push('\\');
                text.push(next);
            }
            other => text.push(other),
        }
    }
    text
}

fn between(between: &Between, scope: &mut Scope<'_>) -> Result<Expression> {
    let input = bind(&between.expr, scope)?;
    let (low, high) = (bind(&between.low, scope)?, bind(&between.high, scope)?);
    let (both, above, below) = if between.negated {
        (BinaryOp::Or, BinaryOp::Lt, BinaryOp::Gt)
    } else {
        (BinaryOp::And, BinaryOp::GtEq, BinaryOp::LtEq)
    };
    Ok(together(both, together(above, input.clone(), low), together(below, input, high)))
}

fn case(case: &Case, scope: &mut Scope<'_>) -> Result<Expression> {
    let operand = case.expr.as_ref().map(|operand| bind(operand, scope)).transpose()?;
    let mut branches = Vec::with_capacity(case.when_then_expr.len());
    for (when, then) in &case.when_then_expr {
        let when = bind(when, scope)?;
        let when = match &operand {
            Some(operand) => together(BinaryOp::Eq, operand.clone(), when),
            None => when,
        };
        branches.push((when, bind(then, scope)?));
    }
    let otherwise = case.else_expr.as_ref().map(|otherwise| bind(otherwise, scope).map(Box::new)).transpose()?;
    Ok(Expression::Case { branches, otherwise })
}

fn function(call: &ScalarFunction, expr: &Expr, scope: &mut Scope<'_>) -> Result<Expression> {
    let name = call.func.name().to_lowercase();
    functions::check_deterministic(&call.func)?;
    if functions::scalar(&name).is_none() {
        return Err(ExpressionError::unsupported_at(format!("the function {name}"), name));
    }
    let returns = expr.get_type(&Types(&scope.inputs)).map_err(ExpressionError::library(format!("type {name}")))?;
    let arguments = call.args.iter().map(|argument| bind(argument, scope)).collect::<Result<_>>()?;
    Ok(Expression::Function { name, arguments, returns })
}

fn unbound(column: &Column, scope: &Scope<'_>) -> ExpressionError {
    let columns = scope.inputs.iter().flat_map(|input| input.columns()).map(|known| known.flat_name()).collect();
    ExpressionError::UnknownColumn { name: column.flat_name(), columns }
}

/// The refusal of a form that has no counterpart here.
fn refused(expr: &Expr) -> ExpressionError {
    let (what, token) = match expr {
        Expr::SimilarTo(_) => ("SIMILAR TO", "SIMILAR"),
        Expr::WindowFunction(_) => ("a window function (OVER) in this place", "OVER"),
        Expr::Exists(_) => ("EXISTS in this place", "EXISTS"),
        Expr::InSubquery(_) => ("IN with a subquery in this place", "IN"),
        Expr::SetComparison(_) => ("ANY or ALL with a subquery in this place", "ANY"),
        Expr::Unnest(_) => ("UNNEST", "UNNEST"),
        Expr::GroupingSet(_) => ("a grouping set in this place", "GROUPING"),
        Expr::Placeholder(placeholder) => {
            return ExpressionError::unsupported_at(format!("the placeholder {}", placeholder.id), &*placeholder.id);
        }
        Expr::OuterReferenceColumn(_, column) => {
            let what = format!("a subquery that uses {} of the outer query in this place", column.flat_name());
            return ExpressionError::unsupported_at(what, column.name());
        }
        Expr::HigherOrderFunction(_) | Expr::Lambda(_) | Expr::LambdaVariable(_) => ("a lambda", "->"),
        Expr::ScalarVariable(..) => ("a variable", "@"),
        other => return ExpressionError::unsupported(format!("the expression {other}")),
    };
    ExpressionError::unsupported_at(what, token)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::batch::datatypes::{Field, Schema};
    use datafusion_expr::{cast, col, lit, when};

    fn schema() -> DFSchema {
        let fields = vec![
            Field::new("a", DataType::Int64, true),
            Field::new("b", DataType::Int64, true),
            Field::new("s", DataType::Utf8View, true),
            Field::new("t", DataType::Boolean, true),
        ];
        DFSchema::try_from(Schema::new(fields)).unwrap()
    }

    fn bound(expr: Expr) -> Result<String> {
        let (schema, mut subqueries) = (schema(), Subqueries::default());
        from_datafusion(&expr, &mut Scope::new(&[&schema], &mut subqueries)).map(|e| e.show(schema.as_arrow()))
    }

    #[test]
    fn many_forms_become_one() {
        let check = |expr, expected: &str| assert_eq!(bound(expr).unwrap(), expected);
        check(col("a").between(lit(1i64), col("b")), "a >= 1 AND a <= b");
        check(col("a").not_between(lit(1i64), col("b")), "a < 1 OR a > b");
        check(col("a").is_not_null(), "NOT a IS NULL");
        check(col("t").is_not_true(), "NOT t IS TRUE");
        check(col("t").is_unknown(), "t IS NULL");
        check(cast(col("a"), DataType::Int32).alias("x"), "CAST(a AS Int32)");
        let case = datafusion_expr::case(col("a")).when(lit(1i64), col("b")).otherwise(lit(0i64)).unwrap();
        check(case, "CASE WHEN a = 1 THEN b ELSE 0 END");
        let searched = when(col("t"), lit(1i64)).end().unwrap();
        check(searched, "CASE WHEN t THEN 1 END");
    }

    #[test]
    fn an_escape_character_becomes_a_backslash() {
        assert_eq!(with_backslashes("50!%_!!\\", '!'), "50\\%_\\!\\\\");
        let like = Expr::Like(Like::new(false, Box::new(col("s")), Box::new(lit("a#_%")), Some('#'), false));
        assert_eq!(bound(like).unwrap(), "s LIKE 'a\\_%'");
    }

    #[test]
    fn refuses_by_name() {
        let similar = Expr::SimilarTo(Like::new(false, Box::new(col("s")), Box::new(lit("a")), None, false));
        assert!(matches!(bound(similar), Err(ExpressionError::Unsupported { token: Some(t), .. }) if t == "SIMILAR"));
        let arrow = Expr::BinaryExpr(BinaryExpr::new(Box::new(col("a")), Operator::AtArrow, Box::new(col("b"))));
        assert!(matches!(bound(arrow), Err(ExpressionError::Unsupported { .. })));
        assert!(matches!(bound(col("nope")), Err(ExpressionError::UnknownColumn { .. })));
        let random = functions::scalar("random").unwrap().call(vec![]);
        assert!(matches!(bound(random), Err(ExpressionError::Unsupported { .. })));
    }

    #[test]
    fn long_chains_are_shallow() {
        let check = || {
            let any = (0..2_000).map(|k| col("a").eq(lit(k))).reduce(Expr::or).unwrap();
            let (schema, mut subqueries) = (schema(), Subqueries::default());
            let bound = from_datafusion(&any, &mut Scope::new(&[&schema], &mut subqueries)).unwrap();
            assert!(bound.depth() < 20);
            let sum = (0..600).map(lit).reduce(|sum, k| sum + k).unwrap();
            let deep = from_datafusion(&sum, &mut Scope::new(&[&schema], &mut subqueries));
            assert!(matches!(deep, Err(ExpressionError::TooDeep { .. })));
        };
        // As on the thread that plans: DataFusion's own tree is as deep as its chain is long.
        std::thread::Builder::new().stack_size(64 << 20).spawn(check).unwrap().join().unwrap();
    }
}
