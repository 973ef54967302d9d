//! The state machine: whatever can be done of a flight without waiting.

use std::mem::ManuallyDrop;

use super::super::choice::Decision;
use super::super::job::{Absorbed, Outcome, Piece};
use super::super::pressure::{Pressure, Turn, is_pressure};
use super::super::slices;
use super::super::submission::Submission;
use super::{Flight, Load, Next, Options, Stage, Step, Trouble, count_latency, is_sampled};
use crate::accelerator::Accelerator;
use crate::clock;
use crate::device::Admission;
use crate::stats::{Event, Path, Reason};

impl<J: Load> Flight<J> {
    /// Makes whatever progress can be made without waiting. `insist`: a caller that cannot leave its buffers behind
    /// keeps waiting even for a device that has run away.
    ///
    /// # Safety
    ///
    /// As for [`Flight::poll`].
    #[inline]
    pub(super) unsafe fn advance(&mut self, accelerator: &Accelerator, insist: bool) -> Step {
        loop {
            match self.stage {
                Stage::Fresh => {
                    if self.job.left() == 0 {
                        self.stage = Stage::Ended;
                        self.path = Path::Cpu;
                        return Step::Done(Ok(self.job.outcome()));
                    }
                    self.begun = clock::now() | 1;
                    // SAFETY: the caller's promise covers what the descriptor will name.
                    match unsafe { self.launch(accelerator) } {
                        Ok(()) => {}
                        Err(reason) => {
                            if let Some(step) = self.refused(accelerator, reason, !insist) {
                                return step;
                            }
                        }
                    }
                }
                Stage::Queued(turn) => {
                    // SAFETY: the caller's promise; nothing is out.
                    if let Some(step) = unsafe { self.take_turn(accelerator, turn) } {
                        return step;
                    }
                }
                Stage::Out(submission, piece) => {
                    if self.begun == 0 {
                        self.begun = submission.submitted_at(accelerator.shared());
                    }
                    // SAFETY: the caller's promise.
                    match unsafe { self.collect(accelerator, submission, piece, insist) } {
                        Next::Waiting => return Step::Waiting,
                        Next::Submitted | Next::NotTaken => {}
                        Next::Done(outcome) => {
                            self.record(accelerator, Path::Device, submission.lane);
                            return Step::Done(Ok(outcome));
                        }
                        Next::Cpu(reason) => {
                            if let Some(step) = self.refused(accelerator, reason, false) {
                                return step;
                            }
                        }
                        // The first slice of it at once: a device's bound is usually close.
                        Next::Refine => self.stage = Stage::Refine,
                        Next::Runaway => return Step::Done(Err(Trouble::Runaway)),
                    }
                }
                Stage::Cpu(reason) => {
                    // SAFETY: the caller's promise, and no descriptor is out.
                    let Some(outcome) = (unsafe { self.slice(accelerator) }) else { return Step::Sliced };
                    return self.ended_on_cpu(accelerator, outcome, reason);
                }
                Stage::Refine => {
                    // SAFETY: as above.
                    let Some(outcome) = (unsafe { self.slice(accelerator) }) else { return Step::Sliced };
                    self.stage = Stage::Ended;
                    self.record(accelerator, Path::Device, accelerator.shared().lane_index());
                    return Step::Done(Ok(outcome));
                }
                Stage::Done => {
                    self.stage = Stage::Ended;
                    return Step::Done(Ok(self.job.outcome()));
                }
                Stage::Refused(_) => {
                    let Stage::Refused(error) = std::mem::replace(&mut self.stage, Stage::Ended) else {
                        unreachable!()
                    };
                    return Step::Done(Err(Trouble::Refused(ManuallyDrop::into_inner(error))));
                }
                Stage::Ended => panic!("an operation was polled after it had completed"),
            }
        }
    }

    /// Does a slice on the CPU.
    ///
    /// # Safety
    ///
    /// As for [`Flight::poll`]; nothing is out.
    #[inline]
    unsafe fn slice(&mut self, accelerator: &Accelerator) -> Option<Outcome> {
        let shared = accelerator.shared();
        let rates = &shared.rates;
        let sample = shared.sample_for_cpu(self.job.operation(), self.job.left());
        let since = sample.as_ref().map(|_| clock::now());
        let (piece, outcome) = match rates.ticks() {
            // What is small takes as long as it takes.
            Some(ticks) if self.job.left() > slices::LEAST => {
                let operation = self.job.operation();
                let piece = self.job.next_slice(rates.slice(operation, ticks, rates.most()));
                let begun = clock::now();
                // SAFETY: the caller's promise.
                let outcome = unsafe { self.job.run(piece) };
                rates.learn(operation, piece, clock::now().saturating_sub(begun));
                (piece, outcome)
            }
            _ => {
                let piece = self.job.next_slice(rates.most());
                // SAFETY: the caller's promise.
                (piece, unsafe { self.job.run(piece) })
            }
        };
        if let (Some(sample), Some(since)) = (&sample, since) {
            shared.seen_on_cpu(sample, piece, clock::now().saturating_sub(since));
        }
        match self.job.absorb(piece, outcome) {
            Absorbed::Done(outcome) => Some(outcome),
            Absorbed::More | Absorbed::Refine => None,
        }
    }

    /// Finds a slot and a queue for the next piece, unless others are first.
    ///
    /// # Safety
    ///
    /// As for [`Flight::poll`].
    #[inline]
    unsafe fn launch(&mut self, accelerator: &Accelerator) -> Result<(), Reason> {
        let shared = accelerator.shared();
        if self.options.contains(Options::CPU) {
            return Err(Reason::Forced);
        }
        if shared.queues.is_empty() {
            return Err(Reason::NoDevice);
        }
        if !self.options.contains(Options::DEVICE) && self.job.total() < shared.least {
            return Err(Reason::BelowThreshold);
        }
        if self.job.is_for_cpu() {
            return Err(Reason::Unsupported);
        }
        if shared.is_forked() {
            return Err(Reason::Forked);
        }
        let is_turn = matches!(self.stage, Stage::Queued(_));
        if !is_turn && shared.waiters.any() {
            return Err(Reason::QueueFull);
        }
        let now = if is_turn { clock::now() } else { self.begun };
        // Who has waited for a device wants it.
        let load = (self.job.operation(), self.job.total());
        let is_asked = !is_turn && !self.options.contains(Options::DEVICE);
        let decision = if is_asked { shared.ask(load.0, load.1, now)? } else { None };
        let slot = if is_turn { Submission::acquire_anywhere(shared) } else { Submission::acquire(shared) };
        let submission = slot.ok_or(Reason::NoSlot)?;
        let mut reason = Reason::DeviceLost;
        let first = decision.as_ref().and_then(Decision::queue).unwrap_or(submission.lane);
        for index in shared.queues_from(first) {
            let queue = &shared.queues[index as usize];
            if !queue.is_open() {
                continue;
            }
            let caps = queue.capabilities();
            let piece = self.job.next_piece(caps);
            let record = submission.record_addr(shared);
            let Ok(descriptor) = self.job.describe(piece, self.extras(record, caps), caps) else {
                // One that has no room would take it.
                if reason != Reason::QueueFull {
                    reason = Reason::Unsupported;
                }
                continue;
            };
            // SAFETY: the caller's promise; nothing is out on a fresh slot.
            match unsafe { submission.send(shared, index, &descriptor, (load.0, piece), now) } {
                Admission::Accepted => {
                    if let Some(decision) =
                        decision.filter(|one| one.queue() == Some(index) && piece == self.job.left())
                    {
                        submission.sampled(shared, &decision, load, now);
                    }
                    self.stage = Stage::Out(submission, Piece::new(piece));
                    return Ok(());
                }
                Admission::Full => {
                    shared.seen_full(index, now);
                    reason = Reason::QueueFull;
                }
                Admission::Closed => {}
            }
        }
        if is_turn {
            submission.free_quietly(shared);
        } else {
            submission.free(shared);
        }
        Err(reason)
    }

    /// No device takes it, or the next part of it, and none has it: it waits for room, fails if it `may_fail`, or goes on by
    /// the CPU. `None` is for another round.
    #[cold]
    fn refused(&mut self, accelerator: &Accelerator, reason: Reason, may_fail: bool) -> Option<Step> {
        let shared = accelerator.shared();
        if is_pressure(reason) {
            match self.pressure.unwrap_or(shared.policy.pressure) {
                Pressure::Wait => {
                    self.stage = Stage::Queued(Turn::new(shared, reason));
                    return Some(Step::Queued);
                }
                Pressure::Fail if may_fail => {
                    self.stage = Stage::Ended;
                    return Some(Step::Done(Err(Trouble::Pressure(reason))));
                }
                Pressure::Fail | Pressure::Cpu => {}
            }
        }
        self.fall_back(reason).map(|trouble| Step::Done(Err(trouble)))
    }

    /// Tries once more if it is first among those who wait. `None` is for another round.
    ///
    /// # Safety
    ///
    /// As for [`Flight::poll`]; nothing is out.
    #[cold]
    #[inline(never)]
    unsafe fn take_turn(&mut self, accelerator: &Accelerator, turn: Turn) -> Option<Step> {
        if let Some(reason) = turn.is_over(accelerator.shared()) {
            turn.leave(accelerator.shared(), Event::WaitsGivenUp);
            return self.fall_back(reason).map(|trouble| Step::Done(Err(trouble)));
        }
        if !turn.is_first {
            return Some(Step::Queued);
        }
        // SAFETY: the caller's promise.
        match unsafe { self.launch(accelerator) } {
            Ok(()) => {
                turn.leave(accelerator.shared(), Event::WaitsServed);
                None
            }
            Err(reason) if is_pressure(reason) => {
                if let Stage::Queued(turn) = &mut self.stage {
                    turn.tried(reason);
                }
                Some(Step::Queued)
            }
            Err(reason) => {
                turn.leave(accelerator.shared(), Event::WaitsGivenUp);
                self.fall_back(reason).map(|trouble| Step::Done(Err(trouble)))
            }
        }
    }

    fn ended_on_cpu(&mut self, accelerator: &Accelerator, outcome: Outcome, reason: Reason) -> Step {
        self.stage = Stage::Ended;
        let lane = accelerator.shared().lane_index();
        accelerator.shared().lanes[lane as usize].stats.reason(reason);
        self.record(accelerator, Path::Cpu, lane);
        Step::Done(Ok(outcome))
    }

    /// From now on the CPU does it, unless it must not.
    fn fall_back(&mut self, reason: Reason) -> Option<Trouble> {
        if self.options.contains(Options::DEVICE) {
            self.stage = Stage::Ended;
            return Some(Trouble::DeviceOnly(reason));
        }
        self.stage = Stage::Cpu(reason);
        None
    }

    #[inline]
    fn record(&mut self, accelerator: &Accelerator, path: Path, lane: u32) {
        self.path = path;
        let lane = &accelerator.shared().lanes[lane as usize];
        let total = self.job.total();
        let before = lane.stats.operation(path, self.job.operation(), total);
        if is_sampled(before, total) {
            count_latency(lane, path, self.begun);
        }
    }
}
