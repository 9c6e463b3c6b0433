//! The hash table: from row hashes to the numbers of groups.
//!
//! In: hashes, a batch at a time, and something that compares and keeps keys ([`Probe`]). Out: a group's number for each row, counted
//! from 0 in order of first appearance. Never: sees a type; removes a group.
//!
//! ```text
//!   slot, u64:  │ 63–32: bits 63–32 of the hash │ 31–0: group + 1, or 0 while empty │      place: bits 31–0 of the hash
//! ```
//! Open addressing, linear probing, at most half full. Rows go through in blocks that stay in L1, in three loops: (1) read the first
//! slot of each row, which lets many cache misses run at once; (2) compare, and note the rows that were not found there; (3) only for
//! those walk on, and make groups. With few groups nothing is left for the third loop.

use super::spec::AggregateError;
use crate::error::Result;
pub(super) use crate::kernel::ABSENT;

/// Rows of a block: 8 KiB of slots.
const BLOCK_ROWS: usize = 1024;
/// Slots of the smallest table.
const SLOTS_MIN: usize = 4 * BLOCK_ROWS;
/// Bits of the hash that the slot keeps.
const TAG: u64 = u64::MAX << 32;

/// Compares and keeps keys, by group and by row of the batch.
pub(super) trait Probe {
    /// Has `group` the key of `row`?
    fn is_equal(&self, group: u32, row: usize) -> bool;
    /// The same, but may say no where it would have to look further than at the keys themselves: it does not branch.
    fn is_same(&self, group: u32, row: usize) -> bool {
        self.is_equal(group, row)
    }
    /// The key of `row` becomes the next group's.
    fn push(&mut self, row: usize);
}

/// The slots, and the hash of each group.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// A power of two of them, or none.
    slots: Vec<u64>,
    hashes: Vec<u64>,
}

impl Table {
    /// Bytes of a group of [`Table::capacity`]: two slots, one more while it doubles, and a hash.
    pub(super) const BYTES_PER_GROUP: u64 = 3 * 8 + 8;

    /// The hash of each group.
    pub(super) fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// Groups it holds before it must grow.
    pub(super) fn capacity(&self) -> usize {
        self.slots.len() / 2
    }

    /// Groups that it holds before it must grow, once it holds so many: its slots are a power of two.
    pub(super) fn capacity_for(&self, groups: usize) -> usize {
        let capacity = self.capacity();
        if groups <= capacity { capacity } else { (2 * groups).max(SLOTS_MIN).next_power_of_two() / 2 }
    }

    /// Makes room for so many groups.
    pub(super) fn reserve(&mut self, groups: usize, grow: &mut dyn FnMut(usize) -> Result<()>) -> Result<()> {
        if groups > self.capacity() { self.grow(groups, grow) } else { Ok(()) }
    }

    /// The group of each row, in `groups`; new keys become groups. `grow` is asked before the table grows to so many groups.
    pub(super) fn assign<P: Probe>(
        &mut self,
        probe: &mut P,
        hashes: &[u64],
        groups: &mut Vec<u32>,
        grow: &mut dyn FnMut(usize) -> Result<()>,
    ) -> Result<()> {
        groups.clear();
        groups.resize(hashes.len(), 0);
        let mut first_row = 0;
        for (hashes, groups) in hashes.chunks(BLOCK_ROWS).zip(groups.chunks_mut(BLOCK_ROWS)) {
            if self.hashes.len() + hashes.len() > self.capacity() {
                self.grow(self.hashes.len() + hashes.len(), grow)?;
            }
            self.assign_block(probe, hashes, groups, first_row);
            first_row += hashes.len();
        }
        Ok(())
    }

    /// The group of each row, in `groups`, and [`ABSENT`] for keys that are no group; none is made.
    pub(super) fn find<P: Probe>(&self, probe: &P, hashes: &[u64], groups: &mut Vec<u32>) {
        groups.clear();
        groups.resize(hashes.len(), ABSENT);
        let Some(mask) = self.slots.len().checked_sub(1) else { return };
        // Without a group there is nothing to compare with.
        if self.hashes.is_empty() {
            return;
        }
        let mut first_row = 0;
        let mut found = [0_u64; BLOCK_ROWS];
        let mut missed = [0_u16; BLOCK_ROWS];
        for (hashes, groups) in hashes.chunks(BLOCK_ROWS).zip(groups.chunks_mut(BLOCK_ROWS)) {
            for (slot, hash) in found.iter_mut().zip(hashes) {
                *slot = self.slots[*hash as u32 as usize & mask];
            }
            // Whether a row is found nothing can predict: no branch asks.
            let mut missed_count = 0;
            for (i, (slot, group)) in found.iter().zip(groups.iter_mut()).enumerate().take(hashes.len()) {
                let is_taken = *slot as u32 != 0;
                let first = (*slot as u32).saturating_sub(1);
                let is_found = is_taken & probe.is_same(first, first_row + i);
                *group = if is_found { first } else { ABSENT };
                missed[missed_count] = i as u16;
                missed_count += usize::from(is_taken & !is_found);
            }
            for i in missed[..missed_count].iter().map(|i| usize::from(*i)) {
                groups[i] = self.find_from(probe, hashes[i], found[i], first_row + i);
            }
            first_row += hashes.len();
        }
    }

    /// The group of `row`, by its first slot and those behind.
    #[inline]
    fn find_from<P: Probe>(&self, probe: &P, hash: u64, mut slot: u64, row: usize) -> u32 {
        let mask = self.slots.len() - 1;
        let mut place = hash as u32 as usize & mask;
        while slot as u32 != 0 {
            let known = slot as u32 - 1;
            if (slot ^ hash) & TAG == 0 && probe.is_equal(known, row) {
                return known;
            }
            place = (place + 1) & mask;
            slot = self.slots[place];
        }
        ABSENT
    }

    fn assign_block<P: Probe>(&mut self, probe: &mut P, hashes: &[u64], groups: &mut [u32], first_row: usize) {
        let mut found = [0_u64; BLOCK_ROWS];
        let mut missed = [0_u16; BLOCK_ROWS];
        let mask = self.slots.len() - 1;
        for (slot, hash) in found.iter_mut().zip(hashes) {
            *slot = self.slots[*hash as u32 as usize & mask];
        }
        let mut missed_count = 0;
        for (i, ((slot, hash), group)) in found.iter().zip(hashes).zip(groups.iter_mut()).enumerate() {
            *group = (*slot as u32).wrapping_sub(1);
            let is_found = (slot ^ hash) & TAG == 0 && *slot as u32 != 0 && probe.is_equal(*group, first_row + i);
            missed[missed_count] = i as u16;
            missed_count += usize::from(!is_found);
        }
        for i in &missed[..missed_count] {
            let i = usize::from(*i);
            groups[i] = self.find_or_insert(probe, hashes[i], first_row + i);
        }
    }

    fn find_or_insert<P: Probe>(&mut self, probe: &mut P, hash: u64, row: usize) -> u32 {
        let mask = self.slots.len() - 1;
        let mut place = hash as u32 as usize & mask;
        loop {
            let slot = self.slots[place];
            if slot as u32 == 0 {
                let group = self.hashes.len() as u32;
                self.slots[place] = hash & TAG | u64::from(group + 1);
                self.hashes.push(hash);
                probe.push(row);
                return group;
            }
            if (slot ^ hash) & TAG == 0 && probe.is_equal(slot as u32 - 1, row) {
                return slot as u32 - 1;
            }
            place = (place + 1) & mask;
        }
    }

    #[cold]
    fn grow(&mut self, groups: usize, grow: &mut dyn FnMut(usize) -> Result<()>) -> Result<()> {
        let capacity = self.capacity_for(groups);
        if capacity > u32::MAX as usize {
            return Err(AggregateError::TooManyGroups.into());
        }
        grow(capacity)?;
        let slot_count = 2 * capacity;
        let mask = slot_count - 1;
        let mut slots = vec![0; slot_count];
        for (group, hash) in self.hashes.iter().enumerate() {
            let mut place = *hash as u32 as usize & mask;
            while slots[place] != 0 {
                place = (place + 1) & mask;
            }
            slots[place] = hash & TAG | (group as u64 + 1);
        }
        self.slots = slots;
        Ok(())
    }
}
