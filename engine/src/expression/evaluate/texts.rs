//! Strings compared with a few constants, by their views.
//!
//! In: a column of string views, constants. Out: for each row whether it is equal to one of them; of NULLs anything. Never: looks at the bytes of
//! a string whose length and first four bytes say enough.
//!
//! A view of at most 12 bytes is equal to another when its 16 bytes are, and never to one of a longer string, whose length differs. So
//! short constants are compared as integers, without asking how long a row's string is.

use crate::batch::{
    array::{Array, StringViewArray},
    buffer::{BooleanBuffer, MutableBuffer},
};

/// Most bytes that a view holds itself.
pub(super) const INLINE_BYTES: usize = 12;

/// The length and the first four bytes of a view.
const HEAD: u128 = u64::MAX as u128;

/// A bit for each value: whether `test` is true for it.
#[inline(always)]
pub(super) fn bits_of<T>(values: &[T], test: impl Fn(&T) -> bool) -> BooleanBuffer {
    let (whole, rest) = values.as_chunks::<64>();
    let word =
        |values: &[T]| values.iter().enumerate().fold(0_u64, |word, (bit, value)| word | u64::from(test(value)) << bit);
    let mut words: Vec<u64> = Vec::with_capacity(whole.len() + 1);
    words.extend(whole.iter().map(|values| word(values)));
    if !rest.is_empty() {
        words.push(word(rest));
    }
    BooleanBuffer::new(MutableBuffer::from(words).into(), 0, values.len())
}

/// Which rows are equal to `text`.
pub(super) fn equal(rows: &StringViewArray, text: &StringViewArray) -> BooleanBuffer {
    let view = text.views()[0];
    if view as u32 as usize <= INLINE_BYTES {
        return bits_of(rows.views(), |row| *row == view);
    }
    let head = view & HEAD;
    let alike = bits_of(rows.views(), |row| row & HEAD == head);
    if alike.count_set_bits() == 0 {
        return alike;
    }
    let text = text.value(0);
    let mut found = alike.set_indices().filter(|row| rows.is_valid(*row) && rows.value(*row) == text).peekable();
    BooleanBuffer::collect_bool(rows.len(), |row| found.next_if_eq(&row).is_some())
}

/// Which rows are equal to one of these views, each of a short string.
pub(super) fn among(rows: &StringViewArray, short: &[u128]) -> BooleanBuffer {
    match *short {
        [] => BooleanBuffer::new_unset(rows.len()),
        [a] => bits_of(rows.views(), |row| *row == a),
        [a, b] => bits_of(rows.views(), |row| (*row == a) | (*row == b)),
        [a, b, c] => bits_of(rows.views(), |row| (*row == a) | (*row == b) | (*row == c)),
        [a, b, c, d] => bits_of(rows.views(), |row| (*row == a) | (*row == b) | (*row == c) | (*row == d)),
        _ => bits_of(rows.views(), |row| short.binary_search(row).is_ok()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Short and long strings that share their beginnings.
    fn text() -> impl Strategy<Value = Option<String>> {
        prop::option::of(prop_oneof!["[ab]{0,3}", "aaaa[ab]{7,9}", "aaaabbbbaaaab[ab]{0,2}"])
    }

    proptest! {
        #[test]
        fn as_strings_are_compared(
            rows in prop::collection::vec(text(), 0..200),
            from in 0..40_usize,
            texts in prop::collection::vec(text(), 1..7),
        ) {
            let from = from.min(rows.len());
            let array = StringViewArray::from(rows.clone()).slice(from, rows.len() - from);
            let rows = &rows[from..];
            for text in texts.iter().flatten() {
                let found = equal(&array, &StringViewArray::from(vec![Some(text.as_str())]));
                for (row, expected) in rows.iter().enumerate().filter(|(_, row)| row.is_some()) {
                    prop_assert_eq!(found.value(row), expected.as_ref() == Some(text));
                }
            }
            let short = texts.iter().flatten().filter(|text| text.len() <= INLINE_BYTES).map(String::as_str);
            let mut views = StringViewArray::from_iter_values(short.clone()).views().to_vec();
            views.sort_unstable();
            views.dedup();
            let found = among(&array, &views);
            for (row, expected) in rows.iter().enumerate().filter(|(_, row)| row.is_some()) {
                prop_assert_eq!(found.value(row), short.clone().any(|text| expected.as_deref() == Some(text)));
            }
        }
    }
}
