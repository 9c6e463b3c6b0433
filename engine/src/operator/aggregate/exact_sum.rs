//! Sums of floats without an error: the order of the rows cannot be seen in them.
//!
//! In: `f64`s, by group. Out: the real number that is their sum, rounded once when it is asked for. Never: an intermediate rounding.
//!
//! ```text
//!   2^1023 ·········· 2^47 │◄──────── window, i128 ────────►│ 2^-80 ·········· 2^-1074
//!          far: digits     │ sign and 127 bits, lsb 2^-80   │     far: digits
//! ```
//! Nearly all values have all their bits in a window of 128 bits, so an addition is a shift and an `i128` addition. A value that has
//! bits outside of it, or a sum that leaves it, goes to *digits* of 32 bits in `i64`s, as many as are needed to cover it, and carried
//! rarely (after Kulisch; Neal, "Fast exact summation using small and large superaccumulators", 2015). What a group's sum is does
//! not depend on which part went where. Products have a window of their own, twice as wide. Any NaN, or infinities of both signs,
//! give NaN; a sum of nothing but zeros is +0.

use super::big::{Big, quotient_i128};

/// The lowest bit of the window is `2^-WINDOW_SCALE`: prices to 1e-8 and their products fit, and sums up to 1e14.
const WINDOW_SCALE: i32 = 80;
/// A mantissa shifted by more would touch the window's sign.
const SHIFT_MAX: u64 = 127 - 53 - 1;
/// Biased exponent of a float whose mantissa stands at the lowest bit of the window.
const EXPONENT_LEAST: u64 = 1075 - WINDOW_SCALE as u64;
const MANTISSA: u64 = (1 << 52) - 1;

/// The window's number for `value`, if it fits and is quickly seen to.
#[inline(always)]
fn near(value: f64) -> Option<i128> {
    let bits = value.to_bits();
    let shift = (bits >> 52 & 0x7ff).wrapping_sub(EXPONENT_LEAST);
    if shift > SHIFT_MAX {
        return None;
    }
    let magnitude = i128::from(bits & MANTISSA | 1 << 52) << shift;
    Some(if (bits as i64) < 0 { -magnitude } else { magnitude })
}

/// The whole number that `value` is, if its square is one of 62 bits: of such numbers the windows' are made without a mantissa.
#[inline(always)]
pub(super) fn whole(value: f64) -> Option<i64> {
    let whole = value as i32;
    (f64::from(whole) == value).then_some(i64::from(whole))
}

/// A finite value as `±mantissa · 2^exponent`, the mantissa odd or 0.
fn parts(value: f64) -> (bool, u64, i32) {
    let bits = value.to_bits();
    let biased = (bits >> 52 & 0x7ff) as i32;
    let mantissa = bits & MANTISSA | if biased == 0 { 0 } else { 1 << 52 };
    let zeros = if mantissa == 0 { 0 } else { mantissa.trailing_zeros() };
    ((bits as i64) < 0, mantissa >> zeros, biased.max(1) - 1075 + zeros as i32)
}

/// A number as digits that cover the part of the real line it needs.
#[derive(Clone, Debug, Default)]
struct Digits {
    /// Weight of the first digit: `2^(32·first)`.
    first: i32,
    /// The number is the sum of `digits[i] · 2^(32·(first+i))`. Invariant: each is less than `2^62` in magnitude.
    digits: Vec<i64>,
    /// Additions since the last carry; each adds less than `2^33` to a digit.
    additions: u32,
}

impl Digits {
    fn add(&mut self, is_negative: bool, mantissa: u128, exponent: i32) {
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

    fn add_digits(&mut self, other: &Digits) {
        for (i, digit) in other.digits.iter().enumerate() {
            self.add(*digit < 0, u128::from(digit.unsigned_abs()), 32 * (other.first + i as i32));
        }
    }

    /// Makes room for the digits of weights `2^(32·from)` to `2^(32·to)`.
    fn cover(&mut self, from: i32, to: i32) {
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
    fn carry(&mut self) {
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
    fn whole(&self) -> (Big, i32) {
        (Big::from_digits(&self.digits), 32 * self.first)
    }
}

/// Most digits that are read: products of floats are between 2^-2148 and 2^2048, and sums of 2^64 of them a little beyond.
const DIGITS_MAX: usize = 136;

/// What does not fit into the window of a group.
#[derive(Clone, Debug, Default)]
struct Far {
    digits: Digits,
    has_nan: bool,
    has_plus_infinity: bool,
    has_minus_infinity: bool,
}

impl Far {
    /// As bytes: the three flags, the weight of the first digit, how many digits, the digits.
    fn write(&self, out: &mut Vec<u8>) {
        let flags = [self.has_nan, self.has_plus_infinity, self.has_minus_infinity];
        out.push(flags.iter().enumerate().map(|(bit, flag)| u8::from(*flag) << bit).sum());
        out.extend_from_slice(&self.digits.first.to_le_bytes());
        out.extend_from_slice(&(self.digits.digits.len() as u32).to_le_bytes());
        self.digits.digits.iter().for_each(|digit| out.extend_from_slice(&digit.to_le_bytes()));
    }

    /// What `write` wrote, and the bytes behind it.
    fn read(bytes: &[u8]) -> Option<(Far, &[u8])> {
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

    fn merge(&mut self, other: &Far) {
        self.digits.add_digits(&other.digits);
        self.has_nan |= other.has_nan;
        self.has_plus_infinity |= other.has_plus_infinity;
        self.has_minus_infinity |= other.has_minus_infinity;
    }

    /// The sum, if it is not a finite number.
    fn special(&self) -> Option<f64> {
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
struct FarParts {
    parts: Vec<Option<Box<Far>>>,
    /// How many there are, for the memory they hold.
    count: usize,
}

/// A far part with its first digits, about.
const FAR_BYTES: u64 = 160;

impl FarParts {
    fn of(&mut self, group: usize) -> &mut Far {
        if self.parts.len() <= group {
            self.parts.resize_with((group + 1).next_power_of_two(), || None);
        }
        let count = &mut self.count;
        self.parts[group].get_or_insert_with(|| {
            *count += 1;
            Box::default()
        })
    }

    fn get(&self, group: usize) -> Option<&Far> {
        self.parts.get(group)?.as_deref()
    }

    fn write(&self, group: usize, out: &mut Vec<u8>) {
        let far = self.get(group);
        out.push(u8::from(far.is_some()));
        if let Some(far) = far {
            far.write(out);
        }
    }

    /// Adds what `write` has written; gives the bytes behind it.
    fn read<'a>(&mut self, group: usize, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let ([has_far], bytes) = bytes.split_first_chunk()?;
        if *has_far == 0 {
            return Some(bytes);
        }
        let (far, rest) = Far::read(bytes)?;
        self.of(group).merge(&far);
        Some(rest)
    }

    fn bytes(&self) -> u64 {
        self.parts.capacity() as u64 * 8 + self.count as u64 * FAR_BYTES
    }
}

/// One exact sum a group.
#[derive(Debug, Default)]
pub(super) struct ExactSums {
    windows: Vec<i128>,
    far: FarParts,
}

impl ExactSums {
    /// Bytes of a group that stays in its window.
    pub(super) const BYTES_PER_GROUP: u64 = 16;

    /// Makes room for groups `0..groups`; new sums are 0.
    pub(super) fn resize(&mut self, groups: usize) {
        self.windows.resize(groups, 0);
    }

    /// Bytes held beside [`Self::BYTES_PER_GROUP`].
    pub(super) fn far_bytes(&self) -> u64 {
        self.far.bytes()
    }

    /// Adds one value.
    #[inline(always)]
    pub(super) fn add(&mut self, group: usize, value: f64) {
        match near(value) {
            Some(addend) => self.add_near(group, addend),
            None => self.add_far(group, value),
        }
    }

    /// Adds one value, as `add`; what [`whole`] gave.
    #[inline(always)]
    pub(super) fn add_whole(&mut self, group: usize, value: i64) {
        self.add_near(group, i128::from(value) << WINDOW_SCALE);
    }

    #[inline(always)]
    fn add_near(&mut self, group: usize, addend: i128) {
        let window = &mut self.windows[group];
        match window.checked_add(addend) {
            Some(sum) => *window = sum,
            None => self.leave_window(group, addend),
        }
    }

    /// The window is full: its content becomes digits.
    #[cold]
    fn leave_window(&mut self, group: usize, addend: i128) {
        let window = std::mem::replace(&mut self.windows[group], addend);
        self.far.of(group).digits.add(window < 0, window.unsigned_abs(), -WINDOW_SCALE);
    }

    #[inline(never)]
    fn add_far(&mut self, group: usize, value: f64) {
        if value == 0.0 {
            return;
        }
        if !value.is_finite() {
            let far = self.far.of(group);
            far.has_nan |= value.is_nan();
            far.has_plus_infinity |= value == f64::INFINITY;
            far.has_minus_infinity |= value == f64::NEG_INFINITY;
            return;
        }
        let (is_negative, mantissa, exponent) = parts(value);
        let bit_count = 64 - mantissa.leading_zeros() as i32;
        if exponent >= -WINDOW_SCALE && exponent + WINDOW_SCALE + bit_count < 127 {
            let magnitude = i128::from(mantissa) << (exponent + WINDOW_SCALE);
            self.add_near(group, if is_negative { -magnitude } else { magnitude });
        } else {
            self.far.of(group).digits.add(is_negative, u128::from(mantissa), exponent);
        }
    }

    /// Adds the sum of `from` in `other` to the one of `group`.
    pub(super) fn merge(&mut self, group: usize, other: &ExactSums, from: usize) {
        self.add_near(group, other.windows[from]);
        if let Some(far) = other.far.get(from) {
            self.far.of(group).merge(far);
        }
    }

    /// Appends the sum of `group` as bytes: the window, whether there is more, and that.
    pub(super) fn write(&self, group: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.windows[group].to_le_bytes());
        self.far.write(group, out);
    }

    /// Adds a sum that `write` has written to that of `group`; gives the bytes behind it, or `None` if they say no sum.
    pub(super) fn read<'a>(&mut self, group: usize, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (window, bytes) = bytes.split_first_chunk()?;
        self.add_near(group, i128::from_le_bytes(*window));
        self.far.read(group, bytes)
    }

    /// The sum divided by `divisor`, rounded once.
    pub(super) fn quotient(&self, group: usize, divisor: u64) -> f64 {
        let Some(far) = self.far.get(group) else {
            return quotient_i128(self.windows[group], -WINDOW_SCALE, divisor);
        };
        if let Some(special) = far.special() {
            return special;
        }
        let (sum, exponent) = self.whole(group);
        sum.quotient(exponent, &[divisor])
    }

    /// The sum, if it is not a finite number.
    pub(super) fn special(&self, group: usize) -> Option<f64> {
        self.far.get(group)?.special()
    }

    /// The finite sum as a whole number and a power of two.
    fn whole(&self, group: usize) -> (Big, i32) {
        let mut digits = self.far.get(group).map(|far| far.digits.clone()).unwrap_or_default();
        let window = self.windows[group];
        digits.add(window < 0, window.unsigned_abs(), -WINDOW_SCALE);
        digits.whole()
    }
}

/// One exact sum of products a group: of squares, or of two values.
#[derive(Debug, Default)]
pub(super) struct ExactProducts {
    /// Low and high half of a number of 256 bits, in two's complement; the lowest bit is `2^(-2·WINDOW_SCALE)`.
    windows: Vec<(u128, i128)>,
    far: FarParts,
}

impl ExactProducts {
    /// Bytes of a group that stays in its window.
    pub(super) const BYTES_PER_GROUP: u64 = 32;

    /// Makes room for groups `0..groups`; new sums are 0.
    pub(super) fn resize(&mut self, groups: usize) {
        self.windows.resize(groups, (0, 0));
    }

    /// Bytes held beside [`Self::BYTES_PER_GROUP`].
    pub(super) fn far_bytes(&self) -> u64 {
        self.far.bytes()
    }

    /// Adds the square of `value`. What is not finite is ignored: the sum of the values themselves tells it.
    #[inline]
    pub(super) fn add_square(&mut self, group: usize, value: f64) {
        let bits = value.to_bits();
        let shift = (bits >> 52 & 0x7ff).wrapping_sub(EXPONENT_LEAST);
        if shift <= SHIFT_MAX {
            let mantissa = u128::from(bits & MANTISSA | 1 << 52);
            self.add_near(group, wide_shifted(mantissa * mantissa, 2 * shift as u32));
        } else if value.is_finite() && value != 0.0 {
            let (_, mantissa, exponent) = parts(value);
            let square = u128::from(mantissa) * u128::from(mantissa);
            self.far.of(group).digits.add(false, square, 2 * exponent);
        }
    }

    /// Adds the product of `left` and `right`. What is not finite is ignored, as in [`Self::add_square`].
    #[inline]
    pub(super) fn add(&mut self, group: usize, left: f64, right: f64) {
        let shift_of = |bits: u64| (bits >> 52 & 0x7ff).wrapping_sub(EXPONENT_LEAST);
        let mantissa_of = |bits: u64| u128::from(bits & MANTISSA | 1 << 52);
        let (left_bits, right_bits) = (left.to_bits(), right.to_bits());
        let (left_shift, right_shift) = (shift_of(left_bits), shift_of(right_bits));
        if left_shift <= SHIFT_MAX && right_shift <= SHIFT_MAX {
            let product = mantissa_of(left_bits) * mantissa_of(right_bits);
            let addend = wide_shifted(product, (left_shift + right_shift) as u32);
            let is_negative = (left_bits ^ right_bits) >> 63 == 1;
            self.add_near(group, if is_negative { wide_negated(addend) } else { addend });
        } else if left.is_finite() && right.is_finite() && left != 0.0 && right != 0.0 {
            let (left, right) = (parts(left), parts(right));
            let product = u128::from(left.1) * u128::from(right.1);
            self.far.of(group).digits.add(left.0 != right.0, product, left.2 + right.2);
        }
    }

    /// Adds the product of two values that [`whole`] gave.
    #[inline(always)]
    pub(super) fn add_whole(&mut self, group: usize, left: i64, right: i64) {
        // All of it stands in the upper half.
        let addend = i128::from(left * right) << (2 * WINDOW_SCALE - 128);
        match self.windows[group].1.checked_add(addend) {
            Some(sum) => self.windows[group].1 = sum,
            None => self.leave_window(group, (0, addend)),
        }
    }

    #[inline(always)]
    fn add_near(&mut self, group: usize, (low, high): (u128, i128)) {
        let window = &mut self.windows[group];
        let (sum_low, carry) = window.0.overflowing_add(low);
        match window.1.checked_add(high).and_then(|sum| sum.checked_add(i128::from(carry))) {
            Some(sum_high) => *window = (sum_low, sum_high),
            None => self.leave_window(group, (low, high)),
        }
    }

    #[cold]
    fn leave_window(&mut self, group: usize, addend: (u128, i128)) {
        let window = std::mem::replace(&mut self.windows[group], addend);
        add_wide(&mut self.far.of(group).digits, window);
    }

    /// Adds the sum of `from` in `other` to the one of `group`.
    pub(super) fn merge(&mut self, group: usize, other: &ExactProducts, from: usize) {
        self.add_near(group, other.windows[from]);
        if let Some(far) = other.far.get(from) {
            self.far.of(group).merge(far);
        }
    }

    /// As [`ExactSums::write`].
    pub(super) fn write(&self, group: usize, out: &mut Vec<u8>) {
        let (low, high) = self.windows[group];
        out.extend_from_slice(&low.to_le_bytes());
        out.extend_from_slice(&high.to_le_bytes());
        self.far.write(group, out);
    }

    /// As [`ExactSums::read`].
    pub(super) fn read<'a>(&mut self, group: usize, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (low, bytes) = bytes.split_first_chunk()?;
        let (high, bytes) = bytes.split_first_chunk()?;
        self.add_near(group, (u128::from_le_bytes(*low), i128::from_le_bytes(*high)));
        self.far.read(group, bytes)
    }

    fn whole(&self, group: usize) -> (Big, i32) {
        let mut digits = self.far.get(group).map(|far| far.digits.clone()).unwrap_or_default();
        add_wide(&mut digits, self.windows[group]);
        digits.whole()
    }
}

/// `value · 2^shift` in 256 bits; `shift` is less than 256 and nothing is shifted out.
#[inline(always)]
fn wide_shifted(value: u128, shift: u32) -> (u128, i128) {
    match shift {
        0 => (value, 0),
        1..128 => (value << shift, (value >> (128 - shift)) as i128),
        _ => (0, (value << (shift - 128)) as i128),
    }
}

/// `-value` in 256 bits.
#[inline(always)]
fn wide_negated((low, high): (u128, i128)) -> (u128, i128) {
    (low.wrapping_neg(), !high + i128::from(low == 0))
}

/// Adds a window of products.
fn add_wide(digits: &mut Digits, (low, high): (u128, i128)) {
    digits.add(false, low, -2 * WINDOW_SCALE);
    digits.add(high < 0, high.unsigned_abs(), 128 - 2 * WINDOW_SCALE);
}

/// The variance of `count` values, rounded once: `(count·Σx² − (Σx)²) / (count·divisor)`. `divisor`: `count` for a population, one
/// less for a sample; not 0.
pub(super) fn variance(sums: &ExactSums, squares: &ExactProducts, group: usize, count: u64, divisor: u64) -> f64 {
    covariance((sums, sums), squares, group, count, divisor)
}

/// The covariance of `count` pairs, rounded once: `(count·Σxy − Σx·Σy) / (count·divisor)`, as [`variance`].
pub(super) fn covariance(
    (left, right): (&ExactSums, &ExactSums),
    products: &ExactProducts,
    group: usize,
    count: u64,
    divisor: u64,
) -> f64 {
    if left.special(group).is_some() || right.special(group).is_some() {
        return f64::NAN;
    }
    let (left, left_exponent) = left.whole(group);
    let (right, right_exponent) = right.whole(group);
    let (product, product_exponent) = products.whole(group);
    let (minuend, subtrahend) = (product.times(&Big::from_u64(count)), left.times(&right));
    let subtrahend_exponent = left_exponent + right_exponent;
    let exponent = product_exponent.min(subtrahend_exponent);
    let minuend = minuend.shifted((product_exponent - exponent) as u32);
    let subtrahend = subtrahend.shifted((subtrahend_exponent - exponent) as u32);
    minuend.minus(&subtrahend).quotient(exponent, &[count, divisor])
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(values: &[f64]) -> f64 {
        let mut sums = ExactSums::default();
        sums.resize(1);
        values.iter().for_each(|value| sums.add(0, *value));
        sums.quotient(0, 1)
    }

    /// By definition: whole multiples of 2^-1074, added up in digits of 32 bits.
    fn oracle(values: &[f64]) -> f64 {
        let mut digits = vec![0_i64; 70];
        for value in values {
            let (is_negative, mantissa, exponent) = parts(*value);
            for bit in 0..64 {
                if mantissa >> bit & 1 == 1 {
                    let place = (exponent + bit + 1074) as usize;
                    digits[place / 32] += if is_negative { -1 << (place % 32) } else { 1 << (place % 32) };
                }
            }
        }
        Big::from_digits(&digits).quotient(-1074, &[])
    }

    #[test]
    fn extremes_and_cancellation() {
        assert_eq!(sum(&[1e308, 1e308, -1e308, -1e308, 5e-324]), 5e-324);
        assert_eq!(sum(&[1e308, 1e308]), f64::INFINITY);
        assert_eq!(sum(&[1e308, 1e308, -1e308]), 1e308);
        assert_eq!(sum(&[0.1; 10]), 1.0);
        assert_eq!(sum(&[1e100, 1.0, -1e100]), 1.0);
        assert_eq!(sum(&[5e-324, 5e-324]), 1e-323);
        assert_eq!(sum(&[-0.0, -0.0]).to_bits(), 0);
        assert_eq!(sum(&[f64::MIN_POSITIVE, -5e-324]), f64::MIN_POSITIVE - 5e-324);
        assert!(sum(&[f64::NAN, 1.0]).is_nan());
        assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
        assert_eq!(sum(&[f64::NEG_INFINITY, 1e308, 1e308]), f64::NEG_INFINITY);
        // The window overflows: each is a quarter of what it holds.
        assert_eq!(sum(&[f64::powi(2.0, 45); 9]), 9.0 * f64::powi(2.0, 45));
        assert_eq!(sum(&[-f64::powi(2.0, 45); 9]), -9.0 * f64::powi(2.0, 45));
    }

    #[test]
    fn many_carries() {
        let mut digits = Digits::default();
        for i in 0..1_000_i64 {
            digits.add(i % 3 != 0, u128::MAX >> (i % 100), (i % 7) as i32 * 10 - 30);
            if i % 5 == 0 {
                let before = digits.whole();
                digits.carry();
                let after = digits.whole();
                assert_eq!(before.0.quotient(before.1, &[]), after.0.quotient(after.1, &[]));
            }
        }
        assert!(digits.digits.len() < 12, "{}", digits.digits.len());
    }

    #[test]
    fn variances() {
        let variance_of = |values: &[f64], divisor: u64| {
            let (mut sums, mut squares) = (ExactSums::default(), ExactProducts::default());
            sums.resize(1);
            squares.resize(1);
            for value in values {
                sums.add(0, *value);
                squares.add_square(0, *value);
            }
            variance(&sums, &squares, 0, values.len() as u64, divisor)
        };
        assert_eq!(variance_of(&[1.0, 2.0, 3.0, 4.0], 3), 5.0 / 3.0);
        assert_eq!(variance_of(&[1e9 + 1.0, 1e9 + 2.0, 1e9 + 3.0], 3), 2.0 / 3.0);
        assert_eq!(variance_of(&[0.1, 0.1, 0.1], 2), 0.0);
        assert_eq!(variance_of(&[1e200, -1e200], 1), f64::INFINITY);
        assert_eq!(variance_of(&[1e-200, 3e-200], 2), 0.0);
        let large = f64::powi(2.0, 500);
        assert_eq!(variance_of(&[large, 3.0 * large], 2), large * large);
        assert!(variance_of(&[f64::INFINITY, 1.0], 1).is_nan());
    }

    fn covariance_of(pairs: &[(f64, f64)], divisor: u64) -> f64 {
        let (mut left, mut right, mut products) =
            (ExactSums::default(), ExactSums::default(), ExactProducts::default());
        left.resize(1);
        right.resize(1);
        products.resize(1);
        for (a, b) in pairs {
            left.add(0, *a);
            right.add(0, *b);
            products.add(0, *a, *b);
        }
        covariance((&left, &right), &products, 0, pairs.len() as u64, divisor)
    }

    #[test]
    fn whole_numbers_are_added_as_any_others() {
        let numbers = [0, 1, -1, 7, -300, i32::MAX, i32::MIN, 1 << 20];
        for (left, right) in numbers.iter().flat_map(|left| numbers.map(|right| (f64::from(*left), f64::from(right)))) {
            let (mut sums, mut products) = (ExactSums::default(), ExactProducts::default());
            sums.resize(2);
            products.resize(2);
            // With something small beside it, that takes from the upper half.
            for _ in 0..10 {
                sums.add(0, left);
                sums.add_whole(1, whole(left).unwrap());
                products.add(0, left, right);
                products.add(0, -0.25, 0.25);
                products.add_whole(1, whole(left).unwrap(), whole(right).unwrap());
                products.add(1, -0.25, 0.25);
            }
            assert_eq!((sums.windows[0], products.windows[0]), (sums.windows[1], products.windows[1]));
        }
        assert_eq!([f64::NAN, f64::INFINITY, 0.5, 2_147_483_648.0, 1e300].map(whole), [None; 5]);
        assert_eq!(whole(-0.0), Some(0));
        // What leaves the window goes to the digits.
        let mut products = ExactProducts::default();
        products.resize(1);
        products.windows[0] = (0, i128::MAX);
        products.add_whole(0, 1 << 30, 1 << 30);
        assert_eq!(products.far.count, 1);
    }

    #[test]
    fn covariances() {
        assert_eq!(covariance_of(&[(1.0, -1.0), (2.0, -2.0), (3.0, -3.0)], 2), -1.0);
        assert_eq!(covariance_of(&[(0.1, 7.0), (0.1, 9.0)], 1), 0.0);
        assert_eq!(covariance_of(&[(1e9 + 1.0, 5.0), (1e9 + 3.0, 7.0)], 1), 2.0);
        // Outside of the window, and beyond what a float holds on the way.
        assert_eq!(covariance_of(&[(1e200, 1e-200), (-1e200, -1e-200)], 2), 1.0);
        assert_eq!(covariance_of(&[(1e200, 1e200), (-1e200, -1e200)], 1), f64::INFINITY);
        assert_eq!(covariance_of(&[(1e200, -1e200), (-1e200, 1e200)], 1), f64::NEG_INFINITY);
        assert!(covariance_of(&[(f64::NAN, 1.0), (1.0, 0.0)], 1).is_nan());
        assert!(covariance_of(&[(1.0, f64::INFINITY), (0.0, 0.0)], 1).is_nan());
    }

    fn any_float() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>().prop_filter("finite", |value| value.is_finite()),
            -1e6..1e6_f64,
            (-1e9..1e9_f64, -60..60_i32).prop_map(|(value, exponent)| value * f64::powi(2.0, exponent)),
            Just(0.0),
            Just(-1e308),
            Just(1e308),
            Just(5e-324),
        ]
    }

    proptest! {
        #[test]
        fn products_are_exact(pairs in prop::collection::vec((-1 << 40..1_i64 << 40, -1 << 40..1_i64 << 40), 2..40), scale in -90..90_i32) {
            let of = |choose: fn(&(i64, i64)) -> i128| pairs.iter().map(choose).sum::<i128>();
            let count = pairs.len() as i128;
            let numerator = count * of(|(a, b)| i128::from(*a) * i128::from(*b)) - of(|(a, _)| (*a).into()) * of(|(_, b)| (*b).into());
            let expected = quotient_i128(numerator, 0, (count * count) as u64);
            // Powers of two that cancel: some pairs are in the window, others are not.
            let unit = f64::powi(2.0, scale);
            let scaled: Vec<(f64, f64)> = pairs.iter().map(|(a, b)| (*a as f64 * unit, *b as f64 / unit)).collect();
            prop_assert_eq!(covariance_of(&scaled, count as u64).to_bits(), expected.to_bits());
        }

        #[test]
        fn is_the_rounded_exact_sum(values in prop::collection::vec(any_float(), 0..60), cut in 0..60_usize) {
            let expected = oracle(&values);
            prop_assert_eq!(sum(&values).to_bits(), expected.to_bits());
            // The same through two tables and a merge, in another order.
            let (mut left, mut right) = (ExactSums::default(), ExactSums::default());
            left.resize(1);
            right.resize(3);
            for (i, value) in values.iter().enumerate().rev() {
                if i < cut { left.add(0, *value) } else { right.add(2, *value) }
            }
            left.merge(0, &right, 2);
            prop_assert_eq!(left.quotient(0, 1).to_bits(), expected.to_bits());
        }
    }
}
