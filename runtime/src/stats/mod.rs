//! What the runtime did, and why: counters and latencies.
//!
//! Each lane has a [`Recorder`]: relaxed atomic counters in cache lines of its own, updated on the hot path without a
//! lock or an allocation. [`Stats`] is a snapshot of one, or the sum of several: plain numbers to compare, subtract and
//! print.
//!
//! Device trouble is never the caller's error, so this is the only place where it shows: [`Reason`] counts why
//! operations were done by the CPU, [`Event`] what happened on the way.

#![forbid(unsafe_code)]

mod histogram;
mod names;
mod recorder;
mod snapshot;

pub use histogram::AtomicHistogram;
pub use names::{Event, Operation, Path, Reason};
pub use recorder::Recorder;
pub use snapshot::Stats;
