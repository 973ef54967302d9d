//! The line of those who wait for room: for a slot, or for a place in a queue.
//!
//! First come, first served. Only the first in the line may try; everybody else has to be first first, and newcomers go
//! behind the last. So the line is one for the whole accelerator: a free slot of any lane will do, and a place in any
//! queue that takes the operation.
//!
//! **Calls.** Whoever gives room back calls the first: a load if nobody waits, a short lock otherwise. Who leaves the line
//! from its head, served or not, calls the next. Room also appears without our knowing, when a device takes a descriptor
//! out of a queue that others use as well. So the poller calls the first every now and then, as long as there is one
//! ([`Waiters::look_after`]); that also makes up for a call that crossed with somebody's joining.
//!
//! **No-shows.** A future that was forgotten stays in the line, and nobody can tell. Who is called and does not come within
//! a grace loses its place, so that it holds the others up once, and not for long. If it comes after all, it gets its
//! old place back: places are in the order of tickets, and a ticket is for good.
//!
//! Wakers are code of the user's: they are neither called nor dropped under the lock, and their panics are contained.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Duration;

use super::contain;
use super::hinted::Hinted;
use super::sync::Ordering;
use crate::clock;

/// In place of a process: no newcomer may go ahead. Not 0, which is what a process reads that has no number yet.
const NOBODY: u64 = u64::MAX;

/// First and longest time between two calls of the poller's.
const SHORTEST_PACE: Duration = Duration::from_micros(50);
const LONGEST_PACE: Duration = Duration::from_millis(1);

/// Those who wait for room in one accelerator.
pub(crate) struct Waiters {
    /// The word is the process to which the lanes belong while the line is empty, [`NOBODY`] while it is not: what newcomers
    /// have to know in one look.
    line: Hinted<Line>,
    process: u64,
}

struct Line {
    /// In ascending order of tickets.
    places: VecDeque<Place>,
    next: u64,
    /// When the poller calls the first again, and how long it waits then.
    due: u64,
    pace: Duration,
}

struct Place {
    ticket: u64,
    /// When its owner joined, in ticks.
    since: u64,
    /// When it was called last, in ticks, if it has not come since.
    called: Option<u64>,
    /// Taken when it is called. A blocking caller has none and looks for itself.
    waker: Option<Waker>,
}

impl Place {
    /// Has it called at `now`: its waker, to be used once the lock is free.
    fn call(&mut self, now: u64) -> Option<Waker> {
        self.called.get_or_insert(now);
        self.waker.take()
    }
}

impl Waiters {
    /// Nobody waits. `process` is that of the accelerator (see [`crate::process::generation`]), and not 0.
    pub(crate) fn new(process: u64) -> Self {
        let line = Line { places: VecDeque::new(), next: 0, due: 0, pace: SHORTEST_PACE };
        Self { line: Hinted::new(line, process), process }
    }

    /// Whether anybody waits. A hint, which orders nothing: the poller makes up for one that came too early.
    #[expect(clippy::inline_always, reason = "measured in instructions")]
    #[inline(always)]
    pub(crate) fn any(&self) -> bool {
        self.line.word(Ordering::Relaxed) == NOBODY
    }

    /// Whether a newcomer may go ahead: nobody waits, and it is of the accelerator's own process. As much of a hint. `process`
    /// is 0 where the newcomer's has no number yet.
    #[expect(clippy::inline_always, reason = "measured in instructions")]
    #[inline(always)]
    pub(crate) fn admits(&self, process: u64) -> bool {
        self.line.word(Ordering::Relaxed) == process
    }

    /// Joins the line as its last, at `now`. Gives the ticket.
    pub(crate) fn join(&self, now: u64) -> u64 {
        self.change(|line| {
            let ticket = line.next;
            line.next += 1;
            if line.places.is_empty() {
                line.start_over(now);
            }
            line.places.push_back(Place { ticket, since: now, called: None, waker: None });
            ticket
        })
    }

    /// The owner of `ticket`, who joined at time `since`, is here. Says whether it is the first, and so may try at once; else
    /// `waker` is called when it should look again. A place that was lost is given back.
    pub(crate) fn present(&self, ticket: u64, since: u64, waker: Option<Waker>) -> bool {
        let (is_first, before) = self.change(|line| {
            let index = match line.find(ticket) {
                Ok(index) => index,
                Err(index) => {
                    line.places.insert(index, Place { ticket, since, called: None, waker: None });
                    index
                }
            };
            let place = &mut line.places[index];
            place.called = None;
            (index == 0, std::mem::replace(&mut place.waker, waker))
        });
        // A waker is the user's, and is not dropped under the lock.
        drop(before);
        is_first
    }

    /// Leaves the line, wherever its owner stands. Passes the turn on.
    pub(crate) fn leave(&self, ticket: u64, now: u64) {
        let (mine, next) = self.change(|line| {
            let Ok(index) = line.find(ticket) else { return (None, None) };
            let mine = line.places.remove(index);
            // There may be room for several.
            let next = if index == 0 { line.call_first(now) } else { None };
            if index == 0 {
                line.start_over(now);
            }
            (mine, next)
        });
        // The turn first: what is dropped may panic.
        wake(next);
        contain(|| drop(mine));
    }

    /// There may be room: calls the first.
    pub(crate) fn call_first(&self, now: u64) {
        wake(self.change(|line| line.call_first(now)));
    }

    /// The poller's part: calls the first now and then, and everybody who joined longer than `bound` ago; takes the places of
    /// those who do not come within `grace`. Returns whether anybody waits.
    pub(crate) fn look_after(&self, now: u64, grace: u64, bound: u64) -> bool {
        if !self.any() {
            return false;
        }
        let mut wakers = Vec::new();
        let mut gone = Vec::new();
        let is_any = self.change(|line| {
            let is_late = |place: &Place| place.called.is_some_and(|at| now.saturating_sub(at) > grace);
            while line.places.front().is_some_and(is_late) {
                gone.extend(line.places.pop_front());
                line.start_over(now);
                wakers.extend(line.call_first(now));
            }
            if now >= line.due {
                line.due = now.saturating_add(clock::ticks(line.pace));
                line.pace = (line.pace * 2).min(LONGEST_PACE);
                wakers.extend(line.call_first(now));
            }
            let overdue = line.places.iter_mut().take_while(|place| now.saturating_sub(place.since) > bound);
            wakers.extend(overdue.filter_map(|place| place.call(now)));
            !line.places.is_empty()
        });
        for waker in wakers {
            wake(Some(waker));
        }
        for place in gone {
            contain(|| drop(place));
        }
        is_any
    }

    fn change<T>(&self, change: impl FnOnce(&mut Line) -> T) -> T {
        self.line.change(|line| if line.places.is_empty() { self.process } else { NOBODY }, change)
    }
}

impl Line {
    /// Where a ticket stands, or would.
    fn find(&self, ticket: u64) -> Result<usize, usize> {
        self.places.binary_search_by_key(&ticket, |place| place.ticket)
    }

    fn call_first(&mut self, now: u64) -> Option<Waker> {
        self.places.front_mut()?.call(now)
    }

    /// Somebody else is first: the poller calls more often again.
    fn start_over(&mut self, now: u64) {
        self.pace = SHORTEST_PACE;
        self.due = now.saturating_add(clock::ticks(SHORTEST_PACE));
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        contain(|| waker.wake());
    }
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

    impl Counter {
        fn take(&self) -> usize {
            self.0.swap(0, Ordering::SeqCst)
        }
    }

    /// Somebody in the line.
    struct Guest {
        ticket: u64,
        calls: Arc<Counter>,
    }

    impl Guest {
        fn join(waiters: &Waiters) -> Self {
            Self { ticket: waiters.join(0), calls: Arc::default() }
        }

        fn present(&self, waiters: &Waiters) -> bool {
            waiters.present(self.ticket, 0, Some(Waker::from(Arc::clone(&self.calls))))
        }
    }

    const GRACE: u64 = 1000;
    const NEVER: u64 = u64::MAX;

    /// Three who wait, all of them present.
    fn three() -> (Waiters, [Guest; 3]) {
        let waiters = Waiters::new(1);
        assert!(!waiters.any() && waiters.admits(1) && !waiters.admits(2));
        let guests = [(); 3].map(|()| Guest::join(&waiters));
        assert!(waiters.any() && !waiters.admits(1));
        assert_eq!(guests.each_ref().map(|guest| guest.present(&waiters)), [true, false, false]);
        (waiters, guests)
    }

    fn calls(guests: &[Guest; 3]) -> [usize; 3] {
        guests.each_ref().map(|guest| guest.calls.take())
    }

    #[test]
    fn the_first_is_called_once_until_it_comes() {
        let (waiters, guests) = three();
        waiters.call_first(1);
        waiters.call_first(2);
        assert_eq!(calls(&guests), [1, 0, 0]);
        assert!(guests[0].present(&waiters));
        waiters.call_first(3);
        assert_eq!(calls(&guests), [1, 0, 0]);
    }

    #[test]
    fn the_turn_is_passed_on_by_whoever_leaves_from_the_head() {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let (waiters, guests) = three();
            let mut left = vec![0, 1, 2];
            for leaver in order {
                let was_first = left[0] == leaver;
                left.retain(|&one| one != leaver);
                waiters.leave(guests[leaver].ticket, 1);
                // A second time does nothing.
                waiters.leave(guests[leaver].ticket, 1);
                let mut expected = [0; 3];
                if let (true, Some(&first)) = (was_first, left.first()) {
                    expected[first] = 1;
                }
                assert_eq!(calls(&guests), expected, "{order:?}, {leaver} has left");
                assert_eq!(waiters.any(), !left.is_empty());
                assert_eq!(Arc::strong_count(&guests[leaver].calls), 1, "its waker is dropped");
            }
        }
    }

    #[test]
    fn who_does_not_come_loses_its_place_and_gets_it_back() {
        let (waiters, guests) = three();
        waiters.call_first(10);
        waiters.look_after(10 + GRACE, GRACE, NEVER);
        guests[1].calls.take();
        assert!(!guests[1].present(&waiters), "the first has its grace");
        assert!(waiters.look_after(11 + GRACE, GRACE, NEVER));
        assert_eq!(calls(&guests), [1, 1, 0], "the next is called in its place");
        assert!(guests[1].present(&waiters));
        // It comes after all, with the same ticket.
        assert!(guests[0].present(&waiters));
        assert!(!guests[1].present(&waiters));
    }

    #[test]
    fn forgotten_ones_hold_the_others_up_once() {
        let (waiters, guests) = three();
        let mut now = 1;
        waiters.call_first(now);
        for gone in 1..=3 {
            now += GRACE + 1;
            assert_eq!(waiters.look_after(now, GRACE, NEVER), gone < 3);
        }
        assert_eq!(calls(&guests), [1, 1, 1]);
        assert!(!waiters.any());
        let late = Guest::join(&waiters);
        assert!(late.present(&waiters));
    }

    #[test]
    fn the_poller_calls_the_first_at_a_pace() {
        let (waiters, guests) = three();
        let (mut now, mut called) = (0, 0);
        let step = clock::ticks(SHORTEST_PACE) / 2;
        for _ in 0..400 {
            now += step;
            waiters.look_after(now, NEVER, NEVER);
            called += guests[0].calls.take();
            guests[0].present(&waiters);
        }
        // 200 times the shortest pace: five calls until it is the longest, then one in 20.
        assert!((10..=16).contains(&called), "{called} calls");
        assert_eq!(calls(&guests), [0, 0, 0]);
    }

    #[test]
    fn everybody_is_called_whose_time_is_up() {
        let (waiters, guests) = three();
        waiters.look_after(1001, NEVER, 1000);
        assert_eq!(calls(&guests), [1, 1, 1]);
    }

    #[test]
    fn a_waker_that_panics_harms_nobody() {
        struct Panics;
        impl Wake for Panics {
            fn wake(self: Arc<Self>) {
                std::panic::resume_unwind(Box::new(()));
            }
        }
        let (waiters, guests) = three();
        waiters.present(guests[0].ticket, 0, Some(Waker::from(Arc::new(Panics))));
        waiters.call_first(1);
        waiters.leave(guests[0].ticket, 2);
        assert_eq!(calls(&guests), [0, 1, 0]);
        assert!(guests[1].present(&waiters));
    }
}
