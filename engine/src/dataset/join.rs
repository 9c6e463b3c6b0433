//! Two flows of pairs put together by their keys: join, left_join, full_join, semi_join, anti_join, cogroup.
//!
//! In: pairs with keys of one type; NULL is a key like any other. Out: a join of the plan; or, for cogroup, both flows as one, which is grouped.
//! Never: an order of its own: what comes of a join is a set of rows.

use std::{panic::Location, sync::Arc};

use super::{
    flow::Dataset,
    group::Values,
    map::Emitter,
    parameters,
    record::{Leaf, Record, schema_of},
    sort::asc,
};
use crate::{
    batch::{
        array::{ListArray, new_empty_array},
        buffer::OffsetBuffer,
        datatypes::{DataType, Field, Schema},
    },
    error::Result,
    expression::{Expression, Literal},
    plan::logical::{Join, JoinKind, Logical, Node},
};

impl<K: Record, V: Record> Dataset<(K, V)> {
    /// Each value with each value of the other flow that has the same key.
    pub fn join<W: Record>(self, other: Dataset<(K, W)>) -> Dataset<(K, (V, W))> {
        self.joined(other, JoinKind::Inner)
    }

    /// As [`Dataset::join`], with `None` where the other flow does not have the key.
    pub fn left_join<W: Leaf>(self, other: Dataset<(K, W)>) -> Dataset<(K, (V, Option<W>))> {
        self.joined(other, JoinKind::Left)
    }

    /// A row for each key of either flow, or several: as [`Dataset::join`], with `None` where one of them does not have the key.
    pub fn full_join<W: Leaf>(self, other: Dataset<(K, W)>) -> Dataset<(K, Outer<V, W>)>
    where
        V: Leaf,
    {
        let key_count = K::fields().len();
        let left_count = key_count + 1;
        // Of keys that are equal both are the same, and one that is missing is NULL.
        let key = |key: usize| Expression::Case {
            branches: vec![(
                Expression::IsNull(Box::new(Expression::Column(key))),
                Expression::Column(left_count + key),
            )],
            otherwise: Some(Box::new(Expression::Column(key))),
        };
        let values = [Expression::Column(key_count), Expression::Column(left_count + key_count)];
        let expressions = (0..key_count).map(key).chain(values).collect();
        let flow: Dataset<()> = self.with(other, JoinKind::Full, key_count);
        let schema = schema_of::<(K, Outer<V, W>)>();
        flow.then(|input| Logical { node: Node::Project { input: Box::new(input), expressions }, schema })
    }

    /// The pairs whose key the other flow has.
    pub fn semi_join<W: Record>(self, other: Dataset<(K, W)>) -> Dataset<(K, V)> {
        self.tested(other, JoinKind::LeftSemi)
    }

    /// The pairs whose key the other flow does not have.
    pub fn anti_join<W: Record>(self, other: Dataset<(K, W)>) -> Dataset<(K, V)> {
        self.tested(other, JoinKind::LeftAnti)
    }

    /// All values of a key in both flows, for a closure: `a.cogroup(b).map::<(String, i64)>(|name, left, right| …)`.
    pub fn cogroup<W: Record>(self, other: Dataset<(K, W)>) -> Result<Cogrouped<K, V, W>> {
        let schema = schema_of::<(K, (i8, (V, W)))>();
        let (key_count, left_count) = (K::fields().len(), V::fields().len());
        let right_count = W::fields().len();
        // A row has the columns of both; those of the other flow hold nothing.
        let row = |side: i8, logical: Logical| -> Result<Logical> {
            let blanks =
                |first: usize, count: usize| schema.fields()[first..first + count].iter().map(|field| blank(field));
            let values = |count: usize| (key_count..key_count + count).map(|column| Ok(Expression::Column(column)));
            let mut expressions: Vec<Result<Expression>> =
                (0..key_count).map(|key| Ok(Expression::Column(key))).collect();
            expressions.push(Ok(Expression::Literal(Literal::from(i64::from(side)).cast_to(&DataType::Int8)?)));
            let first = key_count + 1;
            if side == LEFT {
                expressions.extend(values(left_count).chain(blanks(first + left_count, right_count)));
            } else {
                expressions.extend(blanks(first, left_count).chain(values(right_count)));
            }
            let expressions = expressions.into_iter().collect::<Result<_>>()?;
            Ok(Logical { node: Node::Project { input: Box::new(logical), expressions }, schema: Arc::clone(&schema) })
        };
        let session = self.session().clone();
        let left = row(LEFT, self.logical().clone())?;
        let mut right = row(RIGHT, other.logical().clone())?;
        parameters::shift(&mut right, parameters::count(&left));
        let node = Node::Union { inputs: vec![left, right] };
        Ok(Cogrouped(Dataset::new(session, Logical { node, schema })))
    }

    fn joined<W: Record, U: Record>(self, other: Dataset<(K, W)>, kind: JoinKind) -> Dataset<(K, (V, U))> {
        let (key_count, left_count) = (K::fields().len(), self.schema().fields().len());
        let all = left_count + W::fields().len();
        let columns = (0..left_count).chain(left_count + key_count..key_count + all);
        let expressions = columns.map(Expression::Column).collect();
        let flow: Dataset<()> = self.with(other, kind, key_count);
        let schema = schema_of::<(K, (V, U))>();
        flow.then(|input| Logical { node: Node::Project { input: Box::new(input), expressions }, schema })
    }

    fn tested<W: Record>(self, other: Dataset<(K, W)>, kind: JoinKind) -> Dataset<(K, V)> {
        self.with(other, kind, K::fields().len())
    }

    fn with<W: Record, U>(self, other: Dataset<(K, W)>, kind: JoinKind, key_count: usize) -> Dataset<U> {
        let mut right = other.logical().clone();
        parameters::shift(&mut right, parameters::count(self.logical()));
        self.then(|left| {
            let may_miss =
                |field: &Arc<Field>, misses| Field::clone(field).with_nullable(field.is_nullable() || misses);
            let right_field = |field: &Arc<Field>| may_miss(field, matches!(kind, JoinKind::Left | JoinKind::Full));
            let of_left = left.schema.fields().iter().map(|field| may_miss(field, kind == JoinKind::Full));
            let schema = match kind {
                JoinKind::LeftSemi | JoinKind::LeftAnti => Arc::clone(&left.schema),
                _ => Arc::new(Schema::new(
                    of_left.chain(right.schema.fields().iter().map(right_field)).collect::<Vec<_>>(),
                )),
            };
            let on = (0..key_count).map(|key| (Expression::Column(key), Expression::Column(key))).collect();
            let (left, right) = (Box::new(left), Box::new(right));
            let join = Join { left, right, kind, on, filter: None, nulls_equal: true, is_null_aware: false };
            Logical { node: Node::Join(join), schema }
        })
    }
}

/// A value of each of two flows, `None` where one does not have the key.
pub type Outer<V, W> = (Option<V>, Option<W>);

/// Which flow a row of a cogroup is of.
const LEFT: i8 = 0;
const RIGHT: i8 = 1;

/// A row of both flows: which one it is of, and the values of both, of which one is blank.
type Either<V, W> = (i8, (V, W));

/// Keys with all their values in two flows; what becomes of them is for a closure to say.
pub struct Cogrouped<K, V, W>(Dataset<(K, Either<V, W>)>);

impl<K: Record, V: Record, W: Record> Cogrouped<K, V, W> {
    /// A row for each key of either flow. The values of the first are in memory together, those of the second come as they are asked for.
    #[track_caller]
    pub fn map<U: Record>(
        self,
        group: impl Fn(K::View<'_>, &[V], &mut Others<'_, '_, '_, K, V, W>) -> U + Send + Sync + 'static,
    ) -> Result<Dataset<U>> {
        self.through(Location::caller(), move |key, left, right, out| out.push(group(key, left, right).as_view()))
    }

    /// Any number of rows for each key of either flow.
    #[track_caller]
    pub fn flat_map<U: Record>(
        self,
        group: impl Fn(K::View<'_>, &[V], &mut Others<'_, '_, '_, K, V, W>, &mut Emitter<'_, U>) + Send + Sync + 'static,
    ) -> Result<Dataset<U>> {
        self.through(Location::caller(), group)
    }

    fn through<U: Record>(
        self,
        place: &'static Location<'static>,
        group: impl Fn(K::View<'_>, &[V], &mut Others<'_, '_, '_, K, V, W>, &mut Emitter<'_, U>) + Send + Sync + 'static,
    ) -> Result<Dataset<U>> {
        let side = self.0.schema().field(K::fields().len()).name().clone();
        let grouped = self.0.group_by_key().in_order_of([asc(&side)])?;
        Ok(grouped.through(place, move |key, values, out| {
            let mut left = Vec::new();
            loop {
                let is_other = match values.next() {
                    None => break,
                    Some((RIGHT, _)) => true,
                    Some((_, (value, _))) => {
                        left.push(V::from_view(value));
                        false
                    }
                };
                if is_other {
                    values.step_back();
                    break;
                }
            }
            group(key, &left, &mut Others(values), out);
        }))
    }
}

/// The values that the second flow has of a key, one after the other.
pub struct Others<'o, 'v, 'p, K: Record, V: Record, W: Record>(&'o mut Values<'v, 'p, K, Either<V, W>>);

impl<K: Record, V: Record, W: Record> Others<'_, '_, '_, K, V, W> {
    /// The next value; none behind the last one.
    #[allow(clippy::should_implement_trait, reason = "what it gives borrows from it")]
    pub fn next(&mut self) -> Option<W::View<'_>> {
        self.0.next().map(|(_, (_, value))| value)
    }

    /// How many values are left.
    pub fn count(&mut self) -> i64 {
        self.0.count()
    }

    /// What is left of them, in memory.
    pub fn to_vec(&mut self) -> Vec<W> {
        let mut all = Vec::new();
        while let Some(value) = self.next() {
            all.push(W::from_view(value));
        }
        all
    }
}

/// What stands in a column of the other flow: NULL, or a value that nobody looks at.
fn blank(field: &Field) -> Result<Expression> {
    let data_type = field.data_type();
    let literal = match data_type {
        data_type if field.is_nullable() => Literal::null(data_type)?,
        DataType::Boolean => Literal::from(false),
        DataType::List(item) => {
            let values = new_empty_array(item.data_type());
            let empty = ListArray::new(Arc::clone(item), OffsetBuffer::from_lengths([0]), values, None);
            Literal::from_array(&empty, 0)?
        }
        DataType::Utf8View | DataType::BinaryView => Literal::from("").cast_to(data_type)?,
        number => Literal::from(0_i64).cast_to(number)?,
    };
    Ok(Expression::Literal(literal))
}
