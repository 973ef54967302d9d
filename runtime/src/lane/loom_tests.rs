//! What loom explores: ownership of a slot, arming against sleeping, sweeping beside the poller, and the gate.
//!
//! Run with `RUSTFLAGS="--cfg dsa_loom" cargo test -p dsa-runtime --release --lib loom_`. A lost wake-up shows as a
//! deadlock, a double use of a cell as a causality violation, a leaked slot as a failed assertion.

use std::sync::atomic::{AtomicUsize as StdCounter, Ordering as StdOrdering};
use std::task::Poll;

use loom::sync::{Arc, Notify};
use loom::thread;

use super::gate::Gate;
use super::slot::State;
use super::sweep::{Effort, Swept};
use super::sync::{AtomicBool, AtomicU32, Ordering, UnsafeCell};
use super::watch::{Bell, WatchSet};
use super::{Fate, Lane, Seen};

/// Explores all executions with at most three preemptions: enough for every race here (a wrong order in any of the
/// protocols shows with two), and done in seconds. `LOOM_MAX_PREEMPTIONS` overrides it.
fn model(f: impl Fn() + Sync + Send + 'static) {
    model_within(3, f);
}

/// The same with at most so many preemptions, for models of three threads with much to do.
pub(super) fn model_within(preemptions: usize, f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    let count = std::sync::Arc::new(StdCounter::new(0));
    let executions = std::sync::Arc::clone(&count);
    builder.check(move || {
        executions.fetch_add(1, StdOrdering::Relaxed);
        f();
    });
    println!("{} executions", count.load(StdOrdering::Relaxed));
}

/// Lane, bell and the few things that in production live in queue and shared state.
struct World {
    lane: Lane,
    bell: Bell,
    epoch: AtomicU32,
    stop: AtomicBool,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            lane: Lane::new(1, 1, 0),
            bell: Bell::new(),
            epoch: AtomicU32::new(0),
            stop: AtomicBool::new(false),
        })
    }

    /// The poller's loop without its clock: look at what is watched, sleep if there is nothing, leave when told to and
    /// nothing is watched.
    fn poll(&self) -> usize {
        self.bell.adopt();
        let mut reaped = 0;
        loop {
            let stopping = self.stop.load(Ordering::Acquire);
            let mut waiting = false;
            self.lane.watched.for_each(|index| match self.visit(index) {
                Seen::Waiting | Seen::PutBack => waiting = true,
                Seen::Reaped => reaped += 1,
                Seen::Woken | Seen::Gone => {}
            });
            if waiting {
                thread::yield_now();
            } else if stopping {
                return reaped;
            } else {
                self.bell.sleep_unless(None, || self.stop.load(Ordering::Acquire) || !self.lane.watched.is_empty());
            }
        }
    }

    fn visit(&self, index: u32) -> Seen {
        let fate = |_, epoch| if self.epoch.load(Ordering::Acquire) == epoch { Fate::Open } else { Fate::Lost };
        self.lane.visit(index, fate, |_| {})
    }

    /// What a worker does before it parks, or beside a poll.
    fn sweep(&self) -> Swept {
        let fate = |_, epoch| if self.epoch.load(Ordering::Acquire) == epoch { Fate::Open } else { Fate::Lost };
        self.lane.watched.sweep(Effort::POLL, &self.bell, |index| self.lane.visit_held(index, fate))
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.bell.ring();
    }
}

/// Counts its drops.
struct Token(Arc<StdCounter>);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.fetch_add(1, StdOrdering::SeqCst);
    }
}

/// A future that is out of patience arms and waits; the device completes; the poller wakes it. No order of events may
/// leave it asleep.
#[test]
fn loom_an_armed_future_is_always_woken() {
    model(|| {
        let world = World::new();
        let (slot, _) = world.lane.acquire().unwrap();
        world.lane.reset_record(slot);
        let device = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.lane.complete(slot))
        };
        let poller = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.poll())
        };
        loom::future::block_on(std::future::poll_fn(|cx| {
            if world.lane.status(slot) == 0 {
                world.lane.slot(slot).waker.register(cx.waker());
                world.lane.watched.insert(slot);
                world.bell.ring();
                if world.lane.status(slot) == 0 {
                    return Poll::Pending;
                }
            }
            Poll::Ready(())
        }));
        world.lane.release(slot);
        world.stop();
        device.join().unwrap();
        assert_eq!(poller.join().unwrap(), 0);
        assert_eq!(world.lane.in_flight(), 0);
    });
}

/// The same when the device never completes and the queue is quiesced instead.
#[test]
fn loom_a_future_on_a_quiesced_queue_is_always_woken() {
    model(|| {
        let world = World::new();
        let (slot, _) = world.lane.acquire().unwrap();
        world.lane.slot(slot).stamp(0, 0, 0);
        let poller = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.poll())
        };
        let recovery = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                world.epoch.fetch_add(1, Ordering::AcqRel);
                world.bell.ring();
            })
        };
        loom::future::block_on(std::future::poll_fn(|cx| {
            let settled = || world.lane.status(slot) != 0 || world.epoch.load(Ordering::Acquire) != 0;
            if !settled() {
                world.lane.slot(slot).waker.register(cx.waker());
                world.lane.watched.insert(slot);
                world.bell.ring();
                if !settled() {
                    return Poll::Pending;
                }
            }
            Poll::Ready(())
        }));
        world.lane.release(slot);
        world.stop();
        recovery.join().unwrap();
        poller.join().unwrap();
        assert_eq!(world.lane.in_flight(), 0);
    });
}

/// A future is dropped while the device completes: what it leaves is dropped once, the slot comes back, and the poller
/// does not sleep through it.
#[test]
fn loom_an_orphan_is_reaped_once() {
    model(|| {
        let drops = Arc::new(StdCounter::new(0));
        let world = World::new();
        let (slot, _) = world.lane.acquire().unwrap();
        world.lane.reset_record(slot);
        let device = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.lane.complete(slot))
        };
        let poller = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.poll())
        };
        let token = Token(Arc::clone(&drops));
        if world.lane.status(slot) == 0 {
            world.lane.orphan(slot, Box::new(token));
            world.bell.ring();
        } else {
            drop(token);
            world.lane.release(slot);
        }
        world.stop();
        device.join().unwrap();
        poller.join().unwrap();
        assert_eq!(drops.load(StdOrdering::SeqCst), 1);
        assert_eq!(world.lane.in_flight(), 0);
        assert_eq!(world.lane.slot(slot).word().state(), State::Free);
    });
}

/// Two sweepers find the same completed orphan while the slot is being reused: one wins, the other does nothing, and
/// the new owner is not disturbed.
#[test]
fn loom_a_late_sweeper_leaves_the_next_owner_alone() {
    model(|| {
        let drops = Arc::new(StdCounter::new(0));
        let world = World::new();
        let (slot, _) = world.lane.acquire().unwrap();
        world.lane.reset_record(slot);
        world.lane.orphan(slot, Box::new(Token(Arc::clone(&drops))));
        world.lane.complete(slot);
        let late = {
            let world = Arc::clone(&world);
            thread::spawn(move || usize::from(world.visit(slot) == Seen::Reaped))
        };
        let reaped = usize::from(world.visit(slot) == Seen::Reaped);
        // Reuse at once, if this thread can get the slot: a descriptor is out, and its future has gone too.
        let reused = world.lane.acquire().map(|(index, _)| index);
        if let Some(slot) = reused {
            world.lane.reset_record(slot);
            world.lane.orphan(slot, Box::new(Token(Arc::clone(&drops))));
        }
        let reaped = reaped + late.join().unwrap();
        // The second orphan's device has not completed, so nobody may have touched it.
        assert_eq!(reaped, 1);
        assert_eq!(drops.load(StdOrdering::SeqCst), 1);
        assert_eq!(world.lane.in_flight(), usize::from(reused.is_some()));
    });
}

/// A slot changes hands while the poller clears its stale bit: the new owner's arming is not lost.
#[test]
fn loom_clearing_a_stale_bit_does_not_lose_the_next_arming() {
    model(|| {
        let world = World::new();
        let (slot, _) = world.lane.acquire().unwrap();
        // Armed once and completed by its own second look: the bit stays behind.
        world.lane.watched.insert(slot);
        world.lane.release(slot);
        let sweeper = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                world.visit(slot);
            })
        };
        let (slot, _) = world.lane.acquire().unwrap();
        world.lane.reset_record(slot);
        world.lane.orphan(slot, Box::new(()));
        sweeper.join().unwrap();
        assert!(!world.lane.watched.is_empty(), "nobody looks after the second orphan");
    });
}

/// A future that is armed and complete is dropped while the poller wakes it, and its slot is resubmitted and orphaned:
/// the poller's clearing of the bit does not leave the orphan unwatched.
#[test]
fn loom_an_orphan_stays_watched_while_the_poller_wakes() {
    model(|| {
        let world = World::new();
        let (slot, _) = world.lane.acquire().unwrap();
        world.lane.reset_record(slot);
        world.lane.watched.insert(slot);
        world.lane.complete(slot);
        let poller = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.visit(slot))
        };
        // The next piece goes out from the same slot, and then the future is dropped.
        world.lane.reset_record(slot);
        world.lane.orphan(slot, Box::new(()));
        let seen = poller.join().unwrap();
        assert_ne!(seen, Seen::Reaped, "the device still has it");
        assert!(!world.lane.watched.is_empty(), "nobody looks after the orphan: {seen:?}");
    });
}

/// A worker sweeps while the poller looks: whoever takes the slot out of the set wakes the future, and neither keeps the other
/// from it. A waking too many costs the future a poll.
#[test]
fn loom_a_sweep_beside_the_poller_loses_no_wake_up() {
    model_within(2, || {
        let world = World::new();
        let (slot, _) = world.lane.acquire().unwrap();
        world.lane.reset_record(slot);
        let worker = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                world.lane.complete(slot);
                world.sweep();
            })
        };
        let poller = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.poll())
        };
        loom::future::block_on(std::future::poll_fn(|cx| {
            if world.lane.status(slot) == 0 {
                world.lane.slot(slot).waker.register(cx.waker());
                world.lane.watched.insert(slot);
                world.bell.ring();
                if world.lane.status(slot) == 0 {
                    return Poll::Pending;
                }
            }
            Poll::Ready(())
        }));
        world.lane.release(slot);
        worker.join().unwrap();
        world.stop();
        assert_eq!(poller.join().unwrap(), 0);
        assert_eq!((world.lane.in_flight(), world.lane.watched.armed()), (0, 0));
    });
}

/// Two workers and nobody else find a completed operation: it is woken, and nothing is left in the set.
#[test]
fn loom_two_sweeps_wake_what_is_complete() {
    model(|| {
        let world = World::new();
        let (slot, _) = world.lane.acquire().unwrap();
        world.lane.reset_record(slot);
        let woken = Arc::new(AtomicBool::new(false));
        world.lane.slot(slot).waker.register(&waker(&woken));
        world.lane.watched.insert(slot);
        world.lane.complete(slot);
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.sweep())
        };
        let (swept, other) = (world.sweep(), other.join().unwrap());
        assert!(woken.load(Ordering::Acquire), "{swept:?} {other:?}");
        assert_eq!((swept.waiting, other.waiting, world.lane.watched.armed()), (0, 0, 0));
    });
}

/// A worker takes the slot of a completed operation out of the set, and puts it back, because the next descriptor of the slot is
/// an orphan by now. The poller does not sleep through it.
#[test]
fn loom_an_orphan_that_a_sweep_puts_back_is_reaped() {
    /// Tells of its drop.
    struct Announced(Arc<Notify>);

    impl Drop for Announced {
        fn drop(&mut self) {
            self.0.notify();
        }
    }

    model_within(2, || {
        let dropped = Arc::new(Notify::new());
        let world = World::new();
        let (slot, _) = world.lane.acquire().unwrap();
        world.lane.reset_record(slot);
        world.lane.watched.insert(slot);
        world.lane.complete(slot);
        let worker = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.sweep())
        };
        let poller = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.poll())
        };
        // The next piece goes out from the same slot, and then the future is dropped.
        world.lane.reset_record(slot);
        world.lane.orphan(slot, Box::new(Announced(Arc::clone(&dropped))));
        world.bell.ring();
        world.lane.complete(slot);
        // Nobody rings any more, except for the worker.
        dropped.wait();
        worker.join().unwrap();
        world.stop();
        assert_eq!(poller.join().unwrap(), 1);
        assert_eq!((world.lane.in_flight(), world.lane.watched.armed()), (0, 0));
    });
}

/// However changes overlap, in the end as many are counted as there are.
#[test]
fn loom_the_count_of_the_armed_is_exact() {
    model(|| {
        let set = Arc::new(WatchSet::new(2));
        set.insert(0);
        let other = {
            let set = Arc::clone(&set);
            thread::spawn(move || {
                set.remove(0);
                set.insert(1);
                set.remove(0);
            })
        };
        set.insert(0);
        set.remove(1);
        set.insert(0);
        other.join().unwrap();
        let mut left = 0;
        set.for_each(|_| left += 1);
        assert_eq!(set.armed(), left);
        assert_eq!(set.is_empty(), left == 0);
    });
}

/// A waker that sets a flag.
fn waker(flag: &Arc<AtomicBool>) -> std::task::Waker {
    struct Flag(Arc<AtomicBool>);
    impl std::task::Wake for Flag {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.store(true, Ordering::Release);
        }
    }
    std::sync::Arc::new(Flag(Arc::clone(flag))).into()
}

/// Nobody submits after the gate has been closed and found empty.
#[test]
fn loom_a_closed_gate_keeps_submitters_out() {
    model(|| {
        let gate = Arc::new(Gate::new(1));
        let portal = Arc::new(UnsafeCell::new(0u32));
        let submitter = {
            let (gate, portal) = (Arc::clone(&gate), Arc::clone(&portal));
            thread::spawn(move || {
                if let Some(inside) = gate.enter(gate.entrance(0)) {
                    // SAFETY: loom checks the claim that is made here: nobody else is in.
                    portal.with_mut(|value| unsafe { *value += 1 });
                    inside.leave();
                }
            })
        };
        assert!(gate.close(true));
        // SAFETY: as above.
        portal.with_mut(|value| unsafe { *value += 1 });
        submitter.join().unwrap();
    });
}

/// Whoever has a slot has it alone, and sees what the last holder did with it; nothing gets lost.
#[test]
fn loom_a_slot_is_taken_by_one_at_a_time() {
    model(|| {
        let list = Arc::new(super::free::FreeList::new(2));
        let cells = Arc::new([UnsafeCell::new(0), UnsafeCell::new(0)]);
        let use_one = |list: &super::free::FreeList, cells: &[UnsafeCell<u32>; 2]| {
            let Some(index) = list.pop() else { return };
            cells[index as usize].with_mut(|value| {
                // SAFETY: loom finds out whether another thread is at it.
                unsafe { *value += 1 };
            });
            list.push(index);
        };
        let others: Vec<_> = (0..2)
            .map(|_| {
                let (list, cells) = (Arc::clone(&list), Arc::clone(&cells));
                thread::spawn(move || use_one(&list, &cells))
            })
            .collect();
        use_one(&list, &cells);
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(list.taken(), 0);
        assert!(list.pop().is_some() && list.pop().is_some() && list.pop().is_none());
    });
}
