//! Processes and domains that share the numbers of one space of PASIDs, on two devices, beside a plain description of who may
//! reach what.
//!
//! A PASID may belong to a process, to the domain that a device has anyway, or to nobody in particular: then domains are
//! attached to it by hand. It is given out again at once, so that it moves between all of these. All of them use the same
//! addresses, those of the first pages of physical memory, where pass-through leads to the pages themselves. And every look at
//! the machine leaves in the caches whatever it has found.

mod life;
mod step;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dsa_emulator::iommu::{
    Binding, DeviceId, DeviceOptions, Direction, DmaDomain, DmaMode, DomainKind, IommuOptions, Pasid, Process,
};
use dsa_emulator::{Access, DeviceMemory, Permission, Requester};

use crate::machine::*;
use life::Life;
pub(crate) use life::life;

const DEVICES: [DeviceId; 2] = [ID, OTHER];
/// Those for the DMA API first.
const MODES: [DmaMode; 4] = [DmaMode::Strict, DmaMode::Strict, DmaMode::Lazy, DmaMode::PassThrough];
/// Pages that everybody may have, from the first of physical memory on.
const WINDOW: u64 = 8;
const ACCESSES: [Access; 2] = [Access::Read, Access::Write];

#[derive(Clone, Copy, Debug, PartialEq)]
struct Page {
    to: u64,
    permission: Permission,
    present: bool,
}

struct Known {
    process: Process,
    pasid: Option<u32>,
    /// With the number of the device.
    bindings: Vec<(usize, Binding)>,
    /// By their numbers in the window.
    pages: BTreeMap<u64, Page>,
    exited: bool,
}

/// The number of a device, and a PASID or none.
type Way = (usize, Option<u32>);

/// A page that was unmapped and not flushed, and the ways by which it may still be in a cache.
struct Old {
    to: u64,
    direction: Direction,
    ways: BTreeSet<Way>,
}

struct Space {
    dma: DmaDomain,
    mode: DmaMode,
    pasid: Option<u32>,
    /// Devices for which the PASID is enabled.
    enabled: BTreeSet<usize>,
    pages: BTreeMap<u64, (u64, Direction)>,
    old: BTreeMap<u64, Old>,
}

impl Space {
    /// A way leads here from now on. With a PASID it finds what the IOTLB holds of that PASID, whichever device it was.
    fn arrive(&mut self, way: Way) {
        for old in self.old.values_mut() {
            if way.1.is_some() && old.ways.iter().any(|other| other.1 == way.1) {
                old.ways.insert(way);
            }
        }
    }

    /// A way does not lead here any more.
    fn leave(&mut self, way: Way) {
        for old in self.old.values_mut() {
            old.ways.remove(&way);
        }
    }
}

/// Where a way leads.
enum Target<'a> {
    Nothing,
    Process(&'a Known),
    Space(&'a Space),
}

pub(crate) struct Lives {
    machine: Machine,
    memories: [Arc<DeviceMemory>; 2],
    all: Vec<Known>,
    spaces: Vec<Space>,
    /// What each device has without a PASID.
    contexts: [Option<usize>; 2],
    /// PASIDs that were asked for, and the spaces that devices have there.
    numbers: BTreeSet<u32>,
    entries: BTreeMap<(usize, u32), usize>,
    frames: u64,
}

impl Lives {
    /// Two devices, with a TLB or without, each with a domain of its own; and two PASIDs that nothing is attached to.
    pub(crate) fn new(device_tlbs: [bool; 2]) -> Self {
        // Large enough for all that can be reached, so what was looked at is there.
        let options = IommuOptions::default().entries(4096, 4096).flush_after(4).iova_limit(frame(WINDOW));
        let machine = Machine::with(options);
        let add = |n: usize| {
            machine.iommu.add_device(DEVICES[n], DeviceOptions::default().device_tlb(device_tlbs[n])).unwrap()
        };
        let memories = [add(0), add(1)];
        let space = |mode| Space {
            dma: machine.iommu.dma_domain(mode),
            mode,
            pasid: None,
            enabled: BTreeSet::new(),
            pages: BTreeMap::new(),
            old: BTreeMap::new(),
        };
        let spaces: Vec<_> = MODES.into_iter().map(space).collect();
        for (id, space) in DEVICES.into_iter().zip(&spaces) {
            machine.iommu.attach(id, &space.dma).unwrap();
        }
        let contexts = [Some(0), Some(1)];
        let numbers = [ID, OTHER].map(|id| machine.iommu.allocate_pasid(id).unwrap().get()).into();
        let (all, entries) = (Vec::new(), BTreeMap::new());
        // Behind the window, which pass-through reaches.
        Self { machine, memories, all, spaces, contexts, numbers, entries, frames: 2 * WINDOW }
    }

    /// A page of physical memory that nobody had before.
    fn frame(&mut self) -> u64 {
        self.frames += 1;
        frame(self.frames)
    }

    /// PASIDs that somebody has.
    fn taken(&self) -> BTreeSet<u32> {
        let processes = self.all.iter().filter_map(|known| known.pasid);
        let spaces = self.spaces.iter().filter_map(|space| space.pasid);
        self.numbers.iter().copied().chain(processes).chain(spaces).collect()
    }

    /// The PASID that comes next.
    fn lowest(&self) -> u32 {
        let taken = self.taken();
        (1..=taken.len() as u32 + 1).find(|pasid| !taken.contains(pasid)).unwrap()
    }

    fn target(&self, (device, pasid): Way) -> Target<'_> {
        let Some(pasid) = pasid else {
            return self.contexts[device].map_or(Target::Nothing, |n| Target::Space(&self.spaces[n]));
        };
        if let Some(n) = self.entries.get(&(device, pasid)) {
            return Target::Space(&self.spaces[*n]);
        }
        let bound = |known: &&Known| known.pasid == Some(pasid) && known.bindings.iter().any(|(at, _)| *at == device);
        if let Some(known) = self.all.iter().find(bound) {
            return Target::Process(known);
        }
        let enabled = |space: &&Space| space.pasid == Some(pasid) && space.enabled.contains(&device);
        self.spaces.iter().find(enabled).map_or(Target::Nothing, Target::Space)
    }

    /// All ways that lead to a space.
    fn ways(&self, n: usize) -> BTreeSet<Way> {
        let space = &self.spaces[n];
        let contexts =
            (0..DEVICES.len()).filter(|device| self.contexts[*device] == Some(n)).map(|device| (device, None));
        let enabled = space.enabled.iter().map(|device| (*device, space.pasid));
        let by_hand =
            self.entries.iter().filter(|(_, to)| **to == n).map(|((device, pasid), _)| (*device, Some(*pasid)));
        contexts.chain(enabled).chain(by_hand).collect()
    }

    pub(crate) fn check(&self) {
        let taken = self.taken();
        // And two that nobody has.
        let pasids = taken.iter().copied().chain([self.lowest(), taken.last().map_or(9, |last| last + 9)]);
        for pasid in pasids.map(Some).chain([None]) {
            for device in 0..DEVICES.len() {
                self.check_way((device, pasid));
            }
        }
        for known in &self.all {
            assert_eq!(known.process.pasid().map(Pasid::get), known.pasid);
            assert!(known.bindings.iter().all(|(_, binding)| Some(binding.pasid().get()) == known.pasid));
        }
        let owners = self.all.iter().filter(|known| known.pasid.is_some()).count()
            + self.spaces.iter().filter(|space| space.pasid.is_some()).count();
        assert_eq!(owners + self.numbers.len(), taken.len(), "nobody shares a PASID");
    }

    /// Everything that one way leads to.
    fn check_way(&self, way: Way) {
        let target = self.target(way);
        let kind = match target {
            Target::Process(known) => (!known.exited).then_some(DomainKind::Sva),
            Target::Space(space) if space.mode == DmaMode::PassThrough => Some(DomainKind::Identity),
            Target::Space(_) => Some(DomainKind::Dma),
            Target::Nothing => None,
        };
        let (device, pasid) = way;
        assert_eq!(self.machine.iommu.kind_of(DEVICES[device], pasid.and_then(Pasid::new)), kind, "{way:?}");
        let by = pasid.map_or(Requester::DEVICE, Requester::user);
        for (n, access) in (0..WINDOW).flat_map(|n| ACCESSES.map(|access| (n, access))) {
            let found = self.machine.translate(&self.memories[device], by, frame(n), access);
            let mut expected = None;
            let mut stale = None;
            match target {
                Target::Nothing => {}
                Target::Process(known) => {
                    let page = known.pages.get(&n).filter(|page| page.present && page.permission.allows(access));
                    expected = page.map(|page| page.to);
                }
                Target::Space(space) if space.mode == DmaMode::PassThrough => expected = Some(frame(n)),
                Target::Space(space) => {
                    let page = space.pages.get(&frame(n)).filter(|(_, direction)| allows(*direction, access));
                    expected = page.map(|(to, _)| *to);
                    let old = space.old.get(&frame(n)).filter(|old| old.ways.contains(&way));
                    stale = old.filter(|old| allows(old.direction, access)).map(|old| old.to);
                }
            }
            // Between an unmap of a lazy domain and its flush: the old place or none.
            let may = found == expected || stale.is_some() && found == stale;
            assert!(may, "{way:?}, page {n}, {access:?}: {found:x?}, expected {expected:x?} or {stale:x?}");
        }
    }
}
