//! What the IOMMU keeps under one lock: devices with their tables, caches, PASIDs, the queue.
//!
//! An entry of a table and what the caches hold of it go away under the same hold of the lock. Otherwise somebody else
//! who unmaps a page meanwhile could find nothing attached, and return too early.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::cache::Cache;
use super::device::{Endpoint, Entry};
use super::domain::Domain;
use super::invalidate::Queue;
use super::pasid::Pasids;
use super::{DeviceId, DomainKind, Invalidation, IommuError, Omissions, Pages, Pasid, Tag};

/// The one PASID of a domain: of a process, or of a DMA domain for which it is enabled.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) pasid: Pasid,
    /// Where it is attached, and how often it was asked for.
    pub(super) devices: BTreeMap<DeviceId, usize>,
    /// Ends of attachments in progress.
    leaving: usize,
    /// It stays without an attachment: the process lives.
    pub(super) stays: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct State {
    pub(super) endpoints: BTreeMap<DeviceId, Endpoint>,
    pub(super) iotlb: Cache,
    pub(super) pasids: Pasids,
    /// By the serial number of the domain.
    pub(super) owners: HashMap<u64, Owner>,
    pub(super) queue: Queue,
    pub(super) omissions: Omissions,
}

impl State {
    pub(super) fn new(iotlb_entries: usize, queue_entries: usize) -> Self {
        Self {
            endpoints: BTreeMap::new(),
            iotlb: Cache::new(iotlb_entries),
            pasids: Pasids::new(),
            owners: HashMap::new(),
            queue: Queue::new(queue_entries),
            omissions: Omissions::default(),
        }
    }

    pub(super) fn endpoint(&self, id: DeviceId) -> Result<&Endpoint, IommuError> {
        self.endpoints.get(&id).ok_or(IommuError::NoDevice(id))
    }

    pub(super) fn endpoint_mut(&mut self, id: DeviceId) -> Result<&mut Endpoint, IommuError> {
        self.endpoints.get_mut(&id).ok_or(IommuError::NoDevice(id))
    }

    /// Puts an invalidation into the queue, which takes effect at once. A wait is up to the caller, without the lock.
    pub(super) fn apply(&mut self, invalidation: Invalidation) {
        self.queue.push(invalidation);
        match invalidation {
            Invalidation::Domain(id) => self.iotlb.invalidate_domain(id),
            Invalidation::Pages(id, tag, pages) => self.iotlb.invalidate(Some(id), tag, pages),
            Invalidation::DeviceTlb(id, pasid, pages) => {
                if let Some(endpoint) = self.endpoints.get_mut(&id) {
                    endpoint.tlb.invalidate(None, Tag::new(id, pasid), pages);
                }
            }
            Invalidation::Wait => {}
        }
    }

    /// The same as system software does it: not at all if that is to be left out. Tells whether it was done.
    #[must_use]
    fn issue(&mut self, kind: DomainKind, invalidation: Invalidation) -> bool {
        let skip = self.omissions.skip(kind, &invalidation);
        if !skip {
            self.apply(invalidation);
        }
        !skip
    }

    /// Whether a wait has to follow, once the lock is free.
    #[must_use]
    pub(super) fn issue_wait(&mut self, kind: DomainKind) -> bool {
        self.issue(kind, Invalidation::Wait)
    }

    /// Invalidates pages of a domain under every tag that it has.
    pub(super) fn invalidate(&mut self, domain: &Arc<Domain>, pages: Pages) {
        let all = self.endpoints.iter();
        let places = all.flat_map(|(id, endpoint)| endpoint.attachments(domain).map(move |pasid| (*id, pasid)));
        let places: Vec<_> = places.collect();
        let mut tags = BTreeSet::new();
        for (id, pasid) in places {
            let new = tags.insert(Tag::new(id, pasid));
            self.invalidate_place(domain, id, pasid, pages, new);
        }
    }

    /// Invalidates all that the caches hold of a domain at one place.
    pub(super) fn forget(&mut self, domain: &Arc<Domain>, id: DeviceId, pasid: Option<Pasid>) {
        self.invalidate_place(domain, id, pasid, Pages::ALL, true);
    }

    fn invalidate_place(&mut self, domain: &Domain, id: DeviceId, pasid: Option<Pasid>, pages: Pages, iotlb: bool) {
        let kind = domain.kind();
        if iotlb {
            let _ = self.issue(kind, Invalidation::Pages(domain.id, Tag::new(id, pasid), pages));
        }
        if self.endpoints.get(&id).is_some_and(|endpoint| endpoint.options.device_tlb) {
            let _ = self.issue(kind, Invalidation::DeviceTlb(id, pasid, pages));
        }
    }

    /// The PASID of a domain, allocated if it has none, for a device that sends PASIDs below `limit`.
    pub(super) fn pasid_for(&mut self, domain: &Domain, limit: u32, stays: bool) -> Result<Pasid, IommuError> {
        if let Some(owner) = self.owners.get(&domain.serial) {
            return if owner.pasid.get() < limit { Ok(owner.pasid) } else { Err(IommuError::NoPasid) };
        }
        let pasid = self.pasids.allocate(limit).ok_or(IommuError::NoPasid)?;
        let owner = Owner { pasid, devices: BTreeMap::new(), leaving: 0, stays };
        self.owners.insert(domain.serial, owner);
        Ok(pasid)
    }

    /// Attaches a domain by its own PASID, and counts how often.
    pub(super) fn join(&mut self, domain: &Arc<Domain>, id: DeviceId) -> Result<(), IommuError> {
        let endpoint = self.endpoints.get_mut(&id).ok_or(IommuError::NoDevice(id))?;
        let owner = self.owners.get_mut(&domain.serial).ok_or(IommuError::NotAttached)?;
        let count = owner.devices.entry(id).or_insert(0);
        if *count == 0 {
            endpoint.pasids.insert(owner.pasid, Entry::Present(Arc::clone(domain)));
        }
        *count += 1;
        Ok(())
    }

    /// Takes one count back. With the last the domain is detached from the device: the caller refuses page requests for the
    /// PASID that it gets, frees the lock and waits, then calls [`left`](Self::left).
    pub(super) fn leave(&mut self, domain: &Arc<Domain>, id: DeviceId) -> Option<Pasid> {
        let owner = self.owners.get_mut(&domain.serial)?;
        let count = owner.devices.get_mut(&id)?;
        *count -= 1;
        if *count != 0 {
            return None;
        }
        owner.devices.remove(&id);
        owner.leaving += 1;
        let pasid = owner.pasid;
        if let Some(endpoint) = self.endpoints.get_mut(&id) {
            endpoint.pasids.remove(&pasid);
        }
        self.forget(domain, id, Some(pasid));
        Some(pasid)
    }

    /// The end of [`leave`](Self::leave).
    pub(super) fn left(&mut self, domain: &Domain) {
        if let Some(owner) = self.owners.get_mut(&domain.serial) {
            owner.leaving -= 1;
        }
        self.release(domain);
    }

    /// Gives the PASID of a domain back if nobody uses it any more.
    pub(super) fn release(&mut self, domain: &Domain) {
        let unused = |owner: &Owner| owner.devices.is_empty() && owner.leaving == 0 && !owner.stays;
        if self.owners.get(&domain.serial).is_some_and(unused)
            && let Some(owner) = self.owners.remove(&domain.serial)
        {
            self.pasids.release(owner.pasid);
        }
    }

    /// Whether the PASID of a domain is enabled for a device.
    pub(super) fn has_joined(&self, domain: &Domain, id: DeviceId) -> bool {
        self.owners.get(&domain.serial).is_some_and(|owner| owner.devices.contains_key(&id))
    }

    /// Whether some domain owns a PASID, or a device has an entry for it.
    pub(super) fn is_used(&self, pasid: Pasid) -> bool {
        self.is_owned(pasid) || self.endpoints.values().any(|endpoint| endpoint.pasids.contains_key(&pasid))
    }

    pub(super) fn is_owned(&self, pasid: Pasid) -> bool {
        self.owners.values().any(|owner| owner.pasid == pasid)
    }
}
