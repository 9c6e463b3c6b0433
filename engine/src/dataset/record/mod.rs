//! Rust types as columns: a [`Record`] is a type whose values are rows of a flat list of columns.
//!
//! In: a batch, opened once. Out: a view of each row, which borrows from the batch; or columns, built from views. Never: looks at a
//! type per row; a batch's columns are checked when it is opened, the loops over rows know their types.
//!
//! ```text
//!   batch ──reader()──► Reader ──view(row)──► View<'_> ──the user's closure──► View<'_> ──append()──► Builder ──finish()──► columns
//! ```
//! Leaves (numbers, strings, bytes) are one column, a tuple is its parts' columns one after the other, a struct with
//! `#[derive(Record)]` is a column a field.

mod leaf; // Leaf: bool, numbers, String, Vec<u8>
mod list; // Vec of numbers: a column of lists
mod optional; // Option<leaf>: a column with NULLs
mod tuple; // tuples of up to six records

pub use leaf::Leaf;

// What the derived code names, so that a crate that derives needs no arrow of its own.
#[doc(hidden)]
pub use crate::batch::{array::ArrayRef, datatypes::Field};

use std::sync::Arc;

use crate::{
    batch::{
        Batch,
        array::Array,
        buffer::NullBuffer,
        datatypes::{Schema, SchemaRef},
        util::display::array_value_to_string,
    },
    dataset::error::DatasetError,
    error::{Result, bug},
};

/// A type whose values are rows. Use `#[derive(Record)]` for structs.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a `windrow::Record`",
    label = "cannot be a row or a column",
    note = "columns are bool, integers of 8 to 64 bits, f32, f64, String, Vec<u8>, a Vec of wider numbers, and Option of one of these",
    note = "rows are one such value, a tuple of up to 6 rows, or a struct with #[derive(windrow::Record)]"
)]
pub trait Record: Sized + Send + Sync + 'static {
    /// What a closure sees of a row: `&str` for `String`, a number itself, a tuple or a struct of views.
    type View<'a>;
    /// The columns of one batch, typed.
    type Reader: Send;
    /// Columns being built.
    type Builder: Send + 'static;
    /// Columns are found by name, not by place: so it is for structs.
    const IS_NAMED: bool = false;

    /// One field per column: `value` for a lone leaf, `_0`, `_1`… for a tuple's parts, the fields' names for a struct.
    fn fields() -> Vec<Field>;
    /// Takes its columns from `columns`; an error if one has another type, or a NULL that it cannot hold.
    fn reader(columns: &mut Columns<'_>) -> Result<Self::Reader>;
    /// Row `row`, less than the batch's rows.
    fn view(reader: &Self::Reader, row: usize) -> Self::View<'_>;
    /// Empty columns with room for `rows`.
    fn builder(rows: usize) -> Self::Builder;
    /// Adds a row.
    fn append(builder: &mut Self::Builder, view: Self::View<'_>);
    /// Adds its columns to `columns`.
    fn finish(builder: Self::Builder, columns: &mut Vec<ArrayRef>);
    /// This value as a row.
    fn as_view(&self) -> Self::View<'_>;
    /// The row as a value of its own.
    fn from_view(view: Self::View<'_>) -> Self;
}

/// A [`Record`] of one column: what a field of a struct can be.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a field of a record",
    label = "not a column",
    note = "fields are bool, integers of 8 to 64 bits, f32, f64, String, Vec<u8>, a Vec of wider numbers, and Option of one of these; records are flat"
)]
pub trait FieldValue: Record {}

impl<L: Leaf> FieldValue for L {}
impl<L: Leaf> FieldValue for Option<L> {}

/// The field of a struct: the column of `V` under this name.
#[doc(hidden)]
pub fn field<V: FieldValue>(name: &str) -> Field {
    let is_nullable = V::fields().iter().any(Field::is_nullable);
    let data_type = V::fields().into_iter().next().map(|field| field.data_type().clone());
    Field::new(name, data_type.unwrap_or(crate::batch::datatypes::DataType::Null), is_nullable)
}

/// The columns of a batch, taken one after the other by [`Record::reader`].
pub struct Columns<'a> {
    batch: &'a Batch,
    next: usize,
}

impl<'a> Columns<'a> {
    /// All columns of the batch.
    pub fn of(batch: &'a Batch) -> Columns<'a> {
        Columns { batch, next: 0 }
    }

    /// The next column, which must have no NULL.
    pub(crate) fn take<L: Leaf>(&mut self) -> Result<L::Column> {
        let place = self.next;
        let (column, nulls) = self.take_nullable::<L>()?;
        match nulls {
            None => Ok(column),
            Some(nulls) => {
                let column = self.batch.schema_ref().field(place).name().clone();
                Err(DatasetError::NullValue { column, record: std::any::type_name::<L>(), rows: nulls.null_count() }
                    .into())
            }
        }
    }

    /// The next column and its NULLs, if it has any.
    pub(crate) fn take_nullable<L: Leaf>(&mut self) -> Result<(L::Column, Option<NullBuffer>)> {
        let place = self.next;
        self.next += 1;
        let array = self.batch.columns().get(place);
        let array = array
            .ok_or_else(|| bug("dataset", format!("a record wants column #{place} of {:?}", self.batch.schema())))?;
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0).cloned();
        match L::column(array) {
            Some(column) => Ok((column, nulls)),
            None => Err(DatasetError::WrongType {
                column: self.batch.schema_ref().field(place).name().clone(),
                found: array.data_type().clone(),
                record: std::any::type_name::<L>(),
            }
            .into()),
        }
    }
}

/// The schema of rows of `T`.
pub(crate) fn schema_of<T: Record>() -> SchemaRef {
    Arc::new(Schema::new(T::fields()))
}

/// The rows that were built, under `schema`.
pub(super) fn build_batch<T: Record>(builder: T::Builder, schema: &SchemaRef) -> Result<Batch> {
    let mut columns = Vec::with_capacity(schema.fields().len());
    T::finish(builder, &mut columns);
    Ok(Batch::try_new(Arc::clone(schema), columns)?)
}

/// The values of a row, as text.
pub(crate) fn record_text(batch: &Batch, row: usize) -> String {
    let values = batch.columns().iter().map(|column| match column.is_null(row) {
        true => "NULL".to_owned(),
        false => array_value_to_string(column, row).unwrap_or_else(|error| error.to_string()),
    });
    let text = values.collect::<Vec<_>>().join(", ");
    let end = (0..=RECORD_TEXT_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("the record {:?}{}", &text[..end], if end < text.len() { " …" } else { "" })
}

/// So much of a record is shown.
const RECORD_TEXT_BYTES: usize = 200;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::fmt::Debug;

    use super::*;
    use crate::batch::{
        array::{Int32Array, Int64Array, StringViewArray},
        datatypes::DataType,
    };

    fn round_trip<T: Record + Clone + PartialEq + Debug>(rows: &[T]) -> Batch {
        let mut builder = T::builder(rows.len());
        rows.iter().for_each(|row| T::append(&mut builder, row.as_view()));
        let batch = build_batch::<T>(builder, &schema_of::<T>()).unwrap();
        let reader = T::reader(&mut Columns::of(&batch)).unwrap();
        let back: Vec<T> = (0..batch.num_rows()).map(|row| T::from_view(T::view(&reader, row))).collect();
        assert_eq!(back, rows);
        // A slice is read from its own start.
        if rows.len() > 1 {
            let slice = batch.slice(1, rows.len() - 1);
            let reader = T::reader(&mut Columns::of(&slice)).unwrap();
            assert_eq!(T::from_view(T::view(&reader, 0)), rows[1]);
        }
        batch
    }

    #[test]
    fn values_come_back_as_they_went() {
        round_trip(&[true, false, true]);
        round_trip(&[i8::MIN, 0, i8::MAX]);
        round_trip(&[u64::MAX, 0]);
        round_trip(&[1.5f32, -0.0]);
        round_trip(
            &["", "twelve bytes", "thirteen byte", "a much longer string that lives in a block"].map(str::to_owned),
        );
        round_trip(&[vec![0u8, 255], Vec::new(), vec![7; 100]]);
        round_trip(&[Some("x".to_owned()), None, Some("a much longer string".to_owned())]);
        round_trip(&[None::<i64>, None]);
        round_trip::<(String, Option<f64>)>(&[("a".into(), None), ("b".into(), Some(1.0))]);
        round_trip::<((i32, bool), (String, (u8, i64)))>(&[((1, true), ("x".into(), (2, 3)))]);
        round_trip::<String>(&[]);
    }

    #[test]
    fn fields_are_flat_and_named_by_their_place() {
        let names = |fields: Vec<Field>| fields.iter().map(|field| field.name().clone()).collect::<Vec<_>>();
        assert_eq!(names(<i64 as Record>::fields()), ["value"]);
        assert_eq!(names(<((i32, bool), (String, (u8, i64)))>::fields()), ["_0_0", "_0_1", "_1_0", "_1_1_0", "_1_1_1"]);
        let fields = <(String, Option<f64>)>::fields();
        assert!(!fields[0].is_nullable() && fields[1].is_nullable());
        assert_eq!(fields[0].data_type(), &DataType::Utf8View);
    }

    #[test]
    fn another_type_and_a_null_are_errors_that_name_the_column() {
        let schema = Arc::new(Schema::new(vec![Field::new("price", DataType::Int32, true)]));
        let batch = Batch::try_new(Arc::clone(&schema), vec![Arc::new(Int32Array::from(vec![Some(1), None]))]).unwrap();
        let message = |error: crate::Error| error.to_string();
        let wrong = message(<i64 as Record>::reader(&mut Columns::of(&batch)).unwrap_err());
        assert!(wrong.contains("price") && wrong.contains("Int32") && wrong.contains("i64"), "{wrong}");
        let null = message(<i32 as Record>::reader(&mut Columns::of(&batch)).unwrap_err());
        assert!(null.contains("price") && null.contains("NULL") && null.contains("i32"), "{null}");
        assert!(<Option<i32> as Record>::reader(&mut Columns::of(&batch)).is_ok());
        // A slice without the NULL is fine.
        assert!(<i32 as Record>::reader(&mut Columns::of(&batch.slice(0, 1))).is_ok());
        assert!(<(i32, i32)>::reader(&mut Columns::of(&batch.slice(0, 1))).is_err());
    }

    #[test]
    fn a_null_is_stored_with_nothing_under_it() {
        let batch = round_trip(&[Some("x".to_owned()), None]);
        let column = batch.column(0).as_any().downcast_ref::<StringViewArray>().unwrap();
        assert!(column.is_null(1) && column.views()[1] == 0);
        let batch = round_trip(&[None, Some(5i64)]);
        let column = batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
        assert_eq!((column.null_count(), column.values()[0]), (1, 0));
    }
}
