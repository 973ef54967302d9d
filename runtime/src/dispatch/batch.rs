//! The way of many jobs at once: BATCH descriptors where the queue takes them, single ones where it does not.
//!
//! Members are sent in *units*: a run of members in one BATCH descriptor, or one member by itself. Several units may be
//! out at the same time, because members are unordered - except by fences. A member's *level* is the number of fences
//! before it, and there are two rules:
//!
//! * nothing of one level is started, by a device or by the CPU, before everything of lower levels has ended;
//! * a unit may span levels (the device orders within one BATCH) if nothing else is under way, and if the device's
//!   success is the end of every member before the last level: what the CPU refines, it reads again.
//!
//! A member that the device has failed, or abandoned because an earlier one failed before a fence, is done by the CPU.
//! Members are collected in order, so the CPU does them in an order that fences allow.

use std::collections::VecDeque;
use std::ops::Range;
use std::task::{Context, Poll, ready};

use idxd_sys::{CompletionRecord, Descriptor, flag, opcode, status};

use super::Route;
use super::job::{Absorbed, Job, Outcome, Piece};
use super::pressure::{Pressure, Turn, is_pressure};
use super::slices;
use super::submission::{Look, Submission};
use crate::accelerator::Accelerator;
use crate::clock;
use crate::descriptor::{Batch, Capabilities};
use crate::device::Admission;
use crate::lane::records::RecordCell;
use crate::lane::slot::Cargo;
use crate::lane::{DescriptorCell, contain};
use crate::stats::{Event, Path, Reason};

/// A device cannot be made to stop: the buffers must never be touched again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Runaway;

/// Why a batch ended without results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stranded {
    /// See [`Runaway`].
    Runaway,
    /// There was no room for it, and it was to fail then. Nothing has been done.
    Pressure(Reason),
}

/// One member, and how it ended.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) job: Job,
    /// Fences before this member.
    level: u32,
    pub(crate) outcome: Option<Outcome>,
}

impl Member {
    /// A member with `level` fences before it.
    pub(crate) fn new(job: Job, level: u32) -> Self {
        Self { job, level, outcome: None }
    }
}

/// What the device reads and writes beside the buffers: the descriptor lists and the members' records.
///
/// `Vec`, not `Box`: a box claims its content for itself whenever it is moved, and a batch may be moved while the device
/// reads. The cells are reached through shared references only, for the same reason.
struct Block {
    descriptors: Vec<DescriptorCell>,
    records: Vec<RecordCell>,
}

/// Units that are submitted together: one fence, or one `write(2)`, for all of them.
#[derive(Default)]
struct Run {
    submissions: Vec<Submission>,
    descriptors: Vec<Descriptor>,
    members: Vec<Range<usize>>,
}

/// Some members with the device.
#[derive(Debug)]
struct Unit {
    submission: Submission,
    members: Range<usize>,
}

/// Jobs on their way together.
pub(crate) struct BatchFlight {
    accelerator: Accelerator,
    pub(crate) members: Vec<Member>,
    block: Option<Block>,
    /// First member that nobody has taken on yet.
    next: usize,
    /// Bytes of all members together.
    total: u64,
    units: Vec<Unit>,
    /// Empty between submissions; kept for its memory.
    run: Run,
    /// Members for the CPU, in order, and why; `None` if the device has done its part, and the CPU looks for the exact
    /// result.
    cpu: VecDeque<(usize, Option<Reason>)>,
    pub(crate) route: Route,
    /// What it does under pressure, if not what the policy says.
    pub(crate) pressure: Option<Pressure>,
    /// Its place among those who wait for room; only while nothing is out.
    turn: Option<Turn>,
    /// Whether a device or the CPU has had anything of it.
    has_begun: bool,
    path: Path,
    begun: u64,
    ended: bool,
}

/// Most units that one batch has out at a time.
const MOST_UNITS: usize = 32;

impl BatchFlight {
    pub(crate) fn new(accelerator: Accelerator, members: Vec<Member>) -> Self {
        Self {
            accelerator,
            members,
            block: None,
            next: 0,
            total: 0,
            units: Vec::new(),
            run: Run::default(),
            cpu: VecDeque::new(),
            route: Route::Auto,
            pressure: None,
            turn: None,
            has_begun: false,
            path: Path::Device,
            begun: 0,
            ended: false,
        }
    }

    pub(crate) fn is_fresh(&self) -> bool {
        self.block.is_none() && !self.ended
    }

    pub(crate) fn reroute(&mut self, accelerator: &Accelerator) {
        debug_assert!(self.is_fresh());
        self.accelerator = accelerator.clone();
    }

    /// Polls until every member has an outcome.
    ///
    /// # Safety
    ///
    /// From the first poll until the flight has ended, or been detached together with them, the buffers of all jobs
    /// are valid and nobody else touches them (sources may be read).
    pub(crate) unsafe fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stranded>> {
        let coop = ready!(tokio::task::coop::poll_proceed(cx));
        assert!(!self.ended, "a batch was polled after it had completed");
        if self.block.is_none() {
            self.begin();
        }
        if let Some(turn) = &mut self.turn {
            turn.is_present = false;
        }
        loop {
            // SAFETY: the caller's promise.
            if let Err(reason) = unsafe { self.launch() } {
                self.ended = true;
                return Poll::Ready(Err(Stranded::Pressure(reason)));
            }
            match self.collect() {
                Ok(true) => continue,
                Ok(false) => {}
                Err(Runaway) => {
                    self.ended = true;
                    return Poll::Ready(Err(Stranded::Runaway));
                }
            }
            if let Some(turn) = &mut self.turn {
                if turn.is_present {
                    return Poll::Pending;
                }
                // First the waker, then a look whether there is room: nobody's call comes in between.
                turn.present(self.accelerator.shared(), Some(cx.waker().clone()));
                continue;
            }
            if !self.cpu.is_empty() {
                // SAFETY: the caller's promise; members on this list are with no device.
                unsafe { self.run_slice() };
                if !self.is_done() {
                    coop.made_progress();
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
            let Some(unit) = self.units.first_mut() else {
                debug_assert!(self.is_done(), "nothing is out, and nothing left for the CPU");
                coop.made_progress();
                self.end();
                return Poll::Ready(Ok(()));
            };
            // All units must end, so it does not matter which is waited for.
            let size = self.members[unit.members.clone()].iter().map(|member| member.job.total()).sum();
            if !unit.submission.wait_a_little(&self.accelerator, size, cx) {
                return Poll::Pending;
            }
        }
    }

    /// Hands whatever devices may still write to the poller. `cargo` is called only if something is out; it gives the
    /// buffers.
    pub(crate) fn detach<C: Send + 'static>(&mut self, cargo: impl FnOnce() -> C) {
        self.ended = true;
        let shared = self.accelerator.shared();
        if let Some(turn) = self.turn.take() {
            turn.cancel(shared);
        }
        if self.units.is_empty() {
            return;
        }
        // Several slots may have to keep the same memory.
        let estate = std::sync::Arc::new(Estate((self.block.take(), cargo())));
        for unit in self.units.drain(..) {
            // A waker that panics when it is dropped must not keep the other units from being handed over.
            contain(|| unit.submission.detach(shared, || Box::new(std::sync::Arc::clone(&estate)) as Box<dyn Cargo>));
        }
    }

    /// Gives everything up for good, after [`Runaway`].
    pub(crate) fn leak(&mut self) {
        std::mem::forget(self.block.take());
    }

    fn begin(&mut self) {
        self.begun = clock::now();
        let count = self.members.len();
        self.block = Some(Block {
            descriptors: (0..count).map(|_| DescriptorCell::new()).collect(),
            records: (0..count).map(|_| RecordCell::new()).collect(),
        });
        self.units.reserve(MOST_UNITS.min(count));
        self.run.submissions.reserve(MOST_UNITS.min(count));
        self.run.descriptors.reserve(MOST_UNITS.min(count));
        self.run.members.reserve(MOST_UNITS.min(count));
        for member in &mut self.members {
            self.total += member.job.total();
            if member.job.left() == 0 {
                member.outcome = Some(member.job.outcome());
            }
        }
    }

    /// The lowest level of anything that is under way.
    fn lowest_level(&self) -> Option<u32> {
        // Within a unit, and on the list for the CPU, levels rise with the index.
        let units = self.units.iter().map(|unit| unit.members.start);
        let cpu = self.cpu.front().map(|&(index, _)| index);
        units.chain(cpu).map(|index| self.members[index].level).min()
    }

    fn is_done(&self) -> bool {
        self.next == self.members.len() && self.units.is_empty() && self.cpu.is_empty()
    }

    fn end(&mut self) {
        self.ended = true;
        let shared = self.accelerator.shared();
        let stats = &shared.lanes[shared.lane_index() as usize].stats;
        stats.latency(self.path, clock::to_nanos(clock::now().saturating_sub(self.begun)));
    }

    /// Names of the queues that could take members.
    pub(crate) fn takers(&self) -> Box<str> {
        super::names(self.accelerator.shared().queues.iter().filter(|queue| queue.is_open()))
    }

    /// Sends as many units as may be sent now; hands members that no device can take to the CPU. Where there is no room and
    /// nothing is out, it does as it was told for that case; an error says that it fails.
    ///
    /// # Safety
    ///
    /// As for [`BatchFlight::poll`].
    unsafe fn launch(&mut self) -> Result<(), Reason> {
        if let Some(turn) = self.turn {
            if turn.is_over(self.accelerator.shared()).is_some() {
                self.leave(Event::WaitsGivenUp);
                // For the rest of it.
                self.pressure = Some(Pressure::Cpu);
            } else if !turn.is_first {
                return Ok(());
            }
        }
        while self.next < self.members.len() {
            let member = &self.members[self.next];
            if member.outcome.is_some() {
                self.next += 1;
                continue;
            }
            if self.units.len() == MOST_UNITS || self.lowest_level().is_some_and(|lowest| lowest < member.level) {
                break;
            }
            // SAFETY: the caller's promise.
            match unsafe { self.send() } {
                Ok(()) => self.leave(Event::WaitsServed),
                // Pressure from ourselves: wait for a unit to come back.
                Err(reason) if is_pressure(reason) && !self.units.is_empty() => break,
                Err(reason) if is_pressure(reason) && self.turn.is_some() => {
                    self.turn.as_mut().expect("just looked at").tried(reason);
                    break;
                }
                Err(reason) => {
                    self.leave(Event::WaitsGivenUp);
                    let shared = self.accelerator.shared();
                    match self.pressure.unwrap_or(shared.policy.pressure) {
                        Pressure::Wait if is_pressure(reason) => {
                            // What the CPU has to do it does meanwhile, and then looks again.
                            if self.cpu.is_empty() {
                                self.turn = Some(Turn::new(shared, reason));
                            }
                            break;
                        }
                        Pressure::Fail if is_pressure(reason) && !self.has_begun && self.cpu.is_empty() => {
                            return Err(reason);
                        }
                        _ => {}
                    }
                    self.cpu.push_back((self.next, Some(reason)));
                    self.next += 1;
                }
            }
        }
        Ok(())
    }

    /// Does not wait for room any more, if it has.
    fn leave(&mut self, how: Event) {
        if let Some(turn) = self.turn.take() {
            turn.leave(self.accelerator.shared(), how);
        }
    }

    /// Sends one unit or several, starting with member `next`, to one queue.
    ///
    /// # Safety
    ///
    /// As for [`BatchFlight::poll`].
    unsafe fn send(&mut self) -> Result<(), Reason> {
        let shared = self.accelerator.shared();
        if self.route == Route::Cpu {
            return Err(Reason::Forced);
        }
        if shared.queues.is_empty() {
            return Err(Reason::NoDevice);
        }
        if shared.is_forked() {
            return Err(Reason::Forked);
        }
        if self.total < shared.policy.min_device_size as u64 {
            return Err(Reason::BelowThreshold);
        }
        let is_turn = self.turn.is_some();
        if !is_turn && shared.waiters.any() {
            return Err(Reason::QueueFull);
        }
        let slot = if is_turn { Submission::acquire_anywhere(shared) } else { Submission::acquire(shared) };
        let first = slot.ok_or(Reason::NoSlot)?;
        let lane = first.lane(shared);
        let mut run = std::mem::take(&mut self.run);
        run.submissions.push(first);
        let mut result = Err(Reason::DeviceLost);
        for index in shared.queues_from(first.lane) {
            let queue = &shared.queues[index as usize];
            if !queue.is_open() {
                continue;
            }
            self.gather(&mut run, queue.capabilities());
            if run.members.is_empty() {
                // One that has no room would take it.
                if result != Err(Reason::QueueFull) {
                    result = Err(Reason::Unsupported);
                }
                continue;
            }
            let count = run.members.len();
            let slots = &mut run.submissions[..count];
            // SAFETY: the caller's promise covers the buffers; lists and records are in `block`, which lives as long. Each
            // slot is fresh.
            let (accepted, admission) =
                unsafe { Submission::send_all(slots, shared, index, &run.descriptors, clock::now()) };
            if accepted != 0 {
                self.next = run.members[accepted - 1].end;
                for (submission, members) in run.submissions.drain(..accepted).zip(run.members.drain(..accepted)) {
                    if members.len() > 1 {
                        lane.stats.event(Event::Batches);
                    }
                    self.units.push(Unit { submission, members });
                }
                self.has_begun = true;
                result = Ok(());
                break;
            }
            if admission == Admission::Full {
                result = Err(Reason::QueueFull);
            }
        }
        for submission in run.submissions.drain(..) {
            if is_turn {
                submission.free_quietly(shared);
            } else {
                submission.free(shared);
            }
        }
        self.run = run;
        result
    }

    /// Forms the units that may be submitted together, starting with member `next`, as a queue with `caps` can take them.
    /// `run` has at least one slot, and gets more while there are.
    fn gather(&self, run: &mut Run, caps: &Capabilities) {
        let shared = self.accelerator.shared();
        let block = self.block.as_ref().expect("begun");
        run.descriptors.clear();
        run.members.clear();
        let level = self.members[self.next].level;
        let mut next = self.next;
        while self.units.len() + run.members.len() < MOST_UNITS {
            if run.members.len() == run.submissions.len() {
                let lane = run.submissions[0].lane;
                let Some(submission) = Submission::acquire_from(shared, lane) else { return };
                run.submissions.push(submission);
            }
            let alone = run.members.is_empty() && self.units.is_empty() && self.cpu.is_empty();
            let record = run.submissions[run.members.len()].record_addr(shared);
            let Some((descriptor, members)) = form(&self.members, block, next, alone, record, caps) else { return };
            next = members.end;
            let last = self.members[next - 1].level;
            run.descriptors.push(descriptor);
            run.members.push(members);
            while self.members.get(next).is_some_and(|member| member.outcome.is_some()) {
                next += 1;
            }
            // What lies behind a fence waits for what lies before it, unless the device sees to that.
            if last != level || self.members.get(next).is_none_or(|member| member.level != level) {
                return;
            }
        }
    }

    /// Takes back the units that have ended. Returns whether there were any.
    fn collect(&mut self) -> Result<bool, Runaway> {
        let shared = self.accelerator.shared();
        let mut any = false;
        let mut at = 0;
        while at < self.units.len() {
            let submission = self.units[at].submission;
            let whole = match submission.look(shared, false) {
                Look::Waiting => {
                    at += 1;
                    continue;
                }
                // SAFETY: it is complete.
                Look::Complete => Ok(unsafe { submission.record(shared) }),
                Look::Lost(reason) => Err(reason),
                Look::Runaway => {
                    // The slot is the poller's from here on: dropping the batch must not touch it.
                    self.units.remove(at).submission.leak(&self.accelerator);
                    return Err(Runaway);
                }
            };
            any = true;
            let unit = self.units.remove(at);
            let block = self.block.as_ref().expect("begun");
            let single = unit.members.len() == 1;
            for index in unit.members {
                // A member's record is 0 if it was abandoned, or lost with its queue.
                let record = match (&whole, single) {
                    (Ok(record), true) => Ok(*record),
                    (Err(reason), true) => Err(*reason),
                    (whole, false) if block.records[index].status() == 0 => {
                        Err(*whole.as_ref().err().unwrap_or(&Reason::Abandoned))
                    }
                    // SAFETY: its status is not 0, and the unit has ended, so no device will write it any more.
                    (_, false) => Ok(unsafe { block.records[index].read() }),
                };
                let stats = &submission.lane(shared).stats;
                let caps = submission.queue(shared).capabilities();
                // SAFETY: the unit has ended, so nobody else touches the cell, which `form` wrote.
                let sent = unsafe { block.descriptors[index].get().read() };
                match settle(&mut self.members[index], &sent, record, caps) {
                    Settled::Done => {
                        let job = &self.members[index].job;
                        stats.operation(Path::Device, job.operation(), job.total());
                    }
                    Settled::Refine => self.cpu.push_back((index, None)),
                    Settled::Failed(reason) => {
                        if reason == Reason::PageFault {
                            stats.event(Event::PageFaults);
                        }
                        self.cpu.push_back((index, Some(reason)));
                    }
                }
            }
            // Last, because it may drop a waker, and that may panic.
            submission.free(shared);
        }
        // Units may have ended out of order; fences hold between units, so order matters only among what is here.
        if any && self.cpu.len() > 1 {
            self.cpu.make_contiguous().sort_unstable_by_key(|&(index, _)| index);
        }
        Ok(any)
    }

    /// Does one slice of CPU work.
    ///
    /// # Safety
    ///
    /// As for [`BatchFlight::poll`].
    unsafe fn run_slice(&mut self) {
        let shared = self.accelerator.shared();
        let stats = &shared.lanes[shared.lane_index() as usize].stats;
        let rates = &shared.rates;
        let mut budget = rates.most();
        let mut ticks = rates.ticks();
        self.has_begun = true;
        while let Some(&(index, reason)) = self.cpu.front() {
            let path = if reason.is_some() { Path::Cpu } else { Path::Device };
            if path == Path::Cpu {
                self.path = path;
            }
            let member = &mut self.members[index];
            // From its beginning, even if the device has done a part: a job's pieces can be done over.
            let (operation, budget_now) = (member.job.operation(), budget.max(slices::LEAST));
            let limit = ticks.map_or(budget_now, |ticks| rates.slice(operation, ticks, budget_now));
            let piece = member.job.next_slice(limit);
            let begun = clock::now();
            // SAFETY: the caller's promise; the member is with no device.
            let outcome = unsafe { member.job.run(piece) };
            if let Some(ticks) = &mut ticks {
                let taken = clock::now().saturating_sub(begun);
                rates.learn(operation, piece, taken);
                *ticks = ticks.saturating_sub(taken);
            }
            if let Absorbed::Done(outcome) = member.job.absorb(piece, outcome) {
                member.outcome = Some(outcome);
                if let Some(reason) = reason {
                    stats.reason(reason);
                }
                stats.operation(path, member.job.operation(), member.job.total());
                self.cpu.pop_front();
            }
            budget = budget.saturating_sub(piece);
            if budget == 0 || ticks == Some(0) {
                break;
            }
        }
    }
}

/// What several slots keep together until the last of them has been reaped.
struct Estate<T>(#[allow(dead_code)] T);

// SAFETY: the content is never accessed through a shared reference - the field is private and nobody reads it - only
// dropped, by whichever thread drops the last `Arc`, for which `T: Send` is enough.
unsafe impl<T: Send> Sync for Estate<T> {}

/// Writes the descriptors of the next unit. `None` if the queue can take not even the first member.
///
/// It starts with member `start`, and may span levels if `may_fence` and its members allow it; its record goes to address `record`. Gives the
/// descriptor to send, and the members in it.
fn form(
    members: &[Member],
    block: &Block,
    start: usize,
    may_fence: bool,
    record: u64,
    caps: &Capabilities,
) -> Option<(Descriptor, Range<usize>)> {
    let limit = if caps.supports(opcode::BATCH) { caps.max_batch_size() as usize } else { 1 };
    let mut end = start;
    let mut may_fence = may_fence;
    for member in members[start..].iter().take(limit) {
        let fenced = end > start && member.level != members[end - 1].level;
        if member.outcome.is_some() || fenced && !may_fence {
            break;
        }
        // To a device a difference is a success, which lets it pass a fence before the CPU has refined it.
        may_fence &= !member.job.may_refine();
        let Some(mut descriptor) = describe(&member.job, &block.records[end], caps) else { break };
        if fenced {
            descriptor.flags_opcode |= flag::FENCE;
        }
        // SAFETY: the member is not out, so no device reads its cell.
        unsafe { block.descriptors[end].get().write(descriptor) };
        block.records[end].reset();
        end += 1;
    }
    let mut count = end - start;
    if count > 1 && count < caps.min_batch_size() as usize {
        count = 1;
    }
    match count {
        0 => None,
        1 => {
            // By itself, with the slot's own record.
            // SAFETY: as above; written just now.
            let mut single = unsafe { block.descriptors[start].get().read() };
            single.completion_addr = record;
            Some((single, start..start + 1))
        }
        _ => {
            let list = block.descriptors[start..].as_ptr().expose_provenance() as u64;
            let batch = Batch::new(list, count as u32).record(record).build(caps).ok()?;
            Some((batch, start..start + count))
        }
    }
}

/// The member descriptor of a job, if the queue can take the job in one piece.
fn describe(job: &Job, record: &RecordCell, caps: &Capabilities) -> Option<Descriptor> {
    if job.is_for_cpu() || job.next_piece(caps) != job.left() {
        return None;
    }
    job.describe(job.left(), record.addr(), false, caps).ok()
}

/// What became of a member that was with a device.
enum Settled {
    /// It has its outcome.
    Done,
    /// The device has done its part.
    Refine,
    /// The CPU has to do it.
    Failed(Reason),
}

/// Gives a member its outcome, or says what the CPU has to do.
fn settle(
    member: &mut Member,
    sent: &Descriptor,
    record: Result<CompletionRecord, Reason>,
    caps: &Capabilities,
) -> Settled {
    let record = match record {
        Ok(record) => record,
        Err(reason) => return Settled::Failed(reason),
    };
    let piece = Piece::new(member.job.left());
    if let Some(outcome) = member.job.outcome_of(sent, &record, &piece, caps) {
        return match member.job.absorb(piece.size, outcome) {
            Absorbed::Done(outcome) => {
                member.outcome = Some(outcome);
                Settled::Done
            }
            Absorbed::Refine => Settled::Refine,
            Absorbed::More => unreachable!("a member is one piece"),
        };
    }
    match record.status & status::CODE_MASK {
        status::PAGE_FAULT | status::PAGE_RESPONSE => Settled::Failed(Reason::PageFault),
        _ => Settled::Failed(Reason::DeviceError),
    }
}
