//! No room for an operation: in the queues, or for want of slots. Whatever it was told to do about that, it ends once, with
//! the right bytes or with its buffers as they were; those who wait are served in the order in which they came.

mod support;

use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use dsa::stats::{Event, Path, Reason};
use dsa::{Accelerator, BatchBuffers, Error, Policy, Pressure};
use dsa_emulator::{Config, Device, Effect, FaultRule, WqConfig};
use idxd_sys::opcode;
use support::late::{Counter, poll_with};
use support::tracked::{Ledger, Tracked};
use support::{PATIENCE, Rng, Watchdog, assert_same, block_on, eventually, poll_once, quiet, seed, within};

const LEN: usize = 8192;

/// Everything to the device, nobody spins, and nobody loses patience.
fn policy(pressure: Pressure) -> Policy {
    let mut policy = Policy::default();
    policy.min_device_size = Some(0);
    policy.lanes = 1;
    policy.retries = 0;
    policy.spin = Duration::ZERO;
    policy.self_wake = Duration::ZERO;
    policy.dead_after = PATIENCE * 10;
    policy.lost_after = PATIENCE * 10;
    policy.pressure = pressure;
    policy
}

fn accelerator(device: &Device, policy: Policy) -> Accelerator {
    Accelerator::builder().policy(policy).emulator(device).build().unwrap()
}

/// A device that executes nothing before the test has it do so.
fn held(queue: WqConfig, policy: Policy) -> (Device, Accelerator) {
    let device = Device::new(Config::sapphire_rapids().queue(queue).manual()).unwrap();
    let acc = accelerator(&device, policy);
    (device, acc)
}

/// A device on its own threads.
fn busy(queue: WqConfig, faults: impl IntoIterator<Item = FaultRule>, policy: Policy) -> (Device, Accelerator) {
    let config = Config::sapphire_rapids().queue(queue).seed(seed());
    let device = Device::new(faults.into_iter().fold(config, Config::fault)).unwrap();
    let acc = accelerator(&device, policy);
    (device, acc)
}

/// Room for one operation, by each of the ways in which there can be too little.
fn narrow(pressure: Pressure) -> [(&'static str, Device, Accelerator); 3] {
    let mut few_slots = policy(pressure);
    few_slots.slots_per_lane = 1;
    [
        ("shared", WqConfig::shared(1), policy(pressure)),
        ("dedicated", WqConfig::dedicated(1), policy(pressure)),
        ("slots", WqConfig::shared(64), few_slots),
    ]
    .map(|(name, queue, policy)| {
        let (device, acc) = held(queue, policy);
        (name, device, acc)
    })
}

fn copy(acc: &Accelerator, byte: u8) -> dsa::Copy<Vec<u8>, Vec<u8>> {
    acc.copy(vec![byte; LEN], vec![0; LEN])
}

/// Every wait has ended, in one of the ways there are.
#[track_caller]
fn waits_are_over(acc: &Accelerator) {
    let stats = acc.stats();
    let ended = [Event::WaitsServed, Event::WaitsGivenUp, Event::WaitsCancelled].map(|event| stats.event(event));
    assert_eq!(stats.event(Event::WaitsBegun), ended.iter().sum::<u64>(), "{ended:?}");
}

/// Has the device work and polls all, the last first, until everybody has ended. Gives the order of the ends.
fn order_of_ends<F: Future + Unpin>(device: &Device, operations: &mut Vec<(usize, F)>) -> Vec<usize> {
    let mut order = Vec::new();
    for _ in 0..10_000 {
        device.run_one();
        for index in (0..operations.len()).rev() {
            if poll_once(&mut operations[index].1).is_ready() {
                order.push(operations.remove(index).0);
            }
        }
        if operations.is_empty() {
            return order;
        }
    }
    panic!("{} operations never end", operations.len());
}

#[test]
fn who_waits_is_served_in_the_order_of_arrival() {
    for (name, device, acc) in narrow(Pressure::Wait) {
        let mut operations: Vec<_> = (0..8).map(|number| (number, copy(&acc, number as u8))).collect();
        for (_, operation) in &mut operations {
            assert!(poll_once(operation).is_pending(), "{name}");
        }
        assert_eq!(acc.stats().event(Event::WaitsBegun), 7, "{name}");
        assert_eq!(order_of_ends(&device, &mut operations), (0..8).collect::<Vec<_>>(), "{name}");
        let stats = acc.stats();
        assert_eq!((stats.total_operations(Path::Device), stats.total_operations(Path::Cpu)), (8, 0), "{name}");
        waits_are_over(&acc);
        quiet(&acc);
    }
}

/// Room that somebody waits for is not for newcomers, whatever they do without it.
#[test]
fn newcomers_do_not_overtake() {
    for (name, device, acc) in narrow(Pressure::Wait) {
        let (mut first, mut second) = (copy(&acc, 1), copy(&acc, 2));
        assert!(poll_once(&mut first).is_pending() && poll_once(&mut second).is_pending());
        device.run_one();
        if name != "shared" {
            let Poll::Ready(Ok(_)) = poll_once(&mut first) else { panic!("{name}: not done") };
        }
        // There is room now, and it is not theirs.
        let Poll::Ready(Err(failed)) = poll_once(&mut copy(&acc, 3).on_pressure(Pressure::Fail)) else {
            panic!("{name}: overtakes")
        };
        assert!(matches!(failed.error(), Error::Pressure { reason: Reason::QueueFull, .. }), "{name}: {failed}");
        let mut by_cpu = copy(&acc, 4).on_pressure(Pressure::Cpu);
        let Poll::Ready(Ok((src, dst))) = poll_once(&mut by_cpu) else { panic!("{name}: not done") };
        assert_same(&dst, &src, name);
        let mut third = copy(&acc, 5);
        assert!(poll_once(&mut third).is_pending());
        let mut both = vec![(2, second), (5, third)];
        assert_eq!(order_of_ends(&device, &mut both), [2, 5], "{name}");
        drop(first);
        waits_are_over(&acc);
        quiet(&acc);
    }
}

#[test]
fn a_failure_names_what_is_short_and_gives_the_buffers_back() {
    for (name, device, acc) in narrow(Pressure::Fail) {
        let mut first = copy(&acc, 1);
        assert!(poll_once(&mut first).is_pending());
        for device_only in [false, true] {
            let second = copy(&acc, 2);
            let mut second = if device_only { second.device_only() } else { second };
            let Poll::Ready(Err(failed)) = poll_once(&mut second) else { panic!("{name}: there is room") };
            let text = failed.to_string();
            let (error, buffers) = failed.into_parts();
            let Error::Pressure { reason, queues } = &error else { panic!("{name}: {error}") };
            assert_eq!(*reason, if name == "slots" { Reason::NoSlot } else { Reason::QueueFull });
            let queue = acc.work_queues().next().unwrap().name;
            assert!(**queues == queue && text.contains(&queue) && text.contains("Pressure::Wait"), "{text}");
            assert_eq!(buffers, Some((vec![2; LEN], vec![0; LEN])));
            assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::ResourceBusy);
        }
        device.run_one();
        assert!(poll_once(&mut first).is_ready());
        assert_eq!(acc.stats().total_operations(Path::Cpu), 0);
        // Where it cannot fail it is done.
        let mut dst = vec![0; LEN];
        let mut again = copy(&acc, 1);
        assert!(poll_once(&mut again).is_pending());
        assert_eq!(acc.blocking().memcpy(&mut dst, &[3; LEN]), Ok(Path::Cpu));
        assert_same(&dst, &[3; LEN], name);
        device.run_one();
        assert!(poll_once(&mut again).is_ready());
    }
}

/// A job of several pieces of which one is done is not left half-done.
#[test]
fn what_has_begun_is_finished() {
    for pressure in [Pressure::Cpu, Pressure::Wait, Pressure::Fail] {
        let (device, acc) = held(WqConfig::shared(1).max_transfer_size(4096), policy(pressure));
        let src = Rng::new(seed()).bytes(3 * 4096);
        let mut long = acc.copy(src.clone(), vec![0; src.len()]);
        assert!(poll_once(&mut long).is_pending());
        assert!(device.run_one());
        // Takes the place that the second piece needs.
        let mut other = acc.copy(vec![9; 64], vec![0; 64]);
        assert!(poll_once(&mut other).is_pending());
        let mut end = poll_once(&mut long);
        assert_eq!(end.is_pending(), pressure == Pressure::Wait);
        while end.is_pending() {
            device.run_one();
            end = poll_once(&mut long);
        }
        let Poll::Ready(Ok((_, dst))) = end else { panic!("{pressure:?} fails") };
        assert_same(&dst, &src, "copy");
        assert_eq!(acc.stats().total_operations(Path::Cpu), u64::from(pressure != Pressure::Wait));
        device.run_until_idle();
        assert!(poll_once(&mut other).is_ready());
        waits_are_over(&acc);
        quiet(&acc);
    }
}

#[test]
fn a_dropped_waiter_passes_its_turn_on_and_frees_its_buffers() {
    for (name, device, acc) in narrow(Pressure::Wait) {
        for gone in 0..3 {
            let ledger = Ledger::new();
            let make = |_| acc.copy(ledger.buffer(LEN), ledger.buffer(LEN));
            let mut out = copy(&acc, 1);
            assert!(poll_once(&mut out).is_pending());
            let mut waiting: Vec<(usize, dsa::Copy<Tracked, Tracked>)> = (0..3).map(|i| (i, make(i))).collect();
            let counters: Vec<_> = (0..3).map(|_| Counter::new()).collect();
            for ((_, operation), counter) in waiting.iter_mut().zip(&counters) {
                assert!(poll_with(operation, &counter.waker()).is_pending());
            }
            let before = acc.stats().event(Event::WaitsCancelled);
            drop(waiting.remove(gone));
            assert_eq!(ledger.dropped(), 2, "{name}: its buffers are free at once");
            assert_eq!(Arc::strong_count(&counters[gone]), 1, "{name}: and its waker");
            assert_eq!(acc.stats().event(Event::WaitsCancelled), before + 1);
            if gone == 0 {
                assert!(counters[1].count() > 0, "{name}: the turn is passed on");
            }
            device.run_one();
            assert!(poll_once(&mut out).is_ready());
            let expected: Vec<_> = (0..3).filter(|&i| i != gone).collect();
            assert_eq!(order_of_ends(&device, &mut waiting), expected, "{name}");
            waits_are_over(&acc);
            quiet(&acc);
        }
    }
}

/// Who gives room back calls the first, whoever it is that gives: a poll, or the poller on behalf of a dropped future.
#[test]
fn the_first_is_woken_when_there_is_room() {
    for (name, device, acc) in narrow(Pressure::Wait) {
        for detached in [false, true] {
            let mut out = Some(copy(&acc, 1));
            assert!(poll_once(out.as_mut().unwrap()).is_pending());
            let counters = [(); 2].map(|()| Counter::new());
            let mut waiting = [copy(&acc, 2), copy(&acc, 3)];
            for (operation, counter) in waiting.iter_mut().zip(&counters) {
                assert!(poll_with(operation, &counter.waker()).is_pending());
            }
            if detached {
                out = None;
            }
            device.run_one();
            if let Some(mut out) = out {
                assert!(poll_once(&mut out).is_ready());
            }
            for (operation, counter) in waiting.iter_mut().zip(&counters) {
                eventually("the next is woken, and has its operation out", || {
                    counter.count() > 0 && poll_with(operation, &counter.waker()).is_pending() && device.run_one()
                });
                eventually("it is done", || poll_with(operation, &counter.waker()).is_ready());
            }
            assert_eq!(acc.stats().total_operations(Path::Cpu), 0, "{name}");
            quiet(&acc);
        }
    }
}

#[test]
fn a_forgotten_waiter_holds_the_others_up_for_a_while_only() {
    for (queue, slots) in [(WqConfig::shared(1), 64), (WqConfig::dedicated(1), 64), (WqConfig::shared(64), 1)] {
        let mut policy = policy(Pressure::Wait);
        policy.dead_after = Duration::from_millis(1);
        policy.slots_per_lane = slots;
        let (device, acc) = held(queue, policy);
        let mut out = copy(&acc, 1);
        assert!(poll_once(&mut out).is_pending());
        for _ in 0..3 {
            let mut forgotten = copy(&acc, 2);
            assert!(poll_once(&mut forgotten).is_pending());
            std::mem::forget(forgotten);
        }
        let counter = Counter::new();
        let mut waiting = copy(&acc, 3);
        assert!(poll_with(&mut waiting, &counter.waker()).is_pending());
        device.run_one();
        assert!(poll_once(&mut out).is_ready());
        eventually("it is out", || poll_with(&mut waiting, &counter.waker()).is_pending() && device.run_one());
        eventually("it is done", || poll_with(&mut waiting, &counter.waker()).is_ready());
        assert_eq!(acc.stats().total_operations(Path::Device), 2);
        // And newcomers are not kept out for ever.
        let mut newcomer = copy(&acc, 4).on_pressure(Pressure::Fail);
        assert!(poll_once(&mut newcomer).is_pending(), "there is room");
        device.run_one();
        assert!(poll_once(&mut newcomer).is_ready());
    }
}

/// A place that was lost is given back to who comes after all; and then somebody has to call again, even if the line had been
/// empty and the poller asleep.
#[test]
fn a_waiter_that_comes_back_is_called_again() {
    let mut policy = policy(Pressure::Wait);
    policy.slots_per_lane = 1;
    policy.dead_after = Duration::from_millis(1);
    policy.lost_after = Duration::from_millis(500);
    let (device, acc) = held(WqConfig::shared(64), policy);
    // Holds the only slot, is complete, and never looks.
    let mut out = copy(&acc, 1);
    assert!(poll_once(&mut out).is_pending());
    device.run_one();
    let counter = Counter::new();
    let mut waiting = copy(&acc, 2);
    assert!(poll_with(&mut waiting, &counter.waker()).is_pending());
    eventually("it is called", || counter.count() > 0);
    // Long enough for the place to be lost, and for the poller to fall asleep.
    std::thread::sleep(Duration::from_millis(50));
    let before = counter.count();
    if poll_with(&mut waiting, &counter.waker()).is_pending() {
        eventually("it is called again", || counter.count() > before);
    }
    eventually("it is done", || poll_with(&mut waiting, &counter.waker()).is_ready());
}

/// A queue that is alive and refuses for ever: what waits ends all the same, and what is told to fails or goes on at once.
#[test]
fn a_queue_that_refuses_for_ever() {
    for pressure in [Pressure::Cpu, Pressure::Wait, Pressure::Fail] {
        let mut policy = policy(Pressure::Cpu);
        policy.lost_after = Duration::from_millis(20);
        let (_device, acc) = busy(WqConfig::shared(16), [FaultRule::new(Effect::Retry)], policy);
        let result = block_on("copy", within("copy", copy(&acc, 1).on_pressure(pressure)));
        match pressure {
            Pressure::Fail => assert!(matches!(result.unwrap_err().error(), Error::Pressure { .. })),
            _ => assert_eq!(result.unwrap().1, vec![1; LEN]),
        }
        let result = block_on("copy", within("copy", copy(&acc, 2).device_only().on_pressure(pressure)));
        let (error, buffers) = result.unwrap_err().into_parts();
        match pressure {
            Pressure::Fail => assert!(matches!(error, Error::Pressure { .. })),
            _ => assert_eq!(error, Error::DeviceOnly(Reason::QueueFull)),
        }
        assert_eq!(buffers, Some((vec![2; LEN], vec![0; LEN])));
        let stats = acc.stats();
        let waits = if pressure == Pressure::Wait { 2 } else { 0 };
        assert_eq!((stats.event(Event::WaitsBegun), stats.event(Event::WaitsGivenUp)), (waits, waits));
        assert_eq!(stats.reason(Reason::QueueFull), u64::from(pressure != Pressure::Fail));
        assert_eq!(acc.in_flight(), 0);
    }
    // Nor does a blocking call wait for ever.
    let mut policy = policy(Pressure::Wait);
    policy.lost_after = Duration::from_millis(20);
    let (_device, acc) = busy(WqConfig::shared(16), [FaultRule::new(Effect::Retry)], policy);
    let _watchdog = Watchdog::start("memcpy");
    let mut dst = vec![0; LEN];
    assert_eq!(acc.blocking().memcpy(&mut dst, &[5; LEN]), Ok(Path::Cpu));
    assert_same(&dst, &[5; LEN], "memcpy");
    waits_are_over(&acc);
}

/// Operations wait, and the device goes away: every one of them ends, and long before its time is up where it can be
/// known.
#[test]
fn nobody_waits_for_a_dead_queue() {
    type Strike = fn(&Device);
    let known: [(&str, Strike); 2] = [("disabled", |device| device.disable().unwrap()), ("halted", Device::halt)];
    let unknown: [(&str, Strike); 2] = [("aborted", |device| device.abort_all().unwrap()), ("reset", Device::reset)];
    let all = known.map(|fate| (fate, true)).into_iter().chain(unknown.map(|fate| (fate, false)));
    for ((name, strike), is_known) in all {
        for (queue, slots) in [(WqConfig::shared(2), 64), (WqConfig::dedicated(2), 64), (WqConfig::shared(64), 2)] {
            let mut policy = policy(Pressure::Wait);
            policy.dead_after = Duration::from_millis(2);
            policy.slots_per_lane = slots;
            if !is_known {
                policy.lost_after = Duration::from_millis(200);
            }
            let late = FaultRule::new(Effect::Delay(Duration::from_millis(20)));
            let (device, acc) = busy(queue, [late], policy);
            block_on(name, async {
                let mut operations: Vec<_> = (0..12).map(|number| copy(&acc, number)).collect();
                for operation in &mut operations {
                    assert!(poll_once(operation).is_pending(), "{name}");
                }
                // All but the two that have room; or fewer, if an engine has taken something meanwhile.
                let waits = acc.stats().event(Event::WaitsBegun);
                assert!((1..=10).contains(&waits), "{name}: {waits}");
                strike(&device);
                // Each is a task of its own, as those who wait behind one another ought to be.
                let tasks: Vec<_> = operations.into_iter().map(tokio::spawn).collect();
                for (number, task) in tasks.into_iter().enumerate() {
                    let (_, dst) = within(name, task).await.unwrap().unwrap();
                    assert_same(&dst, &vec![number as u8; LEN], name);
                }
            });
            waits_are_over(&acc);
            quiet(&acc);
        }
    }
}

/// Many tasks on several threads, of every mind, on queues and slots that are far too few.
#[test]
fn everything_ends_once_under_any_pressure() {
    let _watchdog = Watchdog::start("many tasks");
    let few = [(WqConfig::shared(2), 64), (WqConfig::dedicated(3), 64), (WqConfig::shared(64), 1)];
    for (queue, slots) in few {
        for mixed in [false, true] {
            let mut policy = policy(Pressure::Wait);
            policy.lanes = 2;
            policy.slots_per_lane = slots;
            policy.self_wake = Duration::from_micros(20);
            let retry = FaultRule::new(Effect::Retry).probability(0.05);
            // So that there is somebody to wait for, however fast the device is.
            let late = FaultRule::new(Effect::Delay(Duration::from_micros(100))).probability(0.1);
            let (_device, acc) = busy(queue.clone().max_transfer_size(16 << 10), [retry, late], policy);
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_time().build().unwrap();
            let failures = runtime.block_on(async {
                let tasks: Vec<_> = (0..24).map(|number| tokio::spawn(mind(acc.clone(), number, mixed))).collect();
                let mut failures = 0;
                for task in tasks {
                    failures += within("task", task).await.unwrap();
                }
                failures
            });
            let stats = acc.stats();
            let total = stats.total_operations(Path::Device) + stats.total_operations(Path::Cpu);
            assert_eq!(total + failures, 24 * 20);
            if !mixed {
                assert_eq!((failures, stats.total_operations(Path::Cpu)), (0, 0), "what waits goes to the device");
            }
            assert!(stats.event(Event::WaitsBegun) > 0);
            waits_are_over(&acc);
            quiet(&acc);
        }
    }
}

/// Twenty copies, one after the other. Says how many have failed.
async fn mind(acc: Accelerator, number: u64, mixed: bool) -> u64 {
    let mut rng = Rng::new(seed() ^ number);
    let mut failures = 0;
    for _ in 0..20 {
        let len = 1 + rng.below(50_000);
        let src = rng.bytes(len);
        let mut operation = acc.copy(src.clone(), vec![0; src.len()]);
        if mixed {
            let minds = [Pressure::Cpu, Pressure::Wait, Pressure::Fail];
            operation = operation.on_pressure(minds[rng.below(minds.len())]);
        }
        match operation.await {
            Ok((same, dst)) => assert!(same == src && dst == src),
            Err(failed) => {
                let (error, buffers) = failed.into_parts();
                assert!(mixed && matches!(error, Error::Pressure { .. }), "{error}");
                assert_eq!(buffers, Some((src.clone(), vec![0; src.len()])), "nothing is half-done");
                failures += 1;
            }
        }
    }
    failures
}

/// Waiting futures that are dropped at any moment, between those that are not.
#[test]
fn cancellation_under_pressure_loses_nobody() {
    let _watchdog = Watchdog::start("cancellation");
    let (_device, acc) = busy(WqConfig::shared(1), [], policy(Pressure::Wait));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_time().build().unwrap();
    runtime.block_on(async {
        let mut rng = Rng::new(seed());
        for _ in 0..20 {
            let tasks: Vec<_> = (0..16).map(|number| tokio::spawn(copy(&acc, number))).collect();
            for task in &tasks {
                if rng.one_in(3) {
                    task.abort();
                }
            }
            for (number, task) in tasks.into_iter().enumerate() {
                match within("task", task).await {
                    Ok(done) => assert_same(&done.unwrap().1, &vec![number as u8; LEN], "copy"),
                    Err(error) => assert!(error.is_cancelled()),
                }
            }
        }
    });
    waits_are_over(&acc);
    quiet(&acc);
}

#[test]
fn a_blocking_call_waits_for_its_turn() {
    let _watchdog = Watchdog::start("memcpy");
    for (name, device, acc) in narrow(Pressure::Wait) {
        let mut out = copy(&acc, 1);
        assert!(poll_once(&mut out).is_pending());
        std::thread::scope(|scope| {
            let call = scope.spawn(|| {
                let mut dst = vec![0; LEN];
                assert_eq!(acc.blocking().memcpy(&mut dst, &[6; LEN]), Ok(Path::Device), "{name}");
                assert_same(&dst, &[6; LEN], name);
            });
            eventually("it waits", || acc.stats().event(Event::WaitsBegun) == 1);
            device.run_one();
            eventually("the first is done", || poll_once(&mut out).is_ready());
            eventually("it is out", || device.run_one());
            call.join().unwrap();
        });
        waits_are_over(&acc);
    }
}

/// What a scope starts does not wait for the scope's own slots.
#[test]
fn a_scope_does_not_wait_for_itself() {
    let _watchdog = Watchdog::start("scope");
    let mut policy = policy(Pressure::Wait);
    policy.slots_per_lane = 1;
    let (_device, acc) = busy(WqConfig::shared(16), [], policy);
    let src = vec![4; LEN];
    let mut copies = vec![vec![0; LEN]; 3];
    acc.blocking().scope(|scope| {
        let tickets: Vec<_> = copies.iter_mut().map(|dst| scope.copy(dst, &src).unwrap()).collect();
        tickets.into_iter().rev().for_each(dsa::blocking::Ticket::wait);
    });
    for dst in &copies {
        assert_same(dst, &src, "copy");
    }
}

#[test]
fn batches_under_pressure() {
    for without_batch in [false, true] {
        for pressure in [Pressure::Cpu, Pressure::Wait, Pressure::Fail] {
            let queue = WqConfig::shared(1);
            let queue = if without_batch { queue.without(opcode::BATCH) } else { queue };
            let (device, acc) = held(queue, policy(Pressure::Cpu));
            let batch = || {
                let mut batch = acc.batch();
                for byte in 1..=3 {
                    batch.copy(vec![byte; LEN], vec![0; LEN]);
                }
                batch.copy(vec![1; 2], Vec::new());
                batch.on_pressure(pressure);
                batch.submit()
            };
            let mut out = copy(&acc, 9);
            assert!(poll_once(&mut out).is_pending());
            let mut refused = batch();
            let mut end = poll_once(&mut refused);
            assert_eq!(end.is_ready(), pressure != Pressure::Wait, "{pressure:?}");
            // A copy that comes later stays behind it.
            let mut later = copy(&acc, 8).on_pressure(Pressure::Wait);
            assert!(poll_once(&mut later).is_pending());
            device.run_one();
            assert!(poll_once(&mut out).is_ready());
            let mut is_over = false;
            while end.is_pending() {
                // One that travels in parts lets others in between.
                is_over = is_over || poll_once(&mut later).is_ready();
                assert!(without_batch || !is_over);
                end = poll_with(&mut refused, Waker::noop());
                device.run_one();
            }
            let Poll::Ready(items) = end else { unreachable!() };
            for (byte, item) in (1..).zip(items) {
                let buffers = item.buffers.expect("given back");
                let BatchBuffers::Copy(src, dst) = buffers else { panic!("other buffers") };
                match (byte, pressure) {
                    (4, _) => assert!(matches!(item.result, Err(Error::CapacityTooSmall { .. }))),
                    (_, Pressure::Fail) => {
                        assert!(matches!(item.result, Err(Error::Pressure { .. })), "{:?}", item.result);
                        assert_eq!((src, dst), (vec![byte; LEN], vec![0; LEN]));
                    }
                    _ => assert_eq!((item.result.is_ok(), dst), (true, vec![byte; LEN])),
                }
            }
            let by_cpu = if pressure == Pressure::Cpu { 3 } else { 0 };
            assert_eq!(acc.stats().total_operations(Path::Cpu), by_cpu);
            eventually("the last is done", || {
                device.run_one();
                is_over || poll_once(&mut later).is_ready()
            });
            waits_are_over(&acc);
            quiet(&acc);
        }
    }
}

/// A batch that waits gives up its place when it is dropped, and does not wait for ever.
#[test]
fn a_waiting_batch_is_dropped_or_gives_up() {
    let mut policy = policy(Pressure::Wait);
    policy.lost_after = Duration::from_millis(20);
    let (_device, acc) = busy(WqConfig::shared(16), [FaultRule::new(Effect::Retry)], policy);
    let batch = || {
        let mut batch = acc.batch::<Vec<u8>, Vec<u8>>();
        batch.copy(vec![1; LEN], vec![0; LEN]).crc32c(vec![1; LEN]);
        batch.submit()
    };
    let mut dropped = batch();
    assert!(poll_once(&mut dropped).is_pending());
    drop(dropped);
    assert_eq!(acc.stats().event(Event::WaitsCancelled), 1);
    let items = block_on("batch", within("batch", batch()));
    assert!(items.iter().all(|item| item.result.is_ok()));
    assert_eq!((acc.stats().event(Event::WaitsGivenUp), acc.stats().reason(Reason::QueueFull)), (1, 2));
    waits_are_over(&acc);
}

/// With a time that allows for nothing, every slice but the first is the least there is.
#[test]
fn slices_of_the_cpu_shrink_with_their_time() {
    for (time, slices) in [(Duration::from_nanos(10), 1 + (1 << 20) / 4096 - 8), (Duration::ZERO, 4)] {
        let mut policy = policy(Pressure::Cpu);
        policy.cpu_slice_time = time;
        let acc = Accelerator::builder().policy(policy).build().unwrap();
        let mut operation = acc.copy(vec![3u8; 1 << 20], vec![0; 1 << 20]).cpu_only();
        let mut polls = 1;
        let (src, dst) = loop {
            match poll_once(&mut operation) {
                Poll::Ready(done) => break done.unwrap(),
                Poll::Pending => polls += 1,
            }
        };
        assert_same(&dst, &src, "copy");
        assert_eq!(polls, slices, "{time:?}");
    }
}
