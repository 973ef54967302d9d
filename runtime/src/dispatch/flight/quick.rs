//! The short way of a poll ([`super::super::quick`] has what it needs to know of jobs and records).

use std::task::Context;

use super::super::job::{Piece, Plain, Quick, Work};
use super::super::quick::{self, Templates};
use super::super::submission::Submission;
use super::{Flight, Options, Stage, count_latency, is_sampled};
use crate::accelerator::Accelerator;
use crate::device::Queue;
use crate::lane::free::Near;
use crate::lane::records::RecordCell;
use crate::lane::{Lane, Place};
use crate::shared::Shared;
use crate::stats::{Operation, Path};

impl Flight<Plain> {
    /// Tries the short way ([`super::super::quick`]): submits a fresh job, or takes the result of one that is out. True if it
    /// has ended, with the job's own [`outcome`](Work::outcome); otherwise [`wait_quickly`](Self::wait_quickly) is next.
    ///
    /// # Safety
    ///
    /// As for [`Flight::poll`].
    // Not compiled into every `.await`, which has just enough of its own to call it.
    #[inline(never)]
    pub(crate) unsafe fn poll_quickly(&mut self, accelerator: &Accelerator) -> bool {
        if matches!(self.stage, Stage::Fresh) {
            // SAFETY: the caller's promise.
            return unsafe { self.launch_quickly(accelerator) };
        }
        self.collect_quickly(accelerator)
    }

    /// What [`Flight::poll`] does about a descriptor that is out, if nothing is unusual about it. True if the task will be
    /// woken, false if it is for `poll`, whatever has been done of it.
    #[inline(never)]
    pub(crate) fn wait_quickly(&mut self, accelerator: &Accelerator, cx: &Context<'_>) -> bool {
        let Stage::Out(submission, piece) = &mut self.stage else { return false };
        submission.is_ordinary(accelerator.shared()) && !submission.wait_a_little(accelerator, piece.size, cx)
    }

    /// Submits a fresh job, and looks whether it is done already.
    ///
    /// # Safety
    ///
    /// As for [`Flight::poll`].
    #[expect(clippy::inline_always, reason = "measured in instructions")]
    #[inline(always)]
    unsafe fn launch_quickly(&mut self, accelerator: &Accelerator) -> bool {
        let shared = accelerator.shared();
        let lane = shared.lane();
        let templates = &lane.home.templates;
        let quick = self.job.quick();
        let head = if self.options.is_empty() { templates.admit(&quick, false) } else { self.told(templates) };
        // While others wait for room it is theirs.
        if head == 0 {
            // SAFETY: the caller's promise.
            return unsafe { self.launch_asking(accelerator) };
        }
        if !shared.admits() {
            return false;
        }
        // SAFETY: the template was made of the queue that has this number.
        let queue = unsafe { shared.queues.get_unchecked(lane.home.queue as usize) };
        // One that has company is sent together with it, which is another way.
        let Some((near, place)) = lane.acquire_alone() else {
            // SAFETY: the caller's promise.
            return unsafe { self.launch_among(shared, lane, queue, head) };
        };
        // SAFETY: the slot is fresh, and the descriptor names its record, and what the job works on, for which the caller
        // vouches.
        unsafe {
            place.fill(quick::describe(&quick, head, place.record.addr()));
            self.submit_quickly(lane, queue, near, place)
        }
    }

    /// Submits a fresh job whose lane may have others in flight.
    ///
    /// # Safety
    ///
    /// As for [`Flight::poll`].
    #[inline(never)]
    unsafe fn launch_among(&mut self, shared: &Shared, lane: &Lane, queue: &Queue, head: u64) -> bool {
        let Some((near, place)) = lane.acquire_near() else { return false };
        let quick = self.job.quick();
        // SAFETY: as in `launch_quickly`.
        unsafe {
            place.fill(quick::describe(&quick, head, place.record.addr()));
            let is_staged = self.stage_quickly(shared, lane, queue, near.index, &quick);
            !is_staged && self.submit_quickly(lane, queue, near, place)
        }
    }

    /// Submits from a slot that is ready, and looks whether it is done already.
    ///
    /// # Safety
    ///
    /// The slot is held, its record reset; its descriptor names the record, and what the job works on, for which
    /// [`Flight::poll`]'s caller vouches.
    #[expect(clippy::inline_always, reason = "measured in instructions")]
    #[inline(always)]
    unsafe fn submit_quickly(&mut self, lane: &Lane, queue: &Queue, near: Near<'_>, place: &Place) -> bool {
        // SAFETY: the caller's promise.
        if !unsafe { queue.submit_place(lane, place, lane.home.clock.now()) } {
            Lane::release_near(near, place);
            return false;
        }
        let status = place.record.status();
        // SAFETY: with a status other than 0 the device is done with the record of a slot that is held.
        let Some(operation) = (unsafe { quick::absorb(&mut self.job, status, &place.record) }) else {
            let len = self.job.quick().len;
            self.stage = Stage::Out(Submission::of(lane.home.lane, near.index), Piece::new(len));
            return false;
        };
        self.stage = Stage::Done;
        count_quickly(lane, operation, self.job.total(), || place.slot.submitted_at());
        queue.return_credit();
        // Nobody waited just now. The poller tells whoever has come since.
        Lane::release_near(near, place);
        true
    }

    /// Leaves a slot that is ready to be sent together with others, if there are any to wait for.
    ///
    /// # Safety
    ///
    /// As for [`submit_quickly`](Self::submit_quickly).
    pub(super) unsafe fn stage_quickly(
        &mut self,
        shared: &Shared,
        lane: &Lane,
        queue: &Queue,
        slot: u32,
        quick: &Quick,
    ) -> bool {
        let len = quick.len;
        if len > shared.policy.batch_max_size as u64
            || !lane.has_company(slot, shared.policy.batch_min_in_flight)
            || !shared.may_collect(queue)
        {
            return false;
        }
        let now = lane.home.clock.now();
        // Its stamp will say when it was sent.
        self.begun = now;
        lane.slot(slot).stamp_staged(lane.home.queue, now);
        shared.begun(lane.home.lane, slot, lane.home.queue, (quick.kind.operation(), len), now);
        self.stage = Stage::Out(Submission::of(lane.home.lane, slot), Piece::new(len));
        // SAFETY: the caller's promise. Until the flight has ended or is detached it keeps what the job works on.
        if unsafe { lane.collector.stage(slot) } {
            shared.flush(lane.home.lane);
        }
        true
    }

    /// The head of the descriptor where something was asked for: a device can have it, if that is all, however small it is.
    #[cold]
    #[inline(never)]
    fn told(&self, templates: &Templates) -> u64 {
        if self.options == Options::DEVICE { templates.admit(&self.job.quick(), true) } else { 0 }
    }

    /// Takes the result of a descriptor that has done the whole job. As by [`launch_quickly`](Self::launch_quickly).
    #[inline(never)]
    fn collect_quickly(&mut self, accelerator: &Accelerator) -> bool {
        let Stage::Out(submission, piece) = self.stage else {
            // Done: the task's budget did not allow it to take the result.
            return matches!(self.stage, Stage::Done);
        };
        let quick = self.job.quick();
        if submission.is_armed() || !piece.is_whole(quick.len) {
            return false;
        }
        let (shared, job) = (accelerator.shared(), &mut self.job);
        let lane = submission.lane(shared);
        let is_done = |status, record: &RecordCell| {
            // SAFETY: the status is that of the record of a slot that is held.
            unsafe { quick::absorb(job, status, record) }
        };
        let Some((operation, at)) = submission.end_quickly(shared, lane, is_done) else {
            // If it is only staged: everything that was polled together with it has been by now.
            if lane.collector.may_have_any() {
                submission.send_staged(shared);
            }
            return false;
        };
        let begun = if self.begun == 0 { at } else { self.begun };
        self.stage = Stage::Done;
        count_quickly(lane, operation, self.job.total(), || begun);
        submission.after_end(shared, lane);
        true
    }
}

/// Counts an operation that a device has done.
#[expect(clippy::inline_always, reason = "measured in instructions")]
#[inline(always)]
pub(super) fn count_quickly(lane: &Lane, operation: Operation, bytes: u64, begun: impl FnOnce() -> u64) {
    let before = lane.stats.operation(Path::Device, operation, bytes);
    if is_sampled(before, bytes) {
        count_latency(lane, Path::Device, begun());
    }
}
