//! Bytes that lie in memory as they do in the file.
//!
//! In: bytes, and where in a file they come from or go to. Out: where a buffer is to begin; bytes that were written. Never: another order, or other bytes.
//!
//! ```text
//!   page cache   │····│a bc d e f…│…          a range begins anywhere in a line of the processor's cache
//!   buffer       │····│a bc d e f…│…          and its bytes begin at the same place of one
//! ```
//! So the kernel copies whole lines. Where one begins a byte later than the other, to read a gigabyte costs three times as much, and to write one five
//! times (Zen 4).

use std::{
    cell::RefCell,
    fs::File,
    io::{self, Write},
};

/// Bytes of a line of the processor's cache.
pub(super) const LINE_BYTES: usize = 64;
/// Fewer bytes are written from where they are.
const FEW_BYTES: usize = 4 << 10;
/// Bytes that are laid anew at a time: they stay in the cache until the kernel has copied them.
const LAID_BYTES: usize = 128 << 10;

/// How far behind `at` bytes are to begin that come from, or go to, this place of a file.
pub(super) fn place_for(at: *const u8, offset: u64) -> usize {
    (offset as usize).wrapping_sub(at.addr()) % LINE_BYTES
}

/// Writes all bytes to where a file is, which is `offset`, laid in memory as they will be there.
pub fn write_laid(mut file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    thread_local! {
        static LAID: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    if bytes.len() < FEW_BYTES || place_for(bytes.as_ptr(), offset) == 0 {
        return file.write_all(bytes);
    }
    LAID.with_borrow_mut(|laid| {
        laid.resize(LAID_BYTES + LINE_BYTES, 0);
        // A piece begins where the one before it ends: at the same place of a line.
        let first = place_for(laid.as_ptr(), offset);
        for piece in bytes.chunks(LAID_BYTES) {
            let place = first..first + piece.len();
            laid[place.clone()].copy_from_slice(piece);
            file.write_all(&laid[place])?;
        }
        Ok(())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_was_given() {
        let folder = tempfile::tempdir().unwrap();
        let all: Vec<u8> = (0..3 * LAID_BYTES as u32 + 999).map(|number| (number * 31 % 251) as u8).collect();
        for first in [0, 1, 63, 64, 4095] {
            let path = folder.path().join(first.to_string());
            let file = File::create(&path).unwrap();
            let mut offset = 0;
            // Of each length, from each place of a line.
            for length in [7, FEW_BYTES, FEW_BYTES + 1, LAID_BYTES, LAID_BYTES + 1, 2 * LAID_BYTES + 77] {
                write_laid(&file, offset as u64, &all[first..first + length]).unwrap();
                let written = std::fs::read(&path).unwrap();
                assert!(written[offset..] == all[first..first + length], "{length} bytes from {first} on");
                offset += length;
            }
        }
    }
}
