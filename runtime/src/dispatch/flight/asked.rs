//! The short way of a first poll where there is somebody to ask: the CPU or the lane's own queue, by what is known of the
//! size already.
//!
//! It differs from [`super::quick`] in the question, and in that the load of the queue is counted.

use super::super::asking::{Asking, reason_of};
use super::super::choice::Choice;
use super::super::job::{Piece, Plain, Work};
use super::super::quick;
use super::super::submission::Submission;
use super::quick::count_quickly;
use super::{Flight, Options, Stage};
use crate::accelerator::Accelerator;
use crate::lane::Lane;

impl Flight<Plain> {
    /// Submits a fresh job, and looks whether it is done already. If it is the CPU's, the long way does it without another
    /// question. Where there is nobody to ask, nothing happens.
    ///
    /// # Safety
    ///
    /// As for [`Flight::poll`].
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn launch_asking(&mut self, accelerator: &Accelerator) -> bool {
        match &accelerator.shared().asking {
            // SAFETY: the caller's promise.
            Some(asking) => unsafe { self.launch_by(accelerator, asking) },
            None => false,
        }
    }

    /// # Safety
    ///
    /// As for [`Flight::poll`].
    #[inline]
    unsafe fn launch_by(&mut self, accelerator: &Accelerator, asking: &Asking) -> bool {
        let shared = accelerator.shared();
        let (lane, quick) = (shared.lane(), self.job.quick());
        let is_told = self.options == Options::DEVICE;
        let head = asking.templates(lane.home.queue).map_or(0, |templates| templates.admit(&quick, is_told));
        // While others wait for room it is theirs.
        if head == 0 || !(is_told || self.options.is_empty()) || !shared.admits() {
            return false;
        }
        let operation = quick.kind.operation();
        if !is_told {
            match asking.chooser().choose_quickly(lane.home.lane, operation, quick.len) {
                // The lane's own queue.
                Some(Choice::Device(_)) => {}
                Some(Choice::Cpu(why)) => {
                    self.begun = lane.home.clock.now() | 1;
                    self.stage = Stage::Cpu(reason_of(why));
                    return false;
                }
                None => return false,
            }
        }
        let queue = &shared.queues[lane.home.queue as usize];
        let Some((near, place)) = lane.acquire_near() else { return false };
        // SAFETY: the slot is fresh, and the descriptor names its record, and what the job works on, for which the caller
        // vouches.
        unsafe {
            place.fill(quick::describe(&quick, head, place.record.addr()));
            if self.stage_quickly(shared, lane, queue, near.index, &quick) {
                return false;
            }
        }
        // SAFETY: the descriptor names the slot's record, and what the job works on, for which the caller vouches.
        if !unsafe { queue.submit_place(lane, place, lane.home.clock.now()) } {
            Lane::release_near(near, place);
            return false;
        }
        let begun = place.slot.submitted_at();
        shared.begun(lane.home.lane, near.index, lane.home.queue, (operation, quick.len), begun);
        let status = place.record.status();
        // SAFETY: with a status other than 0 the device is done with the record of a slot that is held.
        let Some(operation) = (unsafe { quick::absorb(&mut self.job, status, &place.record) }) else {
            self.stage = Stage::Out(Submission::of(lane.home.lane, near.index), Piece::new(quick.len));
            return false;
        };
        shared.ended(&place.slot);
        // Nobody waited just now. The poller tells whoever has come since.
        Lane::release_near(near, place);
        self.stage = Stage::Done;
        count_quickly(lane, operation, self.job.total(), || begun);
        true
    }
}
