//! The binaries of programs on their way: from a client to the coordinator, from there to the workers that need them.
//!
//! In: a binary's name and length, pieces of it. Out: [`BinaryAsk`], [`BinaryWanted`]. Never: a piece that is longer than a part of a plan.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Blob, ProtocolError, at_most};
use crate::cluster::limits::PART_BYTES;

/// A binary by what it says: whoever holds bytes of this name can check them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BinaryId {
    /// SHA-256 of its bytes, as they are shipped.
    pub sha256: [u8; 32],
    /// How many those are.
    pub bytes: u64,
}

impl fmt::Display for BinaryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sha256.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a client asks about a binary. Until `BinaryHeld`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum BinaryAsk {
    /// How much of it do you have?
    Held(BinaryId),
    /// Take this piece. One that is held already changes nothing.
    Piece {
        /// Of which.
        binary: BinaryId,
        /// Where it begins.
        at: u64,
        /// The piece.
        bytes: Blob,
    },
}

impl BinaryAsk {
    pub(super) fn check(&self) -> Result<(), ProtocolError> {
        match self {
            BinaryAsk::Held(_) => Ok(()),
            BinaryAsk::Piece { bytes, .. } => at_most("bytes of a piece", bytes.len(), PART_BYTES),
        }
    }
}

/// A worker asks the coordinator for a piece, which is the whole answer: `PART_BYTES` of it, or what is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinaryWanted {
    /// Of which.
    pub binary: BinaryId,
    /// Where it begins.
    pub at: u64,
}
