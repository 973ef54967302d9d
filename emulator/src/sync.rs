//! The one place that chooses between the real atomics and the model checker's, for what it explores: the ring of entries, the
//! gate, the sleep of engines, and sections.

/// The real thing.
#[cfg(not(dsa_loom))]
mod imp {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
    pub(crate) use std::sync::{Condvar, Mutex};
    pub(crate) use std::thread::{Thread, current, park, yield_now};

    /// `UnsafeCell` with the model checker's interface.
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) fn new(value: T) -> Self {
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
    pub(crate) use loom::sync::{Condvar, Mutex};
    pub(crate) use loom::thread::{Thread, current, park, yield_now};

    /// Explores all executions with at most so many preemptions; `LOOM_MAX_PREEMPTIONS` overrides it.
    #[cfg(test)]
    pub(crate) fn model(preemptions: usize, f: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
        builder.check(f);
    }
}

pub(crate) use imp::*;
