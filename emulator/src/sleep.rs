//! How idle engines sleep, and how submitters wake them.
//!
//! An engine that finds nothing spins for a while, then parks. It (1) counts itself as parked and leaves the number of
//! spinning engines, (2) fences, (3) looks at its queues once more. A submitter (1) pushes, which is a sequentially consistent
//! exchange of the queue's tail, (2) looks, with an access of that kind, whether an engine is parked anywhere, and if so,
//! whether one of the queue's group spins. All these have one order, so at least one of the two sees the other, and no
//! wake-up is lost. What is pushed and not yet there counts for (3).
//!
//! The count of the whole device saves submitters a look at the group. It never falls below the number of engines that are
//! parked: an engine is counted before it can be woken, and whoever wakes it takes its count away.
//!
//! `loom_` tests below explore it: `RUSTFLAGS="--cfg dsa_loom" cargo test -p dsa-emulator --release --lib loom_`.

use std::sync::OnceLock;

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicUsize, Ordering, Thread, current, fence, park};

/// What engines and submitters of a device share about sleep.
pub(crate) struct Sleepers {
    groups: Box<[Group]>,
    /// Engines that are parked, in whatever group.
    parked: CachePadded<AtomicUsize>,
}

/// The engines that serve the same queues.
#[derive(Default)]
struct Group {
    spinning: CachePadded<AtomicUsize>,
    parked: CachePadded<AtomicUsize>,
}

/// One engine, as those who wake it see it.
pub(crate) struct Sleeper {
    /// 0, or the group in which the engine is parked, plus 1.
    parked: AtomicUsize,
    thread: OnceLock<Thread>,
}

impl Sleeper {
    pub(crate) fn new() -> Self {
        Self { parked: AtomicUsize::new(0), thread: OnceLock::new() }
    }

    /// To be called by the engine's thread, before it sleeps for the first time.
    pub(crate) fn is_this_thread(&self) {
        let _ = self.thread.set(current());
    }
}

impl Sleepers {
    pub(crate) fn new(groups: usize) -> Self {
        Self { groups: (0..groups).map(|_| Group::default()).collect(), parked: CachePadded::default() }
    }

    /// Has submitters always do something for what they have pushed, as if an engine were parked.
    pub(crate) fn always_wake(&self) {
        self.parked.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether somebody is parked, who may be needed for what this thread pushed before.
    #[inline]
    pub(crate) fn are_some_parked(&self) -> bool {
        // The model checker has no total order of accesses, only of fences.
        #[cfg(dsa_loom)]
        fence(Ordering::SeqCst);
        self.parked.load(Ordering::SeqCst) != 0
    }

    /// Wakes one engine of a group if one is parked there and none spins. [`are_some_parked`](Self::are_some_parked) comes
    /// before.
    pub(crate) fn wake_one<'a>(&self, group: usize, mut all: impl Iterator<Item = &'a Sleeper>) {
        let at = &self.groups[group];
        // All of these loads have their place in the one order; see the module.
        if at.parked.load(Ordering::SeqCst) != 0 && at.spinning.load(Ordering::SeqCst) == 0 {
            // One that has changed its group meanwhile is woken for nothing, which does no harm.
            let _ = all.any(|one| one.parked.load(Ordering::SeqCst) == group + 1 && self.wake(one) == Some(group));
        }
    }

    /// Wakes everybody, for what has been written before.
    pub(crate) fn wake_all<'a>(&self, all: impl Iterator<Item = &'a Sleeper>) {
        // Pairs with the fence of an engine about to park.
        fence(Ordering::SeqCst);
        all.for_each(|one| {
            self.wake(one);
        });
    }

    /// Wakes an engine if it is parked; gives the group in which it was.
    fn wake(&self, one: &Sleeper) -> Option<usize> {
        // Acquire: it has been counted before.
        let group = one.parked.swap(0, Ordering::AcqRel).checked_sub(1)?;
        self.left(group);
        if let Some(thread) = one.thread.get() {
            thread.unpark();
        }
        Some(group)
    }

    /// Counts one less that is parked, in the group where it was counted.
    fn left(&self, group: usize) {
        self.groups[group].parked.fetch_sub(1, Ordering::Relaxed);
        self.parked.fetch_sub(1, Ordering::Relaxed);
    }

    /// An engine begins to spin; it looks at its queues after that.
    pub(crate) fn spin(&self, group: usize) {
        self.groups[group].spinning.fetch_add(1, Ordering::SeqCst);
    }

    /// An engine stops spinning because it has found something. Others may have relied on it for more.
    pub(crate) fn stop_spinning(&self, group: usize) {
        self.groups[group].spinning.fetch_sub(1, Ordering::SeqCst);
    }

    /// Parks an engine that spins, until it is woken. `true` if it does not sleep, because it has found something: then it is
    /// as after [`stop_spinning`](Self::stop_spinning).
    pub(crate) fn sleep(&self, me: &Sleeper, group: usize, has_found: impl Fn() -> bool) -> bool {
        let at = &self.groups[group];
        at.parked.fetch_add(1, Ordering::Relaxed);
        self.parked.fetch_add(1, Ordering::Relaxed);
        // Release: whoever wakes this engine takes away what has been counted. (A store would do; but a model checker that
        // does not keep stores and exchanges in one order would see somebody's late exchange after it.)
        me.parked.swap(group + 1, Ordering::AcqRel);
        at.spinning.fetch_sub(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if has_found() {
            if me.parked.swap(0, Ordering::AcqRel) != 0 {
                self.left(group);
            }
            return true;
        }
        while me.parked.load(Ordering::Acquire) != 0 {
            park();
        }
        false
    }
}

#[cfg(all(test, dsa_loom))]
mod loom_tests {
    use std::sync::Arc;

    use super::*;
    use crate::sync::model;

    /// A device of engines, each alone in a group or not, and one word for each group's work.
    struct Device {
        sleepers: Sleepers,
        engines: Vec<Sleeper>,
        work: [AtomicUsize; 2],
    }

    impl Device {
        fn new(engines: usize) -> Arc<Self> {
            Arc::new(Self {
                sleepers: Sleepers::new(2),
                engines: (0..engines).map(|_| Sleeper::new()).collect(),
                work: [AtomicUsize::new(0), AtomicUsize::new(0)],
            })
        }

        /// An engine that ends when it has done one piece of work of its group.
        fn engine(self: &Arc<Self>, index: usize, group: usize) -> loom::thread::JoinHandle<()> {
            let device = Arc::clone(self);
            loom::thread::spawn(move || {
                let me = &device.engines[index];
                me.is_this_thread();
                while !device.take(group) {
                    device.sleepers.spin(group);
                    if device.has_work(group) {
                        device.sleepers.stop_spinning(group);
                        device.wake();
                    } else if device.sleepers.sleep(me, group, || device.has_work(group)) {
                        device.wake();
                    }
                }
            })
        }

        fn has_work(&self, group: usize) -> bool {
            self.work[group].load(Ordering::Acquire) != 0
        }

        fn take(&self, group: usize) -> bool {
            let work = &self.work[group];
            work.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1)).is_ok()
        }

        fn push(&self, group: usize) {
            self.work[group].fetch_add(1, Ordering::AcqRel);
            self.wake();
        }

        fn wake(&self) {
            if self.sleepers.are_some_parked() {
                for group in (0..2).filter(|group| self.has_work(*group)) {
                    self.sleepers.wake_one(group, self.engines.iter());
                }
            }
        }
    }

    /// The model checker fails if an engine sleeps for ever.
    #[test]
    fn loom_a_submission_is_noticed() {
        model(2, || {
            let device = Device::new(1);
            let engine = device.engine(0, 0);
            device.push(0);
            engine.join().unwrap();
        });
    }

    /// Two submissions at once, and two engines that each take one.
    #[test]
    fn loom_each_submission_finds_an_engine() {
        model(2, || {
            let device = Device::new(2);
            let engines = [device.engine(0, 0), device.engine(1, 0)];
            device.push(0);
            device.push(0);
            engines.into_iter().for_each(|engine| engine.join().unwrap());
        });
    }

    /// An engine of another group goes to sleep and is woken meanwhile: its count must not stand for somebody else's.
    #[test]
    fn loom_groups_do_not_disturb_each_other() {
        model(2, || {
            let device = Device::new(2);
            let engines = [device.engine(0, 0), device.engine(1, 1)];
            let everybody = {
                let device = Arc::clone(&device);
                loom::thread::spawn(move || device.sleepers.wake_all(device.engines.iter()))
            };
            device.push(0);
            device.push(1);
            everybody.join().unwrap();
            engines.into_iter().for_each(|engine| engine.join().unwrap());
        });
    }
}
