//! Where the values of one object stand in its line.
//!
//! In: a line that holds one object. Out: its keys and where their values are. Never: looks at a value closer than to find its end.

use super::keys::Keys;
use crate::format::cells::{Cell, Look};

/// What is wrong, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) at: usize,
    pub(super) expected: &'static str,
}

/// Puts the values of the object that begins at `at` or after some space and ends with the `line`; of one key perhaps several. Keys that
/// are too many are left out.
#[inline]
pub(super) fn object(line: &[u8], at: usize, keys: &mut Keys, mut put: impl FnMut(u32, Cell)) -> Result<(), Broken> {
    let mut at = after_space(line, at);
    if line.get(at) != Some(&b'{') {
        return Err(Broken { at, expected: "an object, one a line" });
    }
    at = after_space(line, at + 1);
    if line.get(at) == Some(&b'}') {
        return end(line, at + 1);
    }
    let mut before = None;
    loop {
        let (key, next) = keys.find(line, at, before)?;
        at = next;
        if line.get(at) != Some(&b':') {
            at = after_space(line, at);
            if line.get(at) != Some(&b':') {
                return Err(Broken { at, expected: "a colon" });
            }
        }
        let (cell, next) = value(line, after_space(line, at + 1))?;
        if let Some(key) = key {
            put(key, cell);
        }
        before = key;
        at = after_space(line, next);
        match line.get(at) {
            Some(b',') => at = after_space(line, at + 1),
            Some(b'}') => return end(line, at + 1),
            _ => return Err(Broken { at, expected: "a comma or a closing brace" }),
        }
    }
}

fn end(line: &[u8], at: usize) -> Result<(), Broken> {
    let at = after_space(line, at);
    if at < line.len() { Err(Broken { at, expected: "nothing more on the line" }) } else { Ok(()) }
}

/// The first place from `at` on that is no space.
#[inline]
pub(super) fn after_space(line: &[u8], mut at: usize) -> usize {
    while matches!(line.get(at), Some(b' ' | b'\t' | b'\r')) {
        at += 1;
    }
    at
}

/// The value at `at`, and where it ends.
#[inline]
fn value(line: &[u8], at: usize) -> Result<(Cell, usize), Broken> {
    let word = |word: &[u8], look| match line[at..].starts_with(word) {
        true => Ok((
            if look == Look::Missing { Cell::MISSING } else { Cell::new(look, at, at + word.len()) },
            at + word.len(),
        )),
        false => Err(Broken { at, expected: "a value" }),
    };
    match line.get(at) {
        Some(b'"') => {
            let (end, is_escaped) = string_end(line, at + 1)?;
            let look = if is_escaped { Look::Escaped } else { Look::Text };
            Ok((Cell::new(look, at + 1, end), end + 1))
        }
        Some(b'-' | b'0'..=b'9') => {
            let mut end = at + 1;
            while line.get(end).is_some_and(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')) {
                end += 1;
            }
            Ok((Cell::new(Look::Number, at, end), end))
        }
        Some(b'{' | b'[') => {
            let end = nested_end(line, at + 1)?;
            Ok((Cell::new(Look::Nested, at, end), end))
        }
        Some(b't') => word(b"true", Look::True),
        Some(b'f') => word(b"false", Look::False),
        Some(b'n') => word(b"null", Look::Missing),
        _ => Err(Broken { at, expected: "a value" }),
    }
}

/// Where the quote is that ends the string, whose first byte is at `at`, and whether a backslash stands before it.
#[inline]
pub(super) fn string_end(line: &[u8], mut at: usize) -> Result<(usize, bool), Broken> {
    let mut is_escaped = false;
    loop {
        match quote_or_backslash(line, at) {
            Some(found) if line[found] == b'"' => return Ok((found, is_escaped)),
            Some(backslash) => at = backslash + 2,
            None => return Err(Broken { at: line.len(), expected: "the end of a string" }),
        }
        is_escaped = true;
    }
}

/// The first quote or backslash from `at` on. Eight bytes at a time: most strings are too short for a call to be worth it.
#[inline]
fn quote_or_backslash(line: &[u8], mut at: usize) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);
    const QUOTES: u64 = u64::from_le_bytes([b'"'; 8]);
    const BACKSLASHES: u64 = u64::from_le_bytes([b'\\'; 8]);
    // The lowest zero byte is found; a higher one may be seen where none is.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    while let Some(window) = line.get(at..at + 8).and_then(|window| <[u8; 8]>::try_from(window).ok()) {
        let word = u64::from_le_bytes(window);
        let found = zeros(word ^ QUOTES) | zeros(word ^ BACKSLASHES);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = line.get(at..)?;
    rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).map(|found| at + found)
}

/// Where the object or array ends, whose first byte after its bracket is at `at`.
fn nested_end(line: &[u8], mut at: usize) -> Result<usize, Broken> {
    let mut depth = 1;
    while let Some(byte) = line.get(at) {
        at += 1;
        match byte {
            b'"' => at = string_end(line, at)?.0 + 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Ok(at);
                }
            }
            _ => {}
        }
    }
    Err(Broken { at, expected: "a closing bracket" })
}
