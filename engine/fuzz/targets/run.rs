//! The reader of a run: rows that an operator has put on disk, whose file somebody has changed.
//!
//! In: the file's bytes. Out: nothing. Never: a panic, a frame of another place.

#![no_main]

use std::sync::LazyLock;

#[path = "../readers.rs"]
mod readers;

static RUN: LazyLock<readers::RunReader> = LazyLock::new(|| readers::RunReader::new(&readers::folder("run"), 5));

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = RUN.read(bytes);
});
