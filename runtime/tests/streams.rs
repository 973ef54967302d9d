//! Streams of operations: results in both orders, the bound, when operations are given to the device, who is polled when, and
//! what becomes of one that is dropped.

mod support;

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dsa::bulk::InFlightExt;
use dsa::stats::{Event, Path};
use dsa::{Accelerator, Policy};
use dsa_emulator::{Config, Device, Effect, FaultRule, WqConfig};
use futures_util::stream::{self, FusedStream};
use futures_util::{Stream, StreamExt};
use support::held::{held, parked};
use support::late::{Counter, settled};
use support::tracked::Ledger;
use support::{assert_same, block_on, eventually, quiet, seed, within};

const LEN: usize = 6000;

type Buffers = (Vec<u8>, Vec<u8>);

fn copy(acc: &Accelerator, number: usize) -> dsa::Copy<Vec<u8>, Vec<u8>> {
    acc.copy(vec![number as u8; LEN], Vec::with_capacity(LEN))
}

/// Copies number 0 and up.
fn copies(acc: &Accelerator, count: usize) -> impl Stream<Item = dsa::Copy<Vec<u8>, Vec<u8>>> + Unpin + use<> {
    let acc = acc.clone();
    stream::iter(0..count).map(move |number| copy(&acc, number))
}

/// Which copy it was, if it is right.
#[track_caller]
fn number(result: Result<Buffers, dsa::Failed<Buffers>>) -> usize {
    let (src, dst) = result.unwrap();
    assert_same(&src, &vec![src[0]; LEN], "source");
    assert_same(&dst, &src, "copy");
    usize::from(src[0])
}

fn next<S: Stream + Unpin>(stream: &mut S) -> Poll<Option<S::Item>> {
    next_with(stream, Waker::noop())
}

fn next_with<S: Stream + Unpin>(stream: &mut S, waker: &Waker) -> Poll<Option<S::Item>> {
    Pin::new(stream).poll_next(&mut Context::from_waker(waker))
}

#[test]
fn no_operations_are_no_results() {
    let acc = Accelerator::cpu();
    let (mut any, mut ordered) = (copies(&acc, 0).in_flight(4), copies(&acc, 0).in_flight_ordered(4));
    for _ in 0..2 {
        assert!(matches!(next(&mut any), Poll::Ready(None)) && any.is_terminated());
        assert!(matches!(next(&mut ordered), Poll::Ready(None)) && ordered.is_terminated());
    }
}

/// The device has number 0; the CPU does the others at once.
#[test]
fn results_come_as_they_end_or_in_order() {
    let (device, acc) = held(WqConfig::shared(16), |_| {});
    let mixed = || {
        let acc = acc.clone();
        stream::iter(0..4).map(move |number| match number {
            0 => copy(&acc, 0),
            _ => copy(&acc, number).cpu_only(),
        })
    };
    let mut any = mixed().in_flight(4).poll_time(Duration::ZERO);
    let Poll::Ready(Some(first)) = next(&mut any) else { panic!("not ready") };
    let Poll::Ready(Some(second)) = next(&mut any) else { panic!("not ready") };
    let Poll::Ready(Some(third)) = next(&mut any) else { panic!("not ready") };
    assert_eq!([first, second, third].map(number), [1, 2, 3]);
    assert!(next(&mut any).is_pending() && any.under_way() == 1);
    assert_eq!(any.size_hint(), (1, Some(1)));
    assert!(!any.is_terminated());
    device.run_until_idle();
    let Poll::Ready(Some(last)) = next(&mut any) else { panic!("not ready") };
    assert_eq!(number(last), 0);
    assert!(matches!(next(&mut any), Poll::Ready(None)) && any.is_terminated());

    let mut ordered = mixed().in_flight_ordered(4).poll_time(Duration::ZERO);
    assert!(next(&mut ordered).is_pending());
    assert_eq!((ordered.under_way(), ordered.size_hint()), (1, (4, Some(4))));
    device.run_until_idle();
    for expected in 0..4 {
        let Poll::Ready(Some(result)) = next(&mut ordered) else { panic!("not ready") };
        assert_eq!(number(result), expected);
    }
    assert!(matches!(next(&mut ordered), Poll::Ready(None)) && ordered.is_terminated());
}

/// As many under way as allowed. What has ended and was not asked for counts: it is not overtaken by more.
#[test]
fn no_more_are_taken_than_may_be() {
    for (most, bound) in [(0, 1), (1, 1), (5, 5), (70, 70)] {
        for ordered in [false, true] {
            let (device, acc) = held(WqConfig::shared(128), |_| {});
            let taken = Rc::new(Cell::new(0));
            let counted = {
                let taken = Rc::clone(&taken);
                copies(&acc, 100).inspect(move |_| taken.set(taken.get() + 1))
            };
            let mut results: Pin<Box<dyn Stream<Item = _>>> = if ordered {
                Box::pin(counted.in_flight_ordered(most).poll_time(Duration::ZERO))
            } else {
                Box::pin(counted.in_flight(most).poll_time(Duration::ZERO))
            };
            for given in 0..100 {
                assert!(next(&mut results).is_pending(), "{given}");
                assert_eq!(taken.get(), 100.min(given + bound));
                assert_eq!(acc.in_flight(), bound.min(100 - given));
                if given == 50 {
                    // All have ended, and nobody has asked.
                    device.run_until_idle();
                    break;
                }
                assert!(device.run_one());
                let Poll::Ready(Some(result)) = next(&mut results) else { panic!("not ready") };
                assert_eq!(number(result), given);
            }
            assert_eq!(taken.get(), 50 + bound.min(50));
            let (mut given, mut left) = (50, (50..100).collect::<Vec<_>>());
            while given < 100 {
                match next(&mut results) {
                    Poll::Ready(result) => {
                        let number = number(result.expect("not all"));
                        assert!(!ordered || number == given);
                        left.retain(|&other| other != number);
                        given += 1;
                        assert!(taken.get() <= given + bound);
                    }
                    Poll::Pending => assert!(device.run_one(), "pending for nothing"),
                }
            }
            assert!(matches!(next(&mut results), Poll::Ready(None)));
            assert_eq!(left, [0; 0]);
            assert_eq!(acc.stats().total_operations(Path::Device), 100);
        }
    }
}

/// All that were under way have ended. While the consumer works on the first result, the device has the next ones.
#[test]
fn operations_are_with_the_device_before_a_result_is_given() {
    let (device, acc) = held(WqConfig::shared(64), |_| {});
    let submitted = || acc.stats().event(Event::Submissions);
    let mut results = copies(&acc, 40).in_flight(8).poll_time(Duration::ZERO);
    assert!(next(&mut results).is_pending());
    assert_eq!((device.run_until_idle(), submitted()), (8, 8));
    // Half of what may be under way at once, so that it does not run dry, and the rest together when all results are handed out.
    for (given, under_way) in (1..=8).zip([1, 2, 3, 4, 4, 4, 4, 8]) {
        assert!(next(&mut results).is_ready());
        assert_eq!((results.under_way(), submitted()), (under_way, 8 + under_way as u64), "{given}");
    }
    drop(results);
    device.run_until_idle();
    quiet(&acc);

    // This is what it is for. The other one takes several polls to begin with, because it stops at the second future that
    // wakes itself; and then all eight results are given before the device has as many again.
    let before = submitted();
    let mut results = copies(&acc, 40).buffer_unordered(8);
    for _ in 0..8 {
        assert!(next(&mut results).is_pending());
    }
    assert_eq!((device.run_until_idle(), submitted() - before), (8, 8));
    for _ in 0..8 {
        assert!(next(&mut results).is_ready());
    }
    assert!(submitted() - before < 16, "buffer_unordered has become as good");
    drop(results);
    device.run_until_idle();
    quiet(&acc);
}

/// Those that wake themselves are polled once in a poll of the stream, and not at all while there are results.
#[test]
fn one_poll_is_one_look() {
    let polls = Rc::new(Cell::new(0));
    let restless = |polls: &Rc<Cell<usize>>, ends_at: usize| {
        let polls = Rc::clone(polls);
        let mut mine = 0;
        poll_fn(move |cx: &mut Context<'_>| {
            polls.set(polls.get() + 1);
            mine += 1;
            cx.waker().wake_by_ref();
            if mine == ends_at { Poll::Ready(()) } else { Poll::Pending }
        })
    };
    let ends = [3, 3, 3, 10, 10, 10];
    let mut results =
        stream::iter(ends.map(|ends_at| restless(&polls, ends_at))).in_flight(6).poll_time(Duration::ZERO);
    let counter = Counter::new();
    for poll in 1..=2 {
        assert!(next_with(&mut results, &counter.waker()).is_pending());
        // The last one that was launched is looked at once more.
        assert_eq!((polls.get(), counter.count()), (6 * poll + 1, poll));
    }
    for _ in 0..3 {
        assert!(next_with(&mut results, &counter.waker()).is_ready());
        assert_eq!(polls.get(), 19);
    }
    assert!(next_with(&mut results, &counter.waker()).is_pending());
    assert_eq!(polls.get(), 22);
}

/// Only those whose completion was seen are polled: the others do not leave their wakers once more.
#[test]
fn only_those_that_were_woken_are_polled() {
    let (device, acc) = held(WqConfig::shared(64), parked);
    let counter = Counter::new();
    let mut results = copies(&acc, 8).in_flight(8).poll_time(Duration::ZERO);
    assert!(next_with(&mut results, &counter.waker()).is_pending());
    for given in 0..8 {
        let before = counter.count();
        assert!(device.run_one());
        eventually("a wake-up", || counter.count() > before);
        let Poll::Ready(Some(result)) = next_with(&mut results, &counter.waker()) else { panic!("not ready") };
        assert_eq!(number(result), given);
        assert_eq!(next_with(&mut results, &counter.waker()).is_ready(), given == 7);
        // And the last one that was launched once more.
        assert_eq!(acc.stats().event(Event::Parks), 9);
    }
}

/// What ends as soon as it is launched does not keep those waiting that have ended meanwhile.
#[test]
fn what_has_ended_is_handed_out_though_others_end_at_once() {
    let (device, acc) = held(WqConfig::shared(64), |_| {});
    let operations = stream::iter(0..1000u16).map(|number| {
        let copy = acc.copy(vec![u8::from(number == 0); 4096], vec![0; 4096]);
        if number == 0 { copy.device_only() } else { copy.cpu_only() }
    });
    let mut results = operations.in_flight(8).poll_time(Duration::ZERO);
    let mut given = 0;
    loop {
        let Poll::Ready(Some(result)) = next(&mut results) else { panic!("not ready") };
        given += 1;
        if result.unwrap().0[0] == 1 {
            break;
        }
        device.run_until_idle();
    }
    assert!(given < 40, "{given} came first");
}

/// What was launched is with the device, and not only collected, when somebody is given a result, who may not come back soon.
#[test]
fn what_is_launched_is_sent() {
    let (device, acc) = held(WqConfig::shared(64), |policy| (policy.batch_limit, policy.batch_min_in_flight) = (32, 1));
    let mut results = copies(&acc, 100).in_flight(20).poll_time(Duration::ZERO);
    assert!(next(&mut results).is_pending());
    assert_eq!(acc.stats().event(Event::Collected), 19);
    device.run_until_idle();
    let mut left = 100;
    while left != 0 {
        while let Poll::Ready(Some(_)) = next(&mut results) {
            left -= 1;
            let (stats, done) = (acc.stats(), device.run_until_idle());
            assert!(done == 0 || results.under_way() != 0, "{stats}");
        }
        device.run_until_idle();
    }
}

/// With the shortest, for one operation. They are so small that the CPU does each at once.
#[test]
fn a_poll_ends_with_its_time() {
    let acc = Accelerator::cpu();
    let counter = Counter::new();
    let operations = stream::iter(0..10u8).map(|number| acc.copy(vec![number; 64], vec![0; 64]));
    let mut results = operations.in_flight_ordered(10).poll_time(Duration::from_nanos(1));
    for given in 0..10 {
        let Poll::Ready(Some(result)) = next_with(&mut results, &counter.waker()) else { panic!("not ready") };
        assert_eq!(result.unwrap().1, [given; 64]);
        assert_eq!(acc.stats().total_operations(Path::Cpu), 10.min(1 + u64::from(given)));
    }
    // With a result to give it need not wake.
    assert_eq!(counter.count(), 0);
}

/// It waits for the stream as well as for operations.
#[test]
fn a_stream_that_has_none_yet_wakes_it() {
    let (device, acc) = held(WqConfig::shared(16), parked);
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let mut results = stream::poll_fn(move |cx| receiver.poll_recv(cx)).in_flight(4).poll_time(Duration::ZERO);
    let counter = Counter::new();
    assert!(next_with(&mut results, &counter.waker()).is_pending());
    assert_eq!(counter.count(), 0);
    sender.send(copy(&acc, 1)).unwrap();
    assert_eq!(counter.count(), 1);
    assert!(next_with(&mut results, &counter.waker()).is_pending());
    device.run_one();
    eventually("a wake-up", || counter.count() == 2);
    let Poll::Ready(Some(result)) = next_with(&mut results, &counter.waker()) else { panic!("not ready") };
    assert_eq!(number(result), 1);
    assert!(next_with(&mut results, &counter.waker()).is_pending());
    drop(sender);
    assert!(matches!(next_with(&mut results, &counter.waker()), Poll::Ready(None)));
}

/// What is under way takes its course, and keeps its buffers so long.
#[test]
fn dropping_it_in_the_middle_leaves_nothing_behind() {
    for ordered in [false, true] {
        let (device, acc) = held(WqConfig::shared(64), parked);
        let ledger = Ledger::new();
        let operations: Vec<_> = (0..20).map(|_| acc.copy(ledger.of(vec![7; LEN]), ledger.buffer(LEN))).collect();
        let operations = stream::iter(operations);
        let counter = Counter::new();
        let mut results: Pin<Box<dyn Stream<Item = _>>> = if ordered {
            Box::pin(operations.in_flight_ordered(8).poll_time(Duration::ZERO))
        } else {
            Box::pin(operations.in_flight(8).poll_time(Duration::ZERO))
        };
        assert!(next_with(&mut results, &counter.waker()).is_pending());
        device.run_one();
        eventually("a wake-up", || counter.count() == 1);
        let Poll::Ready(Some(result)) = next_with(&mut results, &counter.waker()) else { panic!("not ready") };
        assert_eq!((acc.in_flight(), ledger.dropped()), (8, 0));
        drop((results, result));
        assert_eq!(ledger.alive(), 2 * 8);
        device.run_until_idle();
        settled(&acc, &ledger);
    }
}

/// Blocks around operations need not be movable.
#[test]
fn futures_may_be_of_any_kind() {
    let (_device, acc) = busy();
    block_on("blocks", async {
        let work = |number: u8| {
            let acc = acc.clone();
            async move {
                let (src, dst) = acc.copy(vec![number; LEN], Vec::with_capacity(LEN)).await?;
                tokio::task::yield_now().await;
                let (crc, dst) = acc.crc32c(dst).await.map_err(|failed| std::io::Error::other(failed.to_string()))?;
                Ok::<_, std::io::Error>((src, dst, crc))
            }
        };
        let mut results = pin!(stream::iter(0..100).map(work).in_flight_ordered(9));
        for number in 0..100 {
            let (src, dst, crc) = within("a result", results.next()).await.unwrap().unwrap();
            assert_same(&src, &[number; LEN], "source");
            assert_same(&dst, &src, "copy");
            assert_eq!(crc, dsa::cpu::crc32c(0, &src));
        }
        assert!(within("the end", results.next()).await.is_none());
    });
    quiet(&acc);
}

/// All come, once; on a device that is late, faults and goes away in the middle.
#[test]
fn all_results_come_even_if_the_device_does_not() {
    let (device, acc) = busy();
    block_on("results", async {
        let mut any = copies(&acc, 200).in_flight(24);
        let mut expected: Vec<_> = (0..200).collect();
        while let Some(result) = within("a result", any.next()).await {
            let number = number(result);
            let place = expected.iter().position(|&left| left == number).expect("twice");
            expected.swap_remove(place);
            if expected.len() == 100 {
                device.disable().unwrap();
            }
        }
        assert_eq!(expected, [0; 0]);
        let ordered = copies(&acc, 200).in_flight_ordered(24).map(number);
        assert_eq!(within("all", ordered.collect::<VecDeque<_>>()).await, (0..200).collect::<VecDeque<_>>());
    });
    quiet(&acc);
    assert_eq!(acc.leaked(), 0);
}

/// A device on threads of its own.
fn busy() -> (Device, Accelerator) {
    let late = FaultRule::new(Effect::Delay(Duration::from_micros(300))).probability(0.1);
    let faults = FaultRule::new(Effect::PageFault { resolvable: false }).probability(0.1);
    let config =
        Config::sapphire_rapids().queue(WqConfig::shared(16)).engines(4).seed(seed()).fault(late).fault(faults);
    let device = Device::new(config).unwrap();
    let mut policy = Policy::default();
    policy.min_device_size = Some(0);
    policy.dead_after = Duration::from_millis(2);
    let acc = Accelerator::builder().policy(policy).emulator(&device).build().unwrap();
    (device, acc)
}
