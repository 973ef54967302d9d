//! A lock that nobody waits for.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};

/// A value that one thread at a time can get at; others are turned away.
pub(crate) struct TryLock<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the flag lets one thread at a time reach the value, and hands it over by release and acquire.
unsafe impl<T: Send> Sync for TryLock<T> {}

impl<T> TryLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Calls `f` with the value; `None` if another thread, or this one further up, is at it. A panic in `f` leaves the
    /// value taken for ever.
    #[inline]
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        if self.taken.swap(true, Ordering::Acquire) {
            return None;
        }
        // SAFETY: the flag was clear, so nobody else is here until it is cleared below.
        let result = f(unsafe { &mut *self.value.get() });
        self.taken.store(false, Ordering::Release);
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_second_is_turned_away() {
        let lock = TryLock::new(1);
        let inner = lock.with(|value| {
            *value = 2;
            lock.with(|_| ())
        });
        assert_eq!((inner, lock.with(|value| *value)), (Some(None), Some(2)));
    }
}
