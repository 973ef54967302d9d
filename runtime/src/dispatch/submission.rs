//! One slot in use: a descriptor with a device, and the ways of waiting for it.
//!
//! Both single operations ([`super::flight`]) and batches hold a slot through a [`Submission`]. It must be freed or
//! detached explicitly; merely dropping it would lose the slot (and free nothing, which is the safe side).

use std::task::Context;
use std::time::Duration;

use idxd_sys::{CompletionRecord, Descriptor};

use super::choice::Decision;
use crate::accelerator::Accelerator;
use crate::clock;
use crate::device::{Admission, Queue};
use crate::lane::records::RecordCell;
use crate::lane::slot::{Cargo, Slot, With};
use crate::lane::sweep::Effort;
use crate::lane::{Fate, Lane};
use crate::shared::Shared;
use crate::stats::{Event, Operation, Reason};

/// A held slot. Where its descriptor went, when, and in which epoch, says the slot's stamp, which is looked at every time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Submission {
    pub(crate) lane: u32,
    slot: u32,
    /// Whether a waker was left in the slot.
    armed: bool,
}

/// What a look at the completion record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// The device has it.
    Waiting,
    /// The record is complete.
    Complete,
    /// It was collected, and no device has taken it, or will.
    NotTaken,
    /// It will never complete, and no device works on it.
    Lost(Reason),
    /// It may complete, or be worked on, at any time in the future; nobody can tell or prevent it.
    Runaway,
}

impl Submission {
    /// Takes a slot of the calling thread's lane.
    #[inline]
    pub(crate) fn acquire(shared: &Shared) -> Option<Self> {
        Self::acquire_from(shared, shared.lane_index())
    }

    /// Takes a slot of one lane.
    #[inline]
    pub(crate) fn acquire_from(shared: &Shared, lane: u32) -> Option<Self> {
        let (slot, _) = shared.lanes[lane as usize].acquire()?;
        Some(Self::of(lane, slot))
    }

    /// Takes a slot of any lane, for somebody whose turn it is.
    pub(crate) fn acquire_anywhere(shared: &Shared) -> Option<Self> {
        let count = shared.lanes.len() as u32;
        let mine = shared.lane_index();
        (0..count).map(|step| (mine + step) % count).find_map(|lane| Self::acquire_from(shared, lane))
    }

    /// Address of the slot's completion record.
    #[inline]
    pub(crate) fn record_addr(&self, shared: &Shared) -> u64 {
        self.lane(shared).record_addr(self.slot)
    }

    /// The queue that the last descriptor went to.
    #[inline]
    pub(crate) fn queue<'a>(&self, shared: &'a Shared) -> &'a Queue {
        &shared.queues[self.slot(shared).stamped().queue() as usize]
    }

    /// When the last descriptor went, in ticks of the clock; [`NOT_SUBMITTED`](crate::lane::slot::NOT_SUBMITTED) if it has not gone yet.
    #[inline]
    pub(crate) fn submitted_at(&self, shared: &Shared) -> u64 {
        self.slot(shared).submitted_at()
    }

    #[inline]
    fn slot<'a>(&self, shared: &'a Shared) -> &'a Slot {
        self.lane(shared).slot(self.slot)
    }

    /// What has become of the queue since the last descriptor went. One that has not gone yet is waited for.
    #[inline]
    fn fate(&self, shared: &Shared) -> Fate {
        self.slot(shared).fate(|queue, epoch| shared.queues[queue as usize].fate(epoch))
    }

    #[inline]
    pub(crate) fn lane<'a>(&self, shared: &'a Shared) -> &'a Lane {
        &shared.lanes[self.lane as usize]
    }

    /// Writes `descriptor` into the slot and submits it to queue number `queue`. `load` is what it does, and to how many
    /// bytes.
    ///
    /// # Safety
    ///
    /// No descriptor of this slot is out. `descriptor` names the slot's record, and memory that stays valid, and is
    /// not touched against what the descriptor does, until [`Submission::look`] has said `Complete` or `Lost`.
    #[inline]
    pub(crate) unsafe fn send(
        &self,
        shared: &Shared,
        queue: u32,
        descriptor: &Descriptor,
        load: (Operation, u64),
        now: u64,
    ) -> Admission {
        let lane = self.lane(shared);
        self.prepare(shared, descriptor);
        let slot = self.slot;
        let target = &shared.queues[queue as usize];
        let retries = shared.policy.retries;
        let submit = || {
            // From the slot: neighbours go to different places of a portal.
            // SAFETY: the reference lives only for the submission, and nobody writes the cell meanwhile; the caller
            // vouches for the rest.
            unsafe {
                let place = std::slice::from_raw_parts(lane.descriptor(slot), 1);
                let stamp = |epoch| lane.slot(slot).stamp(queue, epoch, now);
                target.submit(self.lane, &lane.stats, place, retries, stamp, |_| {}).1
            }
        };
        let mut admission = submit();
        if admission == Admission::Full && shared.makes_room(target) {
            admission = submit();
        }
        if admission == Admission::Accepted {
            shared.begun(self.lane, slot, queue, load, now);
        }
        alert(shared, target, admission);
        admission
    }

    /// A descriptor that was submitted from a slot that is held.
    #[inline]
    pub(crate) fn of(lane: u32, slot: u32) -> Self {
        Self { lane, slot, armed: false }
    }

    /// Submits one descriptor from each of several slots of the same lane, together. Says how many are with the device:
    /// the first ones. `load` is as for [`send`](Self::send), of each.
    ///
    /// # Safety
    ///
    /// As for [`Submission::send`], for each slot and its descriptor.
    pub(crate) unsafe fn send_all(
        all: &[Self],
        shared: &Shared,
        queue: u32,
        descriptors: &[Descriptor],
        load: impl Fn(usize) -> (Operation, u64),
        now: u64,
    ) -> (usize, Admission) {
        debug_assert!(all.len() == descriptors.len() && all.iter().all(|one| one.lane == all[0].lane));
        for (one, descriptor) in all.iter().zip(descriptors) {
            one.prepare(shared, descriptor);
        }
        let (number, target) = (all[0].lane, &shared.queues[queue as usize]);
        let lane = all[0].lane(shared);
        let submit = || {
            let stamp = |epoch| {
                for one in all {
                    lane.slot(one.slot).stamp(queue, epoch, now);
                }
            };
            // SAFETY: the caller's promise.
            unsafe { target.submit(number, &lane.stats, descriptors, shared.policy.retries, stamp, |_| {}) }
        };
        let (mut accepted, mut admission) = submit();
        if accepted == 0 && admission == Admission::Full && shared.makes_room(target) {
            (accepted, admission) = submit();
        }
        for (number, one) in all[..accepted].iter().enumerate() {
            shared.begun(one.lane, one.slot, queue, load(number), now);
        }
        alert(shared, target, admission);
        (accepted, admission)
    }

    /// Writes `descriptor` into the slot, and readies the record.
    #[inline]
    fn prepare(&self, shared: &Shared, descriptor: &Descriptor) {
        let lane = self.lane(shared);
        // SAFETY: the holder of the slot may write its descriptor; nothing of it is out (contract of the callers).
        unsafe { lane.descriptor(self.slot).write(*descriptor) };
        lane.reset_record(self.slot);
    }

    /// Submits another descriptor from the same slot to the same queue.
    ///
    /// # Safety
    ///
    /// As for [`Submission::send`].
    pub(crate) unsafe fn resend(&self, shared: &Shared, descriptor: &Descriptor, load: (Operation, u64)) -> Admission {
        if shared.is_forked() {
            return Admission::Closed;
        }
        let queue = self.slot(shared).stamped().queue();
        // SAFETY: forwarded.
        unsafe { self.send(shared, queue, descriptor, load, clock::now()) }
    }

    /// Whether a waker was left in the slot.
    #[inline]
    pub(crate) fn is_armed(&self) -> bool {
        self.armed
    }

    /// Whether the descriptor has not ended, and can be expected to, as far as is known.
    #[inline]
    pub(crate) fn is_ordinary(&self, shared: &Shared) -> bool {
        self.lane(shared).status(self.slot) == 0 && self.fate(shared) == Fate::Open && !shared.is_forked()
    }

    /// Looks at the record. `insist`: somebody who cannot leave the memory behind waits even for a runaway device.
    /// After anything but `Waiting` and `Runaway` the queue's credit has been returned, once.
    #[inline]
    pub(crate) fn look(&self, shared: &Shared, insist: bool) -> Look {
        let lane = self.lane(shared);
        if lane.status(self.slot) == 0 {
            match self.fate(shared) {
                Fate::Lost => {}
                _ if shared.is_forked() => {
                    // Nobody sends it in this process.
                    lane.collector.unstage(self.slot);
                }
                Fate::Runaway if !insist => return Look::Runaway,
                Fate::Open | Fate::Runaway => {
                    shared.seen_pending(self.lane, self.slot);
                    return Look::Waiting;
                }
            }
            // The new epoch was published after the quiesce: what is not complete now never will be.
            if lane.status(self.slot) == 0 {
                shared.ended(self.slot(shared));
                return Look::Lost(if shared.is_forked() { Reason::Forked } else { Reason::DeviceLost });
            }
        }
        shared.ended(self.slot(shared));
        if self.slot(shared).stamped().with() == With::Nobody { Look::NotTaken } else { Look::Complete }
    }

    /// Sends it, if it is only collected so far. Otherwise it is as it was.
    #[cold]
    #[inline(never)]
    pub(crate) fn send_staged(&self, shared: &Shared) {
        if self.slot(shared).stamped().with() == With::Lane {
            shared.send_staged(self.lane, self.slot);
        }
    }

    /// Ends the submission if the record says that all is done, which `is_done` finds out, from its status first, and makes
    /// something of: gives place and slot back, and says when it was made. Otherwise nothing has changed. `lane` is the
    /// slot's.
    #[inline]
    pub(crate) fn end_quickly<T>(
        &self,
        shared: &Shared,
        lane: &Lane,
        is_done: impl FnOnce(u8, &RecordCell) -> Option<T>,
    ) -> Option<(T, u64)> {
        debug_assert!(!self.armed, "dropping a waker may panic, and takes more care");
        let place = lane.place(self.slot);
        let done = is_done(place.record.status(), &place.record)?;
        let at = place.slot.submitted_at();
        shared.returned(place.slot.stamped());
        shared.noted_done(self.lane, self.slot, &place.slot);
        lane.release_place(self.slot, place);
        Some((done, at))
    }

    /// What is to be done for others after [`end_quickly`](Self::end_quickly), when its owner has forgotten it.
    #[inline]
    pub(crate) fn after_end(self, shared: &Shared, lane: &Lane) {
        shared.room();
        // Nothing is left to wait for: what was collected meanwhile goes now.
        if lane.collector.may_have_any() && lane.only_collects(self.slot) {
            shared.flush(self.lane);
        }
    }

    /// The descriptor that went by this decision has just been accepted; it does the whole operation.
    #[inline]
    pub(crate) fn sampled(&self, shared: &Shared, decision: &Decision, load: (Operation, u64), now: u64) {
        shared.sampled(self.lane, self.slot, decision, load, now);
    }

    /// It has done the whole operation; before the slot is given back.
    #[inline]
    pub(crate) fn seen_done(&self, shared: &Shared) {
        shared.seen_done(self.lane, self.slot);
    }

    /// The completion record.
    ///
    /// # Safety
    ///
    /// [`Submission::look`] has said `Complete` for the last descriptor sent.
    #[inline]
    pub(crate) unsafe fn record(&self, shared: &Shared) -> CompletionRecord {
        // SAFETY: the slot is held, and its status was not 0.
        unsafe { self.lane(shared).record(self.slot) }
    }

    /// The descriptor that was sent last.
    #[inline]
    pub(crate) fn sent(&self, shared: &Shared) -> Descriptor {
        // SAFETY: the holder of the slot reads what it wrote itself; the device only reads the cell.
        unsafe { self.lane(shared).descriptor(self.slot).read() }
    }

    /// Gives the slot back. Nothing is out, and whoever held this value has forgotten it already: dropping the waker that
    /// may be in the slot runs code of the user, which may panic.
    #[inline]
    pub(crate) fn free(self, shared: &Shared) {
        let (lane, slot) = (self.lane(shared), self.slot);
        self.give_back(shared);
        if lane.collector.may_have_any() && lane.only_collects(slot) {
            shared.flush(self.lane);
        }
    }

    /// As [`free`](Self::free), by somebody who submits nothing: what was collected behind it waits for somebody else.
    #[inline]
    fn give_back(self, shared: &Shared) {
        let lane = self.lane(shared);
        // Taken before the slot is somebody else's, dropped after it.
        let waker = if self.armed { lane.slot(self.slot).waker.take() } else { None };
        lane.release(self.slot);
        shared.room();
        drop(waker);
    }

    /// As [`free`](Self::free), by somebody who is first among those who wait for room, and need not be told of it. No wait
    /// for this slot's completion has begun.
    pub(crate) fn free_quietly(self, shared: &Shared) {
        debug_assert!(!self.armed);
        self.lane(shared).release(self.slot);
    }

    /// The caller goes away with a descriptor out: what the device may still write moves into the slot. `cargo` is
    /// called only if that is necessary.
    pub(crate) fn detach(self, shared: &Shared, cargo: impl FnOnce() -> Box<dyn Cargo>) {
        let lane = self.lane(shared);
        lane.stats.event(Event::Cancelled);
        if lane.collector.unstage(self.slot) {
            // Nobody has it but the lane.
            shared.ended(self.slot(shared));
            return self.give_back(shared);
        }
        match self.look(shared, false) {
            Look::Complete | Look::NotTaken | Look::Lost(_) => self.give_back(shared),
            Look::Waiting | Look::Runaway => {
                lane.orphan(self.slot, cargo());
                shared.bell.ring();
            }
        }
    }

    /// Gives the slot up to the poller, which gets it back, with its place in the queue, should the device ever be made to
    /// stop. The buffers are the caller's to leak: whoever waited for them has been told that they are gone.
    #[cold]
    pub(crate) fn leak(&self, accelerator: &Accelerator) {
        let shared = accelerator.shared();
        shared.leak_one();
        self.lane(shared).stats.event(Event::Leaked);
        // Until then a device may write to the record: the lanes must not be freed.
        self.lane(shared).orphan(self.slot, Box::new(accelerator.clone()));
        shared.bell.ring();
    }

    /// One step of asynchronous waiting for an operation of `size` bytes: a short spin, then rounds of waking itself,
    /// then the poller. True if the caller should look again at once, false if a wake-up is certain.
    #[inline]
    pub(crate) fn wait_a_little(&mut self, accelerator: &Accelerator, size: u64, cx: &Context<'_>) -> bool {
        let shared = accelerator.shared();
        let lane = self.lane(shared);
        if lane.watched.armed() != 0 {
            shared.sweep(self.lane, Effort::POLL);
        }
        let (now, limits) = (clock::now(), accelerator.limits());
        // Since the submission. One that has not been made yet has not taken any time.
        let waited = now.saturating_sub(self.submitted_at(shared));
        // With company in flight there is better to do than to look at one record: poll the others.
        if waited < limits.spin && size <= shared.policy.spin_max_size as u64 && lane.is_quiet(self.slot) {
            // What it was collected behind has gone.
            if lane.collector.may_have_any() {
                self.send_staged(shared);
            }
            let until = now + (limits.spin - waited);
            while clock::now() < until {
                if lane.status(self.slot) != 0 {
                    // Just now.
                    shared.seen_pending(self.lane, self.slot);
                    lane.stats.event(Event::InlineCompletions);
                    return true;
                }
                std::hint::spin_loop();
            }
        }
        if waited < limits.self_wake && size <= shared.policy.self_wake_max_size as u64 {
            cx.waker().wake_by_ref();
            return false;
        }
        self.send_staged(shared);
        // Out of patience: leave it to the poller. Register, publish, ring, then look once more (see `lane::watch`).
        // `AtomicWaker` does not survive a panic of the user's inside `register`: the waker that is in the slot is taken
        // out first, and dropped last, and one whose cloning panics does so here.
        drop(cx.waker().clone());
        let _previous = if self.armed { lane.slot(self.slot).waker.take() } else { None };
        self.armed = true;
        lane.stats.event(Event::Parks);
        lane.slot(self.slot).waker.register(cx.waker());
        lane.watched.insert(self.slot);
        shared.bell.ring();
        lane.status(self.slot) != 0 || self.fate(shared) != Fate::Open
    }

    /// One step of blocking waiting; counts up from 1. Recovers the queue if it has died.
    pub(crate) fn wait_round(&self, shared: &Shared, round: u32) {
        /// Rounds of spinning, for what completes at once.
        const SPINS: u32 = 100;
        /// Rounds of waiting by instructions, of at most 10 us each, or of more spinning where there are none.
        const WAITS: u32 = 40;
        const MORE_SPINS: u32 = 1_900;
        const YIELDS: u32 = 200;
        let is_light = shared.waiter.is_light();
        let waits = SPINS + if is_light { WAITS } else { MORE_SPINS };
        match round {
            ..SPINS => std::hint::spin_loop(),
            _ if round < waits && is_light => {
                // The kernel takes a thread that waits so for a busy one; whoever is waited for may need the core.
                std::thread::yield_now();
                let lane = self.lane(shared);
                shared.waiter.watch(lane.line(self.slot), || lane.status(self.slot) != 0);
            }
            _ if round < waits => std::hint::spin_loop(),
            _ if round < waits + YIELDS => std::thread::yield_now(),
            _ => {
                std::thread::sleep(Duration::from_micros(50));
                let (stamp, at) = (self.slot(shared).stamped(), self.submitted_at(shared));
                shared.watch_over(&shared.queues[stamp.queue() as usize], stamp.epoch(), at);
            }
        }
    }
}

/// The poller finds out whether a queue that does not take descriptors is just busy, or dead.
#[inline]
fn alert(shared: &Shared, queue: &Queue, admission: Admission) {
    if admission != Admission::Accepted && queue.is_suspicious() {
        shared.bell.ring();
    }
}
