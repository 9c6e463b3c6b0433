//! Buffers that are read into again and again: fresh memory costs the kernel as much time as the reading itself.
//!
//! In: a length. Out: a buffer that comes back when the last reader of its bytes is gone. Never: keeps more than
//! [`limits::READ_BUFFERS_BYTES`](crate::limits::READ_BUFFERS_BYTES).

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::limits;

/// Buffers that are free, by their size: a power of two each.
#[derive(Default)]
pub struct Buffers(Mutex<Free>);

#[derive(Default)]
struct Free {
    /// Of 2^n bytes at n.
    by_size: Vec<Vec<Vec<u8>>>,
    bytes: usize,
}

impl Buffers {
    /// A buffer of at least `length` initialized bytes.
    pub(super) fn take(self: &Arc<Self>, length: usize) -> Lent {
        let size = length.next_power_of_two().trailing_zeros() as usize;
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = free.by_size.get_mut(size).and_then(Vec::pop);
        free.bytes -= found.as_ref().map_or(0, Vec::len);
        drop(free);
        Lent { bytes: found.unwrap_or_else(|| vec![0; 1 << size]), length, owner: Arc::clone(self) }
    }

    fn give_back(&self, bytes: Vec<u8>) {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if free.bytes + bytes.len() <= limits::READ_BUFFERS_BYTES {
            let size = bytes.len().trailing_zeros() as usize;
            free.bytes += bytes.len();
            let sizes = free.by_size.len().max(size + 1);
            free.by_size.resize_with(sizes, Vec::new);
            free.by_size[size].push(bytes);
        }
    }
}

/// A buffer on its way; its owner has it back when it is dropped.
pub(super) struct Lent {
    bytes: Vec<u8>,
    length: usize,
    owner: Arc<Buffers>,
}

impl Lent {
    pub(super) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl AsMut<[u8]> for Lent {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
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
        let mut lent = buffers.take(1_000);
        lent.as_mut()[999] = 7;
        let bytes = lent.into_bytes();
        let part = bytes.slice(999..);
        drop(bytes);
        assert_eq!(buffers.0.lock().map(|free| free.bytes).ok(), Some(0));
        assert_eq!(part[..], [7]);
        drop(part);
        assert_eq!(buffers.0.lock().map(|free| free.bytes).ok(), Some(1_024));
        // Of the same size, and what it held may still be in it: a reader sees only what it has read.
        assert_eq!(buffers.take(600).bytes.len(), 1_024);
        assert_eq!(buffers.take(2_000).bytes.len(), 2_048);
    }

    #[test]
    fn no_more_is_kept_than_the_limit() {
        let buffers = Arc::new(Buffers::default());
        let size = 1 << 20;
        let lent: Vec<Lent> = (0..limits::READ_BUFFERS_BYTES / size + 3).map(|_| buffers.take(size)).collect();
        drop(lent);
        assert_eq!(buffers.0.lock().map(|free| free.bytes).ok(), Some(limits::READ_BUFFERS_BYTES));
    }
}
