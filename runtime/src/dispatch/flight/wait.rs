//! The two ways of waiting for a flight: by polling, and on the calling thread.

use std::task::{Context, Poll};

use tokio::task::coop::RestoreOnPending;

use super::super::job::Outcome;
use super::super::pressure::{Pressure, Turn};
use super::{Flight, Load, Stage, Step, Trouble};
use crate::accelerator::Accelerator;

impl<J: Load> Flight<J> {
    /// Polls for the result: a look, a short spin, some rounds of waking itself, then the poller thread. `coop` is the
    /// caller's, who has tried [`poll_quickly`](Self::poll_quickly) before.
    ///
    /// # Safety
    ///
    /// From the first poll until the flight has ended, or been detached together with them, the job's buffers are
    /// valid and nobody else touches them (sources may be read).
    #[inline(never)]
    pub(crate) unsafe fn poll(
        &mut self,
        accelerator: &Accelerator,
        coop: &RestoreOnPending,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Outcome, Trouble>> {
        if let Stage::Queued(turn) = &mut self.stage {
            turn.is_present = false;
        }
        loop {
            // First the waker, then a look whether there is room: nobody's call comes in between.
            if let Stage::Queued(turn) = &mut self.stage
                && !turn.is_present
            {
                turn.present(accelerator.shared(), Some(cx.waker().clone()));
            }
            // SAFETY: the caller's promise.
            match unsafe { self.advance(accelerator, false) } {
                Step::Done(result) => {
                    coop.made_progress();
                    return Poll::Ready(result);
                }
                Step::Sliced => {
                    coop.made_progress();
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Step::Waiting => {
                    let Stage::Out(submission, piece) = &mut self.stage else { continue };
                    if !submission.wait_a_little(accelerator, piece.size, cx) {
                        return Poll::Pending;
                    }
                }
                Step::Queued => {
                    // One that has joined just now has not looked yet.
                    if matches!(&self.stage, Stage::Queued(turn) if turn.is_present) {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// Starts, without waiting: submits to a device, or does everything on the CPU. Gives the outcome if there is one.
    ///
    /// # Safety
    ///
    /// As for [`Flight::wait`], which the caller will call unless there is an outcome.
    pub(crate) unsafe fn start(&mut self, accelerator: &Accelerator) -> Option<Outcome> {
        let guard = AbortOnUnwind;
        // Not in line: the room that it would wait for may be what its owner holds.
        self.pressure = Some(Pressure::Cpu);
        let outcome = loop {
            // SAFETY: the caller's promise.
            match unsafe { self.advance(accelerator, true) } {
                Step::Done(result) => break Some(expect_outcome(result)),
                Step::Sliced => {}
                Step::Waiting | Step::Queued => break None,
            }
        };
        std::mem::forget(guard);
        outcome
    }

    /// Waits on the calling thread: spins, then yields, then naps; recovers the queue if it has died.
    ///
    /// # Safety
    ///
    /// The job's memory is valid, and nobody else touches it (sources may be read), until this has returned. It does
    /// not return, nor unwind, before the device is done with it, come what may.
    pub(crate) unsafe fn wait(&mut self, accelerator: &Accelerator) -> Outcome {
        let guard = AbortOnUnwind;
        // This thread polls nothing for a while.
        accelerator.shared().flush_mine();
        let mut rounds = 0u32;
        let mut left = self.job.left();
        let outcome = loop {
            // SAFETY: the caller's promise.
            match unsafe { self.advance(accelerator, true) } {
                Step::Done(result) => break expect_outcome(result),
                Step::Sliced => {}
                Step::Waiting => {
                    // Every piece is waited for afresh.
                    rounds = if left == self.job.left() { rounds.saturating_add(1) } else { 1 };
                    left = self.job.left();
                    if let Stage::Out(submission, _) = &self.stage {
                        submission.wait_round(accelerator.shared(), rounds);
                    }
                }
                Step::Queued => {
                    if let Stage::Queued(turn) = &mut self.stage {
                        // At once when it has just joined.
                        rounds = if turn.is_present { rounds.saturating_add(1) } else { 0 };
                        if rounds != 0 {
                            Turn::pause(rounds);
                        }
                        turn.present(accelerator.shared(), None);
                    }
                }
            }
        };
        std::mem::forget(guard);
        outcome
    }
}

/// A panic in here would be a bug of ours; but while a device may write borrowed memory, nobody may unwind past it.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        std::process::abort();
    }
}

fn expect_outcome(result: Result<Outcome, Trouble>) -> Outcome {
    // Blocking calls are not device-only, do not fail under pressure, and insist on a device that has run away.
    result.expect("a blocking operation always ends with an outcome")
}
