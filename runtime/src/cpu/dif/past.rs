//! Inserts past the caches, for destinations that nobody reads soon: whole lines, with AVX-512.
//!
//! Blocks with tuples do not begin where lines do. So a group of blocks is looked at first, which brings it into the first-level
//! cache, and then goes out line by line, read again from wherever a line begins in it. A line that has a tuple is put together
//! from three: what is before the tuple, the tuple, and what comes behind it, which in the source is 8 bytes nearer. All lines are
//! stored once and whole, but for the one in which the destination begins and the one in which it ends.

#![allow(clippy::inline_always, reason = "a function with other target features cannot be inlined later")]

use core::arch::x86_64::{__m512i, _MM_HINT_T0, _mm_prefetch, _mm_sfence, _mm512_mask_blend_epi8, _mm512_set1_epi64};
use core::ptr;

use super::super::vector::Vector;
use super::DifDestination;
use super::DifTags;
use super::blocks::{Blocks, GROUP, effect};
use super::tuple::{self, Counter, TUPLE_BYTES};

/// Bytes of a line of the cache.
const LINE: usize = 64;

/// How many bytes in front of those that go out the source is fetched: a group, or what the CPU finds out too late at the start
/// of a long block.
const fn ahead<K: Blocks>() -> usize {
    if K::GROUPED { GROUP * 512 } else { 512 }
}

/// # Safety
///
/// As of [`dif_insert`](super::dif_insert), for two blocks or more; the CPU has AVX-512 F and BW and what the kernel needs.
#[inline(always)]
pub(super) unsafe fn insert<K: Blocks>(
    kernel: K,
    flags: u8,
    destination: DifDestination,
    mut src: *const u8,
    mut dst: *mut u8,
    len: usize,
) -> DifTags {
    let (block, effect) = (kernel.shape().bytes(), effect(flags));
    let step = block + TUPLE_BYTES;
    let mut tags = Counter::of_destination(destination);
    let mut left = len / block;
    debug_assert!(left >= 2);
    // SAFETY: `src` and `dst` are those of the first block that has not gone out whole, of `left`; the caller vouches for them.
    unsafe {
        let guard = kernel.copy_guard(src, dst);
        tuple::write(tuple::guard(guard ^ effect) | tags.next(), dst.add(block));
        (src, dst, left) = (src.add(block), dst.add(step), left - 1);
        // Where the next line begins, in bytes from `dst` on: what is before it has been written.
        let mut at = dst.addr().wrapping_neg() % LINE;
        ptr::copy_nonoverlapping(src, dst, at);
        // Behind each of these blocks there is another, whose first bytes fill their last line.
        while left > 1 {
            let (count, guards) = if K::GROUPED && left > GROUP {
                (GROUP, kernel.guards(src, block))
            } else {
                (1, [kernel.guard(src); GROUP])
            };
            for guard in guards.into_iter().take(count) {
                let tuple = tuple::guard(guard ^ effect) | tags.next();
                while at + LINE <= block {
                    _mm_prefetch::<_MM_HINT_T0>(src.wrapping_add(at + ahead::<K>()).cast());
                    __m512i::load(src.add(at)).stream(dst.add(at));
                    at += LINE;
                }
                while at < step {
                    line(src, at, block, tuple).stream(dst.add(at));
                    at += LINE;
                }
                (src, dst, at) = (src.add(block), dst.add(step), at - step);
            }
            left -= count;
        }
        let guard = kernel.guard(src);
        ptr::copy_nonoverlapping(src.add(at), dst.add(at), block - at);
        tuple::write(tuple::guard(guard ^ effect) | tags.next(), dst.add(block));
        // In front of the stores by which others learn that it is done.
        _mm_sfence();
    }
    tags.tags
}

/// The line that begins `at` bytes behind the start of a block, which has the block's tuple in it or a part of that.
///
/// # Safety
///
/// The block and another behind it are valid for reading; `at` is more than `block - LINE` and less than `block` and a tuple.
#[inline(always)]
unsafe fn line(src: *const u8, at: usize, block: usize, tuple: u64) -> __m512i {
    // Which bytes of the line are the tuple's or behind it, and which are behind it.
    let from = u64::MAX << block.saturating_sub(at);
    let behind = u64::MAX.checked_shl((block + TUPLE_BYTES - at) as u32).unwrap_or(0);
    // The tuple again and again, so that one of them falls on its place.
    let tuple = tuple.swap_bytes().rotate_left(8 * (block.wrapping_sub(at) % TUPLE_BYTES) as u32);
    // SAFETY: both vectors begin in the block or in the 8 bytes behind it, and end in the block behind it.
    unsafe {
        let line = _mm512_mask_blend_epi8(from, __m512i::load(src.add(at)), _mm512_set1_epi64(tuple.cast_signed()));
        _mm512_mask_blend_epi8(behind, line, __m512i::load(src.add(at - TUPLE_BYTES)))
    }
}
