//! AVX2: four lanes.
//!
//! In: nothing. Out: the table of kernels, when the processor has AVX2. Never: an algorithm.
//!
//! There is no 64-bit multiplication: three of 32 bits give its low half. It costs as much as it gains on some
//! processors, which the bench shows; the loads, compares and stores gain.

use std::arch::x86_64::*;

use crate::kernel::{bundle::Words, vector::Vector};

/// The table, when this processor has AVX2, and BMI1 and POPCNT as all of them.
pub(super) fn new() -> Option<&'static Kernels> {
    let has_all =
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi1") && is_x86_feature_detected!("popcnt");
    has_all.then_some(&KERNELS)
}

kernels! { Avx2, "avx2", [#[target_feature(enable = "avx2,bmi1,popcnt")]] }

#[derive(Clone, Copy)]
pub(super) struct Avx2(__m256i);

/// The k-th words of all four as the k-th.
#[inline]
#[target_feature(enable = "avx2")]
fn turn_four([a, b, c, d]: [__m256i; 4]) -> [__m256i; 4] {
    let (low, high) = (_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
    let (low_back, high_back) = (_mm256_unpacklo_epi64(c, d), _mm256_unpackhi_epi64(c, d));
    [
        _mm256_permute2x128_si256::<0x20>(low, low_back),
        _mm256_permute2x128_si256::<0x20>(high, high_back),
        _mm256_permute2x128_si256::<0x31>(low, low_back),
        _mm256_permute2x128_si256::<0x31>(high, high_back),
    ]
}

impl Vector for Avx2 {
    /// All bits of a lane set, or none.
    type Mask = __m256i;
    const LANES: usize = 4;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn splat(value: u64) -> Avx2 {
        Avx2(_mm256_set1_epi64x(value as i64))
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load(from: *const u64) -> Avx2 {
        // SAFETY: the caller proves four readable values; no alignment is needed.
        Avx2(unsafe { _mm256_loadu_si256(from.cast()) })
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load_u32(from: *const u32) -> Avx2 {
        // SAFETY: the caller proves four readable values, 16 bytes.
        Avx2(_mm256_cvtepu32_epi64(unsafe { _mm_loadu_si128(from.cast()) }))
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load_i32(from: *const i32) -> Avx2 {
        // SAFETY: the caller proves four readable values, 16 bytes.
        Avx2(_mm256_cvtepi32_epi64(unsafe { _mm_loadu_si128(from.cast()) }))
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load_f32(from: *const f32) -> Avx2 {
        // SAFETY: the caller proves four readable values, 16 bytes.
        Avx2(_mm256_castpd_si256(_mm256_cvtps_pd(unsafe { _mm_loadu_ps(from) })))
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load_u128(from: *const u128) -> (Avx2, Avx2) {
        // SAFETY: the caller proves four readable values, two times 32 bytes.
        let (front, back) = unsafe { (_mm256_loadu_si256(from.cast()), _mm256_loadu_si256(from.add(2).cast())) };
        // Unpacking works within 128 bits and gives 0 2 1 3; the permutation puts that right.
        let low = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_unpacklo_epi64(front, back));
        let high = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_unpackhi_epi64(front, back));
        (Avx2(low), Avx2(high))
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn store(self, to: *mut u64) {
        // SAFETY: the caller proves four writable values.
        unsafe { _mm256_storeu_si256(to.cast(), self.0) }
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn store_low_bytes(self, to: *mut u8) {
        // The low byte of the lanes to bytes 0 and 1 in the lower 128 bits, to 2 and 3 in the upper; −1 gives zero.
        let places = _mm256_setr_epi8(
            0, 8, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, //
            -1, -1, 0, 8, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
        );
        let bytes = _mm256_shuffle_epi8(self.0, places);
        let four = _mm_or_si128(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes));
        // SAFETY: the caller proves four writable bytes.
        unsafe { to.cast::<i32>().write_unaligned(_mm_cvtsi128_si32(four)) }
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn xor(self, other: Avx2) -> Avx2 {
        Avx2(_mm256_xor_si256(self.0, other.0))
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn and(self, other: Avx2) -> Avx2 {
        Avx2(_mm256_and_si256(self.0, other.0))
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn or(self, other: Avx2) -> Avx2 {
        Avx2(_mm256_or_si256(self.0, other.0))
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn multiply(self, other: Avx2) -> Avx2 {
        // (a₁2³² + a₀)(b₁2³² + b₀) = a₀b₀ + (a₁b₀ + a₀b₁)2³² below 2⁶⁴.
        let low = _mm256_mul_epu32(self.0, other.0);
        let cross_1 = _mm256_mul_epu32(_mm256_srli_epi64::<32>(self.0), other.0);
        let cross_2 = _mm256_mul_epu32(self.0, _mm256_srli_epi64::<32>(other.0));
        Avx2(_mm256_add_epi64(low, _mm256_slli_epi64::<32>(_mm256_add_epi64(cross_1, cross_2))))
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn shift_right(self, bits: u32) -> Avx2 {
        Avx2(_mm256_srl_epi64(self.0, _mm_cvtsi32_si128(bits as i32)))
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn shift_left(self, bits: u32) -> Avx2 {
        Avx2(_mm256_sll_epi64(self.0, _mm_cvtsi32_si128(bits as i32)))
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn equal(self, other: Avx2) -> __m256i {
        _mm256_cmpeq_epi64(self.0, other.0)
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn greater(self, other: Avx2) -> __m256i {
        _mm256_cmpgt_epi64(self.0, other.0)
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn select(mask: __m256i, yes: Avx2, no: Avx2) -> Avx2 {
        Avx2(_mm256_blendv_epi8(no.0, yes.0, mask))
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn mask_from_bits(bits: u64) -> __m256i {
        let own = _mm256_setr_epi64x(1, 2, 4, 8);
        _mm256_cmpeq_epi64(_mm256_and_si256(_mm256_set1_epi64x(bits as i64), own), own)
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn is_any(mask: __m256i) -> bool {
        _mm256_movemask_epi8(mask) != 0
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn white_space(from: *const u8) -> u64 {
        let half = |place: usize| {
            // SAFETY: the caller proves 64 readable bytes, two times 32.
            let bytes = unsafe { _mm256_loadu_si256(from.add(place).cast()) };
            let is = |byte: u8| _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte as i8));
            let [blank, tab, line, feed, back] = [b' ', b'\t', b'\n', b'\x0c', b'\r'].map(is);
            let any = _mm256_or_si256(_mm256_or_si256(blank, tab), _mm256_or_si256(line, _mm256_or_si256(feed, back)));
            u64::from(_mm256_movemask_epi8(any) as u32)
        };
        half(0) | half(32) << 32
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn newlines(from: *const u8) -> u64 {
        let half = |place: usize| {
            // SAFETY: the caller proves 64 readable bytes, two times 32.
            let bytes = unsafe { _mm256_loadu_si256(from.add(place).cast()) };
            u64::from(_mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'\n' as i8))) as u32)
        };
        half(0) | half(32) << 32
    }
    #[inline]
    #[target_feature(enable = "avx2,bmi1")]
    unsafe fn first_of_four(keys: *const u128, key: *const u128) -> usize {
        // SAFETY: the caller proves a readable key, 16 bytes. It is loaded as such: in two registers it would have to be put together again.
        let key = _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(key.cast()) });
        let half = |lane: usize| {
            // SAFETY: the caller proves four readable keys, two times 32 bytes.
            let keys = unsafe { _mm256_loadu_si256(keys.add(lane).cast()) };
            _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpeq_epi64(keys, key))) as u32
        };
        let same = half(0) | half(2) << 4;
        ((same & same >> 1 & 0b0101_0101 | 1 << 8).trailing_zeros() / 2) as usize
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn transpose(lines: &mut [Words; 8]) {
        // Blocks of four by four, each turned, those off the diagonal changing places.
        let block = |row: usize, column: usize| {
            let load = |line: usize| {
                // SAFETY: a line is 64 readable bytes; a half of one begins at word 0 or 4.
                unsafe { _mm256_loadu_si256(lines[row + line].0.as_ptr().add(column).cast()) }
            };
            turn_four([load(0), load(1), load(2), load(3)])
        };
        let blocks = [(0, 0, block(0, 0)), (4, 0, block(0, 4)), (0, 4, block(4, 0)), (4, 4, block(4, 4))];
        for (row, column, block) in blocks {
            for (line, words) in block.into_iter().enumerate() {
                // SAFETY: a line is 64 writable bytes; a half of one begins at word 0 or 4.
                unsafe { _mm256_storeu_si256(lines[row + line].0.as_mut_ptr().add(column).cast(), words) };
            }
        }
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn turn_rows<const W: usize>(rows: &[*const u64; 8]) -> [Words; 8] {
        let mut lines = [Words([0; 8]); 8];
        if W == 8 {
            for (line, row) in lines.iter_mut().zip(rows) {
                // SAFETY: the caller proves eight readable words.
                line.0 = unsafe { row.cast::<[u64; 8]>().read() };
            }
            // SAFETY: the processor has the instructions.
            unsafe { Avx2::transpose(&mut lines) };
            return lines;
        }
        for first in [0, 4] {
            let turned = if W == 4 {
                // SAFETY: the caller proves four readable words.
                let load = |row: usize| unsafe { _mm256_loadu_si256(rows[first + row].cast()) };
                turn_four([load(0), load(1), load(2), load(3)])
            } else {
                // SAFETY: the caller proves two readable words.
                let load = |row: usize| unsafe { _mm_loadu_si128(rows[first + row].cast()) };
                let pair = |row: usize| _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(load(row)), load(row + 2));
                let (even, odd) = (pair(0), pair(1));
                let none = _mm256_setzero_si256();
                [_mm256_unpacklo_epi64(even, odd), _mm256_unpackhi_epi64(even, odd), none, none]
            };
            for (line, turned) in lines.iter_mut().zip(turned) {
                // SAFETY: a line is 64 writable bytes; a half of one begins at word 0 or 4.
                unsafe { _mm256_storeu_si256(line.0.as_mut_ptr().add(first).cast(), turned) };
            }
        }
        lines
    }
}
