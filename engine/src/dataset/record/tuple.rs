//! Tuples of records: the columns of the parts, one part after the other.

use super::{ArrayRef, Columns, Field, Record};
use crate::error::Result;

/// Adds the fields of part `place`: `_0` for a leaf, `_0_1` for a part of a tuple in it, `_0_city` for a field of a struct in it.
fn add_fields(place: usize, part: Vec<Field>, fields: &mut Vec<Field>) {
    for field in part {
        let name = match field.name().as_str() {
            "value" => format!("_{place}"),
            inner if inner.starts_with('_') => format!("_{place}{inner}"),
            inner => format!("_{place}_{inner}"),
        };
        fields.push(field.with_name(name));
    }
}

macro_rules! tuple {
    ($($part:ident $place:tt),*) => {
        impl<$($part: Record),*> Record for ($($part,)*) {
            type View<'a> = ($($part::View<'a>,)*);
            type Reader = ($($part::Reader,)*);
            type Builder = ($($part::Builder,)*);

            fn fields() -> Vec<Field> {
                let mut fields = Vec::new();
                $(add_fields($place, $part::fields(), &mut fields);)*
                fields
            }
            fn reader(columns: &mut Columns<'_>) -> Result<Self::Reader> {
                Ok(($($part::reader(columns)?,)*))
            }
            #[inline]
            fn view(reader: &Self::Reader, row: usize) -> Self::View<'_> {
                ($($part::view(&reader.$place, row),)*)
            }
            fn builder(rows: usize) -> Self::Builder {
                ($($part::builder(rows),)*)
            }
            #[inline]
            fn append(builder: &mut Self::Builder, view: Self::View<'_>) {
                $($part::append(&mut builder.$place, view.$place);)*
            }
            fn finish(builder: Self::Builder, columns: &mut Vec<ArrayRef>) {
                $($part::finish(builder.$place, columns);)*
            }
            #[inline]
            fn as_view(&self) -> Self::View<'_> {
                ($(self.$place.as_view(),)*)
            }
            #[inline]
            fn from_view(view: Self::View<'_>) -> Self {
                ($($part::from_view(view.$place),)*)
            }
        }
    };
}
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
