//! A cache of translations: the IOTLB of the IOMMU, and the TLB of a device.
//!
//! Entries carry the tags by which they are found and invalidated. A full cache drops its oldest entry, so that tests repeat.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use super::table::{Leaf, PageSize};
use super::{CacheStatistics, DomainId, Pages, Tag};
use crate::memory::{Access, Permission};

/// What an entry is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// A device does not know domains: `None` in its TLB.
    domain: Option<DomainId>,
    tag: Tag,
    first: u64,
    size: PageSize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Cache {
    entries: HashMap<Key, (u64, Permission)>,
    /// The keys in use, oldest first.
    order: VecDeque<Key>,
    capacity: usize,
    hits: AtomicU64,
    misses: AtomicU64,
    inserted: u64,
    evicted: u64,
    invalidated: u64,
}

impl Cache {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            entries: HashMap::new(),
            order: VecDeque::new(),
            capacity,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            inserted: 0,
            evicted: 0,
            invalidated: 0,
        }
    }

    /// The page of an address, if it is here and allows the access. One that does not allow it is no answer: the tables may
    /// say something else by now.
    pub(super) fn find(&self, domain: Option<DomainId>, tag: Tag, addr: u64, access: Access) -> Option<Leaf> {
        PageSize::ALL.into_iter().find_map(|size| {
            let (to, permission) = *self.entries.get(&Key { domain, tag, first: size.first(addr), size })?;
            permission.allows(access).then_some(Leaf { to, size, permission })
        })
    }

    /// Counts what came of a look.
    pub(super) fn count(&self, hit: bool) {
        let counter = if hit { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds the page of an address, or replaces it.
    pub(super) fn insert(&mut self, domain: Option<DomainId>, tag: Tag, addr: u64, leaf: Leaf) {
        if self.capacity == 0 {
            return;
        }
        let key = Key { domain, tag, first: leaf.size.first(addr), size: leaf.size };
        if self.entries.insert(key, (leaf.to, leaf.permission)).is_none() {
            self.order.push_back(key);
        }
        self.inserted += 1;
        if self.order.len() > self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
            self.evicted += 1;
        }
    }

    /// Drops the entries of a domain.
    pub(super) fn invalidate_domain(&mut self, domain: DomainId) {
        self.drop_if(|key| key.domain == Some(domain));
    }

    /// Drops the entries of a tag, and of a domain where entries know theirs, of which a part lies in a range.
    pub(super) fn invalidate(&mut self, domain: Option<DomainId>, tag: Tag, pages: Pages) {
        self.drop_if(|key| key.domain == domain && key.tag == tag && pages.overlap(key.first, key.size.bytes()));
    }

    fn drop_if(&mut self, gone: impl Fn(&Key) -> bool) {
        let before = self.order.len();
        self.order.retain(|key| !gone(key));
        self.entries.retain(|key, _| !gone(key));
        self.invalidated += (before - self.order.len()) as u64;
    }

    pub(super) fn statistics(&self) -> CacheStatistics {
        CacheStatistics {
            entries: self.entries.len() as u64,
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            inserted: self.inserted,
            evicted: self.evicted,
            invalidated: self.invalidated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iommu::{DeviceId, Pasid};

    const RW: Permission = Permission::ReadWrite;
    const PASID: Tag = Tag::Pasid(match Pasid::new(5) {
        Some(pasid) => pasid,
        None => unreachable!(),
    });
    const DEVICE: Tag = Tag::Device(DeviceId::new(0, 1, 0));

    fn small(to: u64, permission: Permission) -> Leaf {
        Leaf { to, size: PageSize::Small, permission }
    }

    fn found(cache: &Cache, domain: u32, tag: Tag, addr: u64) -> bool {
        cache.find(Some(DomainId::new(domain)), tag, addr, Access::Read).is_some()
    }

    fn filled() -> Cache {
        let mut cache = Cache::new(64);
        for domain in [2, 3] {
            for tag in [PASID, DEVICE] {
                for addr in [0x1000, 0x2000, 0x3000] {
                    cache.insert(Some(DomainId::new(domain)), tag, addr, small(addr, RW));
                }
            }
        }
        cache
    }

    #[test]
    fn entries_are_found_by_all_of_their_tags_and_for_what_they_allow() {
        let mut cache = Cache::new(8);
        let two = Some(DomainId::new(2));
        cache.insert(two, PASID, 0x1234, small(0x9000, Permission::ReadOnly));
        let large = Leaf { to: 0x40_0000, size: PageSize::Large, permission: RW };
        cache.insert(two, PASID, 0x20_0000, large);
        assert_eq!(cache.find(two, PASID, 0x1fff, Access::Read), Some(small(0x9000, Permission::ReadOnly)));
        assert_eq!(cache.find(two, PASID, 0x1fff, Access::Write), None);
        assert_eq!(cache.find(two, PASID, 0x3f_ffff, Access::Write), Some(large));
        assert!(!found(&cache, 2, DEVICE, 0x1000) && !found(&cache, 3, PASID, 0x1000));
        assert!(!found(&cache, 2, PASID, 0x2000) && !found(&cache, 2, PASID, 0x40_0000));
        cache.insert(two, PASID, 0x1000, small(0x9000, RW));
        assert!(cache.find(two, PASID, 0x1000, Access::Write).is_some(), "replaced");
        assert_eq!(cache.statistics().entries, 2);
    }

    #[test]
    fn invalidations_reach_what_they_name_and_nothing_else() {
        let left = |cache: &Cache| {
            let all = [2, 3].into_iter().flat_map(|d| [PASID, DEVICE].map(|tag| (d, tag)));
            let found = |(d, tag)| [0x1000, 0x2000, 0x3000].iter().filter(|addr| found(cache, d, tag, **addr)).count();
            all.map(found).collect::<Vec<_>>()
        };
        let mut cache = filled();
        cache.invalidate(Some(DomainId::new(2)), PASID, Pages::covering(0x2000, 0x2fff));
        assert_eq!(left(&cache), [2, 3, 3, 3]);
        cache.invalidate(Some(DomainId::new(2)), DEVICE, Pages::ALL);
        assert_eq!(left(&cache), [2, 0, 3, 3]);
        cache.invalidate_domain(DomainId::new(3));
        assert_eq!(left(&cache), [2, 0, 0, 0], "with and without a PASID");
        assert_eq!((cache.statistics().invalidated, cache.statistics().entries), (10, 2));
    }

    #[test]
    fn an_invalidation_inside_a_large_page_drops_all_of_it() {
        let mut cache = Cache::new(8);
        cache.insert(None, PASID, 0x20_0000, Leaf { to: 0, size: PageSize::Large, permission: RW });
        cache.invalidate(None, PASID, Pages::covering(0x1f_0000, 0x1f_ffff));
        assert_eq!(cache.statistics().entries, 1);
        cache.invalidate(None, PASID, Pages::covering(0x3f_f000, 0x3f_ffff));
        assert_eq!(cache.statistics().entries, 0);
    }

    #[test]
    fn a_full_cache_drops_its_oldest_entry() {
        let mut cache = Cache::new(2);
        for addr in [0x1000, 0x2000, 0x1000, 0x3000] {
            cache.insert(Some(DomainId::new(2)), PASID, addr, small(addr, RW));
        }
        assert_eq!([0x1000, 0x2000, 0x3000].map(|addr| found(&cache, 2, PASID, addr)), [false, true, true]);
        assert_eq!(cache.statistics().evicted, 1);
        let mut none = Cache::new(0);
        none.insert(None, PASID, 0x1000, small(0, RW));
        assert_eq!(none.statistics(), CacheStatistics::default());
    }
}
