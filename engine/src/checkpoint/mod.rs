//! What is kept: manifests of durable edges, and the journal by which a job goes on after its coordinator died.
//!
//! In: ledgers, decisions, commits. Out: what recovery reads. Never: something half written that looks whole.
//!
//! Today this folder holds the journal. With durable edges come `manifest` (which edges are durable, where, at which
//! level, with digests) and `lineage`.

#![deny(clippy::disallowed_types)]

/// The journal's record, drawn byte by byte: written before it is acted upon, read after a crash.
pub mod journal;
pub use journal::{Entry, JournalError, JournalFile, JournalWriter, Position, RecordKind, Recovered, recover};
