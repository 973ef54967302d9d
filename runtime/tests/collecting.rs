//! Operations that are polled together travel together: what is sent when, and that nobody is forgotten, sent twice or given
//! up, whatever becomes of the batch.

mod support;

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use dsa::stats::{Event, Path, Reason};
use dsa::{Accelerator, BuilderExt, Error, Policy, Pressure};
use dsa_emulator::{Access, Config, Device, Effect, FaultRule, WqConfig};
use idxd_sys::opcode;
use support::late::{Counter, all_dropped, poll_with};
use support::tracked::{Ledger, Tracked};
use support::{PATIENCE, Rng, Watchdog, assert_same, crc_oracle, eventually, poll_once, quiet, seed, within};

const LEN: usize = 4096;

/// Everything to the device; nobody spins, and nobody loses patience.
fn policy() -> Policy {
    let mut policy = Policy::default();
    policy.min_device_size = Some(0);
    policy.lanes = 1;
    policy.batch_min_in_flight = 1;
    // A poll is cut by nothing but the budget.
    policy.cpu_slice_time = Duration::ZERO;
    policy.slots_per_lane = 64;
    policy.retries = 0;
    policy.spin = Duration::ZERO;
    policy.self_wake = PATIENCE;
    policy.dead_after = PATIENCE * 10;
    policy.lost_after = PATIENCE * 10;
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

fn copy(acc: &Accelerator, byte: u8) -> dsa::Copy<Vec<u8>, Vec<u8>> {
    acc.copy(vec![byte; LEN], vec![0; LEN])
}

/// How many descriptors have gone, how many of them batches, and how many operations in those.
fn sent(acc: &Accelerator) -> (u64, u64, u64) {
    let stats = acc.stats();
    (stats.event(Event::Submissions), stats.event(Event::Batches), stats.event(Event::Collected))
}

/// `count` copies, each polled once.
fn polled(acc: &Accelerator, count: usize) -> Vec<dsa::Copy<Vec<u8>, Vec<u8>>> {
    let mut copies: Vec<_> = (0..count).map(|number| copy(acc, number as u8 + 1)).collect();
    for copy in &mut copies {
        assert!(poll_once(copy).is_pending());
    }
    copies
}

/// Polls until all have ended, and compares the bytes.
#[track_caller]
fn finish(device: &Device, copies: &mut [dsa::Copy<Vec<u8>, Vec<u8>>]) {
    let mut ended = vec![false; copies.len()];
    for _ in 0..1_000 {
        device.run_until_idle();
        for (number, copy) in copies.iter_mut().enumerate() {
            if ended[number] {
                continue;
            }
            if let Poll::Ready(result) = poll_once(copy) {
                let (src, dst) = result.unwrap();
                assert_same(&dst, &src, "copy");
                ended[number] = true;
            }
        }
        if ended.iter().all(|&ended| ended) {
            return;
        }
    }
    panic!("some never end: {ended:?}");
}

/// Nothing is in use any more, neither a slot nor a place in a queue.
#[track_caller]
fn all_is_back(device: &Device, acc: &Accelerator, places: usize) {
    quiet(acc);
    // Each has a slot of its own, and is sent by itself.
    let blocking: Vec<_> = (0..places).map(|_| acc.fill(vec![0; LEN * 8], LEN * 8, 7u8)).collect();
    let mut fills: Vec<_> = blocking.into_iter().map(dsa::Fill::device_only).collect();
    for fill in &mut fills {
        assert!(poll_once(fill).is_pending(), "there is a place");
    }
    for mut fill in fills {
        device.run_until_idle();
        assert!(matches!(poll_once(&mut fill), Poll::Ready(Ok(_))));
    }
    assert_eq!((acc.in_flight(), acc.leaked()), (0, 0));
}

#[test]
fn what_is_polled_together_goes_together() {
    for queue in [WqConfig::shared(8), WqConfig::dedicated(8)] {
        let (device, acc) = held(queue, policy());
        let mut copies = polled(&acc, 6);
        assert_eq!(sent(&acc), (1, 0, 0), "the first goes at once, and the others wait for it");
        // A second round.
        assert!(poll_once(&mut copies[3]).is_pending());
        assert_eq!(sent(&acc), (2, 1, 5));
        assert!(copies.iter_mut().all(|copy| poll_once(copy).is_pending()));
        assert_eq!(sent(&acc), (2, 1, 5), "once");
        finish(&device, &mut copies);
        assert_eq!(acc.stats().total_operations(Path::Device), 6);
        all_is_back(&device, &acc, 8);
    }
}

#[test]
fn a_few_are_sent_one_by_one() {
    let mut policy = policy();
    policy.batch_min_in_flight = 6;
    let (device, acc) = held(WqConfig::shared(16), policy);
    let mut copies = polled(&acc, 6);
    assert_eq!(sent(&acc), (6, 0, 0));
    copies.extend(polled(&acc, 3));
    assert_eq!(sent(&acc), (6, 0, 0), "the seventh has enough before it");
    finish(&device, &mut copies);
    assert_eq!(sent(&acc), (7, 1, 3));
}

#[test]
fn a_full_batch_goes_at_once() {
    let mut policy = policy();
    policy.batch_limit = 4;
    let (device, acc) = held(WqConfig::shared(8), policy);
    let mut copies = polled(&acc, 11);
    assert_eq!(sent(&acc), (3, 2, 8));
    finish(&device, &mut copies);
    // The last two.
    assert_eq!(sent(&acc), (4, 3, 10));
    all_is_back(&device, &acc, 8);
}

#[test]
fn a_queue_sets_the_size_of_batches_too() {
    let (device, acc) = held(WqConfig::shared(16).max_batch_size(4), policy());
    let mut copies = polled(&acc, 12);
    assert_eq!(sent(&acc), (3, 2, 8));
    assert!(poll_once(&mut copies[11]).is_pending());
    assert_eq!(sent(&acc), (4, 3, 11));
    finish(&device, &mut copies);
    all_is_back(&device, &acc, 16);
}

#[test]
fn what_was_collected_goes_when_nothing_is_left_to_wait_for() {
    let (device, acc) = held(WqConfig::shared(8), policy());
    let mut copies = polled(&acc, 4);
    device.run_until_idle();
    assert_eq!(sent(&acc), (1, 0, 0));
    assert!(poll_once(&mut copies[0]).is_ready());
    assert_eq!(sent(&acc), (2, 1, 3));
    finish(&device, &mut copies[1..]);
    all_is_back(&device, &acc, 8);
}

#[test]
fn one_alone_needs_no_list() {
    let (device, acc) = held(WqConfig::dedicated(8), policy());
    let mut copies = polled(&acc, 2);
    assert!(poll_once(&mut copies[1]).is_pending());
    assert_eq!(sent(&acc), (2, 0, 0));
    finish(&device, &mut copies);
    all_is_back(&device, &acc, 8);
}

#[test]
fn a_queue_without_batches_gets_them_in_one_go() {
    let (device, acc) = held(WqConfig::shared(16).without(opcode::BATCH), policy());
    let mut copies = polled(&acc, 6);
    assert!(poll_once(&mut copies[1]).is_pending());
    assert_eq!(sent(&acc), (6, 0, 0));
    assert_eq!(acc.stats().event(Event::Flushes), 2);
    finish(&device, &mut copies);
    all_is_back(&device, &acc, 16);
}

#[test]
fn who_wants_none_of_it_gets_none() {
    let mut alone = policy();
    alone.batch_limit = 1;
    let mut small = policy();
    small.batch_max_size = LEN - 1;
    let mut impatient = policy();
    impatient.self_wake = Duration::ZERO;
    for policy in [alone, small, impatient] {
        let (device, acc) = held(WqConfig::shared(16), policy);
        let mut copies = polled(&acc, 6);
        assert_eq!(sent(&acc), (6, 0, 0));
        finish(&device, &mut copies);
    }
}

/// Whoever leaves before anything was sent leaves nothing behind.
#[test]
fn a_dropped_future_that_was_collected_is_not_sent() {
    let (device, acc) = held(WqConfig::dedicated(8), policy());
    let ledger = Ledger::new();
    let tracked = |byte| acc.copy(ledger.of(vec![byte; LEN]), ledger.buffer(LEN));
    let mut copies: Vec<_> = (0..6).map(tracked).collect();
    assert!(copies.iter_mut().all(|copy| poll_once(copy).is_pending()));
    drop(copies.drain(2..4));
    assert_eq!((ledger.dropped(), acc.in_flight()), (4, 4), "at once");
    assert_eq!(acc.stats().event(Event::Cancelled), 2);
    assert!(poll_once(&mut copies[1]).is_pending());
    assert_eq!(sent(&acc), (2, 1, 3));
    // Now they are with the device, which keeps the buffers.
    drop(copies.drain(2..));
    assert_eq!((ledger.dropped(), acc.in_flight()), (4, 4));
    device.run_until_idle();
    for mut copy in copies {
        assert!(poll_once(&mut copy).is_ready());
    }
    all_dropped(&ledger);
    all_is_back(&device, &acc, 8);
}

/// A batch that finds no room leaves each member to do what it would have done alone.
#[test]
fn a_batch_without_room_is_pressure_for_each_of_its_members() {
    for queue in [WqConfig::shared(1), WqConfig::dedicated(1)] {
        for pressure in [Pressure::Cpu, Pressure::Fail, Pressure::Wait] {
            let mut policy = policy();
            policy.pressure = pressure;
            let (device, acc) = held(queue.clone(), policy);
            let mut first = copy(&acc, 1);
            assert!(poll_once(&mut first).is_pending());
            let mut copies = polled(&acc, 5);
            assert!(copies.len() == 5 && sent(&acc).0 == 1);
            // The first of them finds out for all.
            let results: Vec<_> = copies.iter_mut().map(poll_once).collect();
            match pressure {
                Pressure::Cpu => {
                    assert!(results.iter().all(|result| matches!(result, Poll::Ready(Ok(_)))));
                    assert_eq!(acc.stats().reason(Reason::QueueFull), 5);
                }
                Pressure::Fail => {
                    for result in results {
                        let Poll::Ready(Err(failed)) = result else { panic!("{result:?}") };
                        assert!(matches!(failed.error(), Error::Pressure { reason: Reason::QueueFull, .. }));
                        let (src, dst) = failed.into_buffers().expect("nothing was done");
                        assert_eq!((src[0] != 0, dst[0]), (true, 0));
                    }
                }
                _ => {
                    assert!(results.iter().all(Poll::is_pending));
                    assert_eq!(acc.stats().total_operations(Path::Cpu), 0);
                }
            }
            device.run_until_idle();
            assert!(poll_once(&mut first).is_ready());
            if pressure == Pressure::Wait {
                finish(&device, &mut copies);
                assert_eq!(acc.stats().total_operations(Path::Device), 6);
            }
            all_is_back(&device, &acc, 1);
        }
    }
}

/// The device ends the batch without having looked at its members.
#[test]
fn members_of_a_batch_that_failed_go_again_by_themselves() {
    let rule = FaultRule::new(Effect::HardwareError(0x20)).opcode(opcode::BATCH).nth(1);
    let device = Device::new(Config::sapphire_rapids().queue(WqConfig::dedicated(8)).manual().fault(rule)).unwrap();
    let acc = accelerator(&device, policy());
    let mut copies = polled(&acc, 6);
    assert!(poll_once(&mut copies[1]).is_pending());
    assert_eq!(sent(&acc), (2, 1, 5));
    device.run_until_idle();
    assert!(poll_once(&mut copies[0]).is_ready());
    // Who sends the next finds out about the last one.
    let mut more = polled(&acc, 2);
    assert!(poll_once(&mut more[1]).is_pending());
    finish(&device, &mut copies[1..]);
    finish(&device, &mut more);
    assert_eq!(acc.stats().total_operations(Path::Device), 8);
    all_is_back(&device, &acc, 8);
}

/// The same where nobody sends anything afterwards: the poller finds out.
#[test]
fn the_poller_asks_what_has_become_of_a_batch() {
    let _watchdog = Watchdog::start("a failed batch");
    let rule = FaultRule::new(Effect::HardwareError(0x20)).opcode(opcode::BATCH);
    let device = Device::new(Config::sapphire_rapids().queue(WqConfig::shared(8)).fault(rule)).unwrap();
    let mut policy = policy();
    policy.self_wake = Duration::from_micros(1);
    let acc = accelerator(&device, policy);
    support::block_on("a failed batch", async {
        let long = tokio::spawn(acc.copy(vec![1; 1 << 20], vec![0; 1 << 20]));
        let copies: Vec<_> = (0..5).map(|number| tokio::spawn(copy(&acc, number))).collect();
        for (number, copy) in (0u8..).zip(copies) {
            let (_, dst) = within("a member", copy).await.unwrap().unwrap();
            assert_same(&dst, &[number; LEN], "copy");
        }
        within("the first", long).await.unwrap().unwrap();
    });
    quiet(&acc);
    assert_eq!(acc.leaked(), 0);
}

/// A member's fault is its own.
#[test]
fn a_page_fault_of_a_member_is_resumed() {
    let rule =
        FaultRule::new(Effect::PageFault { resolvable: false }).opcode(opcode::MEMMOVE).access(Access::Read).nth(4);
    let device = Device::new(Config::sapphire_rapids().queue(WqConfig::dedicated(8)).manual().fault(rule)).unwrap();
    let acc = accelerator(&device, policy());
    let mut copies = polled(&acc, 6);
    finish(&device, &mut copies);
    let stats = acc.stats();
    assert_eq!((stats.event(Event::PageFaults), stats.event(Event::Collected)), (1, 5), "{stats}");
    assert_eq!(stats.event(Event::Resumes) + stats.total_operations(Path::Cpu), 1, "{stats}");
    all_is_back(&device, &acc, 8);
}

/// The rest of a member finds no place in its queue, until the batch that has failed because of it gives one back: what that batch
/// has left out does not include the member.
#[test]
fn the_rest_of_a_member_is_not_given_up_with_its_batch() {
    let rule =
        FaultRule::new(Effect::PageFault { resolvable: false }).opcode(opcode::MEMMOVE).access(Access::Read).nth(3);
    let device = Device::new(Config::sapphire_rapids().queue(WqConfig::dedicated(2)).manual().fault(rule)).unwrap();
    let acc = accelerator(&device, policy());
    let mut copies = polled(&acc, 6);
    assert!(poll_once(&mut copies[1]).is_pending());
    assert_eq!(sent(&acc), (2, 1, 5));
    device.run_until_idle();
    // The one that has faulted before all others.
    assert!(poll_once(&mut copies[2]).is_pending());
    assert_eq!((acc.stats().event(Event::Resumes), sent(&acc).0), (1, 3), "{}", acc.stats());
    assert!(poll_once(&mut copies[2]).is_pending(), "its rest is with the device");
    finish(&device, &mut copies);
    assert_eq!(acc.stats().total_operations(Path::Device), 6, "{}", acc.stats());
    all_is_back(&device, &acc, 2);
}

/// What was collected long ago has not been with the device for long.
#[test]
fn the_watchdog_counts_from_the_submission() {
    let mut policy = policy();
    policy.self_wake = Duration::from_millis(20);
    policy.dead_after = Duration::from_millis(200);
    policy.lost_after = Duration::from_millis(200);
    let (device, acc, mut first, mut copies) = loop {
        let (device, acc) = held(WqConfig::shared(8), policy.clone());
        let mut first = copy(&acc, 9);
        assert!(poll_once(&mut first).is_pending());
        let copies = polled(&acc, 3);
        // It has ended, and nobody has looked.
        device.run_until_idle();
        std::thread::sleep(Duration::from_millis(300));
        // Unless a poller that had just been made has sent them.
        if sent(&acc).0 == 1 {
            break (device, acc, first, copies);
        }
    };
    let counter = Counter::new();
    eventually("all are armed", || {
        for copy in &mut copies {
            let polled = poll_with(copy, &counter.waker());
            assert!(polled.is_pending(), "{}", acc.stats());
        }
        acc.stats().event(Event::Parks) >= 3
    });
    // The poller has looked at them: it is one of its looks that wakes them.
    device.run_until_idle();
    eventually("all are woken", || counter.count() >= 3);
    finish(&device, &mut copies);
    assert!(poll_once(&mut first).is_ready());
    assert_eq!(acc.recoveries(), 0);
}

/// A device that has lost a batch: its members are done by somebody else, and the list can be used again.
#[test]
fn a_batch_that_is_lost_is_done_again() {
    let _watchdog = Watchdog::start("a lost batch");
    let lost = FaultRule::new(Effect::Lose).opcode(opcode::BATCH).nth(1);
    // So that there is time to collect, however fast the device is.
    let late = FaultRule::new(Effect::Delay(Duration::from_micros(300))).opcode(opcode::MEMMOVE);
    let config = Config::sapphire_rapids().queue(WqConfig::dedicated(8)).fault(lost).fault(late);
    let device = Device::new(config).unwrap();
    let mut policy = policy();
    policy.self_wake = Duration::from_micros(1);
    policy.dead_after = Duration::from_millis(1);
    policy.lost_after = Duration::from_millis(20);
    let acc = accelerator(&device, policy);
    support::block_on("a lost batch", async {
        for round in 0..20u8 {
            let long = tokio::spawn(acc.copy(vec![1; 1 << 20], vec![0; 1 << 20]));
            let copies: Vec<_> = (0..12).map(|_| tokio::spawn(copy(&acc, round))).collect();
            for copy in copies {
                let (_, dst) = within("a member", copy).await.unwrap().unwrap();
                assert_same(&dst, &[round; LEN], "copy");
            }
            within("the first", long).await.unwrap().unwrap();
        }
    });
    quiet(&acc);
    let stats = acc.stats();
    assert!(stats.event(Event::Quiesces) >= 1 && stats.event(Event::Batches) > 2, "{stats}");
    assert_eq!(acc.leaked(), 0);
}

/// A drain is for everything that was polled before it.
#[test]
fn a_drain_waits_for_what_was_collected() {
    let (device, acc) = held(WqConfig::shared(8), policy());
    let mut copies = polled(&acc, 4);
    let mut drain = acc.drain();
    assert!(poll_once(&mut drain).is_pending());
    assert_eq!(sent(&acc), (3, 1, 3), "one, three, and the drain");
    device.run_until_idle();
    assert!(poll_once(&mut drain).is_ready());
    assert!(copies.iter_mut().all(|copy| poll_once(copy).is_ready()));
}

/// A round of many copies is one batch, at the end of the poll that has launched it.
#[test]
fn a_round_of_many_copies_goes_together() {
    let (device, acc) = held(WqConfig::shared(16), policy());
    let pairs = (0..20u8).map(|byte| (vec![byte; LEN], vec![0; LEN]));
    let mut copies = acc.copy_many(pairs.collect::<Vec<_>>()).concurrency(8);
    assert!(poll_once(&mut copies).is_pending());
    assert_eq!(sent(&acc), (2, 1, 7));
    let results = loop {
        device.run_until_idle();
        if let Poll::Ready(results) = poll_once(&mut copies) {
            break results;
        }
    };
    for (byte, result) in (0..).zip(results) {
        assert_same(&result.unwrap().1, &[byte; LEN], "copy");
    }
    assert_eq!(acc.stats().total_operations(Path::Device), 20);
    all_is_back(&device, &acc, 16);
}

/// A worker that blocks in another operation does not poll meanwhile.
#[test]
fn a_blocking_call_sends_what_was_collected() {
    let device = Device::new(Config::sapphire_rapids().queue(WqConfig::shared(8))).unwrap();
    let acc = accelerator(&device, policy());
    device.inject(FaultRule::new(Effect::Delay(Duration::from_millis(5))));
    let mut copies = polled(&acc, 4);
    let data = vec![3; LEN];
    assert_eq!(acc.blocking().crc32c(&data), crc_oracle(0, &data));
    assert_eq!(sent(&acc), (3, 1, 3));
    eventually("all have ended", || {
        copies.retain_mut(|copy| poll_once(copy).is_pending());
        copies.is_empty()
    });
}

/// A worker with hooks sends before it parks, though nobody polls the futures again.
#[test]
fn a_worker_sends_before_it_parks() {
    let _watchdog = Watchdog::start("parking");
    let device = Device::new(Config::sapphire_rapids().queue(WqConfig::shared(8)).manual()).unwrap();
    let acc = accelerator(&device, policy());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().with_dsa(&acc).build().unwrap();
    let seen = acc.clone();
    runtime.block_on(async move {
        let copies = polled(&seen, 4);
        assert_eq!(sent(&seen), (1, 0, 0));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(sent(&seen), (2, 1, 3));
        drop(copies);
    });
    device.run_until_idle();
    quiet(&acc);
}

/// Those who were collected and have gone to sleep are woken.
#[test]
fn an_impatient_member_is_woken() {
    let mut policy = policy();
    policy.self_wake = Duration::from_micros(50);
    let (device, acc) = held(WqConfig::shared(8), policy);
    let counter = Counter::new();
    let mut copies: Vec<_> = (0..4).map(|number| copy(&acc, number)).collect();
    assert!(copies.iter_mut().all(|copy| poll_once(copy).is_pending()));
    std::thread::sleep(Duration::from_millis(1));
    eventually("all are out of patience", || {
        assert!(copies.iter_mut().all(|copy| poll_with(copy, &counter.waker()).is_pending()));
        acc.stats().event(Event::Parks) >= 4
    });
    assert_eq!(sent(&acc), (2, 1, 3));
    let before = counter.count();
    device.run_until_idle();
    eventually("all are woken", || counter.count() >= before + 4);
    finish(&device, &mut copies);
}

/// Lists and places come back, over and over, while futures come and go in any order.
#[test]
fn nothing_is_used_up_by_many_rounds() {
    for queue in [WqConfig::shared(16), WqConfig::dedicated(16)] {
        let mut rng = Rng::new(seed());
        let mut policy = policy();
        policy.batch_limit = 8;
        let (device, acc) = held(queue, policy);
        let ledger = Ledger::new();
        let mut flying: Vec<(u8, dsa::Copy<Tracked, Tracked>)> = Vec::new();
        for _ in 0..4_000 {
            match rng.below(8) {
                0..4 if flying.len() < 40 => {
                    let byte = rng.next() as u8 | 1;
                    let copy = acc.copy(ledger.of(vec![byte; 256]), ledger.buffer(256));
                    flying.push((byte, copy));
                }
                4 if !flying.is_empty() => drop(flying.swap_remove(rng.below(flying.len()))),
                5 => {
                    device.run_one();
                }
                _ => {}
            }
            if flying.is_empty() {
                continue;
            }
            let at = rng.below(flying.len());
            if let Poll::Ready(result) = poll_once(&mut flying[at].1) {
                let (byte, _) = flying.swap_remove(at);
                let (_, dst) = result.unwrap();
                assert_same(dst.bytes(), &[byte; 256], "copy");
            }
        }
        for (byte, mut copy) in flying {
            while poll_once(&mut copy).is_pending() {
                device.run_until_idle();
            }
            let _ = byte;
        }
        eventually("orphans are reaped", || {
            device.run_until_idle();
            acc.in_flight() == 0
        });
        assert!(acc.stats().event(Event::Collected) > 300, "{}", acc.stats());
        all_dropped(&ledger);
        all_is_back(&device, &acc, 16);
    }
}

/// Many tasks on many threads, with lanes that they share.
#[test]
fn many_tasks_of_many_workers() {
    let _watchdog = Watchdog::start("many tasks");
    let device = Device::new(Config::sapphire_rapids().queue(WqConfig::dedicated(32)).engines(4)).unwrap();
    let mut policy = policy();
    policy.self_wake = Duration::from_micros(100);
    let acc = Arc::new(accelerator(&device, policy));
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(4).enable_time().with_dsa(&acc).build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..24u8)
            .map(|number| {
                let acc = Arc::clone(&acc);
                tokio::spawn(async move {
                    let (mut src, mut dst) = (vec![number; 512], vec![0; 512]);
                    for _ in 0..300 {
                        dst.fill(0xee);
                        (src, dst) = acc.copy(src, dst).await.unwrap();
                        assert_same(&dst, &src, "copy");
                    }
                })
            })
            .collect();
        for task in tasks {
            within("a task", task).await.unwrap();
        }
    });
    quiet(&acc);
    let stats = acc.stats();
    assert!(stats.event(Event::Collected) > 0, "{stats}");
    assert_eq!(acc.leaked(), 0);
}
