//! Checked memory, one map for each of two PASIDs; accesses without a PASID reach the first one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dsa_conformance::{PAGE, Page, Power, Space};
use dsa_emulator::{Access, AddressSpace, CheckedMemory, Config, Device, PageFault, Permission, Requester, Span};

use super::Memory;

pub const OWN: u32 = 1;
pub const OTHER: u32 = 2;

/// Both maps, and page requests that can be made to wait.
#[derive(Default)]
pub struct Spaces {
    own: CheckedMemory,
    other: CheckedMemory,
    held: AtomicBool,
    /// The page of the last request that waits; 0 for none.
    waiting: AtomicU64,
}

impl Spaces {
    pub fn of(&self, space: Space) -> &CheckedMemory {
        if space == Space::Own { &self.own } else { &self.other }
    }

    fn by(&self, by: Requester) -> &CheckedMemory {
        self.of(if by.pasid == Some(OTHER) { Space::Other } else { Space::Own })
    }

    pub fn set_page(&self, space: Space, page: u64, state: Page) {
        let memory = self.of(space);
        let read_only = state == Page::ReadOnly;
        let permission = if read_only { Permission::ReadOnly } else { Permission::ReadWrite };
        memory.set_resolvable(page, PAGE, state == Page::Absent).unwrap();
        memory.set_present(page, PAGE, read_only || state == Page::Present).unwrap();
        memory.protect(page, PAGE, permission).unwrap();
    }
}

// SAFETY: all spans come from checked memory, which lives as long as this.
unsafe impl AddressSpace for Spaces {
    fn translate(&self, by: Requester, addr: u64, len: u64, access: Access) -> Result<Span, PageFault> {
        self.by(by).translate(by, addr, len, access)
    }

    fn resolve(&self, by: Requester, addr: u64, access: Access) -> bool {
        self.by(by).resolve(by, addr, access)
    }

    fn resolve_unless(&self, by: Requester, addr: u64, access: Access, stop: &dyn Fn() -> bool) -> bool {
        self.waiting.store(addr & !(PAGE - 1), Ordering::SeqCst);
        while self.held.load(Ordering::SeqCst) {
            if stop() {
                return false;
            }
            std::thread::yield_now();
        }
        self.resolve(by, addr, access)
    }
}

/// Addresses for regions: the same ones in both spaces, with a page between them that belongs to nobody.
#[derive(Clone, Copy)]
pub struct Places([u64; 2]);

impl Default for Places {
    fn default() -> Self {
        Self([0x10_0000; 2])
    }
}

impl Places {
    pub fn next(&mut self, space: Space, pages: u64) -> u64 {
        let next = &mut self.0[space as usize];
        let addr = *next;
        *next += (pages + 1) * PAGE;
        addr
    }
}

/// See the module.
#[derive(Default)]
pub struct Checked {
    spaces: Arc<Spaces>,
    places: Places,
}

impl Memory for Checked {
    fn new() -> Self {
        Self::default()
    }

    fn device(&self, config: Config) -> Device {
        Device::with_memory(config, Arc::clone(&self.spaces) as _).unwrap()
    }

    fn pasids(&self) -> [u32; 2] {
        [OWN, OTHER]
    }

    fn allocate(&mut self, space: Space, pages: u64) -> u64 {
        let addr = self.places.next(space, pages);
        self.spaces.of(space).map(addr, pages * PAGE, Permission::ReadWrite).unwrap();
        addr
    }

    fn write(&self, space: Space, addr: u64, bytes: &[u8]) {
        self.spaces.of(space).write(addr, bytes).unwrap();
    }

    fn read(&self, space: Space, addr: u64, bytes: &mut [u8]) {
        self.spaces.of(space).read(addr, bytes).unwrap();
    }

    fn set_page(&mut self, _device: &Device, space: Space, page: u64, state: Page) {
        self.spaces.set_page(space, page, state);
    }

    fn cannot(&self, _power: Power) -> Option<&'static str> {
        None
    }

    fn hold(&self, on: bool) {
        self.spaces.waiting.store(0, Ordering::SeqCst);
        self.spaces.held.store(on, Ordering::SeqCst);
    }

    fn waits(&self, page: u64) -> bool {
        self.spaces.waiting.load(Ordering::SeqCst) == page
    }
}
