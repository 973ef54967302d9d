//! Memory as a device behind a software IOMMU sees it.

use super::{Access, AddressSpace, PageFault, Requester, Span};
use crate::iommu::{DeviceId, Port};

/// The address space of a device: physical memory behind an [`Iommu`](crate::iommu::Iommu), which makes it
/// ([`Iommu::add_device`](crate::iommu::Iommu::add_device)).
///
/// Spans end with their page. It keeps physical memory and IOMMU alive.
pub struct DeviceMemory {
    port: Port,
}

impl DeviceMemory {
    pub(crate) fn new(port: Port) -> Self {
        Self { port }
    }

    /// The device's requester id.
    pub fn id(&self) -> DeviceId {
        self.port.id()
    }
}

// SAFETY: spans come from the machine's physical memory, whose contract is that of this trait for reads and writes, for as
// long as it lives; the port keeps it. Device and physical addresses agree within a page, as do physical and host
// addresses. Lengths are cut to the request, to the page, and to the piece of memory.
unsafe impl AddressSpace for DeviceMemory {
    fn translate(&self, by: Requester, addr: u64, len: u64, access: Access) -> Result<Span, PageFault> {
        let fault = PageFault { addr };
        let to = self.port.translate(by, addr, access).ok_or(fault)?;
        self.port.ram().span(to.addr, to.len.min(len)).ok_or(fault)
    }

    fn resolve(&self, by: Requester, addr: u64, access: Access) -> bool {
        self.resolve_unless(by, addr, access, &|| false)
    }

    fn resolve_unless(&self, by: Requester, addr: u64, access: Access, stop: &dyn Fn() -> bool) -> bool {
        self.port.resolve(by, addr, access, stop)
    }

    fn begin(&self) -> usize {
        self.port.sections().begin()
    }

    fn end(&self, section: usize) {
        self.port.sections().end(section);
    }
}

impl std::fmt::Debug for DeviceMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceMemory").field("id", &self.id()).finish_non_exhaustive()
    }
}
