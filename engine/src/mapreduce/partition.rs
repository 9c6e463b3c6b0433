//! Which part a row belongs to.
//!
//! In: keys and values. Out: the same rows with the number of their part, and the word that they are rows. Never: a number that is no part's.
//!
//! Behind the columns of key and value stand two more: `part`, and `is_row`, false in the one row a part that is none: with it a part is there
//! in the task that has it, also if no row belongs to it, and its reducer lives.
//!
//! ```text
//!   key…, value…   part  is_row
//!   blank           0    false       one for each part, before all of its rows
//!   "a",  1         2    true
//! ```

use std::{any::type_name, marker::PhantomData, sync::Arc};

use super::error::MapReduceError;
use crate::{
    batch::{
        Batch, CanonicalOrder,
        array::{ArrayRef, BooleanArray, StringViewArray, UInt32Array, new_null_array},
        canonical_floats, compute,
        datatypes::{DataType, Field, Schema, SchemaRef},
        row::OwnedRow,
    },
    dataset::{Columns, Record, record_text},
    error::Result,
    kernel::{Kernels, hash_columns},
};

/// Says which part a key and its value belong to. Rows of one key must belong to one part.
pub trait Partitioner<K: Record, V: Record>: Send + Sync + 'static {
    /// The number of the part, from 0 on and less than `parts`.
    fn part(&self, key: K::View<'_>, value: V::View<'_>, parts: u32) -> u32;
}

/// The parts of the rows of a batch of keys and values.
pub(super) trait Parts: Send + Sync {
    fn parts(&self, batch: &Batch, count: u32) -> Result<Vec<u32>>;
}

/// By the hash of so many of the first columns.
pub(super) struct ByHash(pub(super) usize);

impl Parts for ByHash {
    fn parts(&self, batch: &Batch, count: u32) -> Result<Vec<u32>> {
        let (mut hashes, mut numbers) = (Vec::new(), Vec::new());
        hash_columns(&batch.columns()[..self.0], &mut hashes)?;
        // By other bits than those that bring rows to their task.
        hashes.iter_mut().for_each(|hash| *hash = hash.rotate_left(HASH_ROTATION));
        Kernels::detect().group_products(&hashes, count, &mut numbers);
        Ok(numbers.into_iter().map(u32::from).collect())
    }
}

const HASH_ROTATION: u32 = 40;

/// By the user's partitioner.
pub(super) struct ByPartitioner<K, V, P>(pub(super) P, pub(super) PhantomData<fn(K, V)>);

impl<K: Record, V: Record, P: Partitioner<K, V>> Parts for ByPartitioner<K, V, P> {
    fn parts(&self, batch: &Batch, count: u32) -> Result<Vec<u32>> {
        let reader = <(K, V)>::reader(&mut Columns::of(batch))?;
        let part = |row| {
            let (key, value) = <(K, V)>::view(&reader, row);
            let part = self.0.part(key, value, count);
            if part < count {
                return Ok(part);
            }
            let key = batch.project(&(0..K::fields().len()).collect::<Vec<_>>())?;
            let (record, partitioner) = (record_text(&key, row).replacen("record", "key", 1), type_name::<P>());
            Err(MapReduceError::NoSuchPart { record, partitioner, part, count }.into())
        };
        (0..batch.num_rows()).map(part).collect()
    }
}

/// By range: part `n` has the keys that are not less than `n` of the splitters.
pub(super) struct ByRange {
    order: CanonicalOrder,
    key_count: usize,
    /// Ascending.
    splitters: Vec<OwnedRow>,
}

impl ByRange {
    /// Cuts between the keys of a sample, so that about as many of it are in each of `count` parts.
    pub(super) fn of_sample(sample: &[Batch], key_count: usize, schema: &Schema, count: u32) -> Result<ByRange> {
        let order = CanonicalOrder::new(&schema.project(&(0..key_count).collect::<Vec<_>>())?)?;
        let mut keys = Vec::new();
        for batch in sample {
            keys.extend(encoded(&order, batch, key_count)?.iter().map(|row| row.owned()));
        }
        keys.sort_unstable();
        let mut splitters: Vec<OwnedRow> =
            (1..count as usize).filter_map(|part| keys.get(part * keys.len() / count as usize).cloned()).collect();
        splitters.dedup();
        Ok(ByRange { order, key_count, splitters })
    }
}

fn encoded(order: &CanonicalOrder, batch: &Batch, key_count: usize) -> Result<crate::batch::row::Rows> {
    let keys = batch.project(&(0..key_count).collect::<Vec<_>>())?;
    order.encode(&Batch::try_new(keys.schema(), keys.columns().iter().map(canonical_floats).collect())?)
}

impl Parts for ByRange {
    fn parts(&self, batch: &Batch, _count: u32) -> Result<Vec<u32>> {
        let keys = encoded(&self.order, batch, self.key_count)?;
        Ok(keys.iter().map(|key| self.splitters.partition_point(|splitter| splitter.row() <= key) as u32).collect())
    }
}

/// The columns of keys and values, and behind them those of the part.
pub(super) fn with_part(schema: &Schema) -> SchemaRef {
    let part = [Field::new("part", DataType::UInt32, false), Field::new("is_row", DataType::Boolean, false)];
    let fields = schema.fields().iter().map(|field| Field::clone(field)).chain(part);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The rows with the number of their part.
pub(super) fn numbered(batch: &Batch, parts: &dyn Parts, count: u32, output: &SchemaRef) -> Result<Batch> {
    let numbers: ArrayRef = Arc::new(UInt32Array::from(parts.parts(batch, count)?));
    let is_row: ArrayRef = Arc::new(BooleanArray::from(vec![true; batch.num_rows()]));
    let columns = batch.columns().iter().cloned().chain([numbers, is_row]).collect();
    Ok(Batch::try_new(Arc::clone(output), columns)?)
}

/// The row of each part that is none. `schema`: of [`with_part`].
pub(super) fn beginnings(schema: &SchemaRef, count: u32) -> Result<Batch> {
    let rows = count as usize;
    let key_and_value = &schema.fields()[..schema.fields().len() - 2];
    let mut columns = key_and_value.iter().map(|field| blank(field, rows)).collect::<Result<Vec<_>>>()?;
    columns.push(Arc::new(UInt32Array::from_iter_values(0..count)));
    columns.push(Arc::new(BooleanArray::from(vec![false; rows])));
    Ok(Batch::try_new(Arc::clone(schema), columns)?)
}

/// A column of nothing.
fn blank(field: &Field, rows: usize) -> Result<ArrayRef> {
    if field.is_nullable() {
        return Ok(new_null_array(field.data_type(), rows));
    }
    Ok(match field.data_type() {
        DataType::Boolean => Arc::new(BooleanArray::from(vec![false; rows])),
        // Of the leaves that a record can have (`dataset/record/leaf.rs`): numbers, and strings as views.
        DataType::Utf8View | DataType::BinaryView => {
            let empty = StringViewArray::from_iter_values(vec![""; rows]);
            compute::cast(&empty, field.data_type())?
        }
        number => compute::cast(&UInt32Array::from(vec![0; rows]), number)?,
    })
}
