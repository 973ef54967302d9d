//! Lanes: the memory and bookkeeping of operations in flight.
//!
//! A lane is a fixed array of slots, each with a completion record and room for its descriptor: three cache lines per
//! operation, all allocated when the accelerator is built. Threads are spread over the lanes, so that submitters
//! rarely meet; any thread may finish, orphan or reap any slot, because futures move between threads.
//!
//! * [`slot`]: ownership of one operation, the state machine.
//! * [`records`]: the memory that the device writes.
//! * [`free`]: which slots nobody has.
//! * [`collect`]: operations that travel together.
//! * [`gate`]: keeping submitters out of a queue that is being recovered.
//! * [`watch`]: which slots the backstop poller looks after, and how it sleeps.
//! * [`drains`]: who waits for slots of others to end.
//! * [`hinted`]: what those have in common who wait: a lock, and a word for whoever does not take it.
//! * [`sweep`]: what a worker does for the others of its lane while it is awake.
//! * [`waiters`]: who waits for a slot, or for a place in a queue.
//! * [`poller`]: the thread that sees to it that no completion goes unnoticed.

pub(crate) mod collect;
pub(crate) mod drains;
pub(crate) mod free;
pub(crate) mod gate;
mod hinted;
pub(crate) mod poller;
pub(crate) mod records;
pub(crate) mod slot;
pub(crate) mod sweep;
pub(crate) mod sync;
pub(crate) mod wait;
pub(crate) mod waiters;
pub(crate) mod watch;

#[cfg(all(test, dsa_loom))]
mod loom_collect_tests;
#[cfg(all(test, dsa_loom))]
mod loom_tests;
#[cfg(all(test, dsa_shuttle))]
mod shuttle_tests;

use std::cell::UnsafeCell;

use idxd_sys::{CompletionRecord, Descriptor};

use self::collect::Collector;
use self::free::{FreeList, Near};
use self::records::RecordCell;
use self::slot::{Cargo, NOT_SUBMITTED, Slot, Stamp, State};
use self::wait::Line;
use self::watch::WatchSet;
use crate::shared::Home;
use crate::stats::Recorder;

/// Slots, records and descriptors of one lane.
pub(crate) struct Lane {
    pub(crate) home: Home,
    places: Box<[Place]>,
    free: FreeList,
    pub(crate) collector: Collector,
    pub(crate) watched: WatchSet,
    pub(crate) stats: Recorder,
}

/// A descriptor as eight words.
pub(crate) type Words = [u64; 8];

const _: () = assert!(size_of::<Words>() == size_of::<Descriptor>() && cfg!(target_endian = "little"));

/// Everything about one operation in flight: three cache lines, each with another writer.
pub(crate) struct Place {
    pub(crate) slot: Slot,
    pub(crate) record: RecordCell,
    descriptor: DescriptorCell,
}

// The budget for an operation in flight.
#[cfg(not(any(dsa_loom, dsa_shuttle)))]
const _: () = assert!(size_of::<Place>() == 192);

impl Place {
    fn new() -> Self {
        Self { slot: Slot::new(), record: RecordCell::new(), descriptor: DescriptorCell::new() }
    }

    /// Prepares the record for the next submission.
    #[inline]
    pub(crate) fn reset_record(&self) {
        // In this order, for `Lane::oldest`, and for `collect::give_up`: who sees the record empty sees that it is no batch's
        // any more.
        self.slot.unstamp();
        self.slot.unsend();
        self.record.reset();
    }

    /// Readies it for the first submission of its holder.
    ///
    /// # Safety
    ///
    /// The caller has acquired the slot just now.
    #[inline]
    pub(crate) unsafe fn fill(&self, words: Words) {
        // SAFETY: the slot was free, so that nobody else has its descriptor, and there are as many words as it has bytes for.
        unsafe { self.descriptor().cast::<Words>().write(words) };
        self.record.reset();
    }

    /// The descriptor memory. The pointer may be written by the slot's holder while no descriptor is being submitted from it.
    #[inline]
    pub(crate) fn descriptor(&self) -> *mut Descriptor {
        self.descriptor.get()
    }
}

/// Room for one descriptor, written by the slot's holder, read by the submission instruction or, in a batch list, by
/// the device.
#[repr(align(64))]
pub(crate) struct DescriptorCell(UnsafeCell<Descriptor>);

// SAFETY: a cell is reached through its raw pointer only, whose users see to it that nobody writes while another reads:
// for slots the holder, for lists the batch that owns them.
unsafe impl Sync for DescriptorCell {}

impl DescriptorCell {
    pub(crate) fn new() -> Self {
        Self(UnsafeCell::new(Descriptor::default()))
    }

    /// Where the descriptor is. Writing needs the certainty that no device or instruction reads it.
    #[inline]
    pub(crate) fn get(&self) -> *mut Descriptor {
        self.0.get()
    }
}

/// What has become of a queue since a descriptor was submitted to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing: the descriptor will complete.
    Open,
    /// It was quiesced: what is not complete never will be, and nothing of it is being executed.
    Lost,
    /// It could not be quiesced: nobody knows. Waiting futures are told; memory stays where it is.
    Runaway,
}

/// What became of a watched slot when the poller looked at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Still with the device.
    Waiting,
    /// The same, but it was out of the watch set for a moment. Whoever is not the poller rings the bell.
    PutBack,
    /// Its future has been woken.
    Woken,
    /// It was an orphan and has been freed.
    Reaped,
    /// Nobody needs it watched any more.
    Gone,
}

impl Lane {
    /// A lane of `slots` slots that collects up to `batch_limit` of them, and has `lists` for them.
    pub(crate) fn new(slots: usize, batch_limit: usize, lists: usize) -> Self {
        Self {
            home: Home::nowhere(),
            places: (0..slots).map(|_| Place::new()).collect(),
            free: FreeList::new(slots),
            collector: Collector::new(slots, lists, batch_limit),
            watched: WatchSet::new(slots),
            stats: Recorder::new(),
        }
    }

    /// A free slot, now held by the caller, or `None` if all are in flight.
    #[inline]
    pub(crate) fn acquire(&self) -> Option<(u32, &Place)> {
        self.free.pop().map(|index| self.hold(index))
    }

    /// A free slot that is near, if nothing beside it is in flight: `None` if there is, or that is not known, or all are.
    #[expect(clippy::inline_always, reason = "measured in instructions")]
    #[inline(always)]
    pub(crate) fn acquire_alone(&self) -> Option<(Near<'_>, &Place)> {
        let near = self.free.pop_alone()?;
        let (_, place) = self.hold(near.index);
        Some((near, place))
    }

    /// A free slot, as [`acquire`](Self::acquire).
    pub(crate) fn acquire_near(&self) -> Option<(Near<'_>, &Place)> {
        let near = self.free.near(self.free.pop()?);
        let (_, place) = self.hold(near.index);
        Some((near, place))
    }

    #[expect(clippy::inline_always, reason = "measured in instructions")]
    #[inline(always)]
    fn hold(&self, index: u32) -> (u32, &Place) {
        debug_assert!((index as usize) < self.places.len());
        // SAFETY: the index is of the free list, which has as many slots as there are places.
        let place = unsafe { self.places.get_unchecked(index as usize) };
        place.slot.acquire();
        (index, place)
    }

    /// Gives a held slot back; its descriptor has completed, was refused, or is lost.
    #[inline]
    pub(crate) fn release(&self, index: u32) {
        self.release_place(index, self.place(index));
    }

    /// As [`release`](Self::release), for whoever has the slot's place at hand.
    #[expect(clippy::inline_always, reason = "measured in instructions")]
    #[inline(always)]
    pub(crate) fn release_place(&self, index: u32, place: &Place) {
        place.slot.release();
        self.free.push(index);
    }

    /// As [`release`](Self::release), for whoever has the slot as it was taken.
    #[expect(clippy::inline_always, reason = "measured in instructions")]
    #[inline(always)]
    pub(crate) fn release_near(near: Near<'_>, place: &Place) {
        place.slot.release();
        near.push();
    }

    /// Leaves a held slot, with what the device may still write, to the poller. The caller rings the bell.
    pub(crate) fn orphan(&self, index: u32, cargo: Box<dyn Cargo>) {
        self.slot(index).orphan(cargo);
        self.watched.insert(index);
    }

    /// What belongs to a slot.
    #[inline]
    pub(crate) fn place(&self, index: u32) -> &Place {
        &self.places[index as usize]
    }

    #[inline]
    pub(crate) fn slot(&self, index: u32) -> &Slot {
        &self.place(index).slot
    }

    /// Slots that are not on the free list.
    pub(crate) fn in_flight(&self) -> usize {
        self.free.taken()
    }

    /// Whether no slot beside this one, which is in use, is. Slots that are farther away are not looked at: in use they are only
    /// where there is much to do.
    #[inline]
    pub(crate) fn is_quiet(&self, index: u32) -> bool {
        self.free.taken_beside(index) & !(1 << (index % 64)) == 0
    }

    /// Whether at least so many other slots beside this one are in use, and one of them is not staged: what is collected now has something to
    /// wait for.
    #[inline]
    pub(crate) fn has_company(&self, index: u32, least: usize) -> bool {
        let others = self.free.taken_beside(index) & !(1 << (index % 64));
        others.count_ones() as usize >= least && others & !self.collector.staged_beside(index) != 0
    }

    /// Whether what is in use beside this slot is staged, all of it, and something is: nothing is left to wait for.
    #[inline]
    pub(crate) fn only_collects(&self, index: u32) -> bool {
        let staged = self.collector.staged_beside(index);
        staged != 0 && self.free.taken_beside(index) & !staged == 0
    }

    /// The address of a slot's completion record.
    #[inline]
    pub(crate) fn record_addr(&self, index: u32) -> u64 {
        self.place(index).record.addr()
    }

    /// Prepares a slot's record for the next submission.
    #[inline]
    pub(crate) fn reset_record(&self, index: u32) {
        self.place(index).reset_record();
    }

    /// The status byte of a slot's record, with Acquire.
    #[inline]
    pub(crate) fn status(&self, index: u32) -> u8 {
        self.place(index).record.status()
    }

    /// The cache line of a slot's record, to be waited for.
    #[inline]
    pub(crate) fn line(&self, index: u32) -> Line<'_> {
        Line::of(&self.place(index).record)
    }

    /// The oldest submission to queue number `queue`, not after `until`, that has not ended: when it was made, and in which
    /// epoch. `fate` says what has become of the queue since an epoch.
    ///
    /// `until` is an ordered reading of the clock, see [`clock::now_after_all`](crate::clock::now_after_all).
    ///
    /// A slot that is being filled at this moment does not count.
    pub(crate) fn oldest(&self, queue: u32, until: u64, fate: impl Fn(u32) -> Fate) -> Option<(u64, u32)> {
        let out = self.places.iter().filter_map(|Place { slot, record, .. }| {
            let is_taken = matches!(slot.word().state(), State::Held | State::Orphaned);
            // The stamp after the status: where that is cleared, an earlier submission's time is gone.
            let is_incomplete = is_taken && record.status() == 0;
            let (stamp, at) = (slot.stamped(), slot.submitted_at());
            let is_its = stamp.queue() == queue && stamp.is_with_device();
            let is_out = is_incomplete && is_its && at != NOT_SUBMITTED && at <= until;
            (is_out && fate(stamp.epoch()) != Fate::Lost).then_some((at, stamp.epoch()))
        });
        out.min()
    }

    /// What the device does in a model.
    #[cfg(all(test, dsa_loom))]
    pub(crate) fn complete(&self, index: u32) {
        self.place(index).record.complete();
    }

    /// A completed record.
    ///
    /// # Safety
    ///
    /// The caller holds the slot and has seen a status other than 0 since the last reset.
    #[inline]
    pub(crate) unsafe fn record(&self, index: u32) -> CompletionRecord {
        // SAFETY: forwarded; a slot has at most one descriptor out at a time, and it has completed.
        unsafe { self.place(index).record.read() }
    }

    /// The descriptor memory of a slot.
    ///
    /// The pointer may be written by the slot's holder while no descriptor is being submitted from it.
    #[inline]
    pub(crate) fn descriptor(&self, index: u32) -> *mut Descriptor {
        self.place(index).descriptor()
    }

    /// Looks at one watched slot, on behalf of a poller: wakes the future whose record is complete, frees the orphan
    /// whose record is complete. `fate` says what has become of the queue since a given epoch; `returned` is told of what a device has done with.
    pub(crate) fn visit(&self, index: u32, fate: impl Fn(u32, u32) -> Fate, returned: impl FnOnce(Stamp)) -> Seen {
        let slot = self.slot(index);
        let word = slot.word();
        match word.state() {
            State::Free | State::Claimed => {
                self.watched.remove(index);
                // The slot may have been taken and armed again before the bit went. Whoever did that published its
                // HELD word with the bit, and `remove` acquired it, so this second look cannot miss it.
                if matches!(slot.word().state(), State::Held | State::Orphaned) {
                    self.watched.insert(index);
                    return Seen::PutBack;
                }
                Seen::Gone
            }
            State::Held => {
                if self.status(index) == 0 && matches!(slot.fate(fate), Fate::Open) {
                    return Seen::Waiting;
                }
                self.wake_holder(index)
            }
            State::Orphaned => {
                if self.status(index) == 0 && !matches!(slot.fate(fate), Fate::Lost) {
                    return Seen::Waiting;
                }
                // What it says of a place in the queue is final only now.
                let stamp = slot.stamped();
                let Some(cargo) = slot.claim(word) else { return Seen::Gone };
                self.watched.remove(index);
                let waker = slot.waker.take();
                returned(stamp);
                slot.retire();
                self.free.push(index);
                // Last, and guarded: these are the user's buffers and their `Drop` may panic.
                contain(|| drop(cargo));
                contain(|| drop(waker));
                Seen::Reaped
            }
        }
    }

    /// Looks at one watched slot, on behalf of a worker: only wakes the future whose record is complete. Orphans are left to
    /// the poller, since what they drop is the user's, who may hold a lock while the worker polls.
    pub(crate) fn visit_held(&self, index: u32, fate: impl Fn(u32, u32) -> Fate) -> Seen {
        let slot = self.slot(index);
        if slot.word().state() != State::Held {
            return Seen::Gone;
        }
        if self.status(index) == 0 && matches!(slot.fate(fate), Fate::Open) {
            return Seen::Waiting;
        }
        self.wake_holder(index)
    }

    /// Takes a slot that was seen held, and over, out of the watch set, and wakes its future.
    fn wake_holder(&self, index: u32) -> Seen {
        let slot = self.slot(index);
        self.watched.remove(index);
        // The owner may have gone since the word was read: then it has set this very bit for its orphan, which may
        // even be a later descriptor than the one that has completed. It published ORPHANED with the bit, and
        // `remove` acquired it. (An owner that has armed again is woken below, and arms once more.)
        if slot.word().state() == State::Orphaned {
            self.watched.insert(index);
            return Seen::PutBack;
        }
        wake(slot);
        Seen::Woken
    }
}

/// Wakes whoever registered with `slot`; a panicking waker is contained, since it is not the poller's to die of.
pub(crate) fn wake(slot: &Slot) {
    contain(|| slot.waker.wake());
}

/// Runs code of the user (wakers, destructors) where its panic would harm others.
pub(crate) fn contain(f: impl FnOnce()) {
    if let Err(payload) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)) {
        // The panic hook has printed it; the operation that it belonged to is over. The payload is the user's too, and
        // its destructor may panic in turn, so it is not run.
        std::mem::forget(payload);
    }
}

#[cfg(all(test, not(dsa_loom)))]
mod tests {
    use super::*;

    /// What it was stamped with for an earlier submission is long ago, and would look like a descriptor that is lost.
    #[test]
    fn a_slot_that_is_being_filled_is_not_the_oldest() {
        let lane = Lane::new(1, 1, 0);
        let oldest = || lane.oldest(0, u64::MAX, |_| Fate::Open);
        for at in [5, 6] {
            let (index, _) = lane.acquire().expect("it was given back");
            assert_eq!(oldest(), None, "taken");
            lane.reset_record(index);
            assert_eq!(oldest(), None, "filled");
            lane.slot(index).stamp(0, 0, at);
            assert_eq!(oldest(), Some((at, 0)), "submitted");
            // The next piece goes out from the same slot.
            lane.reset_record(index);
            assert_eq!(oldest(), None, "filled again");
            lane.release(index);
        }
    }
}
