//! What can be wrong with a request to the IOMMU.

use thiserror::Error;

use super::{DeviceId, Pasid};

/// Why a request to an [`Iommu`](super::Iommu), a domain or a process was refused. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IommuError {
    /// No device has this requester id.
    #[error("there is no device {0}")]
    NoDevice(DeviceId),
    /// A device with this requester id is there already.
    #[error("there is a device {0} already")]
    DeviceExists(DeviceId),
    /// The domain, or the device, belongs to another IOMMU.
    #[error("the domain or process belongs to another IOMMU")]
    Foreign,
    /// Nothing is attached where something should be.
    #[error("no domain is attached there")]
    NotAttached,
    /// Something is attached that must be taken away first.
    #[error("in use: detach, disable or unbind what is attached first")]
    Busy,
    /// The device's PASID table has an entry for this PASID.
    #[error("the device has a domain for PASID {0} already")]
    PasidInUse(Pasid),
    /// The PASID has not been allocated.
    #[error("PASID {0} is not allocated")]
    PasidFree(Pasid),
    /// No PASID is left that the device can send.
    #[error("no PASID is left that the device can send")]
    NoPasid,
    /// The process has exited.
    #[error("the process has exited")]
    Exited,
    /// An address or a length is not a multiple of the page size, or a length is 0.
    #[error("addresses and lengths of pages must be multiples of 4096, and a length not 0")]
    Misaligned,
    /// A range wraps around, or has addresses that the domain cannot translate.
    #[error("{0:#x} is an address that cannot be used here")]
    OutOfRange(u64),
    /// A range is mapped already.
    #[error("{0:#x} is mapped already")]
    Overlap(u64),
    /// An address is not mapped, or is not where a mapping begins.
    #[error("{0:#x} is not mapped, or not the beginning of a mapping")]
    NotMapped(u64),
    /// There is no physical memory.
    #[error("there is no physical memory at {0:#x}")]
    NoMemory(u64),
    /// No range of I/O addresses of this length is free; ranges that wait for a flush are not.
    #[error("no range of I/O addresses of {0} bytes is free")]
    NoIova(u64),
}
