//! Trusted memory: pages of this process, which the model reaches by pointers. What is absent is injected.

use std::alloc::Layout;
use std::collections::BTreeMap;

use dsa_conformance::{PAGE, Page, Power, Space};
use dsa_emulator::{Access, Config, Device, Effect, FaultRule, RuleId};

use super::Memory;

/// See the module.
pub struct Trusted {
    regions: Vec<(*mut u8, Layout)>,
    rules: BTreeMap<u64, RuleId>,
}

impl Drop for Trusted {
    fn drop(&mut self) {
        for (memory, layout) in &self.regions {
            // SAFETY: `allocate` got it with this layout. Devices over it are idle: they run by hand.
            unsafe { std::alloc::dealloc(*memory, *layout) };
        }
    }
}

impl Memory for Trusted {
    fn new() -> Self {
        Self { regions: Vec::new(), rules: BTreeMap::new() }
    }

    fn device(&self, config: Config) -> Device {
        Device::new(config).unwrap()
    }

    fn pasids(&self) -> [u32; 2] {
        [1, 2]
    }

    fn allocate(&mut self, _space: Space, pages: u64) -> u64 {
        // With a page on both sides that belongs to nobody.
        let bytes = ((pages + 2) * PAGE) as usize;
        let layout = Layout::from_size_align(bytes, PAGE as usize).unwrap();
        // SAFETY: the size is not 0.
        let memory = unsafe { std::alloc::alloc_zeroed(layout) };
        assert!(!memory.is_null());
        self.regions.push((memory, layout));
        memory.expose_provenance() as u64 + PAGE
    }

    fn write(&self, _space: Space, addr: u64, bytes: &[u8]) {
        // SAFETY: the suite writes to what it has allocated, while the model is idle; nobody holds references to it.
        unsafe {
            let to = std::ptr::with_exposed_provenance_mut::<u8>(addr as usize);
            to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
    }

    fn read(&self, _space: Space, addr: u64, bytes: &mut [u8]) {
        // SAFETY: as for writing.
        unsafe {
            let from = std::ptr::with_exposed_provenance::<u8>(addr as usize);
            bytes.as_mut_ptr().copy_from_nonoverlapping(from, bytes.len());
        }
    }

    fn set_page(&mut self, device: &Device, _space: Space, page: u64, state: Page) {
        if let Some(rule) = self.rules.remove(&page) {
            device.remove(rule);
        }
        let fault = |resolvable| FaultRule::new(Effect::PageFault { resolvable }).at(page..page + PAGE);
        let rule = match state {
            Page::Present => return,
            Page::Absent => fault(true),
            Page::Refused => fault(false),
            Page::ReadOnly => fault(false).access(Access::Write),
        };
        self.rules.insert(page, device.inject(rule));
    }

    fn cannot(&self, power: Power) -> Option<&'static str> {
        (power == Power::Abort).then_some("injected page requests are answered at once")
    }
}
