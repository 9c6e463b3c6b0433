//! What can go wrong while an expression is bound or evaluated, beside what arrow's kernels say themselves.
//!
//! In: the failing expression and the library's own error. Out: [`ExpressionError`], with that error as its source. Never: turns
//! a typed error into text. `sql/` looks the `token` of [`ExpressionError::Unsupported`] up in the statement to show its place.

use datafusion_common::DataFusionError;

use crate::{
    batch::{ArrowError, datatypes::DataType},
    error::{Cause, Kind},
};

/// Why an expression could not be bound or evaluated.
#[derive(Debug, thiserror::Error)]
pub enum ExpressionError {
    /// It is valid SQL that Windrow does not run.
    #[error("{what} is not supported")]
    Unsupported {
        /// What was asked for, as a noun.
        what: String,
        /// The word of the SQL text it stands at, in capitals when it is a keyword.
        token: Option<String>,
    },
    /// A function or a type rule of DataFusion said no.
    #[error("cannot {what}")]
    Library {
        /// What was tried, as "evaluate upper".
        what: String,
        /// Why it failed.
        source: Box<DataFusionError>,
    },
    /// A builder of the Rust API named a column that is not there.
    #[error("no column named {name:?}")]
    UnknownColumn {
        /// The name looked for.
        name: String,
        /// The names that are there.
        columns: Vec<String>,
    },
    /// The operands of an operator have no type in common.
    #[error("cannot put {left} and {right} together with {operator}")]
    Operands {
        /// Type of the left operand.
        left: DataType,
        /// The operator as SQL writes it.
        operator: &'static str,
        /// Type of the right operand.
        right: DataType,
    },
    /// An expression gives another type than its place needs.
    #[error("a {needed} was needed, this gives {found}: {expression}")]
    WrongType {
        /// The expression, drawn.
        expression: String,
        /// What it gives.
        found: DataType,
        /// What was needed.
        needed: DataType,
    },
    /// An operator has no result for a row's values: a division by zero, an overflow.
    #[error("computing {left} {operator} {right}")]
    Arithmetic {
        /// The operator as SQL writes it.
        operator: &'static str,
        /// Type of the left operand.
        left: DataType,
        /// Type of the right operand.
        right: DataType,
        /// What arrow's kernel said.
        source: ArrowError,
    },
    /// It is nested deeper than the walks over it go.
    #[error("the expression is nested {depth} deep, at most {depth_max} are walked")]
    TooDeep {
        /// Its depth.
        depth: usize,
        /// The bound, `limits::PLAN_DEPTH_MAX`.
        depth_max: usize,
    },
}

impl ExpressionError {
    /// Something that has no place of its own in the text.
    pub(crate) fn unsupported(what: impl Into<String>) -> ExpressionError {
        ExpressionError::Unsupported { what: what.into(), token: None }
    }

    /// Something that stands in the text at `token`.
    pub(crate) fn unsupported_at(what: impl Into<String>, token: impl Into<String>) -> ExpressionError {
        ExpressionError::Unsupported { what: what.into(), token: Some(token.into()) }
    }

    /// For `map_err`: an error of DataFusion while `what` was tried.
    pub(crate) fn library(what: impl Into<String>) -> impl FnOnce(DataFusionError) -> ExpressionError {
        let what = what.into();
        move |source| ExpressionError::Library { what, source: Box::new(source) }
    }
}

impl Cause for ExpressionError {
    fn kind(&self) -> Kind {
        match self {
            ExpressionError::Unsupported { .. } => Kind::Unsupported,
            ExpressionError::Library { source, .. } => library_kind(source),
            ExpressionError::Arithmetic { source, .. } => source.kind(),
            ExpressionError::UnknownColumn { .. }
            | ExpressionError::Operands { .. }
            | ExpressionError::WrongType { .. } => Kind::Request,
            ExpressionError::TooDeep { .. } => Kind::Limit,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            ExpressionError::UnknownColumn { columns, .. } => Some(format!("there are: {}", columns.join(", "))),
            ExpressionError::Arithmetic { source: ArrowError::DivideByZero, .. } => {
                Some("nullif(x, 0) as the divisor gives NULL where x is 0".to_owned())
            }
            ExpressionError::Arithmetic { source: ArrowError::ArithmeticOverflow(_), .. } => {
                Some("cast an operand to a wider type, as decimal(38, 2) or double".to_owned())
            }
            ExpressionError::Operands { .. } | ExpressionError::WrongType { .. } => {
                Some("say which type is meant, with a cast".to_owned())
            }
            _ => None,
        }
    }
}

/// The kind of an error that DataFusion gave, by what lies at its root.
pub(crate) fn library_kind(error: &DataFusionError) -> Kind {
    match error.find_root() {
        DataFusionError::ArrowError(arrow, _) => arrow.kind(),
        DataFusionError::NotImplemented(_) => Kind::Unsupported,
        DataFusionError::IoError(_) => Kind::Io,
        DataFusionError::Internal(_) => Kind::Internal,
        DataFusionError::ResourcesExhausted(_) => Kind::Limit,
        DataFusionError::Execution(_) | DataFusionError::External(_) => Kind::Job,
        _ => Kind::Request,
    }
}
