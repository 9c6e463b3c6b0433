//! Values as texts: what CSV and JSON write, and what stands in the names of folders.
//!
//! In: a column. Out: its values, one by one, in the form in which our readers take them back. Never: a value that was rounded on the way.

use std::fmt::Write;

use crate::{
    batch::{
        array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, StringViewArray},
        buffer::NullBuffer,
        compute,
        datatypes::{DataType, Float32Type, Float64Type},
        util::display::{ArrayFormatter, FormatOptions},
    },
    error::Result,
    format::encode::is_text,
};

/// A column whose values are written as texts.
pub struct Shown<'a> {
    nulls: Option<NullBuffer>,
    values: Values<'a>,
}

enum Values<'a> {
    Text(StringViewArray),
    Float32(&'a Float32Array),
    Float64(&'a Float64Array),
    Other(ArrayFormatter<'a>),
}

impl<'a> Shown<'a> {
    /// The values of `column`.
    pub fn new(column: &'a ArrayRef) -> Result<Shown<'a>> {
        let values = match column.data_type() {
            text if is_text(text) => Values::Text(compute::cast(column, &DataType::Utf8View)?.as_string_view().clone()),
            DataType::Float32 => Values::Float32(column.as_primitive::<Float32Type>()),
            DataType::Float64 => Values::Float64(column.as_primitive::<Float64Type>()),
            _ => {
                let options = FormatOptions::new().with_display_error(false);
                Values::Other(ArrayFormatter::try_new(column.as_ref(), &options)?)
            }
        };
        // A dictionary may say it in its values.
        Ok(Shown { nulls: column.logical_nulls(), values })
    }

    /// Whether the value of `row` is NULL.
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// The value of `row`, if these are texts.
    pub fn text(&self, row: usize) -> Option<&str> {
        match &self.values {
            Values::Text(texts) => Some(texts.value(row)),
            _ => None,
        }
    }

    /// The value of `row`, if these are floats.
    pub fn float(&self, row: usize) -> Option<f64> {
        match &self.values {
            Values::Float32(floats) => Some(f64::from(floats.value(row))),
            Values::Float64(floats) => Some(floats.value(row)),
            _ => None,
        }
    }

    /// Appends the value of `row`, which is not NULL. The shortest digits that say the same float, and always a point or an exponent.
    pub fn write(&self, row: usize, out: &mut String) -> Result<()> {
        match &self.values {
            Values::Text(texts) => out.push_str(texts.value(row)),
            // A String takes all that is written.
            Values::Float32(floats) => drop(write!(out, "{:?}", floats.value(row))),
            Values::Float64(floats) => drop(write!(out, "{:?}", floats.value(row))),
            Values::Other(formatter) => formatter.value(row).write(out)?,
        }
        Ok(())
    }
}
