//! Running estimates of how long operations take.
//!
//! A curve for each kind of operation and [`Quantity`]: a value at each power of two from 64 bytes to 2 GiB, and
//! straight lines between them. A sample of any size moves the two values around it, so that what the curve says *at that
//! size* comes nearer to the sample.
//!
//! **Averaging.** An eighth of the difference; the first samples of a size class count for more: a half, a quarter.
//!
//! **Outliers.** A sample counts as at least half and at most twice what was expected, so that a thread that was preempted
//! for 4 ms moves an estimate of 1 us by at most an eighth of it, the very first ones of a class by at most a half. But
//! the fourth such sample in a row, all to the same side, is no outlier any more: from then on half of the real difference
//! counts, and counts for both values in proportion to each. So a lasting change by any factor up to 1000 is followed to within a quarter in 32 samples.
//!
//! **Classes without samples.** They have the modelled value times the factor by which the nearest classes with samples
//! differ from theirs: in between the two neighbours' factors in proportion, beyond the last sample the same
//! factor for three more classes, and from there halved in its distance from 1 with each class.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::KINDS;
use super::defaults::modelled;
use super::place::{CLASSES, FRACTION_BITS, ONE, Place, size};
use crate::stats::Operation;

/// Outliers in a row that are taken for a lasting change.
const PATIENCE: i32 = 4;
/// The weight of a sample, as a power of a half.
const WEIGHT: u32 = 3;
/// The longest time, 17 s: products with a fraction of a class stay within 64 bits.
const LONGEST: u64 = 1 << 44;
/// Classes with samples carry their factor so far beyond them without loss.
const CARRY: usize = 3;
/// How many samples a measured value counts for.
const MEASURED: u32 = 16;
/// Samples of a class are counted so far.
const COUNTED: u32 = 255;

/// What is estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Quantity {
    /// From submission until the submitter knows of the completion, on an idle device.
    Latency,
    /// How long a device is kept from other work: the time for each operation when it has plenty of them.
    Service,
    /// The CPU's time.
    Cpu,
}

impl Quantity {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Latency, Self::Service, Self::Cpu];

    /// The name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Service => "service",
            Self::Cpu => "cpu",
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How fast a sample is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heed {
    /// As described above.
    Usual,
    /// As a time that only an idle device shows: half of the difference if the sample is lower, and a quarter of the usual
    /// if it is higher, because then there are other explanations.
    Least,
}

/// Estimates of the time that operations take, by kind, size and [`Quantity`]. Any thread may read and add at any time;
/// of two samples at the same moment one may be lost.
pub struct Estimates {
    curves: Box<[[Curve; Quantity::ALL.len()]; KINDS]>,
}

/// One curve. Value and mark of a class are read and written one after the other, and need not fit together.
struct Curve {
    /// Picoseconds at each class; one more, for the line behind the last, which is never used by more than 0.
    values: [AtomicU64; CLASSES + 1],
    /// Samples, in the lower 8 bits, and above them the outliers in a row, negative for low ones.
    marks: [AtomicU32; CLASSES + 1],
}

impl Estimates {
    /// **Modelled** times for Sapphire Rapids, from published measurements of copies, fills and comparisons; those of
    /// other operations are derived.
    pub fn modelled() -> Self {
        let curve = |operation, quantity| Curve {
            values: std::array::from_fn(|class| AtomicU64::new(modelled(operation, quantity, class.min(CLASSES - 1)))),
            marks: [const { AtomicU32::new(0) }; CLASSES + 1],
        };
        Self {
            curves: Box::new(std::array::from_fn(|operation| {
                Quantity::ALL
                    .iter()
                    .map(|quantity| curve(Operation::ALL[operation], *quantity))
                    .collect::<Vec<_>>()
                    .try_into()
                    .unwrap_or_else(|_| unreachable!("one for each quantity"))
            })),
        }
    }

    /// What an operation of `bytes` bytes is expected to take, in picoseconds.
    #[inline]
    pub fn get(&self, operation: Operation, quantity: Quantity, bytes: u64) -> u64 {
        self.at(operation, quantity, Place::of(bytes))
    }

    /// How many samples the size class of `bytes` has had, at most 255. A measured value counts as 16.
    pub fn samples(&self, operation: Operation, quantity: Quantity, bytes: u64) -> u32 {
        samples(self.curve(operation, quantity).marks[Place::of(bytes).nearest()].load(Relaxed))
    }

    /// An operation of `bytes` bytes has taken so many picoseconds.
    #[inline]
    pub fn note(&self, operation: Operation, quantity: Quantity, bytes: u64, picoseconds: u64) {
        self.learn(operation, quantity, Place::of(bytes), picoseconds, Heed::Usual);
    }

    /// Sets the value of the size class that is nearest to `bytes`, as measured.
    pub fn set(&self, operation: Operation, quantity: Quantity, bytes: u64, picoseconds: u64) {
        let (curve, class) = (self.curve(operation, quantity), Place::of(bytes).nearest());
        curve.values[class].store(picoseconds.clamp(1, LONGEST), Relaxed);
        curve.marks[class].store(MEASURED, Relaxed);
        curve.spread(operation, quantity);
    }

    /// Takes the factors by which copies differ from what is modelled for an operation as well.
    pub(super) fn follow_copies(&self, operation: Operation, quantity: Quantity) {
        let (copies, its) = (self.curve(Operation::Copy, quantity), self.curve(operation, quantity));
        for class in 0..CLASSES {
            let modelled = |operation| u128::from(modelled(operation, quantity, class));
            let copy = u128::from(copies.values[class].load(Relaxed));
            let value = modelled(operation) * copy / modelled(Operation::Copy);
            its.values[class].store((value as u64).clamp(1, LONGEST), Relaxed);
        }
    }

    #[inline]
    pub(super) fn at(&self, operation: Operation, quantity: Quantity, place: Place) -> u64 {
        self.curve(operation, quantity).at(place)
    }

    pub(super) fn learn(&self, operation: Operation, quantity: Quantity, place: Place, sample: u64, heed: Heed) {
        let curve = self.curve(operation, quantity);
        if curve.learn(place, sample, heed) {
            curve.spread(operation, quantity);
        }
    }

    #[inline]
    fn curve(&self, operation: Operation, quantity: Quantity) -> &Curve {
        &self.curves[operation as usize][quantity as usize]
    }
}

impl Default for Estimates {
    fn default() -> Self {
        Self::modelled()
    }
}

impl Clone for Estimates {
    fn clone(&self) -> Self {
        let copy = Self::modelled();
        for (ours, theirs) in copy.curves.iter().flatten().zip(self.curves.iter().flatten()) {
            for class in 0..=CLASSES {
                ours.values[class].store(theirs.values[class].load(Relaxed), Relaxed);
                ours.marks[class].store(theirs.marks[class].load(Relaxed), Relaxed);
            }
        }
        copy
    }
}

impl fmt::Debug for Estimates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for &operation in Operation::ALL {
            for &quantity in Quantity::ALL {
                let sampled = |class: &usize| self.samples(operation, quantity, size(*class)) != 0;
                for class in (0..CLASSES).filter(sampled) {
                    let value = self.get(operation, quantity, size(class));
                    map.entry(&format_args!("{operation} {quantity} {}", size(class)), &format_args!("{value} ps"));
                }
            }
        }
        map.finish()
    }
}

impl Curve {
    #[inline]
    fn at(&self, place: Place) -> u64 {
        let low = self.values[place.class].load(Relaxed).cast_signed();
        let high = self.values[place.class + 1].load(Relaxed).cast_signed();
        (low + (((high - low) * place.fraction.cast_signed()) >> FRACTION_BITS)).cast_unsigned()
    }

    /// Takes a sample; says whether classes without samples should hear of it.
    fn learn(&self, place: Place, sample: u64, heed: Heed) -> bool {
        // By how much more the two values must move, so that a value between them moves by the whole; in 256ths, by
        // quarters of the way: the reciprocal of the sum of the squared shares.
        const LEVER: [i64; 5] = [256, 410, 512, 410, 256];
        let expected = self.at(place).cast_signed();
        let nearest = &self.marks[place.nearest()];
        let mark = nearest.load(Relaxed);
        let (count, row) = (samples(mark), row_of(mark));
        let late = sample.min(LONGEST).cast_signed() - expected;
        let row = match late {
            _ if late > expected => row.max(0) + 1,
            _ if late < -expected / 2 => row.min(0) - 1,
            _ => 0,
        }
        .clamp(-PATIENCE, PATIENCE);
        let (slow, weight) = match heed {
            Heed::Usual => (0, WEIGHT),
            Heed::Least if late < 0 => (0, 1),
            Heed::Least => (2, WEIGHT + 2),
        };
        let lasting = row.abs() == PATIENCE;
        let step = if lasting {
            late >> (1 + slow)
        } else {
            late.clamp(-expected / 2, expected) >> (count + 1 + slow).min(weight)
        };
        let fraction = place.fraction.cast_signed();
        let lever = LEVER[((place.fraction + ONE / 8) >> (FRACTION_BITS - 2)) as usize];
        let one = ONE.cast_signed();
        // What has changed for good has changed both ends by the same factor; and an end without samples of its own has the
        // other's factor, as it has after `spread`.
        let farther = place.class + usize::from(place.nearest() == place.class);
        let factor = lasting || samples(self.marks[farther].load(Relaxed)) == 0;
        for (class, share) in [(place.class, one - fraction), (place.class + 1, fraction)] {
            let value = &self.values[class];
            let before = value.load(Relaxed).cast_signed();
            let moved = match share {
                0 => before,
                _ if factor => before + (i128::from(before) * i128::from(step) / i128::from(expected.max(1))) as i64,
                _ => before + ((step * share) >> FRACTION_BITS) * lever / 256,
            };
            value.store(moved.clamp(1, LONGEST.cast_signed()).cast_unsigned(), Relaxed);
            // A class counts the samples that it had a good part in.
            if share >= one / 4 {
                let its = &self.marks[class];
                let counted = (samples(its.load(Relaxed)) + 1).min(COUNTED);
                let its_row = if class == place.nearest() { row } else { row_of(its.load(Relaxed)) };
                its.store(counted | (its_row << 8).cast_unsigned(), Relaxed);
            }
        }
        lasting || count < COUNTED && (count + 1).is_power_of_two()
    }

    /// Carries the factors of classes with samples to those without.
    #[cold]
    fn spread(&self, operation: Operation, quantity: Quantity) {
        let sampled = |class: &usize| samples(self.marks[*class].load(Relaxed)) != 0;
        let factor = |class: usize| {
            ((self.values[class].load(Relaxed) << FRACTION_BITS) / modelled(operation, quantity, class)).cast_signed()
        };
        let known = || (0..CLASSES).filter(sampled);
        let (Some(first), Some(last)) = (known().next(), known().next_back()) else { return };
        let one = ONE.cast_signed();
        let beyond = |from: usize, distance: usize| {
            one + ((factor(from) - one) >> distance.saturating_sub(CARRY).min(FRACTION_BITS as usize))
        };
        for class in (0..CLASSES).filter(|class| !sampled(class)) {
            let its = if class < first {
                beyond(first, first - class)
            } else if class > last {
                beyond(last, class - last)
            } else {
                let (below, above) = (known().rfind(|known| *known < class), known().find(|known| *known > class));
                let (below, above) = (below.unwrap_or(first), above.unwrap_or(last));
                let (part, whole) = ((class - below) as u64, (above - below) as u64);
                factor(below) + (factor(above) - factor(below)) * part.cast_signed() / whole.cast_signed()
            };
            let value = (u128::from(modelled(operation, quantity, class)) * u128::from(its.max(1).cast_unsigned()))
                >> FRACTION_BITS;
            self.values[class].store((value as u64).clamp(1, LONGEST), Relaxed);
        }
    }
}

/// The outliers in a row that a mark counts.
#[inline]
fn row_of(mark: u32) -> i32 {
    mark.cast_signed() >> 8
}

/// The samples that a mark counts.
#[inline]
fn samples(mark: u32) -> u32 {
    mark & COUNTED
}
