//! What is the key in a line, and in which order keys come.
//!
//! In: a line. Out: its key and its value; bytes that compare as the order says. Never: an order that contradicts itself.

use std::str::FromStr;

use memchr::{memchr, memchr_iter};
use twox_hash::XxHash3_64;

use super::error::StreamingError;
use crate::{error::Result, mapreduce::Partitioner};

/// Where a line is cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) separator: u8,
    pub(super) key_fields: usize,
}

impl Default for Cut {
    fn default() -> Cut {
        Cut { separator: b'\t', key_fields: 1 }
    }
}

impl Cut {
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Cut { key_fields: 0, .. } => Err(StreamingError::KeyFields { count: 0 }.into()),
            Cut { separator: b'\n', .. } => Err(StreamingError::Separator.into()),
            _ => Ok(()),
        }
    }

    /// Key and value; a line of fewer fields than a key has is a key.
    pub(super) fn split(self, line: &[u8]) -> (&[u8], &[u8]) {
        let end = match self.key_fields {
            1 => memchr(self.separator, line),
            count => memchr_iter(self.separator, line).nth(count - 1),
        };
        end.map_or((line, &[]), |end| (&line[..end], &line[end + 1..]))
    }

    /// The field of this number, from 1 on; empty if there are fewer.
    fn field(self, key: &[u8], number: usize) -> &[u8] {
        key.split(|byte| *byte == self.separator).nth(number - 1).unwrap_or(&[])
    }
}

/// A field of the key by which lines are ordered: `2` as bytes, `2n` as numbers, `2nr` the largest first, as `sort -k` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyOrder {
    /// From 1 on.
    field: usize,
    is_numeric: bool,
    is_descending: bool,
}

impl KeyOrder {
    pub(super) fn field(&self) -> usize {
        self.field
    }
}

impl FromStr for KeyOrder {
    type Err = crate::Error;

    fn from_str(text: &str) -> Result<KeyOrder> {
        let wrong = || StreamingError::Order { text: text.to_owned() };
        let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
        let (number, options) = text.split_at(end);
        let field = number.parse().ok().filter(|field| *field > 0).ok_or_else(wrong)?;
        if options.chars().any(|option| !matches!(option, 'n' | 'r')) {
            return Err(wrong().into());
        }
        Ok(KeyOrder { field, is_numeric: options.contains('n'), is_descending: options.contains('r') })
    }
}

/// Bytes that compare as the order says of the keys.
pub(super) fn sortable(key: &[u8], order: &[KeyOrder], cut: Cut) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(key.len() + 16);
    for KeyOrder { field, is_numeric, is_descending } in order {
        let first = bytes.len();
        let field = cut.field(key, *field);
        if *is_numeric {
            bytes.extend_from_slice(&in_order(number(field)).to_be_bytes());
        } else {
            // A field ends before all that it could go on with.
            for byte in field {
                bytes.push(*byte);
                if *byte == 0 {
                    bytes.push(1);
                }
            }
            bytes.extend_from_slice(&[0, 0]);
        }
        if *is_descending {
            bytes[first..].iter_mut().for_each(|byte| *byte = !*byte);
        }
    }
    bytes
}

/// The number with which a text begins; 0 if it begins with none.
fn number(field: &[u8]) -> f64 {
    let text = String::from_utf8_lossy(field);
    let text = text.trim_start();
    let is_part =
        |(place, letter): (usize, char)| letter.is_ascii_digit() || letter == '.' || (place == 0 && letter == '-');
    let end = text.char_indices().find(|at| !is_part(*at)).map_or(text.len(), |(end, _)| end);
    text[..end].parse().unwrap_or(0.0)
}

/// An integer that compares as the number does, with -0 = +0.
fn in_order(number: f64) -> u64 {
    let bits = (number + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// By the first fields of the key.
pub(super) struct ByFields {
    pub(super) fields: usize,
    pub(super) separator: u8,
}

impl Partitioner<Vec<u8>, Vec<u8>> for ByFields {
    fn part(&self, key: &[u8], _value: &[u8], parts: u32) -> u32 {
        let (first, _) = Cut { separator: self.separator, key_fields: self.fields.max(1) }.split(key);
        (XxHash3_64::oneshot(first) % u64::from(parts)) as u32
    }
}
