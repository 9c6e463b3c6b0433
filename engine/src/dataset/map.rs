//! Closures over typed rows: map, map_view, flat_map, filter.
//!
//! In: a closure over views of rows. Out: a closure over batches, with the loop over rows inside. Never: calls through a pointer per
//! row; the loop is compiled for the row's types and the closure.

use std::{panic::Location, sync::Arc};

use super::{
    closure::Emit,
    flow::Dataset,
    record::{Columns, Record, build_batch, schema_of},
};
use crate::{
    batch::{array::BooleanArray, buffer::BooleanBuffer, compute, copied, datatypes::SchemaRef},
    error::{Error, Result},
};

impl<T: Record> Dataset<T> {
    /// A row of its own for each row: `.map(|line| line.len() as i64)`. Where the new row borrows from the old one, `map_view` saves
    /// the copies.
    #[track_caller]
    pub fn map<U: Record>(self, row: impl Fn(T::View<'_>) -> U + Send + Sync + 'static) -> Dataset<U> {
        let output = schema_of::<U>();
        self.through(Location::caller(), Arc::clone(&output), move |batch, emit| {
            let reader = T::reader(&mut Columns::of(batch))?;
            let mut builder = U::builder(batch.num_rows());
            for number in 0..batch.num_rows() {
                U::append(&mut builder, row(T::view(&reader, number)).as_view());
            }
            emit(build_batch::<U>(builder, &output)?)
        })
    }

    /// A row for each row, which may borrow from it: `.map_view::<(String, i64)>(|word| (word, 1))`.
    #[track_caller]
    pub fn map_view<U: Record>(self, row: impl for<'a> RowFunction<'a, T, U> + Send + Sync + 'static) -> Dataset<U> {
        let output = schema_of::<U>();
        self.through(Location::caller(), Arc::clone(&output), move |batch, emit| {
            let reader = T::reader(&mut Columns::of(batch))?;
            let mut builder = U::builder(batch.num_rows());
            for number in 0..batch.num_rows() {
                U::append(&mut builder, row(T::view(&reader, number)));
            }
            emit(build_batch::<U>(builder, &output)?)
        })
    }

    /// Any number of rows for each row:
    /// `.flat_map::<String>(|line, out| line.split_whitespace().for_each(|word| out.push(word)))`.
    #[track_caller]
    pub fn flat_map<U: Record>(
        self,
        rows: impl Fn(T::View<'_>, &mut Emitter<'_, U>) + Send + Sync + 'static,
    ) -> Dataset<U> {
        let output = schema_of::<U>();
        let rows_max = self.session().settings().rows_per_morsel;
        self.through(Location::caller(), Arc::clone(&output), move |batch, emit| {
            let reader = T::reader(&mut Columns::of(batch))?;
            let mut emitter = Emitter::new(emit, &output, rows_max);
            for number in 0..batch.num_rows() {
                rows(T::view(&reader, number), &mut emitter);
                if emitter.has_failed() {
                    break;
                }
            }
            emitter.finish()
        })
    }

    /// The rows for which the closure says true. A condition that [`Dataset::filter_expr`] can say is better said there: a scan can
    /// skip by it.
    #[track_caller]
    pub fn filter(self, keeps: impl Fn(T::View<'_>) -> bool + Send + Sync + 'static) -> Dataset<T> {
        let output = Arc::clone(self.schema());
        self.through(Location::caller(), output, move |batch, emit| {
            let reader = T::reader(&mut Columns::of(batch))?;
            let kept = BooleanBuffer::collect_bool(batch.num_rows(), |row| keeps(T::view(&reader, row)));
            emit(compute::filter_record_batch(batch, &BooleanArray::new(kept, None))?)
        })
    }
}

/// A closure from views of `T` to views of `U` that may borrow from them. (As a bound it cannot be written in place: there the lifetime
/// of what is returned would have to stand in an argument, and it stands in `T`'s view only.)
pub trait RowFunction<'a, T: Record, U: Record>: Fn(T::View<'a>) -> U::View<'a> {}

impl<'a, T: Record, U: Record, F: Fn(T::View<'a>) -> U::View<'a>> RowFunction<'a, T, U> for F {}

/// A batch of fewer rows than this part of its room is copied into memory of its own.
const SPARSE_SHARE: usize = 4;

/// Where the rows of [`Dataset::flat_map`] go.
pub struct Emitter<'e, U: Record> {
    builder: U::Builder,
    rows: usize,
    rows_max: usize,
    schema: &'e SchemaRef,
    emit: Emit<'e>,
    /// What the rest of the pipeline said; rows that come after it are dropped.
    failure: Option<Error>,
}

impl<'e, U: Record> Emitter<'e, U> {
    pub(crate) fn new(emit: Emit<'e>, schema: &'e SchemaRef, rows_max: usize) -> Emitter<'e, U> {
        Emitter { builder: U::builder(rows_max), rows: 0, rows_max, schema, emit, failure: None }
    }

    /// Adds a row.
    #[inline]
    pub fn push(&mut self, row: U::View<'_>) {
        U::append(&mut self.builder, row);
        self.rows += 1;
        if self.rows == self.rows_max {
            self.flush();
        }
    }

    #[cold]
    fn flush(&mut self) {
        let builder = std::mem::replace(&mut self.builder, U::builder(self.rows_max));
        self.rows = 0;
        if self.failure.is_none() {
            self.failure = build_batch::<U>(builder, self.schema).and_then(|batch| (self.emit)(batch)).err();
        }
    }

    /// Nothing more is wanted, because of this.
    pub(super) fn fail(&mut self, error: Error) {
        self.failure.get_or_insert(error);
    }

    /// The rest of the pipeline takes no more.
    pub(crate) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    pub(crate) fn finish(self) -> Result<()> {
        match self.failure {
            Some(failure) => Err(failure),
            None if self.rows == 0 => Ok(()),
            None => {
                let batch = build_batch::<U>(self.builder, self.schema)?;
                // Who keeps a few rows must not keep the room for those that did not come.
                let is_sparse = self.rows < self.rows_max / SPARSE_SHARE;
                (self.emit)(if is_sparse { copied(&batch)? } else { batch })
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::batch::Batch;

    #[test]
    fn few_rows_hold_little() {
        let schema = schema_of::<(i64, String)>();
        for (rows, expected_bytes) in [(3, 0..32_000), (60_000, 60_000 * 24..usize::MAX)] {
            let mut batches: Vec<Batch> = Vec::new();
            let mut emit = |batch| {
                batches.push(batch);
                Ok(())
            };
            let mut emitter: Emitter<'_, (i64, String)> = Emitter::new(&mut emit, &schema, 65_536);
            for number in 0..rows {
                emitter.push((number, "a string that stands in no view"));
            }
            emitter.finish().unwrap();
            assert_eq!((batches.len(), batches[0].num_rows()), (1, rows as usize));
            let bytes = batches[0].get_array_memory_size();
            assert!(expected_bytes.contains(&bytes), "{bytes} bytes of {rows} rows");
        }
    }
}
