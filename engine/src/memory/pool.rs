//! Blocks of memory that are used again: what the per-group builders of a node write into.
//!
//! In: a size. Out: a [`Block`] of it; when its last reader is gone it comes back here. Never: counts towards a budget (who takes a block
//! has reserved it), or keeps more memory than a bound that nobody uses: beyond that a block comes back without its pages.
//!
//! ```text
//!   slab, 4 MiB, huge pages:  │ colour │ block │ block │ block │ …        a block is an odd number of cache lines
//! ```
//! Two things make scattered writes to many blocks slow, and both are decided here. *Pages*: a slab asks for pages of 2 MiB, so that the
//! cursors of 256 groups are a few dozen pages and not hundreds. *Sets*: groups fill at the same pace, so cursors at equal distances from
//! their blocks' starts would meet in a few sets of the caches if blocks were a power of two long; an odd number of lines, and slabs that
//! begin at different lines, spread them over all sets.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use bytes::Bytes;

use super::buffer::{Block, map_slab};

/// Bytes of a slab, two huge pages; a block that is larger has one of its own.
const SLAB_BYTES: usize = 4 << 20;
/// Bytes that may lie unused: what the builders of an edge or two hold while their chunks grow.
const KEPT_BYTES_MAX: usize = 256 << 20;
/// Or such a share of the budget, where that is less.
const KEPT_SHARE: u64 = 16;
/// A cache line.
const LINE_BYTES: usize = 64;
/// A slab begins so many lines after where the one before did, until the sets of a cache of 1 MiB in 8 ways are through: the blocks of
/// one slab, a few dozen at neighbouring sets, then do not meet those of the next.
const COLOUR_LINES: usize = 121;
const COLOURS_LINES: usize = 2048;

/// A block of so many lines or more can spare some: 64 KiB.
const SPREAD_MIN_LINES: usize = 1024;
/// Sets of an L1 of 32 KiB in 8 ways, and how many of them neighbours are apart: prime to each other, and not next to each other.
const SET_LINES: usize = 64;
const SPREAD_LINES: usize = 37;

/// The least number of lines, at least `lines`, that is [`SPREAD_LINES`] modulo [`SET_LINES`].
fn spread(lines: usize) -> usize {
    lines + (SPREAD_LINES + SET_LINES - lines % SET_LINES) % SET_LINES
}

/// The blocks of a node that nobody uses.
#[derive(Debug)]
pub struct Pool {
    kept_bytes_max: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// By their length.
    blocks: BTreeMap<usize, Vec<Block>>,
    /// Their bytes.
    bytes: usize,
    /// By their length, those that the system has the memory of: their slabs are in use by others.
    empty: BTreeMap<usize, Vec<Block>>,
    /// Slabs made so far: the next one's colour.
    slabs: usize,
}

impl Pool {
    /// The pool of a process with such a budget.
    pub fn within(budget_bytes: u64) -> Arc<Pool> {
        let kept_bytes_max = (budget_bytes / KEPT_SHARE).min(KEPT_BYTES_MAX as u64) as usize;
        Arc::new(Pool { kept_bytes_max, kept: Mutex::default() })
    }

    /// The length that a block has when so many bytes are asked for: an odd number of lines, and of a large block one that puts
    /// neighbours [`SPREAD_LINES`] sets of an L1 apart.
    pub fn block_bytes(bytes: usize) -> usize {
        let lines = bytes.div_ceil(LINE_BYTES);
        let lines = if lines < SPREAD_MIN_LINES { lines | 1 } else { spread(lines) };
        lines * LINE_BYTES
    }

    /// A block of [`Pool::block_bytes`]`(bytes)`; what stands in it is anything.
    pub fn take(&self, bytes: usize) -> io::Result<Block> {
        let bytes = Pool::block_bytes(bytes);
        let mut kept = self.lock();
        if let Some(block) = kept.blocks.get_mut(&bytes).and_then(Vec::pop) {
            kept.bytes -= bytes;
            return Ok(block);
        }
        if let Some(block) = kept.empty.get_mut(&bytes).and_then(Vec::pop) {
            return Ok(block);
        }
        // What lies there without memory still takes room among the addresses.
        kept.empty.retain(|other, _| *other == bytes);
        let colour = kept.slabs * COLOUR_LINES % COLOURS_LINES * LINE_BYTES;
        let count = ((SLAB_BYTES - colour) / bytes).max(1);
        let mut blocks = map_slab(colour, bytes, count)?;
        kept.slabs += 1;
        let block = blocks.pop().ok_or(io::ErrorKind::OutOfMemory)?;
        kept.bytes += blocks.len() * bytes;
        kept.blocks.entry(bytes).or_default().extend(blocks);
        Ok(block)
    }

    /// Takes a block back.
    pub fn give_back(&self, mut block: Block) {
        let bytes = block.len();
        let mut kept = self.lock();
        // Blocks of other lengths go first: they are mostly of a builder that is gone.
        while kept.bytes + bytes > self.kept_bytes_max {
            let is_other = |(other, blocks): &(&usize, &mut Vec<Block>)| **other != bytes && !blocks.is_empty();
            let Some(mut unused) = kept.blocks.iter_mut().find(is_other).and_then(|(_, blocks)| blocks.pop()) else {
                break;
            };
            kept.bytes -= unused.len();
            unused.forget();
            kept.empty.entry(unused.len()).or_default().push(unused);
        }
        if kept.bytes + bytes > self.kept_bytes_max {
            block.forget();
            kept.empty.entry(bytes).or_default().push(block);
        } else {
            kept.bytes += bytes;
            kept.blocks.entry(bytes).or_default().push(block);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A full block on its way to its readers: nobody writes to it any more, and it goes back to its pool after the last of them.
struct Frozen {
    block: Option<Block>,
    pool: Weak<Pool>,
}

/// What was written to `block`, to be read by any number of arrays.
pub fn freeze(block: Block, pool: &Arc<Pool>) -> Bytes {
    let frozen = Frozen { block: Some(block), pool: Arc::downgrade(pool) };
    Bytes::from_owner(frozen)
}

impl AsRef<[u8]> for Frozen {
    fn as_ref(&self) -> &[u8] {
        self.block.as_ref().map_or(&[], Block::as_slice)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let (Some(block), Some(pool)) = (self.block.take(), self.pool.upgrade()) {
            pool.give_back(block);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn blocks_do_not_overlap_and_come_back() {
        let pool = Pool::within(1 << 30);
        let mut blocks: Vec<Block> = (0..100).map(|_| pool.take(100_000).unwrap()).collect();
        for (number, block) in blocks.iter_mut().enumerate() {
            assert_eq!(block.len() % (2 * LINE_BYTES), LINE_BYTES);
            block.as_mut_slice().fill(number as u8);
        }
        for (number, block) in blocks.iter().enumerate() {
            assert!(block.as_slice().iter().all(|byte| *byte == number as u8));
        }
        let frozen: Vec<Bytes> = blocks.into_iter().map(|block| freeze(block, &pool)).collect();
        assert_eq!(frozen[7][99_999], 7);
        let slice = frozen[7].slice(10..30);
        drop(frozen);
        assert_eq!(slice[..], [7; 20]);
        assert!(pool.lock().bytes >= 99 * 100_000);
        drop(slice);
        let slabs = pool.lock().slabs;
        drop((0..100).map(|_| pool.take(100_000).unwrap()).collect::<Vec<_>>());
        assert_eq!(pool.lock().slabs, slabs, "new memory though there is some unused");
    }

    #[test]
    fn what_nobody_uses_stays_bounded() {
        let pool = Pool::within(1 << 30);
        for bytes in [1 << 20, 3 << 20, 100] {
            let blocks: Vec<Block> = (0..200).map(|_| pool.take(bytes).unwrap()).collect();
            blocks.into_iter().for_each(|block| pool.give_back(block));
            assert!(pool.lock().bytes <= 64 << 20);
        }
        // The last length's are kept, those of the first are without memory or gone.
        assert!(pool.lock().blocks.get(&Pool::block_bytes(1 << 20)).is_none_or(Vec::is_empty));
        assert_eq!(pool.take(5 << 20).unwrap().len(), Pool::block_bytes(5 << 20));
    }
}
