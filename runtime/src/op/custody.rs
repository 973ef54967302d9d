//! Buffers that a device may be writing.

use std::mem::MaybeUninit;

/// Holds the buffers of an operation in flight without asserting anything about them.
///
/// A live `Box<[u8]>` claims, every time it is moved, to be the only way to its bytes; a device, or the in-process
/// model on its own thread, would contradict that. Inside `MaybeUninit` a move is a copy of opaque bits and claims
/// nothing: RFC 3336 (`MaybeDangling`) gives it as what suppresses these claims today. So the raw pointers taken from
/// the buffers at the start stay good until [`Custody::take`].
pub(crate) struct Custody<B> {
    buffers: MaybeUninit<B>,
    held: bool,
}

impl<B> Custody<B> {
    pub(crate) fn new(buffers: B) -> Self {
        Self { buffers: MaybeUninit::new(buffers), held: true }
    }

    /// Access before anything is submitted.
    pub(crate) fn get_mut(&mut self) -> &mut B {
        assert!(self.held, "the buffers have been taken");
        // SAFETY: `held` says that the buffers were put in by `new` and not taken since.
        unsafe { self.buffers.assume_init_mut() }
    }

    /// The buffers, if they have not been taken. The caller knows that no device works on them any more.
    pub(crate) fn take(&mut self) -> Option<B> {
        if !std::mem::take(&mut self.held) {
            return None;
        }
        // SAFETY: initialised as above, and `held` is now false, so they are read out once only.
        Some(unsafe { self.buffers.assume_init_read() })
    }

    #[cold]
    fn drop_held(&mut self) {
        drop(self.take());
    }

    /// Everything, still in custody, for whoever outlives this value.
    pub(crate) fn hand_over(&mut self) -> Self {
        let held = std::mem::take(&mut self.held);
        Self { buffers: std::mem::replace(&mut self.buffers, MaybeUninit::uninit()), held }
    }

    /// Gives up the buffers without dropping them: a device may write them for ever.
    pub(crate) fn leak(&mut self) {
        self.held = false;
    }
}

impl<B> Drop for Custody<B> {
    #[inline]
    fn drop(&mut self) {
        if self.held {
            self.drop_held();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Custody;

    #[test]
    fn buffers_are_dropped_exactly_once() {
        let token = Arc::new(());
        let mut custody = Custody::new(Arc::clone(&token));
        let moved = custody.hand_over();
        assert!(custody.take().is_none());
        drop(custody);
        assert_eq!(Arc::strong_count(&token), 2);
        drop(moved);
        assert_eq!(Arc::strong_count(&token), 1);
    }

    #[test]
    fn taking_twice_gives_nothing() {
        let mut custody = Custody::new(vec![1u8]);
        assert_eq!(custody.take(), Some(vec![1]));
        assert_eq!(custody.take(), None);
    }

    #[test]
    fn what_is_leaked_is_not_dropped() {
        let token = Arc::new(());
        let mut custody = Custody::new(Arc::clone(&token));
        custody.leak();
        drop(custody);
        assert_eq!(Arc::strong_count(&token), 2);
    }
}
