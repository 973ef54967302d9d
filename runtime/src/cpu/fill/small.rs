//! Fills of a few bytes: stores from both ends that overlap in the middle, with SSE2, which every CPU has.

use core::arch::x86_64::__m128i;

use super::{Pattern, SMALL};
use crate::cpu::vector::Vector;

/// Fills at most [`SMALL`] bytes.
///
/// # Safety
///
/// `dst` is valid for writing `len` bytes.
#[inline(always)]
pub(super) unsafe fn fill<P: Pattern>(dst: *mut u8, len: usize, pattern: P) {
    debug_assert!(len <= SMALL);
    // SAFETY: each store ends at or before `len`, for which the caller vouches; SSE2 is part of the architecture.
    unsafe {
        if len >= 16 {
            let first = __m128i::splat(pattern.wide());
            // Before the end lie as many bytes as `len`, but for a multiple of the pattern's.
            let last = __m128i::splat(pattern.rotated(len).wide());
            first.store(dst);
            if len > 32 {
                first.store(dst.add(16));
                last.store(dst.add(len - 32));
            }
            last.store(dst.add(len - 16));
            return;
        }
        let first = pattern.wide()[0];
        if len >= 8 {
            dst.cast::<[u8; 8]>().write(first.to_le_bytes());
            dst.add(len - 8).cast::<[u8; 8]>().write(pattern.rotated(len - 8).wide()[0].to_le_bytes());
            return;
        }
        if len >= 4 {
            dst.cast::<[u8; 4]>().write((first as u32).to_le_bytes());
            dst.add(len - 4).cast::<[u8; 4]>().write(((first >> (8 * (len - 4))) as u32).to_le_bytes());
            return;
        }
        if len == 0 {
            return;
        }
        for at in [0, len / 2, len - 1] {
            *dst.add(at) = (first >> (8 * at)) as u8;
        }
    }
}
