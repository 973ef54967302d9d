//! What an accelerator's handles, futures and poller have in common.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::clock;
use crate::device::Queue;
use crate::dispatch::Policy;
use crate::lane::Lane;
use crate::lane::watch::Bell;
use crate::stats::Event;

/// Lanes, queues and policy of one accelerator. Kept alive by handles, futures and the poller; the poller leaves last.
pub(crate) struct Shared {
    // Before the lanes, so that queues are closed, and with that drained, before the memory goes that they write.
    pub(crate) queues: Box<[Queue]>,
    pub(crate) lanes: Box<[Lane]>,
    pub(crate) policy: Policy,
    pub(crate) bell: Bell,
    stopping: AtomicBool,
    /// The process generation (see [`forks`]) in which the queues were opened.
    generation: u32,
    leaked: AtomicU64,
}

impl Shared {
    pub(crate) fn new(lanes: Box<[Lane]>, queues: Box<[Queue]>, policy: Policy) -> Self {
        Self {
            lanes,
            queues,
            policy,
            bell: Bell::new(),
            stopping: AtomicBool::new(false),
            generation: forks(),
            leaked: AtomicU64::new(0),
        }
    }

    /// The lane of the calling thread.
    #[inline]
    pub(crate) fn lane_index(&self) -> u32 {
        thread_number() % self.lanes.len() as u32
    }

    /// Bytes that the CPU does in one poll.
    #[inline]
    pub(crate) fn cpu_slice(&self) -> u64 {
        (self.policy.cpu_slice as u64).clamp(4096, 1 << 40).next_multiple_of(4096)
    }

    /// Whether this process was forked off the one that opened the queues. The device knows only the parent's
    /// memory, so a child must not submit, and nothing the device does can touch the child's pages.
    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        forks() != self.generation
    }

    /// Queue numbers in the order in which a lane tries them: lanes start at different ones.
    #[inline]
    pub(crate) fn queues_from(&self, lane: u32) -> impl Iterator<Item = u32> + use<> {
        let count = self.queues.len() as u32;
        (0..count).map(move |step| (lane + step) % count)
    }

    /// The watchdog: something has been out on `queue` since `at` without completing. A dead queue is recovered soon; a
    /// live one gets the whole time, since it may just be slow. Retries a quiesce that failed.
    pub(crate) fn watch_over(&self, queue: &Queue, epoch: u32, at: u64) {
        let overdue = clock::elapsed(at);
        if overdue > self.policy.lost_after || overdue > self.policy.dead_after && !queue.is_alive() {
            self.recover(queue, epoch);
        }
    }

    /// Quiesces a queue and wakes everybody who waits for something it will never complete.
    pub(crate) fn recover(&self, queue: &Queue, observed: u32) {
        if queue.recover(observed) {
            self.lanes[0].stats.event(Event::Quiesces);
        }
        // Armed slots are woken by the poller's next pass, which sees the new epoch; so it must make one.
        self.bell.ring();
    }

    /// Tells the poller to finish what is in flight and leave.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.bell.ring();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Counts everything in flight as given up for good.
    pub(crate) fn leak(&self) {
        let left: usize = self.lanes.iter().map(Lane::in_flight).sum();
        self.leaked.fetch_add(left as u64, Ordering::Relaxed);
    }

    /// Counts one operation as given up for good.
    pub(crate) fn leak_one(&self) {
        self.leaked.fetch_add(1, Ordering::Relaxed);
    }

    /// Operations given up for good.
    pub(crate) fn leaked(&self) -> u64 {
        self.leaked.load(Ordering::Relaxed)
    }
}

/// How often this process has been forked off another since the first accelerator was built.
#[inline]
pub(crate) fn forks() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

static FORKS: AtomicU32 = AtomicU32::new(0);

/// Makes [`forks`] count. Called before queues are opened.
pub(crate) fn count_forks() {
    extern "C" fn in_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler only adds to an atomic, which is async-signal-safe; null means no handler.
        let failed = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        assert_eq!(failed, 0, "pthread_atfork: out of memory");
    });
}

/// A small number per thread, handed out in order of first use, so that the first threads get different lanes.
#[inline]
fn thread_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    thread_local! {
        static NUMBER: u32 = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    // A future may be dropped while the thread's locals are being destroyed; any lane will do then.
    NUMBER.try_with(|number| *number).unwrap_or(0)
}
