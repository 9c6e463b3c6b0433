//! Windrow's one expression: data, bound once, evaluated on batches.
//!
//! In: DataFusion's expressions, bound in `sql/` and turned into ours here; or the builders of the Rust API. Out: columns.
//! Never: names; a column is its index in the input. Never: a second enum of the same variants.
//!
//! With `sql/` the only folder that knows DataFusion: literals are its scalar values, functions are found by name in its
//! registry and run by its kernels; comparison, arithmetic, logic, CASE, LIKE and casts are run here on arrow's kernels.

mod aggregates; // AggregateFunction, AggregateClass: the class table of aggregates
mod bind; // from_datafusion: DataFusion's Expr to ours
mod build; // col, lit and the operators of the Rust API
mod data_type; // Expression::data_type
pub(crate) mod error; // ExpressionError
mod evaluate; // Evaluator, Value: an expression prepared for a schema, run on batches
pub(crate) mod functions; // the registry of scalar functions; fixed options
mod literal; // Literal: one value, typed
mod show; // Display, as EXPLAIN prints it
mod walk; // children, columns used, rewriting of column numbers
mod windows; // WindowCall, Frame: what OVER asks for

pub use aggregates::{AggregateCall, AggregateClass, AggregateFunction, class_of};
pub(crate) use bind::{Scope, Subqueries, from_datafusion, sort_key_from_datafusion};
pub use build::{Named, col, lit};
pub use error::ExpressionError;
pub(crate) use evaluate::can_fail;
pub use evaluate::{Evaluator, Parameters, Value};
pub use literal::Literal;
pub use windows::{Bound, Frame, FrameUnits, RankBound, WindowCall, WindowFunction};

use crate::batch::datatypes::DataType;

/// A value for each row of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expression {
    /// The input's column of this number.
    Column(usize),
    /// The same value for every row.
    Literal(Literal),
    /// A value that becomes known while the job runs: a scalar subquery's.
    Parameter {
        /// Its number in the plan.
        number: usize,
        /// Its type.
        data_type: DataType,
    },
    /// `left op right`.
    Binary {
        /// What is done.
        op: BinaryOp,
        /// Left operand.
        left: Box<Expression>,
        /// Right operand; of the left one's type, except for dates and intervals.
        right: Box<Expression>,
    },
    /// Logical negation; NULL stays NULL.
    Not(Box<Expression>),
    /// `- input`.
    Negate(Box<Expression>),
    /// IS NULL.
    IsNull(Box<Expression>),
    /// IS TRUE, IS FALSE: never NULL. (IS UNKNOWN is IS NULL of a boolean.)
    IsTruth {
        /// A boolean.
        input: Box<Expression>,
        /// Which truth.
        truth: bool,
    },
    /// CAST, or TRY_CAST, which gives NULL where the value does not fit.
    Cast {
        /// What is cast.
        input: Box<Expression>,
        /// To which type.
        to: DataType,
        /// TRY_CAST.
        is_try: bool,
    },
    /// CASE WHEN … THEN … ELSE … END; the form with an operand is written as equalities.
    Case {
        /// Condition and value, the first true condition counts.
        branches: Vec<(Expression, Expression)>,
        /// NULL where absent.
        otherwise: Option<Box<Expression>>,
    },
    /// `input IN (list)`.
    InList {
        /// What is looked for.
        input: Box<Expression>,
        /// Where.
        list: Vec<Expression>,
        /// NOT IN.
        is_negated: bool,
    },
    /// `input LIKE pattern`.
    Like {
        /// A string.
        input: Box<Expression>,
        /// `%` any run, `_` any character.
        pattern: Box<Expression>,
        /// NOT LIKE.
        is_negated: bool,
        /// ILIKE.
        ignores_case: bool,
    },
    /// A scalar function by name.
    Function {
        /// Its name in the registry.
        name: String,
        /// Its arguments.
        arguments: Vec<Expression>,
        /// What it returns, as bound.
        returns: DataType,
    },
}

/// The binary operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it all")]
pub enum BinaryOp {
    Eq,
    NotEq,
    Lt,
    LtEq,
    Gt,
    GtEq,
    IsDistinctFrom,
    IsNotDistinctFrom,
    Plus,
    Minus,
    Multiply,
    Divide,
    Modulo,
    And,
    Or,
    Concat,
    BitAnd,
    BitOr,
    BitXor,
    ShiftLeft,
    ShiftRight,
}

/// One key of an ORDER BY.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SortKey {
    /// What is compared.
    pub expression: Expression,
    /// Largest first.
    pub is_descending: bool,
    /// NULLs before the values.
    pub nulls_first: bool,
}
