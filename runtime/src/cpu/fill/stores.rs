//! Fills by vectors, into the cache or past it, and by `rep stosq`.

use core::arch::asm;
use core::arch::x86_64::{__m128i, __m256i, __m512i, _mm_sfence};

use super::{Pattern, SMALL, rotate_pattern};
use crate::cpu::vector::Vector;

/// # Safety
///
/// As for [`super::fill_wide`], with more than [`SMALL`] bytes.
#[inline(never)]
pub(super) unsafe fn sse2<P: Pattern>(dst: *mut u8, len: usize, pattern: P) {
    // SAFETY: the caller's promise; SSE2 is part of the architecture.
    unsafe { store::<__m128i, P>(dst, len, pattern) }
}

/// # Safety
///
/// As for [`sse2`], on a CPU of tier AVX2.
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
pub(super) unsafe fn avx2<P: Pattern>(dst: *mut u8, len: usize, pattern: P) {
    // SAFETY: the caller's promise.
    unsafe { store::<__m256i, P>(dst, len, pattern) }
}

/// # Safety
///
/// As for [`sse2`], on a CPU of tier AVX-512.
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn avx512<P: Pattern>(dst: *mut u8, len: usize, pattern: P) {
    // SAFETY: the caller's promise.
    unsafe { store::<__m512i, P>(dst, len, pattern) }
}

/// By the instruction that repeats a store of 8 bytes. It takes long steps and does not read what it overwrites, but needs some
/// tens of nanoseconds to begin.
///
/// # Safety
///
/// As for [`sse2`], with a pattern of 8 bytes.
#[inline(never)]
pub(super) unsafe fn repeat(dst: *mut u8, len: usize, pattern: u64) {
    debug_assert!(len > SMALL);
    // SAFETY: the first four stores lie inside the first 64 bytes, the last in the last eight, and the others end before the end;
    // the caller vouches for all of them. The direction flag is clear, as the calling convention has it.
    unsafe {
        let skip = dst.addr().wrapping_neg() % 64;
        if skip != 0 {
            let first = __m128i::splat([pattern; 2]);
            for at in [0, 16, 32, 48] {
                first.store(dst.add(at));
            }
        }
        asm!(
            "rep stosq",
            inout("rcx") (len - skip) / 8 => _,
            inout("rdi") dst.add(skip) => _,
            in("rax") rotate_pattern(pattern, skip as u64),
            options(nostack, preserves_flags),
        );
        dst.add(len - 8).cast::<[u8; 8]>().write(rotate_pattern(pattern, len as u64).to_le_bytes());
    }
}

/// # Safety
///
/// As for [`sse2`], on a CPU that has the vector.
#[inline(always)]
unsafe fn store<V: Vector, P: Pattern>(dst: *mut u8, len: usize, pattern: P) {
    debug_assert!(len > SMALL);
    // SAFETY: each store is of a vector that ends at or before `len`, which is more than a vector's, and more than that of as
    // many as are counted from one end.
    unsafe {
        let first = V::splat(pattern.wide());
        // A vector has a multiple of the pattern's bytes.
        let last = V::splat(pattern.rotated(len).wide());
        if len <= 4 * V::BYTES {
            first.store(dst);
            if len > 2 * V::BYTES {
                first.store(dst.add(V::BYTES));
                last.store(dst.add(len - 2 * V::BYTES));
            }
            last.store(dst.add(len - V::BYTES));
            return;
        }
        first.store(dst);
        let mut at = V::BYTES - dst.addr() % V::BYTES;
        let body = V::splat(pattern.rotated(at).wide());
        while at + 4 * V::BYTES < len {
            for index in 0..4 {
                body.store(dst.add(at + index * V::BYTES));
            }
            at += 4 * V::BYTES;
        }
        // One to four are left.
        let left = len - at;
        if left > V::BYTES {
            body.store(dst.add(at));
            if left > 2 * V::BYTES {
                body.store(dst.add(at + V::BYTES));
                if left > 3 * V::BYTES {
                    body.store(dst.add(at + 2 * V::BYTES));
                }
            }
        }
        last.store(dst.add(len - V::BYTES));
    }
}

/// Past the caches, by vectors of 16 bytes. Of large fills the memory is all that counts.
///
/// # Safety
///
/// As for [`sse2`].
#[inline(never)]
pub(super) unsafe fn stream<P: Pattern>(dst: *mut u8, len: usize, pattern: P) {
    // SAFETY: the caller's promise, and SSE2 is there.
    unsafe { past::<__m128i, P>(dst, len, pattern) }
}

/// The same by vectors of a whole line: where a fill is small, the CPU puts fewer lines together itself. On Intel's from 4 KiB on
/// that is up to half as much again.
///
/// # Safety
///
/// As for [`sse2`], on a CPU with AVX-512 F and BW.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn stream_avx512<P: Pattern>(dst: *mut u8, len: usize, pattern: P) {
    // SAFETY: the caller's promise.
    unsafe { past::<__m512i, P>(dst, len, pattern) }
}

/// # Safety
///
/// As for [`sse2`], with the instructions of the vector; `len` is at least a vector.
#[inline(always)]
unsafe fn past<V: Vector, P: Pattern>(dst: *mut u8, len: usize, pattern: P) {
    debug_assert!(len > SMALL);
    // SAFETY: each store is of a vector that ends at or before `len`, which is at least a vector's; those past the caches are to
    // aligned addresses.
    unsafe {
        // A line that is written through the cache is read first. So there is none without need, and both come before the others, which
        // do not wait for that.
        if !(dst.addr() + len).is_multiple_of(V::BYTES) {
            V::splat(pattern.rotated(len - V::BYTES).wide()).store(dst.add(len - V::BYTES));
        }
        let mut at = 0;
        if !dst.addr().is_multiple_of(V::BYTES) {
            V::splat(pattern.wide()).store(dst);
            at = V::BYTES - dst.addr() % V::BYTES;
        }
        let body = V::splat(pattern.rotated(at).wide());
        while at + 4 * V::BYTES <= len {
            for index in 0..4 {
                body.stream(dst.add(at + index * V::BYTES));
            }
            at += 4 * V::BYTES;
        }
        while at + V::BYTES <= len {
            body.stream(dst.add(at));
            at += V::BYTES;
        }
        // Before anything that the caller does next, as if the stores had been others.
        _mm_sfence();
    }
}
