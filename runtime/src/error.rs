//! What can go wrong for the caller, and how the buffers come back.
//!
//! Device trouble is not an error (invariant 3): a full queue, a page fault or a dead device costs time, not results.
//! What is left are the caller's own mistakes, found before anything is submitted.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;

use crate::accelerator::Unused;
use crate::stats::Reason;

/// Why an operation was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The destination cannot hold the result.
    #[error(
        "the destination has room for {capacity} bytes, the operation writes {needed}: reserve more before the call"
    )]
    CapacityTooSmall {
        /// Bytes that the operation would write.
        needed: usize,
        /// Bytes that the destination can hold.
        capacity: usize,
    },
    /// Two buffers that must be equally long are not.
    #[error("the buffers have {left} and {right} bytes, but must be equally long: compare slices of the same length")]
    LengthMismatch {
        /// Bytes in the first buffer.
        left: usize,
        /// Bytes in the second buffer.
        right: usize,
    },
    /// A range does not lie inside its buffer.
    #[error("bytes {start}..{end} do not lie inside the buffer's {len} bytes")]
    OutOfBounds {
        /// First byte of the range.
        start: usize,
        /// One past the last byte of the range.
        end: usize,
        /// Bytes in the buffer.
        len: usize,
    },
    /// Two buffers share memory that one of them is to be written to.
    #[error(
        "{overlap} bytes of the source and a destination, or of two destinations, are the same memory: use copy_within"
    )]
    Overlap {
        /// Bytes that the two have in common.
        overlap: usize,
    },
    /// The operation was to be done by a device, and none could do it.
    #[error("the device did not do it ({0}), and the operation was marked device-only; without the mark the CPU would")]
    DeviceOnly(Reason),
    /// The device has stopped answering and could not be made to stop: it may write the buffers at any time.
    #[error(
        "the work queue neither completes nor can be drained; the operation's buffers are leaked, \
         because the device may still write to them: reset the device (accel-config disable-device, enable-device)"
    )]
    Unresponsive,
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error {
            Error::CapacityTooSmall { .. }
            | Error::LengthMismatch { .. }
            | Error::OutOfBounds { .. }
            | Error::Overlap { .. } => io::ErrorKind::InvalidInput,
            Error::DeviceOnly(_) => io::ErrorKind::Unsupported,
            Error::Unresponsive => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// An [`Error`] together with the buffers of the operation.
///
/// It converts into [`Error`] and [`std::io::Error`] (which drops the buffers), so that `?` works in functions that return
/// one of these.
pub struct Failed<B> {
    error: Error,
    buffers: Option<B>,
}

impl<B> Failed<B> {
    pub(crate) fn new(error: Error, buffers: Option<B>) -> Self {
        Self { error, buffers }
    }

    /// What went wrong.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// The buffers, in the state in which they were handed in; after [`Error::DeviceOnly`] a destination may have been
    /// written in part. `None` only after [`Error::Unresponsive`].
    pub fn into_buffers(self) -> Option<B> {
        self.buffers
    }

    /// Error and buffers, see [`Failed::into_buffers`].
    pub fn into_parts(self) -> (Error, Option<B>) {
        (self.error, self.buffers)
    }
}

// Not derived: the buffers need not be `Debug`, and printing megabytes helps nobody.
impl<B> fmt::Debug for Failed<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failed").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<B> fmt::Display for Failed<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<B> std::error::Error for Failed<B> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl<B> From<Failed<B>> for Error {
    fn from(failed: Failed<B>) -> Self {
        failed.error
    }
}

impl<B> From<Failed<B>> for io::Error {
    fn from(failed: Failed<B>) -> Self {
        failed.error.into()
    }
}

/// Why an [`Accelerator`](crate::Accelerator) could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A limit of the [`Policy`](crate::Policy) makes no sense.
    #[error("policy.{field} is {value}: {rule}")]
    Policy {
        /// The field.
        field: &'static str,
        /// Its value.
        value: usize,
        /// What it must satisfy.
        rule: &'static str,
    },
    /// The CPU lacks the instructions that [`Policy::waiting`](crate::Policy::waiting) asks for.
    #[error("policy.waiting is {0:?}, and this CPU has no such instructions; Waiting::Auto takes what it has")]
    Waiting(crate::Waiting),
    /// A work queue of the software device could not be opened.
    #[cfg(feature = "emulator")]
    #[error("work queue {queue} of the software device could not be opened: {source}")]
    Emulator {
        /// The queue's number.
        queue: usize,
        /// What the device said.
        source: dsa_emulator::OpenError,
    },
    /// The instructions could not be made to trap.
    #[cfg(feature = "emulator")]
    #[error("the submission instructions could not be emulated: {0}")]
    Trap(#[source] io::Error),
    /// A work queue of this machine that was asked for by name cannot be used.
    #[error("{}", Reasons(.0))]
    WorkQueue(Vec<Unused>),
    /// The poller thread could not be started.
    #[error("the poller thread could not be started: {0}; check the process's limit on threads")]
    Thread(#[source] io::Error),
}

/// Reasons, a line each.
struct Reasons<'a>(&'a [Unused]);

impl fmt::Display for Reasons<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, reason) in self.0.iter().enumerate() {
            write!(f, "{}{reason}", if place == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}
