//! k-means on so many threads: each goes through its share of the points, then their sums are put together.
//!
//! Coordinates are summed as integers, as the example has them, so that centres have the same bits on any number of threads.

use std::thread;

/// So many centres are compared with a point at once.
const LANES: usize = 16;
/// Coordinates are summed in this part of one.
const UNITS: f64 = (1 << 20) as f64;

/// The centres after so many rounds of points that lie one behind the other in `points`, and how many points each has. A centre without points
/// stays where it is.
pub fn k_means(points: &[f32], mut centres: Vec<Vec<f32>>, rounds: usize, threads: usize) -> Vec<(i64, Vec<f32>)> {
    let dimensions = centres.first().map_or(0, Vec::len);
    let mut counts = vec![0; centres.len()];
    if dimensions == 0 {
        return Vec::new();
    }
    let share = (points.len() / dimensions).div_ceil(threads.max(1)).max(1) * dimensions;
    for _ in 0..rounds {
        let lanes = side_by_side(&centres, dimensions);
        let mut sums = vec![0i64; centres.len() * dimensions];
        counts.fill(0i64);
        thread::scope(|scope| {
            let (lanes, count) = (&lanes, centres.len());
            let begin = |points| scope.spawn(move || pass(points, dimensions, lanes, count));
            let passes: Vec<_> = points.chunks(share).map(begin).collect();
            // A thread that panics takes this one along, as it would any plain program.
            for (of_sums, of_counts) in passes.into_iter().filter_map(|pass| pass.join().ok()) {
                sums.iter_mut().zip(of_sums).for_each(|(sum, other)| *sum += other);
                counts.iter_mut().zip(of_counts).for_each(|(count, other)| *count += other);
            }
        });
        for ((centre, count), sums) in centres.iter_mut().zip(&counts).zip(sums.chunks_exact(dimensions)) {
            if *count > 0 {
                *centre = sums.iter().map(|sum| (*sum as f64 / (*count as f64 * UNITS)) as f32).collect();
            }
        }
    }
    counts.into_iter().zip(centres).collect()
}

/// Sixteen centres side by side, dimension by dimension, then the next.
fn side_by_side(centres: &[Vec<f32>], dimensions: usize) -> Vec<[f32; LANES]> {
    let of_some = |some: &[Vec<f32>]| {
        let lane = |dimension: usize, lane: usize| some.get(lane).map_or(f32::INFINITY, |centre| centre[dimension]);
        (0..dimensions).map(|dimension| std::array::from_fn(|number| lane(dimension, number))).collect::<Vec<_>>()
    };
    centres.chunks(LANES).flat_map(of_some).collect()
}

/// The sums and numbers of the points that each centre is nearest to.
fn pass(points: &[f32], dimensions: usize, lanes: &[[f32; LANES]], centres: usize) -> (Vec<i64>, Vec<i64>) {
    let (mut sums, mut counts) = (vec![0; centres * dimensions], vec![0; centres]);
    for point in points.chunks_exact(dimensions) {
        let mut nearest = (f32::INFINITY, 0);
        for (number, lanes) in lanes.chunks_exact(dimensions).enumerate() {
            let mut distances = [0.0; LANES];
            for (coordinate, centres) in point.iter().zip(lanes) {
                for (distance, centre) in distances.iter_mut().zip(centres) {
                    let apart = coordinate - centre;
                    *distance += apart * apart;
                }
            }
            for (lane, distance) in distances.into_iter().enumerate() {
                if distance < nearest.0 {
                    nearest = (distance, number * LANES + lane);
                }
            }
        }
        counts[nearest.1] += 1;
        let sums = &mut sums[nearest.1 * dimensions..(nearest.1 + 1) * dimensions];
        sums.iter_mut().zip(point).for_each(|(sum, coordinate)| *sum += (f64::from(*coordinate) * UNITS) as i64);
    }
    (sums, counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_heaps_are_told_apart() {
        let points: Vec<f32> = (0..100).flat_map(|k| [(k % 2 * 100 + k % 10) as f32, 1.0]).collect();
        for threads in [1, 3] {
            let found = k_means(&points, vec![vec![0.0, 0.0], vec![90.0, 0.0]], 5, threads);
            assert_eq!(found, [(50, vec![4.0, 1.0]), (50, vec![105.0, 1.0])]);
        }
    }
}
