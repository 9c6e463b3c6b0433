//! `Option` of a leaf: one column that may hold NULLs.

use super::{ArrayRef, Columns, Field, Leaf, Record};
use crate::{
    batch::{
        array::BooleanArray,
        buffer::{BooleanBuffer, NullBuffer},
        compute,
    },
    error::Result,
};

/// A leaf's column while it is built, and which rows are NULL.
pub struct OptionalBuilder<L: Leaf> {
    values: L::Builder,
    is_null: Vec<bool>,
    null_count: usize,
}

impl<L: Leaf> Record for Option<L> {
    type View<'a> = Option<L::View<'a>>;
    type Reader = (L::Column, Option<NullBuffer>);
    type Builder = OptionalBuilder<L>;

    fn fields() -> Vec<Field> {
        vec![Field::new("value", L::data_type(), true)]
    }
    fn reader(columns: &mut Columns<'_>) -> Result<Self::Reader> {
        columns.take_nullable::<L>()
    }
    #[inline]
    fn view((column, nulls): &Self::Reader, row: usize) -> Self::View<'_> {
        match nulls {
            Some(nulls) if nulls.is_null(row) => None,
            _ => Some(L::view(column, row)),
        }
    }
    fn builder(rows: usize) -> OptionalBuilder<L> {
        OptionalBuilder { values: <L as Leaf>::builder(rows), is_null: Vec::with_capacity(rows), null_count: 0 }
    }
    #[inline]
    fn append(builder: &mut OptionalBuilder<L>, view: Self::View<'_>) {
        builder.is_null.push(view.is_none());
        match view {
            Some(view) => <L as Leaf>::append(&mut builder.values, view),
            None => {
                builder.null_count += 1;
                L::append_blank(&mut builder.values);
            }
        }
    }
    fn finish(builder: OptionalBuilder<L>, columns: &mut Vec<ArrayRef>) {
        let values = <L as Leaf>::finish(builder.values);
        if builder.null_count == 0 {
            return columns.push(values);
        }
        let mask = BooleanArray::new(BooleanBuffer::from(builder.is_null), None);
        // It fails for lengths that differ only, and each row was added to both.
        columns.push(compute::nullif(&values, &mask).unwrap_or(values));
    }
    #[inline]
    fn as_view(&self) -> Self::View<'_> {
        self.as_ref().map(<L as Leaf>::as_view)
    }
    #[inline]
    fn from_view(view: Self::View<'_>) -> Option<L> {
        view.map(<L as Leaf>::from_view)
    }
}
