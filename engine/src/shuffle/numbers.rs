//! The numbers that name a job's parts, each a type of its own so that two cannot be swapped.
//!
//! In: what the planner, the coordinator and the workers count. Out: the same in frames, messages and the journal.
//! Never: a meaning that changes between the places where one stands.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A number with a name of its own, so that two cannot be swapped.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        number! { $(#[$doc])* $name($inner) as "{}" }
    };
    ($(#[$doc:meta])* $name:ident($inner:ty) as $format:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $format, self.0)
            }
        }
    };
}

number! {
    /// Which job.
    JobId(u64) as "{:016x}"
}
number! {
    /// Which life of the worker or coordinator that wrote: what an older life wrote is fenced off.
    Epoch(u32)
}
number! {
    /// Which stage of the job's plan.
    StageId(u32)
}
number! {
    /// Which turn of a loop; 0 outside of loops.
    Round(u32)
}
number! {
    /// Which task of the stage.
    TaskId(u32)
}
number! {
    /// Which try at the task, from 0.
    AttemptId(u32)
}
number! {
    /// Which group of the exchange, from 0.
    GroupId(u16)
}
number! {
    /// Which frame of an attempt's group, from 0.
    Sequence(u64)
}

/// Which try at which task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptKey {
    /// Of which job.
    pub job: JobId,
    /// Of which stage.
    pub stage: StageId,
    /// The task.
    pub task: TaskId,
    /// The try.
    pub attempt: AttemptId,
}

impl fmt::Display for AttemptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}.{}.{}", self.job, self.stage, self.task, self.attempt)
    }
}

/// What an attempt has written of one group: an entry of the edge's ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupTotal {
    /// Rows.
    pub rows: u64,
    /// Bytes of the frames.
    pub bytes: u64,
    /// Frames: their sequences are `0..frames`.
    pub frames: u64,
    /// Sum of the partition hashes of the rows; 0 on an edge without keys.
    pub hash_sum: u64,
}

impl GroupTotal {
    /// Counts `other` too.
    pub fn add(&mut self, other: &GroupTotal) {
        self.rows += other.rows;
        self.bytes += other.bytes;
        self.frames += other.frames;
        self.hash_sum = self.hash_sum.wrapping_add(other.hash_sum);
    }
}

impl fmt::Display for GroupTotal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let GroupTotal { rows, bytes, frames, hash_sum } = self;
        write!(f, "{rows} rows in {frames} frames of {bytes} bytes with hash sum {hash_sum:016x}")
    }
}
