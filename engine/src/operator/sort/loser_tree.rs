//! A loser tree: which of many sorted inputs has the least row.
//!
//! In: a number of inputs, and the answer to "does this one's row come before that one's?". Out: the input whose row comes first. Never:
//! looks at a row itself.
//!
//! ```text
//!            winner
//!              │
//!             L1                 a node keeps who lost there; the winner went on upwards
//!           ┌──┴──┐
//!          L2     L3             when the winner's input has moved on, only its way from the leaf
//!         ┌┴┐    ┌┴┐             to the top is played again: one comparison a level, against the
//!         0 1    2 3             losers that stand there
//! ```
//! After Knuth, The Art of Computer Programming, volume 3, § 5.4.1. Leaves and nodes are counted as in a heap: node 1 is the top, the leaf
//! of input i is place `i + inputs`.

use crate::error::Result;

/// See above.
pub(super) struct LoserTree {
    /// Of each node who lost there; in place 0 who won everything.
    losers: Vec<u32>,
}

impl LoserTree {
    /// Plays all matches. `comes_before(a, b)`: does the row of input a come before that of b?
    pub(super) fn new(inputs: usize, mut comes_before: impl FnMut(usize, usize) -> Result<bool>) -> Result<LoserTree> {
        let mut losers = vec![0; inputs.max(1)];
        // Winners below each node, from the leaves upwards.
        let mut winners: Vec<u32> = vec![0; inputs.max(1)];
        let winner_at = |place: usize, winners: &[u32]| {
            if place >= inputs { (place - inputs) as u32 } else { winners[place] }
        };
        for node in (1..inputs).rev() {
            let (left, right) = (winner_at(2 * node, &winners), winner_at(2 * node + 1, &winners));
            let right_wins = comes_before(right as usize, left as usize)?;
            (winners[node], losers[node]) = if right_wins { (right, left) } else { (left, right) };
        }
        losers[0] = if inputs > 1 { winners[1] } else { 0 };
        Ok(LoserTree { losers })
    }

    /// The input whose row comes first.
    pub(super) fn winner(&self) -> usize {
        self.losers[0] as usize
    }

    /// The winner's input has moved on: plays its matches again.
    #[inline]
    pub(super) fn replay(&mut self, mut comes_before: impl FnMut(usize, usize) -> Result<bool>) -> Result<()> {
        let mut winner = self.losers[0];
        let mut node = (winner as usize + self.losers.len()) / 2;
        while node > 0 {
            if comes_before(self.losers[node] as usize, winner as usize)? {
                std::mem::swap(&mut self.losers[node], &mut winner);
            }
            node /= 2;
        }
        self.losers[0] = winner;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::operator::testing::Random;

    #[test]
    fn it_merges_any_number_of_inputs() {
        let random = &mut Random(3);
        for count in 1..40 {
            let mut inputs: Vec<Vec<usize>> =
                (0..count).map(|_| (0..random.below(30)).map(|_| random.below(50)).collect()).collect();
            inputs.iter_mut().for_each(|input| input.sort_unstable());
            let mut expected = inputs.concat();
            expected.sort_unstable();
            let mut next = vec![0; count];
            // An input that has ended comes after all others.
            let row = |input: usize, next: &[usize]| inputs[input].get(next[input]).copied().unwrap_or(usize::MAX);
            let mut tree = LoserTree::new(count, |a, b| Ok(row(a, &next) < row(b, &next))).unwrap();
            let mut merged = Vec::new();
            while let Some(least) = inputs[tree.winner()].get(next[tree.winner()]) {
                merged.push(*least);
                next[tree.winner()] += 1;
                tree.replay(|a, b| Ok(row(a, &next) < row(b, &next))).unwrap();
            }
            assert_eq!(merged, expected);
        }
    }
}
