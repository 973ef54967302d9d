//! What can go wrong for the caller, and how the buffers come back.
//!
//! Device trouble is not an error (invariant 3): a full queue, a page fault or a dead device costs time, not results.
//! What is left are the caller's own mistakes, found before anything is submitted.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;

use crate::accelerator::Unused;
use crate::cpu::DeltaError;
use crate::descriptor::{ComputeType, DataType};
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
    /// Two operands that must be equally long are not: buffers, or a buffer and all blocks of a list together.
    #[error(
        "the operands have {left} and {right} bytes, but must be equally long: \
         pass a slice of the longer one, or a list of fewer blocks"
    )]
    LengthMismatch {
        /// Bytes in the first operand.
        left: usize,
        /// Bytes in the second operand.
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
        "{overlap} bytes of a source and a destination, or of two destinations, are the same memory: \
         pass buffers of their own (within one buffer, only copy_within moves bytes)"
    )]
    Overlap {
        /// Bytes that the two have in common.
        overlap: usize,
    },
    /// A size is no multiple of what the operation works on.
    #[error("{size} bytes are no multiple of {unit}, and this operation takes no part of a unit of {unit} bytes")]
    SizeNotMultiple {
        /// Bytes that were given.
        size: usize,
        /// What they must be a multiple of: an element, a block, a word, an entry.
        unit: usize,
    },
    /// A region is larger than a delta record can describe.
    #[error(
        "a delta record describes regions of at most {max} bytes, not {size}: cut them, with a record for each part"
    )]
    RegionTooLarge {
        /// Bytes that were given.
        size: usize,
        /// The most there can be.
        max: usize,
    },
    /// A delta record that cannot be applied to the target.
    #[error("{0}; only what create_delta has made for regions of the target's size can be applied")]
    DeltaRecord(DeltaError),
    /// A block that a list names does not lie inside the buffer.
    #[error(
        "entry {entry} of the list names {block} bytes from {start} on, beyond the buffer's {len} bytes: \
         name blocks inside of them, or initialise more"
    )]
    BlockOutOfBounds {
        /// Place of the entry in the list.
        entry: usize,
        /// Where its block begins, in bytes from the start of the buffer.
        start: u64,
        /// Bytes of a block.
        block: usize,
        /// Bytes in the buffer.
        len: usize,
    },
    /// Two blocks that are to be written overlap.
    #[error("the blocks of entries {first} and {second} of the list overlap, so that it is not defined what they hold")]
    BlocksOverlap {
        /// Place of one entry in the list.
        first: usize,
        /// Place of the other one.
        second: usize,
    },
    /// There is no conversion between integers and floating-point numbers.
    #[error("{from} elements cannot become {to}: integers become integers, and floating-point numbers such")]
    NoConversion {
        /// The type that is read.
        from: DataType,
        /// The type that is written.
        to: DataType,
    },
    /// Results that are to take the place of operands have another size.
    #[error("{to} elements do not fit where {from} elements are: reduce into another buffer")]
    NotInPlace {
        /// The type of the operands.
        from: DataType,
        /// The type of the results.
        to: DataType,
    },
    /// A bitwise function of floating-point numbers.
    #[error(
        "{compute} is for integers, not for {data_type}: name the integer type of the same size to combine the bits"
    )]
    NotBitwise {
        /// The function.
        compute: ComputeType,
        /// The type of the elements.
        data_type: DataType,
    },
    /// The operation was to be done by a device, and none could do it.
    #[error("the device did not do it ({0}), and the operation was marked device-only; without the mark the CPU would")]
    DeviceOnly(Reason),
    /// There was no room for the operation, and it was to fail rather than to wait ([`Pressure::Fail`](crate::Pressure)).
    /// Nothing has been done of it.
    #[error("{}", no_room(*.reason, .queues))]
    Pressure {
        /// [`Reason::QueueFull`] or [`Reason::NoSlot`].
        reason: Reason,
        /// Names of the queues that would take it, with commas between them.
        queues: Box<str>,
    },
    /// The device has stopped answering and could not be made to stop: it may write the buffers at any time.
    #[error(
        "the work queue neither completes nor can be drained; the operation's buffers are leaked, \
         because the device may still write to them: reset the device (accel-config disable-device, enable-device)"
    )]
    Unresponsive,
}

/// What [`Error::Pressure`] says.
fn no_room(reason: Reason, queues: &str) -> String {
    let (what, more) = match reason {
        Reason::NoSlot => ("all slots are in use", "Policy::slots_per_lane gives more slots"),
        _ => (
            "every work queue that takes the operation is full, or others wait for it",
            "a larger queue has more places",
        ),
    };
    format!(
        "no room ({what}; queues: {queues}): try again when operations have completed, or let it wait or be done by the CPU \
         (Pressure::Wait, Pressure::Cpu); {more}"
    )
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error {
            Error::CapacityTooSmall { .. }
            | Error::LengthMismatch { .. }
            | Error::OutOfBounds { .. }
            | Error::Overlap { .. }
            | Error::SizeNotMultiple { .. }
            | Error::RegionTooLarge { .. }
            | Error::BlockOutOfBounds { .. }
            | Error::BlocksOverlap { .. }
            | Error::NoConversion { .. }
            | Error::NotInPlace { .. }
            | Error::NotBitwise { .. } => io::ErrorKind::InvalidInput,
            Error::DeltaRecord(_) => io::ErrorKind::InvalidData,
            Error::DeviceOnly(_) => io::ErrorKind::Unsupported,
            Error::Pressure { .. } => io::ErrorKind::ResourceBusy,
            Error::Unresponsive => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// An [`Error`] together with the buffers of the operation.
///
/// It converts into [`Error`] and [`std::io::Error`] (which drops the buffers), so that `?` works in functions that return
/// one of these.
// Boxed, so that what succeeds is not moved about with room for it.
pub struct Failed<B>(Box<Parts<B>>);

struct Parts<B> {
    error: Error,
    buffers: Option<B>,
}

impl<B> Failed<B> {
    pub(crate) fn new(error: Error, buffers: Option<B>) -> Self {
        Self(Box::new(Parts { error, buffers }))
    }

    /// What went wrong.
    pub fn error(&self) -> &Error {
        &self.0.error
    }

    /// The buffers, in the state in which they were handed in; after [`Error::DeviceOnly`] a destination may have been
    /// written in part. `None` only after [`Error::Unresponsive`].
    pub fn into_buffers(self) -> Option<B> {
        self.0.buffers
    }

    /// Error and buffers, see [`Failed::into_buffers`].
    pub fn into_parts(self) -> (Error, Option<B>) {
        let Parts { error, buffers } = *self.0;
        (error, buffers)
    }
}

// Not derived: the buffers need not be `Debug`, and printing megabytes helps nobody.
impl<B> fmt::Debug for Failed<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failed").field("error", &self.0.error).finish_non_exhaustive()
    }
}

impl<B> fmt::Display for Failed<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.error.fmt(f)
    }
}

impl<B> std::error::Error for Failed<B> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0.error)
    }
}

impl<B> From<Failed<B>> for Error {
    fn from(failed: Failed<B>) -> Self {
        failed.0.error
    }
}

impl<B> From<Failed<B>> for io::Error {
    fn from(failed: Failed<B>) -> Self {
        failed.0.error.into()
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
    /// The calibration that was given is of another machine, or of other queues. Nothing has been built: measure anew
    /// ([`Calibrate::AtStart`](crate::Calibrate)), or begin with modelled figures.
    #[error(transparent)]
    Calibration(crate::choice::Mismatch),
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
