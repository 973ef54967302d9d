//! A function in a machine with an IOMMU: two processes with the same addresses, page faults, page requests, the kernel's
//! own queue.

mod common;
mod driver;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{desc, fill, memmove, with_flags, with_record};
use driver::*;
use dsa_emulator::{
    Config, Function, GuestMemory, GuestRam, IommuRegisters, IommuState, PageRequest, PageRequests, PortalAnswer,
    RamMap,
};
use idxd_sys::{CompletionRecord, Descriptor, flag, opcode, status};
use zerocopy::{IntoBytes, transmute};

/// Bus 0, device 4.
const SOURCE: u16 = 4 << 3;
const ROOT: u64 = 0x1000;
const CONTEXT: u64 = 0x2000;
const DIRECTORY: u64 = 0x3000;
const PASIDS: u64 = 0x4000;
/// Page tables of a process: four pages each.
const TABLES: [u64; 2] = [0x1_0000, 0x2_0000];
/// High memory, where the pages of the second process lie.
const HIGH: u64 = 1 << 32;
/// First physical page of each process.
const PAGES: [u64; 2] = [0x4_0000, HIGH];
/// Where both processes have their sixteen pages.
const BASE: u64 = 0x7000_0000;
const RECORD: u64 = BASE;
const FROM: u64 = BASE + 0x1000;
const TO: u64 = BASE + 0x8000;
const P: u64 = 1;
const ALLOWED: u64 = 7;

#[repr(C, align(4096))]
struct Page([AtomicU64; 512]);

struct Machine {
    ram: RamMap,
    requests: Mutex<Vec<PageRequest>>,
}

impl Machine {
    fn new() -> Arc<Self> {
        let ram = RamMap::new();
        for (base, pages) in [(0, 0x60), (HIGH, 0x10)] {
            let memory: Box<[Page]> = (0..pages).map(|_| Page([const { AtomicU64::new(0) }; 512])).collect();
            let ptr = memory.as_ptr().cast_mut().cast();
            // SAFETY: the box owns the bytes, all of them atomics, and goes along as the owner.
            unsafe { ram.add(base, ptr, pages * 0x1000, memory) }.unwrap();
        }
        let machine = Arc::new(Self { ram, requests: Mutex::default() });
        machine.set(ROOT, CONTEXT | P);
        machine.set(CONTEXT + 32 * u64::from(SOURCE), DIRECTORY | 1 << 3 | P);
        machine.set(DIRECTORY, PASIDS | P);
        // PASID 0, that of the device alone: pass-through. PASIDs 1 and 2: the processes.
        machine.set(PASIDS, 4 << 6 | P);
        for (process, table) in TABLES.into_iter().enumerate() {
            let entry = PASIDS + 64 * (process as u64 + 1);
            machine.set(entry, 1 << 6 | P);
            machine.set(entry + 16, table);
            for (level, index) in [(0, BASE >> 39), (1, BASE >> 30 & 0x1ff), (2, BASE >> 21 & 0x1ff)] {
                machine.set(table + 0x1000 * level + 8 * index, (table + 0x1000 * (level + 1)) | ALLOWED);
            }
            (0..16).for_each(|number| machine.map(process, number));
        }
        machine
    }

    fn set(&self, addr: u64, value: u64) {
        let old = self.ram.load(addr).unwrap();
        assert_eq!(self.ram.replace(addr, old, value), Some(true));
    }

    fn entry(process: usize, number: u64) -> u64 {
        TABLES[process] + 0x3000 + 8 * ((BASE >> 12 & 0x1ff) + number)
    }

    fn map(&self, process: usize, number: u64) {
        self.set(Self::entry(process, number), (PAGES[process] + 0x1000 * number) | ALLOWED);
    }

    fn unmap(&self, process: usize, number: u64) {
        self.set(Self::entry(process, number), 0);
    }

    /// A word of a process's memory, mapped or not.
    fn word(&self, process: usize, addr: u64) -> u64 {
        self.ram.load(PAGES[process] + (addr - BASE)).unwrap()
    }

    fn record(&self, process: usize) -> CompletionRecord {
        let words = [0, 8, 16, 24].map(|at| self.word(process, RECORD + at));
        transmute!(words)
    }

    fn forget_record(&self, process: usize) {
        self.set(PAGES[process] + (RECORD - BASE), 0);
    }
}

impl IommuState for Machine {
    fn registers(&self) -> IommuRegisters {
        IommuRegisters::new(1 << 31, ROOT | 1 << 10)
    }
}

/// An operating system that brings pages in, apart from the last.
impl PageRequests for Machine {
    fn send(&self, request: &PageRequest) -> bool {
        self.requests.lock().unwrap().push(*request);
        let number = (request.addr - BASE) >> 12;
        if number != 15 {
            self.map(request.pasid as usize - 1, number);
        }
        true
    }
}

fn rig(queues: &[Queue]) -> (Driver, Arc<Machine>, Arc<GuestMemory>) {
    rig_with_patience(Duration::from_millis(10), queues)
}

fn rig_with_patience(patience: Duration, queues: &[Queue]) -> (Driver, Arc<Machine>, Arc<GuestMemory>) {
    let machine = Machine::new();
    let ram = Arc::new(Through(machine.clone()));
    let guest = GuestMemory::new(ram, machine.clone(), SOURCE).with_requests(machine.clone());
    let guest = Arc::new(guest.with_patience(patience));
    let interrupts = Arc::new(Recorder::default());
    let function = Function::new(Config::granite_rapids().manual(), guest.clone(), interrupts.clone()).unwrap();
    let driver = Driver { function: Arc::new(function), memory: Arc::default(), interrupts };
    driver.enable(queues);
    (driver, machine, guest)
}

/// The machine's memory.
struct Through(Arc<Machine>);

// SAFETY: the map's own spans, for as long as the map lives, which this keeps.
unsafe impl GuestRam for Through {
    fn span(&self, addr: u64, len: u64) -> Option<dsa_emulator::Span> {
        self.0.ram.span(addr, len)
    }
}

fn run(d: &Driver, machine: &Machine, process: usize, descriptor: &Descriptor) -> CompletionRecord {
    machine.forget_record(process);
    assert_eq!(d.enqcmd(0, process as u32 + 1, descriptor), PortalAnswer::Accepted);
    d.function.device().run_until_idle();
    machine.record(process)
}

/// The same descriptor with its record where the processes have theirs.
fn to_record(d: Descriptor) -> Descriptor {
    Descriptor { completion_addr: RECORD, ..d }
}

#[test]
fn processes_with_the_same_addresses_reach_their_own_memory() {
    let (d, machine, guest) = rig(&[SHARED]);
    assert_eq!(TABLES.map(|table| guest.pasid_of(table)), [Some(1), Some(2)]);
    for (process, pattern) in [(0, 0x1111_2222_3333_4444), (1, 0x5555_6666_7777_8888)] {
        assert_eq!(run(&d, &machine, process, &to_record(fill(FROM, pattern, 0x3000))).status, status::SUCCESS);
        assert_eq!(run(&d, &machine, process, &to_record(memmove(FROM, TO, 0x3000))).status, status::SUCCESS);
    }
    for (process, pattern) in [(0, 0x1111_2222_3333_4444), (1, 0x5555_6666_7777_8888)] {
        assert!([FROM, TO, TO + 0x2ff8].iter().all(|addr| machine.word(process, *addr) == pattern));
        assert_eq!(machine.word(process, TO + 0x3000), 0);
    }
    // Bits of the page tables say what happened: source accessed, destination written.
    let bits = |number| machine.ram.load(Machine::entry(0, number)).unwrap() >> 5 & 3;
    assert_eq!([bits(8), bits(15)], [3, 0]);
}

#[test]
fn a_missing_page_ends_an_operation_at_its_address_or_is_brought_in() {
    let (d, machine, _) = rig(&[Queue { block_on_fault: true, ..SHARED }]);
    machine.unmap(1, 10);
    let record = run(&d, &machine, 1, &to_record(fill(TO, 7, 0x4000)));
    assert_eq!(record.status, status::PAGE_FAULT | status::FAULT_WRITE);
    assert_eq!((record.bytes_completed, record.fault_addr), (0x2000, TO + 0x2000));
    assert_eq!(*machine.requests.lock().unwrap(), []);
    let blocking = to_record(with_flags(fill(TO, 9, 0x4000), common::CR | flag::BLOCK_ON_FAULT));
    assert_eq!(run(&d, &machine, 1, &blocking).status, status::SUCCESS);
    assert_eq!(machine.word(1, TO + 0x2008), 9);
    let seen = |r: &PageRequest| (r.source, r.pasid, r.addr);
    assert_eq!(machine.requests.lock().unwrap().iter().map(seen).collect::<Vec<_>>(), [(SOURCE, 2, TO + 0x2000)]);
    // The last page never comes.
    machine.unmap(1, 15);
    let record = run(&d, &machine, 1, &Descriptor { xfer_size: 0x8000, ..blocking });
    assert_eq!(record.status, status::PAGE_RESPONSE | status::FAULT_WRITE);
    assert_eq!((record.bytes_completed, record.fault_addr), (0x7000, BASE + 0xf000));
    // A read-only page that only reads need.
    machine.set(Machine::entry(1, 1), (PAGES[1] + 0x1000) | 5);
    assert_eq!(run(&d, &machine, 1, &to_record(memmove(FROM, TO, 8))).status, status::SUCCESS);
    let record = run(&d, &machine, 1, &to_record(fill(FROM, 1, 8)));
    assert_eq!((record.status, record.fault_addr), (status::PAGE_FAULT | status::FAULT_WRITE, FROM));
}

/// Whatever the patience: the page may be one that only software which waits for the device could bring in.
#[test]
fn a_device_that_must_stop_waits_for_no_page() {
    const LAST: u64 = BASE + 0xf000;
    type Stop = (&'static str, fn(&Driver));
    let stops: [Stop; 5] = [
        ("halt", |d| d.function.device().halt()),
        ("reset", |d| d.function.reset()),
        ("abort all", |d| assert_eq!(d.command(ABORT_ALL, 0), 0)),
        ("abort queue", |d| assert_eq!(d.command(ABORT_WQ, 1), 0)),
        ("abort PASID", |d| assert_eq!(d.command(ABORT_PASID, 1), 0)),
    ];
    let data = to_record(with_flags(fill(LAST, 9, 8), common::CR | flag::BLOCK_ON_FAULT));
    let record = Descriptor { completion_addr: LAST, ..fill(TO, 9, 8) };
    let list = to_record(Descriptor { src_addr: LAST, xfer_size: 2, ..desc(opcode::BATCH, 0) });
    for ((name, stop), descriptor) in stops.iter().flat_map(|stop| [data, record, list].map(|d| (stop, d))) {
        let (d, machine, _) = rig_with_patience(Duration::from_secs(60), &[Queue { block_on_fault: true, ..SHARED }]);
        machine.unmap(0, 15);
        assert_eq!(d.enqcmd(0, 1, &descriptor), PortalAnswer::Accepted);
        std::thread::scope(|scope| {
            scope.spawn(|| d.function.device().run_until_idle());
            common::wait(|| !machine.requests.lock().unwrap().is_empty());
            Driver::within(Duration::from_secs(20), || stop(&d));
        });
        let counters = d.function.counters();
        assert_eq!((counters.discarded, machine.record(0).status), (1, 0), "{name} of {descriptor:?}");
        assert_eq!(d.r64(SWERROR) & 1, 0, "{name} of {descriptor:?}: it is no error");
        assert_eq!(machine.requests.lock().unwrap().len(), 1);
    }
}

#[test]
fn lists_and_records_are_translated_like_data() {
    let (d, machine, _) = rig(&[SHARED]);
    let member = |i| with_record(fill(TO + 0x1000 * i, i, 8), i);
    let member = |i| Descriptor { completion_addr: RECORD + 32 * i, ..member(i) };
    let list = [member(1), member(2), member(3)];
    // The list lies across two pages that are not neighbours in physical memory.
    let at = FROM + 0x1000 - 64;
    machine.set(Machine::entry(0, 2), (PAGES[0] + 0x5000) | ALLOWED);
    for (i, word) in (0..).zip(list.as_bytes().chunks_exact(8)) {
        let addr = at + 8 * i;
        let physical = if addr < FROM + 0x1000 { PAGES[0] + (addr - BASE) } else { PAGES[0] + 0x5000 + (addr & 0xfff) };
        machine.set(physical, u64::from_le_bytes(word.try_into().unwrap()));
    }
    let batch = Descriptor { src_addr: at, xfer_size: 3, ..to_record(desc(opcode::BATCH, 0)) };
    let record = run(&d, &machine, 0, &batch);
    assert_eq!((record.status, record.bytes_completed), (status::SUCCESS, 3));
    assert!((1..4).all(|i| machine.word(0, RECORD + 32 * i) as u8 == status::SUCCESS));
    assert!((1..4).all(|i| machine.word(0, TO + 0x1000 * i) == i));
}

#[test]
fn the_kernels_queue_without_a_pasid_uses_the_devices_own_tables() {
    let (d, machine, _) = rig(&[Queue { pasid: None, ..DEDICATED }]);
    // Pass-through: physical addresses, low and high.
    let descriptor = Descriptor { completion_addr: PAGES[0], ..fill(HIGH + 0x3000, 5, 8) };
    d.movdir64b(0, &descriptor);
    d.function.device().run_until_idle();
    assert_eq!((machine.record(0).status, machine.word(1, BASE + 0x3000)), (status::SUCCESS, 5));
    // Where there is no memory there is a fault.
    machine.forget_record(0);
    d.movdir64b(0, &Descriptor { dst_addr: 0x60_0000, ..descriptor });
    d.function.device().run_until_idle();
    assert_eq!(machine.record(0).fault_addr, 0x60_0000);
}
