//! The memory of a virtual machine, reached as a bus master reaches it: through the machine's IOMMU.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use super::{Access, AddressSpace, Agreement, DeviceTlb, GuestRam, PAGE_SIZE, PageFault, Requester, Span};
use crate::iommu::{self, IommuRegisters, Translation, TranslationFault};

/// Where the registers of the IOMMU are read.
pub trait IommuState: Send + Sync {
    /// Their values now.
    fn registers(&self) -> IommuRegisters;
}

/// Registers that never change.
impl IommuState for IommuRegisters {
    fn registers(&self) -> IommuRegisters {
        *self
    }
}

/// A page that a device asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PageRequest {
    /// The device: bus in bits 15:8, device and function in bits 7:0.
    pub source: u16,
    /// The PASID whose page it is.
    pub pasid: u32,
    /// Whether the access is privileged.
    pub privileged: bool,
    /// First address of the page.
    pub addr: u64,
    /// What the device wants to do.
    pub access: Access,
}

/// The way of page requests to the operating system.
pub trait PageRequests: Send + Sync {
    /// Sends a request. `false` if there is no way now: the fault is then not resolved.
    fn send(&self, request: &PageRequest) -> bool;

    /// Whether the operating system has refused a request that was sent, as far as is known. Asked again and again
    /// while the device waits.
    fn is_refused(&self, request: &PageRequest) -> bool {
        let _ = request;
        false
    }

    /// Whether the operating system has said since the last call that a request was granted. If the page is not there then,
    /// it has come and gone, and the device asks again.
    fn was_granted(&self, request: &PageRequest) -> bool {
        let _ = request;
        false
    }
}

/// How long a device waits for a page, if [`GuestMemory::with_patience`] says nothing else.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Guest memory behind an IOMMU.
///
/// Translations are cached only by a [`DeviceTlb`] that is given to it. A page that is missing is asked for by
/// [`resolve`](AddressSpace::resolve), which then looks at the tables until it is there, with a bound, or until the
/// device has to stop; it asks again if the page has come and gone.
pub struct GuestMemory {
    ram: Arc<dyn GuestRam>,
    iommu: Arc<dyn IommuState>,
    source: u16,
    requests: Option<Arc<dyn PageRequests>>,
    patience: Duration,
    tlb: Option<Arc<DeviceTlb>>,
    agreement: Option<Arc<Agreement>>,
}

impl GuestMemory {
    /// Memory as the device `source` sees it (bus in bits 15:8, device and function in bits 7:0), without page requests.
    pub fn new(ram: Arc<dyn GuestRam>, iommu: Arc<dyn IommuState>, source: u16) -> Self {
        Self { ram, iommu, source, requests: None, patience: PATIENCE, tlb: None, agreement: None }
    }

    /// Lets the device ask for pages.
    #[must_use]
    pub fn with_requests(mut self, requests: Arc<dyn PageRequests>) -> Self {
        self.requests = Some(requests);
        self
    }

    /// Gives the device a cache of its own. Whoever hears of invalidations tells the cache.
    #[must_use]
    pub fn with_device_tlb(mut self, tlb: Arc<DeviceTlb>) -> Self {
        self.tlb = Some(tlb);
        self
    }

    /// Compares requests with a PASID with the same ones by requester id.
    #[must_use]
    pub fn with_agreement(mut self, agreement: Arc<Agreement>) -> Self {
        self.agreement = Some(agreement);
        self
    }

    /// Sets how long the device waits for a page.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The PASID of the process whose page tables start at `cr3`; see [`iommu::pasid_of_page_table`].
    pub fn pasid_of(&self, cr3: u64) -> Option<u32> {
        iommu::pasid_of_page_table(&*self.ram, self.iommu.registers(), self.source, cr3)
    }

    /// What to ask for, and whom.
    fn request(&self, by: Requester, addr: u64, access: Access) -> Option<(&dyn PageRequests, PageRequest)> {
        let requests = self.requests.as_deref()?;
        let (source, pasid, privileged) = (self.source, by.pasid?, by.privileged);
        Some((requests, PageRequest { source, pasid, privileged, addr: addr & !(PAGE_SIZE - 1), access }))
    }

    fn walk(&self, by: Requester, addr: u64, access: Access) -> Result<Translation, TranslationFault> {
        iommu::translate(&*self.ram, self.iommu.registers(), self.source, by, addr, access)
    }
}

// SAFETY: spans come from the guest's RAM, whose contract is that of this trait for reads and writes, for as long as `ram`
// lives, which this value keeps. Physical and device addresses agree within a page, as do physical and host
// addresses. Lengths are cut to the request, to the page, and to the piece of RAM.
unsafe impl AddressSpace for GuestMemory {
    fn translate(&self, by: Requester, addr: u64, len: u64, access: Access) -> Result<Span, PageFault> {
        let fault = PageFault { addr };
        let walk = || self.walk(by, addr, access);
        let to = match &self.tlb {
            Some(tlb) => tlb.translate(by, addr, access, walk),
            None => walk(),
        };
        let to = to.map_err(|_| fault)?;
        if let Some(agreement) = &self.agreement {
            agreement.look(by, || self.walk(Requester::DEVICE, addr, access).is_ok_and(|by_id| by_id.addr == to.addr));
        }
        self.ram.span(to.addr, to.len.min(len)).ok_or(fault)
    }

    fn begin(&self) -> usize {
        let Some(tlb) = &self.tlb else { return 0 };
        let section = tlb.sections().begin();
        // The cache takes its lock, which orders this before an invalidation. While it is off, this does.
        fence(Ordering::SeqCst);
        section
    }

    fn end(&self, section: usize) {
        if let Some(tlb) = &self.tlb {
            tlb.sections().end(section);
        }
    }

    fn resolve(&self, by: Requester, addr: u64, access: Access) -> bool {
        self.resolve_unless(by, addr, access, &|| false)
    }

    fn resolve_unless(&self, by: Requester, addr: u64, access: Access, stop: &dyn Fn() -> bool) -> bool {
        let mut sent = false;
        let start = Instant::now();
        loop {
            // Before the look at the page.
            let request = self.request(by, addr, access);
            let granted = sent && request.is_some_and(|(requests, request)| requests.was_granted(&request));
            match self.walk(by, addr, access) {
                Ok(to) => return self.ram.span(to.addr, 1).is_some(),
                Err(fault) if !fault.is_recoverable() => return false,
                Err(_) => {}
            }
            let Some((requests, request)) = request else { return false };
            if (!sent || granted) && !requests.send(&request) || requests.is_refused(&request) {
                return false;
            }
            sent = true;
            let waited = start.elapsed();
            if waited >= self.patience || stop() {
                return false;
            }
            // Short at first: the page is usually brought in soon.
            std::thread::sleep(waited.clamp(Duration::from_micros(20), Duration::from_micros(500)));
        }
    }
}

impl std::fmt::Debug for GuestMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuestMemory")
            .field("source", &self.source)
            .field("iommu", &self.iommu.registers())
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::memory::RamMap;
    use crate::memory::ram_tests::ram;

    const TABLES: IommuRegisters = IommuRegisters { enabled: true, root: 0x1000 | 1 << 10 };
    const BY: Requester = Requester::user(1);
    /// Where the entry for page 0 to 511 of the process lies.
    const LAST_TABLE: u64 = 0x8000;

    /// PASID 1 has four levels of tables for its first 2 MiB, with no page yet.
    fn process() -> Arc<RamMap> {
        let ram = ram(&[(0, 0x10_0000)]);
        let set = |addr, value| assert_eq!(ram.replace(addr, 0, value), Some(true));
        set(0x1000, 0x2000 | 1);
        set(0x2000, 0x3000 | 1 << 3 | 1);
        set(0x3000, 0x4000 | 1);
        set(0x4000 + 64, 1 << 6 | 1);
        set(0x4000 + 64 + 16, 0x5000);
        for table in [0x5000, 0x6000, 0x7000] {
            set(table, (table + 0x1000) | 7);
        }
        Arc::new(ram)
    }

    fn page(ram: &RamMap, number: u64, entry: u64) {
        let old = ram.load(LAST_TABLE + 8 * number).unwrap();
        assert_eq!(ram.replace(LAST_TABLE + 8 * number, old, entry), Some(true));
    }

    /// An operating system that brings in a page, or refuses, or does nothing.
    struct System {
        ram: Arc<RamMap>,
        grants: bool,
        refuses: AtomicBool,
        seen: Mutex<Vec<PageRequest>>,
    }

    impl PageRequests for System {
        fn send(&self, request: &PageRequest) -> bool {
            self.seen.lock().unwrap().push(*request);
            if self.grants {
                page(&self.ram, request.addr >> 12, 0x9000 | 7);
            }
            true
        }

        fn is_refused(&self, _: &PageRequest) -> bool {
            self.refuses.load(Ordering::Relaxed)
        }
    }

    fn guest(ram: &Arc<RamMap>, grants: bool, refuses: bool) -> (GuestMemory, Arc<System>) {
        let (ram, refuses) = (Arc::clone(ram), AtomicBool::new(refuses));
        let system = Arc::new(System { ram: ram.clone(), grants, refuses, seen: Mutex::default() });
        let memory = GuestMemory::new(ram, Arc::new(TABLES), 0).with_requests(system.clone());
        (memory.with_patience(Duration::from_millis(5)), system)
    }

    #[test]
    fn spans_end_with_their_page_and_with_the_request() {
        let ram = process();
        page(&ram, 2, 0x9000 | 7);
        page(&ram, 3, 0x20_0000 | 7);
        let (memory, _) = guest(&ram, false, false);
        let span = memory.translate(BY, 0x2ff0, 0x100, Access::Write).unwrap();
        assert_eq!((span.ptr, span.len), (ram.span(0x9ff0, 1).unwrap().ptr, 0x10));
        assert_eq!(memory.translate(BY, 0x2000, 3, Access::Read).unwrap().len, 3);
        assert_eq!(memory.translate(BY, 0x1000, 8, Access::Read).unwrap_err(), PageFault { addr: 0x1000 });
        assert_eq!(memory.translate(BY, 0x3008, 8, Access::Read).unwrap_err(), PageFault { addr: 0x3008 });
        assert_eq!(memory.pasid_of(0x5000), Some(1));
    }

    #[test]
    fn a_missing_page_is_asked_for_once_and_may_come_be_refused_or_not_come() {
        let ram = process();
        for (number, grants, refuses) in [(1, true, false), (2, false, true), (3, false, false)] {
            let (memory, system) = guest(&ram, grants, refuses);
            let addr = number << 12;
            assert_eq!(memory.resolve(BY, addr | 0x123, Access::Write), grants);
            assert_eq!(memory.translate(BY, addr, 8, Access::Write).is_ok(), grants);
            let request = PageRequest { source: 0, pasid: 1, privileged: false, addr, access: Access::Write };
            assert_eq!(*system.seen.lock().unwrap(), [request]);
        }
    }

    #[test]
    fn what_no_operating_system_can_mend_is_not_asked_for() {
        let ram = process();
        let (memory, system) = guest(&ram, true, false);
        assert!(!memory.resolve(Requester::user(2), 0x1000, Access::Read), "there is no such PASID");
        assert!(!memory.resolve(Requester::DEVICE, 0x1000, Access::Read));
        assert!(!memory.resolve(BY, 1 << 60, Access::Read), "the address is not canonical");
        page(&ram, 4, 0x9000 | 7);
        assert!(memory.resolve(BY, 0x4000, Access::Read), "it is there");
        assert_eq!(*system.seen.lock().unwrap(), []);
        let without = GuestMemory::new(ram, Arc::new(TABLES), 0);
        assert!(!without.resolve(BY, 0x1000, Access::Read));
    }
}
