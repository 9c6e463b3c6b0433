//! Bytes that lie in memory or in a file: blocks that one holder writes, and the calls that map a file.
//!
//! In: a length, or a file of our own. Out: memory to write to; a file's bytes, seen where they lie. Never: maps a file that somebody else
//! may change; those are read.

#![allow(unsafe_code)]

use std::{fs::File, io, ptr::NonNull, sync::Arc};

use bytes::Bytes;
use memmap2::{Advice, MmapMut, MmapOptions, UncheckedAdvice};

/// The bytes of `file`, all of them, read by the kernel as they are touched. They stay valid when the file is unlinked.
///
/// The file must be one that this process has written whole and that nobody writes or truncates afterwards: spools and runs.
pub fn map_file(file: &File) -> io::Result<Bytes> {
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the file is not changed while it is mapped, as the caller promises: spools and runs are written once, by one process, in a
    // folder that it has made for itself, and only ever unlinked.
    let mapped = unsafe { MmapOptions::new().map(file)? };
    // A hint; without it the bytes come all the same.
    let _ = mapped.advise(Advice::Sequential);
    Ok(Bytes::from_owner(mapped))
}

/// The `bytes` bytes of `file` from `offset` on, which the kernel begins to read at once. As in the file, so in memory: what stands at a
/// multiple of 64 does so here. They stay valid when the file is closed and unlinked.
///
/// The file must be as for [`map_file`], and hold so many bytes: beyond its end there is nothing that could be seen.
pub fn map_window(file: &File, offset: u64, bytes: usize) -> io::Result<Bytes> {
    let end = offset.checked_add(bytes as u64);
    if bytes == 0 || end.is_none_or(|end| file.metadata().is_ok_and(|metadata| metadata.len() < end)) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    // SAFETY: the file is not changed while it is mapped, as the caller promises, and was just seen to be long enough: runs are written
    // once, by one process, in a folder that it has made for itself, and only ever unlinked.
    let mapped = unsafe { MmapOptions::new().offset(offset).len(bytes).map(file)? };
    // A hint; without it the bytes come all the same.
    let _ = mapped.advise(Advice::WillNeed);
    Ok(Bytes::from_owner(mapped))
}

/// A page of the smaller size.
const PAGE_BYTES: usize = 4096;
/// A page of the larger size, on the processors that have one.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Blocks begin at multiples of a cache line: what is streamed to them is written by whole lines.
const BLOCK_ALIGNMENT: usize = 64;

/// Memory of several blocks.
#[derive(Debug)]
struct Slab {
    map: MmapMut,
    /// The address of its first byte.
    address: usize,
}

/// Some bytes of a slab, which nobody else has.
#[derive(Debug)]
pub struct Block {
    /// Invariant: `start[..bytes]` lies in the slab, and in no other block of it; it begins at a multiple of [`BLOCK_ALIGNMENT`].
    start: NonNull<u8>,
    bytes: usize,
    /// Holds the mapping; its bytes are reached through `start` alone, as a reference to the whole would cover other blocks.
    slab: Arc<Slab>,
}

// SAFETY: a block is its bytes' only owner, as a `Box<[u8]>` is; the mapping behind it may be unmapped by any thread.
unsafe impl Send for Block {}
// SAFETY: through a shared reference the bytes can only be read.
unsafe impl Sync for Block {}

/// Maps memory for `count` blocks of `block_bytes` behind the first `skipped_bytes`, in huge pages where the system has them.
///
/// # Panics
/// Unless `skipped_bytes` and `block_bytes` are multiples of [`BLOCK_ALIGNMENT`].
pub(super) fn map_slab(skipped_bytes: usize, block_bytes: usize, count: usize) -> io::Result<Vec<Block>> {
    assert!(
        skipped_bytes.is_multiple_of(BLOCK_ALIGNMENT) && block_bytes.is_multiple_of(BLOCK_ALIGNMENT),
        "whole lines"
    );
    let bytes = block_bytes.checked_mul(count).and_then(|bytes| bytes.checked_add(skipped_bytes));
    // Whole huge pages: the system aligns only such mappings to them.
    let bytes = bytes.and_then(|bytes| bytes.checked_next_multiple_of(HUGE_PAGE_BYTES));
    let mut map = MmapMut::map_anon(bytes.ok_or(io::ErrorKind::OutOfMemory)?)?;
    // A hint; small pages do the same, slower.
    #[cfg(target_os = "linux")]
    let _ = map.advise(Advice::HugePage);
    let first = NonNull::new(map.as_mut_ptr()).ok_or(io::ErrorKind::OutOfMemory)?;
    let slab = Arc::new(Slab { map, address: first.as_ptr().addr() });
    let block = |number: usize| {
        // SAFETY: `skipped_bytes + (number + 1) · block_bytes` is at most the mapping's length, as `number < count`.
        let start = unsafe { first.add(skipped_bytes + number * block_bytes) };
        Block { start, bytes: block_bytes, slab: Arc::clone(&slab) }
    };
    Ok((0..count).map(block).collect())
}

impl Block {
    /// Bytes of it.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Has it none?
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// What was written.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the bytes are mapped as long as the slab lives, which `self` holds, were zero before anything was written, and nobody
        // writes while `self` is shared.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }

    /// Lets the system have the memory back until something is written again. A hint: where it cannot, nothing happens.
    pub(super) fn forget(&mut self) {
        let first = self.start.as_ptr().addr() - self.slab.address;
        let (first, end) = (first.next_multiple_of(PAGE_BYTES), (first + self.bytes) / PAGE_BYTES * PAGE_BYTES);
        if first < end {
            // SAFETY: the pages between are within the block, whose bytes nobody else has; they become zeros, and what stands in a block
            // that nobody has written to is anything.
            let _ = unsafe { self.slab.map.unchecked_advise_range(UncheckedAdvice::DontNeed, first, end - first) };
        }
    }

    /// Where its bytes begin.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Its bytes, to be written.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as for `as_slice`; `self` is borrowed alone for as long as the slice.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_file_outlives_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        std::fs::write(&path, [7; 5000]).unwrap();
        let bytes = map_file(&File::open(&path).unwrap()).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(&bytes[..], [7; 5000]);
        std::fs::write(&path, []).unwrap();
        assert!(map_file(&File::open(&path).unwrap()).unwrap().is_empty());
    }

    #[test]
    fn a_window_is_a_part_of_the_file_wherever_it_begins() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let written: Vec<u8> = (0..20_000_u32).map(|number| (number / 64) as u8).collect();
        std::fs::write(&path, &written).unwrap();
        let file = File::open(&path).unwrap();
        for (offset, bytes) in [(0, 1), (64, 64), (4096, 8192), (8000, 12_000), (19_999, 1)] {
            let window = map_window(&file, offset as u64, bytes).unwrap();
            assert_eq!(&window[..], &written[offset..offset + bytes]);
            assert_eq!(window.as_ptr() as usize % 64, offset % 64);
        }
        for (offset, bytes) in [(0, 20_001), (20_000, 1), (u64::MAX, 2), (0, 0)] {
            assert_eq!(map_window(&file, offset, bytes).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
