//! Numbers without a sign in fixed point, wide enough for every sum of two elements: 2176 bits, the last one worth 2^-1100.

use std::cmp::Ordering;

const WORDS: usize = 34;
/// The weight of the last bit.
pub(super) const LAST: i32 = -1100;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wide([u64; WORDS]);

impl Wide {
    pub(super) const ZERO: Self = Self([0; WORDS]);

    /// `digits * 2^exponent`.
    pub(super) fn new(digits: u64, exponent: i32) -> Self {
        let mut number = Self::ZERO;
        for bit in (0..64).filter(|bit| digits >> bit & 1 == 1) {
            let place = (exponent - LAST) as usize + bit;
            number.0[place / 64] |= 1 << (place % 64);
        }
        number
    }

    /// The exponent of the highest bit that is set; `None` for zero.
    pub(super) fn top(&self) -> Option<i32> {
        let word = (0..WORDS).rev().find(|word| self.0[*word] != 0)?;
        Some(64 * word as i32 + 63 - self.0[word].leading_zeros() as i32 + LAST)
    }

    pub(super) fn add(&self, other: &Self) -> Self {
        let mut sum = Self::ZERO;
        let mut carry = 0;
        for word in 0..WORDS {
            let total = u128::from(self.0[word]) + u128::from(other.0[word]) + carry;
            sum.0[word] = total as u64;
            carry = total >> 64;
        }
        sum
    }

    /// The difference; `other` is not greater.
    pub(super) fn subtract(&self, other: &Self) -> Self {
        let mut difference = Self::ZERO;
        let mut borrow = 0;
        for word in 0..WORDS {
            let total = (1_u128 << 64) + u128::from(self.0[word]) - u128::from(other.0[word]) - borrow;
            difference.0[word] = total as u64;
            borrow = 1 - (total >> 64);
        }
        difference
    }

    pub(super) fn compare(&self, other: &Self) -> Ordering {
        self.0.iter().rev().cmp(other.0.iter().rev())
    }

    /// The number without its bits below `exponent`.
    pub(super) fn floor(&self, exponent: i32) -> Self {
        let place = (exponent - LAST) as usize;
        let mut number = *self;
        for word in 0..WORDS {
            match (64 * word, 64 * word + 64) {
                (_, end) if end <= place => number.0[word] = 0,
                (start, _) if start >= place => {}
                _ => number.0[word] &= u64::MAX << (place % 64),
            }
        }
        number
    }

    /// The bits from `exponent` on, as a number; those above the 64th are lost.
    pub(super) fn digits(&self, exponent: i32) -> u64 {
        let place = (exponent - LAST) as usize;
        let low = self.0[place / 64] >> (place % 64);
        let high = self.0.get(place / 64 + 1).map_or(0, |word| u128::from(*word) << (64 - place % 64));
        low | high as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_differences_of_numbers_that_can_be_checked() {
        for (a, b) in [(0, 0), (1, 1), (u64::MAX, 1), (u64::MAX, u64::MAX), (5, 3), (1 << 40, (1 << 40) - 1)] {
            for exponent in [LAST, -70, -1, 0, 63, 900] {
                let (x, y) = (Wide::new(a, exponent), Wide::new(b, exponent));
                let sum = x.add(&y);
                let exact = u128::from(a) + u128::from(b);
                assert_eq!(sum.digits(exponent), exact as u64);
                assert_eq!(sum.top(), (exact != 0).then(|| exact.ilog2() as i32 + exponent));
                assert_eq!((sum.subtract(&y), x.compare(&y)), (x, a.cmp(&b)));
                assert_eq!(sum.floor(exponent + 3).digits(exponent), exact as u64 & !7);
            }
        }
        assert_eq!(Wide::ZERO.top(), None);
    }
}
