//! What is kept: manifests of durable edges, and the journal by which a job goes on after its coordinator died.
//!
//! In: ledgers, decisions, commits. Out: what recovery reads. Never: something half written that looks whole.
//!
//! Today this folder holds a drawing, `journal`, because decisions already have the form in which it will carry them
//! (`plan/decision.rs`). With the cluster come `manifest` (which edges are durable, where, at which level, with
//! digests), `write`, `recover` and `lineage`.

#![deny(clippy::disallowed_types)]

/// The journal's record, drawn; its code comes with the cluster.
pub mod journal;
