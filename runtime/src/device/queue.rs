//! One open work queue: the gate in front of it, its credits, and recovery when it goes astray.
//!
//! **Epochs.** Every quiesce that succeeds starts a new epoch. A slot remembers the epoch of its submission; a slot
//! from an older epoch whose record is still unwritten will never complete, and its operation may be finished on the
//! CPU (invariant 4). Nothing else ever allows that.
//!
//! **The gate** ([`crate::lane::gate`]) keeps submitters out while that happens.

use std::fmt;
use std::sync::{PoisonError, TryLockError};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use idxd_sys::Descriptor;

use crate::clock;
use crate::descriptor::Capabilities;
use crate::lane::gate::{Entrance, Gate};
use crate::lane::sync::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Mutex, Ordering, sleep};
use crate::lane::{Fate, Lane, Place};
use crate::stats::{Event, Recorder};
use crate::submit::{Answer, Submitter, Verdict};

/// An open work queue.
pub(crate) struct Queue {
    submitter: Box<dyn Submitter>,
    capabilities: Capabilities,
    credits: Option<CachePadded<AtomicUsize>>,
    gate: Gate,
    /// In the upper half, as in a slot's stamp.
    epoch: AtomicU64,
    /// Set when a quiesce failed: the device may write what it was given at any time, for ever.
    runaway: AtomicBool,
    /// Consecutive submissions that ended in "retry" with nothing accepted in between.
    refusals: AtomicU32,
    /// Set when the queue refused a descriptor outright: it must be quiesced before it takes anything again.
    refuses: AtomicBool,
    /// The epoch in which somebody asked for a recovery, plus 1; 0 if nobody does.
    requested: AtomicU64,
    /// Whether a thread is busy recovering or reviving it.
    is_attended: AtomicBool,
    /// Quiesces that succeeded.
    recoveries: AtomicU64,
    recovery: Mutex<Recovery>,
}

/// What only recovery touches.
struct Recovery {
    /// When a quiesce, or a closed queue, was last tried, in ticks.
    probed: u64,
    /// How long until a closed queue is tried again.
    interval: Duration,
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
    /// Every descriptor is with the device.
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

/// How long a shutdown waits for a recovery that is under way. Tests of such an end, within this crate, do not wait so long.
pub(crate) const RETIREMENT: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 10 });

/// How soon a closed queue is tried again: at first, and in the end, when it has been found closed again and again.
const SHORTEST_PROBE: Duration = Duration::from_millis(50);
const LONGEST_PROBE: Duration = Duration::from_secs(1);

impl Queue {
    /// A queue for submitters from `lanes` lanes.
    pub(crate) fn new(submitter: Box<dyn Submitter>, lanes: usize) -> Self {
        Self {
            capabilities: submitter.capabilities(),
            credits: submitter.credits().map(|n| CachePadded::new(AtomicUsize::new(n))),
            submitter,
            gate: Gate::new(lanes),
            epoch: AtomicU64::new(0),
            runaway: AtomicBool::new(false),
            refusals: AtomicU32::new(0),
            refuses: AtomicBool::new(false),
            requested: AtomicU64::new(0),
            is_attended: AtomicBool::new(false),
            recoveries: AtomicU64::new(0),
            recovery: Mutex::new(Recovery { probed: clock::now(), interval: SHORTEST_PROBE }),
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
        (self.epoch.load(Ordering::Acquire) >> 32) as u32
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

    /// Where lane number `lane` enters the gate.
    pub(crate) fn entrance(&self, lane: u32) -> Entrance {
        Entrance::clone(self.gate.entrance(lane))
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

    /// Submits `descriptors`, at least one, in order, from lane number `lane`, and tries `retries` more times while the
    /// queue is full. Says how many the device has got. `stamp` is called with the epoch once the gate is known to be
    /// open, before anything is submitted; `refuse` with how many the device has got if that is not all, and before the gate is
    /// left, so that no recovery comes in between.
    ///
    /// # Safety
    ///
    /// As for [`Submitter::submit`]: what the descriptors name stays valid until their records are written or
    /// [`Queue::fate`] says `Lost` of the stamped epoch.
    #[inline]
    pub(crate) unsafe fn submit(
        &self,
        lane: u32,
        stats: &Recorder,
        descriptors: &[Descriptor],
        retries: u32,
        stamp: impl FnOnce(u32),
        refuse: impl FnOnce(usize),
    ) -> (usize, Admission) {
        let granted = self.take_credits(descriptors.len());
        if granted == 0 {
            refuse(0);
            return (0, Admission::Full);
        }
        let Some(inside) = self.gate.enter(self.gate.entrance(lane)) else {
            self.return_credits(granted);
            refuse(0);
            return (0, Admission::Closed);
        };
        stamp((self.epoch.load(Ordering::Relaxed) >> 32) as u32);
        let mut left = retries;
        let mut accepted = 0;
        let admission = loop {
            // SAFETY: the caller's promise. Whoever quiesces or revives the submitter has closed the gate before, and
            // waited for us to leave.
            let verdict = unsafe { self.submitter.submit(&descriptors[accepted..granted]) };
            stats.event(Event::Flushes);
            match verdict {
                Verdict::Accepted => {
                    accepted = granted;
                    break if granted == descriptors.len() { Admission::Accepted } else { Admission::Full };
                }
                Verdict::Refused(some) => {
                    accepted += some;
                    self.refuses.store(true, Ordering::Relaxed);
                    break Admission::Closed;
                }
                Verdict::Full => break Admission::Full,
                Verdict::Retry(some) => {
                    accepted += some;
                    if left == 0 {
                        break Admission::Full;
                    }
                    if !self.gate.is_open() {
                        // Somebody waits for us to leave.
                        break Admission::Closed;
                    }
                    if some != 0 {
                        continue;
                    }
                    stats.event(Event::Retries);
                    left -= 1;
                    std::hint::spin_loop();
                }
            }
        };
        if accepted != descriptors.len() {
            refuse(accepted);
        }
        inside.leave();
        self.return_credits(granted - accepted);
        if accepted != 0 {
            stats.events(Event::Submissions, accepted as u64);
            if self.refusals.load(Ordering::Relaxed) != 0 {
                self.refusals.store(0, Ordering::Relaxed);
            }
        } else {
            self.refusals.fetch_add(1, Ordering::Relaxed);
        }
        (accepted, admission)
    }

    /// Submits the descriptor in `place`, one of `lane`'s, once, and stamps its slot: this is the queue where the lane is at
    /// home. False if the device has not got the descriptor: whoever is told so asks again by [`submit`](Self::submit).
    ///
    /// # Safety
    ///
    /// As for [`submit`](Self::submit); the caller holds the slot, whose descriptor is ready.
    #[expect(clippy::inline_always, reason = "measured in instructions")]
    #[inline(always)]
    pub(crate) unsafe fn submit_place(&self, lane: &Lane, place: &Place, now: u64) -> bool {
        if self.take_credits(1) == 0 {
            return false;
        }
        let Some(inside) = self.gate.enter(&lane.home.entrance) else {
            self.return_credits(1);
            return false;
        };
        place.slot.stamp_at_home(self.epoch.load(Ordering::Relaxed) | u64::from(lane.home.queue), now);
        // From the slot: neighbours go to different places of a portal.
        // SAFETY: the reference lives only for the submission, and nobody writes the cell meanwhile. The rest as in
        // `submit`.
        let answer = unsafe { self.submitter.submit_one(&*place.descriptor()) };
        if answer != Answer::Accepted {
            // Still inside: a recovery that begins now ends what is noted here.
            self.refused(&lane.stats, answer);
            inside.leave();
            return false;
        }
        inside.leave();
        lane.stats.single();
        if self.refusals.load(Ordering::Relaxed) != 0 {
            self.refusals.store(0, Ordering::Relaxed);
        }
        true
    }

    /// Calls `f` inside the gate, for lane number `lane`, if it is open and the epoch is `epoch`: as long as `f` runs nobody
    /// recovers the queue.
    pub(crate) fn inside(&self, lane: u32, epoch: u32, f: impl FnOnce()) {
        let Some(inside) = self.gate.enter(self.gate.entrance(lane)) else { return };
        if self.epoch() == epoch {
            f();
        }
        inside.leave();
    }

    /// Takes note that a descriptor was not accepted the short way. Not among the refusals: the long way finds the queue as
    /// full, and counts it, so that a queue is no more suspicious for being asked twice.
    #[cold]
    fn refused(&self, stats: &Recorder, answer: Answer) {
        stats.event(Event::Flushes);
        if answer == Answer::Refused {
            self.refuses.store(true, Ordering::Relaxed);
        }
        self.return_credits(1);
    }

    /// Whether refusals have piled up so that the queue's health should be looked at (off the hot path).
    pub(crate) fn is_suspicious(&self) -> bool {
        self.is_open()
            && (self.refusals.load(Ordering::Relaxed) >= SUSPICIOUS_REFUSALS || self.refuses.load(Ordering::Relaxed))
    }

    /// It was looked at and is alive: the refusals were just pressure.
    pub(crate) fn absolve(&self) {
        self.refusals.store(0, Ordering::Relaxed);
    }

    /// Whether the queue can be expected to execute what it has accepted, and to accept more.
    pub(crate) fn is_alive(&self) -> bool {
        !self.refuses.load(Ordering::Relaxed) && self.submitter.is_alive()
    }

    /// Who submits here.
    pub(crate) fn submitter(&self) -> &dyn Submitter {
        &*self.submitter
    }

    /// An accepted descriptor that has a place of its own has completed or is lost.
    #[inline]
    pub(crate) fn return_credit(&self) {
        self.return_credits(1);
    }

    /// Whether it counts its places itself: a dedicated queue.
    #[inline]
    pub(crate) fn has_credits(&self) -> bool {
        self.credits.is_some()
    }

    /// Whether there is a place at this moment, as far as that is known.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.credits.as_ref().is_none_or(|credits| credits.load(Ordering::Relaxed) != 0)
    }

    /// How many may be submitted at this moment; `None` where nobody counts.
    #[cfg(all(test, dsa_shuttle))]
    pub(crate) fn credits(&self) -> Option<usize> {
        self.credits.as_ref().map(|credits| credits.load(Ordering::Acquire))
    }

    #[inline]
    fn return_credits(&self, count: usize) {
        if let Some(credits) = &self.credits
            && count != 0
        {
            credits.fetch_add(count, Ordering::Release);
        }
    }

    /// Takes up to `wanted` credits, and says how many.
    #[inline]
    fn take_credits(&self, wanted: usize) -> usize {
        let Some(credits) = &self.credits else { return wanted };
        let take = |n: usize| (n != 0).then(|| n.saturating_sub(wanted));
        credits.fetch_update(Ordering::Acquire, Ordering::Relaxed, take).map_or(0, |n| n.min(wanted))
    }

    /// Asks for a recovery from what was seen in epoch `observed`: the poller has it done.
    pub(crate) fn request_recovery(&self, observed: u32) {
        self.requested.store(u64::from(observed) + 1, Ordering::Release);
    }

    /// Whether there is something to be done for [`attend`](Self::attend), and nobody does it.
    pub(crate) fn needs_attention(&self) -> bool {
        if self.is_attended() {
            return false;
        }
        let is_due = || {
            let Ok(recovery) = self.recovery.try_lock() else { return false };
            let interval = if self.is_runaway() { RUNAWAY_INTERVAL } else { recovery.interval };
            clock::elapsed(recovery.probed) >= interval
        };
        self.requested.load(Ordering::Acquire) != 0 || (self.is_runaway() || !self.is_open()) && is_due()
    }

    /// Whether a thread attends to the queue at this moment.
    pub(crate) fn is_attended(&self) -> bool {
        self.is_attended.load(Ordering::Acquire)
    }

    /// Makes the calling thread the one that attends to the queue; false if there is one. It ends with
    /// [`attended`](Self::attended).
    pub(crate) fn begin_attending(&self) -> bool {
        !self.is_attended.swap(true, Ordering::AcqRel)
    }

    /// Recovers it if that was asked for or has failed before, revives it if it is closed. May take seconds. Returns
    /// whether it was recovered.
    pub(crate) fn attend(&self) -> bool {
        let request = self.requested.swap(0, Ordering::AcqRel);
        let recovered = match request.checked_sub(1) {
            Some(observed) => self.recover(observed as u32),
            None => self.is_runaway() && self.recover(self.epoch()),
        };
        self.probe();
        recovered
    }

    /// The thread that attends is done.
    pub(crate) fn attended(&self) {
        self.is_attended.store(false, Ordering::Release);
    }

    /// Closes the gate, quiesces, starts a new epoch, and opens the gate again if the queue is alive. Afterwards every
    /// slot stamped with an older epoch either has its record or never will; the caller wakes them. Returns whether this
    /// call did it.
    ///
    /// `observed` is the epoch in which the caller saw the trouble: if another thread has recovered the queue since,
    /// there is nothing to do. A queue that could not be quiesced before is tried again.
    pub(crate) fn recover(&self, observed: u32) -> bool {
        let mut recovery = self.recovery.lock().unwrap_or_else(PoisonError::into_inner);
        if self.epoch() != observed || self.is_runaway() && clock::elapsed(recovery.probed) < RUNAWAY_INTERVAL {
            return false;
        }
        // Patience is for the first time.
        let is_quiet = self.gate.close(!self.is_runaway()) && self.submitter.quiesce();
        recovery.probed = clock::now();
        if !is_quiet {
            self.runaway.store(true, Ordering::Release);
            return false;
        }
        self.recoveries.fetch_add(1, Ordering::Relaxed);
        self.runaway.store(false, Ordering::Release);
        // Release: whoever sees the new epoch also sees every record that was written before the quiesce ended.
        self.epoch.fetch_add(1 << 32, Ordering::AcqRel);
        recovery.interval = SHORTEST_PROBE;
        if self.submitter.revive() {
            self.open();
        }
        true
    }

    /// Takes a queue out of service for good, whether or not it is alive; for shutdown.
    pub(crate) fn retire(&self) {
        let begun = clock::now();
        let _recovery = loop {
            match self.recovery.try_lock() {
                Ok(recovery) => break recovery,
                Err(TryLockError::Poisoned(recovery)) => break recovery.into_inner(),
                // Whoever attends to the queue hangs in the driver.
                Err(TryLockError::WouldBlock) if clock::elapsed(begun) > RETIREMENT => {
                    self.runaway.store(true, Ordering::Release);
                    return;
                }
                Err(TryLockError::WouldBlock) => sleep(Duration::from_millis(1)),
            }
        };
        if self.gate.close(!self.is_runaway()) && self.submitter.quiesce() {
            self.runaway.store(false, Ordering::Release);
            self.epoch.fetch_add(1 << 32, Ordering::AcqRel);
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
        if self.is_runaway() || clock::elapsed(recovery.probed) < recovery.interval {
            return;
        }
        let is_back = self.submitter.revive();
        recovery.probed = clock::now();
        recovery.interval = (recovery.interval * 2).min(LONGEST_PROBE);
        if is_back {
            self.open();
        }
    }

    /// Opens the gate. Nobody is inside, and whoever enters now sees what happened before.
    fn open(&self) {
        self.refusals.store(0, Ordering::Relaxed);
        self.refuses.store(false, Ordering::Relaxed);
        self.gate.open();
    }
}

#[cfg(all(test, not(any(dsa_loom, dsa_shuttle))))]
mod tests {
    use super::*;
    use crate::lane::Lane;
    use crate::submit::SubmissionPath;

    /// A queue that is full.
    #[derive(Debug)]
    struct Full;

    impl Submitter for Full {
        unsafe fn submit(&self, _: &[Descriptor]) -> Verdict {
            Verdict::Retry(0)
        }

        fn name(&self) -> String {
            "full".to_owned()
        }

        fn path(&self) -> SubmissionPath {
            SubmissionPath::Model
        }

        fn capabilities(&self) -> Capabilities {
            Capabilities::sapphire_rapids()
        }

        fn credits(&self) -> Option<usize> {
            Some(3)
        }

        fn is_alive(&self) -> bool {
            true
        }

        fn quiesce(&self) -> bool {
            true
        }
    }

    /// The short way asks, and then the long way: that is one refusal, of which so many in a row make a queue suspicious.
    #[test]
    fn a_full_queue_that_is_asked_both_ways_has_refused_once() {
        let (queue, mut lane) = (Queue::new(Box::new(Full), 1), Lane::new(1, 1, 0));
        lane.home.entrance = queue.entrance(0);
        let (_, place) = lane.acquire().expect("nobody has it");
        for operation in 1..=SUSPICIOUS_REFUSALS {
            assert!(!queue.is_suspicious(), "operation {operation}");
            // SAFETY: the queue executes nothing.
            let (short, long) = unsafe {
                (
                    queue.submit_place(&lane, place, 1),
                    queue.submit(0, &lane.stats, &[Descriptor::default()], 0, |_| {}, |_| {}),
                )
            };
            assert_eq!((short, long), (false, (0, Admission::Full)));
        }
        assert!(queue.is_suspicious());
        assert_eq!(queue.take_credits(4), 3, "each refusal has given its credit back");
    }
}
