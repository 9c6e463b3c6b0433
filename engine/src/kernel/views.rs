//! Arrays of views: those that came from elsewhere, if each is what it should be; and many put together.
//!
//! In: the parts of a column of views, from bytes that somebody else wrote; or arrays. Out: the array; or arrow's error, which names the row.
//! Never: believes a view that came from elsewhere: its length, its padding, its place in the buffer, its prefix and its text are looked at.
//!
//! Arrow asks of one view after the other whether its few bytes are UTF-8. Here all are asked at once whether they are ASCII, which nearly
//! all are, and one by one only where they are not. And arrow's `concat` lists the buffers of all pieces, the same one again and again where
//! they have it in common: names taken from a table of 25 rows had 40 000 buffers after two joins, and each `take` copied the list.

#![allow(unsafe_code)]

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{
        Array, ArrayData, ArrayDataBuilder, ArrayRef, AsArray, GenericByteViewArray, NullBufferBuilder, new_empty_array,
    },
    buffer::{Buffer, NullBuffer, ScalarBuffer},
    compute::concat,
    datatypes::{ByteViewType, DataType},
    error::ArrowError,
};

use super::scatter::INLINE_BYTES_MAX;

/// The high bit of each byte.
const HIGH_BITS: u128 = 0x8080_8080_8080_8080_8080_8080_8080_8080;
/// By length, what must be zero in a view that holds its string; the last is of all that are longer.
const PADDING: [u128; INLINE_BYTES_MAX + 2] = {
    let mut padding = [0; INLINE_BYTES_MAX + 2];
    let mut length = 0;
    while length < INLINE_BYTES_MAX {
        padding[length] = u128::MAX << (32 + 8 * length);
        length += 1;
    }
    padding
};

/// The array of a builder of `Utf8View` or `BinaryView` with one buffer of long strings beside its views. Copies views that are not
/// aligned. Fails where arrow would, with its error.
///
/// # Panics
/// If the validity is shorter than the array.
pub fn build_views(builder: ArrayDataBuilder) -> Result<ArrayData, ArrowError> {
    // SAFETY: nothing looks at the array before it is checked: `validate` that buffers are there and as long as the length needs,
    // `are_sound`, or else `validate_data`, what the views say.
    let data = unsafe { builder.align_buffers(true).build_unchecked() };
    data.validate()?;
    let is_text = *data.data_type() == DataType::Utf8View;
    match data.buffers() {
        [views, heap] if are_sound(&views.typed_data()[data.offset()..data.offset() + data.len()], heap, is_text) => {}
        _ => data.validate_data()?,
    }
    Ok(data)
}

/// Every view lies within `heap`, begins as its prefix says, or holds its string and nothing behind it; if it is text, UTF-8.
fn are_sound(views: &[u128], heap: &[u8], is_text: bool) -> bool {
    let (mut padding, mut seen, mut longest) = (0, 0, 0);
    for view in views {
        let length = *view as u32;
        padding |= view & PADDING[length.min(INLINE_BYTES_MAX as u32 + 1) as usize];
        seen |= *view;
        longest = longest.max(length);
    }
    if padding != 0 {
        return false;
    }
    if longest as usize <= INLINE_BYTES_MAX {
        return !is_text || seen & HIGH_BITS == 0 || views.iter().all(|view| is_inline_text(*view));
    }
    let is_ascii = !is_text || heap.is_ascii();
    views.iter().all(|view| {
        let length = *view as u32 as usize;
        if length <= INLINE_BYTES_MAX {
            return !is_text || is_inline_text(*view);
        }
        let (buffer, start) = ((view >> 64) as u32, (view >> 96) as usize);
        let Some(string) = heap.get(start..start + length) else { return false };
        let prefix = (view >> 32) as u32;
        buffer == 0 && string.starts_with(&prefix.to_le_bytes()) && (is_ascii || str::from_utf8(string).is_ok())
    })
}

/// Of a view that holds its string.
fn is_inline_text(view: u128) -> bool {
    let text = view >> 32;
    text & HIGH_BITS == 0 || str::from_utf8(&text.to_le_bytes()[..view as u32 as usize]).is_ok()
}

/// All values of `pieces`, which are of `data_type`, in their order.
pub fn concat_arrays(data_type: &DataType, pieces: &[ArrayRef]) -> Result<ArrayRef, ArrowError> {
    match (pieces, data_type) {
        ([], _) => Ok(new_empty_array(data_type)),
        ([one], _) => Ok(ArrayRef::clone(one)),
        (many, DataType::Utf8View) => Ok(Arc::new(few_buffers(concat_views(&each(many, |a| a.as_string_view()))))),
        (many, DataType::BinaryView) => Ok(Arc::new(few_buffers(concat_views(&each(many, |a| a.as_binary_view()))))),
        (many, _) => concat(&each(many, |piece| &**piece)),
    }
}

fn each<'a, T: ?Sized>(pieces: &'a [ArrayRef], of: impl Fn(&'a ArrayRef) -> &'a T) -> Vec<&'a T> {
    pieces.iter().map(of).collect()
}

/// The values with their long strings copied where they stand in more buffers than each later `take` should list.
fn few_buffers<T: ByteViewType + ?Sized>(views: GenericByteViewArray<T>) -> GenericByteViewArray<T> {
    if views.data_buffers().len() > BUFFERS_MAX { views.gc() } else { views }
}

/// Buffers of one column of views.
const BUFFERS_MAX: usize = 256;

/// All values of `pieces`, in order; buffers that several have in common are there once.
fn concat_views<T: ByteViewType + ?Sized>(pieces: &[&GenericByteViewArray<T>]) -> GenericByteViewArray<T> {
    let rows = pieces.iter().map(|piece| piece.len()).sum();
    let mut views: Vec<u128> = Vec::with_capacity(rows);
    let mut nulls = NullBufferBuilder::new(rows);
    let mut buffers: Vec<Buffer> = Vec::new();
    let mut numbers: BTreeMap<(usize, usize), u32> = BTreeMap::new();
    for piece in pieces {
        match piece.nulls() {
            Some(of_piece) => nulls.append_buffer(of_piece),
            None => nulls.append_n_non_nulls(piece.len()),
        }
        let number = |buffer: &Buffer| {
            *numbers.entry((buffer.as_ptr().addr(), buffer.len())).or_insert_with(|| {
                buffers.push(buffer.clone());
                (buffers.len() - 1) as u32
            })
        };
        let moved: Vec<u32> = piece.data_buffers().iter().map(number).collect();
        let first = views.len();
        if moved.iter().zip(0..).all(|(number, own)| *number == own) {
            views.extend_from_slice(piece.views());
        } else {
            views.extend(piece.views().iter().map(|view| match moved.get((*view >> 64) as u32 as usize) {
                Some(number) if *view as u32 as usize > INLINE_BYTES_MAX => {
                    *view & !(u128::from(u32::MAX) << 64) | u128::from(*number) << 64
                }
                _ => *view,
            }));
        }
        if let Some(nulls) = piece.nulls() {
            // What stands under a NULL may point anywhere.
            (!nulls.inner()).set_indices().for_each(|row| views[first + row] = 0);
        }
    }
    let nulls: Option<NullBuffer> = nulls.finish();
    // SAFETY: every view is one of a valid array, or empty under a NULL; one of a long string names the same bytes by the number that their
    // buffer has now.
    unsafe { GenericByteViewArray::new_unchecked(ScalarBuffer::from(views), buffers, nulls) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use arrow::array::{BinaryViewArray, StringViewArray};
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::testing::{Random, cases};

    fn builder(data_type: &DataType, views: &[u128], heap: &[u8]) -> ArrayDataBuilder {
        let views: Buffer = ScalarBuffer::from(views.to_vec()).into_inner();
        ArrayData::builder(data_type.clone()).len(views.len() / 16).buffers(vec![views, Buffer::from(heap)])
    }

    /// Views of texts, one after the other in the heap where they are long.
    fn views_of(texts: &[String], heap: &mut Vec<u8>) -> Vec<u128> {
        let view = |text: &String| {
            let bytes = text.as_bytes();
            let mut view = [0; 16];
            view[..4].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
            if bytes.len() <= INLINE_BYTES_MAX {
                view[4..4 + bytes.len()].copy_from_slice(bytes);
            } else {
                view[4..8].copy_from_slice(&bytes[..4]);
                view[12..].copy_from_slice(&(heap.len() as u32).to_le_bytes());
                heap.extend_from_slice(bytes);
            }
            u128::from_le_bytes(view)
        };
        texts.iter().map(view).collect()
    }

    proptest! {
        #![proptest_config(cases(2000))]

        #[test]
        fn exactly_what_arrow_takes_is_taken(seed: u64) {
            let random = &mut Random::new(seed);
            let letters: &[&str] = random.pick(&[&["a", "b"][..], &["a", "é", "漢", "🌾"][..]]);
            let length_max = random.pick(&[4, 12, 40]);
            let texts: Vec<String> = (0..random.below(40))
                .map(|_| (0..random.below(length_max + 1)).map(|_| random.pick(letters)).collect())
                .collect();
            let mut heap = Vec::new();
            let mut views = views_of(&texts, &mut heap);
            for _ in 0..random.below(3) {
                if random.chance(50) && !views.is_empty() {
                    let row = random.below(views.len());
                    views[row] ^= 1 << random.below(128);
                } else if !heap.is_empty() {
                    let at = random.below(heap.len());
                    heap[at] ^= 1 << random.below(8);
                }
            }
            for data_type in [DataType::Utf8View, DataType::BinaryView] {
                let expected = builder(&data_type, &views, &heap).build();
                let is_sound = are_sound(&views, &heap, data_type == DataType::Utf8View);
                prop_assert_eq!(is_sound, expected.is_ok(), "{:?}", data_type);
                match (build_views(builder(&data_type, &views, &heap)), expected) {
                    (Ok(found), Ok(expected)) => prop_assert_eq!(found, expected),
                    (Err(found), Err(expected)) => prop_assert_eq!(found.to_string(), expected.to_string()),
                    (found, expected) => prop_assert!(false, "{found:?} instead of {expected:?}"),
                }
            }
        }
    }

    #[test]
    fn pieces_are_put_together_and_share_their_buffers() {
        let random = &mut Random::new(7);
        let table: StringViewArray = (0..20).map(|n| (n % 5 > 0).then(|| "long enough ".repeat(n))).collect();
        let other = StringViewArray::from(vec!["another buffer than that", "short"]);
        for _ in 0..200 {
            let pieces: Vec<StringViewArray> = (0..random.below(6))
                .map(|_| {
                    let of = if random.chance(70) { &table } else { &other };
                    let first = random.below(of.len());
                    of.slice(first, random.below(of.len() - first + 1))
                })
                .collect();
            let found = concat_views(&pieces.iter().collect::<Vec<_>>());
            found.to_data().validate_full().unwrap();
            let expected: StringViewArray = pieces.iter().flat_map(|piece| piece.iter()).collect();
            assert_eq!(found, expected);
            assert!(found.data_buffers().len() <= table.data_buffers().len() + other.data_buffers().len());
        }
    }

    #[test]
    fn views_that_are_not_aligned_are_copied_and_too_few_refused() {
        let texts = ["short".to_owned(), "longer than a view holds".to_owned()];
        let mut heap = Vec::new();
        let views = views_of(&texts, &mut heap);
        let mut shifted = vec![0; 1];
        views.iter().for_each(|view| shifted.extend_from_slice(&view.to_le_bytes()));
        let shifted = Buffer::from(shifted).slice(1);
        let build = |data_type, length: usize| {
            let buffers = vec![shifted.clone(), Buffer::from(heap.as_slice())];
            build_views(ArrayData::builder(data_type).len(length).buffers(buffers))
        };
        let found = StringViewArray::from(build(DataType::Utf8View, 2).unwrap());
        assert_eq!(found.iter().flatten().collect::<Vec<_>>(), texts);
        assert_eq!(BinaryViewArray::from(build(DataType::BinaryView, 2).unwrap()).len(), 2);
        assert!(build(DataType::Utf8View, 3).is_err());
    }
}
