//! Comparisons of up to 256 bytes by the vector registers from 16 on: see [`copy`](crate::cpu::copy) for why these. Up to 64 bytes are one
//! vector, with a mask for those that are there: what a mask leaves out is not read, whatever lies there.

use core::arch::asm;

/// The most bytes.
pub(super) const MOST: usize = 256;

/// Bytes of a vector.
const LINE: usize = 64;
/// Bytes of a shorter one.
pub(super) const HALF: usize = 32;

/// Offset of the first difference.
///
/// # Safety
///
/// The CPU has AVX-512 F, BW, DQ and VL. As for [`compare`](super::compare); `len` is at most [`MOST`].
#[inline]
pub(super) unsafe fn compare(a: *const u8, b: *const u8, len: usize) -> Option<usize> {
    debug_assert!(len <= MOST);
    // SAFETY: whole lines at the beginning and at the end, of at least as many bytes, and a mask where there are fewer.
    unsafe {
        if len <= LINE {
            if len >= HALF {
                return compare_half_lines(a, b, len);
            }
            return if len == 0 { None } else { found(masked(a, b, u64::MAX >> (LINE - len)), 0) };
        }
        let differ = if len <= 2 * LINE { lines_differ(a, b, len) } else { quarters_differ(a, b, len) };
        if !differ {
            return None;
        }
        let last = len - LINE;
        let second = LINE.min(last);
        [0, second, last - second, last].into_iter().find_map(|at| found(line(a, b, at), at))
    }
}

/// Of half a line to a line.
///
/// # Safety
///
/// As for [`compare`], of so many bytes.
#[inline]
pub(super) unsafe fn compare_half_lines(a: *const u8, b: *const u8, len: usize) -> Option<usize> {
    debug_assert!((HALF..=LINE).contains(&len));
    let last = len - HALF;
    // SAFETY: half a line at the beginning and at the end, of at least as many bytes.
    unsafe {
        if !halves_differ(a, b, len) {
            return None;
        }
        found(half(a, b, 0).into(), 0).or_else(|| found(half(a, b, last).into(), last))
    }
}

/// A function that says whether the first or the last bytes differ, as many as a register has.
macro_rules! ends_differ {
    ($(#[$doc:meta])* $name:ident, $register:literal, $bytes:literal, $test:literal) => {
        $(#[$doc])*
        ///
        /// # Safety
        ///
        /// The CPU has the instructions, and `len` bytes may be read of both, at least as many as the register has.
        #[inline]
        unsafe fn $name(a: *const u8, b: *const u8, len: usize) -> bool {
            // SAFETY: the caller's promise; registers are named, nothing is written, and it goes nowhere but to the label.
            unsafe {
                asm!(
                    concat!("vmovdqu64 ", $register, "16, [{a}]"),
                    concat!("vmovdqu64 ", $register, "17, [{a} + {len} - ", $bytes, "]"),
                    concat!("vpcmpneqb k1, ", $register, "16, [{b}]"),
                    concat!("vpcmpneqb k2, ", $register, "17, [{b} + {len} - ", $bytes, "]"),
                    concat!($test, " k1, k2"),
                    "jnz {differ}",
                    a = in(reg) a,
                    b = in(reg) b,
                    len = in(reg) len,
                    out("zmm16") _,
                    out("zmm17") _,
                    out("k1") _,
                    out("k2") _,
                    differ = label { return true },
                    options(nostack, readonly),
                );
            }
            false
        }
    };
}

ends_differ! {
    /// Of 32 to 64 bytes.
    halves_differ, "ymm", 32, "kortestd"
}

ends_differ! {
    /// Of 64 to 128 bytes.
    lines_differ, "zmm", 64, "kortestq"
}

/// Whether any of 128 to 256 bytes differ. By shorter vectors, of which fewer lie across the border of two lines.
///
/// # Safety
///
/// The CPU has AVX-512 F, DQ and VL, and the bytes may be read.
#[inline]
unsafe fn quarters_differ(a: *const u8, b: *const u8, len: usize) -> bool {
    // SAFETY: the first 128 bytes and the last ones; registers are named, nothing is written, and it goes nowhere but to the label.
    unsafe {
        asm!(
            "vmovdqu64 ymm16, [{a}]",
            "vmovdqu64 ymm17, [{a} + 32]",
            "vmovdqu64 ymm18, [{a} + 64]",
            "vmovdqu64 ymm19, [{a} + 96]",
            "vpxorq ymm16, ymm16, [{b}]",
            "vpxorq ymm17, ymm17, [{b} + 32]",
            "vpxorq ymm18, ymm18, [{b} + 64]",
            "vpxorq ymm19, ymm19, [{b} + 96]",
            "vmovdqu64 ymm20, [{a} + {len} - 128]",
            "vmovdqu64 ymm21, [{a} + {len} - 96]",
            "vmovdqu64 ymm22, [{a} + {len} - 64]",
            "vmovdqu64 ymm23, [{a} + {len} - 32]",
            "vpternlogq ymm16, ymm17, ymm18, 0xfe",
            "vpxorq ymm20, ymm20, [{b} + {len} - 128]",
            "vpxorq ymm21, ymm21, [{b} + {len} - 96]",
            "vpxorq ymm22, ymm22, [{b} + {len} - 64]",
            "vpxorq ymm23, ymm23, [{b} + {len} - 32]",
            "vpternlogq ymm20, ymm21, ymm22, 0xfe",
            "vpternlogq ymm16, ymm19, ymm23, 0xfe",
            "vporq ymm16, ymm16, ymm20",
            "vptestmd k1, ymm16, ymm16",
            "kortestb k1, k1",
            "jnz {differ}",
            a = in(reg) a,
            b = in(reg) b,
            len = in(reg) len,
            out("zmm16") _,
            out("zmm17") _,
            out("zmm18") _,
            out("zmm19") _,
            out("zmm20") _,
            out("zmm21") _,
            out("zmm22") _,
            out("zmm23") _,
            out("k1") _,
            differ = label { return true },
            options(nostack, readonly),
        );
    }
    false
}

/// The place of the lowest bit, behind so many bytes.
#[inline]
fn found(differences: u64, before: usize) -> Option<usize> {
    (differences != 0).then(|| before + differences.trailing_zeros() as usize)
}

/// A function that compares as many bytes as a register has.
macro_rules! compares {
    ($(#[$doc:meta])* $name:ident -> $bits:ty, $register:literal, $move:literal) => {
        $(#[$doc])*
        ///
        /// # Safety
        ///
        /// The CPU has the instructions, and as many bytes may be read of both.
        #[inline]
        unsafe fn $name(a: *const u8, b: *const u8, at: usize) -> $bits {
            let differences: $bits;
            // SAFETY: the caller's promise; registers are named, and nothing is written.
            unsafe {
                asm!(
                    concat!("vmovdqu64 ", $register, ", [{a} + {at}]"),
                    concat!("vpcmpneqb k1, ", $register, ", [{b} + {at}]"),
                    concat!($move, ", k1"),
                    a = in(reg) a,
                    b = in(reg) b,
                    at = in(reg) at,
                    differences = lateout(reg) differences,
                    out("zmm16") _,
                    out("k1") _,
                    options(nostack, preserves_flags, readonly, pure),
                );
            }
            differences
        }
    };
}

compares! {
    /// A bit for each byte of a line that differs.
    line -> u64, "zmm16", "kmovq {differences}"
}

compares! {
    /// The same of half a line.
    half -> u32, "ymm16", "kmovd {differences:e}"
}

/// The same for those bytes whose bit in `mask` is 1.
///
/// # Safety
///
/// The CPU has the instructions, and those bytes may be read.
#[inline]
unsafe fn masked(a: *const u8, b: *const u8, mask: u64) -> u64 {
    let differences;
    // SAFETY: the caller's promise: what a mask leaves out is not accessed. Registers are named, and nothing is written.
    unsafe {
        asm!(
            "kmovq k1, {mask}",
            "vmovdqu8 zmm16 {{k1}} {{z}}, [{a}]",
            "vpcmpneqb k2 {{k1}}, zmm16, [{b}]",
            "kmovq {differences}, k2",
            mask = in(reg) mask,
            a = in(reg) a,
            b = in(reg) b,
            differences = lateout(reg) differences,
            out("zmm16") _,
            out("k1") _,
            out("k2") _,
            options(nostack, preserves_flags, readonly, pure),
        );
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Tier;
    use crate::cpu::sweep::{Guarded, alignments, noise};

    #[test]
    fn every_size_and_alignment_and_place_of_a_difference() {
        if Tier::of_cpu() < Tier::Avx512 {
            return;
        }
        let data = noise(MOST, 1);
        let (mut left, mut right) = (vec![0xa5; MOST + 128], vec![0x5a; MOST + 128]);
        for len in 0..=MOST {
            for (a, b) in alignments(len) {
                left[a..a + len].copy_from_slice(&data[..len]);
                right[b..b + len].copy_from_slice(&data[..len]);
                // SAFETY: `len` bytes of each, on a CPU of that tier.
                let run = |right: &[u8]| unsafe { compare(left[a..].as_ptr(), right[b..].as_ptr(), len) };
                assert_eq!(run(&right), None, "{len} bytes, {a} and {b}");
                // Two differences, of which the first counts.
                for at in [0, len / 3, len.saturating_sub(1)].into_iter().filter(|at| *at < len) {
                    right[b + at] ^= 0x10;
                    right[b + len - 1] ^= 0x20;
                    assert_eq!(run(&right), Some(at), "{len} bytes, {a} and {b}");
                    right[b + at] ^= 0x10;
                    right[b + len - 1] ^= 0x20;
                }
                left[a..a + len].fill(0xa5);
                right[b..b + len].fill(0x5a);
            }
        }
    }

    #[test]
    fn nothing_outside_is_read() {
        if Tier::of_cpu() < Tier::Avx512 {
            return;
        }
        let (left, right) = (Guarded::new(MOST), Guarded::new(MOST));
        for len in 0..=MOST {
            for (a, b) in [(left.start(), right.start()), (left.end(len), right.end(len))] {
                // SAFETY: `len` accessible bytes, on a CPU of that tier.
                assert_eq!(unsafe { compare(a, b, len) }, None, "{len} bytes");
            }
        }
    }
}
