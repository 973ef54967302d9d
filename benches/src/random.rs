//! Seeded randomness: the content of buffers, resamples, arrivals. The same seed gives the same run.

/// `SplitMix64`: small, fast, and good enough for data and resamples.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator; every seed is as good as another.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 on, below `limit`.
    ///
    /// # Panics
    ///
    /// If `limit` is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        assert!(limit > 0, "there is no number below 0");
        // The high half of the product: the bias is of the order of limit / 2^64.
        ((u128::from(self.bits()) * limit as u128) >> 64) as usize
    }

    /// A number from 0 on, below 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The gap to the next arrival of a Poisson process, in the unit of `mean`.
    pub fn gap(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// Fills a buffer with bytes other than 0: stores of zeros can be faster than any others.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            // The lowest bit of each byte is set.
            let word = (self.bits() | 0x0101_0101_0101_0101).to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    /// Puts the values into a random order.
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for i in (1..values.len()).rev() {
            values.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_sequence() {
        let sequence = |seed| -> Vec<u64> {
            let mut random = Random::new(seed);
            (0..8).map(|_| random.bits()).collect()
        };
        assert_eq!(sequence(1), sequence(1));
        assert_ne!(sequence(1), sequence(2));
    }

    #[test]
    fn numbers_stay_below_their_limit_and_reach_all_of_it() {
        let mut random = Random::new(3);
        let mut seen = [0; 7];
        (0..7_000).for_each(|_| seen[random.below(7)] += 1);
        assert!(seen.iter().all(|count| (800..1_200).contains(count)), "{seen:?}");
    }

    #[test]
    fn gaps_have_the_mean_and_the_median_of_a_poisson_process() {
        let mut random = Random::new(4);
        let mut gaps: Vec<f64> = (0..20_000).map(|_| random.gap(100.0)).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        gaps.sort_by(f64::total_cmp);
        assert!((mean / 100.0 - 1.0).abs() < 0.03, "{mean}");
        assert!((gaps[10_000] / (100.0 * 2.0_f64.ln()) - 1.0).abs() < 0.04, "{}", gaps[10_000]);
    }

    #[test]
    fn content_has_no_zeros_and_is_no_constant() {
        let mut bytes = [0; 1_003];
        Random::new(5).fill(&mut bytes);
        assert!(bytes.iter().all(|byte| *byte != 0));
        assert!(bytes.windows(2).filter(|pair| pair[0] == pair[1]).count() < 50);
    }

    #[test]
    fn a_shuffle_keeps_every_value() {
        let mut values: Vec<usize> = (0..100).collect();
        Random::new(6).shuffle(&mut values);
        assert_ne!(values, (0..100).collect::<Vec<_>>());
        values.sort_unstable();
        assert_eq!(values, (0..100).collect::<Vec<_>>());
    }
}
