//! One open work queue: the gate in front of it, its credits, and recovery when it goes astray.
//!
//! **Epochs.** Every quiesce that succeeds starts a new epoch. A slot remembers the epoch of its submission; a slot
//! from an older epoch whose record is still unwritten will never complete, and its operation may be finished on the
//! CPU (invariant 4). Nothing else ever allows that.
//!
//! **The gate** ([`crate::lane::gate`]) keeps submitters out while that happens.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;
use idxd_sys::Descriptor;

use crate::descriptor::Capabilities;
use crate::lane::Fate;
use crate::lane::gate::Gate;
use crate::stats::{Event, Recorder};
use crate::submit::{Submitter, Verdict};

/// An open work queue.
pub(crate) struct Queue {
    submitter: Box<dyn Submitter>,
    capabilities: Capabilities,
    credits: Option<CachePadded<AtomicUsize>>,
    gate: Gate,
    epoch: AtomicU32,
    /// Set when a quiesce failed: the device may write what it was given at any time, for ever.
    runaway: AtomicBool,
    /// Consecutive submissions that ended in "retry" with nothing accepted in between.
    refusals: AtomicU32,
    /// Quiesces that succeeded.
    recoveries: AtomicU64,
    recovery: Mutex<Recovery>,
}

/// What only recovery touches.
struct Recovery {
    /// When a quiesce, or a closed queue, was last tried.
    probed: Instant,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("by", &self.submitter)
            .field("open", &self.is_open())
            .field("runaway", &self.is_runaway())
            .field("recoveries", &self.recoveries())
            .finish_non_exhaustive()
    }
}

/// How a submission ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The descriptor is with the device.
    Accepted,
    /// The queue is full, or says so.
    Full,
    /// The gate is closed: the queue is being recovered, or is gone.
    Closed,
}

/// After so many refused submissions in a row somebody asks whether the queue is alive at all.
const SUSPICIOUS_REFUSALS: u32 = 64;

/// How often quiescing is tried again after it has failed.
const RUNAWAY_INTERVAL: Duration = Duration::from_secs(1);

/// How often a closed queue is tried again.
const PROBE_INTERVAL: Duration = Duration::from_millis(50);

impl Queue {
    /// A queue for submitters from `lanes` lanes.
    pub(crate) fn new(submitter: Box<dyn Submitter>, lanes: usize) -> Self {
        Self {
            capabilities: submitter.capabilities(),
            credits: submitter.credits().map(|n| CachePadded::new(AtomicUsize::new(n))),
            submitter,
            gate: Gate::new(lanes),
            epoch: AtomicU32::new(0),
            runaway: AtomicBool::new(false),
            refusals: AtomicU32::new(0),
            recoveries: AtomicU64::new(0),
            recovery: Mutex::new(Recovery { probed: Instant::now() }),
        }
    }

    /// What the queue offers.
    #[inline]
    pub(crate) fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// The current epoch; stamp it on a slot before submitting.
    #[inline]
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Whether the device may write for ever what it was given, because it could not be quiesced.
    #[inline]
    pub(crate) fn is_runaway(&self) -> bool {
        self.runaway.load(Ordering::Acquire)
    }

    /// What has become of descriptors submitted in `epoch`.
    #[inline]
    pub(crate) fn fate(&self, epoch: u32) -> Fate {
        if self.epoch() != epoch {
            Fate::Lost
        } else if self.is_runaway() {
            Fate::Runaway
        } else {
            Fate::Open
        }
    }

    /// Whether the gate is open.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.gate.is_open()
    }

    /// Times this queue was quiesced to recover lost descriptors.
    pub(crate) fn recoveries(&self) -> u64 {
        self.recoveries.load(Ordering::Relaxed)
    }

    /// Submits one descriptor from lane number `lane`, trying `retries` more times while the queue is full. `stamp` is called
    /// with the epoch once the gate is known to be open, before anything is submitted.
    ///
    /// # Safety
    ///
    /// As for [`Submitter::submit`]: what the descriptor names stays valid until its record is written or
    /// [`Queue::fate`] says `Lost` of the stamped epoch.
    #[inline]
    pub(crate) unsafe fn submit(
        &self,
        lane: u32,
        stats: &Recorder,
        descriptor: &Descriptor,
        retries: u32,
        stamp: impl FnOnce(u32),
    ) -> Admission {
        if !self.take_credit() {
            return Admission::Full;
        }
        if !self.gate.enter(lane) {
            self.return_credit();
            return Admission::Closed;
        }
        stamp(self.epoch.load(Ordering::Relaxed));
        let mut left = retries;
        let admission = loop {
            // SAFETY: the caller's promise.
            match unsafe { self.submitter.submit(std::slice::from_ref(descriptor)) } {
                Verdict::Accepted => break Admission::Accepted,
                Verdict::Retry(_) if left == 0 => break Admission::Full,
                // Somebody waits for us to leave.
                Verdict::Retry(_) if !self.gate.is_open() => break Admission::Closed,
                Verdict::Retry(_) => {
                    stats.event(Event::Retries);
                    left -= 1;
                    std::hint::spin_loop();
                }
            }
        };
        self.gate.leave(lane);
        if admission == Admission::Accepted {
            stats.event(Event::Submissions);
            if self.refusals.load(Ordering::Relaxed) != 0 {
                self.refusals.store(0, Ordering::Relaxed);
            }
        } else {
            self.return_credit();
            self.refusals.fetch_add(1, Ordering::Relaxed);
        }
        admission
    }

    /// Whether refusals have piled up so that the queue's health should be looked at (off the hot path).
    pub(crate) fn is_suspicious(&self) -> bool {
        self.is_open() && self.refusals.load(Ordering::Relaxed) >= SUSPICIOUS_REFUSALS
    }

    /// It was looked at and is alive: the refusals were just pressure.
    pub(crate) fn absolve(&self) {
        self.refusals.store(0, Ordering::Relaxed);
    }

    /// Whether the queue can be expected to execute what it has accepted.
    pub(crate) fn is_alive(&self) -> bool {
        self.submitter.is_alive()
    }

    /// An accepted descriptor has completed or is lost.
    #[inline]
    pub(crate) fn return_credit(&self) {
        if let Some(credits) = &self.credits {
            credits.fetch_add(1, Ordering::Release);
        }
    }

    #[inline]
    fn take_credit(&self) -> bool {
        let Some(credits) = &self.credits else { return true };
        credits.fetch_update(Ordering::Acquire, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok()
    }

    /// Closes the gate, quiesces, starts a new epoch, and opens the gate again if the queue is alive. Afterwards every
    /// slot stamped with an older epoch either has its record or never will; the caller wakes them. Returns whether this
    /// call did it.
    ///
    /// `observed` is the epoch in which the caller saw the trouble: if another thread has recovered the queue since,
    /// there is nothing to do. A queue that could not be quiesced before is tried again.
    pub(crate) fn recover(&self, observed: u32) -> bool {
        let mut recovery = self.recovery.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.epoch() != observed || self.is_runaway() && recovery.probed.elapsed() < RUNAWAY_INTERVAL {
            return false;
        }
        recovery.probed = Instant::now();
        self.gate.close();
        if !self.submitter.quiesce() {
            self.runaway.store(true, Ordering::Release);
            return false;
        }
        self.recoveries.fetch_add(1, Ordering::Relaxed);
        self.runaway.store(false, Ordering::Release);
        // Release: whoever sees the new epoch also sees every record that was written before the quiesce ended.
        self.epoch.fetch_add(1, Ordering::AcqRel);
        if self.submitter.is_alive() {
            self.open();
        }
        true
    }

    /// Takes a queue out of service for good, whether or not it is alive; for shutdown.
    pub(crate) fn retire(&self) {
        let _recovery = self.recovery.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.gate.close();
        if !self.is_runaway() && self.submitter.quiesce() {
            self.epoch.fetch_add(1, Ordering::AcqRel);
        } else {
            self.runaway.store(true, Ordering::Release);
        }
    }

    /// Opens a closed queue again if it is alive; looks at most every so often.
    pub(crate) fn probe(&self) {
        if self.is_open() {
            return;
        }
        let Ok(mut recovery) = self.recovery.try_lock() else { return };
        if self.is_runaway() || recovery.probed.elapsed() < PROBE_INTERVAL {
            return;
        }
        recovery.probed = Instant::now();
        if self.submitter.is_alive() {
            self.open();
        }
    }

    fn open(&self) {
        self.refusals.store(0, Ordering::Relaxed);
        self.gate.open();
    }
}
