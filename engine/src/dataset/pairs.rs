//! Pairs of a key and a value: key_by, map_values, keys, values.
//!
//! In: rows, or pairs. Out: pairs, or one half of them. Never: copies a column that stays as it is.

use std::{panic::Location, sync::Arc};

use super::{
    flow::Dataset,
    record::{Columns, Record, build_batch, schema_of},
};
use crate::{
    batch::{Batch, datatypes::Schema},
    expression::Expression,
    plan::logical::{Logical, Node},
};

impl<T: Record> Dataset<T> {
    /// Each row with a key: `.key_by(|sale| sale.city.to_owned())`.
    #[track_caller]
    pub fn key_by<K: Record>(self, key: impl Fn(T::View<'_>) -> K + Send + Sync + 'static) -> Dataset<(K, T)> {
        let (keys, output) = (schema_of::<K>(), schema_of::<(K, T)>());
        self.through(Location::caller(), Arc::clone(&output), move |batch, emit| {
            let reader = T::reader(&mut Columns::of(batch))?;
            let mut builder = K::builder(batch.num_rows());
            for row in 0..batch.num_rows() {
                K::append(&mut builder, key(T::view(&reader, row)).as_view());
            }
            let keys = build_batch::<K>(builder, &keys)?;
            let columns = keys.columns().iter().chain(batch.columns()).cloned().collect();
            emit(Batch::try_new(Arc::clone(&output), columns)?)
        })
    }
}

impl<K: Record, V: Record> Dataset<(K, V)> {
    /// The same keys with other values.
    #[track_caller]
    pub fn map_values<U: Record>(self, value: impl Fn(V::View<'_>) -> U + Send + Sync + 'static) -> Dataset<(K, U)> {
        let (key_count, values, output) = (K::fields().len(), schema_of::<U>(), schema_of::<(K, U)>());
        self.through(Location::caller(), Arc::clone(&output), move |batch, emit| {
            let (_, reader) = <(K, V)>::reader(&mut Columns::of(batch))?;
            let mut builder = U::builder(batch.num_rows());
            for row in 0..batch.num_rows() {
                U::append(&mut builder, value(V::view(&reader, row)).as_view());
            }
            let values = build_batch::<U>(builder, &values)?;
            let columns = batch.columns()[..key_count].iter().chain(values.columns()).cloned().collect();
            emit(Batch::try_new(Arc::clone(&output), columns)?)
        })
    }

    /// The keys, as often as they are there.
    pub fn keys(self) -> Dataset<K> {
        self.half(0, K::fields().len())
    }

    /// The values.
    pub fn values(self) -> Dataset<V> {
        self.half(K::fields().len(), V::fields().len())
    }

    /// `count` columns from `first` on.
    fn half<T>(self, first: usize, count: usize) -> Dataset<T> {
        self.then(|input| {
            let fields = input.schema.fields()[first..first + count].to_vec();
            let expressions = (first..first + count).map(Expression::Column).collect();
            let schema = Arc::new(Schema::new(fields));
            Logical { node: Node::Project { input: Box::new(input), expressions }, schema }
        })
    }
}
