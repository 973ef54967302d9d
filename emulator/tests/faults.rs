//! Page faults, block on fault, and injected trouble.

mod common;

use std::time::{Duration, Instant};

use common::*;
use dsa_emulator::{Access, Config, Effect, FaultRule, Permission, WqConfig};
use idxd_sys::{Descriptor, flag, opcode, status};

const P: u32 = PAGE as u32;
const BOF: u32 = CR | flag::BLOCK_ON_FAULT;
const WRITE_FAULT: u8 = status::PAGE_FAULT | status::FAULT_WRITE;

#[test]
fn a_read_fault_ends_a_move_partially() {
    let rig = rig();
    let data = noise(3 * PAGE as usize, 2);
    rig.put(SRC, &data);
    rig.absent(SRC + 2 * PAGE);
    let record = rig.run(&memmove(SRC + 100, DST, 3 * P - 100));
    assert_eq!((record.status, record.result), (status::PAGE_FAULT, 0));
    assert_eq!(record.bytes_completed, 2 * P - 100);
    assert_eq!(record.fault_addr, SRC + 2 * PAGE);
    assert_eq!(record.fault_info >> 1, 1, "the source");
    assert_eq!(rig.bytes(DST, 2 * PAGE as usize - 100), data[100..2 * PAGE as usize]);
    assert_eq!(rig.bytes(DST + 2 * PAGE - 100, 100), [0; 100], "nothing beyond the bytes completed");
}

#[test]
fn a_write_fault_sets_bit_7() {
    let rig = rig();
    rig.absent(DST + PAGE);
    let record = rig.run(&memmove(SRC, DST, 2 * P));
    assert_eq!((record.status, record.bytes_completed, record.fault_addr), (WRITE_FAULT, P, DST + PAGE));
    assert_eq!(record.fault_info >> 1, 3, "the destination");
}

#[test]
fn version_1_has_no_fault_information() {
    let rig = rig_of(Config::sapphire_rapids());
    rig.absent(DST);
    let record = rig.run(&memmove(SRC, DST, 8));
    assert_eq!((record.status, record.fault_info), (WRITE_FAULT, 0));
}

#[test]
fn forbidden_accesses_fault_as_absent_pages_do() {
    let rig = rig();
    rig.memory.protect(DST, PAGE, Permission::ReadOnly).unwrap();
    rig.memory.protect(SRC, PAGE, Permission::WriteOnly).unwrap();
    assert_eq!(rig.status(&fill(DST, 1, 8)), WRITE_FAULT);
    assert_eq!(rig.status(&crc(SRC, 8, 0, 0)), status::PAGE_FAULT);
    assert_eq!(rig.status(&compare(DST, DST, 8)), status::SUCCESS);
}

#[test]
fn a_move_to_a_higher_overlapping_address_runs_backwards() {
    let rig = rig();
    let data = noise(4 * PAGE as usize, 3);
    rig.put(SRC, &data);
    // The first destination page is read-only, so the move ends before its last step.
    rig.memory.protect(SRC + PAGE, PAGE, Permission::ReadOnly).unwrap();
    let record = rig.run(&memmove(SRC, SRC + PAGE, 3 * P));
    assert_eq!((record.status, record.result), (WRITE_FAULT, 1));
    assert_eq!(record.bytes_completed, 2 * P);
    // Resume: the size shrinks, the addresses stay.
    rig.memory.protect(SRC + PAGE, PAGE, Permission::ReadWrite).unwrap();
    assert_eq!(rig.status(&memmove(SRC, SRC + PAGE, 3 * P - record.bytes_completed)), status::SUCCESS);
    assert_eq!(rig.bytes(SRC + PAGE, 3 * PAGE as usize), data[..3 * PAGE as usize]);
}

#[test]
fn moves_run_backwards_at_random_if_configured() {
    let rig = rig_of(Config::sapphire_rapids().backward_moves(0.5).seed(4));
    let mut directions = [0; 2];
    for round in 0..60 {
        let data = noise(3 * PAGE as usize, round);
        rig.put(SRC, &data);
        rig.put(DST, &vec![0; 3 * PAGE as usize]);
        rig.absent(DST + PAGE);
        let record = rig.run(&memmove(SRC + 7, DST + 9, 3 * P - 20));
        assert_eq!(record.status, WRITE_FAULT);
        let done = u64::from(record.bytes_completed);
        rig.memory.set_present(DST + PAGE, PAGE, true).unwrap();
        let rest = 3 * P - 20 - record.bytes_completed;
        let resume = if record.result == 0 {
            assert_eq!(done, PAGE - 9);
            memmove(SRC + 7 + done, DST + 9 + done, rest)
        } else {
            assert_eq!(done, PAGE - 11);
            memmove(SRC + 7, DST + 9, rest)
        };
        assert_eq!(rig.status(&resume), status::SUCCESS);
        assert_eq!(rig.bytes(DST + 9, 3 * PAGE as usize - 20), data[7..3 * PAGE as usize - 13]);
        directions[usize::from(record.result)] += 1;
    }
    assert!(directions.iter().all(|n| *n > 15), "{directions:?}");
}

#[test]
fn a_fill_stops_at_the_fault_and_its_pattern_continues_after_rotation() {
    let rig = rig();
    rig.absent(DST + PAGE);
    let pattern = 0x0807_0605_0403_0201u64;
    let record = rig.run(&fill(DST + 3, pattern, 2 * P));
    assert_eq!((record.status, record.bytes_completed), (WRITE_FAULT, P - 3));
    rig.memory.set_present(DST + PAGE, PAGE, true).unwrap();
    let done = record.bytes_completed;
    let rotated = pattern.rotate_right(done % 8 * 8);
    assert_eq!(rig.status(&fill(DST + 3 + u64::from(done), rotated, 2 * P - done)), status::SUCCESS);
    let bytes = rig.bytes(DST + 3, 2 * PAGE as usize);
    assert!(bytes.iter().enumerate().all(|(i, b)| *b == (i % 8 + 1) as u8));
}

#[test]
fn a_difference_before_the_fault_wins_and_one_behind_it_is_not_seen() {
    let rig = rig();
    rig.put(SRC + PAGE - 1, &[1, 2, 3]);
    rig.put(DST + PAGE - 1, &[1, 2, 3]);
    rig.absent(SRC + PAGE);
    let record = rig.run(&compare(SRC, DST, 2 * P));
    assert_eq!((record.status, record.result, record.bytes_completed), (status::PAGE_FAULT, 0, P));
    rig.put(DST + 100, &[9]);
    let record = rig.run(&compare(SRC, DST, 2 * P));
    assert_eq!((record.status, record.result, record.bytes_completed), (status::SUCCESS, 1, 100));
    rig.put(DST + 100, &[0]);
    rig.put(DST + PAGE, &[99]);
    assert_eq!(rig.run(&compare(SRC, DST, 2 * P)).bytes_completed, P);
    rig.put(SRC + PAGE - 1, &[0]);
    let pattern = rig.run(&compare_pattern(SRC, 0, 2 * P));
    assert_eq!((pattern.status, pattern.result, pattern.bytes_completed), (status::PAGE_FAULT, 0, P));
}

#[test]
fn a_fault_in_either_dualcast_destination_stops_both() {
    for (page, operand) in [(DST + PAGE, 3), (DST2 + PAGE, 4), (SRC + PAGE, 1)] {
        let rig = rig();
        rig.put(SRC, &noise(2 * PAGE as usize, 5));
        rig.absent(page);
        let record = rig.run(&dualcast(SRC, DST, DST2, 2 * P));
        assert_eq!((record.bytes_completed, record.fault_addr, record.fault_info >> 1), (P, page, operand));
        rig.memory.set_present(page, PAGE, true).unwrap();
        assert_eq!(rig.bytes(DST, 2 * PAGE as usize), rig.bytes(DST2, 2 * PAGE as usize));
        assert_eq!(rig.bytes(DST + PAGE, PAGE as usize), vec![0; PAGE as usize]);
    }
}

#[test]
fn block_on_fault_continues_when_the_page_request_is_granted() {
    let rig = rig();
    let data = noise(3 * PAGE as usize, 6);
    rig.put(SRC, &data);
    for base in [SRC, DST] {
        rig.absent(base + PAGE);
        rig.memory.set_resolvable(base + PAGE, PAGE, true).unwrap();
    }
    assert_eq!(rig.status(&memmove(SRC, DST, 3 * P)), status::PAGE_FAULT, "the flag is off");
    assert_eq!(rig.status(&with_flags(memmove(SRC, DST, 3 * P), BOF)), status::SUCCESS);
    assert_eq!(rig.bytes(DST, 3 * PAGE as usize), data);
    assert_eq!(rig.device.counters().page_faults, 3);
}

#[test]
fn block_on_fault_ends_with_0x04_when_the_page_request_is_refused() {
    let rig = rig();
    rig.absent(DST + PAGE);
    let record = rig.run(&with_flags(fill(DST, 1, 2 * P), BOF));
    assert_eq!(record.status, status::PAGE_RESPONSE | status::FAULT_WRITE);
    assert_eq!((record.bytes_completed, record.fault_addr), (P, DST + PAGE));
    rig.absent(SRC);
    assert_eq!(rig.status(&with_flags(crc(SRC, 8, 0, 0), BOF)), status::PAGE_RESPONSE);
}

#[test]
fn records_block_whatever_the_flag_says() {
    let rig = rig_of(Config::sapphire_rapids());
    rig.absent(RECORDS);
    rig.memory.set_resolvable(RECORDS, PAGE, true).unwrap();
    assert_eq!(rig.status(&nop()), status::SUCCESS);
}

#[test]
fn drain_readbacks_are_read_and_fault_with_0x1f() {
    let rig = rig();
    let drain = desc(opcode::DRAIN, flag::DRAIN_READBACK_2);
    assert_eq!(rig.status(&Descriptor { dst_addr: DST, ..drain }), status::SUCCESS);
    let record = rig.run(&Descriptor { dst_addr: 0xdead_0000, ..drain });
    assert_eq!((record.status, record.fault_addr), (status::DRAIN_FAULT, 0xdead_0000));
    let first = Descriptor { src_addr: 0xdead_0000, ..desc(opcode::DRAIN, flag::DRAIN_READBACK_1) };
    assert_eq!(rig.status(&first), status::DRAIN_FAULT);
}

#[test]
fn drain_readbacks_block_whatever_the_flag_says() {
    let readbacks = [
        Descriptor { src_addr: DST, ..desc(opcode::DRAIN, flag::DRAIN_READBACK_1) },
        Descriptor { dst_addr: DST, ..desc(opcode::DRAIN, flag::DRAIN_READBACK_2) },
    ];
    for d in readbacks {
        let rig = rig();
        rig.absent(DST);
        rig.memory.set_resolvable(DST, PAGE, true).unwrap();
        assert_eq!(rig.status(&d), status::SUCCESS);
        assert_eq!(rig.device.counters().page_faults, 1);
    }
}

#[test]
fn a_cache_flush_needs_its_range() {
    let rig = rig();
    rig.absent(DST + PAGE);
    let record = rig.run(&cache_flush(DST + 5, 2 * P));
    assert_eq!((record.status, record.bytes_completed), (status::PAGE_FAULT, P - 5));
}

#[test]
fn fault_addresses_can_be_masked() {
    let mut config = Config::granite_rapids();
    config.mask_fault_address = true;
    let rig = rig_of(config);
    rig.absent(SRC);
    for offset in [1, 0x7ff, 0x800, 0xff8] {
        let record = rig.run(&memmove(SRC + offset, DST, 8));
        assert_eq!((record.fault_addr, record.fault_info), (SRC, 1 << 1 | 1));
    }
}

#[test]
fn an_injected_fault_stops_at_its_address_until_its_limit() {
    let rig = rig();
    rig.put(SRC, &noise(5000, 7));
    let rule = FaultRule::new(Effect::PageFault { resolvable: false }).at(DST + 50..DST + 51).limit(2);
    let id = rig.device.inject(rule);
    let record = rig.run(&memmove(SRC, DST, 5000));
    assert_eq!((record.status, record.bytes_completed, record.fault_addr), (WRITE_FAULT, 50, DST + 50));
    assert_eq!(rig.run(&memmove(SRC + 50, DST + 50, 100)).bytes_completed, 0, "and again");
    assert_eq!(rig.status(&memmove(SRC + 50, DST + 50, 4950)), status::SUCCESS, "twice, no more");
    assert_eq!(rig.bytes(DST, 5000), rig.bytes(SRC, 5000));
    assert_eq!(rig.device.remove(id), Some(2));
}

#[test]
fn injected_faults_can_be_limited_to_one_access() {
    let rig = rig();
    rig.device.inject(FaultRule::new(Effect::PageFault { resolvable: false }).at(SRC..SRC + LEN).access(Access::Write));
    assert_eq!(rig.status(&memmove(SRC, DST, 8)), status::SUCCESS);
    assert_eq!(rig.status(&memmove(DST, SRC, 8)), WRITE_FAULT);
}

#[test]
fn injected_faults_follow_block_on_fault() {
    for (resolvable, expected) in [(true, status::SUCCESS), (false, status::PAGE_RESPONSE | status::FAULT_WRITE)] {
        let rig = rig();
        rig.device.inject(FaultRule::new(Effect::PageFault { resolvable }).at(DST + 8..DST + 16));
        assert_eq!(rig.status(&with_flags(memmove(SRC, DST, 100), BOF)), expected);
        assert_eq!(rig.run(&memmove(SRC, DST, 100)).bytes_completed, 8);
    }
}

#[test]
fn random_faults_are_reproducible_and_resumable() {
    let run = |seed| {
        let rig = rig_of(Config::sapphire_rapids().seed(seed).backward_moves(0.3));
        rig.device.inject(FaultRule::new(Effect::PageFault { resolvable: false }).probability(0.4));
        let data = noise(10 * PAGE as usize, 8);
        rig.put(SRC, &data);
        let (mut at, mut left) = (33u64, 9 * P);
        let mut history = Vec::new();
        while left != 0 {
            let record = rig.run(&memmove(SRC + at, DST + at, left));
            history.push((record.status, record.result, record.bytes_completed));
            let done = if record.status == status::SUCCESS { left } else { record.bytes_completed };
            at += if record.result == 0 { u64::from(done) } else { 0 };
            left -= done;
            assert!(history.len() < 1000);
        }
        assert_eq!(rig.bytes(DST + 33, 9 * PAGE as usize), data[33..33 + 9 * PAGE as usize]);
        history
    };
    assert_eq!(run(11), run(11));
    assert!((0..20).any(|seed| run(seed).len() > 2));
}

#[test]
fn other_injected_effects() {
    let rig = rig();
    let with = |effect, d: &Descriptor| {
        let id = rig.device.inject(FaultRule::new(effect));
        let status = rig.status(d);
        assert_eq!(rig.device.remove(id), Some(1));
        status
    };
    rig.put(SRC, &[3; 8]);
    for code in [status::HW_READ, status::HW_WRITE, status::TRANSLATION] {
        assert_eq!(with(Effect::HardwareError(code), &memmove(SRC, DST, 8)), code);
    }
    assert_eq!(with(Effect::Lose, &memmove(SRC, DST, 8)), 0);
    assert_eq!(rig.device.counters().lost, 1);
    assert_eq!(rig.bytes(DST, 8), [0; 8]);
    assert_eq!(with(Effect::RecordFault, &memmove(SRC, DST, 8)), 0);
    assert_eq!(rig.device.software_error().unwrap().error, status::CR_FAULT);
    assert_eq!(rig.bytes(DST, 8), [3; 8]);
    let start = Instant::now();
    assert_eq!(with(Effect::Delay(Duration::from_millis(5)), &nop()), status::SUCCESS);
    assert!(start.elapsed() >= Duration::from_millis(5));
}

#[test]
fn injected_record_addresses_fault_like_absent_pages() {
    let rig = rig();
    rig.device.inject(FaultRule::new(Effect::PageFault { resolvable: false }).at(RECORDS..RECORDS + 32).limit(1));
    assert_eq!(rig.status(&nop()), 0);
    assert_eq!(rig.device.software_error().unwrap().error, status::CR_FAULT);
    assert_eq!(rig.status(&nop()), status::SUCCESS);
}

#[test]
fn an_injected_fault_inside_a_record_is_resolved_or_refused_as_a_whole() {
    for (resolvable, expected) in [(true, status::SUCCESS), (false, 0)] {
        let rig = rig();
        // Three places, the last of which begins before the record.
        for at in [8, 20, -8i64] {
            let start = (RECORDS + PAGE).wrapping_add_signed(at);
            rig.device.inject(FaultRule::new(Effect::PageFault { resolvable }).at(start..start + 10));
        }
        assert_eq!(rig.status(&Descriptor { completion_addr: RECORDS + PAGE, ..nop() }), expected);
        assert_eq!(rig.device.software_error().is_some(), !resolvable);
    }
}

#[test]
fn injected_faults_reach_the_readbacks_of_a_drain() {
    let first = Descriptor { src_addr: DST, ..desc(opcode::DRAIN, flag::DRAIN_READBACK_1) };
    let second = Descriptor { dst_addr: DST, ..desc(opcode::DRAIN, flag::DRAIN_READBACK_2) };
    for d in [first, second] {
        let rule = FaultRule::new(Effect::PageFault { resolvable: false });
        for rule in [rule.clone().at(DST..DST + 1), rule] {
            let rig = rig();
            rig.device.inject(rule);
            assert_eq!(rig.status(&d), status::DRAIN_FAULT);
            assert_eq!(rig.status(&desc(opcode::DRAIN, 0)), status::SUCCESS, "no readback, no fault");
        }
    }
}

#[test]
fn batch_members_are_opportunities_of_their_own() {
    let rig = rig();
    rig.device.inject(FaultRule::new(Effect::HardwareError(status::HW_READ)).opcode(opcode::NOP).nth(3));
    let members: Vec<_> = (1..=4).map(|i| with_record(nop(), i)).collect();
    assert_eq!(rig.status(&rig.list(&members)), status::BATCH_FAIL);
    let failed: Vec<_> = (1..=4).filter(|i| rig.record(RECORDS + 32 * i).status == status::HW_READ).collect();
    assert_eq!(failed, [3]);
}

#[test]
fn rules_given_at_construction_apply() {
    let rule = FaultRule::new(Effect::HardwareError(status::HW_WRITE)).limit(1);
    let rig = rig_of(Config::sapphire_rapids().queue(WqConfig::shared(4)).fault(rule));
    assert_eq!(rig.status(&nop()), status::HW_WRITE);
    assert_eq!(rig.status(&nop()), status::SUCCESS);
}
