//! PASIDs, and the one space from which all of them come.

use std::collections::BTreeSet;
use std::fmt;

use idxd_sys::limits::PASID_MASK;

use crate::memory::Requester;

/// A process address space identifier: 20 bits. Not 0, which stands for requests without a PASID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pasid(u32);

impl Pasid {
    /// `None` for 0, and for more than 20 bits.
    pub const fn new(value: u32) -> Option<Self> {
        if value == 0 || value > PASID_MASK { None } else { Some(Self(value)) }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// An unprivileged access with this PASID.
    pub const fn user(self) -> Requester {
        Requester::user(self.0)
    }

    /// A privileged access with this PASID.
    pub const fn supervisor(self) -> Requester {
        Requester { pasid: Some(self.0), privileged: true }
    }
}

impl fmt::Display for Pasid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The global space. A PASID that was given back is given out again as soon as possible: the worst case for what is left
/// of its last use.
#[derive(Debug)]
pub(super) struct Pasids {
    /// Everything below has been given out at least once.
    next: u32,
    free: BTreeSet<u32>,
}

impl Pasids {
    pub(super) fn new() -> Self {
        Self { next: 1, free: BTreeSet::new() }
    }

    /// The lowest free PASID, if it is below `limit`.
    pub(super) fn allocate(&mut self, limit: u32) -> Option<Pasid> {
        let lowest = self.free.first().copied().unwrap_or(self.next);
        if lowest >= limit {
            return None;
        }
        let pasid = Pasid::new(lowest)?;
        if !self.free.remove(&lowest) {
            self.next += 1;
        }
        Some(pasid)
    }

    pub(super) fn is_allocated(&self, pasid: Pasid) -> bool {
        pasid.0 < self.next && !self.free.contains(&pasid.0)
    }

    pub(super) fn release(&mut self, pasid: Pasid) {
        let added = self.free.insert(pasid.0);
        debug_assert!(added, "given back once");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_number_comes_next_and_limits_hold() {
        let mut pasids = Pasids::new();
        let all: Vec<_> = (0..4).map_while(|_| pasids.allocate(4)).map(Pasid::get).collect();
        assert_eq!(all, [1, 2, 3], "0 is no PASID");
        let [one, two] = [1, 2].map(|n| Pasid::new(n).unwrap());
        pasids.release(two);
        pasids.release(one);
        assert!(!pasids.is_allocated(one) && pasids.is_allocated(Pasid::new(3).unwrap()));
        assert!(!pasids.is_allocated(Pasid::new(4).unwrap()));
        assert_eq!([pasids.allocate(9), pasids.allocate(9), pasids.allocate(9)].map(|p| p.unwrap().get()), [1, 2, 4]);
        assert_eq!([Pasid::new(0), Pasid::new(1 << 20)], [None; 2]);
    }

    #[test]
    fn the_space_ends_with_its_20_bits() {
        let mut pasids = Pasids { next: PASID_MASK, free: BTreeSet::new() };
        assert_eq!(pasids.allocate(u32::MAX).map(Pasid::get), Some(PASID_MASK));
        assert_eq!(pasids.allocate(u32::MAX), None);
    }
}
