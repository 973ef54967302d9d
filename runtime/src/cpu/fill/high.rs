//! Fills of 65 to 256 bytes by the vector registers from 16 on: see [`copy`](crate::cpu::copy) for why these.

use core::arch::asm;

/// The most bytes.
pub(super) const MOST: usize = 256;

/// Fills with a pattern of 8 bytes.
///
/// # Safety
///
/// The CPU has AVX-512 F. As for [`fill`](super::fill); `len` is from 64 to [`MOST`].
#[inline]
pub(super) unsafe fn fill(dst: *mut u8, len: usize, pattern: u64) {
    debug_assert!((64..=MOST).contains(&len));
    // What ends with the last byte begins that much into the pattern.
    let rotated = super::rotate_pattern(pattern, len as u64);
    // SAFETY: the first lines and the last ones, as many as `len` has at least, and at most twice: so all lie inside. The registers are
    // named as clobbered, and no flags or stack are touched. The CPU has the instructions, as the caller promises.
    unsafe {
        if len <= 128 {
            asm!(
                "vpbroadcastq zmm16, {pattern}",
                "vpbroadcastq zmm17, {rotated}",
                "vmovdqu64 [{dst}], zmm16",
                "vmovdqu64 [{dst} + {len} - 64], zmm17",
                pattern = in(reg) pattern,
                rotated = in(reg) rotated,
                dst = in(reg) dst,
                len = in(reg) len,
                out("zmm16") _,
                out("zmm17") _,
                options(nostack, preserves_flags),
            );
        } else {
            asm!(
                "vpbroadcastq zmm16, {pattern}",
                "vpbroadcastq zmm17, {rotated}",
                "vmovdqu64 [{dst}], zmm16",
                "vmovdqu64 [{dst} + 64], zmm16",
                "vmovdqu64 [{dst} + {len} - 128], zmm17",
                "vmovdqu64 [{dst} + {len} - 64], zmm17",
                pattern = in(reg) pattern,
                rotated = in(reg) rotated,
                dst = in(reg) dst,
                len = in(reg) len,
                out("zmm16") _,
                out("zmm17") _,
                options(nostack, preserves_flags),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Tier;

    #[test]
    fn every_size_and_alignment() {
        if Tier::of_cpu() < Tier::Avx512 {
            return;
        }
        let pattern = 0x0807_0605_0403_0201_u64;
        let repeated: Vec<u8> = pattern.to_le_bytes().into_iter().cycle().take(MOST).collect();
        let mut dst = vec![0xa5_u8; MOST + 192];
        for len in 64..=MOST {
            for to in 0..64 {
                // SAFETY: `len` bytes from less than 64, on a CPU of that tier.
                unsafe { fill(dst[to..].as_mut_ptr(), len, pattern) };
                assert!(dst[to..to + len] == repeated[..len], "{len} bytes to {to}");
                dst[to..to + len].fill(0xa5);
                assert!(dst.iter().all(|byte| *byte == 0xa5), "{len} bytes to {to}: something beyond");
            }
        }
    }
}
