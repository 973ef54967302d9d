//! Buffers that a device may be writing.

use std::mem::{ManuallyDrop, MaybeUninit};

/// Holds the buffers of an operation in flight without asserting anything about them.
///
/// A live `Box<[u8]>` claims, every time it is moved, to be the only way to its bytes; a device, or the in-process
/// model on its own thread, would contradict that. Inside `MaybeUninit` a move is a copy of opaque bits and claims
/// nothing: RFC 3336 (`MaybeDangling`) gives it as what suppresses these claims today. So the raw pointers taken from
/// the buffers at the start stay good until [`Custody::take`].
///
/// `K` is who keeps them: there as long as the buffers are, and dropped when they go.
pub(crate) struct Custody<B, K = ()> {
    buffers: MaybeUninit<B>,
    keeper: Option<K>,
}

impl<B> Custody<B> {
    #[inline]
    pub(crate) fn new(buffers: B) -> Self {
        Self { buffers: MaybeUninit::new(buffers), keeper: Some(()) }
    }

    /// The same, kept by `keeper`.
    #[inline]
    pub(crate) fn kept_by<K>(self, keeper: K) -> Custody<B, K> {
        let mut this = ManuallyDrop::new(self);
        let keeper = this.keeper.take().map(|()| keeper);
        Custody { buffers: std::mem::replace(&mut this.buffers, MaybeUninit::uninit()), keeper }
    }
}

impl<B, K> Custody<B, K> {
    /// Access before anything is submitted.
    #[inline]
    pub(crate) fn get_mut(&mut self) -> &mut B {
        assert!(self.keeper.is_some(), "the buffers have been taken");
        // SAFETY: there is a keeper as long as the buffers have not been taken since they were put in.
        unsafe { self.buffers.assume_init_mut() }
    }

    /// Who keeps the buffers, if they have not been taken.
    #[inline]
    pub(crate) fn keeper(&self) -> Option<&K> {
        self.keeper.as_ref()
    }

    /// Somebody else keeps them.
    pub(crate) fn keep_by(&mut self, keeper: K) {
        assert!(self.keeper.is_some(), "the buffers have been taken");
        self.keeper = Some(keeper);
    }

    /// The buffers, if they have not been taken. The caller knows that no device works on them any more.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<B> {
        drop(self.keeper.take()?);
        // SAFETY: initialised as above, and there is no keeper any more, so they are read out once only.
        Some(unsafe { self.buffers.assume_init_read() })
    }

    /// As [`take`](Self::take), without a look.
    ///
    /// # Safety
    ///
    /// There is a [`keeper`](Self::keeper).
    #[inline]
    pub(crate) unsafe fn take_kept(&mut self) -> B {
        // SAFETY: the caller's promise.
        drop(unsafe { self.keeper.take().unwrap_unchecked() });
        // SAFETY: as in `take`.
        unsafe { self.buffers.assume_init_read() }
    }

    /// Everything, still in custody, for whoever outlives this value; and who has kept it.
    pub(crate) fn part(&mut self) -> Option<(K, Custody<B>)> {
        let keeper = self.keeper.take()?;
        let buffers = std::mem::replace(&mut self.buffers, MaybeUninit::uninit());
        Some((keeper, Custody { buffers, keeper: Some(()) }))
    }

    /// Gives up the buffers without dropping them: a device may write them for ever.
    pub(crate) fn leak(&mut self) {
        self.keeper = None;
    }

    #[cold]
    fn drop_held(&mut self) {
        drop(self.take());
    }
}

impl<B, K> Drop for Custody<B, K> {
    #[inline]
    fn drop(&mut self) {
        if self.keeper.is_some() {
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
        let ((), moved) = custody.part().expect("they are here");
        assert!(custody.take().is_none());
        drop(custody);
        assert_eq!(Arc::strong_count(&token), 2);
        drop(moved);
        assert_eq!(Arc::strong_count(&token), 1);
    }

    #[test]
    fn who_keeps_them_goes_with_them() {
        let keeper = Arc::new(());
        let mut custody = Custody::new(1u8).kept_by(Arc::clone(&keeper));
        assert!(custody.keeper().is_some());
        assert_eq!((custody.take(), Arc::strong_count(&keeper)), (Some(1), 1));
        assert!(custody.keeper().is_none());
        let mut custody = Custody::new(vec![1u8]).kept_by(Arc::clone(&keeper));
        let (parted, buffers) = custody.part().expect("they are here");
        drop((custody, buffers));
        assert_eq!(Arc::strong_count(&keeper), 2);
        drop(parted);
        Custody::new(vec![1u8]).kept_by(Arc::clone(&keeper)).leak();
        drop(Custody::new(vec![1u8]).kept_by(Arc::clone(&keeper)));
        assert_eq!(Arc::strong_count(&keeper), 1);
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
