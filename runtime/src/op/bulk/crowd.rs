//! Futures under way at the same time, in places that are used again and again.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::ready::{PLACES, Ready};
use super::share::Share;

/// Up to a number of futures, each with a tag by which its owner knows it.
///
/// Memory is taken in pieces of up to 64 places when that many are under way for the first time, and given back at the end.
pub(super) struct Crowd<F> {
    chunks: Vec<Chunk<F>>,
    most: usize,
    len: usize,
    /// The chunk at which the next round begins.
    first: usize,
}

/// Where a future is that is under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    #[cfg_attr(not(feature = "stream"), expect(dead_code, reason = "for streams"))]
    chunk: usize,
    #[cfg_attr(not(feature = "stream"), expect(dead_code, reason = "for streams"))]
    place: usize,
}

struct Chunk<F> {
    // Dropped first, that is, while nobody is told of their wake-ups any more (`drop`).
    places: Pin<Box<[Place<F>]>>,
    ready: Arc<Ready>,
    /// Bits of the places that are free.
    free: u64,
    /// Bits of those that were woken and have not been polled yet.
    due: u64,
    /// Bits of those that were woken later, and come after them.
    next: u64,
}

struct Place<F> {
    /// Pinned with the place, and dropped in it.
    future: Option<F>,
    tag: usize,
}

impl<F: Future> Crowd<F> {
    /// Room for `most` futures.
    pub(super) fn new(most: usize) -> Self {
        Self { chunks: Vec::new(), most, len: 0, first: 0 }
    }

    pub(super) fn set_most(&mut self, most: usize) {
        debug_assert!(self.chunks.is_empty());
        self.most = most;
    }

    #[cfg(feature = "stream")]
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn has_room(&self) -> bool {
        self.len < self.most
    }

    /// Says which task polls, in every poll that may leave it waiting, and before a [`round`](Self::round).
    pub(super) fn register(&self, task: &Waker) {
        for chunk in &self.chunks {
            chunk.ready.register(task);
        }
    }

    /// Takes a future and polls it: if that ends it, here is what it says; otherwise where it is, and it will be told with its tag by
    /// [`round`](Self::round). There must be room. `expected`: how many there may be in all, as far as is known.
    #[inline]
    pub(super) fn launch(&mut self, future: F, tag: usize, expected: usize, task: &Waker) -> Result<F::Output, At> {
        assert!(self.has_room(), "there are as many as there may be");
        let index = match self.chunks.iter().position(|chunk| chunk.free != 0) {
            Some(index) => index,
            None => self.grow(expected, task),
        };
        self.len += 1;
        match self.chunks[index].launch(future, tag) {
            Ok(output) => {
                self.len -= 1;
                Ok(output)
            }
            Err(place) => Err(At { chunk: index, place }),
        }
    }

    /// Polls one that has just been launched once more, whether or not it was woken. Gives its tag and what it says if that ends it.
    #[cfg(feature = "stream")]
    pub(super) fn poll_again(&mut self, at: At) -> Option<(usize, F::Output)> {
        let chunk = &mut self.chunks[at.chunk];
        let Poll::Ready(output) = chunk.poll(at.place)? else { return None };
        self.len -= 1;
        Some((chunk.places[at.place].tag, output))
    }

    /// Polls those that have been woken, once each; tells of those that have ended. False if the share did not last.
    pub(super) fn round(&mut self, share: &Share, mut ended: impl FnMut(usize, F::Output)) -> bool {
        for _ in 0..self.chunks.len() {
            let chunk = &mut self.chunks[self.first];
            // Taken in every round: whoever is noted there wakes nobody any more.
            chunk.next |= chunk.ready.take() & !chunk.due;
            while chunk.has_due() {
                let place = chunk.due.trailing_zeros() as usize;
                chunk.due &= chunk.due - 1;
                let Some(result) = chunk.poll(place) else { continue };
                if let Poll::Ready(output) = result {
                    self.len -= 1;
                    ended(chunk.places[place].tag, output);
                }
                if share.is_over() {
                    let is_chunk_done = chunk.due == 0;
                    self.first = self.after(is_chunk_done);
                    return false;
                }
            }
            self.first = self.after(true);
        }
        true
    }

    /// With which chunk it goes on. Not with one that has had its turn: what has been woken there meanwhile comes after the
    /// others.
    fn after(&self, is_chunk_done: bool) -> usize {
        let next = self.first + usize::from(is_chunk_done);
        if next == self.chunks.len() { 0 } else { next }
    }

    /// Adds places; gives the number of the chunk they are in.
    #[cold]
    fn grow(&mut self, expected: usize, task: &Waker) -> usize {
        // All that there are are in use.
        let more = self.most.min(expected.max(self.len + 1)) - self.len;
        let chunk = Chunk::new(more.min(PLACES));
        chunk.ready.register(task);
        self.chunks.push(chunk);
        self.chunks.len() - 1
    }
}

impl<F: Future> Chunk<F> {
    fn new(places: usize) -> Self {
        let places: Box<[_]> = (0..places).map(|_| Place { future: None, tag: 0 }).collect();
        let free = u64::MAX >> (PLACES - places.len());
        Self { places: Box::into_pin(places), ready: Ready::new(), free, due: 0, next: 0 }
    }

    /// Whether there is one to be polled. What was left over comes first, lest one that wakes itself be the only one that gets
    /// its turn.
    #[inline]
    fn has_due(&mut self) -> bool {
        if self.due == 0 {
            self.due = std::mem::take(&mut self.next);
        }
        self.due != 0
    }

    /// Puts a future into a free place, and polls it.
    #[inline]
    fn launch(&mut self, future: F, tag: usize) -> Result<F::Output, usize> {
        let place = self.free.trailing_zeros() as usize;
        self.free &= self.free - 1;
        // SAFETY: a number is stored; nothing is moved.
        unsafe { self.places.as_mut().get_unchecked_mut()[place].tag = tag };
        future_in(self.places.as_mut(), place).set(Some(future));
        match self.poll(place).expect("it is there") {
            Poll::Ready(output) => Ok(output),
            Poll::Pending => Err(place),
        }
    }

    /// Polls a place's future, if there is one: a wake-up may come late, when that has ended or another one is there.
    #[inline]
    fn poll(&mut self, place: usize) -> Option<Poll<F::Output>> {
        let waker = self.ready.waker(place);
        let mut future = future_in(self.places.as_mut(), place);
        let result = future.as_mut().as_pin_mut()?.poll(&mut Context::from_waker(&waker));
        if result.is_ready() {
            self.free |= 1 << place;
            future.set(None);
        }
        Some(result)
    }
}

#[inline]
fn future_in<F>(places: Pin<&mut [Place<F>]>, place: usize) -> Pin<&mut Option<F>> {
    // SAFETY: the field is pinned with its place: the box is never taken apart, nothing else gives a `&mut F` or moves a
    // future out, a place has no destructor, and is `Unpin` only if the future is.
    unsafe { places.map_unchecked_mut(|places| &mut places[place].future) }
}

impl<F> Drop for Chunk<F> {
    fn drop(&mut self) {
        // Wakers may stay behind, in a slot for one. The task should not stay with them.
        self.ready.forget_task();
    }
}

#[cfg(all(test, not(dsa_loom)))]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::future::poll_fn;
    use std::marker::PhantomPinned;
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;

    fn share(limit: Duration) -> Share {
        let Poll::Ready(share) = Share::begin(&mut Context::from_waker(Waker::noop()), limit) else {
            panic!("no budget outside of a task")
        };
        share
    }

    /// A future that ends when its gate is open, and counts its polls.
    #[derive(Clone, Default)]
    struct Gate {
        open: Rc<Cell<bool>>,
        polls: Rc<Cell<usize>>,
        waker: Rc<RefCell<Option<Waker>>>,
    }

    impl Gate {
        fn future(&self) -> impl Future<Output = usize> + use<> {
            let gate = self.clone();
            poll_fn(move |cx| {
                gate.polls.set(gate.polls.get() + 1);
                *gate.waker.borrow_mut() = Some(cx.waker().clone());
                if gate.open.get() { Poll::Ready(gate.polls.get()) } else { Poll::Pending }
            })
        }

        fn wake(&self) {
            self.waker.borrow().as_ref().unwrap().wake_by_ref();
        }

        fn open(&self) {
            self.open.set(true);
            self.wake();
        }
    }

    fn ends<F: Future>(crowd: &mut Crowd<F>, limit: Duration) -> (bool, Vec<usize>) {
        let mut ends = Vec::new();
        let all = crowd.round(&share(limit), |tag, _| ends.push(tag));
        (all, ends)
    }

    #[test]
    fn only_those_that_were_woken_are_polled() {
        let gates: Vec<_> = (0..200).map(|_| Gate::default()).collect();
        let mut crowd = Crowd::new(200);
        for (tag, gate) in gates.iter().enumerate() {
            assert!(crowd.launch(gate.future(), tag, 0, Waker::noop()).is_err());
        }
        assert!(!crowd.has_room());
        for number in [0, 63, 64, 150, 199] {
            gates[number].open();
        }
        gates[5].wake();
        assert_eq!(ends(&mut crowd, Duration::ZERO), (true, vec![0, 63, 64, 150, 199]));
        assert_eq!(crowd.len(), 195);
        assert_eq!(gates.iter().map(|gate| gate.polls.get()).sum::<usize>(), 200 + 6);
        // Nobody was woken.
        assert_eq!(ends(&mut crowd, Duration::ZERO), (true, vec![]));
        // A wake-up after the end is for nobody.
        gates[0].wake();
        assert_eq!(ends(&mut crowd, Duration::ZERO), (true, vec![]));
        assert_eq!(gates[0].polls.get(), 2);
    }

    #[test]
    fn places_are_used_again_before_there_are_more() {
        let mut crowd = Crowd::new(1000);
        for tag in 0..10 {
            let gates = [(); 3].map(|()| Gate::default());
            for gate in &gates {
                assert!(crowd.launch(gate.future(), tag, 3, Waker::noop()).is_err());
            }
            gates.iter().for_each(Gate::open);
            assert_eq!(ends(&mut crowd, Duration::ZERO).1, [tag; 3]);
        }
        assert_eq!((crowd.chunks.len(), crowd.chunks[0].places.len()), (1, 3));
    }

    #[test]
    fn a_share_that_is_used_up_leaves_the_rest_for_the_next_round() {
        let mut crowd = Crowd::new(130);
        let gates: Vec<_> = (0..130).map(|_| Gate::default()).collect();
        for (tag, gate) in gates.iter().enumerate() {
            assert!(crowd.launch(gate.future(), tag, 0, Waker::noop()).is_err());
        }
        gates.iter().for_each(Gate::wake);
        // Every poll takes longer than a nanosecond.
        for round in 1..=130 {
            assert!(!ends(&mut crowd, Duration::from_nanos(1)).0);
            assert_eq!(gates.iter().filter(|gate| gate.polls.get() == 2).count(), round);
            // One that wakes itself waits until all others have had their turn.
            gates[0].wake();
        }
        assert!(gates.iter().all(|gate| gate.polls.get() == 2));
    }

    /// A poll is for all that have been woken before it: nobody wakes the task for them again.
    #[test]
    fn a_round_that_is_through_has_polled_what_was_left_over_and_what_was_woken_since() {
        let mut crowd = Crowd::new(10);
        let gates: Vec<_> = (0..10).map(|_| Gate::default()).collect();
        for (tag, gate) in gates.iter().enumerate() {
            assert!(crowd.launch(gate.future(), tag, 0, Waker::noop()).is_err());
        }
        gates[..5].iter().for_each(Gate::open);
        assert_eq!(ends(&mut crowd, Duration::from_nanos(1)), (false, vec![0]));
        gates[8].open();
        // Once for both wake-ups.
        gates[3].wake();
        assert_eq!(ends(&mut crowd, Duration::ZERO), (true, vec![1, 2, 3, 4, 8]));
        assert_eq!(gates.iter().map(|gate| gate.polls.get()).sum::<usize>(), 10 + 6);
    }

    #[test]
    fn a_future_stays_where_it_was_polled_and_is_dropped_there() {
        struct Pinned {
            at: Cell<usize>,
            dropped: Rc<Cell<usize>>,
            _here: PhantomPinned,
        }
        impl Future for Pinned {
            type Output = ();
            fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
                let here = std::ptr::from_ref(&*self).addr();
                let before = self.at.replace(here);
                assert!(before == 0 || before == here, "it was moved");
                Poll::Pending
            }
        }
        impl Drop for Pinned {
            fn drop(&mut self) {
                assert_eq!(self.at.get(), std::ptr::from_ref(self).addr(), "dropped elsewhere");
                self.dropped.set(self.dropped.get() + 1);
            }
        }
        let dropped = Rc::new(Cell::new(0));
        let mut crowd = Crowd::new(70);
        for tag in 0..70 {
            let pinned = Pinned { at: Cell::new(0), dropped: Rc::clone(&dropped), _here: PhantomPinned };
            assert!(crowd.launch(pinned, tag, 0, Waker::noop()).is_err());
        }
        let mut crowd = std::hint::black_box(crowd);
        for chunk in &crowd.chunks {
            (0..chunk.places.len()).for_each(|place| chunk.ready.waker(place).wake_by_ref());
        }
        assert_eq!(ends(&mut crowd, Duration::ZERO), (true, vec![]));
        drop(crowd);
        assert_eq!(dropped.get(), 70);
    }
}
