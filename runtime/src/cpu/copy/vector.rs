//! Copies by vectors: through the caches, and past them. All but the medium ones are of more than 256 bytes, in regions
//! that do not overlap.

#![allow(clippy::inline_always, reason = "a kernel is compiled with the instructions of whoever calls it")]

use core::arch::x86_64::{__m128i, __m256i, __m512i, _MM_HINT_T0, _mm_prefetch, _mm_sfence};

use crate::cpu::vector::Vector;

/// Vectors of a turn of the loops.
const TURN: usize = 4;

/// How far above the source a destination may seem to be, to be in the way of what is loaded next: two turns of the longest
/// vectors.
const ALIAS: usize = 512;

/// How many bytes ahead a streaming copy asks for what it will load.
const AHEAD: usize = 4096;

/// Copies 65 to 256 bytes, which may overlap.
///
/// # Safety
///
/// The CPU has AVX2; as for [`copy`](super::copy), of so many bytes.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn medium(src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: the caller's promise; everything is loaded before anything is stored.
    unsafe { if len <= 128 { ends::<__m256i, 2>(src, dst, len) } else { ends::<__m256i, 4>(src, dst, len) } }
}

/// Vectors of 32 bytes.
///
/// # Safety
///
/// The CPU has AVX2. `src` is valid for reading and `dst` for writing `len` bytes, which do not overlap; `len` is above 256.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn avx2(src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { in_turns::<__m256i>(src, dst, len) }
}

/// Vectors of 64 bytes.
///
/// # Safety
///
/// As [`avx2`], of AVX-512 F and BW.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn avx512(src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { in_turns::<__m512i>(src, dst, len) }
}

/// Vectors of 16 bytes, past the caches.
///
/// # Safety
///
/// As [`avx2`], without asking for AVX2.
pub(super) unsafe fn stream_sse2(src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { stream::<__m128i>(src, dst, len) }
}

/// Vectors of 32 bytes, past the caches.
///
/// # Safety
///
/// As [`avx2`].
#[target_feature(enable = "avx2")]
pub(super) unsafe fn stream_avx2(src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { stream::<__m256i>(src, dst, len) }
}

/// Copies the first `N` vectors and the last `N`, whatever lies between.
///
/// # Safety
///
/// The CPU has the instructions of the vector; `len` bytes may be read and written, at least `N` vectors.
#[inline(always)]
unsafe fn ends<V: Vector, const N: usize>(src: *const u8, dst: *mut u8, len: usize) {
    let last = len - N * V::BYTES;
    // SAFETY: both begin and end inside.
    unsafe {
        let first = run::<V, N>(src);
        let rest = run::<V, N>(src.add(last));
        put(first, dst);
        put(rest, dst.add(last));
    }
}

/// # Safety
///
/// The CPU has the instructions of the vector, and `N` vectors may be read.
#[inline(always)]
unsafe fn run<V: Vector, const N: usize>(src: *const u8) -> [V; N] {
    // SAFETY: the caller's promise.
    let mut vectors = [unsafe { V::load(src) }; N];
    // Not by a closure, which does not always get the instructions of the function around.
    for (index, vector) in vectors.iter_mut().enumerate().skip(1) {
        // SAFETY: as above.
        *vector = unsafe { V::load(src.add(index * V::BYTES)) };
    }
    vectors
}

/// # Safety
///
/// The CPU has the instructions of the vector, and `N` vectors may be written.
#[inline(always)]
unsafe fn put<V: Vector, const N: usize>(vectors: [V; N], dst: *mut u8) {
    for (index, vector) in vectors.into_iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { vector.store(dst.add(index * V::BYTES)) };
    }
}

/// Whether the destination lies a little above the source, as far as the lowest 12 bits of their addresses say. A CPU that compares
/// no more of them takes what it loads next for what has just been stored, and waits: on Intel's the C library's copy, or the string
/// instruction's, is then ten times as slow.
#[inline(always)]
pub(super) fn is_aliased(src: *const u8, dst: *mut u8) -> bool {
    (dst.addr().wrapping_sub(src.addr()) % 4096).wrapping_sub(1) < ALIAS
}

/// Copies in turns of four vectors, each stored to an aligned address.
///
/// It begins at the end if the regions are [aliased](is_aliased).
///
/// # Safety
///
/// The CPU has the instructions of the vector. `len` bytes, at least four vectors, may be read and written, which do not
/// overlap.
#[inline(always)]
unsafe fn in_turns<V: Vector>(src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { if is_aliased(src, dst) { backward::<V>(src, dst, len) } else { forward::<V>(src, dst, len) } }
}

/// # Safety
///
/// As [`in_turns`].
#[inline(always)]
unsafe fn forward<V: Vector>(src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: the first vector, then whole turns that begin before the last turn and so end inside `len`, then that one.
    unsafe {
        let last = len - TURN * V::BYTES;
        let (head, tail) = (V::load(src), run::<V, TURN>(src.add(last)));
        let mut at = V::BYTES - dst.addr() % V::BYTES;
        while at < last {
            put(run::<V, TURN>(src.add(at)), dst.add(at));
            at += TURN * V::BYTES;
        }
        put(tail, dst.add(last));
        head.store(dst);
    }
}

/// # Safety
///
/// As [`in_turns`].
#[inline(always)]
unsafe fn backward<V: Vector>(src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: the last vector, then whole turns that end behind the first turn and so begin inside, then that one.
    unsafe {
        let (head, tail) = (run::<V, TURN>(src), V::load(src.add(len - V::BYTES)));
        let mut at = len - (dst.addr() + len) % V::BYTES;
        while at > TURN * V::BYTES {
            at -= TURN * V::BYTES;
            put(run::<V, TURN>(src.add(at)), dst.add(at));
        }
        put(head, dst);
        tail.store(dst.add(len - V::BYTES));
    }
}

/// As [`forward`], past the caches, and with what will be read asked for early.
///
/// # Safety
///
/// As [`forward`].
#[inline(always)]
unsafe fn stream<V: Vector>(src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: as in `forward`; after the first vector the destination is aligned, as a streaming store asks for. What is
    // prefetched lies inside the source.
    unsafe {
        V::load(src).store(dst);
        let mut at = V::BYTES - dst.addr() % V::BYTES;
        let last = len - TURN * V::BYTES;
        while at < last {
            if at + AHEAD < last {
                for line in (0..TURN * V::BYTES).step_by(64) {
                    _mm_prefetch::<_MM_HINT_T0>(src.add(at + AHEAD + line).cast());
                }
            }
            let vectors = run::<V, TURN>(src.add(at));
            for (index, vector) in vectors.into_iter().enumerate() {
                vector.stream(dst.add(at + index * V::BYTES));
            }
            at += TURN * V::BYTES;
        }
        put(run::<V, TURN>(src.add(last)), dst.add(last));
        // Streaming stores are ordered by a fence only, and nobody who is told that the bytes are there knows of them.
        _mm_sfence();
    }
}
