//! Domains: what an address means.

use std::fmt;
use std::sync::Mutex;

use super::dma::DmaState;
use super::process::ProcessPages;
use super::table::{Leaf, PageSize};
use super::{FaultReason, lock};
use crate::memory::{Access, GuestRam, Permission};

/// Bits of an I/O address.
pub(super) const IOVA_BITS: u32 = 48;

/// Bits of a process's address, of which the upper half has the highest set, and all above.
pub(super) const PROCESS_BITS: u32 = 48;

/// The number of a domain, by which the IOTLB knows its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainId(u32);

impl DomainId {
    /// The number that all processes and all pass-through domains share, as in Linux: their entries differ by PASID or
    /// requester id.
    pub const SHARED: Self = Self(1);

    pub(super) const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for DomainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Kinds of domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DomainKind {
    /// The address space of a process (shared virtual addressing).
    Sva,
    /// I/O addresses.
    Dma,
    /// Physical addresses.
    Identity,
}

/// A domain. Two are the same if they are at the same place.
#[derive(Debug)]
pub(super) struct Domain {
    pub(super) id: DomainId,
    /// Differs between all domains of an IOMMU, which [`id`](Self::id) does not.
    pub(super) serial: u64,
    pub(super) tables: Tables,
}

/// How a domain translates.
#[derive(Debug)]
pub(super) enum Tables {
    Process(Mutex<ProcessPages>),
    Dma(DmaState),
    Identity,
}

impl Domain {
    pub(super) fn kind(&self) -> DomainKind {
        match self.tables {
            Tables::Process(_) => DomainKind::Sva,
            Tables::Dma(_) => DomainKind::Dma,
            Tables::Identity => DomainKind::Identity,
        }
    }

    /// Looks an address up, past all caches.
    pub(super) fn walk(&self, ram: &dyn GuestRam, addr: u64, access: Access) -> Result<Leaf, FaultReason> {
        match &self.tables {
            Tables::Process(pages) => {
                let unused = u64::BITS - PROCESS_BITS;
                if (addr << unused).cast_signed() >> unused != addr.cast_signed() {
                    return Err(FaultReason::NonCanonical);
                }
                lock(pages).walk(addr, access)
            }
            Tables::Dma(_) if addr >> IOVA_BITS != 0 => Err(FaultReason::OutOfRange),
            Tables::Dma(state) => state.walk(addr, access),
            Tables::Identity => {
                let to = PageSize::Small.first(addr);
                let there = ram.span(to, 1).is_some();
                let leaf = Leaf { to, size: PageSize::Small, permission: Permission::ReadWrite };
                if there { Ok(leaf) } else { Err(FaultReason::OutOfRange) }
            }
        }
    }
}

/// Whether every byte of a range is physical memory; the first that is not.
pub(super) fn physical(ram: &dyn GuestRam, addr: u64, len: u64) -> Result<(), u64> {
    let mut done = 0;
    while done < len {
        let at = addr.checked_add(done).ok_or(addr)?;
        done += ram.span(at, len - done).ok_or(at)?.len as u64;
    }
    Ok(())
}
