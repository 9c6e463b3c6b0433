//! Workloads in rounds, as the examples have them: PageRank, k-means, connected components.
//!
//! In: Parquet files of edges (`src`, `dst`) or of points (Float32 columns). Out: folders of Parquet files. Never: another program than the example.

use std::path::Path;

use windrow::{Result, Session, sink::Written};

#[path = "../../../engine/examples/connected_components.rs"]
#[allow(dead_code, reason = "its main")]
mod connected_components;
#[path = "../../../engine/examples/k_means.rs"]
#[allow(dead_code, reason = "its main")]
mod k_means;
#[path = "../../../engine/examples/page_rank.rs"]
#[allow(dead_code, reason = "its main")]
mod page_rank;

/// Rounds of PageRank and k-means.
pub const ROUNDS: usize = 10;
/// Clusters that k-means looks for.
pub const CLUSTERS: usize = 64;

/// The rank of each vertex after ten rounds.
pub fn page_rank(session: &Session, edges: &Path, out: &Path) -> Result<Written> {
    let edges = session.read_parquet(&edges.to_string_lossy())?.typed()?;
    let vertices = page_rank::vertex_count(&edges)?;
    page_rank::page_rank(edges, vertices, ROUNDS)?.named(["vertex", "rank"])?.write_parquet(out)
}

/// The clusters after ten rounds, which begin at the first points.
pub fn k_means(session: &Session, points: &Path, out: &Path) -> Result<Written> {
    let rows = session.read_parquet(&points.to_string_lossy())?;
    let centres = k_means::points_of(rows.clone().limit(CLUSTERS))?.collect()?;
    let points = k_means::points_of(rows)?.cache()?;
    let found = k_means::k_means(&points, centres, ROUNDS)?;
    session.from_vec(found)?.named(["cluster", "points", "centre"])?.write_parquet(out)
}

/// The component of each vertex.
pub fn connected_components(session: &Session, edges: &Path, out: &Path) -> Result<Written> {
    let edges = session.read_parquet(&edges.to_string_lossy())?.typed()?;
    let (names, _) = connected_components::connected_components(edges, u32::MAX as usize)?;
    names.named(["vertex", "component"])?.write_parquet(out)
}
