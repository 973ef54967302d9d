//! The IOMMU as a whole: devices, domains, attaching and detaching.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use super::device::{Endpoint, Entry};
use super::dma::{DmaMode, DmaState};
use super::domain::{Domain, IOVA_BITS, Tables};
use super::fault::FaultLog;
use super::page_request::PageRequestQueue;
use super::process::ProcessPages;
use super::section::Sections;
use super::state::State;
use super::{
    DeviceId, DeviceOptions, DmaDomain, DomainId, DomainKind, FaultRecord, FaultReport, Invalidation, IommuError,
    IommuStatistics, Omissions, Pages, Pasid, Port, Process, lock,
};
use crate::memory::{DeviceMemory, GuestRam};

/// Sizes and limits of an [`Iommu`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IommuOptions {
    /// Entries of the IOTLB; 0 for none.
    pub iotlb_entries: usize,
    /// Entries of the TLB of each device that has one.
    pub device_tlb_entries: usize,
    /// Faults that the log holds.
    pub fault_records: usize,
    /// Invalidations that can be [looked at](Iommu::take_invalidations) later.
    pub queue_records: usize,
    /// Ranges that may wait in a lazy domain: the unmap that makes it so many flushes.
    pub flush_after: usize,
    /// I/O addresses are below this, at most 1 << 48.
    pub iova_limit: u64,
}

impl Default for IommuOptions {
    fn default() -> Self {
        Self {
            iotlb_entries: 256,
            device_tlb_entries: 64,
            fault_records: 64,
            queue_records: 64,
            flush_after: 256,
            iova_limit: 1 << 32,
        }
    }
}

impl IommuOptions {
    /// Sets the entries of the IOTLB, and of each device's TLB.
    #[must_use]
    pub const fn entries(mut self, iotlb: usize, device_tlb: usize) -> Self {
        self.iotlb_entries = iotlb;
        self.device_tlb_entries = device_tlb;
        self
    }

    /// Sets [`fault_records`](Self::fault_records).
    #[must_use]
    pub const fn fault_records(mut self, count: usize) -> Self {
        self.fault_records = count;
        self
    }

    /// Sets [`queue_records`](Self::queue_records).
    #[must_use]
    pub const fn queue_records(mut self, count: usize) -> Self {
        self.queue_records = count;
        self
    }

    /// Sets [`flush_after`](Self::flush_after).
    #[must_use]
    pub const fn flush_after(mut self, ranges: usize) -> Self {
        self.flush_after = ranges;
        self
    }

    /// Sets [`iova_limit`](Self::iova_limit), a multiple of the page size. Above 1 << 48 it is that.
    #[must_use]
    pub const fn iova_limit(mut self, limit: u64) -> Self {
        self.iova_limit = if limit > 1 << IOVA_BITS { 1 << IOVA_BITS } else { limit };
        self
    }
}

/// Counters that need no lock.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) walks: AtomicU64,
    pub(super) faults: AtomicU64,
    pub(super) page_requests: AtomicU64,
    pub(super) page_requests_refused: AtomicU64,
}

/// What handles, domains and devices share.
///
/// Locks are taken in this order: that of a flush, the state, the page requests, the pages of a domain. Only the first is held
/// while somebody waits for sections, and no section takes it.
pub(super) struct System {
    pub(super) ram: Arc<dyn GuestRam>,
    pub(super) options: IommuOptions,
    state: RwLock<State>,
    pub(super) sections: Sections,
    pub(super) requests: PageRequestQueue,
    pub(super) counts: Counts,
    faults: Mutex<FaultLog>,
    /// Domains that may have something to flush.
    lazy: Mutex<Vec<Weak<Domain>>>,
    next_domain: AtomicU32,
    next_serial: AtomicU64,
}

impl System {
    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// After pages of a domain have changed: has the caches follow, and waits for accesses that began before.
    ///
    /// It waits also where nothing is attached: a detach in progress may not be done with its own wait.
    pub(super) fn invalidate(&self, domain: &Arc<Domain>, pages: Pages) {
        let wait = {
            let mut state = self.write();
            state.invalidate(domain, pages);
            state.issue_wait(domain.kind())
        };
        self.wait_if(wait);
    }

    pub(super) fn wait_if(&self, wait: bool) {
        if wait {
            self.sections.wait();
        }
    }

    pub(super) fn record(&self, fault: FaultRecord) {
        lock(&self.faults).push(fault);
    }

    fn domain(&self, tables: Tables) -> Arc<Domain> {
        let id = match tables {
            Tables::Dma(_) => DomainId::new(self.next_domain.fetch_add(1, Ordering::Relaxed)),
            _ => DomainId::SHARED,
        };
        Arc::new(Domain { id, serial: self.next_serial.fetch_add(1, Ordering::Relaxed), tables })
    }
}

impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("System").field("options", &self.options).finish_non_exhaustive()
    }
}

/// An IOMMU, with the software that programs it. Clones are the same one. See the [module](super).
#[derive(Clone, Debug)]
pub struct Iommu {
    pub(super) system: Arc<System>,
}

impl Iommu {
    /// An IOMMU in front of physical memory, without devices.
    pub fn new(ram: Arc<dyn GuestRam>, options: IommuOptions) -> Self {
        let system = System {
            ram,
            options,
            state: RwLock::new(State::new(options.iotlb_entries, options.queue_records)),
            sections: Sections::new(),
            requests: PageRequestQueue::default(),
            counts: Counts::default(),
            faults: Mutex::new(FaultLog::new(options.fault_records)),
            lazy: Mutex::default(),
            next_domain: AtomicU32::new(DomainId::SHARED.get() + 1),
            next_serial: AtomicU64::new(0),
        };
        Self { system: Arc::new(system) }
    }

    /// Adds a device; the answer is the memory that it sees.
    pub fn add_device(&self, id: DeviceId, options: DeviceOptions) -> Result<Arc<DeviceMemory>, IommuError> {
        let mut state = self.system.write();
        if state.endpoints.contains_key(&id) {
            return Err(IommuError::DeviceExists(id));
        }
        let entries = if options.device_tlb { self.system.options.device_tlb_entries } else { 0 };
        state.endpoints.insert(id, Endpoint::new(options, entries));
        Ok(Arc::new(DeviceMemory::new(Port::new(Arc::clone(&self.system), id))))
    }

    /// Forgets a device to which nothing is attached. What it sends afterwards is refused.
    pub fn remove_device(&self, id: DeviceId) -> Result<(), IommuError> {
        let mut state = self.system.write();
        if state.endpoint(id)?.is_attached() {
            return Err(IommuError::Busy);
        }
        state.endpoints.remove(&id);
        Ok(())
    }

    /// A new domain for the DMA API.
    pub fn dma_domain(&self, mode: DmaMode) -> DmaDomain {
        let lazy = mode == DmaMode::Lazy;
        let tables = match mode {
            DmaMode::PassThrough => Tables::Identity,
            _ => Tables::Dma(DmaState::new(lazy, self.system.options.iova_limit)),
        };
        let domain = self.system.domain(tables);
        if lazy {
            let mut all = lock(&self.system.lazy);
            all.retain(|domain| domain.strong_count() != 0);
            all.push(Arc::downgrade(&domain));
        }
        DmaDomain { system: Arc::clone(&self.system), domain }
    }

    /// A new process, without pages.
    pub fn process(&self) -> Process {
        let domain = self.system.domain(Tables::Process(Mutex::new(ProcessPages::default())));
        Process { system: Arc::clone(&self.system), domain }
    }

    /// Attaches a domain to a device: it translates what carries no PASID. Replaces what was there, of which afterwards no access
    /// of the device reaches anything.
    pub fn attach(&self, id: DeviceId, domain: &DmaDomain) -> Result<(), IommuError> {
        self.own(&domain.system)?;
        self.set_context(id, Some(&domain.domain))
    }

    /// Takes the domain of a device away: what carries no PASID is refused. Afterwards no access of the device reaches its
    /// pages.
    pub fn detach(&self, id: DeviceId) -> Result<(), IommuError> {
        self.set_context(id, None)
    }

    fn set_context(&self, id: DeviceId, new: Option<&Arc<Domain>>) -> Result<(), IommuError> {
        let mut state = self.system.write();
        let old = state.endpoint(id)?.context.clone();
        if old.is_none() && new.is_none() {
            return Err(IommuError::NotAttached);
        }
        // The PASID would go on leading to the old domain.
        if old.as_ref().is_some_and(|old| state.has_joined(old, id)) {
            return Err(IommuError::Busy);
        }
        state.endpoint_mut(id)?.context = new.cloned();
        let Some(old) = old else { return Ok(()) };
        state.forget(&old, id, None);
        let wait = state.issue_wait(old.kind());
        drop(state);
        self.system.wait_if(wait);
        Ok(())
    }

    /// Takes a PASID out of the global space, one that a device can send.
    pub fn allocate_pasid(&self, id: DeviceId) -> Result<Pasid, IommuError> {
        let mut state = self.system.write();
        let limit = state.endpoint(id)?.options.pasid_limit;
        state.pasids.allocate(limit).ok_or(IommuError::NoPasid)
    }

    /// Gives a PASID back that nothing is attached to.
    pub fn free_pasid(&self, pasid: Pasid) -> Result<(), IommuError> {
        let mut state = self.system.write();
        if !state.pasids.is_allocated(pasid) {
            return Err(IommuError::PasidFree(pasid));
        }
        if state.is_used(pasid) {
            return Err(IommuError::PasidInUse(pasid));
        }
        state.pasids.release(pasid);
        Ok(())
    }

    /// Attaches a domain to a device and a PASID from [`allocate_pasid`](Self::allocate_pasid): it translates what carries
    /// that PASID. It may be the domain that the device has without one.
    pub fn attach_pasid(&self, id: DeviceId, pasid: Pasid, domain: &DmaDomain) -> Result<(), IommuError> {
        self.own(&domain.system)?;
        let mut state = self.system.write();
        let endpoint = state.endpoint(id)?;
        if pasid.get() >= endpoint.options.pasid_limit {
            return Err(IommuError::NoPasid);
        }
        if endpoint.pasids.contains_key(&pasid) || state.is_owned(pasid) {
            return Err(IommuError::PasidInUse(pasid));
        }
        if !state.pasids.is_allocated(pasid) {
            return Err(IommuError::PasidFree(pasid));
        }
        let entry = Entry::Present(Arc::clone(&domain.domain));
        state.endpoint_mut(id)?.pasids.insert(pasid, entry);
        Ok(())
    }

    /// Takes away what [`attach_pasid`](Self::attach_pasid) has attached. Afterwards no access of the device with this PASID
    /// reaches anything. The PASID stays allocated.
    pub fn detach_pasid(&self, id: DeviceId, pasid: Pasid) -> Result<(), IommuError> {
        let mut state = self.system.write();
        if state.is_owned(pasid) {
            return Err(IommuError::Busy);
        }
        let Some(Entry::Present(domain)) = state.endpoint_mut(id)?.pasids.remove(&pasid) else {
            return Err(IommuError::NotAttached);
        };
        state.forget(&domain, id, Some(pasid));
        let wait = state.issue_wait(domain.kind());
        drop(state);
        // No page requests to refuse: only processes have them, and none is attached by hand.
        self.system.wait_if(wait);
        Ok(())
    }

    /// Time passes: everything that waits for a flush is flushed.
    pub fn tick(&self) {
        let all: Vec<_> = lock(&self.system.lazy).iter().filter_map(Weak::upgrade).collect();
        for domain in all {
            if let Tables::Dma(state) = &domain.tables {
                state.flush(&self.system, &domain);
            }
        }
    }

    /// Puts entries into the invalidation queue, and waits where they say so, whatever [`Omissions`] there are.
    pub fn submit(&self, invalidations: &[Invalidation]) {
        for invalidation in invalidations {
            self.system.write().apply(*invalidation);
            self.system.wait_if(*invalidation == Invalidation::Wait);
        }
    }

    /// The last entries of the invalidation queue since the last look, oldest first.
    pub fn take_invalidations(&self) -> Vec<Invalidation> {
        self.system.write().queue.take()
    }

    /// Decides what is left out from now on.
    pub fn omit(&self, omissions: Omissions) {
        self.system.write().omissions = omissions;
    }

    /// Empties the fault log.
    pub fn take_faults(&self) -> FaultReport {
        lock(&self.system.faults).take()
    }

    /// What has been counted so far.
    pub fn statistics(&self) -> IommuStatistics {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &self.system.counts;
        let state = self.system.read();
        let mut statistics = IommuStatistics {
            iotlb: state.iotlb.statistics(),
            walks: count(&counts.walks),
            faults: count(&counts.faults),
            page_requests: count(&counts.page_requests),
            page_requests_refused: count(&counts.page_requests_refused),
            invalidations: state.queue.invalidations,
            waits: state.queue.waits,
            ..IommuStatistics::default()
        };
        for endpoint in state.endpoints.values() {
            statistics.device_tlb.add(&endpoint.tlb.statistics());
        }
        statistics
    }

    /// The kind of domain that a request of a device would go to, with a PASID or without.
    pub fn kind_of(&self, id: DeviceId, pasid: Option<Pasid>) -> Option<DomainKind> {
        let state = self.system.read();
        let domain = state.endpoint(id).ok()?.domain(pasid.map(Pasid::get));
        domain.ok().map(|domain| domain.kind())
    }

    pub(super) fn own(&self, system: &Arc<System>) -> Result<(), IommuError> {
        if Arc::ptr_eq(&self.system, system) { Ok(()) } else { Err(IommuError::Foreign) }
    }
}
