//! Faults on every page of every operand of the delta operations, and what is left to be resumed.

mod common;

use common::*;
use dsa_emulator::{Access, Effect, FaultRule};
use idxd_sys::{CompletionRecord, Descriptor, flag, status};

const P: u32 = PAGE as u32;
const BOF: u32 = CR | flag::BLOCK_ON_FAULT;
const WRITE_FAULT: u8 = status::PAGE_FAULT | status::FAULT_WRITE;
const PAGES: usize = 3;
const SIZE: u32 = PAGES as u32 * P;

/// Two versions that differ in every third unit, so that the delta record has two pages as well.
fn versions() -> (Vec<u8>, Vec<u8>) {
    let old = noise(SIZE as usize, 1);
    let mut new = old.clone();
    for unit in (0..SIZE as usize / 8).step_by(3) {
        new[8 * unit + 5] ^= 0xff;
    }
    (old, new)
}

fn delta_of(old: &[u8], new: &[u8]) -> Vec<u8> {
    let units = old.chunks(8).zip(new.chunks(8)).enumerate().filter(|(_, (a, b))| a != b);
    units.flat_map(|(i, (_, new))| [&(i as u16).to_le_bytes()[..], new].concat()).collect()
}

/// Page-aligned sources, and a delta record that starts near the end of its first page.
const RECORD: u64 = DST2 + PAGE - 13;

fn set_up() -> (Rig, Vec<u8>, Vec<u8>, Vec<u8>) {
    let (old, new) = versions();
    let rig = rig();
    rig.put(SRC, &old);
    rig.put(DST, &new);
    let delta = delta_of(&old, &new);
    assert_eq!(delta.len(), 5120);
    (rig, old, new, delta)
}

fn faulted(record: &CompletionRecord, status: u8, addr: u64, operand: u8) {
    assert_eq!((record.status, record.fault_addr, record.fault_info >> 1), (status, addr, operand));
}

#[test]
fn a_fault_in_each_page_of_each_source_ends_creation_partially() {
    for (base, operand) in [(SRC, 1), (DST, 2)] {
        for page in 0..PAGES {
            let (rig, _, _, delta) = set_up();
            rig.absent(base + page as u64 * PAGE);
            let record = rig.run(&create_delta(SRC, DST, SIZE, RECORD, 6000));
            faulted(&record, status::PAGE_FAULT, base + page as u64 * PAGE, operand);
            let done = page * PAGE as usize;
            let made = 10 * (done / 8).div_ceil(3);
            assert_eq!(record.bytes_completed as usize, done, "what was compared");
            assert_eq!((record.result, record.op_specific), (u8::from(page != 0), [made as u64, 0]));
            assert!(rig.bytes(RECORD, made) == delta[..made]);
            assert_eq!(rig.bytes(RECORD + made as u64, 10), [0; 10]);
        }
    }
}

#[test]
fn a_fault_in_each_page_of_the_delta_record_does_not_count_the_difference_that_found_no_place() {
    for (page, made) in [(0, 0), (1, 10), (2, 10 + 10 * 409)] {
        let (rig, _, _, delta) = set_up();
        let absent = DST2 + page * PAGE;
        rig.absent(absent);
        let record = rig.run(&create_delta(SRC, DST, SIZE, RECORD, 6000));
        faulted(&record, WRITE_FAULT, RECORD.max(absent), 3);
        // Every third unit makes an entry: the next one is the one that could not be written.
        assert_eq!(record.bytes_completed, made as u32 / 10 * 24);
        assert_eq!((record.result, record.op_specific), (u8::from(made != 0), [made, 0]));
        rig.memory.set_present(absent, PAGE, true).unwrap();
        assert!(rig.bytes(RECORD, made as usize) == delta[..made as usize]);
        assert_eq!(rig.bytes(RECORD + made, 10), [0; 10], "no part of an entry is written");
    }
}

/// All pages are away at first and come back when they are asked for. Software appends to the delta record, and corrects
/// the offsets of what it appends.
#[test]
fn a_creation_resumed_after_each_fault_makes_the_same_delta_record() {
    let (rig, _, _, expected) = set_up();
    for base in [SRC, DST, DST2] {
        rig.memory.set_present(base, LEN, false).unwrap();
    }
    let (mut done, mut delta, mut rounds) = (0u32, Vec::new(), 0);
    loop {
        let (from, made) = (u64::from(done), delta.len() as u64);
        let record = rig.run(&create_delta(SRC + from, DST + from, SIZE - done, RECORD + made, 6000 - made as u32));
        let new = rig.bytes(RECORD + made, record.op_specific[0] as usize);
        for entry in new.chunks(10) {
            let offset = u16::from_le_bytes([entry[0], entry[1]]) + (done / 8) as u16;
            delta.extend([&offset.to_le_bytes()[..], &entry[2..]].concat());
        }
        if record.status == status::SUCCESS {
            break;
        }
        assert_eq!(record.status & status::CODE_MASK, status::PAGE_FAULT);
        assert_eq!(record.result, u8::from(!new.is_empty()));
        rig.memory.set_present(record.fault_addr & !(PAGE - 1), PAGE, true).unwrap();
        done += record.bytes_completed;
        rounds += 1;
        assert!(rounds <= 9, "more faults than pages");
    }
    assert_eq!(rounds, 9, "three pages of each source and of the delta record");
    assert!(delta == expected);
}

#[test]
fn a_fault_in_each_page_of_an_applied_delta_record_or_of_the_destination() {
    // The page, the bytes of the delta record that are applied before it is reached, and whose page it is.
    let places = [
        (DST2, 0, 1),
        (DST2 + PAGE, 10, 1),
        (DST2 + 2 * PAGE, 4100, 1),
        (SRC, 0, 3),
        (SRC + PAGE, 1710, 3),
        (SRC + 2 * PAGE, 3420, 3),
    ];
    for (page, done, operand) in places {
        let (rig, old, new, delta) = set_up();
        rig.put(RECORD, &delta);
        rig.absent(page);
        let d = apply_delta(RECORD, delta.len() as u32, SRC, SIZE);
        let record = rig.run(&d);
        let code = if operand == 3 { WRITE_FAULT } else { status::PAGE_FAULT };
        assert_eq!((record.status, record.fault_info >> 1), (code, operand));
        assert_eq!(record.fault_addr & !(PAGE - 1), page);
        assert_eq!(u64::from(record.bytes_completed), done, "bytes of the delta record at {page:#x}");
        assert_eq!(record.op_specific, [0; 2]);
        // The entries that count are applied, the others are not.
        let applied = 3 * (done as usize / 10) * 8;
        let expected = [&new[..applied], &old[applied..]].concat();
        assert!(rig.bytes(SRC, SIZE as usize) == expected);
        // The rest of the delta record, for the same destination.
        rig.memory.set_present(page, PAGE, true).unwrap();
        let rest = apply_delta(RECORD + done, delta.len() as u32 - done as u32, SRC, SIZE);
        assert_eq!(rig.status(&rest), status::SUCCESS);
        assert!(rig.bytes(SRC, SIZE as usize) == new);
    }
}

#[test]
fn an_application_resumed_after_each_fault_gives_the_same_bytes() {
    let (rig, _, new, delta) = set_up();
    rig.put(RECORD, &delta);
    for base in [SRC, DST2] {
        rig.memory.set_present(base, LEN, false).unwrap();
    }
    let (mut done, mut rounds) = (0u32, 0);
    loop {
        let record = rig.run(&apply_delta(RECORD + u64::from(done), delta.len() as u32 - done, SRC, SIZE));
        if record.status == status::SUCCESS {
            break;
        }
        rig.memory.set_present(record.fault_addr & !(PAGE - 1), PAGE, true).unwrap();
        done += record.bytes_completed;
        rounds += 1;
        assert!(rounds <= 6, "more faults than pages");
    }
    assert_eq!(rounds, 6);
    rig.memory.set_present(SRC, LEN, true).unwrap();
    assert!(rig.bytes(SRC, SIZE as usize) == new);
}

#[test]
fn refused_page_requests_end_with_0x04_and_granted_ones_do_not_end_anything() {
    let operations: [(Descriptor, &[(u64, u8)]); 2] = [
        (create_delta(SRC, DST, SIZE, RECORD, 6000), &[(SRC + PAGE, 1), (DST, 2), (DST2 + PAGE, 3)]),
        (apply_delta(RECORD, 5120, SRC, SIZE), &[(DST2 + PAGE, 1), (SRC + 2 * PAGE, 3)]),
    ];
    for (d, places) in operations {
        for (page, operand) in places {
            let (rig, _, new, delta) = set_up();
            rig.put(RECORD, &delta);
            rig.absent(*page);
            let d = with_flags(d, BOF);
            let record = rig.run(&d);
            let write = if *operand == 3 { status::FAULT_WRITE } else { 0 };
            assert_eq!((record.status, record.fault_info >> 1), (status::PAGE_RESPONSE | write, *operand));
            assert_eq!(record.fault_addr & !(PAGE - 1), *page);
            assert_eq!(rig.device.counters().page_faults, 1);
            rig.memory.set_resolvable(*page, PAGE, true).unwrap();
            let record = rig.run(&d);
            assert_eq!((record.status, record.bytes_completed), (status::SUCCESS, 0));
            assert_eq!(rig.device.counters().page_faults, 2, "one request brings the page in");
            assert!(rig.bytes(RECORD, delta.len()) == delta);
            if d.opcode() == idxd_sys::opcode::AP_DELTA {
                assert!(rig.bytes(SRC, SIZE as usize) == new);
            }
        }
    }
}

/// A fault that cuts a unit or an entry in two: neither half counts, and nothing of it is written.
#[test]
fn units_and_entries_are_done_as_a_whole() {
    for cut in 1..8 {
        for (base, operand) in [(SRC, 1), (DST, 2)] {
            let (rig, ..) = set_up();
            let at = base + 24 + cut;
            rig.device.inject(FaultRule::new(Effect::PageFault { resolvable: false }).at(at..at + 1));
            let record = rig.run(&create_delta(SRC, DST, SIZE, RECORD, 6000));
            faulted(&record, status::PAGE_FAULT, at, operand);
            assert_eq!((record.bytes_completed, record.op_specific[0]), (24, 10));
        }
        let (rig, old, _, delta) = set_up();
        rig.put(RECORD, &delta);
        let at = SRC + 24 + cut;
        let rule = FaultRule::new(Effect::PageFault { resolvable: false }).at(at..at + 1).access(Access::Write);
        rig.device.inject(rule);
        let record = rig.run(&apply_delta(RECORD, 5120, SRC, SIZE));
        faulted(&record, WRITE_FAULT, at, 3);
        assert_eq!(record.bytes_completed, 10);
        assert_eq!(rig.bytes(SRC + 24, 8), old[24..32]);
    }
    for cut in 1..10 {
        let (rig, _, _, delta) = set_up();
        let at = RECORD + 30 + cut;
        rig.device.inject(FaultRule::new(Effect::PageFault { resolvable: false }).at(at..at + 1));
        let record = rig.run(&create_delta(SRC, DST, SIZE, RECORD, 6000));
        faulted(&record, WRITE_FAULT, at, 3);
        assert_eq!((record.bytes_completed, record.op_specific[0]), (72, 30));
        assert_eq!((rig.bytes(RECORD, 30), rig.bytes(RECORD + 30, 10)), (delta[..30].to_vec(), vec![0; 10]));
        rig.put(RECORD, &delta);
        let record = rig.run(&apply_delta(RECORD, 5120, SRC, SIZE));
        faulted(&record, status::PAGE_FAULT, at, 1);
        assert_eq!(record.bytes_completed, 30);
    }
}

#[test]
fn injected_faults_reach_every_operand() {
    let (rig, _, _, delta) = set_up();
    rig.put(RECORD, &delta);
    let create = create_delta(SRC, DST, SIZE, RECORD, 6000);
    let apply = apply_delta(RECORD, 5120, SRC, SIZE);
    for (d, access, fires) in [
        (create, Access::Read, true),
        (create, Access::Write, true),
        (apply, Access::Read, true),
        (apply, Access::Write, true),
        (translation_fetch(SRC, SIZE), Access::Read, true),
        (translation_fetch(SRC, SIZE), Access::Write, false),
    ] {
        let id = rig.device.inject(FaultRule::new(Effect::PageFault { resolvable: false }).access(access));
        let status = rig.status(&d) & status::CODE_MASK;
        assert_eq!(status == status::PAGE_FAULT, fires);
        assert_eq!(rig.device.remove(id), Some(u64::from(fires)));
    }
}

#[test]
fn regions_that_wrap_around_end_as_faults() {
    let (rig, ..) = set_up();
    let top = 0u64.wrapping_sub(PAGE);
    rig.memory.map(top, PAGE, dsa_emulator::Permission::ReadWrite).unwrap();
    let all_equal = create_delta(top, DST2 + 2 * PAGE, 2 * P, LIST, 80);
    let record = rig.run(&all_equal);
    faulted(&record, status::PAGE_FAULT, u64::MAX, 1);
    assert_eq!(record.bytes_completed, P);
    let record = rig.run(&create_delta(SRC, DST, SIZE, u64::MAX - 14, 80));
    faulted(&record, WRITE_FAULT, u64::MAX, 3);
    assert_eq!((record.bytes_completed, record.op_specific[0]), (24, 10), "one entry fits below the top");
    rig.put(LIST, &[&0u16.to_le_bytes()[..], &[1; 8], &0x200u16.to_le_bytes(), &[2; 8]].concat());
    let record = rig.run(&apply_delta(LIST, 20, top, 2 * P));
    faulted(&record, WRITE_FAULT, u64::MAX, 3);
    assert_eq!(record.bytes_completed, 10);
    let record = rig.run(&apply_delta(u64::MAX - 14, 20, SRC, SIZE));
    faulted(&record, status::PAGE_FAULT, u64::MAX, 1);
    assert_eq!(record.bytes_completed, 10);
}
