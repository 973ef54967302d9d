//! Errors of descriptors that no record tells: the software error register, the event log; occupancy.

mod common;
mod driver;

use common::*;
use driver::log::*;
use driver::*;
use dsa_emulator::{Config, Effect, FaultRule, Instruction, PortalAnswer};
use idxd_sys::{Descriptor, flag, opcode, portal, status, swerr};
use zerocopy::IntoBytes;

const CAUSE_OCCUPANCY: u32 = 4;
#[test]
fn the_first_software_error_stays_until_it_is_acknowledged() {
    let d = enabled(Config::sapphire_rapids().manual(), &[SHARED, Queue { size: 2, ..DEDICATED }]);
    let lose = || (0..3).for_each(|_| d.movdir64b(1, &fill(DST, 0, 8)));
    lose();
    assert_eq!(software_error(&d).unwrap().error, status::SWERR_DWQ_OVERFLOW);
    assert_eq!((d.r32(INTCAUSE), d.interrupts.take()), (0, vec![]), "the interrupt is not enabled");
    d.w32(SWERROR, swerr::VALID as u32);
    assert_eq!(software_error(&d), None);
    d.w32(GENCTRL, 1);
    lose();
    lose();
    let error = software_error(&d).unwrap();
    assert_eq!((error.error, error.wq, error.opcode, error.pasid), (0x53, 1, opcode::FILL, 5));
    assert_eq!(error.flags, swerr::VALID | swerr::OVERFLOW | swerr::DESC_VALID | swerr::WQ_VALID);
    assert_eq!((d.r32(INTCAUSE), d.interrupts.take()), (CAUSE_ERROR, vec![0]), "one interrupt for one stored error");
    d.w32(SWERROR, swerr::OVERFLOW as u32);
    assert_eq!(software_error(&d).unwrap().flags & swerr::OVERFLOW, 0);
    // As the driver does it: the cause, then both bits in a write of 8 bytes.
    d.w32(INTCAUSE, !CAUSE_ERROR);
    assert_eq!(d.r32(INTCAUSE), CAUSE_ERROR, "bits written as 0 stay");
    d.w32(INTCAUSE, CAUSE_ERROR);
    d.w64(SWERROR, swerr::VALID | swerr::OVERFLOW);
    assert_eq!((d.r32(INTCAUSE), software_error(&d)), (0, None));
}

#[test]
fn version_1_reports_records_that_cannot_be_written_as_software_errors() {
    let d = enabled(Config::sapphire_rapids().manual(), &[SHARED]);
    d.w32(GENCFG, 1 << 13);
    assert_eq!(d.r32(GENCFG), 0, "there is no event log");
    d.w64(EVLCFG, LOG);
    assert_eq!(d.r64(EVLCFG), 0);
    let bad = Descriptor { completion_addr: NOWHERE, ..fill(DST, 0x55, 8) };
    assert_eq!(d.enqcmd(0, 9, &bad), PortalAnswer::Accepted);
    d.function.device().run_until_idle();
    let error = software_error(&d).unwrap();
    assert_eq!((error.error, error.pasid, error.fault_addr), (status::CR_FAULT, 9, NOWHERE));
    assert_ne!(error.flags & swerr::FAULT_WRITE, 0);
}

#[test]
fn a_record_that_cannot_be_written_is_in_the_event_log() {
    let d = logging(64, &[SHARED]);
    run(&d, 9, &Descriptor { completion_addr: NOWHERE, ..crc(SRC, 32, 0, 0) });
    assert_eq!((d.r32(INTCAUSE) & CAUSE_EVENT_LOG, d.interrupts.take()), (CAUSE_EVENT_LOG, vec![0]));
    assert_eq!(d.r64(EVLSTATUS), 1 << 32 | 1 << 62, "head 0, tail 1, interrupt pending");
    assert_eq!(software_error(&d), None);
    let entry = Entry::read(&d, 0);
    assert_eq!((entry.error(), entry.addr), (status::CR_FAULT, NOWHERE));
    // Descriptor, queue, write, error information; queue 0; opcode and PASID.
    assert_eq!(entry.head & !0xff00, 0xac | u64::from(opcode::CRCGEN) << 32 | 9 << 40);
    // The record was requested; operand 5 is the record.
    assert_eq!(entry.details >> 32, 1 << 18 | 5 << 29);
    assert_eq!((entry.record.status, entry.record.op_specific[0]), (status::SUCCESS, 0x8a91_36aa));
    // A second entry makes no second interrupt, until the first one is acknowledged.
    run(&d, 9, &Descriptor { completion_addr: NOWHERE, ..nop() });
    assert_eq!((d.r64(EVLSTATUS), d.interrupts.take()), (2 << 32 | 1 << 62, vec![]));
    d.w32(EVLSTATUS + 4, 1 << 30);
    d.w32(EVLSTATUS, 2);
    assert_eq!(d.r64(EVLSTATUS), 2 << 32 | 2);
    run(&d, 9, &Descriptor { completion_addr: NOWHERE, ..nop() });
    assert_eq!(d.interrupts.take(), [0]);
}

#[test]
fn errors_without_a_record_are_in_the_event_log() {
    let d = logging(64, &[SHARED]);
    let nop_flagged = with_flags(nop(), flag::CHECK_RESULT);
    run(&d, 1, &nop_flagged);
    run(&d, 2, &Descriptor { completion_addr: RECORDS + 8, ..nop() });
    run(&d, 3, &with_flags(memmove(SRC, NOWHERE, 64), 0));
    let entries = [0, 1, 2].map(|i| Entry::read(&d, i));
    assert_eq!(entries.each_ref().map(Entry::error), [status::BAD_FLAGS, status::CR_ALIGN, status::PAGE_FAULT]);
    assert_eq!(entries[0].details >> 32, u64::from(flag::CHECK_RESULT), "the invalid flags");
    assert_eq!((entries[1].addr, entries[1].bit(5)), (RECORDS + 8, false));
    assert_eq!((entries[2].addr, entries[2].bit(5)), (NOWHERE, true));
}

#[test]
fn faults_on_lists_and_readbacks_name_their_operand_in_the_event_log() {
    let d = logging(64, &[Queue { pasid: None, ..DEDICATED }]);
    // A drain has a record or an interrupt.
    let int_handle = (d.command(REQUEST_HANDLE, 4) >> 8) as u16;
    let drain = |bit| with_flags(Descriptor { int_handle, ..desc(opcode::DRAIN, 0) }, flag::RCI | bit);
    d.movdir64b(0, &with_flags(Descriptor { src_addr: NOWHERE, xfer_size: 3, ..desc(opcode::BATCH, 0) }, 0));
    d.movdir64b(0, &Descriptor { src_addr: NOWHERE, ..drain(flag::DRAIN_READBACK_1) });
    d.movdir64b(0, &Descriptor { dst_addr: NOWHERE, ..drain(flag::DRAIN_READBACK_2) });
    d.function.device().run_until_idle();
    let entries = [0, 1, 2].map(|i| Entry::read(&d, i));
    let errors = [status::BATCH_LIST_FAULT, status::DRAIN_FAULT, status::DRAIN_FAULT];
    assert_eq!(entries.each_ref().map(Entry::error), errors);
    assert_eq!(entries.each_ref().map(|e| e.addr), [NOWHERE; 3]);
    assert_eq!(entries.each_ref().map(|e| e.bit(7)), [true; 3], "there is error information");
    assert_eq!(entries.each_ref().map(|e| e.details >> 32), [1, 1, 2].map(|operand| operand << 29), "nothing else");
}

#[test]
fn the_registers_of_a_log_in_use_are_fixed_and_a_new_one_begins_empty() {
    let d = logging(64, &[SHARED]);
    d.w64(EVLCFG, 0x1234_5000);
    d.w64(EVLCFG + 8, 99);
    assert_eq!([d.r64(EVLCFG), d.r64(EVLCFG + 8)], [LOG, 64]);
    run(&d, 1, &Descriptor { completion_addr: NOWHERE, ..nop() });
    d.w32(EVLSTATUS, 1);
    assert_eq!(d.command(DISABLE_DEVICE, 0), 0);
    d.w32(GENCFG, 0);
    d.w64(EVLCFG + 8, 0xf_ffff_ffff_ffff_ffff_u128 as u64);
    assert_eq!(d.r64(EVLCFG + 8), 0xf_ffff_ffff, "size and PASID");
    d.w32(GENCFG, 1 << 13);
    assert_eq!(d.r64(EVLSTATUS), 0);
}

/// Software delivers the records of the log in its order, so a batch, or a drain, behind one of them goes the same way.
#[test]
fn what_must_come_after_a_logged_record_is_logged_behind_it() {
    let d = logging(64, &[SHARED]);
    let lost = Descriptor { completion_addr: NOWHERE, ..fill(DST, 1, 8) };
    let members = [lost, with_record(fill(DST2, 2, 8), 1), lost];
    d.memory.write(LIST, members.as_bytes()).unwrap();
    let batch = Descriptor { src_addr: LIST, xfer_size: 3, ..desc(opcode::BATCH, 0) };
    run(&d, 9, &batch);
    run(&d, 9, &with_record(desc(opcode::DRAIN, 0), 2));
    assert_eq!([0, 1, 2].map(|i| d.status(RECORDS + 32 * i)), [0, status::SUCCESS, 0]);
    let entries = [0, 1, 2, 3].map(|i| Entry::read(&d, i));
    let errors = [status::CR_FAULT, status::CR_FAULT, status::BATCH_EVENT_LOG, status::DRAIN_EVENT_LOG];
    assert_eq!(entries.each_ref().map(Entry::error), errors);
    assert_eq!(entries.each_ref().map(|e| e.bit(4)), [true, true, false, false], "members of a batch");
    assert_eq!(entries.each_ref().map(|e| e.details & 0xffff), [0, 2, 0, 0], "their positions");
    assert_eq!(entries.each_ref().map(|e| e.details >> 51 & 1), [1, 0, 0, 0], "the first of its batch");
    assert_eq!(entries[0].head >> 24 & 0xff, entries[2].head >> 24 & 0xff, "the number of the batch");
    assert_eq!([entries[2].addr, entries[3].addr], [RECORDS, RECORDS + 64]);
    assert_eq!((entries[2].record.status, entries[2].record.bytes_completed), (status::SUCCESS, 3));
    assert_eq!(entries[3].record.status, status::SUCCESS);
    // Once software has taken the entries, drains are ordinary again.
    d.w32(EVLSTATUS, 4);
    run(&d, 9, &with_record(desc(opcode::DRAIN, 0), 2));
    assert_eq!(d.status(RECORDS + 64), status::SUCCESS);
}

/// Whether a record in the log reaches its place, and so whether its member has failed, is for software to find out. What is
/// behind a fence must not run before that, and without a fence everything runs.
#[test]
fn a_fence_behind_a_logged_record_abandons_the_rest() {
    for (fence, done) in [(flag::FENCE, 2), (0, 3)] {
        let d = logging(64, &[SHARED]);
        let lost = Descriptor { completion_addr: NOWHERE, ..fill(DST, 1, 8) };
        let mut third = with_record(fill(DST2 + 8, 3, 8), 2);
        third.set_opcode_flags(opcode::FILL, third.flags() | fence);
        let members = [with_record(fill(DST2, 2, 8), 1), lost, third];
        d.memory.write(LIST, members.as_bytes()).unwrap();
        run(&d, 9, &Descriptor { src_addr: LIST, xfer_size: 3, ..desc(opcode::BATCH, 0) });
        let entries = [0, 1].map(|i| Entry::read(&d, i));
        assert_eq!(entries.each_ref().map(Entry::error), [status::CR_FAULT, status::BATCH_EVENT_LOG]);
        let outcome = if fence == 0 { status::SUCCESS } else { status::BATCH_FAIL };
        assert_eq!((entries[1].record.status, entries[1].record.bytes_completed), (outcome, done));
        let third = if fence == 0 { status::SUCCESS } else { 0 };
        assert_eq!([1, 2].map(|i| d.status(RECORDS + 32 * i)), [status::SUCCESS, third]);
        assert_eq!(d.function.device().counters().abandoned, u64::from(3 - done));
    }
}

#[test]
fn an_occupancy_limit_interrupts_once_for_each_time_it_is_armed() {
    let d = enabled(Config::sapphire_rapids().manual(), &[SHARED]);
    let (limit, state) = (d.queue_register(0, 5), d.queue_register(0, 6));
    for _ in 0..6 {
        assert_eq!(d.enqcmd(0, 1, &nop()), PortalAnswer::Accepted);
    }
    // Limit and enable can be written while the queue is enabled.
    d.w32(limit, 4 | 1 << 16);
    assert_eq!((d.r32(limit), d.interrupts.take()), (4 | 1 << 16, vec![]));
    assert!(d.function.device().run_one());
    assert_eq!(d.interrupts.take(), [], "5 are above the limit");
    assert!(d.function.device().run_one());
    assert_eq!((d.interrupts.take(), d.r32(INTCAUSE)), (vec![0], CAUSE_OCCUPANCY));
    assert_eq!((d.r32(limit), d.r32(state) & 0x1_ffff), (4, 1 << 16 | 4), "disarmed; raised");
    d.function.device().run_until_idle();
    assert_eq!(d.interrupts.take(), []);
    d.w32(state, 1 << 16);
    assert_eq!(d.r32(state) & 0x1_ffff, 0);
    // Armed below the limit it comes at once.
    d.w32(limit, 1 << 16);
    assert_eq!(d.interrupts.take(), [0]);
    // Another vector by its handle; not after a reset.
    assert_eq!(d.command(DISABLE_WQ, 1), 0);
    d.w32(d.queue_register(0, 4), 3);
    assert_eq!(d.command(ENABLE_WQ, 0), 0);
    assert_eq!(d.enqcmd(0, 1, &nop()), PortalAnswer::Accepted);
    d.w32(limit, 1 << 16);
    d.interrupts.take();
    d.function.device().run_until_idle();
    assert_eq!(d.interrupts.take(), [3]);
    assert_eq!(d.enqcmd(0, 1, &nop()), PortalAnswer::Accepted);
    d.w32(limit, 1 << 16);
    d.function.reset();
    assert_eq!((d.r32(limit), d.r32(state)), (0, 0));
}

#[test]
fn injected_faults_show_like_others() {
    let d = logging(64, &[SHARED]);
    d.function.device().inject(FaultRule::new(Effect::RecordFault).limit(1));
    d.function.device().inject(FaultRule::new(Effect::Retry).limit(1));
    let by = Instruction::Enqcmd { pasid: Some(4) };
    assert_eq!(d.submit(0, portal::LIMITED_MSIX, &nop(), by), PortalAnswer::Retry);
    run(&d, 4, &nop());
    assert_eq!(Entry::read(&d, 0).error(), status::CR_FAULT);
}
