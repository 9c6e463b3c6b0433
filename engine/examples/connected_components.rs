//! The connected components of a graph: `connected_components [--threads N] [--cluster NAME] EDGES OUTPUT` reads Parquet files of (src, dst), both
//! UInt32, and writes Parquet files of (vertex, component). A component is named by its least vertex; which way an edge leads does not matter.
//!
//! In every round each vertex takes the least name that it or one of its neighbours has, until none changes.

use std::process::ExitCode;

use windrow::{Dataset, Min, Result, dataset::failure};

/// The vertices that edges lead to or from, with the least vertex of their component; and how many rounds it took, of so many at most.
pub fn connected_components(edges: Dataset<(u32, u32)>, rounds_max: usize) -> Result<(Dataset<(u32, u32)>, usize)> {
    let backward = edges.clone().map(|(source, target)| (target, source));
    let edges = edges.union(backward)?.distinct().cache()?;
    let names = edges.clone().keys().distinct().map(|vertex| (vertex, vertex)).cache()?;
    names.iterate_until(
        rounds_max,
        |names, _| {
            let heard = edges.clone().join(names.clone()).values();
            Ok(names.union(heard)?.reduce_by_key(Min))
        },
        // Names only become less: where their sum stays, each of them has.
        |before, after| Ok(sum_of(before)? == sum_of(after)?),
    )
}

fn sum_of(names: &Dataset<(u32, u32)>) -> Result<u64> {
    names.fold(0, |sum, (_, name)| *sum += u64::from(name), |sum, other| *sum += other)
}

fn main() -> ExitCode {
    windrow::launch(|session, arguments| {
        let [edges, output] = arguments else {
            return Err(failure("expected files of edges and a folder to write"));
        };
        // The longest way through a component has fewer edges than there are vertices.
        let edges = session.read_parquet(edges)?.typed::<(u32, u32)>()?;
        let (names, rounds) = connected_components(edges, u32::MAX as usize)?;
        let written = names.named(["vertex", "component"])?.write_parquet(output)?;
        println!("the components of {} vertices, in {rounds} rounds, in {}", written.rows, written.path.display());
        Ok(())
    })
}
