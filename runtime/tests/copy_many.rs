//! Copies of many pairs: one result for each, in their order, with its buffers; never more under way than allowed; each
//! with the rights and the fate of a single copy; and nothing left behind by one that is dropped.

mod support;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use dsa::stats::{Event, Path, Reason};
use dsa::{Accelerator, Error, Failed, Policy, Pressure};
use dsa_emulator::{Config, Device, Effect, FaultRule, WqConfig};
use support::held::{held, parked};
use support::late::{Counter, poll_with, settled};
use support::tracked::{Ledger, Tracked};
use support::{Rng, Watchdog, assert_same, block_on, eventually, poll_once, quiet, seed, within};

const LEN: usize = 6000;

type Pair = (Vec<u8>, Vec<u8>);

/// Pairs whose sources are told apart by their bytes.
fn pairs(count: usize) -> Vec<Pair> {
    (0..count).map(|number| (vec![number as u8 + 1; LEN], Vec::with_capacity(LEN))).collect()
}

/// All have succeeded, and are where they belong.
#[track_caller]
fn all_done(results: Vec<Result<Pair, Failed<Pair>>>, count: usize) {
    assert_eq!(results.len(), count);
    for (number, result) in results.into_iter().enumerate() {
        let (src, dst) = result.unwrap_or_else(|failed| panic!("{number}: {failed}"));
        assert_same(&src, &[number as u8 + 1; LEN], &format!("source {number}"));
        assert_same(&dst, &src, &format!("copy {number}"));
    }
}

fn done_by(acc: &Accelerator) -> (u64, u64) {
    let stats = acc.stats();
    (stats.total_operations(Path::Device), stats.total_operations(Path::Cpu))
}

#[test]
fn no_pairs_are_no_results() {
    let (_device, acc) = held(WqConfig::shared(16), |_| {});
    let Poll::Ready(results) = poll_once(&mut acc.copy_many(Vec::<Pair>::new())) else { panic!("not ready") };
    assert!(results.is_empty());
    assert_eq!(acc.stats().event(Event::Submissions), 0);
}

#[test]
fn one_pair_is_one_copy() {
    let (device, acc) = held(WqConfig::shared(16), |_| {});
    let mut copies = acc.copy_many(pairs(1));
    assert_eq!(acc.in_flight(), 0, "begun before the first poll");
    assert!(poll_once(&mut copies).is_pending());
    device.run_until_idle();
    let Poll::Ready(results) = poll_once(&mut copies) else { panic!("not ready") };
    all_done(results, 1);
    assert_eq!(done_by(&acc), (1, 0));
}

/// As many as allowed, and not one more: by the slots in use, and by how many pairs were taken.
#[test]
fn as_many_are_under_way_as_may_be() {
    for most in [0, 1, 5, 64, 65, 200] {
        // There is room for all of them: nobody waits for any.
        let (device, acc) = held(WqConfig::shared(128), |_| {});
        let (count, taken) = (120, Cell::new(0));
        let source = pairs(count).into_iter().inspect(|_| taken.set(taken.get() + 1));
        let mut copies = acc.copy_many(source).concurrency(most);
        let (most, mut ended) = (most.max(1), 0);
        loop {
            let result = poll_once(&mut copies);
            let under_way = most.min(count - ended);
            assert_eq!(taken.get(), ended + under_way, "{most} at most");
            assert_eq!(acc.in_flight(), under_way, "{most} at most");
            if let Poll::Ready(results) = result {
                all_done(results, count);
                break;
            }
            assert!(device.run_one());
            ended += 1;
        }
        assert_eq!(done_by(&acc), (count as u64, 0));
        assert_eq!(acc.in_flight(), 0);
    }
}

/// One that has completed wakes the whole, and only that one is polled: the others do not leave their wakers once more.
#[test]
fn only_the_one_that_was_woken_is_polled() {
    let _watchdog = Watchdog::start("wake-ups");
    let (device, acc) = held(WqConfig::shared(64), parked);
    let (counter, count) = (Counter::new(), 40);
    let mut copies = acc.copy_many(pairs(count)).concurrency(10);
    assert!(poll_with(&mut copies, &counter.waker()).is_pending());
    assert_eq!(acc.stats().event(Event::Parks), 10);
    for ended in 1..=count {
        let before = counter.count();
        assert!(device.run_one());
        eventually("a wake-up", || counter.count() > before);
        let result = poll_with(&mut copies, &counter.waker());
        assert_eq!(result.is_ready(), ended == count);
        assert_eq!(acc.stats().event(Event::Parks), count.min(10 + ended) as u64, "after {ended}");
        if let Poll::Ready(results) = result {
            all_done(results, count);
        }
    }
}

/// On threads of its own the device ends them in any order.
#[test]
fn results_are_in_the_order_of_the_pairs() {
    for queue in [WqConfig::shared(16), WqConfig::dedicated(16), WqConfig::shared(16).max_transfer_size(4096)] {
        let late = FaultRule::new(Effect::Delay(Duration::from_micros(300))).probability(0.1);
        let faults = FaultRule::new(Effect::PageFault { resolvable: false }).probability(0.1);
        let config = Config::sapphire_rapids().queue(queue).engines(4).seed(seed()).fault(late).fault(faults);
        let device = Device::new(config).unwrap();
        let mut policy = Policy::default();
        policy.min_device_size = Some(0);
        let acc = Accelerator::builder().policy(policy).emulator(&device).build().unwrap();
        let copies = |most| acc.copy_many(pairs(250)).concurrency(most);
        block_on("tokio", async {
            all_done(within("copies", copies(12)).await, 250);
            // Two at once on one task do not disturb each other.
            let (a, b) = within("both", async { tokio::join!(copies(3), copies(200)) }).await;
            all_done(a, 250);
            all_done(b, 250);
        });
        let _watchdog = Watchdog::start("another executor");
        all_done(futures_executor::block_on(copies(7)), 250);
        quiet(&acc);
    }
}

#[test]
fn the_cpu_does_as_much() {
    let acc = Accelerator::cpu();
    block_on("copies", async {
        all_done(within("copies", acc.copy_many(pairs(100))).await, 100);
        all_done(within("copies", dsa::copy_many(pairs(10)).on(&acc)).await, 10);
    });
    assert_eq!(done_by(&acc), (0, 110));
}

/// A mistake is its own pair's.
#[test]
fn mistakes_are_told_where_they_were_made() {
    let (device, acc) = held(WqConfig::shared(16), |_| {});
    let source = pairs(9).into_iter().enumerate().map(|(number, (src, dst))| match number % 3 {
        1 => (src, vec![9; 10].into_boxed_slice().into_vec()),
        _ => (src, dst),
    });
    let mut copies = acc.copy_many(source).concurrency(2);
    let results = loop {
        match poll_once(&mut copies) {
            Poll::Ready(results) => break results,
            Poll::Pending => assert!(device.run_one(), "pending for nothing"),
        }
    };
    assert_eq!(results.len(), 9);
    for (number, result) in results.into_iter().enumerate() {
        let source = [number as u8 + 1; LEN];
        if number % 3 == 1 {
            let (error, buffers) = result.unwrap_err().into_parts();
            assert_eq!(error, Error::CapacityTooSmall { needed: LEN, capacity: 10 });
            assert_eq!(buffers, Some((source.to_vec(), vec![9; 10])));
        } else {
            assert_eq!(result.unwrap(), (source.to_vec(), source.to_vec()));
        }
    }
    assert_eq!(done_by(&acc), (6, 0));
}

/// Those that are under way leave their buffers with the runtime, which drops them when the device is done; the others
/// were never begun. Dropping waits for nothing: the device does nothing meanwhile.
#[test]
fn dropping_it_in_the_middle_leaves_nothing_behind() {
    for parks in [false, true] {
        let (device, acc) = held(WqConfig::shared(64), |policy| {
            if parks {
                parked(policy);
            }
        });
        let ledger = Ledger::new();
        let source: Vec<(Tracked, Tracked)> = (0..20).map(|_| (ledger.of(vec![7; LEN]), ledger.buffer(LEN))).collect();
        let source = source.into_iter().enumerate().map(|(number, (src, dst))| match number {
            // What is begun is done to the end.
            ..11 => (src, dst.ends_as(7)),
            _ => (src, dst),
        });
        let task = Counter::new();
        let mut copies = acc.copy_many(source).concurrency(8);
        assert!(poll_with(&mut copies, &task.waker()).is_pending());
        for _ in 0..3 {
            assert!(device.run_one());
        }
        eventually("three have ended", || {
            poll_with(&mut copies, &task.waker()).is_pending() && acc.stats().total_operations(Path::Device) == 3
        });
        assert_eq!((ledger.dropped(), acc.in_flight()), (0, 8));
        drop(copies);
        // Three that had ended, and nine that were not begun.
        assert_eq!(ledger.dropped(), 2 * (3 + 9));
        assert_eq!(Arc::strong_count(&task), 1, "somebody keeps the task's waker");
        assert_eq!(device.run_until_idle(), 8);
        settled(&acc, &ledger);
        assert_eq!(acc.stats().event(Event::Cancelled), 8);
    }
}

#[test]
fn dropping_it_before_the_first_poll_or_after_the_end_is_dropping_the_buffers() {
    let (device, acc) = held(WqConfig::shared(64), |_| {});
    let ledger = Ledger::new();
    let source = |count| -> Vec<_> { (0..count).map(|_| (ledger.of(vec![7; LEN]), ledger.buffer(LEN))).collect() };
    drop(acc.copy_many(source(5)));
    assert_eq!(ledger.alive(), 0);
    let mut copies = acc.copy_many(source(5));
    assert!(poll_once(&mut copies).is_pending());
    device.run_until_idle();
    let Poll::Ready(results) = poll_once(&mut copies) else { panic!("not ready") };
    drop(copies);
    assert_eq!(ledger.alive(), 10);
    drop(results);
    settled(&acc, &ledger);
    assert_eq!(acc.stats().event(Event::Cancelled), 0);
}

#[test]
#[should_panic(expected = "polled after it had completed")]
fn polling_it_after_the_end_is_a_mistake() {
    let mut copies = Accelerator::cpu().copy_many(Vec::<Pair>::new());
    assert!(poll_once(&mut copies).is_ready());
    let _ = poll_once(&mut copies);
}

#[test]
#[should_panic(expected = "before the first poll")]
fn options_come_first() {
    let (_device, acc) = held(WqConfig::shared(64), |_| {});
    let mut copies = acc.copy_many(pairs(1));
    assert!(poll_once(&mut copies).is_pending());
    drop(copies.concurrency(2));
}

/// The device goes away with some under way, some done and some to come, and all are done, with the right bytes.
#[test]
fn a_device_that_is_gone_is_replaced_by_the_cpu() {
    for is_halted in [false, true] {
        let (device, acc) = held(WqConfig::shared(64), |policy| {
            parked(policy);
            policy.dead_after = Duration::from_millis(2);
            policy.lost_after = Duration::from_millis(50);
        });
        let mut copies = acc.copy_many(pairs(60)).concurrency(16);
        assert!(poll_once(&mut copies).is_pending());
        for _ in 0..5 {
            device.run_one();
        }
        if is_halted {
            device.halt();
        } else {
            device.abort_all().unwrap();
            device.disable().unwrap();
        }
        block_on("copies", async { all_done(within("copies", copies).await, 60) });
        let (by_device, by_cpu) = done_by(&acc);
        // How many the device has done is not for sure: on a machine that halts for a while they may be lost earlier.
        assert!(by_device + by_cpu == 60 && by_cpu > 0, "{by_device} by the device, {by_cpu} by the CPU");
        quiet(&acc);
        assert_eq!(acc.leaked(), 0);
    }
}

/// Each for itself: those for which there is room are done, the others come back as they were.
#[test]
fn under_pressure_each_fails_for_itself() {
    let mut few_slots = |policy: &mut Policy| policy.slots_per_lane = 2;
    for (queue, set, reason) in [
        (
            WqConfig::shared(2),
            &mut (|policy: &mut Policy| policy.retries = 0) as &mut dyn FnMut(&mut Policy),
            Reason::QueueFull,
        ),
        (WqConfig::dedicated(2), &mut |_: &mut Policy| {}, Reason::QueueFull),
        (WqConfig::shared(64), &mut few_slots, Reason::NoSlot),
    ] {
        let (device, acc) = held(queue, set);
        let mut copies = acc.copy_many(pairs(8)).concurrency(8).on_pressure(Pressure::Fail);
        assert!(poll_once(&mut copies).is_pending());
        assert_eq!(acc.in_flight(), 2);
        device.run_until_idle();
        let Poll::Ready(results) = poll_once(&mut copies) else { panic!("not ready") };
        for (number, result) in results.into_iter().enumerate() {
            let source = [number as u8 + 1; LEN];
            if number < 2 {
                assert_eq!(result.unwrap(), (source.to_vec(), source.to_vec()));
            } else {
                let (error, buffers) = result.unwrap_err().into_parts();
                assert!(matches!(error, Error::Pressure { reason: found, .. } if found == reason), "{error}");
                assert_eq!(buffers, Some((source.to_vec(), vec![])));
            }
        }
        assert_eq!(done_by(&acc), (2, 0));
    }
}

/// More than there are slots: the rest waits for its turn, or the CPU does it.
#[test]
fn more_pairs_than_slots() {
    for pressure in [Pressure::Wait, Pressure::Cpu] {
        let (device, acc) = held(WqConfig::shared(64), |policy| policy.slots_per_lane = 4);
        let mut copies = acc.copy_many(pairs(50)).concurrency(20).on_pressure(pressure);
        let mut polls = 0;
        let results = loop {
            polls += 1;
            assert!(polls < 1000, "it does not end");
            match poll_once(&mut copies) {
                Poll::Ready(results) => break results,
                Poll::Pending => device.run_one(),
            };
            assert!(acc.in_flight() <= 4);
        };
        all_done(results, 50);
        let (by_device, by_cpu) = done_by(&acc);
        match pressure {
            Pressure::Wait => assert_eq!((by_device, by_cpu), (50, 0)),
            _ => assert!(by_device >= 4 && by_device + by_cpu == 50 && by_cpu > 0, "{by_device}, {by_cpu}"),
        }
        assert_eq!(acc.in_flight(), 0);
    }
}

#[test]
fn options_are_those_of_a_copy() {
    let (device, acc) = held(WqConfig::shared(64), |policy| policy.min_device_size = Some(LEN + 1));
    // Too small, unless it must.
    let Poll::Ready(results) = poll_once(&mut acc.copy_many(pairs(3))) else { panic!("not ready") };
    all_done(results, 3);
    assert_eq!(done_by(&acc), (0, 3));
    let mut copies = acc.copy_many(pairs(3)).device_only().cache_control(true);
    assert!(poll_once(&mut copies).is_pending());
    device.run_until_idle();
    let Poll::Ready(results) = poll_once(&mut copies) else { panic!("not ready") };
    all_done(results, 3);
    assert_eq!(done_by(&acc), (3, 3));
    let Poll::Ready(results) = poll_once(&mut acc.copy_many(pairs(3)).cpu_only()) else { panic!("not ready") };
    all_done(results, 3);
    assert_eq!(done_by(&acc), (3, 6));
    assert_eq!(acc.stats().reason(Reason::Forced), 3);
    let cpu = Accelerator::cpu();
    // With the default time of a poll, which a busy machine may use up between two refusals.
    for result in block_on("refusals", acc.copy_many(pairs(2)).device_only().on(&cpu)) {
        let (error, buffers) = result.unwrap_err().into_parts();
        assert!(matches!(error, Error::DeviceOnly(_)) && buffers.is_some(), "{error}");
    }
}

/// However many there are, one poll works for its time and no longer: with the shortest, for one copy.
#[test]
fn a_poll_ends_with_its_time() {
    let mut policy = Policy::default();
    policy.cpu_slice_time = Duration::from_nanos(1);
    let acc = Accelerator::builder().policy(policy).build().unwrap();
    let counter = Counter::new();
    let mut copies = acc.copy_many((0..50).map(|_| (vec![1u8; 64], vec![0u8; 64])));
    for poll in 1..=50 {
        assert!(poll_with(&mut copies, &counter.waker()).is_pending(), "poll {poll}");
        assert_eq!((acc.stats().total_operations(Path::Cpu), counter.count()), (poll as u64, poll));
    }
    assert!(poll_with(&mut copies, &counter.waker()).is_ready());
}

/// Nor longer than tokio's budget lasts: a task beside it has its turns.
#[test]
fn a_task_beside_it_has_its_turns() {
    let mut policy = Policy::default();
    policy.cpu_slice_time = Duration::ZERO;
    let acc = Accelerator::builder().policy(policy).build().unwrap();
    block_on("budget", async {
        let turns = Arc::new(AtomicUsize::new(0));
        let other = {
            let turns = Arc::clone(&turns);
            tokio::spawn(async move {
                loop {
                    turns.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            })
        };
        let results = acc.copy_many((0..2000).map(|_| (vec![1u8; 64], vec![0u8; 64]))).concurrency(500).await;
        assert_eq!(results.len(), 2000);
        other.abort();
        // The budget is 128.
        assert!(turns.load(Ordering::Relaxed) >= 2000 / 128, "{turns:?}");
    });
}

/// Random pairs, sizes, bounds and mistakes, on a device with few places that is late and faults: each as a single copy
/// would have been.
#[test]
fn many_random_copies_are_as_single_ones() {
    let mut rng = Rng::new(seed());
    let faults = FaultRule::new(Effect::PageFault { resolvable: false }).probability(0.1);
    let config = Config::sapphire_rapids().queue(WqConfig::shared(4)).engines(2).seed(seed()).fault(faults);
    let device = Device::new(config).unwrap();
    let mut policy = Policy::default();
    policy.slots_per_lane = 8;
    policy.lanes = 1;
    let acc = Accelerator::builder().policy(policy).emulator(&device).build().unwrap();
    for round in 0..40 {
        let what = format!("round {round}");
        let sources: Vec<_> = (0..rng.below(60))
            .map(|_| {
                let len = rng.below(20_000);
                rng.bytes(len)
            })
            .collect();
        let rooms: Vec<_> =
            sources.iter().map(|src| if rng.one_in(8) { src.len() / 2 } else { src.len() + rng.below(100) }).collect();
        let pressure = if rng.one_in(2) { Pressure::Wait } else { Pressure::Cpu };
        let destinations = rooms.iter().map(|&room| vec![0x55; room].into_boxed_slice());
        let pairs: Vec<_> = sources.clone().into_iter().zip(destinations).collect();
        let copies = acc.copy_many(pairs).concurrency(rng.below(70)).on_pressure(pressure);
        let results = block_on(&what, within(&what, copies));
        assert_eq!(results.len(), sources.len());
        for ((result, source), room) in results.into_iter().zip(sources).zip(rooms) {
            if room < source.len() {
                let (error, buffers) = result.unwrap_err().into_parts();
                assert_eq!(error, Error::CapacityTooSmall { needed: source.len(), capacity: room });
                let (src, dst) = buffers.unwrap();
                assert_same(&src, &source, &what);
                assert_same(&dst, &vec![0x55; room], &what);
            } else {
                let (src, dst) = result.unwrap();
                assert_same(&src, &source, &what);
                assert_same(&dst[..source.len()], &source, &what);
                assert_same(&dst[source.len()..], &vec![0x55; room - source.len()], &what);
            }
        }
    }
    quiet(&acc);
}

/// It is as movable and sendable as what it is made of.
#[test]
fn it_is_send_and_unpin() {
    fn check<F: Future + Send + Unpin>(future: F) -> F {
        future
    }
    let copies = check(dsa::copy_many(pairs(1)));
    assert_eq!(format!("{copies:?}"), "CopyMany { begun: 0, under_way: 0, .. }");
}
