//! What a worker does for the other operations of its lane while it is awake: it looks at a few that are armed, and wakes
//! those that have completed.
//!
//! The poller would find them too, but only by waking a task from another thread, which costs microseconds where the
//! worker sleeps. A worker that wakes a task of its own costs it nothing but the look.
//!
//! A sweep is cheap however many are armed: it goes through the set in the order of the slots, which is the order of submission
//! as long as a lane fills up, and stops at the first few that still wait. What completes, completes about in order: behind
//! two that wait there is little to be found. The next sweep begins at the first that waited, if this one found
//! something. If not, it begins behind it, so that a few long operations do not hide all others.
//!
//! **Nothing is lost by it.** Whatever is armed is in the watch set, and the poller watches over the set by the protocol of
//! [`super::watch`], whoever else looks. A sweep takes out only what it wakes, before it wakes it. What it did not look at, or
//! saw waiting, is as it was: a worker may stop looking at any time and go to sleep, without a word to anybody.

use std::ops::ControlFlow;

use super::Seen;
use super::sync::Ordering;
use super::watch::{Bell, WatchSet};

/// How much one sweep may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Slots that are looked at.
    pub(crate) looks: u32,
    /// Of those, how many may be found waiting.
    pub(crate) waits: u32,
}

impl Effort {
    /// Beside a poll, which has something to do of its own.
    pub(crate) const POLL: Self = Self { looks: 8, waits: 2 };

    /// By a worker that has nothing else to do.
    pub(crate) const PARK: Self = Self { looks: 64, waits: 4 };
}

/// What a sweep has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    pub(crate) woken: u32,
    pub(crate) waiting: u32,
}

impl WatchSet {
    /// Calls `visit` ([`super::Lane::visit_held`]) with the next few slots of the set.
    pub(crate) fn sweep(&self, effort: Effort, bell: &Bell, mut visit: impl FnMut(u32) -> Seen) -> Swept {
        let mut swept = Swept::default();
        let (mut looks, mut first_waiting, mut put_back) = (0, None, false);
        // Two that sweep at the same time may begin at the same place, and use what the other has left there.
        self.walk_from(self.cursor.load(Ordering::Relaxed), |index| {
            looks += 1;
            match visit(index) {
                Seen::Waiting => {
                    swept.waiting += 1;
                    first_waiting.get_or_insert(index);
                }
                Seen::PutBack => put_back = true,
                Seen::Woken | Seen::Reaped => swept.woken += 1,
                Seen::Gone => {}
            }
            if looks >= effort.looks || swept.waiting >= effort.waits {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        if put_back {
            bell.ring();
        }
        if let Some(first) = first_waiting {
            self.cursor.store(if swept.woken == 0 { first + 1 } else { first }, Ordering::Relaxed);
        }
        swept
    }
}

#[cfg(all(test, not(dsa_loom)))]
mod tests {
    use super::*;

    /// What a sweep looks at, and what it says, where the slots in `waiting` wait and the others are woken.
    fn sweep(set: &WatchSet, effort: Effort, waiting: &[u32]) -> (Vec<u32>, Swept) {
        let mut seen = Vec::new();
        let swept = set.sweep(effort, &Bell::new(), |index| {
            seen.push(index);
            if waiting.contains(&index) {
                return Seen::Waiting;
            }
            set.remove(index);
            Seen::Woken
        });
        (seen, swept)
    }

    const FEW: Effort = Effort { looks: 4, waits: 2 };

    fn set(armed: impl IntoIterator<Item = u32>) -> WatchSet {
        let set = WatchSet::new(100);
        armed.into_iter().for_each(|index| set.insert(index));
        set
    }

    #[test]
    fn a_sweep_wakes_in_order_until_two_wait() {
        let set = set(0..10);
        assert_eq!(sweep(&set, FEW, &[1, 2, 3]), (vec![0, 1, 2], Swept { woken: 1, waiting: 2 }));
        // There was something: the first that waited comes first again.
        assert_eq!(sweep(&set, FEW, &[3, 4]), (vec![1, 2, 3, 4], Swept { woken: 2, waiting: 2 }));
        assert_eq!(set.armed(), 7);
    }

    #[test]
    fn a_sweep_looks_at_no_more_than_it_may() {
        let set = set(0..10);
        assert_eq!(sweep(&set, FEW, &[]), (vec![0, 1, 2, 3], Swept { woken: 4, waiting: 0 }));
        assert_eq!(sweep(&set, FEW, &[]).0, [4, 5, 6, 7]);
        assert_eq!(sweep(&set, FEW, &[]).0, [8, 9]);
        assert_eq!(sweep(&set, FEW, &[]), (vec![], Swept::default()));
    }

    #[test]
    fn operations_that_take_long_hide_others_for_a_few_sweeps_only() {
        let set = set(0..10);
        let long = [0, 1, 2, 3, 4, 5];
        let until_found = (1..20).find(|_| sweep(&set, FEW, &long).1.woken > 0);
        assert_eq!(until_found, Some(6));
    }

    #[test]
    fn what_is_no_business_of_a_worker_counts_as_a_look() {
        let set = set(0..10);
        let mut looks = 0;
        let swept = set.sweep(FEW, &Bell::new(), |_| {
            looks += 1;
            Seen::Gone
        });
        assert_eq!((looks, swept), (4, Swept::default()));
    }
}
