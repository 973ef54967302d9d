//! Owners of a PASID, of every kind, who all use the same addresses.

use dsa_emulator::Permission;
use dsa_emulator::iommu::{Direction, DmaMode, Pasid};

use super::{ID, Machine, PAGE, frame};

/// Who has a PASID.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Owner {
    Process,
    /// The domain that the device has anyway.
    Dma,
    /// A domain that is attached to an allocated PASID.
    Attached,
    /// The same with one for pass-through.
    Through,
}

pub const OWNERS: [Owner; 4] = [Owner::Process, Owner::Dma, Owner::Attached, Owner::Through];

/// The addresses that every owner of a PASID uses: where pass-through leads to memory, and I/O addresses end.
pub const DATA: u64 = frame(2);
pub const RECORD: u64 = frame(3);

/// A PASID, the places in physical memory of data and record, and how its owner gives it back.
pub struct Owned<'a> {
    pub pasid: Pasid,
    pub data: u64,
    pub record: u64,
    pub end: Box<dyn FnOnce() + Send + 'a>,
}

/// Has somebody use a PASID on the device, with data and record in pages `first` and the next; not so in pass-through. The
/// machine's I/O addresses must end with the page of the record.
pub fn owned(machine: &Machine, owner: Owner, first: u64) -> Owned<'_> {
    let iommu = &machine.iommu;
    let (data, record) = if owner == Owner::Through { (DATA, RECORD) } else { (frame(first), frame(first + 1)) };
    if owner == Owner::Process {
        let process = iommu.process();
        process.map(DATA, data, 2 * PAGE, Permission::ReadWrite).unwrap();
        let binding = iommu.bind(ID, &process).unwrap();
        let pasid = binding.pasid();
        let end = move || {
            binding.unbind();
            drop(process);
        };
        return Owned { pasid, data, record, end: Box::new(end) };
    }
    let dma = iommu.dma_domain(if owner == Owner::Through { DmaMode::PassThrough } else { DmaMode::Strict });
    for (place, addr) in [(record, RECORD), (data, DATA)] {
        assert_eq!(dma.map_single(place, PAGE, Direction::FromDevice), Ok(addr));
    }
    if owner == Owner::Dma {
        iommu.attach(ID, &dma).unwrap();
        let pasid = iommu.enable_pasid_dma(ID).unwrap();
        return Owned { pasid, data, record, end: Box::new(|| iommu.disable_pasid_dma(ID).unwrap()) };
    }
    let pasid = iommu.allocate_pasid(ID).unwrap();
    iommu.attach_pasid(ID, pasid, &dma).unwrap();
    let end = move || {
        iommu.detach_pasid(ID, pasid).unwrap();
        iommu.free_pasid(pasid).unwrap();
    };
    Owned { pasid, data, record, end: Box::new(end) }
}
