//! The one error type, from where it happened to where it is shown.
//!
//! In: the private error enum of each module, through [`Cause`]. Out: an opaque, one-word [`Error`] that still answers the
//! questions a caller has: what kind, whose fault, would a retry help, what to do next. Never: a typed error turned into text.
//!
//! A module keeps its own enum with named fields beside the code that fails, derives `thiserror::Error` for its sentence
//! (lower case, what was tried, on what, why) and implements [`Cause`]. `?` then carries it upward unchanged.

use std::{error::Error as StdError, fmt, ops::Range};

/// What went wrong while Windrow worked. One word wide; the detail lives behind it.
pub struct Error(Box<dyn Cause>);

/// The result of everything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller decides by: the exit code of the command line is one function of this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The request itself is wrong: SQL that does not bind, a path that does not exist, an output that does.
    Request,
    /// The data or the user's code made it fail while it ran: a division by zero, a closure's panic.
    Job,
    /// What was asked for is valid but not supported.
    Unsupported,
    /// The world failed: a disk, a file system. A retry may help.
    Io,
    /// Bytes do not say what they must: a flipped bit, a truncation, another format.
    Corrupt,
    /// A limit was reached: memory, disk, a cap on a length.
    Limit,
    /// Somebody asked it to stop.
    Cancelled,
    /// Whom it needed could not be reached: a coordinator, the workers.
    Unreachable,
    /// Who asked may not: a certificate, a name that is not theirs.
    Denied,
    /// A bug of ours.
    Internal,
}

/// What a module's own error enum tells beyond its sentence.
pub trait Cause: StdError + Send + Sync + 'static {
    /// What a caller decides by.
    fn kind(&self) -> Kind;
    /// What to do next, if there is something to say.
    fn hint(&self) -> Option<String> {
        None
    }
    /// The place in the SQL text, in bytes, if the error has one.
    fn place(&self) -> Option<Place> {
        None
    }
}

/// A place in a text that the user wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The whole text.
    pub text: String,
    /// Byte range in `text` that the error is about.
    pub range: Range<usize>,
    /// A word to print under the place, as "not found".
    pub label: String,
}

impl Error {
    /// What a caller decides by.
    pub fn kind(&self) -> Kind {
        self.0.kind()
    }
    /// The one who asked can mend it: the request, the data or the code they gave.
    pub fn is_user(&self) -> bool {
        matches!(self.kind(), Kind::Request | Kind::Job | Kind::Unsupported)
    }
    /// The same attempt may succeed when tried again.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind(), Kind::Io)
    }
    /// Somebody asked it to stop.
    pub fn is_cancelled(&self) -> bool {
        self.kind() == Kind::Cancelled
    }
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        self.0.hint()
    }
    /// The place in the SQL text that the error is about.
    pub fn place(&self) -> Option<Place> {
        self.0.place()
    }
    /// The cause as the module's own type; for tests and for callers that know the module.
    pub fn cause(&self) -> &(dyn Cause + 'static) {
        &*self.0
    }
}

impl<C: Cause> From<C> for Error {
    fn from(cause: C) -> Error {
        Error(Box::new(cause))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind(), self.0)?;
        let mut source = self.source();
        while let Some(next) = source {
            write!(f, ": {next}")?;
            source = next.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

/// A bug of ours, told as one instead of a panic.
#[derive(Debug, thiserror::Error)]
#[error("internal error in {module}: {broken}")]
pub struct Bug {
    /// Where.
    pub module: &'static str,
    /// Which invariant does not hold.
    pub broken: String,
}

impl Cause for Bug {
    fn kind(&self) -> Kind {
        Kind::Internal
    }
    fn hint(&self) -> Option<String> {
        Some("this is a bug in windrow; please report it with the query and the plan".to_owned())
    }
}

/// An [`Error`] that says an invariant of `module` is broken.
pub fn bug(module: &'static str, broken: impl Into<String>) -> Error {
    Bug { module, broken: broken.into() }.into()
}

impl Cause for arrow::error::ArrowError {
    fn kind(&self) -> Kind {
        use arrow::error::ArrowError as A;
        match self {
            A::DivideByZero
            | A::ArithmeticOverflow(_)
            | A::CastError(_)
            | A::ParseError(_)
            | A::ComputeError(_)
            | A::InvalidArgumentError(_)
            | A::OffsetOverflowError(_)
            | A::CsvError(_)
            | A::JsonError(_) => Kind::Job,
            A::IoError(..) => Kind::Io,
            A::NotYetImplemented(_) => Kind::Unsupported,
            _ => Kind::Internal,
        }
    }
}
