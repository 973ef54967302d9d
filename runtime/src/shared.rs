//! What an accelerator's handles, futures and poller have in common.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

use idxd_sys::CpuFeatures;

use crate::clock::{self, Clock};
use crate::device::Queue;
use crate::dispatch::{Asking, Policy, Rates, Templates, Waiting};
use crate::lane::Lane;
use crate::lane::drains::Drains;
use crate::lane::gate::Entrance;
use crate::lane::poller::Running;
use crate::lane::sweep::{Effort, Swept};
use crate::lane::sync::{AtomicBool, Ordering, fence};
use crate::lane::wait::Waiter;
use crate::lane::waiters::Waiters;
use crate::lane::watch::Bell;
use crate::process;
use crate::stats::Event;

/// Lanes, queues and policy of one accelerator. Kept alive by handles, futures and the poller; the poller leaves last.
pub(crate) struct Shared {
    // Before the lanes, so that queues are closed, and with that drained, before the memory goes that they write.
    pub(crate) queues: Box<[Queue]>,
    pub(crate) lanes: Box<[Lane]>,
    pub(crate) policy: Policy,
    /// Smaller operations are the CPU's.
    pub(crate) least: u64,
    /// Who is asked about the others. `None`: they are all the device's.
    pub(crate) asking: Option<Box<Asking>>,
    pub(crate) waiter: Waiter,
    pub(crate) bell: Bell,
    pub(crate) drains: Drains,
    pub(crate) poller: Arc<Running>,
    /// Who waits for a slot, or for a place in a queue.
    pub(crate) waiters: Waiters,
    /// How fast the CPU does what.
    pub(crate) rates: Rates,
    stopping: AtomicBool,
    /// Numbers that workers of executors have been given, see [`Shared::claim_numbers`].
    claimed: AtomicU32,
    /// The process (see [`process::generation`]) that opened the queues.
    process: u64,
    /// Where the number of the process is that uses it.
    current: &'static AtomicU64,
    pub(crate) leaked: Arc<AtomicU64>,
}

/// A lane's first choice among the queues, and what that takes the short way.
#[derive(Debug)]
pub(crate) struct Home {
    /// The lane's own number.
    pub(crate) lane: u32,
    pub(crate) queue: u32,
    /// Where it enters the queue's gate.
    pub(crate) entrance: Entrance,
    pub(crate) clock: Clock,
    pub(crate) templates: Templates,
}

impl Home {
    /// Of a lane that has none yet.
    pub(crate) fn nowhere() -> Self {
        let templates = Templates::default();
        Self { lane: 0, queue: 0, entrance: Entrance::default(), clock: Clock::measured(), templates }
    }

    /// Lanes start at different queues. Without a queue nothing goes the short way.
    fn of(lane: usize, queues: &[Queue], policy: &Policy) -> Self {
        let Some(queue) = home_of(lane, queues) else { return Self { lane: lane as u32, ..Self::nowhere() } };
        // Where there is somebody to ask, nothing goes there without a question: `flight::asked`.
        let asks = Asking::is_wanted(policy, queues.len());
        let templates = Templates::of(queues[queue].capabilities(), least_size(policy, queues.len()));
        let templates = if asks { Templates::default() } else { templates };
        let entrance = queues[queue].entrance(lane as u32);
        Self { lane: lane as u32, queue: queue as u32, entrance, clock: Clock::measured(), templates }
    }
}

/// The queue that lane number `lane` tries first.
pub(crate) fn home_of(lane: usize, queues: &[Queue]) -> Option<usize> {
    lane.checked_rem(queues.len())
}

impl Shared {
    /// What is shared; nobody is asked yet.
    pub(crate) fn new(mut lanes: Box<[Lane]>, queues: Box<[Queue]>, policy: Policy) -> Self {
        // A policy that asks for what the CPU lacks has been refused before.
        let chosen = Waiter::choose(policy.waiting, CpuFeatures::detect()).unwrap_or(Waiter::NONE);
        // Who names an instruction gets it.
        let is_to_be_proven = policy.waiting == Waiting::Auto && !queues.is_empty();
        let waiter = if is_to_be_proven { chosen.proven() } else { chosen };
        let process = process::generation();
        // Only zero is no limit.
        let least = u64::from(!policy.cpu_slice_time.is_zero());
        let rates = Rates::new(policy.cpu_slice, clock::ticks(policy.cpu_slice_time).max(least));
        for (number, lane) in lanes.iter_mut().enumerate() {
            lane.home = Home::of(number, &queues, &policy);
        }
        Self {
            lanes,
            least: least_size(&policy, queues.len()),
            asking: None,
            queues,
            policy,
            waiter,
            bell: Bell::new(),
            drains: Drains::new(),
            waiters: Waiters::new(process),
            rates,
            poller: Arc::new(Running::new()),
            stopping: AtomicBool::new(false),
            claimed: AtomicU32::new(0),
            process,
            current: process::cell(),
            leaked: Arc::new(AtomicU64::new(0)),
        }
    }

    /// The lane of the calling thread.
    #[inline]
    pub(crate) fn lane_index(&self) -> u32 {
        self.lane_of(thread_number())
    }

    /// The lane of the calling thread, if it has used one.
    pub(crate) fn lane_if_known(&self) -> Option<u32> {
        match NUMBER.get() {
            UNNUMBERED => None,
            number => Some(self.lane_of(number)),
        }
    }

    /// The same lane.
    #[expect(clippy::inline_always, reason = "measured in instructions")]
    #[inline(always)]
    pub(crate) fn lane(&self) -> &Lane {
        self.lanes.get(NUMBER.get() as usize).unwrap_or_else(|| self.another_lane())
    }

    /// The lane of a thread without a number, or with one that is not a lane's.
    #[cold]
    #[inline(never)]
    fn another_lane(&self) -> &Lane {
        &self.lanes[self.lane_index() as usize]
    }

    #[inline]
    fn lane_of(&self, number: u32) -> u32 {
        let lanes = self.lanes.len() as u32;
        // A division takes long, and is seldom needed.
        if number < lanes { number } else { number % lanes }
    }

    /// Numbers for `count` workers, the first of them: different from those that were given before, and therefore with
    /// different lanes, as long as there are as many lanes.
    pub(crate) fn claim_numbers(&self, count: u32) -> u32 {
        self.claimed.fetch_add(count, Ordering::Relaxed)
    }

    /// Gives the calling thread a number of this accelerator's, unless it has one.
    pub(crate) fn number_thread_once(&self) {
        thread_local! {
            /// Whose number the thread has. The address may have been another's before: then the thread keeps its number,
            /// which is as good as any.
            static NUMBERED_BY: Cell<usize> = const { Cell::new(0) };
        }
        let this = std::ptr::from_ref(self).addr();
        if NUMBERED_BY.replace(this) != this {
            set_thread_number(self.claim_numbers(1));
        }
    }

    /// Looks at a few of those who wait in `lane`, and wakes those whose operation has completed.
    #[inline(never)]
    pub(crate) fn sweep(&self, lane: u32, effort: Effort) -> Swept {
        let lane = &self.lanes[lane as usize];
        let fate = |queue, epoch| self.queues[queue as usize].fate(epoch);
        let swept = lane.watched.sweep(effort, &self.bell, |index| lane.visit_held(index, fate));
        for _ in 0..swept.woken {
            lane.stats.event(Event::WorkerWakes);
        }
        swept
    }

    /// Whether a thread without a handle may sweep. It holds this value, so that the poller, which leaves last, sees it or is
    /// seen to be about to leave.
    pub(crate) fn may_sweep(&self) -> bool {
        fence(Ordering::SeqCst);
        !self.is_stopping()
    }

    /// A worker that submits to `lane` is about to park: sends what is collected, and wakes what has completed. If nothing has, and something is out, it
    /// goes on looking for `patience` ticks of the clock.
    ///
    /// What is left is the poller's, which has watched over it since it was armed (see [`crate::lane::sweep`]).
    pub(crate) fn before_park(&self, lane: u32, patience: u64) {
        if self.lanes[lane as usize].collector.may_have_any() {
            self.flush(lane);
        }
        let watched = &self.lanes[lane as usize].watched;
        let armed = watched.armed();
        if armed == 0 {
            return;
        }
        let swept = self.sweep(lane, Effort::PARK);
        if patience == 0 || swept.woken != 0 || swept.waiting == 0 {
            return;
        }
        let until = clock::now().saturating_add(patience);
        // Another number: the poller was first, perhaps, and has woken a task that this worker is to run.
        while clock::now() < until && watched.armed() == armed {
            if self.sweep(lane, Effort::PARK).woken != 0 {
                return;
            }
            std::hint::spin_loop();
        }
    }

    /// A worker that submits to `lane` goes on after it was parked.
    pub(crate) fn after_unpark(&self, lane: u32) {
        if self.lanes[lane as usize].watched.armed() != 0 {
            self.sweep(lane, Effort::PARK);
        }
    }

    /// A slot, or a place in a queue, has become free. One load if nobody waits for it.
    #[inline]
    pub(crate) fn room(&self) {
        if self.waiters.any() {
            self.call_first();
        }
    }

    #[cold]
    fn call_first(&self) {
        // In a child the line may be locked for ever, and nobody of those in it is there.
        if !self.is_forked() {
            self.waiters.call_first(clock::now());
        }
    }

    /// Whether this process was forked off the one that opened the queues. The device knows only the parent's
    /// memory, so a child must not submit, and nothing the device does can touch the child's pages.
    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        process::generation() != self.process
    }

    /// The process that opened the queues.
    pub(crate) fn process(&self) -> u64 {
        self.process
    }

    /// Whether a newcomer may look for room: the process is the one that opened the queues, and nobody waits for any.
    #[inline]
    pub(crate) fn admits(&self) -> bool {
        self.waiters.admits(self.current.load(Ordering::Relaxed))
    }

    /// Queue numbers in the order in which a lane tries them: lanes start at different ones.
    #[inline]
    pub(crate) fn queues_from(&self, lane: u32) -> impl Iterator<Item = u32> + use<> {
        let count = self.queues.len() as u32;
        (0..count).map(move |step| (lane + step) % count)
    }

    /// The oldest submission to queue number `queue`, not after `until`, that has not ended: when it was made, and in which
    /// epoch.
    pub(crate) fn oldest(&self, queue: u32, until: u64) -> Option<(u64, u32)> {
        let its = &self.queues[queue as usize];
        self.lanes.iter().filter_map(|lane| lane.oldest(queue, until, |epoch| its.fate(epoch))).min()
    }

    /// The watchdog: something has been out on `queue` since `at` without completing. A dead queue is recovered soon; a
    /// live one gets the whole time, since it may just be slow.
    pub(crate) fn watch_over(&self, queue: &Queue, epoch: u32, at: u64) {
        if queue.is_attended() {
            return;
        }
        let overdue = clock::elapsed(at);
        if overdue > self.policy.lost_after || overdue > self.policy.dead_after && !queue.is_alive() {
            queue.request_recovery(epoch);
            self.bell.ring();
        }
    }

    /// Recovers or revives queue number `index`, which may take seconds, and wakes everybody who waits for something it
    /// will never complete.
    pub(crate) fn attend(&self, index: usize) {
        let queue = &self.queues[index];
        self.set_open(index, false);
        if queue.attend() {
            self.lanes[0].stats.event(Event::Quiesces);
        }
        self.set_open(index, queue.is_open());
        queue.attended();
        // Armed slots are woken by the poller's next pass, which sees the new epoch; so it must make one.
        self.bell.ring();
        // And those who wait for room have another look at what there is.
        self.room();
    }

    /// Tells the poller to finish what is in flight and leave.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.bell.ring();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Counts everything in flight as given up for good.
    pub(crate) fn leak(&self) {
        let left: usize = self.lanes.iter().map(Lane::in_flight).sum();
        self.leaked.fetch_add(left as u64, Ordering::Relaxed);
    }

    /// Counts one operation as given up for good.
    pub(crate) fn leak_one(&self) {
        self.leaked.fetch_add(1, Ordering::Relaxed);
    }

    /// Operations given up for good.
    pub(crate) fn leaked(&self) -> u64 {
        self.leaked.load(Ordering::Relaxed)
    }
}

/// Where there is nobody to ask, operations of fewer bytes are the CPU's.
fn least_size(policy: &Policy, queues: usize) -> u64 {
    let least = if queues > Asking::MOST_QUEUES { Policy::UNASKED_DEVICE_SIZE } else { 0 };
    policy.min_device_size.unwrap_or(least) as u64
}

/// In place of a number, before a thread has one.
const UNNUMBERED: u32 = u32::MAX;

thread_local! {
    // No destructor: a future may be dropped while the thread's locals are being destroyed.
    static NUMBER: Cell<u32> = const { Cell::new(UNNUMBERED) };
}

/// A small number per thread: the one that its executor has given it, or one that is handed out in order of first use, so
/// that the first threads get different lanes.
#[inline]
fn thread_number() -> u32 {
    #[cold]
    fn next() -> u32 {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed) & 0xffff;
        NUMBER.with(|cell| cell.set(number));
        number
    }
    match NUMBER.get() {
        UNNUMBERED => next(),
        number => number,
    }
}

/// Gives the calling thread a number: another lane, from the next operation on.
pub(crate) fn set_thread_number(number: u32) {
    NUMBER.set(number % UNNUMBERED);
}
