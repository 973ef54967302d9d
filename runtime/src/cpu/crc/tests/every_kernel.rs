//! Every kernel, tier and hint, at every size and alignment that could matter.

use super::select::copy_state32_at;
use super::*;

/// The CRC of the first bytes of noise from each of 64 alignments on.
pub(super) struct Expected {
    params: CrcParams,
    seed: u64,
    data: Vec<u8>,
    /// By alignment and length.
    results: Vec<Vec<u64>>,
}

impl Expected {
    pub(super) fn new(params: CrcParams, longest: usize) -> Self {
        let (data, seed) = (noise(longest + 64, 5), 0x0123_4567_89ab_cdef);
        let results = (0..64).map(|shift| {
            let mut oracle = Oracle::new(params, seed);
            let mut results = vec![oracle.result()];
            results.extend(data[shift..shift + longest].iter().map(|&byte| {
                oracle.take(byte);
                oracle.result()
            }));
            results
        });
        let results = results.collect();
        Self { params, seed, data, results }
    }

    /// Runs `crc` (seed, from, bytes) for the sizes at their alignments.
    pub(super) fn check(&self, name: &str, sizes: &[usize], crc: impl Fn(u64, *const u8, usize) -> u64) {
        for &size in sizes {
            for shift in 0..64 {
                let value = crc(self.seed, self.data[shift..shift + size].as_ptr(), size);
                assert_eq!(value, self.results[shift][size], "{name}, {:?}, {size} bytes at {shift}", self.params);
            }
        }
    }

    /// Runs `copy` (seed, from, to, bytes) for the sizes at their alignments.
    pub(super) fn check_copy(&self, name: &str, sizes: &[usize], copy: impl Fn(u64, *const u8, *mut u8, usize) -> u64) {
        const AROUND: usize = 64;
        let mut memory = vec![0xa5_u8; self.data.len() + 64 + 3 * AROUND];
        let base = memory.as_ptr().align_offset(64) + AROUND;
        for &size in sizes {
            for (from, to) in alignments(size) {
                let at = base + to;
                let value =
                    copy(self.seed, self.data[from..from + size].as_ptr(), memory[at..at + size].as_mut_ptr(), size);
                let place = format_args!("{name}, {:?}, {size} bytes from {from} to {to}", self.params).to_string();
                assert_eq!(value, self.results[from][size], "{place}");
                assert!(memory[at..at + size] == self.data[from..from + size], "{place}: the copy differs");
                let around = [&memory[at - AROUND..at], &memory[at + size..at + size + AROUND]];
                assert!(around.iter().all(|bytes| **bytes == [0xa5; AROUND]), "{place}: bytes around were written");
                memory[at..at + size].fill(0xa5);
            }
        }
    }
}

pub(super) const CRC32C: CrcParams =
    CrcParams { width: CrcWidth::Crc32C, bypass_inversion: false, bypass_reflection: false };
const CRC64: CrcParams = CrcParams { width: CrcWidth::Crc64, ..CRC32C };

/// Sizes at which the kernels with blocks change their ways, beyond those that every sweep has.
#[cfg(target_arch = "x86_64")]
const TURNING_POINTS: [usize; 3] = [hybrid::BLOCK, hybrid::LEAST_TO_PROBE, hybrid::LEAST_TO_PROBE + hybrid::BLOCK];
#[cfg(not(target_arch = "x86_64"))]
const TURNING_POINTS: [usize; 0] = [];
pub(super) const LONGEST: usize = 20 * 1024;

/// Limits by which each kernel is used as early as it can be.
const EARLY: CrcLimits = CrcLimits {
    fold_from: 0,
    hybrid_from: 0,
    probe_from: 0,
    probe_ticks: u64::MAX,
    prefetch_from: 100,
    streams_from: 0,
    base_from: usize::MAX,
    align_from: 500,
    past_from: 0,
    past_unknown_from: 1000,
    past_prefetch_from: 2000,
    step: 100,
};

/// The same, but data always take too long for scalar streams.
const IMPATIENT: CrcLimits = CrcLimits { probe_ticks: 0, ..EARLY };

fn sweep_kernel(name: &str, sizes: &[usize]) {
    let expected = Expected::new(CRC32C, LONGEST);
    let kernel = kernels().into_iter().find(|kernel| kernel.name == name);
    assert!(kernel.is_some() || cfg!(not(target_arch = "x86_64")), "there is no kernel {name}");
    if let Some(kernel) = kernel.filter(|kernel| kernel.tier <= Tier::of_cpu()) {
        // SAFETY: the CPU has the tier; `check` gives regions of valid bytes.
        expected.check(name, sizes, |seed, src, len| unsafe { (kernel.run)(seed as u32, src, len).into() });
    }
}

fn sweep_copy_kernel(name: &str, sizes: &[usize]) {
    let expected = Expected::new(CRC32C, LONGEST);
    let kernel = copy_kernels().into_iter().find(|kernel| kernel.name == name);
    assert!(kernel.is_some() || cfg!(not(target_arch = "x86_64")), "there is no kernel {name}");
    if let Some(kernel) = kernel.filter(|kernel| kernel.tier <= Tier::of_cpu()) {
        expected.check_copy(name, sizes, |seed, src, dst, len| {
            // SAFETY: the CPU has the tier; `check_copy` gives regions of valid bytes that do not overlap.
            unsafe { (kernel.run)(seed as u32, src, dst, len).into() }
        });
    }
}

macro_rules! sweeps {
    ($sweep:ident $sizes:expr; $($test:ident $name:literal,)+) => { $(#[test] fn $test() { $sweep($name, $sizes) })+ };
}

// More than these are left to others.
sweeps! {
    sweep_kernel &(0..=2200).collect::<Vec<usize>>();
    by_words "crc32",
    by_streams "crc32 x 3",
}

sweeps! {
    sweep_kernel &sizes(&[8192]);
    by_folding "fold",
    by_folding_with_prefetch "fold, prefetch",
}

sweeps! {
    sweep_kernel &sizes(&TURNING_POINTS);
    by_folding_and_streams "fold + crc32 x 3",
}

sweeps! {
    sweep_copy_kernel &(0..=600).collect::<Vec<usize>>();
    copy_by_words "crc32",
}

sweeps! {
    sweep_copy_kernel &sizes(&[8192]);
    copy_by_folding "fold",
    copy_by_folding_to_aligned_addresses "fold, stores aligned",
    copy_past_the_caches "fold past caches",
    copy_past_the_caches_with_prefetch "fold past caches, prefetch",
}

/// Whether the data count as cached is up to the clock; here it is so, and is not, whatever the clock says.
#[cfg(target_arch = "x86_64")]
#[test]
fn by_folding_and_streams_if_cached() {
    use hybrid::{LEAST_TO_PROBE, probing};
    let expected = Expected::new(CRC32C, LONGEST);
    let sizes: Vec<usize> = (LEAST_TO_PROBE..LEAST_TO_PROBE + 600).step_by(7).chain(LONGEST - 100..=LONGEST).collect();
    if Tier::of_cpu() == Tier::Avx512 {
        for ticks in [0, u64::MAX] {
            // SAFETY: the CPU has the tier; `check` gives regions of valid bytes, and the sizes are large enough.
            expected
                .check("probing", &sizes, |seed, src, len| unsafe { (!probing(!seed as u32, src, len, ticks)).into() });
        }
    }
    sweep_kernel("fold + crc32 x 3 if cached", &TURNING_POINTS);
}

#[test]
fn no_kernel_is_left_out_of_the_sweeps() {
    if cfg!(target_arch = "x86_64") {
        // The first is `crc-fast`, as in the sweep over tiers.
        assert_eq!((kernels().len(), copy_kernels().len()), (1 + 6, 1 + 5));
    }
}

/// Some sizes: all small ones, and those around every limit of either set.
fn some_sizes() -> Vec<usize> {
    let CrcLimits { fold_from, hybrid_from, probe_from, streams_from, base_from, align_from, past_from, step, .. } =
        CrcLimits::DEFAULT;
    let limits = [
        fold_from,
        hybrid_from,
        probe_from,
        streams_from,
        base_from,
        align_from,
        past_from,
        step,
        512,
        768,
        1000,
        2000,
    ];
    let around = limits.into_iter().chain(TURNING_POINTS).flat_map(|at| at - 2..=at + 2);
    (0..=130).chain(around).collect()
}

/// A variant on every tier with every hint.
fn every_tier_and_hint(params: CrcParams) {
    let expected = Expected::new(params, LONGEST);
    for tier in Tier::available() {
        for (limits, hint) in [
            (&CrcLimits::DEFAULT, Hint::Unknown),
            (&EARLY, Hint::Unknown),
            (&IMPATIENT, Hint::Unknown),
            (&EARLY, Hint::Cold),
            (&EARLY, Hint::Hot),
        ] {
            let name = format!("{tier}, {hint:?}");
            // SAFETY: the CPU has the tier, and the regions are those that are asked for.
            expected.check(&name, &some_sizes(), |seed, src, len| unsafe {
                params.result(state_at(tier, limits, hint, params, params.state(seed), src, len))
            });
        }
    }
}

/// The same with a copy.
fn every_tier_and_hint_with_copy(params: CrcParams) {
    let some: Vec<usize> = some_sizes().into_iter().filter(|size| *size > 130 || size % 16 == 1).collect();
    let expected = Expected::new(params, LONGEST);
    for tier in Tier::available() {
        for (limits, hint) in [(&CrcLimits::DEFAULT, Hint::Cold), (&EARLY, Hint::Unknown), (&EARLY, Hint::Hot)] {
            let name = format!("{tier}, {hint:?}");
            expected.check_copy(&name, &some, |seed, src, dst, len| {
                let state = params.state(seed);
                // SAFETY: the CPU has the tier, and the regions are those that are asked for.
                params.result(unsafe { copy_state_at(tier, limits, hint, params, state, src, dst, len) })
            });
        }
    }
}

macro_rules! variants {
    ($way:ident: $($test:ident $params:expr,)+) => { $(#[test] fn $test() { $way($params) })+ };
}

variants! {
    every_tier_and_hint:
    crc32c_on_every_tier_with_every_hint CRC32C,
    crc32c_without_inversion_on_every_tier CrcParams { bypass_inversion: true, ..CRC32C },
    crc32c_without_reflection_on_every_tier CrcParams { bypass_reflection: true, ..CRC32C },
    crc64_on_every_tier_with_every_hint CRC64,
    crc64_without_inversion_on_every_tier CrcParams { bypass_inversion: true, ..CRC64 },
    crc64_without_reflection_on_every_tier CrcParams { bypass_reflection: true, ..CRC64 },
}

variants! {
    every_tier_and_hint_with_copy:
    copy_crc32c_on_every_tier_with_every_hint CRC32C,
    copy_crc32c_without_reflection_on_every_tier CrcParams { bypass_reflection: true, ..CRC32C },
    copy_crc64_on_every_tier_with_every_hint CRC64,
}

#[test]
fn nothing_outside_the_regions_is_touched() {
    let (source, destination) = (Guarded::new(LONGEST), Guarded::new(LONGEST));
    let data = noise(LONGEST, 9);
    for size in
        (0..=200).chain([255, 256, 257, 511, 512, 513, 1023, 1024, 1025, 2047, 5631, 5633, 7681, 8193, 13_825, 20_480])
    {
        let value = oracle(CRC32C, 7, &data[..size]) as u32;
        for tier in Tier::available() {
            for (limits, hint) in [
                (&CrcLimits::DEFAULT, Hint::Unknown),
                (&EARLY, Hint::Unknown),
                (&EARLY, Hint::Cold),
                (&EARLY, Hint::Hot),
            ] {
                let name = format!("{tier}, {hint:?}, {size} bytes");
                // Behind the first inaccessible page and before the last.
                let from_end = source.put(&data[..size]);
                // SAFETY: accessible bytes of memory that only the test uses, and a CPU of the tier.
                unsafe {
                    let crc = |from| !state32_at(tier, limits, hint, !7, from, size);
                    let copy = |from, to| !copy_state32_at(tier, limits, hint, !7, from, to, size);
                    assert_eq!(crc(from_end), value, "{name}, at the end");
                    assert_eq!(copy(from_end, destination.end(size)), value, "{name}, copied at the end");
                    assert!(destination.bytes(size) == data[..size], "{name}, at the end");
                    ptr::copy_nonoverlapping(data.as_ptr(), source.start(), size);
                    assert_eq!(crc(source.start()), value, "{name}, at the start");
                    assert_eq!(copy(source.start(), destination.start()), value, "{name}, copied at the start");
                    assert!(
                        std::slice::from_raw_parts(destination.start(), size) == &data[..size],
                        "{name}, at the start"
                    );
                }
            }
        }
    }
}

#[test]
fn the_start_of_a_message_on_every_tier() {
    let data = noise(3000, 1);
    for params in [CRC32C, CRC64] {
        for size in (0..100).chain([200, 256, 300, 1024, 1025, 3000]) {
            let value = oracle(params, 0, &data[..size]);
            for tier in Tier::available() {
                let state = params.state(0);
                // SAFETY: the CPU has the tier, and a slice is valid.
                let state = unsafe {
                    state_at(tier, &CrcLimits::DEFAULT, Hint::Unknown, params, state, data[..size].as_ptr(), size)
                };
                assert_eq!(params.result(state), value, "{tier}, {params:?}, {size} bytes");
            }
        }
    }
}
