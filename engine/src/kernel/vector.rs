//! The few operations a kernel is written in: lanes of 64 bits, as a trait.
//!
//! In: pointers into slices whose bounds the caller has proven. Out: lanes. Never: an algorithm; those stand in `hash`
//! and `partition`, once, for every implementation of [`Vector`].
//!
//! Implemented by `u64` itself (one lane, any processor; also the tail of every loop) and in `arch/` by one type for
//! each instruction set. Methods that only compute are unsafe for one reason: the processor must have the instructions.

#![allow(unsafe_code)]

use super::bundle::Words;
use super::tokens::NOTED;

/// Some lanes of 64 bits.
///
/// # Safety
///
/// Each method asks that the processor has the instruction set of the implementation; those that take a pointer, that
/// `LANES` elements stand there. No alignment is asked for, but by `stream`, `turn_rows` and `turn_wide`.
pub(super) trait Vector: Copy {
    /// One truth for each lane.
    type Mask: Copy;
    /// How many lanes: a divisor of 64, so that the bits of a bitmap's word never straddle two vectors.
    const LANES: usize;

    /// The same value in each lane.
    ///
    /// # Safety
    /// As the trait says.
    unsafe fn splat(value: u64) -> Self;
    /// `LANES` values.
    ///
    /// # Safety
    /// `LANES` values are readable at `from`.
    unsafe fn load(from: *const u64) -> Self;
    /// Zero-extended.
    ///
    /// # Safety
    /// `LANES` values are readable at `from`.
    unsafe fn load_u32(from: *const u32) -> Self;
    /// Sign-extended.
    ///
    /// # Safety
    /// `LANES` values are readable at `from`.
    unsafe fn load_i32(from: *const i32) -> Self;
    /// Bits of the values widened to f64.
    ///
    /// # Safety
    /// `LANES` values are readable at `from`.
    unsafe fn load_f32(from: *const f32) -> Self;
    /// The low halves and the high halves.
    ///
    /// # Safety
    /// `LANES` values are readable at `from`.
    unsafe fn load_u128(from: *const u128) -> (Self, Self);
    /// Writes `LANES` values.
    ///
    /// # Safety
    /// `LANES` values are writable at `to`.
    unsafe fn store(self, to: *mut u64);
    /// Writes the lowest byte of each lane.
    ///
    /// # Safety
    /// `LANES` bytes are writable at `to`.
    unsafe fn store_low_bytes(self, to: *mut u8);

    /// Bits that differ.
    ///
    /// # Safety
    /// As the trait says.
    unsafe fn xor(self, other: Self) -> Self;
    /// Bits set in both.
    ///
    /// # Safety
    /// As the trait says.
    unsafe fn and(self, other: Self) -> Self;
    /// Bits set in one of both.
    ///
    /// # Safety
    /// As the trait says.
    unsafe fn or(self, other: Self) -> Self;
    /// The low 64 bits of the product.
    ///
    /// # Safety
    /// As the trait says.
    unsafe fn multiply(self, other: Self) -> Self;
    /// Towards the low end, zeros from above; at most 63 bits.
    ///
    /// # Safety
    /// As the trait says.
    unsafe fn shift_right(self, bits: u32) -> Self;
    /// Towards the high end; at most 63 bits.
    ///
    /// # Safety
    /// As the trait says.
    unsafe fn shift_left(self, bits: u32) -> Self;

    /// Lanes that are equal.
    ///
    /// # Safety
    /// As the trait says.
    unsafe fn equal(self, other: Self) -> Self::Mask;
    /// Lanes greater than `other`'s, as signed numbers.
    ///
    /// # Safety
    /// As the trait says.
    unsafe fn greater(self, other: Self) -> Self::Mask;
    /// `yes` where the mask is true, `no` elsewhere.
    ///
    /// # Safety
    /// As the trait says.
    unsafe fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;
    /// Lane k is true when bit k is set; higher bits are ignored.
    ///
    /// # Safety
    /// As the trait says.
    unsafe fn mask_from_bits(bits: u64) -> Self::Mask;
    /// Some lane is true.
    ///
    /// # Safety
    /// As the trait says.
    unsafe fn is_any(mask: Self::Mask) -> bool;

    /// A bit for each of 64 bytes that is white space, the lowest for the first.
    ///
    /// # Safety
    /// 64 bytes are readable at `from`.
    unsafe fn white_space(from: *const u8) -> u64;

    /// A bit for each of 64 bytes that is `\n`, the lowest for the first.
    ///
    /// # Safety
    /// 64 bytes are readable at `from`.
    unsafe fn newlines(from: *const u8) -> u64;

    /// Which of four keys is this one, the first of several; 4 if none is.
    ///
    /// # Safety
    /// Four keys are readable at `keys`, one at `key`, all aligned as such.
    unsafe fn first_of_four(keys: *const u128, key: *const u128) -> usize;

    /// Lines become columns: the k-th words of all of them the k-th line.
    ///
    /// # Safety
    /// As the trait says.
    #[inline(always)]
    unsafe fn transpose(lines: &mut [Words; 8]) {
        let turned = std::array::from_fn(|column| Words(std::array::from_fn(|line| lines[line].0[column])));
        *lines = turned;
    }

    /// Rows of `W` words, 2, 4 or 8, become columns: the k-th words of all of them the k-th line, for `k < W`.
    ///
    /// # Safety
    /// As the trait says; `W` words are readable at each, aligned as such.
    #[inline(always)]
    unsafe fn turn_rows<const W: usize>(rows: &[*const u64; 8]) -> [Words; 8] {
        let mut lines = [Words([0; 8]); 8];
        for (row, words) in rows.iter().enumerate() {
            for (word, line) in lines[..W].iter_mut().enumerate() {
                // SAFETY: the caller's promise.
                line.0[row] = unsafe { words.add(word).read() };
            }
        }
        lines
    }

    /// Of four rows of `W` words, 2, 4 or 8, the k-th pairs of words become the k-th line, for `k < W / 2`.
    ///
    /// # Safety
    /// As the trait says; `W` words are readable at each, aligned as such.
    #[inline(always)]
    unsafe fn turn_wide<const W: usize>(rows: &[*const u64; 4]) -> [Words; 4] {
        let mut lines = [Words([0; 8]); 4];
        for (row, words) in rows.iter().enumerate() {
            for (pair, line) in lines[..W / 2].iter_mut().enumerate() {
                // SAFETY: the caller's promise.
                let words = unsafe { words.add(2 * pair).cast::<[u64; 2]>().read() };
                line.0[2 * row..2 * row + 2].copy_from_slice(&words);
            }
        }
        lines
    }

    /// The words of both in turn: of their front halves, then of their back halves.
    ///
    /// # Safety
    /// As the trait says.
    #[inline(always)]
    unsafe fn interleave(even: &Words, odd: &Words) -> [Words; 2] {
        let half =
            |first: usize| std::array::from_fn(|word| if word % 2 == 0 { even } else { odd }.0[first + word / 2]);
        [Words(half(0)), Words(half(4))]
    }

    /// Writes a line past the caches, where the processor can.
    ///
    /// # Safety
    /// A line is writable at `to`, a multiple of 64.
    #[inline(always)]
    unsafe fn stream(line: &Words, to: *mut u64) {
        #[cfg(target_arch = "x86_64")]
        for word in (0..8).step_by(2) {
            use std::arch::x86_64::{_mm_loadu_si128, _mm_stream_si128};
            // SAFETY: the caller proves a writable line; every processor of this architecture has these instructions.
            unsafe { _mm_stream_si128(to.add(word).cast(), _mm_loadu_si128(line.0.as_ptr().add(word).cast())) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        // SAFETY: the caller proves a writable line.
        unsafe {
            to.cast::<Words>().write(*line);
        }
    }

    /// Of sixteen values those that are not `absent`, one after the other to `found`, and of the others their places, from `first` on, to `others`; how
    /// many are found.
    ///
    /// # Safety
    /// Sixteen values are readable at `values`, and as many writable at `found`, which may be the same, and at `others`.
    #[inline(always)]
    unsafe fn part_sixteen(values: *const u32, absent: u32, first: u32, found: *mut u32, others: *mut u32) -> usize {
        // SAFETY: the caller proves sixteen readable values.
        let values = unsafe { values.cast::<[u32; 16]>().read_unaligned() };
        let mut count = 0;
        for (lane, value) in values.into_iter().enumerate() {
            // SAFETY: no more are written to each than there are values.
            unsafe {
                *found.add(count) = value;
                *others.add(lane - count) = first + lane as u32;
            }
            count += usize::from(value != absent);
        }
        count
    }

    /// Writes the places of the bits, from `first` on, one after the other; how many.
    ///
    /// # Safety
    /// As many values are writable at `to` as there are bits, and [`NOTED`] more.
    #[inline(always)]
    unsafe fn note(mut bits: u64, first: u32, to: *mut u32) -> usize {
        let count = bits.count_ones() as usize;
        let mut at = 0;
        while at < count {
            for place in at..at + NOTED / 2 {
                // SAFETY: of the last ones fewer than `NOTED` are no places of bits.
                unsafe { *to.add(place) = first.wrapping_add(bits.trailing_zeros()) };
                bits &= bits.wrapping_sub(1);
            }
            at += NOTED / 2;
        }
        count
    }

    /// Writes the view of a short string: the bytes of `front` that `kept` has, behind the length.
    ///
    /// # Safety
    /// 16 bytes are readable at `front`, a view is readable at `kept` and writable at `to`, of which the last two are aligned.
    #[inline(always)]
    unsafe fn short_view(front: *const u8, kept: *const u128, length: u32, to: *mut u128) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller proves 16 readable bytes at each and as many writable ones; every processor of this architecture has these
        // instructions. In two registers of 64 bits it takes three times as many.
        unsafe {
            use std::arch::x86_64::{
                _mm_and_si128, _mm_cvtsi32_si128, _mm_loadu_si128, _mm_or_si128, _mm_slli_si128, _mm_storeu_si128,
            };
            let bytes = _mm_and_si128(_mm_loadu_si128(front.cast()), _mm_loadu_si128(kept.cast()));
            let view = _mm_or_si128(_mm_slli_si128::<4>(bytes), _mm_cvtsi32_si128(length as i32));
            _mm_storeu_si128(to.cast(), view);
        }
        #[cfg(not(target_arch = "x86_64"))]
        // SAFETY: the caller proves it.
        unsafe {
            let front = u128::from_le_bytes(front.cast::<[u8; 16]>().read_unaligned());
            *to = (front & *kept) << 32 | u128::from(length);
        }
    }
}

impl Vector for u64 {
    type Mask = bool;
    const LANES: usize = 1;

    #[inline(always)]
    unsafe fn splat(value: u64) -> u64 {
        value
    }
    #[inline(always)]
    unsafe fn load(from: *const u64) -> u64 {
        // SAFETY: the caller proves one readable value.
        unsafe { from.read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load_u32(from: *const u32) -> u64 {
        // SAFETY: the caller proves one readable value.
        u64::from(unsafe { from.read_unaligned() })
    }
    #[inline(always)]
    unsafe fn load_i32(from: *const i32) -> u64 {
        // SAFETY: the caller proves one readable value.
        (unsafe { from.read_unaligned() }) as i64 as u64
    }
    #[inline(always)]
    unsafe fn load_f32(from: *const f32) -> u64 {
        // SAFETY: the caller proves one readable value.
        f64::from(unsafe { from.read_unaligned() }).to_bits()
    }
    #[inline(always)]
    unsafe fn load_u128(from: *const u128) -> (u64, u64) {
        // SAFETY: the caller proves one readable value.
        let both = unsafe { from.read_unaligned() };
        (both as u64, (both >> 64) as u64)
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut u64) {
        // SAFETY: the caller proves one writable value.
        unsafe { to.write_unaligned(self) }
    }
    #[inline(always)]
    unsafe fn store_low_bytes(self, to: *mut u8) {
        // SAFETY: the caller proves one writable byte.
        unsafe { to.write(self as u8) }
    }
    #[inline(always)]
    unsafe fn xor(self, other: u64) -> u64 {
        self ^ other
    }
    #[inline(always)]
    unsafe fn and(self, other: u64) -> u64 {
        self & other
    }
    #[inline(always)]
    unsafe fn or(self, other: u64) -> u64 {
        self | other
    }
    #[inline(always)]
    unsafe fn multiply(self, other: u64) -> u64 {
        self.wrapping_mul(other)
    }
    #[inline(always)]
    unsafe fn shift_right(self, bits: u32) -> u64 {
        self >> bits
    }
    #[inline(always)]
    unsafe fn shift_left(self, bits: u32) -> u64 {
        self << bits
    }
    #[inline(always)]
    unsafe fn equal(self, other: u64) -> bool {
        self == other
    }
    #[inline(always)]
    unsafe fn greater(self, other: u64) -> bool {
        self as i64 > other as i64
    }
    #[inline(always)]
    unsafe fn select(mask: bool, yes: u64, no: u64) -> u64 {
        if mask { yes } else { no }
    }
    #[inline(always)]
    unsafe fn mask_from_bits(bits: u64) -> bool {
        bits & 1 == 1
    }
    #[inline(always)]
    unsafe fn is_any(mask: bool) -> bool {
        mask
    }
    #[inline(always)]
    unsafe fn white_space(from: *const u8) -> u64 {
        // SAFETY: the caller proves 64 readable bytes; a byte has no alignment.
        let bytes = unsafe { &*from.cast::<[u8; 64]>() };
        (0..64).fold(0, |bits, place| bits | u64::from(bytes[place].is_ascii_whitespace()) << place)
    }
    #[inline(always)]
    unsafe fn newlines(from: *const u8) -> u64 {
        // SAFETY: the caller proves 64 readable bytes; a byte has no alignment.
        let bytes = unsafe { &*from.cast::<[u8; 64]>() };
        (0..64).fold(0, |bits, place| bits | u64::from(bytes[place] == b'\n') << place)
    }
    #[inline(always)]
    unsafe fn first_of_four(keys: *const u128, key: *const u128) -> usize {
        // SAFETY: the caller proves four readable keys and one, aligned as such.
        let (keys, key) = unsafe { (&*keys.cast::<[u128; 4]>(), *key) };
        (0..4).rev().fold(4, |found, lane| if keys[lane] == key { lane } else { found })
    }
}
