//! The edges of a graph whose degrees are as uneven as those of the web: R-MAT of Chakrabarti, Zhan & Faloutsos (SDM 2004).
//!
//! In: the logarithm of the number of vertices, the number of edges, a seed. Out: one Parquet file, the same bytes whatever the number of
//! threads. Never: vertices whose number tells how many edges they have.
//!
//! ```text
//!   edge ──(a draw a level)──► quadrant of the matrix: 57 %, 19 %, 19 %, 5 % ──► … ──► row and column ──(fixed order of vertices)──► src, dst
//! ```
//! The shares are those of the Graph 500. An edge may be there twice, or lead from a vertex to itself, as there.

use std::{ops::Range, path::PathBuf, sync::Arc};

use arrow::{
    array::{ArrayRef, UInt32Array},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use parquet::errors::ParquetError;

use crate::{
    error::{DatasetError, Made},
    order::Order,
    output::{Output, Written},
    random::SplitMix64,
    row_groups::{ROWS_MAX, Rows, write_rows},
    tpch::THREADS_MAX,
};

/// Smallest scale.
pub const GRAPH_SCALE_MIN: u32 = 1;
/// Largest scale: a vertex is a number of 32 bits.
pub const GRAPH_SCALE_MAX: u32 = 32;

/// Of 65,536: where the first, the second and the third quadrant end.
const QUADRANTS: [u64; 3] = [37_355, 49_807, 62_259];
/// A level takes 16 bits of a draw.
const LEVELS_PER_DRAW: u32 = 4;

/// How many vertices and edges, and where.
#[derive(Clone, Debug)]
pub struct GraphOptions {
    /// There are 2 to the power of `scale` vertices, [`GRAPH_SCALE_MIN`]`..=`[`GRAPH_SCALE_MAX`].
    pub scale: u32,
    /// Edges.
    pub edges: u64,
    /// Chooses the edges.
    pub seed: u64,
    /// Threads that make and encode rows, `1..=`[`THREADS_MAX`]; the calling thread only appends to the file.
    pub threads: usize,
    /// The file; its folder is made if it is missing.
    pub out: PathBuf,
    /// Whether a file in that place is replaced instead of refused.
    pub overwrite: bool,
}

/// Writes the columns `src` and `dst` (UInt32, below the number of vertices), without nulls: Snappy, row groups of 1,048,576 rows.
///
/// # Errors
/// [`DatasetError::Threads`], [`DatasetError::GraphScale`] and [`DatasetError::Rows`] before anything is touched; then
/// [`DatasetError::Exists`], those of files and of the Parquet writer. No temporary file is left.
pub fn write_graph(options: &GraphOptions) -> Result<Written, DatasetError> {
    let GraphOptions { scale, edges, seed, threads, .. } = *options;
    if !(1..=THREADS_MAX).contains(&threads) {
        return Err(DatasetError::Threads { threads, max: THREADS_MAX });
    }
    if !(GRAPH_SCALE_MIN..=GRAPH_SCALE_MAX).contains(&scale) {
        return Err(DatasetError::GraphScale { scale, min: GRAPH_SCALE_MIN, max: GRAPH_SCALE_MAX });
    }
    if edges > ROWS_MAX {
        return Err(DatasetError::Rows { rows: edges, max: ROWS_MAX });
    }
    let (output, file) = Output::create(&options.out, options.overwrite)?;
    let graph = Graph { scale, edges, seed, order: Order::new(1 << scale) };
    write_rows(&graph, threads, output.path(), file)?;
    output.publish(edges)
}

struct Graph {
    scale: u32,
    edges: u64,
    seed: u64,
    order: Order,
}

impl Graph {
    /// Row and column of the next edge.
    fn edge(&self, random: &mut SplitMix64) -> (u64, u64) {
        let (mut row, mut column) = (0, 0);
        let mut bits = 0;
        for level in 0..self.scale {
            if level % LEVELS_PER_DRAW == 0 {
                bits = random.draw();
            }
            let quadrant = QUADRANTS.iter().filter(|end| bits & 0xffff >= **end).count() as u64;
            (row, column) = (row << 1 | quadrant >> 1, column << 1 | quadrant & 1);
            bits >>= 16;
        }
        (row, column)
    }
}

impl Rows for Graph {
    fn made(&self) -> Made {
        Made::Graph
    }

    fn count(&self) -> u64 {
        self.edges
    }

    fn schema(&self) -> SchemaRef {
        let vertex = |name| Field::new(name, DataType::UInt32, false);
        Arc::new(Schema::new(vec![vertex("src"), vertex("dst")]))
    }

    fn dictionary_bytes(&self, _number: usize) -> Option<u64> {
        Some(4 << self.scale)
    }

    fn batch(&self, rows: Range<u64>) -> Result<Vec<ArrayRef>, ParquetError> {
        let draws = u64::from(self.scale.div_ceil(LEVELS_PER_DRAW));
        let mut random = SplitMix64::after(self.seed, rows.start * draws);
        let vertex = |number| self.order.place(number) as u32;
        let edges = rows.map(|_| self.edge(&mut random)).map(|(row, column)| (vertex(row), vertex(column)));
        let (sources, targets): (Vec<u32>, Vec<u32>) = edges.unzip();
        Ok(vec![Arc::new(UInt32Array::from(sources)), Arc::new(UInt32Array::from(targets))])
    }
}
