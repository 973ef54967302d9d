//! Checked memory of several processes: each PASID has a map of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Access, AddressSpace, CheckedMemory, PageFault, Requester, Span};

/// One [`CheckedMemory`] for each PASID, and one for accesses without. A PASID that has not been asked for has no memory:
/// its accesses fault.
///
/// ```
/// use dsa_emulator::{Access, AddressSpace, PasidMemory, Permission, Requester};
///
/// let memory = PasidMemory::new();
/// memory.of(7).map(0x1000, 0x1000, Permission::ReadWrite)?;
/// assert!(memory.translate(Requester::user(7), 0x1000, 1, Access::Read).is_ok());
/// assert!(memory.translate(Requester::user(8), 0x1000, 1, Access::Read).is_err());
/// # Ok::<(), dsa_emulator::MapError>(())
/// ```
#[derive(Debug, Default)]
pub struct PasidMemory {
    device: Arc<CheckedMemory>,
    processes: RwLock<BTreeMap<u32, Arc<CheckedMemory>>>,
}

impl PasidMemory {
    /// No memory for anybody.
    pub fn new() -> Self {
        Self::default()
    }

    /// The memory of a PASID, which is empty at first.
    pub fn of(&self, pasid: u32) -> Arc<CheckedMemory> {
        let mut processes = self.processes.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(processes.entry(pasid).or_default())
    }

    /// The memory that is reached without a PASID.
    pub fn device(&self) -> &Arc<CheckedMemory> {
        &self.device
    }

    fn find(&self, by: Requester) -> Option<Arc<CheckedMemory>> {
        match by.pasid {
            None => Some(Arc::clone(&self.device)),
            Some(pasid) => self.processes.read().unwrap_or_else(PoisonError::into_inner).get(&pasid).cloned(),
        }
    }
}

// SAFETY: every span comes from a `CheckedMemory`, whose contract is the same. Maps are added and never removed, so each
// memory, and with it its spans, lives as long as `self`.
unsafe impl AddressSpace for PasidMemory {
    fn translate(&self, by: Requester, addr: u64, len: u64, access: Access) -> Result<Span, PageFault> {
        self.find(by).ok_or(PageFault { addr })?.translate(by, addr, len, access)
    }

    fn resolve(&self, by: Requester, addr: u64, access: Access) -> bool {
        self.find(by).is_some_and(|memory| memory.resolve(by, addr, access))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Permission;

    #[test]
    fn the_same_address_is_another_place_for_each() {
        let memory = PasidMemory::new();
        let spaces = [memory.of(1), memory.of(2), Arc::clone(memory.device())];
        for space in &spaces {
            space.map(0x1000, 0x1000, Permission::ReadWrite).unwrap();
        }
        let at = |by| memory.translate(by, 0x1000, 8, Access::Write).unwrap().ptr.addr();
        let places = [Requester::user(1), Requester::user(2), Requester::DEVICE].map(at);
        assert!(places[0] != places[1] && places[1] != places[2] && places[0] != places[2]);
        assert!(Arc::ptr_eq(&memory.of(1), &spaces[0]));
        assert!(memory.translate(Requester::user(3), 0x1000, 8, Access::Read).is_err());
        assert!(!memory.resolve(Requester::user(3), 0x1000, Access::Read));
        spaces[1].set_present(0x1000, 0x1000, false).unwrap();
        spaces[1].set_resolvable(0x1000, 0x1000, true).unwrap();
        assert!(memory.translate(Requester::user(2), 0x1000, 8, Access::Read).is_err());
        assert!(memory.resolve(Requester::user(2), 0x1000, Access::Read));
        assert!(memory.translate(Requester::user(2), 0x1000, 8, Access::Read).is_ok());
    }
}
