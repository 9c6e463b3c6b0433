//! What the cluster's processes write about themselves, on standard error.
//!
//! In: `--log-format`, `WINDROW_LOG`. Out: events as lines of text or JSON, once [`LogFlags::start`] was called. Never: a colour, or
//! anything on standard output.

use std::{env, io};

use tracing_subscriber::{
    Layer as _, Registry,
    filter::{ParseError, Targets},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};
use windrow::{
    Kind,
    error::{Cause, Error},
};

use crate::error::Failure;

/// The variable that says what is logged, as `info` or `windrow=debug,windrow_net=trace`.
const VARIABLE: &str = "WINDROW_LOG";
/// What is logged without it: ourselves, and only the warnings of others.
const DEFAULT: &str = "warn,windrow=info";

/// How a process logs.
#[derive(clap::Args)]
pub struct LogFlags {
    /// How log lines are written to standard error; WINDROW_LOG says which, as windrow=debug
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

/// How a line is written.
#[derive(Clone, Copy, clap::ValueEnum)]
enum LogFormat {
    Json,
    Text,
}

impl LogFlags {
    /// From now on events are written.
    pub fn start(&self) -> Result<(), Failure> {
        let targets = targets(env::var(VARIABLE).ok()).map_err(|error| Failure::Usage(Error::from(error)))?;
        let lines = fmt::layer().with_writer(io::stderr).with_ansi(false);
        let lines: Box<dyn tracing_subscriber::Layer<Registry> + Send + Sync> = match self.log_format {
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        // It fails where somebody logs already: those lines go on, then.
        let _ = tracing_subscriber::registry().with(lines.with_filter(targets)).try_init();
        Ok(())
    }
}

/// What is logged; nothing said is the default.
fn targets(said: Option<String>) -> Result<Targets, LogError> {
    let said = said.filter(|said| !said.trim().is_empty());
    let text = said.as_deref().unwrap_or(DEFAULT);
    text.parse().map_err(|source| LogError { text: text.to_owned(), source })
}

#[derive(Debug, thiserror::Error)]
#[error("reading {VARIABLE}={text:?}")]
struct LogError {
    text: String,
    source: ParseError,
}

impl Cause for LogError {
    fn kind(&self) -> Kind {
        Kind::Request
    }
    fn hint(&self) -> Option<String> {
        Some("write a level (error, warn, info, debug, trace) or NAME=LEVEL, with commas between".to_owned())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn a_filter_is_read() {
        for said in [None, Some(" ".to_owned())] {
            let targets = targets(said).unwrap();
            assert!(targets.would_enable("windrow_net::quic", &Level::INFO));
            assert!(!targets.would_enable("quinn", &Level::INFO) && targets.would_enable("quinn", &Level::WARN));
        }
        assert!(targets(Some("quinn=trace".to_owned())).unwrap().would_enable("quinn", &Level::TRACE));
        assert_eq!(targets(Some("windrow=loud".to_owned())).unwrap_err().kind(), Kind::Request);
    }
}
