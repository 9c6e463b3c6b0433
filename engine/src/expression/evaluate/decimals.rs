//! `+ - *` of decimals whose values have at most 18 digits, which nearly all have whatever their type allows.
//!
//! In: two decimals of 128 bits. Out: what arrow's kernels give, or nothing where a value needs more than 64 bits and those must look for
//! overflow. Never: wraps: a product of two 64-bit numbers, and a sum of two of them times powers of ten up to 10^18, fit into 128 bits.

use std::sync::Arc;

use crate::{
    batch::{
        array::{Array, ArrayRef, AsArray, Datum, Decimal128Array, new_empty_array},
        buffer::NullBuffer,
        compute::kernels::numeric,
        datatypes::{DataType, Decimal128Type},
    },
    error::Result,
    expression::BinaryOp,
};

/// Digits of a multiplier, at most.
const DIGITS_MAX: u32 = 18;

/// `left op right`, if both are decimals of 128 bits that hold small values only.
pub(super) fn combine(op: BinaryOp, left: &dyn Datum, right: &dyn Datum) -> Result<Option<ArrayRef>> {
    let ((left, left_is_scalar), (right, right_is_scalar)) = (left.get(), right.get());
    let (DataType::Decimal128(_, left_scale), DataType::Decimal128(_, right_scale)) =
        (left.data_type(), right.data_type())
    else {
        return Ok(None);
    };
    if left_is_scalar && right_is_scalar || left.len().max(right.len()) < 2 {
        return Ok(None);
    }
    let (Some(left_side), Some(right_side)) = (Side::of(left, left_is_scalar), Side::of(right, right_is_scalar)) else {
        return Ok(None);
    };
    let (empty_left, empty_right) = (new_empty_array(left.data_type()), new_empty_array(right.data_type()));
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

/// One operand, all of whose values fit into 64 bits; those of NULLs too.
enum Side<'a> {
    Same(i64),
    Each(&'a Decimal128Array),
}

impl Side<'_> {
    fn of(array: &dyn Array, is_scalar: bool) -> Option<Side<'_>> {
        let array = array.as_primitive::<Decimal128Type>();
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
        }
    }
}

#[inline(always)]
fn zipped(left: &Side<'_>, right: &Side<'_>, op: impl Fn(i128, i128) -> i128) -> Vec<i128> {
    let small = |value: &i128| i128::from(*value as i64);
    match (left, right) {
        (Side::Same(a), Side::Each(b)) => b.values().iter().map(|b| op(i128::from(*a), small(b))).collect(),
        (Side::Each(a), Side::Same(b)) => a.values().iter().map(|a| op(small(a), i128::from(*b))).collect(),
        (Side::Each(a), Side::Each(b)) => {
            a.values().iter().zip(b.values()).map(|(a, b)| op(small(a), small(b))).collect()
        }
        (Side::Same(_), Side::Same(_)) => Vec::new(),
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

    proptest! {
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
