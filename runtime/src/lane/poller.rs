//! The backstop poller: one thread per accelerator that makes sure no operation goes unwatched (invariant 7).
//!
//! It looks only at slots that somebody armed: futures that have used up their own looking time, and orphans. With
//! nothing armed it sleeps on a futex and costs nothing; with something armed it waits the way the accelerator has chosen
//! ([`super::wait`]) before it sleeps for longer and longer. It is also the watchdog: a slot that has been out for too
//! long makes it ask whether the queue is alive, and in the end quiesce it, after which the operation is either
//! complete or certain never to be.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::slot::With;
use super::sync::{AtomicU8, AtomicWaker, Ordering, fence, sleep, spawn, yield_now};
use super::wait::{Pace, Step};
use super::{Lane, Seen, contain};
use crate::clock;
use crate::device::RETIREMENT;
use crate::shared::Shared;
use crate::stats::Event;

/// How often it looks at a queue that is closed, with nothing else to do.
const PROBE: Duration = Duration::from_millis(50);

/// How long a shutdown waits for orphans by itself before it quiesces the queues.
const GRACE: Duration = Duration::from_millis(100);

/// How long what a lane has collected may wait for somebody to send it, while the poller is awake; and how long a member of a
/// batch is waited for before somebody asks what has become of the batch.
const TICK: Duration = Duration::from_micros(50);

/// How long the poller waits at its end for others who have the accelerator without a handle.
const LEAVE: Duration = Duration::from_micros(100);

/// What one pass over the watched slots found.
struct Pass {
    waiting: usize,
    /// One of those still waiting: lane and slot.
    example: Option<(usize, u32)>,
    progress: bool,
    /// By queue: submission time and epoch of the oldest among those still waiting.
    oldest: Vec<Option<(u64, u32)>>,
    /// By queue: the same of all that is out, watched or not. Nothing where nobody waits for it.
    out: Vec<Option<(u64, u32)>>,
}

/// Runs until [`Shared::stop`] has been called and nothing is left to watch.
pub(crate) fn run(shared: Arc<Shared>) {
    // Announced when all else has gone, however this ends.
    let mut end = AnnounceEnd { running: Arc::clone(&shared.poller), memory: Memory::Kept };
    let mut shared = LeakOnPanic(Some(shared));
    shared.get().bell.adopt();
    loop {
        let memory = watch(shared.get());
        match shared.finish(memory) {
            End::Finished(memory) => {
                end.memory = memory;
                return;
            }
            End::LeftOver(back) => shared = back,
        }
    }
}

/// How [`LeakOnPanic::finish`] ended.
enum End {
    Finished(Memory),
    /// Something is watched after all.
    LeftOver(LeakOnPanic),
}

/// What becomes of the memory that devices write, and of their queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// Nothing is out any more: it is freed, and the queues are closed.
    Freed,
    /// Nobody knows, or a device does not stop: it stays for ever, with the queues.
    Kept,
}

/// Whether an accelerator's poller runs, for whoever waits until it does not; then, how it ended.
pub(crate) struct Running {
    state: AtomicU8,
    waker: AtomicWaker,
}

/// States of [`Running`]. Without a poller there is nothing that could be kept.
const FREED: u8 = 0;
const KEPT: u8 = 1;
const RUNS: u8 = 2;

impl Running {
    /// There is no poller yet.
    pub(crate) fn new() -> Self {
        Self { state: AtomicU8::new(FREED), waker: AtomicWaker::new() }
    }

    /// There will be one. Before it is started.
    pub(crate) fn begin(&self) {
        self.state.store(RUNS, Ordering::Release);
    }

    /// Waits until it has ended. One task at a time.
    pub(crate) fn poll_ended(&self, cx: &Context<'_>) -> Poll<Memory> {
        // Registered before the look: an end after the look finds the waker. `AtomicWaker` does not survive a panic of the user's
        // inside `register`: the waker that is there is dropped last, and one whose cloning panics does so here.
        drop(cx.waker().clone());
        let _previous = self.waker.take();
        self.waker.register(cx.waker());
        match self.state.load(Ordering::Acquire) {
            RUNS => Poll::Pending,
            FREED => Poll::Ready(Memory::Freed),
            _ => Poll::Ready(Memory::Kept),
        }
    }
}

/// Announces the end of the poller, by a panic too: then everything is kept, see [`LeakOnPanic`].
struct AnnounceEnd {
    running: Arc<Running>,
    memory: Memory,
}

impl Drop for AnnounceEnd {
    fn drop(&mut self) {
        let state = if self.memory == Memory::Freed { FREED } else { KEPT };
        self.running.state.store(state, Ordering::Release);
        contain(|| self.running.waker.wake());
    }
}

/// Watches until it is told to stop and nothing is left to be watched, or can be. Says what may become of the memory.
fn watch(shared: &Arc<Shared>) -> Memory {
    let none = vec![None; shared.queues.len()];
    let mut pass = Pass { waiting: 0, example: None, progress: false, oldest: none.clone(), out: none };
    let mut pace = Pace::new(shared.waiter, clock::now());
    let mut stopping_since = None;
    loop {
        // Before the pass: whoever stops us has left its last orphan by then, so that the pass cannot miss it.
        let stopping = shared.is_stopping();
        look(shared, &mut pass);
        look_after_queues(shared, &pass);
        if stopping {
            let since = *stopping_since.get_or_insert_with(clock::now);
            if pass.waiting == 0 {
                return Memory::Freed;
            }
            if let Some(memory) = wind_up(shared, since, &mut pass) {
                return memory;
            }
        }
        match pace.next(clock::now(), pass.waiting, pass.progress) {
            Step::Rest => {
                rest(shared);
                pace.rested(clock::now());
            }
            Step::Look => {}
            // Not `spin_loop`: with few cores the thread that would be kept waiting may be the one that is waited for.
            Step::Yield => yield_now(),
            Step::Wait => wait(shared, &pass),
            // Whoever arms meanwhile rings, and is looked after at once; what is armed already can wait this long.
            Step::Nap(time) => shared.bell.sleep_unless(Some(time), || false),
        }
    }
}

/// Waits by the CPU's instructions for what the pass has left, and for microseconds at most. That is a part of the pass
/// as far as others are concerned, see [`super::watch`].
fn wait(shared: &Shared, pass: &Pass) {
    let Some((lane, index)) = pass.example else {
        // Only drains are waiting, or those who wait for room, which have no record of their own.
        yield_now();
        return;
    };
    let lane = &shared.lanes[lane];
    let is_complete = || lane.status(index) != 0;
    // The kernel takes a thread that waits so for a busy one. With few cores, see above.
    yield_now();
    if pass.waiting == 1 {
        shared.waiter.watch(lane.line(index), is_complete);
    } else {
        shared.waiter.pause(lane.line(index), is_complete);
    }
}

/// One pass over every watched slot of every lane, and over those who wait for any of them.
fn look(shared: &Shared, pass: &mut Pass) {
    pass.waiting = 0;
    pass.example = None;
    pass.progress = false;
    pass.oldest.fill(None);
    let tick = clock::ticks(TICK);
    let mut is_overdue = false;
    for (number, lane) in shared.lanes.iter().enumerate() {
        lane.watched.for_each(|index| match visit(shared, lane, index) {
            Seen::Waiting | Seen::PutBack => {
                pass.waiting += 1;
                pass.example = Some((number, index));
                let (stamp, at) = (lane.slot(index).stamped(), lane.slot(index).submitted_at());
                is_overdue |= stamp.with() == With::List && clock::now().saturating_sub(at) > tick;
                let oldest = &mut pass.oldest[stamp.queue() as usize];
                if stamp.is_with_device() && oldest.is_none_or(|(oldest, _)| at < oldest) {
                    *oldest = Some((at, stamp.epoch()));
                }
            }
            Seen::Woken | Seen::Reaped => pass.progress = true,
            Seen::Gone => {}
        });
    }
    if pass.waiting != 0 {
        // It will look again, and so may well look after these meanwhile.
        (0..shared.lanes.len() as u32).for_each(|number| shared.flush_stale(number, tick));
    }
    // Once for all who wait, and not under the lock that their polls take. Who comes only now may be woken too early; then
    // its poll looks for itself, and comes again.
    // Who waits for room is not seen to by those who hold it: so the watchdog looks at whatever is out.
    let is_crowded = look_after_waiters(shared);
    // Ended batches hold places that others may want, and know what has become of members that have no record. At the end they
    // must not have anything that is about to be freed.
    if (is_overdue || is_crowded || shared.is_stopping()) && !shared.reap_lists() && shared.is_stopping() {
        pass.waiting += 1;
    }
    let is_awaited = is_crowded || shared.drains.any();
    for (queue, out) in (0..).zip(&mut pass.out) {
        *out = if is_awaited { shared.oldest(queue, u64::MAX) } else { None };
    }
    shared.drains.visit(|queue, since| {
        let oldest = pass.out[queue as usize].filter(|&(at, _)| at <= since);
        match oldest {
            None => pass.progress = true,
            Some(blocking) => {
                pass.waiting += 1;
                let oldest = &mut pass.oldest[queue as usize];
                *oldest = Some(oldest.map_or(blocking, |other| other.min(blocking)));
            }
        }
        oldest.is_none() || shared.queues[queue as usize].is_runaway()
    });
    if is_crowded {
        pass.waiting += 1;
        for (oldest, out) in pass.oldest.iter_mut().zip(&pass.out) {
            *oldest = [*oldest, *out].into_iter().flatten().min();
        }
    }
}

/// Calls those who wait for room, as far as nobody else does. Returns whether there are any.
fn look_after_waiters(shared: &Shared) -> bool {
    let (grace, bound) = (clock::ticks(shared.policy.dead_after), clock::ticks(shared.policy.lost_after));
    shared.waiters.any() && shared.waiters.look_after(clock::now(), grace, bound)
}

fn visit(shared: &Shared, lane: &Lane, index: u32) -> Seen {
    let seen =
        lane.visit(index, |queue, epoch| shared.queues[queue as usize].fate(epoch), |_| shared.ended(lane.slot(index)));
    match seen {
        Seen::Woken => lane.stats.event(Event::PollerWakes),
        Seen::Reaped => {
            lane.stats.event(Event::OrphansReaped);
            shared.room();
        }
        Seen::Waiting | Seen::PutBack | Seen::Gone => {}
    }
    seen
}

/// Watchdog and health: sees to it that queues that have stopped executing are recovered, and closed ones tried again.
fn look_after_queues(shared: &Arc<Shared>, pass: &Pass) {
    for (index, (queue, oldest)) in shared.queues.iter().zip(&pass.oldest).enumerate() {
        if let Some((at, epoch)) = *oldest {
            shared.seen_out(index as u32, at);
            shared.watch_over(queue, epoch, at);
        }
        if queue.is_suspicious() && !queue.is_attended() {
            if queue.is_alive() {
                queue.absolve();
            } else {
                queue.request_recovery(queue.epoch());
            }
        }
        if queue.needs_attention() && queue.begin_attending() {
            attend_aside(shared, index);
        }
    }
}

/// Has another thread attend to a queue: a driver may keep it for seconds, or for ever, and the other queues' futures are
/// waiting.
fn attend_aside(shared: &Arc<Shared>, index: usize) {
    let its = Arc::clone(shared);
    let attend = move || its.attend(index);
    if spawn("dsa-recovery", attend).is_err() {
        shared.attend(index);
    }
}

/// Sleeps until somebody rings; wakes up by itself while a queue waits to be tried again.
fn rest(shared: &Shared) {
    let closed = shared.queues.iter().any(|queue| !queue.is_open());
    shared.bell.sleep_unless(closed.then_some(PROBE), || {
        shared.is_stopping()
            || shared.drains.any()
            || shared.waiters.any()
            || shared.lanes.iter().any(|lane| !lane.watched.is_empty())
            || shared.queues.iter().any(|queue| queue.is_suspicious() || queue.needs_attention())
    });
}

/// Shutdown with operations still out. Says what may become of the memory when there is nothing more to be done.
fn wind_up(shared: &Arc<Shared>, since: u64, pass: &mut Pass) -> Option<Memory> {
    if clock::elapsed(since) < GRACE {
        return None;
    }
    for queue in &shared.queues {
        // A queue that cannot be quiesced keeps its slots, records and buffers for ever: leaked, never freed.
        queue.retire();
    }
    look(shared, pass);
    if pass.waiting == 0 {
        return Some(Memory::Freed);
    }
    shared.leak();
    Some(Memory::Kept)
}

/// The poller's hold on what devices write. If the thread ever died of a bug, nobody would know any more what is still
/// out, so everything would have to stay.
struct LeakOnPanic(Option<Arc<Shared>>);

impl LeakOnPanic {
    fn get(&self) -> &Arc<Shared> {
        self.0.as_ref().expect("held until `finish`")
    }

    /// Lets go, as the last: closing the queues may take a moment, which is not for the thread that dropped the last
    /// handle to spend. That one is in `Inner::drop`, and about to leave it.
    ///
    /// Others who may still be there are workers in the middle of a sweep, for which they hold the accelerator for a moment
    /// without a handle. One may have an orphan in its hands that it is about to put back, see [`super::watch`]. After the
    /// fence either it is seen here, or it sees in turn that the accelerator is being stopped, and does not begin
    /// ([`Shared::may_sweep`]).
    ///
    /// And there may be a thread that attends to a queue, and has not come back from the driver. It may be in there for ever;
    /// nobody can take the queue away from it, or know what the device does. So after [`RETIREMENT`] everything stays.
    fn finish(mut self, memory: Memory) -> End {
        if memory == Memory::Kept {
            // Dropping this hold would leave the memory to those who come back from a driver some day.
            return End::Finished(Memory::Kept);
        }
        let begun = clock::now();
        loop {
            fence(Ordering::SeqCst);
            if Arc::strong_count(self.get()) == 1 {
                // What the last of them did is seen: letting go was a release.
                fence(Ordering::Acquire);
                if self.get().lanes.iter().any(|lane| !lane.watched.is_empty()) {
                    return End::LeftOver(self);
                }
                // Not a plain drop: a worker that only asks whether it may sweep must not become the last.
                match self.0.take().map(Arc::try_unwrap) {
                    Some(Err(back)) => self.0 = Some(back),
                    ended => {
                        drop(ended);
                        return End::Finished(Memory::Freed);
                    }
                }
            } else if clock::elapsed(begun) > RETIREMENT {
                self.get().leak();
                return End::Finished(Memory::Kept);
            }
            sleep(LEAVE);
        }
    }
}

impl Drop for LeakOnPanic {
    fn drop(&mut self) {
        std::mem::forget(self.0.take());
    }
}
