//! Engines: threads that take descriptors from the queues of their group and execute them.
//!
//! **Arbitration.** An engine serves its queues in turn. A queue of priority p gets up to p descriptors per turn, so
//! higher priorities are served more often and none starves.
//!
//! **Publication.** While an engine executes, its slot names queue, sequence number and PASID, so that a drain can wait
//! for earlier descriptors. The slot says POPPING before the pop. The pop of a later entry synchronises with the pop
//! of an earlier one (both are sequentially consistent read-modify-writes of the queue's head), so whoever
//! has popped a drain sees POPPING, the entry, or that it has ended, for everything popped before.
//!
//! **Sleeping.** An idle engine spins, then parks. It (1) sets its parked flag and leaves the number of spinning engines,
//! (2) fences, (3) looks at the queues once more. A submitter (1) pushes, (2) fences, (3) looks for a spinning or parked
//! engine. By the order of the two sequentially consistent fences at least one of them sees the other, so no
//! wake-up is lost. An engine that stops spinning because it found work wakes another one if there is more.
//!
//! **Configuration.** Groups change while the device is disabled, queues while they are. Whoever changes them raises the
//! shared `epoch`, then wakes every engine. An engine about to park looks at the epoch where it looks at its
//! queues, so it does not sleep on an old assignment; one that stops spinning because of it wakes an engine of the group that
//! it leaves, on whom a submitter may have relied.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use std::thread::Thread;
use std::time::Instant;

use crossbeam_utils::CachePadded;

use crate::config::Config;
use crate::exec::{self, BatchLog, Exec};
use crate::memory::Requester;
use crate::observe::EngineCounters;
use crate::prng::Prng;
use crate::queue::{Entry, WorkQueue};
use crate::shared::Shared;

/// Slot values that name no descriptor.
const IDLE: u64 = 0;
const POPPING: u64 = 1;

/// What others see of an engine.
pub(crate) struct EngineSlot {
    /// `IDLE`, `POPPING`, or sequence number << 8 | queue index (sequence numbers start at 1).
    executing: CachePadded<AtomicU64>,
    /// The requester of that descriptor, as one word.
    requester: AtomicU32,
    /// 0, or the group in which the engine is parked, plus 1.
    parked: AtomicUsize,
    /// The group to which it belongs.
    pub(crate) group: AtomicUsize,
    thread: OnceLock<Thread>,
    pub(crate) counters: CachePadded<EngineCounters>,
}

impl EngineSlot {
    pub(crate) fn new(group: usize, queues: usize) -> Self {
        Self {
            executing: CachePadded::default(),
            requester: AtomicU32::default(),
            parked: AtomicUsize::new(0),
            group: AtomicUsize::new(group),
            thread: OnceLock::new(),
            counters: CachePadded::new(EngineCounters::new(queues)),
        }
    }

    /// Whether this engine executes, or may be about to, a descriptor of `queue` and `by` accepted before `seq`.
    pub(crate) fn is_before(&self, queue: &WorkQueue, seq: u64, by: Requester) -> bool {
        let now = self.executing.load(Ordering::Acquire);
        match now {
            IDLE => false,
            POPPING => true,
            _ => {
                // Acquire and release: if this is the requester of a later descriptor, the one asked about has ended, and
                // what it wrote is visible.
                let same = by.to_word() == self.requester.load(Ordering::Acquire);
                (now & 0xff) as usize == queue.index && now >> 8 < seq && same
            }
        }
    }

    /// Wakes the engine if it is parked; returns the group in which it was.
    pub(crate) fn unpark(&self) -> Option<usize> {
        let group = self.parked.swap(0, Ordering::AcqRel).checked_sub(1)?;
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
        Some(group)
    }

    fn publish(&self, entry: &Entry, queue: &WorkQueue) {
        self.requester.store(entry.client().requester.to_word(), Ordering::Release);
        self.executing.store(entry.seq << 8 | queue.index as u64, Ordering::Release);
    }
}

/// The engines that serve the same queues.
#[derive(Default)]
pub(crate) struct Group {
    spinning: CachePadded<AtomicUsize>,
    parked: CachePadded<AtomicUsize>,
}

impl Group {
    /// Whether nobody looks at the queues, and somebody could.
    #[inline]
    fn is_asleep(&self) -> bool {
        self.spinning.load(Ordering::Relaxed) == 0 && self.parked.load(Ordering::Relaxed) != 0
    }
}

impl Shared {
    /// Makes sure that somebody looks at the queues of a group after what this thread pushed before.
    #[inline]
    pub(crate) fn wake(&self, group: usize) {
        fence(Ordering::SeqCst);
        if self.groups[group].is_asleep() {
            self.wake_parked(group);
        }
    }

    #[cold]
    fn wake_parked(&self, group: usize) {
        for slot in &self.engines {
            // One that has changed its group meanwhile is woken for nothing, which does no harm.
            if slot.parked.load(Ordering::Relaxed) == group + 1 && self.unpark(slot) == Some(group) {
                return;
            }
        }
    }

    /// Wakes an engine if it is parked; returns the group in which it was.
    fn unpark(&self, slot: &EngineSlot) -> Option<usize> {
        let group = slot.unpark()?;
        // Of that group, whichever the caller was looking for: each engine is counted where it parked.
        self.groups[group].parked.fetch_sub(1, Ordering::Relaxed);
        Some(group)
    }

    /// Makes engines read the assignment of queues and groups again.
    pub(crate) fn reassign(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        // Pairs with the fence of an engine about to park.
        fence(Ordering::SeqCst);
        for slot in &self.engines {
            self.unpark(slot);
        }
    }
}

/// The private part of an engine.
pub(crate) struct Engine {
    index: usize,
    group: usize,
    /// The epoch at which the assignment below was read.
    epoch: u64,
    /// Queues of the group, each with its share of a turn.
    queues: Vec<(usize, u8)>,
    turn: usize,
    credit: u8,
    rng: Prng,
}

impl Engine {
    pub(crate) fn new(config: &Config, index: usize) -> Self {
        let rng = Prng::new(config.seed ^ (index as u64 + 1).wrapping_mul(0xd1b5_4a32_d192_ed03));
        let queues = Vec::with_capacity(config.queues.len());
        // An epoch that never is: the assignment is read before the first descriptor.
        Self { index, group: 0, epoch: u64::MAX, queues, turn: 0, credit: 0, rng }
    }

    /// Reads the assignment of queues and engines to groups if it has changed.
    fn assign(&mut self, shared: &Shared) {
        let epoch = shared.epoch.load(Ordering::SeqCst);
        if epoch == self.epoch {
            return;
        }
        self.epoch = epoch;
        self.group = shared.engines[self.index].group.load(Ordering::SeqCst);
        self.queues.clear();
        if self.group < shared.unassigned() {
            let of_group = shared.queues.iter().filter(|q| q.setup.group() == self.group);
            self.queues.extend(of_group.map(|q| (q.index, q.setup.priority())));
        }
        self.turn = 0;
        self.credit = self.queues.first().map_or(0, |q| q.1);
    }

    /// The engine thread.
    pub(crate) fn run(mut self, shared: &Shared) {
        let slot = &shared.engines[self.index];
        let _ = slot.thread.set(std::thread::current());
        while !shared.shutdown.load(Ordering::Acquire) {
            if !self.run_one(shared) {
                self.idle(shared);
            }
        }
    }

    /// Takes one descriptor and executes or discards it. `false` if the queues are empty.
    pub(crate) fn run_one(&mut self, shared: &Shared) -> bool {
        self.assign(shared);
        let slot = &shared.engines[self.index];
        let Some((queue, entry)) = self.take(shared, slot) else { return false };
        let mut discarded = true;
        let client = entry.client();
        if !shared.stops(queue) && !client.aborting.load(Ordering::Acquire) {
            let mut x = Exec {
                shared,
                queue,
                counters: &slot.counters,
                rng: &mut self.rng,
                client,
                requester: client.requester,
                seq: entry.seq,
                engine: self.index,
                message_storage: entry.message_storage,
                batch: BatchLog::default(),
            };
            // Nothing here panics, but an address space of the user's may. Its caller must still see the entry end, and
            // the engine must go on; a halt is what a device does when its hardware fails.
            let ended = catch_unwind(AssertUnwindSafe(|| exec::execute(&mut x, &entry.descriptor, None)));
            discarded = !matches!(ended, Ok(Ok(_)));
            if ended.is_err() {
                shared.halt();
            }
        }
        slot.counters.discarded.add(u64::from(discarded));
        slot.executing.store(IDLE, Ordering::Release);
        entry.finish(discarded);
        true
    }

    fn take<'a>(&mut self, shared: &'a Shared, slot: &EngineSlot) -> Option<(&'a WorkQueue, Entry)> {
        // One look more than there are queues: the first may be at a queue whose share is used up.
        for _ in 0..=self.queues.len() {
            let (index, _) = *self.queues.get(self.turn)?;
            let queue = &shared.queues[index];
            if self.credit != 0 && !queue.entries.is_empty() {
                slot.executing.store(POPPING, Ordering::Release);
                if let Some(entry) = queue.take(shared) {
                    slot.publish(&entry, queue);
                    self.credit -= 1;
                    return Some((queue, entry));
                }
                slot.executing.store(IDLE, Ordering::Release);
            }
            self.turn = (self.turn + 1) % self.queues.len();
            self.credit = self.queues[self.turn].1;
        }
        None
    }

    fn has_work(&self, shared: &Shared) -> bool {
        self.queues.iter().any(|(q, _)| !shared.queues[*q].entries.is_empty())
    }

    /// Spins, then parks, until there is work or the device shuts down.
    fn idle(&self, shared: &Shared) {
        let group = &shared.groups[self.group];
        let slot = &shared.engines[self.index];
        let moved = || shared.epoch.load(Ordering::SeqCst) != self.epoch;
        let stop = || self.has_work(shared) || moved() || shared.shutdown.load(Ordering::Acquire);
        group.spinning.fetch_add(1, Ordering::SeqCst);
        let start = Instant::now();
        loop {
            for _ in 0..32 {
                if stop() {
                    group.spinning.fetch_sub(1, Ordering::SeqCst);
                    if moved() {
                        shared.wake(self.group);
                    }
                    // A submitter that counted on us may have pushed a second descriptor; we take only one at a time.
                    self.pass_on(shared);
                    return;
                }
                std::hint::spin_loop();
            }
            if start.elapsed() >= shared.config.spin {
                break;
            }
            std::thread::yield_now();
        }
        slot.parked.store(self.group + 1, Ordering::Relaxed);
        group.parked.fetch_add(1, Ordering::Relaxed);
        group.spinning.fetch_sub(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if stop() {
            if slot.parked.swap(0, Ordering::AcqRel) != 0 {
                group.parked.fetch_sub(1, Ordering::Relaxed);
            }
            return;
        }
        while slot.parked.load(Ordering::Acquire) != 0 {
            std::thread::park();
        }
    }

    /// Wakes another engine if more than one descriptor waits.
    fn pass_on(&self, shared: &Shared) {
        fence(Ordering::SeqCst);
        let waiting: usize = self.queues.iter().map(|(q, _)| shared.queues[*q].entries.len()).sum();
        if waiting > 1 {
            shared.wake(self.group);
        }
    }
}
