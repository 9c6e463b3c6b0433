//! The choice of an instruction set, once, and the table of kernels that it gives.
//!
//! In: what the processor says of itself. Out: `&'static Kernels`. Never: a choice per batch, or an answer that depends
//! on it.
//!
//! The kernels are compiled once for each set by one macro: a `#[target_feature]` function around the generic
//! algorithm, and a safe one around that, whose address is in the table. A table leaves its module only through `new`,
//! which has asked the processor: to hold a table is the proof.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::sync::OnceLock;

use super::bundle::{Bundle, Sources};
use super::few::Line;
use super::gathered::{ByGroup, Places, Texts};
use super::nearest::LANES;
use super::partition::GROUPS_MAX;
use super::scalar;
use super::scatter::{Heaps, Starts, Stream};
use super::sorted::Ordered;
use super::tiles::Tile;

/// The kernels of one instruction set, as plain functions.
///
/// All bitmaps are 64-bit words, lowest bit first. All slices of one call have one length, except where said otherwise;
/// the functions panic when they differ.
pub struct Kernels {
    pub(super) name: &'static str,
    pub(super) fold_u64: fn(&[u64], &[u64], &mut [u64]),
    pub(super) fold_u32: fn(&[u32], &[u64], &mut [u64]),
    pub(super) fold_i32: fn(&[i32], &[u64], &mut [u64]),
    pub(super) fold_f64: fn(&[f64], &[u64], &mut [u64]),
    pub(super) fold_f32: fn(&[f32], &[u64], &mut [u64]),
    pub(super) words_of_i128: fn(&[i128], &mut [u64]),
    pub(super) words_of_views: fn(&[u128], &mut [u64]) -> bool,
    /// Where words of a text, between ASCII white space, start and end: places from `first` on, in the order of the text; how many of each. `is_open`: a
    /// word that started before goes on. A word that reaches the text's end is ended there, but for a text of whole blocks of 64 bytes, behind which it
    /// may go on. The slices are longer than half of the text by [`NOTED`](super::tokens::NOTED) and 1.
    pub(super) word_bounds: WordBounds,
    /// Where `\n` stands in a text: places from `first` on; how many. The slice is longer than the text by [`NOTED`](super::tokens::NOTED).
    pub(super) line_ends: fn(&[u8], u32, &mut [u32]) -> usize,
    /// See [`nearest::nearest`](super::nearest::nearest).
    pub(super) nearest: fn(&[[f32; LANES]], &[f32]) -> usize,
    /// See [`FewKeys::find`](super::few::FewKeys::find).
    pub(super) few_keys: Few,
    /// See [`part_found`](super::few::part_found); both slices are longer than there are numbers by [`PARTED`](super::few::PARTED).
    pub(super) part_found: fn(usize, &mut [u32], &mut [u32]) -> usize,
    /// The views of words of a text, by where they start and end; the longest of them. The text is the buffer of that number.
    pub(super) word_views: WordViews,
    pub(super) group_numbers: fn(&[u64], u32, &mut [u8]),
    pub(super) group_products: fn(&[u64], u32, &mut [u16]),
    pub(super) range_numbers: fn(&[u64], &[u64], &mut [u16]),
    pub(super) number_bytes: fn(&[u16], u32, u8, &mut [u8]) -> u16,
    pub(super) histogram: fn(&[u8], &mut [u32; GROUPS_MAX]),
    pub(super) row_order: fn(&[u8], &mut [u32; GROUPS_MAX], &mut [u32]),
    /// See [`scatter::scatter`](super::scatter::scatter), [`tiles::scatter_tiles`](super::tiles::scatter_tiles), and so on.
    pub(super) scatter: Scatter,
    pub(super) scatter_tiles: ScatterTiles,
    pub(super) scatter_sorted: ScatterSorted,
    pub(super) scatter_rows: ScatterRows,
    pub(super) scatter_strings: ScatterStrings,
    pub(super) scatter_views: ScatterViews,
    pub(super) gather_values: GatherValues,
    pub(super) gather_texts: GatherTexts,
    pub(super) gather_views: GatherViews,
}

type WordBounds = fn(&[u8], u32, bool, &mut [u32], &mut [u32]) -> (usize, usize);
type Few = fn(&[Line], &[[u16; 4]], &[u128], &mut [u32]);
type WordViews = fn(&[u8], &[u32], &[u32], u32, &mut [MaybeUninit<u128>]) -> u32;
type Scatter = unsafe fn(usize, &[Stream], &[u8], &Starts, &[u32; GROUPS_MAX], usize);
type ScatterTiles = unsafe fn(&Bundle, &Sources, &[u8], &Starts, &[u32; GROUPS_MAX], *mut Tile);
type ScatterSorted = unsafe fn(&Bundle, Ordered<'_>, &Starts, &[u32; GROUPS_MAX], *mut u64);
type ScatterRows = unsafe fn(&Bundle, &Sources, &[u8], usize, &Starts, &[u32; GROUPS_MAX], Option<Stream>);
type ScatterStrings = unsafe fn(*const u8, usize, &[u32], &[u8], Heaps<'_>, &mut [u32]);
type ScatterViews = unsafe fn(&[u128], &[&[u8]], &[u8], Heaps<'_>, &mut [u128]);
type GatherValues = unsafe fn(usize, *const u8, ByGroup<'_>, Places<'_>, &[u32]);
type GatherTexts = unsafe fn(Texts<'_>, ByGroup<'_>, Places<'_>, &mut [u64], Places<'_>, &[u32]);
type GatherViews = unsafe fn(&[u128], &[&[u8]], ByGroup<'_>, Places<'_>, &mut [u64], Places<'_>, &[u32]);

impl Kernels {
    /// The best set this processor has; asked once.
    pub fn detect() -> &'static Kernels {
        static CHOSEN: OnceLock<&'static Kernels> = OnceLock::new();
        CHOSEN.get_or_init(|| Kernels::all_available().last().map_or(Kernels::portable(), |(_, kernels)| kernels))
    }

    /// What runs everywhere.
    pub fn portable() -> &'static Kernels {
        &portable::KERNELS
    }

    /// The specification as a table: slow, for tests and benches.
    pub fn scalar() -> &'static Kernels {
        &scalar::KERNELS
    }

    /// Every set this processor has, the best last, by name.
    pub fn all_available() -> Vec<(&'static str, &'static Kernels)> {
        let mut all = vec![Kernels::portable()];
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(avx2::new());
            all.extend(avx512::new());
        }
        all.into_iter().map(|kernels| (kernels.name, kernels)).collect()
    }

    /// The name of the instruction set.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The group of each row, the top `group_bits` (0 to 8) of its hash; `groups` has these and nothing else.
    pub fn group_numbers(&self, hashes: &[u64], group_bits: u32, groups: &mut Vec<u8>) {
        groups.resize(hashes.len(), 0);
        (self.group_numbers)(hashes, group_bits, groups);
    }

    /// The group of each row among `group_count` groups, any number up to [`PARTITIONS_MAX`](super::PARTITIONS_MAX); `groups` has
    /// these and nothing else.
    pub fn group_products(&self, hashes: &[u64], group_count: u32, groups: &mut Vec<u16>) {
        groups.resize(hashes.len(), 0);
        (self.group_products)(hashes, group_count, groups);
    }

    /// The group of each key by range: how many of `splitters`, which never fall, are at most the key; `groups` has these and nothing else.
    pub fn range_numbers(&self, keys: &[u64], splitters: &[u64], groups: &mut Vec<u16>) {
        groups.resize(keys.len(), 0);
        (self.range_numbers)(keys, splitters, groups);
    }

    /// One byte of each number, `(number >> shift) & mask`, `shift` below 16; `bytes` has these and nothing else. Returns the largest number, 0 of
    /// none.
    pub fn number_bytes(&self, numbers: &[u16], shift: u32, mask: u8, bytes: &mut Vec<u8>) -> u16 {
        bytes.resize(numbers.len(), 0);
        (self.number_bytes)(numbers, shift, mask, bytes)
    }

    /// Adds the rows of each group to `counts`.
    pub fn histogram(&self, groups: &[u8], counts: &mut [u32; GROUPS_MAX]) {
        (self.histogram)(groups, counts);
    }

    /// Writes the number of each row to `order`, at its group's cursor, which moves on: a stable counting sort.
    ///
    /// `cursors` as of [`first_rows`](super::first_rows); `order` at least as long as the cursors go, or it panics.
    pub fn row_order(&self, groups: &[u8], cursors: &mut [u32; GROUPS_MAX], order: &mut [u32]) {
        (self.row_order)(groups, cursors, order);
    }
}

/// `kernels! { Vector, "name", #[target_feature(...)] }`: the algorithms compiled for one instruction set, as
/// `KERNELS`.
macro_rules! kernels {
    // One entry: the generic algorithm under the features, and a safe function around it.
    (@entry [$($feature:tt)*] $name:ident($($argument:ident: $type:ty),*) $(-> $answer:ty)? = $algorithm:expr) => {
        fn $name($($argument: $type),*) $(-> $answer)? {
            $($feature)*
            unsafe fn inner($($argument: $type),*) $(-> $answer)? {
                // SAFETY: `inner` is compiled for the processor that its caller promises. Some algorithms are safe.
                #[allow(unused_unsafe)]
                unsafe { $algorithm($($argument),*) }
            }
            // SAFETY: the table is handed out by `new` alone, after the processor said that it has these features.
            unsafe { inner($($argument),*) }
        }
    };
    // The same for an algorithm that asks more of its caller than the processor.
    (@unsafe [$($feature:tt)*] $name:ident($($argument:ident: $type:ty),*) = $algorithm:expr) => {
        unsafe fn $name($($argument: $type),*) {
            $($feature)*
            unsafe fn inner($($argument: $type),*) {
                // SAFETY: the algorithm's conditions are the caller's promise.
                unsafe { $algorithm($($argument),*) }
            }
            // SAFETY: the table is handed out by `new` alone, after the processor said that it has these features; the rest is the
            // caller's promise.
            unsafe { inner($($argument),*) }
        }
    };
    ($vector:ty, $name:literal, $feature:tt) => {
        use std::mem::MaybeUninit;
        use crate::kernel::{Kernels, bundle::{Bundle, Sources}, few::{self, Line}, gathered::{self, ByGroup, Places, Texts}, hash, nearest, partition::{self, GROUPS_MAX}, scatter::{self, Heaps, Starts, Stream}, packed, sorted::{self, Ordered}, tiles::{self, Tile}, tokens};

        kernels! { @entry $feature fold_u64(values: &[u64], validity: &[u64], hashes: &mut [u64])
            = hash::fold::<$vector, u64> }
        kernels! { @entry $feature fold_u32(values: &[u32], validity: &[u64], hashes: &mut [u64])
            = hash::fold::<$vector, u32> }
        kernels! { @entry $feature fold_i32(values: &[i32], validity: &[u64], hashes: &mut [u64])
            = hash::fold::<$vector, i32> }
        kernels! { @entry $feature fold_f64(values: &[f64], validity: &[u64], hashes: &mut [u64])
            = hash::fold::<$vector, f64> }
        kernels! { @entry $feature fold_f32(values: &[f32], validity: &[u64], hashes: &mut [u64])
            = hash::fold::<$vector, f32> }
        kernels! { @entry $feature words_of_i128(values: &[i128], words: &mut [u64])
            = hash::words_of_i128::<$vector> }
        kernels! { @entry $feature words_of_views(views: &[u128], words: &mut [u64]) -> bool
            = hash::words_of_views::<$vector> }
        kernels! { @entry $feature
            word_bounds(text: &[u8], first: u32, is_open: bool, starts: &mut [u32], ends: &mut [u32]) -> (usize, usize)
            = tokens::word_bounds::<$vector> }
        kernels! { @entry $feature line_ends(text: &[u8], first: u32, ends: &mut [u32]) -> usize
            = tokens::line_ends::<$vector> }
        kernels! { @entry $feature nearest(centres: &[[f32; nearest::LANES]], point: &[f32]) -> usize
            = nearest::nearest }
        kernels! { @entry $feature
            few_keys(lines: &[Line], numbers: &[[u16; 4]], keys: &[u128], found: &mut [u32])
            = few::few_keys::<$vector> }
        kernels! { @entry $feature part_found(count: usize, numbers: &mut [u32], others: &mut [u32]) -> usize
            = few::part::<$vector> }
        kernels! { @entry $feature
            word_views(text: &[u8], starts: &[u32], ends: &[u32], buffer: u32, views: &mut [MaybeUninit<u128>]) -> u32
            = tokens::word_views::<$vector> }
        kernels! { @entry $feature group_numbers(hashes: &[u64], group_bits: u32, groups: &mut [u8])
            = partition::group_numbers::<$vector> }
        kernels! { @entry $feature group_products(hashes: &[u64], group_count: u32, groups: &mut [u16])
            = partition::group_products }
        kernels! { @entry $feature range_numbers(keys: &[u64], splitters: &[u64], groups: &mut [u16])
            = partition::range_numbers }
        kernels! { @entry $feature number_bytes(numbers: &[u16], shift: u32, mask: u8, bytes: &mut [u8]) -> u16
            = partition::number_bytes }
        kernels! { @entry $feature histogram(groups: &[u8], counts: &mut [u32; GROUPS_MAX])
            = partition::histogram }
        kernels! { @entry $feature row_order(groups: &[u8], cursors: &mut [u32; GROUPS_MAX], order: &mut [u32])
            = scatter::row_order }
        kernels! { @unsafe $feature
            scatter(width: usize, streams: &[Stream], groups: &[u8], starts: &Starts, rows: &[u32; GROUPS_MAX], group_count: usize)
            = scatter::scatter }
        kernels! { @unsafe $feature
            scatter_tiles(
                bundle: &Bundle, sources: &Sources, groups: &[u8], starts: &Starts, rows: &[u32; GROUPS_MAX], tiles: *mut Tile)
            = tiles::scatter_tiles::<$vector> }
        kernels! { @unsafe $feature
            scatter_sorted(bundle: &Bundle, ordered: Ordered<'_>, starts: &Starts, rows: &[u32; GROUPS_MAX], rests: *mut u64)
            = sorted::scatter_sorted::<$vector> }
        kernels! { @unsafe $feature
            scatter_rows(
                bundle: &Bundle, sources: &Sources, groups: &[u8], offset: usize, starts: &Starts, rows: &[u32; GROUPS_MAX], numbers: Option<Stream>)
            = packed::scatter_rows::<$vector> }
        kernels! { @unsafe $feature
            scatter_strings(
                from: *const u8, readable: usize, lengths: &[u32], groups: &[u8], heaps: Heaps<'_>, ends: &mut [u32])
            = scatter::scatter_strings }
        kernels! { @unsafe $feature
            scatter_views(
                views: &[u128], buffers: &[&[u8]], groups: &[u8], heaps: Heaps<'_>, moved: &mut [u128])
            = scatter::scatter_views }
        kernels! { @unsafe $feature
            gather_values(width: usize, from: *const u8, by_group: ByGroup<'_>, to: Places<'_>, rows: &[u32])
            = gathered::gather_values::<$vector> }
        kernels! { @unsafe $feature
            gather_texts(
                texts: Texts<'_>, by_group: ByGroup<'_>, heaps: Places<'_>, used: &mut [u64], to: Places<'_>, rows: &[u32])
            = gathered::gather_texts::<$vector> }
        kernels! { @unsafe $feature
            gather_views(
                views: &[u128], buffers: &[&[u8]], by_group: ByGroup<'_>, heaps: Places<'_>, used: &mut [u64], to: Places<'_>, rows: &[u32])
            = gathered::gather_views::<$vector> }

        pub(super) static KERNELS: Kernels = Kernels {
            name: $name, fold_u64, fold_u32, fold_i32, fold_f64, fold_f32, words_of_i128, words_of_views, word_bounds,
            line_ends, nearest, few_keys, part_found, word_views,
            group_numbers,
            group_products, range_numbers, number_bytes,
            histogram, row_order, scatter, scatter_tiles, scatter_sorted, scatter_rows, scatter_strings,
            scatter_views, gather_values, gather_texts, gather_views,
        };
    };
}

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

/// One lane, no features: for every processor.
mod portable {
    kernels! { u64, "portable", [] }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::testing::cases;
    use crate::kernel::{first_rows, group_of};

    /// Calls `check` with each instruction set of this machine.
    fn with_each(check: impl Fn(&Kernels)) {
        for (_, kernels) in Kernels::all_available() {
            check(kernels);
        }
    }

    /// A function of the table, on `values` and `validity`, answers as its scalar twin.
    macro_rules! assert_folds_as_scalar {
        ($kernel:ident, $values:expr, $validity:expr, $seed:expr) => {
            with_each(|kernels| {
                for validity in [&[][..], &$validity] {
                    let start: Vec<u64> = (0..$values.len() as u64).map(|row| scalar::mix($seed ^ row)).collect();
                    let (mut expected, mut hashes) = (start.clone(), start);
                    (Kernels::scalar().$kernel)($values, validity, &mut expected);
                    (kernels.$kernel)($values, validity, &mut hashes);
                    assert_eq!(hashes, expected, "{} of {}", stringify!($kernel), kernels.name());
                }
            })
        };
    }

    /// Floats of every kind, the awkward ones often.
    fn floats() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            prop::sample::select(vec![0.0, -0.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 5e-324]),
        ]
    }

    /// Views with no more than 12 bytes, or of a length that says that they are elsewhere.
    fn views() -> impl Strategy<Value = u128> {
        (any::<u128>(), 0u32..20).prop_map(|(bytes, length)| match length {
            13.. => bytes >> 32 << 32 | u128::from(length),
            0 => 0,
            _ => bytes >> (128 - 8 * length) << 32 | u128::from(length),
        })
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn folds_agree_with_scalar(
            values in prop::collection::vec(any::<u64>(), 0..200), floats in prop::collection::vec(floats(), 0..200),
            bits: [u64; 4], seed: u64,
        ) {
            let narrow: Vec<u32> = values.iter().map(|value| *value as u32).collect();
            let signed: Vec<i32> = values.iter().map(|value| *value as i32).collect();
            let singles: Vec<f32> = floats.iter().map(|float| *float as f32).collect();
            assert_folds_as_scalar!(fold_u64, &values, bits, seed);
            assert_folds_as_scalar!(fold_u32, &narrow, bits, seed);
            assert_folds_as_scalar!(fold_i32, &signed, bits, seed);
            assert_folds_as_scalar!(fold_f64, &floats, bits, seed);
            assert_folds_as_scalar!(fold_f32, &singles, bits, seed);
        }

        #[test]
        fn words_agree_with_scalar(
            wide in prop::collection::vec(prop_oneof![any::<i128>(), any::<i64>().prop_map(i128::from)], 0..100),
            views in prop::collection::vec(views(), 0..100),
        ) {
            with_each(|kernels| {
                let (mut expected, mut words) = (vec![0; wide.len()], vec![0; wide.len()]);
                (Kernels::scalar().words_of_i128)(&wide, &mut expected);
                (kernels.words_of_i128)(&wide, &mut words);
                assert_eq!(words, expected, "{}", kernels.name());

                let (mut expected, mut words) = (vec![0; views.len()], vec![0; views.len()]);
                let some_long = (Kernels::scalar().words_of_views)(&views, &mut expected);
                assert_eq!((kernels.words_of_views)(&views, &mut words), some_long, "{}", kernels.name());
                for (word, view) in words.iter_mut().zip(&views) {
                    if *view as u32 > 12 {
                        *word = 0;
                    }
                }
                assert_eq!(words, expected, "{}", kernels.name());
            });
        }

        #[test]
        fn rows_go_to_their_groups(
            hashes in prop::collection::vec(prop_oneof![any::<u64>(), Just(u64::MAX)], 0..300), group_bits in 0u32..=8,
        ) {
            with_each(|kernels| {
                let scalar = Kernels::scalar();
                let (mut expected, mut groups) = (Vec::new(), vec![9]);
                scalar.group_numbers(&hashes, group_bits, &mut expected);
                kernels.group_numbers(&hashes, group_bits, &mut groups);
                assert_eq!(groups, expected);
                assert!(hashes.iter().zip(&groups).all(|(hash, group)| group_of(*hash, 1 << group_bits) == *group));

                let (mut products, mut expected_products) = (Vec::new(), Vec::new());
                for count in [1 << group_bits, 200, 7, 4096] {
                    kernels.group_products(&hashes, count, &mut products);
                    scalar.group_products(&hashes, count, &mut expected_products);
                    assert_eq!(products, expected_products);
                    assert!(count != 1 << group_bits || products.iter().zip(&groups).all(|(a, b)| *a == u16::from(*b)));
                    let mut splitters: Vec<u64> = hashes.iter().take(count as usize - 1).copied().collect();
                    splitters.sort_unstable();
                    kernels.range_numbers(&hashes, &splitters, &mut products);
                    scalar.range_numbers(&hashes, &splitters, &mut expected_products);
                    assert_eq!(products, expected_products);
                }

                let (mut expected, mut counts) = ([1; GROUPS_MAX], [1; GROUPS_MAX]);
                scalar.histogram(&groups, &mut expected);
                kernels.histogram(&groups, &mut counts);
                assert_eq!(counts, expected);

                let firsts = first_rows(&counts.map(|count| count - 1));
                let mut order = vec![u32::MAX; groups.len()];
                let mut cursors = firsts;
                kernels.row_order(&groups, &mut cursors, &mut order);
                let mut stable: Vec<u32> = (0..groups.len() as u32).collect();
                stable.sort_by_key(|row| groups[*row as usize]);
                assert_eq!(order, stable);
            });
        }
    }

    #[test]
    fn the_choice_is_one_of_the_available_and_stays() {
        let chosen = Kernels::detect();
        assert!(std::ptr::eq(chosen, Kernels::detect()));
        assert!(Kernels::all_available().iter().any(|(_, kernels)| std::ptr::eq(*kernels, chosen)));
        assert_eq!(Kernels::all_available()[0].0, Kernels::portable().name());
    }
}
