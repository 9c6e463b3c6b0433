//! Where partitions and groups of peers begin.
//!
//! In: rows in order, as columns of what they were ordered by. Out: row numbers. Never: another equality than the sort's: NULL equals NULL,
//! -0 equals +0, every NaN every other.

use crate::{
    batch::{
        Batch,
        array::{Array, ArrayRef},
        buffer::BooleanBuffer,
        canonical_floats, compute,
        row::{RowConverter, SortField},
    },
    error::Result,
    expression::Evaluator,
};

/// The rows of a unit.
pub(super) struct Layout {
    /// The first row of each partition, then the number of rows.
    pub(super) partitions: Vec<u32>,
    /// The first row of each group of peers, then the number of rows.
    pub(super) peers: Vec<u32>,
}

impl Layout {
    /// Of `rows` rows with these values.
    pub(super) fn new(rows: usize, partition: &[ArrayRef], order: &[ArrayRef]) -> Result<Layout> {
        let partition_changes = changes(rows, partition)?;
        let peer_changes = &partition_changes | &changes(rows, order)?;
        Ok(Layout { partitions: borders(rows, &partition_changes), peers: borders(rows, &peer_changes) })
    }

    /// How many rows.
    pub(super) fn rows(&self) -> usize {
        self.partitions.last().map_or(0, |rows| *rows as usize)
    }

    /// First row and end of each partition.
    pub(super) fn each_partition(&self) -> impl Iterator<Item = (u32, u32)> {
        self.partitions.windows(2).map(|border| (border[0], border[1]))
    }

    /// First row and end of each group of peers.
    pub(super) fn each_peers(&self) -> impl Iterator<Item = (u32, u32)> {
        self.peers.windows(2).map(|border| (border[0], border[1]))
    }
}

/// The values by which rows are told apart.
pub(in crate::operator) fn values(evaluators: &[Evaluator], batch: &Batch) -> Result<Vec<ArrayRef>> {
    let value = |evaluator: &Evaluator| -> Result<ArrayRef> {
        Ok(canonical_floats(&evaluator.evaluate(batch)?.into_array(batch.num_rows())?))
    };
    evaluators.iter().map(value).collect()
}

/// For each row but the first: does it differ from the one before?
pub(in crate::operator) fn changes(rows: usize, columns: &[ArrayRef]) -> Result<BooleanBuffer> {
    let pairs = rows.saturating_sub(1);
    let mut changes = BooleanBuffer::new_unset(pairs);
    for column in columns {
        let (before, after) = (column.slice(0, pairs), column.slice(rows - pairs, pairs));
        let differs = if column.data_type().is_nested() {
            let converter = RowConverter::new(vec![SortField::new(column.data_type().clone())])?;
            let rows = converter.convert_columns(std::slice::from_ref(column))?;
            BooleanBuffer::collect_bool(pairs, |row| rows.row(row) != rows.row(row + 1))
        } else {
            compute::kernels::cmp::distinct(&before, &after)?.values().clone()
        };
        changes = &changes | &differs;
    }
    Ok(changes)
}

fn borders(rows: usize, changes: &BooleanBuffer) -> Vec<u32> {
    if rows == 0 {
        return vec![0];
    }
    let inner = changes.set_indices().map(|row| row as u32 + 1);
    std::iter::once(0).chain(inner).chain(std::iter::once(rows as u32)).collect()
}
