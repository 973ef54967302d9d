//! The way of a request: device TLB, IOTLB, tables, or a fault; and the way of a page request.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::device::Entry;
use super::domain::{Domain, Tables};
use super::section::Sections;
use super::system::System;
use super::table::Leaf;
use super::{DeviceId, DomainKind, FaultReason, FaultRecord, PagePolicy, Pasid, Tag, Translation, lock};
use crate::memory::{Access, GuestRam, PAGE_SIZE, PageRequest, Requester};

/// The port by which a device sends its requests.
#[derive(Debug)]
pub(crate) struct Port {
    system: Arc<System>,
    id: DeviceId,
}

/// A request that was refused, and whether that is recorded.
struct Refused {
    reason: FaultReason,
    silent: bool,
}

impl Port {
    pub(super) fn new(system: Arc<System>, id: DeviceId) -> Self {
        Self { system, id }
    }

    pub(crate) fn id(&self) -> DeviceId {
        self.id
    }

    pub(crate) fn ram(&self) -> &dyn GuestRam {
        &*self.system.ram
    }

    pub(crate) fn sections(&self) -> &Sections {
        &self.system.sections
    }

    /// Where an access goes; `None` if it is refused.
    ///
    /// A page of a process that a page request could bring in is no fault yet, and not recorded.
    pub(crate) fn translate(&self, by: Requester, addr: u64, access: Access) -> Option<Translation> {
        let found = match by.pasid.map(Pasid::new) {
            Some(None) => Err(Refused { reason: FaultReason::PasidNotPresent, silent: false }),
            pasid => {
                let tag = Tag::new(self.id, pasid.flatten());
                // No cached translation is for privileged requests with a PASID.
                let cached =
                    if by.privileged && by.pasid.is_some() { None } else { self.cached(by, tag, addr, access) };
                cached.map_or_else(|| self.look_up(by, tag, addr, access), Ok)
            }
        };
        match found {
            Ok(leaf) => Some(leaf.translate(addr)),
            Err(refused) => {
                self.system.counts.faults.fetch_add(1, Ordering::Relaxed);
                if !refused.silent {
                    self.system.record(self.fault(by, addr, access, refused.reason));
                }
                None
            }
        }
    }

    /// The first cache that is asked, if it knows the page.
    fn cached(&self, by: Requester, tag: Tag, addr: u64, access: Access) -> Option<Leaf> {
        let state = self.system.read();
        let endpoint = state.endpoints.get(&self.id)?;
        let (cache, domain) = if endpoint.options.device_tlb {
            (&endpoint.tlb, None)
        } else {
            (&state.iotlb, Some(endpoint.domain(by.pasid).ok()?.id))
        };
        let leaf = cache.find(domain, tag, addr, access)?;
        cache.count(true);
        Some(leaf)
    }

    /// The way past the first cache. What is found is cached under the same lock under which it would be invalidated.
    fn look_up(&self, by: Requester, tag: Tag, addr: u64, access: Access) -> Result<Leaf, Refused> {
        let refused = |reason, silent| Refused { reason, silent };
        let mut state = self.system.write();
        let state = &mut *state;
        let endpoint = state.endpoints.get_mut(&self.id).ok_or(refused(FaultReason::NoContext, false))?;
        let domain = endpoint.domain(by.pasid).map_err(|missing| refused(missing.reason, missing.silent))?;
        let domain = Arc::clone(domain);
        if by.privileged && by.pasid.is_some() {
            return Err(refused(FaultReason::Supervisor, false));
        }
        if endpoint.options.device_tlb {
            endpoint.tlb.count(false);
        }
        let known = state.iotlb.find(Some(domain.id), tag, addr, access);
        state.iotlb.count(known.is_some());
        let leaf = if let Some(leaf) = known {
            leaf
        } else {
            self.system.counts.walks.fetch_add(1, Ordering::Relaxed);
            let recoverable = domain.kind() == DomainKind::Sva && endpoint.options.page_requests;
            let walked = domain.walk(self.ram(), addr, access);
            let leaf = walked.map_err(|reason| refused(reason, recoverable && reason.is_recoverable()))?;
            state.iotlb.insert(Some(domain.id), tag, addr, leaf);
            leaf
        };
        endpoint.tlb.insert(None, tag, addr, leaf);
        Ok(leaf)
    }

    /// Asks for a page of a process. Waits, if at all, without any lock.
    pub(crate) fn resolve(&self, by: Requester, addr: u64, access: Access, stop: &dyn Fn() -> bool) -> bool {
        let Some(pasid) = by.pasid.and_then(Pasid::new).filter(|_| !by.privileged) else { return false };
        let Some((domain, waiting)) = self.ask(pasid, addr, access) else { return false };
        let Tables::Process(pages) = &domain.tables else { return false };
        let granted = match waiting {
            Some(number) => self.system.requests.wait(number, stop),
            None => lock(pages).grant(addr, access),
        };
        // The page may have come when its process was gone from the device.
        if granted && self.domain_of(pasid).is_some_and(|now| Arc::ptr_eq(&now, &domain)) {
            return true;
        }
        self.system.counts.page_requests_refused.fetch_add(1, Ordering::Relaxed);
        let reason = domain.walk(self.ram(), addr, access).err().unwrap_or(FaultReason::NotPresent);
        // Others were recorded when the access was refused.
        if reason.is_recoverable() && !stop() {
            self.system.record(self.fault(by, addr, access, reason));
        }
        false
    }

    /// Sends a page request: whose it is, and its number if it has to wait.
    ///
    /// The entry is looked at and the request put in under one hold of the lock. So whoever takes the entry away finds the
    /// request, and refuses it.
    fn ask(&self, pasid: Pasid, addr: u64, access: Access) -> Option<(Arc<Domain>, Option<u64>)> {
        let state = self.system.read();
        let endpoint = state.endpoints.get(&self.id).filter(|endpoint| endpoint.options.page_requests)?;
        let Some(Entry::Present(domain)) = endpoint.pasids.get(&pasid) else { return None };
        let Tables::Process(pages) = &domain.tables else { return None };
        self.system.counts.page_requests.fetch_add(1, Ordering::Relaxed);
        let policy = lock(pages).policy;
        let addr = addr & !(PAGE_SIZE - 1);
        let request = PageRequest { source: self.id.bits(), pasid: pasid.get(), privileged: false, addr, access };
        let waiting = (policy == PagePolicy::Ask).then(|| self.system.requests.push(domain.serial, request));
        Some((Arc::clone(domain), waiting))
    }

    fn domain_of(&self, pasid: Pasid) -> Option<Arc<Domain>> {
        let state = self.system.read();
        match state.endpoints.get(&self.id)?.pasids.get(&pasid)? {
            Entry::Present(domain) => Some(Arc::clone(domain)),
            Entry::Dead => None,
        }
    }

    fn fault(&self, by: Requester, addr: u64, access: Access, reason: FaultReason) -> FaultRecord {
        FaultRecord {
            device: self.id,
            pasid: by.pasid,
            privileged: by.privileged,
            addr: addr & !(PAGE_SIZE - 1),
            access,
            reason,
        }
    }
}
