//! Sums beside whole multiples of the least float, in any order and cut anywhere.

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
    let (mut left, mut right, mut products) = (ExactSums::default(), ExactSums::default(), ExactProducts::default());
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
