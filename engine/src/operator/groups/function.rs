//! The user's code over groups, and what it sees.

use std::{ops::Range, sync::Arc};

pub use crate::operator::Emit;
use crate::{batch::Batch, error::Result, observe::Counters};

/// The user's code: opened once a part that has rows, in parallel for several parts.
pub trait GroupFunction: Send + Sync {
    /// What is called for the groups of part `part`, in order of their keys. `counters`: where what it counts goes.
    fn open(&self, part: u32, counters: &Arc<Counters>) -> Result<Box<dyn GroupCalls>>;
}

/// The user's code at work on one part.
pub trait GroupCalls: Send {
    /// Is called several times with some of the groups each, all of a group in one call. What it leaves in `pieces` is passed over.
    fn groups(&mut self, pieces: &mut dyn Pieces, emit: Emit<'_>) -> Result<()>;
    /// The part has no more groups.
    fn close(self: Box<Self>, _emit: Emit<'_>) -> Result<()> {
        Ok(())
    }
}

/// The rows of groups, one after the other.
pub trait Pieces {
    /// The next rows, all of one group; none at the end of the last group of the call.
    fn next(&mut self) -> Result<Option<Piece>>;
}

/// Rows of one group, one after the other in a batch.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Has rows of other groups, too.
    pub batch: Batch,
    /// Which batch of the part it is: pieces of the same one come one after the other.
    pub number: u64,
    /// The rows; at least one.
    pub rows: Range<usize>,
    /// The group begins with them.
    pub is_first: bool,
}
