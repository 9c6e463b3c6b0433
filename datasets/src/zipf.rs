//! Ranks drawn by Zipf's law: the rank `r` (from 1) with a probability proportional to `1 / r`.
//!
//! In: 64 random bits. Out: a rank, counted from 0. Never: a float; rounding may differ between machines and libraries,
//! integers do not.
//!
//! The alias method of Walker (1974), its table built as in Vose, "A linear algorithm for generating random numbers
//! with a given distribution" (1991). The law's probabilities are poured into `count` columns of the same height, each
//! with at most two ranks in it; drawing is to choose a column, then one of its two ranks:
//!
//! ```text
//!   height ─ ┌───┬───┬───┬───┐
//!            │   │ 0 │ 0 │ 0 │ ◄ alias: who filled the column up
//!            │ 0 │   ├───┼───┤
//!            │   ├───┤ 2 │ 3 │ ◄ below the threshold: the column's own rank
//!            │   │ 1 │   │   │
//!            └───┴───┴───┴───┘
//! ```

use crate::random::below;

/// The table of one law.
#[derive(Debug)]
pub(crate) struct Zipf {
    columns: Vec<Column>,
}

#[derive(Clone, Copy, Debug)]
struct Column {
    /// In 2⁻³² of the column's height: a coin below it chooses the column's own rank.
    threshold: u32,
    alias: u32,
}

impl Zipf {
    /// A table for the ranks `0..count`.
    pub(crate) fn new(count: u32) -> Self {
        /// Weight of the first rank: of 2⁴⁰ / r the last of a million ranks keeps 20 bits. A product of a weight and a
        /// count of up to 2²⁰ stays below 2⁶⁰, so that all below is exact in u64.
        const WEIGHT: u64 = 1 << 40;
        assert!((1..=1 << 20).contains(&count), "a Zipf table of {count} ranks");

        // Heights are scaled by `count` instead of divided by it: a full column is the sum of all weights.
        let full: u64 = (1..=u64::from(count)).map(|rank| WEIGHT / rank).sum();
        let mut heights: Vec<u64> = (1..=u64::from(count)).map(|rank| WEIGHT / rank * u64::from(count)).collect();
        let mut columns: Vec<Column> = (0..count).map(|rank| Column { threshold: 0, alias: rank }).collect();
        let (mut short, mut tall): (Vec<u32>, Vec<u32>) = (0..count).partition(|&rank| heights[rank as usize] < full);
        while let (Some(&giver), Some(taker)) = (tall.last(), short.pop()) {
            let height = heights[taker as usize];
            // Below 2³², for `height < full`.
            let threshold = ((u128::from(height) << 32) / u128::from(full)) as u32;
            columns[taker as usize] = Column { threshold, alias: giver };
            heights[giver as usize] -= full - height;
            if heights[giver as usize] < full {
                short.extend(tall.pop());
            }
        }
        // What is left stands exactly at `full`, integers being exact, and is its own alias: any threshold is right.
        Self { columns }
    }

    /// The rank for these bits: the upper 32 choose the column, the lower 32 are the coin.
    pub(crate) fn rank(&self, bits: u64) -> usize {
        let own = below(bits, self.columns.len() as u32);
        let column = self.columns[own as usize];
        (if (bits as u32) < column.threshold { own } else { column.alias }) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_add_up_to_the_law() {
        for count in [1, 2, 3, 7, 1_000, 50_000] {
            let zipf = Zipf::new(count);
            let mut shares = vec![0.0; count as usize];
            for (own, column) in zipf.columns.iter().enumerate() {
                let share = f64::from(column.threshold) / 2_f64.powi(32);
                shares[own] += share;
                shares[column.alias as usize] += 1.0 - share;
            }
            let harmonic: f64 = (1..=count).map(|rank| 1.0 / f64::from(rank)).sum();
            for (rank, share) in shares.iter().enumerate() {
                let expected = f64::from(count) / harmonic / (rank as f64 + 1.0);
                assert!((share / expected - 1.0).abs() < 1e-3, "rank {rank} of {count}: {share}, expected {expected}");
            }
        }
    }
}
