//! Random histories of domains, processes and PASIDs against a plain description of who may reach what.

mod machine;

use std::collections::BTreeMap;

use dsa_emulator::iommu::{Binding, DeviceOptions, Direction, DmaMode, IommuOptions, Process};
use dsa_emulator::{Access, DeviceMemory, Permission, Requester};
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
    /// The n-th of the live mappings.
    Unmap(usize),
    Flush,
    Tick,
    /// An access by one of the two ways, so that caches hold something or not.
    Touch {
        mapping: usize,
        page: u64,
        with_pasid: bool,
        access: Access,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let direction = prop_oneof![Just(Direction::ToDevice), Just(Direction::FromDevice), Just(Direction::Bidirectional)];
    let access = || prop_oneof![Just(Access::Read), Just(Access::Write)];
    prop_oneof![
        4 => (0u64..900, 0u64..PAGE, 1u64..20_000, direction)
            .prop_map(|(page, offset, len, direction)| Step::Map { page, offset, len, direction }),
        // Large enough for a large page, at a place where one fits or not.
        1 => (0u64..3, 500u64..520)
            .prop_map(|(page, pages)| Step::Map { page, offset: 0, len: pages * PAGE, direction: Direction::Bidirectional }),
        4 => any::<usize>().prop_map(Step::Unmap),
        1 => Just(Step::Flush),
        1 => Just(Step::Tick),
        8 => (any::<usize>(), 0u64..6, any::<bool>(), access())
            .prop_map(|(mapping, page, with_pasid, access)| Step::Touch { mapping, page, with_pasid, access }),
    ]
}

/// What a device may reach: its pages, by their first address.
type Pages = BTreeMap<u64, (u64, Direction)>;

fn allowed(pages: &Pages, addr: u64, access: Access) -> Option<u64> {
    let (to, direction) = pages.get(&(addr & !(PAGE - 1)))?;
    let forbidden = if access == Access::Read { Direction::FromDevice } else { Direction::ToDevice };
    (*direction != forbidden).then_some(to + addr % PAGE)
}

struct History {
    machine: Machine,
    memory: std::sync::Arc<DeviceMemory>,
    dma: dsa_emulator::iommu::DmaDomain,
    ways: [Requester; 2],
    mode: DmaMode,
    /// First address for the device, physical address, bytes.
    live: Vec<(u64, u64, u64)>,
    pages: Pages,
    /// Unmapped and not flushed.
    old: Pages,
}

impl History {
    fn new(mode: DmaMode, options: DeviceOptions, entries: usize) -> Self {
        let machine = Machine::with(IommuOptions::default().entries(entries, entries / 2).flush_after(5));
        let (memory, dma) = machine.dma(mode, options);
        let ways = [Requester::DEVICE, machine.iommu.enable_pasid_dma(ID).unwrap().user()];
        Self { machine, memory, dma, ways, mode, live: Vec::new(), pages: Pages::new(), old: Pages::new() }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Map { page, offset, len, direction } => {
                let to = frame(page) + offset;
                let len = len.min(RAM + RAM_LEN - to);
                let at = self.dma.map_single(to, len, direction).unwrap();
                self.live.push((at, to, len));
                if self.mode == DmaMode::PassThrough {
                    assert_eq!(at, to);
                    return;
                }
                let first = at & !(PAGE - 1);
                for page in (first..at + len).step_by(PAGE as usize) {
                    assert!(!self.old.contains_key(&page), "an address given out that may still be cached");
                    let before = self.pages.insert(page, ((to & !(PAGE - 1)) + (page - first), direction));
                    assert_eq!(before, None, "an address given out twice");
                }
            }
            Step::Unmap(n) => {
                if self.live.is_empty() {
                    return;
                }
                let (at, _, len) = self.live.swap_remove(n % self.live.len());
                self.dma.unmap(at).unwrap();
                for page in (at & !(PAGE - 1)..at + len).step_by(PAGE as usize) {
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
            Step::Touch { mapping, page, with_pasid, access } => {
                if let Some((at, _, _)) = self.live.get(mapping % self.live.len().max(1)) {
                    self.translate(self.ways[usize::from(with_pasid)], at + page * PAGE, access);
                }
            }
        }
    }

    fn translate(&self, by: Requester, addr: u64, access: Access) -> Option<u64> {
        self.machine.translate(&self.memory, by, addr, access)
    }

    /// Both ways lead to the same place, the right one.
    fn check(&self) {
        let probes = self
            .live
            .iter()
            .flat_map(|(at, _, len)| [*at, at + len / 2, at + len - 1, (at + len).next_multiple_of(PAGE)]);
        // Some of them: a large mapping has hundreds.
        let step = 1 + self.old.len() / 16;
        let unmapped = self.old.keys().copied().step_by(step).chain([0, PAGE, 1 << 32, RAM, RAM + RAM_LEN]);
        for addr in probes.chain(unmapped) {
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

/// One step of a history of processes.
#[derive(Clone, Debug)]
enum Life {
    Start,
    Bind(usize),
    Unbind(usize),
    Exit(usize),
    Map { process: usize, page: u64, absent: bool, permission: Permission },
    Unmap { process: usize, page: u64 },
    Protect { process: usize, page: u64, permission: Permission },
    Evict { process: usize, page: u64 },
    Touch { process: usize, page: u64 },
    Migrate { process: usize, page: u64 },
    Request { process: usize, page: u64, access: Access },
}

fn life() -> impl Strategy<Value = Life> {
    let who = || (any::<usize>(), 0u64..6);
    let permission = || prop_oneof![Just(Permission::ReadOnly), Just(Permission::ReadWrite)];
    let access = prop_oneof![Just(Access::Read), Just(Access::Write)];
    prop_oneof![
        2 => Just(Life::Start),
        4 => any::<usize>().prop_map(Life::Bind),
        3 => any::<usize>().prop_map(Life::Unbind),
        1 => any::<usize>().prop_map(Life::Exit),
        8 => (who(), any::<bool>(), permission())
            .prop_map(|((process, page), absent, permission)| Life::Map { process, page, absent, permission }),
        2 => who().prop_map(|(process, page)| Life::Unmap { process, page }),
        2 => (who(), permission()).prop_map(|((process, page), permission)| Life::Protect { process, page, permission }),
        2 => who().prop_map(|(process, page)| Life::Evict { process, page }),
        1 => who().prop_map(|(process, page)| Life::Touch { process, page }),
        1 => who().prop_map(|(process, page)| Life::Migrate { process, page }),
        4 => (who(), access).prop_map(|((process, page), access)| Life::Request { process, page, access }),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Page {
    to: u64,
    permission: Permission,
    present: bool,
}

struct Known {
    process: Process,
    bindings: Vec<Binding>,
    pages: BTreeMap<u64, Page>,
    exited: bool,
}

/// Processes with the same addresses, a DMA domain with a PASID beside them, and PASIDs that are used again at once.
struct Lives {
    machine: Machine,
    memory: std::sync::Arc<DeviceMemory>,
    all: Vec<Known>,
    dma: (u32, u64),
    frames: u64,
}

impl Lives {
    fn new(device_tlb: bool) -> Self {
        let machine = Machine::new();
        let (memory, dma) = machine.dma(DmaMode::Strict, DeviceOptions::default().device_tlb(device_tlb));
        let pasid = machine.iommu.enable_pasid_dma(ID).unwrap();
        let at = dma.map_single(frame(0), PAGE, Direction::Bidirectional).unwrap();
        Self { machine, memory, all: Vec::new(), dma: (pasid.get(), at), frames: 1 }
    }

    /// A page of physical memory that nobody had before.
    fn frame(&mut self) -> u64 {
        self.frames += 1;
        frame(self.frames)
    }

    fn step(&mut self, step: &Life) {
        if let Life::Start = step {
            let process = self.machine.iommu.process();
            self.all.push(Known { process, bindings: Vec::new(), pages: BTreeMap::new(), exited: false });
            return;
        }
        if self.all.is_empty() {
            return;
        }
        let fresh = self.frame();
        let count = self.all.len();
        let bound = |known: &Known| !known.bindings.is_empty();
        let known = |n: usize| n % count;
        match *step {
            Life::Start => unreachable!(),
            Life::Bind(n) => {
                let it = &mut self.all[known(n)];
                match self.machine.iommu.bind(ID, &it.process) {
                    Ok(binding) => it.bindings.push(binding),
                    Err(_) => assert!(it.exited),
                }
            }
            Life::Unbind(n) => drop(self.all[known(n)].bindings.pop()),
            Life::Exit(n) => {
                let it = &mut self.all[known(n)];
                it.process.exit();
                it.pages.clear();
                it.exited = true;
                if !bound(it) {
                    self.all.remove(known(n));
                }
            }
            Life::Map { process, page, absent, permission } => {
                let it = &mut self.all[known(process)];
                let map = if absent { Process::map_absent } else { Process::map };
                if map(&it.process, page * PAGE, fresh, PAGE, permission).is_ok() {
                    it.pages.insert(page, Page { to: fresh, permission, present: !absent });
                } else {
                    assert!(it.exited || it.pages.contains_key(&page));
                }
            }
            Life::Unmap { process, page } => {
                let it = &mut self.all[known(process)];
                assert_eq!(it.process.unmap(page * PAGE, PAGE).is_ok(), it.pages.remove(&page).is_some());
            }
            Life::Protect { process, page, permission } => {
                let it = &mut self.all[known(process)];
                let changed = it.process.protect(page * PAGE, PAGE, permission).is_ok();
                assert_eq!(changed, it.pages.get_mut(&page).map(|page| page.permission = permission).is_some());
            }
            Life::Evict { process, page } => {
                let it = &mut self.all[known(process)];
                let changed = it.process.evict(page * PAGE, PAGE).is_ok();
                assert_eq!(changed, it.pages.get_mut(&page).map(|page| page.present = false).is_some());
            }
            Life::Touch { process, page } => {
                let it = &mut self.all[known(process)];
                let changed = it.process.touch(page * PAGE, Access::Read);
                assert_eq!(changed, it.pages.get_mut(&page).map(|page| page.present = true).is_some());
            }
            Life::Migrate { process, page } => {
                let it = &mut self.all[known(process)];
                let changed = it.process.migrate(page * PAGE, fresh, PAGE).is_ok();
                let there = it.pages.get_mut(&page);
                assert_eq!(changed, there.map(|page| *page = Page { to: fresh, present: true, ..*page }).is_some());
            }
            Life::Request { process, page, access } => {
                use dsa_emulator::AddressSpace;
                let it = &mut self.all[known(process)];
                let Some(pasid) = it.process.pasid() else { return };
                let granted = self.memory.resolve(pasid.user(), page * PAGE + 5, access);
                let there = it.pages.get_mut(&page).filter(|page| page.permission.allows(access));
                assert_eq!(granted, !it.bindings.is_empty() && there.is_some());
                if let Some(page) = it.pages.get_mut(&page).filter(|_| granted) {
                    page.present = true;
                }
            }
        }
    }

    fn check(&self) {
        // Who has which PASID now; everything else leads nowhere.
        let owners: BTreeMap<u32, &Known> = self
            .all
            .iter()
            .filter_map(|known| known.bindings.first().map(|bind| (bind.pasid().get(), known)))
            .collect();
        for pasid in 1..12 {
            for page in 0..6 {
                for access in ACCESSES {
                    let allows = |page: &&Page| page.present && page.permission.allows(access);
                    let expected = owners.get(&pasid).and_then(|known| known.pages.get(&page)).filter(allows);
                    let by = Requester::user(pasid);
                    let to = self.machine.translate(&self.memory, by, page * PAGE, access);
                    assert_eq!(to, expected.map(|page| page.to), "PASID {pasid}, page {page}, {access:?}");
                }
            }
            let (dma, at) = self.dma;
            let to = self.machine.translate(&self.memory, Requester::user(pasid), at, Access::Write);
            assert_eq!(to, (pasid == dma).then_some(frame(0)), "only the kernel's PASID reaches the kernel's mapping");
        }
        // One PASID each, and two processes never the same.
        let bound = self.all.iter().filter(|known| !known.bindings.is_empty());
        assert_eq!(bound.count(), owners.len());
        assert!(!owners.contains_key(&self.dma.0));
        for known in &self.all {
            assert!(known.bindings.iter().all(|bind| Some(bind.pasid()) == known.process.pasid()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn a_pasid_reaches_its_process_and_nothing_else_whoever_had_it_before(
        steps in proptest::collection::vec(life(), 1..60), device_tlb: bool,
    ) {
        let mut lives = Lives::new(device_tlb);
        lives.check();
        for step in &steps {
            lives.step(step);
            lives.check();
        }
    }
}
