//! `+ - *` of decimals whose values have at most 18 digits, which nearly all have whatever their type allows.
//!
//! In: two decimals of 128 bits, or of 64 bits that stand for them. Out: what arrow's kernels give for 128 bits, or nothing where a value needs
//! more than 64 and those must look for overflow. Never: wraps: a product of two 64-bit numbers, and a sum of two of them times powers of ten up
//! to 10^18, fit into 128 bits.

use std::sync::Arc;

use crate::{
    batch::{
        array::{Array, ArrayRef, AsArray, Datum, Decimal64Array, Decimal128Array, new_empty_array},
        buffer::NullBuffer,
        compute::{cast, kernels::numeric},
        datatypes::{DataType, Decimal64Type, Decimal128Type},
    },
    error::Result,
    expression::BinaryOp,
};

/// Digits of a multiplier, at most.
const DIGITS_MAX: u32 = 18;

/// `left op right` as decimals of 128 bits, if both are decimals that hold small values only.
pub(super) fn combine(op: BinaryOp, left: &dyn Datum, right: &dyn Datum) -> Result<Option<ArrayRef>> {
    let ((left, left_is_scalar), (right, right_is_scalar)) = (left.get(), right.get());
    let (Some(left_type), Some(right_type)) = (in_128_bits(left.data_type()), in_128_bits(right.data_type())) else {
        return Ok(None);
    };
    let (DataType::Decimal128(_, left_scale), DataType::Decimal128(_, right_scale)) = (&left_type, &right_type) else {
        return Ok(None);
    };
    if left_is_scalar && right_is_scalar || left.len().max(right.len()) < 2 {
        return Ok(None);
    }
    let (Some(left_side), Some(right_side)) = (Side::of(left, left_is_scalar), Side::of(right, right_is_scalar)) else {
        return Ok(None);
    };
    let (empty_left, empty_right) = (new_empty_array(&left_type), new_empty_array(&right_type));
    let (values, of_empty) = match op {
        BinaryOp::Multiply => (zipped(&left_side, &right_side, |a, b| a * b), numeric::mul(&empty_left, &empty_right)),
        BinaryOp::Plus | BinaryOp::Minus => {
            let scale = *left_scale.max(right_scale);
            let digits = |own: i8| u32::try_from(scale - own).ok().filter(|digits| *digits <= DIGITS_MAX);
            let (Some(left_digits), Some(right_digits)) = (digits(*left_scale), digits(*right_scale)) else {
                return Ok(None);
            };
            let (by_left, by_right) = (10_i128.pow(left_digits), 10_i128.pow(right_digits));
            if op == BinaryOp::Plus {
                let values = zipped(&left_side, &right_side, |a, b| a * by_left + b * by_right);
                (values, numeric::add(&empty_left, &empty_right))
            } else {
                let values = zipped(&left_side, &right_side, |a, b| a * by_left - b * by_right);
                (values, numeric::sub(&empty_left, &empty_right))
            }
        }
        _ => return Ok(None),
    };
    // What cannot be typed is told by the general way.
    let Ok(of_empty) = of_empty else { return Ok(None) };
    let nulls = NullBuffer::union(left_side.nulls(), right_side.nulls());
    let array = Decimal128Array::new(values.into(), nulls).with_data_type(of_empty.data_type().clone());
    Ok(Some(Arc::new(array)))
}

/// The type of 128 bits that has all values of a decimal's.
pub(super) fn in_128_bits(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Decimal64(precision, scale) | DataType::Decimal128(precision, scale) => {
            Some(DataType::Decimal128(*precision, *scale))
        }
        _ => None,
    }
}

/// A value as arrow's kernels take it beside others: a decimal of 64 bits in 128, any other as it is.
pub(super) enum Wide<'a> {
    Same(&'a dyn Datum),
    Cast(ArrayRef, bool),
}

impl Wide<'_> {
    pub(super) fn new(value: &dyn Datum) -> Result<Wide<'_>> {
        let (array, is_scalar) = value.get();
        Ok(match (array.data_type(), in_128_bits(array.data_type())) {
            (DataType::Decimal64(..), Some(wide)) => Wide::Cast(cast(array, &wide)?, is_scalar),
            _ => Wide::Same(value),
        })
    }
}

impl Datum for Wide<'_> {
    fn get(&self) -> (&dyn Array, bool) {
        match self {
            Wide::Same(value) => value.get(),
            Wide::Cast(array, is_scalar) => (array.as_ref(), *is_scalar),
        }
    }
}

/// One operand, all of whose values fit into 64 bits; those of NULLs too.
enum Side<'a> {
    Same(i64),
    Each(&'a Decimal128Array),
    Narrow(&'a Decimal64Array),
}

impl Side<'_> {
    fn of(array: &dyn Array, is_scalar: bool) -> Option<Side<'_>> {
        if let Some(narrow) = array.as_primitive_opt::<Decimal64Type>() {
            return if is_scalar {
                narrow.is_valid(0).then(|| Side::Same(narrow.value(0)))
            } else {
                Some(Side::Narrow(narrow))
            };
        }
        let array = array.as_primitive_opt::<Decimal128Type>()?;
        if is_scalar {
            let value = array.is_valid(0).then(|| array.value(0))?;
            return i64::try_from(value).ok().map(Side::Same);
        }
        // Of a value that fits the upper half repeats the sign of the lower one.
        let beyond =
            array.values().iter().fold(0, |beyond, value| beyond | ((*value >> 64) as i64 ^ (*value as i64 >> 63)));
        (beyond == 0).then_some(Side::Each(array))
    }

    fn nulls(&self) -> Option<&NullBuffer> {
        match self {
            Side::Same(_) => None,
            Side::Each(array) => array.nulls(),
            Side::Narrow(array) => array.nulls(),
        }
    }
}

#[inline(always)]
fn zipped(left: &Side<'_>, right: &Side<'_>, op: impl Fn(i128, i128) -> i128) -> Vec<i128> {
    let small = |value: &i128| i128::from(*value as i64);
    let wide = |value: &i64| i128::from(*value);
    match (left, right) {
        (Side::Same(_), Side::Same(_)) => Vec::new(),
        (Side::Same(a), Side::Each(b)) => b.values().iter().map(|b| op(wide(a), small(b))).collect(),
        (Side::Same(a), Side::Narrow(b)) => b.values().iter().map(|b| op(wide(a), wide(b))).collect(),
        (Side::Each(a), Side::Same(b)) => a.values().iter().map(|a| op(small(a), wide(b))).collect(),
        (Side::Narrow(a), Side::Same(b)) => a.values().iter().map(|a| op(wide(a), wide(b))).collect(),
        (Side::Each(a), Side::Each(b)) => {
            a.values().iter().zip(b.values()).map(|(a, b)| op(small(a), small(b))).collect()
        }
        (Side::Each(a), Side::Narrow(b)) => {
            a.values().iter().zip(b.values()).map(|(a, b)| op(small(a), wide(b))).collect()
        }
        (Side::Narrow(a), Side::Each(b)) => {
            a.values().iter().zip(b.values()).map(|(a, b)| op(wide(a), small(b))).collect()
        }
        (Side::Narrow(a), Side::Narrow(b)) => {
            a.values().iter().zip(b.values()).map(|(a, b)| op(wide(a), wide(b))).collect()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::batch::array::Scalar;

    fn decimals(values: Vec<Option<i128>>, scale: i8) -> Decimal128Array {
        Decimal128Array::from(values).with_precision_and_scale(38, scale).unwrap()
    }

    fn arrows(op: BinaryOp, left: &dyn Datum, right: &dyn Datum) -> Option<ArrayRef> {
        match op {
            BinaryOp::Plus => numeric::add(left, right),
            BinaryOp::Minus => numeric::sub(left, right),
            _ => numeric::mul(left, right),
        }
        .ok()
    }

    /// Mostly small, sometimes at the border of 64 bits or beyond it.
    fn value() -> impl Strategy<Value = Option<i128>> {
        let small = (-100_000_i128..100_000).prop_map(Some);
        let border = (-2_i128..2).prop_map(|by| Some(i128::from(i64::MAX) + by));
        let low = (-2_i128..2).prop_map(|by| Some(i128::from(i64::MIN) + by));
        prop_oneof![40 => small, 2 => Just(None), 1 => border, 1 => low]
    }

    /// The same values in 64 bits, if they fit.
    fn narrow(array: &Decimal128Array) -> Option<ArrayRef> {
        let DataType::Decimal128(_, scale) = array.data_type() else { return None };
        let fits = array.iter().flatten().all(|value| i64::try_from(value).is_ok());
        let narrow: Decimal64Array = array.iter().map(|value| value.map(|value| value as i64)).collect();
        fits.then(|| Arc::new(narrow.with_data_type(DataType::Decimal64(18, *scale))) as ArrayRef)
    }

    proptest! {
        #[test]
        fn of_64_bits_as_of_128(
            pairs in prop::collection::vec((value(), value()), 2..20),
            scales in (0..10_i8, 0..10_i8),
            op in prop::sample::select(vec![BinaryOp::Plus, BinaryOp::Minus, BinaryOp::Multiply]),
        ) {
            let (left, right): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            let (left, right) = (decimals(left, scales.0), decimals(right, scales.1));
            let (Some(narrow_left), Some(narrow_right)) = (narrow(&left), narrow(&right)) else { return Ok(()) };
            let typed = |a: &dyn Datum, b: &dyn Datum| combine(op, a, b).unwrap();
            let expected = typed(&left, &right).unwrap();
            // The types are of other precisions; the numbers are the same.
            let numbers = |array: &ArrayRef| array.as_primitive::<Decimal128Type>().iter().collect::<Vec<_>>();
            for (a, b) in [(&narrow_left as &dyn Datum, &narrow_right as &dyn Datum), (&left, &narrow_right), (&narrow_left, &right)] {
                prop_assert_eq!(typed(a, b).map(|found| numbers(&found)), Some(numbers(&expected)));
            }
            let scalar = Scalar::new(narrow_left.slice(0, 1));
            let wide_scalar = Scalar::new(left.slice(0, 1));
            let (found, expected) = (typed(&scalar, &narrow_right), typed(&wide_scalar, &right));
            prop_assert_eq!(found.map(|found| numbers(&found)), expected.map(|expected| numbers(&expected)));
        }

        #[test]
        fn as_arrow_has_it(
            pairs in prop::collection::vec((value(), value()), 2..20),
            scales in (0..20_i8, 0..20_i8),
            op in prop::sample::select(vec![BinaryOp::Plus, BinaryOp::Minus, BinaryOp::Multiply]),
        ) {
            let (left, right): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            let (left, right) = (decimals(left, scales.0), decimals(right, scales.1));
            let scalar = Scalar::new(left.slice(0, 1));
            let operands: [(&dyn Datum, &dyn Datum); 3] = [(&left, &right), (&scalar, &right), (&right, &scalar)];
            for (a, b) in operands {
                if let Some(found) = combine(op, a, b).unwrap() {
                    let expected = arrows(op, a, b);
                    prop_assert_eq!(Some(found), expected);
                } else {
                    let fits = |datum: &dyn Datum| Side::of(datum.get().0, datum.get().1).is_some();
                    let is_far = op != BinaryOp::Multiply && scales.0.abs_diff(scales.1) > 18;
                    prop_assert!(is_far || !fits(a) || !fits(b));
                }
            }
        }
    }
}
