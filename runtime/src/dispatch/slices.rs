//! How much the CPU does in one poll: a number of bytes, and a time.
//!
//! The time is kept by an estimate of how fast the CPU does each kind of operation, which every slice corrects. The
//! estimate is a pure function of what was done and how long it took; nothing here reads a clock.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use crate::stats::Operation;

/// The least that is done at once, however slow it is. Also the granularity of slices.
pub(crate) const LEAST: u64 = 4096;

/// What is done at once of a kind of which nothing is known yet.
const FIRST: u64 = 32 << 10;

/// Fixed-point position of a rate, which is in bytes per tick.
const SHIFT: u32 = 20;

/// How fast the CPU is.
#[derive(Debug)]
pub(crate) struct Rates {
    /// By operation; 0 where nothing is known.
    by_operation: [AtomicU64; Operation::ALL.len()],
    /// The most bytes in one poll.
    most: u64,
    /// The most ticks in one poll; 0 if time does not matter.
    ticks: u64,
}

impl Rates {
    /// Slices of at most `most` bytes and `ticks` ticks; 0 ticks are no limit.
    pub(crate) fn new(most: usize, ticks: u64) -> Self {
        let most = (most as u64).clamp(LEAST, 1 << 40).next_multiple_of(LEAST);
        Self { by_operation: [const { AtomicU64::new(0) }; Operation::ALL.len()], most, ticks }
    }

    /// The most bytes in one poll.
    pub(crate) fn most(&self) -> u64 {
        self.most
    }

    /// The most ticks in one poll, if there is a limit.
    pub(crate) fn ticks(&self) -> Option<u64> {
        (self.ticks != 0).then_some(self.ticks)
    }

    /// How many bytes of this kind can be done in `ticks` ticks: [`LEAST`] or more, and at most `most`, where that is
    /// more.
    pub(crate) fn slice(&self, operation: Operation, ticks: u64, most: u64) -> u64 {
        let rate = self.by_operation[operation as usize].load(Ordering::Relaxed);
        let bytes = if rate == 0 { FIRST } else { bytes_in(rate, ticks) };
        (bytes / LEAST * LEAST).min(most).max(LEAST)
    }

    /// So many bytes of this kind have taken so many ticks.
    pub(crate) fn learn(&self, operation: Operation, bytes: u64, ticks: u64) {
        let rate = &self.by_operation[operation as usize];
        // Two threads at once: one of them has taught nothing.
        rate.store(corrected(rate.load(Ordering::Relaxed), bytes, ticks), Ordering::Relaxed);
    }
}

/// What a rate is after a sample. One that is far off - the thread was interrupted, the data was in the cache - counts as one
/// that is off by a factor of four, and for an eighth; so a single one changes the rate by less than half.
fn corrected(rate: u64, bytes: u64, ticks: u64) -> u64 {
    let sample = (u128::from(bytes) << SHIFT) / u128::from(ticks.max(1));
    // So that nothing below can overflow, and nothing known looks like nothing known.
    let sample = u64::try_from(sample).unwrap_or(u64::MAX).clamp(1, 1 << 40);
    if rate == 0 {
        return sample;
    }
    let sample = sample.clamp((rate / 4).max(1), rate.saturating_mul(4).max(8));
    let step = rate.abs_diff(sample).div_ceil(8);
    if sample < rate { rate - step } else { rate + step }.max(1)
}

fn bytes_in(rate: u64, ticks: u64) -> u64 {
    u64::try_from((u128::from(rate) * u128::from(ticks)) >> SHIFT).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KIND: Operation = Operation::Copy;

    proptest! {
        /// Whatever was learnt, a slice is within its bounds and of whole pages.
        #[test]
        fn a_slice_keeps_its_bounds(
            samples in prop::collection::vec((any::<u64>(), any::<u64>()), 0..20),
            most in 0usize..1 << 30,
            ticks: u64,
        ) {
            let rates = Rates::new(most, ticks);
            for (bytes, taken) in samples {
                rates.learn(KIND, bytes, taken);
                let slice = rates.slice(KIND, ticks, rates.most());
                prop_assert!((LEAST..=rates.most()).contains(&slice) && slice.is_multiple_of(LEAST));
            }
        }

        /// With a CPU of constant speed no slice takes longer than it should, once that speed is known, unless it is
        /// the least there is; and it is not much shorter than it could be.
        #[test]
        fn a_steady_cpu_is_estimated_well(speed in 1u64..1 << 16, ticks in 1000u64..1 << 24) {
            // Bytes per 256 ticks.
            let rates = Rates::new(1 << 40, ticks);
            for _ in 0..40 {
                let bytes = rates.slice(KIND, ticks, rates.most());
                rates.learn(KIND, bytes, bytes * 256 / speed);
            }
            let bytes = rates.slice(KIND, ticks, rates.most());
            let ideal = ticks * speed / 256;
            prop_assert!(bytes <= LEAST.max(ideal + ideal / 32), "{bytes} of {ideal} bytes");
            prop_assert!(bytes + LEAST + ideal / 32 >= ideal, "{bytes} of {ideal} bytes");
        }

        /// From any estimate, the right one is reached in a bounded number of slices, and a single odd sample does not
        /// spoil it.
        #[test]
        fn an_estimate_recovers(wrong in 1u64..1 << 40, right in 1u64..1 << 40) {
            let mut rate = wrong;
            for _ in 0..400 {
                rate = corrected(rate, right, 1 << SHIFT);
            }
            prop_assert!(rate.abs_diff(right) <= 8 + right / 64, "{rate} for {right}");
            for (bytes, ticks) in [(0, u64::MAX), (u64::MAX, 0), (1, u64::MAX)] {
                let odd = corrected(rate, bytes, ticks);
                prop_assert!(odd >= rate / 2 && odd <= (rate * 3 / 2).max(rate + 8), "{odd} after {rate}");
            }
        }
    }

    #[test]
    fn kinds_are_apart_and_no_time_is_no_limit() {
        let rates = Rates::new(1 << 20, 1000);
        assert_eq!(rates.slice(KIND, 1000, 1 << 20), FIRST);
        rates.learn(KIND, 2 << 20, 1000);
        assert_eq!(rates.slice(KIND, 1000, 1 << 20), 1 << 20);
        assert_eq!(rates.slice(KIND, 1000, 64 << 10), 64 << 10);
        assert_eq!(rates.slice(Operation::Fill, 1000, 1 << 20), FIRST);
        assert_eq!((Rates::new(1, 0).ticks(), Rates::new(1, 0).most()), (None, LEAST));
    }
}
