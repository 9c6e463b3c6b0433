//! Expressions written in Rust: `col("price") * (lit(1) - col("discount"))`.
//!
//! In: names and Rust values. Out: [`Named`], an [`Expression`] whose columns are numbers into a list of names until it is bound to
//! a schema. Never: a second tree of the same variants.
//!
//! Binding brings operands to one type: a literal becomes the other side's type when it is the same value there (1 for a 32-bit
//! column, '1996-01-01' for a date, 0.05 for a decimal), else both become the type that SQL would choose.

use std::ops;

use datafusion_expr::{Operator, type_coercion::binary::BinaryTypeCoercer};

use super::{BinaryOp, Expression, Literal, error::ExpressionError};
use crate::{
    batch::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Schema},
    error::Result,
};

/// An expression over columns by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// Its column k is the one of the name `names[k]`.
    expression: Expression,
    names: Vec<String>,
}

/// The column of this name.
pub fn col(name: impl Into<String>) -> Named {
    Named { expression: Expression::Column(0), names: vec![name.into()] }
}

/// The same value for every row.
pub fn lit(value: impl Into<Literal>) -> Named {
    Named { expression: Expression::Literal(value.into()), names: Vec::new() }
}

impl<L: Into<Literal>> From<L> for Named {
    fn from(value: L) -> Named {
        lit(value)
    }
}

#[allow(clippy::should_implement_trait, reason = "the names are SQL's; == would have to give a bool")]
impl Named {
    /// `self = other`
    pub fn eq(self, other: impl Into<Named>) -> Named {
        self.binary(BinaryOp::Eq, other)
    }
    /// `self <> other`
    pub fn not_eq(self, other: impl Into<Named>) -> Named {
        self.binary(BinaryOp::NotEq, other)
    }
    /// `self < other`
    pub fn lt(self, other: impl Into<Named>) -> Named {
        self.binary(BinaryOp::Lt, other)
    }
    /// `self <= other`
    pub fn lt_eq(self, other: impl Into<Named>) -> Named {
        self.binary(BinaryOp::LtEq, other)
    }
    /// `self > other`
    pub fn gt(self, other: impl Into<Named>) -> Named {
        self.binary(BinaryOp::Gt, other)
    }
    /// `self >= other`
    pub fn gt_eq(self, other: impl Into<Named>) -> Named {
        self.binary(BinaryOp::GtEq, other)
    }
    /// `self AND other`
    pub fn and(self, other: impl Into<Named>) -> Named {
        self.binary(BinaryOp::And, other)
    }
    /// `self OR other`
    pub fn or(self, other: impl Into<Named>) -> Named {
        self.binary(BinaryOp::Or, other)
    }
    /// `NOT self`
    pub fn not(self) -> Named {
        self.map(|input| Expression::Not(Box::new(input)))
    }
    /// `self IS NULL`
    pub fn is_null(self) -> Named {
        self.map(|input| Expression::IsNull(Box::new(input)))
    }
    /// `self LIKE pattern`: `%` any run of characters, `_` any one.
    pub fn like(self, pattern: impl Into<Literal>) -> Named {
        let pattern = Box::new(Expression::Literal(pattern.into()));
        self.map(|input| Expression::Like { input: Box::new(input), pattern, is_negated: false, ignores_case: false })
    }
    /// `self IN (list)`
    pub fn in_list<L: Into<Literal>>(self, list: impl IntoIterator<Item = L>) -> Named {
        let list = list.into_iter().map(|value| Expression::Literal(value.into())).collect();
        self.map(|input| Expression::InList { input: Box::new(input), list, is_negated: false })
    }
    /// `CAST(self AS to)`: an error where a value does not fit.
    pub fn cast(self, to: DataType) -> Named {
        self.map(|input| Expression::Cast { input: Box::new(input), to, is_try: false })
    }

    /// The name, if it is nothing but a column.
    pub fn column_name(&self) -> Option<&str> {
        self.expression.is_column().and_then(|column| self.names.get(column)).map(String::as_str)
    }

    /// The expression over the columns of `input`, its operands of fitting types.
    pub fn bind(&self, input: &Schema) -> Result<Expression> {
        let mut columns = Vec::with_capacity(self.names.len());
        for name in &self.names {
            columns.push(input.index_of(name).map_err(|_| ExpressionError::UnknownColumn {
                name: name.clone(),
                columns: input.fields().iter().map(|field| field.name().clone()).collect(),
            })?);
        }
        let mut bound = self.expression.clone();
        bound.map_columns(&|column| columns[column]);
        fit(&mut bound, input)?;
        Ok(bound)
    }

    /// As [`Named::bind`], for a place that needs a truth.
    pub fn bind_predicate(&self, input: &Schema) -> Result<Expression> {
        let bound = self.bind(input)?;
        match bound.data_type(input)? {
            DataType::Boolean => Ok(bound),
            found => {
                let needed = DataType::Boolean;
                Err(ExpressionError::WrongType { expression: bound.show(input), found, needed }.into())
            }
        }
    }

    fn map(self, change: impl FnOnce(Expression) -> Expression) -> Named {
        Named { expression: change(self.expression), names: self.names }
    }

    fn binary(mut self, op: BinaryOp, other: impl Into<Named>) -> Named {
        let mut other = other.into();
        let offset = self.names.len();
        other.expression.map_columns(&|column| column + offset);
        self.names.append(&mut other.names);
        self.map(|left| Expression::Binary { op, left: Box::new(left), right: Box::new(other.expression) })
    }
}

macro_rules! operator {
    ($($trait:ident $method:ident $op:ident),*) => {
        $(impl<N: Into<Named>> ops::$trait<N> for Named {
            type Output = Named;
            fn $method(self, other: N) -> Named {
                self.binary(BinaryOp::$op, other)
            }
        })*
    };
}
operator!(Add add Plus, Sub sub Minus, Mul mul Multiply, Div div Divide, Rem rem Modulo);

impl ops::Neg for Named {
    type Output = Named;
    fn neg(self) -> Named {
        self.map(|input| Expression::Negate(Box::new(input)))
    }
}

impl ops::Not for Named {
    type Output = Named;
    fn not(self) -> Named {
        self.map(|input| Expression::Not(Box::new(input)))
    }
}

/// Brings operands to fitting types, the innermost first.
fn fit(expression: &mut Expression, input: &Schema) -> Result<()> {
    for child in expression.children_mut() {
        fit(child, input)?;
    }
    match expression {
        Expression::Binary { op, left, right } => fit_pair(*op, left, right, input),
        Expression::InList { input: inner, list, .. } => {
            let data_type = inner.data_type(input)?;
            list.iter_mut().try_for_each(|element| fit_to(element, &data_type, input))
        }
        Expression::Like { input: inner, pattern, .. } => {
            let data_type = inner.data_type(input)?;
            fit_to(pattern, &data_type, input)
        }
        _ => Ok(()),
    }
}

fn fit_pair(op: BinaryOp, left: &mut Expression, right: &mut Expression, input: &Schema) -> Result<()> {
    let (left_type, right_type) = (left.data_type(input)?, right.data_type(input)?);
    if left_type == right_type && !matches!(op, BinaryOp::And | BinaryOp::Or) {
        return Ok(());
    }
    if let Some(fitting) = literal_as(right, &left_type) {
        *right = fitting;
    } else if let Some(fitting) = literal_as(left, &right_type) {
        *left = fitting;
    }
    let (left_type, right_type) = (left.data_type(input)?, right.data_type(input)?);
    let operator = operator_of(op);
    let (left_fit, right_fit) = BinaryTypeCoercer::new(&left_type, &operator, &right_type)
        .get_input_types()
        .map_err(|_| ExpressionError::Operands { left: left_type, operator: op.symbol(), right: right_type })?;
    fit_to(left, &left_fit, input)?;
    fit_to(right, &right_fit, input)
}

/// `expression` in the type `to`, cast unless it is.
fn fit_to(expression: &mut Expression, to: &DataType, input: &Schema) -> Result<()> {
    if expression.data_type(input)? == *to {
        return Ok(());
    }
    *expression = match literal_as(expression, to) {
        Some(literal) => literal,
        None => Expression::Cast { input: Box::new(expression.clone()), to: to.clone(), is_try: false },
    };
    Ok(())
}

/// A literal as the same value of another type, if it has it there.
fn literal_as(expression: &Expression, to: &DataType) -> Option<Expression> {
    let Expression::Literal(literal) = expression else { return None };
    let fitting = match (to, literal.as_f64()) {
        (DataType::Decimal128(..), Some(float)) => decimal_of(float)?,
        _ => literal.cast_exactly(to)?,
    };
    Some(Expression::Literal(fitting))
}

/// The decimal that a person means who writes this float: 0.05 and not 0.05000000000000000277.
fn decimal_of(float: f64) -> Option<Literal> {
    let text = float.is_finite().then(|| float.to_string())?;
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let digits = format!("{whole}{fraction}");
    let precision = u8::try_from(digits.trim_start_matches(['-', '0']).len().max(fraction.len()).max(1)).ok()?;
    let scale = i8::try_from(fraction.len()).ok()?;
    (precision <= DECIMAL128_MAX_PRECISION).then(|| Some(Literal::decimal(digits.parse().ok()?, precision, scale)))?
}

fn operator_of(op: BinaryOp) -> Operator {
    match op {
        BinaryOp::Eq => Operator::Eq,
        BinaryOp::NotEq => Operator::NotEq,
        BinaryOp::Lt => Operator::Lt,
        BinaryOp::LtEq => Operator::LtEq,
        BinaryOp::Gt => Operator::Gt,
        BinaryOp::GtEq => Operator::GtEq,
        BinaryOp::IsDistinctFrom => Operator::IsDistinctFrom,
        BinaryOp::IsNotDistinctFrom => Operator::IsNotDistinctFrom,
        BinaryOp::Plus => Operator::Plus,
        BinaryOp::Minus => Operator::Minus,
        BinaryOp::Multiply => Operator::Multiply,
        BinaryOp::Divide => Operator::Divide,
        BinaryOp::Modulo => Operator::Modulo,
        BinaryOp::And => Operator::And,
        BinaryOp::Or => Operator::Or,
        BinaryOp::Concat => Operator::StringConcat,
        BinaryOp::BitAnd => Operator::BitwiseAnd,
        BinaryOp::BitOr => Operator::BitwiseOr,
        BinaryOp::BitXor => Operator::BitwiseXor,
        BinaryOp::ShiftLeft => Operator::BitwiseShiftLeft,
        BinaryOp::ShiftRight => Operator::BitwiseShiftRight,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::batch::datatypes::Field;

    fn schema() -> Schema {
        Schema::new(vec![
            Field::new("i", DataType::Int32, true),
            Field::new("d", DataType::Decimal128(15, 2), true),
            Field::new("day", DataType::Date32, true),
            Field::new("s", DataType::Utf8View, true),
            Field::new("u", DataType::Utf8, true),
            Field::new("f", DataType::Float64, true),
        ])
    }

    #[test]
    fn binds_names_and_brings_literals_to_the_columns_type() {
        let check = |named: Named, expected: &str| assert_eq!(named.bind(&schema()).unwrap().show(&schema()), expected);
        check(col("i").eq(7i64), "i = 7");
        check(col("i").eq(i64::MAX), "CAST(i AS Int64) = 9223372036854775807");
        check(col("i").lt(1.5), "CAST(i AS Float64) < 1.5");
        check(col("day").lt_eq("1998-09-02"), "day <= 1998-09-02");
        check(col("u").eq("x").and(col("s").eq(col("u"))), "u = 'x' AND s = CAST(u AS Utf8View)");
        check(col("s").in_list(["a", "b"]).or(!col("i").is_null()), "s IN ('a', 'b') OR NOT i IS NULL");
        check((col("i") + 1i64) * col("f") - 2.5, "CAST(i + 1 AS Float64) * f - 2.5");
    }

    #[test]
    fn a_decimal_times_a_written_fraction_stays_decimal() {
        let bound = (col("d") * 0.05).bind(&schema()).unwrap();
        assert!(matches!(bound.data_type(&schema()).unwrap(), DataType::Decimal128(_, 4)));
        let compared = col("d").gt_eq(0.05).bind(&schema()).unwrap();
        assert_eq!(compared.show(&schema()), "d >= 0.05");
        assert_eq!(decimal_of(-12.5), Some(Literal::decimal(-125, 3, 1)));
        assert_eq!(decimal_of(0.001), Some(Literal::decimal(1, 3, 3)));
        assert_eq!(decimal_of(f64::NAN), None);
    }

    #[test]
    fn says_which_columns_there_are() {
        let error = col("nope").eq(1i64).bind(&schema()).unwrap_err();
        assert!(error.is_user() && error.hint().unwrap().contains("day"));
        assert!(col("i").bind_predicate(&schema()).is_err());
        assert!(col("i").and(col("s")).bind(&schema()).is_err());
    }
}
