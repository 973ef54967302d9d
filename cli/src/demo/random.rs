//! The choices of a run, repeatable by their seed.

/// `SplitMix64`: small, fast, and more than random enough to choose lengths and operations.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Equal seeds give equal choices.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is at least 1.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// True with this probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        // 32 bits convert exactly, and [0, 1) never reaches a probability of 0.
        f64::from((self.next() >> 32) as u32) / 4_294_967_296.0 < probability
    }

    /// A length from 1 to `max` bytes, all orders of magnitude about equally often.
    pub(crate) fn length(&mut self, max: u32) -> u32 {
        let bits = self.below(u64::from(max.ilog2()) + 1);
        let low = 1u64 << bits;
        let high = (low << 1).min(u64::from(max) + 1);
        (low + self.below(high - low)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_numbers_are_those_of_the_published_generator() {
        let mut random = Random::new(1_234_567);
        assert_eq!([random.next(), random.next()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn lengths_stay_in_range_and_reach_both_ends() {
        for max in [1, 2, 3, 1000, 256 << 10] {
            let mut random = Random::new(7);
            let lengths: Vec<_> = (0..20_000).map(|_| random.length(max)).collect();
            assert!(lengths.iter().all(|length| (1..=max).contains(length)), "max {max}");
            assert!(lengths.contains(&1) && lengths.iter().any(|&length| length > max / 2), "max {max}");
        }
    }

    #[test]
    fn chances_are_about_right_and_exact_at_the_ends() {
        let mut random = Random::new(3);
        let mut count = |p| (0..10_000).filter(|_| random.chance(p)).count();
        assert_eq!((count(0.0), count(1.0)), (0, 10_000));
        assert!((2_800..3_200).contains(&count(0.3)));
    }
}
