//! The entries of a work queue: a ring that any number of submitters fill and any number of engines empty.
//!
//! A general queue would need a second counter beside it for the accept rule, because a shared queue takes a descriptor only
//! while fewer than a limit are in it, and the limit differs between portals. Here the rule is part of the claim: a
//! submitter reads the tail, then the head, and claims the place at the tail only if the tail is still the same. Then no
//! other descriptor has come between, and the occupancy was below the limit when the head was read and can only have fallen
//! since. That, and the position as the descriptor's number, take two locked instructions off each submission. By the same
//! argument a head that was read long ago will do if the occupancy is below the limit by it: so submitters note the head beside
//! the tail, and look at the real one, whose cache line engines write, only if the note does not let them in.
//!
//! A place has a *stamp*: its position while it is free, its position + 1 once it is full, and its position + the number of
//! places when it is free for the next lap (the bounded queue of D. Vyukov). There are more places than a queue has entries,
//! so a submitter meets one that is not free only if an engine was held up while it copied a descriptor out.

use std::mem::MaybeUninit;

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicU64, Ordering, UnsafeCell, yield_now};

/// See the module.
pub(crate) struct Ring<T> {
    places: Box<[Place<T>]>,
    mask: u64,
    /// What submitters write.
    tail: CachePadded<Tail>,
    /// Where the next value is.
    head: CachePadded<AtomicU64>,
}

struct Tail {
    /// Where the next value goes: the number of values that were ever put in.
    next: AtomicU64,
    /// What the head once was. It only grows, so a submitter that would be below the limit by this is below it: most need not
    /// look at the head, which engines change all the time.
    head: AtomicU64,
}

/// In cache lines of its own.
#[repr(align(64))]
struct Place<T> {
    value: UnsafeCell<MaybeUninit<T>>,
    stamp: AtomicU64,
}

impl<T> Place<T> {
    /// Waits until an engine has copied the value of the last lap out.
    #[cold]
    fn wait_for(&self, stamp: u64) {
        while self.stamp.load(Ordering::Acquire) != stamp {
            yield_now();
        }
    }
}

// SAFETY: a value goes from the thread that put it in to the one that takes it out; stamps see to it that a place is only
// touched by one thread at a time.
unsafe impl<T: Send> Sync for Ring<T> {}
// SAFETY: as above; the values themselves move with the ring.
unsafe impl<T: Send> Send for Ring<T> {}

/// Values are plain data, so that those left in a ring need no destructor.
impl<T: Copy> Ring<T> {
    /// A ring for at most `entries` values.
    pub(crate) fn new(entries: usize) -> Self {
        let places = (2 * entries).next_power_of_two().max(2);
        let place = |i| Place { stamp: AtomicU64::new(i as u64), value: UnsafeCell::new(MaybeUninit::uninit()) };
        Self {
            places: (0..places).map(place).collect(),
            mask: places as u64 - 1,
            tail: CachePadded::new(Tail { next: AtomicU64::new(0), head: AtomicU64::new(0) }),
            head: CachePadded::new(AtomicU64::new(0)),
        }
    }

    /// Puts a value in if fewer than `limit` (at most the number of entries) are there, and nobody comes between. Otherwise
    /// `None`, and [`push_with`](Self::push_with) has to see why. (Its loops and waits keep the compiler from making
    /// short work of the usual case.)
    #[inline]
    pub(crate) fn try_push_with(&self, limit: u64, value: impl FnOnce() -> T) -> Option<u64> {
        let tail = self.tail.next.load(Ordering::Relaxed);
        let place = self.place(tail);
        // A tail that was read before the head moved past it gives a difference above any limit.
        if tail.wrapping_sub(self.tail.head.load(Ordering::Relaxed)) >= limit && tail.wrapping_sub(self.look()) >= limit
            || place.stamp.load(Ordering::Acquire) != tail
            || self.tail.next.compare_exchange(tail, tail + 1, Ordering::SeqCst, Ordering::Relaxed).is_err()
        {
            return None;
        }
        // SAFETY: the exchange made the place this thread's. The stamp said before that it is free, which only the one
        // whose place it is can change.
        place.value.with_mut(|at| unsafe { (*at).write(value()) });
        place.stamp.store(tail + 1, Ordering::Release);
        Some(tail)
    }

    /// Puts a value in if fewer than `limit` (at most the number of entries) are there. Returns its position.
    ///
    /// The value is made in its place: it is not small.
    pub(crate) fn push_with(&self, limit: u64, value: impl FnOnce() -> T) -> Option<u64> {
        let mut tail = self.tail.next.load(Ordering::Relaxed);
        loop {
            let head = self.look();
            // A tail that was read before the head moved past it is out of date: the exchange fails.
            if tail.saturating_sub(head) >= limit {
                let now = self.tail.next.load(Ordering::Relaxed);
                if now == tail {
                    return None;
                }
                tail = now;
                continue;
            }
            match self.tail.next.compare_exchange_weak(tail, tail + 1, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => tail = now,
            }
        }
        let place = self.place(tail);
        if place.stamp.load(Ordering::Acquire) != tail {
            place.wait_for(tail);
        }
        // SAFETY: the stamp says that the place is free, the exchange above made it this thread's, and nobody touches it
        // until the stamp says that it is full. (If `value` panicked, that would be never; it only copies.)
        place.value.with_mut(|at| unsafe { (*at).write(value()) });
        place.stamp.store(tail + 1, Ordering::Release);
        Some(tail)
    }

    /// Where the head is, for submitters.
    #[inline]
    fn look(&self) -> u64 {
        // Acquire: whoever moved the head has seen these positions filled, so a tail that is read later is not older than
        // this head.
        let head = self.head.load(Ordering::Acquire);
        // It may be older than what another submitter has noted. That costs the next one a look, and no more.
        self.tail.head.store(head, Ordering::Relaxed);
        head
    }

    /// Takes the oldest value out; gives its position, and what `take` copies of it. `None` if there is none, or if whoever
    /// claimed that place has not filled it yet.
    #[inline]
    pub(crate) fn pop_with<R>(&self, take: impl FnOnce(&T) -> R) -> Option<(u64, R)> {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            let place = self.place(head);
            let stamp = place.stamp.load(Ordering::Acquire);
            if stamp != head + 1 {
                let now = self.head.load(Ordering::Relaxed);
                if now == head {
                    return None;
                }
                head = now;
                continue;
            }
            match self.head.compare_exchange_weak(head, head + 1, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => {
                    // SAFETY: the stamp says that the place is full, the exchange gave it to this thread, and nobody
                    // touches it until the stamp says that it is free. The value is plain data.
                    let taken = place.value.with_mut(|at| take(unsafe { (*at).assume_init_ref() }));
                    place.stamp.store(head + self.mask + 1, Ordering::Release);
                    return Some((head, taken));
                }
                Err(now) => head = now,
            }
        }
    }

    #[inline]
    fn place(&self, position: u64) -> &Place<T> {
        // SAFETY: the mask is the number of places, a power of two, minus 1.
        unsafe { self.places.get_unchecked((position & self.mask) as usize) }
    }

    /// Values in the ring, those included that are just being put in.
    #[inline]
    pub(crate) fn len(&self) -> u64 {
        let head = self.head.load(Ordering::SeqCst);
        self.tail.next.load(Ordering::SeqCst).saturating_sub(head)
    }

    /// Whether there is nothing to take, and nothing being put in.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Values that were ever put in.
    pub(crate) fn pushed(&self) -> u64 {
        self.tail.next.load(Ordering::Relaxed)
    }

    /// Whether there is something to take at this moment. In contrast to [`is_empty`](Self::is_empty) it does not see what is
    /// just being put in, and leaves alone what submitters write.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        let head = self.head.load(Ordering::Relaxed);
        self.place(head).stamp.load(Ordering::Relaxed) == head + 1
    }
}

#[cfg(test)]
impl<T: Copy> Ring<T> {
    /// As submitters do.
    fn push(&self, limit: u64, value: T) -> Option<u64> {
        self.try_push_with(limit, || value).or_else(|| self.push_with(limit, || value))
    }

    fn pop(&self) -> Option<(u64, T)> {
        self.pop_with(|value| *value)
    }
}

#[cfg(all(test, not(dsa_loom)))]
mod tests {
    use super::*;

    #[test]
    fn values_come_out_in_order_with_their_positions() {
        for entries in 1..20 {
            let ring = Ring::new(entries);
            let limit = entries as u64;
            let mut next = 0;
            for lap in 0..50 {
                let filled = lap % (limit + 1);
                for i in 0..filled {
                    assert_eq!(ring.push(limit, next + i), Some(next + i));
                }
                assert_eq!(ring.len(), filled);
                for i in 0..filled {
                    assert_eq!(ring.pop(), Some((next + i, next + i)));
                }
                next += filled;
                assert!(ring.is_empty() && ring.pop().is_none());
                assert_eq!(ring.pushed(), next);
            }
        }
    }

    #[test]
    fn a_limit_is_exact() {
        let ring = Ring::new(8);
        for i in 0..3 {
            assert_eq!(ring.push(3, i), Some(i));
        }
        assert_eq!(ring.push(3, 9), None);
        assert_eq!(ring.push(0, 9), None);
        assert_eq!(ring.push(4, 3), Some(3));
        assert!(ring.pop().is_some() && ring.pop().is_some());
        assert_eq!(ring.push(3, 4), Some(4));
        assert_eq!(ring.push(3, 5), None);
    }

    #[test]
    fn many_threads_lose_and_double_nothing() {
        const EACH: u64 = 20_000;
        let ring = Ring::new(4);
        let taken = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let ring = &ring;
                scope.spawn(move || {
                    for i in 0..EACH {
                        while ring.push(4, thread * EACH + i).is_none() {
                            yield_now();
                        }
                    }
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut mine = Vec::new();
                    while ring.pushed() < 3 * EACH || !ring.is_empty() {
                        match ring.pop() {
                            Some(one) => mine.push(one),
                            None => yield_now(),
                        }
                    }
                    taken.lock().unwrap().extend(mine);
                });
            }
        });
        let mut taken = taken.into_inner().unwrap();
        taken.sort_unstable();
        assert!(taken.iter().enumerate().all(|(i, (position, _))| *position == i as u64));
        for thread in 0..3 {
            let of_thread: Vec<_> = taken.iter().map(|(_, v)| *v).filter(|v| v / EACH == thread).collect();
            assert_eq!(of_thread.len() as u64, EACH);
            assert!(of_thread.is_sorted(), "each submitter's own stay in order");
        }
    }
}

#[cfg(all(test, dsa_loom))]
mod loom_tests {
    use std::sync::Arc;

    use super::*;

    /// Two submitters and an engine, on a ring that has laps.
    #[test]
    fn loom_nothing_is_lost_doubled_or_above_the_limit() {
        loom::model(|| {
            let ring = Arc::new(Ring::new(1));
            let submit = |value: u64| {
                let ring = Arc::clone(&ring);
                loom::thread::spawn(move || (0..2).filter_map(|_| ring.push(1, value)).collect::<Vec<_>>())
            };
            let (one, two) = (submit(1), submit(2));
            let mut taken: Vec<_> = (0..2).filter_map(|_| ring.pop()).collect();
            let accepted = [one.join().unwrap(), two.join().unwrap()];
            taken.extend(std::iter::from_fn(|| ring.pop()));
            let mut expected: Vec<_> =
                [1, 2].into_iter().zip(accepted).flat_map(|(v, at)| at.into_iter().map(move |p| (p, v))).collect();
            expected.sort_unstable();
            assert_eq!(taken, expected);
            assert!(ring.is_empty());
        });
    }

    /// Two engines: each value goes to one of them.
    #[test]
    fn loom_each_value_has_one_taker() {
        loom::model(|| {
            let ring = Arc::new(Ring::new(2));
            assert_eq!(ring.push(2, 7), Some(0));
            let other = {
                let ring = Arc::clone(&ring);
                loom::thread::spawn(move || ring.pop())
            };
            let late = ring.push(2, 8);
            let mine = ring.pop();
            let mut taken: Vec<_> = [mine, other.join().unwrap()].into_iter().flatten().collect();
            taken.extend(std::iter::from_fn(|| ring.pop()));
            taken.sort_unstable();
            assert_eq!(late, Some(1));
            assert_eq!(taken, [(0, 7), (1, 8)]);
        });
    }

    /// What was written before a push is visible to whoever pops.
    #[test]
    fn loom_a_push_publishes() {
        loom::model(|| {
            let (ring, data) = (Arc::new(Ring::new(1)), Arc::new(AtomicU64::new(0)));
            let submitter = {
                let (ring, data) = (Arc::clone(&ring), Arc::clone(&data));
                loom::thread::spawn(move || {
                    data.store(5, Ordering::Relaxed);
                    ring.push(1, 1)
                })
            };
            if ring.pop().is_some() {
                assert_eq!(data.load(Ordering::Relaxed), 5);
            }
            submitter.join().unwrap();
        });
    }
}
