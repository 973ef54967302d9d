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
use crate::exec::{self, BatchLog, Exec, Quick, Round};
use crate::memory::Requester;
use crate::observe::EngineCounters;
use crate::prng::Prng;
use crate::queue::{ClientState, Entry, WorkQueue};
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

    #[inline]
    fn publish(&self, seq: u64, by: u32, queue: &WorkQueue) {
        self.requester.store(by, Ordering::Release);
        self.executing.store(seq << 8 | queue.index as u64, Ordering::Release);
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

/// For descriptors of queues whose configuration the engine has yet to read.
static NO_QUICK: Quick = Quick::NONE;

/// The private part of an engine.
pub(crate) struct Engine {
    index: usize,
    group: usize,
    /// The epoch at which the assignment below was read.
    epoch: u64,
    /// Queues of the group.
    queues: Vec<Served>,
    turn: usize,
    credit: u8,
    rng: Prng,
    /// The descriptor under execution.
    current: Entry,
}

/// A queue that an engine serves.
struct Served {
    index: usize,
    /// Its share of a turn.
    share: u8,
    /// How its plain descriptors look.
    quick: Quick,
}

impl Engine {
    pub(crate) fn new(config: &Config, index: usize) -> Self {
        let rng = Prng::new(config.seed ^ (index as u64 + 1).wrapping_mul(0xd1b5_4a32_d192_ed03));
        let queues = Vec::with_capacity(config.queues.len());
        // An epoch that never is: the assignment is read before the first descriptor.
        Self { index, group: 0, epoch: u64::MAX, queues, turn: 0, credit: 0, rng, current: Entry::none() }
    }

    /// Reads the assignment of queues and engines to groups.
    #[cold]
    fn assign(&mut self, shared: &Shared, epoch: u64) {
        self.epoch = epoch;
        self.group = shared.engines[self.index].group.load(Ordering::SeqCst);
        self.queues.clear();
        if self.group < shared.unassigned() {
            let group = self.group;
            for queue in shared.queues.iter().filter(|queue| queue.setup.group() == group) {
                let quick = self.look(shared, queue.index, Quick::of);
                self.queues.push(Served { index: queue.index, share: queue.setup.priority(), quick });
            }
        }
        self.turn = 0;
        self.credit = self.queues.first().map_or(0, |queue| queue.share);
    }

    /// What an execution would see of a queue, without one.
    pub(crate) fn look<R>(&mut self, shared: &Shared, queue: usize, f: impl FnOnce(&Exec<'_>) -> R) -> R {
        let client = ClientState::new(Requester::DEVICE);
        f(&Exec {
            shared,
            queue: &shared.queues[queue],
            quick: &NO_QUICK,
            counters: &shared.engines[self.index].counters,
            rng: &mut self.rng,
            client: &client,
            requester: client.requester,
            seq: 0,
            engine: self.index,
            message_storage: false,
            batch: BatchLog::default(),
            in_domains: false,
            round: Round::new(&shared.space),
        })
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
        let epoch = shared.epoch.load(Ordering::SeqCst);
        if epoch != self.epoch {
            self.assign(shared, epoch);
        }
        let slot = &shared.engines[self.index];
        let Some((queue, seq)) = self.take(shared, slot) else { return false };
        let (d, client) = (&self.current.descriptor, self.current.client());
        let mut discarded = shared.stops(queue) || client.aborting.load(Ordering::Acquire);
        if !discarded {
            slot.counters.executed(queue.index, d.opcode());
            if !(shared.is_plain() && exec::run_quick(self.quick(shared), &slot.counters, d)) {
                discarded = self.execute(shared, queue, seq);
            }
        }
        slot.counters.discarded.add(u64::from(discarded));
        slot.executing.store(IDLE, Ordering::Release);
        self.current.finish(discarded);
        true
    }

    /// How plain descriptors of the queue look whose turn it is, for one that was taken from it.
    #[inline]
    fn quick(&self, shared: &Shared) -> &Quick {
        // The queue may have been configured after the assignment was read; the pop has made visible that it was.
        match self.queues.get(self.turn) {
            Some(served) if shared.epoch.load(Ordering::SeqCst) == self.epoch => &served.quick,
            _ => &NO_QUICK,
        }
    }

    /// Executes the current descriptor, which has been counted. Whether it did not run to its end.
    #[inline(never)]
    fn execute(&mut self, shared: &Shared, queue: &WorkQueue, seq: u64) -> bool {
        let client = self.current.client();
        // Borrowed one by one: `quick` looks at the queues, the execution changes the random numbers.
        let current = shared.epoch.load(Ordering::SeqCst) == self.epoch;
        let served = self.queues.get(self.turn).filter(|_| current);
        let mut x = Exec {
            shared,
            queue,
            quick: served.map_or(&NO_QUICK, |served| &served.quick),
            counters: &shared.engines[self.index].counters,
            rng: &mut self.rng,
            client,
            requester: client.requester,
            seq,
            engine: self.index,
            message_storage: self.current.message_storage,
            batch: BatchLog::default(),
            in_domains: false,
            round: Round::new(&shared.space),
        };
        let d = &self.current.descriptor;
        // Nothing here panics, but an address space of the user's may. Its caller must still see the entry end, and
        // the engine must go on; a halt is what a device does when its hardware fails.
        let ended = catch_unwind(AssertUnwindSafe(|| exec::execute_in_full(&mut x, d, None)));
        x.round.end();
        if ended.is_err() {
            shared.halt();
        }
        !matches!(ended, Ok(Ok(_)))
    }

    /// Takes a descriptor, by the queues' turns; gives its queue and its number there.
    #[inline]
    fn take<'a>(&mut self, shared: &'a Shared, slot: &EngineSlot) -> Option<(&'a WorkQueue, u64)> {
        // Usually the queue whose turn it is has something.
        if self.credit != 0
            && let Some(served) = self.queues.get(self.turn)
            && let Some(taken) = self.take_from(&shared.queues[served.index], shared, slot)
        {
            return Some(taken);
        }
        self.take_elsewhere(shared, slot)
    }

    #[inline]
    fn take_from<'a>(
        &mut self,
        queue: &'a WorkQueue,
        shared: &Shared,
        slot: &EngineSlot,
    ) -> Option<(&'a WorkQueue, u64)> {
        slot.executing.store(POPPING, Ordering::Release);
        if let Some(seq) = queue.take(shared, &mut self.current) {
            slot.publish(seq, self.current.client().requester_word, queue);
            self.credit -= 1;
            return Some((queue, seq));
        }
        slot.executing.store(IDLE, Ordering::Release);
        None
    }

    /// Looks at the queues that come next, once around.
    #[cold]
    fn take_elsewhere<'a>(&mut self, shared: &'a Shared, slot: &EngineSlot) -> Option<(&'a WorkQueue, u64)> {
        for _ in 0..self.queues.len() {
            self.turn = (self.turn + 1) % self.queues.len();
            let served = &self.queues[self.turn];
            self.credit = served.share;
            let queue = &shared.queues[served.index];
            if !queue.is_empty()
                && let Some(taken) = self.take_from(queue, shared, slot)
            {
                return Some(taken);
            }
        }
        None
    }

    fn has_work(&self, shared: &Shared) -> bool {
        self.queues.iter().any(|served| !shared.queues[served.index].is_empty())
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
        let waiting: usize = self.queues.iter().map(|served| shared.queues[served.index].occupancy()).sum();
        if waiting > 1 {
            shared.wake(self.group);
        }
    }
}
