//! Numbers of rows: what needs only where partitions and peers begin.
//!
//! In: the layout of a unit. Out: a number a row. Never: an order among peers that shows where the function does not promise one.

use std::sync::Arc;

use super::layout::Layout;
use crate::{
    batch::array::{ArrayRef, Float64Array, UInt64Array},
    expression::WindowFunction,
};

/// The numbers of all rows; none if the function looks at values.
pub(super) fn numbers(function: &WindowFunction, layout: &Layout) -> Option<ArrayRef> {
    let whole = |values: Vec<u64>| Arc::new(UInt64Array::from(values)) as ArrayRef;
    let share = |values: Vec<f64>| Arc::new(Float64Array::from(values)) as ArrayRef;
    Some(match function {
        WindowFunction::RowNumber => {
            whole(layout.each_partition().flat_map(|(start, end)| 1..=u64::from(end - start)).collect())
        }
        WindowFunction::Rank => whole(of_peers(layout, |of| u64::from(of.peers.0 - of.partition.0) + 1)),
        WindowFunction::DenseRank => whole(of_peers(layout, |of| of.group + 1)),
        WindowFunction::PercentRank => share(of_peers(layout, |of| {
            let others = of.partition.1 - of.partition.0 - 1;
            if others == 0 { 0.0 } else { f64::from(of.peers.0 - of.partition.0) / f64::from(others) }
        })),
        WindowFunction::CumeDist => share(of_peers(layout, |of| {
            f64::from(of.peers.1 - of.partition.0) / f64::from(of.partition.1 - of.partition.0)
        })),
        WindowFunction::Ntile(buckets) => whole(buckets_of(layout, (*buckets).max(1))),
        WindowFunction::Shifted { .. } | WindowFunction::Nth { .. } | WindowFunction::Aggregate(_) => return None,
    })
}

/// A group of peers in its partition.
struct Of {
    partition: (u32, u32),
    peers: (u32, u32),
    /// The number of the group in the partition, from 0.
    group: u64,
}

/// A value that all peers share, for each row.
fn of_peers<T: Copy>(layout: &Layout, value: impl Fn(&Of) -> T) -> Vec<T> {
    let mut results = Vec::with_capacity(layout.rows());
    let mut peers = layout.each_peers().peekable();
    for partition in layout.each_partition() {
        let mut group = 0;
        while let Some(peers) = peers.next_if(|peers| peers.0 < partition.1) {
            results.resize(peers.1 as usize, value(&Of { partition, peers, group }));
            group += 1;
        }
    }
    results
}

/// Buckets of equal length, the first ones longer by one row where the rows do not divide.
fn buckets_of(layout: &Layout, buckets: u64) -> Vec<u64> {
    let mut results = Vec::with_capacity(layout.rows());
    for (start, end) in layout.each_partition() {
        let rows = u64::from(end - start);
        results.extend((0..rows).map(|row| bucket(row, rows, buckets)));
    }
    results
}

/// The bucket, from 1, of the row of this number, from 0, among so many.
pub(super) fn bucket(row: u64, rows: u64, buckets: u64) -> u64 {
    let (length, longer) = (rows / buckets, rows % buckets);
    let in_longer = longer * (length + 1);
    1 + if row < in_longer { row / (length + 1) } else { longer + (row - in_longer) / length.max(1) }
}
