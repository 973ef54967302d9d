//! Who waits until everything has ended that was out on a queue at some moment.
//!
//! Where a queue takes DRAIN, a descriptor does this. Elsewhere somebody has to look at the slots. Futures leave their wakers
//! here, and the poller looks on their behalf, as long as there are any.

use std::task::Waker;

use super::contain;
use super::hinted::Hinted;
use super::sync::{AtomicU64, Ordering};

/// The waiting futures of one accelerator.
pub(crate) struct Drains {
    /// The word is the length of the list.
    list: Hinted<Vec<Waiting>>,
    next: AtomicU64,
}

struct Waiting {
    ticket: u64,
    queue: u32,
    since: u64,
    waker: Waker,
}

impl Drains {
    pub(crate) fn new() -> Self {
        Self { list: Hinted::new(Vec::new(), 0), next: AtomicU64::new(0) }
    }

    /// A name for somebody who may wait.
    pub(crate) fn ticket(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Has `waker` woken when nothing is out any more that was submitted to queue number `queue` until `since`. There is one
    /// such wish for each ticket. The caller rings the bell.
    pub(crate) fn insert(&self, ticket: u64, queue: u32, since: u64, waker: Waker) {
        let before = self.change(|list| {
            let before = take(list, ticket);
            list.push(Waiting { ticket, queue, since, waker });
            before
        });
        // A waker is the user's, and is not dropped under the lock.
        drop(before);
    }

    /// Nobody waits with this ticket any more.
    pub(crate) fn remove(&self, ticket: u64) {
        drop(self.change(|list| take(list, ticket)));
    }

    /// Whether anybody waits.
    pub(crate) fn any(&self) -> bool {
        self.list.word(Ordering::Acquire) != 0
    }

    /// Wakes those of whom `is_over` says that they need not wait any more.
    pub(crate) fn visit(&self, mut is_over: impl FnMut(u32, u64) -> bool) {
        if !self.any() {
            return;
        }
        let over: Vec<Waiting> =
            self.change(|list| list.extract_if(.., |waiting| is_over(waiting.queue, waiting.since)).collect());
        for waiting in over {
            contain(|| waiting.waker.wake());
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Vec<Waiting>) -> T) -> T {
        self.list.change(|list| list.len() as u64, change)
    }
}

fn take(list: &mut Vec<Waiting>, ticket: u64) -> Option<Waiting> {
    let place = list.iter().position(|waiting| waiting.ticket == ticket)?;
    Some(list.swap_remove(place))
}

#[cfg(all(test, not(any(dsa_loom, dsa_shuttle))))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn who_is_done_waiting_is_woken_once() {
        let (drains, counter) = (Drains::new(), Arc::new(Counter::default()));
        let waker = || Waker::from(Arc::clone(&counter));
        let count = || counter.0.load(Ordering::SeqCst);
        let (a, b) = (drains.ticket(), drains.ticket());
        assert!(a != b && !drains.any());
        drains.insert(a, 0, 10, waker());
        drains.insert(b, 1, 20, waker());
        // The second wish with a ticket takes the place of the first.
        drains.insert(b, 1, 30, waker());
        let mut asked = Vec::new();
        drains.visit(|queue, since| {
            asked.push((queue, since));
            queue == 1
        });
        asked.sort_unstable();
        assert_eq!((asked, count(), drains.any()), (vec![(0, 10), (1, 30)], 1, true));
        drains.remove(a);
        drains.remove(a);
        assert!(!drains.any());
        drains.visit(|_, _| panic!("nobody waits"));
        assert_eq!((count(), Arc::strong_count(&counter)), (1, 1));
    }
}
