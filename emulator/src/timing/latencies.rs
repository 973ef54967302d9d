//! A histogram of latencies: constant memory, quantiles to 1.6 %.

/// Buckets for each power of two.
const PER_OCTAVE: u64 = 64;
/// Values below this are counted exactly.
const EXACT: u64 = 2 * PER_OCTAVE;

/// Latencies in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    counts: Vec<u64>,
    total: u64,
    sum: u128,
    max: u64,
}

impl Latencies {
    /// An empty histogram.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one latency, in nanoseconds.
    pub fn record(&mut self, ns: u64) {
        let bucket = Self::bucket(ns);
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.total += 1;
        self.sum += u128::from(ns);
        self.max = self.max.max(ns);
    }

    /// Adds all latencies of another histogram.
    pub fn merge(&mut self, other: &Self) {
        if other.counts.len() > self.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (to, from) in self.counts.iter_mut().zip(&other.counts) {
            *to += from;
        }
        self.total += other.total;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    /// Number of latencies.
    pub fn len(&self) -> u64 {
        self.total
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The mean, in nanoseconds; 0 of none.
    pub fn mean(&self) -> f64 {
        if self.total == 0 { 0.0 } else { self.sum as f64 / self.total as f64 }
    }

    /// The largest, in nanoseconds; 0 of none.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The latency that a fraction `q` (0 to 1) of all does not exceed, in nanoseconds, at most 1.6 % too high; 0 of
    /// none.
    pub fn quantile(&self, q: f64) -> u64 {
        if self.total == 0 {
            return 0;
        }
        let wanted = ((q.clamp(0.0, 1.0) * self.total as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Self::highest(bucket as u64).min(self.max);
            }
        }
        self.max
    }

    fn bucket(ns: u64) -> usize {
        if ns < EXACT {
            return ns as usize;
        }
        // The 7 highest bits: the octave, and the place in it.
        let shift = u64::from(ns.ilog2()) - 6;
        (shift * PER_OCTAVE + (ns >> shift)) as usize
    }

    /// The highest value of a bucket.
    fn highest(bucket: u64) -> u64 {
        if bucket < EXACT {
            return bucket;
        }
        let shift = bucket / PER_OCTAVE - 1;
        let top = bucket - shift * PER_OCTAVE;
        (u128::from(top + 1) << shift).saturating_sub(1).min(u128::from(u64::MAX)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prng::Prng;

    #[test]
    fn quantiles_agree_with_a_sorted_list() {
        let mut rng = Prng::new(3);
        let mut all = Vec::new();
        let mut histogram = Latencies::new();
        for _ in 0..50_000 {
            let value = rng.next() >> (rng.below(50) + 14);
            all.push(value);
            histogram.record(value);
        }
        all.sort_unstable();
        for q in [0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let exact = all[((q * all.len() as f64).ceil() as usize).max(1) - 1];
            let got = histogram.quantile(q);
            assert!(got >= exact && got as f64 <= exact as f64 * 1.016 + 1.0, "{q}: {got} for {exact}");
        }
        assert_eq!((histogram.max(), histogram.len()), (*all.last().unwrap(), 50_000));
        let mean = all.iter().map(|v| *v as f64).sum::<f64>() / 50_000.0;
        assert!((histogram.mean() / mean - 1.0).abs() < 1e-9);
    }

    #[test]
    fn buckets_are_consecutive_and_cover_everything() {
        let mut next = 0;
        for bucket in 0.. {
            let highest = Latencies::highest(bucket);
            assert_eq!(Latencies::bucket(next), bucket as usize);
            assert_eq!(Latencies::bucket(highest), bucket as usize);
            if highest == u64::MAX {
                break;
            }
            next = highest + 1;
        }
    }

    #[test]
    fn merging_is_recording_both() {
        let (mut a, mut b, mut both) = (Latencies::new(), Latencies::new(), Latencies::new());
        for i in 0..1000 {
            a.record(i);
            both.record(i);
            b.record(i * i);
            both.record(i * i);
        }
        a.merge(&b);
        assert_eq!(a, both);
        assert_eq!((Latencies::new().quantile(0.5), Latencies::new().is_empty()), (0, true));
    }
}
