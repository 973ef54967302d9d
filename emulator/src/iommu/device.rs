//! Devices: requester ids, and what the IOMMU keeps for each.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::cache::Cache;
use super::domain::Domain;
use super::{FaultReason, Pasid};

/// A requester id: the PCI bus, device and function from which a request comes. Each device is a group of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(u16);

impl DeviceId {
    /// From bus, device (5 bits) and function (3 bits); more bits are ignored.
    pub const fn new(bus: u8, device: u8, function: u8) -> Self {
        Self((bus as u16) << 8 | (device as u16 & 0x1f) << 3 | (function as u16 & 7))
    }

    /// From bus in bits 15:8, device and function in bits 7:0.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Bus in bits 15:8, device and function in bits 7:0.
    pub const fn bits(self) -> u16 {
        self.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}:{:02x}.{}", self.0 >> 8, self.0 >> 3 & 0x1f, self.0 & 7)
    }
}

/// What a device can do with addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceOptions {
    /// It has a device TLB: translations that it keeps itself (address translation services).
    pub device_tlb: bool,
    /// It may ask for pages of a process (page request interface). Without, a missing page is a fault like any other.
    pub page_requests: bool,
    /// It sends PASIDs below this number, at most 1 << 20; 0 for none.
    pub pasid_limit: u32,
}

impl Default for DeviceOptions {
    /// Everything that DSA has.
    fn default() -> Self {
        Self { device_tlb: true, page_requests: true, pasid_limit: 1 << 20 }
    }
}

impl DeviceOptions {
    /// Sets [`device_tlb`](Self::device_tlb).
    #[must_use]
    pub const fn device_tlb(mut self, on: bool) -> Self {
        self.device_tlb = on;
        self
    }

    /// Sets [`page_requests`](Self::page_requests).
    #[must_use]
    pub const fn page_requests(mut self, on: bool) -> Self {
        self.page_requests = on;
        self
    }

    /// Sets [`pasid_limit`](Self::pasid_limit).
    #[must_use]
    pub const fn pasid_limit(mut self, limit: u32) -> Self {
        self.pasid_limit = limit;
        self
    }
}

/// An entry of a PASID table.
#[derive(Debug)]
pub(super) enum Entry {
    /// The PASID is translated.
    Present(Arc<Domain>),
    /// The process has exited and its owner has not noticed yet: not present, and faults are not recorded.
    Dead,
}

/// Why there is no domain for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) reason: FaultReason,
    pub(super) silent: bool,
}

/// A device as the IOMMU knows it.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) options: DeviceOptions,
    /// What translates requests without a PASID.
    pub(super) context: Option<Arc<Domain>>,
    /// The PASID table.
    pub(super) pasids: BTreeMap<Pasid, Entry>,
    /// The device's own TLB.
    pub(super) tlb: Cache,
}

impl Endpoint {
    pub(super) fn new(options: DeviceOptions, tlb_entries: usize) -> Self {
        Self { options, context: None, pasids: BTreeMap::new(), tlb: Cache::new(tlb_entries) }
    }

    /// What translates a request.
    pub(super) fn domain(&self, pasid: Option<u32>) -> Result<&Arc<Domain>, Missing> {
        let missing = |reason, silent| Missing { reason, silent };
        let Some(pasid) = pasid else {
            return self.context.as_ref().ok_or(missing(FaultReason::NoContext, false));
        };
        match Pasid::new(pasid).and_then(|pasid| self.pasids.get(&pasid)) {
            Some(Entry::Present(domain)) => Ok(domain),
            Some(Entry::Dead) => Err(missing(FaultReason::PasidNotPresent, true)),
            None => Err(missing(FaultReason::PasidNotPresent, false)),
        }
    }

    /// Where a domain is attached: without a PASID, with PASIDs.
    pub(super) fn attachments<'a>(&'a self, domain: &'a Arc<Domain>) -> impl Iterator<Item = Option<Pasid>> + 'a {
        let context = self.context.iter().filter(|it| Arc::ptr_eq(it, domain)).map(|_| None);
        let is_it = |entry: &Entry| matches!(entry, Entry::Present(it) if Arc::ptr_eq(it, domain));
        context.chain(self.pasids.iter().filter(move |(_, entry)| is_it(entry)).map(|(pasid, _)| Some(*pasid)))
    }

    pub(super) fn is_attached(&self) -> bool {
        self.context.is_some() || !self.pasids.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requester_ids_are_written_as_lspci_does() {
        let id = DeviceId::new(0x6a, 0x1f, 7);
        assert_eq!((id.bits(), id.to_string()), (0x6aff, "6a:1f.7".to_owned()));
        assert_eq!(DeviceId::from_bits(0x0013).to_string(), "00:02.3");
    }
}
