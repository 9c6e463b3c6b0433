//! Strings as views of 16 bytes: short ones inside, long ones in an arena.
//!
//! In: string and binary columns of any layout, or encoded rows. Out: one view a row, comparable with the views of the groups.
//! Never: reads a long string whose length or first four bytes already differ.
//!
//! ```text
//!              bits 0..32   32..64          64..96        96..128
//!   short      length ≤ 12  ─────────── the bytes, zero-padded ──────────
//!   long       length       first bytes     block         offset in the block
//!   NULL       u32::MAX     0               0             0
//! ```
//! That is arrow's own view, with NULL as one more value. A column with offsets gets views on the way, over blocks that begin every
//! 2^31 bytes and reach to the end, so that an offset always fits.

use std::{borrow::Cow, sync::Arc};

use crate::batch::{
    ArrowError,
    array::{
        Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, LargeBinaryArray, LargeStringArray, StringArray,
        StringViewArray,
    },
    buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::{ArrowNativeType, DataType},
};

/// The view of NULL.
pub(in super::super) const NULL_VIEW: u128 = u32::MAX as u128;
/// Longest string that stands inside its view.
const INLINE_BYTES_MAX: u32 = 12;
/// Distance of the blocks that are laid over the values of a column with offsets.
const BLOCK_STEP_BITS: u32 = 31;
/// First and largest block of an arena.
const ARENA_BLOCK_BYTES: usize = 16 << 10;
const ARENA_BLOCK_BYTES_MAX: usize = 8 << 20;
/// Bytes of long strings in one buffer of a column that is given out.
const OUTPUT_BUFFER_BYTES: usize = 1 << 30;

/// It stands inside its view; so does NULL.
#[inline(always)]
pub(super) fn is_inline(view: u128) -> bool {
    (view as u32).wrapping_add(1) <= INLINE_BYTES_MAX + 1
}

/// The bytes of a long string.
#[inline(always)]
fn long_bytes<'a>(view: u128, blocks: &[&'a [u8]]) -> &'a [u8] {
    let offset = (view >> 96) as usize;
    &blocks[(view >> 64) as u32 as usize][offset..offset + view as u32 as usize]
}

/// Types that are kept as views.
pub(in super::super) fn is_bytes(data_type: &DataType) -> bool {
    use DataType::{Binary, BinaryView, LargeBinary, LargeUtf8, Utf8, Utf8View};
    matches!(data_type, Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView)
}

/// The views of a string or binary column, and the blocks of its long strings.
pub(super) fn views_of(array: &ArrayRef) -> (Cow<'_, [u128]>, Vec<Buffer>) {
    let (mut views, blocks) = match array.data_type() {
        DataType::Utf8View => {
            let array = array.as_string_view();
            (Cow::Borrowed(&array.views()[..]), array.data_buffers().to_vec())
        }
        DataType::BinaryView => {
            let array = array.as_binary_view();
            (Cow::Borrowed(&array.views()[..]), array.data_buffers().to_vec())
        }
        DataType::Utf8 => {
            let array = array.as_string::<i32>();
            views_over(array.value_offsets(), array.values())
        }
        DataType::LargeUtf8 => {
            let array = array.as_string::<i64>();
            views_over(array.value_offsets(), array.values())
        }
        DataType::LargeBinary => {
            let array = array.as_binary::<i64>();
            views_over(array.value_offsets(), array.values())
        }
        // What is left of `is_bytes`; the layout was chosen by it.
        _ => {
            let array = array.as_binary::<i32>();
            views_over(array.value_offsets(), array.values())
        }
    };
    if let Some(nulls) = array.nulls().filter(|nulls| nulls.null_count() > 0) {
        let views = views.to_mut();
        for row in (!nulls.inner()).set_indices() {
            views[row] = NULL_VIEW;
        }
    }
    (views, blocks)
}

fn views_over<O: ArrowNativeType>(offsets: &[O], values: &Buffer) -> (Cow<'static, [u128]>, Vec<Buffer>) {
    let bytes = values.as_slice();
    let mut views = Vec::with_capacity(offsets.len().saturating_sub(1));
    for pair in offsets.windows(2) {
        views.push(view_at(bytes, pair[0].as_usize(), pair[1].as_usize()));
    }
    let blocks = (0..=bytes.len() >> BLOCK_STEP_BITS).map(|k| values.slice(k << BLOCK_STEP_BITS)).collect();
    (Cow::Owned(views), blocks)
}

#[inline(always)]
fn view_at(bytes: &[u8], start: usize, end: usize) -> u128 {
    let length = end - start;
    let front = match bytes.get(start..start + 16).and_then(|front| front.try_into().ok()) {
        Some(front) => u128::from_le_bytes(front),
        None => front_at_the_end(&bytes[start..end]),
    };
    if length <= INLINE_BYTES_MAX as usize {
        (front & ((1 << (8 * length)) - 1)) << 32 | length as u128
    } else {
        let block = (start >> BLOCK_STEP_BITS) as u128;
        let offset = (start & ((1 << BLOCK_STEP_BITS) - 1)) as u128;
        offset << 96 | block << 64 | u128::from(front as u32) << 32 | length as u128
    }
}

#[cold]
fn front_at_the_end(bytes: &[u8]) -> u128 {
    let mut front = [0; 16];
    let count = bytes.len().min(16);
    front[..count].copy_from_slice(&bytes[..count]);
    u128::from_le_bytes(front)
}

/// Strings of groups: views, and an arena for the long ones.
#[derive(Debug, Default)]
pub(in super::super) struct ByteStore {
    pub(super) views: Vec<u128>,
    blocks: Vec<Vec<u8>>,
    arena_bytes: u64,
}

impl ByteStore {
    /// The blocks of the long strings.
    pub(super) fn blocks(&self) -> Vec<&[u8]> {
        self.blocks.iter().map(Vec::as_slice).collect()
    }

    /// Is the string of `group` the one that `view` shows?
    #[inline(always)]
    pub(super) fn is_equal(&self, group: u32, view: u128, blocks: &[&[u8]]) -> bool {
        let mine = self.views[group as usize];
        // Length and first bytes decide for nearly all pairs.
        if mine as u64 != view as u64 {
            return false;
        }
        if is_inline(view) {
            return mine >> 64 == view >> 64;
        }
        let offset = (mine >> 96) as usize;
        let block = &self.blocks[(mine >> 64) as u32 as usize];
        block[offset..offset + mine as u32 as usize] == *long_bytes(view, blocks)
    }

    /// Is it, as far as the views show? Long strings stand elsewhere.
    #[inline(always)]
    pub(super) fn is_same(&self, group: u32, view: u128) -> bool {
        (self.views[group as usize] == view) & is_inline(view)
    }

    /// Keeps the string that `view` shows as the next group's.
    pub(super) fn push(&mut self, view: u128, blocks: &[&[u8]]) {
        if is_inline(view) {
            self.views.push(view);
        } else {
            self.push_long(view, long_bytes(view, blocks));
        }
    }

    /// Keeps `bytes`, or NULL.
    pub(in super::super) fn push_bytes(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            None => self.views.push(NULL_VIEW),
            Some(bytes) => {
                let view = front_at_the_end(&bytes[..bytes.len().min(INLINE_BYTES_MAX as usize)]) << 32;
                let view = view | bytes.len() as u32 as u128;
                if is_inline(view) { self.views.push(view) } else { self.push_long(view, bytes) }
            }
        }
    }

    fn push_long(&mut self, view: u128, bytes: &[u8]) {
        let last_has_room = self.blocks.last().is_some_and(|block| block.capacity() - block.len() >= bytes.len());
        if !last_has_room {
            let wanted = (ARENA_BLOCK_BYTES << self.blocks.len().min(16)).min(ARENA_BLOCK_BYTES_MAX).max(bytes.len());
            self.arena_bytes += wanted as u64;
            self.blocks.push(Vec::with_capacity(wanted));
        }
        let number = self.blocks.len() - 1;
        let block = &mut self.blocks[number];
        self.views.push(u128::from(view as u64) | (number as u128) << 64 | (block.len() as u128) << 96);
        block.extend_from_slice(bytes);
    }

    /// Bytes of the arena.
    pub(in super::super) fn arena_bytes(&self) -> u64 {
        self.arena_bytes
    }

    /// All strings as a column.
    pub(in super::super) fn into_column(self, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
        column_of(data_type, self.views.iter().copied(), &self.blocks())
    }
}

/// The strings that `views` show, one after the other; `offsets` has one more than there are views.
pub(super) fn gather(
    views: impl Iterator<Item = u128>,
    blocks: &[&[u8]],
    mut at_end: impl FnMut(usize) -> Result<(), ArrowError>,
) -> Result<Vec<u8>, ArrowError> {
    let mut bytes = Vec::new();
    at_end(0)?;
    for view in views {
        if view == NULL_VIEW {
        } else if is_inline(view) {
            bytes.extend_from_slice(&view.to_le_bytes()[4..4 + view as u32 as usize]);
        } else {
            bytes.extend_from_slice(long_bytes(view, blocks));
        }
        at_end(bytes.len())?;
    }
    Ok(bytes)
}

/// A column of `data_type`, which is one of [`is_bytes`], of the strings that `views` show.
pub(super) fn column_of(
    data_type: &DataType,
    views: impl Iterator<Item = u128> + Clone,
    blocks: &[&[u8]],
) -> Result<ArrayRef, ArrowError> {
    let nulls: NullBuffer = views.clone().map(|view| view != NULL_VIEW).collect();
    let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
    Ok(match data_type {
        DataType::Utf8View => {
            let (views, buffers) = own_views(views, blocks);
            Arc::new(StringViewArray::try_new(views, buffers, nulls)?)
        }
        DataType::BinaryView => {
            let (views, buffers) = own_views(views, blocks);
            Arc::new(BinaryViewArray::try_new(views, buffers, nulls)?)
        }
        DataType::Utf8 => {
            let (offsets, bytes) = own_bytes::<i32>(views, blocks)?;
            Arc::new(StringArray::try_new(offsets, bytes, nulls)?)
        }
        DataType::LargeUtf8 => {
            let (offsets, bytes) = own_bytes::<i64>(views, blocks)?;
            Arc::new(LargeStringArray::try_new(offsets, bytes, nulls)?)
        }
        DataType::LargeBinary => {
            let (offsets, bytes) = own_bytes::<i64>(views, blocks)?;
            Arc::new(LargeBinaryArray::try_new(offsets, bytes, nulls)?)
        }
        _ => {
            let (offsets, bytes) = own_bytes::<i32>(views, blocks)?;
            Arc::new(BinaryArray::try_new(offsets, bytes, nulls)?)
        }
    })
}

/// The views over buffers of their own, so that the column does not hold the arena.
fn own_views(views: impl Iterator<Item = u128>, blocks: &[&[u8]]) -> (ScalarBuffer<u128>, Vec<Buffer>) {
    let (mut buffers, mut bytes) = (Vec::new(), Vec::new());
    let own = |view: u128| {
        if view == NULL_VIEW {
            return 0;
        }
        if is_inline(view) {
            return view;
        }
        if bytes.len() > OUTPUT_BUFFER_BYTES {
            buffers.push(Buffer::from_vec(std::mem::take(&mut bytes)));
        }
        let place = (buffers.len() as u128) << 64 | (bytes.len() as u128) << 96;
        bytes.extend_from_slice(long_bytes(view, blocks));
        u128::from(view as u64) | place
    };
    let views: Vec<u128> = views.map(own).collect();
    if !bytes.is_empty() {
        buffers.push(Buffer::from_vec(bytes));
    }
    (ScalarBuffer::from(views), buffers)
}

fn own_bytes<O: TryFrom<usize> + ArrowNativeType + crate::batch::array::OffsetSizeTrait>(
    views: impl Iterator<Item = u128>,
    blocks: &[&[u8]],
) -> Result<(OffsetBuffer<O>, Buffer), ArrowError> {
    let mut offsets = Vec::new();
    let bytes = gather(views, blocks, |end| {
        offsets.push(O::try_from(end).map_err(|_| ArrowError::OffsetOverflowError(end))?);
        Ok(())
    })?;
    Ok((OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(bytes)))
}
