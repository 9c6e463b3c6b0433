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

mod digits; // what a window does not hold
use digits::{Digits, FarParts, parts};

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
mod tests;
