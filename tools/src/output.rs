//! Standard output, for what is no answer of the engine: tables of processes and jobs, JSON.
//!
//! In: a text or a value. Out: all of it, at once. Never: half of it told as whole; what could not be written is an error.

use std::io::{self, Write};

use serde::Serialize;

use crate::error::Failure;

/// Writes `text`.
pub fn text(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::of_output)
}

/// Writes `value` as JSON in one line.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let line = serde_json::to_string(value).map_err(|source| Failure::of_output(source.into()))?;
    text(&(line + "\n"))
}
