//! Walks over expressions: what they read, and the same expression over other columns.
//!
//! In: an expression. Out: its column numbers, its conjuncts, or a changed copy. Never: evaluates.
//!
//! One function knows where the children of each variant are ([`Expression::children_mut`] mirrors it); all others stand on it.

use std::collections::BTreeSet;

use super::{BinaryOp, Expression};

impl Expression {
    /// The expressions directly inside, in order.
    pub fn children(&self) -> Vec<&Expression> {
        match self {
            Expression::Column(_) | Expression::Literal(_) | Expression::Parameter { .. } => Vec::new(),
            Expression::Binary { left, right, .. } => vec![left, right],
            Expression::Not(input)
            | Expression::Negate(input)
            | Expression::IsNull(input)
            | Expression::IsTruth { input, .. }
            | Expression::Cast { input, .. } => vec![input],
            Expression::Case { branches, otherwise } => {
                branches.iter().flat_map(|(when, then)| [when, then]).chain(otherwise.as_deref()).collect()
            }
            Expression::InList { input, list, .. } => std::iter::once(&**input).chain(list).collect(),
            Expression::Like { input, pattern, .. } => vec![input, pattern],
            Expression::Function { arguments, .. } => arguments.iter().collect(),
        }
    }

    /// The expressions directly inside, in order, to be changed in place.
    pub fn children_mut(&mut self) -> Vec<&mut Expression> {
        match self {
            Expression::Column(_) | Expression::Literal(_) | Expression::Parameter { .. } => Vec::new(),
            Expression::Binary { left, right, .. } => vec![left, right],
            Expression::Not(input)
            | Expression::Negate(input)
            | Expression::IsNull(input)
            | Expression::IsTruth { input, .. }
            | Expression::Cast { input, .. } => vec![input],
            Expression::Case { branches, otherwise } => {
                branches.iter_mut().flat_map(|(when, then)| [when, then]).chain(otherwise.as_deref_mut()).collect()
            }
            Expression::InList { input, list, .. } => std::iter::once(&mut **input).chain(list).collect(),
            Expression::Like { input, pattern, .. } => vec![input, pattern],
            Expression::Function { arguments, .. } => arguments.iter_mut().collect(),
        }
    }

    /// Calls `visit` with this expression and everything inside it, outermost first.
    pub fn visit(&self, visit: &mut dyn FnMut(&Expression)) {
        visit(self);
        for child in self.children() {
            child.visit(visit);
        }
    }

    /// Adds the numbers of the columns it reads.
    pub fn columns_used(&self, columns: &mut BTreeSet<usize>) {
        self.visit(&mut |e| {
            if let Expression::Column(column) = e {
                columns.insert(*column);
            }
        });
    }

    /// Does its value depend on the row?
    pub fn uses_columns(&self) -> bool {
        matches!(self, Expression::Column(_)) || self.children().into_iter().any(Expression::uses_columns)
    }

    /// Adds the numbers of the parameters it reads.
    pub fn parameters_used(&self, parameters: &mut BTreeSet<usize>) {
        self.visit(&mut |e| {
            if let Expression::Parameter { number, .. } = e {
                parameters.insert(*number);
            }
        });
    }

    /// Reads neither a column nor a parameter.
    pub fn is_constant(&self) -> bool {
        match self {
            Expression::Column(_) | Expression::Parameter { .. } => false,
            _ => self.children().into_iter().all(Expression::is_constant),
        }
    }

    /// Gives every column the number that `number` gives for it.
    pub fn map_columns(&mut self, number: &dyn Fn(usize) -> usize) {
        match self {
            Expression::Column(column) => *column = number(*column),
            _ => self.children_mut().into_iter().for_each(|child| child.map_columns(number)),
        }
    }

    /// Puts `values[k]` in the place of column k.
    pub fn substitute(&mut self, values: &[Expression]) {
        match self {
            Expression::Column(column) => {
                if let Some(value) = values.get(*column) {
                    *self = value.clone();
                }
            }
            _ => self.children_mut().into_iter().for_each(|child| child.substitute(values)),
        }
    }

    /// The column's number, if it is nothing but a column.
    pub fn is_column(&self) -> Option<usize> {
        match self {
            Expression::Column(column) => Some(*column),
            _ => None,
        }
    }

    /// What must all be true for it to be true, in order.
    pub fn conjuncts(self) -> Vec<Expression> {
        self.flatten(BinaryOp::And)
    }

    /// True when all of `terms` are; `None` for no term.
    pub fn conjunction(terms: Vec<Expression>) -> Option<Expression> {
        Expression::balanced(BinaryOp::And, terms)
    }

    /// The operands of a chain of `op`, AND or OR, in order.
    pub(super) fn flatten(self, op: BinaryOp) -> Vec<Expression> {
        let (mut waiting, mut terms) = (vec![self], Vec::new());
        while let Some(next) = waiting.pop() {
            match next {
                Expression::Binary { op: this, left, right } if this == op => waiting.extend([*right, *left]),
                term => terms.push(term),
            }
        }
        terms
    }

    /// A chain of `op`, AND or OR, as a tree of logarithmic depth: generated filters have thousands of terms.
    pub(super) fn balanced(op: BinaryOp, mut terms: Vec<Expression>) -> Option<Expression> {
        match terms.len() {
            0 | 1 => terms.pop(),
            count => {
                let right = Expression::balanced(op, terms.split_off(count / 2))?;
                let left = Expression::balanced(op, terms)?;
                Some(Expression::Binary { op, left: Box::new(left), right: Box::new(right) })
            }
        }
    }

    /// Levels of nesting, one for a leaf. Does not recurse: it is asked before anything dares to.
    pub fn depth(&self) -> usize {
        let (mut deepest, mut waiting) = (0, vec![(self, 1)]);
        while let Some((next, depth)) = waiting.pop() {
            deepest = deepest.max(depth);
            waiting.extend(next.children().into_iter().map(|child| (child, depth + 1)));
        }
        deepest
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::{batch::datatypes::DataType, expression::Literal};

    fn equals(column: usize, value: i64) -> Expression {
        Expression::Binary {
            op: BinaryOp::Eq,
            left: Box::new(Expression::Column(column)),
            right: Box::new(Expression::Literal(Literal::from(value))),
        }
    }

    fn every_variant() -> Expression {
        let column = |k| Box::new(Expression::Column(k));
        Expression::Case {
            branches: vec![
                (Expression::Not(column(0)), Expression::Negate(column(1))),
                (Expression::IsNull(column(2)), Expression::IsTruth { input: column(3), truth: true }),
                (
                    Expression::InList { input: column(4), list: vec![Expression::Column(5)], is_negated: false },
                    Expression::Like { input: column(6), pattern: column(7), is_negated: false, ignores_case: false },
                ),
            ],
            otherwise: Some(Box::new(Expression::Cast {
                input: Box::new(Expression::Function {
                    name: "upper".to_owned(),
                    arguments: vec![
                        Expression::Column(8),
                        Expression::Parameter { number: 3, data_type: DataType::Utf8 },
                    ],
                    returns: DataType::Utf8,
                }),
                to: DataType::Utf8View,
                is_try: false,
            })),
        }
    }

    #[test]
    fn finds_and_renumbers_the_columns_of_every_variant() {
        let (mut expression, mut columns, mut parameters) = (every_variant(), BTreeSet::new(), BTreeSet::new());
        expression.columns_used(&mut columns);
        expression.parameters_used(&mut parameters);
        assert_eq!(columns, (0..9).collect());
        assert_eq!(parameters, BTreeSet::from([3]));
        expression.map_columns(&|k| k + 10);
        columns.clear();
        expression.columns_used(&mut columns);
        assert_eq!(columns, (10..19).collect());
    }

    #[test]
    fn substitutes_expressions_for_columns() {
        let mut expression = every_variant();
        expression.substitute(&(0..9).map(|k| equals(20 + k, 1)).collect::<Vec<_>>());
        let mut columns = BTreeSet::new();
        expression.columns_used(&mut columns);
        assert_eq!(columns, (20..29).collect());
    }

    #[test]
    fn takes_conjunctions_apart_and_puts_them_together() {
        let terms: Vec<_> = (0..1_000).map(|k| equals(k, 0)).collect();
        let joined = Expression::conjunction(terms.clone()).unwrap();
        assert!(joined.depth() < 16);
        assert_eq!(joined.conjuncts(), terms);
        assert_eq!(Expression::conjunction(Vec::new()), None);
    }
}
