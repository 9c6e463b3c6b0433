//! What is wrong with a statement, and where in its text.
//!
//! In: errors of the parser, of DataFusion and of the binder, with the text. Out: [`SqlError`]: typed, with a place and a hint where
//! there is one. Never: drops the error it was made from; it stays as the source.

use datafusion_common::{DataFusionError, Diagnostic, SchemaError};
use datafusion_sql::sqlparser::{parser::ParserError, tokenizer::TokenizerError};

use super::{suggest, text::Text};
use crate::{
    error::{Cause, Error, Kind, Place},
    expression::{ExpressionError, error::library_kind},
};

/// Why a statement could not be planned.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// The text is longer than is read at all.
    #[error("the SQL text has {bytes} bytes, at most {bytes_max} are read")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The bound, `limits::SQL_BYTES_MAX`.
        bytes_max: usize,
    },
    /// There is no statement in the text.
    #[error("there is no statement in the text")]
    Empty,
    /// There is more than one statement where one was planned.
    #[error("there is a second statement in the text")]
    Several {
        /// Where it begins.
        place: Option<Place>,
    },
    /// The text cannot be cut into words.
    #[error("cannot read the statement: {}", lower(&source.message))]
    Token {
        /// Where reading stopped.
        place: Option<Place>,
        /// What the tokenizer said.
        source: TokenizerError,
    },
    /// The words do not form a statement.
    #[error("cannot read the statement: {expected}")]
    Syntax {
        /// What was expected and what was found.
        expected: String,
        /// Where reading stopped.
        place: Option<Place>,
        /// What the parser said.
        source: ParserError,
    },
    /// The statement is nested deeper, or chains more operators, than is planned.
    #[error("the statement nests or chains {what} too deeply: more than {depth_max}")]
    TooDeep {
        /// What is nested.
        what: &'static str,
        /// The bound.
        depth_max: usize,
        /// Where the bound is passed.
        place: Option<Place>,
    },
    /// A table that is neither in the catalog nor a file.
    #[error("there is no table {name}")]
    UnknownTable {
        /// The name looked for.
        name: String,
        /// The names of the catalog near to it.
        candidates: Vec<String>,
        /// All names of the catalog, when they are few.
        known: Vec<String>,
        /// Where it is named.
        place: Option<Place>,
    },
    /// A path in the place of a table that cannot be opened.
    #[error("cannot open the table '{path}'")]
    CannotOpen {
        /// The path.
        path: String,
        /// Where it is named.
        place: Option<Place>,
        /// Why.
        source: Error,
    },
    /// A column that none of the tables in scope has.
    #[error("there is no column {name}")]
    UnknownColumn {
        /// The name looked for.
        name: String,
        /// The columns in scope near to it.
        candidates: Vec<String>,
        /// Where it is named.
        place: Option<Place>,
        /// What DataFusion said.
        source: Box<DataFusionError>,
    },
    /// A column that several tables in scope have.
    #[error("the column {name} is in several of the tables")]
    AmbiguousColumn {
        /// The name looked for.
        name: String,
        /// Where it is named.
        place: Option<Place>,
        /// What DataFusion said.
        source: Box<DataFusionError>,
    },
    /// A function that is not in the registry.
    #[error("there is no function {name}")]
    UnknownFunction {
        /// The name looked for.
        name: String,
        /// The functions near to it.
        candidates: Vec<String>,
        /// Where it is called.
        place: Option<Place>,
        /// What DataFusion said.
        source: Box<DataFusionError>,
    },
    /// Valid SQL that Windrow does not run.
    #[error("{what} is not supported")]
    Unsupported {
        /// What was asked for, as a noun.
        what: String,
        /// Where it stands.
        place: Option<Place>,
    },
    /// A path that does not tell in which format is written.
    #[error("the path '{path}' tells no format")]
    NoFormat {
        /// The path.
        path: String,
        /// Where it stands.
        place: Option<Place>,
    },
    /// A format that is not written.
    #[error("there is no format {name}")]
    UnknownFormat {
        /// The name looked for.
        name: String,
        /// Where it stands.
        place: Option<Place>,
    },
    /// An option of COPY that is not there.
    #[error("COPY has no option {name}")]
    UnknownOption {
        /// The name looked for.
        name: String,
        /// The options near to it.
        candidates: Vec<String>,
        /// Where it stands.
        place: Option<Place>,
    },
    /// An option that is neither on nor off.
    #[error("the option {name} is true or false, not {value}")]
    NoTruth {
        /// The option.
        name: String,
        /// What it was given.
        value: String,
        /// Where that stands.
        place: Option<Place>,
    },
    /// Two options that exclude each other.
    #[error("an output is overwritten or appended to, not both")]
    OverwriteAndAppend {
        /// Where the second stands.
        place: Option<Place>,
    },
    /// A clause of COPY that stands twice.
    #[error("{clause} stands twice")]
    ClauseTwice {
        /// Its first word.
        clause: String,
        /// Where the second stands.
        place: Option<Place>,
    },
    /// A column that the rows which are copied do not have.
    #[error("the output is to be partitioned by {name}, which the query does not give")]
    NoFolderColumn {
        /// The name looked for.
        name: String,
        /// The columns near to it.
        candidates: Vec<String>,
        /// Where it is named.
        place: Option<Place>,
    },
    /// DataFusion could not plan the statement: types that do not fit, a column outside of GROUP BY.
    #[error("cannot plan the statement: {}", sentence(source))]
    Plan {
        /// What it is about, if DataFusion knows.
        place: Option<Place>,
        /// What DataFusion said.
        source: Box<DataFusionError>,
    },
    /// The thread that plans could not be started.
    #[error("cannot start the thread that plans, with a stack of {stack_bytes} bytes")]
    NoThread {
        /// The stack it needs.
        stack_bytes: usize,
        /// Why.
        source: std::io::Error,
    },
}

impl Cause for SqlError {
    fn kind(&self) -> Kind {
        match self {
            SqlError::TooLong { .. } | SqlError::TooDeep { .. } => Kind::Limit,
            SqlError::Empty
            | SqlError::Several { .. }
            | SqlError::Token { .. }
            | SqlError::Syntax { .. }
            | SqlError::UnknownTable { .. }
            | SqlError::UnknownColumn { .. }
            | SqlError::AmbiguousColumn { .. }
            | SqlError::UnknownFunction { .. }
            | SqlError::NoFormat { .. }
            | SqlError::UnknownFormat { .. }
            | SqlError::UnknownOption { .. }
            | SqlError::NoTruth { .. }
            | SqlError::OverwriteAndAppend { .. }
            | SqlError::ClauseTwice { .. }
            | SqlError::NoFolderColumn { .. } => Kind::Request,
            SqlError::CannotOpen { source, .. } => source.kind(),
            SqlError::Unsupported { .. } => Kind::Unsupported,
            SqlError::Plan { source, .. } => library_kind(source),
            SqlError::NoThread { .. } => Kind::Io,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            SqlError::UnknownTable { candidates, known, .. } => {
                suggest::did_you_mean(candidates).or_else(|| match known[..] {
                    [] => Some("name a file: from 'data/orders.parquet'".to_owned()),
                    _ => Some(format!("there are: {}", known.join(", "))),
                })
            }
            SqlError::UnknownColumn { candidates, .. }
            | SqlError::UnknownFunction { candidates, .. }
            | SqlError::NoFolderColumn { candidates, .. } => suggest::did_you_mean(candidates),
            SqlError::UnknownOption { candidates, .. } => {
                suggest::did_you_mean(candidates).or_else(|| Some("there are: overwrite, append".to_owned()))
            }
            SqlError::UnknownFormat { .. } => Some("there are: parquet, csv, json, text, arrow, fixed".to_owned()),
            SqlError::NoFormat { .. } => {
                Some("add STORED AS csv, or end the path in .parquet, .csv, .jsonl, .txt or .arrow".to_owned())
            }
            SqlError::AmbiguousColumn { .. } => Some("say which table's, as in t.name".to_owned()),
            SqlError::CannotOpen { source, .. } => source.hint(),
            SqlError::Plan { source, .. } => diagnostic(source)
                .map(|diagnostic| {
                    diagnostic.helps.iter().map(|help| lower(&help.message)).collect::<Vec<_>>().join("; ")
                })
                .filter(|help| !help.is_empty()),
            _ => None,
        }
    }

    fn place(&self) -> Option<Place> {
        match self {
            SqlError::TooLong { .. } | SqlError::Empty | SqlError::NoThread { .. } => None,
            SqlError::Several { place }
            | SqlError::Token { place, .. }
            | SqlError::Syntax { place, .. }
            | SqlError::TooDeep { place, .. }
            | SqlError::UnknownTable { place, .. }
            | SqlError::CannotOpen { place, .. }
            | SqlError::UnknownColumn { place, .. }
            | SqlError::AmbiguousColumn { place, .. }
            | SqlError::UnknownFunction { place, .. }
            | SqlError::Unsupported { place, .. }
            | SqlError::NoFormat { place, .. }
            | SqlError::UnknownFormat { place, .. }
            | SqlError::UnknownOption { place, .. }
            | SqlError::NoTruth { place, .. }
            | SqlError::OverwriteAndAppend { place }
            | SqlError::ClauseTwice { place, .. }
            | SqlError::NoFolderColumn { place, .. }
            | SqlError::Plan { place, .. } => place.clone(),
        }
    }
}

impl SqlError {
    /// The error that DataFusion gave while it planned `text`; `unknown_function` is the last name it did not find.
    pub(super) fn from_datafusion(error: DataFusionError, text: &Text<'_>, unknown_function: Option<&str>) -> SqlError {
        let span = diagnostic(&error).and_then(|diagnostic| diagnostic.span);
        let at = |words: &[&str], label: &str| match span {
            Some(span) => Some(text.place_of(span, label)),
            None => text.find(words, label),
        };
        match innermost(&error) {
            DataFusionError::SchemaError(schema, _) => match &**schema {
                SchemaError::FieldNotFound { field, valid_fields } => {
                    let name = field.flat_name();
                    let known = valid_fields.iter().flat_map(|field| [field.name().to_owned(), field.flat_name()]);
                    let known: Vec<String> = known.collect();
                    let mut candidates = suggest::near(field.name(), known.iter().map(String::as_str));
                    // A name that stands there plain need not be told again with its table.
                    let plain = candidates.clone();
                    let is_twin = |one: &String| plain.iter().any(|other| one.ends_with(&format!(".{other}")));
                    candidates.retain(|candidate| *candidate != name && !is_twin(candidate));
                    let place = match field.spans().first() {
                        Some(span) => Some(text.place_of(span, "not found")),
                        None => at(&[field.name()], "not found"),
                    };
                    return SqlError::UnknownColumn { name, candidates, place, source: Box::new(error) };
                }
                SchemaError::AmbiguousReference { field } => {
                    let place = match field.spans().first() {
                        Some(span) => Some(text.place_of(span, "ambiguous")),
                        None => at(&[field.name()], "ambiguous"),
                    };
                    return SqlError::AmbiguousColumn { name: field.name().to_owned(), place, source: Box::new(error) };
                }
                _ => {}
            },
            DataFusionError::Plan(said) => {
                // The names that were asked for are known; only the pairing with the error is by its text.
                if let Some(name) =
                    unknown_function.filter(|name| said.starts_with(&format!("Invalid function '{name}'")))
                {
                    let place = at(&[name], "not found");
                    let candidates = suggest::near(name, super::functions::names());
                    return SqlError::UnknownFunction {
                        name: name.to_owned(),
                        candidates,
                        place,
                        source: Box::new(error),
                    };
                }
            }
            DataFusionError::External(_) => return from_external(error, text, span),
            _ => {}
        }
        SqlError::Plan { place: span.map(|span| text.place_of(span, "here")), source: Box::new(error) }
    }

    /// An error of the expression binder, with the place of the word it names.
    pub(super) fn from_expression(error: ExpressionError, text: &Text<'_>) -> Error {
        match error {
            ExpressionError::Unsupported { what, token } => {
                let words: Vec<&str> = token.as_deref().into_iter().collect();
                text.unsupported(what, &words).into()
            }
            other => other.into(),
        }
    }
}

/// Our own error on its way back through DataFusion, with the place that DataFusion knows.
fn from_external(error: DataFusionError, text: &Text<'_>, span: Option<datafusion_common::Span>) -> SqlError {
    let external = match into_innermost(error) {
        DataFusionError::External(external) => external,
        other => return SqlError::Plan { place: None, source: Box::new(other) },
    };
    let mut ours = match external.downcast::<SqlError>() {
        Ok(ours) => *ours,
        Err(foreign) => return SqlError::Plan { place: None, source: Box::new(DataFusionError::External(foreign)) },
    };
    match &mut ours {
        SqlError::UnknownTable { name, place, .. } => *place = place_of_table(name, text, span, "not found"),
        SqlError::CannotOpen { path, place, .. } => *place = place_of_table(path, text, span, "cannot be read"),
        _ => {}
    }
    ours
}

fn place_of_table(name: &str, text: &Text<'_>, span: Option<datafusion_common::Span>, label: &str) -> Option<Place> {
    let last = name.rsplit('.').next().unwrap_or(name);
    match span {
        Some(span) => Some(text.place_of(span, label)),
        None => text.find(&[name, last], label),
    }
}

fn innermost(error: &DataFusionError) -> &DataFusionError {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => innermost(inner),
        DataFusionError::Collection(errors) => errors.first().map_or(error, innermost),
        other => other,
    }
}

fn into_innermost(error: DataFusionError) -> DataFusionError {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => into_innermost(*inner),
        DataFusionError::Collection(mut errors) if !errors.is_empty() => into_innermost(errors.swap_remove(0)),
        other => other,
    }
}

/// The first diagnostic on the way down that knows a place, or else the first.
fn diagnostic(error: &DataFusionError) -> Option<&Diagnostic> {
    match error {
        DataFusionError::Diagnostic(diagnostic, inner) => match diagnostic.span {
            Some(_) => Some(diagnostic),
            None => self::diagnostic(inner).or(Some(diagnostic)),
        },
        DataFusionError::Context(_, inner) => diagnostic(inner),
        DataFusionError::Collection(errors) => errors.first().and_then(diagnostic),
        _ => None,
    }
}

/// What DataFusion says, without its "Error during planning: ".
fn sentence(error: &DataFusionError) -> String {
    match innermost(error) {
        DataFusionError::Plan(said)
        | DataFusionError::NotImplemented(said)
        | DataFusionError::Internal(said)
        | DataFusionError::Execution(said)
        | DataFusionError::Configuration(said) => lower(said),
        other => lower(&other.message()),
    }
}

/// With a small first letter, unless a word in capitals begins it.
pub(super) fn lower(said: &str) -> String {
    let mut characters = said.chars();
    match (characters.next(), characters.next()) {
        (Some(first), Some(second)) if first.is_uppercase() && !second.is_uppercase() => {
            first.to_lowercase().chain(said.chars().skip(1)).collect()
        }
        _ => said.to_owned(),
    }
}
