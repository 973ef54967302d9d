//! What a decision is asked with, and what it says.

use super::queue::Delay;
use crate::stats::Operation;

/// How a [`Chooser`](super::Chooser) decides.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// What the submitting core's time is worth beside latency, in 256ths: at 256 a nanosecond that the core is kept from other work
    /// counts as much as a nanosecond that the operation takes longer. Counted once for the operation itself, and once
    /// more for each other one that the lane has in flight ([`Inputs::company`]), up to eight: those would be delayed as
    /// well. 0 compares latencies alone. Default 32: an eighth for a caller that is alone.
    pub cpu_cost_weight: u32,
    /// What a submission costs the core, in nanoseconds: building the descriptor, the round trip of an ENQCMD, finding
    /// the completion. Default 290, which is modelled: 20, 184 and about 85.
    pub submit_cost: u32,
    /// Operations of fewer bytes are always the CPU's, unless a caller insists. `None`, the default: whatever the comparison of
    /// costs says. Operations of as many bytes and more are compared in any case, since a queue may be busy.
    pub min_device_size: Option<u64>,
    /// The other side is tried once in so many decisions of a lane at most, and once in twice as many at least; up to
    /// 32 times more seldom while that takes more than twice as long as the usual side. 0: never; then
    /// what is believed of a side that is not used stays as it is. At most 2^25. Default 256.
    pub explore_every: u32,
    /// Of so many decisions of a lane the completion of one is a sample; at least 1, and at most 65,536. Default 16.
    pub sample_every: u32,
    /// The side that did the last operation of a size class keeps it until the other is cheaper by more than one part in
    /// two to this power of its own cost. Default 4: a sixteenth. 63 or more: no band.
    pub band: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cpu_cost_weight: 32,
            submit_cost: 290,
            min_device_size: None,
            explore_every: 256,
            sample_every: 16,
            band: 4,
        }
    }
}

/// What a caller insists on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Force {
    /// Nothing.
    #[default]
    No,
    /// A device, whatever the size and the load.
    Device,
    /// The CPU.
    Cpu,
}

/// What is to be decided about. Start with [`Inputs::new`], and set what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inputs {
    /// The kind of operation.
    pub operation: Operation,
    /// Its bytes; for a list, those of all blocks together.
    pub bytes: u64,
    /// The lane of the calling thread. Numbers from the number of lanes on share the state of others.
    pub lane: u32,
    /// The NUMA node of the calling thread; `u32::MAX` if it is not known.
    pub node: u32,
    /// The time in nanoseconds, by a clock that all threads share. 0 if there is none: then nothing counts as done
    /// before it has been found complete, and a queue that was late is late until a completion says otherwise.
    pub now: u64,
    /// What the caller insists on.
    pub force: Force,
    /// Fewer bytes than this are the CPU's; the larger of this and [`Options::min_device_size`] counts.
    pub min_size: u64,
    /// Other operations in flight on the lane.
    pub company: u32,
    /// Queues that have just refused this operation, as a mask of their numbers.
    pub tried: u64,
}

impl Inputs {
    /// An operation of a caller on lane 0, of whom nothing else is known and who insists on nothing.
    pub const fn new(operation: Operation, bytes: u64) -> Self {
        Self { operation, bytes, lane: 0, node: u32::MAX, now: 0, force: Force::No, min_size: 0, company: 0, tried: 0 }
    }
}

/// Who does an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Choice {
    /// The device, through the queue of this number.
    Device(u32),
    /// The CPU.
    Cpu(Why),
}

/// Why the CPU does an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Why {
    /// The caller insists.
    Forced,
    /// Fewer bytes than the minimum.
    BelowMinimum,
    /// No queue is open, does the operation, and has not been tried.
    NoQueue,
    /// It costs less, even beside an idle device.
    Cheaper,
    /// It costs less than to wait for what is ahead in the queues.
    Busy,
    /// To see how long the CPU takes.
    Explored,
}

/// A decision, and what is needed to learn from how it turns out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Decision {
    /// Who does it.
    pub choice: Choice,
    /// Whether the completion is a sample: [`completed_on_device`](super::Chooser::completed_on_device) and
    /// [`completed_on_cpu`](super::Chooser::completed_on_cpu) do nothing
    /// otherwise, and the caller may save the reading of the clock.
    pub sample: bool,
    /// How long it was expected to wait behind others in the queue, in picoseconds.
    pub(super) wait: u64,
    /// What the queue's distance adds, in picoseconds.
    pub(super) distance: u64,
    /// The lane, plus 1, if this is an exploration.
    pub(super) explorer: u32,
    /// Whether all engines had something to do.
    pub(super) queued: bool,
    /// When it was made, in nanoseconds.
    pub(super) at: u64,
}

/// When an operation was with the device, in nanoseconds since its submission. The record has no time in it: all that is known is
/// when somebody looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The last look that found it not complete; 0 if there was none.
    pub pending: u64,
    /// The look that found it complete.
    pub complete: u64,
}

impl Seen {
    /// Somebody was looking all the time.
    pub const fn at(complete: u64) -> Self {
        Self { pending: complete, complete }
    }
}

impl Decision {
    /// The queue, if it is for the device.
    #[inline]
    pub(crate) fn queue(&self) -> Option<u32> {
        match self.choice {
            Choice::Device(queue) => Some(queue),
            Choice::Cpu(_) => None,
        }
    }

    pub(super) const fn cpu(why: Why, sample: bool) -> Self {
        Self { choice: Choice::Cpu(why), sample, wait: 0, distance: 0, explorer: 0, queued: false, at: 0 }
    }

    #[inline]
    pub(super) fn device(queue: u32, delay: Delay, sample: bool, at: u64) -> Self {
        Self {
            choice: Choice::Device(queue),
            sample,
            wait: delay.wait,
            distance: delay.distance,
            explorer: 0,
            queued: delay.queued,
            at,
        }
    }
}
