//! What a lane has collected ([`crate::lane::collect`]), and the queue that gets it.

use std::cell::Cell;

use idxd_sys::{Descriptor, opcode};

use super::policy::Policy;
use crate::clock;
use crate::descriptor::{Batch, Capabilities};
use crate::device::Queue;
use crate::lane::collect::Link;
use crate::lane::{Fate, Lane};
use crate::shared::Shared;
use crate::stats::Event;
use crate::submit::SubmissionPath;

/// A lane and its home queue. There is one.
struct Way<'a> {
    shared: &'a Shared,
    number: u32,
    lane: &'a Lane,
    home: u32,
    queue: &'a Queue,
    /// Whether a place in the queue was given back.
    gave_back: Cell<bool>,
}

impl Link for Way<'_> {
    fn queue(&self) -> u32 {
        self.home
    }

    fn now(&self) -> u64 {
        clock::now()
    }

    fn least(&self) -> usize {
        self.queue.capabilities().min_batch_size() as usize
    }

    fn batch(&self, list: u64, count: u32, record: u64) -> Option<Descriptor> {
        Batch::new(list, count).record(record).build(self.queue.capabilities()).ok()
    }

    unsafe fn send(&self, descriptors: &[Descriptor], stamp: impl FnOnce(u32), refuse: impl FnOnce(usize)) {
        let stats = &self.lane.stats;
        let retries = self.shared.policy.retries;
        let batched = if descriptors[0].opcode() == opcode::BATCH { descriptors[0].xfer_size } else { 0 };
        // SAFETY: the caller's promise.
        let (accepted, _) = unsafe { self.queue.submit(self.number, stats, descriptors, retries, stamp, refuse) };
        if accepted != 0 && batched != 0 {
            stats.event(Event::Batches);
            stats.events(Event::Collected, u64::from(batched));
        }
        if accepted != descriptors.len() && self.queue.is_suspicious() {
            self.shared.bell.ring();
        }
    }

    fn inside(&self, epoch: u32, f: impl FnOnce()) {
        self.queue.inside(self.number, epoch, f);
    }

    fn is_lost(&self, epoch: u32) -> bool {
        self.queue.fate(epoch) == Fate::Lost
    }

    fn return_credit(&self) {
        self.queue.return_credit();
        self.gave_back.set(true);
    }
}

/// A lane that collects for a queue with these capabilities, or for none.
pub(crate) fn lane(policy: &Policy, caps: Option<&Capabilities>) -> Lane {
    let takes_batches = caps.is_some_and(|caps| caps.supports(opcode::BATCH) && policy.batch_limit > 1);
    let limit = match caps {
        Some(caps) if takes_batches => policy.batch_limit.min(caps.max_batch_size() as usize),
        _ => policy.batch_limit,
    };
    // Enough for half of the slots, since the other half is what is collected meanwhile.
    let lists = if takes_batches { (policy.slots_per_lane / 2 / limit.max(1)).max(2) } else { 0 };
    Lane::new(policy.slots_per_lane, limit, lists)
}

impl Shared {
    fn way(&self, number: u32) -> Way<'_> {
        let home = self.lanes[number as usize].home.queue;
        let (lane, queue) = (&self.lanes[number as usize], &self.queues[home as usize]);
        Way { shared: self, number, lane, home, queue, gave_back: Cell::new(false) }
    }

    /// Whether lanes collect at all.
    fn collects(&self) -> bool {
        self.policy.batch_limit > 1 && !self.queues.is_empty() && !self.is_forked()
    }

    /// Whether an operation may be collected for a queue, because it is expected to take it.
    #[inline]
    pub(crate) fn may_collect(&self, queue: &Queue) -> bool {
        self.policy.batch_limit > 1 && queue.is_open()
    }

    /// Sends what a lane has collected. False if another thread is at it.
    #[inline(never)]
    pub(crate) fn flush(&self, number: u32) -> bool {
        // In a child nothing is sent; who polls there finds that out by itself.
        if !self.collects() {
            return true;
        }
        let way = self.way(number);
        let is_done = way.lane.collector.flush(way.lane, &way);
        self.room_if(way.gave_back.get());
        is_done
    }

    /// As [`room`](Self::room), if there is any.
    fn room_if(&self, any: bool) {
        if any {
            self.room();
        }
    }

    /// Sends what the calling thread's lane has collected: it will not be polling for a while.
    pub(crate) fn flush_mine(&self) {
        if let Some(number) = self.lane_if_known()
            && self.lanes[number as usize].collector.may_have_any()
        {
            self.flush(number);
        }
    }

    /// Sends the descriptor of a slot that the caller holds, if it is staged, with whatever else is.
    #[cold]
    #[inline(never)]
    pub(crate) fn send_staged(&self, number: u32, slot: u32) {
        let collector = &self.lanes[number as usize].collector;
        if !collector.is_staged(slot) || !self.collects() {
            return;
        }
        self.flush(number);
        if collector.is_staged(slot) {
            // Another thread is at it, and has left this one or comes to it just now; or one has died in the middle.
            let way = self.way(number);
            collector.send_alone(way.lane, &way, slot);
        }
    }

    /// Sends what a lane has collected if that has waited for `patience` ticks of the clock; for the poller. Not by a system call:
    /// the driver may keep a thread, and the poller has others to look after.
    pub(crate) fn flush_stale(&self, number: u32, patience: u64) {
        let lane = &self.lanes[number as usize];
        if !lane.collector.may_have_any()
            || self.queues[lane.home.queue as usize].submitter().path() == SubmissionPath::Write
        {
            return;
        }
        let since = lane.collector.first().map(|slot| lane.slot(slot).submitted_at());
        if since.is_some_and(|since| clock::now().saturating_sub(since) > patience) {
            self.flush(number);
        }
    }

    /// Takes back the places in a full queue of batches that have ended. True if it has room now.
    #[cold]
    pub(crate) fn makes_room(&self, queue: &Queue) -> bool {
        queue.has_credits() && {
            self.reap_lists();
            queue.has_room()
        }
    }

    /// Takes back the places in queues, and the lists, of batches that have ended, in every lane. True if nothing of any
    /// lane is in a batch that has not.
    pub(crate) fn reap_lists(&self) -> bool {
        if !self.collects() {
            return true;
        }
        let lanes = 0..self.lanes.len() as u32;
        lanes.fold(true, |all, number| {
            let way = self.way(number);
            let is_done = way.lane.collector.reap(way.lane, &way);
            self.room_if(way.gave_back.get());
            is_done && all
        })
    }
}
