//! Which of up to 64 futures are to be polled, and a waker for each of them.
//!
//! A future's waker is a pointer to the shared [`Ready`] plus the future's number in bytes. The value is aligned to 64, so
//! that the low six bits are free to say which it is; and it is at least as long, so that the pointer stays inside of it.
//! Making such a waker for a poll takes no memory and no count; cloning it counts up the one `Arc`. So there is one
//! allocation for 64 futures, however many follow each other in the places.
//!
//! Nothing is lost: who wakes sets the bit, then wakes the task; who polls registers the task, then takes the bits.
//! [`AtomicWaker`] promises that one of them sees the other (see the model in `loom_tests`). Only the first bit that is set
//! wakes: whoever sets another one knows that the task has not come for the first one, and that it will.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::task::{RawWaker, RawWakerVTable, Waker};

use crate::lane::sync::{AtomicU64, AtomicWaker, Ordering};

/// Futures that share one of these.
pub(super) const PLACES: usize = 64;

/// One bit for each future, and the task that polls them.
#[repr(align(64))]
pub(super) struct Ready {
    woken: AtomicU64,
    task: AtomicWaker,
}

const _: () = assert!(align_of::<Ready>() == PLACES && size_of::<Ready>() >= PLACES, "the number is in the address");

impl Ready {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { woken: AtomicU64::new(0), task: AtomicWaker::new() })
    }

    /// From now on wake-ups go to this task. Before [`take`](Self::take), in every poll.
    pub(super) fn register(&self, task: &Waker) {
        self.task.register(task);
    }

    /// Nobody is woken any more.
    pub(super) fn forget_task(&self) {
        drop(self.task.take());
    }

    /// Takes the bits of those that have been woken since the last time.
    #[inline]
    pub(super) fn take(&self) -> u64 {
        // Mostly there is none. Acquire: what was done before the wake-up is seen by the poll.
        if self.woken.load(Ordering::Acquire) == 0 { 0 } else { self.woken.swap(0, Ordering::AcqRel) }
    }

    /// Wakes the task for future number `place`.
    fn wake(&self, place: usize) {
        // Release: for `take`. Acquire: if the task has just taken the bits, it has registered before.
        if self.woken.fetch_or(1 << place, Ordering::AcqRel) == 0 {
            self.task.wake();
        }
    }

    /// The waker of future number `place`, for the time of a poll.
    #[inline]
    pub(super) fn waker(self: &Arc<Self>, place: usize) -> WakerOf<'_> {
        assert!(place < PLACES);
        // In bounds as just checked, and no claim is needed beyond that.
        let data = Arc::as_ptr(self).cast::<()>().wrapping_byte_add(place);
        // SAFETY: the functions of the table keep the contract of `RawWaker`, for such a pointer. It is not counted: the
        // value is never dropped, and gone before the borrow of the `Arc` that keeps everything alive.
        let waker = unsafe { Waker::from_raw(RawWaker::new(data, &TABLE)) };
        WakerOf { waker: ManuallyDrop::new(waker), ready: std::marker::PhantomData }
    }
}

/// A waker that is lent.
pub(super) struct WakerOf<'a> {
    waker: ManuallyDrop<Waker>,
    ready: std::marker::PhantomData<&'a Ready>,
}

impl std::ops::Deref for WakerOf<'_> {
    type Target = Waker;

    #[inline]
    fn deref(&self) -> &Waker {
        &self.waker
    }
}

static TABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, release);

/// What the data of a waker says.
#[inline]
fn parts(data: *const ()) -> (*const Ready, usize) {
    let place = data.addr() % PLACES;
    (data.wrapping_byte_sub(place).cast(), place)
}

/// # Safety
///
/// As for all here: `data` is that of a waker of [`Ready::waker`], or of a clone of such, while that is alive.
unsafe fn clone(data: *const ()) -> RawWaker {
    let (ready, _) = parts(data);
    // SAFETY: the pointer is that of an `Arc`, of which somebody holds a count as long as this waker is alive.
    unsafe { Arc::increment_strong_count(ready) };
    RawWaker::new(data, &TABLE)
}

/// # Safety
///
/// As for [`clone`], and the waker's count is given up.
unsafe fn wake(data: *const ()) {
    let (ready, place) = parts(data);
    // SAFETY: the count that `clone` has made is taken over; given back also if the task's waker panics.
    let ready = unsafe { Arc::from_raw(ready) };
    ready.wake(place);
}

/// # Safety
///
/// As for [`clone`].
unsafe fn wake_by_ref(data: *const ()) {
    let (ready, place) = parts(data);
    // SAFETY: somebody holds a count for the time of the call.
    unsafe { &*ready }.wake(place);
}

/// # Safety
///
/// As for [`wake`].
unsafe fn release(data: *const ()) {
    let (ready, _) = parts(data);
    // SAFETY: the count that `clone` has made.
    unsafe { Arc::decrement_strong_count(ready) };
}

#[cfg(all(test, not(dsa_loom)))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn every_place_has_its_own_bit() {
        let ready = Ready::new();
        for place in 0..PLACES {
            ready.waker(place).wake_by_ref();
            assert_eq!(ready.take(), 1 << place);
            let counted = ready.waker(place).clone();
            counted.wake();
            assert_eq!(ready.take(), 1 << place);
            assert_eq!(ready.take(), 0);
        }
    }

    #[test]
    fn clones_keep_it_alive_and_know_each_other() {
        let ready = Ready::new();
        let (first, other) = (ready.waker(0).clone(), ready.waker(63).clone());
        assert_eq!(Arc::strong_count(&ready), 3);
        assert!(first.will_wake(&ready.waker(0)) && !first.will_wake(&other));
        drop(first.clone());
        first.wake();
        assert_eq!(Arc::strong_count(&ready), 2);
        let weak = Arc::downgrade(&ready);
        drop(ready);
        other.wake_by_ref();
        assert!(weak.upgrade().is_some());
        drop(other);
        assert!(weak.upgrade().is_none());
    }

    #[test]
    fn the_task_is_woken_once_for_all_that_it_has_not_come_for() {
        let (ready, task) = (Ready::new(), Arc::<Count>::default());
        let woken = || task.0.load(Ordering::SeqCst);
        ready.register(&Waker::from(Arc::clone(&task)));
        for place in [3, 4, 3] {
            ready.waker(place).wake_by_ref();
        }
        assert_eq!(woken(), 1);
        ready.register(&Waker::from(Arc::clone(&task)));
        assert_eq!(ready.take(), 0b1_1000);
        ready.waker(5).wake_by_ref();
        assert_eq!(woken(), 2);
        ready.register(&Waker::from(Arc::clone(&task)));
        ready.forget_task();
        assert_eq!(Arc::strong_count(&task), 1);
        ready.take();
        ready.waker(5).wake_by_ref();
        assert_eq!(woken(), 2);
    }
}
