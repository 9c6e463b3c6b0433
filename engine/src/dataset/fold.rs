//! Rows put together by closures: fold, reduce_by_key_with.
//!
//! In: closures. Out: one value, or one a key. Never: a fold that depends on which rows came together, if the closures keep what they promise;
//! a session that [verifies](Session::set_verifies) asks them.

use std::{ops::Range, panic::Location, sync::Arc};

use super::{
    closure::guarded_here,
    error::DatasetError,
    flow::Dataset,
    record::{Columns, Record, build_batch, record_text, schema_of},
};
#[cfg(doc)]
use crate::Session;
use crate::{
    batch::{Batch, datatypes::SchemaRef},
    error::Result,
};

impl<T: Record> Dataset<T> {
    /// All rows put together: `add` puts a row to what some of them gave, beginning with `zero`, and `merge` puts together what two parts of the
    /// rows gave: `.fold(0, |longest, line| *longest = line.len().max(*longest), |longest, other| *longest = other.max(*longest))`.
    ///
    /// Rows come in any order and in parts of any size, so the two must give the same for each: sums of integers do, sums of floats do not
    /// (`reduce_by_key(Sum)` does, which is exact).
    #[track_caller]
    pub fn fold<A: Record + Clone>(
        &self,
        zero: A,
        add: impl Fn(&mut A, T::View<'_>) + Send + Sync + 'static,
        merge: impl Fn(&mut A, A) + Send + Sync + 'static,
    ) -> Result<A> {
        let place = Location::caller();
        let (output, of_part) = (schema_of::<A>(), zero.clone());
        let (schema, merge) = (Arc::clone(&output), Arc::new(merge));
        let verified = self.session().verifies().then(|| Arc::clone(&merge));
        let parts = self.clone().through::<A>(place, output, move |batch, emit| {
            let reader = T::reader(&mut Columns::of(batch))?;
            let of_rows = |rows: Range<usize>| {
                let mut value = of_part.clone();
                rows.for_each(|row| add(&mut value, T::view(&reader, row)));
                value
            };
            let whole = of_rows(0..batch.num_rows());
            if let Some(merge) = &verified {
                let halves = || (of_rows(0..batch.num_rows() / 2), of_rows(batch.num_rows() / 2..batch.num_rows()));
                let (mut forward, second) = halves();
                merge(&mut forward, second);
                let (first, mut backward) = halves();
                merge(&mut backward, first);
                same(place, &whole, &forward)?;
                same(place, &whole, &backward)?;
            }
            emit(row_of(&whole, &schema)?)
        });
        let parts: Vec<A> = self.run(parts.logical().clone())?.records()?;
        guarded_here(place, || {
            let mut all = zero;
            parts.into_iter().for_each(|part| merge(&mut all, part));
            Ok(all)
        })
    }
}

impl<K: Record, V: Record> Dataset<(K, V)> {
    /// One row per key: its values put together two by two: `.reduce_by_key_with(|a, b| a.max(b))`.
    ///
    /// They come in the order of their content, the first two first, so that the result is one whatever `reduce` does; a session that
    /// [verifies](Session::set_verifies) says if it is not associative. What `reduce_by_key` can say is better said there.
    #[track_caller]
    pub fn reduce_by_key_with(self, reduce: impl Fn(V, V) -> V + Send + Sync + 'static) -> Dataset<(K, V)> {
        let (place, verifies) = (Location::caller(), self.session().verifies());
        self.group_by_key().through(place, move |key, values, out| {
            let (mut all, mut first): (Option<V>, Vec<V>) = (None, Vec::new());
            while let Some(value) = values.next() {
                let value = V::from_view(value);
                if verifies && first.len() < VERIFIED_MAX {
                    first.push(V::from_view(value.as_view()));
                    if let [a, b, c] = &first[..] {
                        let of = |value: &V| V::from_view(value.as_view());
                        let left = reduce(reduce(of(a), of(b)), of(c));
                        let right = reduce(of(a), reduce(of(b), of(c)));
                        if let Err(error) = same(place, &left, &right) {
                            return out.fail(error);
                        }
                    }
                }
                all = Some(match all {
                    Some(all) => reduce(all, value),
                    None => value,
                });
            }
            if let Some(all) = all {
                out.push((K::from_view(key), all).as_view());
            }
        })
    }
}

/// So many values of a key are put together in both ways.
const VERIFIED_MAX: usize = 3;

/// Fails if two values differ that must not.
fn same<A: Record>(place: &'static Location<'static>, whole: &A, parts: &A) -> Result<()> {
    let schema = schema_of::<A>();
    let (whole, parts) = (row_of(whole, &schema)?, row_of(parts, &schema)?);
    match whole == parts {
        true => Ok(()),
        false => {
            let (whole, parts) = (record_text(&whole, 0), record_text(&parts, 0));
            Err(DatasetError::NotAssociative { place, whole, parts }.into())
        }
    }
}

fn row_of<A: Record>(value: &A, schema: &SchemaRef) -> Result<Batch> {
    let mut builder = A::builder(1);
    A::append(&mut builder, value.as_view());
    build_batch::<A>(builder, schema)
}
