//! The dictionary that all chunks of a column share, though each batch may bring one of its own.
//!
//! In: the dictionary of one batch after the other. Out: for each the codes that its codes become, and the values that these mean. Never:
//! changes what a code means that was given out; grows beyond [`VALUES_MAX`] values, [`BYTES_MAX`] bytes, or what a code can count.
//!
//! Files have a dictionary for each row group, mostly of the same values in another order. Their union grows only at its end, so chunks go
//! on growing where a batch with another dictionary would otherwise begin new ones, of a few rows each.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::{concat, take};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

/// Values that a union has at most, and bytes of them: what is longer is worth chunks of its own.
const VALUES_MAX: usize = 4096;
const BYTES_MAX: usize = 256 << 10;

/// The union of the dictionaries that have come so far.
pub(super) struct Dictionary {
    values: ArrayRef,
    /// Which code each value has; made when the first other dictionary comes.
    codes: Option<HashMap<Box<[u8]>, u32>>,
    /// The dictionary that came last, and what its codes become; nothing where they stay.
    latest: ArrayRef,
    latest_codes: Option<Vec<u32>>,
}

impl Dictionary {
    pub(super) fn new(values: &ArrayRef) -> Dictionary {
        Dictionary { values: values.clone(), codes: None, latest: values.clone(), latest_codes: None }
    }

    /// What the codes that were given out mean.
    pub(super) fn values(&self) -> &ArrayRef {
        &self.values
    }

    /// What the codes of the dictionary that came last become; nothing where they stay what they are.
    pub(super) fn latest_codes(&self) -> Option<&[u32]> {
        self.latest_codes.as_deref()
    }

    /// Takes in another dictionary, whose codes are of type `code`; false where the union would be too long, or of values that are not
    /// compared here. It is as it was then.
    pub(super) fn take_in(&mut self, values: &ArrayRef, code: &DataType) -> Result<bool, ArrowError> {
        if is_same(&self.latest, values) {
            return Ok(true);
        }
        if is_same(&self.values, values) {
            (self.latest, self.latest_codes) = (values.clone(), None);
            return Ok(true);
        }
        let codes_max = VALUES_MAX.min(codes_of(code));
        if values.len() > codes_max || self.values.len() > codes_max {
            return Ok(false);
        }
        let Some(texts) = texts(values.as_ref()) else { return Ok(false) };
        if self.codes.is_none() {
            self.codes = self::texts(self.values.as_ref()).map(|texts| texts.into_iter().zip(0..).collect());
        }
        let Some(known) = &mut self.codes else { return Ok(false) };
        let count = self.values.len();
        let mut fresh = Vec::new();
        let mut of_values = Vec::with_capacity(texts.len());
        for (text, row) in texts.into_iter().zip(0..) {
            let next = count + fresh.len();
            let code = *known.entry(text).or_insert_with(|| {
                fresh.push(row);
                next as u32
            });
            of_values.push(code);
        }
        let bytes: usize = known.keys().map(|text| text.len()).sum();
        if count + fresh.len() > codes_max || bytes > BYTES_MAX {
            known.retain(|_, code| (*code as usize) < count);
            return Ok(false);
        }
        if !fresh.is_empty() {
            let fresh = take(values, &UInt32Array::from(fresh), None)?;
            self.values = concat(&[self.values.as_ref(), fresh.as_ref()])?;
        }
        (self.latest, self.latest_codes) = (values.clone(), Some(of_values));
        Ok(true)
    }
}

/// Codes in other numbers, in place: `bytes` are codes of `width` bytes. What stands under a NULL becomes any code.
pub(super) fn recode(bytes: &mut [u8], width: usize, codes: &[u32]) {
    fn each<const WIDTH: usize>(bytes: &mut [u8], codes: &[u32]) {
        let (found, _) = bytes.as_chunks_mut::<WIDTH>();
        for found in found {
            let mut wide = [0; 8];
            wide[..WIDTH].copy_from_slice(found);
            let code = usize::try_from(u64::from_le_bytes(wide)).ok().and_then(|code| codes.get(code));
            found.copy_from_slice(&u64::from(code.copied().unwrap_or(0)).to_le_bytes()[..WIDTH]);
        }
    }
    match width {
        1 => each::<1>(bytes, codes),
        2 => each::<2>(bytes, codes),
        4 => each::<4>(bytes, codes),
        _ => each::<8>(bytes, codes),
    }
}

/// How many values codes of this type can count.
fn codes_of(code: &DataType) -> usize {
    match code {
        DataType::Int8 => 1 << 7,
        DataType::UInt8 => 1 << 8,
        DataType::Int16 => 1 << 15,
        DataType::UInt16 => 1 << 16,
        _ => usize::MAX,
    }
}

/// The values as bytes; nothing where one is NULL, or of a type that is not text or bytes.
fn texts(values: &dyn Array) -> Option<Vec<Box<[u8]>>> {
    if values.null_count() > 0 {
        return None;
    }
    let text = |text: &str| Box::from(text.as_bytes());
    Some(match values.data_type() {
        DataType::Utf8 => values.as_string::<i32>().iter().flatten().map(text).collect(),
        DataType::LargeUtf8 => values.as_string::<i64>().iter().flatten().map(text).collect(),
        DataType::Utf8View => values.as_string_view().iter().flatten().map(text).collect(),
        DataType::Binary => values.as_binary::<i32>().iter().flatten().map(Box::from).collect(),
        DataType::LargeBinary => values.as_binary::<i64>().iter().flatten().map(Box::from).collect(),
        DataType::BinaryView => values.as_binary_view().iter().flatten().map(Box::from).collect(),
        _ => return None,
    })
}

/// Do two dictionaries give every code the same value?
fn is_same(known: &ArrayRef, values: &ArrayRef) -> bool {
    ArrayRef::ptr_eq(known, values) || known.to_data().ptr_eq(&values.to_data()) || known.as_ref() == values.as_ref()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, StringArray};

    use super::*;

    fn words(words: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from(words.to_vec()))
    }

    #[test]
    fn a_union_grows_at_its_end_and_repeats_nothing() {
        let mut dictionary = Dictionary::new(&words(&["a", "b"]));
        assert!(dictionary.take_in(&words(&["b", "c", "a", "c"]), &DataType::Int32).unwrap());
        assert_eq!(dictionary.latest_codes(), Some(&[1, 2, 0, 2][..]));
        assert_eq!(dictionary.values().as_ref(), words(&["a", "b", "c"]).as_ref());
        // Its own values in its own order: codes stay.
        assert!(dictionary.take_in(&words(&["a", "b", "c"]), &DataType::Int32).unwrap());
        assert_eq!(dictionary.latest_codes(), None);
    }

    #[test]
    fn what_is_too_long_leaves_it_as_it_was() {
        let many: Vec<String> = (0..127).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let mut dictionary = Dictionary::new(&words(&many));
        assert!(!dictionary.take_in(&words(&["x", "y", "0"]), &DataType::Int8).unwrap());
        assert_eq!(dictionary.values().len(), 127);
        assert!(dictionary.take_in(&words(&["y", "0"]), &DataType::Int8).unwrap());
        assert_eq!(dictionary.latest_codes(), Some(&[127, 0][..]));
        assert_eq!(dictionary.values().len(), 128);
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        assert!(!dictionary.take_in(&numbers, &DataType::Int32).unwrap());
    }

    #[test]
    fn codes_of_each_width_are_put_in_other_numbers() {
        let codes = [7, 0, 3];
        let mut bytes = vec![0, 1, 2, 9];
        recode(&mut bytes, 1, &codes);
        assert_eq!(bytes, [7, 0, 3, 0]);
        let mut bytes: Vec<u8> = [2_i32, 0, -1].iter().flat_map(|code| code.to_le_bytes()).collect();
        recode(&mut bytes, 4, &codes);
        assert_eq!(bytes, [3_i32, 7, 0].iter().flat_map(|code| code.to_le_bytes()).collect::<Vec<u8>>());
    }
}
