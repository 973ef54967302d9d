//! PASIDs that belong to a domain: shared virtual addressing, and DMA with a PASID.
//!
//! A domain has one PASID, whoever asks and how often. Each device counts how often it was asked for.

use std::sync::Arc;

use super::device::Entry;
use super::domain::{Domain, Tables};
use super::system::System;
use super::{DeviceId, Iommu, IommuError, Pasid, Process, lock};

impl Iommu {
    /// Lets a device use the address space of a process, until the [`Binding`] is dropped. All binds of a process, to
    /// all devices, have the same PASID.
    pub fn bind(&self, id: DeviceId, process: &Process) -> Result<Binding, IommuError> {
        self.own(&process.system)?;
        let domain = &process.domain;
        let mut state = self.system.write();
        let limit = state.endpoint(id)?.options.pasid_limit;
        // A process that exits after this look finds the entry when it takes the lock.
        if matches!(&domain.tables, Tables::Process(pages) if lock(pages).exited) {
            return Err(IommuError::Exited);
        }
        let pasid = state.pasid_for(domain, limit, true)?;
        state.join(domain, id)?;
        Ok(Binding { system: Arc::clone(&self.system), domain: Arc::clone(domain), id, pasid })
    }

    /// Gives the domain that a device has ([`attach`](Self::attach)) a PASID, by which the device reaches the same as
    /// without one. Asking again, or for another device with the same domain, gives the same PASID.
    pub fn enable_pasid_dma(&self, id: DeviceId) -> Result<Pasid, IommuError> {
        let mut state = self.system.write();
        let endpoint = state.endpoint(id)?;
        let limit = endpoint.options.pasid_limit;
        let domain = endpoint.context.clone().ok_or(IommuError::NotAttached)?;
        let pasid = state.pasid_for(&domain, limit, false)?;
        if !state.has_joined(&domain, id) {
            state.join(&domain, id)?;
        }
        Ok(pasid)
    }

    /// Ends that, however often it was asked for. Afterwards no access of the device with the PASID reaches anything. The PASID
    /// is free when the last device with the domain has ended it.
    pub fn disable_pasid_dma(&self, id: DeviceId) -> Result<(), IommuError> {
        let domain = self.system.read().endpoint(id)?.context.clone().ok_or(IommuError::NotAttached)?;
        if self.system.unjoin(&domain, id) { Ok(()) } else { Err(IommuError::NotAttached) }
    }
}

/// A device that may use a process's address space. Its end, by [`unbind`](Self::unbind) or by dropping it, takes one count
/// back; with the last one of a device, no access of the device reaches the process afterwards.
///
/// The driver has to drain or abort the PASID's descriptors before. Otherwise they end with faults, and can meet the next
/// owner of the PASID.
#[derive(Debug)]
#[must_use = "dropping it ends the binding"]
pub struct Binding {
    system: Arc<System>,
    domain: Arc<Domain>,
    id: DeviceId,
    pasid: Pasid,
}

impl Binding {
    /// The process's PASID.
    pub fn pasid(&self) -> Pasid {
        self.pasid
    }

    /// The device.
    pub fn device(&self) -> DeviceId {
        self.id
    }

    /// Ends it, as dropping does.
    pub fn unbind(self) {
        drop(self);
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        self.system.unjoin(&self.domain, self.id);
    }
}

impl System {
    /// Takes one count of a domain's PASID back; `false` if there was none.
    fn unjoin(&self, domain: &Arc<Domain>, id: DeviceId) -> bool {
        let mut state = self.write();
        if !state.has_joined(domain, id) {
            return false;
        }
        let Some(pasid) = state.leave(domain, id) else { return true };
        let wait = state.issue_wait(domain.kind());
        // Under the same hold of the lock: what is asked for from here on belongs to a bind that came later.
        self.requests.refuse(id, pasid);
        drop(state);
        self.wait_if(wait);
        self.write().left(domain);
        true
    }

    /// A process has no pages any more.
    pub(super) fn process_exited(&self, domain: &Arc<Domain>) {
        let mut state = self.write();
        let mut places = Vec::new();
        for (id, endpoint) in &mut state.endpoints {
            for (pasid, entry) in &mut endpoint.pasids {
                if matches!(entry, Entry::Present(it) if Arc::ptr_eq(it, domain)) {
                    *entry = Entry::Dead;
                    places.push((*id, *pasid));
                }
            }
        }
        for (id, pasid) in &places {
            state.forget(domain, *id, Some(*pasid));
        }
        let wait = state.issue_wait(domain.kind());
        for (id, pasid) in places {
            self.requests.refuse(id, pasid);
        }
        drop(state);
        self.wait_if(wait);
        let mut state = self.write();
        if let Some(owner) = state.owners.get_mut(&domain.serial) {
            owner.stays = false;
        }
        state.release(domain);
    }

    pub(super) fn pasid_of(&self, domain: &Domain) -> Option<Pasid> {
        self.read().owners.get(&domain.serial).map(|owner| owner.pasid)
    }
}
