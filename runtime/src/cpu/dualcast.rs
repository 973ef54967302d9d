//! One source to two destinations.

use std::ptr;

use super::STEP;

/// Copies `len` bytes to two destinations (dualcast, opcode 0x09).
///
/// The rule of the device that both destinations agree in their lowest 12 address bits is not asked for here.
///
/// # Safety
///
/// `src` is valid for reading, `dst1` and `dst2` for writing `len` bytes, no two of the three regions overlap, and nobody
/// else accesses the destinations or writes the source meanwhile. The pointers may be anything if `len` is 0.
pub unsafe fn dualcast(src: *const u8, dst1: *mut u8, dst2: *mut u8, len: usize) {
    let mut at = 0;
    while at < len {
        let step = (len - at).min(STEP);
        // SAFETY: `at + step <= len`, for which the caller vouches; the regions do not overlap.
        unsafe {
            ptr::copy_nonoverlapping(src.add(at), dst1.add(at), step);
            // The source again, not the first destination: that one may be memory which is slow to read.
            ptr::copy_nonoverlapping(src.add(at), dst2.add(at), step);
        }
        at += step;
    }
}

#[cfg(test)]
mod tests {
    use std::ptr::{null, null_mut};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_is_touched_for_length_zero() {
        // SAFETY: the pointers may be anything for length 0.
        unsafe { dualcast(null(), null_mut(), null_mut(), 0) };
    }

    proptest! {
        #[test]
        fn dualcast_writes_both_and_nothing_else(
            len in prop_oneof![0_usize..300, STEP - 3..STEP + 3, 2 * STEP - 1..3 * STEP],
            (s, a, b) in (0_usize..64, 0_usize..64, 0_usize..64),
            seed in any::<u64>(),
        ) {
            let data: Vec<u8> = (0..len as u64 + 64).map(|at| (at.wrapping_mul(seed | 1) >> 8) as u8).collect();
            let mut first = vec![0xa5; len + 128];
            let mut second = vec![0xa5; len + 128];
            // SAFETY: every range is `len` bytes from less than 64 in a separate buffer of at least `len + 64` bytes.
            unsafe { dualcast(data.as_ptr().add(s), first.as_mut_ptr().add(a), second.as_mut_ptr().add(b), len) };
            for (out, at) in [(&first, a), (&second, b)] {
                prop_assert_eq!(&out[at..at + len], &data[s..s + len]);
                prop_assert!(out[..at].iter().chain(&out[at + len..]).all(|&byte| byte == 0xa5));
            }
        }
    }
}
