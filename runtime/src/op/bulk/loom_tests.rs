//! What loom explores of [`super::ready`]: wake-ups against a poll that registers the task and takes the bits.
//!
//! Run as the models of [`crate::lane`]. A lost wake-up shows as a deadlock.

use std::sync::Arc;
use std::task::Poll;

use loom::thread;

use super::ready::Ready;

fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(f);
}

/// Two futures are woken by two threads while the task polls. It comes for both, in whatever order.
#[test]
fn loom_every_place_that_is_woken_is_seen() {
    model(|| {
        let ready = Ready::new();
        let threads: Vec<_> = [0, 5]
            .map(|place| {
                let waker = ready.waker(place).clone();
                thread::spawn(move || waker.wake())
            })
            .into();
        let mut seen = 0;
        loom::future::block_on(std::future::poll_fn(|cx| {
            ready.register(cx.waker());
            seen |= ready.take();
            if seen == 0b10_0001 { Poll::Ready(()) } else { Poll::Pending }
        }));
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(Arc::strong_count(&ready), 1);
    });
}

/// One that is woken again and again while the task takes its bit: the last time counts.
#[test]
fn loom_a_place_that_is_woken_again_is_seen_again() {
    model(|| {
        let ready = Ready::new();
        let value = Arc::new(loom::sync::atomic::AtomicU32::new(0));
        let waking = {
            let (waker, value) = (ready.waker(1).clone(), Arc::clone(&value));
            thread::spawn(move || {
                for step in 1..=2 {
                    // What is done before the wake-up is seen by whoever takes the bit.
                    value.store(step, loom::sync::atomic::Ordering::Relaxed);
                    waker.wake_by_ref();
                }
            })
        };
        loom::future::block_on(std::future::poll_fn(|cx| {
            ready.register(cx.waker());
            if ready.take() != 0 && value.load(loom::sync::atomic::Ordering::Relaxed) == 2 {
                return Poll::Ready(());
            }
            Poll::Pending
        }));
        waking.join().unwrap();
    });
}
