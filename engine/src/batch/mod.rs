//! The border with arrow: what a batch is, and how it travels.
//!
//! In: arrow's arrays. Out: the names the other folders use for them. Never: computes; kernels and expressions do.
//!
//! The other folders reach arrow through the modules named here, so that the arrow version is worn at one place.

pub use arrow::{array, buffer, compute, datatypes, error::ArrowError, row, util};

mod rows; // CanonicalOrder, concat, take_rows, payload_bytes, looked_up, canonical_floats
pub use rows::{
    CanonicalOrder, NoOrder, array_bytes, canonical_bits_32, canonical_bits_64, canonical_floats, compacted,
    compacted_array, concat, copied, looked_up, payload_bytes, take_rows,
};

/// Columns that travel together: all of one length, by a schema.
pub type Batch = array::RecordBatch;

/// A batch on its way through a pipeline.
#[derive(Clone, Debug)]
pub struct Morsel {
    /// The rows.
    pub batch: Batch,
    /// Where in the scan the rows stood, while that is still known: filters and projections keep it, joins lose it.
    pub position: Option<Position>,
}

/// A place in a sequence of rows: a scan's splits, in order of (file, offset), or a sorted result's morsels, each a split of its own.
/// The morsels of one split come in order and on one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The split's number in the scan.
    pub split: u32,
    /// The morsel's number in the split.
    pub morsel: u32,
    /// No further morsel of this split comes.
    pub is_last: bool,
}

impl From<Batch> for Morsel {
    fn from(batch: Batch) -> Morsel {
        Morsel { batch, position: None }
    }
}
