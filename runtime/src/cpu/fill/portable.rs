//! Fills without any vector of a particular architecture.

use std::ptr;

/// # Safety
///
/// As for [`super::fill_wide`].
pub(super) unsafe fn fill(dst: *mut u8, len: usize, pattern: [u64; 2]) {
    if len == 0 {
        return;
    }
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&pattern[0].to_le_bytes());
    bytes[8..].copy_from_slice(&pattern[1].to_le_bytes());
    if bytes == [bytes[0]; 16] {
        // SAFETY: the caller's promise. One repeated byte is by far the most frequent pattern, and `memset` the fastest
        // way to write it.
        unsafe { ptr::write_bytes(dst, bytes[0], len) };
        return;
    }
    let mut block = [0_u8; 64];
    for part in block.chunks_exact_mut(16) {
        part.copy_from_slice(&bytes);
    }
    let whole = len / 64 * 64;
    // SAFETY: every store lies in `dst..dst + len`, for which the caller vouches; bytes have no alignment; `block` is
    // a local and cannot overlap.
    unsafe {
        let mut at = 0;
        while at < whole {
            dst.add(at).cast::<[u8; 64]>().write_unaligned(block);
            at += 64;
        }
        ptr::copy_nonoverlapping(block.as_ptr(), dst.add(whole), len - whole);
    }
}
