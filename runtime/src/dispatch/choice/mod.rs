//! Device or CPU, and which queue: the decision by itself, without submitting anything.
//!
//! A [`Chooser`] belongs to one accelerator. It compares two expected costs of an operation and takes the lower:
//!
//! ```text
//! device:  latency(operation, bytes) + distance + backlog ahead in the queue + what else the queue has been late by
//!          + weight * CPU time of a submission
//! CPU:     time(operation, bytes)
//!          + weight * the same
//! ```
//!
//! * [`Estimates`] holds the first term of each: a curve over the size for every kind of operation. It starts with
//!   modelled figures or with a [`Calibration`], and follows what completions report.
//! * [`Load`] counts what is in flight in a queue, which is what the backlog is computed from.
//! * How late a queue is beyond that is learned too, as a factor on the backlog (engines slower or faster than thought)
//!   and as a time besides (somebody else uses the device). The latter is forgotten within milliseconds, and so tried again.
//! * Completions are found when somebody looks. A thread that copies by itself looks late, which must not make the
//!   device seem slow; so completions are told as [`Seen`], between two looks.
//! * The weight ([`Options::cpu_cost_weight`]) says what a nanosecond of the submitting core is worth beside a
//!   nanosecond of latency. While a device works the core is free for others, so at equal latency the device is
//!   preferred. The more operations a lane has in flight, the more there is to do meanwhile, and the weight grows with
//!   them ([`Inputs::company`]).
//!
//! # What it costs
//!
//! A decision takes no lock, allocates nothing and uses no floating point; it divides only where a sample has made it look anew. All atomics are relaxed:
//! nothing is ordered by them, and a decision from numbers that do not fit together is merely a worse one. What is written
//! on the way lies in the lane's own cache lines, but for the load of the chosen queue. Of the completions of a lane one
//! in [`Options::sample_every`] updates estimates.
//!
//! A sample of a size class also finds out whether the next ones need a comparison at all: whether they are the CPU's whatever the
//! queues and the company, or the device's while there is little in the lane's own queue. Such decisions take some 20
//! and 40 instructions ([`Chooser::choose_quickly`]), until another sample of that size says otherwise, the queue is busier than that, late, or
//! closed. A comparison with one queue takes some 270.
//!
//! # What it does not do
//!
//! It does not know which queues share engines; two of one group look independent, and the lateness of each tells of
//! the other. It does not split one operation between device and CPU.
//!
//! Of an operation that is overdue it hears only if somebody tells it ([`Chooser::overdue`]).
//!
//! ```
//! use dsa::choice::{Choice, Chooser, Inputs, Options, QueueSetup};
//! use dsa::stats::Operation;
//!
//! let chooser = Chooser::new(&[QueueSetup::new()], 1, &Options::default(), dsa::choice::Estimates::modelled());
//! let small = chooser.choose(&Inputs::new(Operation::Copy, 64));
//! assert!(matches!(small.choice, Choice::Cpu(_)));
//! let large = chooser.choose(&Inputs::new(Operation::Copy, 1 << 20));
//! assert_eq!(large.choice, Choice::Device(0));
//! ```
//!
//! Times are picoseconds inside, because a copy of 64 bytes takes ten thousand of them and an average must be able to
//! move by less than one nanosecond; the interface of [`Chooser`] takes nanoseconds.

#![forbid(unsafe_code)]

mod calibration;
mod charge;
mod chooser;
mod decision;
mod defaults;
mod estimates;
mod lane;
mod load;
mod notes;
mod place;
mod profile;
mod queue;
mod standing;
#[cfg(test)]
mod tests;

pub use calibration::{Calibration, Machine, Measure, Measured, Mismatch};
pub(crate) use charge::{Charge, UNCOUNTED};
pub use chooser::Chooser;
pub use decision::{Choice, Decision, Force, Inputs, Options, Seen, Why};
pub use estimates::{Estimates, Quantity};
pub use load::Load;
pub use profile::{Problem, ProfileError};
pub use queue::QueueSetup;

use crate::stats::Operation;

/// Number of kinds of operation.
const KINDS: usize = Operation::ALL.len();
/// Picoseconds of a nanosecond.
const PICOS: u64 = 1000;
