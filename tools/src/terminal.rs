//! What the standard streams are connected to.
//!
//! In: the process's streams and `NO_COLOR`. Out: whether to be pretty, and how wide. Never: a byte to any of them.

use std::{
    env,
    io::{self, IsTerminal},
};

/// Of a terminal that does not know its width, as some do over serial lines.
const WIDTH_UNKNOWN: usize = 80;

/// Columns of the terminal that standard output is; none when it is something else.
pub fn width() -> Option<usize> {
    if !io::stdout().is_terminal() {
        return None;
    }
    Some(terminal_size::terminal_size_of(io::stdout()).map_or(WIDTH_UNKNOWN, |(width, _)| usize::from(width.0)))
}

/// Columns of the terminal that standard error is, where there is one.
pub fn watched_width() -> usize {
    terminal_size::terminal_size_of(io::stderr()).map_or(WIDTH_UNKNOWN, |(width, _)| usize::from(width.0))
}

/// Whether a person reads standard error: progress and timings go there then.
pub fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Whether a person types standard input.
pub fn is_typed() -> bool {
    io::stdin().is_terminal()
}

/// Whether errors may be coloured (see no-color.org).
pub fn is_coloured() -> bool {
    is_watched() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
