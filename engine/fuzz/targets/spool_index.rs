//! The reader of the index at the end of a spool's file.
//!
//! In: a file's bytes. Out: nothing. Never: a panic, two encodings of one index.

#![no_main]

#[path = "../readers.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = readers::spool_index(bytes);
});
