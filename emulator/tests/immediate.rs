//! A device that executes inside the submission.

mod common;

use common::*;
use dsa_emulator::{Config, Device, Enqcmd, WqConfig};
use idxd_sys::status;

#[test]
fn a_descriptor_is_complete_when_its_submission_returns() {
    let memory = memory();
    let config = Config::sapphire_rapids().queue(WqConfig::shared(4)).immediate();
    let device = Device::with_memory(config, memory.clone()).unwrap();
    let client = device.open(0).unwrap();
    for round in 0..100 {
        // SAFETY: checked memory.
        assert_eq!(unsafe { client.enqcmd(&with_record(fill(DST, round, 256), 0)) }, Enqcmd::Accepted);
        assert_eq!(memory.status(RECORDS), Ok(status::SUCCESS));
        memory.write(RECORDS, &[0; 32]).unwrap();
    }
    assert_eq!((client.outstanding(), device.run_one()), (0, false));
}

#[test]
fn a_queue_that_is_closed_keeps_nobody_waiting() {
    let memory = memory();
    let device = Device::with_memory(Config::sapphire_rapids().immediate(), memory).unwrap();
    let client = device.open(0).unwrap();
    device.halt();
    // SAFETY: checked memory.
    assert_eq!(unsafe { client.enqcmd(&with_record(fill(DST, 1, 256), 0)) }, Enqcmd::Retry);
    client.quiesce();
}

#[test]
fn everything_that_threads_submit_is_executed() {
    let memory = memory();
    let config = Config::sapphire_rapids().queue(WqConfig::shared(64)).immediate();
    let device = Device::with_memory(config, memory.clone()).unwrap();
    let client = device.open(0).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let client = &client;
            scope.spawn(move || {
                for _ in 0..2_000 {
                    // SAFETY: checked memory.
                    while unsafe { client.enqcmd(&with_record(fill(DST, 1, 64), thread)) } == Enqcmd::Retry {
                        std::thread::yield_now();
                    }
                }
            });
        }
    });
    client.quiesce();
    assert_eq!(device.counters().accepted, 6_000);
    assert_eq!(device.counters().records, 6_000);
}
