//! Which kernel is used where: by tier, size and hint. All of it works on states, not seeds.

use std::sync::atomic::{AtomicBool, Ordering};

use super::base;
use super::params::{CrcParams, CrcWidth};
use crate::cpu::{Hint, Tier};

#[cfg(target_arch = "x86_64")]
use super::{
    fold::{Crc32c, Crc64, Polynomial, ROW, aligned, folded, streamed},
    hybrid::{BLOCK, LEAST_TO_PROBE, hybrid, probing},
    short::{by_streams, by_words},
    sink::{Cached, Nowhere},
};

/// From which size on, in bytes, which kernel is the fastest. For CRC-32C on tier AVX-512 nobody asks below [`AT_ONCE`], and
/// [`COPY_AT_ONCE`] with a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CrcLimits {
    /// CRC-32C by folding rows, on tier AVX-512; below by the `crc32` instruction. At least 64.
    pub(crate) fold_from: usize,
    /// CRC-32C by folding and `crc32` at once, of data that is in a cache.
    pub(crate) hybrid_from: usize,
    /// The same if it proves to be in a cache, where nothing is known.
    pub(crate) probe_from: usize,
    /// For that: ticks of the time-stamp counter that a KiB from a cache takes at most.
    pub(crate) probe_ticks: u64,
    /// CRC by folding with prefetch instructions.
    pub(crate) prefetch_from: usize,
    /// CRC-32C by three streams of `crc32`, below tier AVX-512; below by one.
    pub(crate) streams_from: usize,
    /// CRC-32C by `crc-fast`, below tier AVX-512.
    pub(crate) base_from: usize,
    /// Copy and CRC with stores to multiples of 64. At least 128.
    pub(crate) align_from: usize,
    /// Copy and CRC past the caches, of what is in memory. At least 128.
    pub(crate) past_from: usize,
    /// Copy and CRC past the caches, where nothing is known. At least 128.
    pub(crate) past_unknown_from: usize,
    /// Copy and CRC past the caches with prefetch instructions.
    pub(crate) past_prefetch_from: usize,
    /// Bytes of a step of copy and CRC one after the other.
    pub(crate) step: usize,
}

impl CrcLimits {
    /// What suits the CPUs that were measured.
    pub(crate) const DEFAULT: Self = Self {
        // Up to 80 bytes that are in the first cache the instruction is up to 1.1 times as fast. All others it takes 1.5 to 1.8 times as
        // long for.
        fold_from: 64,
        hybrid_from: 6 * 1024,
        probe_from: 16 * 1024,
        // Rows alone take 32 to 64 cycles. From memory it is 256 and more, until prefetching has caught up.
        probe_ticks: 128,
        // Zen 4 loses by it. Zen 5 gains, from 16 to 64 KiB.
        prefetch_from: usize::MAX,
        streams_from: 256,
        base_from: 1025,
        align_from: 16 * 1024,
        past_from: 2048,
        past_unknown_from: 8 * 1024 * 1024,
        past_prefetch_from: 64 * 1024,
        step: 8 * 1024,
    };
}

/// Below so many bytes nobody asks for limits: of data that comes from memory that would be the most of it, as the limits then come from
/// there too.
const AT_ONCE: usize = 4096;
/// The same for a copy.
const COPY_AT_ONCE: usize = 2048;

/// What is done without a look at the limits is what they would say.
const _: () = {
    let limits = CrcLimits::DEFAULT;
    assert!(limits.fold_from <= 64 && limits.hybrid_from >= AT_ONCE && limits.probe_from >= AT_ONCE);
    assert!(limits.prefetch_from >= AT_ONCE && limits.align_from >= COPY_AT_ONCE);
    assert!(limits.past_from >= COPY_AT_ONCE && limits.past_unknown_from >= COPY_AT_ONCE);
};

/// Whether this CPU is known to be of tier AVX-512. Beside the code that asks, and not to be seen from other crates: so it takes one load.
static FOLDS: AtomicBool = AtomicBool::new(false);

/// The limits, and the tier. Whoever asks has done so for all.
#[inline]
fn ask() -> (Tier, &'static CrcLimits) {
    let tier = Tier::current();
    if tier == Tier::Avx512 {
        FOLDS.store(true, Ordering::Relaxed);
    }
    (tier, &crate::cpu::tuning::current().crc)
}

/// The CRC-32C state behind `len` bytes, from the state before them.
///
/// # Safety
///
/// `src` is valid for reading `len` initialised bytes, which nobody writes meanwhile. It may be anything if `len` is 0.
// Not inlined: so a caller keeps its registers, and this is no more than a jump.
#[inline(never)]
pub(super) unsafe fn state32(state: u32, src: *const u8, len: usize, hint: Hint) -> u32 {
    // SAFETY: the caller's promise. A CPU that is known to fold is one of the tier.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if len < AT_ONCE && FOLDS.load(Ordering::Relaxed) {
            if len >= ROW {
                return folded::<Crc32c, _, 0>(state.into(), src, Nowhere, len) as u32;
            }
            return by_words(state, src, Nowhere, len);
        }
        asked32(state, src, len, hint)
    }
}

/// [`state32`] by limits and tier. Apart from the rest, which has nothing to put away.
///
/// # Safety
///
/// As for [`state32`].
#[inline(never)]
unsafe fn asked32(state: u32, src: *const u8, len: usize, hint: Hint) -> u32 {
    let (tier, limits) = ask();
    // SAFETY: the caller's promise; the tier is this CPU's.
    unsafe { state32_at(tier, limits, hint, state, src, len) }
}

/// Copies `len` bytes; the CRC-32C state behind them, from the state before them.
///
/// # Safety
///
/// As for [`state32`], and `dst` is valid for writing `len` bytes, the regions do not overlap, and nobody else accesses those of `dst`
/// meanwhile.
#[inline(never)]
pub(super) unsafe fn copy_state32(state: u32, src: *const u8, dst: *mut u8, len: usize, hint: Hint) -> u32 {
    // SAFETY: as in `state32`.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if len < COPY_AT_ONCE && FOLDS.load(Ordering::Relaxed) {
            if len >= ROW {
                return folded::<Crc32c, _, 0>(state.into(), src, Cached(dst), len) as u32;
            }
            return by_words(state, src, Cached(dst), len);
        }
        copy_asked32(state, src, dst, len, hint)
    }
}

/// [`copy_state32`] by limits and tier.
///
/// # Safety
///
/// As for [`copy_state32`].
#[inline(never)]
unsafe fn copy_asked32(state: u32, src: *const u8, dst: *mut u8, len: usize, hint: Hint) -> u32 {
    let (tier, limits) = ask();
    // SAFETY: the caller's promise; the tier is this CPU's.
    unsafe { copy_state32_at(tier, limits, hint, state, src, dst, len) }
}

/// How far ahead lines are asked for, where that is done.
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 2048;

/// The CRC-32C state behind `len` bytes, from the state before them.
///
/// # Safety
///
/// The CPU has the tier. `src` is valid for reading `len` initialised bytes, which nobody writes meanwhile. It may be anything if
/// `len` is 0.
#[inline]
pub(super) unsafe fn state32_at(
    tier: Tier,
    limits: &CrcLimits,
    hint: Hint,
    state: u32,
    src: *const u8,
    len: usize,
) -> u32 {
    // SAFETY: the caller's promise. No kernel takes less than its least, whatever the limits.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        if tier == Tier::Avx512 {
            if len < limits.fold_from.max(ROW) {
                return by_words(state, src, Nowhere, len);
            }
            if len < limits.hybrid_from.min(limits.probe_from).min(limits.prefetch_from) {
                return folded::<Crc32c, _, 0>(state.into(), src, Nowhere, len) as u32;
            }
            return large_state32(limits, hint, state, src, len);
        }
        if tier >= Tier::Sse42 && len < limits.base_from {
            if len < limits.streams_from {
                return by_words(state, src, Nowhere, len);
            }
            return by_streams(state, src, len);
        }
    }
    let _ = (tier, limits, hint);
    // SAFETY: the caller's promise.
    base::crc32c(state, unsafe { base::slice(src, len) })
}

/// As [`state32_at`] on tier AVX-512, with at least a row.
///
/// # Safety
///
/// As for [`state32_at`].
#[cfg(target_arch = "x86_64")]
unsafe fn large_state32(limits: &CrcLimits, hint: Hint, state: u32, src: *const u8, len: usize) -> u32 {
    // SAFETY: the caller's promise, and the least of each.
    unsafe {
        match hint {
            Hint::Hot if len >= limits.hybrid_from.max(BLOCK) => hybrid(state, src, len),
            Hint::Unknown if len >= limits.probe_from.max(LEAST_TO_PROBE) => {
                probing(state, src, len, limits.probe_ticks)
            }
            _ if len >= limits.prefetch_from => folded::<Crc32c, _, AHEAD>(state.into(), src, Nowhere, len) as u32,
            _ => folded::<Crc32c, _, 0>(state.into(), src, Nowhere, len) as u32,
        }
    }
}

/// The CRC-64/NVME state behind `len` bytes, from the state before them.
///
/// # Safety
///
/// As for [`state32_at`].
unsafe fn state64_at(tier: Tier, limits: &CrcLimits, hint: Hint, state: u64, src: *const u8, len: usize) -> u64 {
    // SAFETY: the caller's promise, and the least of each.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        if tier == Tier::Avx512 && len >= ROW {
            if len >= limits.prefetch_from {
                return folded::<Crc64, _, AHEAD>(state, src, Nowhere, len);
            }
            return folded::<Crc64, _, 0>(state, src, Nowhere, len);
        }
    }
    let _ = (tier, limits, hint);
    // SAFETY: the caller's promise.
    base::crc64(state, unsafe { base::slice(src, len) })
}

/// The state of any CRC behind `len` bytes, from the state before them.
///
/// # Safety
///
/// As for [`state32_at`].
pub(super) unsafe fn state_at(
    tier: Tier,
    limits: &CrcLimits,
    hint: Hint,
    params: CrcParams,
    state: u64,
    src: *const u8,
    len: usize,
) -> u64 {
    // SAFETY: the caller's promise.
    unsafe {
        match params.of_reflected_data() {
            Some(CrcWidth::Crc32C) => state32_at(tier, limits, hint, state as u32, src, len).into(),
            Some(CrcWidth::Crc64) => state64_at(tier, limits, hint, state, src, len),
            None => base::behind(params.digest(state), base::slice(src, len)),
        }
    }
}

/// Copies `len` bytes; the CRC-32C state behind them, from the state before them.
///
/// # Safety
///
/// The CPU has the tier. `src` is valid for reading `len` initialised bytes and `dst` for writing as many, the regions do not
/// overlap, and nobody else accesses those of `dst` or writes those of `src` meanwhile. The pointers may be anything if `len` is 0.
#[inline]
pub(super) unsafe fn copy_state32_at(
    tier: Tier,
    limits: &CrcLimits,
    hint: Hint,
    state: u32,
    src: *const u8,
    dst: *mut u8,
    len: usize,
) -> u32 {
    // SAFETY: the caller's promise, and the least of each.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        if tier == Tier::Avx512 {
            if len < limits.fold_from.max(ROW) {
                return by_words(state, src, Cached(dst), len);
            }
            return fused::<Crc32c>(limits, hint, state.into(), src, dst, len) as u32;
        }
        if tier >= Tier::Sse42 && len < limits.streams_from {
            return by_words(state, src, Cached(dst), len);
        }
    }
    let mut state = state;
    // SAFETY: the caller's promise; a slice is valid.
    unsafe {
        base::copy_in_steps(src, dst, len, limits.step, |step| {
            state = state32_at(tier, limits, Hint::Hot, state, step.as_ptr(), step.len());
        });
    }
    let _ = hint;
    state
}

/// Copies `len` bytes, at least a row; the state behind them, from the state before them.
///
/// # Safety
///
/// As for [`copy_state32_at`], on tier AVX-512.
#[cfg(target_arch = "x86_64")]
unsafe fn fused<P: Polynomial>(
    limits: &CrcLimits,
    hint: Hint,
    state: u64,
    src: *const u8,
    dst: *mut u8,
    len: usize,
) -> u64 {
    let past_from = match hint {
        Hint::Cold => limits.past_from,
        Hint::Unknown => limits.past_unknown_from,
        Hint::Hot => usize::MAX,
    };
    // SAFETY: the caller's promise, and the least of each.
    unsafe {
        if len < past_from.min(limits.align_from).max(2 * ROW) {
            folded::<P, _, 0>(state, src, Cached(dst), len)
        } else if len < past_from {
            aligned::<P>(state, src, dst, len)
        } else if len < limits.past_prefetch_from {
            streamed::<P, 0>(state, src, dst, len)
        } else {
            streamed::<P, AHEAD>(state, src, dst, len)
        }
    }
}

/// Copies `len` bytes; the state of any CRC behind them, from the state before them.
///
/// # Safety
///
/// As for [`copy_state32_at`].
#[allow(clippy::too_many_arguments, reason = "what the operation has, and what selects the kernel")]
pub(super) unsafe fn copy_state_at(
    tier: Tier,
    limits: &CrcLimits,
    hint: Hint,
    params: CrcParams,
    state: u64,
    src: *const u8,
    dst: *mut u8,
    len: usize,
) -> u64 {
    // SAFETY: the caller's promise; a slice is valid.
    unsafe {
        match params.of_reflected_data() {
            Some(CrcWidth::Crc32C) => return copy_state32_at(tier, limits, hint, state as u32, src, dst, len).into(),
            #[cfg(target_arch = "x86_64")]
            Some(CrcWidth::Crc64) if tier == Tier::Avx512 && len >= ROW => {
                return fused::<Crc64>(limits, hint, state, src, dst, len);
            }
            _ => {}
        }
        let mut digest = params.digest(state);
        base::copy_in_steps(src, dst, len, limits.step, |step| digest.update(step));
        digest.get_state()
    }
}
