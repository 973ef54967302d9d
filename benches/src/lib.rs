//! What the benchmarks compute with: statistics of paired slices, modes of a noisy machine, verdicts, seeded randomness.
//!
//! All of it is pure, so that `cargo test` can hold it; the programs beside it only measure and print.

#![forbid(unsafe_code)]
#![allow(clippy::cast_precision_loss)] // counts and nanoseconds, far below 2^53

pub mod cell;
pub mod grid;
pub mod random;
pub mod ranges;
pub mod regret;
pub mod rounds;
pub mod statistics;
pub mod tally;
pub mod verdict;
pub mod walk;
