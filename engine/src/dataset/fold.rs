//! Rows put together by closures: fold, fold_by_key, reduce_by_key_with.
//!
//! In: closures. Out: one value, or one a key. Never: a fold that depends on which rows came together, if the closures keep what they promise;
//! a session that [verifies](Session::set_verifies) asks them.

use std::{collections::HashMap, ops::Range, panic::Location, sync::Arc};

use super::{
    closure::guarded_here,
    error::DatasetError,
    flow::Dataset,
    record::{Columns, Record, build_batch, record_text, schema_of},
};
#[cfg(doc)]
use crate::Session;
use crate::{
    batch::{
        Batch, CanonicalOrder, canonical_floats,
        datatypes::{Schema, SchemaRef},
        row::Rows,
    },
    error::Result,
    operator::Emit,
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
        let (place, verifies, output) = (Location::caller(), self.session().verifies(), schema_of::<A>());
        let folding = Folding { place, verifies, zero: zero.clone(), add, merge: Arc::new(merge) };
        let (schema, merge) = (Arc::clone(&output), Arc::clone(&folding.merge));
        let parts = self.clone().through::<A>(place, output, move |batch, emit| {
            let reader = T::reader(&mut Columns::of(batch))?;
            let groups = vec![0; batch.num_rows()];
            let add = |value: &mut A, row| (folding.add)(value, T::view(&reader, row));
            let values = folding.groups(&groups, 1, add)?;
            build_and_emit::<A>(values.iter().map(A::as_view), &schema, emit)
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
    /// One row per key: `add` puts a value to what some of the key's values gave, beginning with `zero`, and `merge` puts together what two parts
    /// of them gave: `.fold_by_key(0, |longest, word| *longest = word.len().max(*longest), |longest, other| *longest = other.max(*longest))`.
    ///
    /// Values are put together before they are moved, and so they come in any order and in parts of any size: the two must give the same for each,
    /// as in [`Dataset::fold`], and a session that [verifies](Session::set_verifies) says if they do not.
    /// [`Dataset::aggregate_by_key`] promises `add` an order and needs no `merge`.
    #[track_caller]
    pub fn fold_by_key<A: Record + Clone>(
        self,
        zero: A,
        add: impl Fn(&mut A, V::View<'_>) + Send + Sync + 'static,
        merge: impl Fn(&mut A, A) + Send + Sync + 'static,
    ) -> Dataset<(K, A)> {
        let (place, verifies, output) = (Location::caller(), self.session().verifies(), schema_of::<(K, A)>());
        let key_count = K::fields().len();
        let keys = Arc::new(Schema::new(self.schema().fields()[..key_count].to_vec()));
        let folding = Folding { place, verifies, zero, add, merge: Arc::new(merge) };
        let (schema, merge) = (Arc::clone(&output), Arc::clone(&folding.merge));
        let parts = self.through::<(K, A)>(place, output, move |batch, emit| {
            let columns = batch.columns()[..key_count].iter().map(canonical_floats).collect();
            let keys = Batch::try_new(Arc::clone(&keys), columns)?;
            let (groups, first) = groups_of(&CanonicalOrder::new(&keys.schema())?.encode(&keys)?);
            let (_, reader) = <(K, V)>::reader(&mut Columns::of(batch))?;
            let add = |value: &mut A, row| (folding.add)(value, V::view(&reader, row));
            let values = folding.groups(&groups, first.len(), add)?;
            let keys = K::reader(&mut Columns::of(&keys))?;
            let rows = first.iter().zip(&values).map(|(row, value)| (K::view(&keys, *row), value.as_view()));
            build_and_emit::<(K, A)>(rows, &schema, emit)
        });
        parts.group_by_key().through(place, move |key, values, out| {
            let mut all: Option<A> = None;
            while let Some(value) = values.next() {
                let value = A::from_view(value);
                match &mut all {
                    Some(all) => merge(all, value),
                    None => all = Some(value),
                }
            }
            if let Some(all) = all {
                out.push((K::from_view(key), all).as_view());
            }
        })
    }
}

/// The closures of a fold.
struct Folding<A, F, M> {
    place: &'static Location<'static>,
    verifies: bool,
    zero: A,
    add: F,
    merge: Arc<M>,
}

impl<A: Record + Clone, F, M: Fn(&mut A, A)> Folding<A, F, M> {
    /// What the rows of each group give: the group of each row is told, and how many groups there are.
    fn groups(&self, groups: &[u32], count: usize, add: impl Fn(&mut A, usize)) -> Result<Vec<A>> {
        let of_rows = |rows: Range<usize>| {
            let mut values = vec![self.zero.clone(); count];
            rows.for_each(|row| add(&mut values[groups[row] as usize], row));
            values
        };
        let whole = of_rows(0..groups.len());
        if self.verifies {
            let half = groups.len() / 2;
            let merged = |mut one: Vec<A>, other: Vec<A>| {
                one.iter_mut().zip(other).for_each(|(one, other)| (self.merge)(one, other));
                one
            };
            let forward = merged(of_rows(0..half), of_rows(half..groups.len()));
            let backward = merged(of_rows(half..groups.len()), of_rows(0..half));
            for (whole, parts) in whole.iter().zip(&forward).chain(whole.iter().zip(&backward)) {
                same(self.place, whole, parts)?;
            }
        }
        Ok(whole)
    }
}

/// The group of each row, and the first row of each group: rows of equal keys are one.
fn groups_of(keys: &Rows) -> (Vec<u32>, Vec<usize>) {
    let (mut numbers, mut first) = (HashMap::new(), Vec::new());
    let groups = keys.iter().enumerate().map(|(row, key)| {
        *numbers.entry(key).or_insert_with(|| {
            first.push(row);
            (first.len() - 1) as u32
        })
    });
    (groups.collect(), first)
}

fn build_and_emit<'v, U: Record>(
    rows: impl Iterator<Item = U::View<'v>>,
    schema: &SchemaRef,
    emit: Emit<'_>,
) -> Result<()> {
    let mut builder = U::builder(rows.size_hint().0);
    rows.for_each(|row| U::append(&mut builder, row));
    emit(build_batch::<U>(builder, schema)?)
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
