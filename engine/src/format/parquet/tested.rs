//! What tests leave of a row group's rows.
//!
//! In: batches of the tested columns, in order; then batches of the others. Out: which rows are left; the columns beside each other. Never:
//! decodes.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    batch::{
        Batch,
        array::{Array, ArrayRef, BooleanArray, BooleanBufferBuilder},
        buffer::BooleanBuffer,
        compute::{self, FilterBuilder},
        datatypes::Schema,
    },
    error::Result,
    format::RowTest,
    kernel::concat_arrays,
};

/// Rows are being tested.
pub(super) struct Testing {
    tests: Arc<[Arc<dyn RowTest>]>,
    /// Of each test its columns' places among the decoded ones.
    places: Vec<Vec<usize>>,
    /// Places of the columns that are needed after each test.
    live: Vec<Vec<usize>>,
    /// Places of those that are given, too.
    kept: Vec<usize>,
}

/// What the tests have left of a batch.
pub(super) struct Chunk {
    pub(super) rows: usize,
    pub(super) mask: BooleanBuffer,
    pub(super) kept_rows: usize,
    kept: Vec<ArrayRef>,
}

/// What the tests have left, as the other columns come beside it.
pub(super) enum Chunks {
    /// There were no tests.
    Untested,
    /// Batch by batch; each batch of the other columns is to be filtered.
    Each(VecDeque<Chunk>),
    /// All together, from this row on; the other columns are filtered already.
    Together { kept: Vec<ArrayRef>, next: usize, rows: usize },
}

/// Rows that are given.
pub(super) struct Given {
    /// Of the columns that were tested.
    pub(super) kept: Vec<ArrayRef>,
    /// Of the others.
    pub(super) others: Vec<ArrayRef>,
    pub(super) rows: usize,
}

impl Testing {
    /// The columns `tested` by `tests`, in order, of which those in `kept` are given, too; `column`: the number in the file of a column that a
    /// test names.
    pub(super) fn new(
        tests: &Arc<[Arc<dyn RowTest>]>,
        tested: &[usize],
        kept: Vec<usize>,
        column: impl Fn(usize) -> usize,
    ) -> Testing {
        let place = |named: &usize| tested.partition_point(|tested| *tested < column(*named));
        let places: Vec<Vec<usize>> = tests.iter().map(|test| test.columns().iter().map(place).collect()).collect();
        let live = |after| in_order(places[after..].iter().flatten().chain(&kept).copied());
        Testing { tests: Arc::clone(tests), live: (1..=places.len()).map(live).collect(), places, kept }
    }

    /// What the tests leave of a batch of their columns; each sees only the rows that the ones before it have left.
    pub(super) fn test(&self, batch: &Batch) -> Result<Chunk> {
        let rows = batch.num_rows();
        let mut mask = BooleanBuffer::new_set(rows);
        let mut left = rows;
        let mut columns = batch.columns().to_vec();
        for ((test, places), live) in self.tests.iter().zip(&self.places).zip(&self.live) {
            if left == 0 {
                break;
            }
            let own = places.iter().map(|place| Arc::clone(&columns[*place])).collect();
            let fields = places.iter().map(|place| batch.schema_ref().field(*place).clone());
            let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
            let keeps = test.keeps(&Batch::try_new(schema, own)?)?;
            let kept = keeps.true_count();
            if kept == left {
                continue;
            }
            let filter = FilterBuilder::new(&keeps).optimize().build();
            for place in live {
                columns[*place] = filter.filter(&columns[*place])?;
            }
            mask = if left == rows { keeps.values().clone() } else { narrowed(&mask, keeps.values()) };
            left = kept;
        }
        let kept = if left == 0 { Vec::new() } else { self.kept.iter().map(|p| Arc::clone(&columns[*p])).collect() };
        Ok(Chunk { rows, mask: if left == 0 { BooleanBuffer::new_unset(rows) } else { mask }, kept_rows: left, kept })
    }
}

/// Of the rows that are set in `mask` those for which `keeps`, which has a truth for each of them, is true.
fn narrowed(mask: &BooleanBuffer, keeps: &BooleanBuffer) -> BooleanBuffer {
    let mut narrowed = BooleanBufferBuilder::new(mask.len());
    narrowed.append_n(mask.len(), false);
    let set = mask.set_indices().zip(keeps.iter()).filter(|(_, keeps)| *keeps);
    set.for_each(|(row, _)| narrowed.set_bit(row, true));
    narrowed.finish()
}

/// How many runs of rows are left, about: one that crosses a chunk's border counts twice.
pub(super) fn runs(chunks: &VecDeque<Chunk>) -> usize {
    let of_mask = |mask: &BooleanBuffer| {
        let mut before = 0;
        let starts = |word: u64| {
            let starts = word & !(word << 1 | before);
            before = word >> 63;
            starts.count_ones() as usize
        };
        mask.bit_chunks().iter_padded().map(starts).sum::<usize>()
    };
    chunks.iter().map(|chunk| of_mask(&chunk.mask)).sum()
}

impl Chunks {
    pub(super) fn together(chunks: VecDeque<Chunk>, rows: usize) -> Result<Chunks> {
        let mut pieces: Vec<Vec<ArrayRef>> = Vec::new();
        for chunk in chunks.into_iter().filter(|chunk| chunk.kept_rows > 0) {
            pieces.resize(chunk.kept.len(), Vec::new());
            pieces.iter_mut().zip(chunk.kept).for_each(|(pieces, piece)| pieces.push(piece));
        }
        let together = |pieces: &Vec<ArrayRef>| concat_arrays(pieces[0].data_type(), pieces);
        Ok(Chunks::Together { kept: pieces.iter().map(together).collect::<Result<_, _>>()?, next: 0, rows })
    }

    /// The next rows, where there are no other columns.
    pub(super) fn next(&mut self, rows_per_batch: usize) -> Option<Given> {
        match self {
            Chunks::Untested => None,
            Chunks::Each(chunks) => loop {
                let chunk = chunks.pop_front()?;
                if chunk.kept_rows > 0 {
                    return Some(Given { kept: chunk.kept, others: Vec::new(), rows: chunk.kept_rows });
                }
            },
            Chunks::Together { kept, next, rows } => {
                let (start, rows) = (*next, rows_per_batch.min(*rows - *next));
                *next += rows;
                let kept = kept.iter().map(|column| column.slice(start, rows)).collect();
                (rows > 0).then_some(Given { kept, others: Vec::new(), rows })
            }
        }
    }

    /// A batch of the other columns, and what stands beside it; none if it has other rows.
    pub(super) fn beside(&mut self, batch: &Batch) -> Result<Option<Given>> {
        let (others, rows) = (batch.columns().to_vec(), batch.num_rows());
        match self {
            Chunks::Untested => Ok(Some(Given { kept: Vec::new(), others, rows })),
            Chunks::Together { .. } => {
                let given = self.next(rows).filter(|given| given.rows == rows);
                Ok(given.map(|given| Given { others, ..given }))
            }
            Chunks::Each(chunks) => {
                let Some(chunk) = chunks.pop_front().filter(|chunk| chunk.rows == rows) else { return Ok(None) };
                let Chunk { mask, kept_rows, kept, .. } = chunk;
                if kept_rows == rows {
                    return Ok(Some(Given { kept, others, rows }));
                }
                let filtered = compute::filter_record_batch(batch, &BooleanArray::new(mask, None))?;
                Ok(Some(Given { kept, others: filtered.columns().to_vec(), rows: kept_rows }))
            }
        }
    }

    /// Rows for which nothing has come of the other columns.
    pub(super) fn missing(&self) -> usize {
        match self {
            Chunks::Untested => 0,
            Chunks::Each(chunks) => chunks.iter().map(|chunk| chunk.rows).sum(),
            Chunks::Together { next, rows, .. } => rows - next,
        }
    }
}

/// Each once, ascending.
pub(super) fn in_order(columns: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut columns: Vec<usize> = columns.collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}
