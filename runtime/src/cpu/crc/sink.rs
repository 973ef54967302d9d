//! Where the bytes go that a CRC is taken of.

use core::arch::x86_64::{__m512i, _mm512_mask_storeu_epi8, _mm512_storeu_si512, _mm512_stream_si512};
use core::ptr;

/// Takes the bytes that a kernel has read, at their offset in the input. Where nothing is to be copied, all of it vanishes.
///
/// # Safety
///
/// Of every method: the bytes at the offset lie in the region that the sink stands for; for those with a row the CPU has AVX-512
/// F and BW.
#[allow(clippy::inline_always, reason = "a function with other target features cannot be inlined later")]
pub(super) trait Sink: Copy {
    /// `bytes` of them, from the offset 0 on.
    unsafe fn all(self, src: *const u8, bytes: usize);
    unsafe fn byte(self, at: usize, byte: u8);
    unsafe fn half(self, at: usize, half: u32);
    unsafe fn word(self, at: usize, word: u64);
    /// 64 bytes.
    unsafe fn row(self, at: usize, row: __m512i);
    /// 64 bytes, of which at least those of `mask` are still missing.
    unsafe fn last_row(self, at: usize, row: __m512i, mask: u64);
}

/// Takes nothing: no copy.
#[derive(Clone, Copy)]
pub(super) struct Nowhere;

#[allow(clippy::inline_always, reason = "as above")]
impl Sink for Nowhere {
    #[inline(always)]
    unsafe fn all(self, _src: *const u8, _bytes: usize) {}
    #[inline(always)]
    unsafe fn byte(self, _at: usize, _byte: u8) {}
    #[inline(always)]
    unsafe fn half(self, _at: usize, _half: u32) {}
    #[inline(always)]
    unsafe fn word(self, _at: usize, _word: u64) {}
    #[inline(always)]
    unsafe fn row(self, _at: usize, _row: __m512i) {}
    #[inline(always)]
    unsafe fn last_row(self, _at: usize, _row: __m512i, _mask: u64) {}
}

/// To memory by way of the caches.
#[derive(Clone, Copy)]
pub(super) struct Cached(pub(super) *mut u8);

#[allow(clippy::inline_always, reason = "as above")]
impl Sink for Cached {
    #[inline(always)]
    unsafe fn all(self, src: *const u8, bytes: usize) {
        // SAFETY: the bytes lie in the region, as the trait asks for; so in all of this block.
        unsafe { ptr::copy_nonoverlapping(src, self.0, bytes) }
    }
    #[inline(always)]
    unsafe fn byte(self, at: usize, byte: u8) {
        // SAFETY: as above.
        unsafe { self.0.add(at).write(byte) }
    }
    #[inline(always)]
    unsafe fn half(self, at: usize, half: u32) {
        // SAFETY: as above.
        unsafe { ptr::write_unaligned(self.0.add(at).cast(), half) }
    }
    #[inline(always)]
    unsafe fn word(self, at: usize, word: u64) {
        // SAFETY: as above.
        unsafe { ptr::write_unaligned(self.0.add(at).cast(), word) }
    }
    #[inline(always)]
    unsafe fn row(self, at: usize, row: __m512i) {
        // SAFETY: as above, and the CPU has AVX-512.
        unsafe { _mm512_storeu_si512(self.0.add(at).cast(), row) }
    }
    #[inline(always)]
    unsafe fn last_row(self, at: usize, row: __m512i, _mask: u64) {
        // SAFETY: as above. What is there already is written once more.
        unsafe { self.row(at, row) }
    }
}

/// To memory past the caches. Rows at a multiple of 64 go to addresses that are multiples of 64. Ordered by a store fence only.
#[derive(Clone, Copy)]
pub(super) struct Past(pub(super) *mut u8);

#[allow(clippy::inline_always, reason = "as above")]
impl Sink for Past {
    #[inline(always)]
    unsafe fn all(self, src: *const u8, bytes: usize) {
        // SAFETY: the bytes lie in the region, as the trait asks for; so in all of this block.
        unsafe { ptr::copy_nonoverlapping(src, self.0, bytes) }
    }
    #[inline(always)]
    unsafe fn byte(self, at: usize, byte: u8) {
        // SAFETY: as above.
        unsafe { Cached(self.0).byte(at, byte) }
    }
    #[inline(always)]
    unsafe fn half(self, at: usize, half: u32) {
        // SAFETY: as above.
        unsafe { Cached(self.0).half(at, half) }
    }
    #[inline(always)]
    unsafe fn word(self, at: usize, word: u64) {
        // SAFETY: as above.
        unsafe { Cached(self.0).word(at, word) }
    }
    #[inline(always)]
    unsafe fn row(self, at: usize, row: __m512i) {
        // SAFETY: as above; the CPU has AVX-512, and the address is aligned.
        unsafe { _mm512_stream_si512(self.0.add(at).cast(), row) }
    }
    #[inline(always)]
    unsafe fn last_row(self, at: usize, row: __m512i, mask: u64) {
        // SAFETY: as above. Only what is missing, as the lines before it may be on their way to memory.
        unsafe { _mm512_mask_storeu_epi8(self.0.add(at).cast(), mask, row) }
    }
}
