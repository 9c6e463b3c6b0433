//! How a command fails: the sentence on standard error, and the exit code.
//!
//! In: the engine's errors and the few of the command line itself. Out: text for a person, a number for a script. Never: an error
//! looked at twice; each is told here, once.
//!
//! ```text
//! error: column "l_extendedpric" not found             error: reading x.parquet
//!  --> -c:3:8                                            caused by: No such file or directory (os error 2)
//!   |                                                    hint: …
//! 3 |    sum(l_extendedpric * (1 - l_discount))
//!   |        ^^^^^^^^^^^^^^ not found
//!   = hint: did you mean "l_extendedprice"?
//! ```

use std::{
    error::Error as StdError,
    io::{self, ErrorKind, Write},
    path::PathBuf,
    process::ExitCode,
};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use windrow::{
    Error, Kind,
    cluster::protocol::RemoteCause,
    error::{Cause, Place},
};
use windrow_datasets::DatasetError;

use crate::{command::ClusterError, terminal};

/// Exit code: the SQL or the job failed.
pub const FAILED: u8 = 1;
/// Exit code: the command line is wrong.
pub const USAGE: u8 = 2;
/// Exit code: no cluster, or nobody of it, could be reached.
pub const UNREACHABLE: u8 = 3;
/// Exit code: the cluster does not let us in.
pub const DENIED: u8 = 4;
/// Exit code: memory, disk or another limit was reached.
pub const LIMIT: u8 = 5;
/// Exit code: bytes are not what they must be.
pub const CORRUPT: u8 = 6;
/// Exit code: a bug of ours.
pub const INTERNAL: u8 = 7;

/// Why a command ends before its end.
#[derive(Debug)]
pub enum Failure {
    /// Nobody reads standard output any more, as after `| head`: that is the end, and no error.
    ClosedPipe,
    /// A flag's value is wrong in a way that only the engine can tell.
    Usage(Error),
    /// It failed.
    Failed {
        /// Why.
        error: Error,
        /// In which text the error's place lies.
        origin: Option<Origin>,
    },
    /// Something failed on the way and was told then; this is its exit code.
    Told(u8),
}

/// Where a statement stands, so that places in it are told as the user sees them.
#[derive(Clone, Debug)]
pub struct Origin {
    /// A file's name, or what stands for it.
    pub name: String,
    /// The whole script.
    pub script: String,
    /// Where in it the statement begins, in bytes.
    pub start: usize,
}

/// What fails in the command line itself.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("{doing} {}", path.display())]
    File { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("reading SQL from standard input")]
    Input { source: io::Error },
    #[error("writing to standard output")]
    Output { source: io::Error },
    #[error("watching for signals")]
    Signals { source: io::Error },
    #[error("running on a cluster: --threads, --memory and --spill are its workers'")]
    WorkersOwn,
    #[error("running {}", program.display())]
    Program { program: PathBuf, source: io::Error },
    #[error("separating fields by {given:?}, which is not one byte")]
    Separator { given: String },
    #[error("the variable {given:?} is not NAME=VALUE")]
    Variable { given: String },
    #[error("reading what the job printed on the cluster")]
    Printed { source: serde_json::Error },
    #[error("making the records of {workload}: it reads nothing; say how much to make by --size")]
    NoInputRead { workload: &'static str },
    #[error("reading {path}: it is not a file of this machine, which alone are read")]
    Away { path: String },
    #[error("writing {path}: it is not a folder of this machine, where alone is written")]
    OutputAway { path: String },
    #[error("handing {} in to the cluster {cluster}: it is no program of Windrow, and would run here", program.display())]
    NotOurs { program: PathBuf, cluster: String },
    #[error("measuring how fast bytes go between two processes")]
    Net { source: io::Error },
    #[error("comparing {what} on the cluster with the same here: the digest is {there} there and {here} here")]
    Differs { what: &'static str, here: String, there: String },
    #[error(transparent)]
    Dataset(#[from] DatasetError),
}

impl Cause for CommandError {
    fn kind(&self) -> Kind {
        match self {
            CommandError::File { source, .. } if source.kind() == ErrorKind::NotFound => Kind::Request,
            CommandError::Dataset(error) => match error {
                DatasetError::Scale { .. }
                | DatasetError::GraphScale { .. }
                | DatasetError::Dimensions { .. }
                | DatasetError::Clusters { .. }
                | DatasetError::Threads { .. }
                | DatasetError::TooManyRows { .. }
                | DatasetError::Keys { .. }
                | DatasetError::Rows { .. }
                | DatasetError::Exists { .. }
                | DatasetError::NoFileName { .. } => Kind::Request,
                DatasetError::Generate { .. } | DatasetError::Panicked { .. } => Kind::Internal,
                _ => Kind::Io,
            },
            CommandError::WorkersOwn
            | CommandError::Program { .. }
            | CommandError::Separator { .. }
            | CommandError::Variable { .. }
            | CommandError::Away { .. }
            | CommandError::OutputAway { .. }
            | CommandError::NotOurs { .. }
            | CommandError::NoInputRead { .. } => Kind::Request,
            CommandError::Differs { .. } | CommandError::Printed { .. } => Kind::Internal,
            _ => Kind::Io,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            CommandError::Dataset(DatasetError::Exists { .. }) => Some("--overwrite replaces it".to_owned()),
            CommandError::Away { .. } => {
                Some("copy it to this machine first, or mount the store as a folder".to_owned())
            }
            CommandError::OutputAway { .. } => {
                Some("write to this machine and copy from there, or mount the store as a folder".to_owned())
            }
            CommandError::NotOurs { .. } => {
                Some("its main must be windrow::launch; what is to run here is started without --cluster".to_owned())
            }
            CommandError::Program { source, .. } if source.kind() == ErrorKind::NotFound => Some(
                "a name without a slash is looked for in this folder, then in PATH; `windrow submit streaming` runs mappers and reducers"
                    .to_owned(),
            ),
            CommandError::Program { program, source } if source.kind() == ErrorKind::PermissionDenied => {
                Some(format!("`chmod +x {}` lets it be run, if it is a program", program.display()))
            }
            CommandError::WorkersOwn => Some("give them to `windrow cluster start` or `windrow worker`".to_owned()),
            _ => None,
        }
    }
}

fn is_away(path: &str) -> bool {
    let store = path.split_once("://").map_or("", |(store, _)| store);
    !store.is_empty() && store.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

impl Failure {
    /// An error of a statement that stands in `origin`.
    pub fn in_script(error: Error, origin: Origin) -> Failure {
        Failure::Failed { error, origin: Some(origin) }
    }

    /// Fails, as wrong usage, where a path is that of a store: `s3://bucket/texts`.
    pub fn unless_here(path: &str) -> Result<(), Failure> {
        let away = CommandError::Away { path: path.to_owned() };
        if is_away(path) { Err(Failure::Usage(away.into())) } else { Ok(()) }
    }

    /// As [`Failure::unless_here`], of what is to be written.
    pub fn unless_written_here(path: &str) -> Result<(), Failure> {
        let away = CommandError::OutputAway { path: path.to_owned() };
        if is_away(path) { Err(Failure::Usage(away.into())) } else { Ok(()) }
    }

    /// What came of writing to standard output.
    pub fn of_output(source: io::Error) -> Failure {
        if source.kind() == ErrorKind::BrokenPipe {
            return Failure::ClosedPipe;
        }
        CommandError::Output { source }.into()
    }

    /// What came of generating: options out of range are wrong usage.
    pub fn of_dataset(error: DatasetError) -> Failure {
        use DatasetError::{Clusters, Dimensions, GraphScale, Keys, Rows, Scale, Threads, TooManyRows};
        let is_scale = matches!(error, Scale { .. } | GraphScale { .. } | Dimensions { .. } | Clusters { .. });
        let is_count = matches!(error, Threads { .. } | Keys { .. } | Rows { .. } | TooManyRows { .. });
        let is_usage = is_scale || is_count;
        let error = CommandError::Dataset(error).into();
        if is_usage { Failure::Usage(error) } else { Failure::Failed { error, origin: None } }
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Failure::ClosedPipe => 0,
            Failure::Usage(_) => USAGE,
            Failure::Told(code) => *code,
            Failure::Failed { error, .. } => match error.kind() {
                Kind::Unreachable => UNREACHABLE,
                Kind::Denied => DENIED,
                Kind::Limit => LIMIT,
                Kind::Corrupt => CORRUPT,
                Kind::Internal => INTERNAL,
                Kind::Io if is_full(error) => LIMIT,
                _ => FAILED,
            },
        }
    }

    /// Writes the sentence to standard error and gives the exit code.
    pub fn tell(&self) -> ExitCode {
        let text = match self {
            Failure::ClosedPipe | Failure::Told(_) => String::new(),
            Failure::Usage(error) => sentences(error),
            Failure::Failed { error, origin } => match error.place() {
                Some(place) => snippet(error, &located(place, origin.as_ref())),
                None => sentences(error),
            },
        };
        // If standard error is closed too, the exit code is all that is left to say.
        let _ = io::stderr().write_all(text.as_bytes());
        ExitCode::from(self.code())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Failed { error, origin: None }
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Failure {
        Error::from(error).into()
    }
}

impl From<ClusterError> for Failure {
    fn from(error: ClusterError) -> Failure {
        Error::from(error).into()
    }
}

/// Whether a disk or a quota is full.
fn is_full(error: &Error) -> bool {
    chain(error).any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| {
            matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
        })
    })
}

/// What caused `error`, the nearest first.
fn chain(error: &Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(error.source(), |cause: &&(dyn StdError + 'static)| (*cause).source())
}

/// The error in lines: its sentence, its causes, what to do.
fn sentences(error: &Error) -> String {
    let head = if terminal::is_coloured() { "\u{1b}[1m\u{1b}[91merror\u{1b}[0m" } else { "error" };
    let mut text = format!("{head}: {}\n", printable(&error.to_string()));
    for cause in chain(error) {
        text.push_str(&format!("  caused by: {}\n", printable(&cause.to_string())));
    }
    if let Some(hint) = error.hint() {
        text.push_str(&format!("  hint: {}\n", printable(&hint)));
    }
    text
}

/// A place in the script that the user wrote.
struct Located {
    place: Place,
    name: Option<String>,
}

/// `place` in its script, if its text is the statement that begins there.
fn located(place: Place, origin: Option<&Origin>) -> Located {
    let Some(origin) = origin else { return Located { place, name: None } };
    let name = Some(origin.name.clone());
    if !origin.script.get(origin.start..).is_some_and(|rest| rest.starts_with(&place.text)) {
        return Located { place, name };
    }
    let range = place.range.start + origin.start..place.range.end + origin.start;
    Located { place: Place { text: origin.script.clone(), range, label: place.label }, name }
}

/// The error with the line of SQL that it is about.
fn snippet(error: &Error, located: &Located) -> String {
    let Located { place: Place { text, range, label }, name } = located;
    // Whatever the range says: no more than the text, and at least one character to point at.
    let start = text.floor_char_boundary(range.start.min(text.len()));
    let end = text.ceil_char_boundary(range.end.clamp(start, text.len()));
    let mut annotation = AnnotationKind::Primary.span(start..end);
    if !label.is_empty() {
        annotation = annotation.label(label.as_str());
    }
    let source = Snippet::source(text.as_str()).path(name.as_deref().unwrap_or("SQL")).annotation(annotation);
    let sentence = error.to_string();
    // What the SQL front end says itself is in the sentence already; what made a table fail to open is not.
    let front_end = |cause: &&(dyn StdError + 'static)| {
        !cause.is::<Error>() && !cause.is::<io::Error>() && !cause.is::<RemoteCause>()
    };
    let causes: Vec<String> = chain(error).skip_while(front_end).map(ToString::to_string).collect();
    let hint = error.hint();
    let mut group = Level::ERROR.primary_title(sentence.as_str()).element(source);
    for cause in &causes {
        group = group.element(Level::NOTE.with_name("caused by").message(cause.as_str()));
    }
    if let Some(hint) = &hint {
        group = group.element(Level::HELP.with_name("hint").message(hint.as_str()));
    }
    let renderer = if terminal::is_coloured() { Renderer::styled() } else { Renderer::plain() };
    format!("{}\n", renderer.render(&[group]))
}

/// `text` without what would steer a terminal: names come from files and queries of others.
pub fn printable(text: &str) -> String {
    let escape = |letter: char| letter.is_control() && letter != '\n' && letter != '\t';
    text.chars().map(|letter| if escape(letter) { char::REPLACEMENT_CHARACTER } else { letter }).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("column \"nam\" not found")]
    struct NotFound;

    impl Cause for NotFound {
        fn kind(&self) -> Kind {
            Kind::Request
        }
        fn hint(&self) -> Option<String> {
            Some("did you mean \"name\"?".to_owned())
        }
        fn place(&self) -> Option<Place> {
            Some(Place { text: "select nam from t".to_owned(), range: 7..10, label: "not found".to_owned() })
        }
    }

    #[test]
    fn a_place_is_told_in_the_script() {
        let error = Error::from(NotFound);
        let script = "select 1;\n\nselect nam from t;".to_owned();
        let origin = Origin { name: "x.sql".to_owned(), script, start: 11 };
        let text = snippet(&error, &located(error.place().unwrap(), Some(&origin)));
        let expected = "\
error: column \"nam\" not found
 --> x.sql:3:8
  |
3 | select nam from t;
  |        ^^^ not found
  |
  = hint: did you mean \"name\"?
";
        assert_eq!(text, expected);
        assert_eq!(Failure::in_script(error, origin).code(), FAILED);
    }

    #[test]
    fn a_place_beyond_the_text_is_still_told() {
        let place = Place { text: "selé".to_owned(), range: 4..90, label: String::new() };
        let text = snippet(&Error::from(NotFound), &located(place, None));
        assert!(text.contains("selé") && text.contains("SQL:1:4"), "{text}");
    }

    #[test]
    fn a_full_disk_is_a_limit() {
        let full = |kind| CommandError::Output { source: io::Error::from(kind) };
        assert_eq!(Failure::from(full(ErrorKind::StorageFull)).code(), LIMIT);
        assert_eq!(Failure::from(full(ErrorKind::PermissionDenied)).code(), FAILED);
        assert_eq!(Failure::of_output(io::Error::from(ErrorKind::BrokenPipe)).code(), 0);
    }
}
