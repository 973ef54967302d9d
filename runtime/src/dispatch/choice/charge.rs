//! What an operation counts for in the load of its queue, in sixteen bits.
//!
//! A slot has no room for more, and has to keep it: whoever ends an operation takes away what began it. Eleven bits of the
//! number and five of its magnitude, in units of 64 bytes; rounded down, by less than one part in a thousand.

/// Bytes of the unit, as a power of two.
const UNIT_BITS: u32 = 6;
/// Bits of the number.
const NUMBER_BITS: u32 = 11;

/// Nothing counts for more: one less than what sixteen bits can say.
const MOST_UNITS: u64 = ((1 << NUMBER_BITS) - 2) << 31;

/// So many bytes of a copy, rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Charge(u16);

impl Charge {
    /// The nearest one that is not more.
    #[inline]
    pub(crate) fn of(bytes: u64) -> Self {
        let units = (bytes >> UNIT_BITS).min(MOST_UNITS);
        let magnitude = (64 - NUMBER_BITS).saturating_sub((units | 1).leading_zeros());
        Self((magnitude << NUMBER_BITS) as u16 | (units >> magnitude) as u16)
    }

    /// The bytes.
    #[inline]
    pub(crate) fn bytes(self) -> u64 {
        let word = u64::from(self.0);
        (word & ((1 << NUMBER_BITS) - 1)) << (word >> NUMBER_BITS) << UNIT_BITS
    }

    /// As a word, for a slot; never [`UNCOUNTED`].
    #[inline]
    pub(crate) fn word(self) -> u16 {
        self.0
    }

    /// Back from a slot. `None` if nothing has been counted there.
    #[inline]
    pub(crate) fn from_word(word: u16) -> Option<Self> {
        (word != UNCOUNTED).then_some(Self(word))
    }
}

/// In place of a charge's word.
pub(crate) const UNCOUNTED: u16 = u16::MAX;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_charge_is_less_by_a_thousandth_at_most(bytes in 0u64..1 << 48) {
            let charge = Charge::of(bytes);
            let bytes = bytes.min(MOST_UNITS << UNIT_BITS);
            prop_assert!(charge.bytes() <= bytes && bytes - charge.bytes() < 64 + bytes / 1000, "{}", charge.bytes());
            prop_assert_eq!(Charge::from_word(charge.word()), Some(charge));
            // What has been rounded once stays.
            prop_assert_eq!(Charge::of(charge.bytes()), charge);
        }

        #[test]
        fn more_bytes_are_never_less(bytes: u64, more: u64) {
            prop_assert!(Charge::of(bytes).bytes() <= Charge::of(bytes.saturating_add(more)).bytes());
        }
    }

    #[test]
    fn the_ends_fit() {
        assert_eq!((Charge::of(63).bytes(), Charge::of(64).bytes()), (0, 64));
        assert_eq!(Charge::of(2047 * 64).bytes(), 2047 * 64);
        assert_eq!(Charge::of(1 << 31).bytes(), 1 << 31);
        assert_eq!(Charge::of(u64::MAX).bytes(), MOST_UNITS << UNIT_BITS);
        assert_eq!(Charge::of(u64::MAX).word(), UNCOUNTED - 1);
        assert_eq!(Charge::from_word(UNCOUNTED), None);
    }
}
