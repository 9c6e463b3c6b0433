//! What an expression gives for a batch: a column, or one value that holds for all rows.
//!
//! In: arrays of a kernel. Out: arrays of the batch's length, made only when somebody needs one. Never: repeats a constant that a
//! kernel takes as it is.

use crate::{
    batch::{
        array::{Array, ArrayRef, AsArray, BooleanArray, Datum, UInt32Array, new_null_array},
        compute,
        datatypes::DataType,
    },
    error::{Result, bug},
};

/// One value for each row.
#[derive(Clone, Debug)]
pub enum Value {
    /// As many values as the batch has rows.
    Column(ArrayRef),
    /// The same value for all rows; the array's length is one.
    Scalar(ArrayRef),
}

impl Value {
    /// An array of `rows` values.
    pub fn into_array(self, rows: usize) -> Result<ArrayRef> {
        match self {
            Value::Column(array) => Ok(array),
            Value::Scalar(array) if rows == 1 => Ok(array),
            Value::Scalar(array) if array.is_null(0) => Ok(new_null_array(array.data_type(), rows)),
            Value::Scalar(array) => Ok(compute::take(&array, &UInt32Array::from_value(0, rows), None)?),
        }
    }

    /// The array behind it: of the batch's length, or of length one.
    pub fn array(&self) -> &ArrayRef {
        match self {
            Value::Column(array) | Value::Scalar(array) => array,
        }
    }

    /// Its type.
    pub fn data_type(&self) -> &DataType {
        self.array().data_type()
    }

    /// It is one value for all rows.
    pub fn is_scalar(&self) -> bool {
        matches!(self, Value::Scalar(_))
    }

    /// The array behind it as booleans; an untyped NULL is one.
    pub(super) fn booleans(&self) -> Result<BooleanArray> {
        let array = self.array();
        match array.data_type() {
            DataType::Null => Ok(BooleanArray::new_null(array.len())),
            DataType::Boolean => Ok(array.as_boolean().clone()),
            other => Err(bug("expression", format!("{other} where a boolean was bound"))),
        }
    }

    /// The array behind a new value of the same shape: `of` are the inputs it was made from.
    pub(super) fn like(array: ArrayRef, of: &[&Value]) -> Value {
        if of.iter().all(|value| value.is_scalar()) { Value::Scalar(array) } else { Value::Column(array) }
    }
}

impl Datum for Value {
    fn get(&self) -> (&dyn Array, bool) {
        (self.array().as_ref(), self.is_scalar())
    }
}
