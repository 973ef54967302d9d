//! The backstop poller: one thread per accelerator that makes sure no operation goes unwatched (invariant 7).
//!
//! It looks only at slots that somebody armed: futures that have used up their own looking time, and orphans. With
//! nothing armed it sleeps on a futex and costs nothing; with something armed it waits the way the accelerator has chosen
//! ([`super::wait`]) before it sleeps for longer and longer. It is also the watchdog: a slot that has been out for too
//! long makes it ask whether the queue is alive, and in the end quiesce it, after which the operation is either
//! complete or certain never to be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::task::{Context, Poll};
use std::time::Duration;

use atomic_waker::AtomicWaker;

use super::slot::With;
use super::wait::{Pace, Step};
use super::{Lane, Seen, contain};
use crate::clock;
use crate::shared::Shared;
use crate::stats::Event;

/// How often it looks at a queue that is closed, with nothing else to do.
const PROBE: Duration = Duration::from_millis(50);

/// How long a shutdown waits for orphans by itself before it quiesces the queues.
const GRACE: Duration = Duration::from_millis(100);

/// How long what a lane has collected may wait for somebody to send it, while the poller is awake; and how long a member of a
/// batch is waited for before somebody asks what has become of the batch.
const TICK: Duration = Duration::from_micros(50);

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
    let _end = AnnounceEnd(Arc::clone(&shared.poller));
    let mut shared = LeakOnPanic(Some(shared));
    shared.get().bell.adopt();
    loop {
        watch(shared.get());
        match shared.finish() {
            End::Finished => return,
            End::LeftOver(back) => shared = back,
        }
    }
}

/// How [`LeakOnPanic::finish`] ended.
enum End {
    Finished,
    /// Something is watched after all.
    LeftOver(LeakOnPanic),
}

/// Whether an accelerator's poller runs, for whoever waits until it does not.
pub(crate) struct Running {
    running: AtomicBool,
    waker: AtomicWaker,
}

impl Running {
    /// There is no poller yet.
    pub(crate) fn new() -> Self {
        Self { running: AtomicBool::new(false), waker: AtomicWaker::new() }
    }

    /// There will be one. Before it is started.
    pub(crate) fn begin(&self) {
        self.running.store(true, Ordering::Release);
    }

    /// Waits until it has ended. One task at a time.
    pub(crate) fn poll_ended(&self, cx: &Context<'_>) -> Poll<()> {
        // Registered before the look: an end after the look finds the waker.
        self.waker.register(cx.waker());
        if self.running.load(Ordering::Acquire) { Poll::Pending } else { Poll::Ready(()) }
    }
}

struct AnnounceEnd(Arc<Running>);

impl Drop for AnnounceEnd {
    fn drop(&mut self) {
        self.0.running.store(false, Ordering::Release);
        contain(|| self.0.waker.wake());
    }
}

fn watch(shared: &Arc<Shared>) {
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
            if pass.waiting == 0 || !wind_up(shared, since, &mut pass) {
                return;
            }
        }
        match pace.next(clock::now(), pass.waiting, pass.progress) {
            Step::Rest => {
                rest(shared);
                pace.rested(clock::now());
            }
            Step::Look => {}
            // Not `spin_loop`: with few cores the thread that would be kept waiting may be the one that is waited for.
            Step::Yield => std::thread::yield_now(),
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
        std::thread::yield_now();
        return;
    };
    let lane = &shared.lanes[lane];
    let is_complete = || lane.status(index) != 0;
    // The kernel takes a thread that waits so for a busy one. With few cores, see above.
    std::thread::yield_now();
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
        shared.flush_stale(number as u32, tick);
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
    let seen = lane.visit(
        index,
        |queue, epoch| shared.queues[queue as usize].fate(epoch),
        |queue| shared.queues[queue as usize].return_credit(),
    );
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
    if std::thread::Builder::new().name("dsa-recovery".into()).spawn(attend).is_err() {
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

/// Shutdown with operations still out. Returns false when there is nothing more to be done.
fn wind_up(shared: &Arc<Shared>, since: u64, pass: &mut Pass) -> bool {
    if clock::elapsed(since) < GRACE {
        return true;
    }
    for queue in &shared.queues {
        // A queue that cannot be quiesced keeps its slots, records and buffers for ever: leaked, never freed.
        queue.retire();
    }
    look(shared, pass);
    if pass.waiting > 0 {
        shared.leak();
        // Never dropped again: records and descriptors stay where the device may write.
        std::mem::forget(Arc::clone(shared));
    }
    false
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
    fn finish(mut self) -> End {
        loop {
            if self.get().leaked() != 0 {
                drop(self.0.take());
                return End::Finished;
            }
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
                        return End::Finished;
                    }
                }
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }
}

impl Drop for LeakOnPanic {
    fn drop(&mut self) {
        std::mem::forget(self.0.take());
    }
}
