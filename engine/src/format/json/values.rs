//! Numbers, truths, strings and their escapes, as RFC 8259 has them.
//!
//! In: cells of a text. Out: values. Never: takes for a number what JSON does not; an integer for a column of integers has no point and no
//! exponent, and a float is one that can be held.

use serde_json::de::from_slice;

use crate::format::{
    cells::{Cell, Dialect, Look, Misfit, Said},
    numbers,
};

/// How JSON's values are read.
pub(super) struct Json;

impl Dialect for Json {
    #[inline]
    fn int64(text: &[u8], cell: Cell) -> Result<Option<i64>, Misfit> {
        match cell.look() {
            Look::Number if !begins_with_zero(text, cell) => match numbers::integer(text, cell.start(), cell.end()) {
                Some(value) => Ok(Some(value)),
                None => integer(cell.bytes(text)).ok_or(Misfit).map(Some),
            },
            Look::Number => integer(cell.bytes(text)).ok_or(Misfit).map(Some),
            Look::Missing => Ok(None),
            _ => Err(Misfit),
        }
    }

    #[inline]
    fn float64(text: &[u8], cell: Cell) -> Result<Option<f64>, Misfit> {
        match cell.look() {
            Look::Number if !begins_with_zero(text, cell) => match numbers::decimal(text, cell.start(), cell.end()) {
                Some(value) => Ok(Some(value)),
                None => float(cell.bytes(text)).ok_or(Misfit).map(Some),
            },
            Look::Number => float(cell.bytes(text)).ok_or(Misfit).map(Some),
            Look::Missing => Ok(None),
            _ => Err(Misfit),
        }
    }

    #[inline]
    fn boolean(_: &[u8], cell: Cell) -> Result<Option<bool>, Misfit> {
        match cell.look() {
            Look::True => Ok(Some(true)),
            Look::False => Ok(Some(false)),
            Look::Missing => Ok(None),
            _ => Err(Misfit),
        }
    }

    #[inline]
    fn string(text: &[u8], cell: Cell, made: &mut Vec<u8>) -> Result<Option<Said>, Misfit> {
        match cell.look() {
            Look::Text | Look::True | Look::False => {}
            Look::Missing => return Ok(None),
            Look::Escaped => {
                unescape(cell.bytes(text), made)?;
                return Ok(Some(Said::Made));
            }
            Look::Number if is_number(cell.bytes(text)) => {}
            Look::Nested if from_slice::<serde::de::IgnoredAny>(cell.bytes(text)).is_ok() => {}
            Look::Number | Look::Nested => return Err(Misfit),
        }
        Ok(Some(Said::There(cell.start(), cell.end())))
    }
}

/// A zero with a digit after it, which no number of JSON begins with.
#[inline]
fn begins_with_zero(text: &[u8], cell: Cell) -> bool {
    let first = cell.start() + usize::from(text.get(cell.start()) == Some(&b'-'));
    text.get(first) == Some(&b'0') && text.get(first + 1).is_some_and(u8::is_ascii_digit)
}

/// The integer that the number `bytes` is.
pub(super) fn integer(bytes: &[u8]) -> Option<i64> {
    let is_whole = !bytes.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
    (is_whole && is_number(bytes)).then(|| std::str::from_utf8(bytes).ok()?.parse().ok())?
}

fn float(bytes: &[u8]) -> Option<f64> {
    let value = is_number(bytes).then(|| std::str::from_utf8(bytes).ok()?.parse::<f64>().ok())?;
    value.filter(|value| value.is_finite())
}

/// `-? (0 | [1-9] [0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`
pub(super) fn is_number(bytes: &[u8]) -> bool {
    let rest = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest[0] == b'0') {
        return false;
    }
    let mut rest = &rest[whole..];
    if let Some(after) = rest.strip_prefix(b".") {
        let count = digits(after);
        if count == 0 {
            return false;
        }
        rest = &after[count..];
    }
    if let Some(after) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) {
        let after = after.strip_prefix(b"+").or_else(|| after.strip_prefix(b"-")).unwrap_or(after);
        let count = digits(after);
        return count > 0 && count == after.len();
    }
    rest.is_empty()
}

fn digits(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Appends the string that `raw`, without its quotes, says.
pub(super) fn unescape(raw: &[u8], made: &mut Vec<u8>) -> Result<(), Misfit> {
    let mut rest = raw;
    while let Some(backslash) = memchr::memchr(b'\\', rest) {
        made.extend_from_slice(&rest[..backslash]);
        let escape = *rest.get(backslash + 1).ok_or(Misfit)?;
        rest = &rest[backslash + 2..];
        let byte = match escape {
            b'"' | b'\\' | b'/' => escape,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let mut code = hex(rest)?;
                rest = &rest[4..];
                if (0xD800..0xDC00).contains(&code) {
                    // A character beyond the first 65 536 is two halves.
                    let low = hex(rest.strip_prefix(b"\\u").ok_or(Misfit)?)?;
                    if !(0xDC00..0xE000).contains(&low) {
                        return Err(Misfit);
                    }
                    rest = &rest[6..];
                    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                }
                let character = char::from_u32(code).ok_or(Misfit)?;
                made.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return Err(Misfit),
        };
        made.push(byte);
    }
    made.extend_from_slice(rest);
    Ok(())
}

/// Four hexadecimal digits.
fn hex(bytes: &[u8]) -> Result<u32, Misfit> {
    let mut code = 0;
    for byte in bytes.get(..4).ok_or(Misfit)? {
        code = code << 4 | char::from(*byte).to_digit(16).ok_or(Misfit)?;
    }
    Ok(code)
}
