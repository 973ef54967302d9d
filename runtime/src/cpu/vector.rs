//! Vectors of 16, 32 and 64 bytes, as one trait, so that a kernel is written once.
//!
//! The methods compile to one or a few instructions where they are inlined into a function that has the instructions enabled
//! (`#[target_feature]`); so each is always inlined, as are the kernels over them, and only the outermost function names a tier.

#![allow(clippy::inline_always, reason = "a function with other target features cannot be inlined later")]

use core::arch::x86_64::{
    __m128i, __m256i, __m512i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x,
    _mm_storeu_si128, _mm_stream_si128, _mm_xor_si128, _mm256_broadcastsi128_si256, _mm256_cmpeq_epi8,
    _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256, _mm256_storeu_si256, _mm256_stream_si256,
    _mm256_testz_si256, _mm256_xor_si256, _mm512_broadcast_i32x4, _mm512_cmpneq_epu8_mask, _mm512_loadu_si512,
    _mm512_or_si512, _mm512_storeu_si512, _mm512_stream_si512, _mm512_test_epi64_mask, _mm512_xor_si512,
};

/// A vector register.
///
/// # Safety
///
/// Every method is to be called only on a CPU that has the instructions of the type: SSE2, AVX2, or AVX-512 F and BW. Pointers
/// are valid for [`BYTES`](Self::BYTES) bytes, initialised where they are read.
pub(super) trait Vector: Copy {
    /// Bytes of a vector.
    const BYTES: usize;

    /// The 16 bytes of two words, low byte first, as often as they fit.
    unsafe fn splat(pattern: [u64; 2]) -> Self;
    /// From any address.
    unsafe fn load(from: *const u8) -> Self;
    /// To any address.
    unsafe fn store(self, to: *mut u8);
    /// Past the caches, to a multiple of [`BYTES`](Self::BYTES). Ordered by a store fence only.
    unsafe fn stream(self, to: *mut u8);
    unsafe fn xor(self, other: Self) -> Self;
    unsafe fn or(self, other: Self) -> Self;
    /// Whether all bits are 0.
    unsafe fn is_zero(self) -> bool;
    /// A bit for each byte that differs, the first byte's lowest.
    unsafe fn differences(self, other: Self) -> u64;
}

impl Vector for __m128i {
    const BYTES: usize = 16;

    #[inline(always)]
    unsafe fn splat(pattern: [u64; 2]) -> Self {
        // SAFETY: SSE2 is there, as the trait asks for; pointers are valid, as its callers promise. So in all of this file.
        unsafe { _mm_set_epi64x(pattern[1].cast_signed(), pattern[0].cast_signed()) }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: as above.
        unsafe { _mm_loadu_si128(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: as above.
        unsafe { _mm_storeu_si128(to.cast(), self) }
    }

    #[inline(always)]
    unsafe fn stream(self, to: *mut u8) {
        // SAFETY: as above; the address is aligned.
        unsafe { _mm_stream_si128(to.cast(), self) }
    }

    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm_xor_si128(self, other) }
    }

    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm_or_si128(self, other) }
    }

    #[inline(always)]
    unsafe fn is_zero(self) -> bool {
        // SAFETY: as above.
        unsafe { _mm_movemask_epi8(_mm_cmpeq_epi8(self, _mm_set_epi64x(0, 0))) == 0xffff }
    }

    #[inline(always)]
    unsafe fn differences(self, other: Self) -> u64 {
        // SAFETY: as above.
        u64::from(unsafe { _mm_movemask_epi8(_mm_cmpeq_epi8(self, other)) }.cast_unsigned() ^ 0xffff)
    }
}

impl Vector for __m256i {
    const BYTES: usize = 32;

    #[inline(always)]
    unsafe fn splat(pattern: [u64; 2]) -> Self {
        // SAFETY: the CPU has AVX2, as the trait asks for; so in all of this block.
        unsafe { _mm256_broadcastsi128_si256(__m128i::splat(pattern)) }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: as above.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: as above.
        unsafe { _mm256_storeu_si256(to.cast(), self) }
    }

    #[inline(always)]
    unsafe fn stream(self, to: *mut u8) {
        // SAFETY: as above; the address is aligned.
        unsafe { _mm256_stream_si256(to.cast(), self) }
    }

    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm256_xor_si256(self, other) }
    }

    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm256_or_si256(self, other) }
    }

    #[inline(always)]
    unsafe fn is_zero(self) -> bool {
        // SAFETY: as above.
        unsafe { _mm256_testz_si256(self, self) == 1 }
    }

    #[inline(always)]
    unsafe fn differences(self, other: Self) -> u64 {
        // SAFETY: as above.
        u64::from(!unsafe { _mm256_movemask_epi8(_mm256_cmpeq_epi8(self, other)) }.cast_unsigned())
    }
}

impl Vector for __m512i {
    const BYTES: usize = 64;

    #[inline(always)]
    unsafe fn splat(pattern: [u64; 2]) -> Self {
        // SAFETY: the CPU has AVX-512 F and BW, as the trait asks for; so in all of this block.
        unsafe { _mm512_broadcast_i32x4(__m128i::splat(pattern)) }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: as above.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: as above.
        unsafe { _mm512_storeu_si512(to.cast(), self) }
    }

    #[inline(always)]
    unsafe fn stream(self, to: *mut u8) {
        // SAFETY: as above; the address is aligned.
        unsafe { _mm512_stream_si512(to.cast(), self) }
    }

    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm512_xor_si512(self, other) }
    }

    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm512_or_si512(self, other) }
    }

    #[inline(always)]
    unsafe fn is_zero(self) -> bool {
        // SAFETY: as above.
        unsafe { _mm512_test_epi64_mask(self, self) == 0 }
    }

    #[inline(always)]
    unsafe fn differences(self, other: Self) -> u64 {
        // SAFETY: as above.
        unsafe { _mm512_cmpneq_epu8_mask(self, other) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Tier;

    /// # Safety
    ///
    /// The CPU has the instructions.
    #[inline(always)]
    unsafe fn agrees_with_bytes<V: Vector>() {
        let pattern = [0x0807_0605_0403_0201, 0x100f_0e0d_0c0b_0a09];
        let mut out = vec![0_u8; 3 * 64];
        // Somewhere that is no multiple of anything.
        let at = 1;
        // SAFETY: the caller's promise, and all addresses lie in the buffer, with at least a vector behind them.
        unsafe {
            let splat = V::splat(pattern);
            splat.store(out.as_mut_ptr().add(at));
            let expected: Vec<u8> = (0..V::BYTES).map(|byte| byte as u8 % 16 + 1).collect();
            assert_eq!(out[at..at + V::BYTES], expected);
            assert_eq!((out[0], out[at + V::BYTES]), (0, 0));
            let aligned = out.as_ptr().align_offset(V::BYTES);
            splat.stream(out.as_mut_ptr().add(aligned));
            assert_eq!(out[aligned..aligned + V::BYTES], expected);

            assert!(splat.xor(splat).is_zero());
            assert_eq!(splat.differences(splat), 0);
            for byte in 0..V::BYTES {
                let mut other = expected.clone();
                other[byte] ^= 0x80;
                let other = V::load(other.as_ptr());
                let difference = splat.xor(other);
                assert!(!difference.is_zero() && !difference.or(splat.xor(splat)).is_zero());
                assert_eq!(splat.differences(other), 1 << byte);
            }
        }
    }

    #[test]
    fn each_agrees_with_its_bytes() {
        #[target_feature(enable = "avx2")]
        fn avx2() {
            // SAFETY: it is enabled here.
            unsafe { agrees_with_bytes::<__m256i>() }
        }
        #[target_feature(enable = "avx512f,avx512bw")]
        fn avx512() {
            // SAFETY: they are enabled here.
            unsafe { agrees_with_bytes::<__m512i>() }
        }
        // SAFETY: each CPU of the architecture has SSE2, and this one what the tier says.
        unsafe {
            agrees_with_bytes::<__m128i>();
            if Tier::of_cpu() >= Tier::Avx2 {
                avx2();
            }
            if Tier::of_cpu() >= Tier::Avx512 {
                avx512();
            }
        }
    }
}
