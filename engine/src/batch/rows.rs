//! Rows of batches: put together, picked out, counted in bytes, and put in one order that depends on their content alone.
//!
//! In: batches of one schema. Out: batches, or rows in a form whose bytes compare as the rows do ([`CanonicalOrder`]). Never:
//! depends on where a row came from; two rows of the same content are the same row.

use std::{iter, sync::Arc};

use super::{
    ArrowError, Batch,
    array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, RecordBatchOptions, UInt32Array},
    buffer::Buffer,
    compute,
    datatypes::{DataType, Float32Type, Float64Type, Schema, SchemaRef},
    row::{RowConverter, Rows, SortField},
};
use crate::error::{Cause, Kind, Result};

/// All rows of `batches`, in their order, as one batch of `schema`.
pub fn concat(schema: &SchemaRef, batches: &[Batch]) -> Result<Batch> {
    match batches {
        [one] => Ok(one.clone()),
        _ => {
            let compacted = batches.iter().map(compacted).collect::<Result<Vec<_>>>()?;
            Ok(compute::concat_batches(schema, &compacted)?)
        }
    }
}

/// The batch with what its views show copied out of large or many buffers. A batch that is kept must not keep a file's block alive for
/// a few bytes of it, and buffers that are taken and concatenated again and again would multiply.
pub fn compacted(batch: &Batch) -> Result<Batch> {
    let columns = batch.columns().iter().map(compacted_array).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(Batch::try_new_with_options(batch.schema(), columns, &options)?)
}

/// The batch in memory of its own: nothing of what it was cut from is held by it.
pub fn copied(batch: &Batch) -> Result<Batch> {
    let rows = UInt32Array::from_iter_values(0..batch.num_rows() as u32);
    compacted(&take_rows(batch, &rows)?)
}

/// As [`compacted`], of one column.
pub fn compacted_array(array: &ArrayRef) -> ArrayRef {
    let is_loose = |buffers: &[Buffer]| {
        let held: usize = buffers.iter().map(Buffer::len).sum();
        !buffers.is_empty() && (buffers.len() > array.len() || held as u64 > 4 * array_bytes(array) + LOOSE_BYTES)
    };
    if let Some(views) = array.as_string_view_opt() {
        if is_loose(views.data_buffers()) {
            return Arc::new(views.gc());
        }
    } else if let Some(views) = array.as_binary_view_opt()
        && is_loose(views.data_buffers())
    {
        return Arc::new(views.gc());
    }
    Arc::clone(array)
}

/// So much may be kept alive without need before it is copied.
const LOOSE_BYTES: u64 = 64 << 10;

/// The rows of these numbers, in this order; a row may be taken more than once.
pub fn take_rows(batch: &Batch, rows: &UInt32Array) -> Result<Batch> {
    let columns = compute::take_arrays(batch.columns(), rows, None)?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    Ok(Batch::try_new_with_options(batch.schema(), columns, &options)?)
}

/// Bytes that the rows of `batch` hold: of a slice its own part only, of strings seen through views what the views show.
pub fn payload_bytes(batch: &Batch) -> u64 {
    batch.columns().iter().map(array_bytes).sum()
}

/// Bytes that the values of one column hold, counted as by [`payload_bytes`].
pub fn array_bytes(array: &ArrayRef) -> u64 {
    // The data buffers are shared between the batches cut from one read: what a view shows is what it costs.
    let of_views = |views: &[u128]| -> u64 {
        let outside = |view: &u128| u64::from(*view as u32) * u64::from(*view as u32 > 12);
        views.iter().map(|view| 16 + outside(view)).sum()
    };
    match array.data_type() {
        DataType::Utf8View => of_views(array.as_string_view().views()),
        DataType::BinaryView => of_views(array.as_binary_view().views()),
        _ => {
            // An estimate where arrow has no number: what the buffers hold as a whole.
            let data = array.to_data();
            data.get_slice_memory_size().unwrap_or_else(|_| data.get_buffer_memory_size()) as u64
        }
    }
}

/// Codes into a dictionary looked up, as values of type `to`: a value is cast once, not once a row. Any other column is cast.
pub fn looked_up(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    match array.as_any_dictionary_opt() {
        Some(codes) => compute::take(&compute::cast(codes.values(), to)?, codes.keys(), None),
        None => compute::cast(array, to),
    }
}

/// `array` with -0 as +0 and every NaN as the one positive NaN, so that keys which are equal have the same bits; other types as
/// they are. Floats inside lists and structs are left alone.
pub fn canonical_floats(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float32 => {
            let floats = array.as_primitive::<Float32Type>();
            if floats.values().iter().all(|f| canonical_bits_32(*f) == f.to_bits()) {
                return Arc::clone(array);
            }
            Arc::new(floats.unary::<_, Float32Type>(|f| f32::from_bits(canonical_bits_32(f)))) as Arc<Float32Array>
        }
        DataType::Float64 => {
            let floats = array.as_primitive::<Float64Type>();
            if floats.values().iter().all(|f| canonical_bits_64(*f) == f.to_bits()) {
                return Arc::clone(array);
            }
            Arc::new(floats.unary::<_, Float64Type>(|f| f64::from_bits(canonical_bits_64(f)))) as Arc<Float64Array>
        }
        _ => Arc::clone(array),
    }
}

/// The bits of `float` as a key: equal for -0 and +0, and for all NaN.
pub fn canonical_bits_32(float: f32) -> u32 {
    if float.is_nan() { f32::NAN.to_bits() } else { (float + 0.0).to_bits() }
}

/// The bits of `float` as a key: equal for -0 and +0, and for all NaN.
pub fn canonical_bits_64(float: f64) -> u64 {
    if float.is_nan() { f64::NAN.to_bits() } else { (float + 0.0).to_bits() }
}

/// The order of rows by content: column by column as the schema has them, ascending, NULLs first. What is equal in it is equal in
/// every column, bit for bit: here -0 stands before +0, and NaNs of different bits are different.
pub struct CanonicalOrder(RowConverter);

impl CanonicalOrder {
    /// The order of rows of `schema`; fails if a column's type has no order.
    pub fn new(schema: &Schema) -> Result<CanonicalOrder> {
        for field in schema.fields() {
            if !RowConverter::supports_fields(&[SortField::new(field.data_type().clone())]) {
                return Err(NoOrder { column: field.name().clone(), data_type: field.data_type().clone() }.into());
            }
        }
        let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        Ok(CanonicalOrder(RowConverter::new(fields)?))
    }

    /// The rows of `batch` in a form whose bytes compare as the rows do. The same bytes come of the same row in every batch.
    pub fn encode(&self, batch: &Batch) -> Result<Rows> {
        if batch.num_columns() == 0 {
            // Rows without columns are all equal; the converter would lose their number.
            let nulls: ArrayRef = super::array::new_null_array(&DataType::Null, batch.num_rows());
            let converter = RowConverter::new(vec![SortField::new(DataType::Null)])?;
            return Ok(converter.convert_columns(&iter::once(nulls).collect::<Vec<_>>())?);
        }
        Ok(self.0.convert_columns(batch.columns())?)
    }
}

/// A column of a type whose values have no order.
#[derive(Debug, thiserror::Error)]
#[error("put rows in order by the column {column}: values of type {data_type} have no order")]
pub struct NoOrder {
    /// The column.
    pub column: String,
    /// Its type.
    pub data_type: DataType,
}

impl Cause for NoOrder {
    fn kind(&self) -> Kind {
        Kind::Unsupported
    }
    fn hint(&self) -> Option<String> {
        Some(format!("leave the column {} out, or cast it to a string", self.column))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::batch::{
        array::{Int64Array, StringArray, StringViewArray},
        datatypes::Field,
    };

    #[test]
    fn keys_that_are_equal_have_the_same_bits() {
        let odd_nan = f64::from_bits(0xfff8_0000_0000_0001);
        let array: ArrayRef = Arc::new(Float64Array::from(vec![Some(-0.0), Some(odd_nan), None, Some(1.5)]));
        let canonical = canonical_floats(&array);
        let canonical = canonical.as_primitive::<Float64Type>();
        assert_eq!(canonical.value(0).to_bits(), 0);
        assert_eq!(canonical.value(1).to_bits(), f64::NAN.to_bits());
        assert!(canonical.is_null(2));
        assert_eq!(canonical.value(3), 1.5);
    }

    #[test]
    fn canonical_order_is_column_by_column_with_nulls_first() {
        let schema =
            Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8, true)]));
        let a = Arc::new(Int64Array::from(vec![Some(2), None, Some(-1), Some(2)]));
        let b = Arc::new(StringArray::from(vec![Some("x"), Some("y"), Some("z"), None]));
        let batch = Batch::try_new(Arc::clone(&schema), vec![a, b]).unwrap();
        let rows = CanonicalOrder::new(&schema).unwrap().encode(&batch).unwrap();
        let mut order: Vec<usize> = (0..4).collect();
        order.sort_by(|a, b| rows.row(*a).cmp(&rows.row(*b)));
        assert_eq!(order, [1, 2, 3, 0]);
    }

    #[test]
    fn bytes_of_a_slice_are_its_own() {
        let long = "a string that does not fit into its view";
        let views: ArrayRef = Arc::new(StringViewArray::from(vec![long, "short", long]));
        assert_eq!(array_bytes(&views.slice(1, 1)), 16);
        assert_eq!(array_bytes(&views.slice(0, 1)), 16 + long.len() as u64);
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4]));
        assert_eq!(array_bytes(&numbers.slice(1, 2)), 16);
    }
}
