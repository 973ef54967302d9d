//! A histogram of durations that any thread may add to at any time.
//!
//! Log-linear buckets: each power of two of nanoseconds is cut into eight equal parts, and 0 to 7 ns have a bucket
//! each. So a bucket is at most an eighth as wide as its lowest value, and its middle is at most 1/16 of the value away.
//! Recording is a shift, a mask and one relaxed addition.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hdrhistogram::Histogram;

/// Parts of a power of two, as a power of two.
const PART_BITS: u32 = 3;
const PARTS: usize = 1 << PART_BITS;
/// Durations below this number of bits have a bucket, that is below 2^36 ns or 68.7 s.
const BITS: u32 = 36;
/// The buckets, without that for longer durations.
const IN_RANGE: usize = (BITS - PART_BITS + 1) as usize * PARTS;
/// All buckets; the last takes the durations of 2^36 ns and longer.
pub(super) const BUCKETS: usize = IN_RANGE + 1;

/// Counts of durations in nanoseconds, in buckets of about 12 per cent width up to 68.7 s, and one for longer ones.
pub struct AtomicHistogram {
    counts: [AtomicU64; BUCKETS],
}

impl AtomicHistogram {
    /// An empty histogram.
    pub const fn new() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; BUCKETS] }
    }

    /// Adds one duration, in nanoseconds.
    #[inline]
    pub fn record(&self, nanoseconds: u64) {
        self.counts[bucket(nanoseconds)].fetch_add(1, Relaxed);
    }

    /// The counts at this moment. Durations that are added meanwhile may or may not be among them.
    pub(super) fn counts(&self) -> Vec<u64> {
        self.counts.iter().map(|count| count.load(Relaxed)).collect()
    }

    /// A copy with quantiles. Each duration is taken as the middle of its bucket, at most 1/16 away from what it was;
    /// those of 2^36 ns (68.7 s) and longer count as 2^36 ns.
    ///
    /// # Panics
    ///
    /// Never: the bounds are constants that the constructor accepts.
    pub fn to_histogram(&self) -> Histogram<u64> {
        to_histogram(&self.counts())
    }
}

impl Default for AtomicHistogram {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for AtomicHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count: u64 = self.counts().iter().sum();
        f.debug_struct("AtomicHistogram").field("count", &count).finish_non_exhaustive()
    }
}

/// The histogram that counts per bucket stand for. See [`AtomicHistogram::to_histogram`].
pub(super) fn to_histogram(counts: &[u64]) -> Histogram<u64> {
    // Two significant digits resolve 1 per cent, more than the buckets do.
    let mut histogram = Histogram::new_with_bounds(1, 1 << BITS, 2).expect("constant bounds");
    for (bucket, &count) in counts.iter().enumerate().filter(|&(_, &count)| count != 0) {
        // Nothing is clipped here: the bounds take the middle of every bucket.
        histogram.saturating_record_n(middle(bucket), count);
    }
    histogram
}

/// The bucket of a duration.
#[inline]
const fn bucket(nanoseconds: u64) -> usize {
    if nanoseconds < PARTS as u64 {
        nanoseconds as usize
    } else if nanoseconds >> BITS != 0 {
        IN_RANGE
    } else {
        // Position of the highest bit, at least PART_BITS; the next PART_BITS bits choose the part.
        let shift = nanoseconds.ilog2() - PART_BITS;
        (shift as usize + 1) * PARTS + (nanoseconds >> shift) as usize % PARTS
    }
}

/// The lowest duration of a bucket.
const fn lowest(bucket: usize) -> u64 {
    if bucket < PARTS {
        bucket as u64
    } else {
        let shift = bucket / PARTS - 1;
        ((PARTS + bucket % PARTS) as u64) << shift
    }
}

/// The duration that stands for a bucket.
const fn middle(bucket: usize) -> u64 {
    if bucket >= IN_RANGE { 1 << BITS } else { u64::midpoint(lowest(bucket), lowest(bucket + 1) - 1) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_join_without_gap_or_overlap() {
        assert_eq!((bucket(0), bucket(u64::MAX), lowest(IN_RANGE)), (0, IN_RANGE, 1 << BITS));
        for at in 0..IN_RANGE {
            assert!(lowest(at) < lowest(at + 1));
            assert_eq!(bucket(lowest(at)), at);
            assert_eq!(bucket(lowest(at + 1) - 1), at);
            assert_eq!(bucket(middle(at)), at);
        }
    }

    #[test]
    fn short_durations_are_exact() {
        for nanoseconds in 0..16 {
            assert_eq!(middle(bucket(nanoseconds)), nanoseconds);
        }
        assert_eq!(bucket(16), bucket(17));
    }

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let histogram = AtomicHistogram::new();
        for nanoseconds in 1..=10_000_u64 {
            histogram.record(nanoseconds);
        }
        let histogram = histogram.to_histogram();
        assert_eq!(histogram.len(), 10_000);
        for percent in [10, 50, 90, 99, 100] {
            let value = histogram.value_at_percentile(f64::from(percent as u32));
            let exact = percent * 100;
            assert!(value.abs_diff(exact) <= exact / 12, "percentile {percent} is {value}");
        }
    }

    #[test]
    fn durations_beyond_the_range_count_at_its_end() {
        let histogram = AtomicHistogram::new();
        histogram.record(5);
        histogram.record(1 << BITS);
        histogram.record(u64::MAX);
        let histogram = histogram.to_histogram();
        assert_eq!(histogram.len(), 3);
        assert!(histogram.max() >= 1 << BITS);
        assert_eq!(histogram.min(), 5);
    }

    proptest! {
        #[test]
        fn the_middle_of_a_bucket_is_near(nanoseconds in 0_u64..1 << BITS) {
            let middle = middle(bucket(nanoseconds));
            prop_assert!(middle.abs_diff(nanoseconds) <= nanoseconds / 16);
        }
    }
}
