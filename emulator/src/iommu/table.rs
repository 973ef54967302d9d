//! Page tables: from pages of a domain to physical memory.
//!
//! They are maps from the first address of a page to its leaf. How many levels a walk would take does not matter here; the
//! sizes of pages do, because caches hold one entry for each.

use std::collections::BTreeMap;

use super::{FaultReason, Translation};
use crate::memory::{Access, PAGE_SIZE, Permission};

/// Sizes of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum PageSize {
    /// 4 KiB.
    Small,
    /// 2 MiB.
    Large,
    /// 1 GiB.
    Huge,
}

impl PageSize {
    pub(super) const ALL: [Self; 3] = [Self::Huge, Self::Large, Self::Small];

    pub(super) const fn bytes(self) -> u64 {
        match self {
            Self::Small => PAGE_SIZE,
            Self::Large => PAGE_SIZE << 9,
            Self::Huge => PAGE_SIZE << 18,
        }
    }

    /// The first address of the page of an address.
    pub(super) const fn first(self, addr: u64) -> u64 {
        addr & !(self.bytes() - 1)
    }
}

/// Where a page leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    /// First physical address.
    pub(super) to: u64,
    pub(super) size: PageSize,
    pub(super) permission: Permission,
}

impl Leaf {
    pub(super) const fn translate(self, addr: u64) -> Translation {
        let offset = addr & (self.size.bytes() - 1);
        Translation { addr: self.to + offset, len: self.size.bytes() - offset }
    }

    pub(super) fn check(self, access: Access) -> Result<Self, FaultReason> {
        match access {
            _ if self.permission.allows(access) => Ok(self),
            Access::Read => Err(FaultReason::NotReadable),
            Access::Write => Err(FaultReason::NotWritable),
        }
    }
}

/// The pages of a range of addresses, each as large as the alignment of both sides allows.
pub(super) fn leaves(from: u64, to: u64, len: u64, permission: Permission) -> impl Iterator<Item = (u64, Leaf)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let (at, target, left) = (from + done, to + done, len - done);
        let fits = |size: &PageSize| (at | target).is_multiple_of(size.bytes()) && size.bytes() <= left;
        let size = PageSize::ALL.into_iter().find(fits)?;
        done += size.bytes();
        Some((at, Leaf { to: target, size, permission }))
    })
}

/// The pages of a domain.
#[derive(Debug, Default)]
pub(super) struct PageTable {
    leaves: BTreeMap<u64, Leaf>,
}

impl PageTable {
    pub(super) fn insert(&mut self, addr: u64, leaf: Leaf) {
        self.leaves.insert(addr, leaf);
    }

    /// Removes the pages that begin in a range.
    pub(super) fn remove(&mut self, addr: u64, len: u64) {
        let mut rest = self.leaves.split_off(&addr);
        let mut after = match addr.checked_add(len) {
            Some(end) => rest.split_off(&end),
            None => BTreeMap::new(),
        };
        self.leaves.append(&mut after);
    }

    pub(super) fn walk(&self, addr: u64, access: Access) -> Result<Leaf, FaultReason> {
        let (first, leaf) = self.leaves.range(..=addr).next_back().ok_or(FaultReason::NotPresent)?;
        if addr - first >= leaf.size.bytes() {
            return Err(FaultReason::NotPresent);
        }
        leaf.check(access)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RW: Permission = Permission::ReadWrite;
    const MIB: u64 = 1 << 20;

    #[test]
    fn pages_are_as_large_as_both_sides_allow() {
        let sizes = |from, to, len| leaves(from, to, len, RW).map(|(_, leaf)| leaf.size).collect::<Vec<_>>();
        let (small, large, huge) = (PageSize::Small, PageSize::Large, PageSize::Huge);
        assert_eq!(sizes(0x1000, 0x5000, 0x2000), [small; 2]);
        assert_eq!(sizes(2 * MIB, 4 * MIB, 2 * MIB + 0x1000), [large, small]);
        assert_eq!(sizes(2 * MIB, 4 * MIB + 0x1000, 2 * MIB).len(), 512);
        assert_eq!(sizes(2 * MIB - 0x1000, 4 * MIB - 0x1000, 2 * MIB + 0x1000), [small, large]);
        assert_eq!(sizes(1024 * MIB, 2048 * MIB, 1026 * MIB), [huge, large]);
    }

    #[test]
    fn a_walk_finds_every_byte_of_a_page_and_none_beside_it() {
        let mut table = PageTable::default();
        leaves(2 * MIB, 8 * MIB, 2 * MIB, RW).for_each(|(addr, leaf)| table.insert(addr, leaf));
        leaves(4 * MIB, 0x3000, 0x1000, Permission::ReadOnly).for_each(|(addr, leaf)| table.insert(addr, leaf));
        let at = |addr| table.walk(addr, Access::Read).map(|leaf| leaf.translate(addr));
        let to = |addr, len| Ok(Translation { addr, len });
        assert_eq!(at(2 * MIB), to(8 * MIB, 2 * MIB));
        assert_eq!(at(4 * MIB - 1), to(10 * MIB - 1, 1));
        assert_eq!(at(4 * MIB + 0x123), to(0x3123, 0xedd));
        for addr in [0, 2 * MIB - 1, 4 * MIB + 0x1000, u64::MAX] {
            assert_eq!(at(addr), Err(FaultReason::NotPresent));
        }
        assert_eq!(table.walk(4 * MIB, Access::Write), Err(FaultReason::NotWritable));
        table.remove(4 * MIB, 0x1000);
        assert_eq!(table.walk(4 * MIB, Access::Read), Err(FaultReason::NotPresent));
        assert!(table.walk(2 * MIB, Access::Write).is_ok());
        table.remove(0, u64::MAX);
        assert_eq!(table.walk(2 * MIB, Access::Read), Err(FaultReason::NotPresent));
    }

    #[test]
    fn a_page_that_may_only_be_written_is_not_read() {
        let leaf = Leaf { to: 0, size: PageSize::Small, permission: Permission::WriteOnly };
        assert_eq!(leaf.check(Access::Read), Err(FaultReason::NotReadable));
        assert_eq!(leaf.check(Access::Write), Ok(leaf));
    }
}
