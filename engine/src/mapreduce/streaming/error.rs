//! What can go wrong with programs that are fed with lines.

use std::{io, path::PathBuf};

use crate::error::{Cause, Kind};

/// Why a program could not be run, or what it did.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamingError {
    #[error("reading the input: none is named")]
    NoInput,
    #[error("reading {} as lines: by its name it is packed", path.display())]
    Packed { path: PathBuf },
    #[error("a key of {count} fields: it has at least one")]
    KeyFields { count: usize },
    #[error("partitioning by {fields} fields of the key: it has {key_fields}")]
    PartitionFields { fields: usize, key_fields: usize },
    #[error("ordering keys by their field {field}: they have {key_fields}")]
    OrderField { field: usize, key_fields: usize },
    #[error("{what}: there is no reducer that gets it")]
    NoReducer { what: &'static str },
    #[error("making {count} parts: there can be 1 to {max}")]
    PartCount { count: u32, max: usize },
    #[error("putting {} beside the programs: {} has the same name", path.display(), other.display())]
    SameName { path: PathBuf, other: PathBuf },
    #[error("separating fields by the end of a line")]
    Separator,
    #[error(
        "ordering keys by {text:?}: it is no number of a field, with n for numbers and r for the largest first behind it"
    )]
    Order { text: String },
    #[error("the {role} {text:?} is no command: {}", if text.trim().is_empty() { "it is empty" } else { "a quote does not end" })]
    NoCommand { role: &'static str, text: String },
    #[error("the {role} {program:?} is not there")]
    NotFound { role: &'static str, program: String },
    #[error("the {role} {} may not be run", path.display())]
    NotExecutable { role: &'static str, path: PathBuf },
    #[error("putting {} beside the programs", path.display())]
    NoFile { path: PathBuf, source: io::Error },
    #[error("putting {} beside the programs", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("starting {}", program.display())]
    Start { program: PathBuf, source: io::Error },
    #[error("{what} {}", program.display())]
    Pipe { what: &'static str, program: PathBuf, source: io::Error },
    #[error("reading from {}: a line is longer than {max} bytes", program.display())]
    LongLine { program: PathBuf, max: usize },
    #[error(
        "{} ended with {status}{}",
        program.display(),
        if said.is_empty() { ", and said nothing".to_owned() } else { format!("; at the end it said: {said}") }
    )]
    Ended { program: PathBuf, status: String, said: String },
}

impl Cause for StreamingError {
    fn kind(&self) -> Kind {
        match self {
            StreamingError::Ended { .. } => Kind::Job,
            StreamingError::LongLine { .. } => Kind::Limit,
            StreamingError::File { .. } | StreamingError::Start { .. } | StreamingError::Pipe { .. } => Kind::Io,
            _ => Kind::Request,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            StreamingError::Packed { .. } => Some("unpack it first, as `gzip -d` does".to_owned()),
            StreamingError::NotFound { .. } => {
                Some("name its path, name it as a --file, or put it into PATH".to_owned())
            }
            StreamingError::KeyFields { .. } => Some("the first field is the key otherwise".to_owned()),
            StreamingError::PartitionFields { .. } => Some(
                "1 to so many as the key has, by which lines go to one reducer; --key-fields says how many it has"
                    .to_owned(),
            ),
            StreamingError::OrderField { .. } => {
                Some("fields are counted from 1; --key-fields says how many a key has".to_owned())
            }
            StreamingError::NoReducer { .. } => {
                Some("name a --reducer; without one the mappers' lines are the output as they come".to_owned())
            }
            StreamingError::NoCommand { .. } => Some(
                "a program and its arguments, with quotes as a shell has them: \"python3 count.py 'a b'\"".to_owned(),
            ),
            StreamingError::NoFile { .. } => {
                Some("name one that is there: programs find it by its name where they run".to_owned())
            }
            StreamingError::PartCount { .. } => {
                Some("without a --reducer the mappers' lines are the output".to_owned())
            }
            StreamingError::SameName { .. } => {
                Some("programs find a file by its name: give one of them another, by a copy or a link".to_owned())
            }
            StreamingError::NotExecutable { path, .. } => Some(format!(
                "chmod +x {}, or run it by its interpreter: \"python3 {}\"",
                path.display(),
                path.display()
            )),
            StreamingError::Order { .. } => Some(
                "for example 1, 2nr: the first field as text, then the second as numbers, the largest first".to_owned(),
            ),
            _ => None,
        }
    }
}
