//! Copies to two destinations by vectors, into the cache or past it.

use core::arch::x86_64::{__m128i, __m256i, __m512i, _mm_sfence};

use super::SMALL;
use crate::cpu::vector::Vector;

/// At most [`SMALL`] bytes.
///
/// # Safety
///
/// As for [`super::dualcast`].
#[inline(always)]
pub(super) unsafe fn small(src: *const u8, dst1: *mut u8, dst2: *mut u8, len: usize) {
    debug_assert!(len <= SMALL);
    // SAFETY: each part ends at or before `len`, for which the caller vouches; SSE2 is part of the architecture.
    unsafe {
        if len > 32 {
            return parts::<[u8; 16], 4>(src, dst1, dst2, [0, 16, len - 32, len - 16]);
        }
        if len >= 16 {
            return parts::<[u8; 16], 2>(src, dst1, dst2, [0, len - 16]);
        }
        if len >= 8 {
            return parts::<[u8; 8], 2>(src, dst1, dst2, [0, len - 8]);
        }
        if len >= 4 {
            return parts::<[u8; 4], 2>(src, dst1, dst2, [0, len - 4]);
        }
        if len != 0 {
            parts::<u8, 3>(src, dst1, dst2, [0, len / 2, len - 1]);
        }
    }
}

/// Copies a `T`, which has no alignment, at each of the offsets.
///
/// # Safety
///
/// As for [`super::dualcast`], of those bytes.
#[inline(always)]
unsafe fn parts<T: Copy, const N: usize>(src: *const u8, dst1: *mut u8, dst2: *mut u8, offsets: [usize; N]) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut values = [const { std::mem::MaybeUninit::<T>::uninit() }; N];
        for index in 0..N {
            values[index].write(src.add(offsets[index]).cast::<T>().read_unaligned());
        }
        for index in 0..N {
            let (at, value) = (offsets[index], values[index]);
            dst1.add(at).cast::<std::mem::MaybeUninit<T>>().write_unaligned(value);
            dst2.add(at).cast::<std::mem::MaybeUninit<T>>().write_unaligned(value);
        }
    }
}

/// # Safety
///
/// As for [`super::dualcast`], with more than [`SMALL`] bytes.
#[inline(never)]
pub(super) unsafe fn sse2(src: *const u8, dst1: *mut u8, dst2: *mut u8, len: usize) {
    // SAFETY: the caller's promise; SSE2 is part of the architecture.
    unsafe { store::<__m128i>(src, dst1, dst2, len) }
}

/// # Safety
///
/// As for [`sse2`].
#[inline(never)]
pub(super) unsafe fn stream_sse2(src: *const u8, dst1: *mut u8, dst2: *mut u8, len: usize) {
    // SAFETY: the caller's promise; SSE2 is part of the architecture.
    unsafe { stream::<__m128i>(src, dst1, dst2, len) }
}

/// # Safety
///
/// As for [`super::dualcast`], with more than [`SMALL`] bytes, on a CPU of tier AVX2.
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
pub(super) unsafe fn avx2(src: *const u8, dst1: *mut u8, dst2: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { store::<__m256i>(src, dst1, dst2, len) }
}

/// # Safety
///
/// As for [`avx2`], on a CPU of tier AVX-512.
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn avx512(src: *const u8, dst1: *mut u8, dst2: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { store::<__m512i>(src, dst1, dst2, len) }
}

/// # Safety
///
/// As for [`avx2`].
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
pub(super) unsafe fn stream_avx2(src: *const u8, dst1: *mut u8, dst2: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { stream::<__m256i>(src, dst1, dst2, len) }
}

/// # Safety
///
/// As for [`avx512`].
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn stream_avx512(src: *const u8, dst1: *mut u8, dst2: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { stream::<__m512i>(src, dst1, dst2, len) }
}

/// # Safety
///
/// As for [`super::dualcast`], with more than [`SMALL`] bytes, on a CPU that has the vector.
#[inline(always)]
unsafe fn store<V: Vector>(src: *const u8, dst1: *mut u8, dst2: *mut u8, len: usize) {
    debug_assert!(len > SMALL);
    // SAFETY: each load and store is of a vector that ends at or before `len`, which is more than a vector's, and more than that
    // of as many as are counted from one end.
    unsafe {
        if len <= 2 * V::BYTES {
            return parts::<V, 2>(src, dst1, dst2, [0, len - V::BYTES]);
        }
        if len <= 4 * V::BYTES {
            return parts::<V, 4>(src, dst1, dst2, [0, V::BYTES, len - 2 * V::BYTES, len - V::BYTES]);
        }
        parts::<V, 1>(src, dst1, dst2, [0]);
        // On from where the first destination's address is aligned; the other's should agree.
        let mut at = V::BYTES - dst1.addr() % V::BYTES;
        while at + 4 * V::BYTES < len {
            parts::<V, 4>(src.add(at), dst1.add(at), dst2.add(at), [0, V::BYTES, 2 * V::BYTES, 3 * V::BYTES]);
            at += 4 * V::BYTES;
        }
        // One to four are left.
        while at + V::BYTES < len {
            parts::<V, 1>(src, dst1, dst2, [at]);
            at += V::BYTES;
        }
        parts::<V, 1>(src, dst1, dst2, [len - V::BYTES]);
    }
}

/// # Safety
///
/// As for [`store`].
#[inline(always)]
unsafe fn stream<V: Vector>(src: *const u8, dst1: *mut u8, dst2: *mut u8, len: usize) {
    debug_assert!(len > SMALL);
    let group = 4 * V::BYTES;
    if len < 2 * group {
        // SAFETY: the caller's promise.
        return unsafe { store::<V>(src, dst1, dst2, len) };
    }
    // Each destination from where its own address is aligned.
    let [skip1, skip2] = [dst1, dst2].map(|dst| V::BYTES - dst.addr() % V::BYTES);
    // SAFETY: a group of either destination begins at most a vector behind `at`, and ends before `len`; what is left is less than
    // a group and a vector, for which `len` has room. Those past the cache are to aligned addresses.
    unsafe {
        parts::<V, 1>(src, dst1, dst2, [0]);
        let mut at = 0;
        while at + group + V::BYTES <= len {
            for (dst, skip) in [(dst1, skip1), (dst2, skip2)] {
                for index in 0..4 {
                    let at = at + skip + index * V::BYTES;
                    V::load(src.add(at)).stream(dst.add(at));
                }
            }
            at += group;
        }
        let end = len - group - V::BYTES;
        parts::<V, 5>(src.add(end), dst1.add(end), dst2.add(end), [0, V::BYTES, 2 * V::BYTES, 3 * V::BYTES, group]);
        // Before anything that the caller does next, as if the stores had been others.
        _mm_sfence();
    }
}
