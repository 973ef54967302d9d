//! Memory that its owner takes away while the device works on it: a page fault of the device, never one of the process.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::collections::VecDeque;
use std::ptr::null_mut;
use std::sync::{Arc, Mutex};

use dsa_emulator::{Access, AddressSpace, Client, Config, Device, PageFault, Requester, Span};
use idxd_sys::{CompletionRecord, Descriptor, flag, opcode, status};

const PAGE: usize = 4096;

/// The process's own memory, every page of which is said to be there. At each translation the next deed is done, behind
/// the back of the device, which has the address already.
#[derive(Default)]
struct Own {
    deeds: Mutex<VecDeque<Option<Deed>>>,
}

type Deed = Box<dyn FnOnce() + Send>;

// SAFETY: it says that memory may vanish; everything in these tests that is translated for writing is theirs to write,
// and reached through raw pointers.
unsafe impl AddressSpace for Own {
    fn translate(&self, _: Requester, addr: u64, len: u64, _: Access) -> Result<Span, PageFault> {
        if let Some(Some(deed)) = self.deeds.lock().unwrap().pop_front() {
            deed();
        }
        let left = PAGE as u64 - addr % PAGE as u64;
        Ok(Span { ptr: std::ptr::with_exposed_provenance_mut(addr as usize), len: len.min(left) as usize })
    }

    fn resolve(&self, _: Requester, _: u64, _: Access) -> bool {
        false
    }

    fn may_vanish(&self) -> bool {
        true
    }
}

/// Fresh pages.
#[derive(Clone, Copy)]
struct Pages(usize, usize);

impl Pages {
    fn new(count: usize) -> Self {
        let length = count * PAGE;
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a fresh mapping.
        let at = unsafe { libc::mmap(null_mut(), length, access, kind, -1, 0) };
        assert_ne!(at, libc::MAP_FAILED);
        Self(at.expose_provenance(), length)
    }

    fn at(self, offset: usize) -> *mut u8 {
        self.place(offset)
    }

    fn place<T>(self, offset: usize) -> *mut T {
        std::ptr::with_exposed_provenance_mut(self.0 + offset)
    }

    fn address(self, offset: usize) -> u64 {
        (self.0 + offset) as u64
    }

    fn fill(self, byte: u8) -> Self {
        // SAFETY: the whole mapping, which nobody else uses now.
        unsafe { self.at(0).write_bytes(byte, self.1) };
        self
    }

    fn bytes(self, offset: usize, count: usize) -> Vec<u8> {
        // SAFETY: inside the mapping; the device is idle.
        unsafe { std::slice::from_raw_parts(self.at(offset), count) }.to_vec()
    }

    /// Takes a page away. The address stays taken: another test's thread must not get it.
    fn take(self, page: usize) {
        self.protect(page, libc::PROT_NONE);
    }

    fn read_only(self, page: usize) {
        self.protect(page, libc::PROT_READ);
    }

    fn protect(self, page: usize, access: i32) {
        // SAFETY: a page of this mapping. Whoever uses it next is told so by a fault, which is what this is about.
        assert_eq!(unsafe { libc::mprotect(self.at(page * PAGE).cast(), PAGE, access) }, 0);
    }
}

struct Bench {
    own: Arc<Own>,
    device: Device,
    client: Client,
    record: Pages,
}

impl Bench {
    fn new() -> Self {
        let own = Arc::new(Own::default());
        let device = Device::with_memory(Config::sapphire_rapids().manual(), own.clone()).unwrap();
        let client = device.open(0).unwrap();
        Self { own, device, client, record: Pages::new(1).fill(0) }
    }

    /// The deed is done at the translation of this number, from 0 on.
    fn at(&self, number: usize, deed: impl FnOnce() + Send + 'static) {
        let mut deeds = self.own.deeds.lock().unwrap();
        deeds.resize_with(number, || None);
        deeds.push_back(Some(Box::new(deed)));
    }

    fn run(&self, opcode: u8, mut d: Descriptor) -> CompletionRecord {
        self.record.fill(0);
        d.completion_addr = self.record.address(0);
        d.set_opcode_flags(opcode, flag::CRAV | flag::RCR);
        // SAFETY: with an address space of its own any 64 bytes are fine.
        assert_eq!(unsafe { self.client.enqcmd(&d) }, dsa_emulator::Enqcmd::Accepted);
        self.device.run_until_idle();
        // SAFETY: the page is there, or the test does not ask.
        unsafe { self.record.place::<CompletionRecord>(0).read() }
    }
}

fn copy(from: Pages, to: Pages, count: usize) -> Descriptor {
    Descriptor { src_addr: from.address(0), dst_addr: to.address(0), xfer_size: count as u32, ..Descriptor::default() }
}

#[test]
fn memory_that_stays_is_worked_on() {
    let bench = Bench::new();
    let (from, to) = (Pages::new(3).fill(7), Pages::new(3).fill(0));
    let ended = bench.run(opcode::MEMMOVE, copy(from, to, 2 * PAGE + 5));
    assert_eq!((ended.status, to.bytes(0, 2 * PAGE + 5)), (status::SUCCESS, vec![7; 2 * PAGE + 5]));
    assert_eq!(to.bytes(2 * PAGE + 5, 3), [0; 3]);
    let ended = bench.run(opcode::COMPARE, copy(from, to, 3 * PAGE));
    assert_eq!((ended.status, ended.result, ended.bytes_completed), (status::SUCCESS, 1, 2 * PAGE as u32 + 5));
    let mut overlapping = copy(to, to, 2 * PAGE);
    overlapping.dst_addr += 10;
    assert_eq!(bench.run(opcode::MEMMOVE, overlapping).status, status::SUCCESS);
    assert_eq!(to.bytes(2 * PAGE + 10, 2), [0; 2]);
    let pattern = Descriptor { src_addr: u64::from_ne_bytes(*b"abcdefgh"), ..copy(from, to, 2 * PAGE) };
    assert_eq!(bench.run(opcode::FILL, pattern).status, status::SUCCESS);
    assert_eq!(to.bytes(2 * PAGE - 8, 8), b"abcdefgh");
}

#[test]
fn a_source_that_vanishes_is_a_read_fault_without_progress() {
    // Whichever lies above the other.
    for is_above in [false, true] {
        let bench = Bench::new();
        let (one, other) = (Pages::new(2), Pages::new(2));
        let (low, high) = if one.address(0) < other.address(0) { (one, other) } else { (other, one) };
        let (from, to) = if is_above { (high.fill(7), low.fill(0)) } else { (low.fill(7), high.fill(0)) };
        // Source, destination, and then the source's second page: it is gone when the device knows its address.
        bench.at(2, move || from.take(1));
        let ended = bench.run(opcode::MEMMOVE, copy(from, to, 2 * PAGE));
        assert_eq!((ended.status, ended.bytes_completed), (status::PAGE_FAULT, 0));
        assert_eq!(ended.fault_addr, from.address(PAGE));
        assert_eq!(bench.device.counters().page_faults, 1);
    }
}

#[test]
fn a_destination_that_vanishes_is_a_write_fault() {
    for deed in [Pages::take, Pages::read_only] {
        let bench = Bench::new();
        let (from, to) = (Pages::new(1).fill(7), Pages::new(1).fill(0));
        bench.at(1, move || deed(to, 0));
        let ended = bench.run(opcode::MEMMOVE, copy(from, to, 100));
        assert_eq!((ended.status, ended.fault_addr), (status::PAGE_FAULT | status::FAULT_WRITE, to.address(0)));
    }
}

#[test]
fn every_operation_notices() {
    for (code, translation) in [
        (opcode::MEMMOVE, 1),
        (opcode::FILL, 0),
        (opcode::COMPARE, 1),
        (opcode::COMPVAL, 0),
        (opcode::DUALCAST, 1),
        (opcode::CRCGEN, 0),
        (opcode::COPY_CRC, 1),
    ] {
        let bench = Bench::new();
        let (one, two, three) = (Pages::new(1).fill(0), Pages::new(1).fill(0), Pages::new(1).fill(0));
        bench.at(translation, move || {
            for pages in [one, two, three] {
                pages.take(0);
            }
        });
        let mut d = Descriptor { dst_addr: two.address(0), xfer_size: 64, ..Descriptor::default() };
        // A fill has its pattern there, and a comparison with a pattern has it in place of a destination.
        d.src_addr = if code == opcode::FILL { 0 } else { one.address(0) };
        d.op_specific[0] = if code == opcode::DUALCAST { three.address(0) } else { 0 };
        if matches!(code, opcode::COMPVAL | opcode::CRCGEN) {
            d.dst_addr = 0;
        }
        let ended = bench.run(code, d);
        assert_eq!(ended.status & !status::FAULT_WRITE, status::PAGE_FAULT, "{code:#x}");
        assert_eq!((ended.bytes_completed, ended.result, ended.op_specific), (0, 0, [0; 2]), "{code:#x}");
    }
}

#[test]
fn a_batch_list_that_vanishes_ends_the_batch_there() {
    let bench = Bench::new();
    let list = Pages::new(1).fill(0);
    bench.at(1, move || list.take(0));
    let d = Descriptor { src_addr: list.address(0), xfer_size: 4, ..Descriptor::default() };
    let ended = bench.run(opcode::BATCH, d);
    assert_eq!((ended.status, ended.bytes_completed), (status::BATCH_LIST_FAULT, 1), "the first no-op has run");
    assert_eq!(ended.fault_addr, list.address(64));
}

#[test]
fn a_member_that_loses_its_memory_fails_alone() {
    let bench = Bench::new();
    let (list, records, from, to) = (Pages::new(1).fill(0), Pages::new(1).fill(0), Pages::new(1), Pages::new(1));
    let mut members = [copy(from.fill(1), to.fill(0), 64), copy(from, to, 32)];
    for (i, member) in members.iter_mut().enumerate() {
        member.completion_addr = records.address(32 * i);
        member.set_opcode_flags(opcode::MEMMOVE, flag::CRAV | flag::RCR);
    }
    let gone = Pages::new(1).fill(2);
    members[0].src_addr = gone.address(0);
    // SAFETY: the list is as long as two members.
    unsafe { list.place::<[Descriptor; 2]>(0).write(members) };
    bench.at(1, move || gone.take(0));
    let ended =
        bench.run(opcode::BATCH, Descriptor { src_addr: list.address(0), xfer_size: 2, ..Descriptor::default() });
    assert_eq!(ended.status, status::BATCH_FAIL);
    let statuses = [0, 32].map(|at| records.bytes(at, 1)[0]);
    assert_eq!((statuses, to.bytes(0, 32)), ([status::PAGE_FAULT, status::SUCCESS], vec![1; 32]));
}

#[test]
fn a_record_that_vanishes_is_a_software_error() {
    let bench = Bench::new();
    let record = bench.record;
    bench.at(0, move || record.read_only(0));
    let mut d = Descriptor { completion_addr: record.address(0), ..Descriptor::default() };
    d.set_opcode_flags(opcode::NOP, flag::CRAV | flag::RCR);
    // SAFETY: as in `run`.
    assert_eq!(unsafe { bench.client.enqcmd(&d) }, dsa_emulator::Enqcmd::Accepted);
    bench.device.run_until_idle();
    let error = bench.device.software_error().unwrap();
    assert_eq!((error.error, error.write, error.addr), (status::CR_FAULT, true, record.address(0)));
    assert_eq!(record.bytes(0, 32), [0; 32]);
}

#[test]
fn the_end_of_a_mapped_file_is_a_fault_too() {
    let bench = Bench::new();
    // SAFETY: the name is a C string; a file of one page.
    let file = unsafe { libc::memfd_create(c"pages".as_ptr(), 0) };
    // SAFETY: our own file.
    assert_eq!(unsafe { libc::ftruncate(file, PAGE.cast_signed() as libc::off_t) }, 0);
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a fresh mapping of the file.
    let at = unsafe { libc::mmap(null_mut(), PAGE, access, libc::MAP_SHARED, file, 0) };
    assert_ne!(at, libc::MAP_FAILED);
    let (from, to) = (Pages(at.expose_provenance(), PAGE).fill(7), Pages::new(1).fill(0));
    let cut = move || {
        // SAFETY: our own file; what is mapped beyond its end raises SIGBUS from now on.
        assert_eq!(unsafe { libc::ftruncate(file, 0) }, 0);
    };
    bench.at(0, cut);
    let ended = bench.run(opcode::MEMMOVE, copy(from, to, 64));
    assert_eq!((ended.status, ended.fault_addr), (status::PAGE_FAULT, from.address(0)));
}

/// Engines work on memory that another thread takes away and gives back all the time. Nothing dies, and every record says success
/// or page fault.
#[test]
fn a_storm_of_faults_harms_nobody() {
    let own = Arc::new(Own::default());
    let config = Config::sapphire_rapids().engines(2);
    let device = Device::with_memory(config, own).unwrap();
    let client = device.open(0).unwrap();
    let (arena, to, records) = (Pages::new(8).fill(1), Pages::new(8).fill(0), Pages::new(1).fill(0));
    let over = std::sync::atomic::AtomicBool::new(false);
    let mut faults = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                for page in 0..8 {
                    arena.take(page);
                    arena.protect(page, libc::PROT_READ | libc::PROT_WRITE);
                }
            }
        });
        for _ in 0..2_000 {
            let mut d = copy(arena, to, 8 * PAGE);
            d.completion_addr = records.address(0);
            d.set_opcode_flags(opcode::MEMMOVE, flag::CRAV | flag::RCR);
            records.fill(0);
            // SAFETY: as in `run`.
            while unsafe { client.enqcmd(&d) } == dsa_emulator::Enqcmd::Retry {}
            client.quiesce();
            match records.bytes(0, 1)[0] {
                status::SUCCESS => {}
                status::PAGE_FAULT => faults += 1,
                other => panic!("{other:#x}"),
            }
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(device.counters().page_faults, faults);
}
