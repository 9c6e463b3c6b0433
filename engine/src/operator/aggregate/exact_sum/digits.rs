//! Digits of 32 bits for what a window does not hold.
//!
//! In: finite parts of sums, NaNs and infinities. Out: the number that they are, as bytes or whole. Never: a digit that is lost.

use super::{super::big::Big, MANTISSA};

/// A finite value as `±mantissa · 2^exponent`, the mantissa odd or 0.
pub(super) fn parts(value: f64) -> (bool, u64, i32) {
    let bits = value.to_bits();
    let biased = (bits >> 52 & 0x7ff) as i32;
    let mantissa = bits & MANTISSA | if biased == 0 { 0 } else { 1 << 52 };
    let zeros = if mantissa == 0 { 0 } else { mantissa.trailing_zeros() };
    ((bits as i64) < 0, mantissa >> zeros, biased.max(1) - 1075 + zeros as i32)
}

/// A number as digits that cover the part of the real line it needs.
#[derive(Clone, Debug, Default)]
pub(super) struct Digits {
    /// Weight of the first digit: `2^(32·first)`.
    pub(super) first: i32,
    /// The number is the sum of `digits[i] · 2^(32·(first+i))`. Invariant: each is less than `2^62` in magnitude.
    pub(super) digits: Vec<i64>,
    /// Additions since the last carry; each adds less than `2^33` to a digit.
    pub(super) additions: u32,
}

impl Digits {
    pub(super) fn add(&mut self, is_negative: bool, mantissa: u128, exponent: i32) {
        if mantissa == 0 {
            return;
        }
        if self.additions == 1 << 28 {
            self.carry();
        }
        self.additions += 1;
        let (first, shift) = (exponent.div_euclid(32), exponent.rem_euclid(32));
        let count = (128 - mantissa.leading_zeros()).div_ceil(32) as i32 + 1;
        self.cover(first, first + count);
        let mut rest = mantissa;
        for digit in (first - self.first) as usize.. {
            if rest == 0 {
                break;
            }
            let part = u64::from(rest as u32) << shift;
            let (low, high) = (i64::from(part as u32), (part >> 32) as i64);
            self.digits[digit] += if is_negative { -low } else { low };
            self.digits[digit + 1] += if is_negative { -high } else { high };
            rest >>= 32;
        }
    }

    pub(super) fn add_digits(&mut self, other: &Digits) {
        for (i, digit) in other.digits.iter().enumerate() {
            self.add(*digit < 0, u128::from(digit.unsigned_abs()), 32 * (other.first + i as i32));
        }
    }

    /// Makes room for the digits of weights `2^(32·from)` to `2^(32·to)`.
    pub(super) fn cover(&mut self, from: i32, to: i32) {
        if self.digits.is_empty() {
            self.first = from;
        }
        if from < self.first {
            self.digits.splice(0..0, (from..self.first).map(|_| 0));
            self.first = from;
        }
        let count = (to - self.first) as usize;
        if count > self.digits.len() {
            self.digits.resize(count, 0);
        }
    }

    /// Brings all digits but the last between 0 and 2^32.
    pub(super) fn carry(&mut self) {
        self.digits.push(0);
        for i in 1..self.digits.len() {
            let carry = self.digits[i - 1] >> 32;
            self.digits[i - 1] -= carry << 32;
            self.digits[i] += carry;
        }
        // The last digit holds the sign; while it is small there is no need for one above it.
        if let [.., below, last] = &mut self.digits[..]
            && (-(1 << 16)..1 << 16).contains(last)
        {
            *below += *last << 32;
            self.digits.pop();
        }
        self.additions = 0;
    }

    /// The number as a whole one, times two to the power given beside it.
    pub(super) fn whole(&self) -> (Big, i32) {
        (Big::from_digits(&self.digits), 32 * self.first)
    }
}

/// Most digits that are read: products of floats are between 2^-2148 and 2^2048, and sums of 2^64 of them a little beyond.
pub(super) const DIGITS_MAX: usize = 136;

/// What does not fit into the window of a group.
#[derive(Clone, Debug, Default)]
pub(super) struct Far {
    pub(super) digits: Digits,
    pub(super) has_nan: bool,
    pub(super) has_plus_infinity: bool,
    pub(super) has_minus_infinity: bool,
}

impl Far {
    /// As bytes: the three flags, the weight of the first digit, how many digits, the digits.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let flags = [self.has_nan, self.has_plus_infinity, self.has_minus_infinity];
        out.push(flags.iter().enumerate().map(|(bit, flag)| u8::from(*flag) << bit).sum());
        out.extend_from_slice(&self.digits.first.to_le_bytes());
        out.extend_from_slice(&(self.digits.digits.len() as u32).to_le_bytes());
        self.digits.digits.iter().for_each(|digit| out.extend_from_slice(&digit.to_le_bytes()));
    }

    /// What `write` wrote, and the bytes behind it.
    pub(super) fn read(bytes: &[u8]) -> Option<(Far, &[u8])> {
        let ([flags], bytes) = bytes.split_first_chunk()?;
        let (first, bytes) = bytes.split_first_chunk()?;
        let (count, bytes) = bytes.split_first_chunk()?;
        let (digits, rest) = bytes.split_at_checked((u32::from_le_bytes(*count) as usize).checked_mul(8)?)?;
        let first = i32::from_le_bytes(*first);
        // Digits far from any float's would only make the sum's number long.
        if !(-128..128).contains(&first) || digits.len() > DIGITS_MAX * 8 {
            return None;
        }
        let digits = digits.as_chunks::<8>().0.iter().map(|digit| i64::from_le_bytes(*digit)).collect();
        let digits = Digits { first, digits, additions: 1 << 27 };
        let far = Far {
            digits,
            has_nan: flags & 1 != 0,
            has_plus_infinity: flags & 2 != 0,
            has_minus_infinity: flags & 4 != 0,
        };
        Some((far, rest))
    }

    pub(super) fn merge(&mut self, other: &Far) {
        self.digits.add_digits(&other.digits);
        self.has_nan |= other.has_nan;
        self.has_plus_infinity |= other.has_plus_infinity;
        self.has_minus_infinity |= other.has_minus_infinity;
    }

    /// The sum, if it is not a finite number.
    pub(super) fn special(&self) -> Option<f64> {
        match (self.has_plus_infinity, self.has_minus_infinity) {
            _ if self.has_nan => Some(f64::NAN),
            (true, true) => Some(f64::NAN),
            (true, false) => Some(f64::INFINITY),
            (false, true) => Some(f64::NEG_INFINITY),
            (false, false) => None,
        }
    }
}

/// The far parts of some groups; nothing at all while there is none.
#[derive(Debug, Default)]
pub(super) struct FarParts {
    pub(super) parts: Vec<Option<Box<Far>>>,
    /// How many there are, for the memory they hold.
    pub(super) count: usize,
}

/// A far part with its first digits, about.
pub(super) const FAR_BYTES: u64 = 160;

impl FarParts {
    pub(super) fn of(&mut self, group: usize) -> &mut Far {
        if self.parts.len() <= group {
            self.parts.resize_with((group + 1).next_power_of_two(), || None);
        }
        let count = &mut self.count;
        self.parts[group].get_or_insert_with(|| {
            *count += 1;
            Box::default()
        })
    }

    pub(super) fn get(&self, group: usize) -> Option<&Far> {
        self.parts.get(group)?.as_deref()
    }

    pub(super) fn write(&self, group: usize, out: &mut Vec<u8>) {
        let far = self.get(group);
        out.push(u8::from(far.is_some()));
        if let Some(far) = far {
            far.write(out);
        }
    }

    /// Adds what `write` has written; gives the bytes behind it.
    pub(super) fn read<'a>(&mut self, group: usize, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let ([has_far], bytes) = bytes.split_first_chunk()?;
        if *has_far == 0 {
            return Some(bytes);
        }
        let (far, rest) = Far::read(bytes)?;
        self.of(group).merge(&far);
        Some(rest)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.parts.capacity() as u64 * 8 + self.count as u64 * FAR_BYTES
    }
}
