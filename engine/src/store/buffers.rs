//! Buffers that are read into again and again: fresh memory costs the kernel as much time as the reading itself.
//!
//! In: a range of a file. Out: a buffer that comes back when the last reader of its bytes is gone. Never: keeps more than
//! [`limits::READ_BUFFERS_BYTES`](crate::limits::READ_BUFFERS_BYTES).
//!
//! The bytes lie in it as they do in the file (`lines.rs`).

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

use super::lines::{LINE_BYTES, place_for};
use crate::limits;

/// Sizes between a power of two and the next.
const SIZE_STEPS: usize = 4;

/// Buffers that are free, by their size.
#[derive(Default)]
pub struct Buffers(Mutex<Free>);

#[derive(Default)]
struct Free {
    by_size: BTreeMap<usize, Vec<Vec<u8>>>,
    bytes: usize,
}

/// The size of a buffer for so many bytes.
fn size_for(length: usize) -> usize {
    length.next_multiple_of((length.next_power_of_two() / (2 * SIZE_STEPS)).max(LINE_BYTES))
}

impl Buffers {
    /// A buffer for the bytes of a range.
    pub(super) fn take(self: &Arc<Self>, range: &Range<u64>) -> Lent {
        let length = range.end.saturating_sub(range.start) as usize;
        let size = size_for(length + LINE_BYTES);
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = free.by_size.get_mut(&size).and_then(Vec::pop);
        free.bytes -= found.as_ref().map_or(0, Vec::len);
        drop(free);
        let bytes = found.unwrap_or_else(|| vec![0; size]);
        let first = place_for(bytes.as_ptr(), range.start);
        Lent { bytes, place: first..first + length, owner: Arc::clone(self) }
    }

    fn give_back(&self, bytes: Vec<u8>) {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What was asked for last is asked for again sooner than other sizes, of which no more go than must.
        while free.bytes + bytes.len() > limits::READ_BUFFERS_BYTES
            && let Some((size, others)) =
                free.by_size.iter_mut().find(|(size, others)| **size != bytes.len() && !others.is_empty())
        {
            others.pop();
            let size = *size;
            free.bytes -= size;
        }
        if free.bytes + bytes.len() <= limits::READ_BUFFERS_BYTES {
            free.bytes += bytes.len();
            free.by_size.entry(bytes.len()).or_default().push(bytes);
        }
    }
}

/// A buffer on its way; its owner has it back when it is dropped.
pub(super) struct Lent {
    bytes: Vec<u8>,
    /// Where the bytes of the range are in it.
    place: Range<usize>,
    owner: Arc<Buffers>,
}

impl Lent {
    pub(super) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[self.place.clone()]
    }
}

impl AsMut<[u8]> for Lent {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.place.clone()]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.owner.give_back(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_its_last_reader_is_gone() {
        let buffers = Arc::new(Buffers::default());
        let mut lent = buffers.take(&(5..1_005));
        lent.as_mut()[999] = 7;
        let bytes = lent.into_bytes();
        let part = bytes.slice(999..);
        drop(bytes);
        let free_bytes = || buffers.0.lock().map(|free| free.bytes).ok();
        assert_eq!(free_bytes(), Some(0));
        assert_eq!(part[..], [7]);
        drop(part);
        assert_eq!(free_bytes(), Some(1_280));
        // Of the same size, and what it held may still be in it: a reader sees only what it has read.
        let again = buffers.take(&(0..1_100));
        assert_eq!((again.bytes.len(), again.as_ref().len(), free_bytes()), (1_280, 1_100, Some(0)));
        assert_eq!(buffers.take(&(0..2 << 20)).bytes.len(), (2 << 20) + (512 << 10));
    }

    #[test]
    fn bytes_lie_as_they_do_in_the_file() {
        let buffers = Arc::new(Buffers::default());
        for start in (0..200).chain([(1 << 40) - 1]) {
            for length in [0, 1, 63, 64, 65, 4096] {
                let lent = buffers.take(&(start..start + length));
                assert_eq!(lent.as_ref().len() as u64, length);
                assert_eq!(lent.as_ref().as_ptr().addr() as u64 % 64, start % 64);
            }
        }
    }

    #[test]
    fn no_more_is_kept_than_the_limit() {
        let buffers = Arc::new(Buffers::default());
        let size = 1 << 20;
        let range = 0..(size - LINE_BYTES) as u64;
        let lent: Vec<Lent> = (0..limits::READ_BUFFERS_BYTES / size + 3).map(|_| buffers.take(&range)).collect();
        drop(lent);
        let kept = |size: usize| buffers.0.lock().map(|free| free.by_size.get(&size).map_or(0, Vec::len)).ok();
        assert_eq!(kept(size), Some(limits::READ_BUFFERS_BYTES / size));
        // Of others as few go as must: one and a half times as long, for each of these two.
        let others: Vec<Lent> = (0..2).map(|_| buffers.take(&(0..(3 * size / 2 - LINE_BYTES) as u64))).collect();
        drop(others);
        assert_eq!((kept(3 * size / 2), kept(size)), (Some(2), Some(limits::READ_BUFFERS_BYTES / size - 3)));
        assert_eq!(buffers.0.lock().map(|free| free.bytes).ok(), Some(limits::READ_BUFFERS_BYTES));
    }
}
