//! What can go wrong between Rust types and columns, and in the user's closures.

use std::{error::Error as StdError, panic::Location};

use crate::{
    batch::datatypes::DataType,
    error::{Cause, Error, Kind},
};

/// Why a flow could not be written or run as asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum DatasetError {
    #[error("reading column {column:?} as {record}: it is {found}")]
    WrongType { column: String, found: DataType, record: &'static str },
    #[error("reading column {column:?} as {record}: it is NULL in {rows} rows of a batch")]
    NullValue { column: String, record: &'static str, rows: usize },
    #[error("reading rows as {record}: it has {wanted} columns, the rows have {}: {}", found.len(), found.join(", "))]
    ColumnCount { record: &'static str, wanted: usize, found: Vec<String> },
    #[error("naming the columns {}: {given} names were given for {} columns", columns.join(", "), columns.len())]
    NameCount { columns: Vec<String>, given: usize },
    #[error("naming columns: {name:?} was given twice")]
    NameTwice { name: String },
    #[error("putting rows together: column {place} is {left} in the first and {right} in the second")]
    UnionDiffers { place: usize, left: String, right: String },
    #[error("reading the flow through SQL: an EXPLAIN gives no rows")]
    ExplainInFlow,
    #[error("reading the flow through SQL: a COPY gives no rows")]
    CopyInFlow,
    #[error("the closure at {call_site} panicked: {message}")]
    ClosurePanicked { call_site: &'static str, message: String },
    #[error("partitioning {row} at {place}: the closure gave part {part}; there are {parts}, counted from 0")]
    NoSuchPart { place: &'static Location<'static>, row: String, part: u32, parts: u32 },
    #[error("trying records at {place}: the closure failed for {count}, {most} are allowed; first for {first}")]
    DeadLetters { place: &'static Location<'static>, count: u64, most: u64, first: String },
    #[error("verifying the closures at {place}: the same rows gave {whole} in one way and {parts} in another")]
    NotAssociative { place: &'static Location<'static>, whole: String, parts: String },
    #[error("running a flow of Rust code on a cluster from this program")]
    FlowOnCluster,
    #[error("profiling a query of a program that runs under a worker")]
    ProfileAway,
    #[error("looking for {pattern:?}: it is no regular expression")]
    Pattern { pattern: String, source: regex::Error },
    #[error("the program's entry panicked: {message}")]
    EntryPanicked { message: String },
    #[error("the job's own code failed")]
    User { source: Box<dyn StdError + Send + Sync> },
}

impl Cause for DatasetError {
    fn kind(&self) -> Kind {
        match self {
            DatasetError::NullValue { .. }
            | DatasetError::ClosurePanicked { .. }
            | DatasetError::NoSuchPart { .. }
            | DatasetError::DeadLetters { .. }
            | DatasetError::NotAssociative { .. }
            | DatasetError::EntryPanicked { .. }
            | DatasetError::User { .. } => Kind::Job,
            _ => Kind::Request,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            DatasetError::WrongType { .. } => {
                Some("cast it before, as in .sql(\"select cast(x as double) as x from input\")".to_owned())
            }
            DatasetError::NullValue { record, .. } => {
                Some(format!("read it as Option<{record}>, or filter the NULLs out before"))
            }
            DatasetError::FlowOnCluster => Some(
                "start the program by windrow::launch with --cluster NAME: then its closures are where the rows are"
                    .to_owned(),
            ),
            DatasetError::NotAssociative { .. } => Some(
                "rows come in any order and in parts of any size: sum floats by reduce_by_key(Sum), or count in integers"
                    .to_owned(),
            ),
            DatasetError::ProfileAway => Some("run the program in process, or the statement by itself".to_owned()),
            DatasetError::CopyInFlow => Some("use .write(path) for a flow, or Session::query for a COPY".to_owned()),
            DatasetError::ExplainInFlow => Some("use .explain() for the plan of a flow".to_owned()),
            _ => None,
        }
    }
}

/// Any error as one of the job's own code: `text.parse().map_err(windrow::dataset::failure)?` in a closure or a job.
pub fn failure(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
    DatasetError::User { source: source.into() }.into()
}
