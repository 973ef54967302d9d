//! The invalidation queue of an IOMMU, as far as a device is told of it (VT-d sections 6.5.2 and 7.7).
//!
//! Software puts descriptors into a ring in memory and moves the tail register. Those that concern a device TLB, and answers
//! to page requests, become messages to the device; the others concern caches of the IOMMU's own.

use super::context::ADDRESS;
use crate::memory::{GuestRam, PAGE_SIZE};

/// Types of descriptors, bits 3:0 of the first word.
const DEVICE_TLB: u64 = 3;
const PASID_DEVICE_TLB: u64 = 8;
const PAGE_GROUP_RESPONSE: u64 = 9;

/// Page group response: it is for a PASID.
const RESPONSE_PASID: u64 = 1 << 4;

/// Queue address register: the descriptors have 32 bytes instead of 16.
const WIDE: u64 = 1 << 11;
/// Queue address register: binary logarithm of the queue's pages.
const SIZE: u64 = 7;
/// Page selective with a PASID: more than one page.
const PASID_SEVERAL: u64 = 1 << 11;
/// Page selective with a PASID: for all PASIDs.
const PASID_GLOBAL: u64 = 1;
/// Page selective: more than one page.
const SEVERAL: u64 = 1;

/// What a device must forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DeviceInvalidation {
    /// The device: bus in bits 15:8, device and function in bits 7:0.
    pub source: u16,
    /// Whose translations.
    pub scope: Scope,
    /// First address.
    pub first: u64,
    /// Last address.
    pub last: u64,
}

/// Whose translations an invalidation takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Those of requests without a PASID.
    Requester,
    /// Those of one PASID.
    Pasid(u32),
    /// Those of every PASID.
    AllPasids,
}

impl DeviceInvalidation {
    /// What a descriptor tells a device; `None` if nothing.
    pub fn decode(low: u64, high: u64) -> Option<Self> {
        let (source, scope, several) = match low & 0xf {
            DEVICE_TLB => ((low >> 32) as u16, Scope::Requester, high & SEVERAL != 0),
            PASID_DEVICE_TLB => {
                let pasid = (low >> 32) as u32 & 0xf_ffff;
                let scope = if high & PASID_GLOBAL != 0 { Scope::AllPasids } else { Scope::Pasid(pasid) };
                ((low >> 16) as u16, scope, high & PASID_SEVERAL != 0)
            }
            _ => return None,
        };
        let page = high & !(PAGE_SIZE - 1);
        // With several, the lowest bit of the page number that is clear says how many: none below it is part of the
        // address.
        let pages = if several { (page / PAGE_SIZE).trailing_ones() + 1 } else { 0 };
        let inside = match pages + PAGE_SIZE.trailing_zeros() {
            bits @ ..64 => (1 << bits) - 1,
            _ => u64::MAX,
        };
        Some(Self { source, scope, first: page & !inside, last: page | inside })
    }
}

/// An answer to a page request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PageResponse {
    /// The device: bus in bits 15:8, device and function in bits 7:0.
    pub source: u16,
    /// Whose page was asked for.
    pub pasid: Option<u32>,
    /// The page request group, by which the device knows what it has asked for: 9 bits.
    pub group: u16,
    /// 0: the page is there now. 1: an invalid request. 15: a failure.
    pub code: u8,
}

impl PageResponse {
    /// The answer that a descriptor holds; `None` if it is none.
    pub fn decode(low: u64, high: u64) -> Option<Self> {
        (low & 0xf == PAGE_GROUP_RESPONSE).then_some(Self {
            source: (low >> 16) as u16,
            pasid: (low & RESPONSE_PASID != 0).then_some((low >> 32) as u32 & 0xf_ffff),
            group: (high >> 3) as u16 & 0x1ff,
            code: (low >> 12) as u8 & 0xf,
        })
    }
}

/// What a descriptor of the queue tells a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueueMessage {
    /// Translations to forget.
    Invalidation(DeviceInvalidation),
    /// An answer.
    Response(PageResponse),
}

impl QueueMessage {
    fn decode(low: u64, high: u64) -> Option<Self> {
        let response = || PageResponse::decode(low, high).map(Self::Response);
        DeviceInvalidation::decode(low, high).map(Self::Invalidation).or_else(response)
    }
}

/// A reader of the queue, which keeps its place.
#[derive(Debug, Default)]
pub struct InvalidationQueue {
    /// Queue address register for which the place is.
    address: u64,
    place: u64,
}

impl InvalidationQueue {
    /// Reads what has been added since the last call. `address` and `tail` are the registers for the queue's address (IQA)
    /// and tail (IQT); a new address begins at its first descriptor.
    pub fn read(&mut self, ram: &dyn GuestRam, address: u64, tail: u64, mut tell: impl FnMut(QueueMessage)) {
        let width = if address & WIDE == 0 { 16 } else { 32 };
        let size = PAGE_SIZE << (address & SIZE);
        if address != self.address {
            *self = Self { address, place: 0 };
        }
        // Whatever software writes to the tail, each descriptor is looked at once at most.
        for _ in 0..size / width {
            if self.place == tail % size / width * width {
                return;
            }
            let at = (address & ADDRESS) + self.place;
            if let (Some(low), Some(high)) = (ram.load(at), ram.load(at + 8))
                && let Some(message) = QueueMessage::decode(low, high)
            {
                tell(message);
            }
            self.place = (self.place + width) % size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::ram_tests::ram;

    #[test]
    fn one_page_without_and_with_a_pasid() {
        let one = DeviceInvalidation::decode(DEVICE_TLB | 0x28 << 32, 0x1234_5000).unwrap();
        assert_eq!(
            one,
            DeviceInvalidation { source: 0x28, scope: Scope::Requester, first: 0x1234_5000, last: 0x1234_5fff }
        );
        let one = DeviceInvalidation::decode(PASID_DEVICE_TLB | 0x28 << 16 | 7 << 32, 0x1234_5000).unwrap();
        assert_eq!(
            one,
            DeviceInvalidation { source: 0x28, scope: Scope::Pasid(7), first: 0x1234_5000, last: 0x1234_5fff }
        );
        let all = DeviceInvalidation::decode(PASID_DEVICE_TLB | 7 << 32, 0x1000 | PASID_GLOBAL).unwrap();
        assert_eq!(all.scope, Scope::AllPasids);
    }

    #[test]
    fn the_lowest_clear_bit_says_how_many_pages() {
        for (several, kind) in [(SEVERAL, DEVICE_TLB), (PASID_SEVERAL, PASID_DEVICE_TLB)] {
            let range = |page: u64| {
                let it = DeviceInvalidation::decode(kind, page | several).unwrap();
                (it.first, it.last)
            };
            assert_eq!(range(0x1_0000), (0x1_0000, 0x1_1fff));
            assert_eq!(range(0x1_1000), (0x1_0000, 0x1_3fff));
            assert_eq!(range(0x1_7000), (0x1_0000, 0x1_ffff));
            assert_eq!(range(0x7fff_ffff_ffff_f000), (0, u64::MAX));
            assert_eq!(range(0xffff_ffff_ffff_f000), (0, u64::MAX));
        }
    }

    #[test]
    fn answers_to_page_requests_name_their_group() {
        let low = PAGE_GROUP_RESPONSE | RESPONSE_PASID | 1 << 12 | 0x28 << 16 | 7 << 32;
        let response = PageResponse::decode(low, 0x1ff << 3 | 1 << 2).unwrap();
        assert_eq!(response, PageResponse { source: 0x28, pasid: Some(7), group: 0x1ff, code: 1 });
        assert_eq!(PageResponse::decode(low & !RESPONSE_PASID, 0).unwrap().pasid, None);
        assert_eq!(QueueMessage::decode(low, 8), Some(QueueMessage::Response(PageResponse { group: 1, ..response })));
    }

    #[test]
    fn other_descriptors_tell_the_device_nothing() {
        for kind in [0, 1, 2, 4, 5, 6, 7, 10, 15] {
            assert_eq!(QueueMessage::decode(kind, 0x1000), None);
        }
    }

    #[test]
    fn the_ring_is_read_once_and_wraps_around() {
        for (wide, width) in [(0, 16), (WIDE, 32)] {
            let ram = ram(&[(0, 0x4000)]);
            let address = 0x1000 | wide;
            let set = |place: u64, page: u64| {
                for (at, word) in [(place, DEVICE_TLB), (place + 8, page)] {
                    let old = ram.load(0x1000 + at).unwrap();
                    assert_eq!(ram.replace(0x1000 + at, old, word), Some(true));
                }
            };
            let mut queue = InvalidationQueue::default();
            let read = |queue: &mut InvalidationQueue, address, tail| {
                let mut seen = Vec::new();
                queue.read(&ram, address, tail, |it| match it {
                    QueueMessage::Invalidation(it) => seen.push(it.first),
                    QueueMessage::Response(it) => panic!("{it:?}"),
                });
                seen
            };
            set(0, 0x1000);
            set(width, 0x2000);
            assert_eq!(read(&mut queue, address, 2 * width), [0x1000, 0x2000]);
            assert_eq!(read(&mut queue, address, 2 * width), [0_u64; 0]);
            // Around the end: the last one, then the first two anew.
            let last = 0x1000 - width;
            assert_eq!(read(&mut queue, address, last), [0_u64; 0], "the rest is empty");
            set(last, 0x3000);
            set(0, 0x4000);
            assert_eq!(read(&mut queue, address, width), [0x3000, 0x4000]);
            // Another queue begins at its beginning.
            assert_eq!(read(&mut queue, 0x2000 | wide, 0), [0_u64; 0]);
        }
    }

    #[test]
    fn a_tail_outside_and_a_queue_without_memory_do_no_harm() {
        let ram = ram(&[(0, 0x2000)]);
        let mut queue = InvalidationQueue::default();
        queue.read(&ram, 0x10_0000 | 7, u64::MAX, |it| panic!("{it:?}"));
        queue.read(&ram, u64::MAX, 0x7fff_ffff, |it| panic!("{it:?}"));
    }
}
