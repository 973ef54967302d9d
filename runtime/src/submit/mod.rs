//! How 64 bytes reach a work queue.
//!
//! A [`Submitter`] is one open work queue. It knows nothing of futures, slots or policy: descriptors in, "accepted" or
//! "try again" out. What it must be able to do beyond that is to say, for certain, that nothing it accepted is still
//! being executed: that is what [`Submitter::quiesce`] is for, and recovery (invariant 4) rests on it alone.
//!
//! * [`portal`]: the instructions, aimed at a page that belongs to the device.
//! * [`write`]: the system call, for processes that may not map that page.
//! * [`kernel`]: a queue of the Linux driver, by either of the two.
//! * [`emulated`]: a queue of the software device; [`trapped`]: the same, by the instructions.

#[cfg(feature = "emulator")]
pub(crate) mod emulated;
pub(crate) mod kernel;
mod portal;
#[cfg(feature = "emulator")]
pub(crate) mod trapped;
mod write;

use std::fmt;
use std::sync::Arc;

use idxd_sys::Descriptor;

use crate::descriptor::Capabilities;
use crate::device::QueueError;

/// How descriptors get to a work queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SubmissionPath {
    /// The ENQCMD instruction on the mapped portal of a shared queue. No system call.
    Enqcmd,
    /// The MOVDIR64B instruction on the mapped portal of a dedicated queue. No system call.
    Movdir64b,
    /// `write(2)` on the queue's file: the kernel submits. One call may carry many descriptors.
    Write,
    /// A call into the software model of the device.
    Model,
}

impl fmt::Display for SubmissionPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Enqcmd => "portal, ENQCMD",
            Self::Movdir64b => "portal, MOVDIR64B",
            Self::Write => "write(2)",
            Self::Model => "software model",
        })
    }
}

/// What a queue said to a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All descriptors are with the device, or lost on the way to it: no answer tells the two apart on a dedicated
    /// queue.
    Accepted,
    /// The first `n` descriptors were accepted; the queue wants the rest later. A disabled queue says so for ever.
    Retry(usize),
    /// None was accepted; the queue is full, and was asked several times already.
    Full,
    /// The first `n` descriptors were accepted; the rest will not be, however often it is tried, until the queue has
    /// been quiesced and revived.
    Refused(usize),
}

/// What a queue said to a single descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// [`Verdict::Accepted`].
    Accepted,
    /// [`Verdict::Retry`] or [`Verdict::Full`].
    NotNow,
    /// [`Verdict::Refused`].
    Refused,
}

/// How a process hands descriptors to one open work queue.
pub(crate) trait Submitter: Send + Sync + fmt::Debug {
    /// Hands over `descriptors`, in order. Orders all earlier stores of this thread before the submission, once for all
    /// of them.
    ///
    /// # Safety
    ///
    /// Every address that an accepted descriptor names stays valid, and is not touched in a way that races with what
    /// the descriptor does, until its completion record has been written or [`Submitter::quiesce`] has returned true.
    ///
    /// No call runs at the same time as [`Submitter::quiesce`] or [`Submitter::revive`].
    unsafe fn submit(&self, descriptors: &[Descriptor]) -> Verdict;

    /// Hands over one descriptor, as [`submit`](Self::submit) does.
    ///
    /// # Safety
    ///
    /// As for [`submit`](Self::submit).
    unsafe fn submit_one(&self, descriptor: &Descriptor) -> Answer {
        // SAFETY: forwarded.
        match unsafe { self.submit(std::slice::from_ref(descriptor)) } {
            Verdict::Accepted => Answer::Accepted,
            Verdict::Retry(_) | Verdict::Full => Answer::NotNow,
            Verdict::Refused(_) => Answer::Refused,
        }
    }

    /// Name of the queue, for people.
    fn name(&self) -> String;

    /// How descriptors get to the queue.
    fn path(&self) -> SubmissionPath;

    /// What the queue offers by this path, as read when it was opened.
    fn capabilities(&self) -> Capabilities;

    /// How many descriptors may be outstanding, if this queue loses what exceeds that (dedicated queues); `None` if it
    /// answers "retry" instead.
    fn credits(&self) -> Option<usize>;

    /// Whether the queue can be expected to execute what it accepts. May cost system calls; not for the hot path.
    fn is_alive(&self) -> bool;

    /// Returns true once no descriptor that was ever accepted here is queued or executing, whether or not it has
    /// completed; false if that could not be had. Takes bounded time. Nothing is submitted until `revive` says so.
    fn quiesce(&self) -> bool;

    /// Whether the queue may be used (again), after a quiesce or after it was found dead. Opens what a quiesce has
    /// closed. May cost system calls.
    fn revive(&self) -> bool {
        self.is_alive()
    }

    /// The accelerator is about to go: whoever wants this queue anew should wait a moment.
    fn retire_soon(&self) {}

    /// By how many nanoseconds its operations take longer for callers of NUMA node 0, 1 and so on; empty if that is not known, or
    /// all the same.
    fn distances(&self) -> &[u32] {
        &[]
    }

    /// Why descriptors do not get there by a portal, if that was tried.
    fn no_portal(&self) -> Option<Arc<QueueError>> {
        None
    }

    /// What went wrong last, if something did.
    fn trouble(&self) -> Option<Arc<QueueError>> {
        None
    }
}
