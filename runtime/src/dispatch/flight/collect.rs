//! What comes of a descriptor that was out: the outcome, the next piece, or the rest after a page fault.

use idxd_sys::{CompletionRecord, Descriptor};

use super::super::job::{Absorbed, Piece};
use super::super::record::touch;
use super::super::submission::{Look, Submission};
use super::{Flight, Load, Next, Stage};
use crate::accelerator::Accelerator;
use crate::descriptor::{Completion, Resume};
use crate::device::Admission;
use crate::stats::{Event, Reason};

impl<J: Load> Flight<J> {
    /// Looks at the descriptor that is out; goes on if it has completed or is lost.
    ///
    /// # Safety
    ///
    /// As for [`Flight::poll`].
    #[inline]
    pub(super) unsafe fn collect(
        &mut self,
        accelerator: &Accelerator,
        submission: Submission,
        piece: Piece,
        insist: bool,
    ) -> Next {
        let shared = accelerator.shared();
        match submission.look(shared, insist) {
            Look::Waiting => return Next::Waiting,
            Look::Complete => {}
            Look::NotTaken => {
                self.stage = Stage::Fresh;
                submission.free(shared);
                return Next::NotTaken;
            }
            Look::Lost(reason) => {
                self.stage = Stage::Ended;
                submission.free(shared);
                return Next::Cpu(reason);
            }
            Look::Runaway => {
                self.stage = Stage::Ended;
                submission.leak(accelerator);
                return Next::Runaway;
            }
        }
        // SAFETY: it is complete.
        let record = unsafe { submission.record(shared) };
        let sent = submission.sent(shared);
        let caps = submission.queue(shared).capabilities();
        let Some(outcome) = self.job.outcome_of(&sent, &record, &piece, caps) else {
            // SAFETY: the caller's promise; the descriptor has ended.
            return unsafe { self.mend(accelerator, submission, piece, &sent, &record) };
        };
        let next = match self.job.absorb(piece.size, outcome) {
            // SAFETY: the caller's promise.
            Absorbed::More => return unsafe { self.next_piece(accelerator, submission) },
            Absorbed::Done(outcome) => Next::Done(outcome),
            Absorbed::Refine => Next::Refine,
        };
        submission.seen_done(shared);
        self.stage = Stage::Ended;
        submission.free(shared);
        next
    }

    /// Submits the next piece of a job that takes several descriptors, from the slot it already has.
    ///
    /// # Safety
    ///
    /// As for [`Flight::poll`]; nothing is out.
    #[cold]
    unsafe fn next_piece(&mut self, accelerator: &Accelerator, submission: Submission) -> Next {
        let shared = accelerator.shared();
        let caps = submission.queue(shared).capabilities();
        let piece = self.job.next_piece(caps);
        self.resumes = 0;
        let described = self.job.describe(piece, self.extras(submission.record_addr(shared), caps), caps);
        let admission = match &described {
            // SAFETY: the caller's promise.
            Ok(descriptor) => unsafe { submission.resend(shared, descriptor, (self.job.operation(), piece)) },
            Err(_) => Admission::Closed,
        };
        if admission == Admission::Accepted {
            self.stage = Stage::Out(submission, Piece::new(piece));
            return Next::Submitted;
        }
        self.stage = Stage::Ended;
        submission.free(shared);
        Next::Cpu(reason_for(admission))
    }

    /// A descriptor has ended without success: resumes it, or leaves its piece to the CPU.
    ///
    /// # Safety
    ///
    /// As for [`Flight::poll`]; the descriptor has ended.
    #[cold]
    unsafe fn mend(
        &mut self,
        accelerator: &Accelerator,
        submission: Submission,
        mut piece: Piece,
        sent: &Descriptor,
        record: &CompletionRecord,
    ) -> Next {
        let shared = accelerator.shared();
        let lane = submission.lane(shared);
        let completion = Completion::decode(sent.opcode(), record);
        let mut reason = Reason::DeviceError;
        // What is still to be done of the piece: all of what was sent, unless the device says how far it came. Doing
        // over is safe, see `job`.
        let mut rest = *sent;
        if completion.is_partial() {
            lane.stats.event(Event::PageFaults);
            reason = Reason::PageFault;
            if let Resume::Continue(continuation) = Resume::plan(sent, record, submission.queue(shared).capabilities())
            {
                rest = continuation.descriptor;
                piece.resume(&completion, &continuation);
                self.job.correct(&mut rest, &piece);
            }
            if u32::from(self.resumes) < shared.policy.max_resumes {
                self.resumes += 1;
                touch(&self.job.operands(), &completion);
                // SAFETY: the continuation names a part of what the caller has promised; nothing is out.
                let admission = unsafe { submission.resend(shared, &rest, (self.job.operation(), piece.size)) };
                if admission == Admission::Accepted {
                    lane.stats.event(Event::Resumes);
                    self.stage = Stage::Out(submission, piece);
                    return Next::Submitted;
                }
                reason = reason_for(admission);
            }
        }
        self.stage = Stage::Ended;
        submission.free(shared);
        // The CPU does the piece from its beginning, slice by slice like everything it does; see `job` on why it may.
        Next::Cpu(reason)
    }
}

fn reason_for(admission: Admission) -> Reason {
    if admission == Admission::Closed { Reason::DeviceLost } else { Reason::QueueFull }
}
