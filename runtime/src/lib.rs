//! Async memory offload to Intel's Data Streaming Accelerator (DSA).
//!
//! A DSA moves, fills, compares and checksums memory while the CPU does something else. This crate turns those
//! operations into futures for [tokio](https://docs.rs/tokio) - or any other executor - and never makes the caller worse
//! off: with no device, a full queue, a page fault or a dead device the same call finishes on the CPU, with the same
//! bytes and the same CRC.
//!
//! Work queues are those of the Linux `idxd` driver, by portal or by `write(2)` ([`Accelerator::open`]), or those of the
//! software device (feature `emulator`). Without one the CPU does everything, and [`Accelerator::unused`] says why.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let src = vec![42u8; 1 << 20];
//! let (src, dst) = dsa::copy(src, Vec::with_capacity(1 << 20)).await?;
//! assert_eq!(src, dst);
//! let (crc, _src) = dsa::crc32c(src).await?;
//! assert_eq!(crc, dsa::cpu::crc32c(0, &dst));
//! # Ok(())
//! # }
//! ```
//!
//! # Operations
//!
//! Each is a future that owns its buffers, a call on borrowed memory that waits ([`blocking`]), a start in a
//! [`scope`](blocking::scope), and, where nothing stands beside it, a member of a [`Batch`]. The answer is the same whoever
//! does it; what a queue does not offer, the CPU does, and [`stats`] say so.
//!
//! | what | calls | offered by |
//! |---|---|---|
//! | copies | [`copy`], [`copy_many`], [`copy_to_vec`], [`copy_within`], [`dualcast`] | every device |
//! | fills | [`fill`]; [`fill_wide`] | every device; from DSA 2.0 on |
//! | comparisons | [`compare`], [`compare_pattern`] | every device |
//! | checksums, alone or with a copy | [`crc32c`], [`copy_crc32c`]; [`crc64`], [`copy_crc64`] | every device; from DSA 2.0 on |
//! | delta records | [`create_delta`], [`apply_delta`] | some devices |
//! | data integrity (T10 DIF, DIX) | [`dif_check`], [`dif_insert`], [`dif_strip`], [`dif_update`]; [`dix_generate`] | every device; from DSA 2.0 on |
//! | caches | [`cache_flush`]; [`translation_fetch`] | every device; some devices |
//! | blocks that a list names | [`gather_copy`], [`scatter_copy`], [`scatter_fill`] | DSA 3.0 |
//! | typed elements | [`type_convert`], [`reduce`], [`reduce_in_place`], [`reduce_dualcast`], [`gather_reduce`] | DSA 3.0 |
//! | waiting for all that is out | [`drain`] | every device |
//!
//! A [`Batch`] has no `copy_within`, `copy_to_vec` and `drain`, a scope no move inside a slice and no `drain`; [`Batch`] and
//! [`blocking`] say which options exist there. `copy_to_vec` makes its buffer, so that there is nothing to borrow.
//!
//! A finding is a result, and no error: a difference, a record that does not fit, a data-integrity field that does not
//! match, a numeric exception. Operations between address spaces have a [descriptor builder](descriptor), and no future.
//!
//! # Where to look
//!
//! * [`Accelerator`] is the handle that a program opens and passes around; the free functions ([`copy`], [`fill`],
//!   [`crc32c`], ...) use a process-wide one. [`Builder`] chooses queues and paths, [`Policy`] holds every limit.
//! * [`buf`] says which buffers qualify, slices them, and has a pre-faulted [`Pool`](buf::Pool).
//! * [`Batch`] makes many operations one; [`bulk`] keeps several of many under way; [`blocking`] borrows instead of owning; [`stats`] tells who did what, and why.
//! * [`executor`] lets the workers of a tokio runtime look for completions before they park; nothing depends on it.
//! * [`device`] finds the machine's work queues and says what each can do, or why it cannot be used.
//! * [`descriptor`] builds, checks and decodes the raw 64 and 32 bytes; [`cpu`] is the CPU engine.
//!
//! # Rules that always hold
//!
//! * **Buffers are owned while in flight.** A device cannot be told to drop one descriptor, so a dropped future leaves
//!   its buffers with the runtime until the device is done. Dropping never blocks. Forgetting a future in flight
//!   leaks what it holds: buffers, its slot and place in the queue, and a handle to the accelerator. Borrowed slices appear only in blocking calls.
//! * **Device trouble is not an error.** [`Error`] lists the caller's own mistakes, found before anything is
//!   submitted, and gives the buffers back.
//! * **A lost operation is recovered by quiescing**: only when the work queue is certain not to execute it any more does
//!   the CPU do it. If that certainty cannot be had, memory is leaked and counted, never freed.
//!
//! # Aliasing
//!
//! The device counts as another thread. Completion status is an atomic byte, read through a raw pointer with Acquire;
//! while a descriptor is out, no reference to its record or its buffers exists, and the buffers themselves sit in
//! `MaybeUninit`, so that moving the future asserts nothing about them. Addresses in descriptors come from exposed
//! provenance, which the software device picks up on its threads. Submission is ordered after all earlier stores: by a
//! release in the software device's queue, by one SFENCE before the instructions, by the system call.
//!
//! # Features
//!
//! * `emulator`: the software device of the `dsa-emulator` crate as a back end (`Builder::emulator`).
//! * `rayon`: large blocking operations of the CPU by several threads, [`Policy::blocking_threads`].
//! * `stream`: streams of operations, `bulk::InFlightExt`.

mod accelerator;
pub mod buf;
mod clock;
pub mod cpu;
pub mod descriptor;
pub mod device;
mod dispatch;
mod error;
pub mod executor;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
mod lane;
mod op;
mod process;
mod shared;
pub mod stats;
mod submit;

pub use accelerator::{Accelerator, Builder, Ending, QueueInfo, Shutdown, Unused};
pub use cpu::Hint;
pub use descriptor::{
    ComputeType, DataType, DifBlock, DifDestination, DifSource, DifStatus, DifTags, NumericExceptions, Rounding,
};
pub use dispatch::choice;
pub use dispatch::{Calibrate, DeltaResult, DifMismatch, Policy, Pressure, Split, Waiting};
pub use error::{BuildError, Error, Failed};
pub use executor::{BuilderExt, DsaHooks};
pub use op::{
    ApplyDelta, Batch, BatchBuffers, BatchItem, BatchValue, Batched, BlockList, CacheFlush, Compare, ComparePattern,
    Conversion, Copy, CopyCrc32c, CopyCrc64, CopyMany, CopyToVec, CopyWithin, Crc32c, Crc64, CreateDelta, DifCheck,
    DifFormat, DifInsert, DifStrip, DifUpdate, DixGenerate, Drain, Dualcast, Fill, FillWide, GatherCopy, GatherReduce,
    Pattern, Reduce, ReduceDualcast, ReduceInPlace, Reduction, ScatterCopy, ScatterFill, TranslationFetch, TypeConvert,
    WidePattern, apply_delta, batch, blocking, bulk, cache_flush, compare, compare_pattern, copy, copy_crc32c,
    copy_crc64, copy_many, copy_to_vec, copy_within, crc32c, crc64, create_delta, dif_check, dif_insert, dif_strip,
    dif_update, dix_generate, drain, dualcast, fill, fill_wide, gather_copy, gather_reduce, reduce, reduce_dualcast,
    reduce_in_place, scatter_copy, scatter_fill, translation_fetch, type_convert,
};

pub use submit::SubmissionPath;
pub use submit::kernel::SubmitBy;

/// The crate of the histograms that [`stats::Stats::latency`] gives.
pub use hdrhistogram;

/// The software device, for `Builder::emulator`.
#[cfg(feature = "emulator")]
pub use dsa_emulator as emulator;

/// Compiles and runs the example of the read-me.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
