//! Rows chosen by what they are: sample, repartition.
//!
//! In: rows. Out: some of them; or all, in parts of about equal size. Never: asks where a row came from or who saw it: the same rows are chosen on
//! any number of threads and workers.

use std::{panic::Location, sync::Arc};

use super::{flow::Dataset, partition::Partitioned, record::Record};
use crate::{
    batch::{Batch, array::BooleanArray, buffer::BooleanBuffer, compute},
    error::Result,
    kernel::hash_columns,
};

impl<T> Dataset<T> {
    /// About this share of the rows, from 0 to 1; another seed chooses others. Rows that are equal are in it together, or not at all.
    #[track_caller]
    pub fn sample(self, share: f64, seed: u64) -> Dataset<T> {
        // A share of all 2^64 hashes; what is no number is none of them.
        let below = (share.clamp(0.0, 1.0) * 2f64.powi(64)) as u128;
        let output = Arc::clone(self.schema());
        self.through(Location::caller(), output, move |batch, emit| {
            let hashes = hashes_of(batch)?;
            let is_chosen = |row: usize| u128::from(mixed(hashes[row].wrapping_add(mixed(seed)))) < below;
            let chosen = BooleanBuffer::collect_bool(batch.num_rows(), is_chosen);
            emit(compute::filter_record_batch(batch, &BooleanArray::new(chosen, None))?)
        })
    }
}

impl<T: Record> Dataset<T> {
    /// The rows in `parts` parts of about equal size, whichever: as [`Dataset::partition_by`]. Rows that are equal are in one part.
    #[track_caller]
    pub fn repartition(self, parts: u32) -> Partitioned<T> {
        self.parted(parts, Location::caller(), move |batch| {
            // The upper bits of a product are a number below `parts`; the hash's own upper bits have other uses.
            let part = |hash: u64| ((u128::from(mixed(hash)) * u128::from(parts)) >> 64) as u32;
            Ok(hashes_of(batch)?.into_iter().map(part).collect())
        })
    }
}

fn hashes_of(batch: &Batch) -> Result<Vec<u64>> {
    let mut hashes = Vec::new();
    match batch.num_columns() {
        0 => hashes.resize(batch.num_rows(), 0),
        _ => hash_columns(batch.columns(), &mut hashes)?,
    }
    Ok(hashes)
}

/// All bits of the number, well mixed: the finalizer of SplitMix64.
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
