//! The kernels by name, for a benchmark. Each takes any size; below its least it does what is done there.

use super::base;
use crate::cpu::Tier;
use crate::cpu::kernel::{CopyCrc32c, Crc32c as Crc32cKernel, Kernel};

#[cfg(target_arch = "x86_64")]
use super::{
    fold::{Crc32c, ROW, aligned, folded, streamed},
    hybrid, short,
    sink::{Cached, Nowhere},
};

/// Bytes of a step of the way of two passes.
const STEP: usize = super::CrcLimits::DEFAULT.step;

unsafe fn base_crc(seed: u32, src: *const u8, len: usize) -> u32 {
    // SAFETY: the promise of whoever calls a kernel; so in all of this file.
    !base::crc32c(!seed, unsafe { base::slice(src, len) })
}

unsafe fn base_copy(seed: u32, src: *const u8, dst: *mut u8, len: usize) -> u32 {
    let mut state = !seed;
    // SAFETY: as above.
    unsafe { base::copy_in_steps(src, dst, len, STEP, |step| state = base::crc32c(state, step)) };
    !state
}

#[cfg(target_arch = "x86_64")]
unsafe fn words(seed: u32, src: *const u8, len: usize) -> u32 {
    // SAFETY: as above.
    !unsafe { short::by_words(!seed, src, Nowhere, len) }
}

#[cfg(target_arch = "x86_64")]
unsafe fn streams(seed: u32, src: *const u8, len: usize) -> u32 {
    // SAFETY: as above.
    !unsafe { short::by_streams(!seed, src, len) }
}

#[cfg(target_arch = "x86_64")]
unsafe fn fold<const AHEAD: usize>(seed: u32, src: *const u8, len: usize) -> u32 {
    // SAFETY: as above, with a look at the least.
    unsafe {
        if len < ROW {
            return words(seed, src, len);
        }
        !(folded::<Crc32c, _, AHEAD>((!seed).into(), src, Nowhere, len) as u32)
    }
}

#[cfg(target_arch = "x86_64")]
unsafe fn fold_and_streams(seed: u32, src: *const u8, len: usize) -> u32 {
    // SAFETY: as above, with a look at the least.
    unsafe { if len < hybrid::BLOCK { fold::<0>(seed, src, len) } else { !hybrid::hybrid(!seed, src, len) } }
}

#[cfg(target_arch = "x86_64")]
unsafe fn probe(seed: u32, src: *const u8, len: usize) -> u32 {
    let ticks = super::CrcLimits::DEFAULT.probe_ticks;
    // SAFETY: as above, with a look at the least.
    unsafe {
        if len < hybrid::LEAST_TO_PROBE { fold::<0>(seed, src, len) } else { !hybrid::probing(!seed, src, len, ticks) }
    }
}

#[cfg(target_arch = "x86_64")]
unsafe fn copy_words(seed: u32, src: *const u8, dst: *mut u8, len: usize) -> u32 {
    // SAFETY: as above.
    !unsafe { short::by_words(!seed, src, Cached(dst), len) }
}

#[cfg(target_arch = "x86_64")]
unsafe fn copy_fold(seed: u32, src: *const u8, dst: *mut u8, len: usize) -> u32 {
    // SAFETY: as above, with a look at the least.
    unsafe {
        if len < ROW {
            return copy_words(seed, src, dst, len);
        }
        !(folded::<Crc32c, _, 0>((!seed).into(), src, Cached(dst), len) as u32)
    }
}

#[cfg(target_arch = "x86_64")]
unsafe fn copy_aligned(seed: u32, src: *const u8, dst: *mut u8, len: usize) -> u32 {
    // SAFETY: as above, with a look at the least.
    unsafe {
        if len < 2 * ROW {
            return copy_fold(seed, src, dst, len);
        }
        !(aligned::<Crc32c>((!seed).into(), src, dst, len) as u32)
    }
}

#[cfg(target_arch = "x86_64")]
unsafe fn copy_past<const AHEAD: usize>(seed: u32, src: *const u8, dst: *mut u8, len: usize) -> u32 {
    // SAFETY: as above, with a look at the least.
    unsafe {
        if len < 2 * ROW {
            return copy_fold(seed, src, dst, len);
        }
        !(streamed::<Crc32c, AHEAD>((!seed).into(), src, dst, len) as u32)
    }
}

/// All ways to compute a CRC-32C.
pub(crate) fn kernels() -> Vec<Kernel<Crc32cKernel>> {
    #[allow(unused_mut, reason = "there are more on x86-64")]
    let mut kernels: Vec<Kernel<Crc32cKernel>> = vec![Kernel { name: "crc-fast", tier: Tier::Portable, run: base_crc }];
    #[cfg(target_arch = "x86_64")]
    kernels.extend([
        Kernel { name: "crc32", tier: Tier::Sse42, run: words as Crc32cKernel },
        Kernel { name: "crc32 x 3", tier: Tier::Sse42, run: streams },
        Kernel { name: "fold", tier: Tier::Avx512, run: fold::<0> },
        Kernel { name: "fold, prefetch", tier: Tier::Avx512, run: fold::<2048> },
        Kernel { name: "fold + crc32 x 3", tier: Tier::Avx512, run: fold_and_streams },
        Kernel { name: "fold + crc32 x 3 if cached", tier: Tier::Avx512, run: probe },
    ]);
    kernels
}

/// All ways to copy and compute a CRC-32C.
pub(crate) fn copy_kernels() -> Vec<Kernel<CopyCrc32c>> {
    #[allow(unused_mut, reason = "there are more on x86-64")]
    let mut kernels: Vec<Kernel<CopyCrc32c>> =
        vec![Kernel { name: "memcpy, crc-fast in steps", tier: Tier::Portable, run: base_copy }];
    #[cfg(target_arch = "x86_64")]
    kernels.extend([
        Kernel { name: "crc32", tier: Tier::Sse42, run: copy_words as CopyCrc32c },
        Kernel { name: "fold", tier: Tier::Avx512, run: copy_fold },
        Kernel { name: "fold, stores aligned", tier: Tier::Avx512, run: copy_aligned },
        Kernel { name: "fold past caches", tier: Tier::Avx512, run: copy_past::<0> },
        Kernel { name: "fold past caches, prefetch", tier: Tier::Avx512, run: copy_past::<2048> },
    ]);
    kernels
}
