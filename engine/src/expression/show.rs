//! Expressions as EXPLAIN prints them.
//!
//! In: an expression, with or without the names of its input's columns. Out: text near SQL. Never: text that is parsed again.

use std::fmt::{self, Display, Formatter, Write};

use super::{AggregateCall, AggregateFunction, BinaryOp, Expression, Literal, SortKey};
use crate::batch::datatypes::Schema;

/// An expression with the names of the columns it is over.
#[derive(Clone, Copy)]
struct Shown<'a> {
    expression: &'a Expression,
    names: Option<&'a Schema>,
}

impl Expression {
    /// As text, with the input's column names in the place of their numbers.
    pub fn show(&self, input: &Schema) -> String {
        Shown { expression: self, names: Some(input) }.to_string()
    }

    /// As text inside an operator that binds as tightly as `level`.
    fn level(&self) -> u8 {
        match self {
            Expression::Binary { op, .. } => op.level(),
            Expression::Not(_) => 3,
            Expression::IsNull(_)
            | Expression::IsTruth { .. }
            | Expression::InList { .. }
            | Expression::Like { .. } => 4,
            _ => 9,
        }
    }
}

impl BinaryOp {
    /// As SQL writes it.
    pub fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Eq => "=",
            BinaryOp::NotEq => "<>",
            BinaryOp::Lt => "<",
            BinaryOp::LtEq => "<=",
            BinaryOp::Gt => ">",
            BinaryOp::GtEq => ">=",
            BinaryOp::IsDistinctFrom => "IS DISTINCT FROM",
            BinaryOp::IsNotDistinctFrom => "IS NOT DISTINCT FROM",
            BinaryOp::Plus => "+",
            BinaryOp::Minus => "-",
            BinaryOp::Multiply => "*",
            BinaryOp::Divide => "/",
            BinaryOp::Modulo => "%",
            BinaryOp::And => "AND",
            BinaryOp::Or => "OR",
            BinaryOp::Concat => "||",
            BinaryOp::BitAnd => "&",
            BinaryOp::BitOr => "|",
            BinaryOp::BitXor => "^",
            BinaryOp::ShiftLeft => "<<",
            BinaryOp::ShiftRight => ">>",
        }
    }

    /// How tightly it binds; children that bind less need parentheses.
    fn level(self) -> u8 {
        match self {
            BinaryOp::Or => 1,
            BinaryOp::And => 2,
            BinaryOp::BitAnd | BinaryOp::BitOr | BinaryOp::BitXor | BinaryOp::ShiftLeft | BinaryOp::ShiftRight => 5,
            BinaryOp::Plus | BinaryOp::Minus | BinaryOp::Concat => 6,
            BinaryOp::Multiply | BinaryOp::Divide | BinaryOp::Modulo => 7,
            _ => 4,
        }
    }
}

impl Display for Expression {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Shown { expression: self, names: None }.fmt(f)
    }
}

impl<'a> Shown<'a> {
    fn child(self, expression: &'a Expression) -> Shown<'a> {
        Shown { expression, ..self }
    }

    /// `child`, in parentheses if it binds less tightly than `level`.
    fn write_child(self, f: &mut Formatter<'_>, child: &'a Expression, level: u8) -> fmt::Result {
        if child.level() < level { write!(f, "({})", self.child(child)) } else { self.child(child).fmt(f) }
    }

    fn write_list(self, f: &mut Formatter<'_>, list: &'a [Expression]) -> fmt::Result {
        f.write_char('(')?;
        for (k, item) in list.iter().enumerate() {
            f.write_str(if k == 0 { "" } else { ", " })?;
            self.child(item).fmt(f)?;
        }
        f.write_char(')')
    }
}

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let not = |is_negated: bool| if is_negated { " NOT" } else { "" };
        match self.expression {
            Expression::Column(column) => match self.names.and_then(|names| names.fields().get(*column)) {
                Some(field) => f.write_str(field.name()),
                None => write!(f, "#{column}"),
            },
            Expression::Literal(literal) => literal.fmt(f),
            Expression::Parameter { number, .. } => write!(f, "${number}"),
            Expression::Binary { op, left, right } => {
                self.write_child(f, left, op.level())?;
                write!(f, " {} ", op.symbol())?;
                // The chains of AND and OR are balanced trees, so grouping to the right says nothing there.
                let is_chain = matches!(op, BinaryOp::And | BinaryOp::Or);
                self.write_child(f, right, op.level() + u8::from(!is_chain))
            }
            Expression::Not(input) => {
                f.write_str("NOT ")?;
                self.write_child(f, input, 4)
            }
            Expression::Negate(input) => {
                f.write_char('-')?;
                self.write_child(f, input, 9)
            }
            Expression::IsNull(input) => {
                self.write_child(f, input, 5)?;
                f.write_str(" IS NULL")
            }
            Expression::IsTruth { input, truth } => {
                self.write_child(f, input, 5)?;
                write!(f, " IS {}", if *truth { "TRUE" } else { "FALSE" })
            }
            Expression::Cast { input, to, is_try } => {
                write!(f, "{}({} AS {to})", if *is_try { "TRY_CAST" } else { "CAST" }, self.child(input))
            }
            Expression::Case { branches, otherwise } => {
                f.write_str("CASE")?;
                for (when, then) in branches {
                    write!(f, " WHEN {} THEN {}", self.child(when), self.child(then))?;
                }
                if let Some(otherwise) = otherwise {
                    write!(f, " ELSE {}", self.child(otherwise))?;
                }
                f.write_str(" END")
            }
            Expression::InList { input, list, is_negated } => {
                self.write_child(f, input, 5)?;
                write!(f, "{} IN ", not(*is_negated))?;
                self.write_list(f, list)
            }
            Expression::Like { input, pattern, is_negated, ignores_case } => {
                self.write_child(f, input, 5)?;
                write!(f, "{} {} ", not(*is_negated), if *ignores_case { "ILIKE" } else { "LIKE" })?;
                self.write_child(f, pattern, 5)
            }
            Expression::Function { name, arguments, .. } => {
                f.write_str(name)?;
                self.write_list(f, arguments)
            }
        }
    }
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.is_null() {
            return f.write_str("NULL");
        }
        match self.as_str() {
            Some(text) => write!(f, "'{}'", text.replace('\'', "''")),
            None => write!(f, "{}", self.scalar()),
        }
    }
}

impl SortKey {
    /// As ORDER BY writes it, with the input's column names.
    pub fn show(&self, input: &Schema) -> String {
        let direction = if self.is_descending { " DESC" } else { "" };
        // NULLs last is what SQL does for an ascending key, and first for a descending one.
        let nulls = match (self.nulls_first, self.is_descending) {
            (true, false) => " NULLS FIRST",
            (false, true) => " NULLS LAST",
            _ => "",
        };
        format!("{}{direction}{nulls}", self.expression.show(input))
    }
}

impl AggregateFunction {
    /// As SQL names it.
    pub fn name(self) -> &'static str {
        match self {
            AggregateFunction::Count => "count",
            AggregateFunction::Sum => "sum",
            AggregateFunction::Avg => "avg",
            AggregateFunction::Min => "min",
            AggregateFunction::Max => "max",
            AggregateFunction::BoolAnd => "bool_and",
            AggregateFunction::BoolOr => "bool_or",
            AggregateFunction::BitAnd => "bit_and",
            AggregateFunction::BitOr => "bit_or",
            AggregateFunction::BitXor => "bit_xor",
            AggregateFunction::VarSample => "var_samp",
            AggregateFunction::VarPopulation => "var_pop",
            AggregateFunction::StddevSample => "stddev_samp",
            AggregateFunction::StddevPopulation => "stddev_pop",
            AggregateFunction::Corr => "corr",
            AggregateFunction::CovarSample => "covar_samp",
            AggregateFunction::CovarPopulation => "covar_pop",
            AggregateFunction::RegrSlope => "regr_slope",
            AggregateFunction::RegrIntercept => "regr_intercept",
            AggregateFunction::RegrR2 => "regr_r2",
            AggregateFunction::RegrAvgX => "regr_avgx",
            AggregateFunction::RegrAvgY => "regr_avgy",
            AggregateFunction::RegrSxx => "regr_sxx",
            AggregateFunction::RegrSyy => "regr_syy",
            AggregateFunction::RegrSxy => "regr_sxy",
        }
    }
}

impl AggregateCall {
    /// As SQL writes it, with the input's column names.
    pub fn show(&self, input: &Schema) -> String {
        let arguments: Vec<_> = self.arguments.iter().map(|argument| argument.show(input)).collect();
        let arguments = if arguments.is_empty() { "*".to_owned() } else { arguments.join(", ") };
        let distinct = if self.is_distinct { "DISTINCT " } else { "" };
        let filter = match &self.filter {
            Some(filter) => format!(" FILTER (WHERE {})", filter.show(input)),
            None => String::new(),
        };
        format!("{}({distinct}{arguments}){filter}", self.function.name())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::batch::datatypes::{DataType, Field};

    #[test]
    fn prints_names_or_numbers_with_the_parentheses_that_are_needed() {
        let binary = |op, left, right| Expression::Binary { op, left: Box::new(left), right: Box::new(right) };
        let column = Expression::Column;
        let sum = binary(BinaryOp::Plus, column(0), column(1));
        let product = binary(BinaryOp::Multiply, sum.clone(), Expression::Literal(Literal::from(2i64)));
        let test = binary(BinaryOp::Lt, product, Expression::Literal(Literal::from("it's")));
        let either = binary(BinaryOp::Or, Expression::IsNull(Box::new(column(1))), test);
        let both = binary(BinaryOp::And, Expression::Not(Box::new(sum)), either);
        assert_eq!(both.to_string(), "NOT #0 + #1 AND (#1 IS NULL OR (#0 + #1) * 2 < 'it''s')");
        let schema = Schema::new(vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Int64, true)]);
        assert_eq!(both.show(&schema), "NOT a + b AND (b IS NULL OR (a + b) * 2 < 'it''s')");
    }
}
