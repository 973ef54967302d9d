//! The backstop poller: one thread per accelerator that makes sure no operation goes unwatched (invariant 7).
//!
//! It looks only at slots that somebody armed: futures that have used up their own looking time, and orphans. With
//! nothing armed it sleeps on a futex and costs nothing. It is also the watchdog: a slot that has been out for too
//! long makes it ask whether the queue is alive, and in the end quiesce it, after which the operation is either
//! complete or certain never to be.

use std::sync::Arc;
use std::time::Duration;

use super::{Lane, Seen};
use crate::clock;
use crate::device::Queue;
use crate::shared::Shared;
use crate::stats::Event;

/// How long the poller looks without a pause after the last completion it saw.
const SPIN: Duration = Duration::from_micros(20);

/// First and longest pause between looks once it has stopped spinning.
const SHORTEST_NAP: Duration = Duration::from_micros(20);
const LONGEST_NAP: Duration = Duration::from_millis(1);

/// How often it looks at a queue that is closed, with nothing else to do.
const PROBE: Duration = Duration::from_millis(50);

/// How long a shutdown waits for orphans by itself before it quiesces the queues.
const GRACE: Duration = Duration::from_millis(100);

/// What one pass over the watched slots found.
struct Pass {
    waiting: usize,
    progress: bool,
    /// By queue: submission time and epoch of the oldest among those still waiting.
    oldest: Vec<Option<(u64, u32)>>,
}

/// Runs until [`Shared::stop`] has been called and nothing is left to watch.
pub(crate) fn run(shared: Arc<Shared>) {
    let shared = LeakOnPanic(Some(shared));
    shared.get().bell.adopt();
    watch(shared.get());
    shared.finish();
}

fn watch(shared: &Arc<Shared>) {
    let mut pass = Pass { waiting: 0, progress: false, oldest: vec![None; shared.queues.len()] };
    let mut quiet_since = clock::now();
    let mut nap = SHORTEST_NAP;
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
        if pass.waiting == 0 {
            rest(shared);
            quiet_since = clock::now();
            nap = SHORTEST_NAP;
        } else if pass.progress {
            quiet_since = clock::now();
            nap = SHORTEST_NAP;
        } else if clock::elapsed(quiet_since) < SPIN {
            // Not `spin_loop`: with few cores the thread that would be kept waiting may be the one that is waited for.
            std::thread::yield_now();
        } else {
            // Whoever arms meanwhile rings, and is looked after at once; what is armed already can wait this long.
            shared.bell.sleep_unless(Some(nap), || false);
            nap = (nap * 2).min(LONGEST_NAP);
        }
    }
}

/// One pass over every watched slot of every lane.
fn look(shared: &Shared, pass: &mut Pass) {
    pass.waiting = 0;
    pass.progress = false;
    pass.oldest.fill(None);
    for lane in &shared.lanes {
        lane.watched.for_each(|index| match visit(shared, lane, index) {
            Seen::Waiting => {
                pass.waiting += 1;
                let (queue, epoch, at) = lane.slot(index).stamped();
                let oldest = &mut pass.oldest[queue as usize];
                if oldest.is_none_or(|(oldest, _)| at < oldest) {
                    *oldest = Some((at, epoch));
                }
            }
            Seen::Woken | Seen::Reaped => pass.progress = true,
            Seen::Gone => {}
        });
    }
}

fn visit(shared: &Shared, lane: &Lane, index: u32) -> Seen {
    let seen = lane.visit(
        index,
        |queue, epoch| shared.queues[queue as usize].fate(epoch),
        |queue| shared.queues[queue as usize].return_credit(),
    );
    match seen {
        Seen::Woken => lane.stats.event(Event::PollerWakes),
        Seen::Reaped => lane.stats.event(Event::OrphansReaped),
        Seen::Waiting | Seen::Gone => {}
    }
    seen
}

/// Watchdog and health: recovers queues that have stopped executing, tries closed ones again.
fn look_after_queues(shared: &Shared, pass: &Pass) {
    for (queue, oldest) in shared.queues.iter().zip(&pass.oldest) {
        if let Some((at, epoch)) = *oldest {
            shared.watch_over(queue, epoch, at);
        }
        if queue.is_suspicious() {
            if queue.is_alive() {
                queue.absolve();
            } else {
                shared.recover(queue, queue.epoch());
            }
        }
        if queue.is_runaway() {
            // Tries again, about once a second.
            shared.recover(queue, queue.epoch());
        }
        queue.probe();
    }
}

/// Sleeps until somebody rings; wakes up by itself while a queue waits to be tried again.
fn rest(shared: &Shared) {
    let closed = shared.queues.iter().any(|queue| !queue.is_open());
    shared.bell.sleep_unless(closed.then_some(PROBE), || {
        shared.is_stopping()
            || shared.lanes.iter().any(|lane| !lane.watched.is_empty())
            || shared.queues.iter().any(Queue::is_suspicious)
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
    fn finish(mut self) {
        while Arc::strong_count(self.get()) > 1 && self.get().leaked() == 0 {
            std::thread::yield_now();
        }
        drop(self.0.take());
    }
}

impl Drop for LeakOnPanic {
    fn drop(&mut self) {
        std::mem::forget(self.0.take());
    }
}
