//! The beginning of a row's place in the order of its partition, as a number.
//!
//! In: rows. Out: 128 bits a row; of two rows of a partition the one with less comes first. Never: less for a row that comes later; rows that
//! differ only in what has no room are equal here.
//!
//! ```text
//!   order by v desc, t      │ NULL? │ v i64, inverted │ NULL? │ t, its first bits │
//! ```
//! A key of which not all is in the number is its last one.

use std::sync::Arc;

use super::spec::WindowSpec;
use crate::{
    batch::{
        Batch,
        array::{Array, ArrayRef, AsArray},
        canonical_floats,
        datatypes::DataType,
    },
    error::Result,
    expression::{Evaluator, Expression, Parameters, WindowFunction},
};

/// Makes the numbers, for one thread.
pub(super) struct Prefixes(Vec<Key>);

/// A key, and where it goes.
struct Key {
    value: Evaluator,
    form: Form,
    is_descending: bool,
    nulls_first: bool,
    /// Floats as a sort's keys compare them, not bit for bit.
    is_canonical: bool,
    /// Bits of the value that have room.
    bits: u32,
}

/// How values become numbers that compare as they do.
#[derive(Clone, Copy)]
enum Form {
    Boolean,
    /// Of so many bits.
    Signed(u32),
    Unsigned(u32),
    Float(u32),
    /// A string's first bytes.
    Bytes,
}

/// Bits of the number.
const BITS: u32 = u128::BITS;
/// Bytes of a string that are looked at.
const TEXT_BYTES: usize = 8;

impl Form {
    fn of(data_type: &DataType) -> Option<Form> {
        let bits = data_type.primitive_width().map(|bytes| 8 * bytes as u32).filter(|bits| *bits <= BITS);
        match data_type {
            DataType::Boolean => Some(Form::Boolean),
            DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView => Some(Form::Bytes),
            DataType::Float16 | DataType::Interval(_) => None,
            DataType::Float32 | DataType::Float64 => bits.map(Form::Float),
            other if other.is_unsigned_integer() => bits.map(Form::Unsigned),
            _ => bits.map(Form::Signed),
        }
    }

    fn bits(self) -> u32 {
        match self {
            Form::Boolean => 1,
            Form::Signed(bits) | Form::Unsigned(bits) | Form::Float(bits) => bits,
            Form::Bytes => 8 * TEXT_BYTES as u32,
        }
    }

    /// The number whose order is that of the values with these bits.
    #[inline(always)]
    fn ordered(self, value: u128) -> u128 {
        match self {
            Form::Signed(bits) => value ^ 1 << (bits - 1),
            Form::Float(bits) if value >> (bits - 1) == 1 => value ^ (u128::MAX >> (BITS - bits)),
            Form::Float(bits) => value | 1 << (bits - 1),
            Form::Boolean | Form::Unsigned(_) | Form::Bytes => value,
        }
    }
}

impl Prefixes {
    /// Of the rows of `spec`; none if its first key has no such form.
    pub(super) fn new(spec: &WindowSpec, parameters: &Arc<Parameters>) -> Result<Option<Prefixes>> {
        let by_order = spec.order.iter().map(|key| (key.expression.clone(), key.is_descending, key.nulls_first, true));
        // Where ties are broken by content, that goes on where the keys end. What all of them have in common tells nothing apart.
        let is_numbered = spec.bound.is_some_and(|bound| {
            spec.calls.get(bound.call).is_some_and(|call| call.function == WindowFunction::RowNumber)
        });
        let is_common = |expression: &Expression, data_type: &DataType| {
            let is_key =
                spec.partition.contains(expression) || spec.order.iter().any(|key| key.expression == *expression);
            is_key && !data_type.is_floating() && !data_type.is_nested()
        };
        let by_content = (0..spec.input.fields().len())
            .filter(|_| is_numbered)
            .map(Expression::Column)
            .filter(|column| !column.data_type(&spec.input).is_ok_and(|data_type| is_common(column, &data_type)))
            .map(|column| (column, false, true, false));
        let (mut keys, mut room) = (Vec::new(), BITS);
        for (expression, is_descending, nulls_first, is_canonical) in by_order.chain(by_content) {
            let Some(form) = Form::of(&expression.data_type(&spec.input)?) else { break };
            let bits = form.bits().min(room.saturating_sub(1));
            if bits == 0 {
                break;
            }
            room -= 1 + bits;
            let value = Evaluator::new(&expression, &spec.input, parameters)?;
            keys.push(Key { value, form, is_descending, nulls_first, is_canonical, bits });
            if bits < form.bits() || matches!(form, Form::Bytes) {
                break;
            }
        }
        Ok((!keys.is_empty()).then_some(Prefixes(keys)))
    }

    /// One a row.
    pub(super) fn of(&self, batch: &Batch) -> Result<Vec<u128>> {
        let mut prefixes = vec![0; batch.num_rows()];
        for key in &self.0 {
            let values = key.value.evaluate(batch)?.into_array(batch.num_rows())?;
            key.append(&if key.is_canonical { canonical_floats(&values) } else { values }, &mut prefixes);
        }
        Ok(prefixes)
    }
}

impl Key {
    fn append(&self, column: &ArrayRef, prefixes: &mut [u128]) {
        let data = || column.to_data();
        match (self.form, self.form.bits()) {
            (Form::Boolean, _) => {
                let values = column.as_boolean().values();
                self.append_values(column, values.iter().map(u128::from), prefixes);
            }
            (Form::Bytes, _) => self.append_bytes(column, prefixes),
            (_, 8) => self.append_values(column, data().buffer::<u8>(0).iter().map(|v| u128::from(*v)), prefixes),
            (_, 16) => self.append_values(column, data().buffer::<u16>(0).iter().map(|v| u128::from(*v)), prefixes),
            (_, 32) => self.append_values(column, data().buffer::<u32>(0).iter().map(|v| u128::from(*v)), prefixes),
            (_, 64) => self.append_values(column, data().buffer::<u64>(0).iter().map(|v| u128::from(*v)), prefixes),
            _ => self.append_values(column, data().buffer::<u128>(0).iter().copied(), prefixes),
        }
    }

    fn append_bytes(&self, column: &ArrayRef, prefixes: &mut [u128]) {
        let first = |bytes: &[u8]| {
            let mut padded = [0; TEXT_BYTES];
            let count = bytes.len().min(TEXT_BYTES);
            padded[..count].copy_from_slice(&bytes[..count]);
            u128::from(u64::from_be_bytes(padded))
        };
        let rows = 0..column.len();
        match column.data_type() {
            DataType::Utf8 => {
                let values = column.as_string::<i32>();
                self.append_values(column, rows.map(|row| first(values.value(row).as_bytes())), prefixes);
            }
            DataType::LargeUtf8 => {
                let values = column.as_string::<i64>();
                self.append_values(column, rows.map(|row| first(values.value(row).as_bytes())), prefixes);
            }
            DataType::Utf8View => {
                let values = column.as_string_view();
                self.append_values(column, rows.map(|row| first(values.value(row).as_bytes())), prefixes);
            }
            DataType::Binary => {
                let values = column.as_binary::<i32>();
                self.append_values(column, rows.map(|row| first(values.value(row))), prefixes);
            }
            DataType::LargeBinary => {
                let values = column.as_binary::<i64>();
                self.append_values(column, rows.map(|row| first(values.value(row))), prefixes);
            }
            _ => {
                let values = column.as_binary_view();
                self.append_values(column, rows.map(|row| first(values.value(row))), prefixes);
            }
        }
    }

    #[inline(always)]
    fn append_values(&self, column: &ArrayRef, values: impl Iterator<Item = u128>, prefixes: &mut [u128]) {
        let (bits, cut) = (self.bits, self.form.bits() - self.bits);
        let inverted = if self.is_descending { u128::MAX >> (BITS - self.form.bits()) } else { 0 };
        let valid = u128::from(self.nulls_first);
        let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0);
        for (row, (prefix, value)) in prefixes.iter_mut().zip(values).enumerate() {
            *prefix = match nulls {
                // What stands at a NULL is anything.
                Some(nulls) if nulls.is_null(row) => (*prefix << 1 | (1 - valid)) << bits,
                _ => (*prefix << 1 | valid) << bits | (self.form.ordered(value) ^ inverted) >> cut,
            };
        }
    }
}
