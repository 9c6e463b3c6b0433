//! What type an expression gives, and whether it may give NULL.
//!
//! In: an expression and its input's schema. Out: a type that equals what the evaluator gives, to the scale of a decimal. Never:
//! a rule of its own for arithmetic: the kernel that will run is run on empty columns.

use super::{BinaryOp, Expression, evaluate};
use crate::{
    batch::{
        array::new_empty_array,
        datatypes::{DataType, Schema},
    },
    error::{Result, bug},
};

impl Expression {
    /// The type of its value over `input`.
    pub fn data_type(&self, input: &Schema) -> Result<DataType> {
        Ok(match self {
            Expression::Column(column) => match input.fields().get(*column) {
                Some(field) => field.data_type().clone(),
                None => return Err(bug("expression", format!("column #{column} of {} columns", input.fields().len()))),
            },
            Expression::Literal(literal) => literal.data_type(),
            Expression::Parameter { data_type, .. } => data_type.clone(),
            Expression::Binary { op, left, right } => {
                if op.is_comparison() || matches!(op, BinaryOp::And | BinaryOp::Or) {
                    return Ok(DataType::Boolean);
                }
                let left = new_empty_array(&left.data_type(input)?);
                let right = new_empty_array(&right.data_type(input)?);
                evaluate::combine(*op, &left, &right)?.data_type().clone()
            }
            Expression::Negate(inner) => inner.data_type(input)?,
            Expression::Not(_)
            | Expression::IsNull(_)
            | Expression::IsTruth { .. }
            | Expression::InList { .. }
            | Expression::Like { .. } => DataType::Boolean,
            Expression::Cast { to, .. } => to.clone(),
            Expression::Case { branches, otherwise } => {
                let values = branches.iter().map(|(_, then)| then).chain(otherwise.as_deref());
                let mut found = DataType::Null;
                for value in values {
                    found = value.data_type(input)?;
                    if found != DataType::Null {
                        break;
                    }
                }
                found
            }
            Expression::Function { returns, .. } => returns.clone(),
        })
    }

    /// May it be NULL for some row of `input`? `true` where that is not known.
    pub fn is_nullable(&self, input: &Schema) -> bool {
        match self {
            Expression::Column(column) => input.fields().get(*column).is_none_or(|field| field.is_nullable()),
            Expression::Literal(literal) => literal.is_null(),
            Expression::IsNull(_)
            | Expression::IsTruth { .. }
            | Expression::Binary { op: BinaryOp::IsDistinctFrom | BinaryOp::IsNotDistinctFrom, .. } => false,
            Expression::Parameter { .. } | Expression::Function { .. } | Expression::Cast { is_try: true, .. } => true,
            Expression::Case { branches, otherwise } => {
                otherwise.as_ref().is_none_or(|otherwise| otherwise.is_nullable(input))
                    || branches.iter().any(|(_, then)| then.is_nullable(input))
            }
            _ => self.children().into_iter().any(|child| child.is_nullable(input)),
        }
    }
}

impl BinaryOp {
    /// `+ - * / %`.
    pub fn is_arithmetic(self) -> bool {
        matches!(self, BinaryOp::Plus | BinaryOp::Minus | BinaryOp::Multiply | BinaryOp::Divide | BinaryOp::Modulo)
    }

    /// Gives a truth from two values of one type.
    pub fn is_comparison(self) -> bool {
        use BinaryOp::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
        matches!(self, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
    }
}
