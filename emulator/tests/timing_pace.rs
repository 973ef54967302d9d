//! Records that are held for the modelled time.

mod common;

use common::*;
use dsa_emulator::timing::Timing;
use dsa_emulator::{Config, Device, Enqcmd, WqConfig};
use idxd_sys::{opcode, status};

#[test]
fn a_held_record_is_given_up_when_the_queue_is_aborted() {
    let mut timing = Timing::sapphire_rapids();
    // The longest that there is: who waits for it sees the record.
    timing.device.record_ns = 1_000_000_000;
    let memory = memory();
    let config = Config::sapphire_rapids().queue(WqConfig::shared(8)).paced(timing);
    let device = Device::with_memory(config, memory.clone()).unwrap();
    let client = device.open(0).unwrap();
    // SAFETY: checked memory, where any 64 bytes are fine.
    assert_eq!(unsafe { client.enqcmd(&nop()) }, Enqcmd::Accepted);
    while client.occupancy() != 0 {
        std::thread::yield_now();
    }
    device.abort_wq(0).unwrap();
    assert_eq!(memory.status(RECORDS).unwrap(), status::NONE);
    assert!(!client.drain(), "it was discarded");
}

#[test]
fn holding_changes_nothing_but_the_time() {
    let config = || Config::granite_rapids().queue(WqConfig::shared(64).block_on_fault(true));
    let (plain, paced) = (rig_of(config()), rig_of(config().paced(Timing::granite_rapids())));
    for rig in [&plain, &paced] {
        rig.put(SRC, &noise(5000, 1));
        rig.absent(DST + PAGE);
    }
    let list = [memmove(SRC, DST2, 100), fill(DST2 + 200, 7, 64), nop()];
    for d in [memmove(SRC, DST, 5000), compare(SRC, SRC, 5000), desc(opcode::TRANSL_FETCH, 0), nop()] {
        assert_eq!(plain.run(&d), paced.run(&d), "{:#x}", d.opcode());
    }
    assert_eq!(plain.run(&plain.list(&list)), paced.run(&paced.list(&list)));
    assert_eq!(plain.bytes(DST2, 300), paced.bytes(DST2, 300));
    assert_eq!(plain.device.counters(), paced.device.counters());
}
