//! Which I/O addresses are in use.
//!
//! As Linux does it: from the top down, and aligned to the length rounded up to a power of two, so that an invalidation of
//! the range names little else. Page 0 is never given out.

use std::collections::BTreeMap;

use crate::memory::PAGE_SIZE;

/// See the module.
#[derive(Debug)]
pub(super) struct IovaSpace {
    /// Ranges in use, by their first address.
    used: BTreeMap<u64, u64>,
    /// First address that is not given out.
    limit: u64,
}

impl IovaSpace {
    pub(super) fn new(limit: u64) -> Self {
        Self { used: BTreeMap::new(), limit }
    }

    /// A range of whole pages, the highest that is free.
    pub(super) fn allocate(&mut self, len: u64) -> Option<u64> {
        debug_assert!(len != 0 && len.is_multiple_of(PAGE_SIZE));
        let align = len.checked_next_power_of_two()?;
        let mut top = self.limit;
        let mut below = self.used.iter().rev();
        loop {
            let (next, end) = below.next().map_or((None, PAGE_SIZE), |(start, len)| (Some(*start), start + len));
            let highest = top.checked_sub(len).map(|start| start & !(align - 1));
            if let Some(start) = highest.filter(|start| *start >= end) {
                self.used.insert(start, len);
                return Some(start);
            }
            top = next?;
        }
    }

    pub(super) fn release(&mut self, start: u64) {
        let was = self.used.remove(&start);
        debug_assert!(was.is_some(), "given back once");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prng::Prng;

    #[test]
    fn ranges_come_from_the_top_aligned_and_fill_holes() {
        let mut space = IovaSpace::new(0x1_0000);
        assert_eq!(space.allocate(0x1000), Some(0xf000));
        assert_eq!(space.allocate(0x3000), Some(0xc000), "aligned to four pages, and all three fit");
        assert_eq!(space.allocate(0x2000), Some(0xa000));
        space.release(0xf000);
        assert_eq!(space.allocate(0x2000), Some(0x8000), "a hole that is too small");
        assert_eq!(space.allocate(0x1000), Some(0xf000));
        assert_eq!(space.allocate(0x8000), None, "the lowest page is not given out");
        assert_eq!(space.allocate(0x4000), Some(0x4000));
        let rest: Vec<_> = std::iter::from_fn(|| space.allocate(0x1000)).collect();
        assert_eq!(rest, [0x3000, 0x2000, 0x1000]);
        assert_eq!(space.allocate(!0xfff), None);
    }

    #[test]
    fn random_ranges_are_disjoint_and_inside() {
        let seed = 0x10fa;
        let mut rng = Prng::new(seed);
        let mut space = IovaSpace::new(1 << 20);
        let mut live: Vec<(u64, u64)> = Vec::new();
        for round in 0..4000 {
            if rng.below(3) == 0 && !live.is_empty() {
                let (start, _) = live.swap_remove(rng.below(live.len() as u64) as usize);
                space.release(start);
            } else {
                let len = (rng.below(9) + 1) * PAGE_SIZE;
                let Some(start) = space.allocate(len) else { continue };
                assert!(start.is_multiple_of(len.next_power_of_two()), "seed {seed} round {round}");
                assert!(start >= PAGE_SIZE && start + len <= 1 << 20, "seed {seed} round {round}");
                assert!(live.iter().all(|(s, l)| start + len <= *s || s + l <= start), "seed {seed} round {round}");
                live.push((start, len));
            }
        }
    }
}
