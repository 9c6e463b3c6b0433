//! What is asked of a window, and why it may be refused.
//!
//! In: expressions and calls. Out: the sort that puts its rows in order. Never: computes.

use crate::{
    batch::datatypes::{DataType, SchemaRef},
    error::{Cause, Kind},
    expression::{Bound, Expression, FrameUnits, Literal, RankBound, SortKey, WindowCall, WindowFunction},
    operator::sort::{SortSpec, Ties},
};

/// Which rows belong together, in which order, and what is computed of them.
#[derive(Clone, Debug)]
pub struct WindowSpec {
    /// Rows with equal values of these are a partition; with none, all rows are.
    pub partition: Vec<Expression>,
    /// The order within a partition.
    pub order: Vec<SortKey>,
    /// The functions.
    pub calls: Vec<WindowCall>,
    /// Which rows are given, if not all.
    pub bound: Option<RankBound>,
    /// The input's columns.
    pub input: SchemaRef,
    /// The input's columns, then one a call.
    pub output: SchemaRef,
}

impl WindowSpec {
    /// The order of all rows: by partition, then by the order within it.
    pub(super) fn sort(&self) -> SortSpec {
        let by_partition = self.partition.iter().map(|expression| SortKey {
            expression: expression.clone(),
            is_descending: false,
            nulls_first: false,
        });
        let mut keys: Vec<SortKey> = by_partition.chain(self.order.iter().cloned()).collect();
        if keys.is_empty() && self.ties() == Ties::Stay {
            // Without keys a sort goes by content, which nobody asks for here.
            keys.push(SortKey {
                expression: Expression::Literal(Literal::from(0_i64)),
                is_descending: false,
                nulls_first: false,
            });
        }
        SortSpec { keys, schema: SchemaRef::clone(&self.input), skip: 0, fetch: None }
    }

    /// Whether some call can tell peers apart.
    pub(super) fn ties(&self) -> Ties {
        let tells_apart = |call: &WindowCall| match &call.function {
            WindowFunction::Rank
            | WindowFunction::DenseRank
            | WindowFunction::PercentRank
            | WindowFunction::CumeDist => false,
            WindowFunction::Aggregate(_) => {
                let is_of_rows = |bound: &Bound| !matches!(bound, Bound::Unbounded);
                call.frame.units == FrameUnits::Rows && (is_of_rows(&call.frame.start) || is_of_rows(&call.frame.end))
            }
            WindowFunction::RowNumber
            | WindowFunction::Ntile(_)
            | WindowFunction::Shifted { .. }
            | WindowFunction::Nth { .. } => true,
        };
        if self.calls.iter().any(tells_apart) { Ties::Broken } else { Ties::Stay }
    }
}

/// Why a window cannot be computed.
#[derive(Debug, thiserror::Error)]
pub enum WindowError {
    /// The rows of one partition, with what is computed of them, take more memory than there is.
    #[error("compute window functions: a partition of at least {rows} rows does not fit into memory")]
    TooLong {
        /// Rows of the partition that were seen.
        rows: usize,
        /// What was refused.
        source: crate::error::Error,
    },
    /// Rows of a partition are numbered in 32 bits.
    #[error("compute window functions: a partition has more than 2^32 rows")]
    TooManyRows,
    /// The default of lag or lead, or a frame's bound, has another type than the value it stands beside.
    #[error("compute {call}: a value of type {found} beside one of type {expected}")]
    Type {
        /// The call, as SQL writes it.
        call: String,
        /// What it is.
        found: DataType,
        /// What it must be.
        expected: DataType,
    },
}

impl Cause for WindowError {
    fn kind(&self) -> Kind {
        match self {
            WindowError::TooLong { .. } | WindowError::TooManyRows => Kind::Limit,
            WindowError::Type { .. } => Kind::Unsupported,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            WindowError::TooLong { .. } => {
                Some("give more memory, or partition the rows by another column, too".to_owned())
            }
            WindowError::TooManyRows => Some("partition the rows by another column, too".to_owned()),
            WindowError::Type { .. } => Some("cast it to that type".to_owned()),
        }
    }
}
