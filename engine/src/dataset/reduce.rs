//! Rows of one key put together: reduce_by_key, count_by_value, distinct. All are one grouping with known aggregates.

use std::sync::Arc;

use super::{action::count_rows, flow::Dataset, monoid::Monoid, record::Record};
use crate::{
    batch::datatypes::{Field, Schema},
    expression::{AggregateCall, Expression},
    plan::logical::{Logical, Node},
};

impl<K: Record, V: Record> Dataset<(K, V)> {
    /// One row per key: the key, and its values put together: `.reduce_by_key(Sum)`, `.reduce_by_key((Sum, Max))`.
    pub fn reduce_by_key<M: Monoid<V>>(self, _by: M) -> Dataset<(K, M::Output)> {
        let key_count = K::fields().len();
        let mut calls = Vec::new();
        M::add_calls(key_count, &mut calls);
        let given = <(K, M::Output)>::fields().split_off(key_count);
        let before = &self.schema().fields()[key_count..];
        // A value keeps its name where each column becomes one column.
        let keeps_names = before.len() == given.len();
        let values = given
            .into_iter()
            .enumerate()
            .map(|(place, field)| if keeps_names { field.with_name(before[place].name()) } else { field });
        let values = values.collect();
        self.group(key_count, calls, values)
    }
}

impl<T: Record> Dataset<T> {
    /// Each distinct row, and how often it is there.
    pub fn count_by_value(self) -> Dataset<(T, i64)> {
        let key_count = self.schema().fields().len();
        let count = <(T, i64)>::fields().split_off(key_count);
        self.group(key_count, vec![count_rows()], count)
    }
}

impl<T> Dataset<T> {
    /// Each distinct row once.
    pub fn distinct(self) -> Dataset<T> {
        let key_count = self.schema().fields().len();
        self.group(key_count, Vec::new(), Vec::new())
    }

    /// A row for each distinct value of the first `key_count` columns: these, then a column per call.
    fn group<U>(self, key_count: usize, calls: Vec<AggregateCall>, values: Vec<Field>) -> Dataset<U> {
        let keys = self.schema().fields()[..key_count].iter().map(|field| Field::clone(field));
        let schema = Arc::new(Schema::new(keys.chain(values).collect::<Vec<_>>()));
        let keys = (0..key_count).map(Expression::Column).collect();
        self.then(|input| Logical { node: Node::Aggregate { input: Box::new(input), keys, calls }, schema })
    }
}
