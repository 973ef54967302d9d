//! Copies of 33 to 256 bytes by the vector registers from 16 on, which only AVX-512 knows. Older instructions have no part of them, so
//! nothing is to be cleared afterwards (VZEROUPPER), and the code can stand where the caller is.

use core::arch::asm;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::cpu::model::Model;

/// The most bytes.
const MOST: usize = 256;

/// Which vectors are the better ones above 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Vectors {
    /// Of 32 bytes, of which fewer lie across the border of two lines.
    Halves = 1,
    /// Of 64 bytes, on CPUs that do not take them apart.
    Whole = 2,
}

/// The [`Vectors`] of a CPU that is known to have them, as a number; else 0. Beside the code that asks, and not to be seen from other
/// crates: so it takes one load.
static VECTORS: AtomicU8 = AtomicU8::new(0);

impl Vectors {
    /// If this CPU is known to have them.
    #[inline]
    pub(super) fn known() -> Option<Self> {
        match VECTORS.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Self::Halves),
            _ => Some(Self::Whole),
        }
    }

    /// Those of this CPU, which has them; known from now on.
    #[cold]
    pub(super) fn find() -> Self {
        let found = if Model::ask() == Model::AmdHalves { Self::Halves } else { Self::Whole };
        // Whoever comes second finds the same.
        VECTORS.store(found as u8, Ordering::Relaxed);
        found
    }
}

/// Copies the first bytes and the `last` ones by vectors of a kind: for each offset into both, a register for the first and one for the
/// last. All loads come before all stores.
macro_rules! both_ends {
    ($src:ident, $dst:ident, $len:ident, last $last:literal: $kind:literal, $($at:literal => $first:literal $rest:literal),+) => {
        asm!(
            $(concat!("vmovdqu64 ", $kind, $first, ", [{src} + ", $at, "]"),)+
            $(concat!("vmovdqu64 ", $kind, $rest, ", [{src} + {len} - ", $last, " + ", $at, "]"),)+
            $(concat!("vmovdqu64 [{dst} + ", $at, "], ", $kind, $first),)+
            $(concat!("vmovdqu64 [{dst} + {len} - ", $last, " + ", $at, "], ", $kind, $rest),)+
            src = in(reg) $src,
            dst = in(reg) $dst,
            len = in(reg) $len,
            out("zmm16") _,
            out("zmm17") _,
            out("zmm18") _,
            out("zmm19") _,
            out("zmm20") _,
            out("zmm21") _,
            out("zmm22") _,
            out("zmm23") _,
            options(nostack, preserves_flags),
        )
    };
}

/// Copies; everything is loaded before anything is stored, so the regions may overlap.
///
/// # Safety
///
/// The CPU has AVX-512 F and VL. As for [`copy`](super::copy); `len` is above 32 and at most [`MOST`].
#[inline]
pub(super) unsafe fn copy(vectors: Vectors, src: *const u8, dst: *mut u8, len: usize) {
    debug_assert!(len > 32 && len <= MOST);
    // SAFETY: each of these loads the first bytes and the last ones, as many as `len` has at least, and at most twice: so all lie
    // inside. The registers are named as clobbered, and no flags or stack are touched. The CPU has the instructions, as the caller
    // promises.
    unsafe {
        if len <= 64 {
            both_ends!(src, dst, len, last 32: "ymm", 0 => 16 17);
        } else if vectors == Vectors::Whole {
            if len <= 128 {
                both_ends!(src, dst, len, last 64: "zmm", 0 => 16 17);
            } else {
                both_ends!(src, dst, len, last 128: "zmm", 0 => 16 17, 64 => 18 19);
            }
        } else if len <= 128 {
            both_ends!(src, dst, len, last 64: "ymm", 0 => 16 17, 32 => 18 19);
        } else {
            both_ends!(src, dst, len, last 128: "ymm", 0 => 16 17, 32 => 18 19, 64 => 20 21, 96 => 22 23);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Tier;
    use crate::cpu::sweep::{Guarded, alignments, noise};

    const BOTH: [Vectors; 2] = [Vectors::Halves, Vectors::Whole];

    #[test]
    fn every_size_and_alignment_and_overlap() {
        if Tier::of_cpu() < Tier::Avx512 {
            return;
        }
        let data = noise(3 * MOST, 1);
        let mut dst = vec![0xa5_u8; MOST + 192];
        for (vectors, len) in BOTH.into_iter().flat_map(|vectors| (33..=MOST).map(move |len| (vectors, len))) {
            for (from, to) in alignments(len) {
                // SAFETY: `len` bytes from less than 64, on a CPU of that tier.
                unsafe { copy(vectors, data[from..].as_ptr(), dst[to..].as_mut_ptr(), len) };
                assert!(dst[to..to + len] == data[from..from + len], "{len} bytes, {from} to {to}");
                dst[to..to + len].fill(0xa5);
            }
            assert!(dst.iter().all(|byte| *byte == 0xa5), "{len} bytes: something beyond");
            for to in (0..2 * len).step_by(7) {
                let (mut expected, mut out) = (data.clone(), data.clone());
                expected.copy_within(len..2 * len, to);
                let base = out.as_mut_ptr();
                // SAFETY: both regions lie inside the buffer.
                unsafe { copy(vectors, base.add(len), base.add(to), len) };
                assert!(out == expected, "{len} bytes, from {len} to {to}");
            }
        }
    }

    #[test]
    fn nothing_outside_is_touched() {
        if Tier::of_cpu() < Tier::Avx512 {
            return;
        }
        let (src, dst) = (Guarded::new(MOST), Guarded::new(MOST));
        for (vectors, len) in BOTH.into_iter().flat_map(|vectors| (33..=MOST).map(move |len| (vectors, len))) {
            for (from, to) in [(src.start(), dst.start()), (src.end(len), dst.end(len))] {
                // SAFETY: `len` accessible bytes, on a CPU of that tier.
                unsafe { copy(vectors, from, to, len) };
            }
        }
    }
}
