//! The frame reader: bytes from a peer, a spool, a run.
//!
//! In: bytes. Out: nothing. Never: a panic, a batch that arrow would refuse.

#![no_main]

#[path = "../readers.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = readers::frame(bytes);
});
