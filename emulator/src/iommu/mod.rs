//! The IOMMU of an x86 machine (Intel VT-d), as far as a device needs it: how its addresses become physical ones.
//!
//! There are two. [`translate`] walks the tables of a guest in its RAM, for a virtual machine
//! ([`GuestMemory`](crate::GuestMemory)). [`Iommu`] needs no machine: it is the IOMMU *and* the part of an operating
//! system that programs it, in this process, with the shape of the kernel's interfaces. It makes the address spaces that
//! devices run on. Section numbers refer to Intel's "Virtualization Technology for Directed I/O" specification.
//!
//! # Domains, devices, PASIDs
//!
//! A *domain* translates. There are three kinds ([`DomainKind`]):
//!
//! * the pages of a [`Process`], for shared virtual addressing: mapped, unmapped, read-only, or absent until a page request
//!   brings them in;
//! * I/O addresses (IOVA) of a [`DmaDomain`], handed out by a DMA API of map, unmap and sync;
//! * identity, which is a [`DmaDomain`] made for pass-through: the addresses are physical.
//!
//! A *device* has a requester id ([`DeviceId`]). What it sends without a PASID goes to the domain attached to the id
//! ([`Iommu::attach`]); what carries a PASID goes to the domain attached to id and PASID. PASIDs come from one global
//! space, lowest first. [`Iommu::bind`] gives a process's PASID a place in the device's table;
//! [`Iommu::enable_pasid_dma`] does so for the domain that the device has anyway. A queue that only takes descriptors with
//! a PASID is then usable through the ordinary DMA API, **and both ways lead to the same place, always**.
//!
//! No entry enables supervisor requests: an access that is privileged and carries a PASID is refused.
//!
//! # Caches, invalidation, and what "gone" means
//!
//! The IOTLB holds translations with their tags: domain, and PASID or requester id. A device TLB may stand in front
//! of it, in the device. Neither is told of changes by itself: whoever takes a page away says so with [`Invalidation`]s, for
//! every tag of the domain, in both. Afterwards it waits for the accesses that began before
//! ([sections](crate::AddressSpace#sections)). So when [`DmaDomain::unmap`] (strict mode), [`DmaDomain::flush`] or
//! [`Iommu::tick`] (lazy mode), [`Process::unmap`], [`Process::exit`], an end of a [`Binding`] or a detach has returned, **the
//! device touches the page no more**, and what it wrote before is visible. The wait takes no lock that a page request
//! needs, and an engine that waits for a page is in no section, so it cannot wait for ever.
//!
//! Descriptors in flight then end with a fault. What the IOMMU cannot know is whether a device still holds descriptors of
//! a PASID: as on a machine, its driver has to drain or abort them before the PASID is given away.
//!
//! [`Omissions`] leaves parts of this out, for tests that must notice.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use dsa_emulator::iommu::{DeviceId, DeviceOptions, Direction, DmaMode, Iommu, IommuOptions};
//! use dsa_emulator::{CheckedMemory, Config, Device, Enqcmd, Permission};
//! use idxd_sys::{Descriptor, flag, opcode, status};
//!
//! // Physical memory: a mebibyte from 1 MiB on.
//! let ram = Arc::new(CheckedMemory::new());
//! ram.map(0x10_0000, 0x10_0000, Permission::ReadWrite)?;
//! let iommu = Iommu::new(ram.clone(), IommuOptions::default());
//! let id = DeviceId::new(0x6a, 1, 0);
//! let device = Device::with_memory(Config::sapphire_rapids(), iommu.add_device(id, DeviceOptions::default())?)?;
//!
//! // The kernel's DMA API, with a PASID, as the driver sets it up.
//! let dma = iommu.dma_domain(DmaMode::Strict);
//! iommu.attach(id, &dma)?;
//! let pasid = iommu.enable_pasid_dma(id)?;
//! let client = device.open_as(0, pasid.user())?;
//!
//! let record = dma.map_single(0x10_0000, 32, Direction::FromDevice)?;
//! let data = dma.map_single(0x10_2345, 100, Direction::FromDevice)?;
//! let mut d = Descriptor { completion_addr: record, dst_addr: data, src_addr: 7, xfer_size: 100, ..Descriptor::default() };
//! d.set_opcode_flags(opcode::FILL, flag::CRAV | flag::RCR);
//! // SAFETY: the device has an address space of its own.
//! assert_eq!(unsafe { client.enqcmd(&d) }, Enqcmd::Accepted);
//! assert!(client.drain());
//! assert_eq!(ram.status(0x10_0000)?, status::SUCCESS);
//!
//! // From here on the buffer is the processor's.
//! dma.unmap(data)?;
//! assert_eq!(unsafe { client.enqcmd(&d) }, Enqcmd::Accepted);
//! assert!(client.drain());
//! assert_eq!(ram.status(0x10_0000)?, status::PAGE_FAULT | status::FAULT_WRITE);
//! assert_eq!(iommu.take_faults().records.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod binding;
mod cache;
mod device;
mod dma;
mod domain;
mod error;
mod fault;
mod guest;
mod invalidate;
mod iova;
mod page_request;
mod pasid;
mod port;
mod process;
mod section;
mod state;
mod statistics;
mod system;
mod table;

pub use binding::Binding;
pub use device::{DeviceId, DeviceOptions};
pub use dma::{Direction, DmaDomain, DmaMode, Piece};
pub use domain::{DomainId, DomainKind};
pub use error::IommuError;
pub use fault::{FaultReason, FaultRecord, FaultReport};
pub use guest::{
    DeviceInvalidation, InvalidationQueue, IommuRegisters, PageResponse, QueueMessage, Scope, Translation,
    TranslationFault, pasid_of_page_table, translate,
};
pub use invalidate::{Invalidation, Omissions, Pages, Tag};
pub use pasid::Pasid;
pub(crate) use port::Port;
pub use process::{PagePolicy, Process};
pub(crate) use section::Sections;
pub use statistics::{CacheStatistics, IommuStatistics};
pub use system::{Iommu, IommuOptions};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a panic of another thread leaves behind here is whole: nothing panics between two writes that belong together.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
