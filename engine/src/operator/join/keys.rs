//! Keys of a join as machine words: what is hashed, and what is compared.
//!
//! In: a batch. Out: [`Keys`]: a hash and a word for each row, and a column to compare where a word does not say it all. Never:
//! looks at a type per row.
//!
//! ```text
//!   layout   keys                                          word             compared
//!   Word     fixed widths, together ≤ 8 bytes              the key          word
//!   Wide     fixed widths, together ≤ 16 bytes             the hash         word, then 16 bytes
//!   Bytes    one string or binary                          the hash         word, then the string
//!   Rows     everything else                               the hash         word, then the row form of arrow-row
//! ```
//! Two keys are equal if and only if word and compared column are: floats come with -0 as +0 and one NaN, dictionaries as their
//! values. Where NULLs are equal, a NULL is a bit beside the packed values (`Word`, `Wide`) or part of the row form.

use std::sync::Arc;

use super::spec::JoinError;
use crate::{
    batch::{
        Batch,
        array::{Array, ArrayRef, AsArray, Decimal128Array},
        buffer::{NullBuffer, ScalarBuffer},
        canonical_bits_32, canonical_bits_64, canonical_floats, compute,
        datatypes::{ArrowNativeType, DataType, Decimal128Type, Float32Type, Float64Type, IntervalUnit, SchemaRef},
        row::{RowConverter, SortField},
    },
    error::{Result, bug},
    expression::{Evaluator, Expression, Parameters},
    kernel::hash_columns,
};

/// How the keys of both sides are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyShape {
    layout: Layout,
    /// Types of the keys; a dictionary's is that of its values.
    types: Vec<DataType>,
    nulls_equal: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Word,
    Wide,
    Bytes,
    Rows,
}

impl KeyShape {
    pub(super) fn new(build: &[DataType], probe: &[DataType], nulls_equal: bool) -> Result<KeyShape> {
        if build.is_empty() || build.len() != probe.len() {
            return Err(bug(
                "join",
                format!("{} keys on the build side, {} on the probe side", build.len(), probe.len()),
            ));
        }
        let types: Vec<DataType> = build.iter().map(compared_type).collect();
        if let Some(key) = (0..types.len()).find(|key| types[*key] != compared_type(&probe[*key])) {
            return Err(JoinError::KeyTypes { key, build: build[key].clone(), probe: probe[key].clone() }.into());
        }
        let null_bytes = if nulls_equal { types.len().div_ceil(8) } else { 0 };
        let packed_bytes = types.iter().map(width_bytes).try_fold(null_bytes, |sum, width| Some(sum + width?));
        let layout = match packed_bytes {
            Some(..=8) => Layout::Word,
            Some(..=16) => Layout::Wide,
            _ if types.len() == 1 && binary_type(&types[0]).is_some() && !nulls_equal => Layout::Bytes,
            _ => Layout::Rows,
        };
        Ok(KeyShape { layout, types, nulls_equal })
    }

    /// Equal words are equal keys: no column is to be compared.
    pub(super) fn is_exact(&self) -> bool {
        self.layout == Layout::Word
    }

    /// Of keys that are packed into 16 bytes, none of them NULL, which are whole numbers or dates: their shifts and widths in bits.
    pub(super) fn packed_numbers(&self) -> Vec<Option<(u32, u32)>> {
        let mut shift = 0;
        let place = |data_type: &DataType| {
            let width = 8 * width_bytes(data_type).unwrap_or_default() as u32;
            let at = shift;
            shift += width;
            let is_number = data_type.is_integer() || matches!(data_type, DataType::Date32 | DataType::Date64);
            (self.layout == Layout::Wide && !self.nulls_equal && is_number).then_some((at, width))
        };
        self.types.iter().map(place).collect()
    }

    /// The type of the column that is compared, if there is one.
    pub(super) fn compared_column(&self) -> Option<DataType> {
        match self.layout {
            Layout::Word => None,
            Layout::Wide => Some(WIDE),
            Layout::Bytes => binary_type(&self.types[0]),
            Layout::Rows => Some(DataType::Binary),
        }
    }
}

/// What 16 bytes of key travel as: arrow's only type of that width that can be concatenated and holds every value.
const WIDE: DataType = DataType::Decimal128(38, 10);

/// Keys of one batch.
#[derive(Default)]
pub(super) struct Keys {
    /// One for each row.
    pub(super) hashes: Vec<u64>,
    packed: Vec<u64>,
    /// What must be equal besides the word; one value for each row.
    pub(super) compared: Option<ArrayRef>,
    /// Rows whose key is equal to something; absent: all.
    pub(super) valid: Option<NullBuffer>,
}

impl Keys {
    /// One for each row: different words are different keys.
    pub(super) fn words(&self) -> &[u64] {
        if self.compared.is_some() { &self.hashes } else { &self.packed }
    }
}

/// Makes the keys of one side, for one thread.
pub(super) struct KeyEncoder {
    evaluators: Vec<Evaluator>,
    shape: Arc<KeyShape>,
    converter: Option<RowConverter>,
}

impl KeyEncoder {
    pub(super) fn new(
        keys: &[Expression],
        schema: &SchemaRef,
        parameters: &Arc<Parameters>,
        shape: &Arc<KeyShape>,
    ) -> Result<KeyEncoder> {
        let evaluators = keys.iter().map(|key| Evaluator::new(key, schema, parameters)).collect::<Result<_>>()?;
        let converter = match shape.layout {
            Layout::Rows => Some(RowConverter::new(shape.types.iter().cloned().map(SortField::new).collect())?),
            _ => None,
        };
        Ok(KeyEncoder { evaluators, shape: Arc::clone(shape), converter })
    }

    /// Puts the words of the keys of `batch` into `keys`, without hashes; of keys that are exact.
    pub(super) fn encode_words(&self, batch: &Batch, keys: &mut Keys) -> Result<()> {
        let columns = self.columns(batch)?;
        self.begin(&columns, keys);
        self.pack_words(&columns, batch.num_rows(), keys)
    }

    /// The values of one key, a whole number or a date, as [`KeyShape::packed_numbers`] has them.
    pub(super) fn numbers(&self, key: usize, batch: &Batch) -> Result<(Vec<u64>, Option<NullBuffer>)> {
        let array = self.column(key, batch)?;
        let mut words = vec![0_u64; batch.num_rows()];
        place(&array, 0, &mut words)?;
        Ok((words, array.logical_nulls()))
    }

    fn begin(&self, columns: &[ArrayRef], keys: &mut Keys) {
        keys.valid = None;
        if !self.shape.nulls_equal {
            for column in columns {
                keys.valid = NullBuffer::union(keys.valid.as_ref(), column.logical_nulls().as_ref());
            }
            keys.valid.take_if(|valid| valid.null_count() == 0);
        }
        keys.compared = None;
    }

    fn pack_words(&self, columns: &[ArrayRef], rows: usize, keys: &mut Keys) -> Result<()> {
        keys.packed.clear();
        keys.packed.resize(rows, 0);
        self.pack(columns, &mut keys.packed)
    }

    /// Puts the keys of `batch` into `keys`.
    pub(super) fn encode(&self, batch: &Batch, keys: &mut Keys) -> Result<()> {
        let rows = batch.num_rows();
        let columns = self.columns(batch)?;
        self.begin(&columns, keys);
        match self.shape.layout {
            Layout::Word => {
                self.pack_words(&columns, rows, keys)?;
                hash_columns(&columns, &mut keys.hashes)?;
            }
            Layout::Wide => {
                let mut packed = vec![0_u128; rows];
                self.pack(&columns, &mut packed)?;
                let packed: Vec<i128> = packed.into_iter().map(|word| word as i128).collect();
                keys.compared = Some(Arc::new(Decimal128Array::new(packed.into(), None).with_data_type(WIDE)));
                hash_columns(&columns, &mut keys.hashes)?;
            }
            Layout::Bytes => {
                let binary = binary_type(&self.shape.types[0]).ok_or_else(|| bug("join", "key bytes without bytes"))?;
                keys.compared = Some(compute::cast(&columns[0], &binary)?);
                hash_columns(&columns, &mut keys.hashes)?;
            }
            Layout::Rows => {
                let converter = self.converter.as_ref().ok_or_else(|| bug("join", "key rows without converter"))?;
                let columns: Vec<ArrayRef> = columns.iter().map(canonical_floats).collect();
                let binary: ArrayRef = Arc::new(converter.convert_columns(&columns)?.try_into_binary()?);
                hash_columns(&[Arc::clone(&binary)], &mut keys.hashes)?;
                keys.compared = Some(binary);
            }
        }
        Ok(())
    }

    fn columns(&self, batch: &Batch) -> Result<Vec<ArrayRef>> {
        (0..self.evaluators.len()).map(|key| self.column(key, batch)).collect()
    }

    /// A key as it is compared.
    fn column(&self, key: usize, batch: &Batch) -> Result<ArrayRef> {
        let (array, compared) =
            (self.evaluators[key].evaluate(batch)?.into_array(batch.num_rows())?, &self.shape.types[key]);
        if array.data_type() == compared { Ok(array) } else { Ok(compute::cast(&array, compared)?) }
    }

    fn pack<W: Word>(&self, columns: &[ArrayRef], words: &mut [W]) -> Result<()> {
        let mut shift = 0;
        let null_shift = 8 * self.shape.types.iter().filter_map(width_bytes).sum::<usize>() as u32;
        for (number, column) in columns.iter().enumerate() {
            place(column, shift, words)?;
            let width_bits = 8 * width_bytes(column.data_type()).unwrap_or_default() as u32;
            if let Some(nulls) = column.nulls().filter(|nulls| self.shape.nulls_equal && nulls.null_count() > 0) {
                for (row, word) in words.iter_mut().enumerate() {
                    if nulls.is_null(row) {
                        word.clear(width_bits, shift);
                        word.place(1, null_shift + number as u32);
                    }
                }
            }
            shift += width_bits;
        }
        Ok(())
    }
}

/// Drops the pairs whose compared values differ. `build` and `probe` are of one of the types of [`KeyShape::compared_column`].
pub(super) fn retain_equal(build: &ArrayRef, probe: &ArrayRef, pairs: &mut super::pairs::Pairs) -> Result<()> {
    match (build.data_type(), probe.data_type()) {
        (DataType::Decimal128(..), DataType::Decimal128(..)) => {
            let (build, probe) = (build.as_primitive::<Decimal128Type>(), probe.as_primitive::<Decimal128Type>());
            let (build, probe): (&[i128], &[i128]) = (build.values(), probe.values());
            pairs.retain(|p, b| probe[p as usize] == build[b as usize]);
        }
        (DataType::Binary, DataType::Binary) => {
            let (build, probe) = (build.as_binary::<i32>(), probe.as_binary::<i32>());
            pairs.retain(|p, b| probe.value(p as usize) == build.value(b as usize));
        }
        (DataType::LargeBinary, DataType::LargeBinary) => {
            let (build, probe) = (build.as_binary::<i64>(), probe.as_binary::<i64>());
            pairs.retain(|p, b| probe.value(p as usize) == build.value(b as usize));
        }
        (DataType::BinaryView, DataType::BinaryView) => {
            let (build, probe) = (build.as_binary_view(), probe.as_binary_view());
            pairs.retain(|p, b| probe.value(p as usize) == build.value(b as usize));
        }
        (build, probe) => return Err(bug("join", format!("keys of types {build} and {probe} are compared"))),
    }
    Ok(())
}

/// The type in which keys of `data_type` are compared.
fn compared_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => compared_type(values),
        DataType::RunEndEncoded(_, values) => compared_type(values.data_type()),
        // Every half float is a single float; so there are two float types to make canonical, not three.
        DataType::Float16 => DataType::Float32,
        other => other.clone(),
    }
}

/// Bytes of a value that can be packed.
fn width_bytes(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::Boolean => Some(1),
        // Structs of several integers, in arrow's memory not aligned as one.
        DataType::Interval(IntervalUnit::DayTime | IntervalUnit::MonthDayNano) => None,
        other => other.primitive_width().filter(|width| *width <= 16),
    }
}

/// The type without a character set that holds the same bytes.
fn binary_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Utf8 | DataType::Binary => Some(DataType::Binary),
        DataType::LargeUtf8 | DataType::LargeBinary => Some(DataType::LargeBinary),
        DataType::Utf8View | DataType::BinaryView => Some(DataType::BinaryView),
        _ => None,
    }
}

/// A word that keys are packed into.
trait Word: Copy {
    /// Adds `bits` at `shift`, where there are zeros.
    fn place(&mut self, bits: u128, shift: u32);
    /// Makes `width_bits` bits at `shift` zeros.
    fn clear(&mut self, width_bits: u32, shift: u32);
}

impl Word for u64 {
    #[inline(always)]
    fn place(&mut self, bits: u128, shift: u32) {
        *self |= (bits as u64) << shift;
    }
    fn clear(&mut self, width_bits: u32, shift: u32) {
        *self &= !((u64::MAX >> (64 - width_bits)) << shift);
    }
}

impl Word for u128 {
    #[inline(always)]
    fn place(&mut self, bits: u128, shift: u32) {
        *self |= bits << shift;
    }
    fn clear(&mut self, width_bits: u32, shift: u32) {
        *self &= !((u128::MAX >> (128 - width_bits)) << shift);
    }
}

fn place<W: Word>(column: &ArrayRef, shift: u32, words: &mut [W]) -> Result<()> {
    match column.data_type() {
        DataType::Boolean => {
            let values = column.as_boolean().values();
            words.iter_mut().zip(values).for_each(|(word, value)| word.place(u128::from(value), shift));
        }
        DataType::Float32 => {
            let bits = |float| u128::from(canonical_bits_32(float));
            place_values(column.as_primitive::<Float32Type>().values(), bits, shift, words);
        }
        DataType::Float64 => {
            let bits = |float| u128::from(canonical_bits_64(float));
            place_values(column.as_primitive::<Float64Type>().values(), bits, shift, words);
        }
        other => match width_bytes(other) {
            Some(1) => place_values(&typed::<u8>(column), u128::from, shift, words),
            Some(2) => place_values(&typed::<u16>(column), u128::from, shift, words),
            Some(4) => place_values(&typed::<u32>(column), u128::from, shift, words),
            Some(8) => place_values(&typed::<u64>(column), u128::from, shift, words),
            Some(16) => place_values(&typed::<i128>(column), |value| value as u128, shift, words),
            _ => return Err(bug("join", format!("keys of type {other} are packed"))),
        },
    }
    Ok(())
}

#[inline(always)]
fn place_values<T: Copy, W: Word>(values: &[T], bits: impl Fn(T) -> u128, shift: u32, words: &mut [W]) {
    for (word, value) in words.iter_mut().zip(values) {
        word.place(bits(*value), shift);
    }
}

/// The values of a primitive column as integers of the same width.
fn typed<T: ArrowNativeType>(column: &ArrayRef) -> ScalarBuffer<T> {
    let data = column.to_data();
    ScalarBuffer::new(data.buffers()[0].clone(), data.offset(), data.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(types: &[DataType], nulls_equal: bool) -> Layout {
        KeyShape::new(types, types, nulls_equal).map_or(Layout::Rows, |shape| shape.layout)
    }

    #[test]
    fn the_narrowest_layout_is_chosen() {
        use DataType as T;
        assert_eq!(layout(&[T::Int64], false), Layout::Word);
        assert_eq!(layout(&[T::Int64], true), Layout::Wide);
        assert_eq!(layout(&[T::Int32, T::Date32], false), Layout::Word);
        assert_eq!(layout(&[T::Int64, T::Float64], false), Layout::Wide);
        assert_eq!(layout(&[T::Int64, T::Float64], true), Layout::Rows);
        assert_eq!(layout(&[T::Decimal128(15, 2)], false), Layout::Wide);
        assert_eq!(layout(&[T::Utf8View], false), Layout::Bytes);
        assert_eq!(layout(&[T::Utf8View], true), Layout::Rows);
        assert_eq!(layout(&[T::Dictionary(Box::new(T::Int32), Box::new(T::Utf8))], false), Layout::Bytes);
        assert_eq!(layout(&[T::Boolean, T::Int16, T::Int32], true), Layout::Word);
        assert!(KeyShape::new(&[T::Int32], &[T::Int64], false).is_err());
    }
}
