//! Two processes behind a software IOMMU, bound to the device: absent pages and page requests as on a machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use dsa_conformance::{PAGE, Page, Power, Queue, Space};
use dsa_emulator::iommu::{Binding, DeviceId, DeviceOptions, Iommu, IommuOptions, PagePolicy, Process};
use dsa_emulator::{Access, CheckedMemory, Config, Device, DeviceMemory, Permission};

use super::Memory;
use super::checked::Places;

const ID: DeviceId = DeviceId::new(0x6a, 1, 0);

/// See the module.
pub struct Machine {
    ram: Arc<CheckedMemory>,
    memory: Arc<DeviceMemory>,
    processes: [Process; 2],
    bindings: [Binding; 2],
    places: Places,
    /// Where pages lie in physical memory.
    frames: BTreeMap<(usize, u64), u64>,
    next_frame: u64,
}

impl Machine {
    fn frame(&self, space: Space, addr: u64) -> u64 {
        self.frames[&(space as usize, addr & !(PAGE - 1))] + addr % PAGE
    }

    /// Pieces of a range that lie in one page: offset into the range, physical address, length.
    fn pieces(&self, space: Space, addr: u64, len: usize) -> Vec<(usize, u64, usize)> {
        let mut pieces = Vec::new();
        let mut done = 0;
        while done < len {
            let at = addr + done as u64;
            let n = ((PAGE - at % PAGE) as usize).min(len - done);
            pieces.push((done, self.frame(space, at), n));
            done += n;
        }
        pieces
    }
}

impl Memory for Machine {
    fn new() -> Self {
        let ram = Arc::new(CheckedMemory::new());
        let iommu = Iommu::new(ram.clone(), IommuOptions::default());
        let memory = iommu.add_device(ID, DeviceOptions::default()).unwrap();
        let processes = [iommu.process(), iommu.process()];
        let bindings = processes.each_ref().map(|process| iommu.bind(ID, process).unwrap());
        let (places, frames) = (Places::default(), BTreeMap::new());
        Self { ram, memory, processes, bindings, places, frames, next_frame: 1 << 30 }
    }

    fn device(&self, config: Config) -> Device {
        Device::with_memory(config, Arc::clone(&self.memory) as _).unwrap()
    }

    fn pasids(&self) -> [u32; 2] {
        self.bindings.each_ref().map(|binding| binding.pasid().get())
    }

    fn allocate(&mut self, space: Space, pages: u64) -> u64 {
        let addr = self.places.next(space, pages);
        self.ram.map(self.next_frame, pages * PAGE, Permission::ReadWrite).unwrap();
        // In reverse, so that no two pages of a region are neighbours in physical memory.
        for page in 0..pages {
            let (at, frame) = (addr + page * PAGE, self.next_frame + (pages - 1 - page) * PAGE);
            self.processes[space as usize].map(at, frame, PAGE, Permission::ReadWrite).unwrap();
            self.frames.insert((space as usize, at), frame);
        }
        self.next_frame += pages * PAGE;
        addr
    }

    fn write(&self, space: Space, addr: u64, bytes: &[u8]) {
        for (at, frame, n) in self.pieces(space, addr, bytes.len()) {
            self.ram.write(frame, &bytes[at..at + n]).unwrap();
        }
    }

    fn read(&self, space: Space, addr: u64, bytes: &mut [u8]) {
        for (at, frame, n) in self.pieces(space, addr, bytes.len()) {
            self.ram.read(frame, &mut bytes[at..at + n]).unwrap();
        }
    }

    fn set_page(&mut self, _device: &Device, space: Space, page: u64, state: Page) {
        let process = &self.processes[space as usize];
        // As if the process had given the page up; what it holds stays where it is.
        let _ = process.unmap(page, PAGE);
        let frame = self.frame(space, page);
        match state {
            Page::Refused => {}
            Page::Absent => process.map_absent(page, frame, PAGE, Permission::ReadWrite).unwrap(),
            Page::ReadOnly => process.map(page, frame, PAGE, Permission::ReadOnly).unwrap(),
            Page::Present => {
                process.map(page, frame, PAGE, Permission::ReadWrite).unwrap();
                assert!(process.touch(page, Access::Write));
            }
        }
    }

    fn cannot(&self, power: Power) -> Option<&'static str> {
        match power {
            Power::Queue(Queue::NoPasid) => Some("without a PASID there is another address space"),
            _ => None,
        }
    }

    fn hold(&self, on: bool) {
        self.processes[1].set_page_policy(if on { PagePolicy::Ask } else { PagePolicy::Grant });
    }

    fn waits(&self, page: u64) -> bool {
        self.processes[1].page_requests().iter().any(|request| request.addr & !(PAGE - 1) == page)
    }
}
