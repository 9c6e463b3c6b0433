//! What can go wrong in the job's own code, and around it.

use std::{borrow::Cow, path::PathBuf};

use crate::error::{Cause, Error, Kind};

/// Why a job could not be written or run as asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum MapReduceError {
    #[error(
        "the {role} {operator} failed{} in {place}{}",
        record.as_ref().map_or_else(|| " outside of its records".to_owned(), |record| format!(" on {record}")),
        if status.is_empty() { String::new() } else { format!("; its status was {status:?}") }
    )]
    Failed {
        role: &'static str,
        operator: Cow<'static, str>,
        place: String,
        record: Option<String>,
        status: String,
        source: Error,
    },
    #[error("it panicked: {message}")]
    Panicked { message: String },
    #[error("leaving out records that the job's code cannot use: there are more than {skip_max}")]
    TooManySkipped {
        skip_max: u64,
        #[source]
        last: Box<Error>,
    },
    #[error("leaving out records that the job's code cannot use: there are {skipped}, and may be {skip_max}")]
    Skipped { skipped: u64, skip_max: u64 },
    #[error("partitioning {record}: the partitioner {partitioner} gave part {part}; there are {count}, counted from 0")]
    NoSuchPart { record: String, partitioner: &'static str, part: u32, count: u32 },
    #[error("making {count} parts: there can be 1 to {max}")]
    PartCount { count: u32, max: u32 },
    #[error("grouping by the first {given} columns of the key: it has {columns}")]
    GroupColumns { given: usize, columns: usize },
    #[error(
        "emitting {record} to the output {name:?}: {}",
        if known.is_empty() { "there are no outputs here".to_owned() } else { format!("of the outputs here ({}) none is such a one", known.join(", ")) }
    )]
    NoOutput { name: String, record: &'static str, known: Vec<String> },
    #[error("putting parts in the order of their keys: the job has a partitioner, or an order of its own for groups")]
    OtherOrder,
    #[error("naming the output {name:?}: a name is that of a folder, and given once")]
    OutputName { name: String },
    #[error("writing several outputs over or beside what is there")]
    OutputsOverOutput,
    #[error("writing several outputs into folders by the values of columns")]
    OutputsPartitioned,
    #[error("putting mappers behind a reducer that has outputs of its own")]
    MappersBehindOutputs,
    #[error("reading the side file {name:?}: the job has {}", if known.is_empty() { "none".to_owned() } else { known.join(", ") })]
    NoSideFile { name: String, known: Vec<String> },
    #[error("reading the side file {name:?} from {}", path.display())]
    SideFile { name: String, path: PathBuf, source: std::io::Error },
    #[error("reading the side file {name:?} from {}: it has {bytes} bytes, there can be {max} in all", path.display())]
    LongSideFile { name: String, path: PathBuf, bytes: u64, max: u64 },
}

impl Cause for MapReduceError {
    fn kind(&self) -> Kind {
        match self {
            MapReduceError::Failed { .. }
            | MapReduceError::Panicked { .. }
            | MapReduceError::TooManySkipped { .. }
            | MapReduceError::Skipped { .. }
            | MapReduceError::NoSideFile { .. }
            | MapReduceError::NoOutput { .. }
            | MapReduceError::NoSuchPart { .. } => Kind::Job,
            MapReduceError::PartCount { .. }
            | MapReduceError::GroupColumns { .. }
            | MapReduceError::OtherOrder
            | MapReduceError::OutputName { .. }
            | MapReduceError::OutputsOverOutput
            | MapReduceError::OutputsPartitioned
            | MapReduceError::MappersBehindOutputs => Kind::Request,
            MapReduceError::SideFile { .. } => Kind::Io,
            MapReduceError::LongSideFile { .. } => Kind::Limit,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            MapReduceError::Failed { record: Some(_), .. } => Some(
                "let such records be left out with .skip_bad_records(limit), or let the job's code take them"
                    .to_owned(),
            ),
            MapReduceError::TooManySkipped { .. } | MapReduceError::Skipped { .. } => {
                Some("look at what is wrong with them, or raise the limit of .skip_bad_records".to_owned())
            }
            MapReduceError::NoOutput { .. } => Some(
                "declare it with .output(&output); it is for the reducer then, or for mappers that no reducer follows"
                    .to_owned(),
            ),
            MapReduceError::LongSideFile { .. } => {
                Some("join with it instead: .join or .cogroup of two flows".to_owned())
            }
            _ => None,
        }
    }
}
