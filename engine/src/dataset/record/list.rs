//! Lists of numbers: one column, of which each row holds any number of values. What a closure sees of a row is a slice.
//!
//! In: a list array whose values are of exactly the type, none of them NULL. Out: slices that borrow from it; list arrays. Never: copies on
//! the way in.

use std::sync::Arc;

use super::{Field, Leaf};
use crate::batch::{
    array::{Array, ArrayRef, AsArray, ListArray, PrimitiveArray},
    buffer::{OffsetBuffer, ScalarBuffer},
    datatypes::{ArrowNativeType, DataType, Float32Type, Float64Type, Int32Type, Int64Type, UInt32Type, UInt64Type},
};

/// A column of lists: where each begins and ends, and the values of all.
pub struct ListColumn<N: ArrowNativeType> {
    offsets: OffsetBuffer<i32>,
    values: ScalarBuffer<N>,
}

/// The same while it is built.
pub struct ListBuilder<N> {
    /// Where each list ends.
    ends: Vec<usize>,
    values: Vec<N>,
}

macro_rules! list {
    ($($number:ty => $arrow:ident $data_type:ident),*) => {
        $(impl Leaf for Vec<$number> {
            type View<'a> = &'a [$number];
            type Column = ListColumn<$number>;
            type Builder = ListBuilder<$number>;

            fn data_type() -> DataType {
                DataType::List(Arc::new(Field::new_list_field(DataType::$data_type, true)))
            }
            fn column(array: &dyn Array) -> Option<ListColumn<$number>> {
                let lists = array.as_list_opt::<i32>()?;
                let values = lists.values().as_primitive_opt::<$arrow>().filter(|values| values.null_count() == 0)?;
                Some(ListColumn { offsets: lists.offsets().clone(), values: values.values().clone() })
            }
            #[inline]
            fn view(column: &ListColumn<$number>, row: usize) -> &[$number] {
                &column.values[column.offsets[row] as usize..column.offsets[row + 1] as usize]
            }
            fn builder(rows: usize) -> ListBuilder<$number> {
                ListBuilder { ends: Vec::with_capacity(rows), values: Vec::new() }
            }
            #[inline]
            fn append(builder: &mut ListBuilder<$number>, view: &[$number]) {
                builder.values.extend_from_slice(view);
                builder.ends.push(builder.values.len());
            }
            #[inline]
            fn append_blank(builder: &mut ListBuilder<$number>) {
                builder.ends.push(builder.values.len());
            }
            fn finish(builder: ListBuilder<$number>) -> ArrayRef {
                let ListBuilder { ends, values } = builder;
                // Panics, which is told with the closure's place, if a batch's lists have more than 2^31 values.
                let offsets = OffsetBuffer::from_lengths(
                    ends.iter().scan(0, |start, end| Some(end - std::mem::replace(start, *end))),
                );
                let values = PrimitiveArray::<$arrow>::new(values.into(), None);
                let item = Arc::new(Field::new_list_field(DataType::$data_type, true));
                Arc::new(ListArray::new(item, offsets, Arc::new(values), None))
            }
            #[inline]
            fn as_view(&self) -> &[$number] {
                self
            }
            #[inline]
            fn from_view(view: &[$number]) -> Vec<$number> {
                view.to_vec()
            }
        })*
    };
}
list!(
    i32 => Int32Type Int32, i64 => Int64Type Int64, u32 => UInt32Type UInt32, u64 => UInt64Type UInt64,
    f32 => Float32Type Float32, f64 => Float64Type Float64
);
