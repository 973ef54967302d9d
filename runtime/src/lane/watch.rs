//! Who is looking: the set of slots that the backstop poller watches, and the bell that wakes it.
//!
//! No file descriptor signals a completion, so somebody has to look at the record. While a future is being polled it
//! looks itself. When it gives up its turn it *arms*: it registers its waker, puts its index into the lane's
//! [`WatchSet`], rings the [`Bell`], and looks at the record once more. A dropped future arms likewise, without a waker.
//!
//! The protocol has two races that matter, with one rule for each, and one thing that is none:
//!
//! * *Arming against falling asleep.* The armer sets its bit, then reads `sleeping`; the poller sets `sleeping`, then
//!   reads the bits. A sequentially consistent fence between the two steps on both sides makes sure that at least one
//!   sees the other (store buffering): either the poller finds the bit, or the armer rings.
//! * *Waiting in user mode* ([`super::wait`]) is no sleep in this sense. `sleeping` stays false and nobody rings; the wait
//!   has a deadline of microseconds and is followed by another pass, which finds what was armed meanwhile. It is a slow
//!   pass. Only one line can be monitored, that of a record, so a ring could not end it anyway.
//! * *Un-watching against re-arming.* The poller clears a bit **before** it wakes the waker. A future that re-arms
//!   between the two is woken for nothing and arms again; the other order would lose its bit.

use std::sync::OnceLock;
use std::time::Duration;

use super::sync::{AtomicBool, AtomicU64, Ordering, Thread, current_thread, fence, park, park_timeout};

/// A set of slot indices, set by anybody, walked by the poller.
pub(crate) struct WatchSet(Box<[AtomicU64]>);

impl WatchSet {
    pub(crate) fn new(slots: usize) -> Self {
        Self((0..slots.div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    /// Adds `index`. The caller rings the bell afterwards.
    pub(crate) fn insert(&self, index: u32) {
        // Release: whoever finds the bit sees the slot as it was armed.
        self.0[(index / 64) as usize].fetch_or(1 << (index % 64), Ordering::AcqRel);
    }

    /// Takes `index` out again.
    pub(crate) fn remove(&self, index: u32) {
        // Acquire: the caller looks at the slot again after this and must see what the last `insert` published.
        self.0[(index / 64) as usize].fetch_and(!(1 << (index % 64)), Ordering::AcqRel);
    }

    /// Whether nothing is watched. Only meaningful between the fences of [`Bell::sleep_unless`].
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| word.load(Ordering::Acquire) == 0)
    }

    /// Calls `visit` with every index that is in the set at some moment during the walk.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(u32)) {
        for (position, word) in self.0.iter().enumerate() {
            let mut bits = word.load(Ordering::Acquire);
            while bits != 0 {
                visit(position as u32 * 64 + bits.trailing_zeros());
                bits &= bits - 1;
            }
        }
    }
}

/// Wakes the poller out of its sleep.
pub(crate) struct Bell {
    sleeping: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Bell {
    pub(crate) fn new() -> Self {
        Self { sleeping: AtomicBool::new(false), thread: OnceLock::new() }
    }

    /// Makes the calling thread the one that the bell wakes.
    pub(crate) fn adopt(&self) {
        let _ = self.thread.set(current_thread());
    }

    /// Wakes the poller if it sleeps. Costs a fence and a load if it does not.
    pub(crate) fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed)
            && self.sleeping.swap(false, Ordering::AcqRel)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Parks the calling poller until somebody rings, or for `limit`, unless `busy` finds something to do after the
    /// intention to sleep has been announced. May return early; the caller looks again in any case.
    pub(crate) fn sleep_unless(&self, limit: Option<Duration>, busy: impl FnOnce() -> bool) {
        // Exchanges, not stores: each then follows in order whatever a ringing thread has exchanged before, so that what
        // the fences promise about this flag does not depend on how the two threads' plain stores would be ordered.
        self.sleeping.swap(true, Ordering::AcqRel);
        fence(Ordering::SeqCst);
        if !busy() {
            match limit {
                None => park(),
                Some(limit) => park_timeout(limit),
            }
        }
        self.sleeping.swap(false, Ordering::AcqRel);
    }
}
