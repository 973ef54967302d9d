//! Comparisons of two regions by vectors.
//!
//! No closures here: they would be functions of their own, without the instructions of the function around them.

use core::arch::x86_64::{__m128i, __m256i, __m512i};

use super::SMALL;
use super::halves::Half;
use crate::cpu::vector::Vector;

/// # Safety
///
/// As for [`super::compare`], with more than [`SMALL`] bytes.
#[inline(never)]
pub(super) unsafe fn sse2(a: *const u8, b: *const u8, len: usize) -> Option<usize> {
    // SAFETY: the caller's promise; SSE2 is part of the architecture.
    unsafe { kernel::<__m128i>(a, b, len) }
}

/// # Safety
///
/// As for [`sse2`], on a CPU of tier AVX2.
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
pub(super) unsafe fn avx2(a: *const u8, b: *const u8, len: usize) -> Option<usize> {
    // SAFETY: the caller's promise.
    unsafe { kernel::<__m256i>(a, b, len) }
}

/// # Safety
///
/// As for [`sse2`], on a CPU of tier AVX-512.
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn avx512(a: *const u8, b: *const u8, len: usize) -> Option<usize> {
    // SAFETY: the caller's promise.
    unsafe { kernel::<__m512i>(a, b, len) }
}

/// # Safety
///
/// As for [`avx512`].
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn avx512_halves(a: *const u8, b: *const u8, len: usize) -> Option<usize> {
    // SAFETY: the caller's promise.
    unsafe { kernel::<Half>(a, b, len) }
}

/// # Safety
///
/// As for [`sse2`], on a CPU that has the vector.
#[inline(always)]
unsafe fn kernel<V: Vector>(a: *const u8, b: *const u8, len: usize) -> Option<usize> {
    debug_assert!(len > SMALL);
    let group = 4 * V::BYTES;
    // SAFETY: every load is of a vector that ends at or before `len`, which is at least that of a vector, of three where there are
    // two from the end, and of four in the loop.
    unsafe {
        let offsets = if len <= 2 * V::BYTES {
            let last = len - V::BYTES;
            if xor::<V>(a, b, 0).or(xor::<V>(a, b, last)).is_zero() {
                return None;
            }
            [0, last, last, last]
        } else if len <= group {
            let offsets = [0, V::BYTES, len - 2 * V::BYTES, len - V::BYTES];
            if equal::<V>(a, b, offsets) {
                return None;
            }
            offsets
        } else {
            let mut at = 0;
            if equal::<V>(a, b, group_at::<V>(at)) {
                // On from where the first region's address is aligned, so that at least its loads touch one line each.
                at = group - a.addr() % V::BYTES;
                while at < len - group && equal::<V>(a, b, group_at::<V>(at)) {
                    at += group;
                }
                if len - at <= 2 * V::BYTES {
                    // Some of it once more.
                    at = len - 2 * V::BYTES;
                    if xor::<V>(a, b, at).or(xor::<V>(a, b, at + V::BYTES)).is_zero() {
                        return None;
                    }
                    at -= 2 * V::BYTES;
                } else if at >= len - group {
                    at = len - group;
                    if equal::<V>(a, b, group_at::<V>(at)) {
                        return None;
                    }
                }
            }
            group_at::<V>(at)
        };
        // One of the four has it. Here the data is loaded again, so that nothing of it needs to be kept above.
        for at in [offsets[0], offsets[1], offsets[2]] {
            let differences = V::load(a.add(at)).differences(V::load(b.add(at)));
            if differences != 0 {
                return Some(at + differences.trailing_zeros() as usize);
            }
        }
        let last = offsets[3];
        Some(last + V::load(a.add(last)).differences(V::load(b.add(last))).trailing_zeros() as usize)
    }
}

/// Offsets of four vectors, one after the other.
#[inline(always)]
pub(super) fn group_at<V: Vector>(at: usize) -> [usize; 4] {
    [at, at + V::BYTES, at + 2 * V::BYTES, at + 3 * V::BYTES]
}

/// Whether the vectors at these offsets are equal.
///
/// # Safety
///
/// Both regions are valid for reading a vector at each offset, and the CPU has the vector.
#[inline(always)]
unsafe fn equal<V: Vector>(a: *const u8, b: *const u8, offsets: [usize; 4]) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let [first, second, third, fourth] = offsets;
        let low = xor::<V>(a, b, first).or(xor::<V>(a, b, second));
        low.or(xor::<V>(a, b, third).or(xor::<V>(a, b, fourth))).is_zero()
    }
}

/// # Safety
///
/// As for [`equal`].
#[inline(always)]
unsafe fn xor<V: Vector>(a: *const u8, b: *const u8, at: usize) -> V {
    // SAFETY: the caller's promise.
    unsafe { V::load(a.add(at)).xor(V::load(b.add(at))) }
}
