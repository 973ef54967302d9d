//! A machine with a software IOMMU: physical memory, devices by their requester ids, and descriptors for them.
// Each test binary uses another part of this.
#![allow(dead_code, unreachable_pub)]

pub mod owner;

use std::sync::Arc;

use dsa_emulator::iommu::{DeviceId, DeviceOptions, Direction, DmaDomain, DmaMode, FaultReason, Iommu, IommuOptions};
use dsa_emulator::{
    Access, AddressSpace, CheckedMemory, Client, Config, Device, DeviceMemory, Enqcmd, GuestRam, Permission, Requester,
    WqConfig,
};
use idxd_sys::{CompletionRecord, Descriptor};
use zerocopy::IntoBytes;

pub const PAGE: u64 = 4096;
/// Physical memory: four mebibytes from 2 MiB on.
pub const RAM: u64 = 2 << 20;
pub const RAM_LEN: u64 = 4 << 20;
pub const ID: DeviceId = DeviceId::new(0x6a, 1, 0);
pub const OTHER: DeviceId = DeviceId::new(0x6f, 1, 0);

/// The n-th page of physical memory.
pub const fn frame(n: u64) -> u64 {
    RAM + n * PAGE
}

pub const DIRECTIONS: [Direction; 3] = [Direction::ToDevice, Direction::FromDevice, Direction::Bidirectional];

/// Whether a device may do that with a mapping.
pub fn allows(direction: Direction, access: Access) -> bool {
    direction != if access == Access::Read { Direction::FromDevice } else { Direction::ToDevice }
}

pub struct Machine {
    pub ram: Arc<CheckedMemory>,
    pub iommu: Iommu,
}

impl Machine {
    pub fn new() -> Self {
        Self::with(IommuOptions::default())
    }

    pub fn with(options: IommuOptions) -> Self {
        let ram = Arc::new(CheckedMemory::new());
        ram.map(RAM, RAM_LEN, Permission::ReadWrite).unwrap();
        Self { iommu: Iommu::new(ram.clone(), options), ram }
    }

    /// Adds the device, and a domain that is attached to it.
    pub fn dma(&self, mode: DmaMode, options: DeviceOptions) -> (Arc<DeviceMemory>, DmaDomain) {
        let memory = self.iommu.add_device(ID, options).unwrap();
        let domain = self.iommu.dma_domain(mode);
        self.iommu.attach(ID, &domain).unwrap();
        (memory, domain)
    }

    /// Where a request leads in physical memory, without a trace of the host.
    pub fn translate(&self, memory: &DeviceMemory, by: Requester, addr: u64, access: Access) -> Option<u64> {
        let section = memory.begin();
        let span = memory.translate(by, addr, 1, access).ok();
        memory.end(section);
        let base = self.ram.span(RAM, 1).unwrap().ptr.addr();
        span.map(|span| RAM + (span.ptr.addr() - base) as u64)
    }

    pub fn bytes(&self, addr: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.ram.read(addr, &mut bytes).unwrap();
        bytes
    }

    /// Whether a page holds this byte everywhere.
    pub fn is_filled(&self, page: u64, byte: u8) -> bool {
        self.bytes(page, PAGE as usize).iter().all(|b| *b == byte)
    }

    pub fn fill(&self, page: u64, byte: u8) {
        self.ram.write(page, &[byte; PAGE as usize]).unwrap();
    }

    pub fn record(&self, addr: u64) -> CompletionRecord {
        let mut record = CompletionRecord::default();
        self.ram.read(addr, record.as_mut_bytes()).unwrap();
        record
    }

    /// The reasons in the fault log, with their PASIDs.
    pub fn reasons(&self) -> Vec<(Option<u32>, FaultReason)> {
        self.iommu.take_faults().records.iter().map(|fault| (fault.pasid, fault.reason)).collect()
    }
}

/// A device by hand, with a shared queue, number 0, and a dedicated one.
pub fn by_hand(memory: Arc<DeviceMemory>) -> Device {
    Device::with_memory(config().manual(), memory).unwrap()
}

pub fn config() -> Config {
    let (shared, dedicated) = (WqConfig::shared(64), WqConfig::dedicated(32));
    Config::granite_rapids().queue(shared.block_on_fault(true)).queue(dedicated.block_on_fault(true))
}

/// Submits to whichever kind of queue it is.
pub fn submit(client: &Client, d: &Descriptor) {
    // SAFETY: the device has an address space of its own.
    unsafe {
        if client.info().mode == dsa_emulator::Mode::Dedicated {
            client.movdir64b(d);
        } else {
            assert_eq!(client.enqcmd(d), Enqcmd::Accepted);
        }
    }
}

/// The same descriptor with its record somewhere else.
pub fn recorded(d: Descriptor, addr: u64) -> Descriptor {
    Descriptor { completion_addr: addr, ..d }
}

/// What the next owner of a page writes into it.
pub const BYTE: u8 = 0x5a;

/// A device with engine threads.
pub fn with_engines(memory: Arc<DeviceMemory>, engines: usize) -> Device {
    Device::with_memory(config().engines(engines), memory).unwrap()
}

/// Has the next owner write pages.
pub fn scribble(machine: &Machine, first: u64, pages: u64) {
    machine.ram.write(frame(first), &vec![BYTE; (pages * PAGE) as usize]).unwrap();
}

/// Whether nobody else has written them since.
pub fn is_scribble(machine: &Machine, first: u64, pages: u64) -> bool {
    machine.bytes(frame(first), (pages * PAGE) as usize).iter().all(|byte| *byte == BYTE)
}
