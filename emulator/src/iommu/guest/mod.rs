//! The walk through the tables of a guest. They lie in the guest's memory and are read at every access; nothing is cached
//! here. What a device caches of the answers it must forget when the operating system says so, through the invalidation queue.
//!
//! * Off: addresses are physical.
//! * Legacy mode: root table, context table, second-level tables or pass-through. No PASIDs.
//! * Scalable mode: root table, context table, PASID directory and table; then first-level tables (those of a processor, 4
//!   or 5 levels), second-level tables, one nested in the other, or pass-through. Accesses without a PASID use the one that
//!   the context names for them.
//!
//! Accessed and dirty bits are set as hardware sets them, by compare and exchange, so that an entry which software takes
//! away meanwhile stays as software left it.

mod context;
mod queue;
mod walk;

use crate::memory::{Access, GuestRam, Requester};

pub use context::pasid_of_page_table;
pub use queue::{DeviceInvalidation, InvalidationQueue, PageResponse, QueueMessage, Scope};

/// The registers of an IOMMU that decide how it translates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IommuRegisters {
    /// Whether translation is enabled (GSTS bit 31).
    pub enabled: bool,
    /// The root table address register, RTADDR.
    pub root: u64,
}

impl IommuRegisters {
    /// Translation is off.
    pub const OFF: Self = Self { enabled: false, root: 0 };

    /// From the values of the global status register and of the root table address register.
    pub const fn new(gsts: u32, rtaddr: u64) -> Self {
        Self { enabled: gsts >> 31 != 0, root: rtaddr }
    }
}

/// Where an address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Translation {
    /// The physical address.
    pub addr: u64,
    /// Bytes from there that are translated alike, at least 1: to the end of the page, small or large.
    pub len: u64,
}

/// Why an address could not be translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TranslationFault {
    /// No root or context entry for the device, one that makes no sense, or one that blocks the access.
    Context,
    /// No PASID entry, one that makes no sense, or PASIDs are not enabled.
    Pasid,
    /// The address is not canonical, or has more bits than the tables translate.
    Address,
    /// An entry of a page table is not present.
    NotPresent,
    /// A page table does not allow the access.
    Permission,
    /// An entry of a page table has a reserved bit set.
    Reserved,
    /// A table lies where there is no memory.
    NoMemory,
}

impl TranslationFault {
    /// Whether a page request can help: the operating system may bring the page in.
    pub const fn is_recoverable(self) -> bool {
        matches!(self, Self::NotPresent | Self::Permission)
    }
}

/// Translates an address for a device.
///
/// `source` is the device's requester id: bus in bits 15:8, device and function in bits 7:0.
pub fn translate(
    ram: &dyn GuestRam,
    iommu: IommuRegisters,
    source: u16,
    by: Requester,
    addr: u64,
    access: Access,
) -> Result<Translation, TranslationFault> {
    if !iommu.enabled {
        return Ok(Translation { addr, len: u64::MAX - addr.saturating_sub(1) });
    }
    context::domain(ram, iommu, source, by)?.translate(ram, addr, access)
}

#[cfg(test)]
mod tests;
