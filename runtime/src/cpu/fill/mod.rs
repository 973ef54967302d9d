//! Fills with an 8-byte or 16-byte pattern.
//!
//! Up to [`SMALL`] bytes are filled where the caller is, by stores that overlap. Above that there are three ways: vectors into the
//! cache, the `rep stosq` instruction, which needs no read of what is overwritten, and stores past the cache. Size and hint say
//! which: see [`FillLimits`].
//!
//! A pattern begins at the destination, wherever that is. A store at a later offset therefore has the pattern rotated by it.

#![allow(clippy::inline_always, reason = "with the instructions of the function around, or as no more than a jump")]

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod high;
#[cfg(any(not(target_arch = "x86_64"), test))]
mod portable;
#[cfg(target_arch = "x86_64")]
mod small;
#[cfg(target_arch = "x86_64")]
mod stores;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU8, Ordering};

#[cfg(any(test, feature = "internals"))]
use super::kernel::{self, Kernel};
use super::{Hint, Tier};

/// Up to this size, in bytes, a fill is done in place.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "other architectures have one way for all sizes"))]
const SMALL: usize = 64;

/// Sizes in bytes from which on a way to fill is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FillLimits {
    /// `rep stosq` for a hot destination.
    pub(crate) repeat_hot: usize,
    /// `rep stosq` for any other destination.
    pub(crate) repeat: usize,
    /// Stores past the cache for a destination that nothing is known of: about three quarters of the last-level cache.
    pub(crate) stream: usize,
    /// Stores past the cache for a cold destination, where `rep stosq` is what is left.
    pub(crate) stream_cold: usize,
    /// And up to here, from where on the instruction is ahead again.
    pub(crate) stream_cold_to: usize,
    /// The same where it is not: for patterns of 16 bytes, and on a CPU on which it is slow.
    pub(crate) stream_cold_wide: usize,
}

impl FillLimits {
    /// Below this there is nothing but vectors, whatever the limits.
    pub(crate) const LEAST: usize = 3 << 10;

    /// What suits the machines measured.
    pub(crate) const DEFAULT: Self = Self {
        repeat_hot: 256 << 10,
        repeat: Self::LEAST,
        stream: 24 << 20,
        stream_cold: 24 << 20,
        stream_cold_to: usize::MAX,
        stream_cold_wide: 1 << 20,
    };
}

/// A way to fill more than a few bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Vectors into the cache.
    Store,
    /// The instruction that repeats a store of 8 bytes.
    Repeat,
    /// Vectors past the cache.
    Stream,
}

impl Way {
    /// Of more than [`SMALL`] bytes; `can_repeat` if the pattern is one of 8 bytes and the CPU repeats it fast.
    #[inline(always)]
    fn of(limits: &FillLimits, hint: Hint, len: usize, can_repeat: bool) -> Self {
        let (repeat, stream) = match hint {
            Hint::Unknown => (limits.repeat, limits.stream),
            Hint::Cold if can_repeat && len < limits.stream_cold_to => (limits.repeat, limits.stream_cold),
            Hint::Cold if can_repeat => (limits.repeat, limits.stream.max(limits.stream_cold)),
            Hint::Cold => (limits.repeat, limits.stream_cold_wide),
            Hint::Hot => (limits.repeat_hot, usize::MAX),
        };
        // The shortest first. Miri has no other.
        if (len < repeat && len < stream) || cfg!(miri) {
            Self::Store
        } else if len >= stream {
            Self::Stream
        } else if can_repeat {
            Self::Repeat
        } else {
            Self::Store
        }
    }
}

/// A pattern of 8 or 16 bytes.
trait Pattern: Copy {
    /// What comes after `done` bytes.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "for vectors"))]
    fn rotated(self, done: usize) -> Self;
    /// Sixteen bytes of it.
    fn wide(self) -> [u64; 2];
}

impl Pattern for u64 {
    #[inline(always)]
    fn rotated(self, done: usize) -> Self {
        rotate_pattern(self, done as Self)
    }

    #[inline(always)]
    fn wide(self) -> [u64; 2] {
        [self; 2]
    }
}

/// Sixteen bytes as one number, which two registers can hold.
impl Pattern for u128 {
    #[inline(always)]
    fn rotated(self, done: usize) -> Self {
        // Shifts of two registers are slow, and most offsets a multiple.
        if done.is_multiple_of(16) { self } else { self.rotate_right((done % 16) as u32 * 8) }
    }

    #[inline(always)]
    fn wide(self) -> [u64; 2] {
        [self as u64, (self >> 64) as u64]
    }
}

/// As one number.
#[inline(always)]
const fn joined(pattern: [u64; 2]) -> u128 {
    pattern[0] as u128 | (pattern[1] as u128) << 64
}

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
    unsafe { fill_with(Hint::Unknown, dst, len, pattern) }
}

/// [`fill`] with what is known of the destination.
///
/// # Safety
///
/// As for [`fill`].
#[inline]
pub unsafe fn fill_with(hint: Hint, dst: *mut u8, len: usize, pattern: u64) {
    #[cfg(target_arch = "x86_64")]
    if len <= SMALL {
        // SAFETY: the caller's promise.
        return unsafe { small::fill(dst, len, pattern) };
    }
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if len <= high::MOST && Tier::is_avx512() {
        // SAFETY: the caller's promise, and the CPU has the tier.
        return unsafe { high::fill(dst, len, pattern) };
    }
    // SAFETY: the caller's promise.
    unsafe {
        if len < FillLimits::LEAST {
            store(dst, len, pattern);
        } else {
            fill_limited(&super::tuning::current().fill, hint, dst, len, pattern);
        }
    }
}

/// Writes `len` bytes of a repeated 16-byte pattern (fill with flag 18, GENCAP bit 10).
///
/// The low byte of the first word comes first, at `dst`; `len` need not be a multiple of 16.
///
/// # Safety
///
/// `dst` is valid for writing `len` bytes, and nobody else accesses them meanwhile. It may be anything if `len` is 0.
#[inline]
pub unsafe fn fill_wide(dst: *mut u8, len: usize, pattern: [u64; 2]) {
    // SAFETY: the caller's promise is the one that is asked for.
    unsafe { fill_wide_with(Hint::Unknown, dst, len, pattern) }
}

/// [`fill_wide`] with what is known of the destination.
///
/// # Safety
///
/// As for [`fill_wide`].
#[inline]
pub unsafe fn fill_wide_with(hint: Hint, dst: *mut u8, len: usize, pattern: [u64; 2]) {
    #[cfg(target_arch = "x86_64")]
    if len <= SMALL {
        // SAFETY: the caller's promise.
        return unsafe { small::fill(dst, len, joined(pattern)) };
    }
    // SAFETY: the caller's promise.
    unsafe {
        if len < FillLimits::LEAST {
            store(dst, len, joined(pattern));
        } else {
            fill_wide_limited(&super::tuning::current().fill, hint, dst, len, pattern);
        }
    }
}

/// More than [`SMALL`] bytes. Limits and hint are mostly known where this is compiled.
///
/// # Safety
///
/// As for [`fill`].
#[inline(always)]
unsafe fn fill_limited(limits: &FillLimits, hint: Hint, dst: *mut u8, len: usize, pattern: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        match Way::of(limits, hint, len, true) {
            Way::Store => store(dst, len, pattern),
            Way::Repeat => repeat(dst, len, pattern, limits, hint),
            Way::Stream => stream(dst, len, pattern),
        }
    }
}

/// More than [`SMALL`] bytes.
///
/// # Safety
///
/// As for [`fill_wide`].
#[inline(always)]
unsafe fn fill_wide_limited(limits: &FillLimits, hint: Hint, dst: *mut u8, len: usize, pattern: [u64; 2]) {
    // SAFETY: the caller's promise.
    unsafe {
        match Way::of(limits, hint, len, pattern[0] == pattern[1]) {
            Way::Store => store(dst, len, joined(pattern)),
            Way::Repeat => repeat(dst, len, pattern[0], limits, hint),
            Way::Stream => stream(dst, len, joined(pattern)),
        }
    }
}

/// By vectors into the cache. A function of its own, with the arguments of the kernels, so that it is no more than a jump.
///
/// # Safety
///
/// As for [`fill`], of more than [`SMALL`] bytes.
#[inline(never)]
unsafe fn store<P: Pattern>(dst: *mut u8, len: usize, pattern: P) {
    // SAFETY: the caller's promise; this CPU has the current tier.
    unsafe { large_at(Tier::current(), Way::Store, dst, len, pattern) }
}

/// By vectors past the cache.
///
/// # Safety
///
/// As for [`store`].
#[inline(never)]
unsafe fn stream<P: Pattern>(dst: *mut u8, len: usize, pattern: P) {
    // SAFETY: the caller's promise; this CPU has the current tier.
    unsafe { large_at(Tier::current(), Way::Stream, dst, len, pattern) }
}

/// By `rep stosq`, if it is fast on this CPU.
///
/// # Safety
///
/// As for [`store`].
#[inline(never)]
unsafe fn repeat(dst: *mut u8, len: usize, pattern: u64, limits: &FillLimits, hint: Hint) {
    // SAFETY: the caller's promise. There is one kernel for all tiers.
    unsafe {
        if REPEAT.load(Ordering::Relaxed) == FAST {
            large_at(Tier::Portable, Way::Repeat, dst, len, pattern);
        } else {
            maybe_repeat(dst, len, pattern, limits, hint);
        }
    }
}

/// [`repeat`] where it is not known to be fast.
///
/// # Safety
///
/// As for [`store`].
#[cold]
#[inline(never)]
unsafe fn maybe_repeat(dst: *mut u8, len: usize, pattern: u64, limits: &FillLimits, hint: Hint) {
    let is_fast = has_repeat();
    if is_fast {
        REPEAT.store(FAST, Ordering::Relaxed);
    }
    // SAFETY: the caller's promise; this CPU has the current tier.
    unsafe { large_at(Tier::current(), Way::of(limits, hint, len, is_fast), dst, len, pattern) }
}

/// Whether `rep stosq` is known to be fast: [`FAST`] or anything else.
static REPEAT: AtomicU8 = AtomicU8::new(0);
const FAST: u8 = 1;

/// By the kernel of a tier; two equal words, if it is by `rep stosq`.
///
/// # Safety
///
/// As for [`store`], on a CPU of that tier.
#[inline(always)]
unsafe fn large_at<P: Pattern>(tier: Tier, way: Way, dst: *mut u8, len: usize, pattern: P) {
    // SAFETY: the caller's promise.
    unsafe {
        match (way, tier) {
            #[cfg(target_arch = "x86_64")]
            (Way::Repeat, _) => stores::repeat(dst, len, pattern.wide()[0]),
            #[cfg(target_arch = "x86_64")]
            (Way::Stream, Tier::Avx512) => stores::stream_avx512(dst, len, pattern),
            #[cfg(target_arch = "x86_64")]
            (Way::Stream, _) => stores::stream(dst, len, pattern),
            #[cfg(target_arch = "x86_64")]
            (Way::Store, Tier::Avx512) => stores::avx512(dst, len, pattern),
            #[cfg(target_arch = "x86_64")]
            (Way::Store, Tier::Avx2) => stores::avx2(dst, len, pattern),
            #[cfg(target_arch = "x86_64")]
            (Way::Store, _) => stores::sse2(dst, len, pattern),
            #[cfg(not(target_arch = "x86_64"))]
            _ => portable::fill(dst, len, pattern.wide()),
        }
    }
}

/// Fills by vectors, or by `rep stosq`, for whoever wants to know what is faster.
///
/// # Safety
///
/// As for [`fill`], of more than [`SMALL`] bytes.
pub(crate) unsafe fn by_way(repeated: bool, dst: *mut u8, len: usize, pattern: u64) {
    let way = if repeated { Way::Repeat } else { Way::Store };
    // SAFETY: the caller's promise; this CPU has the current tier.
    unsafe { large_at(Tier::current(), way, dst, len, pattern) }
}

/// [`fill_wide`] by the kernel of a tier; two equal words, if it is by `rep stosq`.
///
/// # Safety
///
/// As for [`fill_wide`], on a CPU of that tier.
#[cfg(any(test, feature = "internals"))]
unsafe fn fill_at<P: Pattern>(tier: Tier, way: Way, dst: *mut u8, len: usize, pattern: P) {
    #[cfg(target_arch = "x86_64")]
    if len <= SMALL {
        // SAFETY: the caller's promise.
        return unsafe { small::fill(dst, len, pattern) };
    }
    // SAFETY: the caller's promise.
    unsafe { large_at(tier, way, dst, len, pattern) }
}

/// Whether the CPU repeats a store by long, fast steps.
pub(crate) fn has_repeat() -> bool {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        std::arch::is_x86_feature_detected!("ermsb")
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    false
}

#[cfg(any(test, feature = "internals"))]
/// Every way to fill.
pub(crate) fn kernels() -> Vec<Kernel<kernel::Fill>> {
    macro_rules! of {
        ($name:literal, $tier:expr, $way:expr) => {
            Kernel {
                name: $name,
                tier: $tier,
                // SAFETY: whoever runs it has a CPU of that tier, and keeps the promise of `fill_wide`.
                run: |dst, len, pattern| unsafe { fill_at($tier, $way, dst, len, joined(pattern)) },
            }
        };
    }
    vec![
        of!("base", Tier::Portable, Way::Store),
        #[cfg(target_arch = "x86_64")]
        of!("avx2", Tier::Avx2, Way::Store),
        #[cfg(target_arch = "x86_64")]
        of!("avx512", Tier::Avx512, Way::Store),
        #[cfg(target_arch = "x86_64")]
        of!("rep stosq", Tier::Portable, Way::Repeat),
        #[cfg(target_arch = "x86_64")]
        of!("past the cache", Tier::Portable, Way::Stream),
        #[cfg(target_arch = "x86_64")]
        of!("past the cache, avx512", Tier::Avx512, Way::Stream),
    ]
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
    let wide = joined(pattern).rotate_right((done % 16) as u32 * 8);
    [wide as u64, (wide >> 64) as u64]
}
