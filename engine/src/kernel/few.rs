//! Few keys that most rows have: which of them a key is, if any.
//!
//! In: some thousand keys of 16 bytes, then columns of keys. Out: the number of each key's group. Never: a branch that depends on a key, or a second
//! place to look at: what finds no room in its line is none of the few.
//!
//! ```text
//!   key ─ two products ─► line of 64 bytes   │ key │ key │ key │ key │   all four compared at once
//!                         numbers            │  17 │ 902 │   3 │   3 │   a line's empty places repeat its first key
//! ```

#![allow(unsafe_code)]

use super::{Kernels, gather::prefetch, vector::Vector};

/// Keys of a line of the cache.
const LINE_KEYS: usize = 4;

/// So many lines are asked for before the first is looked at.
const ASKED: usize = 32;
/// So many numbers are parted at once.
pub(super) const PARTED: usize = 16;

/// What a key has that is none of the few.
pub const ABSENT: u32 = u32::MAX;

/// Keys that share a place.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Line([u128; LINE_KEYS]);

/// Some thousand keys with their numbers.
pub struct FewKeys {
    lines: Vec<Line>,
    numbers: Vec<[u16; LINE_KEYS]>,
}

impl FewKeys {
    /// Most keys.
    pub const KEYS_MAX: usize = 1 << 16;

    /// Of these keys, no two of which are equal, with their numbers, in `2^line_bits` lines, at least one bit; those that come first find room
    /// sooner. Keys beyond [`FewKeys::KEYS_MAX`] and numbers of more than 16 bits are left out.
    pub fn new(keys: impl IntoIterator<Item = (u128, u32)>, line_bits: u32) -> FewKeys {
        let count = 1 << line_bits.clamp(1, 16);
        let (mut lines, mut numbers) = (vec![Line([0; LINE_KEYS]); count], vec![[0; LINE_KEYS]; count]);
        let mut taken = vec![0_u8; count];
        let mut last = None;
        for (key, number) in keys.into_iter().take(FewKeys::KEYS_MAX) {
            let place = place_of(key, count);
            let lane = usize::from(taken[place]);
            if let Ok(number) = u16::try_from(number)
                && lane < LINE_KEYS
            {
                lines[place].0[lane..].fill(key);
                numbers[place][lane..].fill(number);
                taken[place] += 1;
                last = Some(place);
            }
        }
        // A key of another line is equal to none that is looked for in this one.
        if let Some(other) = last {
            let stranger = lines[other].0[0];
            let strange = |(taken, line): (&u8, &mut Line)| {
                if *taken == 0 {
                    *line = Line([stranger; LINE_KEYS]);
                }
            };
            taken.iter().zip(&mut lines).for_each(strange);
        } else {
            lines.clear();
        }
        FewKeys { lines, numbers }
    }

    /// What it takes.
    pub fn bytes(&self) -> u64 {
        (size_of_val(&self.lines[..]) + size_of_val(&self.numbers[..])) as u64
    }

    /// The number of each key in `found`, [`ABSENT`] where it is none of the few.
    pub fn find(&self, keys: &[u128], found: &mut Vec<u32>) {
        self.find_with(Kernels::detect(), keys, found);
    }

    pub(super) fn find_with(&self, kernels: &Kernels, keys: &[u128], found: &mut Vec<u32>) {
        found.clear();
        found.resize(keys.len(), ABSENT);
        if !self.lines.is_empty() {
            (kernels.few_keys)(&self.lines, &self.numbers, keys, found);
        }
    }
}

/// The line of a key, of so many, which are a power of two and more than one.
#[inline(always)]
fn place_of(key: u128, lines: usize) -> usize {
    let (low, high) = (key as u64, (key >> 64) as u64);
    let mixed = low.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ high.wrapping_add(low >> 32);
    (mixed.wrapping_mul(0xd6e8_feb8_6659_fd93) >> (64 - lines.trailing_zeros())) as usize
}

/// See [`FewKeys::find`].
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn few_keys<V: Vector>(
    lines: &[Line],
    numbers: &[[u16; LINE_KEYS]],
    keys: &[u128],
    found: &mut [u32],
) {
    let mut places = [0; ASKED];
    for (keys, found) in keys.chunks(ASKED).zip(found.chunks_mut(ASKED)) {
        for (key, place) in keys.iter().zip(&mut places) {
            *place = place_of(*key, lines.len());
            prefetch(&lines[*place]);
            prefetch(&numbers[*place]);
        }
        for ((key, place), found) in keys.iter().zip(&places).zip(found) {
            // SAFETY: a line has four keys.
            let lane = unsafe { V::first_of_four(lines[*place].0.as_ptr(), key) };
            let number = u32::from(numbers[*place][lane % LINE_KEYS]);
            *found = if lane < LINE_KEYS { number } else { ABSENT };
        }
    }
}

/// Leaves of the numbers those that are not [`ABSENT`], in their order, and gives the places of the others.
pub fn part_found(numbers: &mut Vec<u32>) -> Vec<u32> {
    part_found_with(Kernels::detect(), numbers)
}

pub(super) fn part_found_with(kernels: &Kernels, numbers: &mut Vec<u32>) -> Vec<u32> {
    let count = numbers.len();
    let mut others = vec![0; count + PARTED];
    numbers.resize(count + PARTED, ABSENT);
    let found = (kernels.part_found)(count, numbers, &mut others);
    numbers.truncate(found);
    others.truncate(count - found);
    others
}

/// See [`part_found`]: of so many numbers how many are found.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn part<V: Vector>(count: usize, numbers: &mut [u32], others: &mut [u32]) -> usize {
    assert!(count + PARTED <= numbers.len() && count + PARTED <= others.len(), "room behind the numbers");
    let mut found = 0;
    let to = numbers.as_mut_ptr();
    for first in (0..count).step_by(PARTED) {
        // SAFETY: behind `count` there are as many more; of those before `first` no more were found, or not, than there are. They are none of
        // what is still read.
        found += unsafe {
            V::part_sixteen(to.add(first), ABSENT, first as u32, to.add(found), others.as_mut_ptr().add(first - found))
        };
    }
    found
}

/// As a specification says it.
pub(super) fn part_scalar(count: usize, numbers: &mut [u32], others: &mut [u32]) -> usize {
    let (mut found, mut other) = (0, 0);
    for place in 0..count {
        if numbers[place] == ABSENT {
            others[other] = place as u32;
            other += 1;
        } else {
            numbers[found] = numbers[place];
            found += 1;
        }
    }
    found
}

/// As a specification says it.
pub(super) fn few_keys_scalar(lines: &[Line], numbers: &[[u16; LINE_KEYS]], keys: &[u128], found: &mut [u32]) {
    for (key, found) in keys.iter().zip(found) {
        let place = place_of(*key, lines.len());
        let lane = lines[place].0.iter().position(|known| known == key);
        *found = lane.map_or(ABSENT, |lane| u32::from(numbers[place][lane]));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::kernel::testing::cases;

    fn key() -> impl Strategy<Value = u128> {
        prop_oneof![4 => (0u128..300).prop_map(|key| key << 32 | 3), 1 => any::<u128>(), 1 => 0u128..3]
    }

    proptest! {
        #![proptest_config(cases(300))]

        #[test]
        fn few_keys_are_those_that_a_map_has(
            few in prop::collection::btree_set(key(), 0..200), keys in prop::collection::vec(key(), 0..300), bits in 0u32..9,
        ) {
            let few: BTreeMap<u128, u32> = few.into_iter().zip(0..).collect();
            let table = FewKeys::new(few.iter().map(|(key, number)| (*key, *number)), bits);
            let mut expected = Vec::new();
            table.find_with(Kernels::scalar(), &keys, &mut expected);
            for (key, number) in keys.iter().zip(&expected) {
                // Some of the few find no room, and no other key is taken for one.
                prop_assert!(*number == ABSENT || few.get(key) == Some(number));
            }
            let all: Vec<u128> = few.keys().copied().collect();
            let mut found = Vec::new();
            table.find(&all, &mut found);
            let left_out = found.iter().filter(|number| **number == ABSENT).count();
            prop_assert!(bits < 8 || left_out <= few.len() / 20 + 1, "{} of {}", left_out, few.len());
            prop_assert!(few.is_empty() || left_out < few.len());
            for (name, kernels) in Kernels::all_available() {
                table.find_with(kernels, &keys, &mut found);
                prop_assert_eq!(&found, &expected, "{}", name);
                let others = part_found_with(kernels, &mut found);
                let (few, none): (Vec<usize>, Vec<usize>) = (0..keys.len()).partition(|row| expected[*row] != ABSENT);
                prop_assert_eq!(others, none.into_iter().map(|row| row as u32).collect::<Vec<_>>(), "{}", name);
                prop_assert_eq!(&found, &few.into_iter().map(|row| expected[row]).collect::<Vec<_>>(), "{}", name);
            }
        }
    }
}
