//! Ends of an accelerator whose driver hangs, whose device has been given up before, or whose poller has died.
//!
//! The software device does none of this, so these tests bring a queue of their own.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use idxd_sys::Descriptor;

use crate::accelerator::{Accelerator, Ending};
use crate::clock;
use crate::descriptor::Capabilities;
use crate::dispatch::Policy;
use crate::error::Error;
use crate::submit::{SubmissionPath, Submitter, Verdict};

/// How it answers, and how it hangs.
#[derive(Debug)]
struct Queue {
    /// Refuses every descriptor; otherwise it swallows them.
    refuses: bool,
    /// Whether a quiesce succeeds.
    gives_in: Arc<AtomicBool>,
    /// Where a quiesce tells that it was called, and then hangs until the other end is dropped.
    hangs: Option<(mpsc::Sender<()>, Mutex<mpsc::Receiver<()>>)>,
    /// Whether the question if it is alive ends in a panic.
    panics: bool,
}

impl Default for Queue {
    fn default() -> Self {
        Self { refuses: false, gives_in: Arc::new(AtomicBool::new(true)), hangs: None, panics: false }
    }
}

impl Submitter for Queue {
    unsafe fn submit(&self, _: &[Descriptor]) -> Verdict {
        if self.refuses { Verdict::Refused(0) } else { Verdict::Accepted }
    }

    fn name(&self) -> String {
        "of a test".to_owned()
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
        assert!(!self.panics, "a panic that this test wants");
        false
    }

    fn quiesce(&self) -> bool {
        if let Some((begun, end)) = &self.hangs {
            begun.send(()).expect("the test waits for it");
            let _ = end.lock().expect("nobody panics").recv();
        }
        self.gives_in.load(Ordering::SeqCst)
    }
}

fn open(queue: Queue) -> Accelerator {
    let policy = Policy {
        min_device_size: Some(0),
        spin: Duration::ZERO,
        self_wake: Duration::ZERO,
        dead_after: Duration::from_millis(5),
        ..Policy::default()
    };
    Accelerator::builder().policy(policy).submitter(queue).build().expect("a valid policy")
}

/// Tells of its drop.
struct Token(Arc<AtomicBool>);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Polls whenever it is woken, but not for ever.
fn finish<F: Future + Unpin>(mut future: F) -> F::Output {
    const PATIENCE: Duration = Duration::from_secs(30);
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Poll::Ready(output) = Pin::new(&mut future).poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        std::thread::park_timeout(PATIENCE);
    }
    panic!("nobody woke it");
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Nothing is out, but the driver keeps the thread that was to recover the queue.
#[test]
fn a_thread_that_the_driver_keeps_does_not_keep_the_shutdown() {
    let (begun, has_begun) = mpsc::channel();
    let (end, ends) = mpsc::channel();
    let queue = Queue { refuses: true, hangs: Some((begun, Mutex::new(ends))), ..Queue::default() };
    let gives_in = Arc::clone(&queue.gives_in);
    let accelerator = open(queue);
    // Refused, and done by the CPU.
    let (src, dst) = finish(accelerator.copy(vec![7u8; 8192], vec![0; 8192])).expect("the CPU has done it");
    assert_eq!(src, dst);
    has_begun.recv().expect("the poller has the queue recovered");
    assert_eq!(finish(accelerator.shutdown()), Ending::Leaked);
    assert_eq!(Arc::strong_count(&gives_in), 2, "the queue is still there");
    drop(end);
}

/// The same with an operation out that nobody waits for.
#[test]
fn nor_with_something_out() {
    let (begun, has_begun) = mpsc::channel();
    let (end, ends) = mpsc::channel();
    let accelerator = open(Queue { hangs: Some((begun, Mutex::new(ends))), ..Queue::default() });
    let mut operation = accelerator.crc32c(vec![1u8; 8192]);
    assert!(poll_once(&mut operation).is_pending());
    has_begun.recv().expect("the poller has the queue recovered");
    drop(operation);
    assert_eq!(finish(accelerator.shutdown()), Ending::Leaked);
    drop(end);
}

/// Something was given up long ago, which is no reason to leave a worker alone that is in the middle of a sweep.
#[test]
fn who_is_still_there_is_waited_for_whatever_was_leaked_before() {
    let queue = Queue { gives_in: Arc::default(), ..Queue::default() };
    let gives_in = Arc::clone(&queue.gives_in);
    let accelerator = open(queue);
    let failed = finish(accelerator.copy(vec![7u8; 8192], vec![0; 8192])).expect_err("the device hangs");
    assert_eq!(failed.error(), &Error::Unresponsive);
    gives_in.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    while accelerator.in_flight() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "the slot does not come back");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(accelerator.leaked(), 1);
    // As a worker does for a sweep.
    let worker = accelerator.downgrade().upgrade().expect("it is there");
    let epoch = worker.queues[0].epoch();
    let mut shutdown = accelerator.shutdown();
    // Time for a poller that does not wait.
    for _ in 0..5 {
        assert!(poll_once(&mut shutdown).is_pending(), "a worker is still there");
        std::thread::sleep(Duration::from_millis(5));
    }
    // And it has an orphan in its hands that it puts back, of which nobody hears.
    let is_dropped = Arc::new(AtomicBool::new(false));
    let lane = &worker.lanes[0];
    let (index, place) = lane.acquire().expect("all are free");
    place.reset_record();
    place.slot.stamp(0, epoch.wrapping_sub(1), clock::now());
    lane.orphan(index, Box::new(Token(Arc::clone(&is_dropped))));
    drop(worker);
    // What was leaked is not forgotten.
    assert_eq!(finish(shutdown), Ending::Leaked);
    assert!(is_dropped.load(Ordering::SeqCst));
}

#[test]
fn a_poller_that_has_died_has_closed_nothing() {
    let queue = Queue { panics: true, ..Queue::default() };
    let gives_in = Arc::clone(&queue.gives_in);
    let accelerator = open(queue);
    let is_dropped = Arc::new(AtomicBool::new(false));
    let source = bytes::Bytes::from_owner(Source(vec![1; 8192], Token(Arc::clone(&is_dropped))));
    let mut operation = accelerator.crc32c(source);
    assert!(poll_once(&mut operation).is_pending());
    drop(operation);
    assert_eq!(finish(accelerator.shutdown()), Ending::Leaked);
    assert_eq!((Arc::strong_count(&gives_in), is_dropped.load(Ordering::SeqCst)), (2, false));
}

struct Source(Vec<u8>, #[expect(dead_code, reason = "dropped with the rest")] Token);

impl AsRef<[u8]> for Source {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
