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
//!
//! * `launch`: units, and how they are sent.
//! * `collect`: what comes of them, and what the CPU does.

mod collect;
mod launch;

use std::collections::VecDeque;
use std::ops::Range;
use std::task::{Context, Poll, ready};

use idxd_sys::Descriptor;

use super::Route;
use super::job::{Job, Outcome, Work};
use super::pressure::{Pressure, Turn};
use super::submission::Submission;
use crate::accelerator::Accelerator;
use crate::clock;
use crate::lane::records::RecordCell;
use crate::lane::slot::Cargo;
use crate::lane::{DescriptorCell, contain};
use crate::stats::{Path, Reason};

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
    /// Why no device is to have it, and else the queue that comes first, if somebody has been asked.
    declined: Option<Reason>,
    queue: Option<u32>,
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
            declined: None,
            queue: None,
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
        self.ask();
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
}

/// What several slots keep together until the last of them has been reaped.
struct Estate<T>(#[allow(dead_code)] T);

// SAFETY: the content is never accessed through a shared reference - the field is private and nobody reads it - only
// dropped, by whichever thread drops the last `Arc`, for which `T: Send` is enough.
unsafe impl<T: Send> Sync for Estate<T> {}
