//! Descriptors: what is sent to a work queue, checked before it is sent, and what comes back.
//!
//! Everything here is pure computation on 64 and 32 bytes. Building a descriptor is safe, because a descriptor is only
//! data; submitting it is what hands memory to the device.
//!
//! * One builder per operation: [`Move`], [`Fill`], [`Compare`], [`ComparePattern`], [`Dualcast`], [`Crc`], [`CopyCrc`],
//!   [`CacheFlush`], [`Nop`], [`Drain`], [`Batch`]. `build` makes a descriptor for the queue itself, `build_member` one
//!   for a batch list. Both check it against the [`Capabilities`] of the queue that will run it.
//! * [`validate`] applies the same rules to 64 bytes from anywhere. Builder and validator share one check per operation.
//! * [`Completion`] makes sense of a completion record, [`Status`] names and explains every status code.
//! * [`Resume`] plans what is left to do after a partial completion. The rest of an operation is again a descriptor, so
//!   the device or the CPU can go on from there.
//!
//! The rules are stricter than a device in one respect: a device need not look at every reserved field, this module
//! does. What it accepts, a device accepts; what it refuses is never sent.
//!
//! ```
//! use dsa::descriptor::{Capabilities, Move};
//!
//! let caps = Capabilities::sapphire_rapids();
//! let descriptor = Move::new(0x1000, 0x20_0000, 4096).record(0x40).build(&caps)?;
//! assert_eq!(descriptor.opcode(), idxd_sys::opcode::MEMMOVE);
//! # Ok::<(), dsa::descriptor::DescriptorError>(())
//! ```

#![forbid(unsafe_code)]

#[macro_use]
mod common;

mod batch;
mod capabilities;
mod compare;
mod completion;
mod control;
mod crc;
mod error;
mod fill;
mod flags;
mod moves;
mod resume;
mod rules;
mod status;
mod validate;

#[cfg(test)]
mod tests;

pub use batch::Batch;
pub use capabilities::Capabilities;
pub use common::{CacheControl, TrafficClass};
pub use compare::{Compare, ComparePattern, Expectation};
pub use completion::{Completion, Difference, Fault, Operand};
pub use control::{CacheFlush, Drain, Nop};
pub use crc::{CopyCrc, Crc};
pub use error::DescriptorError;
pub use fill::Fill;
pub use flags::Flags;
pub use moves::{Dualcast, Move};
pub use resume::{Continuation, ProtocolError, Resume, is_restartable};
pub use status::Status;
pub use validate::{Position, validate};
