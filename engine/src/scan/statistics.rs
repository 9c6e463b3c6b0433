//! What is known of a table's rows without reading them.
//!
//! In: footers; sizes of files. Out: rows, and the smallest and largest values of columns. Never: a promise, except where `is_exact`.

use super::table::Shape;
use crate::batch::{
    Batch,
    array::{Array, ArrayRef},
    compute,
    datatypes::{DataType, Schema},
};
use crate::format::arrow::ArrowFooter;

/// What is known of a table.
#[derive(Clone, Debug, Default)]
pub struct TableStatistics {
    /// How many rows it has.
    pub rows: f64,
    /// The number of rows is known, not estimated.
    pub is_exact: bool,
    /// In order of the schema.
    pub columns: Vec<ColumnStatistics>,
}

/// What is known of a column's values, as numbers: days of dates, the unscaled digits of decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ColumnStatistics {
    /// No value is smaller.
    pub min: Option<f64>,
    /// No value is larger.
    pub max: Option<f64>,
}

/// Guessed bytes of a line.
const LINE_BYTES: f64 = 64.0;

pub(super) fn of(schema: &Schema, shape: &Shape) -> TableStatistics {
    let unknown = || vec![ColumnStatistics::default(); schema.fields().len()];
    match shape {
        Shape::Parquet(files) => {
            let mut rows = 0.0;
            let mut columns = unknown();
            let mut known = vec![true; columns.len()];
            for (_, footer) in files {
                rows += (0..footer.row_group_count()).map(|group| footer.rows(group) as f64).sum::<f64>();
                for (number, column) in columns.iter_mut().enumerate() {
                    let extremes = footer
                        .minima(number)
                        .and_then(|min| numbers(&min))
                        .zip(footer.maxima(number).and_then(|max| numbers(&max)));
                    match extremes {
                        Some((min, max)) => {
                            let min = min.into_iter().chain(column.min).reduce(f64::min);
                            let max = max.into_iter().chain(column.max).reduce(f64::max);
                            *column = ColumnStatistics { min, max };
                        }
                        None => known[number] = false,
                    }
                }
            }
            for (column, known) in columns.iter_mut().zip(known) {
                if !known {
                    *column = ColumnStatistics::default();
                }
            }
            TableStatistics { rows, is_exact: true, columns }
        }
        Shape::Arrow(files) => {
            let rows =
                |footer: &ArrowFooter| (0..footer.batch_count()).map(|batch| footer.rows(batch) as f64).sum::<f64>();
            let rows = files.iter().map(|(_, footer)| rows(footer)).sum();
            TableStatistics { rows, is_exact: true, columns: unknown() }
        }
        Shape::Csv(files) | Shape::Json(files) | Shape::Text(files) => {
            let bytes: u64 = files.iter().map(|file| file.bytes).sum();
            TableStatistics { rows: (bytes as f64 / LINE_BYTES).ceil(), is_exact: false, columns: unknown() }
        }
        Shape::Lines(files, _) => {
            let bytes: u64 = files.iter().map(|file| file.bytes).sum();
            TableStatistics { rows: (bytes as f64 / LINE_BYTES).ceil(), is_exact: false, columns: unknown() }
        }
        Shape::Fixed(files, record_bytes) => {
            let bytes: u64 = files.iter().map(|file| file.bytes).sum();
            let rows = (bytes / u64::from(*record_bytes)) as f64;
            TableStatistics { rows, is_exact: true, columns: unknown() }
        }
        Shape::Memory(batches) => {
            let rows: usize = batches.iter().map(Batch::num_rows).sum();
            TableStatistics { rows: rows as f64, is_exact: true, columns: unknown() }
        }
    }
}

/// The values as numbers; `None` if one is unknown or the type is none that orders as numbers do.
fn numbers(values: &ArrayRef) -> Option<Vec<f64>> {
    use DataType as T;
    let values = match values.data_type() {
        T::Decimal128(precision, _) => {
            let digits = values.as_any().downcast_ref::<crate::batch::array::Decimal128Array>()?;
            std::sync::Arc::new(digits.clone().with_precision_and_scale(*precision, 0).ok()?) as ArrayRef
        }
        T::Decimal64(precision, _) => {
            let digits = values.as_any().downcast_ref::<crate::batch::array::Decimal64Array>()?;
            std::sync::Arc::new(digits.clone().with_precision_and_scale(*precision, 0).ok()?) as ArrayRef
        }
        T::Date32 => compute::cast(values, &T::Int32).ok()?,
        T::Date64 | T::Timestamp(..) | T::Time64(_) => compute::cast(values, &T::Int64).ok()?,
        data_type if data_type.is_numeric() => values.clone(),
        _ => return None,
    };
    let values = compute::cast(&values, &T::Float64).ok()?;
    let values = values.as_any().downcast_ref::<crate::batch::array::Float64Array>()?;
    (values.null_count() == 0).then(|| values.values().to_vec())
}
