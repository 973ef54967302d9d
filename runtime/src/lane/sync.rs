//! The one place that chooses between the real atomics, loom's and shuttle's.
//!
//! Everything in [`super::slot`], [`super::records`] and [`super::watch`] takes its atomics, cells and thread
//! parking from here, so that `--cfg dsa_loom` turns those files, unchanged, into a model that loom explores: every
//! interleaving of a few steps. With `--cfg dsa_shuttle` it is the whole of what happens between a future and a device, the
//! poller's thread, recovery and shutdown included: many steps, in an order that is drawn at random. What only the second
//! needs (threads, locks, time) is the real thing for loom, whose models do not get there.
//! Names of our own are used because `--cfg loom` would also reach into tokio.

#[cfg(not(any(dsa_loom, dsa_shuttle)))]
mod imp {
    pub(crate) use std::sync::Mutex;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
    pub(crate) use std::thread::{Thread, current as current_thread, park, park_timeout, sleep, yield_now};

    pub(crate) use atomic_waker::AtomicWaker;

    pub(crate) use super::real::{UnsafeCell, spawn};
    /// One round of waiting for another thread that will not take long.
    pub(crate) use std::thread::yield_now as spin_wait;

    /// A fence that only the model needs: see the other one.
    #[inline]
    pub(crate) fn model_fence() {}

    /// A moment at which another thread may come in between, where nothing else here says so to a model.
    #[inline]
    pub(crate) fn step() {}

    /// A moment after which nobody waits any longer.
    pub(crate) struct Deadline(std::time::Instant);

    impl Deadline {
        pub(crate) fn after(limit: std::time::Duration) -> Self {
            Self(std::time::Instant::now() + limit)
        }

        pub(crate) fn is_over(&self) -> bool {
            std::time::Instant::now() >= self.0
        }
    }
}

#[cfg(dsa_loom)]
mod imp {
    pub(crate) use std::sync::Mutex;
    pub(crate) use std::thread::{sleep, yield_now};

    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
    pub(crate) use loom::thread::{Thread, current as current_thread, park};

    pub(crate) use super::real::spawn;

    /// loom treats sequentially consistent accesses as acquire and release, but knows the fence; together they allow
    /// what the real accesses allow.
    pub(crate) fn model_fence() {
        fence(Ordering::SeqCst);
    }

    pub(crate) fn spin_wait() {
        loom::thread::yield_now();
    }

    /// loom has no clock, and threads that do not die: waiting ends by itself.
    pub(crate) struct Deadline;

    impl Deadline {
        pub(crate) fn after(_: std::time::Duration) -> Self {
            Self
        }

        pub(crate) fn is_over(&self) -> bool {
            false
        }
    }

    /// loom's waker cell under the interface of the `atomic-waker` crate.
    pub(crate) struct AtomicWaker(loom::future::AtomicWaker);

    impl AtomicWaker {
        pub(crate) fn new() -> Self {
            Self(loom::future::AtomicWaker::new())
        }

        pub(crate) fn register(&self, waker: &std::task::Waker) {
            self.0.register_by_ref(waker);
        }

        pub(crate) fn wake(&self) {
            self.0.wake();
        }

        pub(crate) fn take(&self) -> Option<std::task::Waker> {
            self.0.take_waker()
        }
    }

    /// loom has no clock: a timed park becomes a yield, which is one of the things it may do.
    pub(crate) fn park_timeout(_: std::time::Duration) {
        loom::thread::yield_now();
    }
}

#[cfg(dsa_shuttle)]
mod imp {
    use std::time::Duration;

    pub(crate) use shuttle::sync::Mutex;
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
    pub(crate) use shuttle::thread::{Thread, current as current_thread, park};

    pub(crate) use super::real::UnsafeCell;
    use crate::clock;

    /// All accesses are in one order.
    pub(crate) fn model_fence() {}

    pub(crate) fn step() {
        // To shuttle, which has no time, that is all that a sleep is.
        shuttle::thread::sleep(Duration::ZERO);
    }

    pub(crate) fn yield_now() {
        shuttle::thread::yield_now();
    }

    pub(crate) fn spin_wait() {
        sleep(Duration::from_millis(1));
    }

    /// The time passes, and others run meanwhile or not.
    pub(crate) fn sleep(time: Duration) {
        clock::pass(time);
        shuttle::thread::yield_now();
    }

    /// As a sleep, which may be longer than one until somebody unparks. (Shuttle's own never ends by itself.)
    pub(crate) fn park_timeout(limit: Duration) {
        sleep(limit);
    }

    pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        shuttle::thread::Builder::new().name(name.into()).spawn(body).map(drop)
    }

    /// A moment of the model's time.
    pub(crate) struct Deadline(u64);

    impl Deadline {
        pub(crate) fn after(limit: Duration) -> Self {
            Self(clock::now().saturating_add(clock::ticks(limit)))
        }

        pub(crate) fn is_over(&self) -> bool {
            clock::now() >= self.0
        }
    }

    /// The real waker cell. Each of its calls is one step.
    pub(crate) struct AtomicWaker(atomic_waker::AtomicWaker);

    impl AtomicWaker {
        pub(crate) const fn new() -> Self {
            Self(atomic_waker::AtomicWaker::new())
        }

        pub(crate) fn register(&self, waker: &std::task::Waker) {
            step();
            self.0.register(waker);
        }

        pub(crate) fn wake(&self) {
            step();
            self.0.wake();
        }

        pub(crate) fn take(&self) -> Option<std::task::Waker> {
            step();
            self.0.take()
        }
    }
}

/// What not every choice has of its own.
mod real {
    /// `UnsafeCell` with loom's closure interface.
    #[cfg(not(dsa_loom))]
    #[derive(Debug)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    #[cfg(not(dsa_loom))]
    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        #[inline]
        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }

    /// Starts a thread that nobody joins.
    #[cfg(not(dsa_shuttle))]
    pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        std::thread::Builder::new().name(name.into()).spawn(body).map(drop)
    }
}

pub(crate) use imp::*;
