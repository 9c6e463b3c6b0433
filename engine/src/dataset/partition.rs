//! Rows by part, for a closure: partition_by.
//!
//! In: rows, and a closure that says which part each belongs to. Out: what another closure makes of each part. Never: holds the rows of a part; they
//! come as they are asked for, from memory or from disk.

use std::{panic::Location, sync::Arc};

use super::{
    error::DatasetError,
    flow::Dataset,
    group::Values,
    map::Emitter,
    record::{Columns, Record, record_text},
    sort::{SortBy, bind_keys},
};
use crate::{
    batch::{
        Batch,
        array::UInt32Array,
        datatypes::{DataType, Field, Schema},
    },
    error::Result,
    expression::SortKey,
    operator::groups::PartColumn,
};

impl<T: Record> Dataset<T> {
    /// The rows in `parts` parts, each in the one whose number `part` gives, from 0 on:
    /// `.partition_by(12, |sale| sale.month - 1).flat_map::<Total>(|month, sales, out| …)`.
    ///
    /// All rows of a part are seen by one call, on one thread. A part without rows is not seen.
    #[track_caller]
    pub fn partition_by(self, parts: u32, part: impl Fn(T::View<'_>) -> u32 + Send + Sync + 'static) -> Partitioned<T> {
        let place = Location::caller();
        self.parted(parts, place, move |batch| {
            let reader = T::reader(&mut Columns::of(batch))?;
            let number = |row| match part(T::view(&reader, row)) {
                number if number < parts => Ok(number),
                number => {
                    let (row, part) = (record_text(batch, row), number);
                    Err(DatasetError::NoSuchPart { place, row, part, parts }.into())
                }
            };
            (0..batch.num_rows()).map(number).collect()
        })
    }

    /// The rows in parts; `numbers` gives the part of each row of a batch.
    pub(super) fn parted(
        self,
        parts: u32,
        place: &'static Location<'static>,
        numbers: impl Fn(&Batch) -> Result<Vec<u32>> + Send + Sync + 'static,
    ) -> Partitioned<T> {
        let fields = self.schema().fields().iter().map(|field| Field::clone(field));
        let fields = std::iter::once(Field::new(PART, DataType::UInt32, false)).chain(fields);
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let output = Arc::clone(&schema);
        let rows = self.through(place, schema, move |batch, emit| {
            let mut columns = batch.columns().to_vec();
            columns.insert(0, Arc::new(UInt32Array::from(numbers(batch)?)));
            emit(Batch::try_new(Arc::clone(&output), columns)?)
        });
        Partitioned { rows, parts, order: Vec::new() }
    }
}

/// The name of the column that the rows of a [`Partitioned`] have before their own.
const PART: &str = "_part";

/// Rows by part; what becomes of them is for a closure to say.
pub struct Partitioned<T> {
    rows: Dataset<(u32, T)>,
    parts: u32,
    order: Vec<SortKey>,
}

impl<T: Record> Partitioned<T> {
    /// The rows of a part come in this order; those that it leaves equal, or all without it, come by their content.
    pub fn in_order_of(self, keys: impl IntoIterator<Item = SortBy>) -> Result<Partitioned<T>> {
        let order = bind_keys(keys, self.rows.schema())?;
        Ok(Partitioned { order, ..self })
    }

    /// A row for each part.
    #[track_caller]
    pub fn map<U: Record>(
        self,
        part: impl Fn(u32, &mut Values<'_, '_, u32, T>) -> U + Send + Sync + 'static,
    ) -> Dataset<U> {
        self.through(Location::caller(), move |number, rows, out| out.push(part(number, rows).as_view()))
    }

    /// Any number of rows for each part.
    #[track_caller]
    pub fn flat_map<U: Record>(
        self,
        part: impl Fn(u32, &mut Values<'_, '_, u32, T>, &mut Emitter<'_, U>) + Send + Sync + 'static,
    ) -> Dataset<U> {
        self.through(Location::caller(), part)
    }

    /// Runs the flow now, and gives the rows of each part to a call: `.repartition(8).for_each(|part, rows| …)`.
    ///
    /// A task that is tried again calls again: on a cluster a part may be seen more than once.
    #[track_caller]
    pub fn for_each(
        self,
        part: impl Fn(u32, &mut Values<'_, '_, u32, T>) -> Result<()> + Send + Sync + 'static,
    ) -> Result<()> {
        let nothing = self.through::<bool>(Location::caller(), move |number, rows, out| {
            if let Err(error) = part(number, rows) {
                out.fail(error);
            }
        });
        nothing.count().map(drop)
    }

    fn through<U: Record>(
        self,
        place: &'static Location<'static>,
        part: impl Fn(u32, &mut Values<'_, '_, u32, T>, &mut Emitter<'_, U>) + Send + Sync + 'static,
    ) -> Dataset<U> {
        let parts = PartColumn { column: 0, count: self.parts };
        self.rows.in_groups(place, Some(parts), (0, self.order), part)
    }
}
