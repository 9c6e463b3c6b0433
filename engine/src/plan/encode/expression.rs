//! Expressions, children before their parents.
//!
//! In: an expression. Out: its nodes in the order in which a stack machine would compute them, and the same expression again. Never: recursion;
//! an expression may be as deep as [`PLAN_DEPTH_MAX`](limits::PLAN_DEPTH_MAX), a thread's stack may be small.
//!
//! ```text
//!   a < 5 AND b    ──►    4 nodes … a  5  (<)  b  (AND)        each operator takes its operands from the top of the stack
//! ```

use super::{EncodeError, NODES_MAX, reader::Reader, tagged, within, writer::Writer};
use crate::{
    error::Result,
    expression::{BinaryOp, Expression, SortKey},
    limits,
};

tagged!(BinaryOp, "binary operator", {
    Eq = 0, NotEq = 1, Lt = 2, LtEq = 3, Gt = 4, GtEq = 5, IsDistinctFrom = 6, IsNotDistinctFrom = 7, Plus = 8, Minus = 9,
    Multiply = 10, Divide = 11, Modulo = 12, And = 13, Or = 14, Concat = 15, BitAnd = 16, BitOr = 17, BitXor = 18, ShiftLeft = 19,
    ShiftRight = 20
});

const COLUMN: u8 = 0;
const LITERAL: u8 = 1;
const PARAMETER: u8 = 2;
const BINARY: u8 = 3;
const NOT: u8 = 4;
const NEGATE: u8 = 5;
const IS_NULL: u8 = 6;
const IS_TRUTH: u8 = 7;
const CAST: u8 = 8;
const CASE: u8 = 9;
const IN_LIST: u8 = 10;
const LIKE: u8 = 11;
const FUNCTION: u8 = 12;

impl Writer {
    pub(super) fn expression(&mut self, expression: &Expression) -> Result<()> {
        within("levels of an expression", expression.depth(), limits::PLAN_DEPTH_MAX)?;
        let count_at = self.bytes.len();
        self.number("nodes", 0)?;
        let mut count = 0usize;
        let mut waiting = vec![(expression, false)];
        while let Some((next, children_stand)) = waiting.pop() {
            let children = if children_stand { Vec::new() } else { next.children() };
            if children.is_empty() {
                self.node(next)?;
                count += 1;
            } else {
                waiting.push((next, true));
                waiting.extend(children.into_iter().rev().map(|child| (child, false)));
            }
        }
        self.add_nodes(count)?;
        self.bytes[count_at..][..4].copy_from_slice(&(count as u32).to_le_bytes());
        Ok(())
    }

    pub(super) fn expressions(&mut self, what: &'static str, expressions: &[Expression]) -> Result<()> {
        self.list(what, expressions, Writer::expression)
    }

    pub(super) fn sort_key(&mut self, key: &SortKey) -> Result<()> {
        self.expression(&key.expression)?;
        self.flag(key.is_descending);
        self.flag(key.nulls_first);
        Ok(())
    }

    /// The node itself, its children standing before it.
    fn node(&mut self, node: &Expression) -> Result<()> {
        match node {
            Expression::Column(number) => {
                self.u8(COLUMN);
                self.number("columns", *number)?;
            }
            Expression::Literal(literal) => {
                self.u8(LITERAL);
                self.literal(literal)?;
            }
            Expression::Parameter { number, data_type } => {
                self.u8(PARAMETER);
                self.number("parameters", *number)?;
                self.data_type(data_type)?;
            }
            Expression::Binary { op, left: _, right: _ } => {
                self.u8(BINARY);
                self.tag(op);
            }
            Expression::Not(_) => self.u8(NOT),
            Expression::Negate(_) => self.u8(NEGATE),
            Expression::IsNull(_) => self.u8(IS_NULL),
            Expression::IsTruth { input: _, truth } => {
                self.u8(IS_TRUTH);
                self.flag(*truth);
            }
            Expression::Cast { input: _, to, is_try } => {
                self.u8(CAST);
                self.flag(*is_try);
                self.data_type(to)?;
            }
            Expression::Case { branches, otherwise } => {
                self.u8(CASE);
                self.number("branches", branches.len())?;
                self.flag(otherwise.is_some());
            }
            Expression::InList { input: _, list, is_negated } => {
                self.u8(IN_LIST);
                self.number("values of an IN list", list.len())?;
                self.flag(*is_negated);
            }
            Expression::Like { input: _, pattern: _, is_negated, ignores_case } => {
                self.u8(LIKE);
                self.flag(*is_negated);
                self.flag(*ignores_case);
            }
            Expression::Function { name, arguments, returns } => {
                self.u8(FUNCTION);
                self.text("name of a function", name)?;
                self.number("arguments", arguments.len())?;
                self.data_type(returns)?;
            }
        }
        Ok(())
    }
}

impl Reader<'_> {
    pub(super) fn expression(&mut self) -> Result<Expression> {
        let count = self.count("nodes of an expression", NODES_MAX)?;
        self.add_nodes(count)?;
        let mut operands = Operands::default();
        for _ in 0..count {
            let node = self.node(&mut operands)?;
            operands.push(node)?;
        }
        let expression = operands.one()?;
        // What is left over belongs to nothing.
        if operands.stack.is_empty() {
            Ok(expression)
        } else {
            Err(EncodeError::Malformed { what: "expression" }.into())
        }
    }

    pub(super) fn expressions(&mut self, what: &'static str) -> Result<Vec<Expression>> {
        self.list(what, |reader| reader.expression())
    }

    pub(super) fn sort_key(&mut self) -> Result<SortKey> {
        Ok(SortKey {
            expression: self.expression()?,
            is_descending: self.flag("direction")?,
            nulls_first: self.flag("place of NULLs")?,
        })
    }

    fn node(&mut self, operands: &mut Operands) -> Result<Expression> {
        Ok(match self.u8("expression")? {
            COLUMN => Expression::Column(self.number("number of a column")?),
            LITERAL => Expression::Literal(self.literal()?),
            PARAMETER => {
                Expression::Parameter { number: self.number("number of a parameter")?, data_type: self.data_type()? }
            }
            BINARY => {
                let (right, left) = (operands.boxed()?, operands.boxed()?);
                Expression::Binary { op: self.tag()?, left, right }
            }
            NOT => Expression::Not(operands.boxed()?),
            NEGATE => Expression::Negate(operands.boxed()?),
            IS_NULL => Expression::IsNull(operands.boxed()?),
            IS_TRUTH => Expression::IsTruth { truth: self.flag("truth")?, input: operands.boxed()? },
            CAST => Expression::Cast {
                is_try: self.flag("kind of a cast")?,
                to: self.data_type()?,
                input: operands.boxed()?,
            },
            CASE => {
                let count = self.number("branches")?;
                let otherwise = if self.flag("ELSE")? { Some(operands.boxed()?) } else { None };
                let mut values = operands.many(count.saturating_mul(2))?.into_iter();
                let branches = std::iter::from_fn(|| Some((values.next()?, values.next()?))).collect();
                Expression::Case { branches, otherwise }
            }
            IN_LIST => {
                let list = operands.many(self.number("values of an IN list")?)?;
                Expression::InList { input: operands.boxed()?, list, is_negated: self.flag("NOT IN")? }
            }
            LIKE => {
                let (pattern, input) = (operands.boxed()?, operands.boxed()?);
                let (is_negated, ignores_case) = (self.flag("NOT LIKE")?, self.flag("ILIKE")?);
                Expression::Like { input, pattern, is_negated, ignores_case }
            }
            FUNCTION => {
                let name = self.text("name of a function")?.to_owned();
                let arguments = operands.many(self.number("arguments")?)?;
                Expression::Function { name, arguments, returns: self.data_type()? }
            }
            found => return Err(EncodeError::UnknownTag { what: "expression", found }.into()),
        })
    }
}

/// Expressions that wait for the operator that takes them, each with its depth.
#[derive(Default)]
struct Operands {
    stack: Vec<(Expression, usize)>,
    /// The deepest of those that the node at work has taken.
    taken_depth: usize,
}

impl Operands {
    /// The node that has taken its operands.
    fn push(&mut self, node: Expression) -> Result<(), EncodeError> {
        let depth =
            within("levels of an expression", std::mem::take(&mut self.taken_depth) + 1, limits::PLAN_DEPTH_MAX)?;
        self.stack.push((node, depth));
        Ok(())
    }

    fn one(&mut self) -> Result<Expression, EncodeError> {
        let (expression, depth) = self.stack.pop().ok_or(EncodeError::Malformed { what: "expression" })?;
        self.taken_depth = self.taken_depth.max(depth);
        Ok(expression)
    }

    fn boxed(&mut self) -> Result<Box<Expression>, EncodeError> {
        self.one().map(Box::new)
    }

    /// The last `count`, in order.
    fn many(&mut self, count: usize) -> Result<Vec<Expression>, EncodeError> {
        let first = self.stack.len().checked_sub(count).ok_or(EncodeError::Malformed { what: "expression" })?;
        let taken = self.stack.drain(first..);
        let mut expressions = Vec::with_capacity(count);
        for (expression, depth) in taken {
            self.taken_depth = self.taken_depth.max(depth);
            expressions.push(expression);
        }
        Ok(expressions)
    }
}
