//! Rows of many batches, gathered by their places.
//!
//! In: batches, then places, again and again. Out: for each call one batch. Never: looks at a batch again for every call: a sort has ten
//! thousands of them, and gives ten thousands of morsels.

use super::order::Place;
use crate::{
    batch::{
        Batch,
        array::{Array, ArrayData, ArrayRef, RecordBatchOptions, make_array},
        buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer},
        compute,
        datatypes::{ArrowNativeType, DataType, IntervalUnit, SchemaRef},
    },
    error::Result,
    kernel::{Strings, gather_strings},
};

/// Batches of one schema, their columns ready to be gathered from.
pub(super) struct Gather {
    schema: SchemaRef,
    batches: Vec<Batch>,
    columns: Vec<Column>,
}

/// A column of all batches.
struct Column {
    values: Values,
    /// Of each batch, if one has a NULL.
    nulls: Option<Vec<Option<NullBuffer>>>,
}

/// The values of each batch, by their width.
enum Values {
    One(Vec<ScalarBuffer<u8>>),
    Two(Vec<ScalarBuffer<u16>>),
    Four(Vec<ScalarBuffer<u32>>),
    Eight(Vec<ScalarBuffer<u64>>),
    Sixteen(Vec<ScalarBuffer<i128>>),
    /// Strings and bytes as views, none of them NULL.
    Strings(Vec<Strings>),
    /// By arrow, of the batches from which rows come.
    Other,
}

impl Gather {
    pub(super) fn new(schema: &SchemaRef, batches: Vec<Batch>) -> Gather {
        let column = |number: usize| {
            let column = || batches.iter().map(move |batch| batch.column(number));
            let values = match width_of(schema.field(number).data_type()) {
                Some(1) => Values::One(column().map(values_of).collect()),
                Some(2) => Values::Two(column().map(values_of).collect()),
                Some(4) => Values::Four(column().map(values_of).collect()),
                Some(8) => Values::Eight(column().map(values_of).collect()),
                Some(16) => Values::Sixteen(column().map(values_of).collect()),
                _ => {
                    let strings = column().map(Strings::of).collect::<Option<Vec<_>>>();
                    strings.map_or(Values::Other, Values::Strings)
                }
            };
            let has_nulls = column().any(|column| column.null_count() > 0);
            Column { values, nulls: has_nulls.then(|| column().map(|column| column.nulls().cloned()).collect()) }
        };
        let columns = (0..schema.fields().len()).map(column).collect();
        Gather { schema: SchemaRef::clone(schema), batches, columns }
    }

    /// No row is gathered any more.
    pub(super) fn clear(&mut self) {
        self.batches.clear();
        self.columns.clear();
    }

    /// The rows at `places`, in their order, each copied once.
    pub(super) fn rows(&self, places: &[Place]) -> Result<Batch> {
        let columns = (0..self.columns.len()).map(|column| self.column(column, places)).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
        Ok(Batch::try_new_with_options(SchemaRef::clone(&self.schema), columns, &options)?)
    }

    fn column(&self, number: usize, places: &[Place]) -> Result<ArrayRef> {
        let Column { values, nulls } = &self.columns[number];
        let values = match values {
            Values::One(values) => gathered(values, places),
            Values::Two(values) => gathered(values, places),
            Values::Four(values) => gathered(values, places),
            Values::Eight(values) => gathered(values, places),
            Values::Sixteen(values) => gathered(values, places),
            Values::Strings(arrays) if !places.is_empty() => {
                let places_of = places.iter().map(|place| (place.batch, place.row));
                let gathered = gather_strings(arrays, places_of);
                return gathered.map_or_else(|| self.interleaved(number, places), Ok);
            }
            Values::Strings(_) | Values::Other => return self.interleaved(number, places),
        };
        let is_valid = |place: &Place, nulls: &[Option<NullBuffer>]| {
            nulls[place.batch as usize].as_ref().is_none_or(|nulls| nulls.is_valid(place.row as usize))
        };
        let valid = |nulls: &Vec<Option<NullBuffer>>| {
            NullBuffer::new(BooleanBuffer::collect_bool(places.len(), |row| is_valid(&places[row], nulls)))
        };
        let data = ArrayData::builder(self.schema.field(number).data_type().clone())
            .len(places.len())
            .add_buffer(values)
            .nulls(nulls.as_ref().map(valid).filter(|nulls| nulls.null_count() > 0));
        Ok(make_array(data.build()?))
    }

    /// By arrow, which looks at every array that it is given.
    fn interleaved(&self, number: usize, places: &[Place]) -> Result<ArrayRef> {
        let mut slots = vec![usize::MAX; self.batches.len()];
        let mut used: Vec<&dyn Array> = Vec::new();
        let place_of = |place: &Place| {
            let slot = &mut slots[place.batch as usize];
            if *slot == usize::MAX {
                *slot = used.len();
                used.push(self.batches[place.batch as usize].column(number).as_ref());
            }
            (*slot, place.row as usize)
        };
        let places: Vec<(usize, usize)> = places.iter().map(place_of).collect();
        if used.is_empty() {
            return Ok(Batch::new_empty(SchemaRef::clone(&self.schema)).column(number).clone());
        }
        Ok(compute::interleave(&used, &places)?)
    }
}

/// Bytes of a value, where values stand side by side and nothing else belongs to them.
fn width_of(data_type: &DataType) -> Option<usize> {
    match data_type {
        // Aligned to 8 bytes.
        DataType::Interval(IntervalUnit::MonthDayNano) => None,
        other => other.primitive_width(),
    }
}

fn values_of<T: ArrowNativeType>(column: &ArrayRef) -> ScalarBuffer<T> {
    let data = column.to_data();
    ScalarBuffer::new(data.buffers()[0].clone(), data.offset(), data.len())
}

fn gathered<T: ArrowNativeType>(values: &[ScalarBuffer<T>], places: &[Place]) -> Buffer {
    let value = |place: &Place| values[place.batch as usize][place.row as usize];
    Buffer::from_vec(places.iter().map(value).collect::<Vec<T>>())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        batch::{
            concat,
            datatypes::{Field, Schema},
            take_rows,
        },
        kernel::testing::{Random, cases, random_array, random_type},
    };

    proptest! {
        #![proptest_config(cases(200))]

        #[test]
        fn rows_are_those_of_the_batches_put_together(seed: u64) {
            let random = &mut Random::new(seed);
            let fields: Vec<Field> = (0..1 + random.below(4))
                .map(|number| Field::new(format!("column{number}"), random_type(random, 1), true))
                .collect();
            let schema: SchemaRef = Arc::new(Schema::new(fields));
            let batches: Vec<Batch> = (0..1 + random.below(4))
                .map(|_| {
                    let rows = random.pick(&[0, 1, 70]);
                    let columns = schema.fields().iter()
                        .map(|field| random_array(random, field.data_type(), field.is_nullable(), rows)).collect();
                    Batch::try_new(Arc::clone(&schema), columns).unwrap()
                })
                .collect();
            let all: Vec<Place> = batches.iter().enumerate()
                .flat_map(|(batch, rows)| {
                    (0..rows.num_rows()).map(move |row| Place { prefix: 0, batch: batch as u32, row: row as u32 })
                })
                .collect();
            let rows = if all.is_empty() { Vec::new() } else { (0..50).map(|_| random.below(all.len()) as u32).collect() };
            let places: Vec<Place> = rows.iter().map(|row| all[*row as usize]).collect();
            let found = Gather::new(&schema, batches.clone()).rows(&places).unwrap();
            let expected = take_rows(&concat(&schema, &batches).unwrap(), &rows.into()).unwrap();
            found.columns().iter().for_each(|column| column.to_data().validate_full().unwrap());
            prop_assert_eq!(found, expected);
        }
    }
}
