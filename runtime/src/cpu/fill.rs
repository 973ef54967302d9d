//! Fills with an 8-byte or 16-byte pattern.

use std::ptr;

/// Writes `len` bytes of a repeated 8-byte pattern (fill, opcode 0x04).
///
/// The pattern's low byte comes first, at `dst`, wherever that is; `len` need not be a multiple of 8.
///
/// # Safety
///
/// `dst` is valid for writing `len` bytes, and nobody else accesses them meanwhile. It may be anything if `len` is 0.
#[inline]
pub unsafe fn fill(dst: *mut u8, len: usize, pattern: u64) {
    // SAFETY: the caller's promise is the one that is asked for.
    unsafe { fill_wide(dst, len, [pattern; 2]) }
}

/// Writes `len` bytes of a repeated 16-byte pattern (fill with flag 18, GENCAP bit 10).
///
/// The low byte of the first word comes first, at `dst`; `len` need not be a multiple of 16.
///
/// # Safety
///
/// `dst` is valid for writing `len` bytes, and nobody else accesses them meanwhile. It may be anything if `len` is 0.
pub unsafe fn fill_wide(dst: *mut u8, len: usize, pattern: [u64; 2]) {
    if len == 0 {
        return;
    }
    let bytes = pattern_bytes(pattern);
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

/// The pattern with which a fill goes on after its first `done` bytes.
///
/// ```
/// assert_eq!(dsa::cpu::rotate_pattern(0x0807_0605_0403_0201, 3), 0x0302_0108_0706_0504);
/// ```
#[inline]
pub const fn rotate_pattern(pattern: u64, done: u64) -> u64 {
    pattern.rotate_right((done % 8) as u32 * 8)
}

/// The 16-byte pattern with which a fill goes on after its first `done` bytes.
#[inline]
pub const fn rotate_wide_pattern(pattern: [u64; 2], done: u64) -> [u64; 2] {
    let wide = (pattern[0] as u128 | (pattern[1] as u128) << 64).rotate_right((done % 16) as u32 * 8);
    [wide as u64, (wide >> 64) as u64]
}

fn pattern_bytes(pattern: [u64; 2]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&pattern[0].to_le_bytes());
    bytes[8..].copy_from_slice(&pattern[1].to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GUARD: u8 = 0xa5;

    /// What a buffer of guard bytes looks like after a fill of `len` bytes at `shift`.
    fn expected(total: usize, shift: usize, len: usize, pattern: [u64; 2]) -> Vec<u8> {
        let bytes = [pattern[0].to_le_bytes(), pattern[1].to_le_bytes()].concat();
        (0..total).map(|at| if (shift..shift + len).contains(&at) { bytes[(at - shift) % 16] } else { GUARD }).collect()
    }

    fn filled(total: usize, shift: usize, len: usize, pattern: [u64; 2]) -> Vec<u8> {
        assert!(shift + len <= total);
        let mut out = vec![GUARD; total];
        // SAFETY: the range lies inside `out`.
        unsafe { fill_wide(out.as_mut_ptr().add(shift), len, pattern) };
        out
    }

    #[test]
    fn every_small_size_at_every_alignment() {
        let patterns = [[0x0807_0605_0403_0201; 2], [0x0807_0605_0403_0201, 0x100f_0e0d_0c0b_0a09], [0; 2], [!0; 2]];
        for pattern in patterns {
            for len in 0..=300 {
                for shift in 0..64 {
                    let out = filled(400, shift, len, pattern);
                    assert_eq!(out, expected(400, shift, len, pattern), "length {len}, shift {shift}");
                }
            }
        }
    }

    #[test]
    fn the_low_byte_of_the_pattern_comes_first() {
        let mut out = [0_u8; 11];
        // SAFETY: the whole array.
        unsafe { fill(out.as_mut_ptr(), out.len(), 0x0807_0605_0403_0201) };
        assert_eq!(out, [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3]);
    }

    #[test]
    fn nothing_is_touched_for_length_zero() {
        // SAFETY: the pointer may be anything for length 0.
        unsafe { fill(ptr::null_mut(), 0, 1) };
    }

    proptest! {
        #[test]
        fn a_fill_in_two_parts_with_a_rotated_pattern_is_one_fill(
            pattern in any::<u64>(), len in 0_usize..5000, cut in any::<prop::sample::Index>(), shift in 0_usize..64,
        ) {
            let cut = cut.index(len + 1);
            let mut out = vec![GUARD; 5100];
            // SAFETY: both parts lie inside `out`.
            unsafe {
                let dst = out.as_mut_ptr().add(shift);
                fill(dst, cut, pattern);
                fill(dst.add(cut), len - cut, rotate_pattern(pattern, cut as u64));
            }
            prop_assert_eq!(out, expected(5100, shift, len, [pattern; 2]));
        }

        #[test]
        fn the_same_with_sixteen_bytes(
            pattern in any::<[u64; 2]>(), len in 0_usize..5000, cut in any::<prop::sample::Index>(), shift in 0_usize..64,
        ) {
            let cut = cut.index(len + 1);
            let mut out = vec![GUARD; 5100];
            // SAFETY: both parts lie inside `out`.
            unsafe {
                let dst = out.as_mut_ptr().add(shift);
                fill_wide(dst, cut, pattern);
                fill_wide(dst.add(cut), len - cut, rotate_wide_pattern(pattern, cut as u64));
            }
            prop_assert_eq!(out, expected(5100, shift, len, pattern));
        }
    }
}
