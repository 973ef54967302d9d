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
//!
//! The poller is not the only one who looks: workers *sweep* ([`super::sweep`]). They wake by the same rule, and never take a
//! slot out of the set that somebody still needs, with one exception of a moment: an orphan that was taken for the
//! completed operation before it is put back. The poller may have gone to sleep in between, so a worker that puts something
//! back rings.

use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::time::Duration;

use super::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering, Thread, current_thread, fence, park, park_timeout};

/// A set of slot indices, set by anybody, walked by the poller and by sweeping workers.
pub(crate) struct WatchSet {
    words: Box<[AtomicU64]>,
    /// How many bits are set, for whoever only wants to know whether a look is worth while. Every change of a bit changes it
    /// once, but a little later: until all changes are done it may say too much or too little. So nothing that must not
    /// be missed depends on it; the poller reads the bits.
    armed: AtomicU32,
    /// Where the next sweep begins.
    pub(super) cursor: AtomicU32,
}

impl WatchSet {
    pub(crate) fn new(slots: usize) -> Self {
        let words = (0..slots.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Self { words, armed: AtomicU32::new(0), cursor: AtomicU32::new(0) }
    }

    /// Adds `index`. The caller rings the bell afterwards.
    pub(crate) fn insert(&self, index: u32) {
        // Release: whoever finds the bit sees the slot as it was armed.
        let bit = 1 << (index % 64);
        if self.words[(index / 64) as usize].fetch_or(bit, Ordering::AcqRel) & bit == 0 {
            self.armed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes `index` out again.
    pub(crate) fn remove(&self, index: u32) {
        // Acquire: the caller looks at the slot again after this and must see what the last `insert` published.
        let bit = 1 << (index % 64);
        if self.words[(index / 64) as usize].fetch_and(!bit, Ordering::AcqRel) & bit != 0 {
            // Wraps for a moment if it overtakes the `insert` that has set the bit.
            self.armed.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How many are in the set, at about this moment.
    #[inline]
    pub(crate) fn armed(&self) -> u32 {
        self.armed.load(Ordering::Relaxed)
    }

    /// Whether nothing is watched. Only meaningful between the fences of [`Bell::sleep_unless`].
    pub(crate) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| word.load(Ordering::Acquire) == 0)
    }

    /// Calls `visit` with every index that is in the set at some moment during the walk.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(u32)) {
        for (position, word) in self.words.iter().enumerate() {
            let mut bits = word.load(Ordering::Acquire);
            while bits != 0 {
                visit(position as u32 * 64 + bits.trailing_zeros());
                bits &= bits - 1;
            }
        }
    }

    /// The same in ascending order from `first` on, and from 0 on after the last, each once, until `visit` says that it
    /// has seen enough.
    pub(super) fn walk_from(&self, first: u32, mut visit: impl FnMut(u32) -> ControlFlow<()>) {
        let words = self.words.len();
        let start = (first / 64) as usize % words;
        let from_first = u64::MAX << (first % 64);
        // The word of `first` is walked twice: its upper part, and as the last of all its lower part.
        for step in 0..=words {
            let position = (start + step) % words;
            let mask = match step {
                0 => from_first,
                _ if step == words => !from_first,
                _ => u64::MAX,
            };
            let mut bits = self.words[position].load(Ordering::Acquire) & mask;
            while bits != 0 {
                if visit(position as u32 * 64 + bits.trailing_zeros()).is_break() {
                    return;
                }
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

#[cfg(all(test, not(dsa_loom)))]
mod tests {
    use super::*;

    fn walked(set: &WatchSet, first: u32, most: usize) -> Vec<u32> {
        let mut seen = Vec::new();
        set.walk_from(first, |index| {
            seen.push(index);
            if seen.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        seen
    }

    #[test]
    fn the_count_follows_the_bits_and_not_the_calls() {
        let set = WatchSet::new(130);
        for (index, armed) in [(5, 1), (5, 1), (64, 2), (129, 3)] {
            set.insert(index);
            assert_eq!(set.armed(), armed);
        }
        for (index, armed) in [(6, 3), (5, 2), (5, 2), (129, 1), (64, 0)] {
            set.remove(index);
            assert_eq!(set.armed(), armed);
        }
        assert!(set.is_empty());
    }

    #[test]
    fn a_walk_goes_around_once_from_anywhere() {
        let set = WatchSet::new(130);
        let all = [0, 5, 63, 64, 70, 129];
        assert_eq!(walked(&set, 7, 9), []);
        for index in all {
            set.insert(index);
        }
        for first in 0..192 {
            let mut expected = all;
            expected.rotate_left(all.iter().filter(|&&index| index < first).count() % all.len());
            assert_eq!(walked(&set, first, 9), expected, "from {first}");
        }
        assert_eq!(walked(&set, 64, 3), [64, 70, 129]);
    }
}
