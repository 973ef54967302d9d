//! Small tables, and every way to get through them or not.

use super::*;
use crate::memory::RamMap;
use crate::memory::ram_tests::ram;

/// Bus 1, device 0x12, function 3: the upper half of a scalable root entry.
const SOURCE: u16 = 0x0193;
const ROOT: u64 = 0x1000;
const CONTEXT: u64 = 0x2000;
const DIRECTORY: u64 = 0x3000;
const PASIDS: u64 = 0x4000;
/// First-level tables from the top: four levels, or five with the one before.
const FIRST: [u64; 5] = [0x5000, 0x6000, 0x7000, 0x8000, 0x9000];
/// Second-level tables from the top.
const SECOND: [u64; 4] = [0xa000, 0xb000, 0xc000, 0xd000];
const PAGE: u64 = 0x5_5000;
/// A canonical address of the lower half with another index at each level.
const VA: u64 = 1 << 39 | 2 << 30 | 3 << 21 | 4 << 12 | 0x678;
const PASID: u32 = 65;

const SCALABLE: IommuRegisters = IommuRegisters { enabled: true, root: ROOT | 1 << 10 };
const LEGACY: IommuRegisters = IommuRegisters { enabled: true, root: ROOT };

const P: u64 = 1;
const W: u64 = 2;
const U: u64 = 4;
const A: u64 = 1 << 5;
const D: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;

struct Machine {
    ram: RamMap,
}

impl Machine {
    /// Scalable mode, with an entry for `PASID` that says nothing yet.
    fn scalable() -> Self {
        let machine = Self { ram: ram(&[(0, 0x10_0000), (1 << 32, 0x1000)]) };
        machine.set(ROOT + 16 + 8, CONTEXT | P);
        // PASIDs enabled; a directory of 128.
        machine.set(CONTEXT + 32 * 0x13, DIRECTORY | 1 << 3 | P);
        machine.set(DIRECTORY + 8, PASIDS | P);
        machine
    }

    /// First-level tables of four levels that map `VA` to `PAGE` for everybody.
    fn first() -> Self {
        let machine = Self::scalable();
        machine.entry(1, 0, FIRST[1]);
        machine.map_first(4);
        machine
    }

    fn map_first(&self, levels: usize) {
        for level in 0..levels {
            let table = FIRST[5 - levels + level];
            let next = FIRST.get(5 - levels + level + 1).copied().unwrap_or(PAGE);
            self.set(table + 8 * index(levels - 1 - level), next | P | W | U);
        }
    }

    /// Second-level tables of four levels that map `VA` to `PAGE`, and the pages below 1 MiB to themselves.
    fn map_second(&self) {
        for (level, table) in SECOND.iter().enumerate() {
            let next = SECOND.get(level + 1).copied().unwrap_or(PAGE);
            self.set(table + 8 * index(3 - level), next | P | W);
        }
        self.set(SECOND[0], 0xe000 | P | W);
        self.set(0xe000, 0xf000 | P | W);
        // A large page at 0.
        self.set(0xf000, LARGE | P | W);
    }

    /// The entry of `PASID`: type of translation, more bits of the first word, third word.
    fn entry(&self, kind: u64, low: u64, third: u64) {
        let at = PASIDS + 64;
        // A second-level pointer of four levels stands in the first word, a first-level one in the third.
        let first = if kind == 1 { 0 } else { SECOND[0] | 2 << 2 };
        self.set(at, first | kind << 6 | low | P);
        self.set(at + 16, third);
    }

    fn set(&self, addr: u64, value: u64) {
        let old = self.get(addr);
        assert_eq!(self.ram.replace(addr, old, value), Some(true));
    }

    fn get(&self, addr: u64) -> u64 {
        self.ram.load(addr).unwrap()
    }

    fn user(&self, addr: u64, access: Access) -> Result<Translation, TranslationFault> {
        translate(&self.ram, SCALABLE, SOURCE, Requester::user(PASID), addr, access)
    }

    fn supervisor(&self, access: Access) -> Result<Translation, TranslationFault> {
        translate(&self.ram, SCALABLE, SOURCE, Requester { privileged: true, ..Requester::user(PASID) }, VA, access)
    }

    fn device(&self, iommu: IommuRegisters, addr: u64, access: Access) -> Result<Translation, TranslationFault> {
        translate(&self.ram, iommu, SOURCE, Requester::DEVICE, addr, access)
    }
}

/// The index of `VA` at a level, 0 for the last.
fn index(level: usize) -> u64 {
    VA >> (12 + 9 * level) & 0x1ff
}

/// Where the entry of `VA` lies at a level of the first-level tables.
fn slot(level: usize) -> u64 {
    FIRST[4 - level] + 8 * index(level)
}

const OK: Result<Translation, TranslationFault> = Ok(Translation { addr: PAGE | 0x678, len: 0x1000 - 0x678 });

#[test]
fn without_translation_addresses_are_physical() {
    let machine = Machine { ram: ram(&[(0, 0x1000)]) };
    let to = machine.device(IommuRegisters::OFF, 0x1234_5678, Access::Write).unwrap();
    assert_eq!(to.addr, 0x1234_5678);
    assert!(to.len > 1 << 60);
    assert_eq!(machine.device(IommuRegisters::OFF, u64::MAX, Access::Write).unwrap().len, 1);
    assert_eq!(IommuRegisters::new(1 << 31, 5), IommuRegisters { enabled: true, root: 5 });
    assert!(!IommuRegisters::new(1 << 30, 5).enabled);
}

#[test]
fn first_level_tables_of_four_and_five_levels() {
    let machine = Machine::first();
    assert_eq!(machine.user(VA, Access::Write), OK);
    assert_eq!(machine.user(VA | 1 << 47, Access::Read), Err(TranslationFault::Address));
    assert_eq!(machine.user(VA | 1 << 63, Access::Read), Err(TranslationFault::Address));
    assert_eq!(machine.user(VA | 0xffff << 48, Access::Read), Err(TranslationFault::Address));
    assert_eq!(machine.user(VA | 0x1_ffff << 47, Access::Read), Err(TranslationFault::NotPresent), "canonical");
    machine.entry(1, 0, FIRST[0] | 1 << 2);
    machine.map_first(5);
    assert_eq!(machine.user(VA, Access::Write), OK);
    assert_eq!(machine.user(VA | 1 << 47, Access::Read), Err(TranslationFault::NotPresent), "48 bits are few here");
    assert_eq!(machine.user(VA | 1 << 56, Access::Read), Err(TranslationFault::Address));
    machine.entry(1, 0, FIRST[0] | 2 << 2);
    assert_eq!(machine.user(VA, Access::Read), Err(TranslationFault::Pasid), "six levels");
}

#[test]
fn each_level_can_be_absent_read_only_or_for_supervisors() {
    for level in 0..4 {
        let machine = Machine::first();
        let entry = machine.get(slot(level));
        machine.set(slot(level), entry & !P);
        assert_eq!(machine.user(VA, Access::Read), Err(TranslationFault::NotPresent));
        machine.set(slot(level), entry & !W);
        assert_eq!(machine.user(VA, Access::Read), OK);
        assert_eq!(machine.user(VA, Access::Write), Err(TranslationFault::Permission));
        machine.set(slot(level), entry & !U);
        assert_eq!(machine.user(VA, Access::Read), Err(TranslationFault::Permission));
        assert!(TranslationFault::Permission.is_recoverable() && TranslationFault::NotPresent.is_recoverable());
    }
}

#[test]
fn privileged_accesses_need_leave_and_respect_write_protection_if_told() {
    let machine = Machine::first();
    machine.set(slot(0), PAGE | P);
    assert_eq!(machine.supervisor(Access::Read), Err(TranslationFault::Pasid), "no supervisor requests");
    machine.entry(1, 0, FIRST[1] | 1);
    assert_eq!(machine.supervisor(Access::Read), OK);
    assert_eq!(machine.supervisor(Access::Write), OK);
    machine.entry(1, 0, FIRST[1] | 1 | 1 << 4);
    assert_eq!(machine.supervisor(Access::Read), OK);
    assert_eq!(machine.supervisor(Access::Write), Err(TranslationFault::Permission));
}

#[test]
fn accessed_and_dirty_bits_say_what_was_done() {
    let machine = Machine::first();
    let bits = |level| machine.get(slot(level)) & (A | D);
    machine.set(slot(0), PAGE | P | U);
    assert_eq!(machine.user(VA, Access::Write), Err(TranslationFault::Permission));
    assert_eq!([0, 1, 2, 3].map(bits), [0; 4], "nothing was accessed");
    machine.set(slot(0), PAGE | P | W | U);
    assert_eq!(machine.user(VA, Access::Read), OK);
    assert_eq!([0, 1, 2, 3].map(bits), [A; 4]);
    assert_eq!(machine.user(VA, Access::Write), OK);
    assert_eq!([0, 1, 2, 3].map(bits), [A | D, A, A, A]);
}

#[test]
fn large_pages_end_the_walk_and_huge_ones_do_not_exist() {
    for (level, size) in [(1, 1u64 << 21), (2, 1 << 30)] {
        let machine = Machine::first();
        // Bit 12 belongs to the memory type there.
        machine.set(slot(level), size | 1 << 12 | LARGE | P | W | U);
        let offset = VA & (size - 1);
        assert_eq!(machine.user(VA, Access::Write), Ok(Translation { addr: size | offset, len: size - offset }));
        assert_eq!(machine.get(slot(level)) & (A | D), A | D);
    }
    let machine = Machine::first();
    machine.set(slot(3), LARGE | P | W | U);
    assert_eq!(machine.user(VA, Access::Read), Err(TranslationFault::Reserved));
}

#[test]
fn tables_outside_of_memory_are_a_fault() {
    for (at, flags) in [(ROOT + 24, P), (CONTEXT + 32 * 0x13, 1 << 3 | P), (DIRECTORY + 8, P), (slot(2), P | W | U)] {
        let machine = Machine::first();
        machine.set(at, 0x20_0000 | flags);
        assert_eq!(machine.user(VA, Access::Read), Err(TranslationFault::NoMemory));
    }
    // Above 4 GiB there is some.
    let machine = Machine::first();
    machine.set(slot(1), 1 << 32 | P | W | U);
    machine.set((1 << 32) + 8 * index(0), PAGE | P | W | U);
    assert_eq!(machine.user(VA, Access::Read), OK);
}

#[test]
fn each_structure_before_the_tables_must_be_present() {
    for (at, fault) in [
        (ROOT + 24, TranslationFault::Context),
        (CONTEXT + 32 * 0x13, TranslationFault::Context),
        (DIRECTORY + 8, TranslationFault::Pasid),
        (PASIDS + 64, TranslationFault::Pasid),
    ] {
        let machine = Machine::first();
        machine.set(at, machine.get(at) & !P);
        assert_eq!(machine.user(VA, Access::Read), Err(fault));
        assert!(!fault.is_recoverable());
    }
    let machine = Machine::first();
    let by = |pasid| translate(&machine.ram, SCALABLE, SOURCE, Requester::user(pasid), VA, Access::Read);
    assert_eq!(by(PASID), OK);
    assert_eq!(by(PASID + 1), Err(TranslationFault::Pasid));
    // The directory has 128 entries, each for 64.
    machine.set(DIRECTORY + 8 * 128, PASIDS | P);
    assert_eq!(by(128 * 64 + 1), Err(TranslationFault::Pasid));
    machine.set(CONTEXT + 32 * 0x13, DIRECTORY | 1 << 9 | 1 << 3 | P);
    assert_eq!(by(128 * 64 + 1), OK);
    machine.set(CONTEXT + 32 * 0x13, DIRECTORY | P);
    assert_eq!(by(PASID), Err(TranslationFault::Pasid), "PASIDs are not enabled");
    for other in [0x0093, 0x0113, 0x0192] {
        let fault = translate(&machine.ram, SCALABLE, other, Requester::user(PASID), VA, Access::Read);
        assert_eq!(fault, Err(TranslationFault::Context), "{other:#x}");
    }
    for mode in [2, 3] {
        let registers = IommuRegisters { root: ROOT | mode << 10, enabled: true };
        assert_eq!(machine.device(registers, VA, Access::Read), Err(TranslationFault::Context));
    }
}

#[test]
fn without_a_pasid_the_context_says_which() {
    let machine = Machine::first();
    assert_eq!(machine.device(SCALABLE, VA, Access::Read), Err(TranslationFault::Pasid));
    machine.set(CONTEXT + 32 * 0x13 + 8, u64::from(PASID));
    assert_eq!(machine.device(SCALABLE, VA, Access::Write), OK);
    machine.set(slot(0), PAGE | P | W);
    assert_eq!(machine.device(SCALABLE, VA, Access::Read), Err(TranslationFault::Permission));
    machine.set(CONTEXT + 32 * 0x13 + 8, u64::from(PASID) | 1 << 20);
    machine.entry(1, 0, FIRST[1] | 1);
    assert_eq!(machine.device(SCALABLE, VA, Access::Read), OK, "privileged");
}

#[test]
fn pass_through_and_unknown_types() {
    let machine = Machine::scalable();
    machine.entry(4, 0, 0);
    assert_eq!(machine.user(0x1234_5678, Access::Write).unwrap().addr, 0x1234_5678);
    for kind in [0, 5, 6, 7] {
        machine.entry(kind, 0, 0);
        assert_eq!(machine.user(VA, Access::Read), Err(TranslationFault::Pasid));
    }
}

#[test]
fn second_level_tables() {
    let machine = Machine::scalable();
    machine.map_second();
    machine.entry(2, 0, 0);
    let leaf = SECOND[3] + 8 * index(0);
    assert_eq!(machine.user(VA, Access::Write), OK);
    assert_eq!(machine.get(leaf), PAGE | P | W, "no accessed or dirty bits");
    machine.entry(2, 1 << 9, 0);
    assert_eq!(machine.user(VA, Access::Read), OK);
    assert_eq!(machine.get(leaf), PAGE | P | W | 1 << 8);
    assert_eq!(machine.user(VA, Access::Write), OK);
    assert_eq!(machine.get(leaf), PAGE | P | W | 3 << 8);
    for (level, table) in SECOND.iter().enumerate() {
        let at = table + 8 * index(3 - level);
        let entry = machine.get(at);
        machine.set(at, entry & !W);
        assert_eq!(machine.user(VA, Access::Write), Err(TranslationFault::Permission));
        assert_eq!(machine.user(VA, Access::Read), OK);
        machine.set(at, entry & !P);
        assert_eq!(machine.user(VA, Access::Read), Err(TranslationFault::Permission));
        machine.set(at, entry & !(P | W));
        assert_eq!(machine.user(VA, Access::Read), Err(TranslationFault::NotPresent));
        machine.set(at, entry);
    }
    assert_eq!(machine.user(0x1_2345, Access::Read), Ok(Translation { addr: 0x1_2345, len: 0x20_0000 - 0x1_2345 }));
    assert_eq!(machine.user(VA | 1 << 48, Access::Read), Err(TranslationFault::Address));
    machine.set(SECOND[0] + 8 * index(3), LARGE | P | W);
    assert_eq!(machine.user(VA, Access::Read), Err(TranslationFault::Reserved));
    machine.set(PASIDS + 64, SECOND[0] | 4 << 2 | 2 << 6 | P);
    assert_eq!(machine.user(VA, Access::Read), Err(TranslationFault::Pasid), "six levels");
}

#[test]
fn nested_tables_are_translated_at_every_step() {
    let machine = Machine::scalable();
    machine.map_first(4);
    machine.map_second();
    machine.entry(3, 1 << 9, FIRST[1]);
    assert_eq!(machine.user(VA, Access::Write), OK);
    assert_eq!(machine.get(0xf000) >> 8 & 3, 3, "the outer page was written: bits of the inner tables and data");
    // The page itself is translated a second time, and the smaller of the two pages counts.
    machine.set(slot(0), VA & !0xfff | P | W | U);
    assert_eq!(machine.user(VA, Access::Write), OK);
    machine.set(slot(1), VA & !0x1f_ffff | LARGE | P | W | U);
    assert_eq!(machine.user(VA, Access::Write), OK);
    // The outer tables take away what the inner ones allow.
    machine.set(0xf000, LARGE | P);
    assert_eq!(machine.user(VA, Access::Read), Err(TranslationFault::Permission));
    // They move the inner tables elsewhere: the second page of 2 MiB is where nothing is.
    machine.set(0xf000, 1 << 21 | LARGE | P | W);
    assert_eq!(machine.user(VA, Access::Read), Err(TranslationFault::NoMemory));
}

#[test]
fn a_legacy_root_table_has_no_pasids() {
    let machine = Machine { ram: ram(&[(0, 0x10_0000)]) };
    machine.map_second();
    assert_eq!(machine.device(LEGACY, VA, Access::Read), Err(TranslationFault::Context));
    machine.set(ROOT + 16, CONTEXT | P);
    let context = CONTEXT + 16 * 0x93;
    assert_eq!(machine.device(LEGACY, VA, Access::Read), Err(TranslationFault::Context));
    for kind in [0, 1] {
        machine.set(context, SECOND[0] | kind << 2 | P);
        machine.set(context + 8, 2);
        assert_eq!(machine.device(LEGACY, VA, Access::Write), OK);
        let pasid = translate(&machine.ram, LEGACY, SOURCE, Requester::user(PASID), VA, Access::Read);
        assert_eq!(pasid, Err(TranslationFault::Pasid));
    }
    // Three levels begin one table lower.
    machine.set(context, SECOND[1] | P);
    machine.set(context + 8, 1);
    assert_eq!(machine.device(LEGACY, VA & ((1 << 39) - 1), Access::Write), OK);
    assert_eq!(machine.device(LEGACY, VA, Access::Write), Err(TranslationFault::Address));
    machine.set(context + 8, 0);
    assert_eq!(machine.device(LEGACY, VA, Access::Read), Err(TranslationFault::Context), "no such width");
    machine.set(context, 2 << 2 | P);
    assert_eq!(machine.device(LEGACY, VA, Access::Write).unwrap().addr, VA);
    machine.set(context, 3 << 2 | P);
    assert_eq!(machine.device(LEGACY, VA, Access::Read), Err(TranslationFault::Context));
}

#[test]
fn the_pasid_of_a_process_is_found_by_its_page_tables() {
    let machine = Machine::first();
    let find = |cr3| pasid_of_page_table(&machine.ram, SCALABLE, SOURCE, cr3);
    // The low bits of CR3 hold a context number and flags.
    assert_eq!(find(FIRST[1] | 0xfff | 1 << 63), Some(PASID));
    assert_eq!(find(FIRST[3]), None);
    // Another process, whose tables are where the first one's user half would be.
    let (other, shadow) = (0x2_0000, 0x2_1000);
    machine.set(PASIDS + 2 * 64, 1 << 6 | P);
    machine.set(PASIDS + 2 * 64 + 16, other);
    assert_eq!([find(other), find(shadow)], [Some(PASID + 1); 2], "page-table isolation");
    machine.set(PASIDS + 3 * 64, 1 << 6 | P);
    machine.set(PASIDS + 3 * 64 + 16, shadow);
    assert_eq!([find(other), find(shadow)], [Some(PASID + 1), Some(PASID + 2)], "an exact match goes first");
    machine.set(PASIDS + 64, 2 << 6 | P);
    assert_eq!(find(FIRST[1]), None, "second-level tables are no process's");
    assert_eq!(pasid_of_page_table(&machine.ram, LEGACY, SOURCE, other), None);
    assert_eq!(pasid_of_page_table(&machine.ram, IommuRegisters::OFF, SOURCE, other), None);
}
