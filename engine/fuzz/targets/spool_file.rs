//! The reader of a spool's file: taken from another process, then given to a consumer.
//!
//! In: a file's bytes. Out: nothing. Never: a panic, a frame of another attempt.

#![no_main]

use std::sync::LazyLock;

#[path = "../readers.rs"]
mod readers;

static SPOOL: LazyLock<readers::SpoolReader> =
    LazyLock::new(|| readers::SpoolReader::new(&readers::folder("spool_file")));

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = SPOOL.read(bytes, None);
});
