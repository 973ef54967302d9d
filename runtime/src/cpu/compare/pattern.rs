//! Comparison of a region with a repeated pattern.

#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::{__m128i, __m256i, __m512i};

#[cfg(target_arch = "x86_64")]
use super::{SMALL, regions::group_at, small};
use crate::cpu::Tier;
#[cfg(any(test, feature = "internals"))]
use crate::cpu::kernel::{ComparePattern, Kernel};
#[cfg(target_arch = "x86_64")]
use crate::cpu::{rotate_pattern, vector::Vector};

/// Offset of the first byte in which a region differs from a repeated 8-byte pattern (compare pattern, opcode 0x06).
///
/// The pattern's low byte is compared with the byte at `src`. The offset is exact; of the device's operation only a
/// lower bound is specified.
///
/// # Safety
///
/// `src` is valid for reading `len` initialised bytes, which nobody writes meanwhile. It may be anything if `len` is 0.
#[inline]
pub unsafe fn compare_pattern(src: *const u8, len: usize, pattern: u64) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    if len <= SMALL {
        // SAFETY: the caller's promise.
        return unsafe { small::compare_pattern(src, len, pattern) };
    }
    // SAFETY: the caller's promise.
    unsafe { large(src, len, pattern) }
}

/// More than [`SMALL`] bytes. A function of its own, with the arguments of the kernels, so that it is no more than a jump.
///
/// # Safety
///
/// As for [`compare_pattern`].
#[inline(never)]
unsafe fn large(src: *const u8, len: usize, pattern: u64) -> Option<usize> {
    // SAFETY: the caller's promise; this CPU has the current tier.
    unsafe { large_at(Tier::current(), src, len, pattern) }
}

/// [`large`] by the kernel of a tier.
///
/// # Safety
///
/// As for [`compare_pattern`], on a CPU of that tier.
#[inline(always)]
unsafe fn large_at(tier: Tier, src: *const u8, len: usize, pattern: u64) -> Option<usize> {
    // SAFETY: the caller's promise.
    unsafe {
        match tier {
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512 => avx512(src, len, pattern),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 => avx2(src, len, pattern),
            #[cfg(target_arch = "x86_64")]
            _ => sse2(src, len, pattern),
            #[cfg(not(target_arch = "x86_64"))]
            _ => super::portable::compare_pattern(src, len, pattern),
        }
    }
}

/// [`compare_pattern`] by the kernel of a tier.
///
/// # Safety
///
/// As for [`compare_pattern`], on a CPU of that tier.
#[cfg(any(test, feature = "internals"))]
pub(super) unsafe fn compare_pattern_at(tier: Tier, src: *const u8, len: usize, pattern: u64) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    if len <= SMALL {
        // SAFETY: the caller's promise.
        return unsafe { small::compare_pattern(src, len, pattern) };
    }
    // SAFETY: the caller's promise.
    unsafe { large_at(tier, src, len, pattern) }
}

#[cfg(any(test, feature = "internals"))]
/// Every way to compare a region with a pattern.
pub(crate) fn pattern_kernels() -> Vec<Kernel<ComparePattern>> {
    macro_rules! of {
        ($name:literal, $tier:expr) => {
            Kernel {
                name: $name,
                tier: $tier,
                // SAFETY: whoever runs it has a CPU of that tier, and keeps the promise of `compare_pattern`.
                run: |src, len, pattern| unsafe { compare_pattern_at($tier, src, len, pattern) },
            }
        };
    }
    vec![
        of!("base", Tier::Portable),
        #[cfg(target_arch = "x86_64")]
        of!("avx2", Tier::Avx2),
        #[cfg(target_arch = "x86_64")]
        of!("avx512", Tier::Avx512),
    ]
}

/// # Safety
///
/// As for [`compare_pattern`], with more than [`SMALL`] bytes.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
unsafe fn sse2(src: *const u8, len: usize, pattern: u64) -> Option<usize> {
    // SAFETY: the caller's promise; SSE2 is part of the architecture.
    unsafe { kernel::<__m128i>(src, len, pattern) }
}

/// # Safety
///
/// As for [`sse2`], on a CPU of tier AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
unsafe fn avx2(src: *const u8, len: usize, pattern: u64) -> Option<usize> {
    // SAFETY: the caller's promise.
    unsafe { kernel::<__m256i>(src, len, pattern) }
}

/// # Safety
///
/// As for [`sse2`], on a CPU of tier AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn avx512(src: *const u8, len: usize, pattern: u64) -> Option<usize> {
    // SAFETY: the caller's promise.
    unsafe { kernel::<__m512i>(src, len, pattern) }
}

/// # Safety
///
/// As for [`sse2`], on a CPU that has the vector.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn kernel<V: Vector>(src: *const u8, len: usize, pattern: u64) -> Option<usize> {
    debug_assert!(len > SMALL);
    let group = 4 * V::BYTES;
    // SAFETY: every load is of a vector that ends at or before `len`, which is at least that of a vector, of three where there are
    // two from the end, and of four in the loop.
    unsafe {
        let first = V::splat([pattern; 2]);
        // Vectors have a multiple of the pattern's bytes.
        let last = V::splat([rotate_pattern(pattern, len as u64); 2]);
        let (offsets, from_start, from_end) = if len <= 2 * V::BYTES {
            let end = len - V::BYTES;
            if xor(src, 0, first).or(xor(src, end, last)).is_zero() {
                return None;
            }
            ([0, 0, end, end], first, last)
        } else if len <= group {
            let offsets = [0, V::BYTES, len - 2 * V::BYTES, len - V::BYTES];
            if equal(src, offsets, first, last) {
                return None;
            }
            (offsets, first, last)
        } else {
            let mut at = 0;
            let mut of = first;
            if equal(src, group_at::<V>(at), of, of) {
                // On from where the address is aligned, so that each load touches one line.
                at = group - src.addr() % V::BYTES;
                of = V::splat([rotate_pattern(pattern, at as u64); 2]);
                while at < len - group && equal(src, group_at::<V>(at), of, of) {
                    at += group;
                }
                if len - at <= 2 * V::BYTES {
                    // Some of it once more.
                    (at, of) = (len - 2 * V::BYTES, last);
                    if xor(src, at, of).or(xor(src, at + V::BYTES, of)).is_zero() {
                        return None;
                    }
                    at -= 2 * V::BYTES;
                } else if at >= len - group {
                    (at, of) = (len - group, last);
                    if equal(src, group_at::<V>(at), of, of) {
                        return None;
                    }
                }
            }
            (group_at::<V>(at), of, of)
        };
        // One of the four has it. Here the data is loaded again, so that nothing of it needs to be kept above.
        for (at, of) in [(offsets[0], from_start), (offsets[1], from_start), (offsets[2], from_end)] {
            let differences = V::load(src.add(at)).differences(of);
            if differences != 0 {
                return Some(at + differences.trailing_zeros() as usize);
            }
        }
        let at = offsets[3];
        Some(at + V::load(src.add(at)).differences(from_end).trailing_zeros() as usize)
    }
}

/// Whether the vectors at these offsets are what they should be, the first two and the last two.
///
/// # Safety
///
/// The region is valid for reading a vector at each offset, and the CPU has the vector.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn equal<V: Vector>(src: *const u8, offsets: [usize; 4], first: V, last: V) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let low = xor(src, offsets[0], first).or(xor(src, offsets[1], first));
        low.or(xor(src, offsets[2], last).or(xor(src, offsets[3], last))).is_zero()
    }
}

/// # Safety
///
/// As for [`equal`].
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn xor<V: Vector>(src: *const u8, at: usize, of: V) -> V {
    // SAFETY: the caller's promise.
    unsafe { V::load(src.add(at)).xor(of) }
}
