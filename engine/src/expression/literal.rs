//! One value with its type, as data that can stand in a plan.
//!
//! In: a value of the Rust API, a constant of the SQL text, or one row of a column. Out: an array of length one or of any
//! length. Never: an untyped NULL where the type is known.

use std::cmp::Ordering;

use datafusion_common::ScalarValue;

use super::error::ExpressionError;
use crate::batch::{
    array::{Array, ArrayRef},
    datatypes::DataType,
};

type Result<T> = std::result::Result<T, ExpressionError>;

/// One value, typed; equal and hashed by type and value, so that plans can be compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Literal(ScalarValue);

impl Literal {
    /// NULL of this type.
    pub fn null(data_type: &DataType) -> Result<Literal> {
        ScalarValue::try_new_null(data_type).map(Literal).map_err(ExpressionError::library("write a NULL of this type"))
    }

    /// The value in `row` of `array`.
    pub fn from_array(array: &dyn Array, row: usize) -> Result<Literal> {
        ScalarValue::try_from_array(array, row)
            .map(Literal)
            .map_err(ExpressionError::library("read one value of a column"))
    }

    /// A date, in days since 1970-01-01.
    pub fn date(days: i32) -> Literal {
        Literal(ScalarValue::Date32(Some(days)))
    }

    /// A decimal: `value` times ten to the power of minus `scale`.
    pub fn decimal(value: i128, precision: u8, scale: i8) -> Literal {
        Literal(ScalarValue::Decimal128(Some(value), precision, scale))
    }

    /// Its type.
    pub fn data_type(&self) -> DataType {
        self.0.data_type()
    }

    /// Is it NULL?
    pub fn is_null(&self) -> bool {
        self.0.is_null()
    }

    /// The truth, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self.0 {
            ScalarValue::Boolean(truth) => truth,
            _ => None,
        }
    }

    /// The number, if it is an integer of any width that fits.
    pub fn as_i64(&self) -> Option<i64> {
        match &self.0 {
            ScalarValue::UInt64(value) => value.and_then(|v| i64::try_from(v).ok()),
            integer if integer.data_type().is_integer() => match integer.cast_to(&DataType::Int64).ok()? {
                ScalarValue::Int64(value) => value,
                _ => None,
            },
            _ => None,
        }
    }

    /// The number, if it is a float.
    pub fn as_f64(&self) -> Option<f64> {
        match self.0 {
            ScalarValue::Float64(value) => value,
            ScalarValue::Float32(value) => value.map(f64::from),
            _ => None,
        }
    }

    /// The value as a number on the scale of a column's statistics: days of dates, the unscaled digits of decimals.
    pub fn as_number(&self) -> Option<f64> {
        match &self.0 {
            ScalarValue::Date32(days) => days.map(f64::from),
            ScalarValue::Date64(ms) | ScalarValue::TimestampNanosecond(ms, _) => ms.map(|value| value as f64),
            ScalarValue::TimestampMicrosecond(value, _) | ScalarValue::TimestampMillisecond(value, _) => {
                value.map(|value| value as f64)
            }
            ScalarValue::TimestampSecond(value, _) => value.map(|value| value as f64),
            ScalarValue::Decimal64(digits, ..) => digits.map(|digits| digits as f64),
            ScalarValue::Decimal128(digits, ..) => digits.map(|digits| digits as f64),
            _ => self.as_i64().map(|value| value as f64).or_else(|| self.as_f64()),
        }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        self.0.try_as_str().flatten()
    }

    /// `rows` times this value.
    pub fn to_array(&self, rows: usize) -> Result<ArrayRef> {
        self.0.to_array_of_size(rows).map_err(ExpressionError::library("repeat a value"))
    }

    /// An array of length one.
    pub fn to_scalar_array(&self) -> Result<ArrayRef> {
        self.to_array(1)
    }

    /// This value as another type; an error where it does not fit.
    pub fn cast_to(&self, data_type: &DataType) -> Result<Literal> {
        let what = || format!("read {} as {data_type}", self.0);
        self.0
            .cast_to(data_type)
            .map(Literal)
            .map_err(|source| ExpressionError::Library { what: what(), source: Box::new(source) })
    }

    /// This value as another type if it is the same value there: 1 as a byte, but neither 300 nor 1.5.
    pub fn cast_exactly(&self, data_type: &DataType) -> Option<Literal> {
        let there = self.cast_to(data_type).ok()?;
        let back = there.cast_to(&self.data_type()).ok()?;
        (back == *self).then_some(there)
    }

    /// Which is less, if both are of one type that has an order; NULL has none.
    pub fn compare(&self, other: &Literal) -> Option<Ordering> {
        if self.is_null() || other.is_null() { None } else { self.0.partial_cmp(&other.0) }
    }

    pub(crate) fn from_scalar(value: ScalarValue) -> Literal {
        Literal(value)
    }

    pub(crate) fn scalar(&self) -> &ScalarValue {
        &self.0
    }
}

macro_rules! literal_from {
    ($($rust:ty => $variant:ident),*) => {
        $(impl From<$rust> for Literal {
            fn from(value: $rust) -> Literal {
                Literal(ScalarValue::$variant(Some(value)))
            }
        })*
    };
}
literal_from!(bool => Boolean, i8 => Int8, i16 => Int16, i32 => Int32, i64 => Int64, u8 => UInt8, u16 => UInt16, u32 => UInt32, u64 => UInt64, f32 => Float32, f64 => Float64);

impl From<&str> for Literal {
    fn from(text: &str) -> Literal {
        Literal::from(text.to_owned())
    }
}

impl From<String> for Literal {
    fn from(text: String) -> Literal {
        Literal(ScalarValue::Utf8View(Some(text)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_was_written() {
        assert_eq!(Literal::from(7i64).as_i64(), Some(7));
        assert_eq!(Literal::from(u64::MAX).as_i64(), None);
        assert_eq!(Literal::from(true).as_bool(), Some(true));
        assert_eq!(Literal::from("x").as_str(), Some("x"));
        assert_eq!(Literal::from(1.5f64).as_f64(), Some(1.5));
        assert_eq!(Literal::date(3).data_type(), DataType::Date32);
        assert_eq!(Literal::from("x").to_array(3).unwrap().len(), 3);
        let null = Literal::null(&DataType::Int32).unwrap();
        assert!(null.is_null() && null.data_type() == DataType::Int32);
    }

    #[test]
    fn casts_exactly_or_not_at_all() {
        assert_eq!(Literal::from(1i64).cast_exactly(&DataType::Int8), Some(Literal::from(1i8)));
        assert_eq!(Literal::from(300i64).cast_exactly(&DataType::Int8), None);
        assert_eq!(Literal::from(1.5f64).cast_exactly(&DataType::Int32), None);
        assert_eq!(Literal::from("1996-01-01").cast_exactly(&DataType::Date32), Some(Literal::date(9496)));
    }

    #[test]
    fn orders_values_and_not_nulls() {
        assert_eq!(Literal::from(1i64).compare(&Literal::from(2i64)), Some(Ordering::Less));
        assert_eq!(Literal::from(1i64).compare(&Literal::from(2i32)), None);
        assert_eq!(Literal::null(&DataType::Int64).unwrap().compare(&Literal::from(2i64)), None);
    }
}
