//! AVX-512: eight lanes.
//!
//! In: nothing. Out: the table of kernels, when the processor has AVX-512 F, DQ (the 64-bit multiplication), BW and VL, and BMI1.
//! Never: an algorithm.
//!
//! Only light integer operations are used, which keep the clock up; no scatter and no conflict detection, which are not
//! faster than plain stores (`research/performance.md` § 1).

use std::arch::x86_64::*;

use crate::kernel::vector::Vector;

/// The table, when this processor has the extensions.
pub(super) fn new() -> Option<&'static Kernels> {
    let has_all = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("bmi1");
    has_all.then_some(&KERNELS)
}

kernels! { Avx512, "avx512", [#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,bmi1")]] }

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
}
