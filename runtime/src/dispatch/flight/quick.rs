//! The short way of a poll ([`super::super::quick`] has what it needs to know of jobs and records).

use std::task::Context;

use super::super::Route;
use super::super::job::{Piece, QuickKind};
use super::super::quick;
use super::super::submission::Submission;
use super::{Flight, Quickly, Stage, count_latency, is_sampled};
use crate::clock;
use crate::lane::Lane;
use crate::stats::Path;

impl Flight {
    /// Tries the short way ([`super::quick`]): submits a fresh job, takes the result of one that is out, waits for it.
    ///
    /// # Safety
    ///
    /// As for [`Flight::poll`].
    // Not compiled into every `.await`, which has just enough of its own to call it.
    #[inline(never)]
    pub(crate) unsafe fn poll_quickly(&mut self, cx: &Context<'_>) -> Quickly {
        // The first poll sets it.
        let ended = if self.begun == 0 {
            // SAFETY: the caller's promise.
            unsafe { self.launch_quickly() }
        } else {
            let ended = self.collect_quickly();
            // Everything that was polled together with it has been by now.
            if ended.is_none()
                && let Stage::Out(submission, _) = &self.stage
            {
                submission.send_staged(self.accelerator.shared());
            }
            ended
        };
        match ended {
            Some(true) => Quickly::Done,
            Some(false) => Quickly::Not,
            None => self.wait_quickly(cx),
        }
    }

    /// What [`Flight::poll`] does about a descriptor that is out, if nothing is unusual about it.
    #[inline]
    fn wait_quickly(&mut self, cx: &Context<'_>) -> Quickly {
        let Stage::Out(submission, piece) = &mut self.stage else { return Quickly::Not };
        if submission.is_ordinary(self.accelerator.shared())
            && !submission.wait_a_little(&self.accelerator, piece.size, cx)
        {
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
    unsafe fn launch_quickly(&mut self) -> Option<bool> {
        let shared = self.accelerator.shared();
        let least = match self.route {
            Route::Auto => shared.policy.min_device_size as u64,
            Route::Device => 0,
            Route::Cpu => return Some(false),
        };
        let Some(quick) = self.job.quick() else { return Some(false) };
        // While others wait for room it is theirs.
        if quick.len < least || self.cache_control || !shared.admits() {
            return Some(false);
        }
        let number = shared.lane_index();
        let lane = &shared.lanes[number as usize];
        let home = &shared.homes[number as usize];
        let Some(flags_opcode) = home.templates.admit(&quick) else { return Some(false) };
        let Some((slot, place)) = lane.acquire() else { return Some(false) };
        // SAFETY: the slot was free, so that nobody else has its descriptor.
        unsafe { place.descriptor().write(quick::describe(&quick, flags_opcode, place.record.addr())) };
        place.record.reset();
        let now = clock::now();
        // Not 0, whatever the clock says.
        self.begun = now | 1;
        let queue = &shared.queues[home.queue as usize];
        if quick.len <= shared.policy.batch_max_size as u64 && lane.has_company(slot) && shared.may_collect(queue) {
            place.slot.stamp_staged(home.queue, now);
            self.stage = Stage::Out(Submission::of(number, slot, home.queue, 0), Piece::new(quick.len));
            // SAFETY: the descriptor names the slot's record, and what the job works on, for which the caller vouches.
            if unsafe { lane.collector.stage(slot) } {
                shared.flush(number);
            }
            return None;
        }
        // SAFETY: the descriptor names the slot's record, and what the job works on, for which the caller vouches.
        let Some(epoch) = (unsafe { queue.submit_place(home.queue, number, &lane.stats, place, now) }) else {
            lane.release_place(slot, place);
            return Some(false);
        };
        let is_complete = place.record.status() != 0;
        // SAFETY: its status is not 0, so that the device is done with the record of a slot that is held.
        if !is_complete || !quick::absorb(&mut self.job, quick.kind, &unsafe { place.record.read() }) {
            self.stage = Stage::Out(Submission::of(number, slot, home.queue, epoch), Piece::new(quick.len));
            // There is nothing to wait for if it has ended otherwise than by success.
            return is_complete.then_some(false);
        }
        queue.return_credit();
        // Nobody waited just now. The poller tells whoever has come since.
        lane.release_place(slot, place);
        self.stage = Stage::Ended;
        self.path = Path::Device;
        count_quickly(lane, quick.kind, self.job.total(), now);
        Some(true)
    }

    /// Takes the result of a descriptor that has done the whole job. As by [`launch_quickly`](Self::launch_quickly).
    #[expect(clippy::inline_always, reason = "measured in instructions")]
    #[inline(always)]
    fn collect_quickly(&mut self) -> Option<bool> {
        let Stage::Out(submission, piece) = &self.stage else { return Some(false) };
        let Some(quick) = self.job.quick() else { return Some(false) };
        if submission.is_armed() || !piece.is_whole(&self.job) {
            return Some(false);
        }
        let (shared, job) = (self.accelerator.shared(), &mut self.job);
        if !submission.end_quickly(shared, |record| quick::absorb(job, quick.kind, record))? {
            return Some(false);
        }
        count_quickly(submission.lane(shared), quick.kind, self.job.total(), self.begun);
        self.stage = Stage::Ended;
        self.path = Path::Device;
        Some(true)
    }
}

/// Counts an operation that a device has done.
#[expect(clippy::inline_always, reason = "measured in instructions")]
#[inline(always)]
fn count_quickly(lane: &Lane, kind: QuickKind, bytes: u64, begun: u64) {
    let before = lane.stats.operation(Path::Device, kind.operation(), bytes);
    if is_sampled(before, bytes) {
        count_latency(lane, Path::Device, begun);
    }
}
