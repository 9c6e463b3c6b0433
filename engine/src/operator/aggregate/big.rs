//! Whole numbers of any length, and quotients rounded once.
//!
//! In: the digits of exact sums. Out: the `f64` nearest to a quotient of theirs, ties to even. Never: rounds before the end, or
//! runs once a row; it runs once a group, and for most groups the 128-bit path at the top is enough.

/// `value · 2^exponent / divisor`, rounded once. `divisor`: not 0.
pub(super) fn quotient_i128(value: i128, exponent: i32, divisor: u64) -> f64 {
    if value == 0 {
        return 0.0;
    }
    // The highest bit is set before dividing, so the quotient has at least 64 bits and one division is enough.
    let shift = value.unsigned_abs().leading_zeros();
    let dividend = value.unsigned_abs() << shift;
    let (quotient, remainder) = (dividend / u128::from(divisor), dividend % u128::from(divisor));
    let spare = quotient.leading_zeros();
    let top = quotient << spare;
    let is_inexact = remainder != 0 || top as u64 != 0;
    let magnitude = round((top >> 64) as u64, is_inexact, exponent - shift as i32 + 64 - spare as i32);
    if value < 0 { -magnitude } else { magnitude }
}

/// The `f64` nearest to `top · 2^exponent` and a bit more if `is_inexact`; ties to even. The highest bit of `top` is set.
fn round(top: u64, is_inexact: bool, exponent: i32) -> f64 {
    const MANTISSA_BITS: i32 = 53;
    let highest = exponent + 63;
    if highest > 1023 {
        return f64::INFINITY;
    }
    let is_subnormal = highest < -1022;
    let dropped = 64 - MANTISSA_BITS + if is_subnormal { -1022 - highest } else { 0 };
    if dropped > 64 {
        return 0.0;
    }
    let (kept, rest) = if dropped == 64 { (0, top) } else { (top >> dropped, top & ((1 << dropped) - 1)) };
    let half = 1 << (dropped - 1);
    let is_up = rest > half || rest == half && (is_inexact || kept & 1 == 1);
    let mantissa = kept + u64::from(is_up);
    // A carry out of the mantissa raises the exponent by itself, up to infinity.
    let biased = if is_subnormal { 0 } else { (highest + 1022) as u64 };
    f64::from_bits((biased << 52) + mantissa)
}

/// A whole number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Big {
    is_negative: bool,
    /// Of the magnitude, the lowest first. Invariant: the last is not 0; 0 has none.
    limbs: Vec<u32>,
}

impl Big {
    /// The sum of `digits[i] · 2^(32·i)`.
    pub(super) fn from_digits(digits: &[i64]) -> Big {
        let carried = |sign: i128| {
            let mut limbs = Vec::with_capacity(digits.len() + 3);
            let mut carry = 0_i128;
            for digit in digits {
                carry += sign * i128::from(*digit);
                limbs.push(carry as u32);
                carry >>= 32;
            }
            for _ in 0..3 {
                limbs.push(carry as u32);
                carry >>= 32;
            }
            (limbs, carry < 0)
        };
        let (limbs, is_negative) = carried(1);
        Big::new(is_negative, if is_negative { carried(-1).0 } else { limbs })
    }

    fn new(is_negative: bool, mut limbs: Vec<u32>) -> Big {
        while limbs.last() == Some(&0) {
            limbs.pop();
        }
        Big { is_negative: is_negative && !limbs.is_empty(), limbs }
    }

    /// The product.
    pub(super) fn times(&self, other: &Big) -> Big {
        let mut limbs = vec![0_u32; self.limbs.len() + other.limbs.len()];
        for (i, a) in self.limbs.iter().enumerate() {
            let mut carry = 0_u64;
            for (j, b) in other.limbs.iter().enumerate() {
                carry += u64::from(*a) * u64::from(*b) + u64::from(limbs[i + j]);
                limbs[i + j] = carry as u32;
                carry >>= 32;
            }
            limbs[i + other.limbs.len()] = carry as u32;
        }
        Big::new(self.is_negative != other.is_negative, limbs)
    }

    /// The difference.
    pub(super) fn minus(&self, other: &Big) -> Big {
        let signed = |big: &Big, i: usize| {
            let limb = big.limbs.get(i).map_or(0, |limb| i64::from(*limb));
            if big.is_negative { -limb } else { limb }
        };
        let count = self.limbs.len().max(other.limbs.len());
        Big::from_digits(&(0..count).map(|i| signed(self, i) - signed(other, i)).collect::<Vec<_>>())
    }

    /// `self · 2^bits`.
    pub(super) fn shifted(&self, bits: u32) -> Big {
        let mut limbs = vec![0_u32; (bits / 32) as usize];
        let mut carry = 0_u64;
        for limb in &self.limbs {
            carry |= u64::from(*limb) << (bits % 32);
            limbs.push(carry as u32);
            carry >>= 32;
        }
        limbs.push(carry as u32);
        Big::new(self.is_negative, limbs)
    }

    /// The number as given by `value`.
    pub(super) fn from_u64(value: u64) -> Big {
        Big::new(false, vec![value as u32, (value >> 32) as u32])
    }

    /// `self · 2^exponent / (product of divisors)`, rounded once. `divisors`: none is 0.
    pub(super) fn quotient(&self, exponent: i32, divisors: &[u64]) -> f64 {
        if self.limbs.is_empty() {
            return 0.0;
        }
        // So many bits that after the divisions 64 are left.
        let shift = (64 * (divisors.len() as u32 + 1) + 1).saturating_sub(self.bit_count());
        let mut quotient = self.shifted(shift);
        let mut is_inexact = false;
        for divisor in divisors {
            is_inexact |= quotient.divide(*divisor);
        }
        let bit_count = quotient.bit_count();
        let mut top = 0_u64;
        for (i, limb) in quotient.limbs.iter().enumerate() {
            let below = (i as i32 * 32) - (bit_count as i32 - 64);
            if below >= 0 {
                top |= u64::from(*limb) << below;
            } else if below > -32 {
                top |= u64::from(*limb) >> -below;
                is_inexact |= *limb & ((1 << -below) - 1) != 0;
            } else {
                is_inexact |= *limb != 0;
            }
        }
        let magnitude = round(top, is_inexact, exponent - shift as i32 + bit_count as i32 - 64);
        if self.is_negative { -magnitude } else { magnitude }
    }

    fn bit_count(&self) -> u32 {
        self.limbs.last().map_or(0, |top| self.limbs.len() as u32 * 32 - top.leading_zeros())
    }

    /// Divides the magnitude; tells whether something remained.
    fn divide(&mut self, divisor: u64) -> bool {
        let mut remainder = 0_u128;
        for limb in self.limbs.iter_mut().rev() {
            let dividend = remainder << 32 | u128::from(*limb);
            *limb = (dividend / u128::from(divisor)) as u32;
            remainder = dividend % u128::from(divisor);
        }
        while self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
        remainder != 0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn rounds_to_nearest_even_down_to_the_subnormals() {
        let big = |value: u64| Big::from_u64(value);
        assert_eq!(big((1 << 53) + 1).quotient(0, &[]), 9_007_199_254_740_992.0);
        assert_eq!(big((1 << 53) + 3).quotient(0, &[]), 9_007_199_254_740_996.0);
        assert_eq!(big(1).quotient(-1074, &[]), 5e-324);
        assert_eq!(big(1).quotient(-1075, &[]), 0.0);
        assert_eq!(big(3).quotient(-1076, &[]), 5e-324);
        assert_eq!(big(1).quotient(-1080, &[]), 0.0);
        assert_eq!(big(1).quotient(1024, &[]), f64::INFINITY);
        assert_eq!(big(1).quotient(0, &[3]), 1.0 / 3.0);
        assert_eq!(big(2).quotient(0, &[3, 7]), 2.0 / 21.0);
        assert_eq!(quotient_i128(-10, 0, 3), -10.0 / 3.0);
        assert_eq!(quotient_i128(i128::MIN, 0, 1), i128::MIN as f64);
        assert_eq!(quotient_i128(1, -1074, 1), 5e-324);
    }

    #[test]
    fn agrees_with_128_bits() {
        let mut state = 1_u64;
        for _ in 0..2_000 {
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state
            };
            let (a, b) = (i64::from((next() >> 33) as i32), (next() as i64) >> 20);
            let digits = [a, b, a ^ b];
            let expected = i128::from(a) + (i128::from(b) << 32) + (i128::from(a ^ b) << 64);
            let big = Big::from_digits(&digits);
            assert_eq!(big.quotient(0, &[]), expected as f64);
            let divisor = (next() >> 40) + 1;
            assert_eq!(big.quotient(-7, &[divisor]), quotient_i128(expected, -7, divisor));
            let other = Big::from_digits(&[b]);
            assert_eq!(big.minus(&other).quotient(0, &[]), (expected - i128::from(b)) as f64);
            let product = Big::from_digits(&[a]).times(&other).quotient(0, &[]);
            assert_eq!(product, (i128::from(a) * i128::from(b)) as f64);
        }
    }
}
