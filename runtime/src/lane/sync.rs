//! The one place that chooses between the real atomics and loom's.
//!
//! Everything in [`super::slot`], [`super::records`] and [`super::watch`] takes its atomics, cells and thread
//! parking from here, so that `--cfg dsa_loom` turns those files, unchanged, into a model that loom explores.
//! A name of our own is used because `--cfg loom` would also reach into tokio.

#[cfg(not(dsa_loom))]
mod imp {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
    pub(crate) use std::thread::{Thread, current as current_thread, park, park_timeout};

    pub(crate) use atomic_waker::AtomicWaker;
    /// A fence that only the model needs: see the other one.
    #[inline]
    pub(crate) fn model_fence() {}

    /// One round of waiting for another thread that will not take long.
    pub(crate) fn spin_wait() {
        std::thread::yield_now();
    }

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

    /// `UnsafeCell` with loom's closure interface.
    #[derive(Debug)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        #[inline]
        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }
}

#[cfg(dsa_loom)]
mod imp {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
    pub(crate) use loom::thread::{Thread, current as current_thread, park};

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

pub(crate) use imp::*;
