//! Functions over the rows around a row: what OVER asks for.
//!
//! In: the binder. Out: [`WindowCall`]s. Never: computes; `operator/window` does.
//!
//! ```text
//!   partition   the rows whose PARTITION BY values are those of the row, in order of ORDER BY, then of their content
//!   peers       the rows of the partition whose ORDER BY values are those of the row
//!   frame       rows of the partition that stand together: those between two bounds
//! ```

use super::{AggregateCall, Expression};
use crate::batch::datatypes::{DataType, Schema};

/// One column that a [`crate::plan::logical::Node::Window`] adds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WindowCall {
    /// Which.
    pub function: WindowFunction,
    /// Over which rows of the partition, where the function looks at them.
    pub frame: Frame,
    /// The type of the result.
    pub returns: DataType,
}

/// Only the first rows of each partition are wanted: the others are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankBound {
    /// Which of the calls says how many rows come first: row_number, rank or dense_rank.
    pub call: usize,
    /// Its greatest value, 1 at least, of a row that is given.
    pub most: u64,
}

/// The window functions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WindowFunction {
    /// The row's number in its partition, from 1.
    RowNumber,
    /// The number of the first of its peers.
    Rank,
    /// The number of its group of peers.
    DenseRank,
    /// `(rank - 1) / (rows - 1)`; 0 for a row that is alone.
    PercentRank,
    /// The share of the partition's rows up to the last of its peers.
    CumeDist,
    /// The number of its bucket, where the partition is cut into so many, from 1; the first ones are longer by one row.
    Ntile(u64),
    /// The value of the row that stands so many rows further on; `default` where there is none.
    Shifted {
        /// Which value.
        value: Expression,
        /// How far; before the row where negative.
        offset: i64,
        /// A value of the same type, the same for all rows; NULL if there is none.
        default: Option<Expression>,
        /// Rows whose value is NULL are not counted.
        ignores_nulls: bool,
    },
    /// The value of the frame's row of this number; NULL if it has fewer.
    Nth {
        /// Which value.
        value: Expression,
        /// From 1; counted from the end where negative: -1 is the last.
        number: i64,
        /// Rows whose value is NULL are not counted.
        ignores_nulls: bool,
    },
    /// An aggregate over the frame.
    Aggregate(AggregateCall),
}

/// Which rows of the partition: from one bound to another, both included.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// In what offsets count.
    pub units: FrameUnits,
    /// Where it begins.
    pub start: Bound,
    /// Where it ends. A frame that ends before it begins is empty.
    pub end: Bound,
}

/// In what a frame's offsets count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameUnits {
    /// Rows; the current row is itself.
    Rows,
    /// Groups of peers; the current row stands for its peers.
    Groups,
    /// Distance of the order's value; the current row stands for its peers.
    Range,
}

/// An end of a frame.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Bound {
    /// The partition's first row, or its last.
    Unbounded,
    /// The current row.
    Current,
    /// So many rows or groups further on; before the row where negative.
    Offset(i64),
    /// Of RANGE: rows whose order value is not before this one (a start), or not behind it (an end).
    Value(Expression),
}

impl Frame {
    /// Every row of the partition.
    pub const fn whole() -> Frame {
        Frame { units: FrameUnits::Rows, start: Bound::Unbounded, end: Bound::Unbounded }
    }
}

impl WindowCall {
    /// The expressions over the input's columns.
    pub fn expressions(&self) -> Vec<&Expression> {
        let mut found = Vec::new();
        match &self.function {
            WindowFunction::Shifted { value, default, .. } => found.extend(std::iter::once(value).chain(default)),
            WindowFunction::Nth { value, .. } => found.push(value),
            WindowFunction::Aggregate(call) => {
                found.extend(call.arguments.iter().chain(&call.filter));
                found.extend(call.order.iter().map(|key| &key.expression));
            }
            _ => {}
        }
        for bound in [&self.frame.start, &self.frame.end] {
            found.extend(if let Bound::Value(value) = bound { Some(value) } else { None });
        }
        found
    }

    /// The same, to be changed.
    pub fn expressions_mut(&mut self) -> Vec<&mut Expression> {
        let mut found = Vec::new();
        match &mut self.function {
            WindowFunction::Shifted { value, default, .. } => found.extend(std::iter::once(value).chain(default)),
            WindowFunction::Nth { value, .. } => found.push(value),
            WindowFunction::Aggregate(call) => {
                found.extend(call.arguments.iter_mut().chain(&mut call.filter));
                found.extend(call.order.iter_mut().map(|key| &mut key.expression));
            }
            _ => {}
        }
        for bound in [&mut self.frame.start, &mut self.frame.end] {
            found.extend(if let Bound::Value(value) = bound { Some(value) } else { None });
        }
        found
    }

    /// As SQL writes it, more or less, with the input's column names; without OVER.
    pub fn show(&self, input: &Schema) -> String {
        let nulls = |ignores: bool| if ignores { " ignore nulls" } else { "" };
        match &self.function {
            WindowFunction::RowNumber => "row_number()".to_owned(),
            WindowFunction::Rank => "rank()".to_owned(),
            WindowFunction::DenseRank => "dense_rank()".to_owned(),
            WindowFunction::PercentRank => "percent_rank()".to_owned(),
            WindowFunction::CumeDist => "cume_dist()".to_owned(),
            WindowFunction::Ntile(buckets) => format!("ntile({buckets})"),
            WindowFunction::Shifted { value, offset, ignores_nulls, .. } => {
                let name = if *offset < 0 { "lag" } else { "lead" };
                format!("{name}({}, {}){}", value.show(input), offset.unsigned_abs(), nulls(*ignores_nulls))
            }
            WindowFunction::Nth { value, number, ignores_nulls } => {
                let (value, nulls) = (value.show(input), nulls(*ignores_nulls));
                match number {
                    1 => format!("first_value({value}){nulls} {}", self.frame.show(input)),
                    -1 => format!("last_value({value}){nulls} {}", self.frame.show(input)),
                    number => format!("nth_value({value}, {number}){nulls} {}", self.frame.show(input)),
                }
            }
            WindowFunction::Aggregate(call) => format!("{} {}", call.show(input), self.frame.show(input)),
        }
    }
}

impl Frame {
    fn show(&self, input: &Schema) -> String {
        let units = match self.units {
            FrameUnits::Rows => "rows",
            FrameUnits::Groups => "groups",
            FrameUnits::Range => "range",
        };
        let bound = |bound: &Bound, towards: &str| match bound {
            Bound::Unbounded => format!("unbounded {towards}"),
            Bound::Current => "current row".to_owned(),
            Bound::Offset(offset) if *offset < 0 => format!("{} preceding", offset.unsigned_abs()),
            Bound::Offset(offset) => format!("{offset} following"),
            Bound::Value(value) => value.show(input),
        };
        format!("{units} from {} to {}", bound(&self.start, "preceding"), bound(&self.end, "following"))
    }
}
