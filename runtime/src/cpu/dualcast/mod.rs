//! Copies to two destinations at once.
//!
//! The source is read once. Up to [`SMALL`] bytes are copied where the caller is, by loads and stores that overlap.

#![allow(clippy::inline_always, reason = "with the instructions of the function around, or as no more than a jump")]

#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod vectors;

use std::ptr;

#[cfg(any(test, feature = "internals"))]
use super::kernel::{self, Kernel};
use super::{Hint, STEP, Tier};

/// Up to this size, in bytes, a copy is done in place.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "other architectures have one way for all sizes"))]
const SMALL: usize = 64;

/// Sizes in bytes from which on stores go past the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DualcastLimits {
    /// For regions that nothing is known of: when all three do not fit into the last-level cache.
    pub(crate) stream: usize,
    /// For cold regions.
    pub(crate) stream_cold: usize,
}

impl DualcastLimits {
    /// What suits the machines measured.
    pub(crate) const DEFAULT: Self = Self { stream: 12 << 20, stream_cold: 16 << 10 };

    /// Below this nothing goes past the cache, whatever the limits.
    const LEAST: usize = 4 << 10;

    #[inline]
    const fn is_stream(&self, hint: Hint, len: usize) -> bool {
        match hint {
            // Miri has no stores past the cache.
            _ if cfg!(miri) => false,
            Hint::Unknown => len >= self.stream,
            Hint::Cold => len >= self.stream_cold,
            Hint::Hot => false,
        }
    }
}

/// A way to copy more than a few bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Vectors into the cache.
    Store,
    /// Vectors past the cache.
    Stream,
    /// The C library's copies, part by part.
    #[cfg_attr(
        not(any(test, feature = "internals")),
        allow(dead_code, reason = "what the others are measured against")
    )]
    Library,
}

/// Copies `len` bytes to two destinations (dualcast, opcode 0x09).
///
/// The rule of the device that both destinations agree in their lowest 12 address bits is not asked for here.
///
/// # Safety
///
/// `src` is valid for reading `len` initialised bytes, `dst1` and `dst2` for writing as many, no two of the three regions overlap, and nobody
/// else accesses the destinations or writes the source meanwhile. The pointers may be anything if `len` is 0.
#[inline]
pub unsafe fn dualcast(src: *const u8, dst1: *mut u8, dst2: *mut u8, len: usize) {
    // SAFETY: the caller's promise is the one that is asked for.
    unsafe { dualcast_with(Hint::Unknown, src, dst1, dst2, len) }
}

/// [`dualcast`] with what is known of the regions.
///
/// # Safety
///
/// As for [`dualcast`].
#[inline]
pub unsafe fn dualcast_with(hint: Hint, src: *const u8, dst1: *mut u8, dst2: *mut u8, len: usize) {
    #[cfg(target_arch = "x86_64")]
    if len <= SMALL {
        // SAFETY: the caller's promise.
        return unsafe { vectors::small(src, dst1, dst2, len) };
    }
    // SAFETY: the caller's promise.
    unsafe {
        if len < DualcastLimits::LEAST {
            into(src, dst1, dst2, len);
        } else {
            dualcast_limited(&super::tuning::current().dualcast, hint, src, dst1, dst2, len);
        }
    }
}

/// More than [`SMALL`] bytes.
///
/// # Safety
///
/// As for [`dualcast`].
#[inline(always)]
unsafe fn dualcast_limited(
    limits: &DualcastLimits,
    hint: Hint,
    src: *const u8,
    dst1: *mut u8,
    dst2: *mut u8,
    len: usize,
) {
    // SAFETY: the caller's promise.
    unsafe { if limits.is_stream(hint, len) { past(src, dst1, dst2, len) } else { into(src, dst1, dst2, len) } }
}

/// Into the cache. A function of its own, with the arguments of the kernels, so that it is no more than a jump.
///
/// # Safety
///
/// As for [`dualcast`], with more than [`SMALL`] bytes.
#[inline(never)]
unsafe fn into(src: *const u8, dst1: *mut u8, dst2: *mut u8, len: usize) {
    // SAFETY: the caller's promise; this CPU has the current tier.
    unsafe { large_at(Tier::current(), Way::Store, src, dst1, dst2, len) }
}

/// Past the cache.
///
/// # Safety
///
/// As for [`into`].
#[inline(never)]
unsafe fn past(src: *const u8, dst1: *mut u8, dst2: *mut u8, len: usize) {
    // SAFETY: the caller's promise; this CPU has the current tier.
    unsafe { large_at(Tier::current(), Way::Stream, src, dst1, dst2, len) }
}

/// By the kernel of a tier.
///
/// # Safety
///
/// As for [`into`], on a CPU of that tier.
#[inline(always)]
unsafe fn large_at(tier: Tier, way: Way, src: *const u8, dst1: *mut u8, dst2: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        match (way, tier) {
            #[cfg(target_arch = "x86_64")]
            (Way::Stream, Tier::Avx512) => vectors::stream_avx512(src, dst1, dst2, len),
            #[cfg(target_arch = "x86_64")]
            (Way::Stream, Tier::Avx2) => vectors::stream_avx2(src, dst1, dst2, len),
            #[cfg(target_arch = "x86_64")]
            (Way::Stream, _) => vectors::stream_sse2(src, dst1, dst2, len),
            #[cfg(target_arch = "x86_64")]
            (Way::Store, Tier::Avx512) => vectors::avx512(src, dst1, dst2, len),
            #[cfg(target_arch = "x86_64")]
            (Way::Store, Tier::Avx2) => vectors::avx2(src, dst1, dst2, len),
            #[cfg(target_arch = "x86_64")]
            (Way::Store, _) => vectors::sse2(src, dst1, dst2, len),
            _ => library(src, dst1, dst2, len),
        }
    }
}

/// [`dualcast`] by the kernel of a tier.
///
/// # Safety
///
/// As for [`dualcast`], on a CPU of that tier.
#[cfg(any(test, feature = "internals"))]
unsafe fn dualcast_at(tier: Tier, way: Way, src: *const u8, dst1: *mut u8, dst2: *mut u8, len: usize) {
    #[cfg(target_arch = "x86_64")]
    if len <= SMALL && way != Way::Library {
        // SAFETY: the caller's promise.
        return unsafe { vectors::small(src, dst1, dst2, len) };
    }
    // SAFETY: the caller's promise.
    unsafe { large_at(tier, way, src, dst1, dst2, len) }
}

#[cfg(any(test, feature = "internals"))]
/// Every way to copy to two destinations.
pub(crate) fn kernels() -> Vec<Kernel<kernel::Dualcast>> {
    macro_rules! of {
        ($name:literal, $tier:expr, $way:expr) => {
            Kernel {
                name: $name,
                tier: $tier,
                // SAFETY: whoever runs it has a CPU of that tier, and keeps the promise of `dualcast`.
                run: |src, dst1, dst2, len| unsafe { dualcast_at($tier, $way, src, dst1, dst2, len) },
            }
        };
    }
    vec![
        of!("memcpy by parts", Tier::Portable, Way::Library),
        #[cfg(target_arch = "x86_64")]
        of!("base", Tier::Portable, Way::Store),
        #[cfg(target_arch = "x86_64")]
        of!("avx2", Tier::Avx2, Way::Store),
        #[cfg(target_arch = "x86_64")]
        of!("avx512", Tier::Avx512, Way::Store),
        #[cfg(target_arch = "x86_64")]
        of!("base past the cache", Tier::Portable, Way::Stream),
        #[cfg(target_arch = "x86_64")]
        of!("avx2 past the cache", Tier::Avx2, Way::Stream),
        #[cfg(target_arch = "x86_64")]
        of!("avx512 past the cache", Tier::Avx512, Way::Stream),
    ]
}

/// # Safety
///
/// As for [`dualcast`].
unsafe fn library(src: *const u8, dst1: *mut u8, dst2: *mut u8, len: usize) {
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
