//! What the IOMMU has counted.

/// Counters of a cache of translations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStatistics {
    /// Entries at the moment.
    pub entries: u64,
    /// Accesses that found their page.
    pub hits: u64,
    /// Accesses that did not, and went on to the next cache or to the tables.
    pub misses: u64,
    /// Entries added or replaced.
    pub inserted: u64,
    /// Entries dropped for lack of room.
    pub evicted: u64,
    /// Entries dropped by invalidations.
    pub invalidated: u64,
}

impl CacheStatistics {
    pub(super) fn add(&mut self, other: &Self) {
        self.entries += other.entries;
        self.hits += other.hits;
        self.misses += other.misses;
        self.inserted += other.inserted;
        self.evicted += other.evicted;
        self.invalidated += other.invalidated;
    }
}

/// Counters of an [`Iommu`](super::Iommu).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IommuStatistics {
    /// The IOTLB.
    pub iotlb: CacheStatistics,
    /// The TLBs of all devices together.
    pub device_tlb: CacheStatistics,
    /// Looks at page tables.
    pub walks: u64,
    /// Accesses that were refused, recorded or not.
    pub faults: u64,
    /// Pages of processes that devices asked for.
    pub page_requests: u64,
    /// Those of them that were not granted.
    pub page_requests_refused: u64,
    /// Invalidations in the queue so far, apart from waits.
    pub invalidations: u64,
    /// Waits for accesses in progress.
    pub waits: u64,
}
