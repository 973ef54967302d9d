//! Loops as anybody would write them with the CPU's own instructions: limits, and yardsticks that do not change with the engine.
//!
//! Each does one thing in one way at every size. None of them chooses, which is what the engine is measured against.

use std::arch::asm;
use std::arch::x86_64::{
    __m256i, __m512i, _mm_sfence, _mm256_loadu_si256, _mm256_or_si256, _mm256_set1_epi64x, _mm256_setzero_si256,
    _mm256_storeu_si256, _mm256_stream_si256, _mm512_loadu_si512, _mm512_or_si512, _mm512_reduce_or_epi64,
    _mm512_set1_epi64, _mm512_setzero_si512, _mm512_storeu_si512,
};
use std::ptr;

use dsa::cpu::rotate_pattern;

/// Bytes of a vector.
const HALF: usize = size_of::<__m256i>();
const FULL: usize = size_of::<__m512i>();
/// Vectors of one turn.
const TURN: usize = 8;

/// Copies by the CPU's own loop.
///
/// # Safety
///
/// The regions are valid and do not overlap.
#[inline(always)]
pub(crate) unsafe fn rep_movsb(src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: the instruction copies `len` bytes upwards, the direction flag is clear, and it touches nothing else.
    unsafe {
        asm!("rep movsb", inout("rcx") len => _, inout("rsi") src => _, inout("rdi") dst => _, options(nostack, preserves_flags));
    }
}

/// Fills by the CPU's own loop, in words.
///
/// # Safety
///
/// The region is valid.
#[inline(always)]
pub(crate) unsafe fn rep_stosq(dst: *mut u8, len: usize, pattern: u64) {
    // SAFETY: as for `rep_movsb`; what is less than a word is behind the words.
    unsafe {
        let rest = len % 8;
        asm!("rep stosq", inout("rcx") len / 8 => _, inout("rdi") dst => _, in("rax") pattern, options(nostack, preserves_flags));
        ptr::copy_nonoverlapping(pattern.to_le_bytes().as_ptr(), dst.add(len - rest), rest);
    }
}

/// Copies with the largest vectors, by ordinary stores.
///
/// # Safety
///
/// The regions are valid and do not overlap.
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn copy_512(src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: each vector ends at or before `len`; of a rest, the last vector of the region is copied again.
    unsafe {
        if len < FULL {
            return ptr::copy_nonoverlapping(src, dst, len);
        }
        let load = |at: usize| _mm512_loadu_si512(src.add(at).cast());
        let store = |at: usize, vector: __m512i| _mm512_storeu_si512(dst.add(at).cast(), vector);
        let mut at = 0;
        while at + 4 * FULL <= len {
            let (a, b, c, d) = (load(at), load(at + FULL), load(at + 2 * FULL), load(at + 3 * FULL));
            store(at, a);
            store(at + FULL, b);
            store(at + 2 * FULL, c);
            store(at + 3 * FULL, d);
            at += 4 * FULL;
        }
        while at + FULL <= len {
            store(at, load(at));
            at += FULL;
        }
        if at < len {
            store(len - FULL, load(len - FULL));
        }
    }
}

/// Copies past the caches.
///
/// # Safety
///
/// The regions are valid and do not overlap.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn copy_past_caches(src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: the first vector and the last are copied wherever they lie; those between are inside the region, and from a
    // multiple of a vector's size on.
    unsafe {
        if len < 2 * HALF {
            return ptr::copy_nonoverlapping(src, dst, len);
        }
        let load = |at: usize| _mm256_loadu_si256(src.add(at).cast());
        let (first, last) = (load(0), load(len - HALF));
        _mm256_storeu_si256(dst.cast(), first);
        let mut at = HALF - dst.addr() % HALF;
        while at + TURN * HALF <= len {
            for i in 0..TURN {
                _mm256_stream_si256(dst.add(at + i * HALF).cast(), load(at + i * HALF));
            }
            at += TURN * HALF;
        }
        while at + HALF <= len {
            _mm256_stream_si256(dst.add(at).cast(), load(at));
            at += HALF;
        }
        _mm256_storeu_si256(dst.add(len - HALF).cast(), last);
        _mm_sfence();
    }
}

/// Fills with the largest vectors, by ordinary stores.
///
/// # Safety
///
/// The region is valid, and of a multiple of 8 bytes.
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn fill_512(dst: *mut u8, len: usize, pattern: u64) {
    // SAFETY: as for `copy_512`; the rest begins at a multiple of 8 bytes, as the region's end does.
    unsafe {
        let vector = _mm512_set1_epi64(pattern.cast_signed());
        let store = |at: usize| _mm512_storeu_si512(dst.add(at).cast(), vector);
        let mut at = 0;
        while at + TURN * FULL <= len {
            for i in 0..TURN {
                store(at + i * FULL);
            }
            at += TURN * FULL;
        }
        while at + FULL <= len {
            store(at);
            at += FULL;
        }
        while at < len {
            dst.add(at).cast::<[u8; 8]>().write(pattern.to_le_bytes());
            at += 8;
        }
    }
}

/// Fills past the caches.
///
/// # Safety
///
/// The region is valid, of 32 bytes or more, a multiple of 8.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn fill_past_caches(dst: *mut u8, len: usize, pattern: u64) {
    // SAFETY: as for `copy_past_caches`.
    unsafe {
        let vector = _mm256_set1_epi64x(pattern.cast_signed());
        _mm256_storeu_si256(dst.cast(), vector);
        _mm256_storeu_si256(dst.add(len - HALF).cast(), vector);
        let mut at = HALF - dst.addr() % HALF;
        let turned = _mm256_set1_epi64x(rotate_pattern(pattern, at as u64).cast_signed());
        let store = |at: usize| _mm256_stream_si256(dst.add(at).cast(), turned);
        while at + TURN * HALF <= len {
            for i in 0..TURN {
                store(at + i * HALF);
            }
            at += TURN * HALF;
        }
        while at + HALF <= len {
            store(at);
            at += HALF;
        }
        _mm_sfence();
    }
}

/// Reads with the largest vectors, and does as little as can be with what it reads.
///
/// # Safety
///
/// The region is valid, of 64 bytes or more.
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn read_512(src: *const u8, len: usize) -> u64 {
    // SAFETY: each vector ends at or before `len`.
    unsafe {
        let load = |at: usize| _mm512_loadu_si512(src.add(at).cast());
        let mut all = [_mm512_setzero_si512(); TURN];
        let mut at = 0;
        while at + TURN * FULL <= len {
            for (i, one) in all.iter_mut().enumerate() {
                *one = _mm512_or_si512(*one, load(at + i * FULL));
            }
            at += TURN * FULL;
        }
        while at + FULL <= len {
            all[0] = _mm512_or_si512(all[0], load(at));
            at += FULL;
        }
        all[1] = _mm512_or_si512(all[1], load(len - FULL));
        let mut any = all[0];
        for one in &all[1..] {
            any = _mm512_or_si512(any, *one);
        }
        _mm512_reduce_or_epi64(any).cast_unsigned()
    }
}

/// As [`read_512`], with vectors of half the size.
///
/// # Safety
///
/// The region is valid, of 32 bytes or more.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn read_256(src: *const u8, len: usize) -> u64 {
    // SAFETY: each vector ends at or before `len`; four words are as large as a vector.
    unsafe {
        let load = |at: usize| _mm256_loadu_si256(src.add(at).cast());
        let mut all = [_mm256_setzero_si256(); TURN];
        let mut at = 0;
        while at + TURN * HALF <= len {
            for (i, one) in all.iter_mut().enumerate() {
                *one = _mm256_or_si256(*one, load(at + i * HALF));
            }
            at += TURN * HALF;
        }
        while at + HALF <= len {
            all[0] = _mm256_or_si256(all[0], load(at));
            at += HALF;
        }
        all[1] = _mm256_or_si256(all[1], load(len - HALF));
        let mut any = all[0];
        for one in &all[1..] {
            any = _mm256_or_si256(any, *one);
        }
        let words: [u64; 4] = std::mem::transmute(any);
        words.into_iter().fold(0, |any, word| any | word)
    }
}
