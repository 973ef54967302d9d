//! The way of one job: device or CPU, piece after piece, until there is a result.
//!
//! ```text
//!   Fresh --- device takes it ---> Out --- record complete ---> next piece, or Ended (the short way: Done)
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
//! * `load`: which jobs there are flights of.
//! * `wait`: the two ways of waiting.

mod advance;
mod asked;
mod collect;
mod load;
mod quick;
mod wait;

use std::mem::ManuallyDrop;

pub(crate) use self::load::Load;
use super::Route;
use super::job::{Extras, Outcome, Piece};
use super::pressure::{Pressure, Turn};
use super::submission::Submission;
use crate::accelerator::Accelerator;
use crate::clock;
use crate::cpu::Hint;
use crate::descriptor::Capabilities;
use crate::device::Queue;
use crate::error::Error;
use crate::lane::Lane;
use crate::lane::slot::Cargo;
use crate::stats::{Path, Reason};

/// Why a flight ended without a result.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It was not to be done at all.
    Refused(Box<Error>),
    /// It was to stay off the CPU, and could not. The buffers are free.
    DeviceOnly(Reason),
    /// There was no room for it, and it was to fail then. Nothing has been done.
    Pressure(Reason),
    /// The device cannot be made to stop. The buffers must never be touched again.
    Runaway,
}

/// One job on its way. Whoever has it says by which accelerator, always the same from the first call that does something.
// In this order what is 0 in the beginning lies together, apart from what is not set.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Flight<J> {
    /// Ticks at the first poll that did something; 0 before, and as long as the slot's stamp says it.
    begun: u64,
    job: J,
    stage: Stage,
    options: Options,
    /// What it does under pressure, if not what the policy says.
    pub(crate) pressure: Option<Pressure>,
    resumes: u8,
    path: Path,
}

bitflags::bitflags! {
    /// What was asked for, which in general is nothing.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Options: u8 {
        /// [`Route::Device`].
        const DEVICE = 1;
        /// [`Route::Cpu`].
        const CPU = 2;
        /// Results should go to the cache.
        const CACHE_CONTROL = 4;
    }
}

#[derive(Debug)]
enum Stage {
    /// It waits for room; nothing is out.
    Queued(Turn),
    /// Nothing has happened yet.
    Fresh,
    /// A descriptor is with a device; the piece, whatever part of it this descriptor covers.
    Out(Submission, Piece),
    /// The CPU does the rest.
    Cpu(Reason),
    /// The device has done its part, and the CPU looks for the exact result.
    Refine,
    /// It has ended the short way, and the job's own outcome is the result.
    Done,
    /// There is nothing more to do, and the result has been given.
    Ended,
    /// It will not be done. Boxed, because the other stages should not carry room for it. Not dropped with the flight, so
    /// that nobody has to look for it who drops one that has ended: whoever has a flight ends or detaches it.
    Refused(ManuallyDrop<Box<Error>>),
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

impl<J: Load> Flight<J> {
    pub(crate) fn new(job: J) -> Self {
        Self::planned(job, Ok(()))
    }

    /// With what is to be done, or why it is not: then the job does not matter.
    #[expect(clippy::inline_always, reason = "measured in instructions: otherwise it is copied around")]
    #[inline(always)]
    pub(crate) fn planned(job: J, plan: Result<(), Error>) -> Self {
        let stage = match plan {
            Ok(()) => Stage::Fresh,
            Err(error) => Stage::Refused(ManuallyDrop::new(boxed(error))),
        };
        Self { job, stage, options: Options::empty(), pressure: None, resumes: 0, path: Path::Device, begun: 0 }
    }

    #[inline]
    pub(crate) fn job(&self) -> &J {
        &self.job
    }

    /// Who did the job, or its last part; meaningful once it has ended.
    pub(crate) fn path(&self) -> Path {
        self.path
    }

    /// Changes what is to be done, before it has begun.
    pub(crate) fn job_mut(&mut self) -> &mut J {
        debug_assert!(self.is_fresh());
        &mut self.job
    }

    /// Whether nothing has been done yet, so that accelerator and route may still be changed.
    pub(crate) fn is_fresh(&self) -> bool {
        matches!(self.stage, Stage::Fresh | Stage::Refused(_))
    }

    pub(crate) fn set_route(&mut self, route: Route) {
        self.options.set(Options::DEVICE, route == Route::Device);
        self.options.set(Options::CPU, route == Route::Cpu);
    }

    pub(crate) fn set_cache_control(&mut self, on: bool) {
        self.options.set(Options::CACHE_CONTROL, on);
    }

    /// Tells the CPU and the device where the bytes are.
    pub(crate) fn set_hint(&mut self, hint: Hint) {
        self.set_cache_control(hint == Hint::Hot);
        self.job.set_hint(hint);
    }

    /// What a descriptor with its record at address `record` says besides what is to be done.
    #[inline]
    fn extras(&self, record: u64, caps: &Capabilities) -> Extras {
        Extras::new(record, self.options.contains(Options::CACHE_CONTROL), caps)
    }

    /// Hands whatever the device may still write to the poller, or back if there is nothing such. Gives up its place
    /// among those who wait.
    ///
    /// `cargo` is called only if a descriptor is still out; it gives the buffers.
    #[cold]
    pub(crate) fn detach(&mut self, accelerator: &Accelerator, cargo: impl FnOnce() -> Box<dyn Cargo>) {
        let shared = accelerator.shared();
        match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Out(submission, _) => submission.detach(shared, cargo),
            Stage::Queued(turn) => turn.cancel(shared),
            Stage::Refused(error) => drop(ManuallyDrop::into_inner(error)),
            _ => {}
        }
    }

    /// Names of the queues that could take what is left.
    #[cold]
    pub(crate) fn takers(&self, accelerator: &Accelerator) -> Box<str> {
        let takes = |queue: &&Queue| {
            let caps = queue.capabilities();
            // Any address of a record does.
            let described = self.job.describe(self.job.next_piece(caps), self.extras(0x1000, caps), caps);
            queue.is_open() && described.is_ok()
        };
        names(accelerator.shared().queues.iter().filter(takes))
    }
}

#[cold]
#[inline(never)]
fn boxed(error: Error) -> Box<Error> {
    Box::new(error)
}

#[inline(never)]
fn count_latency(lane: &Lane, path: Path, begun: u64) {
    lane.stats.latency(path, clock::to_nanos(clock::now().saturating_sub(begun)));
}

/// Whether the latency of an operation is recorded, of which so many of its kind came `before`. Of small ones only one in
/// sixteen is, because that would be a good part of what they cost.
#[inline]
pub(in crate::dispatch) fn is_sampled(before: u64, bytes: u64) -> bool {
    const SMALL: u64 = 64 << 10;
    bytes >= SMALL || before.is_multiple_of(16)
}

/// Names of queues, with commas between them.
pub(crate) fn names<'a>(queues: impl Iterator<Item = &'a Queue>) -> Box<str> {
    let names: Vec<String> = queues.map(|queue| queue.submitter().name()).collect();
    names.join(", ").into()
}

#[cfg(all(test, not(any(dsa_loom, dsa_shuttle))))]
mod tests {
    use idxd_sys::flag;

    use super::*;
    use crate::dispatch::{Plain, Work};

    /// The device writes into its cache for what is hot, and a word about that alone stands after it.
    #[test]
    fn a_hint_drives_the_cache_control_of_the_device() {
        // What Sapphire Rapids has.
        let caps = Capabilities::new(0x100, 0x40_915f_0107, [0x1_003f_03ff, 0, 0, 0]);
        assert!(caps.cache_control());
        let cached = |flight: &Flight<Plain>| {
            let descriptor = flight.job.describe(64, flight.extras(0x40, &caps), &caps).expect("a plain copy");
            descriptor.flags() & flag::CACHE_CONTROL != 0
        };
        let mut flight = Flight::new(Plain::copy(
            std::ptr::without_provenance(0x1000),
            std::ptr::without_provenance_mut(0x2000),
            64,
        ));
        for (hint, is_cached) in [(Hint::Hot, true), (Hint::Cold, false), (Hint::Hot, true), (Hint::Unknown, false)] {
            flight.set_hint(hint);
            assert_eq!(cached(&flight), is_cached, "{hint:?}");
        }
        flight.set_hint(Hint::Cold);
        flight.set_cache_control(true);
        assert!(cached(&flight));
    }
}
