//! Comparisons of a few bytes: loads from both ends that overlap in the middle, with SSE2, which every CPU has.
//!
//! Where two loads overlap, the second finds a difference of the first once more; but then the first has been asked first.

use core::arch::x86_64::__m128i;

use super::{SMALL, lowest_byte};
use crate::cpu::rotate_pattern;
use crate::cpu::vector::Vector;

/// Offset of the first difference of two regions of at most [`SMALL`] bytes.
///
/// # Safety
///
/// Both are valid for reading `len` initialised bytes.
#[inline(always)]
pub(super) unsafe fn compare(a: *const u8, b: *const u8, len: usize) -> Option<usize> {
    debug_assert!(len <= SMALL);
    // SAFETY: each load ends at or before `len`, for which the caller vouches; SSE2 is part of the architecture.
    unsafe {
        if len >= 16 {
            let differences = |at: usize| __m128i::load(a.add(at)).differences(__m128i::load(b.add(at)));
            return from_vectors(len, differences, differences);
        }
        if len >= 8 {
            let difference = |at: usize| word(a.add(at)) ^ word(b.add(at));
            return from_words(len, difference(0), difference(len - 8));
        }
        if len >= 4 {
            let difference = |at: usize| half(a.add(at)) ^ half(b.add(at));
            return from_halves(len, difference(0), difference(len - 4));
        }
        if len == 0 {
            return None;
        }
        let difference = |at: usize| *a.add(at) ^ *b.add(at);
        from_bytes(len, difference(0), difference(len / 2), difference(len - 1))
    }
}

/// Offset of the first difference of at most [`SMALL`] bytes from a pattern.
///
/// # Safety
///
/// `src` is valid for reading `len` initialised bytes.
#[inline(always)]
pub(super) unsafe fn compare_pattern(src: *const u8, len: usize, pattern: u64) -> Option<usize> {
    debug_assert!(len <= SMALL);
    // SAFETY: each load ends at or before `len`, for which the caller vouches; SSE2 is part of the architecture.
    unsafe {
        if len >= 16 {
            let (first, last) =
                (__m128i::splat([pattern; 2]), __m128i::splat([rotate_pattern(pattern, len as u64); 2]));
            return from_vectors(
                len,
                |at| __m128i::load(src.add(at)).differences(first),
                |at| __m128i::load(src.add(at)).differences(last),
            );
        }
        if len >= 8 {
            let last = word(src.add(len - 8)) ^ rotate_pattern(pattern, len as u64);
            return from_words(len, word(src) ^ pattern, last);
        }
        if len >= 4 {
            let last = half(src.add(len - 4)) ^ (pattern >> (8 * (len - 4))) as u32;
            return from_halves(len, half(src) ^ pattern as u32, last);
        }
        if len == 0 {
            return None;
        }
        let difference = |at: usize| *src.add(at) ^ (pattern >> (8 * at)) as u8;
        from_bytes(len, difference(0), difference(len / 2), difference(len - 1))
    }
}

/// Of 16 to 64 bytes, with the masks of 16 bytes by their offset: those that count from the start, and from the end.
#[inline(always)]
fn from_vectors(len: usize, first: impl Fn(usize) -> u64, last: impl Fn(usize) -> u64) -> Option<usize> {
    if len <= 32 {
        let low = first(0) | last(len - 16) << 32;
        if low == 0 {
            return None;
        }
        let bit = low.trailing_zeros() as usize;
        return Some(if bit < 16 { bit } else { len + bit - 48 });
    }
    let low = first(0) | first(16) << 16;
    let high = last(len - 32) | last(len - 16) << 16;
    if low | high == 0 {
        return None;
    }
    Some(if low != 0 { low.trailing_zeros() as usize } else { len - 32 + high.trailing_zeros() as usize })
}

/// Of 8 to 16 bytes, with what differs in the first eight and in the last eight.
#[inline(always)]
fn from_words(len: usize, first: u64, last: u64) -> Option<usize> {
    if first | last == 0 {
        return None;
    }
    Some(if first != 0 { lowest_byte(first) } else { len - 8 + lowest_byte(last) })
}

/// Of 4 to 8 bytes, with what differs in the first four and in the last four.
#[inline(always)]
fn from_halves(len: usize, first: u32, last: u32) -> Option<usize> {
    let both = u64::from(first) | u64::from(last) << 32;
    if both == 0 {
        return None;
    }
    let byte = lowest_byte(both);
    Some(if byte < 4 { byte } else { len + byte - 8 })
}

/// Of 1 to 3 bytes, with what differs in the first, the middle and the last.
#[inline(always)]
fn from_bytes(len: usize, first: u8, middle: u8, last: u8) -> Option<usize> {
    if first | middle | last == 0 {
        return None;
    }
    Some(match (first, middle) {
        (0, 0) => len - 1,
        (0, _) => len / 2,
        _ => 0,
    })
}

#[inline(always)]
unsafe fn word(at: *const u8) -> u64 {
    // SAFETY: the callers vouch for eight bytes.
    u64::from_le_bytes(unsafe { at.cast::<[u8; 8]>().read() })
}

#[inline(always)]
unsafe fn half(at: *const u8) -> u32 {
    // SAFETY: the callers vouch for four bytes.
    u32::from_le_bytes(unsafe { at.cast::<[u8; 4]>().read() })
}
