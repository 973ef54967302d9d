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

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use std::thread::Thread;
use std::time::Instant;

use crossbeam_utils::CachePadded;

use crate::config::Config;
use crate::device::Shared;
use crate::exec::{self, Exec};
use crate::observe::EngineCounters;
use crate::prng::Prng;
use crate::queue::{Entry, WorkQueue};

/// Slot values that name no descriptor.
const IDLE: u64 = 0;
const POPPING: u64 = 1;

/// What others see of an engine.
#[derive(Default)]
pub(crate) struct EngineSlot {
    /// `IDLE`, `POPPING`, or sequence number << 8 | queue index (sequence numbers start at 1).
    executing: CachePadded<AtomicU64>,
    pasid: AtomicU32,
    parked: AtomicBool,
    thread: OnceLock<Thread>,
    pub(crate) counters: CachePadded<EngineCounters>,
}

impl EngineSlot {
    /// Whether this engine executes, or may be about to, a descriptor of `queue` and `pasid` accepted before `seq`.
    pub(crate) fn is_before(&self, queue: &WorkQueue, seq: u64, pasid: u32) -> bool {
        let now = self.executing.load(Ordering::Acquire);
        match now {
            IDLE => false,
            POPPING => true,
            _ => {
                // Acquire and release: if this is the PASID of a later descriptor, the one asked about has ended, and
                // what it wrote is visible.
                let same_pasid = pasid == self.pasid.load(Ordering::Acquire);
                (now & 0xff) as usize == queue.index && now >> 8 < seq && same_pasid
            }
        }
    }

    /// Wakes the engine if it is parked.
    pub(crate) fn unpark(&self) -> bool {
        let was_parked = self.parked.swap(false, Ordering::AcqRel);
        if was_parked && let Some(thread) = self.thread.get() {
            thread.unpark();
        }
        was_parked
    }

    fn publish(&self, entry: &Entry, queue: &WorkQueue) {
        self.pasid.store(entry.pasid, Ordering::Release);
        self.executing.store(entry.seq << 8 | queue.index as u64, Ordering::Release);
    }
}

/// The engines that serve the same queues.
pub(crate) struct Group {
    engines: Vec<usize>,
    spinning: CachePadded<AtomicUsize>,
    parked: CachePadded<AtomicUsize>,
}

impl Group {
    pub(crate) fn new(config: &Config, group: usize) -> Self {
        let engines = (0..config.engines.len()).filter(|e| config.engines[*e] == group).collect();
        Self { engines, spinning: CachePadded::default(), parked: CachePadded::default() }
    }

    /// Makes sure that somebody looks at the queues after what this thread pushed before.
    #[inline]
    pub(crate) fn wake(&self, slots: &[EngineSlot]) {
        fence(Ordering::SeqCst);
        if self.spinning.load(Ordering::Relaxed) == 0 && self.parked.load(Ordering::Relaxed) != 0 {
            self.wake_parked(slots);
        }
    }

    #[cold]
    fn wake_parked(&self, slots: &[EngineSlot]) {
        for engine in &self.engines {
            if slots[*engine].unpark() {
                self.parked.fetch_sub(1, Ordering::Relaxed);
                return;
            }
        }
    }
}

/// The private part of an engine.
pub(crate) struct Engine {
    index: usize,
    group: usize,
    /// Queues of the group, each with its share of a turn.
    queues: Vec<(usize, u8)>,
    turn: usize,
    credit: u8,
    rng: Prng,
}

impl Engine {
    pub(crate) fn new(config: &Config, index: usize) -> Self {
        let group = config.engines[index];
        let of_group = config.queues.iter().enumerate().filter(|(_, q)| q.group == group);
        let queues: Vec<_> = of_group.map(|(i, q)| (i, q.priority)).collect();
        let credit = queues.first().map_or(0, |q| q.1);
        let rng = Prng::new(config.seed ^ (index as u64 + 1).wrapping_mul(0xd1b5_4a32_d192_ed03));
        Self { index, group, queues, turn: 0, credit, rng }
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
        let slot = &shared.engines[self.index];
        let Some((queue, entry)) = self.take(shared, slot) else { return false };
        let mut discarded = true;
        if !shared.stops(queue) {
            let mut x = Exec {
                shared,
                queue,
                counters: &slot.counters,
                rng: &mut self.rng,
                pasid: entry.pasid,
                seq: entry.seq,
                engine: self.index,
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
                if let Some(entry) = queue.take() {
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
        let stop = || self.has_work(shared) || shared.shutdown.load(Ordering::Acquire);
        group.spinning.fetch_add(1, Ordering::SeqCst);
        let start = Instant::now();
        loop {
            for _ in 0..32 {
                if stop() {
                    group.spinning.fetch_sub(1, Ordering::SeqCst);
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
        slot.parked.store(true, Ordering::Relaxed);
        group.parked.fetch_add(1, Ordering::Relaxed);
        group.spinning.fetch_sub(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if stop() {
            if slot.parked.swap(false, Ordering::AcqRel) {
                group.parked.fetch_sub(1, Ordering::Relaxed);
            }
            return;
        }
        while slot.parked.load(Ordering::Acquire) {
            std::thread::park();
        }
    }

    /// Wakes another engine if more than one descriptor waits.
    fn pass_on(&self, shared: &Shared) {
        fence(Ordering::SeqCst);
        let waiting: usize = self.queues.iter().map(|(q, _)| shared.queues[*q].entries.len()).sum();
        if waiting > 1 {
            shared.groups[self.group].wake(&shared.engines);
        }
    }
}
