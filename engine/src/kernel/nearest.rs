//! Nearest centres: the inner loop of k-means.
//!
//! In: centres, points. Out: which centre is nearest to a point. Never: a sum in another order than dimension by dimension, so that distances have the
//! same bits with every instruction set.
//!
//! ```text
//!   centres, sixteen side by side     x₀ x₁ … x₁₅ │ y₀ y₁ … y₁₅ │ z₀ z₁ … z₁₅ ┊ x₁₆ x₁₇ …
//!   a point                            x             y             z
//! ```
//! A coordinate of the point is compared with sixteen at once, and with those of four blocks in turn.

use super::Kernels;

/// So many centres are compared with a point at once.
pub(super) const LANES: usize = 16;

/// Centres as points are compared with them.
#[derive(Clone, Debug, Default)]
pub struct Centres {
    dimensions: usize,
    lanes: Vec<[f32; LANES]>,
}

impl Centres {
    /// Of these centres, each of as many coordinates as the first.
    ///
    /// # Panics
    /// If one has fewer.
    pub fn new(centres: &[Vec<f32>]) -> Centres {
        let dimensions = centres.first().map_or(0, Vec::len);
        let of_some = |some: &[Vec<f32>]| {
            // What is no centre is nearest to nothing.
            let lane = |dimension: usize, lane: usize| some.get(lane).map_or(f32::INFINITY, |centre| centre[dimension]);
            (0..dimensions).map(|dimension| std::array::from_fn(|number| lane(dimension, number))).collect::<Vec<_>>()
        };
        Centres { dimensions, lanes: centres.chunks(LANES).flat_map(of_some).collect() }
    }

    /// The number of the centre that is nearest to the point by the sum of squares, in single precision; of several the first. 0 where none has a distance
    /// that is a finite number.
    ///
    /// # Panics
    /// If the point has other dimensions than the centres.
    pub fn nearest(&self, point: &[f32]) -> usize {
        assert_eq!(point.len(), self.dimensions, "dimensions of a point and of the centres");
        if point.is_empty() { 0 } else { (Kernels::detect().nearest)(&self.lanes, point) }
    }
}

/// Blocks of centres that are compared at once: a sum waits for its last term, those of other blocks do not.
const BLOCKS: usize = 4;

/// See [`Centres::nearest`]; the point has a dimension.
#[inline(always)]
pub(super) fn nearest(centres: &[[f32; LANES]], point: &[f32]) -> usize {
    let together = centres.chunks_exact(BLOCKS * point.len());
    let rest = together.remainder().chunks_exact(point.len());
    let mut nearest = (f32::INFINITY, 0);
    for (number, some) in together.enumerate() {
        nearest = nearer(nearest, &distances::<BLOCKS>(some, point), number * BLOCKS);
    }
    let begun = centres.len() / point.len() / BLOCKS * BLOCKS;
    for (number, one) in rest.enumerate() {
        nearest = nearer(nearest, &distances::<1>(one, point), begun + number);
    }
    nearest.1
}

/// The nearest until now, or the first that is nearest of some blocks, the first of which has that number.
#[inline(always)]
fn nearer<const N: usize>(nearest: (f32, usize), distances: &[[f32; LANES]; N], block: usize) -> (f32, usize) {
    let mut least = [f32::INFINITY; LANES];
    for distances in distances {
        for (least, distance) in least.iter_mut().zip(distances) {
            *least = if *distance < *least { *distance } else { *least };
        }
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            least[lane] = if least[lane + half] < least[lane] { least[lane + half] } else { least[lane] };
        }
        half /= 2;
    }
    if least[0] < nearest.0 {
        let numbers = (0..).zip(distances.as_flattened());
        let number = numbers.map(|(number, distance)| if *distance == least[0] { number } else { u32::MAX });
        (least[0], block * LANES + number.fold(u32::MAX, u32::min) as usize)
    } else {
        nearest
    }
}

/// From the point to each centre of so many blocks.
#[inline(always)]
fn distances<const N: usize>(centres: &[[f32; LANES]], point: &[f32]) -> [[f32; LANES]; N] {
    let blocks: [&[[f32; LANES]]; N] = std::array::from_fn(|block| &centres[block * point.len()..][..point.len()]);
    let mut distances = [[0.0; LANES]; N];
    for (dimension, coordinate) in point.iter().enumerate() {
        for (distances, centres) in distances.iter_mut().zip(&blocks) {
            for (distance, centre) in distances.iter_mut().zip(&centres[dimension]) {
                let apart = coordinate - centre;
                *distance += apart * apart;
            }
        }
    }
    distances
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::testing::cases;

    fn coordinate() -> impl Strategy<Value = f32> {
        prop_oneof![4 => (-3i8..4).prop_map(f32::from), 1 => any::<f32>()]
    }

    proptest! {
        #![proptest_config(cases(300))]

        #[test]
        fn the_nearest_agrees_with_scalar(
            (centres, point) in (1usize..9).prop_flat_map(|dimensions| {
                let some = || prop::collection::vec(coordinate(), dimensions);
                (prop::collection::vec(some(), 0..150), some())
            })
        ) {
            let compared = Centres { dimensions: point.len(), ..Centres::new(&centres) };
            let expected = (Kernels::scalar().nearest)(&compared.lanes, &point);
            for (name, kernels) in Kernels::all_available() {
                prop_assert_eq!((kernels.nearest)(&compared.lanes, &point), expected, "{}", name);
            }
        }
    }

    #[test]
    fn of_several_it_is_the_first() {
        let centres: Vec<Vec<f32>> = (0..40).map(|number| vec![(number % 20) as f32, 1.0]).collect();
        let compared = Centres::new(&centres);
        for number in 0..20 {
            assert_eq!(compared.nearest(&[number as f32 + 0.25, 1.0]), number);
        }
        assert_eq!(compared.nearest(&[f32::NAN, 1.0]), 0);
        assert_eq!(compared.nearest(&[1e30, 1.0]), 0, "no distance is finite");
    }
}
