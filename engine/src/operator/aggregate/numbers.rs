//! Numbers for keys, for an operator that keeps something else of each key than the states of aggregates.
//!
//! In: key columns with their hashes, a batch at a time. Out: the number of each row's key, counted from 0. Never: asks for memory; it says what
//! it is going to take.

use std::sync::Arc;

use super::{
    index::Index,
    keys::{RowKeys, Visit},
};
use crate::{
    batch::{array::ArrayRef, datatypes::DataType},
    error::Result,
};

/// The keys that were seen, with their numbers.
pub struct KeyNumbers {
    index: Index,
    rows: RowKeys,
}

impl KeyNumbers {
    /// No keys yet; fails if columns of these types cannot be keys.
    pub fn new(types: &Arc<[DataType]>) -> Result<KeyNumbers> {
        Ok(KeyNumbers { index: Index::new(types)?, rows: RowKeys::default() })
    }

    /// How many keys were seen. Of no columns there is one key, which needs no looking for.
    pub fn count(&self) -> usize {
        self.index.len()
    }

    /// Bytes of a table of so many keys, in the form that keys have now.
    pub fn bytes_of(&self, keys: usize) -> u64 {
        self.index.capacity_for(keys) as u64 * self.index.bytes_per_group() + self.index.arena_bytes()
    }

    /// The number of each row's key; new keys get the next numbers.
    pub fn assign(&mut self, columns: &[ArrayRef], hashes: &[u64], numbers: &mut Vec<u32>) -> Result<()> {
        let grow = &mut |_: usize| Ok(());
        self.index.assign(columns, &mut self.rows, Visit { hashes, groups: numbers, grow })
    }
}
