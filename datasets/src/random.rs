//! The numbers that our own datasets are made from.
//!
//! In: a seed. Out: a sequence of 64-bit numbers. Never: another sequence for a seed, ever: every golden checksum hangs
//! on it.
//!
//! SplitMix64 of Steele, Lea & Flood, "Fast Splittable Pseudorandom Number Generators" (OOPSLA 2014), with the
//! constants of Vigna's public-domain `splitmix64.c` (mix 13 of Stafford). Number `i` is `mix(seed + (i + 1) · γ)`: a
//! counter and a bijection, so that any place of the sequence can be had without the ones before. Good enough for data,
//! not for secrets.

/// Odd, nearest to 2⁶⁴ / golden ratio: the counter visits every value.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// A sequence of numbers, and the place in it.
#[derive(Clone, Debug)]
pub(crate) struct SplitMix64 {
    /// seed + (numbers drawn) · γ
    counter: u64,
}

impl SplitMix64 {
    pub(crate) fn new(seed: u64) -> Self {
        Self { counter: seed }
    }

    /// The sequence of `seed` without its first `drawn` numbers.
    pub(crate) fn after(seed: u64, drawn: u64) -> Self {
        Self { counter: seed.wrapping_add(drawn.wrapping_mul(GAMMA)) }
    }

    /// The next number, all 64 bits uniform.
    pub(crate) fn draw(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(GAMMA);
        let mut mixed = self.counter;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number of `0..count`, by the high half of a product (Lemire 2019) without its rejection step: some values are
    /// more probable than others by less than `count / 2³²`, and every call draws exactly once.
    pub(crate) fn draw_below(&mut self, count: u32) -> u32 {
        below(self.draw(), count)
    }
}

/// The upper 32 of `bits`, scaled to `0..count`; the lower 32 stay unused, for a second choice from the same draw.
pub(crate) fn below(bits: u64, count: u32) -> u32 {
    (((bits >> 32) * u64::from(count)) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        // First outputs of Vigna's splitmix64.c for this seed.
        let mut random = SplitMix64::new(1_234_567);
        let drawn = [(); 3].map(|()| random.draw());
        assert_eq!(drawn, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
        assert_eq!(SplitMix64::after(1_234_567, 2).draw(), drawn[2]);
    }

    #[test]
    fn below_spans_its_range() {
        assert_eq!((below(0, 9), below(u64::MAX, 9)), (0, 8));
        assert_eq!((below(0, 1), below(u64::MAX, 1)), (0, 0));
    }
}
