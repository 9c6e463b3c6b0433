//! The combiner over what a split has emitted: some thousand rows at a time, in order.
//!
//! In: keys and values. Out: what the combiner makes of each key's values among them. Never: rows of two splits together; more held than
//! [`ROWS_MAX`] and [`BYTES_MAX`] say, and a morsel.
//!
//! It is the spill of Hadoop's map side without the disk: what was gathered is sorted by content and goes through the combiner key by key. Bounds are
//! rows of the split and the bytes of their values, looked at every so many rows, which no setting moves: so a split gives the same rows each
//! time.

use std::{any::type_name, ops::Range, sync::Arc};

use super::{
    context::{Context, Task},
    map_side::Afterwards,
    reducer::Combiner,
};
use crate::{
    batch::{
        Batch, CanonicalOrder,
        array::{Array, ArrayRef, AsArray, UInt32Array},
        canonical_floats, concat,
        datatypes::{DataType, SchemaRef},
        take_rows,
    },
    dataset::{Emitter, Record, Walk, guarded},
    error::Result,
    operator::{
        Emit,
        groups::{Piece, Pieces},
    },
};

/// Rows that are gathered before they are combined: a table of words of a language fits several times, and so do they in a cache.
const ROWS_MAX: usize = 1 << 17;

/// Bytes of values after which fewer rows are enough: each thread holds them beside the budget, as it does the batches that closures build.
const BYTES_MAX: u64 = 8 << 20;

/// Rows after which bytes are looked at.
const ROWS_AT_ONCE: usize = 1 << 10;

const _: () = assert!(ROWS_MAX.is_multiple_of(ROWS_AT_ONCE));

/// What waits to be combined.
pub(super) struct Combining<K: Record, V: Record, C: Combiner<K, V>> {
    combiner: C,
    /// How many of the key's columns make a group.
    group_columns: usize,
    schema: SchemaRef,
    order: CanonicalOrder,
    keys: CanonicalOrder,
    waiting: Vec<Batch>,
    rows: usize,
    bytes: u64,
    types: std::marker::PhantomData<fn(K) -> V>,
}

impl<K: Record, V: Record, C: Combiner<K, V>> Combining<K, V, C> {
    pub(super) fn new(combiner: C, group_columns: usize, schema: &SchemaRef) -> Result<Combining<K, V, C>> {
        Ok(Combining {
            combiner,
            group_columns,
            order: CanonicalOrder::new(schema)?,
            keys: CanonicalOrder::new(&schema.project(&(0..group_columns).collect::<Vec<_>>())?)?,
            schema: Arc::clone(schema),
            waiting: Vec::new(),
            rows: 0,
            bytes: 0,
            types: std::marker::PhantomData,
        })
    }

    /// What waits in order of content, and where in it groups begin.
    fn sorted(&mut self) -> Result<(Batch, Vec<usize>)> {
        let all = concat(&self.schema, &std::mem::take(&mut self.waiting))?;
        (self.rows, self.bytes) = (0, 0);
        let keys = all.columns()[..K::fields().len()].iter().map(canonical_floats);
        let columns = keys.chain(all.columns()[K::fields().len()..].iter().cloned()).collect();
        let encoded = self.order.encode(&Batch::try_new(Arc::clone(&self.schema), columns)?)?;
        let mut numbers: Vec<u32> = (0..all.num_rows() as u32).collect();
        numbers.sort_unstable_by(|one, other| encoded.row(*one as usize).cmp(&encoded.row(*other as usize)));
        let sorted = take_rows(&all, &UInt32Array::from(numbers))?;
        let columns: Vec<usize> = (0..self.group_columns).collect();
        let keys = sorted.project(&columns)?;
        let keys = Batch::try_new(keys.schema(), keys.columns().iter().map(canonical_floats).collect())?;
        let keys = self.keys.encode(&keys)?;
        let begins = (0..sorted.num_rows()).filter(|row| *row == 0 || keys.row(*row) != keys.row(row - 1)).collect();
        Ok((sorted, begins))
    }

    fn combine(&mut self, task: &Task, emit: Emit<'_>) -> Result<()> {
        let (batch, begins) = self.sorted()?;
        let mut pieces = InMemory { batch, begins, next: 0 };
        let schema = Arc::clone(&self.schema);
        let mut combiner = self.combiner.clone();
        let name = combiner.name();
        let failed = |error| task.failed_as(("combiner", name.clone()), None, error);
        // Handed on from outside: what panics there is not the combiner.
        let mut made = Vec::new();
        let mut keep = |batch| {
            made.push(batch);
            Ok(())
        };
        guarded(type_name::<C>(), || {
            let mut context = Context::new(Emitter::new(&mut keep, &schema, ROWS_MAX), task);
            combiner.set_up(&mut context).map_err(failed)?;
            let mut walk: Walk<'_, K, V> = Walk::new(&mut pieces);
            while let Some(piece) = walk.next_group()? {
                walk.group(&piece, |key, values| combiner.reduce(key, values, &mut context))?.map_err(failed)?;
                if context.has_failed() {
                    break;
                }
            }
            combiner.clean_up(&mut context).map_err(failed)?;
            context.finish()
        })?;
        made.into_iter().try_for_each(emit)
    }
}

impl<K: Record, V: Record, C: Combiner<K, V>> Afterwards for Combining<K, V, C> {
    fn push(&mut self, batch: Batch, task: &Task, emit: Emit<'_>) -> Result<()> {
        let mut first = 0;
        while first < batch.num_rows() {
            // Cut where bounds are looked at, wherever the mapper's batches end.
            let rows = (batch.num_rows() - first).min(ROWS_AT_ONCE - self.rows % ROWS_AT_ONCE);
            let some = batch.slice(first, rows);
            (self.rows, self.bytes, first) = (self.rows + rows, self.bytes + value_bytes(&some), first + rows);
            self.waiting.push(some);
            if self.rows.is_multiple_of(ROWS_AT_ONCE) && (self.rows == ROWS_MAX || self.bytes >= BYTES_MAX) {
                self.combine(task, emit)?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, task: &Task, emit: Emit<'_>) -> Result<()> {
        if self.rows > 0 { self.combine(task, emit) } else { Ok(()) }
    }
}

/// Bytes of the values, the same however the rows are cut.
fn value_bytes(batch: &Batch) -> u64 {
    let of_views = |views: &[u128]| views.iter().map(|view| 16 + u64::from(*view as u32)).sum::<u64>();
    let of_column = |column: &ArrayRef| match column.data_type() {
        DataType::Utf8View => of_views(column.as_string_view().views()),
        DataType::BinaryView => of_views(column.as_binary_view().views()),
        other => (other.primitive_width().unwrap_or(1) * column.len()) as u64,
    };
    batch.columns().iter().map(of_column).sum()
}

/// Groups of one batch.
struct InMemory {
    batch: Batch,
    begins: Vec<usize>,
    next: usize,
}

impl Pieces for InMemory {
    fn next(&mut self) -> Result<Option<Piece>> {
        let Some(start) = self.begins.get(self.next).copied() else { return Ok(None) };
        self.next += 1;
        let end = self.begins.get(self.next).copied().unwrap_or(self.batch.num_rows());
        let rows: Range<usize> = start..end;
        Ok(Some(Piece { batch: self.batch.clone(), number: 0, rows, is_first: true }))
    }
}
