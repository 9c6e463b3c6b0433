//! Strings of many arrays, gathered by their places.
//!
//! In: arrays of views, and places in them. Out: one array whose strings lie side by side, in the order of the places. Never: waits for a string before
//! it has asked for those that come after it.
//!
//! A row of a sort's output lies anywhere: its view, and its bytes, are two waits for memory. Both are asked for ahead (`prefetch`), so that a dozen of
//! them are on their way at once; what is gathered is read again from the cache by whoever digests or writes it.

#![allow(unsafe_code)]

use arrow::{
    array::{Array, ArrayRef, BinaryViewArray, GenericByteViewArray, StringViewArray},
    buffer::{Buffer, ScalarBuffer},
    datatypes::ByteViewType,
};
use std::sync::Arc;

use super::scatter::INLINE_BYTES_MAX;

/// Places that are asked for ahead.
const AHEAD: usize = 16;

/// The views of one array and what they point into.
pub struct Strings {
    views: ScalarBuffer<u128>,
    buffers: Vec<Buffer>,
    is_text: bool,
}

impl Strings {
    /// Of an array of strings or bytes as views, without NULLs.
    pub fn of(array: &ArrayRef) -> Option<Strings> {
        fn of<T: ByteViewType + ?Sized>(array: &GenericByteViewArray<T>, is_text: bool) -> Option<Strings> {
            let (views, buffers) = (array.views().clone(), array.data_buffers().to_vec());
            (array.null_count() == 0).then_some(Strings { views, buffers, is_text })
        }
        let text = array.as_any().downcast_ref::<StringViewArray>().map(|array| of(array, true));
        let bytes = || array.as_any().downcast_ref::<BinaryViewArray>().map(|array| of(array, false));
        text.or_else(bytes).flatten()
    }
}

/// Where a long string stands; none if its view holds it.
#[inline]
fn long(view: u128, strings: &Strings) -> Option<&[u8]> {
    let length = view as u32 as usize;
    if length <= INLINE_BYTES_MAX {
        return None;
    }
    let start = (view >> 96) as usize;
    Some(&strings.buffers[(view >> 64) as u32 as usize][start..start + length])
}

#[inline]
pub(super) fn prefetch<T>(of: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint; it reads nothing, and every x86-64 has the instruction.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(of).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = of;
}

/// The strings at `places`, (array, row), of `arrays` of one type; none if together they are too long for one array.
pub fn gather_strings(
    arrays: &[Strings],
    places: impl ExactSizeIterator<Item = (u32, u32)> + Clone,
) -> Option<ArrayRef> {
    let (mut views, mut bytes) = (Vec::with_capacity(places.len()), 0_usize);
    let mut ahead = places.clone().skip(AHEAD);
    for (array, row) in places.clone() {
        if let Some((array, row)) = ahead.next() {
            prefetch(&arrays[array as usize].views[row as usize]);
        }
        let view = arrays[array as usize].views[row as usize];
        let length = view as u32 as usize;
        bytes += if length > INLINE_BYTES_MAX { length } else { 0 };
        views.push(view);
    }
    if i32::try_from(bytes).is_err() {
        return None;
    }
    let mut heap = Vec::with_capacity(bytes);
    let mut ahead = places.clone().zip(views.clone()).skip(AHEAD);
    for ((array, _), view) in places.zip(&mut views) {
        if let Some(((array, _), view)) = ahead.next()
            && let Some(string) = long(view, &arrays[array as usize])
        {
            prefetch(&string[0]);
            prefetch(&string[string.len() - 1]);
        }
        let Some(string) = long(*view, &arrays[array as usize]) else { continue };
        *view = *view & u128::from(u64::MAX) | (heap.len() as u128) << 96;
        heap.extend_from_slice(string);
    }
    let buffers = if heap.is_empty() { Vec::new() } else { vec![Buffer::from_vec(heap)] };
    let views = ScalarBuffer::from(views);
    let is_text = arrays.first().is_some_and(|strings| strings.is_text);
    // SAFETY: a view holds its string, as in the array that it is from, or has that string's length and first bytes, and the place in the only buffer to
    // which the string was copied; of text all are from arrays of text.
    unsafe {
        Some(if is_text && arrays.iter().all(|strings| strings.is_text) {
            Arc::new(StringViewArray::new_unchecked(views, buffers, None))
        } else {
            Arc::new(BinaryViewArray::new_unchecked(views, buffers, None))
        })
    }
}
