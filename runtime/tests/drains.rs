//! The wait for every earlier descriptor: by a DRAIN descriptor, and by looking where there is none.

mod support;

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use dsa::stats::{Event, Operation, Path, Reason};
use dsa::{Accelerator, Policy};
use dsa_emulator::{Config, Device, Effect, FaultRule, WqConfig};
use idxd_sys::opcode;
use support::late::{Counter, LATE, LEN, copy, launch, poll_with, settled};
use support::tracked::Ledger;
use support::{Watchdog, assert_same, block_on, eventually, poll_once, quiet, within};

/// Copies start late, everything else at once.
fn late_copies() -> FaultRule {
    FaultRule::new(Effect::Delay(LATE)).opcode(opcode::MEMMOVE)
}

fn accelerator(
    queues: impl IntoIterator<Item = WqConfig>,
    faults: impl IntoIterator<Item = FaultRule>,
) -> (Device, Accelerator) {
    let config = queues.into_iter().fold(Config::sapphire_rapids().engines(4), Config::queue);
    let device = Device::new(faults.into_iter().fold(config, Config::fault)).unwrap();
    let mut policy = Policy::default();
    policy.min_device_size = Some(0);
    policy.lanes = 2;
    policy.spin = Duration::ZERO;
    policy.self_wake = Duration::ZERO;
    policy.dead_after = Duration::from_millis(2);
    policy.lost_after = Duration::from_millis(200);
    let acc = Accelerator::builder().policy(policy).emulator(&device).build().unwrap();
    (device, acc)
}

/// Queues with and without DRAIN.
fn queues() -> [(WqConfig, Path); 4] {
    [
        (WqConfig::shared(64), Path::Device),
        (WqConfig::dedicated(64), Path::Device),
        (WqConfig::shared(64).without(opcode::DRAIN), Path::Cpu),
        (WqConfig::dedicated(64).without(opcode::DRAIN), Path::Cpu),
    ]
}

/// Copies that nobody waits for any more. Their memory is leaked, so that it can be looked at.
fn forget_copies(acc: &Accelerator, count: usize) -> Vec<&'static [u8]> {
    (0..count)
        .map(|number| {
            let mut dst = vec![0u8; LEN];
            let memory = dst.as_mut_ptr();
            let mut operation = acc.copy(vec![number as u8 + 1; LEN], dst);
            launch(&mut operation);
            std::mem::forget(operation);
            // SAFETY: leaked with the future. Looked at only when the device is done with it, which is what is tested.
            unsafe { std::slice::from_raw_parts(memory, LEN) }
        })
        .collect()
}

#[track_caller]
fn all_written(memory: &[&[u8]]) {
    for (number, bytes) in memory.iter().enumerate() {
        assert_same(bytes, &vec![number as u8 + 1; LEN], "forgotten copy");
    }
}

#[test]
fn forgotten_operations_are_waited_for() {
    for (queue, path) in queues() {
        let (_device, acc) = accelerator([queue.clone()], [late_copies()]);
        let memory = forget_copies(&acc, 8);
        let mut drain = acc.drain();
        launch(&mut drain);
        block_on("drain", within("drain", drain)).unwrap();
        all_written(&memory);
        let memory = forget_copies(&acc, 8);
        let watchdog = Watchdog::start("blocking drain");
        acc.blocking().drain();
        drop(watchdog);
        all_written(&memory);
        let stats = acc.stats();
        assert_eq!(stats.operations(path, Operation::Drain), 2, "{queue:?}\n{stats}");
        assert_eq!(stats.reason(Reason::Unsupported), if path == Path::Cpu { 2 } else { 0 }, "{stats}");
        assert_eq!((acc.in_flight(), acc.leaked()), (16, 0), "what is forgotten keeps its slot, and nothing else does");
    }
}

#[test]
fn dropped_operations_are_waited_for() {
    for (queue, _) in queues() {
        let (_device, acc) = accelerator([queue], [late_copies()]);
        let ledger = Ledger::new();
        for _ in 0..8 {
            launch(&mut copy(&acc, &ledger));
        }
        block_on("drain", within("drain", acc.drain())).unwrap();
        // The device is done with all of them; the poller may have to be told.
        settled(&acc, &ledger);
    }
}

/// A device that executes a descriptor only when it is told to.
fn held(queue: WqConfig) -> (Device, Accelerator) {
    let device = Device::new(Config::sapphire_rapids().queue(queue).manual()).unwrap();
    let mut policy = Policy::default();
    policy.min_device_size = Some(0);
    (policy.spin, policy.self_wake) = (Duration::ZERO, Duration::ZERO);
    let acc = Accelerator::builder().policy(policy).emulator(&device).build().unwrap();
    (device, acc)
}

/// Has the device execute so many descriptors, and the DRAIN that may follow them.
fn execute(device: &Device, count: usize, path: Path) {
    for _ in 0..count + usize::from(path == Path::Device) {
        assert!(device.run_one());
    }
}

/// What is submitted after the first poll is not waited for.
#[test]
fn later_operations_are_not() {
    for (queue, path) in queues() {
        let (device, acc) = held(queue);
        let memory = forget_copies(&acc, 2);
        let mut drain = acc.drain();
        launch(&mut drain);
        let mut later = acc.crc32c(vec![1u8; LEN]);
        launch(&mut later);
        execute(&device, 1, Path::Cpu);
        assert!(poll_once(&mut drain).is_pending(), "one of the copies is out");
        execute(&device, 1, path);
        block_on("drain", within("drain", drain)).unwrap();
        all_written(&memory);
        assert!(poll_once(&mut later).is_pending(), "nobody has executed it");
        execute(&device, 1, Path::Cpu);
        block_on("later", within("later", later)).unwrap();
    }
}

/// Descriptors are waited for: the pieces that a pending operation sends meanwhile go behind the wait.
#[test]
fn later_pieces_are_not() {
    const PIECES: usize = 5;
    for (queue, path) in queues() {
        let (device, acc) = held(queue.max_transfer_size(4096));
        let mut copy = acc.copy(vec![1u8; PIECES * 4096], vec![0; PIECES * 4096]);
        launch(&mut copy);
        let mut drain = acc.drain();
        launch(&mut drain);
        execute(&device, 1, Path::Cpu);
        assert!(poll_once(&mut copy).is_pending(), "the second piece is out");
        if path == Path::Device {
            execute(&device, 1, Path::Cpu);
        }
        block_on("drain", within("drain", drain)).unwrap();
        assert_eq!(acc.in_flight(), 1, "the copy goes on");
        eventually("copied", || {
            device.run_until_idle();
            poll_once(&mut copy).is_ready()
        });
        assert_eq!((device.counters().executed(opcode::MEMMOVE), acc.in_flight()), (PIECES as u64, 0));
    }
}

#[test]
fn nothing_to_wait_for() {
    let acc = Accelerator::cpu();
    assert_eq!(poll_once(&mut acc.drain()), Poll::Ready(Ok(())));
    acc.blocking().drain();
    assert_eq!(acc.stats().operations(Path::Cpu, Operation::Drain), 2);
    assert_eq!(acc.stats().reason(Reason::NoDevice), 2);
    let (_device, acc) = accelerator([WqConfig::shared(8).without(opcode::DRAIN)], []);
    assert_eq!(poll_once(&mut acc.drain()), Poll::Ready(Ok(())));
    drop(acc.drain());
    assert_eq!(acc.stats().event(Event::Submissions), 0);
}

/// Every queue has to be at rest, by whatever way.
#[test]
fn several_queues() {
    let plain = WqConfig::shared(16);
    let (_device, acc) =
        accelerator([plain.clone().without(opcode::DRAIN), plain.clone(), WqConfig::dedicated(16)], [late_copies()]);
    let threads: Vec<_> = (0..6)
        .map(|_| {
            let acc = acc.clone();
            std::thread::spawn(move || forget_copies(&acc, 4))
        })
        .collect();
    let memory: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    block_on("drain", within("drain", acc.drain())).unwrap();
    for memory in &memory {
        all_written(memory);
    }
}

/// No room for a DRAIN: the accelerator looks itself.
#[test]
fn a_full_queue() {
    for queue in [WqConfig::shared(2), WqConfig::dedicated(2)] {
        let config = Config::sapphire_rapids().queue(queue).engines(1).fault(late_copies());
        let device = Device::new(config).unwrap();
        let mut policy = Policy::default();
        (policy.min_device_size, policy.retries) = (Some(0), 0);
        let acc = Accelerator::builder().policy(policy).emulator(&device).build().unwrap();
        let ledger = Ledger::new();
        let mut full = Vec::new();
        // One is being executed, and does not count on a shared queue.
        while acc.stats().reason(Reason::QueueFull) == 0 {
            let mut operation = copy(&acc, &ledger);
            match poll_once(&mut operation) {
                Poll::Pending => full.push(operation),
                Poll::Ready(done) => drop(done.unwrap()),
            }
        }
        let mut drain = acc.drain();
        let before = acc.stats();
        if poll_once(&mut drain).is_pending() {
            block_on("drain", within("drain", drain)).unwrap();
        }
        let done = acc.stats().since(&before);
        assert_eq!(done.operations(Path::Device, Operation::Drain) + done.operations(Path::Cpu, Operation::Drain), 1);
        // All of them are complete: a single poll each.
        for operation in &mut full {
            assert!(poll_once(operation).is_ready());
        }
        drop(full);
        settled(&acc, &ledger);
    }
}

#[test]
fn dropped_and_forgotten_drains() {
    for (queue, path) in queues() {
        let (_device, acc) = accelerator([queue], [late_copies()]);
        let memory = forget_copies(&acc, 2);
        let woken = Counter::new();
        let mut dropped = acc.drain();
        assert!(poll_with(&mut dropped, &woken.waker()).is_pending());
        drop(dropped);
        let mut forgotten = acc.drain();
        assert!(poll_with(&mut forgotten, &woken.waker()).is_pending());
        std::mem::forget(forgotten);
        block_on("drain", within("drain", acc.drain())).unwrap();
        all_written(&memory);
        // What is dropped leaves nothing; what is forgotten keeps a slot if it has sent something.
        let kept = 2 + usize::from(path == Path::Device);
        eventually("the dropped one's slot is free", || acc.in_flight() == kept);
        assert_eq!(acc.leaked(), 0);
        // The dropped one's waker is gone; the other one's may be in its slot, or have been used.
        eventually("wakers are dropped", || Arc::strong_count(&woken) <= 2);
    }
}

/// Completed on another thread, and polled again with another waker.
#[test]
fn moved_drains_and_changing_wakers() {
    for (queue, _) in queues() {
        let (_device, acc) = accelerator([queue], [late_copies()]);
        let memory = forget_copies(&acc, 2);
        let mut drain = acc.drain();
        let (first, second) = (Counter::new(), Counter::new());
        assert!(poll_with(&mut drain, &first.waker()).is_pending());
        let mut drain = std::thread::spawn(move || {
            assert!(poll_with(&mut drain, &second.waker()).is_pending());
            eventually("the latest waker is woken", || second.count() > 0);
            drain
        })
        .join()
        .unwrap();
        // Woken for the first queue that is at rest, and there is only one.
        eventually("drained", || poll_with(&mut drain, &first.waker()).is_ready());
        all_written(&memory);
    }
}

/// A descriptor that is lost is found out, and with its queue quiesced there is nothing left to wait for.
#[test]
fn lost_descriptors_end_with_a_recovery() {
    for (queue, path) in queues() {
        let config = Config::sapphire_rapids().queue(queue.clone()).fault(FaultRule::new(Effect::Lose).limit(2));
        let device = Device::new(config).unwrap();
        let mut policy = Policy::default();
        (policy.min_device_size, policy.lost_after) = (Some(0), Duration::from_millis(200));
        (policy.dead_after, policy.self_wake) = (Duration::from_millis(20), Duration::from_millis(20));
        let acc = Accelerator::builder().policy(policy).emulator(&device).build().unwrap();
        let mut lost = acc.copy(vec![1u8; LEN], vec![0; LEN]);
        launch(&mut lost);
        // It still looks for itself, so that the poller knows nothing of it, and now nobody will.
        std::mem::forget(lost);
        assert_eq!(acc.stats().event(Event::Parks), 0);
        // With DRAIN that one is lost, too.
        block_on("drain", within("drain", acc.drain())).unwrap();
        assert_eq!(acc.recoveries(), 1, "{queue:?}");
        assert_eq!(acc.stats().operations(path, Operation::Drain), 1);
        let mut lost = acc.copy(vec![1u8; LEN], vec![0; LEN]);
        if poll_once(&mut lost).is_pending() {
            std::mem::forget(lost);
        }
        let _watchdog = Watchdog::start("blocking drain");
        acc.blocking().drain();
    }
}

#[test]
fn a_device_that_goes_away() {
    let blows: [fn(&Device); 4] =
        [|device| device.disable().unwrap(), |device| device.abort_all().unwrap(), Device::halt, Device::reset];
    for (queue, _) in queues() {
        for strike in blows {
            let (device, acc) = accelerator([queue.clone()], [late_copies()]);
            let ledger = Ledger::new();
            let mut operations: Vec<_> = (0..4).map(|_| copy(&acc, &ledger)).collect();
            for operation in &mut operations {
                launch(operation);
            }
            let mut drain = acc.drain();
            launch(&mut drain);
            let striker = {
                let device = device.clone();
                std::thread::spawn(move || strike(&device))
            };
            block_on("drain", within("drain", drain)).unwrap();
            // A queue that is closed, or being recovered, is waited for as well.
            block_on("drain", within("drain", acc.drain())).unwrap();
            striker.join().unwrap();
            for operation in operations {
                let (_, dst) = block_on("copy", within("copy", operation)).unwrap();
                assert_same(dst.bytes(), &vec![7; LEN], "copy");
            }
            quiet(&acc);
        }
    }
}

#[test]
#[should_panic(expected = "polled after it had completed")]
fn a_completed_drain_has_nothing_more_to_give() {
    let mut drain = Accelerator::cpu().drain();
    assert!(poll_once(&mut drain).is_ready());
    let _ = poll_once(&mut drain);
}
