//! What a chooser is told: what begins and ends, how long it took, which queues are open.

use std::sync::atomic::Ordering::Relaxed;

use super::charge::Charge;
use super::chooser::Chooser;
use super::decision::{Choice, Decision, Seen};
use super::estimates::Heed;
use super::place::Place;
use super::{PICOS, Quantity};
use crate::stats::Operation;

/// From so many samples on a size class's latency is trusted, and what a queue is late by is the queue's doing.
const TRUSTED: u32 = 8;

impl Chooser {
    /// The operation of a decision goes into the queue. To be called right after a decision for the device, before the submission:
    /// others who decide meanwhile should know. Does nothing for a decision for the CPU.
    #[inline]
    pub fn begin(&self, decision: &Decision, operation: Operation, bytes: u64) {
        if let Choice::Device(queue) = decision.choice {
            let queue = &self.queues[queue as usize];
            queue.begin(queue.charge(operation as usize, bytes), decision.at);
        }
    }

    /// It is not in the queue any more: completed, lost with its queue, or given up. With the same arguments, once for
    /// each [`begin`](Self::begin).
    #[inline]
    pub fn end(&self, decision: &Decision, operation: Operation, bytes: u64) {
        if let Choice::Device(queue) = decision.choice {
            let queue = &self.queues[queue as usize];
            queue.end(queue.charge(operation as usize, bytes));
        }
    }

    /// The queue has refused it for being full, as often as the caller was willing to ask. Instead of [`end`](Self::end).
    #[cold]
    pub fn refused(&self, decision: &Decision, operation: Operation, bytes: u64) {
        if let Choice::Device(queue) = decision.choice {
            let queue = &self.queues[queue as usize];
            queue.end(queue.charge(operation as usize, bytes));
            queue.note_refused(decision.at);
        }
    }

    /// An operation that was decided about so has completed on the device, without a page fault or other trouble.
    ///
    /// A thread that was busy elsewhere finds a completion late, which says nothing about the device. So of all the
    /// times at which it may have completed, between the two looks, the one counts that is nearest to what was expected.
    /// Otherwise, copies by the CPU would make the device look slow, and so cause more of them.
    #[inline]
    pub fn completed_on_device(&self, decision: &Decision, operation: Operation, bytes: u64, seen: Seen) {
        if let (true, Choice::Device(queue)) = (decision.sample, decision.choice) {
            self.learn_device(decision, queue, operation, bytes, seen);
        }
    }

    /// An operation that was decided about has kept the CPU busy for so many nanoseconds, all of it. Time for which other
    /// tasks ran in between does not count: leave those out.
    #[inline]
    pub fn completed_on_cpu(&self, decision: &Decision, operation: Operation, bytes: u64, nanoseconds: u64) {
        if decision.sample {
            self.estimates.note(operation, Quantity::Cpu, bytes, nanoseconds.saturating_mul(PICOS));
            self.explored(decision, operation, bytes, nanoseconds);
        }
    }

    /// A queue is closed, for recovery or for good, or open again. A closed one is never chosen.
    pub fn set_open(&self, queue: u32, open: bool) {
        let Some(its) = self.queues.get(queue as usize) else { return };
        its.set_open(open);
        if open {
            self.open.fetch_or(1 << queue, Relaxed);
        } else {
            self.open.fetch_and(!(1 << queue), Relaxed);
        }
    }

    /// What an operation counts for in the load of a queue.
    #[inline]
    pub(crate) fn charge(&self, queue: u32, operation: Operation, bytes: u64) -> Charge {
        Charge::of(self.queues[queue as usize].charge(operation as usize, bytes))
    }

    /// As [`begin`](Self::begin), at `now` nanoseconds, for somebody who keeps the charge.
    #[inline]
    pub(crate) fn begin_charge(&self, queue: u32, charge: Charge, now: u64) {
        self.queues[queue as usize].begin(charge.bytes(), now);
    }

    /// As [`end`](Self::end), with the same charge.
    #[inline]
    pub(crate) fn end_charge(&self, queue: u32, charge: Charge) {
        self.queues[queue as usize].end(charge.bytes());
    }

    /// As [`refused`](Self::refused), of an operation that has not begun.
    #[cold]
    pub(crate) fn note_full(&self, queue: u32, now: u64) {
        self.queues[queue as usize].note_refused(now);
    }

    /// An operation has been in the queue for `age` nanoseconds and is not complete, at `now` nanoseconds. That is
    /// learned from if it is longer than everything in the queue takes; then it counts as late, and as other
    /// lateness it is forgotten within milliseconds.
    pub fn overdue(&self, queue: u32, age: u64, now: u64) {
        if let Some(queue) = self.queues.get(queue as usize) {
            queue.note_overdue(age, now);
        }
    }

    #[cold]
    fn explored(&self, decision: &Decision, operation: Operation, bytes: u64, nanoseconds: u64) {
        let Some(lane) = decision.explorer.checked_sub(1) else { return };
        let other = if matches!(decision.choice, Choice::Cpu(_)) { Quantity::Latency } else { Quantity::Cpu };
        let usual = self.estimates.get(operation, other, bytes);
        self.lane(lane).explored(nanoseconds.saturating_mul(PICOS), usual);
    }

    #[cold]
    fn learn_device(&self, decision: &Decision, queue: u32, operation: Operation, bytes: u64, seen: Seen) {
        self.explored(decision, operation, bytes, seen.complete);
        let queue = &self.queues[queue as usize];
        let place = Place::of(bytes);
        let picos = |nanoseconds: u64| nanoseconds.saturating_mul(PICOS).min(1 << 60);
        let (wait, distance) = (decision.wait, decision.distance);
        let idle = self.estimates.at(operation, Quantity::Latency, place);
        let now = if decision.at == 0 { 0 } else { decision.at.saturating_add(seen.complete) };
        let excess = queue.excess(now);
        let expected = idle + wait + distance + excess;
        let complete = picos(seen.complete);
        let observed = expected.clamp(picos(seen.pending).min(complete), complete);
        let late = observed.cast_signed() - expected.cast_signed();
        if decision.queued || wait > idle / 2 {
            return queue.note_queued(wait, late, now);
        }
        let alone = observed.saturating_sub(wait + distance + excess).max(observed / 8);
        if self.estimates.samples(operation, Quantity::Latency, bytes) < TRUSTED {
            return self.estimates.learn(operation, Quantity::Latency, place, alone, Heed::Usual);
        }
        queue.note_alone(expected, late, now);
        self.estimates.learn(operation, Quantity::Latency, place, alone, Heed::Least);
    }
}
