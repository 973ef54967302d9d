//! Who gets a descriptor into a queue, and what becomes of one that does not fit.

mod common;

use std::sync::atomic::{AtomicU64, Ordering};

use common::*;
use dsa_emulator::{Client, Config, Device, Effect, Enqcmd, FaultRule, Mode, OpenError, WqConfig};
use idxd_sys::{CompletionRecord, Descriptor, flag, opcode, status};

fn enqcmd(client: &Client, d: &Descriptor) -> Enqcmd {
    // SAFETY: checked memory, where any 64 bytes are fine.
    unsafe { client.enqcmd(d) }
}

fn movdir64b(client: &Client, d: &Descriptor) {
    // SAFETY: as above.
    unsafe { client.movdir64b(d) }
}

#[test]
fn the_limited_portal_accepts_below_the_threshold_the_unlimited_below_the_size() {
    let rig = rig_of(Config::sapphire_rapids().queue(WqConfig::shared(8).threshold(5)));
    for _ in 0..5 {
        assert_eq!(enqcmd(&rig.client, &nop()), Enqcmd::Accepted);
    }
    assert_eq!(enqcmd(&rig.client, &nop()), Enqcmd::Retry);
    for _ in 0..3 {
        // SAFETY: checked memory.
        assert_eq!(unsafe { rig.client.enqcmd_unlimited(&nop()) }, Enqcmd::Accepted);
    }
    // SAFETY: checked memory.
    assert_eq!(unsafe { rig.client.enqcmd_unlimited(&nop()) }, Enqcmd::Retry);
    assert_eq!(rig.client.occupancy(), 8);
    assert!(rig.device.run_one());
    assert_eq!(rig.client.occupancy(), 7);
    assert_eq!(enqcmd(&rig.client, &nop()), Enqcmd::Retry, "7 is still above the threshold");
    assert_eq!(rig.device.run_until_idle(), 7);
    let counters = rig.device.counters();
    assert_eq!((counters.accepted, counters.retries, counters.executed(opcode::NOP)), (8, 3, 8));
}

#[test]
fn enqcmd_to_a_dedicated_queue_is_retry_for_ever() {
    let rig = rig_of(Config::sapphire_rapids().queue(WqConfig::dedicated(8)));
    assert_eq!(enqcmd(&rig.client, &nop()), Enqcmd::Retry);
    assert_eq!(rig.client.occupancy(), 0);
}

#[test]
fn a_full_dedicated_queue_loses_the_descriptor_and_latches_0x53() {
    let rig = rig_of(Config::sapphire_rapids().queue(WqConfig::dedicated(4)));
    for _ in 0..4 {
        movdir64b(&rig.client, &nop());
    }
    assert_eq!(rig.device.software_error(), None);
    movdir64b(&rig.client, &memmove(SRC, DST, 1));
    let error = rig.device.software_error().unwrap();
    assert_eq!((error.error, error.opcode, error.overflow), (0x53, opcode::MEMMOVE, false));
    movdir64b(&rig.client, &nop());
    assert!(rig.device.software_error().unwrap().overflow);
    rig.device.clear_software_error();
    assert_eq!(rig.device.software_error(), None);
    assert_eq!(rig.device.run_until_idle(), 4);
    assert_eq!(rig.device.counters().dropped, 2);
}

#[test]
fn movdir64b_to_a_shared_or_disabled_queue_is_dropped_silently() {
    let shared = rig();
    movdir64b(&shared.client, &nop());
    let disabled = rig_of(Config::sapphire_rapids().queue(WqConfig::dedicated(4)));
    disabled.device.disable_wq(0).unwrap();
    movdir64b(&disabled.client, &nop());
    for rig in [shared, disabled] {
        assert_eq!(rig.device.run_until_idle(), 0);
        assert_eq!(rig.device.software_error(), None);
        assert_eq!(rig.device.counters().dropped, 1);
    }
}

#[test]
fn enqcmd_is_retry_on_a_disabled_queue_a_disabled_device_and_a_halted_device() {
    let rig = rig();
    rig.device.disable_wq(0).unwrap();
    assert!(!rig.client.is_enabled());
    assert_eq!(enqcmd(&rig.client, &nop()), Enqcmd::Retry);
    rig.device.enable_wq(0).unwrap();
    assert_eq!(enqcmd(&rig.client, &nop()), Enqcmd::Accepted);
    rig.device.disable().unwrap();
    assert_eq!(enqcmd(&rig.client, &nop()), Enqcmd::Retry);
    rig.device.enable().unwrap();
    rig.device.enable_wq(0).unwrap();
    rig.device.halt();
    assert_eq!(enqcmd(&rig.client, &nop()), Enqcmd::Retry);
    assert_eq!(rig.device.counters().retries, 3);
}

#[test]
fn a_descriptor_runs_under_its_clients_pasid_whatever_its_first_bytes_say() {
    let rig = rig();
    let client = rig.device.open_with_pasid(0, 77).unwrap();
    // A record that cannot be written shows the PASID in the software error.
    let d = Descriptor { pasid: 0x8000_0001, completion_addr: RECORDS + 8, ..nop() };
    assert_eq!(enqcmd(&client, &d), Enqcmd::Accepted);
    rig.device.run_until_idle();
    assert_eq!(rig.device.software_error().unwrap().pasid, 77);
}

#[test]
fn a_dedicated_queue_admits_one_client_and_a_shared_one_many() {
    let config = Config::sapphire_rapids().queue(WqConfig::shared(8)).queue(WqConfig::dedicated(8));
    let device = Device::new(config).unwrap();
    assert_eq!(device.work_queues(), 2);
    let (a, b) = (device.open(0).unwrap(), device.open(0).unwrap());
    assert_ne!(a.info().pasid, b.info().pasid);
    let first = device.open(1).unwrap();
    assert_eq!(first.info().mode, Mode::Dedicated);
    assert_eq!(device.open(1).unwrap_err(), OpenError::Busy);
    drop(first);
    assert!(device.open(1).is_ok());
    assert_eq!(device.open(2).unwrap_err(), OpenError::NoQueue);
    assert_eq!(device.open_with_pasid(0, 1 << 20).unwrap_err(), OpenError::Pasid);
    device.disable_wq(0).unwrap();
    assert_eq!(device.open(0).unwrap_err(), OpenError::Disabled);
}

#[test]
fn a_client_sees_the_queues_configuration() {
    let queue = WqConfig::shared(32).threshold(20).priority(3).max_transfer_size(1 << 21).max_batch_size(512);
    let device = Device::new(Config::sapphire_rapids().queue(queue.without(opcode::BATCH))).unwrap();
    let client = device.open(0).unwrap();
    let info = client.info();
    assert_eq!((info.size, info.threshold, info.priority), (32, 20, 3));
    assert_eq!((info.max_transfer_size, info.max_batch_size, info.block_on_fault), (1 << 21, 512, false));
    assert_eq!((info.version, info.gen_cap), (0x100, 0x40_915f_0107));
    assert_eq!(info.op_config[0], 0x1_003f_027d);
}

#[test]
fn a_higher_priority_is_served_more_often_and_a_lower_one_is_not_starved() {
    let queues = [WqConfig::shared(60).priority(12), WqConfig::shared(60).priority(4)];
    let [high, low] = queues;
    let rig = rig_of(Config::sapphire_rapids().queue(high).queue(low));
    let other = rig.device.open(1).unwrap();
    for _ in 0..60 {
        rig.submit(&nop());
        assert_eq!(enqcmd(&other, &nop()), Enqcmd::Accepted);
    }
    for _ in 0..64 {
        assert!(rig.device.run_one());
    }
    assert_eq!((60 - rig.client.occupancy(), 60 - other.occupancy()), (48, 16));
}

#[test]
fn injected_retries_come_at_the_chosen_submissions_only() {
    let rig = rig();
    let rule = rig.device.inject(FaultRule::new(Effect::Retry).opcode(opcode::NOP).every(3));
    let answers: Vec<_> = (0..6).map(|_| enqcmd(&rig.client, &nop()) == Enqcmd::Retry).collect();
    assert_eq!(answers, [false, false, true, false, false, true]);
    assert_eq!(enqcmd(&rig.client, &memmove(SRC, DST, 1)), Enqcmd::Accepted);
    assert_eq!(rig.device.remove(rule), Some(2));
    assert!((0..6).all(|_| enqcmd(&rig.client, &nop()) == Enqcmd::Accepted));
}

/// Many threads, several engines, both queue kinds, in trusted memory: everything accepted runs exactly once.
#[test]
fn concurrent_submitters_lose_nothing() {
    let config = Config::sapphire_rapids()
        .queue(WqConfig::shared(32).threshold(24))
        .queue(WqConfig::shared(16))
        .engines(3)
        .spin(std::time::Duration::from_micros(5));
    let device = Device::new(config).unwrap();
    let done = AtomicU64::new(0);
    std::thread::scope(|s| {
        for t in 0..4u8 {
            let (device, done) = (&device, &done);
            s.spawn(move || {
                let client = device.open(usize::from(t % 2)).unwrap();
                let source = [t; 333];
                let mut target = [0xff; 333];
                let mut record = CompletionRecord::default();
                for round in 0..500 {
                    record.status = 0;
                    target.fill(0xff);
                    let mut d = Descriptor {
                        completion_addr: (&raw mut record).expose_provenance() as u64,
                        src_addr: source.as_ptr().expose_provenance() as u64,
                        dst_addr: target.as_mut_ptr().expose_provenance() as u64,
                        xfer_size: 333,
                        ..Descriptor::default()
                    };
                    d.set_opcode_flags(opcode::MEMMOVE, flag::CRAV | flag::RCR);
                    // SAFETY: the buffers and the record are not touched until `quiesce` returned.
                    while unsafe { client.enqcmd(&d) } == Enqcmd::Retry {
                        std::thread::yield_now();
                    }
                    if round % 16 == 0 {
                        // Lets the engines fall asleep now and then.
                        std::thread::sleep(std::time::Duration::from_micros(100));
                    }
                    client.quiesce();
                    assert_eq!((record.status, target), (status::SUCCESS, source));
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(done.into_inner(), 2000);
    let counters = device.counters();
    assert_eq!((counters.accepted, counters.executed(opcode::MEMMOVE)), (2000, 2000));
    assert_eq!((counters.records, counters.bytes, counters.failed), (2000, 2000 * 333, 0));
}
