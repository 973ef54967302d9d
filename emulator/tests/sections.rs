//! How the device uses an address space: it translates inside sections, and waits, asks and tells others outside.
//!
//! The rule holds for every operation, so the descriptors here are arbitrary.

mod common;
mod driver;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::*;
use driver::{DEDICATED, Driver, EVLCFG, GENCFG, GENCTRL, Queue, REQUEST_HANDLE, Recorder, SHARED};
use dsa_emulator::iommu::{DeviceId, DeviceOptions, Direction, DmaMode, Iommu, IommuOptions};
use dsa_emulator::{
    Access, AddressSpace, CheckedMemory, Config, Device, Effect, FaultRule, Function, Interrupts, PageFault,
    Permission, PortalAnswer, Requester, Span, WqConfig,
};
use idxd_sys::{Descriptor, flag, opcode, status};
use proptest::prelude::*;
use zerocopy::{FromBytes, IntoBytes};

/// Checked memory that is used by one thread, and by the rules. What breaks one halts the device.
struct Rules {
    memory: Arc<CheckedMemory>,
    open: AtomicUsize,
    sections: AtomicUsize,
    broken: AtomicBool,
}

impl Rules {
    fn over(memory: Arc<CheckedMemory>) -> Arc<Self> {
        let (open, sections, broken) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
        Arc::new(Self { memory, open, sections, broken })
    }

    fn expect(&self, holds: bool) {
        self.broken.fetch_or(!holds, Ordering::Relaxed);
    }

    fn is_outside(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0
    }

    fn check(&self) {
        assert!(self.is_outside(), "a section was left open");
        assert!(!self.broken.load(Ordering::Relaxed));
    }
}

// SAFETY: all spans come from the checked memory, which lives as long as this.
unsafe impl AddressSpace for Rules {
    fn translate(&self, by: Requester, addr: u64, len: u64, access: Access) -> Result<Span, PageFault> {
        self.expect(!self.is_outside());
        self.memory.translate(by, addr, len, access)
    }

    fn resolve(&self, by: Requester, addr: u64, access: Access) -> bool {
        self.expect(self.is_outside());
        self.memory.resolve(by, addr, access)
    }

    fn begin(&self) -> usize {
        self.expect(self.is_outside());
        self.open.fetch_add(1, Ordering::Relaxed);
        self.sections.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn end(&self, section: usize) {
        self.expect(section == self.sections.load(Ordering::Relaxed));
        self.expect(self.open.fetch_sub(1, Ordering::Relaxed) == 1);
    }
}

fn address() -> impl Strategy<Value = u64> {
    let near =
        prop_oneof![Just(RECORDS), Just(SRC), Just(DST), Just(DST2), Just(LIST), Just(0u64.wrapping_sub(4 * PAGE))];
    prop_oneof![6 => (near, 0u64..3 * PAGE).prop_map(|(near, offset)| near + offset / 32 * 32), 1 => any::<u64>()]
}

/// Any opcode that there may ever be, with its operands where something is.
fn descriptor() -> impl Strategy<Value = Descriptor> {
    let code = prop_oneof![6 => 0u8..0x25, 2 => Just(opcode::BATCH), 1 => any::<u8>()];
    let flags = prop_oneof![
        3 => Just(CR),
        3 => Just(CR | flag::BLOCK_ON_FAULT),
        1 => Just(flag::CRAV),
        1 => any::<u32>(),
    ];
    let size = prop_oneof![1u32..70_000, 2u32..20, any::<u32>()];
    let more = prop_oneof![2 => Just([0; 3]), 2 => (address(), address()).prop_map(|(a, b)| [a, b, 0]), 1 => any::<[u64; 3]>()];
    (code, flags, [address(), address(), address()], size, more).prop_map(
        |(code, flags, at, xfer_size, op_specific)| {
            let [completion_addr, src_addr, dst_addr] = at;
            let mut d =
                Descriptor { completion_addr, src_addr, dst_addr, xfer_size, op_specific, ..Descriptor::default() };
            d.set_opcode_flags(code, flags);
            d
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 400 } else { 4000 }))]

    #[test]
    fn whatever_runs_translates_inside_sections_and_asks_outside(
        list in proptest::collection::vec(descriptor(), 1..20), raw: [[u8; 32]; 2], absent: u16, faults: bool, seed: u64,
    ) {
        let memory = memory();
        for page in (0..16).filter(|page| absent >> page & 1 != 0) {
            for base in [SRC, DST, DST2, LIST] {
                memory.set_present(base + page * PAGE, PAGE, false).unwrap();
                memory.set_resolvable(base + page * PAGE, PAGE, page % 3 != 0).unwrap();
            }
        }
        memory.write(LIST, list.as_bytes()).unwrap();
        let rules = Rules::over(memory);
        let config = Config::granite_rapids().queue(WqConfig::shared(64).block_on_fault(true)).seed(seed);
        let device = Device::with_memory(config.backward_moves(0.5).manual(), rules.clone()).unwrap();
        if faults {
            device.inject(FaultRule::new(Effect::PageFault { resolvable: true }).probability(0.2));
            device.inject(FaultRule::new(Effect::RecordFault).probability(0.1));
        }
        let client = device.open(0).unwrap();
        let batch = Descriptor { src_addr: LIST, xfer_size: list.len() as u32, ..desc(opcode::BATCH, 0) };
        let raw = Descriptor::read_from_bytes(raw.as_bytes()).unwrap();
        for d in list.iter().chain([&batch, &raw]) {
            // SAFETY: an address space of its own.
            assert_eq!(unsafe { client.enqcmd(d) }, dsa_emulator::Enqcmd::Accepted);
            device.run_until_idle();
            rules.check();
        }
        client.quiesce();
    }
}

/// Every operation of a group of known ones takes its sections, so that the test above looks at something.
#[test]
fn each_operation_has_sections() {
    let rules = Rules::over(memory());
    let device = Device::with_memory(Config::granite_rapids().manual(), rules.clone()).unwrap();
    let client = device.open(0).unwrap();
    let all = [memmove(SRC, DST, 5000), fill(DST, 1, 5000), crc(SRC, 5000, 0, 0), compare(SRC, SRC, 5000), nop()];
    for d in all {
        let before = rules.sections.load(Ordering::Relaxed);
        // SAFETY: an address space of its own.
        assert_eq!(unsafe { client.enqcmd(&d) }, dsa_emulator::Enqcmd::Accepted);
        device.run_until_idle();
        assert_eq!(rules.memory.status(RECORDS).unwrap(), status::SUCCESS);
        assert!(rules.sections.load(Ordering::Relaxed) > before);
        rules.check();
    }
}

type Action = Box<dyn Fn(u16) + Send + Sync>;

/// Does something on the thread that raises an interrupt, as a handler may.
#[derive(Default)]
struct Handler {
    recorder: Recorder,
    action: Mutex<Option<Action>>,
}

impl Interrupts for Handler {
    fn raise(&self, vector: u16) {
        self.recorder.raise(vector);
        if let Some(action) = &*self.action.lock().unwrap() {
            action(vector);
        }
    }
}

fn driver(space: Arc<dyn AddressSpace>) -> (Driver, Arc<Handler>) {
    let handler = Arc::new(Handler::default());
    let function = Function::new(Config::granite_rapids().manual(), space, handler.clone()).unwrap();
    (Driver { function: Arc::new(function), memory: Arc::default(), interrupts: Arc::default() }, handler)
}

#[test]
fn interrupts_and_the_event_log_come_outside_of_sections() {
    const LOG: u64 = 0x90_0000;
    let memory = memory();
    memory.map(LOG, PAGE, Permission::ReadWrite).unwrap();
    let rules = Rules::over(memory);
    let (d, handler) = driver(rules.clone());
    d.w64(EVLCFG, LOG);
    d.w64(EVLCFG + 8, 64);
    d.w32(GENCFG, 1 << 13);
    d.enable(&[SHARED, Queue { pasid: None, ..DEDICATED }]);
    d.w32(GENCTRL, 1 | 1 << 2);
    let handle = (d.command(REQUEST_HANDLE, 1) >> 8) as u16;
    let outside = rules.clone();
    *handler.action.lock().unwrap() = Some(Box::new(move |_| outside.expect(outside.is_outside())));
    handler.recorder.take();
    // A completion; an error with a record that goes to the log; one that fills the software error register.
    d.movdir64b(1, &Descriptor { int_handle: handle, ..with_flags(nop(), CR | flag::RCI) });
    assert_eq!(
        d.enqcmd(0, 9, &Descriptor { completion_addr: 0x1000, ..memmove(SRC, DST, 100) }),
        PortalAnswer::Accepted
    );
    assert_eq!(d.enqcmd(0, 9, &Descriptor { completion_addr: RECORDS + 8, ..nop() }), PortalAnswer::Accepted);
    d.function.device().run_until_idle();
    rules.check();
    let vectors = handler.recorder.take();
    assert!(vectors.contains(&1) && vectors.contains(&0), "{vectors:?}");
    assert_eq!(rules.memory.status(LOG + 1).unwrap(), status::CR_FAULT, "the first entry of the log");
}

/// The usual end of a kernel's transfer: the handler of the interrupt unmaps the buffers.
#[test]
fn an_interrupt_handler_may_unmap_what_its_descriptor_used() {
    let ram = Arc::new(CheckedMemory::new());
    ram.map(0, 16 * PAGE, Permission::ReadWrite).unwrap();
    let iommu = Iommu::new(ram.clone(), IommuOptions::default());
    let id = DeviceId::new(0, 1, 0);
    let (d, handler) = driver(iommu.add_device(id, DeviceOptions::default()).unwrap());
    let dma = iommu.dma_domain(DmaMode::Strict);
    iommu.attach(id, &dma).unwrap();
    d.enable(&[Queue { pasid: None, ..DEDICATED }]);
    let handle = (d.command(REQUEST_HANDLE, 1) >> 8) as u16;
    let record = dma.map_single(0, 32, Direction::FromDevice).unwrap();
    let to = dma.map_single(PAGE, PAGE, Direction::FromDevice).unwrap();
    let of_handler = dma.clone();
    *handler.action.lock().unwrap() = Some(Box::new(move |vector| {
        if vector == 1 {
            of_handler.unmap(to).unwrap();
            of_handler.unmap(record).unwrap();
        }
    }));
    let filling = with_flags(fill(to, u64::MAX, 4096), CR | flag::RCI);
    d.movdir64b(0, &Descriptor { int_handle: handle, completion_addr: record, ..filling });
    d.function.device().run_until_idle();
    assert_eq!(ram.status(0).unwrap(), status::SUCCESS);
    assert_eq!((handler.recorder.take().contains(&1), dma.mappings()), (true, 0));
}
