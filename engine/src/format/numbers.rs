//! Numbers from their digits, eight at a time, for the forms that nearly all of them have.
//!
//! In: a text and where a number stands in it. Out: its value; `None` for every form that a slower and more thorough reader must judge.
//! Never: a value that the thorough reader would not have given, to the bit.
//!
//! Eight digits in one word are checked and added up without a branch on any of them: pairs, then fours, then all, after Daniel Lemire's
//! and Johnny Lee's parser of eight digits. A decimal is the digits without their point, divided by a power of ten: both are exact in a
//! float up to 2^53 and 10^22, so the one division rounds as the correct answer does (Clinger 1990).

const ZEROS: u64 = 0x3030_3030_3030_3030;
const ZEROS_16: u128 = ZEROS as u128 | (ZEROS as u128) << 64;
const POINTS_16: u128 = u128::from_le_bytes([b'.'; 16]);
const ONES_16: u128 = u128::from_le_bytes([1; 16]);
const HIGHS_16: u128 = u128::from_le_bytes([0x80; 16]);
/// Largest integer up to which all are exact in a float.
const EXACT_MAX: u64 = 1 << 53;
const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// The integer in `text[start..end]` if it is at most sixteen digits, perhaps after a minus.
#[inline]
pub(super) fn integer(text: &[u8], start: usize, end: usize) -> Option<i64> {
    let is_negative = *text.get(start)? == b'-';
    let length = end.checked_sub(start + usize::from(is_negative))?;
    let magnitude = match length {
        1..=8 => eight_digits(last_bytes(text, end, length)?)?,
        9..=16 => {
            let front = eight_digits(last_bytes(text, end - 8, length - 8)?)?;
            front * 100_000_000 + eight_digits(last_bytes(text, end, 8)?)?
        }
        _ => return None,
    };
    Some(if is_negative { -(magnitude as i64) } else { magnitude as i64 })
}

/// The float in `text[start..end]` if it is at most sixteen digits, perhaps after a minus, perhaps with a point that has digits on both
/// sides.
#[inline]
pub(super) fn decimal(text: &[u8], start: usize, end: usize) -> Option<f64> {
    let is_negative = *text.get(start)? == b'-';
    let length = end.checked_sub(start + usize::from(is_negative))?;
    if !(1..=16).contains(&length) {
        return None;
    }
    if length <= 8 {
        let value = short_decimal(last_bytes(text, end, length)?, length)?;
        return Some(if is_negative { -value } else { value });
    }
    let window: [u8; 16] = text.get(end.checked_sub(16)?..end)?.try_into().ok()?;
    // The number's bytes are the highest; zeros below them.
    let kept = u128::MAX << (128 - 8 * length);
    let mut digits = u128::from_le_bytes(window) & kept | ZEROS_16 & !kept;
    let mut decimals = 0;
    let differs = digits ^ POINTS_16;
    let points = differs.wrapping_sub(ONES_16) & !differs & HIGHS_16;
    if points != 0 {
        let point = points.trailing_zeros() as usize / 8;
        decimals = 15 - point;
        if decimals == 0 || point == 16 - length {
            return None;
        }
        // What stands before the point moves up to its place.
        let above = digits & (u128::MAX << (8 * (point + 1)));
        let below = digits & !(u128::MAX << (8 * point));
        digits = above | below << 8 | u128::from(b'0');
    }
    let value = eight_digits(digits as u64)? * 100_000_000 + eight_digits((digits >> 64) as u64)?;
    if value > EXACT_MAX {
        return None;
    }
    let value = value as f64 / POWERS[decimals];
    Some(if is_negative { -value } else { value })
}

/// The same for `length` characters, at most eight, as the highest of a word.
#[inline]
fn short_decimal(mut digits: u64, length: usize) -> Option<f64> {
    let differs = digits ^ POINTS_16 as u64;
    let points = differs.wrapping_sub(ONES_16 as u64) & !differs & HIGHS_16 as u64;
    let mut decimals = 0;
    if points != 0 {
        let point = points.trailing_zeros() as usize / 8;
        decimals = 7 - point;
        if decimals == 0 || point == 8 - length {
            return None;
        }
        let above = digits & (u64::MAX << (8 * (point + 1)));
        let below = digits & !(u64::MAX << (8 * point));
        digits = above | below << 8 | u64::from(b'0');
    }
    Some(eight_digits(digits)? as f64 / POWERS[decimals])
}

/// The `length` bytes (1 to 8) before `end` as the highest of a word, the character zero below them.
#[inline]
fn last_bytes(text: &[u8], end: usize, length: usize) -> Option<u64> {
    let window: [u8; 8] = text.get(end.checked_sub(8)?..end)?.try_into().ok()?;
    let kept = u64::MAX << (64 - 8 * length);
    Some(u64::from_le_bytes(window) & kept | ZEROS & !kept)
}

/// The number that eight characters are, the first in the lowest byte; `None` if one is no digit.
#[inline]
fn eight_digits(characters: u64) -> Option<u64> {
    const HALVES: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    // A digit has 3 in its high half, and still after 6 was added.
    let raised = characters.wrapping_add(0x0606_0606_0606_0606);
    if characters & HALVES | (raised & HALVES) >> 4 != 0x3333_3333_3333_3333 {
        return None;
    }
    const PAIRS: u64 = 0x0000_00ff_0000_00ff;
    let digits = characters - ZEROS;
    let pairs = digits * 10 + (digits >> 8);
    let fours = (pairs & PAIRS).wrapping_mul(100 + (1_000_000 << 32));
    let others = (pairs >> 16 & PAIRS).wrapping_mul(1 + (10_000 << 32));
    Some(fours.wrapping_add(others) >> 32)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads what stands between the bars.
    fn read<T>(text: &str, reader: fn(&[u8], usize, usize) -> Option<T>) -> Option<T> {
        let text = format!("1234567890.12345|{text}|");
        reader(text.as_bytes(), 17, text.len() - 1)
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_the_standard_reads(
            text in prop_oneof!["-?[0-9]{1,18}", "-?[0-9]{0,9}\\.[0-9]{0,9}", "[-+0-9.eE/:\u{0}-\u{ff}]{0,17}"],
        ) {
            if let Some(found) = read(&text, integer) {
                prop_assert_eq!(Ok(found), text.parse::<i64>());
            }
            if let Some(found) = read(&text, decimal) {
                prop_assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(found.to_bits()));
            }
        }
    }

    #[test]
    fn the_common_forms_are_read() {
        for text in ["0", "-1", "12345678", "123456789", "-1234567890123456"] {
            assert_eq!(read(text, integer), Some(text.parse().unwrap()), "{text}");
        }
        for text in ["0", "-0.0", "17.00", "0.04", "-123456.789", "1234567.12345678", "9007199254740992"] {
            assert_eq!(read(text, decimal), Some(text.parse().unwrap()), "{text}");
        }
        for text in ["", "-", "+1", " 1", "1 ", "1.", ".1", "1e3", "1..2", "1.2.3", "12345678901234567", "x"] {
            assert_eq!((read(text, decimal), read(text, integer)), (None, None), "{text}");
        }
    }
}
