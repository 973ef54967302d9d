//! What loom explores of collecting: a staged slot goes its way once, whoever else is about to send it, take it back or give it up.

use std::sync::atomic::{AtomicUsize as StdCounter, Ordering as StdOrdering};

use idxd_sys::{Descriptor, opcode};
use loom::sync::Arc;
use loom::thread;

use super::collect::Link;
use super::gate::Gate;
use super::loom_tests::model_within as model;
use super::slot::With;
use super::sync::{AtomicU32, AtomicUsize, Ordering};
use super::{Fate, Lane, Seen};

/// A lane, and what a queue has of it.
struct World {
    lane: Lane,
    gate: Gate,
    epoch: AtomicU32,
    /// Whether the queue takes anything.
    takes: bool,
    sent: AtomicUsize,
    credits: AtomicUsize,
}

impl World {
    fn new(slots: usize, takes: bool) -> Arc<Self> {
        Arc::new(Self {
            lane: Lane::new(slots, 2, 1),
            gate: Gate::new(1),
            epoch: AtomicU32::new(0),
            takes,
            sent: AtomicUsize::new(0),
            credits: AtomicUsize::new(0),
        })
    }

    fn stage(&self) -> u32 {
        let (slot, place) = self.lane.acquire().unwrap();
        place.reset_record();
        place.slot.stamp_staged(0, 1);
        // SAFETY: the descriptor names no memory.
        unsafe { self.lane.collector.stage(slot) };
        slot
    }

    /// What a future does that is polled again.
    fn send_staged(&self, slot: u32) {
        if !self.lane.collector.flush(&self.lane, self) {
            self.lane.collector.send_alone(&self.lane, self, slot);
        }
    }

    fn fate(&self, epoch: u32) -> Fate {
        if self.epoch.load(Ordering::Acquire) == epoch { Fate::Open } else { Fate::Lost }
    }

    fn is_over(&self, slot: u32) -> bool {
        self.lane.status(slot) != 0 || self.lane.slot(slot).fate(|_, epoch| self.fate(epoch)) == Fate::Lost
    }

    /// What a holder does who has seen the end.
    fn release(&self, slot: u32) {
        if self.lane.slot(slot).stamped().has_credit() {
            self.credits.fetch_sub(1, Ordering::Relaxed);
        }
        self.lane.release(slot);
    }

    /// One look of the poller.
    fn visit(&self, slot: u32) -> Seen {
        self.lane.visit(
            slot,
            |_, epoch| self.fate(epoch),
            |stamp| {
                self.credits.fetch_sub(usize::from(stamp.has_credit()), Ordering::Relaxed);
            },
        )
    }
}

impl Link for World {
    fn queue(&self) -> u32 {
        0
    }

    fn now(&self) -> u64 {
        3
    }

    fn least(&self) -> usize {
        2
    }

    fn batch(&self, _list: u64, count: u32, _record: u64) -> Option<Descriptor> {
        Some(Descriptor { flags_opcode: u32::from(opcode::BATCH) << 24, xfer_size: count, ..Descriptor::default() })
    }

    unsafe fn send(&self, descriptors: &[Descriptor], stamp: impl FnOnce(u32), refuse: impl FnOnce(usize)) {
        let Some(inside) = self.gate.enter(self.gate.entrance(0)) else { return refuse(0) };
        stamp(self.epoch.load(Ordering::Relaxed));
        if self.takes {
            for descriptor in descriptors {
                let members = if descriptor.opcode() == opcode::BATCH { descriptor.xfer_size } else { 1 };
                self.sent.fetch_add(members as usize, Ordering::Relaxed);
                self.credits.fetch_add(1, Ordering::Relaxed);
            }
        } else {
            refuse(0);
        }
        inside.leave();
    }

    fn inside(&self, epoch: u32, f: impl FnOnce()) {
        let Some(inside) = self.gate.enter(self.gate.entrance(0)) else { return };
        if self.epoch.load(Ordering::Acquire) == epoch {
            f();
        }
        inside.leave();
    }

    fn is_lost(&self, epoch: u32) -> bool {
        self.fate(epoch) == Fate::Lost
    }

    fn return_credit(&self) {
        self.credits.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts its drops.
struct Token(Arc<StdCounter>);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.fetch_add(1, StdOrdering::SeqCst);
    }
}

/// A holder that goes away takes its slot back, or somebody has sent it.
#[test]
fn loom_a_staged_slot_is_sent_or_taken_back() {
    model(3, || {
        let world = World::new(2, true);
        let (first, second) = (world.stage(), world.stage());
        let flusher = {
            let world = Arc::clone(&world);
            thread::spawn(move || assert!(world.lane.collector.flush(&world.lane, &*world)))
        };
        let back = world.lane.collector.unstage(first);
        flusher.join().unwrap();
        assert_eq!(world.sent.load(Ordering::Relaxed), if back { 1 } else { 2 });
        let with = |slot| world.lane.slot(slot).stamped().with();
        assert_eq!(with(second), if back { With::Device } else { With::List });
        assert_eq!(with(first), if back { With::Lane } else { With::List });
        assert!(world.lane.collector.is_empty());
    });
}

/// Two that are polled again at the same time, and both want to send: each slot is sent once, and nobody waits.
#[test]
fn loom_two_that_send_leave_nobody_behind() {
    model(3, || {
        let world = World::new(2, true);
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                let slot = world.stage();
                world.send_staged(slot);
            })
        };
        let slot = world.stage();
        world.send_staged(slot);
        other.join().unwrap();
        assert_eq!(world.sent.load(Ordering::Relaxed), 2);
        assert!(world.lane.collector.is_empty());
        let ended = |slot| matches!(world.lane.slot(slot).stamped().with(), With::Device | With::List);
        assert!(ended(0) && ended(1));
    });
}

/// One who comes while another sends does not get in, however often it tries.
#[test]
fn loom_one_sends_at_a_time() {
    model(3, || {
        let world = World::new(2, true);
        world.stage();
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.lane.collector.flush(&world.lane, &*world))
        };
        // The book is a cell that loom watches: two who are at it at the same time are found out.
        for _ in 0..2 {
            world.lane.collector.reap(&world.lane, &*world);
        }
        let a = other.join().unwrap();
        let b = world.lane.collector.flush(&world.lane, &*world);
        assert_eq!(
            world.sent.load(Ordering::Relaxed),
            1,
            "{a} {b} {:?} {:?}",
            world.lane.collector.first(),
            world.lane.collector.is_empty()
        );
    });
}

/// The queue takes nothing, and the future is dropped meanwhile: the slot comes back once, its buffers are dropped once, and
/// no place in the queue is given back that was never taken.
#[test]
fn loom_a_refused_slot_comes_back_once() {
    model(3, || {
        let drops = Arc::new(StdCounter::new(0));
        let world = World::new(1, false);
        let slot = world.stage();
        let flusher = {
            let world = Arc::clone(&world);
            thread::spawn(move || assert!(world.lane.collector.flush(&world.lane, &*world)))
        };
        if world.lane.collector.unstage(slot) || world.is_over(slot) {
            world.release(slot);
        } else {
            world.lane.orphan(slot, Box::new(Token(Arc::clone(&drops))));
            while world.visit(slot) == Seen::Waiting {
                thread::yield_now();
            }
            assert_eq!(drops.load(StdOrdering::SeqCst), 1);
        }
        flusher.join().unwrap();
        assert_eq!((world.lane.in_flight(), world.credits.load(Ordering::Relaxed)), (0, 0));
    });
}

/// A refusal beside a recovery of the queue: nobody takes it for a descriptor that went down with the queue, and finds the slot
/// changed afterwards.
#[test]
fn loom_a_refusal_is_not_taken_for_a_loss() {
    model(3, || {
        let world = World::new(1, false);
        let slot = world.stage();
        let flusher = {
            let world = Arc::clone(&world);
            thread::spawn(move || assert!(world.lane.collector.flush(&world.lane, &*world)))
        };
        let recovery = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                assert!(world.gate.close(true));
                world.epoch.fetch_add(1, Ordering::AcqRel);
            })
        };
        let mut flusher = Some(flusher);
        if !world.is_over(slot) {
            flusher.take().unwrap().join().unwrap();
            assert!(world.is_over(slot));
        }
        // As `Submission::look` does: a loss is believed only if there is still no record.
        let lost = world.lane.status(slot) == 0;
        world.release(slot);
        // The next one has the slot, and nothing of the last is written into it.
        let (again, place) = world.lane.acquire().unwrap();
        assert_eq!(again, slot);
        place.reset_record();
        if let Some(flusher) = flusher {
            flusher.join().unwrap();
        }
        recovery.join().unwrap();
        assert!(!lost, "nothing was with the device");
        assert_eq!((place.record.status(), world.credits.load(Ordering::Relaxed)), (0, 0));
    });
}

/// A batch ends without one of its members, whose holder is told so, while the other one's slot is in use again.
#[test]
fn loom_only_what_the_batch_has_left_out_is_given_up() {
    model(2, || {
        let world = World::new(2, true);
        let (first, second) = (world.stage(), world.stage());
        assert!(world.lane.collector.flush(&world.lane, &*world));
        let device = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                world.lane.complete(first);
                world.lane.collector.fail_list(0);
            })
        };
        let reaper = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.lane.collector.reap(&world.lane, &*world))
        };
        let mut device = Some(device);
        if !world.is_over(first) {
            device.take().unwrap().join().unwrap();
        }
        world.release(first);
        let (again, place) = world.lane.acquire().unwrap();
        assert_eq!(again, first);
        place.reset_record();
        place.slot.stamp(0, 0, 2);
        if let Some(device) = device {
            device.join().unwrap();
        }
        if !reaper.join().unwrap() {
            assert!(world.lane.collector.reap(&world.lane, &*world));
        }
        assert_eq!((place.record.status(), world.credits.load(Ordering::Relaxed)), (0, 0));
        assert!(world.is_over(second));
        assert_eq!(world.lane.slot(second).stamped().with(), With::Nobody);
        world.release(second);
    });
}

/// A member has ended for the moment, and its holder sends the rest from the same slot, while the batch is found to have failed.
#[test]
fn loom_what_is_sent_again_is_not_given_up() {
    model(3, || {
        let world = World::new(2, true);
        let (first, second) = (world.stage(), world.stage());
        assert!(world.lane.collector.flush(&world.lane, &*world));
        world.lane.complete(first);
        world.lane.complete(second);
        world.lane.collector.fail_list(0);
        let reaper = {
            let world = Arc::clone(&world);
            thread::spawn(move || assert!(world.lane.collector.reap(&world.lane, &*world)))
        };
        assert!(world.is_over(first));
        let place = world.lane.place(first);
        place.reset_record();
        place.slot.stamp(0, 0, 2);
        reaper.join().unwrap();
        assert_eq!((place.record.status(), place.slot.stamped().with()), (0, With::Device));
    });
}
