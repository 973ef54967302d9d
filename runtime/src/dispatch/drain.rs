//! The wait until every descriptor has ended that an accelerator has given to its queues before. What an operation sends
//! later, as its next piece or as the rest after a page fault, is not waited for.
//!
//! A queue that takes DRAIN is sent one: it completes after everything that was submitted to the queue earlier, by this
//! process. Where there is no DRAIN, or no room for one, the slots are looked at whose submission is older than the wait. A
//! queue that is quiesced meanwhile has nothing left.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use idxd_sys::status;

use super::batch::Runaway;
use super::submission::{Look, Submission};
use crate::accelerator::Accelerator;
use crate::clock;
use crate::descriptor::Drain;
use crate::device::Admission;
use crate::lane::contain;
use crate::shared::Shared;
use crate::stats::{Operation, Path, Reason};

/// One wait for all queues.
pub(crate) struct DrainFlight {
    accelerator: Accelerator,
    /// By queue; empty before the wait has begun.
    parts: Vec<Part>,
    /// Name of this wait at the poller, once it is needed.
    ticket: Option<u64>,
    begun: u64,
    /// Lanes whose collected operations have been sent before.
    flushed: u32,
    /// Why a queue was not drained by a descriptor.
    reason: Option<Reason>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Fresh,
    Waiting,
    Ended,
}

/// How it stands with one queue.
#[derive(Clone, Copy)]
enum Part {
    /// A DRAIN is out.
    Out(Submission),
    /// Slots are looked at.
    Watched,
    /// Nothing is out any more.
    Ended,
}

impl DrainFlight {
    pub(crate) fn new(accelerator: Accelerator) -> Self {
        Self { accelerator, parts: Vec::new(), ticket: None, begun: 0, flushed: 0, reason: None, stage: Stage::Fresh }
    }

    pub(crate) fn is_fresh(&self) -> bool {
        self.stage == Stage::Fresh
    }

    pub(crate) fn reroute(&mut self, accelerator: &Accelerator) {
        debug_assert!(self.is_fresh());
        self.accelerator = accelerator.clone();
    }

    /// Polls until every queue is drained.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Runaway>> {
        let coop = ready!(tokio::task::coop::poll_proceed(cx));
        loop {
            let result = self.look(false);
            if let Err(Runaway) | Ok(true) = result {
                coop.made_progress();
                return Poll::Ready(result.map(|_| ()));
            }
            if self.is_fresh() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            // All parts must end, so it does not matter which is waited for.
            let out = self.parts.iter_mut().find_map(|part| match part {
                Part::Out(submission) => Some(submission),
                _ => None,
            });
            if let Some(submission) = out {
                if !submission.wait_a_little(&self.accelerator, 0, cx) {
                    return Poll::Pending;
                }
                continue;
            }
            let shared = self.accelerator.shared();
            let watched = self.parts.iter().position(|part| matches!(part, Part::Watched));
            let queue = watched.expect("otherwise all have ended") as u32;
            let ticket = *self.ticket.get_or_insert_with(|| shared.drains.ticket());
            shared.drains.insert(ticket, queue, self.begun, cx.waker().clone());
            shared.bell.ring();
            return Poll::Pending;
        }
    }

    /// Waits on the calling thread.
    pub(crate) fn wait(&mut self) {
        let mut round = 0u32;
        // It insists, so there is no other end.
        while self.look(true) == Ok(false) {
            if self.is_fresh() {
                std::thread::yield_now();
                continue;
            }
            round = round.saturating_add(1);
            let shared = self.accelerator.shared();
            for (queue, part) in (0..).zip(&self.parts) {
                match part {
                    Part::Out(submission) => submission.wait_round(shared, round),
                    Part::Watched => wait_round(shared, queue, self.begun, round),
                    Part::Ended => continue,
                }
                break;
            }
        }
    }

    /// Nobody waits any more. What is out goes to the poller.
    pub(crate) fn detach(&mut self) {
        self.stage = Stage::Ended;
        let shared = self.accelerator.shared();
        // In a child the list may be locked for ever, by a poller that only the parent has, and nobody reads it.
        if let Some(ticket) = self.ticket.take()
            && !shared.is_forked()
        {
            contain(|| shared.drains.remove(ticket));
        }
        for part in self.parts.drain(..) {
            if let Part::Out(submission) = part {
                // A waker that panics when it is dropped must not keep the other parts from being handed over.
                contain(|| submission.detach(shared, || Box::new(())));
            }
        }
    }

    /// Looks at every queue that has not ended. True if all have.
    fn look(&mut self, insist: bool) -> Result<bool, Runaway> {
        assert!(self.stage != Stage::Ended, "an operation was polled after it had completed");
        if self.stage == Stage::Fresh {
            if !self.flush() {
                return Ok(false);
            }
            self.begin();
        }
        let mut is_over = true;
        for queue in 0..self.parts.len() {
            if let Part::Out(submission) = self.parts[queue] {
                self.collect(queue, submission, insist)?;
            }
            let shared = self.accelerator.shared();
            if let Part::Watched = self.parts[queue] {
                // A child that was made meanwhile has nothing out.
                if shared.is_forked() || shared.oldest(queue as u32, self.begun).is_none() {
                    self.parts[queue] = Part::Ended;
                } else if !insist && shared.queues[queue].is_runaway() {
                    self.detach();
                    return Err(Runaway);
                }
            }
            is_over &= matches!(self.parts[queue], Part::Ended);
        }
        if is_over {
            self.end();
        }
        Ok(is_over)
    }

    /// Sends what lanes have collected, which was given to the accelerator before. False if another thread is at it, which will not
    /// take long. If it does, that thread is in a driver that is at fault: then what it has is not waited for.
    fn flush(&mut self) -> bool {
        let shared = self.accelerator.shared();
        if self.begun == 0 {
            self.begun = clock::now();
        }
        let is_patient = clock::elapsed(self.begun) < shared.policy.dead_after;
        while self.flushed < shared.lanes.len() as u32 {
            if !shared.flush(self.flushed) && is_patient {
                return false;
            }
            self.flushed += 1;
        }
        true
    }

    /// Sends a DRAIN to every queue that takes one.
    fn begin(&mut self) {
        self.stage = Stage::Waiting;
        // Submissions are stamped by other threads, with plain readings that they take before they submit. What has been
        // submitted to the knowledge of this thread must not seem to be later; see `Lane::oldest`.
        self.begun = clock::now_after_all();
        let shared = self.accelerator.shared();
        if shared.queues.is_empty() {
            self.reason = Some(Reason::NoDevice);
        }
        // A child has nothing out that could reach its memory.
        if shared.is_forked() {
            self.reason = Some(Reason::Forked);
            return;
        }
        self.parts.reserve_exact(shared.queues.len());
        for queue in 0..shared.queues.len() as u32 {
            self.parts.push(match send(shared, queue, self.begun) {
                Ok(submission) => Part::Out(submission),
                Err(reason) => {
                    self.reason = Some(reason);
                    Part::Watched
                }
            });
        }
    }

    /// Looks at a DRAIN that is out.
    fn collect(&mut self, queue: usize, submission: Submission, insist: bool) -> Result<(), Runaway> {
        let shared = self.accelerator.shared();
        self.parts[queue] = match submission.look(shared, insist) {
            Look::Waiting => return Ok(()),
            // SAFETY: it is complete.
            Look::Complete if unsafe { submission.record(shared) }.status == status::SUCCESS => Part::Ended,
            Look::Complete | Look::NotTaken => {
                self.reason = Some(Reason::DeviceError);
                Part::Watched
            }
            // The queue was quiesced, so that nothing earlier is out either.
            Look::Lost(_) => Part::Ended,
            Look::Runaway => {
                self.parts[queue] = Part::Ended;
                submission.leak(&self.accelerator);
                self.detach();
                return Err(Runaway);
            }
        };
        submission.free(shared);
        Ok(())
    }

    fn end(&mut self) {
        self.detach();
        let shared = self.accelerator.shared();
        let stats = &shared.lanes[shared.lane_index() as usize].stats;
        let path = if self.reason.is_none() { Path::Device } else { Path::Cpu };
        if let Some(reason) = self.reason {
            stats.reason(reason);
        }
        stats.operation(path, Operation::Drain, 0);
        stats.latency(path, clock::to_nanos(clock::now().saturating_sub(self.begun)));
    }
}

/// Sends a DRAIN to one queue.
fn send(shared: &Shared, queue: u32, now: u64) -> Result<Submission, Reason> {
    let target = &shared.queues[queue as usize];
    if !target.is_open() {
        return Err(Reason::DeviceLost);
    }
    // Others are first.
    if shared.waiters.any() {
        return Err(Reason::QueueFull);
    }
    let submission = Submission::acquire(shared).ok_or(Reason::NoSlot)?;
    let descriptor = Drain::new().record(submission.record_addr(shared)).build(target.capabilities());
    let reason = match &descriptor {
        Err(_) => Reason::Unsupported,
        // SAFETY: nothing is out on a fresh slot; the descriptor names no memory but the slot's record.
        Ok(descriptor) => match unsafe { submission.send(shared, queue, descriptor, (Operation::Drain, 0), now) } {
            Admission::Accepted => return Ok(submission),
            Admission::Full => Reason::QueueFull,
            Admission::Closed => Reason::DeviceLost,
        },
    };
    submission.free(shared);
    Err(reason)
}

/// One step of blocking waiting for slots of others; counts up from 1.
fn wait_round(shared: &Shared, queue: u32, since: u64, round: u32) {
    const YIELDS: u32 = 100;
    if round < YIELDS {
        std::thread::yield_now();
        return;
    }
    std::thread::sleep(Duration::from_micros(50));
    if let Some((at, epoch)) = shared.oldest(queue, since) {
        shared.watch_over(&shared.queues[queue as usize], epoch, at);
    }
}
