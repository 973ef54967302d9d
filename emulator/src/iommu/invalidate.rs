//! Invalidations: what they name, the queue in which they are issued, and what can be left out of it.

use std::collections::VecDeque;

use super::{DeviceId, DomainId, DomainKind, Pasid};
use crate::memory::PAGE_SIZE;

/// How an entry of the IOTLB is tagged besides its domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tag {
    /// Requests of a device without a PASID.
    Device(DeviceId),
    /// Requests with a PASID, which means the same for all devices.
    Pasid(Pasid),
}

impl Tag {
    pub(super) fn new(device: DeviceId, pasid: Option<Pasid>) -> Self {
        pasid.map_or(Self::Device(device), Self::Pasid)
    }
}

/// A naturally aligned range of `2^order` pages, as invalidations name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pages {
    first: u64,
    order: u32,
}

impl Pages {
    /// Every page.
    pub const ALL: Self = Self { first: 0, order: u64::BITS - PAGE_SIZE.trailing_zeros() };

    /// The smallest range that has both addresses: it may be much larger than the distance between them.
    pub const fn covering(first: u64, last: u64) -> Self {
        let bits = u64::BITS - (first ^ last).leading_zeros();
        let shift = PAGE_SIZE.trailing_zeros();
        if bits >= u64::BITS {
            return Self::ALL;
        }
        let bits = if bits < shift { shift } else { bits };
        Self { first: first & !((1 << bits) - 1), order: bits - shift }
    }

    /// The first address.
    pub const fn first(self) -> u64 {
        self.first
    }

    /// The binary logarithm of the number of pages, 52 for all.
    pub const fn order(self) -> u32 {
        self.order
    }

    /// Whether a range of `len` bytes (at least 1) at `addr` has a byte in common with these pages.
    pub(super) fn overlap(self, addr: u64, len: u64) -> bool {
        let last = self.first.saturating_add((PAGE_SIZE << self.order).wrapping_sub(1));
        self == Self::ALL || addr <= last && addr.saturating_add(len - 1) >= self.first
    }
}

/// An entry of the invalidation queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Invalidation {
    /// Everything that the IOTLB holds of a domain, with and without a PASID.
    Domain(DomainId),
    /// What the IOTLB holds of some pages of a domain under one tag.
    Pages(DomainId, Tag, Pages),
    /// What a device holds of some pages, with or without a PASID. A device without a TLB answers at once.
    DeviceTlb(DeviceId, Option<Pasid>, Pages),
    /// Waits until the accesses that began before have ended, in all devices.
    Wait,
}

/// What system software leaves out. Nothing, unless a test says so: each of these is a mistake that tests of software, or of
/// this module, should notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Omissions {
    /// No invalidation and no wait at all for domains of this kind, as when the tables of the kernel itself were
    /// shared with devices and changed without notice.
    pub domains: Option<DomainKind>,
    /// No invalidation that names a PASID, as if a domain did not know that it is attached to one.
    pub pasid_tagged: bool,
    /// No invalidation of device TLBs.
    pub device_tlb: bool,
    /// No wait for accesses in progress.
    pub wait: bool,
}

impl Omissions {
    /// Whether an invalidation for a domain of this kind is left out.
    pub(super) fn skip(self, kind: DomainKind, invalidation: &Invalidation) -> bool {
        let (device_tlb, pasid) = match invalidation {
            Invalidation::Wait => return self.wait || self.domains == Some(kind),
            Invalidation::Domain(_) => (false, false),
            Invalidation::Pages(_, tag, _) => (false, matches!(tag, Tag::Pasid(_))),
            Invalidation::DeviceTlb(_, pasid, _) => (true, pasid.is_some()),
        };
        self.domains == Some(kind) || self.device_tlb && device_tlb || self.pasid_tagged && pasid
    }
}

/// The queue. Entries take effect as they are put in, in order; the last ones stay to be looked at.
#[derive(Debug)]
pub(super) struct Queue {
    last: VecDeque<Invalidation>,
    capacity: usize,
    /// Entries so far that were not waits.
    pub(super) invalidations: u64,
    pub(super) waits: u64,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Self { last: VecDeque::new(), capacity, invalidations: 0, waits: 0 }
    }

    pub(super) fn push(&mut self, invalidation: Invalidation) {
        let counter = if invalidation == Invalidation::Wait { &mut self.waits } else { &mut self.invalidations };
        *counter += 1;
        self.last.push_back(invalidation);
        if self.last.len() > self.capacity {
            self.last.pop_front();
        }
    }

    pub(super) fn take(&mut self) -> Vec<Invalidation> {
        self.last.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_grow_to_a_power_of_two_that_is_aligned() {
        let range = |first, last| {
            let pages = Pages::covering(first, last);
            (pages.first(), pages.order())
        };
        assert_eq!(range(0x1234, 0x1234), (0x1000, 0));
        assert_eq!(range(0x1000, 0x1fff), (0x1000, 0));
        assert_eq!(range(0x2000, 0x3fff), (0x2000, 1));
        assert_eq!(range(0x1000, 0x2fff), (0x0000, 2), "two pages that no aligned pair has");
        assert_eq!(range(0x7000, 0x8fff), (0x0000, 4));
        assert_eq!(range(0, u64::MAX >> 1), (0, 51));
        assert_eq!(Pages::covering(0, u64::MAX), Pages::ALL);
        assert_eq!(Pages::ALL.order(), 52);
    }

    #[test]
    fn overlap_counts_bytes_at_both_ends() {
        let pages = Pages::covering(0x2000, 0x3fff);
        let all = [(0x1000, 0x1000), (0x1000, 0x1001), (0x3fff, 1), (0x4000, 8), (0, u64::MAX)];
        assert_eq!(all.map(|(addr, len)| pages.overlap(addr, len)), [false, true, true, false, true]);
        assert!(Pages::ALL.overlap(u64::MAX, 1) && Pages::ALL.overlap(0, 1));
        let top = Pages::covering(u64::MAX - 1, u64::MAX);
        assert!(top.overlap(u64::MAX - 0xfff, 0x1000) && !top.overlap(0, 0x1000));
        assert!(Pages::covering(1 << 63, u64::MAX).overlap(u64::MAX, 1));
    }

    #[test]
    fn omissions_leave_out_what_they_name() {
        let id = DomainId::new(2);
        let (device, pasid) = (DeviceId::new(0, 1, 0), Pasid::new(1).unwrap());
        let all = [
            Invalidation::Domain(id),
            Invalidation::Pages(id, Tag::Device(device), Pages::ALL),
            Invalidation::Pages(id, Tag::Pasid(pasid), Pages::ALL),
            Invalidation::DeviceTlb(device, None, Pages::ALL),
            Invalidation::DeviceTlb(device, Some(pasid), Pages::ALL),
            Invalidation::Wait,
        ];
        let left_out = |omissions: Omissions| all.map(|it| omissions.skip(DomainKind::Dma, &it));
        let none = Omissions::default();
        assert_eq!(left_out(none), [false; 6]);
        assert_eq!(left_out(Omissions { domains: Some(DomainKind::Dma), ..none }), [true; 6]);
        assert_eq!(left_out(Omissions { domains: Some(DomainKind::Sva), ..none }), [false; 6]);
        assert_eq!(left_out(Omissions { pasid_tagged: true, ..none }), [false, false, true, false, true, false]);
        assert_eq!(left_out(Omissions { device_tlb: true, ..none }), [false, false, false, true, true, false]);
        assert_eq!(left_out(Omissions { wait: true, ..none }), [false, false, false, false, false, true]);
    }

    #[test]
    fn the_queue_remembers_its_last_entries() {
        let mut queue = Queue::new(2);
        let domain = |n| Invalidation::Domain(DomainId::new(n));
        for it in [domain(1), domain(2), Invalidation::Wait] {
            queue.push(it);
        }
        assert_eq!((queue.invalidations, queue.waits), (2, 1));
        assert_eq!(queue.take(), [domain(2), Invalidation::Wait]);
        assert_eq!(queue.take(), []);
    }
}
