//! Vectors of 32 bytes with the masks of AVX-512, and the CPUs that they are for.
//!
//! Some CPUs do an instruction on 64 bytes as two on 32. It saves them work where there is little of it; but from memory they load no
//! faster, and a load that is not aligned takes them longer than two of half the size.

use crate::cpu::vector::Vector;
use core::arch::x86_64::{
    __m256i, __m512i, _mm256_cmpneq_epu8_mask, _mm256_loadu_si256, _mm256_or_si256, _mm256_storeu_si256,
    _mm256_stream_si256, _mm256_test_epi32_mask, _mm256_xor_si256, _mm512_castsi512_si256,
};

/// A vector of 32 bytes. Other than the trait asks for, its CPU has AVX-512 BW and VL.
#[derive(Clone, Copy)]
pub(super) struct Half(__m256i);

impl Vector for Half {
    const BYTES: usize = 32;

    #[inline(always)]
    unsafe fn splat(pattern: [u64; 2]) -> Self {
        // SAFETY: the CPU has AVX-512 with BW and VL, and pointers are valid, as the caller promises. So in all of this block.
        unsafe { Self(_mm512_castsi512_si256(__m512i::splat(pattern))) }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: as above.
        unsafe { Self(_mm256_loadu_si256(from.cast())) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: as above.
        unsafe { _mm256_storeu_si256(to.cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn stream(self, to: *mut u8) {
        // SAFETY: as above; the address is aligned.
        unsafe { _mm256_stream_si256(to.cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { Self(_mm256_xor_si256(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { Self(_mm256_or_si256(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn is_zero(self) -> bool {
        // By words of 32 bits, so that one instruction tests all: for those of 64 the compiler compares vector by vector, which
        // takes a third longer.
        // SAFETY: as above.
        unsafe { _mm256_test_epi32_mask(self.0, self.0) == 0 }
    }

    #[inline(always)]
    unsafe fn differences(self, other: Self) -> u64 {
        // SAFETY: as above.
        u64::from(unsafe { _mm256_cmpneq_epu8_mask(self.0, other.0) })
    }
}
