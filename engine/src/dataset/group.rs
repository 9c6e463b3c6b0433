//! All values of a key, to a closure: group_by_key.
//!
//! In: keys with values, in any order. Out: what the closure makes of each key and its values. Never: holds the values of a key; they come as
//! they are asked for, from memory or from disk.

use std::{marker::PhantomData, ops::Range, panic::Location, sync::Arc};

use super::{
    flow::Dataset,
    map::Emitter,
    record::{Columns, Record, schema_of},
    sort::{SortBy, bind_keys},
};
use crate::{
    batch::datatypes::SchemaRef,
    error::{Error, Result, bug},
    expression::SortKey,
    observe::Counters,
    operator::groups::{Emit, GroupCalls, GroupFunction, PartColumn, Piece, Pieces},
};

impl<K: Record, V: Record> Dataset<(K, V)> {
    /// The values of each key together, for a closure:
    /// `.group_by_key().map::<(String, i64)>(|name, values| (name.to_owned(), values.count()))`.
    ///
    /// What `reduce_by_key` can say is better said there: it puts values together before they are moved.
    pub fn group_by_key(self) -> Grouped<K, V> {
        Grouped { pairs: self, order: Vec::new() }
    }
}

impl<K: Record, V: Record> Dataset<(K, V)> {
    /// One row per key: what `add` has made of `zero` and the key's values, in the order of their content:
    /// `.aggregate_by_key(0, |longest, word| *longest = word.len().max(*longest))`.
    ///
    /// The order makes the result one, whatever `add` does. What `reduce_by_key` can say is better said there: it puts values together before
    /// they are moved.
    #[track_caller]
    pub fn aggregate_by_key<A: Record + Clone>(
        self,
        zero: A,
        add: impl Fn(&mut A, V::View<'_>) + Send + Sync + 'static,
    ) -> Dataset<(K, A)> {
        self.group_by_key().through(Location::caller(), move |key, values, out| {
            let mut all = zero.clone();
            while let Some(value) = values.next() {
                add(&mut all, value);
            }
            out.push((K::from_view(key), all).as_view());
        })
    }
}

/// Keys with all their values; what becomes of them is for a closure to say.
pub struct Grouped<K, V> {
    pairs: Dataset<(K, V)>,
    order: Vec<SortKey>,
}

impl<K: Record, V: Record> Grouped<K, V> {
    /// The values come in this order, by columns of the pairs: `.in_order_of([desc("_1_0")])`. Those that it leaves equal, or all without it, come
    /// by their content.
    pub fn in_order_of(self, keys: impl IntoIterator<Item = SortBy>) -> Result<Grouped<K, V>> {
        let order = bind_keys(keys, self.pairs.schema())?;
        Ok(Grouped { order, ..self })
    }

    /// A row for each key.
    #[track_caller]
    pub fn map<U: Record>(
        self,
        group: impl Fn(K::View<'_>, &mut Values<'_, '_, K, V>) -> U + Send + Sync + 'static,
    ) -> Dataset<U> {
        self.through(Location::caller(), move |key, values, out| out.push(group(key, values).as_view()))
    }

    /// Any number of rows for each key.
    #[track_caller]
    pub fn flat_map<U: Record>(
        self,
        group: impl Fn(K::View<'_>, &mut Values<'_, '_, K, V>, &mut Emitter<'_, U>) + Send + Sync + 'static,
    ) -> Dataset<U> {
        self.through(Location::caller(), group)
    }

    pub(super) fn through<U: Record>(
        self,
        place: &'static Location<'static>,
        group: impl Fn(K::View<'_>, &mut Values<'_, '_, K, V>, &mut Emitter<'_, U>) + Send + Sync + 'static,
    ) -> Dataset<U> {
        self.pairs.in_groups(place, None, (K::fields().len(), self.order), group)
    }
}

impl<K: Record, V: Record> Dataset<(K, V)> {
    /// What `group` makes of each key and its values, or of each part and its rows. A key has so many columns; its rows come in the order given.
    pub(super) fn in_groups<U: Record>(
        self,
        place: &'static Location<'static>,
        part: Option<PartColumn>,
        keys_and_order: (usize, Vec<SortKey>),
        group: impl Fn(K::View<'_>, &mut Values<'_, '_, K, V>, &mut Emitter<'_, U>) + Send + Sync + 'static,
    ) -> Dataset<U> {
        let output = schema_of::<U>();
        let rows_max = self.session().settings().rows_per_morsel;
        let function = TypedGroups {
            group: Arc::new(group),
            output: Arc::clone(&output),
            rows_max,
            types: PhantomData::<fn(K, V) -> U>,
        };
        self.grouped(place, part, keys_and_order, output, function)
    }
}

/// The values of one key, one after the other.
///
/// It is no iterator, since a value may stand in a batch that the next one does not: `while let Some(value) = values.next() { … }`.
pub struct Values<'v, 'p, K: Record, V: Record> {
    walk: &'v mut Walk<'p, K, V>,
    readers: Readers<K, V>,
    rows: Range<usize>,
    is_over: bool,
}

impl<K: Record, V: Record> Values<'_, '_, K, V> {
    /// The next value; none behind the last one.
    #[allow(clippy::should_implement_trait, reason = "what it gives borrows from it")]
    #[inline]
    pub fn next(&mut self) -> Option<V::View<'_>> {
        if self.rows.is_empty() && !self.go_on() {
            return None;
        }
        let row = self.rows.start;
        self.rows.start += 1;
        Some(V::view(&self.readers.1, row))
    }

    /// The next value with its key: keys of one group may differ where it is not made by all of their columns.
    #[inline]
    pub fn next_pair(&mut self) -> Option<(K::View<'_>, V::View<'_>)> {
        if self.rows.is_empty() && !self.go_on() {
            return None;
        }
        let row = self.rows.start;
        self.rows.start += 1;
        Some((K::view(&self.readers.0, row), V::view(&self.readers.1, row)))
    }

    /// Gives the value that was given last once more, as the next one.
    pub(super) fn step_back(&mut self) {
        self.rows.start -= 1;
    }

    /// What is left of them, one after the other into one.
    pub fn fold<A>(&mut self, first: A, mut put: impl FnMut(A, V::View<'_>) -> A) -> A {
        let mut all = first;
        while let Some(value) = self.next() {
            all = put(all, value);
        }
        all
    }

    /// How many values are left.
    pub fn count(&mut self) -> i64 {
        let mut count = 0;
        loop {
            count += self.rows.len() as i64;
            self.rows.start = self.rows.end;
            if !self.go_on() {
                return count;
            }
        }
    }

    /// What is left of them, in memory.
    pub fn to_vec(&mut self) -> Vec<V> {
        self.fold(Vec::new(), |mut all, value| {
            all.push(V::from_view(value));
            all
        })
    }

    /// Goes on to more rows of the group; false if there are none.
    #[cold]
    fn go_on(&mut self) -> bool {
        if self.is_over {
            return false;
        }
        let more = self.walk.more();
        self.is_over = more.is_none();
        if let Some((readers, rows)) = more {
            (self.readers, self.rows) = (readers, rows);
        }
        !self.is_over
    }
}

/// Keys and values of a batch, typed.
type Readers<K, V> = Arc<(<K as Record>::Reader, <V as Record>::Reader)>;

/// Where in the pieces a call is.
pub(crate) struct Walk<'p, K: Record, V: Record> {
    pieces: &'p mut dyn Pieces,
    /// Of the latest batch, and its number.
    readers: Option<(u64, Readers<K, V>)>,
    /// The first piece of the next group, if it was seen.
    next: Option<Piece>,
    /// Why no more came.
    failure: Option<Error>,
}

impl<'p, K: Record, V: Record> Walk<'p, K, V> {
    pub(crate) fn new(pieces: &'p mut dyn Pieces) -> Walk<'p, K, V> {
        Walk { pieces, readers: None, next: None, failure: None }
    }

    /// Calls `group` with the group that begins with this piece.
    #[inline]
    pub(crate) fn group<R>(
        &mut self,
        piece: &Piece,
        group: impl FnOnce(K::View<'_>, &mut Values<'_, 'p, K, V>) -> R,
    ) -> Result<R> {
        if piece.rows.is_empty() {
            return Err(bug("dataset", "a group without rows"));
        }
        let readers = self.readers_of(piece)?;
        let keys = Arc::clone(&readers);
        let key = K::view(&keys.0, piece.rows.start);
        Ok(group(key, &mut Values { walk: self, readers, rows: piece.rows.clone(), is_over: false }))
    }

    /// Fails if rows did not come that a group has.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.failure.take().map_or(Ok(()), Err)
    }

    /// More rows of the group that is being walked.
    fn more(&mut self) -> Option<(Readers<K, V>, Range<usize>)> {
        if self.next.is_some() || self.failure.is_some() {
            return None;
        }
        let piece = self.pieces.next().unwrap_or_else(|failure| {
            self.failure = Some(failure);
            None
        })?;
        if piece.is_first {
            self.next = Some(piece);
            return None;
        }
        match self.readers_of(&piece) {
            Ok(readers) => Some((readers, piece.rows)),
            Err(failure) => {
                self.failure = Some(failure);
                None
            }
        }
    }

    /// The first piece of the next group; what is left of the one before is passed over.
    pub(crate) fn next_group(&mut self) -> Result<Option<Piece>> {
        loop {
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            match self.next.take() {
                Some(piece) => return Ok(Some(piece)),
                None => match self.pieces.next()? {
                    Some(piece) if piece.is_first => return Ok(Some(piece)),
                    Some(_) => {}
                    None => return Ok(None),
                },
            }
        }
    }

    fn readers_of(&mut self, piece: &Piece) -> Result<Readers<K, V>> {
        if let Some((number, readers)) = &self.readers
            && *number == piece.number
        {
            return Ok(Arc::clone(readers));
        }
        let readers = Arc::new(<(K, V)>::reader(&mut Columns::of(&piece.batch))?);
        self.readers = Some((piece.number, Arc::clone(&readers)));
        Ok(readers)
    }
}

/// The user's closure.
struct TypedGroups<K, V, U, F> {
    group: Arc<F>,
    output: SchemaRef,
    rows_max: usize,
    types: PhantomData<fn(K, V) -> U>,
}

impl<K, V, U, F> GroupFunction for TypedGroups<K, V, U, F>
where
    K: Record,
    V: Record,
    U: Record,
    F: Fn(K::View<'_>, &mut Values<'_, '_, K, V>, &mut Emitter<'_, U>) + Send + Sync + 'static,
{
    fn open(&self, _part: u32, _: &Arc<Counters>) -> Result<Box<dyn GroupCalls>> {
        let TypedGroups { group, output, rows_max, types } = self;
        let (group, output) = (Arc::clone(group), Arc::clone(output));
        Ok(Box::new(TypedGroups { group, output, rows_max: *rows_max, types: *types }))
    }
}

impl<K, V, U, F> GroupCalls for TypedGroups<K, V, U, F>
where
    K: Record,
    V: Record,
    U: Record,
    F: Fn(K::View<'_>, &mut Values<'_, '_, K, V>, &mut Emitter<'_, U>) + Send + Sync + 'static,
{
    fn groups(&mut self, pieces: &mut dyn Pieces, emit: Emit<'_>) -> Result<()> {
        let mut walk: Walk<'_, K, V> = Walk::new(pieces);
        let mut emitter = Emitter::<U>::new(emit, &self.output, self.rows_max);
        while let Some(piece) = walk.next_group()? {
            walk.group(&piece, |key, values| (self.group)(key, values, &mut emitter))?;
            if emitter.has_failed() {
                break;
            }
        }
        emitter.finish()
    }
}
