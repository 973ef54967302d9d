//! Whatever safe code does with a future, the device never writes memory that has been given away, and everything is
//! given back in the end.
//!
//! A device that starts every descriptor late holds the moment still at which things go wrong. [`Tracked`] buffers
//! count their drops and notice when they are dropped before the device has written them.

mod support;

use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use dsa::buf::{Pool, StableBufMut};
use dsa::stats::{Event, Path};
use dsa::{Accelerator, Policy};
use dsa_emulator::{Config, Device, Effect, FaultRule, WqConfig};
use support::late::{Counter, LATE, LEN, all_dropped, copy, late, launch, poll_with, settled};
use support::tracked::Ledger;
use support::{Watchdog, assert_same, block_on, eventually, poll_once, within};

#[test]
fn a_forgotten_future_keeps_its_buffers() {
    let (device, acc) = late(LATE);
    let ledger = Ledger::new();
    let mut dst = ledger.buffer(LEN);
    let memory = dst.as_mut_ptr();
    let mut operation = acc.copy(ledger.of(vec![7; LEN]), dst);
    launch(&mut operation);
    std::mem::forget(operation);
    device.drain_all();
    // SAFETY: leaked with the future, and the device is done.
    assert_same(unsafe { std::slice::from_raw_parts(memory, LEN) }, &vec![7; LEN], "forgotten");
    assert_eq!((ledger.dropped(), acc.in_flight()), (0, 1));
    // The rest goes on.
    let other = Ledger::new();
    let (_, dst) = block_on("copy", within("copy", copy(&acc, &other))).unwrap();
    assert_same(dst.bytes(), &vec![7; LEN], "after");
    drop((dst, acc));
    assert_eq!(ledger.dropped(), 0);
}

#[test]
fn dropped_before_the_first_poll() {
    let (_device, acc) = late(LATE);
    let ledger = Ledger::new();
    drop(acc.copy(ledger.buffer(LEN), ledger.buffer(LEN)));
    assert_eq!((ledger.dropped(), acc.in_flight()), (2, 0));
    assert_eq!(acc.stats().event(Event::Submissions), 0);
}

#[test]
fn dropped_in_flight() {
    let (_device, acc) = late(LATE);
    let ledger = Ledger::new();
    let mut operation = copy(&acc, &ledger);
    launch(&mut operation);
    let begun = Instant::now();
    drop(operation);
    assert!(begun.elapsed() < LATE, "dropping blocks");
    settled(&acc, &ledger);
    let stats = acc.stats();
    assert_eq!((stats.event(Event::Cancelled), stats.event(Event::OrphansReaped)), (1, 1));
}

#[test]
fn every_kind_of_operation_dropped_in_flight() {
    let (_device, acc) = late(LATE);
    let ledger = Ledger::new();
    let src = || ledger.of(vec![7; LEN]);
    let dst = || ledger.buffer(LEN).ends_as(7);
    let inside = || {
        let mut bytes = vec![7; LEN];
        bytes[..5000].fill(0);
        ledger.of(bytes).ends_as(7)
    };
    launch(&mut acc.copy(src(), dst()));
    launch(&mut acc.copy_to_vec(src()));
    launch(&mut acc.copy_within(inside(), 5000..10_000, 0));
    launch(&mut acc.fill(dst(), LEN, 7u8));
    launch(&mut acc.crc32c(src()));
    launch(&mut acc.copy_crc32c(src(), dst()));
    launch(&mut acc.compare(src(), src()));
    let pool = Pool::builder().buffers(2).size(LEN).build().unwrap();
    launch(&mut acc.dualcast(src(), pool.try_get().unwrap(), pool.try_get().unwrap()));
    assert_eq!((acc.in_flight(), pool.available()), (8, 0));
    settled(&acc, &ledger);
    eventually("both buffers are back", || pool.available() == 2);
    assert_eq!(acc.stats().event(Event::OrphansReaped), 8);
}

#[test]
fn dropped_when_complete_but_not_polled() {
    let (device, acc) = late(LATE);
    let ledger = Ledger::new();
    let mut operation = copy(&acc, &ledger);
    launch(&mut operation);
    device.drain_all();
    drop(operation);
    // Nothing is with the device any more, so nothing needs to be left to anybody.
    assert_eq!((ledger.alive(), ledger.early(), acc.in_flight()), (0, 0, 0));
}

#[test]
fn dropped_after_a_page_fault_was_resumed() {
    let (device, acc) = late(LATE);
    device.inject(FaultRule::new(Effect::PageFault { resolvable: false }).limit(1));
    let ledger = Ledger::new();
    let mut operation = copy(&acc, &ledger);
    launch(&mut operation);
    device.drain_all();
    launch(&mut operation);
    assert_eq!(acc.stats().event(Event::Resumes), 1);
    drop(operation);
    assert_eq!(acc.in_flight(), 1);
    settled(&acc, &ledger);
}

#[test]
fn dropped_between_two_pieces() {
    let queue = WqConfig::shared(64).max_transfer_size(4096);
    let config = Config::sapphire_rapids().queue(queue).fault(FaultRule::new(Effect::Delay(LATE)));
    let device = Device::new(config).unwrap();
    let acc = Accelerator::builder().min_device_size(0).emulator(&device).build().unwrap();
    let ledger = Ledger::new();
    // Not all of it will be written.
    let mut operation = acc.copy(ledger.of(vec![7; LEN]), ledger.buffer(LEN));
    launch(&mut operation);
    device.drain_all();
    launch(&mut operation);
    assert_eq!(acc.stats().event(Event::Submissions), 2);
    drop(operation);
    assert_eq!((ledger.dropped(), acc.in_flight()), (0, 1));
    settled(&acc, &ledger);
}

#[test]
fn dropped_while_waiting_for_the_poller() {
    let (_device, acc) = late(LATE);
    let ledger = Ledger::new();
    let woken = Counter::new();
    let mut operation = copy(&acc, &ledger);
    assert!(poll_with(&mut operation, &woken.waker()).is_pending());
    assert_eq!(acc.stats().event(Event::Parks), 1);
    drop(operation);
    settled(&acc, &ledger);
    eventually("the waker is dropped", || Arc::strong_count(&woken) == 1);
}

#[test]
fn dropped_between_two_slices_of_the_cpu() {
    let mut policy = Policy::default();
    policy.cpu_slice = 4096;
    let acc = Accelerator::builder().policy(policy).build().unwrap();
    let ledger = Ledger::new();
    let mut operation = acc.copy(ledger.of(vec![7; LEN]), ledger.buffer(LEN));
    for _ in 0..3 {
        assert!(poll_once(&mut operation).is_pending());
    }
    drop(operation);
    assert_eq!(ledger.dropped(), 2);
}

#[test]
fn the_accelerator_goes_before_its_futures() {
    let (_device, acc) = late(LATE);
    let ledger = Ledger::new();
    let (mut launched, fresh) = (copy(&acc, &ledger), copy(&acc, &ledger));
    launch(&mut launched);
    drop(acc);
    block_on("copies", async {
        assert_same(within("launched", launched).await.unwrap().1.bytes(), &vec![7; LEN], "launched");
        assert_same(within("fresh", fresh).await.unwrap().1.bytes(), &vec![7; LEN], "fresh");
    });
    all_dropped(&ledger);
}

#[test]
fn the_accelerator_goes_with_orphans_in_flight() {
    // The second is longer than a shutdown waits of itself: the queue is quiesced.
    for delay in [LATE, Duration::from_millis(250)] {
        let (_device, acc) = late(delay);
        let ledger = Ledger::new();
        for _ in 0..8 {
            launch(&mut copy(&acc, &ledger));
        }
        let begun = Instant::now();
        drop(acc);
        assert!(begun.elapsed() < delay, "dropping blocks");
        all_dropped(&ledger);
    }
}

#[test]
fn a_runtime_shuts_down_with_operations_in_flight() {
    for background in [false, true] {
        let (_device, acc) = late(LATE);
        let ledger = Ledger::new();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
        for _ in 0..40 {
            let mut operation = copy(&acc, &ledger);
            launch(&mut operation);
            runtime.spawn(async move {
                let _ = operation.await;
            });
        }
        if background {
            runtime.shutdown_background();
        } else {
            drop(runtime);
        }
        settled(&acc, &ledger);
    }
}

#[test]
fn futures_move_while_in_flight() {
    let (_device, acc) = late(LATE);
    let ledger = Ledger::new();
    let mut all = Vec::new();
    for _ in 0..9 {
        let mut operation = copy(&acc, &ledger);
        launch(&mut operation);
        // Grows now and then, and moves what is in it.
        all.push(operation);
    }
    all.reverse();
    let mut boxed: Vec<_> = all.into_iter().map(Box::new).collect();
    let (mut first, mut last) = (boxed.remove(0), boxed.pop().unwrap());
    launch(&mut *first);
    std::mem::swap(&mut *first, &mut *last);
    boxed.extend([first, last]);
    block_on("copies", async {
        for operation in boxed {
            let moved = *operation;
            let (src, dst) = within("moved", moved).await.unwrap();
            assert_same(dst.bytes(), src.bytes(), "moved");
        }
    });
    settled(&acc, &ledger);
    assert_eq!(acc.stats().total_operations(Path::Device), 9);
}

#[test]
fn every_poll_from_another_thread() {
    let (_device, acc) = late(LATE);
    let ledger = Ledger::new();
    let mut operation = copy(&acc, &ledger);
    let mut rounds = 0;
    let done = loop {
        let woken = Counter::new();
        let waker = woken.waker();
        let poll = move || {
            let poll = poll_with(&mut operation, &waker);
            (poll, operation)
        };
        let (poll, back) = std::thread::spawn(poll).join().unwrap();
        operation = back;
        rounds += 1;
        match poll {
            Poll::Ready(result) => break result.unwrap(),
            // The first times do not wait, so that a waker is replaced by another thread's.
            Poll::Pending if rounds < 4 => {}
            Poll::Pending => eventually("a wake-up", || woken.count() > 0),
        }
    };
    assert_same(done.1.bytes(), &vec![7; LEN], "copy");
    drop((done, operation));
    settled(&acc, &ledger);
}

#[test]
fn cancellation_by_select() {
    let (_device, acc) = late(Duration::from_millis(3));
    let ledger = Ledger::new();
    let mut finished = 0;
    block_on("select", async {
        for i in 0..60 {
            tokio::select! {
                result = copy(&acc, &ledger) => {
                    assert_same(result.unwrap().1.bytes(), &vec![7; LEN], "copy");
                    finished += 1;
                }
                () = tokio::time::sleep(Duration::from_micros(i * 200)) => {}
            }
        }
    });
    println!("{finished} of 60 finished");
    settled(&acc, &ledger);
    assert_eq!(acc.stats().event(Event::Cancelled), 60 - finished);
}

/// A future that loses a race is polled on, not dropped, and gives its buffers.
#[test]
fn a_select_by_reference_loses_nothing() {
    let (_device, acc) = late(LATE);
    let ledger = Ledger::new();
    block_on("select", async {
        let mut operation = copy(&acc, &ledger);
        let mut ticks = 0;
        let (src, dst) = loop {
            tokio::select! {
                result = &mut operation => break result.unwrap(),
                () = tokio::time::sleep(Duration::from_millis(1)) => ticks += 1,
            }
        };
        assert!(ticks > 0);
        assert_same(dst.bytes(), src.bytes(), "copy");
    });
    settled(&acc, &ledger);
}

#[test]
#[should_panic(expected = "polled after it had completed")]
fn a_completed_future_has_nothing_more_to_give() {
    let mut operation = Accelerator::cpu().crc32c(vec![1u8; 10]);
    assert!(poll_once(&mut operation).is_ready());
    let _ = poll_once(&mut operation);
}

/// Threads of blocking calls and tasks that are cancelled share slots and queue.
#[test]
fn cancelled_and_blocking_side_by_side() {
    let (_device, acc) = late(Duration::from_micros(300));
    let ledger = Ledger::new();
    std::thread::scope(|threads| {
        for thread in 0..3u8 {
            let (acc, ledger) = (&acc, &ledger);
            threads.spawn(move || {
                let _watchdog = Watchdog::start("blocking");
                let src = vec![thread; LEN];
                let mut dst = vec![0; LEN];
                for round in 0..40 {
                    // Where no slot is free the CPU has done it by now.
                    let _ = poll_once(&mut copy(acc, ledger));
                    dst.fill(0);
                    acc.blocking().memcpy(&mut dst, &src).unwrap();
                    assert_same(&dst, &src, &format!("round {round}"));
                }
            });
        }
    });
    settled(&acc, &ledger);
}
