//! Errors that no descriptor makes, or that its queue's surroundings make: a command beside another one (0x52), a full event
//! log (0x54), a change of PCI configuration (0x51), traffic classes without a channel (0x1e).

mod common;
mod driver;

use std::time::Duration;

use common::*;
use driver::log::*;
use driver::*;
use dsa_emulator::{Config, PciControl, PortalAnswer};
use idxd_sys::swerr::{self, SwError};
use idxd_sys::{Descriptor, flag, gencap, opcode, status};
use zerocopy::IntoBytes;

/// Bits of INTCAUSE.
const CAUSE_HALT: u32 = 1 << 4;
/// Bits of GENCTRL: interrupt at a software error, and at a halt.
const ERROR_AND_HALT: u32 = 3;
/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);

/// A register that names a code and no descriptor.
fn bare(error: u8) -> SwError {
    let mut expected = SwError::default();
    (expected.flags, expected.error) = (swerr::VALID, error);
    expected
}

/// Starts a command that stays active until [`finish`], and writes others beside it.
fn start_two(d: &Driver) {
    d.slow(opcode::FILL, LONG);
    assert_eq!(d.enqcmd(0, 1, &fill(DST, 1, 8)), PortalAnswer::Accepted);
    d.start(DRAIN_ALL, 0);
    d.start(DISABLE_DEVICE, 0);
}

/// Ends the descriptor that the command of [`start_two`] waits for.
fn finish(d: &Driver) {
    assert_eq!(d.r32(CMDSTS) & ACTIVE, ACTIVE, "the first command is not disturbed");
    d.function.device().abort_wq(0).unwrap();
    assert_eq!(d.wait_command(), 0);
    assert_eq!(d.device_state(), 1, "the second one was never executed");
}

#[test]
fn a_command_beside_another_one_is_lost_and_is_a_software_error() {
    let d = enabled(Config::sapphire_rapids(), &[SHARED]);
    d.w32(GENCTRL, ERROR_AND_HALT);
    start_two(&d);
    assert_eq!(software_error(&d), Some(bare(status::SWERR_COMMAND_ACTIVE)));
    assert_eq!((d.r32(INTCAUSE), d.interrupts.take()), (CAUSE_ERROR, vec![0]));
    // A part of the register is no command.
    d.w64(SWERROR, swerr::VALID | swerr::OVERFLOW);
    d.function.write(CMD, &[0; 2]);
    assert_eq!(software_error(&d), None);
    d.start(DISABLE_DEVICE, 0);
    d.start(DISABLE_DEVICE, 0);
    assert_eq!(software_error(&d).unwrap().flags, swerr::VALID | swerr::OVERFLOW);
    finish(&d);
    assert_eq!((d.command(DISABLE_DEVICE, 0), d.device_state()), (0, 0), "now it is");
}

#[test]
fn a_command_beside_another_one_is_in_the_event_log_if_there_is_one() {
    let d = logging(64, &[SHARED]);
    start_two(&d);
    let entry = Entry::read(&d, 0);
    let expected = u64::from(status::SWERR_COMMAND_ACTIVE) << 8;
    assert_eq!((entry.head, entry.details, entry.addr), (expected, 0, 0), "nothing but the code is valid");
    assert_eq!((d.r64(EVLSTATUS), software_error(&d)), (1 << 32 | 1 << 62, None));
    assert_eq!((d.r32(INTCAUSE), d.interrupts.take()), (CAUSE_EVENT_LOG, vec![0]));
    finish(&d);
}

#[test]
fn a_command_beside_another_one_finds_the_event_log_full() {
    let mut waiting = Config::granite_rapids();
    waiting.gencap &= !gencap::EVENT_LOG_OVERFLOW;
    for (config, code) in [
        (Config::granite_rapids(), status::SWERR_EVENT_LOG),
        // The device would wait for room, but who writes a register does not.
        (waiting, status::SWERR_COMMAND_ACTIVE),
    ] {
        let d = logging_with(config, 64, &[SHARED]);
        d.w32(EVLSTATUS, 1);
        start_two(&d);
        assert_eq!(software_error(&d), Some(bare(code)));
        assert_eq!(d.r64(EVLSTATUS), 1);
        finish(&d);
    }
}

#[test]
fn a_full_event_log_loses_entries_and_says_so_and_goes_on_when_emptied() {
    let d = logging(4, &[SHARED]);
    let bad = Descriptor { completion_addr: NOWHERE, ..nop() };
    for pasid in 1..=3 {
        run(&d, pasid, &bad);
    }
    assert_eq!((d.r64(EVLSTATUS) >> 32 & 0xffff, software_error(&d)), (3, None), "one entry stays free");
    run(&d, 4, &bad);
    assert_eq!(software_error(&d), Some(bare(status::SWERR_EVENT_LOG)), "not the error that found no place");
    assert_eq!(d.r32(INTCAUSE) & (CAUSE_ERROR | CAUSE_EVENT_LOG), CAUSE_ERROR | CAUSE_EVENT_LOG);
    run(&d, 5, &bad);
    assert_eq!(software_error(&d).unwrap().flags, swerr::VALID | swerr::OVERFLOW);
    d.w32(EVLSTATUS, 3);
    run(&d, 6, &bad);
    assert_eq!(d.r64(EVLSTATUS) & 0xffff_0000_ffff, 3, "the tail has come around");
    assert_eq!(Entry::read(&d, 3).head >> 40, 6);
}

#[test]
fn an_event_log_in_memory_that_is_not_there_says_so() {
    let d = logging(64, &[SHARED]);
    assert_eq!(d.command(DISABLE_DEVICE, 0), 0);
    d.w32(GENCFG, 0);
    d.w64(EVLCFG, NOWHERE);
    d.w32(GENCFG, 1 << 13);
    assert_eq!([ENABLE_DEVICE, ENABLE_WQ].map(|command| d.command(command, 0)), [0; 2]);
    run(&d, 6, &Descriptor { completion_addr: NOWHERE, ..nop() });
    assert_eq!((d.r64(EVLSTATUS), software_error(&d)), (0, Some(bare(status::SWERR_EVENT_LOG))));
}

/// Without overflow of the event log, an engine waits until software makes room; whoever stops it need not.
#[test]
fn an_event_log_that_does_not_overflow_holds_the_engine_up() {
    let mut config = Config::granite_rapids();
    config.gencap &= !gencap::EVENT_LOG_OVERFLOW;
    let d = logging_with(config, 4, &[SHARED]);
    let fill_up = |pasids: std::ops::Range<u32>| {
        for pasid in pasids {
            let bad = Descriptor { completion_addr: NOWHERE, ..nop() };
            assert_eq!(d.enqcmd(0, pasid, &bad), PortalAnswer::Accepted);
        }
        assert_eq!(d.enqcmd(0, 9, &with_record(nop(), 1)), PortalAnswer::Accepted);
        // The one before it has been taken, and finds no room.
        wait(|| d.occupancy(0) == 1);
    };
    let tail = || d.r64(EVLSTATUS) >> 32 & 0xffff;
    fill_up(1..5);
    assert_eq!((tail(), d.status(RECORDS + 32)), (3, 0));
    d.w32(EVLSTATUS, 1);
    wait(|| d.status(RECORDS + 32) == status::SUCCESS);
    assert_eq!((tail(), Entry::read(&d, 3).head >> 40), (0, 4), "nothing is lost");
    // Full again, and now the descriptor that waits is aborted, with the one behind it.
    d.memory.write(RECORDS + 32, &[0; 32]).unwrap();
    fill_up(5..6);
    assert_eq!(d.command(ABORT_WQ, 1), 0);
    assert_eq!((tail(), d.status(RECORDS + 32), d.function.counters().discarded), (0, 0, 2));
    assert_eq!(software_error(&d), None);
}

/// A way to change the configuration space.
type Change = fn(&Driver);

#[test]
fn a_change_of_pci_configuration_halts_a_device_that_is_not_disabled() {
    let lacking_pasids = || PciControl { pasid: false, ..PciControl::default() };
    let changes: [Change; 3] = [
        |d| d.function.set_pci_control(PciControl { pasid: false, ..PciControl::default() }),
        |d| d.function.set_pci_control(PciControl { privileged: false, ..PciControl::default() }),
        |d| d.function.pci_configuration_changed(),
    ];
    for change in changes {
        // The register alone has this error, also where there is an event log.
        let d = logging(64, &[SHARED]);
        d.function.set_pci_control(PciControl::default());
        assert_eq!((software_error(&d), d.device_state()), (None, 1), "nothing has changed");
        change(&d);
        assert_eq!(software_error(&d), Some(bare(status::SWERR_PCI_CONFIG)));
        assert_eq!((d.device_state(), d.r64(EVLSTATUS)), (3, 0));
        assert_eq!((d.r32(INTCAUSE), d.interrupts.take()), (CAUSE_ERROR | CAUSE_HALT, vec![0, 0]));
        assert_eq!(d.enqcmd(0, 1, &nop()), PortalAnswer::Retry);
        // It cannot halt twice.
        d.function.set_pci_control(lacking_pasids());
        d.function.pci_configuration_changed();
        assert_eq!(software_error(&d), Some(bare(status::SWERR_PCI_CONFIG)));
        assert_eq!((d.command(RESET_DEVICE, 0), d.device_state(), software_error(&d)), (0, 0, None));
        // Disabled, it may be changed.
        d.function.set_pci_control(PciControl::default());
        d.function.set_pci_control(lacking_pasids());
        d.function.pci_configuration_changed();
        assert_eq!((d.device_state(), software_error(&d)), (0, None));
    }
}

#[test]
fn without_bus_mastering_the_halt_that_follows_cannot_interrupt() {
    let d = enabled(Config::sapphire_rapids(), &[SHARED]);
    d.w32(GENCTRL, ERROR_AND_HALT);
    d.function.set_pci_control(PciControl { bus_master: false, ..PciControl::default() });
    assert_eq!(software_error(&d), Some(bare(status::SWERR_PCI_CONFIG)));
    assert_eq!((d.device_state(), d.r32(INTCAUSE), d.interrupts.take()), (3, 0, vec![]));
}

/// A function whose group has traffic classes 2 and 5.
fn with_classes(d: Driver) -> Driver {
    d.configure(&[SHARED]);
    d.w64(d.group_register(0, 40), 96 << 20 | 5 << 3 | 2);
    assert_eq!([ENABLE_DEVICE, ENABLE_WQ].map(|command| d.command(command, 0)), [0; 2]);
    d
}

const FIRST: u8 = 1 << 2;
const SECOND: u8 = 1 << 5;

#[test]
fn a_traffic_class_without_a_channel_ends_with_0x1e() {
    let d = with_classes(function(Config::granite_rapids().manual()));
    let ends = |descriptor: &Descriptor, flags: u32| {
        d.memory.write(RECORDS, &[0; 32]).unwrap();
        run(&d, 1, &with_flags(*descriptor, CR | flags));
        d.status(RECORDS)
    };
    let copy = memmove(SRC, DST, 64);
    let copy_crc = Descriptor { dst_addr: DST, ..desc(opcode::COPY_CRC, 0) };
    let copy_crc = Descriptor { src_addr: SRC, xfer_size: 64, ..copy_crc };
    let [one, two, three] = [flag::ADDR1_TC, flag::ADDR2_TC, flag::ADDR3_TC];
    for flags in [0, one, two, one | two, flag::CR_TC] {
        assert_eq!(ends(&copy, flags), status::SUCCESS, "all classes have a channel");
    }
    d.function.set_traffic_classes(FIRST);
    d.memory.write(SRC, &noise(64, 1)).unwrap();
    d.memory.write(DST, &[0; 64]).unwrap();
    for flags in [one, two, one | two] {
        assert_eq!(ends(&copy, flags), status::BAD_TRAFFIC_CLASS, "{flags:#x}");
    }
    let mut untouched = [1; 64];
    d.memory.read(DST, &mut untouched).unwrap();
    assert_eq!(untouched, [0; 64]);
    assert_eq!([ends(&copy, 0), ends(&copy_crc, 0)], [status::SUCCESS; 2]);
    // The seed's selector counts with a seed in memory.
    assert_eq!(ends(&copy_crc, three), status::SUCCESS);
    let seeded = Descriptor { op_specific: [0, SRC, 0], ..copy_crc };
    assert_eq!(ends(&seeded, flag::CRC_READ_SEED | three), status::BAD_TRAFFIC_CLASS);
    // Of a batch the list, and its members.
    let members = [with_flags(with_record(copy, 1), CR | one), with_record(nop(), 2)];
    d.memory.write(LIST, members.as_bytes()).unwrap();
    let batch = Descriptor { src_addr: LIST, xfer_size: 2, ..desc(opcode::BATCH, 0) };
    assert_eq!(ends(&batch, one), status::BAD_TRAFFIC_CLASS);
    assert_eq!(ends(&batch, 0), status::BATCH_FAIL);
    assert_eq!([1, 2].map(|i| d.status(RECORDS + 32 * i)), [status::BAD_TRAFFIC_CLASS, status::SUCCESS]);
    // Those of an operation's addresses alone count, for what has none the record's.
    d.function.set_traffic_classes(SECOND);
    for other in [nop(), copy] {
        let expected = if other.opcode() == opcode::NOP { status::SUCCESS } else { status::BAD_TRAFFIC_CLASS };
        assert_eq!(ends(&other, flag::CR_TC), expected);
    }
    assert_eq!(ends(&copy, one | two | flag::CR_TC), status::SUCCESS);
    assert_eq!(software_error(&d), None);
}

#[test]
fn a_record_of_a_traffic_class_without_a_channel_is_not_written() {
    let d = function(Config::sapphire_rapids().manual());
    // As the groups are when the device is enabled, not when the channels are set up.
    d.function.set_traffic_classes(FIRST);
    let d = with_classes(d);
    d.memory.write(DST, &[7; 8]).unwrap();
    run(&d, 3, &with_flags(fill(DST, 0, 8), CR | flag::CR_TC));
    let error = software_error(&d).unwrap();
    assert_eq!((error.error, error.opcode, error.pasid), (status::BAD_TRAFFIC_CLASS, opcode::FILL, 3));
    assert_eq!(error.flags, swerr::VALID | swerr::DESC_VALID | swerr::WQ_VALID);
    let mut untouched = [0; 8];
    d.memory.read(DST, &mut untouched).unwrap();
    assert_eq!((d.status(RECORDS), untouched), (0, [7; 8]), "neither the record nor the operation");
    // Without a record an operand's class is a software error as well.
    d.w64(SWERROR, swerr::VALID | swerr::OVERFLOW);
    run(&d, 3, &with_flags(fill(DST, 0, 8), flag::ADDR2_TC));
    assert_eq!(software_error(&d).unwrap().error, status::BAD_TRAFFIC_CLASS);
    // Channels belong to the configuration space, which outlives the registers.
    d.function.reset();
    let d = with_classes(d);
    run(&d, 3, &with_flags(nop(), CR | flag::CR_TC));
    assert_eq!(software_error(&d).unwrap().error, status::BAD_TRAFFIC_CLASS);
}
