//! A device that can be neither waited for nor made to stop: nothing that it may write is ever freed, nobody waits for
//! ever, and when it can be quiesced after all, the queue is taken up again.
//!
//! The software device can always be quiesced, so these tests bring a queue of their own.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use idxd_sys::Descriptor;

use crate::accelerator::Accelerator;
use crate::descriptor::Capabilities;
use crate::dispatch::Policy;
use crate::error::Error;
use crate::stats::Event;
use crate::submit::{SubmissionPath, Submitter, Verdict};

/// Takes everything, does nothing, and does not let itself be quiesced until told to.
#[derive(Clone, Debug, Default)]
struct Stubborn {
    gives_in: Arc<AtomicBool>,
    taken: Arc<AtomicUsize>,
}

impl Submitter for Stubborn {
    unsafe fn submit(&self, descriptors: &[Descriptor]) -> Verdict {
        self.taken.fetch_add(descriptors.len(), Ordering::SeqCst);
        Verdict::Accepted
    }

    fn name(&self) -> String {
        "stubborn".to_owned()
    }

    fn path(&self) -> SubmissionPath {
        SubmissionPath::Model
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::sapphire_rapids()
    }

    fn credits(&self) -> Option<usize> {
        None
    }

    fn is_alive(&self) -> bool {
        false
    }

    fn quiesce(&self) -> bool {
        self.gives_in.load(Ordering::SeqCst)
    }
}

/// A source that tells when it is dropped.
struct Watched(Vec<u8>, Arc<AtomicBool>);

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.1.store(true, Ordering::SeqCst);
    }
}

fn watched() -> (Bytes, Arc<AtomicBool>) {
    let dropped = Arc::new(AtomicBool::new(false));
    (Bytes::from_owner(Watched(vec![7; 8192], Arc::clone(&dropped))), dropped)
}

fn accelerator() -> (Accelerator, Stubborn) {
    let queue = Stubborn::default();
    let policy = Policy {
        min_device_size: Some(0),
        spin: Duration::ZERO,
        self_wake: Duration::ZERO,
        dead_after: Duration::from_millis(5),
        ..Policy::default()
    };
    (Accelerator::builder().policy(policy).submitter(queue.clone()).build().unwrap(), queue)
}

/// Polls whenever it is woken, for at most ten seconds.
fn finish<F: Future + Unpin>(mut future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        if let Poll::Ready(output) = Pin::new(&mut future).poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        std::thread::park_timeout(Duration::from_secs(10));
    }
    panic!("nobody woke it");
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_waiting_future_is_told_and_its_buffers_stay() {
    let (accelerator, _queue) = accelerator();
    let (src, dropped) = watched();
    let failed = finish(accelerator.copy(src, vec![0u8; 8192])).unwrap_err();
    assert_eq!(failed.error(), &Error::Unresponsive);
    assert!(failed.into_buffers().is_none());
    assert_eq!((accelerator.leaked(), accelerator.in_flight()), (1, 1));
    drop(accelerator);
    assert!(!dropped.load(Ordering::SeqCst));
}

#[test]
fn so_is_a_batch() {
    let (accelerator, queue) = accelerator();
    let (src, dropped) = watched();
    let mut batch = accelerator.batch::<Bytes, Vec<u8>>();
    batch.crc32c(src.clone()).copy(src, vec![0; 8192]);
    let items = finish(batch.submit());
    assert_eq!(items.len(), 2);
    assert!(items.iter().all(|item| item.result == Err(Error::Unresponsive) && item.buffers.is_none()));
    assert_eq!(queue.taken.load(Ordering::SeqCst), 1, "one BATCH");
    assert!(accelerator.leaked() >= 1 && !dropped.load(Ordering::SeqCst));
    assert_eq!(
        accelerator.stats().event(Event::Cancelled),
        0,
        "the slot has been given up once, and is not given up again"
    );
}

#[test]
fn a_dropped_future_leaves_its_buffers_for_ever() {
    let (accelerator, queue) = accelerator();
    let (src, dropped) = watched();
    let mut operation = accelerator.crc32c(src);
    assert!(poll_once(&mut operation).is_pending());
    drop(operation);
    // The poller gives up after a grace period, keeps everything, and ends: it was the last to hold the queue.
    drop(accelerator);
    std::thread::sleep(Duration::from_millis(300));
    assert!(!dropped.load(Ordering::SeqCst));
    assert!(Arc::strong_count(&queue.taken) > 1, "the queue is still open, and its memory there");
}

#[test]
fn a_blocking_call_keeps_waiting_until_the_device_gives_in() {
    let (accelerator, queue) = accelerator();
    let caller = std::thread::spawn(move || {
        let (src, mut dst) = (vec![3u8; 8192], vec![0u8; 8192]);
        accelerator.blocking().memcpy(&mut dst, &src).unwrap();
        assert_eq!(src, dst);
    });
    std::thread::sleep(Duration::from_millis(100));
    assert!(!caller.is_finished(), "the device may still write");
    queue.gives_in.store(true, Ordering::SeqCst);
    caller.join().unwrap();
}

#[test]
fn what_gives_in_later_is_recovered() {
    let (accelerator, queue) = accelerator();
    let mut operation = accelerator.crc32c(vec![1u8; 8192]);
    assert!(poll_once(&mut operation).is_pending());
    drop(operation);
    // Runaway by now, or soon.
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!((accelerator.recoveries(), accelerator.in_flight()), (0, 1));
    queue.gives_in.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    while accelerator.in_flight() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "the orphan is not reaped");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!((accelerator.recoveries(), accelerator.leaked()), (1, 0));
}

/// What was given up keeps nothing but its buffers: slot and place in the queue come back.
#[test]
fn what_was_given_up_comes_back_but_for_its_buffers() {
    let (accelerator, queue) = accelerator();
    for _ in 0..3 {
        let failed = finish(accelerator.copy(Bytes::from(vec![7; 8192]), vec![0u8; 8192]));
        // The first finds the queue open; the others are done by the CPU, since it is closed.
        assert!(failed.is_ok() || failed.is_err_and(|failed| failed.error() == &Error::Unresponsive));
    }
    assert_eq!((accelerator.leaked(), accelerator.in_flight()), (1, 1));
    queue.gives_in.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    while accelerator.in_flight() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "the slot does not come back");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!((accelerator.recoveries(), accelerator.leaked()), (1, 1));
}

/// A queue that may do anything at any time is never at rest.
#[test]
fn a_drain_is_told_too() {
    let (accelerator, queue) = accelerator();
    let (src, dropped) = watched();
    let mut operation = accelerator.crc32c(src);
    assert!(poll_once(&mut operation).is_pending());
    // Its DRAIN is taken, and nothing more is heard of it.
    assert_eq!(finish(accelerator.drain()), Err(Error::Unresponsive));
    assert_eq!(queue.taken.load(Ordering::SeqCst), 2);
    // Now the queue is closed, and not even a DRAIN gets there.
    assert_eq!(finish(accelerator.drain()), Err(Error::Unresponsive));
    assert_eq!((queue.taken.load(Ordering::SeqCst), dropped.load(Ordering::SeqCst)), (2, false));
    queue.gives_in.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    while accelerator.recoveries() == 0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "the queue is not quiesced");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(finish(accelerator.drain()), Ok(()));
}
