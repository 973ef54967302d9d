//! Random histories of domains, processes and PASIDs against a plain description of who may reach what.

mod lives;
mod machine;

use std::collections::BTreeMap;

use dsa_emulator::iommu::{DeviceOptions, Direction, DmaMode, IommuOptions, Piece};
use dsa_emulator::{Access, DeviceMemory, Requester};
use lives::{Lives, life};
use machine::*;
use proptest::prelude::*;

const CASES: u32 = if cfg!(debug_assertions) { 150 } else { 1500 };
const ACCESSES: [Access; 2] = [Access::Read, Access::Write];

/// One step of a history of a DMA domain.
#[derive(Clone, Debug)]
enum Step {
    Map {
        page: u64,
        offset: u64,
        len: u64,
        direction: Direction,
    },
    /// Each element: page, offset in it, bytes.
    MapList(Vec<(u64, u64, u64)>, Direction),
    /// The n-th of the live mappings.
    Unmap(usize),
    Flush,
    Tick,
    /// An access by one of the two ways, so that caches hold something or not.
    Touch {
        mapping: usize,
        element: usize,
        page: u64,
        with_pasid: bool,
        access: Access,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let direction = || proptest::sample::select(&DIRECTIONS[..]);
    let access = || prop_oneof![Just(Access::Read), Just(Access::Write)];
    prop_oneof![
        4 => (0u64..900, 0u64..PAGE, 1u64..20_000, direction())
            .prop_map(|(page, offset, len, direction)| Step::Map { page, offset, len, direction }),
        // Large enough for a large page, at a place where one fits or not.
        1 => (0u64..3, 500u64..520)
            .prop_map(|(page, pages)| Step::Map { page, offset: 0, len: pages * PAGE, direction: Direction::Bidirectional }),
        4 => (proptest::collection::vec(element(), 1..7), direction())
            .prop_map(|(elements, direction)| Step::MapList(elements, direction)),
        4 => any::<usize>().prop_map(Step::Unmap),
        1 => Just(Step::Flush),
        1 => Just(Step::Tick),
        8 => (any::<usize>(), any::<usize>(), 0u64..6, any::<bool>(), access())
            .prop_map(|(mapping, element, page, with_pasid, access)| {
                Step::Touch { mapping, element, page, with_pasid, access }
            }),
    ]
}

/// An element of a scatter list: page, offset in it, bytes. Those that begin or end with a page may be joined.
fn element() -> impl Strategy<Value = (u64, u64, u64)> {
    prop_oneof![
        3 => (0u64..900, 0u64..PAGE, 1u64..9_000),
        3 => (0u64..900, 1u64..4).prop_map(|(page, pages)| (page, 0, pages * PAGE)),
        2 => (0u64..900, 0u64..PAGE).prop_map(|(page, offset)| (page, offset, PAGE - offset)),
        2 => (0u64..900, 1u64..9_000).prop_map(|(page, len)| (page, 0, len)),
        // A large page, if it is the first.
        1 => Just((0, 0, 512 * PAGE)),
    ]
}

/// What a device may reach: its pages, by their first address.
type Pages = BTreeMap<u64, (u64, Direction)>;

fn allowed(pages: &Pages, addr: u64, access: Access) -> Option<u64> {
    let (to, direction) = pages.get(&(addr & !(PAGE - 1)))?;
    allows(*direction, access).then_some(to + addr % PAGE)
}

/// The pages, as the device sees them, of an element.
fn pages((at, _, len): (u64, u64, u64)) -> impl Iterator<Item = u64> {
    (at & !(PAGE - 1)..at + len).step_by(PAGE as usize)
}

/// A run of physical memory, cut where that ends.
fn piece(page: u64, offset: u64, len: u64) -> Piece {
    let addr = frame(page) + offset;
    Piece { addr, len: len.min(RAM + RAM_LEN - addr) }
}

/// Where the device finds each element of a list: an answer is one element, or some that follow each other without a gap.
fn places(list: &[Piece], found: &[Piece]) -> Vec<(u64, u64, u64)> {
    let mut rest = found.iter().copied();
    let mut now = Piece { addr: 0, len: 0 };
    let place = |element: &Piece| {
        if now.len == 0 {
            now = rest.next().expect("an answer for every element");
        }
        let at = now.addr;
        now = Piece { addr: at + element.len, len: now.len.checked_sub(element.len).expect("an element in one piece") };
        (at, element.addr, element.len)
    };
    let all = list.iter().map(place).collect();
    assert_eq!((now.len, rest.next()), (0, None), "no byte more");
    all
}

struct History {
    machine: Machine,
    memory: std::sync::Arc<DeviceMemory>,
    dma: dsa_emulator::iommu::DmaDomain,
    ways: [Requester; 2],
    mode: DmaMode,
    /// The elements of each mapping: address for the device, physical address, bytes.
    live: Vec<Vec<(u64, u64, u64)>>,
    pages: Pages,
    /// Unmapped and not flushed.
    old: Pages,
    /// First and last bytes of elements that were unmapped last.
    gone: Vec<u64>,
}

impl History {
    fn new(mode: DmaMode, options: DeviceOptions, entries: usize) -> Self {
        let machine = Machine::with(IommuOptions::default().entries(entries, entries / 2).flush_after(5));
        let (memory, dma) = machine.dma(mode, options);
        let ways = [Requester::DEVICE, machine.iommu.enable_pasid_dma(ID).unwrap().user()];
        let (live, pages, old, gone) = (Vec::new(), Pages::new(), Pages::new(), Vec::new());
        Self { machine, memory, dma, ways, mode, live, pages, old, gone }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Map { page, offset, len, direction } => {
                let Piece { addr, len } = piece(page, offset, len);
                let at = self.dma.map_single(addr, len, direction).unwrap();
                self.mapped(vec![(at, addr, len)], direction);
            }
            Step::MapList(ref elements, direction) => {
                let list: Vec<_> = elements.iter().map(|(page, offset, len)| piece(*page, *offset, *len)).collect();
                let found = self.dma.map_list(&list, direction).unwrap();
                if self.mode == DmaMode::PassThrough {
                    assert_eq!(found, list);
                }
                self.mapped(places(&list, &found), direction);
            }
            Step::Unmap(n) => {
                if self.live.is_empty() {
                    return;
                }
                let elements = self.live.swap_remove(n % self.live.len());
                self.dma.unmap(elements[0].0).unwrap();
                let ends = elements.iter().flat_map(|(at, _, len)| [*at, at + len - 1]);
                self.gone.extend(ends);
                self.gone.drain(..self.gone.len().saturating_sub(24));
                for page in elements.into_iter().flat_map(pages) {
                    if let Some(was) = self.pages.remove(&page)
                        && self.mode == DmaMode::Lazy
                    {
                        self.old.insert(page, was);
                    }
                }
                if self.dma.pending() == 0 {
                    self.old.clear();
                }
            }
            Step::Flush | Step::Tick => {
                if matches!(step, Step::Flush) {
                    self.dma.flush();
                } else {
                    self.machine.iommu.tick();
                }
                self.old.clear();
            }
            Step::Touch { mapping, element, page, with_pasid, access } => {
                if let Some(elements) = self.live.get(mapping % self.live.len().max(1)) {
                    let (at, _, _) = elements[element % elements.len()];
                    self.translate(self.ways[usize::from(with_pasid)], at + page * PAGE, access);
                }
            }
        }
    }

    fn mapped(&mut self, elements: Vec<(u64, u64, u64)>, direction: Direction) {
        for &(at, to, len) in &elements {
            if self.mode == DmaMode::PassThrough {
                assert_eq!(at, to);
                continue;
            }
            assert_eq!(at % PAGE, to % PAGE);
            for page in pages((at, to, len)) {
                assert!(!self.old.contains_key(&page), "an address given out that may still be cached");
                let before = self.pages.insert(page, (page + to - at, direction));
                assert_eq!(before, None, "an address given out twice");
            }
        }
        self.live.push(elements);
    }

    fn translate(&self, by: Requester, addr: u64, access: Access) -> Option<u64> {
        self.machine.translate(&self.memory, by, addr, access)
    }

    /// Both ways lead to the same place, the right one.
    fn check(&self) {
        let probes = self
            .live
            .iter()
            .flatten()
            .flat_map(|(at, _, len)| [*at, at + len / 2, at + len - 1, (at + len).next_multiple_of(PAGE)]);
        // Some of them: a large mapping has hundreds.
        let step = 1 + self.old.len() / 16;
        let unmapped = self.old.keys().copied().step_by(step).chain([0, PAGE, 1 << 32, RAM, RAM + RAM_LEN]);
        for addr in probes.chain(unmapped).chain(self.gone.iter().copied()) {
            for access in ACCESSES {
                let [device, pasid] = self.ways.map(|by| self.translate(by, addr, access));
                if self.mode == DmaMode::PassThrough {
                    let there = (RAM..RAM + RAM_LEN).contains(&addr).then_some(addr);
                    assert_eq!([device, pasid], [there; 2]);
                } else if let Some(stale) = allowed(&self.old, addr, access) {
                    // Between an unmap and its flush: the old place or none, for each of the two.
                    assert!([device, pasid].iter().flatten().all(|to| *to == stale));
                } else {
                    assert_eq!([device, pasid], [allowed(&self.pages, addr, access); 2], "{addr:#x} {access:?}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn with_and_without_a_pasid_every_mapping_is_the_same(
        steps in proptest::collection::vec(step(), 1..40),
        mode in prop_oneof![Just(DmaMode::Strict), Just(DmaMode::Lazy), Just(DmaMode::PassThrough)],
        device_tlb: bool,
        entries in prop_oneof![Just(0usize), Just(4), Just(256)],
    ) {
        let mut history = History::new(mode, DeviceOptions::default().device_tlb(device_tlb), entries);
        for step in &steps {
            history.step(step);
            history.check();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    /// Processes, PASIDs of DMA domains, and domains attached by hand get the same numbers after each other.
    #[test]
    fn a_pasid_reaches_its_process_and_nothing_else_whoever_had_it_before(
        steps in proptest::collection::vec(life(), 1..60), device_tlbs: [bool; 2],
    ) {
        let mut lives = Lives::new(device_tlbs);
        lives.check();
        for step in &steps {
            lives.step(step);
            lives.check();
        }
    }
}
