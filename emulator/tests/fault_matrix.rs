//! Faults on every operand of every operation, in every page of overlapping moves, and what is left to be resumed.

mod common;

use common::*;
use dsa_emulator::Config;
use idxd_sys::{Descriptor, flag, opcode, status};

const P: u32 = PAGE as u32;

/// A page that is taken away, the operand number of the fault, and whether the access is a write.
type Place = (u64, u8, bool);

/// Two pages for each operand, and the operands that can fault.
fn operations() -> Vec<(Descriptor, Vec<Place>)> {
    let seeded = |d: Descriptor| {
        let d = Descriptor { op_specific: [0, DST2 + PAGE, 0], ..d };
        with_flags(d, CR | flag::CRC_READ_SEED)
    };
    let (source, second) = ((SRC + PAGE, 1, false), (DST + PAGE, 2, false));
    let destination = (DST + PAGE, 3, true);
    vec![
        (memmove(SRC, DST, 2 * P), vec![source, destination]),
        (fill(DST, 0, 2 * P), vec![destination]),
        (compare(SRC, DST, 2 * P), vec![source, second]),
        (compare_pattern(SRC, 0, 2 * P), vec![source]),
        (dualcast(SRC, DST, DST2, 2 * P), vec![source, destination, (DST2 + PAGE, 4, true)]),
        (crc(SRC, 2 * P, 0, 0), vec![source]),
        (copy_crc(SRC, DST, 2 * P, 0, 0), vec![source, destination]),
        (cache_flush(DST, 2 * P), vec![(DST + PAGE, 3, false)]),
        (seeded(crc(SRC, 2 * P, 0, 0)), vec![(DST2 + PAGE, 2, false)]),
        (seeded(copy_crc(SRC, DST, 2 * P, 0, 0)), vec![(DST2 + PAGE, 2, false)]),
    ]
}

#[test]
fn each_operand_faults_with_0x03_or_0x04_and_bit_7_for_writes() {
    for (d, places) in operations() {
        for (page, operand, write) in places {
            for (bof, code) in [(0, status::PAGE_FAULT), (flag::BLOCK_ON_FAULT, status::PAGE_RESPONSE)] {
                let rig = rig();
                rig.absent(page);
                let d = with_flags(d, d.flags() | bof);
                let record = rig.run(&d);
                let at = format!("{} at {page:#x}", opcode::name(d.opcode()).unwrap());
                let expected = code | if write { status::FAULT_WRITE } else { 0 };
                assert_eq!((record.status, record.fault_addr), (expected, page), "{at}");
                assert_eq!(record.fault_info >> 1, operand, "{at}");
                let seed = operand == 2 && d.opcode() != opcode::COMPARE;
                assert_eq!(record.bytes_completed, if seed { 0 } else { P }, "{at}");
                rig.memory.set_present(page, PAGE, true).unwrap();
                assert_eq!(rig.status(&d), status::SUCCESS, "{at}");
            }
        }
    }
}

#[test]
fn lists_and_readbacks_fault_with_their_own_status_and_without_bit_7() {
    let rig = rig();
    let list = Descriptor { src_addr: LIST, xfer_size: 2, ..desc(opcode::BATCH, 0) };
    let first = Descriptor { src_addr: LIST + 8, ..desc(opcode::DRAIN, flag::DRAIN_READBACK_1) };
    let second = Descriptor { dst_addr: LIST + 8, ..desc(opcode::DRAIN, flag::DRAIN_READBACK_2) };
    rig.absent(LIST);
    for (d, code, operand) in
        [(list, status::BATCH_LIST_FAULT, 1), (first, status::DRAIN_FAULT, 1), (second, status::DRAIN_FAULT, 2)]
    {
        let record = rig.run(&d);
        assert_eq!((record.status, record.fault_info >> 1, record.bytes_completed), (code, operand, 0));
        assert_eq!(record.fault_addr & !(PAGE - 1), LIST);
    }
}

/// Every page is away at first and comes back when it is asked for, so each move faults once a page, in whichever
/// direction it then runs. A reversed partial completion shrinks the move, a forward one advances it.
#[test]
fn overlapping_moves_survive_a_fault_in_each_page() {
    let len = 3 * PAGE + 100;
    let base = SRC + 8 * PAGE;
    for backward in [0.0, 1.0] {
        let mut reversed = 0;
        for shift in [0_i64, 1, 7, 64, 4095, 4096, 4097, 9000, 12_387, 12_388, 20_000] {
            for shift in [shift, -shift] {
                let rig = rig_of(Config::granite_rapids().backward_moves(backward));
                let mut model = noise(LEN as usize, shift.unsigned_abs() as u32);
                rig.put(SRC, &model);
                rig.memory.set_present(SRC, LEN, false).unwrap();
                let (mut src, mut dst, mut left) = (base + 50, (base + 50).wrapping_add_signed(shift), len as u32);
                let (from, to) = ((src - SRC) as usize, (dst - SRC) as usize);
                model.copy_within(from..from + len as usize, to);
                let mut rounds = 0;
                loop {
                    let record = rig.run(&memmove(src, dst, left));
                    if record.status == status::SUCCESS {
                        break;
                    }
                    assert_eq!(record.status & status::CODE_MASK, status::PAGE_FAULT, "shift {shift}");
                    rig.memory.set_present(record.fault_addr & !(PAGE - 1), PAGE, true).unwrap();
                    if record.result == 0 {
                        src += u64::from(record.bytes_completed);
                        dst += u64::from(record.bytes_completed);
                    }
                    left -= record.bytes_completed;
                    reversed += u32::from(record.result);
                    rounds += 1;
                    assert!(rounds <= 16, "more faults than pages");
                }
                assert!(rounds >= 4, "shift {shift}: {rounds} faults in at least four pages");
                rig.memory.set_present(SRC, LEN, true).unwrap();
                assert!(rig.bytes(SRC, LEN as usize) == model, "shift {shift}");
            }
        }
        assert!(reversed > 0, "some moves must have run backwards");
    }
}

#[test]
fn a_wide_pattern_continues_after_rotation() {
    let rig = rig();
    let pattern = 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100_u128;
    let wide = |at: u64, pattern: u128, len: u32| {
        let d = with_flags(fill(at, pattern as u64, len), CR | flag::FILL_16);
        Descriptor { op_specific: [(pattern >> 64) as u64, 0, 0], ..d }
    };
    rig.absent(DST + PAGE);
    let record = rig.run(&wide(DST + 5, pattern, 2 * P));
    let done = record.bytes_completed;
    assert_eq!((record.status, done), (status::PAGE_FAULT | status::FAULT_WRITE, P - 5));
    rig.memory.set_present(DST + PAGE, PAGE, true).unwrap();
    let rest = wide(DST + 5 + u64::from(done), pattern.rotate_right(done % 16 * 8), 2 * P - done);
    assert_eq!(rig.status(&rest), status::SUCCESS);
    let bytes = rig.bytes(DST + 5, 2 * PAGE as usize);
    assert!(bytes.iter().enumerate().all(|(i, b)| *b == (i % 16) as u8));
}

/// A pattern comparison that is resumed in the middle of the pattern finds what the whole one would have found.
#[test]
fn a_pattern_comparison_continues_after_rotation() {
    let pattern = 0x0807_0605_0403_0201_u64;
    let bytes: Vec<u8> = pattern.to_le_bytes().into_iter().cycle().take(2 * PAGE as usize).collect();
    for wrong in [None, Some(PAGE), Some(2 * PAGE - 1)] {
        let rig = rig();
        rig.put(SRC + 3, &bytes);
        if let Some(wrong) = wrong {
            rig.put(SRC + 3 + wrong, &[0xff]);
        }
        rig.absent(SRC + PAGE);
        let record = rig.run(&compare_pattern(SRC + 3, pattern, 2 * P));
        let done = record.bytes_completed;
        assert_eq!((record.status, record.result, done), (status::PAGE_FAULT, 0, P - 3));
        rig.memory.set_present(SRC + PAGE, PAGE, true).unwrap();
        let rotated = pattern.rotate_right(done % 8 * 8);
        let rest = rig.run(&compare_pattern(SRC + 3 + u64::from(done), rotated, 2 * P - done));
        assert_eq!((rest.status, rest.result), (status::SUCCESS, u8::from(wrong.is_some())));
        if let Some(wrong) = wrong {
            let bound = u64::from(done + rest.bytes_completed);
            assert!(bound <= wrong && wrong < bound + 8, "{bound} for {wrong}");
        }
    }
}
