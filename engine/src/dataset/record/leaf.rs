//! Leaves: values that are one column without NULLs.
//!
//! In: an arrow array of exactly the leaf's type. Out: values that borrow from it; arrays. Never: converts; a column of another type
//! is cast by the plan before it comes here.

use std::sync::Arc;

use super::{ArrayRef, Columns, Field, Record};
use crate::{
    batch::{
        array::{
            Array, AsArray, BinaryViewArray, BinaryViewBuilder, BooleanArray, BooleanBufferBuilder, PrimitiveArray,
            StringViewArray, StringViewBuilder,
        },
        buffer::{BooleanBuffer, ScalarBuffer},
        datatypes::{
            DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
            UInt32Type, UInt64Type,
        },
    },
    error::Result,
};

/// A value that is one column without NULLs.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a column nor a row of columns",
    label = "cannot stand in a column",
    note = "columns are bool, integers of 8 to 64 bits, f32, f64, String, Vec<u8>, a Vec of wider numbers, and Option of one of these",
    note = "rows are one such value, a tuple of up to 6 rows, or a struct with #[derive(windrow::Record)]"
)]
pub trait Leaf: Sized + Send + Sync + 'static {
    /// The value as it stands in a column.
    type View<'a>: Copy;
    /// The column, typed.
    type Column: Send;
    /// The column while it is built.
    type Builder: Send + 'static;

    /// The column's type.
    fn data_type() -> DataType;
    /// The array as a column, if it has the type.
    fn column(array: &dyn Array) -> Option<Self::Column>;
    /// The value of a row.
    fn view(column: &Self::Column, row: usize) -> Self::View<'_>;
    /// An empty column with room for `rows`.
    fn builder(rows: usize) -> Self::Builder;
    /// Adds a value.
    fn append(builder: &mut Self::Builder, view: Self::View<'_>);
    /// Adds what stands under a NULL: zero, nothing.
    fn append_blank(builder: &mut Self::Builder);
    /// The column.
    fn finish(builder: Self::Builder) -> ArrayRef;
    /// This value as it would stand in a column.
    fn as_view(&self) -> Self::View<'_>;
    /// A value of its own.
    fn from_view(view: Self::View<'_>) -> Self;
}

impl<L: Leaf> Record for L {
    type View<'a> = L::View<'a>;
    type Reader = L::Column;
    type Builder = L::Builder;

    fn fields() -> Vec<Field> {
        vec![Field::new("value", L::data_type(), false)]
    }
    fn reader(columns: &mut Columns<'_>) -> Result<L::Column> {
        columns.take::<L>()
    }
    #[inline]
    fn view(reader: &L::Column, row: usize) -> L::View<'_> {
        L::view(reader, row)
    }
    fn builder(rows: usize) -> L::Builder {
        <L as Leaf>::builder(rows)
    }
    #[inline]
    fn append(builder: &mut L::Builder, view: L::View<'_>) {
        <L as Leaf>::append(builder, view);
    }
    fn finish(builder: L::Builder, columns: &mut Vec<ArrayRef>) {
        columns.push(<L as Leaf>::finish(builder));
    }
    #[inline]
    fn as_view(&self) -> L::View<'_> {
        <L as Leaf>::as_view(self)
    }
    #[inline]
    fn from_view(view: L::View<'_>) -> L {
        <L as Leaf>::from_view(view)
    }
}

macro_rules! number {
    ($($rust:ty => $arrow:ident $data_type:ident),*) => {
        $(impl Leaf for $rust {
            type View<'a> = $rust;
            type Column = ScalarBuffer<$rust>;
            type Builder = Vec<$rust>;

            fn data_type() -> DataType {
                DataType::$data_type
            }
            fn column(array: &dyn Array) -> Option<ScalarBuffer<$rust>> {
                array.as_primitive_opt::<$arrow>().map(|array| array.values().clone())
            }
            #[inline]
            fn view(column: &ScalarBuffer<$rust>, row: usize) -> $rust {
                column[row]
            }
            fn builder(rows: usize) -> Vec<$rust> {
                Vec::with_capacity(rows)
            }
            #[inline]
            fn append(builder: &mut Vec<$rust>, view: $rust) {
                builder.push(view);
            }
            #[inline]
            fn append_blank(builder: &mut Vec<$rust>) {
                builder.push(<$rust>::default());
            }
            fn finish(builder: Vec<$rust>) -> ArrayRef {
                Arc::new(PrimitiveArray::<$arrow>::new(builder.into(), None))
            }
            #[inline]
            fn as_view(&self) -> $rust {
                *self
            }
            #[inline]
            fn from_view(view: $rust) -> $rust {
                view
            }
        })*
    };
}
number!(
    i8 => Int8Type Int8, i16 => Int16Type Int16, i32 => Int32Type Int32, i64 => Int64Type Int64,
    u8 => UInt8Type UInt8, u16 => UInt16Type UInt16, u32 => UInt32Type UInt32, u64 => UInt64Type UInt64,
    f32 => Float32Type Float32, f64 => Float64Type Float64
);

impl Leaf for bool {
    type View<'a> = bool;
    type Column = BooleanBuffer;
    type Builder = BooleanBufferBuilder;

    fn data_type() -> DataType {
        DataType::Boolean
    }
    fn column(array: &dyn Array) -> Option<BooleanBuffer> {
        array.as_boolean_opt().map(|array| array.values().clone())
    }
    #[inline]
    fn view(column: &BooleanBuffer, row: usize) -> bool {
        column.value(row)
    }
    fn builder(rows: usize) -> BooleanBufferBuilder {
        BooleanBufferBuilder::new(rows)
    }
    #[inline]
    fn append(builder: &mut BooleanBufferBuilder, view: bool) {
        builder.append(view);
    }
    #[inline]
    fn append_blank(builder: &mut BooleanBufferBuilder) {
        builder.append(false);
    }
    fn finish(mut builder: BooleanBufferBuilder) -> ArrayRef {
        Arc::new(BooleanArray::new(builder.finish(), None))
    }
    #[inline]
    fn as_view(&self) -> bool {
        *self
    }
    #[inline]
    fn from_view(view: bool) -> bool {
        view
    }
}

// Views hold up to 12 bytes in themselves, which is most words; longer values go to blocks that the builder owns. Arrow's builders make
// the array without looking at its bytes again, which no safe constructor from parts does.
macro_rules! bytes {
    ($($rust:ty, $view:ty => $array:ident $builder:ident $data_type:ident),*) => {
        $(impl Leaf for $rust {
            type View<'a> = &'a $view;
            type Column = $array;
            type Builder = $builder;

            fn data_type() -> DataType {
                DataType::$data_type
            }
            fn column(array: &dyn Array) -> Option<$array> {
                array.as_any().downcast_ref::<$array>().cloned()
            }
            #[inline]
            fn view(column: &$array, row: usize) -> &$view {
                column.value(row)
            }
            fn builder(rows: usize) -> $builder {
                $builder::with_capacity(rows)
            }
            #[inline]
            fn append(builder: &mut $builder, view: &$view) {
                builder.append_value(view);
            }
            #[inline]
            fn append_blank(builder: &mut $builder) {
                let blank: &$view = Default::default();
                builder.append_value(blank);
            }
            fn finish(mut builder: $builder) -> ArrayRef {
                Arc::new(builder.finish())
            }
            #[inline]
            fn as_view(&self) -> &$view {
                self
            }
            #[inline]
            fn from_view(view: &$view) -> $rust {
                view.to_owned()
            }
        })*
    };
}
bytes!(
    String, str => StringViewArray StringViewBuilder Utf8View,
    Vec<u8>, [u8] => BinaryViewArray BinaryViewBuilder BinaryView
);
