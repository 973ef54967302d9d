//! The short way of a poll ([`super::super::quick`] has what it needs to know of jobs and records).

use std::task::Context;

use super::super::Route;
use super::super::job::{Kind, Load, Piece};
use super::super::quick;
use super::super::submission::Submission;
use super::{Flight, Quickly, Stage, count_latency, is_sampled};
use crate::accelerator::Accelerator;
use crate::clock;
use crate::lane::Lane;
use crate::lane::slot::NOT_SUBMITTED;
use crate::stats::Path;

impl<J: Load> Flight<J> {
    /// Tries the short way ([`super::quick`]): submits a fresh job, takes the result of one that is out, waits for it.
    ///
    /// # Safety
    ///
    /// As for [`Flight::poll`].
    // Not compiled into every `.await`, which has just enough of its own to call it.
    #[inline(never)]
    pub(crate) unsafe fn poll_quickly(&mut self, accelerator: &Accelerator, cx: &Context<'_>) -> Quickly {
        let ended = match self.stage {
            // SAFETY: the caller's promise.
            Stage::Fresh => unsafe { self.launch_quickly(accelerator) },
            Stage::Out(submission, _) => {
                let ended = self.collect_quickly(accelerator);
                // Everything that was polled together with it has been by now.
                if ended.is_none() {
                    submission.send_staged(accelerator.shared());
                }
                ended
            }
            _ => Some(false),
        };
        match ended {
            Some(true) => Quickly::Done,
            Some(false) => Quickly::Not,
            None => self.wait_quickly(accelerator, cx),
        }
    }

    /// What [`Flight::poll`] does about a descriptor that is out, if nothing is unusual about it.
    #[inline(never)]
    fn wait_quickly(&mut self, accelerator: &Accelerator, cx: &Context<'_>) -> Quickly {
        let Stage::Out(submission, piece) = &mut self.stage else { return Quickly::Not };
        if submission.is_ordinary(accelerator.shared()) && !submission.wait_a_little(accelerator, piece.size, cx) {
            return Quickly::Pending;
        }
        Quickly::Not
    }

    /// Submits a fresh job, and looks whether it is done already: true if so; `None` if it is out
    /// and may complete, false if the long way has to look after it.
    ///
    /// # Safety
    ///
    /// As for [`Flight::poll`].
    #[expect(clippy::inline_always, reason = "measured in instructions")]
    #[inline(always)]
    unsafe fn launch_quickly(&mut self, accelerator: &Accelerator) -> Option<bool> {
        let shared = accelerator.shared();
        let Some(quick) = self.job.quick() else { return Some(false) };
        // While others wait for room it is theirs.
        if self.route == Route::Cpu || self.cache_control || !shared.admits() {
            return Some(false);
        }
        let lane = shared.lane();
        let flags_opcode = lane.home.templates.admit(&quick, self.route == Route::Device);
        if flags_opcode == 0 {
            return Some(false);
        }
        let Some(queue) = shared.queues.get(lane.home.queue as usize) else { return Some(false) };
        let Some((slot, place)) = lane.acquire() else { return Some(false) };
        // SAFETY: the slot was free, so that nobody else has its descriptor.
        unsafe { place.descriptor().write(quick::describe(&quick, flags_opcode, place.record.addr())) };
        place.record.reset();
        if quick.len <= shared.policy.batch_max_size as u64 && lane.has_company(slot) && shared.may_collect(queue) {
            place.slot.stamp_staged(lane.home.queue, clock::now());
            self.stage = Stage::Out(Submission::of(lane.home.lane, slot), Piece::new(quick.len));
            // SAFETY: the descriptor names the slot's record, and what the job works on, for which the caller vouches.
            if unsafe { lane.collector.stage(slot) } {
                shared.flush(lane.home.lane);
            }
            return None;
        }
        // SAFETY: the descriptor names the slot's record, and what the job works on, for which the caller vouches.
        if !unsafe { queue.submit_place(lane, place, clock::now()) } {
            lane.release_place(slot, place);
            return Some(false);
        }
        let is_complete = place.record.status() != 0;
        // SAFETY: its status is not 0, so that the device is done with the record of a slot that is held.
        if !is_complete || !quick::absorb(&mut self.job, quick.kind, &unsafe { place.record.read() }) {
            self.stage = Stage::Out(Submission::of(lane.home.lane, slot), Piece::new(quick.len));
            // There is nothing to wait for if it has ended otherwise than by success.
            return is_complete.then_some(false);
        }
        let begun = place.slot.submitted_at();
        queue.return_credit();
        // Nobody waited just now. The poller tells whoever has come since.
        lane.release_place(slot, place);
        self.stage = Stage::Ended;
        self.path = Path::Device;
        count_quickly(lane, quick.kind, self.job.total(), begun);
        Some(true)
    }

    /// Takes the result of a descriptor that has done the whole job. As by [`launch_quickly`](Self::launch_quickly).
    #[expect(clippy::inline_always, reason = "measured in instructions")]
    #[inline(always)]
    fn collect_quickly(&mut self, accelerator: &Accelerator) -> Option<bool> {
        let Stage::Out(submission, piece) = &self.stage else { return Some(false) };
        let Some(quick) = self.job.quick() else { return Some(false) };
        if submission.is_armed() || !piece.is_whole(quick.len) {
            return Some(false);
        }
        let (shared, job) = (accelerator.shared(), &mut self.job);
        let lane = submission.lane(shared);
        let at = submission.end_quickly(shared, lane, |record| quick::absorb(job, quick.kind, record))?;
        if at == NOT_SUBMITTED {
            return Some(false);
        }
        let begun = if self.begun == 0 { at } else { self.begun };
        self.stage = Stage::Ended;
        self.path = Path::Device;
        count_quickly(lane, quick.kind, self.job.total(), begun);
        Some(true)
    }
}

/// Counts an operation that a device has done.
#[expect(clippy::inline_always, reason = "measured in instructions")]
#[inline(always)]
fn count_quickly(lane: &Lane, kind: Kind, bytes: u64, begun: u64) {
    let before = lane.stats.operation(Path::Device, kind.operation(), bytes);
    if is_sampled(before, bytes) {
        count_latency(lane, Path::Device, begun);
    }
}
