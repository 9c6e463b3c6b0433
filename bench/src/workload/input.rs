//! What a workload reads, and how it is made.
//!
//! In: about how many bytes, a folder. Out: a file or a folder in it. Never: other bytes for the same size.

use std::path::{Path, PathBuf};

use windrow::{Result, Session};
use windrow_datasets::{
    GRAPH_SCALE_MAX, GRAPH_SCALE_MIN, GraphOptions, GroupsOptions, KeyType, PointsOptions, ReadingsOptions, TERA_BYTES,
    TeraOptions, TextOptions, write_graph, write_groups, write_points, write_readings, write_tera, write_text,
};

use super::{SEED, iterative::CLUSTERS, tera_sort};
use crate::BenchError;

/// What a workload reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Nothing: it makes something.
    Nothing,
    /// A text.
    Text,
    /// A folder of texts.
    Texts,
    /// Records of 100 bytes.
    Records,
    /// A folder with records in order.
    SortedRecords,
    /// Lines of `station,second,value`.
    Readings,
    /// A Parquet file of keys and numbers.
    Facts,
    /// A folder with such a file and one that has each key once.
    FactsAndKeys,
    /// A Parquet file of edges.
    Graph,
    /// A Parquet file of points.
    Points,
}

const TEXTS: u64 = 16;
/// About, of a line of readings and of a row of a Parquet file before it is packed.
const READING_BYTES: u64 = 20;
const ROW_BYTES: u64 = 16;
/// Rows of a key.
const ROWS_PER_KEY: u64 = 10;
/// Of an edge, and of a coordinate.
const EDGE_BYTES: u64 = 8;
const COORDINATE_BYTES: u64 = 4;
/// Edges of a vertex.
const EDGES_PER_VERTEX: u64 = 16;
/// Coordinates of a point.
pub(super) const DIMENSIONS: u32 = 32;

impl Input {
    /// Makes it in `folder`, about `bytes` large.
    pub fn make(self, session: &Session, bytes: u64, folder: &Path) -> Result<PathBuf> {
        let made = |result: std::result::Result<windrow_datasets::Written, windrow_datasets::DatasetError>| {
            result.map(|_| ()).map_err(|source| BenchError::NotMade { source: Box::new(source) })
        };
        let threads = session.settings().threads.min(windrow_datasets::THREADS_MAX);
        let groups = |rows: u64, keys: u64, out: PathBuf| {
            made(write_groups(&GroupsOptions { rows, keys, key_type: KeyType::Number, threads, out, overwrite: false }))
        };
        let text = |bytes, seed, out| made(write_text(&TextOptions { bytes, seed, out, overwrite: false }));
        let (rows, keys) = (bytes / ROW_BYTES, (bytes / ROW_BYTES / ROWS_PER_KEY).max(1));
        match self {
            Input::Nothing => Ok(folder.to_owned()),
            Input::Text => {
                let out = folder.join("words.txt");
                text(bytes, SEED, out.clone())?;
                Ok(out)
            }
            Input::Texts => {
                let out = folder.join("texts");
                for number in 0..TEXTS {
                    text(bytes / TEXTS, SEED + number, out.join(format!("text{number:02}.txt")))?;
                }
                Ok(out)
            }
            Input::Records | Input::SortedRecords => {
                let (out, sorted) = (folder.join("records.bin"), folder.join("sorted"));
                let records = bytes / TERA_BYTES as u64;
                made(write_tera(&TeraOptions { records, seed: SEED, out: out.clone(), overwrite: false }))?;
                if self == Input::Records {
                    return Ok(out);
                }
                tera_sort(session, &out, &sorted)?;
                Ok(sorted)
            }
            Input::Readings => {
                let (out, readings) = (folder.join("readings.txt"), bytes / READING_BYTES);
                made(write_readings(&ReadingsOptions { readings, seed: SEED, out: out.clone(), overwrite: false }))?;
                Ok(out)
            }
            Input::Facts => {
                let out = folder.join("facts.parquet");
                groups(rows, keys, out.clone())?;
                Ok(out)
            }
            Input::Graph => {
                let (out, edges) = (folder.join("edges.parquet"), (bytes / EDGE_BYTES).max(EDGES_PER_VERTEX));
                let scale = (edges / EDGES_PER_VERTEX).ilog2().clamp(GRAPH_SCALE_MIN, GRAPH_SCALE_MAX - 1);
                let options = GraphOptions { scale, edges, seed: SEED, threads, out: out.clone(), overwrite: false };
                made(write_graph(&options))?;
                Ok(out)
            }
            Input::Points => {
                let (out, dimensions) = (folder.join("points.parquet"), DIMENSIONS);
                let rows = (bytes / (COORDINATE_BYTES * u64::from(dimensions))).max(CLUSTERS as u64);
                let (clusters, out_file) = (CLUSTERS as u32, out.clone());
                let options =
                    PointsOptions { rows, dimensions, clusters, seed: SEED, threads, out: out_file, overwrite: false };
                made(write_points(&options))?;
                Ok(out)
            }
            Input::FactsAndKeys => {
                let out = folder.join("tables");
                groups(rows, keys, out.join("facts.parquet"))?;
                groups(keys, keys, out.join("keys.parquet"))?;
                Ok(out)
            }
        }
    }
}
