//! An error that crossed the wire, with its kind.
//!
//! In: an [`Error`] where something failed. Out: the same answers elsewhere: what kind, whose fault, would a retry help,
//! what to do next. Never: a kind that became a text; a sentence of unbounded length.

use std::{error::Error as StdError, fmt, ops::Range};

use serde::{Deserialize, Serialize};

use crate::{
    cluster::limits::{CAUSES_MAX, NAME_BYTES_MAX, SENTENCE_BYTES_MAX},
    error::{Cause, Error, Kind, Place},
};

/// What failed on another machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteError {
    /// The kind by its number, fixed for ever: see [`RemoteError::kind`].
    code: u8,
    /// What was tried, on what, why.
    pub sentence: String,
    /// What it came from, nearest first.
    pub because: Vec<String>,
    /// What to do next.
    pub hint: Option<String>,
    /// Who failed: `worker w2, task 3.1, attempt 0`; empty when the coordinator itself.
    pub origin: String,
    /// Where in the job's text, in bytes, and a word to print there. Only who handed the job in has the text.
    place: Option<Box<(Range<u32>, String)>>,
}

/// Kinds by their number on the wire. A number is never used twice; one that this build does not know is internal.
const CODES: &[(u8, Kind)] = &[
    (1, Kind::Request),
    (2, Kind::Job),
    (3, Kind::Unsupported),
    (4, Kind::Io),
    (5, Kind::Corrupt),
    (6, Kind::Limit),
    (7, Kind::Cancelled),
    (8, Kind::Internal),
    (9, Kind::Unreachable),
    (10, Kind::Denied),
];

/// Whether another attempt at the same task may end otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Retry {
    /// It would fail the same way: the request, the data, the user's code, a limit.
    Never,
    /// Perhaps: a disk, a network, a process that died.
    Elsewhere,
    /// Once, on another machine: bytes that flipped, a bug that needs the right moment.
    Once,
}

impl RemoteError {
    /// An error that begins here.
    pub fn new(kind: Kind, sentence: impl Into<String>) -> RemoteError {
        let code = CODES.iter().find(|(_, known)| *known == kind).map_or(8, |(code, _)| *code);
        let sentence = cut(sentence.into(), SENTENCE_BYTES_MAX);
        RemoteError { code, sentence, because: Vec::new(), hint: None, origin: String::new(), place: None }
    }

    /// Whom it needed could not be reached: no worker, no coordinator.
    pub fn unreachable(sentence: impl Into<String>) -> RemoteError {
        RemoteError::new(Kind::Unreachable, sentence)
    }

    /// Who asked may not: a name that is taken, a job of somebody else.
    pub fn denied(sentence: impl Into<String>) -> RemoteError {
        RemoteError::new(Kind::Denied, sentence)
    }

    /// The error as it will be told elsewhere, which happened at `origin` unless it says better.
    pub fn from_error(error: &Error, origin: impl Into<String>) -> RemoteError {
        let cause: &(dyn StdError + 'static) = error.cause();
        if let Some(failure) = cause.downcast_ref::<RemoteFailure>() {
            // It came from somewhere else already.
            return failure.error.clone();
        }
        let mut remote = RemoteError::new(error.kind(), error.to_string()).at(origin);
        let mut source = error.source();
        if error.place().is_some() {
            // What the SQL front end says itself stands in the sentence already; what made a table fail to open does not.
            while let Some(next) = source.filter(|cause| !cause.is::<Error>() && !cause.is::<std::io::Error>()) {
                source = next.source();
            }
        }
        while let Some(next) = source
            && remote.because.len() < CAUSES_MAX
        {
            remote.because.push(cut(next.to_string(), SENTENCE_BYTES_MAX));
            source = next.source();
        }
        remote.hint = error.hint().map(|hint| cut(hint, SENTENCE_BYTES_MAX));
        remote.place = error.place().and_then(|Place { range, label, .. }| {
            let range = u32::try_from(range.start).ok()?..u32::try_from(range.end).ok()?;
            Some(Box::new((range, cut(label, NAME_BYTES_MAX))))
        });
        remote
    }

    /// The same, with what to do next.
    pub fn hinted(mut self, hint: impl Into<String>) -> RemoteError {
        self.hint = Some(cut(hint.into(), SENTENCE_BYTES_MAX));
        self
    }

    /// The same, with who failed.
    pub fn at(mut self, origin: impl Into<String>) -> RemoteError {
        self.origin = cut(origin.into(), NAME_BYTES_MAX);
        self
    }

    /// The same, with what it came from behind what is already said.
    pub fn because(mut self, cause: impl Into<String>) -> RemoteError {
        if self.because.len() < CAUSES_MAX {
            self.because.push(cut(cause.into(), SENTENCE_BYTES_MAX));
        }
        self
    }

    /// What a caller decides by.
    pub fn kind(&self) -> Kind {
        CODES.iter().find(|(code, _)| *code == self.code).map_or(Kind::Internal, |(_, kind)| *kind)
    }

    /// Whether another attempt may end otherwise.
    pub fn retry(&self) -> Retry {
        match self.kind() {
            Kind::Request | Kind::Job | Kind::Unsupported | Kind::Limit | Kind::Denied => Retry::Never,
            Kind::Io | Kind::Unreachable | Kind::Cancelled => Retry::Elsewhere,
            Kind::Corrupt | Kind::Internal => Retry::Once,
        }
    }

    /// Its texts are as short as they must be.
    pub(super) fn is_bounded(&self) -> bool {
        self.sentence.len() <= SENTENCE_BYTES_MAX
            && self.because.len() <= CAUSES_MAX
            && self.because.iter().chain(&self.hint).all(|text| text.len() <= SENTENCE_BYTES_MAX)
            && self.origin.len() <= NAME_BYTES_MAX
            && self.place.as_ref().is_none_or(|place| place.0.start <= place.0.end && place.1.len() <= NAME_BYTES_MAX)
    }

    /// What it came from, as a chain of its own.
    fn chain(&self) -> Option<Box<RemoteCause>> {
        let chain = self.because.iter().rev();
        chain.fold(None, |next, sentence| Some(Box::new(RemoteCause { sentence: sentence.clone(), next })))
    }

    /// The error as this process shows it, its causes chained again.
    pub fn into_error(self) -> Error {
        RemoteFailure { chain: self.chain(), error: self, text: None }.into()
    }
}

/// The same error; one that came from elsewhere, and is about a place in the job's text, shows that place.
pub fn with_text(error: Error, text: &str) -> Error {
    let cause: &(dyn StdError + 'static) = error.cause();
    let Some(remote) = cause.downcast_ref::<RemoteFailure>().map(|failure| failure.error.clone()) else { return error };
    RemoteFailure { chain: remote.chain(), error: remote, text: Some(text.to_owned()) }.into()
}

/// A text of at most `bytes_max` bytes, cut where a letter begins.
fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        let mut end = bytes_max;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    text
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.origin.is_empty() {
            f.write_str(&self.sentence)
        } else {
            write!(f, "{} (on {})", self.sentence, self.origin)
        }
    }
}

impl StdError for RemoteError {}

impl Cause for RemoteError {
    fn kind(&self) -> Kind {
        RemoteError::kind(self)
    }
    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

/// A remote error with its causes as `source` chains them.
#[derive(Debug)]
struct RemoteFailure {
    error: RemoteError,
    chain: Option<Box<RemoteCause>>,
    /// The job's text, where it is known.
    text: Option<String>,
}

impl fmt::Display for RemoteFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl StdError for RemoteFailure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.chain.as_deref().map(|cause| cause as &(dyn StdError + 'static))
    }
}

impl Cause for RemoteFailure {
    fn kind(&self) -> Kind {
        self.error.kind()
    }
    fn hint(&self) -> Option<String> {
        self.error.hint.clone()
    }
    fn place(&self) -> Option<Place> {
        let (text, (range, label)) = (self.text.clone()?, *self.error.place.clone()?);
        let range = range.start as usize..range.end as usize;
        // What does not fit the text was said of another one.
        text.get(range.clone())?;
        Some(Place { text, range, label })
    }
}

/// What an error came from, on the machine where it happened.
#[derive(Debug)]
pub struct RemoteCause {
    sentence: String,
    next: Option<Box<RemoteCause>>,
}

impl fmt::Display for RemoteCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl StdError for RemoteCause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.next.as_deref().map(|cause| cause as &(dyn StdError + 'static))
    }
}
