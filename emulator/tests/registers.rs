//! The life of a function under its driver: capabilities, configuration, submission, commands, errors, reset.

mod common;
mod driver;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use driver::*;
use dsa_emulator::{Config, Instruction, PortalAnswer};
use idxd_sys::swerr::{self, SwError};
use idxd_sys::{Descriptor, flag, opcode, portal, status};

#[test]
fn a_driver_probes_configures_uses_and_removes_the_device() {
    for (config, operations) in [(Config::sapphire_rapids(), 0x1_003f_027f), (Config::granite_rapids(), 0x7b_00bf_07ff)]
    {
        let version = config.version;
        let d = function(config);
        // Probe: a reset without an interrupt, then capabilities.
        assert_eq!(d.device_state(), 0);
        d.w32(CMD, RESET_DEVICE << 20);
        wait(|| d.r32(CMDSTS) == 0);
        assert_eq!((d.r32(0), d.interrupts.take()), (version, vec![]));
        assert_eq!(d.r64(0x20) & 0xff_ffff, 8 << 16 | 128);
        assert_eq!(d.r64(0x30) & 0x3_ffff, 0x3_6004);
        assert_eq!(d.r64(0x38), 4);
        assert_eq!(d.r64(0x40), operations);
        assert_eq!([0x48, 0x50, 0x58].map(|at| d.r64(at)), [0; 3]);
        d.w32(GENCTRL, 3);
        assert_eq!(d.r32(GENCTRL), 3);
        // Configuration and enabling.
        let queues = [DEDICATED, Queue { group: 1, ..SHARED }];
        d.configure(&queues);
        assert_eq!(d.command(ENABLE_DEVICE, 0), 0);
        assert_eq!(d.interrupts.take(), [0]);
        assert_eq!(d.device_state(), 1);
        for (wq, queue) in queues.iter().enumerate() {
            assert_eq!(d.command(ENABLE_WQ, wq as u32), 0);
            assert_eq!(d.state(wq), 1);
            let words: Vec<_> = (0..4).map(|word| d.r32(d.queue_register(wq, word))).collect();
            assert_eq!(words, queue.words());
        }
        // Work.
        d.movdir64b(0, &fill(DST, 0x1111, 64));
        assert_eq!(d.enqcmd(1, 9, &with_record(fill(DST2, 0x2222, 64), 1)), PortalAnswer::Accepted);
        wait(|| d.status(RECORDS) != 0 && d.status(RECORDS + 32) != 0);
        assert_eq!([d.status(RECORDS), d.status(RECORDS + 32)], [status::SUCCESS; 2]);
        let counters = d.function.counters();
        assert_eq!(counters.executed(opcode::FILL), 2);
        assert_eq!([0, 1, 2].map(|wq| counters.queues[wq].executed(opcode::FILL)), [1, 1, 0]);
        // The way back.
        assert_eq!(d.command(DRAIN_PASID, 9), 0);
        assert_eq!(d.command(DRAIN_WQ, 1), 0);
        assert_eq!(d.command(RESET_WQ, 1), 0);
        assert_eq!(d.state(0), 0);
        assert_eq!(d.r32(d.queue_register(0, 0)), 16, "the size stays");
        assert_eq!([1, 2, 3].map(|word| d.r32(d.queue_register(0, word))), [0; 3]);
        d.write_queue(0, &queues[0]);
        assert_eq!(d.command(ENABLE_WQ, 0), 0, "as when a dedicated queue is opened anew");
        assert_eq!(d.command(DISABLE_DEVICE, 0), 0);
        assert_eq!((d.device_state(), d.state(0), d.state(1)), (0, 0, 0));
        assert_eq!(d.command(RESET_DEVICE, 0), 0);
        assert!((0..4).all(|word| d.r32(d.queue_register(1, word)) == 0));
        assert_eq!(d.r32(GENCTRL), 0);
    }
}

#[test]
fn any_slot_of_a_portal_page_takes_a_descriptor_and_the_pages_differ() {
    let queues = [Queue { size: 8, threshold: 5, ..SHARED }, Queue { size: 8, ..DEDICATED }];
    let d = enabled(Config::sapphire_rapids().manual(), &queues);
    assert_eq!(d.function.bar2_len(), 8 * 4 * 4096);
    let enqcmds = |kind: usize, slot: usize| {
        let line = Descriptor { pasid: 3, ..nop() };
        d.submit(0, kind + portal::slot_offset(slot), &line, Instruction::Enqcmds)
    };
    for slot in 0..5 {
        assert_eq!(enqcmds(portal::LIMITED_MSIX, slot), PortalAnswer::Accepted);
    }
    assert_eq!(enqcmds(portal::LIMITED_IMS, 63), PortalAnswer::Retry);
    assert_eq!(enqcmds(portal::UNLIMITED_MSIX, 63), PortalAnswer::Accepted);
    assert_eq!(enqcmds(portal::UNLIMITED_IMS, 62), PortalAnswer::Accepted);
    assert_eq!(d.occupancy(0), 7);
    for slot in 0..8 {
        let to = [portal::UNLIMITED_MSIX, portal::LIMITED_MSIX][slot % 2] + portal::slot_offset(9 * slot);
        let _ = d.submit(1, to, &nop(), Instruction::Movdir64b);
    }
    assert_eq!(d.function.device().run_until_idle(), 7 + 8);
    // Not the right way, not a queue, no PASID.
    assert_eq!(d.enqcmd(1, 3, &nop()), PortalAnswer::Retry);
    d.movdir64b(0, &nop());
    d.movdir64b(2, &nop());
    assert_eq!(d.submit(0, portal::LIMITED_MSIX, &nop(), Instruction::Enqcmd { pasid: None }), PortalAnswer::Retry);
    for offset in [d.function.bar2_len(), u64::MAX] {
        assert_eq!(d.function.portal(offset, &[0; 64], Instruction::Enqcmds), PortalAnswer::Retry);
        assert_eq!(d.function.portal(offset, &[0; 64], Instruction::Movdir64b), PortalAnswer::Accepted);
    }
    assert_eq!(d.function.device().run_until_idle(), 0);
    let counters = d.function.counters();
    assert_eq!((counters.queues[0].accepted, counters.queues[0].retries, counters.queues[0].dropped), (7, 2, 1));
    assert_eq!((counters.queues[1].accepted, counters.queues[1].retries, counters.queues[1].dropped), (8, 1, 0));
    assert_eq!((counters.accepted, counters.retries, counters.dropped), (15, 3, 2));
}

#[test]
fn each_way_in_has_its_own_requester() {
    let queues = [SHARED, DEDICATED, Queue { pasid: None, ..DEDICATED }, Queue { privileged: true, ..DEDICATED }];
    let d = enabled(Config::sapphire_rapids().manual(), &queues);
    // A record that cannot be written shows the requester in the software error register.
    let bad = Descriptor { pasid: 0x8000_0077, completion_addr: RECORDS + 8, ..nop() };
    let reported = || {
        d.function.device().run_until_idle();
        let words = [0, 8, 16, 24].map(|at| d.r64(SWERROR + at));
        d.w64(SWERROR, 3);
        let error = SwError::decode(words).unwrap();
        (error.wq, error.pasid, error.flags & swerr::PRIVILEGED != 0)
    };
    let _ = d.enqcmd(0, 0x12345, &bad);
    assert_eq!(reported(), (0, 0x12345, false), "what stands in the line does not count");
    let _ = d.submit(0, portal::LIMITED_MSIX, &bad, Instruction::Enqcmds);
    assert_eq!(reported(), (0, 0x77, true));
    d.movdir64b(1, &bad);
    assert_eq!(reported(), (1, 5, false));
    d.movdir64b(2, &bad);
    assert_eq!(reported(), (2, 0, false));
    d.movdir64b(3, &bad);
    assert_eq!(reported(), (3, 5, true));
}

#[test]
fn queues_follow_their_registers_when_they_are_enabled_again() {
    let d = enabled(Config::sapphire_rapids().manual(), &[SHARED]);
    let status = |descriptor: &Descriptor| {
        d.memory.write(RECORDS, &[0; 32]).unwrap();
        assert_eq!(d.enqcmd(0, 1, descriptor), PortalAnswer::Accepted);
        d.function.device().run_until_idle();
        d.status(RECORDS)
    };
    let big = fill(DST, 1, 4096);
    assert_eq!(status(&big), status::SUCCESS);
    // A write to an enabled queue changes nothing.
    d.write_queue(0, &Queue { transfer_shift: 3, ..SHARED });
    assert_eq!(d.r32(d.queue_register(0, 3)), SHARED.words()[3]);
    assert_eq!(status(&big), status::SUCCESS);
    let again = |queue: &Queue, operations: u32| {
        assert_eq!(d.command(DISABLE_WQ, 1), 0);
        d.write_queue(0, queue);
        d.w32(d.queue_register(0, 8), operations);
        assert_eq!(d.command(ENABLE_WQ, 0), 0);
    };
    again(&Queue { transfer_shift: 11, ..SHARED }, !0);
    assert_eq!(d.r32(d.queue_register(0, 8)), 0x3f_027f, "only operations that the device has");
    assert_eq!(status(&big), status::BAD_SIZE);
    again(&SHARED, !(1 << opcode::FILL));
    assert_eq!(status(&big), status::BAD_OPCODE);
    again(&Queue { block_on_fault: true, ..SHARED }, !0);
    d.memory.set_present(DST, PAGE, false).unwrap();
    d.memory.set_resolvable(DST, PAGE, true).unwrap();
    let blocking = fill_with(flag::BLOCK_ON_FAULT);
    assert_eq!(status(&blocking), status::SUCCESS);
    again(&SHARED, !0);
    assert_eq!(status(&blocking), status::BAD_FLAGS);
    for no_requests in [1 << 2, 1 << 3] {
        // Version 1.0 has no bit 3, which then stays 0.
        again(&Queue { block_on_fault: true, flags: no_requests, ..SHARED }, !0);
        d.memory.set_present(DST, PAGE, false).unwrap();
        let expected =
            if no_requests == 1 << 2 { status::PAGE_RESPONSE | status::FAULT_WRITE } else { status::SUCCESS };
        assert_eq!(status(&blocking), expected);
    }
    again(&Queue { dedicated: true, pasid: Some(3), ..SHARED }, !0);
    assert_eq!(d.enqcmd(0, 1, &nop()), PortalAnswer::Retry);
    d.movdir64b(0, &nop());
    assert_eq!(d.function.device().run_until_idle(), 1);
}

fn fill_with(flags: u32) -> Descriptor {
    let d = fill(DST, 1, 64);
    with_flags(d, d.flags() | flags)
}

#[test]
fn groups_are_fixed_while_the_device_is_enabled_and_can_change_after() {
    let d = enabled(Config::sapphire_rapids(), &[SHARED, Queue { group: 1, ..SHARED }]);
    let engines = d.group_register(1, 32);
    d.w64(engines, 0xf);
    assert_eq!(d.r64(engines), 2);
    let run = |wq: usize| {
        d.memory.write(RECORDS, &[0; 32]).unwrap();
        assert_eq!(d.enqcmd(wq, 1, &nop()), PortalAnswer::Accepted);
        wait(|| d.status(RECORDS) == status::SUCCESS);
    };
    // Queues and engines change places again and again; each time everything is served.
    for round in 0..20 {
        run(0);
        run(1);
        assert_eq!(d.command(DISABLE_DEVICE, 0), 0);
        let (first, second) = if round % 2 == 0 { (2, 1) } else { (1, 2) };
        d.w64(d.group_register(0, 0), first);
        d.w64(d.group_register(1, 0), second);
        d.w64(d.group_register(0, 32), second);
        d.w64(d.group_register(1, 32), first);
        assert_eq!([ENABLE_DEVICE, ENABLE_WQ].map(|command| d.command(command, 0)), [0; 2]);
        assert_eq!(d.command(ENABLE_WQ, 1), 0);
    }
}

#[test]
fn a_reset_under_load_ends_everything_and_leaves_a_device_that_works() {
    let d = enabled(Config::sapphire_rapids(), &[SHARED, DEDICATED]);
    d.slow(opcode::NOP, Duration::from_secs(15));
    let load = || {
        for i in 0..10 {
            let _ = d.enqcmd(0, i, &with_record(nop(), 1));
            d.movdir64b(1, &with_record(nop(), 2));
        }
    };
    // By command, and at function level while a command waits.
    load();
    assert_eq!(Driver::within(Duration::from_secs(10), || d.command(RESET_DEVICE, 0)), 0);
    assert_eq!(d.function.counters().discarded, 20);
    d.configure(&[SHARED, DEDICATED]);
    assert_eq!(d.command(ENABLE_DEVICE, 0), 0);
    assert_eq!([0, 1].map(|wq| d.command(ENABLE_WQ, wq)), [0; 2]);
    load();
    d.start(DISABLE_DEVICE, 0);
    assert_eq!(d.r32(CMDSTS), ACTIVE);
    wait(|| d.device_state() == 2);
    d.interrupts.take();
    Driver::within(Duration::from_secs(10), || d.function.reset());
    assert_eq!(d.function.counters().discarded, 40);
    assert_eq!([CMDSTS, GENSTS, INTCAUSE, GENCTRL].map(|at| d.r32(at)), [0; 4]);
    assert!((0..4).all(|word| d.r32(d.queue_register(0, word)) == 0));
    assert_eq!(d.interrupts.take(), [], "the command came to nothing");
    assert_eq!([d.status(RECORDS + 32), d.status(RECORDS + 64)], [0; 2]);
    d.configure(&[SHARED]);
    assert_eq!([ENABLE_DEVICE, ENABLE_WQ].map(|command| d.command(command, 0)), [0; 2]);
    assert_eq!(d.enqcmd(0, 1, &fill(DST, 7, 8)), PortalAnswer::Accepted);
    wait(|| d.status(RECORDS) == status::SUCCESS);
}

#[test]
fn dropping_a_function_under_load_does_not_wait_for_its_descriptors() {
    let d = enabled(Config::sapphire_rapids(), &[SHARED]);
    d.slow(opcode::NOP, Duration::from_secs(15));
    for pasid in 0..10 {
        assert_eq!(d.enqcmd(0, pasid, &nop()), PortalAnswer::Accepted);
    }
    d.start(DRAIN_WQ, 1);
    let Driver { function, memory, .. } = d;
    Driver::within(Duration::from_secs(10), || drop(Arc::into_inner(function).unwrap()));
    assert_eq!(memory.status(RECORDS).unwrap(), 0);
    assert_eq!(Arc::strong_count(&memory), 1, "all threads have ended");
}

#[test]
fn reads_and_writes_of_any_width_and_alignment_see_the_same_bytes() {
    let d = function(Config::granite_rapids());
    let mut all = [0; 0x400];
    d.function.read(0, &mut all);
    for width in 1..=9 {
        for offset in 0..0x100 {
            let mut bytes = [0xee; 9];
            d.function.read(offset, &mut bytes[..width]);
            assert_eq!(bytes[..width], all[offset as usize..][..width], "{width} at {offset:#x}");
        }
    }
    let register = d.queue_register(3, 3);
    d.w32(register, 0x1ff);
    d.function.write(register + 1, &[0]);
    assert_eq!(d.r32(register), 0xff);
    d.function.write(register - 3, &[0, 0, 0, 0x34, 0x01]);
    assert_eq!(d.r32(register), 0x134);
    // A part of the command register is no command.
    d.function.write(CMD, &[0, 0, 0x10]);
    assert_eq!((d.r32(CMDSTS), d.r32(GENSTS)), (0, 0));
    let mut beyond = [0xee; 16];
    d.function.read(0xfff8, &mut beyond);
    assert_eq!(beyond, [0; 16]);
    d.function.read(u64::MAX - 3, &mut beyond);
    assert_eq!(beyond, [0; 16]);
    d.function.write(u64::MAX - 3, &beyond);
}
