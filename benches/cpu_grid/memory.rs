//! The memory: an arena of sources and one of destinations, in pages of one kind, with content that is random and never zero.
//!
//! Cold slots lie anywhere in the arenas; those in the last-level cache in their first 4 MiB; the hot pair at their start.

use std::ptr;

use dsa::cpu::Hint;

use dsa_benches::grid::{L3_POOL, Operation, Place, Residency};
use dsa_benches::random::Random;
use dsa_benches::walk::Walk;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

use super::ours;
use super::slots::{PATTERN, Slot, Slots};

/// Bytes behind an arena, for slots that are not aligned.
const SLACK: usize = 2 * PAGE;
/// Bytes of a page of the small kind.
const PAGE: usize = 4096;
/// Bytes of a page of the large kind.
const LARGE: usize = 2 << 20;
const LINE: usize = 64;
/// Bytes of a delta record: 10 for each 8 of the largest regions.
const RECORD: usize = 640 << 10;

/// The pages of the arenas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pages {
    /// 2 MiB, where the kernel has them.
    Huge,
    /// 4 KiB.
    Small,
}

/// Both arenas, and the place of delta records.
pub(crate) struct Memory {
    source: *mut u8,
    target: *mut u8,
    record: *mut u8,
    /// Bytes of an arena.
    pub(crate) bytes: usize,
    /// How far slots of destinations are from the places in their pages that sources have, bytes.
    pub(crate) phase: usize,
}

/// Where the slots of a cell are.
pub(crate) struct Layout {
    /// The first source: of operations that only read what others have to prepare, in the arena of destinations.
    source: *mut u8,
    target: *mut u8,
    /// From a destination to its second one, bytes.
    second: usize,
    strides: (usize, usize),
    /// Bytes of all slots, from the start of each arena on.
    room: usize,
    /// Slots on each side.
    pub(crate) count: usize,
    is_paired: bool,
    place: Place,
}

impl Memory {
    /// Maps and fills them; `bytes` is a power of two, `phase` less than a page.
    pub(crate) fn new(bytes: usize, phase: usize, pages: Pages) -> std::io::Result<Self> {
        let (source, target) = (map(bytes, pages)?, map(bytes, pages)?);
        for (seed, base) in [(11, source), (12, target)] {
            // SAFETY: the mapping is as long as that, of zeros, and nobody else knows of it.
            Random::new(seed).fill(unsafe { std::slice::from_raw_parts_mut(base, bytes + SLACK) });
        }
        let record = Box::leak(vec![1_u8; RECORD].into_boxed_slice()).as_mut_ptr();
        Ok(Self { source, target, record, bytes, phase })
    }

    /// Where delta records are written: the same bytes for all.
    pub(crate) fn record(&self) -> *mut u8 {
        self.record
    }

    /// Where the slots of a cell would be; `None` if there is no room for some of them.
    pub(crate) fn lay_out(&self, place: Place) -> Option<Layout> {
        let (operation, size) = (place.operation, place.size);
        let stride = |bytes: usize| bytes.next_multiple_of(LINE);
        let strides = (stride(operation.source_bytes(size)), stride(operation.target_bytes(size)));
        let largest = strides.0.max(strides.1);
        let parts = if operation.has_second() { 2 } else { 1 };
        let part = match place.residency {
            Residency::Hot => largest.next_multiple_of(PAGE),
            Residency::L3 => L3_POOL / parts,
            Residency::Cold => self.bytes / parts,
        };
        let count = if place.residency == Residency::Hot { 1 } else { part / largest };
        let least = if place.residency == Residency::Cold { 4 } else { 1 };
        if count < least || part * parts > self.bytes {
            return None;
        }
        let target = self.target.wrapping_add(self.phase);
        let base = if is_prepared_source(operation) { target } else { self.source };
        Some(Layout {
            source: base.wrapping_add(place.alignment.source()),
            target: target.wrapping_add(place.alignment.target()),
            second: part,
            strides,
            room: part * parts,
            count,
            is_paired: operation.is_paired(),
            place,
        })
    }

    /// Gives the slots of a cell the content that its operation needs, and touches all of them: the first access after a pause
    /// can be slow.
    pub(crate) fn prepare(&mut self, layout: &Layout) {
        let Layout { place, room, second, .. } = *layout;
        let alignment = place.alignment;
        // SAFETY: all ranges lie inside the arenas with their slack: `room + phase + 33` is less than `bytes + SLACK`, and
        // two parts are one room.
        // Both arenas are this value's, which is borrowed exclusively, and no slot of it is out.
        unsafe {
            let (source, target) = (self.source.add(alignment.source()), layout.target);
            match place.operation {
                Operation::Compare => ptr::copy_nonoverlapping(source, target, room),
                operation if operation.is_delta() => {
                    ptr::copy_nonoverlapping(source, target, second);
                    // Between the parts nothing is left over: the second begins where the first ends.
                    ptr::copy_nonoverlapping(source, target.add(second), second);
                    for at in operation.gap().into_iter().flat_map(|gap| (40..second).step_by(gap)) {
                        *target.add(at) ^= 0xff;
                    }
                }
                Operation::ComparePattern => {
                    for at in (0..room).step_by(8) {
                        layout.source.add(at).cast::<[u8; 8]>().write(PATTERN.to_le_bytes());
                    }
                }
                Operation::DifCheck => {
                    for slot in 0..layout.count {
                        // Its blocks are those of the source's slot of the same number, and have room there: without the fields
                        // they are shorter.
                        let at = slot * layout.strides.0;
                        ours::dif_insert(Hint::Unknown, source.add(at), layout.source.add(at), place.size);
                    }
                }
                _ => {}
            }
            for at in (0..room).step_by(PAGE) {
                ptr::read_volatile(self.source.add(at));
                let byte = self.target.add(at);
                ptr::write_volatile(byte, ptr::read_volatile(byte));
            }
        }
    }
}

impl Layout {
    /// Brings the slots into the caches, as far as they go in.
    pub(crate) fn warm(&self) {
        let (operation, size) = (self.place.operation, self.place.size);
        let (source, target) = match self.place.residency {
            Residency::Cold => return,
            Residency::L3 => (self.room, self.room),
            Residency::Hot => (operation.source_bytes(size), operation.target_bytes(size)),
        };
        let mut ranges = vec![(self.source, source), (self.target, target)];
        if self.place.residency == Residency::Hot && operation.has_second() {
            ranges.push((self.target.wrapping_add(self.second), target));
        }
        for (base, bytes) in ranges {
            for at in (0..bytes).step_by(LINE) {
                // SAFETY: inside the arena, as for `Memory::prepare`; reading disturbs nobody.
                unsafe { ptr::read_volatile(base.add(at)) };
            }
        }
    }

    /// The pointers of an operation's slots, in an order.
    pub(crate) fn slots<'a>(&self, order: &'a [(u32, u32)], operations: usize) -> Slots<'a> {
        assert!(!order.is_empty() && (self.count == 1 || operations <= order.len()), "an order for each operation");
        Slots {
            source: self.source,
            target: self.target,
            second: self.second,
            len: self.place.size,
            order,
            mask: if self.count == 1 { 0 } else { usize::MAX },
            operations,
        }
    }

    /// Walks over the slots of both sides.
    pub(crate) fn walks(&self) -> (Walk, Walk) {
        // Two slots of one operation have nothing to do with each other, except where they must.
        let start = if self.is_paired { 0 } else { self.count / 3 };
        (Walk::new(self.count, 0), Walk::new(self.count, start))
    }

    /// Writes down where the next operations go.
    pub(crate) fn order(&self, walks: &mut (Walk, Walk), operations: usize, order: &mut Vec<(u32, u32)>) {
        order.clear();
        let operations = if self.count == 1 { 1 } else { operations };
        let mut next = || {
            let (source, target) = (walks.0.step() * self.strides.0, walks.1.step() * self.strides.1);
            // An arena has less than 4 GiB.
            (source as u32, target as u32)
        };
        order.extend((0..operations).map(|_| next()));
    }

    /// What an operation leaves in memory, if it gave `value`.
    pub(crate) fn output(&self, memory: &Memory, slot: Slot, value: u64) -> Vec<(*mut u8, usize)> {
        let bytes = self.place.operation.target_bytes(self.place.size);
        match self.place.operation {
            Operation::Compare => Vec::new(),
            operation if operation.is_delta() => vec![(memory.record, value as usize)],
            Operation::Dualcast => vec![(slot.target, bytes), (slot.second, bytes)],
            _ => vec![(slot.target, bytes)],
        }
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }
}

/// Whether what an operation reads is made for it, in the arena of destinations: that of sources stays as it is.
fn is_prepared_source(operation: Operation) -> bool {
    matches!(operation, Operation::ComparePattern | Operation::DifCheck)
}

/// New memory, at an address that fits the largest pages.
fn map(bytes: usize, pages: Pages) -> std::io::Result<*mut u8> {
    let all = bytes + SLACK + LARGE;
    // SAFETY: a new mapping at a place of the kernel's choice; it stays for ever.
    let base = unsafe { mmap_anonymous(ptr::null_mut(), all, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)? };
    let advice = match pages {
        Pages::Huge => Advice::LinuxHugepage,
        Pages::Small => Advice::LinuxNoHugepage,
    };
    // SAFETY: the whole mapping; the advice changes no content. A kernel without large pages refuses it, which is seen later.
    let _ = unsafe { madvise(base, all, advice) };
    let base = base.cast::<u8>();
    Ok(base.wrapping_add(base.addr().next_multiple_of(LARGE) - base.addr()))
}

/// Bytes of arenas for this machine: as wanted, but both in half of the memory that is free.
pub(crate) fn affordable(wanted: usize) -> usize {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib: Option<usize> = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
    let most = kib.map_or(wanted, |kib| kib * 1024 / 4);
    let bytes = wanted.min(most).clamp(16 << 20, 2 << 30);
    1 << bytes.ilog2()
}

/// Bytes of this process in large pages.
pub(crate) fn in_large_pages() -> usize {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("AnonHugePages:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()).unwrap_or(0) * 1024
}
