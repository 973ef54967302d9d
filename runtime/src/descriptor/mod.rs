//! Descriptors: what is sent to a work queue, checked before it is sent, and what comes back.
//!
//! Everything here is pure computation on 64 and 32 bytes. Building a descriptor is safe, because a descriptor is only
//! data; submitting it is what hands memory to the device.
//!
//! * One builder per operation. `build` makes a descriptor for the queue itself, `build_member` one for a batch list.
//!   Both check it against the [`Capabilities`] of the queue that will run it.
//!   - Memory: [`Move`], [`Fill`], [`Compare`], [`ComparePattern`], [`Dualcast`], [`Crc`], [`CopyCrc`],
//!     [`CreateDelta`], [`ApplyDelta`].
//!   - Control: [`CacheFlush`], [`Nop`], [`Drain`], [`Batch`], [`TranslationFetch`].
//!   - Data integrity: [`DifCheck`], [`DifInsert`], [`DifStrip`], [`DifUpdate`], [`DixGenerate`].
//!   - Elements and lists (DSA 3.0): [`TypeConvert`], [`Reduce`], [`ReduceDualcast`], [`GatherReduce`], [`GatherCopy`],
//!     [`ScatterCopy`], [`ScatterFill`].
//!   - Across address spaces (DSA 2.0): [`InterDomainCopy`], [`InterDomainFill`], [`InterDomainCompare`],
//!     [`InterDomainComparePattern`], [`UpdateWindow`].
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
#[macro_use]
mod compute;
mod compute_names;
mod control;
mod convert;
mod crc;
mod delta;
mod dif;
mod dif_options;
mod error;
mod fetch;
mod fill;
mod flags;
mod gather;
mod gather_reduce;
mod inter_domain;
mod moves;
mod presets;
mod reduce;
mod results;
mod resume;
mod rules;
mod sgl;
mod status;
mod validate;
mod window;

#[cfg(test)]
mod tests;

pub use batch::Batch;
pub use capabilities::{Capabilities, InterDomainCapabilities};
pub use common::{CacheControl, TrafficClass};
pub use compare::{Compare, ComparePattern, Expectation};
pub use completion::{Completion, Difference, Fault, Operand};
pub use compute::{ComputeType, DataType, Rounding};
pub use control::{CacheFlush, Drain, Nop};
pub use convert::TypeConvert;
pub use crc::{CopyCrc, Crc};
pub use delta::{ApplyDelta, CreateDelta, DeltaResults};
pub use dif::{DifCheck, DifInsert, DifStrip, DifUpdate, DixGenerate};
pub use dif_options::{DifBlock, DifDestination, DifSource, DifTags};
pub use error::DescriptorError;
pub use fetch::TranslationFetch;
pub use fill::Fill;
pub use flags::Flags;
pub use gather::{GatherCopy, ScatterCopy, ScatterFill};
pub use gather_reduce::GatherReduce;
pub use inter_domain::{IdptHandle, InterDomainCompare, InterDomainComparePattern, InterDomainCopy, InterDomainFill};
pub use moves::{Dualcast, Move};
pub use reduce::{Reduce, ReduceDualcast};
pub use results::{Delta, DifStatus, NumericExceptions};
pub use resume::{Continuation, ProtocolError, Resume, is_restartable};
pub use sgl::{Sgl, SglFormat};
pub use status::Status;
pub use validate::{Position, validate};
pub use window::UpdateWindow;
