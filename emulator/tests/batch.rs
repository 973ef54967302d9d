//! Batches: members, fences, abandonment, list faults, continuation.

mod common;

use common::*;
use dsa_emulator::{Config, Enqcmd, MemberOrder, WqConfig, config::gencap};
use idxd_sys::{Descriptor, flag, opcode, status};

fn fenced(d: Descriptor) -> Descriptor {
    with_flags(d, d.flags() | flag::FENCE)
}

/// A member that ends with the given kind of trouble.
fn failing() -> Descriptor {
    memmove(SRC, DST, 0)
}

/// A comparison that ends with status 0x02.
fn false_predicate() -> Descriptor {
    let d = compare(SRC, SRC, 8);
    Descriptor { op_specific: [1, 0, 0], ..with_flags(d, CR | flag::CHECK_RESULT) }
}

fn numbered(members: &[Descriptor]) -> Vec<Descriptor> {
    members.iter().zip(1..).map(|(d, i)| with_record(*d, i)).collect()
}

fn statuses(rig: &Rig, count: u64) -> Vec<u8> {
    (1..=count).map(|i| rig.record(RECORDS + 32 * i).status).collect()
}

#[test]
fn members_run_and_the_batch_counts_them() {
    let rig = rig();
    let data = noise(300, 1);
    rig.put(SRC, &data);
    let members = numbered(&[memmove(SRC, DST, 300), fill(DST2, 0x55, 64), crc(SRC, 300, 0, 0)]);
    let record = rig.run(&rig.list(&members));
    assert_eq!((record.status, record.result, record.bytes_completed), (status::SUCCESS, 0, 3));
    assert_eq!(statuses(&rig, 3), [status::SUCCESS; 3]);
    assert_eq!(rig.bytes(DST, 300), data);
    assert_eq!(rig.device.counters().executed(opcode::MEMMOVE), 1);
    assert_eq!(rig.device.counters().accepted, 1, "members do not pass the portal");
}

#[test]
fn members_may_do_without_records() {
    let rig = rig();
    rig.put(SRC, &[9; 16]);
    let quiet = with_flags(memmove(SRC, DST, 16), 0);
    assert_eq!(rig.status(&rig.list(&[quiet, with_flags(nop(), flag::CRAV)])), status::SUCCESS);
    assert_eq!(rig.bytes(DST, 16), [9; 16]);
    assert_eq!(rig.device.counters().records, 1);
}

#[test]
fn a_failed_member_fails_the_batch_but_not_the_others() {
    for (config, result) in [(Config::sapphire_rapids(), 0), (Config::granite_rapids(), 1)] {
        let rig = rig_of(config);
        let members = numbered(&[failing(), nop(), nop()]);
        let record = rig.run(&rig.list(&members));
        assert_eq!((record.status, record.bytes_completed), (status::BATCH_FAIL, 3));
        assert_eq!(record.result, result, "only with batch continuation");
        assert_eq!(statuses(&rig, 3), [status::BAD_SIZE, status::SUCCESS, status::SUCCESS]);
    }
}

#[test]
fn batch_and_drain_inside_a_batch_end_with_0x10() {
    let rig = rig();
    let inner = Descriptor { src_addr: LIST, xfer_size: 2, ..desc(opcode::BATCH, 0) };
    let members = numbered(&[inner, desc(opcode::DRAIN, 0), nop()]);
    assert_eq!(rig.status(&rig.list(&members)), status::BATCH_FAIL);
    assert_eq!(statuses(&rig, 3), [status::BAD_OPCODE, status::BAD_OPCODE, status::SUCCESS]);
}

#[test]
fn a_fence_after_success_lets_the_rest_run() {
    let rig = rig();
    let members = numbered(&[nop(), fenced(nop()), nop()]);
    let record = rig.run(&rig.list(&members));
    assert_eq!((record.status, record.bytes_completed), (status::SUCCESS, 3));
}

#[test]
fn a_fence_after_any_other_status_abandons_the_rest_without_records() {
    for (bad, code) in [(failing(), status::BAD_SIZE), (false_predicate(), status::SUCCESS_FALSE)] {
        let rig = rig();
        rig.put(SRC, &[1; 8]);
        let members = numbered(&[nop(), bad, nop(), fenced(nop()), memmove(SRC, DST, 8)]);
        let record = rig.run(&rig.list(&members));
        assert_eq!((record.status, record.result, record.bytes_completed), (status::BATCH_FAIL, 1, 3));
        assert_eq!(statuses(&rig, 5), [status::SUCCESS, code, status::SUCCESS, 0, 0]);
        assert_eq!(rig.bytes(DST, 8), [0; 8]);
        assert_eq!(rig.device.counters().abandoned, 2);
    }
}

#[test]
fn a_fence_before_the_trouble_does_not_abandon() {
    let rig = rig();
    let members = numbered(&[fenced(nop()), failing(), nop()]);
    let record = rig.run(&rig.list(&members));
    assert_eq!((record.status, record.bytes_completed), (status::BATCH_FAIL, 3));
}

#[test]
fn a_partial_member_counts_as_failed() {
    let rig = rig();
    rig.absent(SRC + PAGE);
    let members = numbered(&[memmove(SRC, DST, 2 * PAGE as u32), fenced(nop())]);
    let record = rig.run(&rig.list(&members));
    assert_eq!((record.status, record.bytes_completed), (status::BATCH_FAIL, 1));
    assert_eq!(statuses(&rig, 2), [status::PAGE_FAULT, 0]);
}

#[test]
fn the_batch_error_flag_carries_an_earlier_failure() {
    let rig = rig();
    let members = numbered(&[nop(), fenced(nop())]);
    let list = rig.list(&members);
    let record = rig.run(&with_flags(list, CR | flag::BATCH_ERROR));
    assert_eq!((record.status, record.result, record.bytes_completed), (status::BATCH_FAIL, 1, 1));
    assert_eq!(statuses(&rig, 2), [status::SUCCESS, 0]);
}

#[test]
fn a_fault_on_the_list_ends_the_batch_with_0x06_and_can_be_resumed() {
    let rig = rig();
    let members = numbered(&[nop(); 70]);
    let list = rig.list(&members);
    rig.absent(LIST + PAGE);
    let record = rig.run(&list);
    assert_eq!((record.status, record.bytes_completed), (status::BATCH_LIST_FAULT, 64));
    assert_eq!(record.fault_addr, LIST + PAGE);
    assert_eq!(record.fault_info >> 1, 1);
    let written = statuses(&rig, 70);
    assert!((0..70).all(|i| written[i] == if i < 64 { status::SUCCESS } else { 0 }));
    rig.memory.set_present(LIST + PAGE, PAGE, true).unwrap();
    let rest = Descriptor { src_addr: LIST + 64 * 64, xfer_size: 6, ..list };
    assert_eq!(rig.run(&rest).bytes_completed, 6);
    assert_eq!(statuses(&rig, 70), [status::SUCCESS; 70]);
}

#[test]
fn a_list_blocks_on_a_page_that_can_be_had_whatever_the_flag_says() {
    let rig = rig_of(Config::sapphire_rapids());
    let list = rig.list(&numbered(&[nop(); 2]));
    rig.absent(LIST);
    rig.memory.set_resolvable(LIST, PAGE, true).unwrap();
    assert_eq!(rig.status(&list), status::SUCCESS);
}

#[test]
fn a_list_fault_reports_earlier_failures_in_the_result() {
    let rig = rig();
    let mut members = numbered(&[nop(); 65]);
    members[3] = with_record(failing(), 4);
    let list = rig.list(&members);
    rig.absent(LIST + PAGE);
    let record = rig.run(&list);
    assert_eq!((record.status, record.result, record.bytes_completed), (status::BATCH_LIST_FAULT, 1, 64));
}

#[test]
fn errors_of_members_name_their_position() {
    let rig = rig();
    let bad = Descriptor { completion_addr: RECORDS + 1, ..nop() };
    assert_eq!(rig.status(&rig.list(&[nop(), bad].map(|d| with_flags(d, CR)))), status::BATCH_FAIL);
    let error = rig.device.software_error().unwrap();
    assert_eq!((error.error, error.in_batch, error.batch_index), (status::CR_ALIGN, true, 1));
}

#[test]
fn members_run_under_the_pasid_of_their_batch() {
    let rig = rig();
    let client = rig.device.open_with_pasid(0, 77).unwrap();
    // A record that cannot be written shows the PASID in the software error.
    let member = Descriptor { pasid: 0x8000_0005, completion_addr: RECORDS + 1, ..nop() };
    let list = rig.list(&[nop(), member]);
    // SAFETY: checked memory.
    assert_eq!(unsafe { client.enqcmd(&list) }, Enqcmd::Accepted);
    rig.device.run_until_idle();
    assert_eq!(rig.device.software_error().unwrap().pasid, 77);
}

/// Members write their number to one place; the last writer differs from seed to seed, but never across a fence.
#[test]
fn shuffled_members_run_in_any_order_between_fences() {
    let mut last = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let config = Config::granite_rapids().member_order(MemberOrder::Shuffled).seed(seed);
        let rig = rig_of(config);
        let mut members: Vec<_> = (0..6).map(|i| with_flags(fill(DST, i, 8), 0)).collect();
        members.push(with_flags(memmove(DST, DST2, 8), flag::FENCE));
        // A fence orders what is before it, not the members after it among each other; so it takes a second one.
        members.push(with_flags(nop(), flag::FENCE));
        members.extend((100..103).map(|i| with_flags(fill(DST, i, 8), 0)));
        let record = rig.run(&rig.list(&members));
        assert_eq!((record.status, record.bytes_completed), (status::SUCCESS, 11));
        let at_fence = rig.bytes(DST2, 8)[0];
        assert!(at_fence < 6);
        last.insert(at_fence);
    }
    assert!(last.len() >= 4, "{last:?}");
}

#[test]
fn in_order_members_run_in_order() {
    let rig = rig();
    let members: Vec<_> = (0..50).map(|i| with_flags(fill(DST, i, 8), 0)).collect();
    assert_eq!(rig.status(&rig.list(&members)), status::SUCCESS);
    assert_eq!(rig.bytes(DST, 1), [49]);
}

#[test]
fn the_largest_batch_runs() {
    let rig = rig();
    let members: Vec<_> = (0..1024).map(|i| with_flags(fill(DST + 8 * i, i, 8), 0)).collect();
    let record = rig.run(&rig.list(&members));
    assert_eq!((record.status, record.bytes_completed), (status::SUCCESS, 1024));
    assert!((0..1024u64).all(|i| rig.bytes(DST + 8 * i, 8) == i.to_le_bytes()));
}

#[test]
fn one_member_needs_the_capability() {
    let mut config = Config::granite_rapids();
    config.gencap |= gencap::BATCH_1;
    let rig = rig_of(config.queue(WqConfig::shared(8)));
    let record = rig.run(&rig.list(&numbered(&[nop()])));
    assert_eq!((record.status, record.bytes_completed), (status::SUCCESS, 1));
}

#[test]
fn a_batch_record_is_written_after_the_members() {
    // The batch's own record is the destination of its last member: what remains must be the batch's.
    let rig = rig();
    rig.put(SRC, &[0xaa; 32]);
    let members = [with_flags(nop(), 0), with_flags(memmove(SRC, RECORDS, 32), 0)];
    let record = rig.run(&rig.list(&members));
    assert_eq!((record.status, record.bytes_completed), (status::SUCCESS, 2));
}
