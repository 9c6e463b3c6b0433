//! Keys and hash table together: from columns to the numbers of groups.
//!
//! In: key columns with their hashes, or groups of another index. Out: the group of each row. Never: two groups of one key; changes
//! a group's number.

use std::sync::Arc;

use super::{
    keys::{Keys, LEVEL_ROWS, RowKeys, Visit},
    table::Table,
};
use crate::{
    batch::{array::ArrayRef, datatypes::DataType},
    error::{Result, bug},
    kernel::FewKeys,
};

/// The groups of one table, by key.
pub(super) struct Index {
    keys: Keys,
    table: Table,
}

impl Index {
    /// No groups yet; fails if columns of these types cannot be keys.
    pub(super) fn new(types: &Arc<[DataType]>) -> Result<Index> {
        Ok(Index { keys: Keys::new(types)?, table: Table::default() })
    }

    /// No groups yet, the keys in the same form as here.
    pub(super) fn like(&self) -> Result<Index> {
        Ok(Index { keys: self.keys.like()?, table: Table::default() })
    }

    /// There are no key columns: everything is group 0.
    pub(super) fn is_single(&self) -> bool {
        self.keys.is_nothing()
    }

    /// How many groups there are.
    pub(super) fn len(&self) -> usize {
        if self.is_single() { 1 } else { self.table.hashes().len() }
    }

    /// The hash of each group.
    pub(super) fn hashes(&self) -> &[u64] {
        self.table.hashes()
    }

    /// In which form the keys are; indexes of one level can be merged.
    pub(super) fn level(&self) -> usize {
        self.keys.level()
    }

    /// Brings the keys into the form of `level`, which is not lower.
    pub(super) fn raise(&mut self, level: usize) -> Result<()> {
        while self.keys.level() < level {
            self.keys = self.keys.raised(self.keys.level() + 1, self.len())?;
        }
        Ok(())
    }

    /// Finds or makes the group of each row of `columns`.
    pub(super) fn assign(&mut self, columns: &[ArrayRef], keys: &mut RowKeys, visit: Visit<'_>) -> Result<()> {
        while !self.keys.encode(columns, keys)? {
            if self.keys.level() == LEVEL_ROWS {
                return Err(bug("aggregate", "a row does not fit into the widest form of keys"));
            }
            self.raise(self.keys.level() + 1)?;
        }
        self.keys.assign(&mut self.table, keys, visit)
    }

    /// Finds the group of each row of `columns`, or [`ABSENT`](super::table::ABSENT); false, and nothing is found, where a row has no place in the
    /// form that the keys have.
    pub(super) fn find(
        &mut self,
        columns: &[ArrayRef],
        keys: &mut RowKeys,
        hashes: &[u64],
        groups: &mut Vec<u32>,
    ) -> Result<bool> {
        let fits = self.keys.encode(columns, keys)?;
        if fits {
            self.keys.find(&self.table, keys, hashes, groups);
        }
        Ok(fits)
    }

    /// The group's key is a short string.
    pub(super) fn is_short(&self, group: u32) -> bool {
        self.keys.is_short(group)
    }

    /// See [`Keys::few`].
    pub(super) fn few(&self, groups: &[u32], line_bits: u32) -> Option<FewKeys> {
        self.keys.few(groups, line_bits)
    }

    /// Finds or makes the group of each of `groups` of `other`, which is of the same level.
    pub(super) fn assign_from(
        &mut self,
        other: &Index,
        groups: &[u32],
        keys: &mut RowKeys,
        visit: Visit<'_>,
    ) -> Result<()> {
        self.keys.assign_from(&mut self.table, &other.keys, groups, keys, visit)
    }

    /// Makes room for so many groups.
    pub(super) fn reserve(&mut self, groups: usize, grow: &mut dyn FnMut(usize) -> Result<()>) -> Result<()> {
        if self.is_single() { Ok(()) } else { self.table.reserve(groups, grow) }
    }

    /// The key columns of these groups.
    pub(super) fn columns(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        self.keys.columns(groups)
    }

    /// Groups for which memory was asked.
    pub(super) fn capacity(&self) -> usize {
        if self.is_single() { 1 } else { self.table.capacity() }
    }

    /// Groups for which memory will have been asked once there are so many.
    pub(super) fn capacity_for(&self, groups: usize) -> usize {
        if self.is_single() { 1 } else { self.table.capacity_for(groups) }
    }

    /// Bytes of one group, without the arena.
    pub(super) fn bytes_per_group(&self) -> u64 {
        Table::BYTES_PER_GROUP + self.keys.bytes_per_group()
    }

    /// Bytes of the arena.
    pub(super) fn arena_bytes(&self) -> u64 {
        self.keys.arena_bytes()
    }
}
