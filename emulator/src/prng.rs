//! A small seeded generator (splitmix64): reproducible choices for injection, member order and move direction.

/// A splitmix64 state. Equal seeds give equal sequences on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Prng(u64);

impl Prng {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 for a bound of 0. The bias is below 2^-32 for every bound the model uses.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// True with probability `p`; never for 0 and always for 1.
    pub(crate) fn chance(&mut self, p: f64) -> bool {
        if p <= 0.0 {
            return false;
        }
        // 53 bits make every value exactly representable and keep the quotient below 1.
        #[allow(clippy::cast_precision_loss)]
        let unit = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        unit < p
    }
}

#[cfg(test)]
mod tests {
    use super::Prng;

    #[test]
    fn equal_seeds_give_equal_sequences() {
        let (mut a, mut b) = (Prng::new(7), Prng::new(7));
        assert!((0..100).all(|_| a.next() == b.next()));
        assert_ne!(Prng::new(7).next(), Prng::new(8).next());
    }

    #[test]
    fn below_stays_below_and_chance_has_its_ends() {
        let mut p = Prng::new(1);
        assert!((0..1000).all(|_| p.below(7) < 7));
        assert!((0..1000).all(|_| !p.chance(0.0) && p.chance(1.0)));
        let hits = (0..10_000).filter(|_| p.chance(0.25)).count();
        assert!((2_200..2_800).contains(&hits));
    }
}
