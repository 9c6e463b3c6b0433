//! Between the machines: how the rows of a group become bytes, are kept, pulled, and counted.
//!
//! In: batches, and the numbers that name the attempt which made them. Out: frames, and batches again. Never: a socket,
//! a clock, a row that is counted twice. `README.md` tells the life of a group, and what of it exists today.

#![deny(clippy::disallowed_types)]

/// A batch of one group as bytes, drawn byte by byte.
pub mod frame;
pub use frame::{
    Codec, FrameError, FrameHeader, FrameLimits, decode_frame, decode_header, encode_frame, encode_frame_with,
};

/// The numbers that name a job's parts.
pub mod numbers;
pub use numbers::{AttemptId, AttemptKey, Epoch, GroupId, GroupTotal, JobId, Round, Sequence, StageId, TaskId};

/// Rows without their order: what two attempts of a task must agree on.
pub mod digest;
pub use digest::Digest;

/// The index of a spool's file, drawn byte by byte.
pub mod index;

/// What must come over an edge, and what has.
pub mod ledger;
pub use ledger::{Ledger, LedgerError};

/// A builder for each group.
pub mod builder;
pub use builder::{Builder, BuilderError, BuilderOptions};

/// Runs: frames that an operator keeps on disk for want of memory.
pub mod run;
pub use run::{Run, RunReader, RunWriter, Runs, RunsOptions};

/// The spool: frames kept by their producer.
pub mod spool;
pub use spool::{Frames, Spool, SpoolOptions, SpoolWriter};
