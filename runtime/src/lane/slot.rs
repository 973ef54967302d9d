//! The slot: who owns an operation in flight, and how ownership changes hands.
//!
//! One slot stands for one descriptor that a device may be executing. The device never touches the slot itself; it
//! writes the completion record of the same index. The slot only says who on our side may act on that record:
//!
//! ```text
//!            acquire                 release
//!   FREE ------------> HELD ------------------------> FREE, generation + 1
//!                        |
//!                        | orphan (the future was dropped; its buffers move into the slot)
//!                        v
//!                     ORPHANED ----> CLAIMED -------> FREE, generation + 1
//!                              claim          retire
//! ```
//!
//! * `FREE`: the index lies on the lane's free list. Whoever pops it owns the slot, so `acquire` races with nobody.
//! * `HELD`: one future or blocking call owns the slot. Only it submits, reads the record, releases or orphans.
//!   Others may only *wake* it: a wake-up that comes late or twice costs a poll, nothing more.
//! * `ORPHANED`: nobody waits for the result, but the device may still write the buffers, so the slot keeps them
//!   (invariant 1). Whoever has seen the record completed, or the queue quiesced, may claim: the poller.
//! * `CLAIMED`: exactly one thread won that race; it drops the buffers and puts the index back.
//!
//! State and generation share one word. The generation is what makes `claim` safe against reuse: a sweeper that read
//! "orphaned, generation 7" and then saw a completed record may be delayed until the slot has been reaped, reused and
//! orphaned again as generation 8, with a record that is not complete. Its compare-exchange then fails.

use std::fmt;

use super::Fate;
use super::sync::{AtomicU64, AtomicWaker, Ordering, UnsafeCell};
use crate::dispatch::choice::UNCOUNTED;

/// What a dropped future leaves behind: anything that must live until the device is done, dropped by the reaper.
pub(crate) trait Cargo: Send {}
impl<T: Send> Cargo for T {}

/// In place of a time, while a slot is being filled: what the last descriptor left there would look like one that is lost.
pub(crate) const NOT_SUBMITTED: u64 = u64::MAX;

const STATE_BITS: u32 = 2;
const STATE_MASK: u64 = (1 << STATE_BITS) - 1;

/// Who owns a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Free,
    Held,
    Orphaned,
    Claimed,
}

/// A slot's word at one moment: state and generation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(u64);

impl Word {
    pub(crate) const fn new(generation: u64, state: State) -> Self {
        Self(generation << STATE_BITS | state as u64)
    }

    pub(crate) const fn state(self) -> State {
        match self.0 & STATE_MASK {
            0 => State::Free,
            1 => State::Held,
            2 => State::Orphaned,
            _ => State::Claimed,
        }
    }

    pub(crate) const fn generation(self) -> u64 {
        self.0 >> STATE_BITS
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}#{}", self.state(), self.generation())
    }
}

/// Who has a slot's descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum With {
    /// The device, by itself: a place in the queue is its own until it ends.
    Device,
    /// The device, in the list of a batch that others share: the place in the queue is the list's.
    List,
    /// It is staged, or on its way: nobody yet.
    Lane,
    /// Nobody any more: the queue has not taken it. The record has a status all the same, which says so.
    Nobody,
}

/// Where a slot's descriptor went: the queue's epoch at the time in the upper half; in the lower one, from its lowest bits on, the
/// index of the queue, what the descriptor counts for in the queue's load, inverted so that 0 is [`UNCOUNTED`], and who has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u64);

const WITH_SHIFT: u32 = 30;
const CHARGE_SHIFT: u32 = 14;
const QUEUE_MASK: u64 = (1 << CHARGE_SHIFT) - 1;
const CHARGE_MASK: u64 = 0xffff << CHARGE_SHIFT;

/// The most queues of an accelerator that a stamp can tell apart.
pub(crate) const MOST_QUEUES: usize = QUEUE_MASK as usize + 1;

impl Stamp {
    /// One that counts for nothing.
    #[inline]
    pub(crate) const fn new(queue: u32, epoch: u32, with: With) -> Self {
        debug_assert!(queue as u64 <= QUEUE_MASK);
        Self((epoch as u64) << 32 | (with as u64) << WITH_SHIFT | queue as u64)
    }

    /// The same that counts for as much as `other`.
    #[inline]
    const fn charged_as(self, other: Self) -> Self {
        Self(self.0 & !CHARGE_MASK | other.0 & CHARGE_MASK)
    }

    #[inline]
    const fn charged(self, charge: u16) -> Self {
        Self(self.0 & !CHARGE_MASK | ((charge ^ UNCOUNTED) as u64) << CHARGE_SHIFT)
    }

    #[inline]
    const fn charge(self) -> u16 {
        (self.0 >> CHARGE_SHIFT) as u16 ^ UNCOUNTED
    }

    #[inline]
    pub(crate) const fn queue(self) -> u32 {
        (self.0 & QUEUE_MASK) as u32
    }

    #[inline]
    pub(crate) const fn epoch(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline]
    pub(crate) const fn with(self) -> With {
        match self.0 >> WITH_SHIFT & 3 {
            0 => With::Device,
            1 => With::List,
            2 => With::Lane,
            _ => With::Nobody,
        }
    }

    /// Whether a device has it, or had.
    #[inline]
    pub(crate) const fn is_with_device(self) -> bool {
        matches!(self.with(), With::Device | With::List)
    }

    /// Whether a place in the queue comes back when it ends.
    #[inline]
    pub(crate) const fn has_credit(self) -> bool {
        matches!(self.with(), With::Device)
    }
}

/// One operation in flight, one cache line.
#[cfg_attr(not(any(dsa_loom, dsa_shuttle)), repr(align(64)))]
pub(crate) struct Slot {
    word: AtomicU64,
    /// Clock ticks at submission, for the watchdog, or [`NOT_SUBMITTED`].
    submitted_at: AtomicU64,
    /// A [`Stamp`], in one word because it changes while others look.
    stamp: AtomicU64,
    pub(crate) waker: AtomicWaker,
    cargo: UnsafeCell<Option<Box<dyn Cargo>>>,
}

// The in-flight memory budget is 192 bytes: slot, record and descriptor take one cache line each.
#[cfg(not(any(dsa_loom, dsa_shuttle)))]
const _: () = assert!(size_of::<Slot>() == 64);

// SAFETY: every field but `cargo` is `Sync` by itself. `cargo` is written only by the holder, before the Release
// transition to ORPHANED, and read only by the one thread whose Acquire compare-exchange made it CLAIMED; the state
// word orders the two. `Cargo` requires `Send`, so the box may be dropped on the claiming thread.
unsafe impl Sync for Slot {}
// SAFETY: as above; nothing in a slot is tied to a thread.
unsafe impl Send for Slot {}

impl Slot {
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU64::new(Word::new(0, State::Free).0),
            submitted_at: AtomicU64::new(NOT_SUBMITTED),
            stamp: AtomicU64::new(0),
            waker: AtomicWaker::new(),
            cargo: UnsafeCell::new(None),
        }
    }

    #[inline]
    pub(crate) fn word(&self) -> Word {
        Word(self.word.load(Ordering::Acquire))
    }

    /// FREE to HELD, by the thread that popped the index off the free list. Returns the generation.
    #[inline]
    pub(crate) fn acquire(&self) -> u64 {
        let word = Word(self.word.load(Ordering::Relaxed));
        debug_assert_eq!(word.state(), State::Free);
        self.unstamp();
        // Release: whoever sees HELD does not see the last holder's time.
        self.word.store(word.0 + State::Held as u64, Ordering::Release);
        word.generation()
    }

    /// Forgets when the last descriptor went; by the holder, before it clears the record for the next one.
    #[inline]
    pub(crate) fn unstamp(&self) {
        self.submitted_at.store(NOT_SUBMITTED, Ordering::Relaxed);
    }

    /// Notes where and when the descriptor went; by the holder, before it submits.
    #[inline]
    pub(crate) fn stamp(&self, queue: u32, epoch: u32, now: u64) {
        self.stamp.store(Stamp::new(queue, epoch, With::Device).0, Ordering::Relaxed);
        // Release: whoever sees the time sees where it went.
        self.submitted_at.store(now, Ordering::Release);
    }

    /// As [`stamp`](Self::stamp), with the epoch in the upper half of `place` and the queue in the lower.
    #[inline]
    pub(crate) fn stamp_at_home(&self, place: u64, now: u64) {
        debug_assert_eq!(Stamp(place).with(), With::Device);
        self.stamp.store(place, Ordering::Relaxed);
        self.submitted_at.store(now, Ordering::Release);
    }

    /// Notes that the descriptor waits to be sent to a queue together with others; by the holder, before it stages the slot.
    #[inline]
    pub(crate) fn stamp_staged(&self, queue: u32, now: u64) {
        self.stamp.store(Stamp::new(queue, 0, With::Lane).0, Ordering::Relaxed);
        self.submitted_at.store(now, Ordering::Release);
    }

    /// Forgets where the last descriptor went; by the holder, as [`unstamp`](Self::unstamp).
    #[inline]
    pub(crate) fn unsend(&self) {
        self.stamp.store(Stamp::new(0, 0, With::Lane).0, Ordering::Relaxed);
    }

    /// Notes that a descriptor that was staged goes to a device; by the thread that sends it, see [`super::collect`]. From now on it
    /// is waited for.
    #[inline]
    pub(super) fn stamp_sent(&self, stamp: Stamp, now: u64) {
        self.stamp.store(stamp.charged_as(self.stamped()).0, Ordering::Relaxed);
        self.submitted_at.store(now, Ordering::Release);
    }

    /// Notes that no device has a descriptor that was staged, or will have it; by the thread that has tried to send it.
    #[inline]
    pub(super) fn stamp_not_taken(&self) {
        let before = self.stamped();
        let stamp = Stamp::new(before.queue(), 0, With::Nobody);
        self.stamp.store(stamp.charged_as(before).0, Ordering::Relaxed);
    }

    /// Where the descriptor went.
    ///
    /// Who has seen the record complete sees what holds for that completion.
    #[inline]
    pub(crate) fn stamped(&self) -> Stamp {
        Stamp(self.stamp.load(Ordering::Relaxed))
    }

    /// What has become of a descriptor whose record is not complete; `fate` says it of a queue and an epoch. What is with no
    /// device yet has nothing to fear.
    #[inline]
    pub(crate) fn fate(&self, fate: impl Fn(u32, u32) -> Fate) -> Fate {
        if self.submitted_at() == NOT_SUBMITTED {
            return Fate::Open;
        }
        let stamp = self.stamped();
        if stamp.is_with_device() { fate(stamp.queue(), stamp.epoch()) } else { Fate::Open }
    }

    /// When the descriptor went, or was staged; [`NOT_SUBMITTED`] while it has not.
    #[inline]
    pub(crate) fn submitted_at(&self) -> u64 {
        self.submitted_at.load(Ordering::Acquire)
    }

    /// Notes what the descriptor that has just gone, or is about to be staged, counts for; by the holder.
    #[inline]
    pub(crate) fn set_charge(&self, charge: u16) {
        // Whoever else writes this word does so only between staging and the end.
        let stamp = Stamp(self.stamp.load(Ordering::Relaxed));
        self.stamp.store(stamp.charged(charge).0, Ordering::Relaxed);
    }

    /// What the last descriptor counted for; by whoever sees to its end.
    #[inline]
    pub(crate) fn charge(&self) -> u16 {
        self.stamped().charge()
    }

    /// HELD to FREE. The caller holds the slot, no descriptor of it is with a device, and it puts the index back on
    /// the free list afterwards.
    #[inline]
    pub(crate) fn release(&self) {
        let word = Word(self.word.load(Ordering::Relaxed));
        debug_assert_eq!(word.state(), State::Held);
        // The next generation, free: one addition.
        self.word.store(word.0 + ((1 << STATE_BITS) - State::Held as u64), Ordering::Release);
    }

    /// HELD to ORPHANED: the holder goes away and leaves `cargo` for whoever sees the completion.
    ///
    /// The caller puts the slot into the lane's watch set next, and that publishes this word to the poller: whoever finds
    /// or clears the bit looks at the word after it (see [`super::Lane::visit`]).
    pub(crate) fn orphan(&self, cargo: Box<dyn Cargo>) {
        self.cargo.with_mut(|cell| {
            // SAFETY: the caller holds the slot (state HELD), so no other thread reads or writes `cargo`: the only
            // reader is the winner of `claim`, which needs the ORPHANED word stored below.
            unsafe { *cell = Some(cargo) };
        });
        let word = Word(self.word.load(Ordering::Relaxed));
        debug_assert_eq!(word.state(), State::Held);
        self.word.store(Word::new(word.generation(), State::Orphaned).0, Ordering::Release);
    }

    /// ORPHANED to CLAIMED, if the slot is still what `seen` says. Returns what the future left behind.
    ///
    /// Only for a caller that knows that the device is done with generation `seen`.
    pub(crate) fn claim(&self, seen: Word) -> Option<Box<dyn Cargo>> {
        if seen.state() != State::Orphaned {
            return None;
        }
        let claimed = Word::new(seen.generation(), State::Claimed);
        self.word.compare_exchange(seen.0, claimed.0, Ordering::Acquire, Ordering::Relaxed).ok()?;
        self.cargo.with_mut(|cell| {
            // SAFETY: the compare-exchange succeeded for this thread alone, and its Acquire pairs with the store in
            // `orphan`, so the box is fully written and nobody else will look at it.
            unsafe { (*cell).take() }
        })
    }

    /// CLAIMED to FREE, by the thread that claimed; it puts the index back on the free list afterwards.
    pub(crate) fn retire(&self) {
        let word = Word(self.word.load(Ordering::Relaxed));
        debug_assert_eq!(word.state(), State::Claimed);
        self.word.store(Word::new(word.generation() + 1, State::Free).0, Ordering::Release);
    }
}

#[cfg(all(test, not(dsa_loom)))]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_stale_sweeper_cannot_claim_a_reused_slot() {
        let slot = Slot::new();
        slot.acquire();
        slot.orphan(Box::new(1u32));
        let stale = slot.word();
        assert!(slot.claim(stale).is_some());
        slot.retire();
        slot.acquire();
        slot.orphan(Box::new(2u32));
        assert!(slot.claim(stale).is_none(), "generation 0 is gone");
        assert_eq!(slot.word().generation(), 1);
        assert!(slot.claim(slot.word()).is_some());
    }

    #[test]
    fn what_the_future_left_is_dropped_once_by_the_claimant() {
        let token = Arc::new(());
        let slot = Slot::new();
        slot.acquire();
        slot.orphan(Box::new(Arc::clone(&token)));
        assert_eq!(Arc::strong_count(&token), 2);
        drop(slot.claim(slot.word()).expect("orphaned"));
        assert!(slot.claim(slot.word()).is_none());
        slot.retire();
        assert_eq!(Arc::strong_count(&token), 1);
        assert_eq!(slot.word(), Word::new(1, State::Free));
    }

    #[test]
    fn a_held_slot_cannot_be_claimed() {
        let slot = Slot::new();
        slot.acquire();
        assert!(slot.claim(slot.word()).is_none());
        slot.release();
        assert_eq!(slot.word().state(), State::Free);
    }
}
