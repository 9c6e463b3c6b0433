//! The bound of a top-k as a test of the rows that a scan is going to give it.
//!
//! In: rows with the columns of the first keys. Out: which of them may be among the first rows, as far as is known by now. Never: drops a row
//! whose keys are equal to the bound's; waits for a bound.
//!
//! Keys in row form are those of their columns one behind the other, so the first columns' bytes compare with the bound's as the whole key's
//! do, unless they are equal. A test that keeps most rows stops testing: the input stands in the wrong order, or has few rows.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use super::{
    keys::{SortKeys, SortSpec},
    top_k::TopK,
};
use crate::{
    batch::{
        Batch,
        array::{Array, ArrayRef, BooleanArray},
        buffer::BooleanBuffer,
        datatypes::{Field, Schema, SchemaRef},
    },
    error::Result,
    expression::{Expression, Parameters, SortKey},
    format::RowTest,
};

/// Rows after which a test has seen enough to judge itself by.
const ROWS_JUDGED: u64 = 1 << 17;

pub(super) struct BoundTest {
    top: Arc<TopK>,
    /// Where the columns of the first keys stand among those of the scan: ascending.
    columns: Vec<usize>,
    keys: SortKeys,
    first: First,
    rows: AtomicU64,
    kept_rows: AtomicU64,
    keeps_all: AtomicBool,
}

/// The first key by itself: its bytes are the first ones of the bound.
struct First {
    /// Where its column stands in the scan.
    column: usize,
    /// That column, with NULLs where nothing is known.
    schema: SchemaRef,
    keys: SortKeys,
    is_descending: bool,
    /// NULLs, of which smallest and largest values do not tell, may come first.
    may_begin_with_null: bool,
}

impl First {
    fn new(key: &SortKey, column: usize, schema: &SchemaRef) -> Result<First> {
        let field = schema.field(column);
        let may_begin_with_null = key.nulls_first && field.is_nullable();
        let schema = Arc::new(Schema::new(vec![Field::clone(field).with_nullable(true)]));
        let keys = keys_of(vec![SortKey { expression: Expression::Column(0), ..key.clone() }], &schema)?;
        Ok(First { column, schema, keys, is_descending: key.is_descending, may_begin_with_null })
    }
}

fn keys_of(keys: Vec<SortKey>, schema: &SchemaRef) -> Result<SortKeys> {
    let spec = SortSpec { keys, schema: Arc::clone(schema), skip: 0, fetch: None };
    SortKeys::new(&spec, &Arc::new(Parameters::default()))
}

/// Which rows of `batch` are not beyond `bound`.
fn within(keys: &SortKeys, batch: &Batch, bound: &[u8]) -> Result<BooleanBuffer> {
    let keys = keys.encode(batch)?;
    Ok(BooleanBuffer::collect_bool(batch.num_rows(), |row| keys.row(row).data() <= bound))
}

impl BoundTest {
    /// `places`: where the columns of the first keys stand in `schema`.
    pub(super) fn new(top: &Arc<TopK>, keys: &[SortKey], places: &[usize], schema: &SchemaRef) -> Result<BoundTest> {
        let mut columns = places.to_vec();
        columns.sort_unstable();
        columns.dedup();
        let first = First::new(&keys[0], places[0], schema)?;
        let schema = Arc::new(schema.project(&columns)?);
        let key = |(key, place): (&SortKey, &usize)| {
            let expression = Expression::Column(columns.partition_point(|column| column < place));
            SortKey { expression, ..key.clone() }
        };
        let keys: Vec<SortKey> = keys.iter().zip(places).map(key).collect();
        Ok(BoundTest {
            top: Arc::clone(top),
            keys: keys_of(keys, &schema)?,
            columns,
            first,
            rows: AtomicU64::new(0),
            kept_rows: AtomicU64::new(0),
            keeps_all: AtomicBool::new(false),
        })
    }
}

impl RowTest for BoundTest {
    fn columns(&self) -> &[usize] {
        &self.columns
    }

    fn keeps(&self, batch: &Batch) -> Result<BooleanArray> {
        let rows = batch.num_rows();
        let bound = if self.keeps_all.load(Relaxed) { None } else { self.top.bound() };
        let Some(bound) = bound else { return Ok(BooleanArray::new(BooleanBuffer::new_set(rows), None)) };
        let kept = BooleanArray::new(within(&self.keys, batch, &bound)?, None);
        let rows = self.rows.fetch_add(rows as u64, Relaxed) + rows as u64;
        let count = kept.true_count() as u64;
        let kept_rows = self.kept_rows.fetch_add(count, Relaxed) + count;
        if rows >= ROWS_JUDGED && kept_rows > rows / 4 * 3 {
            self.keeps_all.store(true, Relaxed);
        }
        Ok(kept)
    }

    fn ranged_column(&self) -> Option<usize> {
        Some(self.first.column)
    }

    fn may_keep(&self, minima: &ArrayRef, maxima: &ArrayRef) -> Result<Option<BooleanArray>> {
        let First { schema, keys, is_descending, may_begin_with_null, .. } = &self.first;
        let best = if *is_descending { maxima } else { minima };
        // Statistics of floats leave NaN out.
        let is_known =
            !*may_begin_with_null && !best.data_type().is_floating() && best.data_type() == schema.field(0).data_type();
        let Some(bound) = self.top.bound().filter(|_| is_known) else { return Ok(None) };
        let within = within(keys, &Batch::try_new(Arc::clone(schema), vec![Arc::clone(best)])?, &bound)?;
        let may_keep = |range: usize| best.is_null(range) || within.value(range);
        Ok(Some(BooleanArray::new(BooleanBuffer::collect_bool(best.len(), may_keep), None)))
    }
}
