//! Faults on every page of both operands of the data-integrity operations, and what is left to be resumed.

mod common;
mod integrity;

use common::*;
use dsa_emulator::{Effect, FaultRule, Permission};
use idxd_sys::{CompletionRecord, Descriptor, flag, opcode, status};
use integrity::*;

const BOF: u32 = CR | flag::BLOCK_ON_FAULT;
const WRITE_FAULT: u8 = status::PAGE_FAULT | status::FAULT_WRITE;
const SOURCE: Side = Side::new(u32::MAX - 2, 0x00ff, 0x12fe, 0x10);
const DESTINATION: Side = Side::new(77, 0xf000, 0xffff, 0x10);
const SIDES: [&Side; 2] = [&SOURCE, &DESTINATION];

/// Operation, blocks and DIF flags that make at least three pages of whatever has any.
fn cases() -> impl Iterator<Item = (u8, usize, u8)> {
    ALL.into_iter().flat_map(|code| [(17, 0), (17, 1), (4, 2), (4, 3)].map(|(blocks, flags)| (code, blocks, flags)))
}

/// Not at the start of a page, so that blocks lie across the pages' ends.
const FROM: u64 = SRC + 100;

fn to(code: u8) -> u64 {
    // Few tuples are written, and they are aligned: let them reach into a second page.
    if code == opcode::DIX_GEN { DST + PAGE - 16 } else { DST + 77 }
}

/// A rig with the source in place, the data, and the operation.
fn set_up(code: u8, blocks: usize, dif_flags: u8) -> (Rig, Vec<u8>, Descriptor) {
    let rig = rig();
    let data = noise(blocks * BLOCKS[usize::from(dif_flags & 3)], 9);
    rig.put(FROM, &if checks(code) { protect(&data, dif_flags, &SOURCE) } else { data.clone() });
    (rig, data, descriptor(code, FROM, to(code), blocks, dif_flags, SIDES))
}

/// Each page of an operand: its first byte that belongs to the operand.
fn pages(at: u64, len: u64) -> Vec<u64> {
    let first = at & !(PAGE - 1);
    if len == 0 { Vec::new() } else { (first..at + len).step_by(PAGE as usize).map(|page| page.max(at)).collect() }
}

fn written(d: &Descriptor) -> u64 {
    let (from, to) = strides(d.opcode(), BLOCKS[usize::from(d.op_u8(42) & 3)]);
    u64::from(d.xfer_size) / from as u64 * to as u64
}

#[test]
fn a_fault_in_each_page_ends_with_whole_blocks_and_the_tags_of_the_next() {
    for (code, blocks, dif_flags) in cases() {
        let (_, _, d) = set_up(code, blocks, dif_flags);
        let (from, to) = strides(code, BLOCKS[usize::from(dif_flags & 3)]);
        let source = pages(d.src_addr, u64::from(d.xfer_size)).into_iter().map(|at| (at, 1, d.src_addr, from));
        let destination = pages(d.dst_addr, written(&d)).into_iter().map(|at| (at, 3, d.dst_addr, to));
        for (at, operand, base, stride) in source.chain(destination) {
            let (rig, data, d) = set_up(code, blocks, dif_flags);
            rig.absent(at & !(PAGE - 1));
            let record = rig.run(&d);
            let name = format!("{} {dif_flags} at {at:#x}", opcode::name(code).unwrap());
            let expected = if operand == 3 { WRITE_FAULT } else { status::PAGE_FAULT };
            assert_eq!((record.status, record.fault_addr, record.fault_info >> 1), (expected, at, operand), "{name}");
            let done = (at - base) as usize / stride;
            assert_eq!(record.bytes_completed as usize, done * from, "{name}: source bytes");
            assert_eq!((record.result, record.op_specific), (0, tags_after(code, SIDES, done)), "{name}");
            // Nothing is written of the block that is not done.
            rig.memory.set_present(at & !(PAGE - 1), PAGE, true).unwrap();
            let mut whole = outcome(code, &data, dif_flags, &DESTINATION);
            whole[done * to..].fill(0);
            assert!(rig.bytes(d.dst_addr, if to == 0 { 0 } else { whole.len() }) == whole, "{name}");
            // The rest, with addresses, size and tags from the record.
            let rest = resumed(&d, &record);
            let ended = rig.run(&rest);
            assert_eq!((ended.status, ended.bytes_completed), (status::SUCCESS, 0), "{name}");
            assert_eq!(ended.op_specific, tags_after(code, SIDES, blocks), "{name}: as in one go");
            let expected = outcome(code, &data, dif_flags, &DESTINATION);
            assert!(expected.is_empty() || rig.bytes(d.dst_addr, expected.len()) == expected, "{name}");
        }
    }
}

/// Every page is away at first and comes back when it is asked for.
#[test]
fn operations_survive_a_fault_in_every_page() {
    for (code, blocks, dif_flags) in cases() {
        let (rig, data, d) = set_up(code, blocks, dif_flags);
        for base in [SRC, DST] {
            rig.memory.set_present(base, LEN, false).unwrap();
        }
        let total = pages(d.src_addr, u64::from(d.xfer_size)).len() + pages(d.dst_addr, written(&d)).len();
        let (mut rest, mut rounds) = (d, 0);
        let record = loop {
            let record = rig.run(&rest);
            if record.status & status::CODE_MASK != status::PAGE_FAULT {
                break record;
            }
            rig.memory.set_present(record.fault_addr & !(PAGE - 1), PAGE, true).unwrap();
            rest = resumed(&rest, &record);
            rounds += 1;
            assert!(rounds <= total, "more faults than pages");
        };
        assert_eq!((record.status, rounds), (status::SUCCESS, total), "{}", opcode::name(code).unwrap());
        assert_eq!(record.op_specific, tags_after(code, SIDES, blocks));
        let expected = outcome(code, &data, dif_flags, &DESTINATION);
        rig.memory.set_present(DST, LEN, true).unwrap();
        assert!(expected.is_empty() || rig.bytes(d.dst_addr, expected.len()) == expected);
    }
}

#[test]
fn block_on_fault_brings_all_pages_in_or_ends_with_0x04() {
    for (code, blocks, dif_flags) in cases() {
        let (rig, data, d) = set_up(code, blocks, dif_flags);
        let d = with_flags(d, BOF);
        for base in [SRC, DST] {
            rig.memory.set_present(base, LEN, false).unwrap();
            rig.memory.set_resolvable(base, LEN, true).unwrap();
        }
        let record = rig.run(&d);
        let expected =
            CompletionRecord { status: 1, op_specific: tags_after(code, SIDES, blocks), ..CompletionRecord::default() };
        assert_eq!(record, expected, "{}", opcode::name(code).unwrap());
        let total = pages(d.src_addr, u64::from(d.xfer_size)).len() + pages(d.dst_addr, written(&d)).len();
        assert_eq!(rig.device.counters().page_faults, total as u64, "one request a page");
        let expected = outcome(code, &data, dif_flags, &DESTINATION);
        assert!(expected.is_empty() || rig.bytes(d.dst_addr, expected.len()) == expected);
        // The second page of each operand is refused.
        for (base, operand, len) in [(d.src_addr, 1, u64::from(d.xfer_size)), (d.dst_addr, 3, written(&d))] {
            if let Some(at) = pages(base, len).get(1) {
                rig.absent(*at);
                rig.memory.set_resolvable(*at, PAGE, false).unwrap();
                let record = rig.run(&d);
                let write = if operand == 3 { status::FAULT_WRITE } else { 0 };
                assert_eq!((record.status, record.fault_addr), (status::PAGE_RESPONSE | write, *at));
                assert_eq!(record.fault_info >> 1, operand);
                rig.memory.set_present(*at, PAGE, true).unwrap();
            }
        }
    }
}

#[test]
fn a_page_that_may_not_be_written_faults_like_one_that_is_not_there() {
    for code in [opcode::DIF_INS, opcode::DIF_STRP, opcode::DIF_UPDT, opcode::DIX_GEN] {
        let (rig, _, d) = set_up(code, 4, 2);
        rig.memory.protect(d.dst_addr & !(PAGE - 1), PAGE, Permission::ReadOnly).unwrap();
        let record = rig.run(&d);
        assert_eq!((record.status, record.fault_addr, record.bytes_completed), (WRITE_FAULT, d.dst_addr, 0));
        assert_eq!(record.op_specific, tags_after(code, SIDES, 0), "the seeds, as nothing was done");
    }
}

/// Faults inside of a page cut blocks, and even tuples.
#[test]
fn injected_faults_cut_blocks_and_tuples() {
    for (code, _, _) in cases() {
        for byte in [0u64, 1, 511, 512, 515, 519, 520, 521] {
            let (rig, data, d) = set_up(code, 3, 0);
            let (from, to) = strides(code, 512);
            let id = rig
                .device
                .inject(FaultRule::new(Effect::PageFault { resolvable: false }).at(FROM + byte..FROM + byte + 1));
            let record = rig.run(&d);
            assert_eq!((record.status, record.fault_addr), (status::PAGE_FAULT, FROM + byte));
            assert_eq!(record.bytes_completed as usize, byte as usize / from * from);
            rig.device.remove(id);
            let at = d.dst_addr + byte % (3 * to as u64).max(1);
            if code != opcode::DIF_CHECK {
                let id = rig.device.inject(FaultRule::new(Effect::PageFault { resolvable: false }).at(at..at + 1));
                let record = rig.run(&d);
                assert_eq!((record.status, record.fault_addr), (WRITE_FAULT, at));
                assert_eq!(record.bytes_completed as usize, (at - d.dst_addr) as usize / to * from);
                rig.device.remove(id);
                assert_eq!(rig.status(&resumed(&d, &record)), status::SUCCESS);
                let expected = outcome(code, &data, 0, &DESTINATION);
                assert!(rig.bytes(d.dst_addr, expected.len()) == expected);
            }
        }
    }
}

#[test]
fn injected_faults_reach_both_operands() {
    for code in ALL {
        let (rig, _, d) = set_up(code, 3, 1);
        for (at, there) in [
            (FROM + u64::from(d.xfer_size) - 1, true),
            (FROM + u64::from(d.xfer_size), false),
            (d.dst_addr.wrapping_add(written(&d)).wrapping_sub(1), code != opcode::DIF_CHECK),
            (d.dst_addr.wrapping_add(written(&d)), false),
        ] {
            let rule = FaultRule::new(Effect::PageFault { resolvable: false }).at(at..at.saturating_add(1));
            let id = rig.device.inject(rule);
            let record = rig.run(&d);
            assert_eq!(record.status & status::CODE_MASK == status::PAGE_FAULT, there, "{at:#x}: {record:?}");
            assert_eq!(rig.device.remove(id), Some(u64::from(there)));
        }
    }
}

#[test]
fn regions_that_wrap_around_end_as_faults() {
    for code in ALL {
        let rig = rig();
        let top = 0u64.wrapping_sub(PAGE);
        rig.memory.map(top, PAGE, Permission::ReadWrite).unwrap();
        let (from, to) = strides(code, 512);
        let fixed = Side::new(0, 0, 0, 0x80);
        // One block fits below the end of the address space, to the byte or the tuple.
        let record = rig.run(&descriptor(code, 0u64.wrapping_sub(from as u64), DST, 2, 0, [&fixed, &fixed]));
        assert_eq!((record.status, record.bytes_completed), (status::PAGE_FAULT, from as u32));
        assert_eq!(record.fault_addr, u64::MAX);
        if to != 0 {
            let record = rig.run(&descriptor(code, SRC, 0u64.wrapping_sub(to as u64), 2, 0, [&fixed, &fixed]));
            assert_eq!((record.status, record.bytes_completed), (WRITE_FAULT, from as u32));
            assert_eq!(record.fault_addr, u64::MAX);
        }
    }
}
