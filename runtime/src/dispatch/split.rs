//! One large blocking copy by a device and the calling thread together: who takes which bytes.
//!
//! Both take from what is left, the device from the front and the CPU from the back, until they meet. Nothing has to be
//! known about how fast either is. What the device takes at once becomes smaller towards the end, because whoever is done first
//! waits for the other: it is an eighth of what is left, within bounds. That is the guided self-scheduling of parallel loops.

#![forbid(unsafe_code)]

use std::ops::Range;

/// How a large blocking copy is divided between a device and the calling thread, which has nothing else to do meanwhile.
///
/// It applies to [`memcpy`](crate::blocking::memcpy) of [`LEAST`](Self::LEAST) bytes and more, where there is a device, and the
/// copy is at least twice as long as [`Policy::min_device_size`](crate::Policy::min_device_size). The bytes are the same. In
/// the [statistics](crate::stats) every part is an operation of its own, those of the CPU for the reason
/// [`Forced`](crate::stats::Reason::Forced).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Split {
    /// Not at all: a device does all of it if it does any, and the thread waits.
    #[default]
    Never,
    /// The device takes pieces from the front and the CPU from the back, as fast as each can, until they meet.
    Auto,
    /// The same, but the device is offered at most so many hundredths of the bytes. More than 100 counts as 100.
    Percent(u8),
}

impl Split {
    /// Shorter copies are not divided, in bytes.
    pub const LEAST: usize = 256 << 10;
}

/// The least that a device takes at once.
const LEAST_PIECE: usize = 32 << 10;

/// The most that a device takes at once: more would not be faster, and the CPU waits for the last one.
const MOST_PIECE: usize = 1 << 20;

/// What the CPU takes at once: then it looks what the device has done.
const SLICE: usize = 64 << 10;

/// Parts end at multiples of this, from the start of the copy.
const GRAIN: usize = 4096;

/// What nobody has taken yet of a copy.
#[derive(Debug)]
pub(crate) struct Shares {
    left: Range<usize>,
    /// Where the part ends that the device may take.
    limit: usize,
    /// The least that the device takes.
    least: usize,
}

impl Shares {
    /// The shares of a copy of `len` bytes, if it is to be divided. A device does nothing of less than `min_device_size`.
    pub(crate) fn new(len: usize, split: Split, min_device_size: usize) -> Option<Self> {
        let percent = match split {
            Split::Never => return None,
            Split::Auto => 100,
            Split::Percent(percent) => usize::from(percent.min(100)),
        };
        let least = LEAST_PIECE.max(min_device_size.checked_next_multiple_of(GRAIN)?);
        if len < Split::LEAST || len / 2 < least {
            return None;
        }
        // First divided, so that it does not overflow.
        let limit = if percent == 100 { len } else { len / 100 * percent / GRAIN * GRAIN };
        Some(Self { left: 0..len, limit, least })
    }

    /// The next part for the device; `None` if there is none that is worth it.
    pub(crate) fn for_device(&mut self) -> Option<Range<usize>> {
        let left = self.left.len();
        let piece = (left / 8 / GRAIN * GRAIN).clamp(self.least, MOST_PIECE.max(self.least));
        let (start, end) = (self.left.start, self.left.end.min(self.limit));
        if start.checked_add(self.least)? > end {
            return None;
        }
        self.left.start = end.min(start + piece);
        Some(start..self.left.start)
    }

    /// The next part for the CPU; `None` if nothing is left.
    pub(crate) fn for_cpu(&mut self) -> Option<Range<usize>> {
        if self.left.is_empty() {
            return None;
        }
        let end = self.left.end;
        let start = (end - 1) / GRAIN * GRAIN;
        self.left.end = (start.saturating_sub(SLICE - GRAIN)).max(self.left.start);
        Some(self.left.end..end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn splits() -> impl Strategy<Value = Split> {
        prop_oneof![Just(Split::Auto), any::<u8>().prop_map(Split::Percent)]
    }

    proptest! {
        /// Whoever takes when: the parts are the whole, each byte once, and the device has no more than it may.
        #[test]
        fn parts_make_up_the_whole(
            len in prop_oneof![Split::LEAST..Split::LEAST + 10_000, Split::LEAST..1 << 26],
            split in splits(),
            min_device_size in prop_oneof![Just(0usize), 1usize..1 << 20],
            turns in prop::collection::vec(any::<bool>(), 0..600),
        ) {
            let Some(mut shares) = Shares::new(len, split, min_device_size) else {
                prop_assert!(len / 2 < min_device_size.next_multiple_of(GRAIN));
                return Ok(());
            };
            let (mut parts, mut device) = (Vec::new(), 0);
            for is_device in turns {
                let part = if is_device { shares.for_device() } else { shares.for_cpu() };
                let Some(part) = part else { continue };
                prop_assert!(!part.is_empty());
                if is_device {
                    prop_assert!(part.len() >= min_device_size.max(LEAST_PIECE));
                    prop_assert!(part.len() <= MOST_PIECE.max(min_device_size + GRAIN));
                    device += part.len();
                } else {
                    prop_assert!(part.len() <= SLICE);
                }
                parts.push(part);
            }
            parts.extend(std::iter::from_fn(|| shares.for_cpu()));
            prop_assert!(shares.for_device().is_none());
            if let Split::Percent(percent) = split {
                prop_assert!(device as u64 * 100 <= len as u64 * u64::from(percent.min(100)));
            }
            parts.sort_by_key(|part| part.start);
            prop_assert_eq!((parts[0].start, parts.last().unwrap().end), (0, len));
            for both in parts.windows(2) {
                prop_assert_eq!(both[0].end, both[1].start);
            }
            // Alignment is for speed: no two share a page of the copy, but at its ends.
            prop_assert!(parts.iter().all(|part| part.start % GRAIN == 0));
        }
    }

    #[test]
    fn what_is_small_or_not_asked_for_is_not_divided() {
        assert!(Shares::new(1 << 30, Split::Never, 0).is_none());
        assert!(Shares::new(Split::LEAST - 1, Split::Auto, 0).is_none());
        assert!(Shares::new(Split::LEAST, Split::Auto, 0).is_some());
        assert!(Shares::new(1 << 20, Split::Auto, (1 << 19) + 1).is_none());
        assert!(Shares::new(usize::MAX, Split::Auto, usize::MAX).is_none());
    }

    /// Nobody waits long at the end: what the device takes becomes small.
    #[test]
    fn the_last_pieces_are_small() {
        let mut shares = Shares::new(64 << 20, Split::Auto, 0).unwrap();
        let pieces: Vec<_> = std::iter::from_fn(|| shares.for_device()).map(|piece| piece.len()).collect();
        assert_eq!((pieces[0], *pieces.last().unwrap()), (MOST_PIECE, LEAST_PIECE));
        assert!(pieces.is_sorted_by(|before, after| before >= after));
    }

    #[test]
    fn nothing_for_the_device_is_nothing() {
        let mut shares = Shares::new(1 << 20, Split::Percent(0), 0).unwrap();
        assert!(shares.for_device().is_none());
        assert_eq!(std::iter::from_fn(|| shares.for_cpu()).map(|part| part.len()).sum::<usize>(), 1 << 20);
    }
}
