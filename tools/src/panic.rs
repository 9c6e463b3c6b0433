//! What a panic looks like to the user: an error like others, with its place, and exit code 7.
//!
//! In: panics of any thread. Out: one line, unless the engine makes an error of it anyway. Never: a raw panic message or trace.

use std::{
    io::Write,
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    process::ExitCode,
    thread,
};

use crate::error;

/// Replaces the message that Rust prints for a panic.
pub fn be_quiet() {
    panic::set_hook(Box::new(|info| {
        // The engine catches panics of its own threads and hands them on as errors, which are told once.
        if !thread::current().name().is_some_and(|name| name.starts_with("windrow-")) {
            let _ = writeln!(std::io::stderr(), "error: internal error{}: {}", place(info), message(info));
        }
    }));
}

/// Runs `work`; a panic in it, told by then, becomes the exit code of a bug.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, ExitCode> {
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|_| {
        let _ = writeln!(
            std::io::stderr(),
            "hint: this is a bug in windrow; please report it with the command and its input"
        );
        ExitCode::from(error::INTERNAL)
    })
}

fn place(info: &PanicHookInfo<'_>) -> String {
    info.location().map(|location| format!(" at {}:{}", location.file(), location.line())).unwrap_or_default()
}

fn message<'a>(info: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a broken invariant without a message")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_exit_code() {
        assert_eq!(catch(|| 1).unwrap(), 1);
        let code = catch(|| panic!("a broken invariant")).unwrap_err();
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(error::INTERNAL)));
    }
}
