//! The gate in front of a queue: recovery must be certain that nobody submits behind its back.
//!
//! A submitter first announces itself in its lane's counter, then looks at the gate. Who closes the gate first marks it
//! closed, then looks for announced submitters and waits until they have left. Both sides store before they load, and
//! all four accesses are sequentially consistent, so they cannot both miss the other.
//!
//! There is one counter per queue and lane: lanes do not share a cache line, and traffic to other queues does not keep
//! anybody waiting.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_utils::CachePadded;

use super::sync::{AtomicBool, AtomicUsize, Deadline, Ordering, model_fence, spin_wait};

/// Far longer than a submission takes, a preempted thread's included.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether a queue takes submissions.
#[derive(Debug)]
pub(crate) struct Gate {
    closed: AtomicBool,
    /// Threads inside, by lane.
    inside: Box<[Entrance]>,
}

/// Where a lane's threads enter a gate: how many of them are inside.
pub(crate) type Entrance = Arc<CachePadded<AtomicUsize>>;

/// A submitter inside. It leaves by [`leave`](Self::leave); a panic leaves it inside, and the gate's closer waits in vain,
/// which is the safe side.
#[derive(Debug)]
pub(crate) struct Inside<'a>(&'a AtomicUsize);

impl Inside<'_> {
    #[inline]
    pub(crate) fn leave(self) {
        // Release: whoever closes the gate sees what was submitted.
        self.0.fetch_sub(1, Ordering::Release);
    }
}

impl Gate {
    /// An open gate for submitters from `lanes` lanes.
    pub(crate) fn new(lanes: usize) -> Self {
        Self {
            closed: AtomicBool::new(false),
            inside: (0..lanes).map(|_| Arc::new(CachePadded::new(AtomicUsize::new(0)))).collect(),
        }
    }

    /// Whether it is open at this moment; a hint.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        !self.closed.load(Ordering::Relaxed)
    }

    /// The entrance of lane number `lane`.
    #[inline]
    pub(crate) fn entrance(&self, lane: u32) -> &Entrance {
        &self.inside[lane as usize]
    }

    /// Enters by one of this gate's entrances. The gate's closer waits for whoever is inside to leave.
    #[expect(clippy::inline_always, reason = "measured in instructions")]
    #[inline(always)]
    pub(crate) fn enter<'a>(&self, entrance: &'a Entrance) -> Option<Inside<'a>> {
        debug_assert!(self.inside.iter().any(|one| Arc::ptr_eq(one, entrance)), "an entrance of another gate");
        let inside = Inside(entrance);
        inside.0.fetch_add(1, Ordering::SeqCst);
        model_fence();
        if self.closed.load(Ordering::SeqCst) {
            inside.leave();
            return None;
        }
        Some(inside)
    }

    /// Closes the gate and waits until nobody is inside; true if nobody is. Those inside leave after one look at the queue
    /// (they stop retrying when the gate is closed), and those who come find it closed, so this ends soon. It ends after
    /// [`PATIENCE`] all the same, or after one look without `patience`, with false: a thread can die inside, in a driver
    /// that is at fault itself.
    pub(crate) fn close(&self, patience: bool) -> bool {
        self.closed.store(true, Ordering::SeqCst);
        model_fence();
        let deadline = Deadline::after(PATIENCE);
        for lane in &self.inside {
            while lane.load(Ordering::SeqCst) != 0 {
                if !patience || deadline.is_over() {
                    return false;
                }
                spin_wait();
            }
        }
        true
    }

    /// Opens it again.
    pub(crate) fn open(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }
}
