//! The rank of each vertex of a graph, by PageRank: `page_rank [--threads N] [--cluster NAME] EDGES OUTPUT [ROUNDS]` reads Parquet files of
//! (src, dst), both UInt32, and writes Parquet files of (vertex, rank).
//!
//! The edges are brought together once, as the list of those that lead to each vertex; in every round the ranks are given to all threads, which
//! walk the lists. A rank is summed up in the order of its list, so that its bits depend on nothing else.

use std::process::ExitCode;

use windrow::{
    Dataset, Result, Session,
    dataset::{asc, failure},
};

/// The share of a rank that goes along the edges; the rest comes from everywhere.
const DAMPING: f64 = 0.85;

/// The ranks of the vertices `0..vertices` after so many rounds: 1 together.
pub fn page_rank(edges: Dataset<(u32, u32)>, vertices: u32, rounds: usize) -> Result<Dataset<(u32, f64)>> {
    let session = edges.session().clone();
    let count = f64::from(vertices);
    let mut degrees = vec![0; vertices as usize];
    for (vertex, edges) in edges.clone().keys().count_by_value().collect()? {
        degrees[vertex as usize] = edges as u32;
    }
    // A vertex that no edge leads to has a list, too: each has one entry without a source.
    let all = session.from_vec((0..vertices).map(|vertex| (vertex, None)).collect())?;
    let lists = edges
        .map_view::<(u32, Option<u32>)>(|(source, target)| (target, Some(source)))
        .union(all)?
        .named(["target", "source"])?
        .group_by_key()
        .in_order_of([asc("source")])?
        .map(|target, sources| {
            let mut list = Vec::new();
            while let Some(source) = sources.next() {
                list.extend(source);
            }
            (target, list)
        })
        .cache()?;
    let first = session.from_vec((0..vertices).map(|vertex| (vertex, 1.0 / count)).collect())?;
    first.iterate(rounds, |ranks: Dataset<(u32, f64)>, _| {
        // What each vertex gives along each of its edges, and what those without edges give to all.
        let mut given = vec![0.0; vertices as usize];
        for (vertex, rank) in ranks.collect()? {
            given[vertex as usize] = rank;
        }
        let mut loose = 0.0;
        for (rank, degree) in given.iter_mut().zip(&degrees) {
            match degree {
                0 => loose += *rank,
                degree => *rank /= f64::from(*degree),
            }
        }
        let from_all = (1.0 - DAMPING) / count + DAMPING * loose / count;
        Ok(lists.clone().map(move |(target, sources): (u32, &[u32])| {
            let along: f64 = sources.iter().map(|source| given[*source as usize]).sum();
            (target, from_all + DAMPING * along)
        }))
    })
}

/// One more than the greatest vertex.
pub fn vertex_count(edges: &Dataset<(u32, u32)>) -> Result<u32> {
    edges.fold(
        0,
        |count, (source, target)| *count = source.max(target).saturating_add(1).max(*count),
        |count, other| {
            *count = other.max(*count);
        },
    )
}

fn run(session: &Session, edges: &str, output: &str, rounds: usize) -> Result<()> {
    let edges = session.read_parquet(edges)?.typed::<(u32, u32)>()?;
    let vertices = vertex_count(&edges)?;
    let written = page_rank(edges, vertices, rounds)?.named(["vertex", "rank"])?.write_parquet(output)?;
    println!("the ranks of {} vertices in {}", written.rows, written.path.display());
    Ok(())
}

fn main() -> ExitCode {
    windrow::launch(|session, arguments| {
        let (edges, output, rounds) = match arguments {
            [edges, output] => (edges, output, 10),
            [edges, output, rounds] => (edges, output, rounds.parse().map_err(failure)?),
            _ => return Err(failure("expected files of edges, a folder to write, and perhaps a number of rounds")),
        };
        run(session, edges, output, rounds)
    })
}
