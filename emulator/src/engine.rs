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
//! **Sleeping.** See `sleep`. An engine that stops spinning because it found work wakes another one if there is more.
//!
//! **Configuration.** Groups change while the device is disabled, queues while they are. Whoever changes them raises the
//! shared `epoch`, then wakes every engine. An engine about to park looks at the epoch where it looks at its
//! queues, so it does not sleep on an old assignment; one that stops spinning because of it wakes an engine of the group that
//! it leaves, on whom a submitter may have relied.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use std::time::Instant;

use crossbeam_utils::CachePadded;
use idxd_sys::{Descriptor, opcode};

use crate::config::Config;
use crate::entry::{ClientState, Owed, Ticket};
use crate::exec::{self, BatchLog, Exec, Quick, Round, quick};
use crate::inside::Inside;
use crate::memory::Requester;
use crate::observe::{EngineCounters, Executed};
use crate::prng::Prng;
use crate::queue::WorkQueue;
use crate::shared::Shared;
use crate::sleep::Sleeper;

/// Slot values that name no descriptor.
const IDLE: u64 = 0;
const POPPING: u64 = 1;

/// How often an engine looks at its queues before it says that it has nothing to do: some microseconds.
const LINGER: u32 = 256;
/// Looks within which a descriptor comes so soon that the engine was too fast.
const SOON: u32 = 2;
/// How often that must happen in a row, before an engine lets descriptors gather.
const CHASES: u32 = 8;
/// For how long it does, in pauses of the processor: a fraction of a microsecond.
const GATHER: u32 = 16;

/// What others see of an engine.
pub(crate) struct EngineSlot {
    /// `IDLE`, `POPPING`, or sequence number << 8 | queue index (sequence numbers start at 1).
    executing: CachePadded<AtomicU64>,
    /// The requester of that descriptor, as one word.
    requester: AtomicU32,
    pub(crate) sleeper: Sleeper,
    /// The group to which it belongs.
    pub(crate) group: AtomicUsize,
    pub(crate) counters: CachePadded<EngineCounters>,
}

impl EngineSlot {
    pub(crate) fn new(group: usize, queues: usize) -> Self {
        Self {
            executing: CachePadded::default(),
            requester: AtomicU32::default(),
            sleeper: Sleeper::new(),
            group: AtomicUsize::new(group),
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

    #[inline]
    fn publish(&self, seq: u64, ticket: Ticket, queue: &WorkQueue) {
        self.requester.store(ticket.client().requester_word, Ordering::Release);
        self.executing.store(seq << 8 | queue.index as u64, Ordering::Release);
    }

    /// Nothing is executing any more.
    #[inline]
    fn end(&self) {
        self.executing.store(IDLE, Ordering::Release);
    }
}

impl Shared {
    /// Makes sure that somebody looks at the queues after what this thread pushed before.
    pub(crate) fn wake(&self) {
        if self.sleepers.are_some_parked() {
            self.wake_parked();
        }
    }

    /// Wakes one engine of each group where something is queued, some are parked and none spins.
    #[cold]
    pub(crate) fn wake_parked(&self) {
        if self.config.immediate {
            return self.run_submitted();
        }
        for queue in self.queues.iter().filter(|queue| !queue.is_empty()) {
            self.sleepers.wake_one(queue.setup.group(), self.sleeping());
        }
    }

    /// Wakes all engines.
    pub(crate) fn wake_all(&self) {
        self.sleepers.wake_all(self.sleeping());
    }

    fn sleeping(&self) -> impl Iterator<Item = &Sleeper> {
        self.engines.iter().map(|slot| &slot.sleeper)
    }

    /// Makes engines read the assignment of queues and groups again.
    pub(crate) fn reassign(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.set_gates();
        self.wake_all();
    }
}

/// For descriptors of queues whose configuration the engine has yet to read.
static NO_QUICK: Quick = Quick::NONE;

/// The private part of an engine.
pub(crate) struct Engine {
    index: usize,
    slot: Arc<EngineSlot>,
    group: usize,
    /// The epoch at which the assignment below was read.
    epoch: u64,
    /// Queues of the group.
    queues: Vec<Served>,
    turn: usize,
    credit: u32,
    rng: Prng,
    /// The descriptor under execution.
    current: Descriptor,
    /// What has ended and is yet to be counted.
    owed: Owed,
    /// How often in a row a descriptor came just after the engine had found none.
    chases: u32,
}

/// A queue that an engine serves.
struct Served {
    queue: Arc<WorkQueue>,
    /// Where the engine counts what it executes of it.
    executed: Arc<Executed>,
    /// Its share of a turn.
    share: u32,
    /// How its plain descriptors look.
    quick: Quick,
}

/// Takes the oldest descriptor; gives its number, and where it came from.
#[inline]
fn take(queue: &WorkQueue, slot: &EngineSlot, to: &mut Descriptor) -> Option<(u64, Ticket)> {
    slot.executing.store(POPPING, Ordering::Release);
    let Some((seq, ticket)) = queue.take(to) else {
        slot.executing.store(IDLE, Ordering::Release);
        return None;
    };
    slot.publish(seq, ticket, queue);
    Some((seq, ticket))
}

impl Served {
    /// Whether a descriptor that was taken is to be discarded.
    #[inline]
    fn must_not_run(&self, ticket: Ticket) -> bool {
        self.queue.stops() || ticket.client().is_aborting()
    }

    /// How plain descriptors look, for one that was taken.
    fn quick(&self, shared: &Shared, epoch: u64) -> &Quick {
        // The queue may have been configured after the assignment was read; the pop has made visible that it was.
        if shared.epoch.load(Ordering::SeqCst) == epoch { &self.quick } else { &NO_QUICK }
    }
}

impl Engine {
    pub(crate) fn new(config: &Config, index: usize, slot: &Arc<EngineSlot>) -> Self {
        Self {
            index,
            slot: Arc::clone(slot),
            group: 0,
            // An epoch that never is: the assignment is read before the first descriptor.
            epoch: u64::MAX,
            queues: Vec::with_capacity(config.queues.len()),
            turn: 0,
            credit: 0,
            rng: Prng::new(config.seed ^ (index as u64 + 1).wrapping_mul(0xd1b5_4a32_d192_ed03)),
            current: Descriptor::default(),
            owed: Owed::NONE,
            chases: 0,
        }
    }

    /// Reads the assignment of queues and engines to groups.
    #[cold]
    fn assign(&mut self, shared: &Shared, epoch: u64) {
        self.epoch = epoch;
        self.group = self.slot.group.load(Ordering::SeqCst);
        self.queues.clear();
        if self.group < shared.unassigned() {
            let group = self.group;
            for queue in shared.queues.iter().filter(|queue| queue.setup.group() == group) {
                let plain = shared.may_be_plain();
                let quick = if plain { self.look(shared, queue.index, Quick::of) } else { Quick::NONE };
                let executed = Arc::clone(self.slot.counters.executed_of(queue.index));
                self.queues.push(Served {
                    queue: Arc::clone(queue),
                    executed,
                    share: queue.setup.priority().into(),
                    quick,
                });
            }
        }
        if let [only] = &mut self.queues[..] {
            // Nobody to share with.
            only.share = u32::MAX;
        }
        self.turn = 0;
        self.credit = self.queues.first().map_or(0, |queue| queue.share);
    }

    /// What an execution would see of a queue, without one.
    pub(crate) fn look<R>(&mut self, shared: &Shared, queue: usize, f: impl FnOnce(&Exec<'_>) -> R) -> R {
        let client = ClientState::new(Requester::DEVICE);
        let counters = &self.slot.counters;
        f(&Exec {
            shared,
            queue: &shared.queues[queue],
            quick: &NO_QUICK,
            counters,
            executed: counters.executed_of(queue),
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
        self.slot.sleeper.is_this_thread();
        while !shared.shutdown.load(Ordering::Acquire) {
            if self.run_one(shared) {
                continue;
            }
            self.settle();
            if !self.linger(shared) {
                self.idle(shared);
            }
        }
        self.settle();
    }

    /// [`run_one`](Self::run_one), and nothing is owed after it.
    #[inline]
    pub(crate) fn run_one_and_settle(&mut self, shared: &Shared) -> bool {
        let ran = self.run_one(shared);
        self.settle();
        ran
    }

    /// Counts what has ended. To be called before an engine does anything but running descriptors.
    pub(crate) fn settle(&mut self) {
        self.owed.settle();
    }

    /// Takes one descriptor and executes or discards it. `false` if the queues are empty. [`settle`](Self::settle) is to be
    /// called in the end.
    ///
    /// The usual way is short. What is unusual is called last, so that this saves no registers.
    #[expect(clippy::inline_always, reason = "measured in instructions")]
    #[inline(always)]
    pub(crate) fn run_one(&mut self, shared: &Shared) -> bool {
        // Usually the queue whose turn it is has something.
        if self.credit == 0 || shared.epoch.load(Ordering::SeqCst) != self.epoch {
            return self.run_next(shared);
        }
        let Some(served) = self.queues.get(self.turn) else { return self.run_next(shared) };
        let (slot, queue): (&EngineSlot, &WorkQueue) = (&self.slot, &served.queue);
        let Some((seq, ticket)) = take(queue, slot, &mut self.current) else { return self.run_next(shared) };
        self.credit -= 1;
        // The queue may have been configured after the look at the epoch; the pop has made visible that it was.
        if !queue.is_usual(self.epoch) || !served.quick.executes(&self.current) {
            return self.run_in_full(shared, seq, ticket);
        }
        if self.current.opcode() != opcode::NOP {
            return self.run_plain(shared, seq, ticket);
        }
        quick::end(&served.executed, &self.current);
        slot.end();
        self.owed.add(ticket)
    }

    /// Executes the current descriptor, which is plain but has something to do.
    #[inline(never)]
    fn run_plain(&mut self, shared: &Shared, seq: u64, ticket: Ticket) -> bool {
        // The copy may meet a page that takes long to come, and others are not to wait for it.
        self.owed.settle_others(ticket);
        let served = &self.queues[self.turn];
        if !served.quick.work(&self.slot.counters, &self.current) {
            return self.run_in_full(shared, seq, ticket);
        }
        quick::end(&served.executed, &self.current);
        self.slot.end();
        self.owed.add(ticket)
    }

    /// Takes a descriptor of the first queue that has one, from the one whose turn it is, once around.
    #[cold]
    #[inline(never)]
    fn run_next(&mut self, shared: &Shared) -> bool {
        let epoch = shared.epoch.load(Ordering::SeqCst);
        if epoch != self.epoch {
            self.assign(shared, epoch);
        }
        for _ in 0..=self.queues.len() {
            if self.credit != 0
                && let Some(served) = self.queues.get(self.turn)
                && served.queue.is_ready()
                && let Some((seq, ticket)) = take(&served.queue, &self.slot, &mut self.current)
            {
                self.credit -= 1;
                return self.run_in_full(shared, seq, ticket);
            }
            self.turn = (self.turn + 1) % self.queues.len().max(1);
            self.credit = self.queues.get(self.turn).map_or(0, |served| served.share);
        }
        false
    }

    /// Executes or discards the current descriptor, whatever it is. `true`, as it was one.
    #[inline(never)]
    fn run_in_full(&mut self, shared: &Shared, seq: u64, ticket: Ticket) -> bool {
        // Nothing here panics, but an address space of the user's may, and whoever hears of events. Their caller must still
        // see the entry end, and the engine must go on; a halt is what a device does when its hardware fails.
        self.owed.settle();
        let _inside = shared.config.immediate.then(|| Inside::of(shared));
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let served = &self.queues[self.turn];
            served.queue.taken(shared);
            !served.must_not_run(ticket) && self.execute(shared, seq, ticket)
        }));
        if ran.is_err() {
            let _ = catch_unwind(AssertUnwindSafe(|| shared.halt()));
        }
        let discarded = !ran.unwrap_or(false);
        self.slot.counters.discarded.add(u64::from(discarded));
        self.slot.end();
        ticket.finish(discarded);
        true
    }

    /// Executes the current descriptor. Whether it ran to its end.
    fn execute(&mut self, shared: &Shared, seq: u64, ticket: Ticket) -> bool {
        let served = &self.queues[self.turn];
        let client = ticket.client();
        let mut x = Exec {
            shared,
            queue: &served.queue,
            quick: served.quick(shared, self.epoch),
            counters: &self.slot.counters,
            executed: &served.executed,
            rng: &mut self.rng,
            client,
            requester: client.requester,
            seq,
            engine: self.index,
            message_storage: ticket.message_storage(),
            batch: BatchLog::default(),
            in_domains: false,
            round: Round::new(&shared.space),
        };
        let d = &self.current;
        let ended = catch_unwind(AssertUnwindSafe(|| exec::execute(&mut x, d, None)));
        // Whatever happened: somebody may be waiting for the end of the section.
        x.round.end();
        match ended {
            Ok(ended) => ended.is_ok(),
            Err(panic) => resume_unwind(panic),
        }
    }

    fn has_work(&self) -> bool {
        self.queues.iter().any(|served| !served.queue.is_empty())
    }

    /// Whether there is work again at once. While no engine is parked, nobody needs to know that this one spins: between the
    /// descriptors of a burst that comes in slowly it need not tell.
    ///
    /// An engine that is faster than its submitter would take each descriptor from under the submitter's hands: every cache line
    /// goes to and fro while the next descriptor is written beside it, and both are slower for it than either is alone. Who
    /// sees that happen lets some descriptors gather. One descriptor at a time, with its wait for the record, does not look
    /// like that.
    fn linger(&mut self, shared: &Shared) -> bool {
        if shared.config.spin.is_zero() || shared.sleepers.are_some_parked() {
            return false;
        }
        if self.chases >= CHASES {
            (0..GATHER).for_each(|_| std::hint::spin_loop());
            let ready = self.is_ready();
            // If not, it was no burst; or somebody is held up who has claimed a place, and needs this processor.
            if !ready || self.waiting() < 2 {
                self.chases = 0;
            }
            if ready {
                return true;
            }
        }
        let looks = (0..LINGER).find(|_| {
            std::hint::spin_loop();
            self.is_ready()
        });
        self.chases = if looks.is_some_and(|looks| looks < SOON) { self.chases.saturating_add(1) } else { 0 };
        looks.is_some()
    }

    fn is_ready(&self) -> bool {
        self.queues.iter().any(|served| served.queue.is_ready())
    }

    /// Spins, then parks, until there is work or the device shuts down.
    fn idle(&self, shared: &Shared) {
        let moved = || shared.epoch.load(Ordering::SeqCst) != self.epoch;
        let stop = || self.has_work() || moved() || shared.shutdown.load(Ordering::Acquire);
        let seen = || self.is_ready() || moved() || shared.shutdown.load(Ordering::Acquire);
        shared.sleepers.spin(self.group);
        let start = Instant::now();
        let found = loop {
            if (0..32).any(|_| {
                std::hint::spin_loop();
                seen()
            }) {
                shared.sleepers.stop_spinning(self.group);
                break true;
            }
            if start.elapsed() >= shared.config.spin {
                break shared.sleepers.sleep(&self.slot.sleeper, self.group, stop);
            }
            std::thread::yield_now();
        };
        if found {
            if moved() {
                shared.wake();
            }
            // A submitter that counted on us may have pushed a second descriptor; we take only one at a time.
            self.pass_on(shared);
        }
    }

    /// Wakes another engine if more than one descriptor waits.
    fn pass_on(&self, shared: &Shared) {
        fence(Ordering::SeqCst);
        if self.waiting() > 1 {
            shared.wake();
        }
    }

    /// Descriptors in the queues of the group.
    fn waiting(&self) -> usize {
        self.queues.iter().map(|served| served.queue.occupancy()).sum()
    }
}
