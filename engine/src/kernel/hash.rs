//! The hash kernels: one algorithm for every instruction set.
//!
//! In: a column's values, its validity, the hashes so far. Out: the hashes with the column folded in, or the words of
//! values that need more than one step. Never: a loop with a null check where there are no nulls; arrow types.
//!
//! `scalar` defines what is computed. Each loop runs whole vectors, then the tail as vectors of one lane:
//!
//! ```text
//! values   v0 v1 v2 v3 v4 v5 v6 v7 | v8 v9       hash = mix(hash ^ word(v))
//! validity 1  1  0  1  1  1  1  1  | 1  0        word = NULL_WORD where the bit is 0
//! ```

#![allow(unsafe_code)]

use super::scalar::{LENGTH_FACTOR, MIX_FACTOR_1, MIX_FACTOR_2, NAN_BITS, NULL_WORD};
use super::vector::Vector;

/// What stands in a column, and how it becomes words.
pub(super) trait Lane: Copy {
    /// The words of the next `V::LANES` values.
    ///
    /// # Safety
    /// `V::LANES` values are readable at `from`; the processor has the instructions of `V`.
    unsafe fn words<V: Vector>(from: *const Self) -> V;
}

impl Lane for u64 {
    #[inline(always)]
    unsafe fn words<V: Vector>(from: *const u64) -> V {
        // SAFETY: the caller proves the same.
        unsafe { V::load(from) }
    }
}

impl Lane for u32 {
    #[inline(always)]
    unsafe fn words<V: Vector>(from: *const u32) -> V {
        // SAFETY: the caller proves the same.
        unsafe { V::load_u32(from) }
    }
}

impl Lane for i32 {
    #[inline(always)]
    unsafe fn words<V: Vector>(from: *const i32) -> V {
        // SAFETY: the caller proves the same.
        unsafe { V::load_i32(from) }
    }
}

impl Lane for f64 {
    #[inline(always)]
    unsafe fn words<V: Vector>(from: *const f64) -> V {
        // SAFETY: the caller proves the same; an f64 is as wide as a u64, any bits are a u64.
        unsafe { canonical(V::load(from.cast())) }
    }
}

impl Lane for f32 {
    #[inline(always)]
    unsafe fn words<V: Vector>(from: *const f32) -> V {
        // SAFETY: the caller proves the same.
        unsafe { canonical(V::load_f32(from)) }
    }
}

/// Folds one column into the hashes of its rows.
///
/// `values` and `hashes`: one a row. `validity`: empty, or a bit for each row, the lowest bit of `validity[0]` first.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn fold<V: Vector, L: Lane>(values: &[L], validity: &[u64], hashes: &mut [u64]) {
    assert_eq!(values.len(), hashes.len());
    let whole = values.len() - values.len() % V::LANES;
    // SAFETY: both slices have as many rows; `whole` is a multiple of the lanes, so is any count of the one lane of
    // u64; the validity has a bit for each row where it is read; the processor is the caller's promise.
    unsafe {
        if validity.is_empty() {
            fold_rows::<V, L, false>(values, validity, hashes, 0, whole);
            fold_rows::<u64, L, false>(values, validity, hashes, whole, values.len());
        } else {
            assert!(validity.len() >= values.len().div_ceil(64));
            fold_rows::<V, L, true>(values, validity, hashes, 0, whole);
            fold_rows::<u64, L, true>(values, validity, hashes, whole, values.len());
        }
    }
}

/// # Safety
/// `from ≤ to ≤ values.len() = hashes.len()`, and `V::LANES` divides `from` and `to − from`; with `NULLS`,
/// `validity.len() × 64 ≥ to`; the processor has the instructions of `V`.
#[inline(always)]
unsafe fn fold_rows<V: Vector, L: Lane, const NULLS: bool>(
    values: &[L],
    validity: &[u64],
    hashes: &mut [u64],
    from: usize,
    to: usize,
) {
    let mut row = from;
    while row < to {
        // SAFETY: `row + LANES ≤ to`, within both slices, as `LANES` divides the distance; a vector's bits lie in one
        // word of the validity, as `LANES` divides 64 and `row`.
        unsafe {
            let mut word = L::words::<V>(values.as_ptr().add(row));
            if NULLS {
                let valid = V::mask_from_bits(*validity.get_unchecked(row / 64) >> (row % 64));
                word = V::select(valid, word, V::splat(NULL_WORD));
            }
            let hash = hashes.as_mut_ptr().add(row);
            mix(V::load(hash).xor(word)).store(hash);
        }
        row += V::LANES;
    }
}

/// The words of numbers of 128 bits.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn words_of_i128<V: Vector>(values: &[i128], words: &mut [u64]) {
    assert_eq!(values.len(), words.len());
    let whole = values.len() - values.len() % V::LANES;
    // SAFETY: as in `fold`.
    unsafe {
        words_of_i128_rows::<V>(values, words, 0, whole);
        words_of_i128_rows::<u64>(values, words, whole, values.len());
    }
}

/// # Safety
/// As `fold_rows`, for `values` and `words`.
#[inline(always)]
unsafe fn words_of_i128_rows<V: Vector>(values: &[i128], words: &mut [u64], from: usize, to: usize) {
    let mut row = from;
    while row < to {
        // SAFETY: `row + LANES ≤ to`, within both slices; an i128 is as wide as a u128.
        unsafe {
            let (low, high) = V::load_u128(values.as_ptr().add(row).cast());
            let zero = V::splat(0);
            let sign = V::select(zero.greater(low), V::splat(u64::MAX), zero);
            let word = V::select(high.equal(sign), low, mix(low).xor(high));
            word.store(words.as_mut_ptr().add(row));
        }
        row += V::LANES;
    }
}

/// The words of strings as arrow's views; a view of more than 12 bytes, which stand elsewhere, leaves its word
/// unspecified. Returns whether there is one.
///
/// ```text
/// bits 0..32 length │ 32..128 the bytes, zero-padded: 32..96 first eight, 96..128 the other four
/// ```
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn words_of_views<V: Vector>(views: &[u128], words: &mut [u64]) -> bool {
    assert_eq!(views.len(), words.len());
    let whole = views.len() - views.len() % V::LANES;
    // SAFETY: as in `fold`.
    unsafe {
        words_of_views_rows::<V>(views, words, 0, whole) | words_of_views_rows::<u64>(views, words, whole, views.len())
    }
}

/// # Safety
/// As `fold_rows`, for `views` and `words`.
#[inline(always)]
unsafe fn words_of_views_rows<V: Vector>(views: &[u128], words: &mut [u64], from: usize, to: usize) -> bool {
    // SAFETY: the processor is the caller's promise.
    let mut longest = unsafe { V::splat(0) };
    let mut row = from;
    while row < to {
        // SAFETY: `row + LANES ≤ to`, within both slices.
        unsafe {
            let (low, high) = V::load_u128(views.as_ptr().add(row));
            let length = low.and(V::splat(0xffff_ffff));
            let first = low.shift_right(32).or(high.shift_left(32)).xor(length.multiply(V::splat(LENGTH_FACTOR)));
            let both = mix(first).xor(high.shift_right(32));
            V::select(length.greater(V::splat(8)), both, first).store(words.as_mut_ptr().add(row));
            longest = V::select(length.greater(longest), length, longest);
        }
        row += V::LANES;
    }
    // SAFETY: the processor is the caller's promise.
    unsafe { V::is_any(longest.greater(V::splat(12))) }
}

/// `scalar::mix` in each lane.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn mix<V: Vector>(x: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let x = x.xor(x.shift_right(30)).multiply(V::splat(MIX_FACTOR_1));
        let x = x.xor(x.shift_right(27)).multiply(V::splat(MIX_FACTOR_2));
        x.xor(x.shift_right(31))
    }
}

/// `scalar::word_of_f64` in each lane: without the sign, zero is 0, and what is above infinity is a NaN.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn canonical<V: Vector>(bits: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let zero = V::splat(0);
        let magnitude = bits.and(V::splat(u64::MAX >> 1));
        let some = V::select(magnitude.equal(zero), zero, bits);
        V::select(magnitude.greater(V::splat(f64::INFINITY.to_bits())), V::splat(NAN_BITS), some)
    }
}
