//! Which words of two stretches of memory differ, as bits.

#![allow(clippy::inline_always, reason = "a function with other target features cannot be inlined later")]

#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::{
    __m128i, __m256i, __m512i, __mmask16, __mmask32, _mm_and_si128, _mm_castsi128_pd, _mm_cmpeq_epi32, _mm_movemask_pd,
    _mm_shuffle_epi32, _mm256_castsi256_pd, _mm256_cmpeq_epi64, _mm256_movemask_pd, _mm512_cmpneq_epi64_mask,
    _mm512_kunpackb, _mm512_kunpackd, _mm512_kunpackw,
};

#[cfg(target_arch = "x86_64")]
use std::hint::black_box;
use std::ops::Range;

use super::WORD;
#[cfg(target_arch = "x86_64")]
use crate::cpu::vector::Vector;

/// Bytes of a line.
pub(super) const LINE: usize = 64;
/// Bytes of a group: a word for each bit of a mask.
pub(super) const GROUP: usize = 64 * WORD;

/// Bytes up to which one word after the other is the fastest.
pub(super) const FEW: usize = 128;

/// Bytes of which groups are as fast as a comparison up to the first difference: with less there is much around the groups, and more
/// a comparison goes through faster.
pub(super) const SOME: Range<usize> = GROUP..4096;

/// A way to find words that differ. Bit 0 stands for the first word.
///
/// # Safety
///
/// Every method is to be called only on a CPU that has the instructions of the type, with pointers that are valid for reading
/// as many initialised bytes as it says.
pub(super) trait Words {
    /// Whether [`group`](Self::group) takes hardly longer than [`differ`](Self::differ).
    const IS_DIRECT: bool = false;

    /// Of [`LINE`] bytes.
    unsafe fn line(first: *const u8, second: *const u8) -> u64;
    /// Of [`GROUP`] bytes.
    unsafe fn group(first: *const u8, second: *const u8) -> u64;
    /// Whether [`GROUP`] bytes differ at all, which is found out faster.
    unsafe fn differ(first: *const u8, second: *const u8) -> bool;
}

/// Without vectors.
#[cfg(any(not(target_arch = "x86_64"), test))]
pub(super) struct Scalar;

#[cfg(any(not(target_arch = "x86_64"), test))]
impl Words for Scalar {
    #[inline]
    unsafe fn line(first: *const u8, second: *const u8) -> u64 {
        // SAFETY: the whole line, as the caller promises; byte arrays have no alignment.
        let (a, b) = unsafe { (first.cast::<[u8; LINE]>().read(), second.cast::<[u8; LINE]>().read()) };
        let words = a.chunks_exact(WORD).zip(b.chunks_exact(WORD));
        words.enumerate().fold(0, |bits, (index, (a, b))| bits | u64::from(a != b) << index)
    }

    #[inline]
    unsafe fn group(first: *const u8, second: *const u8) -> u64 {
        // SAFETY: every line lies inside the group.
        (0..GROUP / LINE).fold(0, |bits, line| unsafe {
            bits | Self::line(first.add(line * LINE), second.add(line * LINE)) << (line * (LINE / WORD))
        })
    }

    #[inline]
    unsafe fn differ(first: *const u8, second: *const u8) -> bool {
        // SAFETY: the whole group, as the caller promises. The slices end here, before anything is written.
        unsafe { std::slice::from_raw_parts(first, GROUP) != std::slice::from_raw_parts(second, GROUP) }
    }
}

/// Which words of two vectors differ.
///
/// # Safety
///
/// The CPU has the vector; 16, 32 or 64 bytes can be read.
#[cfg(target_arch = "x86_64")]
trait Differences: Vector {
    unsafe fn words(self, other: Self) -> u64;
}

#[cfg(target_arch = "x86_64")]
impl Differences for __m128i {
    #[inline(always)]
    unsafe fn words(self, other: Self) -> u64 {
        // SAFETY: SSE2 is part of the architecture.
        let equal = unsafe {
            let halves = _mm_cmpeq_epi32(self, other);
            let swapped = _mm_shuffle_epi32::<0b10_11_00_01>(halves);
            _mm_movemask_pd(_mm_castsi128_pd(_mm_and_si128(halves, swapped)))
        };
        u64::from(equal.cast_unsigned() ^ 0b11)
    }
}

#[cfg(target_arch = "x86_64")]
impl Differences for __m256i {
    #[inline(always)]
    unsafe fn words(self, other: Self) -> u64 {
        // SAFETY: the CPU has AVX2, as the trait asks for.
        let equal = unsafe { _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpeq_epi64(self, other))) };
        u64::from(equal.cast_unsigned() ^ 0b1111)
    }
}

/// Of `N` vectors, one after the other.
///
/// # Safety
///
/// As for [`Words`].
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn words<V: Differences, const N: usize>(first: *const u8, second: *const u8) -> u64 {
    let mut bits = 0;
    for index in 0..N {
        let at = index * V::BYTES;
        // SAFETY: inside the bytes that the caller vouches for.
        bits |= unsafe { V::load(first.add(at)).words(V::load(second.add(at))) } << (at / WORD);
    }
    bits
}

/// [`words`] of more vectors than there are registers: the compiler shall not keep what it has loaded to find out whether any
/// differs.
///
/// # Safety
///
/// As for [`Words`].
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn words_again<V: Differences, const N: usize>(first: *const u8, second: *const u8) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { words::<V, N>(black_box(first), black_box(second)) }
}

/// Whether any of `N` vectors differs.
///
/// # Safety
///
/// As for [`Words`].
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn differ<V: Vector, const N: usize>(first: *const u8, second: *const u8) -> bool {
    // SAFETY: inside the bytes that the caller vouches for.
    unsafe {
        let mut sums = [xor::<V>(first, second, 0), xor::<V>(first, second, V::BYTES)];
        for index in 2..N {
            sums[index % 2] = sums[index % 2].or(xor::<V>(first, second, index * V::BYTES));
        }
        !sums[0].or(sums[1]).is_zero()
    }
}

/// # Safety
///
/// As for [`Words`].
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn xor<V: Vector>(first: *const u8, second: *const u8, at: usize) -> V {
    // SAFETY: the caller's promise.
    unsafe { V::load(first.add(at)).xor(V::load(second.add(at))) }
}

#[cfg(target_arch = "x86_64")]
impl Words for __m128i {
    #[inline(always)]
    unsafe fn line(first: *const u8, second: *const u8) -> u64 {
        // SAFETY: the caller's promise.
        unsafe { words::<Self, 4>(first, second) }
    }

    #[inline(always)]
    unsafe fn group(first: *const u8, second: *const u8) -> u64 {
        // SAFETY: the caller's promise.
        unsafe { words_again::<Self, 32>(first, second) }
    }

    #[inline(always)]
    unsafe fn differ(first: *const u8, second: *const u8) -> bool {
        // SAFETY: the caller's promise.
        unsafe { differ::<Self, 32>(first, second) }
    }
}

#[cfg(target_arch = "x86_64")]
impl Words for __m256i {
    #[inline(always)]
    unsafe fn line(first: *const u8, second: *const u8) -> u64 {
        // SAFETY: the caller's promise.
        unsafe { words::<Self, 2>(first, second) }
    }

    #[inline(always)]
    unsafe fn group(first: *const u8, second: *const u8) -> u64 {
        // SAFETY: the caller's promise.
        unsafe { words_again::<Self, 16>(first, second) }
    }

    #[inline(always)]
    unsafe fn differ(first: *const u8, second: *const u8) -> bool {
        // SAFETY: the caller's promise.
        unsafe { differ::<Self, 16>(first, second) }
    }
}

#[cfg(target_arch = "x86_64")]
impl Words for __m512i {
    const IS_DIRECT: bool = true;

    #[inline(always)]
    unsafe fn line(first: *const u8, second: *const u8) -> u64 {
        // SAFETY: the caller's promise; the CPU has AVX-512 F.
        u64::from(unsafe { _mm512_cmpneq_epi64_mask(Self::load(first), Self::load(second)) })
    }

    #[inline(always)]
    unsafe fn group(first: *const u8, second: *const u8) -> u64 {
        // SAFETY: inside the group, which the caller vouches for; the CPU has AVX-512 F and BW. The masks are put together where
        // they are, so that one move is enough.
        unsafe {
            let [low, high] = [four_lines(first, second), four_lines(first.add(GROUP / 2), second.add(GROUP / 2))];
            _mm512_kunpackd(high.into(), low.into())
        }
    }

    #[inline(always)]
    unsafe fn differ(first: *const u8, second: *const u8) -> bool {
        // SAFETY: the caller's promise.
        unsafe { differ::<Self, 8>(first, second) }
    }
}

/// Of half a group.
///
/// # Safety
///
/// As for [`Words`], on a CPU with AVX-512 F and BW.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn four_lines(first: *const u8, second: *const u8) -> __mmask32 {
    // SAFETY: the caller's promise.
    unsafe {
        let low = _mm512_kunpackb(line(first, second, 1), line(first, second, 0));
        let high = _mm512_kunpackb(line(first, second, 3), line(first, second, 2));
        _mm512_kunpackw(high.into(), low.into())
    }
}

/// # Safety
///
/// As for [`four_lines`].
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn line(first: *const u8, second: *const u8, index: usize) -> __mmask16 {
    let at = index * LINE;
    // SAFETY: the caller's promise.
    unsafe { _mm512_cmpneq_epi64_mask(__m512i::load(first.add(at)), __m512i::load(second.add(at))).into() }
}
