//! PageRank on one thread: edges by their target, then a walk over them each round.
//!
//! Those of a target are in order of their sources, as the example has them, so that sums of floats have the same bits.

const DAMPING: f64 = 0.85;

/// The ranks of the vertices `0..vertices`, which all edges are between, after so many rounds.
pub fn page_rank(edges: &[(u32, u32)], vertices: usize, rounds: usize) -> Vec<f64> {
    let (mut degrees, mut starts) = (vec![0u32; vertices], vec![0usize; vertices + 1]);
    for (source, target) in edges {
        degrees[*source as usize] += 1;
        starts[*target as usize + 1] += 1;
    }
    for vertex in 0..vertices {
        starts[vertex + 1] += starts[vertex];
    }
    let (mut sources, mut next) = (vec![0u32; edges.len()], starts.clone());
    for (source, target) in edges {
        let place = &mut next[*target as usize];
        sources[*place] = *source;
        *place += 1;
    }
    starts.windows(2).for_each(|ends| sources[ends[0]..ends[1]].sort_unstable());
    let mut ranks = vec![1.0 / vertices as f64; vertices];
    let mut given = vec![0.0; vertices];
    for _ in 0..rounds {
        let mut loose = 0.0;
        for ((given, rank), degree) in given.iter_mut().zip(&ranks).zip(&degrees) {
            match degree {
                0 => loose += rank,
                degree => *given = rank / f64::from(*degree),
            }
        }
        let from_all = (1.0 - DAMPING) / vertices as f64 + DAMPING * loose / vertices as f64;
        for (rank, ends) in ranks.iter_mut().zip(starts.windows(2)) {
            let along: f64 = sources[ends[0]..ends[1]].iter().map(|source| given[*source as usize]).sum();
            *rank = from_all + DAMPING * along;
        }
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_has_equal_ranks_and_a_star_does_not() {
        let ring: Vec<(u32, u32)> = (0..5).map(|vertex| (vertex, (vertex + 1) % 5)).collect();
        assert!(page_rank(&ring, 5, 10).iter().all(|rank| (rank - 0.2).abs() < 1e-12));
        let star: Vec<(u32, u32)> = (1..5).map(|vertex| (vertex, 0)).collect();
        let ranks = page_rank(&star, 5, 50);
        assert!((ranks.iter().sum::<f64>() - 1.0).abs() < 1e-12 && ranks[0] > 3.0 * ranks[1], "{ranks:?}");
    }
}
