//! The prompt: lines that a person types, run when a statement ends with a semicolon.
//!
//! In: lines of standard input. Out: answers; errors are told and the prompt comes again. Never: standard output for the prompt
//! itself, which is not data.

use std::io::{self, BufRead, Write};

use super::{Runner, script::Script};
use crate::error::{CommandError, Failure};

/// Reads and runs until the input ends.
pub fn run(runner: &Runner<'_>) -> Result<(), Failure> {
    say("windrow: end a statement with ; and the session with exit or Ctrl-D\n");
    let mut text = String::new();
    loop {
        say(if text.is_empty() { "windrow> " } else { "    ...> " });
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line).map_err(|source| CommandError::Input { source })?;
        if read == 0 {
            say("\n");
            return Ok(());
        }
        if text.is_empty() && matches!(line.trim().trim_end_matches(';'), "exit" | "quit" | ".exit" | ".quit" | "\\q") {
            return Ok(());
        }
        if !text.is_empty() || !line.trim().is_empty() {
            text.push_str(&line);
        }
        if !is_ended(&text) {
            continue;
        }
        let script = Script { name: "prompt".to_owned(), text: std::mem::take(&mut text) };
        match runner.run(&script) {
            // A session that was cancelled runs nothing more.
            Err(failure) if runner.session.cancel().is_cancelled() => return Err(failure),
            Err(Failure::ClosedPipe) => return Err(Failure::ClosedPipe),
            Err(failure) => drop(failure.tell()),
            Ok(()) => {}
        }
    }
}

fn say(text: &str) {
    // Without a reader of standard error there is nobody to prompt.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Whether the last thing in `text` that is no comment is a semicolon outside of quotes.
fn is_ended(text: &str) -> bool {
    let mut rest = text;
    let mut is_ended = false;
    while let Some(letter) = rest.chars().next() {
        let skipped = match letter {
            '\'' | '"' => closing(rest, &letter.to_string()),
            '-' if rest.starts_with("--") => Some(rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => closing(rest, "*/"),
            _ => Some(letter.len_utf8()),
        };
        // Inside of something that is still open.
        let Some(skipped) = skipped else { return false };
        let is_comment = skipped > 1 && (letter == '-' || letter == '/');
        if !letter.is_whitespace() && !is_comment {
            is_ended = letter == ';';
        }
        rest = &rest[skipped..];
    }
    is_ended
}

/// Bytes until after `end`, behind an opening of the same length.
fn closing(rest: &str, end: &str) -> Option<usize> {
    let found = rest.get(end.len()..)?.find(end)?;
    Some(end.len() + found + end.len())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_ends_with_a_semicolon_outside_of_quotes_and_comments() {
        for text in [
            "select 1;",
            "select 1; ",
            "select ';';\n",
            "select 1; -- done\n",
            "/* ; */ select 'it''s';",
            ";",
            "select 2-1;",
        ] {
            assert!(is_ended(text), "{text}");
        }
        for text in ["", "select 1", "select ';", "select 1 -- ;\n", "select 1 /* ;", "select 1; select", "select \"a;"]
        {
            assert!(!is_ended(text), "{text}");
        }
    }
}
