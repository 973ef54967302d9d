//! What an operation does when there is no room for it: in no queue that takes it, or for want of a slot.
//!
//! [`Pressure`] is the choice. [`Turn`] is a place in the line of those who wait ([`crate::lane::waiters`]), as flights and
//! batches hold one. A turn must be left explicitly, and whoever drops an operation does; one that is forgotten
//! with its operation holds the others up once, for at most [`Policy::dead_after`](super::Policy::dead_after).

#![forbid(unsafe_code)]

use std::task::Waker;
use std::time::Duration;

use crate::clock;
use crate::shared::Shared;
use crate::stats::{Event, Reason};

/// What an operation does that would go to a device, and finds no room: every queue that takes it is full, or all slots are
/// in use.
///
/// Set for all operations by [`Policy::pressure`](crate::Policy::pressure), and for one by its `on_pressure`.
///
/// | | who does it | for |
/// |---|---|---|
/// | [`Cpu`](Self::Cpu) | the CPU, at once | the least latency; a machine with cycles to spare |
/// | [`Wait`](Self::Wait) | the device, later | throughput in a fair order; a CPU that is needed for something else |
/// | [`Fail`](Self::Fail) | nobody | shedding load: the caller has something better to do than to wait or to copy |
///
/// Room is found in the order of arrival: while somebody waits, newcomers find none, whatever they do about that. A job of
/// several pieces that has begun is no newcomer when it sends the next one from the slot that it has.
///
/// A device that is gone is not pressure. Operations that wait for it go to another queue or to the CPU as soon as
/// that is noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pressure {
    /// The CPU does the work, or the rest of it. An operation that is `device_only` ends with
    /// [`Error::DeviceOnly`](crate::Error::DeviceOnly).
    #[default]
    Cpu,
    /// The operation waits for room, first come, first served. Dropping it gives up its place, and its buffers at once.
    ///
    /// After [`Policy::lost_after`](crate::Policy::lost_after) without room it goes on as with [`Cpu`](Self::Cpu): a queue may
    /// refuse for ever without being dead, and slots may be held by futures that nobody polls. For instance by the caller's
    /// own: await operations together, rather than one while others that have been polled lie idle.
    ///
    /// An operation that is called, because there may be room, and is not polled within
    /// [`Policy::dead_after`](crate::Policy::dead_after), lets the next one go first. It has its old place again when it is
    /// polled.
    ///
    /// Blocking calls wait on their thread. What is started in a [`blocking::Scope`](crate::blocking::Scope) does not wait,
    /// because the room may be what the scope itself holds: the CPU does it, as with [`Cpu`](Self::Cpu).
    Wait,
    /// The operation ends with [`Error::Pressure`](crate::Error::Pressure), and gives its buffers back as they were.
    ///
    /// Nothing is left half-done: an operation, or a batch, of which a part has been done or is on its way, goes on as with
    /// [`Cpu`](Self::Cpu). So do blocking calls, most of which have no error to return.
    Fail,
}

/// A place in the line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    ticket: u64,
    since: u64,
    reason: Reason,
    /// Whether its owner has been first at its last [`present`](Self::present).
    pub(super) is_first: bool,
    /// Whether it has been presented in this poll.
    pub(super) is_present: bool,
}

/// Whether a reason is about pressure.
pub(super) fn is_pressure(reason: Reason) -> bool {
    matches!(reason, Reason::QueueFull | Reason::NoSlot)
}

impl Turn {
    /// Joins the line, for want of what `reason` says.
    #[cold]
    pub(super) fn new(shared: &Shared, reason: Reason) -> Self {
        count(shared, Event::WaitsBegun);
        let since = clock::now();
        let turn = Self { ticket: shared.waiters.join(since), since, reason, is_first: false, is_present: false };
        // The poller sees to it that the first looks again, even if nobody calls it.
        shared.bell.ring();
        turn
    }

    /// The owner looks after its place, and leaves `waker` to be called with.
    pub(super) fn present(&mut self, shared: &Shared, waker: Option<Waker>) {
        self.is_present = true;
        // In a child the line may be locked for ever, and the operation leaves it at the next try.
        if shared.is_forked() {
            self.is_first = false;
            return;
        }
        let is_to_be_woken = waker.is_some();
        self.is_first = shared.waiters.present(self.ticket, self.since, waker);
        if is_to_be_woken {
            // The line may have been empty, if this place had been lost, and the poller asleep.
            shared.bell.ring();
        }
    }

    /// The first has tried in vain once more.
    pub(super) fn tried(&mut self, reason: Reason) {
        self.reason = reason;
        self.is_first = false;
    }

    /// Why it makes no sense to go on waiting.
    pub(super) fn is_over(&self, shared: &Shared) -> Option<Reason> {
        if shared.is_forked() {
            return Some(Reason::Forked);
        }
        (clock::elapsed(self.since) > shared.policy.lost_after).then_some(self.reason)
    }

    /// Leaves the line, and counts how the wait has ended.
    pub(super) fn leave(self, shared: &Shared, how: Event) {
        count(shared, how);
        if !shared.is_forked() {
            shared.waiters.leave(self.ticket, clock::now());
        }
    }

    /// Nobody waits any more.
    #[cold]
    pub(super) fn cancel(self, shared: &Shared) {
        count(shared, Event::Cancelled);
        self.leave(shared, Event::WaitsCancelled);
    }

    /// One step of blocking waiting; counts up from 1.
    pub(super) fn pause(round: u32) {
        const YIELDS: u32 = 100;
        if round < YIELDS {
            std::thread::yield_now();
        } else {
            std::thread::sleep(Duration::from_micros(50));
        }
    }
}

fn count(shared: &Shared, event: Event) {
    shared.lanes[shared.lane_index() as usize].stats.event(event);
}
