//! How 64 bytes reach a work queue.
//!
//! A [`Submitter`] is one open work queue. It knows nothing of futures, slots or policy: descriptors in, "accepted" or
//! "try again" out. What it must be able to do beyond that is to say, for certain, that nothing it accepted is still
//! being executed: that is what [`Submitter::quiesce`] is for, and recovery (invariant 4) rests on it alone.

#[cfg(feature = "emulator")]
pub(crate) mod emulated;

use std::fmt;

use idxd_sys::Descriptor;

use crate::descriptor::Capabilities;

/// What a queue said to a submission.
#[cfg_attr(not(feature = "emulator"), expect(dead_code, reason = "the software device is the only back end so far"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All descriptors are with the device, or lost on the way to it: no answer tells the two apart on a dedicated
    /// queue.
    Accepted,
    /// The first `n` descriptors were accepted; the queue wants the rest later. A disabled queue says so for ever.
    Retry(usize),
}

/// How a process hands descriptors to one open work queue.
pub(crate) trait Submitter: Send + Sync + fmt::Debug {
    /// Hands over `descriptors`, in order. Orders all earlier stores of this thread before the submission.
    ///
    /// # Safety
    ///
    /// Every address that an accepted descriptor names stays valid, and is not touched in a way that races with what
    /// the descriptor does, until its completion record has been written or [`Submitter::quiesce`] has returned true.
    unsafe fn submit(&self, descriptors: &[Descriptor]) -> Verdict;

    /// What the queue offers, as read when it was opened.
    fn capabilities(&self) -> Capabilities;

    /// How many descriptors may be outstanding, if this queue loses what exceeds that (dedicated queues); `None` if it
    /// answers "retry" instead.
    fn credits(&self) -> Option<usize>;

    /// Whether the queue can be expected to execute what it accepts. May cost a system call; not for the hot path.
    fn is_alive(&self) -> bool;

    /// Returns true once no descriptor that was ever accepted here is queued or executing, whether or not it has
    /// completed; false if that could not be had. Takes bounded time.
    fn quiesce(&self) -> bool;
}
