//! A page fault in an operand says nothing about a completion record that happens to lie in the same page.

use std::time::{Duration, Instant};

use dsa_emulator::{Config, Device, Effect, Enqcmd, FaultRule};
use idxd_sys::{CompletionRecord, Descriptor, flag, opcode, status};

/// One page with an operand and, behind it, the record.
#[repr(C, align(4096))]
struct Page {
    operand: [u8; 64],
    record: CompletionRecord,
    rest: [u8; 4000],
}

#[test]
fn a_fault_in_an_operand_does_not_swallow_the_record() {
    let fault = FaultRule::new(Effect::PageFault { resolvable: false }).limit(1);
    let device = Device::new(Config::sapphire_rapids().fault(fault)).unwrap();
    let client = device.open(0).unwrap();
    let page = Box::into_raw(Box::new(Page { operand: [0; 64], record: CompletionRecord::default(), rest: [0; 4000] }));
    // SAFETY: the page is alive; only addresses are taken.
    let (operand, record) = unsafe { (&raw mut (*page).operand, &raw mut (*page).record) };
    let mut d = Descriptor {
        completion_addr: record.expose_provenance() as u64,
        dst_addr: operand.expose_provenance() as u64,
        src_addr: u64::MAX,
        xfer_size: 1,
        ..Descriptor::default()
    };
    d.set_opcode_flags(opcode::FILL, flag::CRAV | flag::RCR);
    // SAFETY: operand and record are not touched before `quiesce` has returned.
    assert_eq!(unsafe { client.enqcmd(&d) }, Enqcmd::Accepted);
    let begun = Instant::now();
    while device.counters().total_executed() == 0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "not executed");
        std::thread::yield_now();
    }
    client.quiesce();
    // SAFETY: made by `Box::into_raw`; the device is done with it.
    let page = unsafe { Box::from_raw(page) };
    assert_eq!(page.record.status, status::PAGE_FAULT | status::FAULT_WRITE, "{:?}", device.software_error());
    assert_eq!((page.record.bytes_completed, page.operand[0], page.rest[0]), (0, 0, 0));
}
