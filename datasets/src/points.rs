//! Points around centres, for clustering.
//!
//! In: numbers of points, dimensions and centres, a seed. Out: one Parquet file, the same bytes whatever the number of threads. Never: a
//! coordinate that is no multiple of 1/1024: any sum of them is exact where there are bits enough.
//!
//! ```text
//!   point ──(draw)──► its centre ──(+ four numbers of 0..4096, a coordinate; nearly normal, σ = 2.3)──► x0, x1, …
//! ```
//! A centre's coordinates are uniform from −64 to 64.

use std::{ops::Range, path::PathBuf, sync::Arc};

use arrow::{
    array::{ArrayRef, Float32Array},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use parquet::errors::ParquetError;

use crate::{
    error::{DatasetError, Made},
    output::{Output, Written},
    random::{SplitMix64, below},
    row_groups::{ROWS_MAX, Rows, write_rows},
    tpch::THREADS_MAX,
};

/// Most dimensions.
pub const DIMENSIONS_MAX: u32 = 1024;
/// Most centres.
pub const CLUSTERS_MAX: u32 = 1 << 20;

/// Coordinates are counted in this part of one.
const UNIT: f32 = 1.0 / 1024.0;
/// A centre lies so far from zero at most, in units, in each dimension.
const CENTRE_MAX: i32 = 64 << 10;
/// Any number does; this one is kept forever.
const CENTRE_SEED: u64 = 0x6365_6e74_7265; // "centre"

/// How many points of which kind, and where.
#[derive(Clone, Debug)]
pub struct PointsOptions {
    /// Points.
    pub rows: u64,
    /// Columns, `1..=`[`DIMENSIONS_MAX`].
    pub dimensions: u32,
    /// Centres, `1..=`[`CLUSTERS_MAX`].
    pub clusters: u32,
    /// Chooses centres and points.
    pub seed: u64,
    /// Threads that make and encode rows, `1..=`[`THREADS_MAX`]; the calling thread only appends to the file.
    pub threads: usize,
    /// The file; its folder is made if it is missing.
    pub out: PathBuf,
    /// Whether a file in that place is replaced instead of refused.
    pub overwrite: bool,
}

/// Writes the columns `x0`, `x1`… (Float32), without nulls: Snappy, row groups of 1,048,576 rows.
///
/// # Errors
/// [`DatasetError::Threads`], [`DatasetError::Dimensions`], [`DatasetError::Clusters`] and [`DatasetError::Rows`] before anything is touched;
/// then [`DatasetError::Exists`], those of files and of the Parquet writer. No temporary file is left.
pub fn write_points(options: &PointsOptions) -> Result<Written, DatasetError> {
    let PointsOptions { rows, dimensions, clusters, seed, threads, .. } = *options;
    if !(1..=THREADS_MAX).contains(&threads) {
        return Err(DatasetError::Threads { threads, max: THREADS_MAX });
    }
    if !(1..=DIMENSIONS_MAX).contains(&dimensions) {
        return Err(DatasetError::Dimensions { dimensions, max: DIMENSIONS_MAX });
    }
    if !(1..=CLUSTERS_MAX).contains(&clusters) {
        return Err(DatasetError::Clusters { clusters, max: CLUSTERS_MAX });
    }
    if rows > ROWS_MAX {
        return Err(DatasetError::Rows { rows, max: ROWS_MAX });
    }
    let (output, file) = Output::create(&options.out, options.overwrite)?;
    write_rows(&Points { rows, dimensions, clusters, seed }, threads, output.path(), file)?;
    output.publish(rows)
}

struct Points {
    rows: u64,
    dimensions: u32,
    clusters: u32,
    seed: u64,
}

impl Rows for Points {
    fn made(&self) -> Made {
        Made::Points
    }

    fn count(&self) -> u64 {
        self.rows
    }

    fn schema(&self) -> SchemaRef {
        let column = |number| Field::new(format!("x{number}"), DataType::Float32, false);
        Arc::new(Schema::new((0..self.dimensions).map(column).collect::<Vec<_>>()))
    }

    fn dictionary_bytes(&self, _number: usize) -> Option<u64> {
        None
    }

    fn batch(&self, rows: Range<u64>) -> Result<Vec<ArrayRef>, ParquetError> {
        let dimensions = u64::from(self.dimensions);
        let mut columns: Vec<Vec<f32>> =
            (0..dimensions).map(|_| Vec::with_capacity((rows.end - rows.start) as usize)).collect();
        // A draw for the centre, then one a coordinate.
        let mut random = SplitMix64::after(self.seed, rows.start * (dimensions + 1));
        for _ in rows {
            let cluster = u64::from(below(random.draw(), self.clusters));
            let mut centre = SplitMix64::after(self.seed ^ CENTRE_SEED, cluster * dimensions);
            for column in &mut columns {
                let middle = below(centre.draw(), 2 * CENTRE_MAX as u32) as i32 - CENTRE_MAX;
                let bits = random.draw();
                let around: i32 = (0..4).map(|part| (bits >> (12 * part) & 0xfff) as i32).sum::<i32>() - 2 * 4096;
                column.push((middle + around) as f32 * UNIT);
            }
        }
        Ok(columns.into_iter().map(|column| Arc::new(Float32Array::from(column)) as ArrayRef).collect())
    }
}
