//! Where a size lies between the powers of two, by shifts alone.

/// The smallest size class, as a power of two: 64 bytes.
const LOWEST: u32 = 6;
/// The largest: 2 GiB.
const HIGHEST: u32 = 31;
/// Size classes: powers of two from 64 bytes to 2 GiB.
pub(super) const CLASSES: usize = (HIGHEST - LOWEST + 1) as usize;
/// Bits of [`Place::fraction`].
pub(super) const FRACTION_BITS: u32 = 16;
/// 1, as a [`Place::fraction`].
pub(super) const ONE: u64 = 1 << FRACTION_BITS;

/// A size as a class and the way to the next one. Smaller sizes count as 64 bytes, larger ones as 2 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The class: 0 for 64 bytes, one more for each doubling.
    pub(super) class: usize,
    /// How far it is to the next class, in parts of [`ONE`]; 0 in the last class.
    pub(super) fraction: u64,
}

impl Place {
    #[inline]
    pub(super) fn of(bytes: u64) -> Self {
        let bytes = bytes.clamp(1 << LOWEST, 1 << HIGHEST);
        let zeros = bytes.leading_zeros();
        Self {
            class: (63 - LOWEST - zeros) as usize,
            // The bits behind the leading one.
            fraction: ((bytes << zeros) << 1) >> (64 - FRACTION_BITS),
        }
    }

    /// [`class`](Self::class) by itself, and for sizes beyond the last class a number that none has, at most 57.
    #[inline]
    pub(super) fn class_of(bytes: u64) -> usize {
        ((bytes | 1 << LOWEST).ilog2() - LOWEST) as usize
    }

    /// The class whose power of two is nearer.
    #[inline]
    pub(super) fn nearest(self) -> usize {
        self.class + usize::from(self.fraction >= ONE / 2)
    }
}

/// The size of a class, in bytes.
pub(super) const fn size(class: usize) -> u64 {
    1 << (class as u32 + LOWEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_are_classes_and_sizes_between_them_fractions() {
        for class in 0..CLASSES {
            assert_eq!(Place::of(size(class)), Place { class, fraction: 0 });
            if class + 1 < CLASSES {
                assert_eq!(Place::of(size(class) * 3 / 2), Place { class, fraction: ONE / 2 });
                assert_eq!(Place::of(size(class) * 5 / 4), Place { class, fraction: ONE / 4 });
            }
        }
    }

    #[test]
    fn sizes_out_of_range_count_as_the_nearest_in_range() {
        assert_eq!(Place::of(0), Place::of(64));
        assert_eq!(Place::of(63), Place::of(64));
        for bytes in [(1 << 31) + 1, 3 << 31, u64::MAX] {
            assert_eq!(Place::of(bytes), Place { class: CLASSES - 1, fraction: 0 });
        }
    }

    #[test]
    fn the_class_by_itself_is_the_same_in_range_and_none_beyond() {
        for bytes in (0..200_000u64).chain((0..1000).map(|step| (1 << 31) - 1 - step * step)) {
            assert_eq!(Place::class_of(bytes), Place::of(bytes).class, "{bytes}");
        }
        assert_eq!((Place::class_of(1 << 31), Place::class_of((1 << 32) - 1)), (CLASSES - 1, CLASSES - 1));
        assert_eq!((Place::class_of(1 << 32), Place::class_of(u64::MAX)), (CLASSES, 57));
    }

    #[test]
    fn the_place_never_goes_back_as_the_size_grows() {
        let mut last = (0, 0);
        for step in 0..40_000u64 {
            let place = Place::of(step * step);
            assert!((place.class, place.fraction) >= last, "{}", step * step);
            last = (place.class, place.fraction);
        }
    }
}
