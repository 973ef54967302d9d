//! Comparisons: of two regions, and of a region with a pattern.
//!
//! Up to [`SMALL`] bytes are compared where the caller is, by loads that overlap, without a look at the tier. Above that, groups of
//! vectors are found equal or not as one, and the offset of a difference comes from the masks of the one group that has it.

#![allow(clippy::inline_always, reason = "with the instructions of the function around, or as no more than a jump")]

#[cfg(target_arch = "x86_64")]
mod halves;
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod high;
mod pattern;
#[cfg(any(not(target_arch = "x86_64"), test))]
mod portable;
#[cfg(target_arch = "x86_64")]
mod regions;
#[cfg(target_arch = "x86_64")]
mod small;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU8, Ordering};

use super::Tier;
#[cfg(any(test, feature = "internals"))]
use super::kernel::{self, Kernel};

pub use pattern::compare_pattern;
#[cfg(any(test, feature = "internals"))]
pub(crate) use pattern::pattern_kernels;

/// Up to this size, in bytes, a comparison is done in place.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "other architectures have one way for all sizes"))]
const SMALL: usize = 64;

/// From this size on, in bytes, a CPU that does vectors of 64 bytes in halves uses those of 32 bytes with the instructions of AVX-512.
const HALVES_FROM: usize = 257;

/// A set of vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Vectors {
    Base = 1,
    Avx2 = 2,
    Avx512 = 3,
    /// Of 32 bytes, with the instructions of AVX-512.
    Avx512Halves = 4,
}

/// The best [`Vectors`] for much data, as a number; 0 until they are known. Not to be seen from other crates: so it takes one load.
static BEST: AtomicU8 = AtomicU8::new(0);

impl Vectors {
    /// The best for much data.
    fn best(tier: Tier, in_halves: impl FnOnce() -> bool) -> Self {
        match tier {
            Tier::Avx512 if in_halves() => Self::Avx512Halves,
            Tier::Avx512 => Self::Avx512,
            Tier::Avx2 => Self::Avx2,
            _ => Self::Base,
        }
    }

    /// The best for `len` bytes, if `self` is that for much data.
    #[inline(always)]
    fn of(self, halves_from: usize, len: usize) -> Self {
        if self == Self::Avx512Halves && len < halves_from { Self::Avx512 } else { self }
    }
}

/// Offset of the first byte in which two regions differ (compare, opcode 0x05).
///
/// As with the device the offset is exact.
///
/// # Safety
///
/// `a` and `b` are valid for reading `len` initialised bytes, which nobody writes meanwhile; the regions may overlap.
/// The pointers may be anything if `len` is 0.
// Not inlined: a caller with a loop around it keeps its registers, and is the faster for it.
#[inline(never)]
pub unsafe fn compare(a: *const u8, b: *const u8, len: usize) -> Option<usize> {
    let best = BEST.load(Ordering::Relaxed);
    // SAFETY: the caller's promise; this CPU has what is known of it.
    unsafe {
        // In this order the compiler makes no table of jumps of it.
        let best = if best > Vectors::Avx2 as u8 {
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            {
                // These with one question.
                if len.wrapping_sub(high::HALF) <= high::HALF {
                    return high::compare_half_lines(a, b, len);
                }
                if len <= high::MOST {
                    return high::compare(a, b, len);
                }
            }
            if best == Vectors::Avx512Halves as u8 { Vectors::Avx512Halves } else { Vectors::Avx512 }
        } else if best == 0 {
            return first(a, b, len);
        } else {
            #[cfg(target_arch = "x86_64")]
            if len <= SMALL {
                return small::compare(a, b, len);
            }
            if best == Vectors::Avx2 as u8 { Vectors::Avx2 } else { Vectors::Base }
        };
        large_at(best.of(HALVES_FROM, len), a, b, len)
    }
}

/// [`compare`] where it is not yet known what the CPU has.
///
/// # Safety
///
/// As for [`compare`].
#[cold]
#[inline(never)]
unsafe fn first(a: *const u8, b: *const u8, len: usize) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    let in_halves = || crate::cpu::model::Model::ask() == crate::cpu::model::Model::AmdHalves;
    #[cfg(not(target_arch = "x86_64"))]
    let in_halves = || false;
    // Whoever comes second finds the same.
    BEST.store(Vectors::best(Tier::current(), in_halves) as u8, Ordering::Relaxed);
    // SAFETY: the caller's promise. What is known now stays known.
    unsafe { compare(a, b, len) }
}

/// More than [`SMALL`] bytes, by some vectors.
///
/// # Safety
///
/// As for [`compare`], on a CPU that has them.
#[inline(always)]
unsafe fn large_at(vectors: Vectors, a: *const u8, b: *const u8, len: usize) -> Option<usize> {
    // SAFETY: the caller's promise.
    unsafe {
        match vectors {
            #[cfg(target_arch = "x86_64")]
            Vectors::Avx512 => regions::avx512(a, b, len),
            #[cfg(target_arch = "x86_64")]
            Vectors::Avx512Halves => regions::avx512_halves(a, b, len),
            #[cfg(target_arch = "x86_64")]
            Vectors::Avx2 => regions::avx2(a, b, len),
            #[cfg(target_arch = "x86_64")]
            Vectors::Base => regions::sse2(a, b, len),
            #[cfg(not(target_arch = "x86_64"))]
            _ => portable::compare(a, b, len),
        }
    }
}

/// [`compare`] by some vectors.
///
/// # Safety
///
/// As for [`compare`], on a CPU that has them.
#[cfg(any(test, feature = "internals"))]
unsafe fn compare_at(vectors: Vectors, a: *const u8, b: *const u8, len: usize) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    if len <= SMALL {
        // SAFETY: the caller's promise.
        return unsafe { small::compare(a, b, len) };
    }
    // SAFETY: the caller's promise.
    unsafe { large_at(vectors, a, b, len) }
}

#[cfg(any(test, feature = "internals"))]
/// Every way to compare two regions.
pub(crate) fn kernels() -> Vec<Kernel<kernel::Compare>> {
    macro_rules! of {
        ($name:literal, $tier:expr, $vectors:expr) => {
            Kernel {
                name: $name,
                tier: $tier,
                // SAFETY: whoever runs it has a CPU of that tier, and keeps the promise of `compare`.
                run: |a, b, len| unsafe { compare_at($vectors, a, b, len) },
            }
        };
    }
    vec![
        of!("base", Tier::Portable, Vectors::Base),
        #[cfg(target_arch = "x86_64")]
        of!("avx2", Tier::Avx2, Vectors::Avx2),
        #[cfg(target_arch = "x86_64")]
        of!("avx512", Tier::Avx512, Vectors::Avx512),
        #[cfg(target_arch = "x86_64")]
        of!("avx512, halves", Tier::Avx512, Vectors::Avx512Halves),
    ]
}

#[inline]
fn lowest_byte(difference: u64) -> usize {
    difference.trailing_zeros() as usize / 8
}
