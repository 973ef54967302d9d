//! Guards by carry-less multiplication, 64 bytes a step, on CPUs that have no affine instruction.
//!
//! Four vectors of 16 bytes are folded onto the next four: a vector times x^512 modulo P, word by word, has the same rest and fits
//! into a vector again. The bytes of each are reversed first, so that the first bit is the highest.

#![allow(clippy::inline_always, reason = "a function with other target features cannot be inlined later")]

use core::arch::x86_64::{
    __m128i, _mm_clmulepi64_si128, _mm_extract_epi16, _mm_loadl_epi64, _mm_loadu_si128, _mm_set_epi8, _mm_set_epi64x,
    _mm_shuffle_epi8, _mm_slli_si128, _mm_storel_epi64, _mm_storeu_si128, _mm_xor_si128,
};

use super::blocks::{Blocks, Shape};
use super::constants::{POLYNOMIAL, QUOTIENT, power};

/// The kernel of a block size. It exists only where the CPU has SSSE3 and PCLMULQDQ, and its methods are inlined into functions
/// that enable them.
#[derive(Clone, Copy)]
pub(super) struct Folds {
    shape: Shape,
}

impl Folds {
    /// # Safety
    ///
    /// The CPU has SSSE3 and PCLMULQDQ.
    #[inline(always)]
    pub(super) unsafe fn new(shape: Shape) -> Self {
        Self { shape }
    }

    /// # Safety
    ///
    /// As of [`Blocks::copy_guard`]; `dst` may be anything unless it copies.
    #[inline(always)]
    unsafe fn run<const COPY: bool>(self, src: *const u8, dst: *mut u8) -> u16 {
        // SAFETY: the CPU has the instructions; the steps and the tail lie in the block, for which the caller vouches.
        unsafe {
            let mut lanes = [
                load::<COPY>(src, dst, 0),
                load::<COPY>(src, dst, 16),
                load::<COPY>(src, dst, 32),
                load::<COPY>(src, dst, 48),
            ];
            for step in 1..self.shape.chunks * (Shape::CHUNK / 64) {
                for (lane, value) in lanes.iter_mut().enumerate() {
                    *value = fold::<512>(*value, load::<COPY>(src, dst, step * 64 + lane * 16));
                }
            }
            let pair = [fold::<256>(lanes[0], lanes[2]), fold::<256>(lanes[1], lanes[3])];
            let all = fold::<128>(pair[0], pair[1]);
            // Both words to V * x^48, as the constants have it.
            let rest = if self.shape.has_tail {
                let at = self.shape.chunks * Shape::CHUNK;
                let tail = _mm_loadl_epi64(src.add(at).cast());
                if COPY {
                    _mm_storel_epi64(dst.add(at).cast(), tail);
                }
                let factors = words(const { (power(144) as u64) << 48 }, const { (power(80) as u64) << 48 });
                let words = xor(_mm_clmulepi64_si128::<0x11>(all, factors), _mm_clmulepi64_si128::<0x00>(all, factors));
                xor(words, _mm_shuffle_epi8(tail, reversed()))
            } else {
                let factor = words(const { (power(80) as u64) << 48 }, 0);
                xor(_mm_clmulepi64_si128::<0x11>(all, factor), _mm_slli_si128::<8>(all))
            };
            reduce(rest)
        }
    }
}

impl Blocks for Folds {
    #[inline(always)]
    fn shape(self) -> Shape {
        self.shape
    }

    #[inline(always)]
    unsafe fn guard(self, src: *const u8) -> u16 {
        // SAFETY: the caller's promise.
        unsafe { self.run::<false>(src, core::ptr::null_mut()) }
    }

    #[inline(always)]
    unsafe fn copy_guard(self, src: *const u8, dst: *mut u8) -> u16 {
        // SAFETY: the caller's promise.
        unsafe { self.run::<true>(src, dst) }
    }

    #[inline(always)]
    unsafe fn copy(self, src: *const u8, dst: *mut u8) {
        // SAFETY: blocks that do not overlap, as the caller promises.
        unsafe { core::ptr::copy_nonoverlapping(src, dst, self.shape.bytes()) };
    }
}

/// The guard of V * x^48, see [`constants`](super::constants).
///
/// # Safety
///
/// The CPU has PCLMULQDQ.
#[inline(always)]
pub(super) unsafe fn reduce(value: __m128i) -> u16 {
    // SAFETY: as the caller promises.
    unsafe {
        let factors = words(QUOTIENT, POLYNOMIAL);
        // The coefficient of x^64, which is not in the factor, leaves the word as it is.
        let quotient = xor(_mm_clmulepi64_si128::<0x11>(value, factors), value);
        _mm_extract_epi16::<3>(xor(_mm_clmulepi64_si128::<0x01>(quotient, factors), value)).cast_unsigned() as u16
    }
}

/// `value`, as many bits in front of `next`, and `next`.
#[inline(always)]
unsafe fn fold<const BITS: usize>(value: __m128i, next: __m128i) -> __m128i {
    // SAFETY: the CPU has PCLMULQDQ, as all of this file asks for.
    unsafe {
        let factors = words(const { power(BITS + 64) as u64 }, const { power(BITS) as u64 });
        let (upper, lower) =
            (_mm_clmulepi64_si128::<0x11>(value, factors), _mm_clmulepi64_si128::<0x00>(value, factors));
        xor(xor(upper, lower), next)
    }
}

/// 16 bytes as a number, most significant first; to be copied, if so asked.
#[inline(always)]
unsafe fn load<const COPY: bool>(src: *const u8, dst: *mut u8, at: usize) -> __m128i {
    // SAFETY: inside a block for which the caller vouches.
    unsafe {
        let bytes = _mm_loadu_si128(src.add(at).cast());
        if COPY {
            _mm_storeu_si128(dst.add(at).cast(), bytes);
        }
        _mm_shuffle_epi8(bytes, reversed())
    }
}

#[inline(always)]
fn reversed() -> __m128i {
    // SAFETY: every CPU of the architecture has SSE2.
    unsafe { _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) }
}

#[inline(always)]
fn words(upper: u64, lower: u64) -> __m128i {
    // SAFETY: as above.
    unsafe { _mm_set_epi64x(upper.cast_signed(), lower.cast_signed()) }
}

#[inline(always)]
fn xor(left: __m128i, right: __m128i) -> __m128i {
    // SAFETY: as above.
    unsafe { _mm_xor_si128(left, right) }
}
