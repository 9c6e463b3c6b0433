//! The table of a partition that comes back from disk, built by one thread.
//!
//! In: frames of build rows. Out: [`Built`], as it is probed when the whole build side is in memory. Never: asks for memory; whoever loads
//! does, by the rows and bytes that it adds.

use std::sync::Arc;

use super::{
    build::{BuildSide, Finished},
    directory::{Directory, PARTITIONS, Partition, Scattered, bucket_bits},
    hash::{Built, HashJoin},
    keys::{KeyEncoder, Keys},
};
use crate::{
    batch::{Batch, array::ArrayRef, datatypes::DataType},
    error::{Result, bug},
    kernel::concat_arrays,
};

/// See above.
pub(super) struct TableBuilder {
    join: Arc<HashJoin>,
    encoder: KeyEncoder,
    keys: Keys,
    /// Of the kept columns, then of what is compared.
    types: Vec<DataType>,
    pieces: Vec<Vec<ArrayRef>>,
    scattered: Scattered,
    null_rows: Vec<u32>,
    rows: usize,
}

impl TableBuilder {
    pub(super) fn new(join: &Arc<HashJoin>) -> Result<TableBuilder> {
        let types = join.kept_types();
        Ok(TableBuilder {
            encoder: join.stored_keys()?,
            keys: Keys::default(),
            pieces: vec![Vec::new(); types.len()],
            types,
            scattered: Scattered::new(),
            null_rows: Vec::new(),
            rows: 0,
            join: Arc::clone(join),
        })
    }

    /// Adds rows as they were stored: the kept columns, then those that only keys need.
    pub(super) fn add(&mut self, batch: &Batch) -> Result<()> {
        self.encoder.encode(batch, &mut self.keys)?;
        let Keys { hashes, compared, valid, .. } = &self.keys;
        let kept = batch.columns().iter().take(self.join.shape.kept.len());
        for (pieces, column) in self.pieces.iter_mut().zip(kept.chain(compared)) {
            pieces.push(Arc::clone(column));
        }
        let first_row = self.rows as u32;
        self.scattered.add(hashes, self.keys.words(), valid.as_ref(), first_row);
        if let (true, Some(valid)) = (self.join.is_null_aware, valid) {
            let nulls = (0..batch.num_rows()).filter(|row| valid.is_null(*row));
            self.null_rows.extend(nulls.map(|row| first_row + row as u32));
        }
        self.rows += batch.num_rows();
        self.join.check_rows(self.rows)
    }

    pub(super) fn finish(mut self) -> Result<Built> {
        let bits = bucket_bits(self.scattered.rows());
        let partition = |number| Partition::build(vec![(0, self.scattered.take(number))], bits);
        let partitions = (0..PARTITIONS).map(partition).collect();
        let directory = Directory::new(partitions, bits).ok_or_else(|| bug("join", "a partition is missing"))?;
        let column = |(data_type, pieces): (&DataType, Vec<ArrayRef>)| Ok(concat_arrays(data_type, &pieces)?);
        let mut columns = self.types.iter().zip(self.pieces).map(column).collect::<Result<Vec<_>>>()?;
        let compared = if columns.len() > self.join.shape.kept.len() { columns.pop() } else { None };
        let reservation = self.join.context.reservation("hash join");
        let finished = Finished { columns, partitions: Vec::new(), rows: self.rows, reservation };
        let side = Arc::new(BuildSide::new(&self.join.shape, finished)?);
        Ok(Built { side, directory, compared, null_rows: self.null_rows })
    }
}
