//! A value under a lock, and a word about it for those who only want to know whether the lock is worth while.
//!
//! The word is brought up to date before the lock is released, so it is what the last change has left, or, to whoever looks
//! at the same time, what the one before has. What depends on it for more than a moment must look again later: see
//! [`super::waiters`] and [`super::drains`].

use std::sync::PoisonError;

use super::sync::{AtomicU64, Mutex, Ordering};

/// A value whose every change leaves a word.
pub(crate) struct Hinted<T> {
    value: Mutex<T>,
    word: AtomicU64,
}

impl<T> Hinted<T> {
    /// A value, and the word for it.
    pub(crate) fn new(value: T, word: u64) -> Self {
        Self { value: Mutex::new(value), word: AtomicU64::new(word) }
    }

    /// The word. With Acquire, what was written before the change is seen.
    #[expect(clippy::inline_always, reason = "measured in instructions")]
    #[inline(always)]
    pub(crate) fn word(&self, order: Ordering) -> u64 {
        self.word.load(order)
    }

    /// Changes the value. `word` says what others shall see of it then. Neither may run code of the user's: a lock is held.
    ///
    /// A lock that a panic has poisoned is taken all the same, since nothing that is done under it leaves anything half done.
    pub(crate) fn change<R>(&self, word: impl FnOnce(&T) -> u64, change: impl FnOnce(&mut T) -> R) -> R {
        let mut value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut value);
        self.word.store(word(&value), Ordering::Release);
        result
    }
}

#[cfg(all(test, not(any(dsa_loom, dsa_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn the_word_follows_the_value_even_after_a_panic() {
        let hinted = Hinted::new(vec![1], 1);
        let len = |value: &Vec<i32>| value.len() as u64;
        assert_eq!(hinted.change(len, Vec::pop), Some(1));
        assert_eq!(hinted.word(Ordering::Acquire), 0);
        let change = || hinted.change(len, |_| std::panic::resume_unwind(Box::new(())));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(change)).is_err());
        hinted.change(len, |value| value.extend([2, 3]));
        assert_eq!(hinted.word(Ordering::Acquire), 2);
    }
}
