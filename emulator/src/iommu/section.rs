//! Sections: accesses of devices in progress, and how to wait until those that began before have ended.
//!
//! A section is counted in one of two classes. Whoever waits changes the class of new sections and waits for the other to
//! empty, so new ones do not keep it from ending. A section may read the class, be held up, and count itself in one
//! that was closed meanwhile; so the next wait begins with what is left of the class that the last one closed.
//!
//! **Why it holds.** A section counts itself, then takes the lock of the translation caches to translate. Whoever takes a
//! page away removes it under that lock, then waits. If the section's lock came first, its count comes before the removal,
//! by that lock, and the wait sees it. If it came second, the section does not find the page. The release at the end of
//! a section and the acquire of the wait make the device's accesses come before what follows the wait.
//!
//! **No lost wake-up.** Whoever waits puts a mark into the counter itself. The section that leaves the mark alone in
//! there is the last one; it takes the lock under which the other went to sleep, and wakes it.
//!
//! `loom_` tests below explore all of it: `RUSTFLAGS="--cfg dsa_loom" cargo test -p dsa-emulator --release --lib loom_`.

use std::sync::PoisonError;

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicUsize, Condvar, Mutex, Ordering};

/// In a counter: somebody waits for it to fall to 0.
const AWAITED: usize = 1 << (usize::BITS - 1);

/// See the module.
#[derive(Debug)]
pub(crate) struct Sections {
    active: [CachePadded<AtomicUsize>; 2],
    /// The class of new sections.
    class: AtomicUsize,
    /// Held by whoever waits, from the beginning to the end: one at a time.
    turn: Mutex<()>,
    /// Held to go to sleep, and to wake the sleeper.
    sleep: Mutex<()>,
    ended: Condvar,
}

impl Default for Sections {
    fn default() -> Self {
        Self::new()
    }
}

impl Sections {
    pub(crate) fn new() -> Self {
        Self {
            active: [CachePadded::new(AtomicUsize::new(0)), CachePadded::new(AtomicUsize::new(0))],
            class: AtomicUsize::new(0),
            turn: Mutex::new(()),
            sleep: Mutex::new(()),
            ended: Condvar::new(),
        }
    }

    /// Begins a section and returns its class.
    #[inline]
    pub(crate) fn begin(&self) -> usize {
        let class = self.class.load(Ordering::Relaxed);
        // Relaxed: the lock of the caches orders it, see above.
        self.active[class].fetch_add(1, Ordering::Relaxed);
        class
    }

    /// Ends a section of a class.
    #[inline]
    pub(crate) fn end(&self, class: usize) {
        if self.active[class & 1].fetch_sub(1, Ordering::Release) == AWAITED + 1 {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        // Whoever has put the mark there held this lock, and gives it up to sleep: it sleeps by now, or has seen the count.
        drop(self.sleep.lock().unwrap_or_else(PoisonError::into_inner));
        self.ended.notify_one();
    }

    /// Returns when all sections that began before the call have ended. Not to be called inside one.
    pub(crate) fn wait(&self) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let class = self.class.load(Ordering::Relaxed);
        self.wait_for(1 - class);
        self.class.store(1 - class, Ordering::Relaxed);
        self.wait_for(class);
    }

    fn wait_for(&self, class: usize) {
        let active = &self.active[class];
        if active.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut sleep = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
        active.fetch_or(AWAITED, Ordering::Relaxed);
        while active.load(Ordering::Acquire) != AWAITED {
            sleep = self.ended.wait(sleep).unwrap_or_else(PoisonError::into_inner);
        }
        // A section that was held up may have counted itself meanwhile, and stays.
        active.fetch_and(!AWAITED, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(dsa_loom)))]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn a_wait_ends_with_the_sections_before_it_and_not_with_later_ones() {
        let sections = Sections::new();
        sections.wait();
        let before = sections.begin();
        let returned = AtomicBool::new(false);
        std::thread::scope(|s| {
            let waiter = s.spawn(|| {
                sections.wait();
                returned.store(true, Ordering::SeqCst);
            });
            // The wait has begun when new sections are of the other class.
            let mut after = sections.begin();
            while after == before {
                sections.end(after);
                std::thread::yield_now();
                after = sections.begin();
            }
            assert!(!returned.load(Ordering::SeqCst));
            sections.end(before);
            waiter.join().unwrap();
            sections.end(after);
        });
        sections.wait();
    }

    #[test]
    fn many_sections_and_many_waits_end() {
        let sections = Sections::new();
        std::thread::scope(|s| {
            for _ in 0..3 {
                s.spawn(|| {
                    for _ in 0..2000 {
                        let section = sections.begin();
                        sections.end(section);
                    }
                });
            }
            for _ in 0..2 {
                s.spawn(|| (0..500).for_each(|_| sections.wait()));
            }
        });
        assert!(sections.active.iter().all(|n| n.load(Ordering::Relaxed) == 0));
    }
}

#[cfg(all(test, dsa_loom))]
mod loom_tests {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    use super::*;
    use crate::sync::model;

    /// A page, and whether it is mapped.
    struct Machine {
        sections: Sections,
        mapped: [Mutex<bool>; 2],
        pages: [UnsafeCell<usize>; 2],
    }

    impl Machine {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                sections: Sections::new(),
                mapped: [Mutex::new(true), Mutex::new(true)],
                pages: [UnsafeCell::new(0), UnsafeCell::new(0)],
            })
        }

        /// What an engine does.
        fn access(&self, page: usize) {
            let section = self.sections.begin();
            let mapped = *self.mapped[page].lock().unwrap();
            if mapped {
                // Loom reports an access that is not ordered with the others.
                self.pages[page].with_mut(|_| ());
            }
            self.sections.end(section);
        }

        /// What system software does: afterwards the page is its own.
        fn unmap(&self, page: usize) {
            *self.mapped[page].lock().unwrap() = false;
            self.sections.wait();
            self.pages[page].with_mut(|_| ());
        }
    }

    #[test]
    fn loom_no_access_comes_after_an_unmap() {
        model(3, || {
            let machine = Machine::new();
            let engine = {
                let machine = Arc::clone(&machine);
                thread::spawn(move || {
                    machine.access(0);
                    machine.access(0);
                })
            };
            machine.unmap(0);
            engine.join().unwrap();
        });
    }

    #[test]
    fn loom_a_second_unmap_waits_for_a_section_that_was_late_for_the_first() {
        model(3, || {
            let machine = Machine::new();
            let engine = {
                let machine = Arc::clone(&machine);
                thread::spawn(move || machine.access(1))
            };
            machine.unmap(0);
            machine.unmap(1);
            engine.join().unwrap();
        });
    }

    #[test]
    fn loom_two_may_unmap_at_the_same_time() {
        model(3, || {
            let machine = Machine::new();
            let other = {
                let machine = Arc::clone(&machine);
                thread::spawn(move || machine.unmap(0))
            };
            let engine = {
                let machine = Arc::clone(&machine);
                thread::spawn(move || machine.access(0))
            };
            machine.unmap(1);
            other.join().unwrap();
            engine.join().unwrap();
        });
    }
}
