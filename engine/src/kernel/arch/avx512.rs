//! AVX-512: eight lanes.
//!
//! In: nothing. Out: the table of kernels, when the processor has AVX-512 F, DQ (the 64-bit multiplication), BW and VL, BMI1 and POPCNT.
//! Never: an algorithm.
//!
//! Only light integer operations are used, which keep the clock up; no scatter and no conflict detection, which are not
//! faster than plain stores (`research/performance.md` § 1).

use std::arch::x86_64::*;

use crate::kernel::{bundle::Words, vector::Vector};

/// The table, when this processor has the extensions.
pub(super) fn new() -> Option<&'static Kernels> {
    let has_all = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("popcnt");
    has_all.then_some(&KERNELS)
}

kernels! { Avx512, "avx512", [#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,bmi1,popcnt")]] }

#[derive(Clone, Copy)]
pub(super) struct Avx512(__m512i);

impl Vector for Avx512 {
    /// A bit for each lane.
    type Mask = __mmask8;
    const LANES: usize = 8;

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
    unsafe fn splat(value: u64) -> Avx512 {
        Avx512(_mm512_set1_epi64(value as i64))
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
    unsafe fn load(from: *const u64) -> Avx512 {
        // SAFETY: the caller proves eight readable values; no alignment is needed.
        Avx512(unsafe { _mm512_loadu_si512(from.cast()) })
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
    unsafe fn load_u32(from: *const u32) -> Avx512 {
        // SAFETY: the caller proves eight readable values, 32 bytes.
        Avx512(_mm512_cvtepu32_epi64(unsafe { _mm256_loadu_si256(from.cast()) }))
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
    unsafe fn load_i32(from: *const i32) -> Avx512 {
        // SAFETY: the caller proves eight readable values, 32 bytes.
        Avx512(_mm512_cvtepi32_epi64(unsafe { _mm256_loadu_si256(from.cast()) }))
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
    unsafe fn load_f32(from: *const f32) -> Avx512 {
        // SAFETY: the caller proves eight readable values, 32 bytes.
        Avx512(_mm512_castpd_si512(_mm512_cvtps_pd(unsafe { _mm256_loadu_ps(from) })))
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
    unsafe fn load_u128(from: *const u128) -> (Avx512, Avx512) {
        // SAFETY: the caller proves eight readable values, two times 64 bytes.
        let (front, back) = unsafe { (_mm512_loadu_si512(from.cast()), _mm512_loadu_si512(from.add(4).cast())) };
        let low = _mm512_permutex2var_epi64(front, _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14), back);
        let high = _mm512_permutex2var_epi64(front, _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15), back);
        (Avx512(low), Avx512(high))
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
    unsafe fn store(self, to: *mut u64) {
        // SAFETY: the caller proves eight writable values.
        unsafe { _mm512_storeu_si512(to.cast(), self.0) }
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
    unsafe fn store_low_bytes(self, to: *mut u8) {
        // SAFETY: the caller proves eight writable bytes.
        unsafe { _mm_storel_epi64(to.cast(), _mm512_cvtepi64_epi8(self.0)) }
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
    unsafe fn xor(self, other: Avx512) -> Avx512 {
        Avx512(_mm512_xor_si512(self.0, other.0))
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
    unsafe fn and(self, other: Avx512) -> Avx512 {
        Avx512(_mm512_and_si512(self.0, other.0))
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
    unsafe fn or(self, other: Avx512) -> Avx512 {
        Avx512(_mm512_or_si512(self.0, other.0))
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
    unsafe fn multiply(self, other: Avx512) -> Avx512 {
        Avx512(_mm512_mullo_epi64(self.0, other.0))
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
    unsafe fn shift_right(self, bits: u32) -> Avx512 {
        Avx512(_mm512_srl_epi64(self.0, _mm_cvtsi32_si128(bits as i32)))
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
    unsafe fn shift_left(self, bits: u32) -> Avx512 {
        Avx512(_mm512_sll_epi64(self.0, _mm_cvtsi32_si128(bits as i32)))
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
    unsafe fn equal(self, other: Avx512) -> __mmask8 {
        _mm512_cmpeq_epi64_mask(self.0, other.0)
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
    unsafe fn greater(self, other: Avx512) -> __mmask8 {
        _mm512_cmpgt_epi64_mask(self.0, other.0)
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
    unsafe fn select(mask: __mmask8, yes: Avx512, no: Avx512) -> Avx512 {
        Avx512(_mm512_mask_blend_epi64(mask, no.0, yes.0))
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
    unsafe fn mask_from_bits(bits: u64) -> __mmask8 {
        bits as __mmask8
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
    unsafe fn is_any(mask: __mmask8) -> bool {
        mask != 0
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
    unsafe fn white_space(from: *const u8) -> u64 {
        // SAFETY: the caller proves 64 readable bytes.
        let bytes = unsafe { _mm512_loadu_si512(from.cast()) };
        // 9 to 13, but for 11, which ASCII has as a vertical tab and Rust not as white space; and the blank.
        let near = _mm512_cmple_epu8_mask(_mm512_sub_epi8(bytes, _mm512_set1_epi8(9)), _mm512_set1_epi8(4));
        let tab = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(11));
        near & !tab | _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(32))
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
    unsafe fn newlines(from: *const u8) -> u64 {
        // SAFETY: the caller proves 64 readable bytes.
        let bytes = unsafe { _mm512_loadu_si512(from.cast()) };
        _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(b'\n' as i8))
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
    unsafe fn first_of_four(keys: *const u128, key: *const u128) -> usize {
        // SAFETY: the caller proves four readable keys, 64 bytes.
        let keys = unsafe { _mm512_loadu_si512(keys.cast()) };
        // SAFETY: the caller proves a readable key, 16 bytes. It is loaded as such: in two registers it would have to be put together again.
        let key = _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(key.cast()) });
        let same = u32::from(_mm512_cmpeq_epi64_mask(keys, key));
        ((same & same >> 1 & 0b0101_0101 | 1 << 8).trailing_zeros() / 2) as usize
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
    unsafe fn note(bits: u64, first: u32, to: *mut u32) -> usize {
        let lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        let mut count = 0;
        for part in 0..4 {
            let some = (bits >> (16 * part)) as u16;
            let places = _mm512_add_epi32(lanes, _mm512_set1_epi32(first.wrapping_add(16 * part) as i32));
            // SAFETY: the caller proves room for 16 values behind those of the parts before.
            unsafe { _mm512_storeu_si512(to.add(count).cast(), _mm512_maskz_compress_epi32(some, places)) };
            count += some.count_ones() as usize;
        }
        count
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
    unsafe fn part_sixteen(values: *const u32, absent: u32, first: u32, found: *mut u32, others: *mut u32) -> usize {
        let lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        // SAFETY: the caller proves sixteen readable values and as many writable ones twice; no alignment is needed. The values are packed in a
        // register, since to pack them in memory costs a hundred cycles on some processors.
        unsafe {
            let values = _mm512_loadu_si512(values.cast());
            let is_found = _mm512_cmpneq_epi32_mask(values, _mm512_set1_epi32(absent as i32));
            let places = _mm512_add_epi32(lanes, _mm512_set1_epi32(first as i32));
            _mm512_storeu_si512(found.cast(), _mm512_maskz_compress_epi32(is_found, values));
            _mm512_storeu_si512(others.cast(), _mm512_maskz_compress_epi32(!is_found, places));
            is_found.count_ones() as usize
        }
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
    unsafe fn transpose(lines: &mut [Words; 8]) {
        // SAFETY: a line is 64 readable bytes.
        let load = |line: usize| unsafe { _mm512_loadu_si512(lines[line].0.as_ptr().cast()) };
        // Words of two lines each: the even columns, the odd ones.
        let even = |line: usize| _mm512_unpacklo_epi64(load(line), load(line + 1));
        let odd = |line: usize| _mm512_unpackhi_epi64(load(line), load(line + 1));
        // Of blocks of two words, the even or the odd ones of both: columns 0 and 4, or 2 and 6, of four lines; then one of them, of all.
        let front = |low, high| _mm512_shuffle_i64x2::<0b10_00_10_00>(low, high);
        let back = |low, high| _mm512_shuffle_i64x2::<0b11_01_11_01>(low, high);
        let (ab, cd, ef, gh) = (even(0), even(2), even(4), even(6));
        let evens = [front(ab, cd), front(ef, gh), back(ab, cd), back(ef, gh)];
        let (ab, cd, ef, gh) = (odd(0), odd(2), odd(4), odd(6));
        let odds = [front(ab, cd), front(ef, gh), back(ab, cd), back(ef, gh)];
        let turned = [
            front(evens[0], evens[1]),
            front(odds[0], odds[1]),
            front(evens[2], evens[3]),
            front(odds[2], odds[3]),
            back(evens[0], evens[1]),
            back(odds[0], odds[1]),
            back(evens[2], evens[3]),
            back(odds[2], odds[3]),
        ];
        for (line, turned) in lines.iter_mut().zip(turned) {
            // SAFETY: a line is 64 writable bytes.
            unsafe { _mm512_storeu_si512(line.0.as_mut_ptr().cast(), turned) };
        }
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
    unsafe fn turn_rows<const W: usize>(rows: &[*const u64; 8]) -> [Words; 8] {
        let mut lines = [Words([0; 8]); 8];
        if W == 8 {
            for (line, row) in lines.iter_mut().zip(rows) {
                // SAFETY: the caller proves eight readable words; a line is 64 writable bytes.
                unsafe { _mm512_storeu_si512(line.0.as_mut_ptr().cast(), _mm512_loadu_si512(row.cast())) };
            }
            // SAFETY: the processor has the instructions.
            unsafe { Avx512::transpose(&mut lines) };
            return lines;
        }
        let turned = if W == 4 {
            // SAFETY: the caller proves four readable words.
            let load = |row: usize| unsafe { _mm256_loadu_si256(rows[row].cast()) };
            let pair = |row: usize| _mm512_inserti64x4::<1>(_mm512_castsi256_si512(load(row)), load(row + 4));
            let (first, second, third, fourth) = (pair(0), pair(1), pair(2), pair(3));
            // Words of two rows each: of columns 0 and 2, of 1 and 3; then blocks of two words, of one of these.
            let (front, back) = (_mm512_unpacklo_epi64(first, second), _mm512_unpacklo_epi64(third, fourth));
            let (odd_front, odd_back) = (_mm512_unpackhi_epi64(first, second), _mm512_unpackhi_epi64(third, fourth));
            let (low, high) =
                (_mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13), _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15));
            [
                _mm512_permutex2var_epi64(front, low, back),
                _mm512_permutex2var_epi64(odd_front, low, odd_back),
                _mm512_permutex2var_epi64(front, high, back),
                _mm512_permutex2var_epi64(odd_front, high, odd_back),
            ]
        } else {
            // SAFETY: the caller proves two readable words.
            let load = |row: usize| unsafe { _mm_loadu_si128(rows[row].cast()) };
            let four = |row: usize| {
                let front = _mm512_inserti64x2::<1>(_mm512_castsi128_si512(load(row)), load(row + 2));
                _mm512_inserti64x2::<3>(_mm512_inserti64x2::<2>(front, load(row + 4)), load(row + 6))
            };
            let (even, odd) = (four(0), four(1));
            let none = _mm512_setzero_si512();
            [_mm512_unpacklo_epi64(even, odd), _mm512_unpackhi_epi64(even, odd), none, none]
        };
        for (line, turned) in lines.iter_mut().zip(turned) {
            // SAFETY: a line is 64 writable bytes.
            unsafe { _mm512_storeu_si512(line.0.as_mut_ptr().cast(), turned) };
        }
        lines
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
    unsafe fn turn_wide<const W: usize>(rows: &[*const u64; 4]) -> [Words; 4] {
        let mut lines = [Words([0; 8]); 4];
        for (pair, line) in lines[..W / 2].iter_mut().enumerate() {
            // SAFETY: the caller proves two readable words.
            let load = |row: usize| unsafe { _mm_loadu_si128(rows[row].add(2 * pair).cast()) };
            let front = _mm512_inserti64x2::<1>(_mm512_castsi128_si512(load(0)), load(1));
            let turned = _mm512_inserti64x2::<3>(_mm512_inserti64x2::<2>(front, load(2)), load(3));
            // SAFETY: a line is 64 writable bytes.
            unsafe { _mm512_storeu_si512(line.0.as_mut_ptr().cast(), turned) };
        }
        lines
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
    unsafe fn interleave(even: &Words, odd: &Words) -> [Words; 2] {
        // SAFETY: a line is 64 readable bytes.
        let (even, odd) =
            unsafe { (_mm512_loadu_si512(even.0.as_ptr().cast()), _mm512_loadu_si512(odd.0.as_ptr().cast())) };
        let front = _mm512_permutex2var_epi64(even, _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11), odd);
        let back = _mm512_permutex2var_epi64(even, _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15), odd);
        let mut lines = [Words([0; 8]); 2];
        // SAFETY: a line is 64 writable bytes.
        unsafe {
            _mm512_storeu_si512(lines[0].0.as_mut_ptr().cast(), front);
            _mm512_storeu_si512(lines[1].0.as_mut_ptr().cast(), back);
        }
        lines
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
    unsafe fn stream(line: &Words, to: *mut u64) {
        // SAFETY: a line is 64 readable bytes, and the caller proves as many writable ones.
        unsafe { _mm512_stream_si512(to.cast(), _mm512_loadu_si512(line.0.as_ptr().cast())) }
    }
}
