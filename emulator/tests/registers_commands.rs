//! The command register: what each command refuses, what it waits for and what not.

mod common;
mod driver;

use std::time::Duration;

use common::*;
use driver::*;
use dsa_emulator::{Config, PciControl, PortalAnswer};
use idxd_sys::{cmd_status, gencap, opcode, status};

/// Long enough that nothing which waits for it passes a test.
const LONG: Duration = Duration::from_secs(15);
const SOON: Duration = Duration::from_secs(10);

/// Makes a good configuration bad.
type Spoil = fn(&Driver);

#[test]
fn enabling_the_device_checks_its_configuration() {
    let config = Config::granite_rapids;
    let pci = PciControl::default();
    let cases: [(u32, Spoil); 11] = [
        (cmd_status::HW_CONFIG, |d| d.w32(GENCFG, 97)),
        (cmd_status::HW_WQ_SIZE_RANGE, |d| d.w32(d.queue_register(7, 0), 128)),
        (cmd_status::HW_GRP_CONFIG, |d| d.w64(d.group_register(0, 32), 0)),
        (cmd_status::HW_GRP_CONFIG2, |d| d.w64(d.group_register(1, 0), 1)),
        (cmd_status::HW_GRP_CONFIG3, |d| d.w64(d.group_register(2, 32), 1)),
        (cmd_status::HW_GRP_CONFIG4, |d| d.w64(d.group_register(0, 40), 0)),
        (cmd_status::HW_GRP_CONFIG4, |d| d.w64(d.group_register(0, 40), 97 << 20)),
        (cmd_status::HW_GRP_CONFIG4, |d| d.w64(d.group_register(0, 40), 8 << 20 | 9 << 8)),
        (cmd_status::HW_GRP_CONFIG4, |d| {
            d.w64(d.group_register(1, 0), 2);
            d.w64(d.group_register(1, 32), 2);
            (0..2).for_each(|group| d.w64(d.group_register(group, 40), 96 << 20 | 49 << 8));
        }),
        (cmd_status::HW_BUS_MASTER, |d| {
            d.function.set_pci_control(PciControl { bus_master: false, ..PciControl::default() });
        }),
        (cmd_status::HW_PASID_INVAL, |d| {
            d.function.set_pci_control(PciControl { pasid: false, ..PciControl::default() });
            d.w64(EVLCFG, 0x1000 | 1);
            d.w32(GENCFG, 1 << 13);
        }),
    ];
    for (i, (code, spoil)) in cases.into_iter().enumerate() {
        let d = function(config());
        d.configure(&[SHARED]);
        spoil(&d);
        assert_eq!(d.command(ENABLE_DEVICE, 0), code, "case {i}");
        assert_eq!(d.device_state(), 0);
        assert_eq!(d.command(RESET_DEVICE, 0), 0);
        d.function.set_pci_control(pci);
        d.configure(&[SHARED]);
        assert_eq!(d.command(ENABLE_DEVICE, 0), 0, "case {i}");
        assert_eq!(d.command(ENABLE_DEVICE, 0), cmd_status::HW_DEV_ENABLED);
    }
}

#[test]
fn enabling_a_queue_checks_its_configuration() {
    let preset = Config::sapphire_rapids;
    let d = function(preset());
    d.configure(&[SHARED]);
    assert_eq!(d.command(ENABLE_WQ, 0), cmd_status::HW_DEV_NOT_ENABLED);
    assert_eq!(d.command(ENABLE_WQ, 8), cmd_status::INVAL_WQIDX);
    let cases = [
        (Queue { size: 0, ..SHARED }, cmd_status::HW_WQ_SIZE),
        (Queue { size: 0, ..DEDICATED }, cmd_status::HW_WQ_SIZE),
        (Queue { threshold: 0, ..SHARED }, cmd_status::HW_WQ_SIZE),
        (Queue { threshold: 17, ..SHARED }, cmd_status::HW_WQ_SIZE),
        (Queue { threshold: 17, ..DEDICATED }, cmd_status::SUCCESS),
        (Queue { priority: 0, ..SHARED }, cmd_status::HW_WQ_PRIORITY),
        (Queue { pasid: None, ..SHARED }, cmd_status::HW_PASID),
        (Queue { pasid: None, ..DEDICATED }, cmd_status::SUCCESS),
        (Queue { batch_shift: 11, ..SHARED }, cmd_status::HW_MAX_BATCH),
        (Queue { batch_shift: 10, transfer_shift: 31, ..SHARED }, cmd_status::SUCCESS),
        (Queue { block_on_fault: true, ..SHARED }, cmd_status::SUCCESS),
    ];
    for (queue, code) in cases {
        let d = function(preset());
        d.configure(&[queue]);
        assert_eq!(d.command(ENABLE_DEVICE, 0), 0);
        assert_eq!(d.command(ENABLE_WQ, 0), code, "{queue:?}");
        assert_eq!(d.state(0), u32::from(code == 0));
        if code == 0 {
            assert_eq!(d.command(ENABLE_WQ, 0), cmd_status::HW_WQ_ENABLED);
        }
        // A queue in no group.
        assert_eq!(d.command(ENABLE_WQ, 1), cmd_status::HW_WQ_SIZE);
    }
    // What the preset has and other devices have not.
    let mut few = preset();
    few.gencap = few.gencap & !gencap::BLOCK_ON_FAULT & !gencap::MAX_TRANSFER_SHIFT | 20 << 16;
    for (queue, code) in [
        (Queue { block_on_fault: true, ..DEDICATED }, cmd_status::HW_BOF),
        (DEDICATED, cmd_status::HW_MAX_TRANSFER),
        (Queue { transfer_shift: 20, ..DEDICATED }, cmd_status::SUCCESS),
    ] {
        let d = function(few.clone());
        d.configure(&[queue]);
        assert_eq!(d.command(ENABLE_DEVICE, 0), 0);
        assert_eq!(d.command(ENABLE_WQ, 0), code);
    }
}

#[test]
fn queues_with_pasids_need_them_in_the_configuration_space() {
    let all = PciControl::default();
    for (queue, pci, code) in [
        (SHARED, PciControl { pasid: false, ..all }, cmd_status::HW_PASID),
        (DEDICATED, PciControl { pasid: false, ..all }, cmd_status::HW_PASID),
        (Queue { pasid: None, ..DEDICATED }, PciControl { pasid: false, ..all }, cmd_status::SUCCESS),
        (Queue { privileged: true, ..DEDICATED }, PciControl { privileged: false, ..all }, cmd_status::HW_PASID),
        (Queue { privileged: true, ..DEDICATED }, all, cmd_status::SUCCESS),
    ] {
        let d = function(Config::sapphire_rapids());
        d.function.set_pci_control(pci);
        d.configure(&[queue]);
        assert_eq!(d.command(ENABLE_DEVICE, 0), 0);
        assert_eq!(d.command(ENABLE_WQ, 0), code, "{queue:?} {pci:?}");
    }
}

#[test]
fn commands_for_what_is_not_enabled_are_refused() {
    let d = function(Config::sapphire_rapids());
    assert_eq!(d.command(DISABLE_DEVICE, 0), cmd_status::HW_DISABLE_NOT_ENABLED);
    let of_queues = [DISABLE_WQ, DRAIN_WQ, ABORT_WQ, RESET_WQ];
    let of_device = [DRAIN_ALL, ABORT_ALL, DRAIN_PASID, ABORT_PASID];
    for command in of_queues {
        assert_eq!(d.command(command, 1), cmd_status::HW_WQ_NOT_ENABLED);
    }
    for command in of_device {
        assert_eq!(d.command(command, 0), cmd_status::HW_WQ_NOT_ENABLED);
    }
    d.configure(&[SHARED, SHARED]);
    assert_eq!([ENABLE_DEVICE, ENABLE_WQ].map(|command| d.command(command, 0)), [0; 2]);
    for command in of_queues {
        for operand in [0, 1 << 8, 1 << 16 | 1] {
            assert_eq!(d.command(command, operand), cmd_status::INVAL_WQIDX, "{command} {operand:#x}");
        }
    }
    for command in [DISABLE_WQ, DRAIN_WQ, ABORT_WQ] {
        assert_eq!(d.command(command, 3), cmd_status::HW_WQ_NOT_ENABLED, "the second is not enabled");
    }
    assert_eq!(d.state(0), 1);
    assert_eq!(d.command(RESET_WQ, 3), 0);
    assert_eq!(d.state(0), 0);
    for command in of_device {
        assert_eq!(d.command(command, 0), 0);
    }
    for command in [0, 13, 14, 15, 31] {
        assert_eq!(d.command(command, 0), cmd_status::INVAL_CMD);
    }
}

#[test]
fn a_halted_device_takes_a_reset_only() {
    let d = enabled(Config::sapphire_rapids(), &[SHARED]);
    d.w32(GENCTRL, 2);
    d.function.device().halt();
    assert_eq!((d.r32(GENSTS), d.r32(INTCAUSE), d.interrupts.take()), (3 | 1 << 2, 1 << 4, vec![0]));
    assert_eq!(d.enqcmd(0, 1, &nop()), PortalAnswer::Retry);
    assert_eq!(d.command(ENABLE_DEVICE, 0), cmd_status::HW_ERR);
    assert_eq!(d.command(ENABLE_WQ, 1), cmd_status::HW_DEV_NOT_ENABLED);
    assert_eq!(d.command(DISABLE_DEVICE, 0), cmd_status::HW_DISABLE_NOT_ENABLED);
    assert_eq!(d.command(RESET_DEVICE, 0), 0);
    assert_eq!(d.r32(GENSTS), 0);
    d.function.device().halt();
    assert_eq!(d.interrupts.take(), [0; 4], "four commands; the interrupt of a halt has to be enabled again");
    d.function.reset();
    assert_eq!(d.r32(GENSTS), 0);
}

#[test]
fn a_command_is_active_until_it_is_done_and_another_one_is_lost() {
    let d = enabled(Config::sapphire_rapids(), &[SHARED]);
    d.slow(opcode::FILL, Duration::from_millis(50));
    assert_eq!(d.enqcmd(0, 1, &fill(DST, 1, 8)), PortalAnswer::Accepted);
    d.start(DRAIN_ALL, 0);
    assert_eq!((d.r32(CMDSTS), d.interrupts.take()), (ACTIVE, vec![]));
    d.start(DISABLE_DEVICE, 0);
    assert_eq!(d.wait_command(), 0);
    assert_eq!((d.status(RECORDS), d.device_state()), (status::SUCCESS, 1));
    assert_eq!(d.interrupts.take(), [0]);
}

#[test]
fn the_drain_of_a_pasid_waits_for_that_one_alone() {
    let d = enabled(Config::sapphire_rapids(), &[SHARED]);
    d.slow(opcode::FILL, LONG);
    // One engine is busy with the first PASID, so the queue needs another.
    assert_eq!(d.command(DISABLE_DEVICE, 0), 0);
    d.w64(d.group_register(0, 32), 3);
    assert_eq!([ENABLE_DEVICE, ENABLE_WQ].map(|command| d.command(command, 0)), [0; 2]);
    assert_eq!(d.enqcmd(0, 1, &fill(DST, 1, 8)), PortalAnswer::Accepted);
    for i in 1..5 {
        assert_eq!(d.enqcmd(0, 2, &with_record(nop(), i)), PortalAnswer::Accepted);
    }
    assert_eq!(Driver::within(SOON, || d.command(DRAIN_PASID, 2)), 0);
    assert!((1..5).all(|i| d.status(RECORDS + 32 * i) == status::SUCCESS));
    assert_eq!(d.status(RECORDS), 0, "the other PASID's is still executed");
    // A PASID that nobody uses, and a queue that goes on.
    assert_eq!(Driver::within(SOON, || d.command(DRAIN_PASID, 3)), 0);
    assert_eq!(Driver::within(SOON, || d.command(ABORT_PASID, 1)), 0);
    assert_eq!((d.status(RECORDS), d.function.counters().discarded), (0, 1));
    assert_eq!(d.enqcmd(0, 1, &with_record(nop(), 9)), PortalAnswer::Accepted);
    wait(|| d.status(RECORDS + 32 * 9) == status::SUCCESS);
}

#[test]
fn aborting_a_pasid_discards_what_is_queued_and_spares_the_others() {
    let d = enabled(Config::sapphire_rapids().manual(), &[SHARED, DEDICATED]);
    for i in 0..10u32 {
        assert_eq!(d.enqcmd(0, i % 2, &with_record(nop(), u64::from(i))), PortalAnswer::Accepted);
    }
    d.movdir64b(1, &with_record(nop(), 10));
    // The command's thread executes meanwhile.
    assert_eq!(d.command(ABORT_PASID, 1), 0);
    assert_eq!(d.function.counters().discarded, 5);
    assert_eq!(d.command(ABORT_PASID, 5), 0, "that of the dedicated queue");
    d.function.device().run_until_idle();
    assert!((0..10).all(|i| (d.status(RECORDS + 32 * i) == status::SUCCESS) == (i % 2 == 0)));
}

#[test]
fn a_drain_does_not_wait_for_what_comes_during_it() {
    for (command, operand) in [(DRAIN_PASID, 7), (DRAIN_WQ, 1), (DRAIN_ALL, 0)] {
        // Without engine threads, descriptors are executed by the command that waits for them.
        let d = enabled(Config::sapphire_rapids().manual(), &[SHARED]);
        d.slow(opcode::FILL, Duration::from_millis(200));
        d.slow(opcode::NOP, LONG);
        assert_eq!(d.enqcmd(0, 7, &fill(DST, 1, 8)), PortalAnswer::Accepted);
        d.start(command, operand);
        wait(|| d.occupancy(0) == 0);
        assert_eq!(d.enqcmd(0, 7, &with_record(nop(), 1)), PortalAnswer::Accepted);
        assert_eq!(Driver::within(SOON, || d.wait_command()), 0);
        assert_eq!([0, 1].map(|i| d.status(RECORDS + 32 * i)), [status::SUCCESS, 0]);
    }
}

#[test]
fn a_drain_ends_though_new_descriptors_never_stop() {
    let d = enabled(Config::sapphire_rapids(), &[SHARED]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|s| {
        for i in 0..2 {
            let (d, stop) = (&d, &stop);
            s.spawn(move || {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let _ = d.enqcmd(0, 7, &with_record(fill(DST + 0x8000 * i, i, 0x8000), i));
                }
            });
        }
        wait(|| d.function.counters().accepted > 50);
        let drains = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for (command, operand) in [(DRAIN_PASID, 7), (DRAIN_WQ, 1), (DRAIN_ALL, 0), (ABORT_PASID, 7)].repeat(5) {
                assert_eq!(Driver::within(SOON, || d.command(command, operand)), 0);
            }
        }));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        drains.unwrap();
    });
}

/// Everything accepted before a drain has ended after it, whoever submits meanwhile.
#[test]
fn a_drain_waits_for_all_that_came_before_it() {
    let d = enabled(Config::sapphire_rapids(), &[Queue { size: 64, threshold: 64, ..SHARED }]);
    for round in 0..200u64 {
        let record = RECORDS + 32 * (round % 2);
        d.memory.write(record, &[0; 32]).unwrap();
        std::thread::scope(|s| {
            let other = s.spawn(|| d.enqcmd(0, 1, &with_record(nop(), 5)));
            assert_eq!(d.enqcmd(0, 1, &with_record(fill(DST, round, 4096), round % 2)), PortalAnswer::Accepted);
            assert_eq!(d.command(DRAIN_PASID, 1), 0);
            assert_eq!(d.status(record), status::SUCCESS, "round {round}");
            assert_eq!(other.join().unwrap(), PortalAnswer::Accepted);
        });
    }
}

#[test]
fn queue_commands_execute_or_discard() {
    for (command, executed, state) in
        [(DISABLE_WQ, true, 0), (DRAIN_WQ, true, 1), (ABORT_WQ, false, 1), (RESET_WQ, false, 0)]
    {
        let d = enabled(Config::sapphire_rapids(), &[SHARED, SHARED]);
        d.slow(opcode::NOP, if executed { Duration::from_millis(1) } else { LONG });
        for i in 0..8 {
            assert_eq!(d.enqcmd(1, 1, &with_record(nop(), i)), PortalAnswer::Accepted);
        }
        assert_eq!(Driver::within(SOON, || d.command(command, 2)), 0);
        assert_eq!(d.state(1), state);
        let expected = if executed { status::SUCCESS } else { 0 };
        assert!((0..8).all(|i| d.status(RECORDS + 32 * i) == expected), "{command}");
        assert_eq!(d.state(0), 1, "the other queue");
    }
}
