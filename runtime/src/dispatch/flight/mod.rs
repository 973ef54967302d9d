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
//!
//! * `quick`: the short way, where one descriptor does the whole of a plain job.
//! * `advance`: the state machine.
//! * `collect`: what comes of a descriptor that was out.
//! * `wait`: the two ways of waiting.

mod advance;
mod collect;
mod quick;
mod wait;

use super::Route;
use super::job::{Job, Outcome, Piece};
use super::pressure::{Pressure, Turn};
use super::submission::Submission;
use crate::accelerator::Accelerator;
use crate::clock;
use crate::device::Queue;
use crate::lane::Lane;
use crate::lane::slot::Cargo;
use crate::stats::{Path, Reason};

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
enum Step {
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
    /// It begins again, by itself.
    NotTaken,
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

/// Names of queues, with commas between them.
pub(crate) fn names<'a>(queues: impl Iterator<Item = &'a Queue>) -> Box<str> {
    let names: Vec<String> = queues.map(|queue| queue.submitter().name()).collect();
    names.join(", ").into()
}
