//! The numbers of rows, in another order.
//!
//! In: how many rows, perhaps a seed. Out: the place of each row, one after the other or not. Never: a table of all places; a row's is
//! computed, so that any thread can make any row.

use crate::random::SplitMix64;

/// Odd numbers whose bits are well mixed.
const FACTORS: [u64; 3] = [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb, 0xd6e8_feb8_6659_fd93];

/// A fixed order of `0..count`: which place a row has.
///
/// A bijection of the numbers of so many bits as `count` needs (multiply by an odd number, fold the upper half into
/// the lower, three times) is applied until it gives a number below `count`: at most twice on average, and what it
/// gives is a bijection again ("cycle walking", Black & Rogaway 2002).
pub(crate) struct Order {
    count: u64,
    mask: u64,
    half_bits: u32,
    /// Added before each multiplication.
    offsets: [u64; 3],
}

impl Order {
    /// Always the same one.
    pub(crate) fn new(count: u64) -> Self {
        Self::of(count, [0x9e37_79b9_7f4a_7c15, 0, 0])
    }

    /// One of many: seeds give orders that have nothing to do with each other.
    pub(crate) fn chosen(count: u64, seed: u64) -> Self {
        let mut random = SplitMix64::new(seed);
        Self::of(count, [(); 3].map(|()| random.draw()))
    }

    fn of(count: u64, offsets: [u64; 3]) -> Self {
        let mask = count.max(1).next_power_of_two() - 1;
        Self { count, mask, half_bits: (mask.count_ones() / 2).max(1), offsets }
    }

    /// The place of `row`, which is below `count`.
    pub(crate) fn place(&self, row: u64) -> u64 {
        let mut place = row;
        loop {
            for (factor, offset) in FACTORS.iter().zip(self.offsets) {
                place = place.wrapping_add(offset) & self.mask;
                place ^= place >> self.half_bits;
                place = place.wrapping_mul(*factor) & self.mask;
            }
            place ^= place >> self.half_bits;
            if place < self.count {
                return place;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_taken_once() {
        let chosen = |count| Order::chosen(count, 7);
        for (count, order) in [1, 2, 3, 4, 5, 7, 8, 9, 100, 1_000, 4_096, 65_537]
            .into_iter()
            .flat_map(|count| [(count, Order::new as fn(u64) -> Order), (count, chosen)])
        {
            let order = order(count);
            let mut places: Vec<u64> = (0..count).map(|row| order.place(row)).collect();
            let in_order = places.windows(2).filter(|pair| pair[0] < pair[1]).count();
            places.sort_unstable();
            assert!(places.iter().copied().eq(0..count), "{count}");
            if count >= 1_000 {
                // As many rise as fall.
                assert!((0.45..0.55).contains(&(in_order as f64 / count as f64)), "{count}: {in_order} rise");
            }
        }
    }

    #[test]
    fn a_part_of_the_rows_has_as_many_keys_as_chance_gives() {
        // Of n drawn from k keys about k (1 - e^(-n/k)) are different.
        let (rows, keys) = (1 << 20, 100_000_u64);
        let order = Order::new(rows);
        for part in [0..100_000, 500_000..600_000, 900_000..1_000_000] {
            let mut found: Vec<u64> = part.map(|row| order.place(row) % keys).collect();
            found.sort_unstable();
            found.dedup();
            let share = found.len() as f64 / keys as f64;
            assert!((0.62..0.66).contains(&share), "{share}");
        }
    }

    #[test]
    fn orders_of_two_seeds_have_no_more_in_common_than_chance_gives() {
        let count = 100_000;
        let [one, two] = [1, 2].map(|seed| Order::chosen(count, seed));
        let equal = (0..count).filter(|row| one.place(*row) == two.place(*row)).count();
        assert!(equal < 10, "{equal} rows have one place in both");
        let steps =
            |order: &Order| (1..count).filter(|row| order.place(*row).abs_diff(order.place(row - 1)) < 10).count();
        assert!(steps(&one) < 100 && steps(&two) < 100, "neighbours stay together");
    }
}
