//! The way of one job: device or CPU, piece after piece, until there is a result.
//!
//! ```text
//!   Fresh --- device takes it ---> Out --- record complete ---> next piece, or Ended
//!     |                             |----- page fault ---------> resumed where it stopped, still Out
//!     |                             |----- anything else ------> Cpu
//!     |                             |----- only about known ---> Refine, on the CPU, which counts as the device's work
//!     |                             '----- queue quiesced -----> Cpu (the piece is done again from its start)
//!     |---- no device, too small, full ----> Cpu --- slice after slice ---> Ended
//!     '---- full, and it may wait ---------> Queued --- as Fresh, when it is its turn
//! ```
//!
//! [`Flight::advance`] makes whatever progress can be made without waiting. [`Flight::poll`] and [`Flight::wait`] add
//! the two ways of waiting. A flight knows addresses, not buffers: its owner keeps those alive, or hands them over
//! with [`Flight::detach`].

use std::task::{Context, Poll};

use idxd_sys::{CompletionRecord, Descriptor};
use tokio::task::coop::RestoreOnPending;

use super::Route;
use super::job::QuickKind;
use super::job::{Absorbed, Job, Outcome, Piece};
use super::pressure::{Pressure, Turn, is_pressure};
use super::quick;
use super::record::touch;
use super::slices;
use super::submission::{Look, Submission};
use crate::accelerator::Accelerator;
use crate::clock;
use crate::descriptor::{Completion, Resume};
use crate::device::{Admission, Queue};
use crate::lane::Lane;
use crate::lane::slot::Cargo;
use crate::stats::{Event, Path, Reason};

/// Why a flight ended without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It was to stay off the CPU, and could not. The buffers are free.
    DeviceOnly(Reason),
    /// There was no room for it, and it was to fail then. Nothing has been done.
    Pressure(Reason),
    /// The device cannot be made to stop. The buffers must never be touched again.
    Runaway,
}

/// One job on its way.
#[derive(Debug)]
pub(crate) struct Flight {
    accelerator: Accelerator,
    job: Job,
    stage: Stage,
    pub(crate) route: Route,
    pub(crate) cache_control: bool,
    /// What it does under pressure, if not what the policy says.
    pub(crate) pressure: Option<Pressure>,
    resumes: u8,
    path: Path,
    /// Ticks at the first poll that did something; 0 before.
    begun: u64,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// It waits for room; nothing is out. First, so that a destructor tells this and `Out` from the others in one comparison.
    Queued(Turn),
    /// Nothing has happened yet.
    Fresh,
    /// A descriptor is with a device; the piece, whatever part of it this descriptor covers.
    Out(Submission, Piece),
    /// The CPU does the rest.
    Cpu(Reason),
    /// The device has done its part, and the CPU looks for the exact result.
    Refine,
    /// There is nothing more to do.
    Ended,
}

/// How far [`Flight::poll_quickly`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quickly {
    /// The job has ended, with its own [`outcome`](Job::outcome).
    Done,
    /// Somebody will wake the task.
    Pending,
    /// Whatever has been done of it, it is for [`Flight::poll`] now.
    Not,
}

/// How far [`Flight::advance`] came.
pub(crate) enum Step {
    /// A descriptor is out and has not completed.
    Waiting,
    /// Nothing is out, and there is no room.
    Queued,
    /// A slice of CPU work is done, and there is more.
    Sliced,
    /// Done.
    Done(Result<Outcome, Trouble>),
}

/// How it goes on with a descriptor that was out. Where nothing is out any more, the stage is `Ended` already.
enum Next {
    Waiting,
    Submitted,
    Done(Outcome),
    Cpu(Reason),
    Refine,
    Runaway,
}

impl Flight {
    #[inline]
    pub(crate) fn new(accelerator: Accelerator, job: Job) -> Self {
        Self {
            accelerator,
            job,
            stage: Stage::Fresh,
            route: Route::Auto,
            cache_control: false,
            pressure: None,
            resumes: 0,
            path: Path::Cpu,
            begun: 0,
        }
    }

    pub(crate) fn job(&self) -> &Job {
        &self.job
    }

    /// Who did the job, or its last part; meaningful once it has ended.
    pub(crate) fn path(&self) -> Path {
        self.path
    }

    /// Ends it before it has begun.
    pub(crate) fn abandon(&mut self) {
        debug_assert!(self.is_fresh());
        self.stage = Stage::Ended;
    }

    /// Changes what is to be done, before it has begun.
    pub(crate) fn job_mut(&mut self) -> &mut Job {
        debug_assert!(self.is_fresh());
        &mut self.job
    }

    /// Whether nothing has been done yet, so that accelerator and route may still be changed.
    pub(crate) fn is_fresh(&self) -> bool {
        matches!(self.stage, Stage::Fresh)
    }

    pub(crate) fn reroute(&mut self, accelerator: &Accelerator) {
        debug_assert!(self.is_fresh());
        self.accelerator = accelerator.clone();
    }

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
                turn.present(self.accelerator.shared(), Some(cx.waker().clone()));
            }
            // SAFETY: the caller's promise.
            match unsafe { self.advance(false) } {
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
                    if !submission.wait_a_little(&self.accelerator, piece.size, cx) {
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
    pub(crate) unsafe fn start(&mut self) -> Option<Outcome> {
        let guard = AbortOnUnwind;
        // Not in line: the room that it would wait for may be what its owner holds.
        self.pressure = Some(Pressure::Cpu);
        let outcome = loop {
            // SAFETY: the caller's promise.
            match unsafe { self.advance(true) } {
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
    pub(crate) unsafe fn wait(&mut self) -> Outcome {
        let guard = AbortOnUnwind;
        let mut rounds = 0u32;
        let mut left = self.job.left();
        let outcome = loop {
            // SAFETY: the caller's promise.
            match unsafe { self.advance(true) } {
                Step::Done(result) => break expect_outcome(result),
                Step::Sliced => {}
                Step::Waiting => {
                    // Every piece is waited for afresh.
                    rounds = if left == self.job.left() { rounds.saturating_add(1) } else { 1 };
                    left = self.job.left();
                    if let Stage::Out(submission, _) = &self.stage {
                        submission.wait_round(self.accelerator.shared(), rounds);
                    }
                }
                Step::Queued => {
                    if let Stage::Queued(turn) = &mut self.stage {
                        // At once when it has just joined.
                        rounds = if turn.is_present { rounds.saturating_add(1) } else { 0 };
                        if rounds != 0 {
                            Turn::pause(rounds);
                        }
                        turn.present(self.accelerator.shared(), None);
                    }
                }
            }
        };
        std::mem::forget(guard);
        outcome
    }

    /// Whether a descriptor is out, or room for one is waited for: then it must be detached.
    #[inline]
    pub(crate) fn is_engaged(&self) -> bool {
        matches!(self.stage, Stage::Out(..) | Stage::Queued(_))
    }

    /// Hands whatever the device may still write to the poller, or back if there is nothing such. Gives up its place
    /// among those who wait.
    ///
    /// `cargo` is called only if a descriptor is still out; it gives the buffers.
    #[cold]
    pub(crate) fn detach(&mut self, cargo: impl FnOnce() -> Box<dyn Cargo>) {
        let shared = self.accelerator.shared();
        match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Out(submission, _) => submission.detach(shared, cargo),
            Stage::Queued(turn) => turn.cancel(shared),
            _ => {}
        }
    }

    /// Names of the queues that could take what is left.
    #[cold]
    pub(crate) fn takers(&self) -> Box<str> {
        let takes = |queue: &&Queue| {
            let caps = queue.capabilities();
            // Any address of a record does.
            queue.is_open() && self.job.describe(self.job.next_piece(caps), 0x1000, self.cache_control, caps).is_ok()
        };
        names(self.accelerator.shared().queues.iter().filter(takes))
    }

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
            self.collect_quickly()
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

    /// Makes whatever progress can be made without waiting. `insist`: a caller that cannot leave its buffers behind
    /// keeps waiting even for a device that has run away.
    ///
    /// # Safety
    ///
    /// As for [`Flight::poll`].
    #[inline]
    unsafe fn advance(&mut self, insist: bool) -> Step {
        loop {
            match self.stage {
                Stage::Fresh => {
                    if self.job.left() == 0 {
                        self.stage = Stage::Ended;
                        return Step::Done(Ok(self.job.outcome()));
                    }
                    self.begun = clock::now() | 1;
                    // SAFETY: the caller's promise covers what the descriptor will name.
                    match unsafe { self.launch() } {
                        Ok(()) => {}
                        Err(reason) => {
                            if let Some(step) = self.refused(reason, !insist) {
                                return step;
                            }
                        }
                    }
                }
                Stage::Queued(turn) => {
                    // SAFETY: the caller's promise; nothing is out.
                    if let Some(step) = unsafe { self.take_turn(turn) } {
                        return step;
                    }
                }
                Stage::Out(submission, piece) => {
                    // SAFETY: the caller's promise.
                    match unsafe { self.collect(submission, piece, insist) } {
                        Next::Waiting => return Step::Waiting,
                        Next::Submitted => {}
                        Next::Done(outcome) => {
                            self.record(Path::Device, submission.lane);
                            return Step::Done(Ok(outcome));
                        }
                        Next::Cpu(reason) => {
                            if let Some(step) = self.refused(reason, false) {
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
                    let Some(outcome) = (unsafe { self.slice() }) else { return Step::Sliced };
                    return self.ended_on_cpu(outcome, reason);
                }
                Stage::Refine => {
                    // SAFETY: as above.
                    let Some(outcome) = (unsafe { self.slice() }) else { return Step::Sliced };
                    self.stage = Stage::Ended;
                    self.record(Path::Device, self.accelerator.shared().lane_index());
                    return Step::Done(Ok(outcome));
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
    unsafe fn slice(&mut self) -> Option<Outcome> {
        let rates = &self.accelerator.shared().rates;
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
    unsafe fn launch(&mut self) -> Result<(), Reason> {
        let shared = self.accelerator.shared();
        if self.route == Route::Cpu {
            return Err(Reason::Forced);
        }
        if shared.queues.is_empty() {
            return Err(Reason::NoDevice);
        }
        if self.route == Route::Auto && self.job.total() < shared.policy.min_device_size as u64 {
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
        let slot = if is_turn { Submission::acquire_anywhere(shared) } else { Submission::acquire(shared) };
        let mut submission = slot.ok_or(Reason::NoSlot)?;
        let now = if is_turn { clock::now() } else { self.begun };
        let mut reason = Reason::DeviceLost;
        for index in shared.queues_from(submission.lane) {
            let queue = &shared.queues[index as usize];
            if !queue.is_open() {
                continue;
            }
            let caps = queue.capabilities();
            let piece = self.job.next_piece(caps);
            let record = submission.record_addr(shared);
            let Ok(descriptor) = self.job.describe(piece, record, self.cache_control, caps) else {
                // One that has no room would take it.
                if reason != Reason::QueueFull {
                    reason = Reason::Unsupported;
                }
                continue;
            };
            // SAFETY: the caller's promise; nothing is out on a fresh slot.
            match unsafe { submission.send(shared, index, &descriptor, now) } {
                Admission::Accepted => {
                    self.stage = Stage::Out(submission, Piece::new(piece));
                    return Ok(());
                }
                Admission::Full => reason = Reason::QueueFull,
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
    fn refused(&mut self, reason: Reason, may_fail: bool) -> Option<Step> {
        let shared = self.accelerator.shared();
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
    unsafe fn take_turn(&mut self, turn: Turn) -> Option<Step> {
        if let Some(reason) = turn.is_over(self.accelerator.shared()) {
            turn.leave(self.accelerator.shared(), Event::WaitsGivenUp);
            return self.fall_back(reason).map(|trouble| Step::Done(Err(trouble)));
        }
        if !turn.is_first {
            return Some(Step::Queued);
        }
        // SAFETY: the caller's promise.
        match unsafe { self.launch() } {
            Ok(()) => {
                turn.leave(self.accelerator.shared(), Event::WaitsServed);
                None
            }
            Err(reason) if is_pressure(reason) => {
                if let Stage::Queued(turn) = &mut self.stage {
                    turn.tried(reason);
                }
                Some(Step::Queued)
            }
            Err(reason) => {
                turn.leave(self.accelerator.shared(), Event::WaitsGivenUp);
                self.fall_back(reason).map(|trouble| Step::Done(Err(trouble)))
            }
        }
    }

    /// Looks at the descriptor that is out; goes on if it has completed or is lost.
    ///
    /// # Safety
    ///
    /// As for [`Flight::poll`].
    #[inline]
    unsafe fn collect(&mut self, submission: Submission, piece: Piece, insist: bool) -> Next {
        let shared = self.accelerator.shared();
        match submission.look(shared, insist) {
            Look::Waiting => return Next::Waiting,
            Look::Complete => {}
            Look::Lost(reason) => {
                self.stage = Stage::Ended;
                submission.free(shared);
                return Next::Cpu(reason);
            }
            Look::Runaway => {
                self.stage = Stage::Ended;
                submission.leak(&self.accelerator);
                return Next::Runaway;
            }
        }
        // SAFETY: it is complete.
        let record = unsafe { submission.record(shared) };
        let sent = submission.sent(shared);
        let caps = submission.queue(shared).capabilities();
        let Some(outcome) = self.job.outcome_of(&sent, &record, &piece, caps) else {
            // SAFETY: the caller's promise; the descriptor has ended.
            return unsafe { self.mend(submission, piece, &sent, &record) };
        };
        let next = match self.job.absorb(piece.size, outcome) {
            // SAFETY: the caller's promise.
            Absorbed::More => return unsafe { self.next_piece(submission) },
            Absorbed::Done(outcome) => Next::Done(outcome),
            Absorbed::Refine => Next::Refine,
        };
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
    unsafe fn next_piece(&mut self, mut submission: Submission) -> Next {
        let shared = self.accelerator.shared();
        let caps = submission.queue(shared).capabilities();
        let piece = self.job.next_piece(caps);
        self.resumes = 0;
        let described = self.job.describe(piece, submission.record_addr(shared), self.cache_control, caps);
        let admission = match &described {
            // SAFETY: the caller's promise.
            Ok(descriptor) => unsafe { submission.resend(shared, descriptor) },
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
        mut submission: Submission,
        mut piece: Piece,
        sent: &Descriptor,
        record: &CompletionRecord,
    ) -> Next {
        let shared = self.accelerator.shared();
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
                let admission = unsafe { submission.resend(shared, &rest) };
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

    fn ended_on_cpu(&mut self, outcome: Outcome, reason: Reason) -> Step {
        self.stage = Stage::Ended;
        let lane = self.accelerator.shared().lane_index();
        self.accelerator.shared().lanes[lane as usize].stats.reason(reason);
        self.record(Path::Cpu, lane);
        Step::Done(Ok(outcome))
    }

    /// From now on the CPU does it, unless it must not.
    fn fall_back(&mut self, reason: Reason) -> Option<Trouble> {
        if self.route == Route::Device {
            self.stage = Stage::Ended;
            return Some(Trouble::DeviceOnly(reason));
        }
        self.stage = Stage::Cpu(reason);
        None
    }

    #[inline]
    fn record(&mut self, path: Path, lane: u32) {
        self.path = path;
        let lane = &self.accelerator.shared().lanes[lane as usize];
        let total = self.job.total();
        let before = lane.stats.operation(path, self.job.operation(), total);
        if is_sampled(before, total) {
            count_latency(lane, path, self.begun);
        }
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

#[inline(never)]
fn count_latency(lane: &Lane, path: Path, begun: u64) {
    lane.stats.latency(path, clock::to_nanos(clock::now().saturating_sub(begun)));
}

/// Whether the latency of an operation is recorded, of which so many of its kind came `before`. Of small ones only one in
/// sixteen is, because that would be a good part of what they cost.
#[inline]
fn is_sampled(before: u64, bytes: u64) -> bool {
    const SMALL: u64 = 64 << 10;
    bytes >= SMALL || before.is_multiple_of(16)
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

/// Names of queues, with commas between them.
pub(crate) fn names<'a>(queues: impl Iterator<Item = &'a Queue>) -> Box<str> {
    let names: Vec<String> = queues.map(|queue| queue.submitter().name()).collect();
    names.join(", ").into()
}

fn reason_for(admission: Admission) -> Reason {
    if admission == Admission::Closed { Reason::DeviceLost } else { Reason::QueueFull }
}
