//! The portal by the real instructions, trapped: what an operation costs, and what a queue that never answers, or drops
//! what it gets, leads to.

mod support;

use std::time::Duration;

use dsa::stats::{Event, Path};
use dsa::{Accelerator, BatchBuffers, Policy, SubmissionPath};
use dsa_emulator::{Config, Device, WqConfig};
use support::syscalls::{self, Calls};
use support::{Watchdog, assert_same, block_on, eventually, poll_once, quiet, within};

const LEN: usize = 8192;

fn queues() -> [WqConfig; 2] {
    [WqConfig::shared(16), WqConfig::dedicated(16)]
}

fn accelerator(device: &Device, change: impl FnOnce(&mut Policy)) -> Accelerator {
    let mut policy = Policy::default();
    policy.min_device_size = Some(0);
    policy.lanes = 1;
    change(&mut policy);
    Accelerator::builder().policy(policy).emulator_portals(device).build().unwrap()
}

#[test]
fn the_instructions_carry_the_descriptors() {
    for queue in queues() {
        let mode = queue.mode;
        let device = Device::new(Config::sapphire_rapids().queue(queue)).unwrap();
        let acc = accelerator(&device, |_| {});
        let info = acc.work_queues().next().unwrap();
        let expected = match mode {
            dsa_emulator::Mode::Shared => SubmissionPath::Enqcmd,
            dsa_emulator::Mode::Dedicated => SubmissionPath::Movdir64b,
        };
        assert_eq!(info.path, expected);
        let kind = match expected {
            SubmissionPath::Enqcmd => dsa_emulator::trap::decode::Kind::Enqcmd,
            _ => dsa_emulator::trap::decode::Kind::Movdir64b,
        };
        let traps = dsa_emulator::trap::trapped(kind);
        let mut target = vec![0; LEN];
        assert_eq!(acc.blocking().memcpy(&mut target, &vec![3; LEN]), Ok(Path::Device));
        assert_same(&target, &vec![3; LEN], "copy");
        assert!(dsa_emulator::trap::trapped(kind) > traps, "nothing trapped");
        assert_eq!(device.counters().accepted, 1);
    }
}

/// In the first poll a copy is submitted, and by a later one it is complete: no system call by the runtime.
#[test]
fn an_operation_makes_no_system_call() {
    const COUNT: usize = 200;
    for queue in queues() {
        let calls = syscalls::count(|| {
            // The engine is another thread that never sleeps, so that waking it costs nothing here.
            let device = Device::new(Config::sapphire_rapids().queue(queue.clone()).manual()).unwrap();
            let engine = device.clone();
            std::thread::spawn(move || {
                loop {
                    if !engine.run_one() {
                        std::thread::yield_now();
                    }
                }
            });
            let acc = accelerator(&device, |policy| {
                policy.self_wake = Duration::from_secs(10);
                policy.dead_after = Duration::from_secs(10);
                policy.lost_after = Duration::from_secs(20);
            });
            let (mut source, mut target) = (vec![1u8; LEN], vec![0; LEN]);
            for round in 0..COUNT + 3 {
                if round == 3 {
                    syscalls::begin();
                }
                let mut copy = acc.copy(source, target);
                (source, target) = loop {
                    if let std::task::Poll::Ready(done) = poll_once(&mut copy) {
                        break done.unwrap();
                    }
                };
            }
            syscalls::end();
            let stats = acc.stats();
            assert_eq!(stats.total_operations(Path::Device), COUNT as u64 + 3, "{stats}");
            assert_eq!(stats.event(Event::Flushes), COUNT as u64 + 3, "a fence for each, and no more");
        });
        assert_eq!(calls, Calls::default(), "{:?}", queue.mode);
    }
}

/// Members of a batch that a queue cannot take as a BATCH go in one flush: one fence for all of them.
#[test]
fn single_descriptors_of_a_batch_share_their_fence() {
    const MEMBERS: u64 = 12;
    for queue in queues() {
        let queue = queue.without(idxd_sys::opcode::BATCH);
        let device = Device::new(Config::sapphire_rapids().queue(queue)).unwrap();
        let acc = accelerator(&device, |_| {});
        let mut batch = acc.batch();
        for byte in 0..MEMBERS {
            batch.copy(vec![byte as u8; LEN], vec![0; LEN]);
        }
        let items = block_on("batch", async { within("batch", batch.submit()).await });
        for (byte, item) in (0..).zip(items) {
            let Some(BatchBuffers::Copy(_, target)) = item.buffers else { panic!("other buffers") };
            assert_same(&target, &vec![byte; LEN], "member");
        }
        let stats = acc.stats();
        assert_eq!((stats.event(Event::Flushes), stats.event(Event::Submissions)), (1, MEMBERS), "{stats}");
        quiet(&acc);
    }
}

/// ENQCMD to a disabled queue says "retry" for ever, MOVDIR64B says nothing: both end on the CPU, and the queue is used
/// again when it is back.
#[test]
fn a_disabled_queue_keeps_nobody_waiting() {
    for queue in queues() {
        let _watchdog = Watchdog::start("disabled");
        let device = Device::new(Config::sapphire_rapids().queue(queue)).unwrap();
        let acc = accelerator(&device, |policy| {
            policy.dead_after = Duration::from_millis(2);
            policy.lost_after = Duration::from_millis(50);
        });
        let mut target = vec![0; LEN];
        device.disable_wq(0).unwrap();
        for _ in 0..100 {
            assert_eq!(acc.blocking().memcpy(&mut target, &vec![3; LEN]), Ok(Path::Cpu));
        }
        device.enable_wq(0).unwrap();
        eventually("it is used again", || acc.blocking().memcpy(&mut target, &vec![3; LEN]) == Ok(Path::Device));
        quiet(&acc);
        assert_eq!(acc.leaked(), 0);
    }
}
